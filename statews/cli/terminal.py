"""What the terminal is given: colours where it wants them, and nothing that could command it."""

from __future__ import annotations

import os
import re
from enum import Enum
from io import TextIOWrapper
from typing import TYPE_CHECKING, BinaryIO, Final, cast

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["Colour", "Painter", "escape", "replace_unprintable"]

# All that moves the cursor, rings, or turns the direction of text: C0 but tab and line feed,
# DEL and C1 (ECMA-48), the separators of Unicode, its bidirectional controls, lone surrogates.
_COMMANDS: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


class Colour(Enum):
    """A colour of the terminal's own palette (ECMA-48 section 8.3.117)."""

    DIM = "2"
    BOLD = "1"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    BLUE = "34"
    MAGENTA = "35"
    CYAN = "36"


class Painter:
    """Colours text for a stream, if it is a terminal that shows them and `NO_COLOR` is not set.

    Attributes:
        is_terminal: whether somebody looks at it.
    """

    def __init__(self, stream: TextIO) -> None:
        self.is_terminal: bool = stream.isatty()
        environment = os.environ
        self._has_colours = (
            self.is_terminal
            and not environment.get("NO_COLOR")  # https://no-color.org
            and environment.get("TERM") != "dumb"
            and (os.name == "posix" or "WT_SESSION" in environment)
        )

    def __call__(self, text: str, colour: Colour | None) -> str:
        """The text, coloured or not."""
        if colour is None or not self._has_colours:
            return text
        return f"\x1b[{colour.value}m{text}\x1b[0m"


def replace_unprintable(stream: TextIO) -> None:
    """Let a stream write `?` for what its encoding does not have."""
    if isinstance(stream, TextIOWrapper):
        cast("TextIOWrapper[BinaryIO]", stream).reconfigure(errors="replace")


def escape(text: str) -> str:
    """The text of a stranger, with its control characters written out; tabs and lines stay."""
    return _COMMANDS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
