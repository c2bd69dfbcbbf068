"""The demo as a log: one line for each thing that happens."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from ..terminal import Colour, Painter

if TYPE_CHECKING:
    from .logs import Kind
    from .play import Play

__all__ = ["COLOURS", "Log"]

COLOURS: Final[dict[Kind, Colour | None]] = {
    "step": Colour.BOLD,
    "state": None,
    "lost": Colour.YELLOW,
    "ok": Colour.GREEN,
    "failed": Colour.RED,
}


class Log:
    """Prints what was not printed yet."""

    def __init__(self, paint: Painter) -> None:
        self._paint = paint
        self._printed = 0

    def show(self, play: Play) -> None:
        """See `View`."""
        entries = play.stage.log
        for entry in entries[self._printed :]:
            space = "" if entry.kind == "step" else "  "
            text = self._paint(f"{space}{entry.text}", COLOURS[entry.kind])
            print(f"{entry.at:7.2f}  {text}")
        self._printed = len(entries)
        sys.stdout.flush()
