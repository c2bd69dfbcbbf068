"""The machine that runs, as Mermaid, DOT, Markdown, SVG and PNG."""

from __future__ import annotations

from ..lifecycle import MACHINE, REFUSALS
from .chart import Chart, Node, Row, read_machine
from .dot import dot
from .files import KEPT, Format, draw, stale, write
from .markdown import markdown
from .mermaid import mermaid
from .render import png, svg

__all__ = [
    "KEPT",
    "Chart",
    "Format",
    "Node",
    "Row",
    "dot",
    "draw",
    "lifecycle",
    "markdown",
    "mermaid",
    "png",
    "read_machine",
    "stale",
    "svg",
    "write",
]


def lifecycle() -> Chart:
    """The life of a connection, as the machine in `statews.lifecycle` has it now."""
    return read_machine(MACHINE, name="lifecycle", refusals=REFUSALS)
