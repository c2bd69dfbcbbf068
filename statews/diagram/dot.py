"""A chart as Graphviz DOT, which SVG and PNG are rendered from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import Final

from .chart import Chart, Node
from .palette import INK, MUTED, PAPER, Paint, paints

__all__ = ["dot"]

_INDENT: Final = "    "
_FONT: Final = 'fontname="Helvetica,Arial,sans-serif"'
_SETTINGS: Final = (
    f'graph [bgcolor="{PAPER}", pad=0.25, nodesep=0.5, ranksep=0.55, compound=true]',
    f'graph [{_FONT}, fontsize=12, fontcolor="{MUTED}"]',
    'node [shape=box, style="rounded,filled", margin="0.12,0.08"]',
    f'node [{_FONT}, fontsize=11, fontcolor="{INK}"]',
    f'edge [color="{MUTED}", arrowsize=0.7]',
    f'edge [{_FONT}, fontsize=11, fontcolor="{INK}"]',
)
_FRAME: Final = f'label="living", labeljust=l, margin=16, style="rounded,dashed", color="{MUTED}"'
_POINT: Final = f'label="", shape=point, width=0.01, color="{MUTED}"'
_MARK: Final = f'label="", style=filled, fillcolor="{INK}", color="{INK}"'


def dot(chart: Chart, *, current: str | None = None) -> str:
    """The DOT source of a chart.

    Args:
        chart: what is drawn.
        current: the state to mark as the present one.

    Raises:
        UsageError: `current` is no state of the chart.
    """
    now = None if current is None else chart.node(current)
    living = [line for node in chart.living for line in _node(chart, node, now)]
    final = [line for node in chart.final for line in _node(chart, node, now)]
    body = [*_SETTINGS, *_framed(chart, living), *final, *_arrows(chart), *_shared(chart)]
    return "\n".join((f'digraph "{chart.name}" {{', *_indented(body), "}", ""))


def _node(chart: Chart, node: Node, now: Node | None) -> Iterator[str]:
    """A state, with the dot that the machine starts from or the bull's eye that it ends in."""
    yield from _box(chart, node, paints(chart)[node.name], is_current=node is now)
    if node.is_initial:
        yield f"initial [{_MARK}, shape=circle, width=0.17]"
        yield f"initial -> {node.id}"
    if node.is_final:
        yield f"final_{node.id} [{_MARK}, shape=doublecircle, width=0.12]"
        yield f"{node.id} -> final_{node.id}"


def _box(chart: Chart, node: Node, paint: Paint, *, is_current: bool) -> Iterator[str]:
    title = f"{node.name} (current)" if is_current else node.name
    width = 4 if is_current else 1.25
    doc, *lines = chart.lines(node)
    yield f'{node.id} [fillcolor="{paint.fill}", color="{paint.line}", penwidth={width}, label=<'
    yield '<table border="0" cellborder="0" cellspacing="0" cellpadding="2">'
    yield f'<tr><td><font point-size="15"><b>{escape(title)}</b></font></td></tr>'
    yield f'<tr><td><font color="{MUTED}">{escape(doc)}</font></td></tr>'
    if lines:
        yield '<tr><td height="4"></td></tr><hr/><tr><td height="4"></td></tr>'
    for line in lines:
        yield f'<tr><td align="left">{escape(line)}</td></tr>'
    yield "</table>>]"


def _framed(chart: Chart, living: list[str]) -> Iterator[str]:
    """The living states, in a frame if there is an arrow to draw from it."""
    if not chart.shared():
        yield from living
        return
    yield "subgraph cluster_living {"
    yield f"{_INDENT}graph [{_FRAME}]"
    yield from _indented(living)
    for node in _left_for(chart):
        yield f"{_INDENT}exit_{node.id} [{_POINT}]"
    yield "}"


def _left_for(chart: Chart) -> list[Node]:
    """The states that arrows of single states lead to, out of the frame.

    Graphviz leads such an arrow around all that is in the frame. It goes straight down through a
    point inside, at the frame's edge: UML's exit point.
    """
    dests = {dest for _, dest in chart.arrows()} if chart.shared() else set[str]()
    return [node for node in chart.final if node.name in dests]


def _arrows(chart: Chart) -> Iterator[str]:
    exits = {node.name for node in _left_for(chart)}
    for (source, dest), labels in chart.arrows().items():
        tail, head, label = chart.node(source).id, chart.node(dest).id, _label(labels)
        if dest in exits:
            yield f"{tail} -> exit_{head} [{label}, weight=4, arrowhead=none]"
        else:
            yield f"{tail} -> {head} [{label}]"
    for node in _left_for(chart):
        yield f"exit_{node.id} -> {node.id} [weight=8]"


def _shared(chart: Chart) -> Iterator[str]:
    """The arrows of all living states, from the frame around them (`ltail`)."""
    inside = [node for node in chart.living if node.runs] or chart.living
    for dest, labels in chart.shared().items():
        arrow = f"{inside[-1].id} -> {chart.node(dest).id}"
        yield f"{arrow} [{_label(labels)}, ltail=cluster_living, penwidth=1.6]"


def _label(labels: Iterable[str]) -> str:
    r"""Each label on a line of its own, aligned left (`\l`), a little off the arrow."""
    lines = "".join(f" {label} \\l" for label in labels)
    return f'label="{lines}"'


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (_INDENT + line for line in lines)
