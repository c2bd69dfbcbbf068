"""One side of a session, without I/O: what both the client and the server are.

What it sends is in its log, what it receives is counted by its cursor. It outlives the links;
`resume` begins a new one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from typing_extensions import assert_never

from ..entry import Entry
from ..envelope import (
    Acknowledgement,
    Answer,
    GoAway,
    Greeting,
    Question,
    Reliable,
    Skip,
    Slot,
    Volatile,
    broke_session,
    parse,
    parse_run,
    write_acknowledgement,
    write_answer,
    write_question,
    write_reliable,
    write_skip,
    write_slot,
    write_volatile,
)
from .greeting import Position
from .unconfirmed import Unconfirmed

if TYPE_CHECKING:
    from ..envelope import Frame
    from ..plain import Message
    from .cursor import Cursor
    from .log import Log
    from .window import Window

__all__ = ["Deliver", "Peer", "Sink"]

# What most sessions do not have is one object for all of them, and never changed.
_NO_REPLIES: Final[list[Message]] = []
_NO_SLOTS: Final[dict[str, Message]] = {}
MOST_SLOTS: Final = 1024
MOST_REPLIES: Final = 16  # that wait; who asks faster than it reads gets no more answers


class Deliver(Protocol):
    """Takes in messages whose numbers are in a row, from this one on."""

    def __call__(self, payloads: Sequence[Message], first: int, /) -> None:
        """See the class."""
        ...


class Sink(Protocol):
    """Where a peer puts what is for the application."""

    @property
    def deliver(self) -> Deliver:
        """What takes in messages that have numbers."""
        ...

    def deliver_unnumbered(self, payload: Message, slot: str | None, /) -> None:
        """A volatile message, or the latest value of a slot."""
        ...

    def lose(self, after: int, upto: int, chain: int) -> None:
        """Everything behind `after` up to `upto` is lost."""
        ...

    def go_away(self, order: GoAway) -> None:
        """The peer wants the link to end, and says when to come back."""
        ...


class Peer:
    """One side of a session, across links.

    Attributes:
        log: what was sent and not handled.
        cursor: what was received.
        replies: frames that are to be written now, in order.
        volatile: what was written for this link alone, and is not known to have arrived.
    """

    __slots__ = (
        "_fresh",
        "_slots",
        "cursor",
        "log",
        "replies",
        "volatile",
    )

    def __init__(self, log: Log, cursor: Cursor) -> None:
        self.log: Log = log
        self.cursor: Cursor = cursor
        self.replies: list[Message] = _NO_REPLIES
        self.volatile: Unconfirmed = Unconfirmed()
        self._slots: dict[str, Message] = _NO_SLOTS  # the newest value of each
        self._fresh: dict[str, Message] = _NO_SLOTS  # those that this link has not seen

    # The link comes and goes.

    def greet(self) -> Position:
        """Where this side is, for its greeting; what comes in on that link goes on from there."""
        log, cursor = self.log, self.cursor
        cursor.resume()
        return Position(rx=cursor.safe, chain=cursor.safe_chain, first=log.first, last=log.last)

    def resume(self, other: Position, window: Window) -> None:
        """A link is open, on whose other end the peer is where it said."""
        self.log.resume(other.rx, window)
        self._fresh = _NO_SLOTS
        if self._slots:
            most = self.log.largest
            self._fresh = {name: v for name, v in self._slots.items() if Entry(v).size <= most}

    def suspend(self) -> None:
        """The link is lost."""
        self.log.suspend()
        self.cursor.suspend()
        self.replies = _NO_REPLIES
        self.volatile.suspend()

    def refuse_longest(self) -> None:
        """The other side would not take what it was given: see `Queue.refuse_longest`."""
        longest = self.volatile.longest
        if longest is None:
            self.log.refuse_longest()
        elif not self.log.refuse_longest(longer_than=longest.size):
            self.volatile.refuse(longest)

    # What comes in.

    def take(self, arrived: deque[Message], sink: Sink) -> bool:
        """Take in frames; whether some of what was sent is settled by them.

        Raises:
            SessionError: one of them is not right. Those just before it may not be taken in.
        """
        before = self.log.confirmed
        has_settled, was_behind = False, self.cursor.is_behind
        while arrived:
            if self._take_run(arrived, sink):
                continue
            frame = parse(arrived.popleft())
            if frame is not None:
                has_settled |= self._take(frame, sink)
        if was_behind:
            self._acknowledge_again()
        return has_settled or self.log.confirmed > before

    def _take_run(self, arrived: deque[Message], sink: Sink) -> bool:
        """Take in the texts that come first; whether one did.

        Nearly all frames are such texts, in a row, and to parse one costs as much as all the rest.
        """
        cursor = self.cursor
        first = cursor.expected
        texts, ack = parse_run(arrived, first)
        if not texts:
            return False
        self.log.acknowledge(ack)  # before anything is counted: it may raise
        if len(texts) == len(arrived):
            arrived.clear()
        else:
            for _ in texts:
                arrived.popleft()
        if cursor.take_run(texts):
            sink.deliver(texts, first)
        else:
            for number, text in enumerate(texts, first):
                if cursor.take(number, text):
                    sink.deliver((text,), number)
        return True

    def _acknowledge_again(self) -> None:
        """What came again may be handled already, and then nothing else would say so."""
        frame = self.acknowledgement()
        if frame is not None:
            self._reply(frame)

    def _reply(self, frame: Message) -> None:
        self.replies = self.replies or []
        self.replies.append(frame)

    def _take(self, frame: Frame, sink: Sink) -> bool:
        match frame:
            case Skip(upto, chain):
                lost = self.cursor.skip(upto)
                if lost is not None:
                    sink.lose(lost[0] - 1, upto, chain)
                return False
            case GoAway():
                sink.go_away(frame)
                return False
            case Greeting():
                raise broke_session("the peer sent a second greeting")
            case _:
                if frame.ack is not None:
                    self.log.acknowledge(frame.ack)
                return self._take_acknowledging(frame, sink)

    def _take_acknowledging(
        self, frame: Reliable | Slot | Volatile | Acknowledgement | Question | Answer, sink: Sink
    ) -> bool:
        match frame:
            case Reliable(seq, _, payload):
                if self.cursor.take(seq, payload):
                    sink.deliver((payload,), seq)
            case Slot(name, _, payload):
                sink.deliver_unnumbered(payload, name)
            case Volatile(_, payload):
                sink.deliver_unnumbered(payload, None)
            case Acknowledgement():
                pass
            case Question():
                self._asked_for()
            case Answer():
                return self._answered()
            case _:
                assert_never(frame)
        return False

    def _asked_for(self) -> None:
        """Answer with what is handled; what has only arrived is acknowledged as soon as it is."""
        self.cursor.want()
        if len(self.replies) < MOST_REPLIES:
            self._reply(write_answer(self.cursor.acknowledge()))

    def _answered(self) -> bool:
        has_settled = self.volatile.answered()
        if self.volatile.is_wanted:
            self.ask()
        return has_settled

    # What goes out.

    def next_frame(self, now: float, upto: float) -> Message | None:
        """What is to be written next, of what waits; None: nothing is, or the window is full.

        Args:
            now: for what may expire.
            upto: no message with a higher place in the store, nor word of one that was dropped;
                see `Terms.number`.
        """
        if self.replies:
            return self.replies.pop(0)
        if self._fresh:
            name = next(iter(self._fresh))
            return write_slot(name, self.cursor.acknowledge(), self._fresh.pop(name))
        log = self.log
        skipped = log.skip(upto)
        if skipped is not None:
            return write_skip(*skipped)
        if log.written == len(log.entries):
            return None
        entry = log.next_waiting(now)  # what has expired before it does not need the room
        if entry is None or entry.terms.number > upto or not log.may_write:
            return None
        if entry.size > log.largest:
            return None  # it is dropped when all before it is settled
        log.wrote(entry)
        return write_reliable(log.told, self.cursor.acknowledge(), entry.message)

    def next_frames(self, now: float, upto: float) -> list[Message]:
        """As many at once as a look at the link between them would not be worth."""
        frame = self.next_frame(now, upto)
        if frame is None:
            return []
        seq, messages = self.log.write_batch()
        batch = [f"M{seq + index};{text}" for index, text in enumerate(messages, 1)]
        return [frame, *batch]

    def write_direct(self, message: Message) -> Message:
        """The frame of a message that goes out at once; then `Log.track` it."""
        return write_reliable(self.log.position + 1, self.cursor.acknowledge(), message)

    def write_volatile(self, entry: Entry) -> Message:
        """The frame of a message that is for this link alone."""
        if self.volatile.add(entry):
            self.ask()
        return write_volatile(self.cursor.acknowledge(), entry.message)

    def set_slot(self, name: str, payload: Message) -> bool:
        """Have the peer told the latest value of a slot; False: there are too many slots."""
        if self._slots is _NO_SLOTS:
            self._slots, self._fresh = {}, {}
        elif name not in self._slots and len(self._slots) >= MOST_SLOTS:
            return False
        self._slots[name] = self._fresh[name] = payload
        return True

    def acknowledgement(self) -> Message | None:
        """The frame that acknowledges what was handled; None if there is nothing new."""
        ack = self.cursor.acknowledge()
        return None if ack is None else write_acknowledgement(ack)

    def ask(self) -> None:
        """Have a question written; if one is on its way, after its answer."""
        if self.volatile.ask():
            self._reply(write_question(self.cursor.acknowledge()))

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits here, neither for the application nor for the other side."""
        log, cursor = self.log, self.cursor
        is_heard = cursor.arrived == cursor.rx == cursor.safe
        return (
            is_heard and log.is_idle and not (self._slots or self.volatile.entries or self.replies)
        )

    @property
    def has_frames(self) -> bool:
        """Whether something may be there to write."""
        return bool(self.replies or self._fresh or self.log.has_waiting)
