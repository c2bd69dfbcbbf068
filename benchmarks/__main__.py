"""Runs the scenarios: each case in its own fresh process, the repetitions interleaved."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import report
from benchmarks.report import Cost
from benchmarks.scenarios import BACKENDS, LIBRARIES, REQUIRED, SCENARIOS, Case, Scenario

_STEADY_MEMORY: Final = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}
"""Makes glibc keep the memory that it has once taken (mallopt(3)), for everybody.

Left alone it gives large blocks back to the kernel, or keeps them, as their sizes have happened
to come. The page faults of the former are up to three quarters of what a message of 1 MiB costs.
That is what users have, so it is measured by default; this takes it away, and leaves what a
library itself does with each byte.
"""

_HUNG_S: Final = 120.0
"""How long a case may take before it counts as hung; not a limit on what it measures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line chose."""

    only: tuple[str, ...]
    libraries: frozenset[str]
    backends: frozenset[str]
    repetitions: int
    budget_s: float
    has_steady_memory: bool
    save: Path | None

    def scenarios(self) -> list[Scenario]:
        """Those whose name begins as asked for."""
        return [each for each in SCENARIOS if each.name.startswith(self.only)]

    def cases(self, scenario: Scenario) -> list[Case]:
        """Those that were asked for and can be imported."""
        return [
            case
            for case in scenario.cases()
            if case.library in self.libraries
            and case.backend in self.backends
            and importlib.util.find_spec(REQUIRED[case.library])
        ]


def parsed(arguments: list[str] | None = None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--only", nargs="+", default=[""], metavar="NAME", help="scenarios whose name begins so")
    add("--libraries", nargs="+", default=[*LIBRARIES], choices=[*LIBRARIES], metavar="LIBRARY")
    add("--backends", nargs="+", default=BACKENDS, choices=BACKENDS, metavar="BACKEND")
    add("--repetitions", type=int, default=5, metavar="COUNT")
    add("--quick", action="store_true", help="three repetitions, and less CPU for each case")
    add("--steady-memory", action="store_true", help="keep glibc from giving memory back")
    add("--save", type=Path, metavar="FILE", help="write every single number as JSON")
    chosen = parser.parse_args(arguments)
    return Options(
        only=tuple(chosen.only),
        libraries=frozenset(chosen.libraries),
        backends=frozenset(chosen.backends),
        repetitions=min(chosen.repetitions, 3) if chosen.quick else chosen.repetitions,
        budget_s=0.15 if chosen.quick else 0.6,
        has_steady_memory=chosen.steady_memory,
        save=chosen.save,
    )


@contextmanager
def serving() -> Iterator[int]:
    """The load server in a process of its own, on the last core; its port."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        os.sched_setaffinity(process.pid, _cores()[-1:])
        yield int(process.stdout.readline())
        # Leaving closes the pipe of its standard input, and the server ends.


def measured(case: Case, scenario: Scenario, options: Options, port: int) -> float | None:
    """One number, or `None` with the reason on standard error."""
    command = [
        *(sys.executable, "-m", "benchmarks.measure"),
        *(scenario.name, case.library, case.backend, str(port), str(options.budget_s)),
    ]
    is_steady = options.has_steady_memory and scenario.activity != "idle"
    environment = os.environ | (_STEADY_MEMORY if is_steady else {})
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_HUNG_S, check=True
        )
    except subprocess.CalledProcessError as failure:
        print(f"failed: {case}, {scenario.name}\n{failure.stderr.strip()[-300:]}", file=sys.stderr)
    except subprocess.TimeoutExpired:
        print(f"hung: {case}, {scenario.name}", file=sys.stderr)
    else:
        return float(done.stdout)
    return None


def costs(scenario: Scenario, options: Options, port: int) -> dict[Case, Cost]:
    """All cases of a scenario, interleaved, so that a noisy minute hits everybody."""
    numbers: dict[Case, list[float]] = {case: [] for case in options.cases(scenario)}
    for repetition in range(options.repetitions):
        print(f"{scenario.name}: {repetition + 1} of {options.repetitions}", file=sys.stderr)
        for case in list(numbers):
            number = measured(case, scenario, options, port)
            if number is None:
                del numbers[case]  # its better days are not reported, nor is it tried again
            else:
                numbers[case].append(number)
    return {case: Cost(tuple(each)) for case, each in numbers.items()}


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def main() -> None:
    """Measure and report."""
    options = parsed()
    print(report.heading(), end="\n\n", flush=True)
    results: dict[str, dict[Case, Cost]] = {}
    with serving() as port:
        # The clients inherit it, and are not moved about between cold caches.
        os.sched_setaffinity(0, _cores()[:1])
        for scenario in options.scenarios():
            results[scenario.name] = costs(scenario, options, port)
            print(report.table(scenario, results[scenario.name]), end="\n\n", flush=True)
    print(report.bars(options.scenarios(), results))
    if options.save is not None:
        rows = [
            {
                "scenario": name,
                "library": case.library,
                "backend": case.backend,
                "numbers": cost.numbers,
            }
            for name, found in results.items()
            for case, cost in found.items()
        ]
        options.save.write_text(json.dumps({"about": report.heading(), "results": rows}, indent=1))


if __name__ == "__main__":
    main()
