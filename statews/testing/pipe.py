"""One way of a link of memory: what was sent on it, and when that arrives."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from anyio import Event

from ..errors import LinkDropped
from ..transport.eventloop import loop_clock
from .faults import Ending
from .passage import Passage

if TYPE_CHECKING:
    from .faults import Line

__all__ = ["Pipe"]

SLICE: Final = 0.25  # seconds of a slow line that arrive at once


class Pipe:
    """One way of a link: what was sent, and when it arrives.

    Attributes:
        size: bytes sent that nobody has received.
        received: bytes that somebody has.
        ending: how it ends, behind everything that was sent; None: it does not.
        is_cut: the network itself has ended it: to that, a frozen line is no obstacle.
        changed: set when something is otherwise.
    """

    __slots__ = (
        "_arrives",
        "_bandwidth",
        "_ends",
        "_free",
        "_pieces",
        "capacity",
        "changed",
        "clock",
        "ending",
        "is_cut",
        "line",
        "passage",
        "random",
        "received",
        "size",
    )

    def __init__(self, line: Line, random: Callable[[], float], capacity: int) -> None:
        self.line: Line = line
        self.random: Callable[[], float] = random
        self.capacity: int = capacity
        self.clock: Callable[[], float] = loop_clock()
        self.passage: Passage = Passage(line)
        self.size: int = 0
        self.received: int = 0
        self.ending: Ending | None = None
        self.is_cut: bool = False
        self.changed: Event = Event()
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._arrives = -math.inf  # when the last piece does: TCP keeps the order
        self._free = -math.inf  # when the line is done with what was sent
        self._bandwidth = line.bandwidth  # by which that was reckoned
        self._ends = math.inf  # when the ending arrives

    def notify(self) -> None:
        """Wake whoever waits for a change."""
        if self.line.bandwidth != self._bandwidth:
            self._reckon_anew()
        self.changed.set()
        self.changed = Event()

    def put(self, data: bytes) -> None:
        """Send."""
        if data:
            delay = self.line.delay(self.random)
            size = len(data)
            if self.line.bandwidth < math.inf:
                size = max(1, int(self.line.bandwidth * SLICE))
            for start in range(0, len(data), size):
                piece = data[start : start + size]
                self._pieces.append((self._due(len(piece), delay), piece))
            self.size += len(data)
            self.notify()

    def _due(self, size: int, delay: float) -> float:
        now = self.clock()
        if self.line.bandwidth < math.inf:
            self._free = max(now, self._free) + size / self.line.bandwidth
            now = self._free
        self._arrives = max(self._arrives, now + delay)
        return self._arrives

    def _reckon_anew(self) -> None:
        """The line has another width: what is still on it goes on at that speed."""
        self._bandwidth, now = self.line.bandwidth, self.clock()
        if self._arrives <= now:
            return
        self._free = self._arrives = now
        for index, (due, data) in enumerate(self._pieces):
            if due > now:
                self._pieces[index] = self._due(len(data), self.line.latency), data
        if now < self._ends < math.inf:
            self._ends = self._arrives

    def end(self, how: Ending) -> None:
        """End behind what was sent. An orderly end may become a reset, and not the other way."""
        if self.ending is None or (how is Ending.RST and self.ending is Ending.FIN):
            self.ending = how
            self._ends = self._due(0, self.line.delay(self.random))
            self.notify()

    def cut(self, how: Ending, *, keeps: bool) -> None:
        """End now, whatever is under way, or behind it."""
        if not keeps:
            self._pieces.clear()
            self.size = 0
        self.ending = how
        self.is_cut = not keeps
        self._ends = self._arrives if self._pieces else -math.inf
        self.notify()

    def take(self, most: int) -> bytes | None:
        """What has arrived: None: nothing has; `b""`: the end in an orderly way.

        Raises:
            LinkDropped: it was reset.
        """
        now = self.clock()
        if self.line.is_frozen and not self.is_cut:
            return None
        taken: list[bytes] = []
        pieces, room = self._pieces, most
        while pieces and room and pieces[0][0] <= now:
            due, data = pieces.popleft()
            taken.append(data[:room])
            if len(data) > room:
                pieces.appendleft((due, data[room:]))
            room -= len(taken[-1])
        if taken:
            self.size -= most - room
            self.received += most - room
            self.notify()
            return b"".join(taken)
        if pieces or self.ending is None or self._ends > now:
            return None
        if self.ending is Ending.RST:
            raise LinkDropped("the link broke while receiving: connection reset by peer")
        return b""

    def ready_at(self) -> float:
        """When `take` has something to say; infinite if something must change before."""
        if self.line.is_frozen and not self.is_cut:
            return math.inf
        return self._pieces[0][0] if self._pieces else self._ends

    def reset_at(self) -> float:
        """When a reset arrives; infinite if none is on its way, or a frozen line holds it."""
        is_held = self.line.is_frozen and not self.is_cut
        return self._ends if self.ending is Ending.RST and not is_held else math.inf

    @property
    def is_reset(self) -> bool:
        """Whether a reset has arrived."""
        return self.reset_at() <= self.clock()
