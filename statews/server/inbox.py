"""What waits for the handler of a session. To take the next event is to have handled the last."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from anyio import Event as Signal

from ..protocol.session.chain import advance
from ..protocol.sync import Gap

if TYPE_CHECKING:
    from ..protocol.session import Cursor

__all__ = ["Event", "Inbox"]

Event = str | bytes | Gap
"""What `Session.events` yields."""


class Item(NamedTuple):
    """One event.

    Attributes:
        event: for the handler.
        seq: the number of the message, or the last one of the gap; 0: it has none.
        chain: the check value behind a gap.
    """

    event: Event
    seq: int
    chain: int


class Inbox:
    """Messages and gaps in their order, across links.

    Attributes:
        cursor: counts what is handled.
        again_upto: messages up to this number may have been handled before.
        is_again: whether the event taken last is one of them.
    """

    __slots__ = ("_arrived", "_items", "_last", "again_upto", "cursor", "is_again")

    def __init__(self, cursor: Cursor) -> None:
        self.cursor: Cursor = cursor
        self._items: deque[Item] | None = None  # an empty deque is 600 bytes, and most are empty
        self._last: Item | None = None
        self._arrived: Signal | None = None
        self.again_upto: int = 0
        self.is_again: bool = False

    def put(self, event: Event, seq: int = 0, chain: int = 0) -> None:
        """Add an event."""
        if self._items is None:
            self._items = deque()
        self._items.append(Item(event, seq, chain))
        self.wake()

    def wake(self) -> None:
        """Have whoever waits look."""
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None

    def handle_last(self) -> bool:
        """What was taken last is handled; whether that moved the cursor."""
        last, self._last = self._last, None
        if last is None or not last.seq:
            return False
        if isinstance(last.event, Gap):
            self.cursor.passed(last.seq, last.chain)
        else:
            self.cursor.handled(last.event)
        return True

    def next_position(self) -> tuple[int, int] | None:
        """Where the cursor will be when the last event is handled; None: nothing is being."""
        last = self._last
        if last is None or not last.seq:
            return None
        if isinstance(last.event, Gap):
            return last.seq, last.chain
        return self.cursor.rx + 1, advance(self.cursor.chain, (last.event,))

    def take(self) -> Event | None:
        """The next event; None if there is none."""
        if not self._items:
            self._items = None
            return None
        item = self._last = self._items.popleft()
        self.is_again = 0 < item.seq <= self.again_upto
        return item.event

    def put_back(self) -> None:
        """The handler failed: what it was busy with, and did not handle, comes again."""
        last, self._last = self._last, None
        if last is not None and last.seq:
            self.again_upto = last.seq
            if self._items is None:
                self._items = deque()
            self._items.appendleft(last)

    @property
    def is_waited_for(self) -> bool:
        """Whether the handler waits for something to arrive."""
        return self._arrived is not None

    async def wait(self) -> None:
        """Return when there may be something. One task at a time.

        Cancellation: nothing is lost.
        """
        self._arrived = Signal()
        try:
            await self._arrived.wait()
        finally:
            self._arrived = None
