"""Make the project's virtual environments, and run its tests on every supported Python.

    python tools/environments.py install [GROUP]   the project and a group of its, into .venv
    python tools/environments.py test              the tests, on each other Python found here

Standard library only, since it runs before anything is installed. What an environment holds
is told by its stamps, such as ``.venv/.test``; one older than its sources does not count.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".venv"
PROJECT = ROOT / "pyproject.toml"
CONSTRAINTS = ROOT / "constraints.txt"
SUPPORTED = re.findall(r':: (3\.\d+)"', PROJECT.read_text(encoding="utf-8"))  # its classifiers
# What is drawn at random is drawn at length on one Python: it hardly depends on which.
BRIEF = {"STATEWS_TESTS": "brief"}


class SetupError(Exception):
    """This machine lacks something; the message says what would help."""


def install(directory: Path, maker: str, *groups: str) -> None:
    """Have ``directory`` hold the project and ``groups``, on the Python that is ``maker``."""
    base = directory / ".base"
    if not is_newer(base, PROJECT, CONSTRAINTS):
        say(f"{directory.name}: installing the project")
        if not is_made(directory, maker):
            make(directory, maker)
        pip(directory, "--upgrade", "pip")  # an old one knows no --group
        pip(directory, "--group", "build")
        install_project(directory)
        base.touch()
    for group in groups:
        stamp = directory / f".{group}"
        if not is_newer(stamp, base):
            say(f"{directory.name}: installing what '{group}' needs")
            pip(directory, "--group", group)
            stamp.touch()


def is_newer(stamp: Path, *sources: Path) -> bool:
    """Whether ``stamp`` exists and none of ``sources`` changed after it."""
    return stamp.exists() and all(
        stamp.stat().st_mtime >= source.stat().st_mtime for source in sources
    )


def is_made(directory: Path, maker: str) -> bool:
    """Whether ``directory`` is an environment of ``maker``'s Python, with pip in it."""
    origin = "import sys; print(sys.base_prefix, sys.version)"
    python = python_of(directory)
    return has(python, "pip") and answer(python, origin) == answer(maker, origin)


def make(directory: Path, maker: str) -> None:
    """Make an empty environment in ``directory``, whatever is there now."""
    if has(maker, "ensurepip"):
        run(maker, "-m", "venv", "--clear", directory)
    elif has(maker, "pip"):
        say(f"{maker} has no ensurepip, so its own pip fills {directory.name}")
        run(maker, "-m", "venv", "--clear", "--without-pip", directory)
        run(maker, "-m", "pip", "--python", python_of(directory), "install", "--quiet", "pip")
    else:
        raise SetupError(
            f"{maker} has neither ensurepip nor pip, and so makes no environment: install them"
            " (Debian: apt install python3-venv) or choose another (make PYTHON=python3.12)"
        )


def install_project(directory: Path) -> None:
    """Install the project, editable, with its extras as far as there are wheels for them."""
    options = ("--no-build-isolation", "--only-binary", "pygraphviz", "--editable")
    try:
        pip(directory, *options, ".[cli,diagrams,trio]")
    except subprocess.CalledProcessError:
        say("pygraphviz has no wheel here: to draw, have `dot` on the PATH")
        pip(directory, *options, ".[cli,trio]")


def test_elsewhere() -> bool:
    """Run the tests on each supported Python but that of ``.venv``; return whether all passed."""
    outcomes: dict[str, str] = {}
    here = version(python_of(HOME))
    directories: dict[str, Path] = {}
    for wanted in SUPPORTED:
        if wanted == here:
            continue
        maker = find(wanted)
        if maker is None:
            outcomes[wanted] = "not found"
            continue
        directories[wanted] = ROOT / f".venv-{wanted}"
        install(directories[wanted], maker, "test")
    for wanted in directories:
        say(f"Python {wanted}: testing")
    with ThreadPoolExecutor(len(SUPPORTED)) as pool:  # side by side, since each waits a lot
        runs = pool.map(run_tests, directories.values())
        for wanted, tests in zip(directories, runs, strict=True):
            say(f"Python {wanted}:\n{tests.stdout}")
            outcomes[wanted] = "failed" if tests.returncode else "passed"
    say("Other Pythons: " + ", ".join(f"{which} {what}" for which, what in outcomes.items()))
    return "failed" not in outcomes.values()


def run_tests(directory: Path) -> subprocess.CompletedProcess[str]:
    """Run the tests in the environment in ``directory``; what they print is in the result."""
    options = ("--quiet", "--numprocesses", "auto", "--dist", "worksteal")
    return subprocess.run(
        [python_of(directory), "-m", "pytest", *options],
        check=False,
        cwd=ROOT,
        env=os.environ | BRIEF,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def find(wanted: str) -> str | None:
    """Return a Python of version ``wanted`` that makes environments; None if there is none."""
    for candidate in candidates(wanted):
        if version(candidate) == wanted and has(candidate, "ensurepip"):
            return str(candidate)
    return None


def candidates(wanted: str) -> Iterator[Path]:
    """Yield where a Python of version ``wanted`` may be: the PATH, then pyenv, newest first."""
    for directory in os.get_exec_path():
        yield Path(directory, f"python{wanted}")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(
        pyenv.glob(f"versions/{wanted}.*/bin/python"),
        key=lambda python: [int(digits) for digits in re.findall(r"\d+", python.parts[-3])],
        reverse=True,
    )


def version(python: Path | str) -> str | None:
    """Return the version of ``python``, such as ``"3.12"``; None if it does not run."""
    return answer(python, "import sys; print('{}.{}'.format(*sys.version_info))")


def has(python: Path | str, module: str) -> bool:
    """Whether ``python`` runs and can import ``module``."""
    return answer(python, f"import {module}") is not None


def answer(python: Path | str, code: str) -> str | None:
    """Return what ``python`` prints for ``code``; None if it fails, as pyenv's shims may."""
    try:
        done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def pip(directory: Path, *what: str) -> None:
    """Install ``what`` in the versions that ``constraints.txt`` names."""
    options = ("--quiet", "--disable-pip-version-check", "--constraint", CONSTRAINTS)
    run(python_of(directory), "-m", "pip", "install", *options, *what)


def python_of(directory: Path) -> Path:
    """Return the interpreter of the environment in ``directory``."""
    return directory / "bin" / "python"


def run(*command: Path | str) -> None:
    """Run ``command`` in the project's directory; raise CalledProcessError if it fails."""
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT)


def say(message: str) -> None:
    """Print ``message``, before what the next program prints."""
    print(message, flush=True)


def main(arguments: list[str]) -> int:
    """Do what the command line says; return the exit status."""
    if sys.version_info < (3, 10):  # noqa: UP036 - this file runs before the project does
        print(f"{sys.executable} is too old: choose another (make PYTHON=python3.12)")
        return 1
    try:
        if arguments == ["test"]:
            return 0 if test_elsewhere() else 1
        if arguments[:1] == ["install"]:
            install(HOME, sys.executable, *arguments[1:])
            return 0
    except (SetupError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
