"""What `fuzz.py` feeds with bytes: what reads a peer's words, and what must hold for any words.

Each target takes any bytes and returns. An exception that comes out of it is a finding.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from statews.errors import SessionError
from statews.policy import AtLimit, Delivery, Outbox
from statews.protocol.entry import Entry
from statews.protocol.envelope import (
    LARGEST,
    MOST_CHAIN,
    Acknowledgement,
    Answer,
    Frame,
    GoAway,
    Greeting,
    Question,
    Reliable,
    Skip,
    Slot,
    Volatile,
    is_slot,
    parse,
    write_acknowledgement,
    write_answer,
    write_go_away,
    write_question,
    write_reliable,
    write_skip,
    write_slot,
    write_volatile,
)
from statews.protocol.plain import Message
from statews.protocol.session import (
    Cursor,
    Hello,
    Log,
    Peer,
    Position,
    Window,
    misfit,
    read_hello,
    read_welcome,
    write_hello,
    write_welcome,
)
from statews.protocol.session.chain import start

__all__ = ["TARGETS"]

NAME: Final = "name"  # of a session, and its token
MOST_REPLIES: Final = 32  # that wait for room on the link
MOST_FRAMES: Final = 200  # written at once
WINDOW: Final = Window(8, 400)
OUTBOX: Final = Outbox(
    messages=20, size_bytes=2000, at_limit=AtLimit.DROP_OLDEST, delivery=Delivery.AT_LEAST_ONCE
)


# Frames and greetings.


def read_frame(data: bytes) -> None:
    """`parse`, of a text and of a binary message: a frame has one form only."""
    messages: list[Message] = [data, data.decode(errors="replace")]
    for message in messages:
        with suppress(SessionError):
            frame = parse(message)
            if isinstance(frame, GoAway):
                assert 0 <= frame.least_ms <= frame.most_ms <= 24 * 3600 * 1000, frame
            elif frame is None:
                assert b"a" <= data[:1] <= b"z", message
            else:
                assert _write(frame) == message, frame


def read_hellos(data: bytes) -> None:
    """`read_hello`: what was read comes through once more."""
    with suppress(SessionError):
        hello = replace(read_hello(data.decode(errors="replace")), auth=None)
        assert read_hello(write_hello(hello)) == hello, hello


def read_welcomes(data: bytes) -> None:
    """`read_welcome`: what was read comes through once more."""
    with suppress(SessionError):
        welcome = read_welcome(data.decode(errors="replace"))
        assert read_welcome(write_welcome(welcome)) == welcome, welcome


def _write(frame: Frame) -> Message:  # noqa: C901 - one case a kind
    match frame:
        case Reliable(seq, ack, payload):
            return write_reliable(seq, ack, payload)
        case Slot(name, ack, payload):
            return write_slot(name, ack, payload)
        case Volatile(ack, payload):
            return write_volatile(ack, payload)
        case Acknowledgement(ack):
            return write_acknowledgement(ack)
        case Skip(upto, chain):
            return write_skip(upto, chain)
        case Question(ack):
            return write_question(ack)
        case Answer(ack):
            return write_answer(ack)
        case GoAway(least_ms, most_ms, why):
            return write_go_away(least_ms, most_ms, why)
        case Greeting(kind, text):
            return kind + text


# One side of a session, and a peer that says anything.


class Talk:
    """A `Peer` with its application, driven step by step; each line of the input is one.

    What begins with `>` is a frame of the other side's, as it is. The others are steps of the
    application, of the link, or of a well-behaved other side, so that few bytes go far.
    """

    def __init__(self, *, is_numbered_at_once: bool) -> None:
        self.log = Log(OUTBOX, is_numbered_at_once=is_numbered_at_once)
        self.log.chain = start(NAME)
        self.cursor = Cursor(WINDOW, chain=start(NAME), is_stored=False)
        self.peer = Peer(self.log, self.cursor)
        self.held: deque[Message | tuple[int, int]] = deque()  # messages, and gaps
        self.delivered = 0
        self.steps: dict[str, Callable[[Message], None]] = {
            "m": self.take_next,
            "k": lambda _: self.take(write_acknowledgement(self.log.told)),
            "h": lambda _: self.handle(1),
            "a": lambda _: self.handle(len(self.held)),
            "s": self.send,
            "v": lambda text: self.write(self.peer.write_volatile(Entry(text))),
            "l": self.set_slot,
            "d": lambda _: self.log.drop(self.log.last),
            "q": lambda _: self.peer.ask(),
            "w": lambda _: self.write_all(),
            "r": lambda _: self.come_back(self.plausible(), WINDOW),
            "H": self.come_back_with,
        }
        self.come_back(self.plausible(), WINDOW)

    # The sink.

    def deliver(self, payloads: Sequence[Message], first: int, /) -> None:
        """See `Sink`."""
        assert first == self.delivered + 1, first
        self.delivered += len(payloads)
        self.held += payloads

    def deliver_unnumbered(self, payload: Message, slot: str | None, /) -> None:
        """See `Sink`."""
        assert slot is None or is_slot(slot), (payload, slot)

    def lose(self, after: int, upto: int, chain: int) -> None:
        """See `Sink`."""
        assert after == self.delivered < upto, (after, upto)
        assert chain <= MOST_CHAIN, chain
        self.delivered = upto
        self.held.append((upto, chain))

    def go_away(self, order: GoAway) -> None:
        """See `Sink`."""

    # The steps.

    def take(self, *frames: Message) -> None:
        """The other side speaks. What `parse` refuses ends the link."""
        if not frames:
            return
        are_frames = True
        for frame in frames:
            try:
                parse(frame)
            except SessionError:
                are_frames = False
        try:
            self.peer.take(deque(frames), self)
        except SessionError:
            self.come_back(self.plausible(), WINDOW)
        else:
            assert are_frames or self.is_used_up, frames
        self.check()

    def take_next(self, payload: Message) -> None:
        """The other side sends its next message, if the window lets it."""
        self.take(write_reliable(self.cursor.expected, self.log.told, payload))

    def handle(self, count: int) -> None:
        """The application is done with some of what it has."""
        for _ in range(min(count, len(self.held))):
            item = self.held.popleft()
            if isinstance(item, tuple):
                self.cursor.passed(*item)
            else:
                self.cursor.handled(item)

    def send(self, message: Message) -> None:
        """The application sends, as a server does."""
        entry = Entry(message)
        if self.log.may_go_at_once(entry.size) and not self.peer.has_frames:
            self.write(self.peer.write_direct(message))
            self.log.track(entry)
        else:
            self.log.put(entry, 0.0)

    def set_slot(self, text: Message) -> None:
        """The application sets a slot; there are few names."""
        self.peer.set_slot(f"slot{len(text) % 5}", text)

    def write_all(self) -> None:
        """The link has room."""
        for _ in range(MOST_FRAMES):
            frames = self.peer.next_frames(0.0, float("inf"))
            for frame in frames:
                self.write(frame)
            if not frames:
                return
        raise AssertionError("it does not stop writing")

    def write(self, frame: Message) -> None:
        """What goes out is a frame, and acknowledges no more than was handled."""
        parsed = parse(frame)
        assert parsed is not None, frame
        assert _write(parsed) == frame, frame
        ack: int | None = getattr(parsed, "ack", None)
        assert ack is None or ack <= self.cursor.rx, frame

    def plausible(self) -> Position:
        """Where the other side is if it has said all that it knows."""
        log = self.log
        first, last = self.cursor.rx + 1, self.cursor.arrived
        return Position(
            rx=log.confirmed, chain=log.chain_at(log.confirmed) or 0, first=first, last=last
        )

    def come_back_with(self, text: Message) -> None:
        """The link is lost, and the other side comes back with a hello of its own."""
        try:
            hello = read_hello(f"H{text!s}")
        except SessionError:
            return
        if misfit(self.peer, hello.position) is None:
            self.come_back(hello.position, hello.window)

    def come_back(self, other: Position, window: Window) -> None:
        """The link is lost, and there is another one."""
        self.peer.suspend()
        why = misfit(self.peer, other)
        assert why is None, why
        position = self.peer.greet()
        assert read_hello(write_hello(Hello(position=position))).position == position, position
        self.peer.resume(other, window)

    @property
    def is_used_up(self) -> bool:
        """Whether the other side has skipped to the last number there is: it can only go."""
        return self.cursor.expected > LARGEST

    # What holds between two steps.

    def check(self) -> None:
        """See that both halves are in order and within their bounds."""
        self._check_cursor()
        self._check_log()
        assert len(self.peer.replies) <= MOST_REPLIES, "many replies wait"

    def _check_cursor(self) -> None:
        cursor = self.cursor
        held = [item for item in self.held if not isinstance(item, tuple)]
        held_bytes = sum(map(len, held))
        numbers = (cursor.told, cursor.safe, cursor.rx, cursor.arrived)
        assert numbers == tuple(sorted(numbers)), numbers
        assert 1 <= cursor.expected <= cursor.arrived + 1, cursor.expected
        assert cursor.arrived == self.delivered, cursor.arrived
        assert cursor.held_bytes == held_bytes, cursor.held_bytes
        assert len(held) <= WINDOW.messages, "more is held than the window allows"
        assert held_bytes <= WINDOW.size_bytes or len(held) == 1, "more bytes are held"
        assert 0 <= cursor.chain <= MOST_CHAIN, cursor.chain

    def _check_log(self) -> None:
        log = self.log
        sizes = [entry.size for entry in log.entries]
        flight, window = sizes[: log.written], log.window
        assert log.size_bytes == sum(sizes), log.size_bytes
        assert len(sizes) <= OUTBOX.messages, "the log is too long"
        assert log.size_bytes <= OUTBOX.size_bytes or len(sizes) == 1, "the log is too large"
        assert len(flight) <= window.messages or len(flight) == 1, "too many are on their way"
        assert sum(flight) <= window.size_bytes or len(flight) == 1, "too much is on its way"
        assert log.confirmed <= log.acknowledged <= log.last, (log.confirmed, log.acknowledged)
        assert log.first <= log.last + 1, (log.first, log.last)
        assert log.told <= log.last, (log.told, log.last)
        assert 0 <= log.chain <= MOST_CHAIN, log.chain


def converse(data: bytes) -> None:
    """A `Peer` that takes in a sequence of frames: whatever they are, it is in order."""
    talk = Talk(is_numbered_at_once=data[:1] != b"c")
    frames: list[Message] = []
    for line in [*data.split(b"\n"), b""]:
        kind, text = line[:1].decode("latin-1"), _decode(line[1:])
        if kind == ">":
            frames.append(text)  # what comes in one piece is taken in together
            continue
        talk.take(*frames)
        frames.clear()
        if talk.is_used_up:
            return
        if kind in talk.steps:
            talk.steps[kind](text)
        talk.check()


def _decode(data: bytes) -> Message:
    """Text where it is some."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "parse": read_frame,
    "hello": read_hellos,
    "welcome": read_welcomes,
    "peer": converse,
}
