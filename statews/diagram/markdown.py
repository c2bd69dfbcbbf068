"""A chart as Markdown: the picture, and tables of its states, rows and refusals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .chart import Chart, Node
from .mermaid import mermaid

__all__ = ["markdown"]


def markdown(chart: Chart, *, current: str | None = None) -> str:
    """The Markdown source of a chart.

    Args:
        chart: what is written down.
        current: the state to mark as the present one.

    Raises:
        UsageError: `current` is no state of the chart.
    """
    now = None if current is None else chart.node(current)
    picture = mermaid(chart, current=current).rstrip("\n")
    sections = [
        f"# The machine `{chart.name}`",
        f"```mermaid\n{picture}\n```",
        "## States",
        _table(
            ("state", "what it is", "what it does", "within", "phases", "on leaving"),
            _states(chart, now),
        ),
        "## Rows",
        _table(("event [guard] / effect", "from", "to"), _rows(chart)),
    ]
    if chart.refusals:
        refused = _table(("event", "in", "because"), _refusals(chart))
        sections += ["## Refused, and nothing changes", refused]
    return "\n\n".join(sections) + "\n"


def _states(chart: Chart, now: Node | None) -> Iterator[tuple[str, ...]]:
    for node in chart.nodes:
        marks = {"initial": node.is_initial, "final": node.is_final, "**current**": node is now}
        held = ", ".join(mark for mark, holds in marks.items() if holds)
        name = f"{node.name} ({held})" if held else node.name
        yield name, node.doc, node.runs, node.within, ", ".join(node.phases), node.on_exit


def _rows(chart: Chart) -> Iterator[tuple[str, ...]]:
    """All rows; those that differ only in where they come from on one line."""
    sources: dict[tuple[str, str], list[str]] = {}
    for row in chart.rows:
        sources.setdefault((row.label, row.dest or "(stays)"), []).append(row.source)
    for (label, dest), have in sources.items():
        yield label, ", ".join(have), dest


def _refusals(chart: Chart) -> Iterator[tuple[str, ...]]:
    states: dict[tuple[str, str], list[str]] = {}
    for event, state, why in chart.refusals:
        states.setdefault((event, why), []).append(state)
    for (event, why), have in states.items():
        yield event, ", ".join(have), why


def _table(head: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> str:
    rows = [head, tuple("---" for _ in head), *lines]
    return "\n".join(f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in rows)


def _escaped(cell: str) -> str:
    return cell.replace("|", r"\|")
