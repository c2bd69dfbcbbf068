"""A process that is killed while it writes: what it said to be safe is there."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from statews.store import SQLiteStore

from .child import KEPT
from .tools import CHILD, DEADLINE, contents_of, numbers

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


def run_and_kill(path: Path, backend: str, lines: int) -> set[int]:
    """What a process said to have committed, which was killed after so many lines."""
    with subprocess.Popen(  # noqa: S603 - this very interpreter
        [sys.executable, CHILD, "append", path, backend], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            said = [process.stdout.readline() for _ in range(lines)]
        finally:
            process.kill()
        said += process.stdout
        process.wait(DEADLINE)
    assert process.returncode == -signal.SIGKILL
    return {int(line) for line in said if line.strip().isdigit() and line.endswith(b"\n")}


async def test_what_a_killed_process_committed_is_there(
    tmp_path: Path, anyio_backend: str
) -> None:
    seed = random.randrange(1 << 32)  # noqa: S311
    print("seed", seed)  # noqa: T201 - shown if it fails
    draw = random.Random(seed)  # noqa: S311
    path = tmp_path / "outbox.db"
    last = 0
    for lines in (0, 1, *(draw.randrange(2, 200) for _ in range(4)), draw.randrange(2000, 3000)):
        said = run_and_kill(path, anyio_backend, lines)
        contents = await contents_of(SQLiteStore(path, lock_timeout=0))  # nobody has it locked
        there = numbers(contents)
        # Whole transactions were kept, the first ones, and all that were told of.
        last = max(last, contents.next_number - 1)
        assert there == list(range(max(1, last - KEPT + 1), last + 1))
        assert [each.message for each in contents.messages] == [f"message {n}" for n in there]
        assert contents.positions == ({"last": f"{last}"} if last else {})
        assert contents.next_number == last + 1
        assert max(said, default=0) <= last
        assert len(said) >= lines - 1
