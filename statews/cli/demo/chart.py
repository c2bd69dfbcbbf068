"""The machine that runs, drawn in text: its states in a row, the ways between them in arcs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ...diagram import Chart

__all__ = ["Cell", "Owner", "asides", "sketch", "ways"]

SEPARATOR: Final = " · "
CUT: Final = "…"
SPACE: Final = 3  # columns between two states, at least

Owner = tuple[str, ...]  # of a state, its name; of a way between two, both names


class Cell(NamedTuple):
    """One character, and what it is a part of."""

    char: str
    owners: frozenset[Owner]


BLANK: Final = Cell(" ", frozenset())


def ways(chart: Chart) -> dict[tuple[str, str], list[str]]:
    """The events that lead from one state to another, but for those that all states share."""
    shared = chart.shared()
    found: dict[tuple[str, str], list[str]] = {}
    for row in chart.rows:
        if row.dest is not None and row.label not in shared.get(row.dest, ()):
            events = found.setdefault((row.source, row.dest), [])
            if row.event not in events:
                events.append(row.event)
    return found


def asides(chart: Chart) -> list[str]:
    """What is not drawn as an arc: the ways that all states share, and the rows that stay."""
    everywhere = [
        f"{label}: any state → {dest}"
        for dest, labels in chart.shared().items()
        for label in labels
    ]
    stays = [
        f"{row.event}: stays {node.name}" for node in chart.living for row in chart.inside(node)
    ]
    return everywhere + stays


def sketch(chart: Chart, width: int) -> list[list[Cell]]:
    """The machine in so many columns, as lines of cells; none if that is too narrow.

    Ways to the right run above the states, ways to the left below them.
    """
    drawn = ways(chart)
    names = [node.name for node in chart.nodes]
    boxes = _place(names, drawn, width)
    if boxes is None:
        return []
    above = _Side(
        boxes, {way: events for way, events in drawn.items() if _leads_right(names, way)}
    )
    below = _Side(
        boxes, {way: events for way, events in drawn.items() if not _leads_right(names, way)}
    )
    states = [BLANK] * width
    for name, (start, size) in boxes.items():
        for column, char in enumerate(name.center(size), start):
            states[column] = Cell(char, frozenset({(name,)}))
    lines = [*above.lines(width, "▼", "╭╮"), states, *reversed(below.lines(width, "▲", "╰╯"))]
    is_cut = any(cell.char == CUT for line in lines for cell in line)
    return [] if is_cut else lines


def _leads_right(names: Sequence[str], way: tuple[str, str]) -> bool:
    return names.index(way[0]) < names.index(way[1])


def _place(
    names: Sequence[str], drawn: Iterable[tuple[str, str]], width: int
) -> dict[str, tuple[int, int]] | None:
    """Where each state stands: its first column, and how many."""
    ends = [end for way in drawn for end in way]
    sizes = [max(len(name) + 2, ends.count(name)) for name in names]
    free = width - sum(sizes)
    if free < SPACE * (len(names) - 1):
        return None
    gaps = len(names) - 1
    starts = [sum(sizes[:at]) + free * at // gaps for at in range(len(names))]
    return {name: (start, size) for name, start, size in zip(names, starts, sizes, strict=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arc:
    """One way: from column to column, at a level."""

    way: tuple[str, str]
    label: str
    source: int
    dest: int
    level: int

    @property
    def first(self) -> int:
        return min(self.source, self.dest)

    @property
    def last(self) -> int:
        return max(self.source, self.dest)


class _Side:
    """The arcs above the states, or those below them. Level 0 is the nearest."""

    def __init__(
        self, boxes: Mapping[str, tuple[int, int]], drawn: Mapping[tuple[str, str], list[str]]
    ) -> None:
        ports = _ports(boxes, drawn)
        self._arcs: list[_Arc] = []
        for way in sorted(drawn, key=lambda way: abs(ports[way, 0] - ports[way, 1])):
            source, dest = ports[way, 0], ports[way, 1]
            taken = {
                arc.level
                for arc in self._arcs
                if arc.first <= max(source, dest) and min(source, dest) <= arc.last
            }
            level = next(level for level in range(len(drawn)) if level not in taken)
            label = SEPARATOR.join(drawn[way])
            self._arcs.append(_Arc(way=way, label=label, source=source, dest=dest, level=level))

    def lines(self, width: int, head: str, corners: str) -> list[list[Cell]]:
        """From the highest level to the arrow heads."""
        height = 1 + max((arc.level for arc in self._arcs), default=-1)
        lines = [[BLANK] * width for _ in range(height + 1)]
        for arc in self._arcs:
            line = lines[height - 1 - arc.level]
            own = frozenset({arc.way})
            for column in range(arc.first, arc.last + 1):
                line[column] = Cell("─", own)
            line[arc.first], line[arc.last] = (Cell(corner, own) for corner in corners)
        for arc in self._arcs:
            for line in lines[height - arc.level : height]:
                for column in (arc.source, arc.dest):
                    crossed = line[column].owners
                    line[column] = Cell("┼" if crossed else "│", crossed | {arc.way})
            lines[height][arc.source] = Cell("│", frozenset({arc.way}))
            lines[height][arc.dest] = Cell(head, frozenset({arc.way}))
        for arc in self._arcs:
            _write(lines[height - 1 - arc.level], arc)
        return lines


def _ports(
    boxes: Mapping[str, tuple[int, int]], drawn: Iterable[tuple[str, str]]
) -> dict[tuple[tuple[str, str], int], int]:
    """The column in which each way leaves its source (0) and enters its destination (1).

    An arc that spans more goes around the others: from both sides the outer ones stand inside.
    """
    order = list(boxes)
    ports: dict[tuple[tuple[str, str], int], int] = {}
    for name, (start, size) in boxes.items():
        here: list[tuple[int, tuple[tuple[str, str], int]]] = []
        for way in drawn:
            if name in way:
                end = way.index(name)
                here.append((order.index(way[1 - end]) - order.index(name), (way, end)))
        to_the_left = sorted((each for each in here if each[0] < 0), reverse=True)
        to_the_right = sorted((each for each in here if each[0] > 0), reverse=True)
        ends = to_the_left + to_the_right
        for at, (_, end_of_way) in enumerate(ends):
            ports[end_of_way] = start + (2 * at + 1) * size // (2 * len(ends))
    return ports


def _write(line: list[Cell], arc: _Arc) -> None:
    """Put the label into the longest stretch of the arc that nothing crosses."""
    own = frozenset({arc.way})
    best, start = range(0), arc.first + 1
    for column in range(arc.first + 1, arc.last + 1):
        if line[column].char != "─":
            if column - start > len(best):
                best = range(start, column)
            start = column + 1
    label = f" {arc.label} " if len(arc.label) + 4 <= len(best) else arc.label
    if len(label) > len(best):
        label = label[: max(0, len(best) - 1)] + CUT
    begin = best.start + (len(best) - len(label)) // 2
    for column, char in enumerate(label, begin):
        line[column] = Cell(char, own)
