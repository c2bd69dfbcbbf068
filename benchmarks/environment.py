"""Runs the benchmarks in an environment with the peers, on an optimised interpreter.

Where none is found, the one that runs this is taken, and the report says so. The environment has
no pip, because Debian's interpreter cannot bring one: the pip beside this one fills it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parent.parent
_ENVIRONMENT: Final = _ROOT / ".venv-bench"
_VERSIONS: Final = ("3.14", "3.13", "3.12", "3.11", "3.10")


def candidates() -> Iterator[str]:
    """The interpreter that runs this, then those of the system and on the PATH, newest first."""
    yield sys.executable
    yield "/usr/bin/python3"
    for version in _VERSIONS:
        for folder in ("/usr/bin", "/usr/local/bin", None):
            found = shutil.which(f"python{version}", path=folder)
            if found is not None:
                yield found


def is_optimised(python: str) -> bool:
    """Ask that interpreter."""
    try:
        asked = subprocess.run(
            [python, "-m", "benchmarks.interpreter"],
            cwd=_ROOT,
            capture_output=True,
            timeout=30,
            check=False,
        )
    except OSError:
        return False
    return asked.returncode == 0


def main() -> None:
    """Make the environment, or bring it up to date, and become the benchmarks in it."""
    python = next(filter(is_optimised, candidates()), sys.executable)
    inside = str(_ENVIRONMENT / "bin" / "python")
    subprocess.run([python, "-m", "venv", "--without-pip", _ENVIRONMENT], check=True)
    pip = [sys.executable, "-m", "pip", "--python", inside, "--disable-pip-version-check"]
    what = ["--constraint", "constraints.txt", "--group", "bench", "--editable", ".[trio]"]
    subprocess.run([*pip, "install", "--quiet", *what], check=True, cwd=_ROOT)
    os.chdir(_ROOT)
    os.execv(inside, [inside, "-m", "benchmarks", *sys.argv[1:]])  # noqa: S606 - no shell is meant


if __name__ == "__main__":
    main()
