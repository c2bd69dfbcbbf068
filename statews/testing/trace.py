"""What happened in a test, line by line, with the times of the clock it ran by."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from typing import Final

from anyio import current_time

__all__ = ["Trace"]

KEPT: Final = 10_000  # lines; older ones only count in the digest
FIRST: Final = 100  # lines that are kept as well: there it begins
LAST: Final = 400  # lines that say enough of how it ends


class Trace:
    """Lines such as `12.500 client -> server  text of 5 bytes 'hello'`, the oldest first.

    Attributes:
        lines: the latest 10,000.
    """

    __slots__ = ("_clock", "_count", "_digest", "_first", "_since", "lines")

    def __init__(self, clock: Callable[[], float] = current_time) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT)
        self._clock = clock
        self._since: float | None = None
        self._first: list[str] = []
        self._count = 0
        self._digest = hashlib.sha256()

    def note(self, who: str, what: str) -> None:
        """Write a line. The first one is written at 0, and so is what comes before a run."""
        try:
            now = self._clock()
        except RuntimeError:  # no event loop runs
            now = self._since or 0.0
        if self._since is None:
            self._since = now
        line = f"{now - self._since:10.3f} {who:<10} {what}"
        self.lines.append(line)
        self._count += 1
        if self._count <= FIRST:
            self._first.append(line)
        self._digest.update(line.encode() + b"\n")

    @property
    def digest(self) -> str:
        """SHA-256 over every line ever written: two runs that did the same have the same."""
        return self._digest.hexdigest()

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def excerpt(self) -> str:
        """How it begins and how it ends; all of it, if it is short."""
        left_out = self._count - FIRST - LAST
        if left_out <= 0:
            return str(self)
        last = list(self.lines)[-LAST:]
        return "\n".join([*self._first, f"[{left_out} lines are left out here]", *last])
