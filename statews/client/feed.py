"""What is ready for the application, in one order: messages, gaps, resets and changes of state."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from ..protocol.session.cursor import SHORT
from ..protocol.session.peer import MOST_SLOTS
from ..protocol.sync import Gap, Reset
from .changes import Change

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..protocol.frames import Message
    from ..protocol.session import Cursor
    from .session import Progress

__all__ = ["Event", "Feed"]

KEPT: Final = 256  # changes kept for an application that does not look
HEADER: Final = 2  # bytes that a message takes at least, though it is empty: its frame's header
# Twice the slots that a server may have: the values of before a gap wait beside the newest.
MOST_PLACES: Final = 2 * MOST_SLOTS

Event = str | bytes | Gap | Reset | Change
"""What `Connection.events` yields."""


class Handler(Protocol):
    """Whom to tell that something was handled: a strategy, or the progress in a session."""

    @property
    def name(self) -> str:
        """What its position is stored under."""
        ...

    @property
    def position(self) -> object:
        """What was handled, made of what JSON knows."""
        ...

    def handled(self, mark: object) -> None:
        """The application is done with the event that has this mark."""
        ...


class Item:
    """One event, and whom to tell that it was handled; None is no event for the application."""

    __slots__ = ("event", "handler", "mark", "place")

    def __init__(
        self,
        event: Event | None,
        handler: Handler | None = None,
        mark: object = None,
        place: Hashable = None,
    ) -> None:
        self.event: Event | None = event
        self.handler: Handler | None = handler
        self.mark: object = mark
        self.place: Hashable = place


class Feed:
    """An inbox for more than messages. To take the next event is to have handled the last one.

    Attributes:
        size_bytes: what the messages in it come to, without those that the window of the present
            session bounds.
        missed: how many changes of state were left out, since nobody looked.
        is_careful: whether the next event is held back until a store knows of the last one.
        is_unsettled: whether that is being waited for.
        has_changes: whether somebody wants changes of state.
        on_handled: told whose position has moved.
    """

    __slots__ = (
        "_changes",
        "_cursor",
        "_items",
        "_last",
        "_places",
        "_session",
        "_slots",
        "has_changes",
        "is_careful",
        "is_unsettled",
        "missed",
        "on_handled",
        "size_bytes",
    )

    def __init__(self) -> None:
        # A message of a session stands for itself: there is one for each of them.
        self._items: deque[Item | Message] = deque()
        self._places: dict[Hashable, Item] = {}  # undelivered, and may be replaced
        self._last: Item | Message | None = None
        self._session: Handler | None = None
        self._cursor: Cursor | None = None  # of the session
        self._changes = 0
        self._slots = 0  # values in it that are of a slot, not of a stream
        self.size_bytes: int = 0
        self.missed: int = 0
        self.has_changes: bool = False
        self.is_careful: bool = False
        self.is_unsettled: bool = False
        self.on_handled: Callable[[Handler], None] | None = None

    def __len__(self) -> int:
        return len(self._items)

    def has_place(self, slot: Hashable) -> bool:
        """Whether a value of that slot has a place: one that is taken, or a new one."""
        return slot in self._places or self._slots < MOST_PLACES

    def append(
        self,
        message: Message,
        handler: Handler | None = None,
        mark: object = None,
        place: Hashable = None,
    ) -> None:
        """Add one message, or put it in the place where an older one is that nobody has taken."""
        item = None if place is None else self._places.get(place)
        if item is not None:
            if isinstance(item.event, (str, bytes)):
                self.size_bytes -= HEADER + len(item.event)
            item.event, item.mark = message, mark
        else:
            item = Item(message, handler, mark, place)
            self._items.append(item)
            if place is not None:
                self._places[place] = item
                self._slots += handler is None
        self.size_bytes += HEADER + len(message)

    def deliver(self, messages: Sequence[Message], _first: int, /) -> None:
        """Add the next messages of the session. The peer's window bounds what they come to."""
        self._items.extend(messages)

    def begin(self, session: Progress) -> None:
        """Messages of the session come from here on; those that wait are of the one before."""
        if session is self._session:
            return
        self.size_bytes += sum(
            HEADER + len(item) for item in self._items if not isinstance(item, Item)
        )
        before, self._session = self._session, session
        self._cursor = session.cursor
        self._items = deque(
            item if isinstance(item, Item) else Item(item, before, item) for item in self._items
        )
        if not isinstance(self._last, (Item, type(None))):
            self._last = Item(self._last, before, self._last)

    def extend(self, messages: Iterable[Message]) -> None:
        """Add messages that are of no stream."""
        for message in messages:
            self.append(message)

    def note(
        self, event: Gap | Reset, handler: Handler | None = None, mark: object = None
    ) -> None:
        """Add what is no message. Of the session's gaps, neighbours are one.

        No value that comes later takes the place of one that waits: it would come before the loss.
        """
        self._places.clear()
        last = self._items[-1] if self._items else None
        if (
            isinstance(event, Gap)
            and handler is not None
            and isinstance(last, Item)
            and isinstance(last.event, Gap)
            and last.handler is handler
            and last.event.before is not None
            and event.after == last.event.before - 1
        ):
            event = replace(event, after=last.event.after)
            self._items.pop()
        self._items.append(Item(event, handler, mark))

    def pass_over(self, message: Message) -> None:
        """Add a message of the session that is handled as soon as everything before it is."""
        if self._items or self._last is not None or self._session is None:
            self._items.append(Item(None, self._session, message))
        else:  # nothing is before it, and an application that only sends asks for nothing
            self._session.handled(message)
            if self.on_handled is not None:
                self.on_handled(self._session)

    def publish(self, change: Change, place: int) -> None:
        """Put in a change of state, if anybody wants to know and looks from time to time.

        Args:
            change: which.
            place: how many events are before it.
        """
        if not self.has_changes:
            return
        if self._changes == KEPT:
            self.missed += 1
        else:
            self._changes += 1
            self._items.insert(place, Item(change))

    def take(self) -> Event:
        """The next event.

        Raises:
            IndexError: there is none, or none yet. The last one was handled all the same.
        """
        while True:
            self._handle_last()
            if self.is_unsettled:
                raise IndexError
            item = self._items.popleft()
            if not isinstance(item, Item):
                self._last = item
                return item
            self._last = item if item.handler is not None else None
            event = item.event
            if isinstance(event, (str, bytes)):
                self.size_bytes -= HEADER + len(event)
                if item.place is not None:
                    self._give_place(item)
            elif isinstance(event, Change):
                self._changes -= 1
            if event is not None:
                return event

    def _give_place(self, item: Item) -> None:
        self._slots -= item.handler is None
        if self._places.get(item.place) is item:
            del self._places[item.place]

    def popleft(self) -> Message:
        """The next message; what is none is passed over. Raises as `take`."""
        last, items, cursor = self._last, self._items, self._cursor
        if (
            type(last) is str
            and items
            and cursor is not None
            and len(cursor.later) < cursor.limit
            and len(last) <= SHORT
        ):
            message = items[0]
            if type(message) is str:  # as below, for nearly all messages of a session
                cursor.later.append(last)
                self._last = message
                items.popleft()
                return message
        while True:
            event = self.take()
            if isinstance(event, (str, bytes)):
                return event

    def _handle_last(self) -> None:
        last, self._last = self._last, None
        if last is None:
            return
        handler, mark = (
            (last.handler, last.mark) if isinstance(last, Item) else (self._session, last)
        )
        if handler is not None:
            handler.handled(mark)
            if self.on_handled is not None:
                self.on_handled(handler)
            self.is_unsettled = self.is_careful
