"""How far one side of a session may be ahead of the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...errors import UsageError

__all__ = ["DEFAULT_WINDOW", "Window"]


@dataclass(frozen=True, slots=True)
class Window:
    """How much a peer may have unhandled. One message may always be on its way.

    Attributes:
        messages: at least 1.
        size_bytes: of their payloads, at least 1.
    """

    messages: int = 1024
    size_bytes: int = 1024 * 1024

    def __post_init__(self) -> None:
        for name in ("messages", "size_bytes"):
            value: object = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UsageError(f"Window.{name} must be a whole number above 0, got {value!r}")


DEFAULT_WINDOW: Final = Window()
