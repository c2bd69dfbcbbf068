"""One way of one link: what passes, and where a fault cuts it."""

from __future__ import annotations

import math
from typing import NamedTuple

from .faults import Cut, Ending, Line
from .tracking import SeenFrame, Tracker

__all__ = ["Passage", "Passing"]


class Passing(NamedTuple):
    """What becomes of bytes under way.

    Attributes:
        data: what passes.
        ending: how the link ends behind that; None: it goes on.
        head: the head of the opening handshake, if it was all there with these bytes.
        frames: those whose headers were all there with these bytes.
    """

    data: bytes
    ending: Ending | None
    head: bytes
    frames: list[SeenFrame]


class Passage:
    """One way of one link: follows what passes, and knows where it is to be cut."""

    __slots__ = ("_cut", "_frames", "_line", "_stop", "tracker")

    def __init__(self, line: Line) -> None:
        self.tracker: Tracker = Tracker()
        self._line = line
        self._cut: Cut | None = None
        self._stop: float = math.inf  # the place, as soon as it is known
        self._frames = 0  # still to begin before it is

    def measure(self, data: bytes) -> Passing:
        """How much of `data` passes."""
        if self._line.cut is not self._cut:
            self._arm(self._line.cut)
        before = self.tracker.position
        head, frames = self.tracker.feed(data)
        for frame in frames:
            self._frames -= 1
            if self._frames == 0:
                self._stop = frame.middle
        room = self._stop - before
        if self._cut is None or len(data) < room:
            return Passing(data, None, head, frames)
        # The middle of a frame may have gone by before the rest of its header came.
        return Passing(data[: max(0, int(room))], self._cut.how, head, frames)

    def _arm(self, cut: Cut | None) -> None:
        self._cut = cut
        self._stop, self._frames = math.inf, 0
        if cut is not None and cut.after_bytes is not None:
            self._stop = self.tracker.position + cut.after_bytes
        elif cut is not None and cut.in_frame is not None:
            self._frames = cut.in_frame
