"""Search further than the tests do, and see each mutation caught: `python -m tests.model`."""

from __future__ import annotations

import sys
import time

from .bounds import FULL, WIDE
from .mutations import CAUGHT, Mutation, Rules, mutated
from .search import Report, search


def main() -> int:
    """Print one line for each search; 1 if one of them did not end as it should."""
    is_good = True
    for title, all_bounds in (("full", FULL), ("wide", WIDE)):
        for name, bounds in all_bounds.items():
            report = _searched(f"{title} {name}", Rules(bounds))
            is_good &= report.is_exhausted
    for mutation in Mutation:
        rules = mutated(mutation)
        report = _searched(f"{mutation.name} {rules.bounds.name}", rules)
        is_good &= report.violation is not None and (
            report.violation.broken is CAUGHT[mutation][1]
        )
    return 0 if is_good else 1


def _searched(title: str, rules: Rules) -> Report:
    began = time.perf_counter()
    report = search(rules)
    seconds = time.perf_counter() - began
    _say(f"{title:36} {report.states:9,} states {seconds:6.1f} s  {_outcome(report)}")
    if report.violation is not None:
        _say(f"    {' '.join(report.violation.trace)}")
    return report


def _outcome(report: Report) -> str:
    if report.violation is not None:
        return str(report.violation)
    return "holds" if report.is_exhausted else "is too large"


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - this is a program


if __name__ == "__main__":
    sys.exit(main())
