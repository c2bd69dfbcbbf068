"""A chart as a Mermaid `stateDiagram-v2`, which GitHub and most documentation tools draw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from .chart import Chart, Node
from .palette import INK, paints

__all__ = ["mermaid"]

_INDENT: Final = "    "


def mermaid(chart: Chart, *, current: str | None = None) -> str:
    """The Mermaid source of a chart.

    Args:
        chart: what is drawn.
        current: the state to mark as the present one.

    Raises:
        UsageError: `current` is no state of the chart.
    """
    now = None if current is None else chart.node(current)
    living = [line for node in chart.living for line in _state(chart, node, now)]
    final = [line for node in chart.final for line in _state(chart, node, now)]
    shared = [_arrow("living", chart.node(to).id, labels) for to, labels in chart.shared().items()]
    within, leaving = _arrows(chart)
    body = [*_framed([*living, *within], in_frame=bool(shared)), *final, *leaving, *shared]
    lines = ["direction TB", *body, *_classes(chart, now)]
    return "\n".join(("stateDiagram-v2", *_indented(lines), ""))


def _framed(living: list[str], *, in_frame: bool) -> list[str]:
    """The living states, in a composite state if there is an arrow to draw from it."""
    return ['state "living" as living {', *_indented(living), "}"] if in_frame else living


def _state(chart: Chart, node: Node, now: Node | None) -> Iterator[str]:
    title = f"{node.name} (current)" if node is now else node.name
    yield f'state "{title}" as {node.id}'
    for line in chart.lines(node):
        yield f"{node.id} : {_escaped(line)}"
    if node.is_initial:
        yield f"[*] --> {node.id}"
    if node.is_final:
        yield f"{node.id} --> [*]"


def _arrows(chart: Chart) -> tuple[list[str], list[str]]:
    """The arrows between living states, which stand in their frame, and those that leave it."""
    within: list[str] = []
    leaving: list[str] = []
    for (source, dest), labels in chart.arrows().items():
        tail, head = chart.node(source), chart.node(dest)
        (leaving if head.is_final else within).append(_arrow(tail.id, head.id, labels))
    return within, leaving


def _arrow(tail: str, head: str, labels: Iterable[str]) -> str:
    return f"{tail} --> {head} : {'<br/>'.join(_escaped(label) for label in labels)}"


def _classes(chart: Chart, now: Node | None) -> Iterator[str]:
    by_name = paints(chart)
    for paint in dict.fromkeys(by_name.values()):
        yield f"classDef {paint.name} fill:{paint.fill},stroke:{paint.line},color:{INK}"
    for name, paint in by_name.items():
        yield f"class {chart.node(name).id} {paint.name}"
    if now is not None:
        yield "classDef current stroke-width:4px,font-weight:bold"
        yield f"class {now.id} current"


def _escaped(text: str) -> str:
    """Text that the parser takes as it is: it stops at `:` and `;` (entity codes without `&`)."""
    codes = {"#": "#35;", ":": "#58;", ";": "#59;", "<": "#lt;", ">": "#gt;"}
    return "".join(codes.get(character, character) for character in text)


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (_INDENT + line for line in lines)
