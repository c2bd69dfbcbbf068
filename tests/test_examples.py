"""The examples run by themselves, lose their links meanwhile, and say that nothing was lost."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DEADLINE = 60  # seconds, of which an idle machine needs two

SAID = {
    "chat": (
        "Both are there: Ben has read 2 messages, and Ann knows.",
        "Ben is back: he has read 14 messages, 3 pages were fetched.",
        "Ann is back: 1 message came to the server twice, and counts once.",
        "Nothing was lost: 16 messages, each read exactly once, in order.",
    ),
    "prices": (
        "   They were 76045 bytes, and compressed less than 40000.",
        "   Of our lists there went out: ['dropped', 'dropped', 'acknowledged']",
        "Nothing old was seen, and nothing new was missed.",
    ),
    "editor": (
        "Both are there:  Once upon a time ",
        "Ann, away:       Once upon a time there was a queen and a castle (5 operations wait)",
        "Ben, meanwhile:  Once upon a time there was a king and a dragon and ",
        "Nothing was lost: 12 operations, and three copies that are the same.",
    ),
}

needs_pycrdt = pytest.mark.skipif(
    importlib.util.find_spec("pycrdt") is None, reason="it needs pycrdt, a CRDT library"
)
EXAMPLES = ["chat", "prices", pytest.param("editor", marks=needs_pycrdt)]


def test_every_example_is_run() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(SAID)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_comes_to_a_good_end(example: str, backend: str) -> None:
    command = [sys.executable, "-W", "error", f"examples/{example}.py", "--backend", backend]
    # `run` kills the process that it started, by its id, if the time is over.
    done = subprocess.run(  # noqa: S603
        command, cwd=ROOT, capture_output=True, check=False, text=True, timeout=DEADLINE
    )
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout.splitlines()
    assert [line for line in said if line in SAID[example]] == list(SAID[example])
