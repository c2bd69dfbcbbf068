"""Fuzz what peers say, guided by coverage: frames, greetings, and what a session makes of them.

    python tools/fuzz.py                          every target for a minute, which is `make fuzz`
    python tools/fuzz.py --seconds 600 peer       one target for ten
    python tools/fuzz.py --again .fuzz/peer/crash-0123    what was found, once more

The targets are in ``fuzzed.py``, and what they begin with in ``fuzz_seeds.py``. They run side by
side, each in a process of its own, with Atheris: libFuzzer, told of every branch in the code that
reads. What reached something new is kept in ``.fuzz/TARGET/corpus`` for the next run. An
exception, 10 seconds or 1 GiB for one input are a finding: it is kept beside the corpus, and the
run fails.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol, cast

ROOT: Final = Path(__file__).resolve().parent.parent
HOME: Final = ROOT / ".fuzz"
NAMES: Final = ("parse", "hello", "welcome", "peer")
LONGEST: Final = {"parse": 256, "hello": 2048, "welcome": 2048, "peer": 2048}  # bytes of an input
PATIENCE: Final = 60  # seconds beyond what a run was given
SHOWN: Final = 25  # lines of what a failed run has printed


class Engine(Protocol):
    """What is used of Atheris, which has no types."""

    def instrument_imports(self, include: Sequence[str]) -> AbstractContextManager[None]:
        """Have the modules that are imported now report their branches."""
        ...

    def Setup(  # noqa: N802 - its name
        self, arguments: Sequence[str], target: Callable[[bytes], None]
    ) -> object:
        """Read libFuzzer's options."""
        ...

    def Fuzz(self) -> None:  # noqa: N802 - its name
        """Run, and end the process."""
        ...


class Fuzzed(Protocol):
    """The module `fuzzed`. It is imported late, so that what it imports is instrumented."""

    TARGETS: dict[str, Callable[[bytes], None]]


class Seeds(Protocol):
    """The module `fuzz_seeds`, which is late for the same reason."""

    SEEDS: dict[str, Callable[[], Iterator[str | bytes]]]
    WORDS: tuple[str, ...]


def fuzz(name: str, options: Sequence[str]) -> None:
    """Fuzz one target in this process, and end it."""
    engine = cast("Engine", import_module("atheris"))
    with engine.instrument_imports(include=["statews.protocol"]):
        fuzzed = cast("Fuzzed", import_module("fuzzed"))
        begin = cast("Seeds", import_module("fuzz_seeds"))
    home = HOME / name
    corpus = home / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in begin.SEEDS[name]():
        content = seed.encode() if isinstance(seed, str) else seed
        (corpus / sha256(content).hexdigest()[:16]).write_bytes(content)
    words = home / "words"
    words.write_text("".join(f'"{_escape(word)}"\n' for word in begin.WORDS), encoding="utf-8")
    limits = [f"-max_len={LONGEST[name]}", "-timeout=10", "-rss_limit_mb=1024"]
    output = [f"-dict={words}", f"-artifact_prefix={home}/", "-print_final_stats=1"]
    engine.Setup([sys.argv[0], *limits, *output, *options], fuzzed.TARGETS[name])
    engine.Fuzz()


def _escape(word: str) -> str:
    """A word as libFuzzer's dictionaries have it."""
    return "".join(f"\\x{byte:02x}" for byte in word.encode())


def start(name: str, seconds: int) -> subprocess.Popen[bytes]:
    """Fuzz one target in a process of its own."""
    home = HOME / name
    home.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds}", str(home / "corpus")]
    with (home / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, __file__, "--one", name, *options],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def report(name: str, status: int, seconds: int) -> bool:
    """Print what a run has come to; return whether it found nothing."""
    log = (HOME / name / "log").read_text(encoding="utf-8", errors="replace")
    count = re.search(r"number_of_executed_units: (\d+)", log)
    covered = re.findall(r" cov: (\d+) ft: (\d+) corp: (\d+)", log)
    if status or count is None:
        print(f"{name}: failed with status {status}", *log.splitlines()[-SHOWN:], sep="\n")
        return False
    edges, features, inputs = covered[-1] if covered else ("?", "?", "?")
    print(
        f"{name}: {int(count[1]):,} inputs, {int(count[1]) // seconds:,} a second;"
        f" {inputs} of them kept, for {edges} edges and {features} features"
    )
    return True


def fuzz_all(names: Sequence[str], seconds: int) -> bool:
    """Fuzz targets side by side; return whether nothing was found."""
    runs = [(name, start(name, seconds)) for name in names]
    is_clean = True
    for name, run in runs:
        try:
            status = run.wait(seconds + PATIENCE)
        except subprocess.TimeoutExpired:
            run.kill()
            status = run.wait()
        is_clean &= report(name, status, seconds)
    return is_clean


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; return the exit status."""
    if arguments[:1] == ["--one"]:
        fuzz(arguments[1], arguments[2:])
    parser = argparse.ArgumentParser(description="Fuzz what peers say.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(NAMES))
    parser.add_argument("--seconds", type=int, default=60, help="for each target, side by side")
    parser.add_argument("--again", type=Path, metavar="FILE", help="run one input, and show it")
    parsed = parser.parse_args(arguments)
    if parsed.again is not None:
        fuzz(parsed.again.resolve().parent.name, [str(parsed.again)])
    unknown = set(parsed.targets) - set(NAMES)
    if unknown or parsed.seconds < 1:
        parser.error(f"there is no target {', '.join(unknown)}" if unknown else "too short")
    return 0 if fuzz_all(parsed.targets or NAMES, parsed.seconds) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
