"""Autobahn's test suite from outside: its environment, its cases, its processes, its verdicts."""

import json
import os
import shutil
import subprocess
import tempfile
import venv
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypedDict

import anyio
from anyio.abc import Process

Mode = Literal["fuzzingserver", "fuzzingclient"]

HOST: Final = "127.0.0.1"
AGENT: Final = "statews"
ENVIRONMENT: Final = Path(__file__).resolve().parent.parent / ".venv-autobahn"
PYTHON: Final = ENVIRONMENT / "bin" / "python"
REQUIREMENT: Final = "autobahntestsuite==25.10.1"
VIRTUALENV: Final = "virtualenv==20.21.1"  # newer ones make no environment for Python 2.7

# Python 2. The suite listens on every interface and outlives its parent: here it does neither.
WSTEST: Final = """
import functools, os
from autobahntestsuite import wstest
from twisted.internet import reactor, task
parent = os.getppid()
task.LoopingCall(lambda: os.getppid() == parent or reactor.stop()).start(1.0)
wstest.fuzzing.listenWS = functools.partial(wstest.fuzzing.listenWS, interface="127.0.0.1")
wstest.run()
"""
# Python 2. ``Case12_1_18`` has the id 12.1.18.
LIST_CASES: Final = """
from autobahntestsuite.case import Cases
print("\\n".join(case.__name__[4:].replace("_", ".") for case in Cases))
"""


class Entry(TypedDict):
    """What of a case's entry in a report's ``index.json`` is read here."""

    behavior: str
    behaviorClose: str  # Autobahn's name


class SuiteError(Exception):
    """The test suite cannot be installed or does not start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What Autobahn says of one case, in its own words: ``OK``, ``NON-STRICT``, ``FAILED`` ..."""

    behavior: str
    behavior_close: str

    @property
    def is_passed(self) -> bool:
        """Whether neither the messages nor the closing handshake broke RFC 6455 or RFC 7692."""
        return {self.behavior, self.behavior_close} <= {"OK", "NON-STRICT", "INFORMATIONAL"}


MISSING: Final = Verdict(
    behavior="MISSING", behavior_close="MISSING"
)  # the case never ran to its end
RAISED: Final = Verdict(behavior="RAISED", behavior_close="RAISED")  # our own peer failed


def install() -> None:
    """Make ``.venv-autobahn``, unless a whole one is there.

    Raises:
        SuiteError: there is no Python 2.7, the only one that the suite runs on, or the
            package registry does not answer.
    """
    if (ENVIRONMENT / "bin" / "wstest").exists():  # pip writes it last
        return
    python = next(filter(_is_usable, _candidates()), None)
    if python is None:
        raise SuiteError(
            "Autobahn's test suite needs CPython 2.7, and none was found on the PATH or under "
            "pyenv; 'pyenv install 2.7.18' brings one, and the rest is installed from here"
        )
    print(f"installing {REQUIREMENT} into {ENVIRONMENT.name} ...", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        tool = Path(directory) / "bin" / "python"
        venv.create(directory, with_pip=True)
        _run(tool, "-m", "pip", "install", "--quiet", VIRTUALENV)
        _run(tool, "-m", "virtualenv", "--quiet", "--clear", "--python", python, ENVIRONMENT)
    _run(PYTHON, "-m", "pip", "install", "--quiet", REQUIREMENT)


def _candidates() -> Iterator[str]:
    yield from filter(None, [shutil.which("python2.7")])
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from map(str, sorted(root.glob("versions/2.7*/bin/python2.7"), reverse=True))


def _is_usable(python: str) -> bool:
    # pyenv's shim is on the PATH even where it only says that no version is chosen.
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        line = " ".join(map(str, command))
        raise SuiteError(f"{line!r} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def case_ids() -> list[str]:
    """List every case of the suite, in its numerical order."""
    return sorted(_run(PYTHON, "-c", LIST_CASES).split(), key=case_order)


def case_order(case: str) -> tuple[int, ...]:
    """Turn ``"9.10.1"`` into ``(9, 10, 1)``, which sorts after ``(9, 2, 1)``."""
    return tuple(map(int, case.split(".")))


@asynccontextmanager
async def wstest(
    mode: Mode, cases: list[str], url: str, directory: Path
) -> AsyncGenerator[Process]:
    """Run the suite's program over ``cases``; leave its reports and its log in ``directory``."""
    directory.mkdir(parents=True)
    place = {"url": url, "servers": [{"agent": AGENT, "url": url}]}  # each mode reads its own
    spec = directory / "spec.json"
    spec.write_text(json.dumps({**place, "outdir": str(directory), "cases": cases}))
    program = [str(PYTHON), "-u", "-c", WSTEST]
    command = [*program, "--mode", mode, "--spec", str(spec), "--webport", "0"]
    with (directory / "wstest.log").open("wb") as log:
        async with await anyio.open_process(
            command, stdout=log, stderr=subprocess.STDOUT
        ) as process:
            yield process
            if process.returncode is None:
                process.terminate()


def verdicts(cases: list[str], directory: Path) -> dict[str, Verdict]:
    """Read the verdict of each of ``cases`` from the reports in ``directory``."""
    index = directory / "index.json"
    agents: dict[str, dict[str, Entry]] = json.loads(index.read_text()) if index.exists() else {}
    found = agents.get(AGENT, {})
    return {
        case: Verdict(behavior=of["behavior"], behavior_close=of["behaviorClose"])
        if (of := found.get(case))
        else MISSING
        for case in cases
    }
