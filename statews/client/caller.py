"""Calls what is the application's in the middle of our work, where nobody waits for its errors."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeVar

__all__ = ["Caller"]

logger: Final = logging.getLogger("statews.client")

Argument = TypeVar("Argument")
Result = TypeVar("Result")


class Caller:
    """Calls the functions of one connection's application. Each kind of failure is told once."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told: set[str] = set()

    def call(
        self, what: str, function: Callable[[Argument], Result], argument: Argument
    ) -> Result | None:
        """Return what it gives; None, and a line in the log, if it raises."""
        try:
            return function(argument)
        except Exception as error:  # noqa: BLE001 - yours may raise anything; it is told as it is
            self.complain(what, f"{what} failed with {type(error).__name__}: {error}")
            return None

    def complain(self, kind: str, text: str) -> None:
        """Tell what is wrong, unless something of that kind has been told."""
        if kind not in self._told:
            self._told.add(kind)
            logger.warning("%s", text)
