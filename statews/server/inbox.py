"""What waits for the handler of a session. To take the next event is to have handled the last."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ..errors import UsageError
from ..protocol.session.chain import advance
from ..protocol.session.cursor import SHORT
from ..protocol.sync import Gap
from ..transport.eventloop import Signal, make_signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..protocol.frames import Message
    from ..protocol.session import Cursor, Peer

__all__ = ["Event", "Inbox"]

Event = str | bytes | Gap
"""What `Session.events` yields."""


class Item(NamedTuple):
    """One event that is not the next message in the order of the numbers.

    Attributes:
        event: for the handler.
        upto: the last number of a gap; 0: it has none.
        chain: the check value behind a gap.
        slot: whose latest value it is, if it is one's.
    """

    event: Event
    upto: int = 0
    chain: int = 0
    slot: str | None = None


class Inbox:
    """Messages and gaps in their order, across links.

    Attributes:
        peer: whose messages they are.
        cursor: the peer's, which counts what is handled.
        again_upto: messages up to this number may have been handled before.
    """

    __slots__ = (
        "_arrived",
        "_items",
        "_last",
        "_loose",
        "_loose_bytes",
        "again_upto",
        "cursor",
        "peer",
    )

    def __init__(self, peer: Peer, again_upto: int) -> None:
        self.peer: Peer = peer
        self.cursor: Cursor = peer.cursor
        # A message that has a number stands for itself: there is one for each of them.
        self._items: deque[Item | Message] | None = None  # empty, it would be 600 bytes
        self._last: Item | Message | None = None
        self._arrived: Signal | None = None
        self._loose = self._loose_bytes = 0  # of what waits, the messages without a number
        self.again_upto: int = again_upto

    def __len__(self) -> int:
        return 0 if self._items is None else len(self._items)

    def popleft(self) -> Message:
        """See `traffic.Inbox`. The link's own `receive` would not say what was handled.

        Raises:
            UsageError: always.
        """
        raise UsageError("what comes over this link is received from its session")

    def put(self, messages: Sequence[Message]) -> None:
        """Add the next messages in the order of the numbers."""
        if self._items is None:
            self._items = deque()
        self._items.extend(messages)
        if self._arrived is not None:
            self.wake()

    def put_gap(self, gap: Gap, upto: int, chain: int) -> None:
        """Add a gap up to that number, behind which the check value is `chain`."""
        if self._items is None:
            self._items = deque()
        last = self._items[-1] if self._items else None
        if isinstance(last, Item) and isinstance(last.event, Gap) and last.upto == gap.after:
            gap = replace(gap, after=last.event.after)  # one gap, however often it grew
            self._items.pop()
        self._items.append(Item(gap, upto, chain))
        self.wake()

    def put_loose(self, message: Message, slot: str | None) -> None:
        """Add a message without a number, the only one of its slot.

        The peer may send any number of them, and nobody acknowledges one: the oldest make room
        where they come to more than the window.
        """
        if self._items is None:
            self._items = deque()
        if slot is not None:
            self._drop_loose(slot)
        window, size = self.cursor.window, len(message)
        while self._loose and (
            self._loose >= window.messages or self._loose_bytes + size > window.size_bytes
        ):
            self._drop_loose(None)
        self._items.append(Item(message, slot=slot))
        self._count_loose(message, 1)
        self.wake()

    def _drop_loose(self, slot: str | None) -> None:
        """Drop the value of a slot that waits, if one does; None: the oldest message."""
        assert self._items is not None  # noqa: S101 - something is being put into it
        for index, item in enumerate(self._items):
            match item:
                case Item(str() | bytes() as message, slot=of) if slot in (None, of):
                    self._count_loose(message, -1)
                    del self._items[index]
                    return
                case _:
                    pass

    def _count_loose(self, message: Message, count: int) -> None:
        self._loose += count
        self._loose_bytes += count * len(message)

    def clear(self) -> None:
        """Forget what waits: its sender is not told that it was handled, and sends it again."""
        self._items = None
        self._loose = self._loose_bytes = 0

    def wake(self) -> None:
        """Have whoever waits look."""
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None

    @property
    def is_again(self) -> bool:
        """Whether the event taken last is a message that may have been handled before."""
        is_message = isinstance(self._last, (str, bytes))
        return is_message and self.cursor.rx < self.again_upto

    def handle_last(self) -> bool | None:
        """What was taken last is handled: whether that is to be acknowledged; None: nothing is."""
        last, self._last = self._last, None
        if last is None:
            return None
        if not isinstance(last, Item):
            return self.cursor.handled(last)
        return self.cursor.passed(last.upto, last.chain) if last.upto else None

    def next_position(self) -> tuple[int, int] | None:
        """Where the cursor will be when the last event is handled; None: nothing is being.

        A message without a number leaves it where it is.
        """
        last = self._last
        if last is None:
            return None
        if not isinstance(last, Item):
            return self.cursor.rx + 1, advance(self.cursor.chain, (last,))
        cursor = self.cursor
        return (last.upto, last.chain) if last.upto else (cursor.rx, cursor.chain)

    def next_text(self) -> str | None:
        """`handle_last` and `take` for texts in a row, as long as nothing is to be said of them.

        None: use those.
        """
        items, last, cursor = self._items, self._last, self.cursor
        if items and type(last) is str and len(last) <= SHORT and len(cursor.later) < cursor.limit:
            item = items[0]
            if type(item) is str:
                cursor.later.append(last)
                self._last = item
                items.popleft()
                return item
        return None

    def take(self) -> Event | None:
        """The next event; None if there is none."""
        if not self._items:
            self._items = None
            return None
        item = self._last = self._items.popleft()
        if not isinstance(item, Item):
            return item
        if not isinstance(item.event, Gap):
            self._count_loose(item.event, -1)
        return item.event

    def put_back(self) -> None:
        """The handler failed: what it was busy with, and did not handle, comes again."""
        last, self._last = self._last, None
        if last is None:
            return
        if not isinstance(last, Item):
            self.again_upto = self.cursor.rx + 1
        elif not isinstance(last.event, Gap):
            return  # at most once
        if self._items is None:
            self._items = deque()
        self._items.appendleft(last)

    @property
    def is_idle(self) -> bool:
        """Whether nothing of the session is under way, on either side, and nobody waits here."""
        is_empty = not self._items and self._last is None and self._arrived is None
        return is_empty and self.peer.is_idle

    @property
    def is_waited_for(self) -> bool:
        """Whether the handler waits for something to arrive."""
        return self._arrived is not None

    async def wait(self) -> None:
        """Return when there may be something. One task at a time.

        Cancellation: nothing is lost.
        """
        self._arrived = make_signal()
        try:
            await self._arrived.wait()
        finally:
            self._arrived = None
