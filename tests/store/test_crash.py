"""A process that is killed while it writes: what it said to be safe is there."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from statews.store import Contents, SQLiteStore

from .child import COUNTERS, KEPT
from .tools import CHILD, DEADLINE, contents_of, numbers

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


def run_and_kill(path: Path, backend: str, what: str, lines: int) -> list[str]:
    """What a process said to have committed, which was killed after so many lines."""
    with subprocess.Popen(  # noqa: S603 - this very interpreter
        [sys.executable, CHILD, what, path, backend], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            said = [process.stdout.readline() for _ in range(lines)]
        finally:
            process.kill()
        said += process.stdout
        process.wait(DEADLINE)
    assert process.returncode == -signal.SIGKILL
    whole = [line.decode().strip() for line in said if line.endswith(b"\n")]
    assert whole[:1] in ([], ["opened"])
    return whole[1:]


def random_moments() -> list[int]:
    """After how many lines a process is killed: at once, soon, and late."""
    seed = random.randrange(1 << 32)  # noqa: S311
    print("seed", seed)  # noqa: T201 - shown if it fails
    draw = random.Random(seed)  # noqa: S311
    return [0, 1, *(draw.randrange(2, 200) for _ in range(3)), draw.randrange(2000, 3000)]


def messages_of(contents: Contents, stream: str) -> list[str | bytes]:
    return [each.message for each in contents.messages if each.stream == stream]


@pytest.mark.once
async def test_what_a_killed_process_committed_is_there(
    tmp_path: Path, anyio_backend: str
) -> None:
    path = tmp_path / "outbox.db"
    last = 0
    for lines in random_moments():
        said = [int(line) for line in run_and_kill(path, anyio_backend, "append", lines)]
        contents = await contents_of(SQLiteStore(path, lock_timeout=0))  # nobody has it locked
        there = numbers(contents)
        # Whole transactions were kept, the first ones, and all that were told of.
        last = max(last, contents.next_number - 1)
        assert there == list(range(max(1, last - KEPT + 1), last + 1))
        for stream, expected in [("", there), ("session", there), *((f"{n}", [n]) for n in there)]:
            assert messages_of(contents, stream) == [f"message {n}" for n in expected]
        assert len(contents.messages) == 3 * len(there)
        assert contents.positions == (
            {"last": f"{last}", **{f"{n}": "1" for n in there}} if last else {}
        )
        assert contents.next_number == last + 1
        assert max(said, default=0) <= last
        assert len(said) >= lines - 1


def counters(path: Path) -> dict[str, float]:
    """What the table of the user says, in the store, which is closed."""
    with closing(sqlite3.connect(path)) as connection:
        (there,) = connection.execute(
            "SELECT count(*) FROM sqlite_master WHERE name = 'counter'"
        ).fetchone()
        return dict(connection.execute("SELECT name, value FROM counter")) if there else {}


@pytest.mark.once
async def test_a_table_and_its_position_agree_whenever_the_process_was_killed(
    tmp_path: Path, anyio_backend: str
) -> None:
    path = tmp_path / "outbox.db"
    before: dict[str, int] = {}
    for lines in random_moments():
        said = run_and_kill(path, anyio_backend, "count", lines)
        contents = await contents_of(SQLiteStore(path, lock_timeout=0))
        positions = {name: int(position) for name, position in contents.positions.items()}
        made = positions.pop("made", 0)
        counted = {name: value for name, value in counters(path).items() if value}
        assert counted == positions
        assert bool(made) == (set(counters(path)) == set(COUNTERS))
        for name in COUNTERS:
            last = positions.get(name, 0)
            assert last >= max(before.get(name, 0), *said_of(name, said))
            # A message is noted before the transaction that counts it, or comes with it.
            newest = max(numbers(contents, name), default=0)
            assert newest in {last, last + 1}
            assert numbers(contents, name) == [*range(max(1, newest - KEPT + 1), newest + 1)]
        before = positions


def said_of(name: str, said: list[str]) -> list[int]:
    return [0, *(int(line.split()[1]) for line in said if line.startswith(f"{name} "))]
