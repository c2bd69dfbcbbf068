"""Turns the numbers of a run into text: a table for each scenario, then every bar."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from benchmarks.interpreter import optimisation
from benchmarks.scenarios import BACKENDS, Bar, Case, Library, Scenario

_PACKAGES = (
    "statews", "anyio", "picows", "aiofastnet", "aiohttp", "websockets",
    "wsproto", "trio", "trio-websocket", "httpx-ws", "uvloop",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cost:
    """What one case cost, over all repetitions."""

    numbers: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one: one disturbed repetition does not move it."""
        return statistics.median(self.numbers)

    @property
    def spread_percent(self) -> float:
        """Half the distance of the extremes, in percent of the median."""
        return (max(self.numbers) - min(self.numbers)) / 2 / self.median * 100


Costs = Mapping[Case, Cost]


def heading() -> str:
    """The interpreter, the machine and the versions."""
    build = optimisation() or "NOT optimised (no PGO): ratios to libraries in C flatter them"
    return "\n".join(
        (
            f"{platform.python_implementation()} {platform.python_version()}, {build}",
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            ", ".join(_versions()),
        )
    )


def _versions() -> Iterator[str]:
    for package in _PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"{package} without metadata"


def table(scenario: Scenario, costs: Costs) -> str:
    """One row a library, one column a backend: the median, its spread, and the ratio."""
    libraries: list[Library] = list(
        dict.fromkeys(case.library for case in scenario.cases() if case in costs)
    )
    rows = [[scenario.name, *BACKENDS]]
    rows += [
        [library, *(_cell(Case(library, backend), costs) for backend in BACKENDS)]
        for library in libraries
    ]
    return f"{_aligned(rows)}\n({scenario.unit}: median, half range; statews / peer)"


def _cell(case: Case, costs: Costs) -> str:
    cost = costs.get(case)
    if cost is None:
        return "-"
    text = f"{_number(cost.median)} ±{cost.spread_percent:2.0f}%"
    ours = costs.get(Case("statews", case.backend))
    if ours is None or case.library == "statews":
        return text
    return f"{text}  {ours.median / cost.median:5.2f}x"


def bars(scenarios: Iterable[Scenario], results: Mapping[str, Costs]) -> str:
    """What statews is held to, in absolute numbers, and whether it is met."""
    rows = [["bar", "backend", "at most", "that is", "statews", "verdict"]]
    for scenario in scenarios:
        rows += [
            _bar(scenario, bar, results[scenario.name])
            for bar in scenario.bars
            if scenario.name in results
        ]
    return _aligned(rows)


def _bar(scenario: Scenario, bar: Bar, costs: Costs) -> list[str]:
    limit, meaning = _limit(bar, costs)
    ours = costs.get(Case("statews", bar.backend))
    known = "-" if ours is None else _number(ours.median)
    if limit is None or ours is None:
        verdict = "not measured"
    else:
        word = "met" if ours.median <= limit else "MISSED"
        verdict = f"{word} ({ours.median / limit:.2f} of it)"
    unit = "KiB" if scenario.activity == "idle" else "us"
    allowed = "-" if limit is None else f"{_number(limit)} {unit}"
    return [scenario.name, bar.backend, meaning, allowed, known, verdict]


def _limit(bar: Bar, costs: Costs) -> tuple[float | None, str]:
    if bar.peer is None:
        return bar.factor, "absolute"
    factor = f"{bar.factor:.2f}x" if bar.factor >= 0.1 else f"1/{1 / bar.factor:.0f} of"
    cost = costs.get(bar.peer)
    limit = None if cost is None else bar.factor * cost.median
    return limit, f"{factor} {bar.peer.library} on {bar.peer.backend}"


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join((lines[0], "  ".join("-" * width for width in widths), *lines[1:]))
