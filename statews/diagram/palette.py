"""The colours of the states, by what a state is: busy, resting, the first one or a final one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from typing import Final

from .chart import Chart, Node

__all__ = ["INK", "MUTED", "PAPER", "Paint", "paints"]

# Dark text on light fills: at least 7 to 1 (WCAG 2.2 section 1.4.6), on a white card of its own,
# so that a picture looks the same on a light and on a dark page.
PAPER: Final = "#ffffff"
INK: Final = "#0f172a"
MUTED: Final = "#475569"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paint:
    """How a state is filled and outlined.

    Attributes:
        name: as a Mermaid class.
    """

    name: str
    fill: str
    line: str


_START: Final = Paint(name="start", fill="#f1f5f9", line="#64748b")
_REST: Final = Paint(name="rest", fill="#fee2e2", line="#dc2626")
_OVER: Final = Paint(name="over", fill="#e2e8f0", line="#334155")
_BUSY: Final = (
    Paint(name="busy1", fill="#dbeafe", line="#2563eb"),
    Paint(name="busy2", fill="#dcfce7", line="#16a34a"),
    Paint(name="busy3", fill="#fef3c7", line="#d97706"),
    Paint(name="busy4", fill="#f3e8ff", line="#9333ea"),
)


def paints(chart: Chart) -> dict[str, Paint]:
    """The paint of each state, by its name: a busy one has a colour of its own."""
    busy = cycle(_BUSY)

    def paint(node: Node) -> Paint:
        if node.is_final:
            return _OVER
        if node.runs:
            return next(busy)
        return _START if node.is_initial else _REST

    return {node.name: paint(node) for node in chart.nodes}
