"""The machines that run, as Mermaid, DOT, Markdown, SVG and PNG."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ..lifecycle import connection
from ..lifecycle import session as _session
from .chart import Chart, Node, Row, read_machine
from .dot import dot
from .files import KEPT, Format, draw, stale, write
from .markdown import markdown
from .mermaid import mermaid
from .render import png, svg

__all__ = [
    "CHARTS",
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
    "session",
    "stale",
    "svg",
    "write",
]


def lifecycle() -> Chart:
    """The life of a connection, as the machine in `statews.lifecycle` has it now."""
    return read_machine(connection.MACHINE, name="lifecycle", refusals=connection.REFUSALS)


def session() -> Chart:
    """The life of a session, as the machine in `statews.lifecycle.session` has it now."""
    return read_machine(_session.MACHINE, name="session", refusals=_session.REFUSALS)


# All declared machines, by whose life it is.
CHARTS: Final[Mapping[str, Callable[[], Chart]]] = {"connection": lifecycle, "session": session}
