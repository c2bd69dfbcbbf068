"""Both sides of a session, made of the real cores, as the client and the server perform them.

There is no I/O and no time but what is handed in: a link is two queues, a disk is a record.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from statews.policy import Outbox
from statews.protocol.entry import Entry, Terms
from statews.protocol.envelope import GoAway
from statews.protocol.plain import Message
from statews.protocol.session import Cursor, Log, Peer, Window
from statews.protocol.session.cursor import ACKNOWLEDGE_AFTER

from .observer import Observer, Way

__all__ = ["Application", "Gone", "Kept", "Link", "Side", "Taken", "Talk", "cut", "new_peer"]


@dataclass(eq=False, slots=True)
class Link:
    """Frames that are under way, each way in order, and the ends that have not left.

    Attributes:
        room: a writer stops at so many frames.
    """

    room: int
    up: deque[Message] = field(default_factory=deque[Message])
    down: deque[Message] = field(default_factory=deque[Message])
    has_client: bool = True
    has_server: bool = True


def cut(frames: deque[Message], most: int) -> deque[Message]:
    """Take the first frames out."""
    return deque(frames.popleft() for _ in range(min(most, len(frames))))


@dataclass(frozen=True, slots=True)
class Gone:
    """Messages that the application is told it will not get."""

    after: int
    upto: int
    chain: int


@dataclass(frozen=True, slots=True)
class Taken:
    """A message or a gap on its way to the application.

    Attributes:
        seq: of the message, or of the last one in the gap.
    """

    seq: int
    event: Message | Gone


class Application:
    """What takes messages in, one at a time; see `Sink`.

    Attributes:
        current: what it is busy with.
        unsaved: what it has handled, and no store knows of yet.
    """

    def __init__(self, way: Way, sid: str, cursor: Cursor, observer: Observer) -> None:
        self.way = way
        self.sid = sid
        self.cursor = cursor
        self.items: deque[Taken] = deque()
        self.current: Taken | None = None
        self.unsaved: Taken | None = None
        self.observer = observer

    def deliver(self, payloads: Sequence[Message], first: int, /) -> None:
        self.items += [Taken(seq, payload) for seq, payload in enumerate(payloads, first)]

    def deliver_unnumbered(self, payload: Message, slot: str | None, /) -> None:
        raise AssertionError(payload, slot)

    def lose(self, after: int, upto: int, chain: int) -> None:
        self.items.append(Taken(upto, Gone(after, upto, chain)))

    def go_away(self, order: GoAway) -> None:
        raise AssertionError(order)

    @property
    def held(self) -> list[Message]:
        """The messages that have arrived and are not handled."""
        held = [item.event for item in (self.current, *self.items) if item is not None]
        return [event for event in held if not isinstance(event, Gone)]

    def take(self) -> bool:
        """Begin with the next event; whether there is one."""
        if self.current is not None or self.unsaved is not None or not self.items:
            return False
        self.current = item = self.items.popleft()
        if isinstance(item.event, Gone):
            self.observer.lost(self.way, self.sid, item.event.after, item.seq)
        else:
            self.observer.began(self.way, self.sid, item.seq, item.event)
        return True

    def handle(self) -> bool:
        """Be done with it; whether there was something."""
        item, self.current = self.current, None
        if item is None:
            return False
        if isinstance(item.event, Gone):
            self.cursor.passed(item.event.upto, item.event.chain)
        else:
            self.cursor.handled(item.event)
        self.unsaved = item
        return True

    def finish(self) -> bool:
        """Take the next event and handle it, in a session that is over; whether there was one."""
        has_taken = self.take()
        self.handle()
        self.saved()
        return has_taken

    def saved(self) -> None:
        """As far as there is a store, it knows what was handled."""
        self.unsaved = None
        self.cursor.saved(self.cursor.rx, self.cursor.chain)
        self.observer.committed(self.way, self.sid, self.cursor.rx)


class Talk:
    """One side of a session on one link: see `statews.transport.conversation`."""

    def __init__(self, side: Side, out: deque[Message], room: int) -> None:
        self._side = side
        self._out = out
        self._room = room

    def start(self, now: float) -> None:
        """What waits goes out, and what is due as well."""
        self.refill(now)
        self.tick(now)

    def refill(self, now: float) -> None:
        """Write what waits, as far as the link has room."""
        peer, durable = self._side.peer, self._side.durable
        while len(self._out) < self._room and (frames := peer.next_frames(now, durable)):
            self._out.extend(frames)

    def write_direct(self, message: Message) -> None:
        """Write a message that needs not wait, before it is tracked."""
        self._out.append(self._side.peer.write_direct(message))

    def take(self, frames: deque[Message], now: float) -> None:
        """Take in what came in one read."""
        peer = self._side.peer
        has_settled = peer.take(frames, self._side.application)
        if has_settled or peer.has_frames:
            self.refill(now)

    def ask(self, now: float) -> None:
        """Ask the peer for an acknowledgement."""
        self._side.peer.ask()
        self.refill(now)

    def acknowledge_soon(self, now: float) -> None:
        """Something was handled: say so now, or a little later."""
        cursor = self._side.peer.cursor
        if cursor.is_urgent:
            self._acknowledge()
        elif cursor.due == math.inf:
            cursor.due = now + ACKNOWLEDGE_AFTER

    def tick(self, now: float) -> None:
        """Acknowledge what is due."""
        if now >= self._side.peer.cursor.due:
            self._acknowledge()

    def _acknowledge(self) -> None:
        frame = self._side.peer.acknowledgement()
        if frame is not None:
            self._out.append(frame)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a disk holds of one side: the record, and the messages of the log."""

    rx: int
    chain: int
    acknowledged: int
    log_chain: int
    confirmed: int
    messages: tuple[tuple[int, Message], ...]


class Side:
    """What client and server have in common: a peer, its application, and a disk or none.

    Attributes:
        way: in which direction it receives.
        durable: the highest number of a message that the disk has; infinite without a disk.
        talk: with the other side, while a link is open.
    """

    def __init__(
        self, way: Way, sid: str, peer: Peer, observer: Observer, *, is_durable: bool
    ) -> None:
        self.way = way
        self.observer = observer
        self.peer = peer
        self.application = Application(way, sid, peer.cursor, observer)
        self.is_durable = is_durable
        self.durable: float = 0 if is_durable else math.inf
        self.number = 0  # of the last message, in the store
        self.talk: Talk | None = None

    def put(self, entry: Entry, now: float) -> None:
        """Send a message; if it is to be stored, `stored` has to come before it goes out."""
        if self.is_durable:
            self.number += 1
            entry.terms = Terms(number=self.number)
        if self.peer.log.put(entry, now):
            self.observer.sent(self.way.other, entry)
        if self.talk is not None:
            self.talk.refill(now)

    def handle(self, now: float) -> bool:
        """The application asks for the next event; whether it was busy with one."""
        if not self.application.handle():
            return False
        if not self.is_durable:
            self.stored(now)
        return True

    @property
    def has_news(self) -> bool:
        """Whether somebody waits for something to be stored."""
        return self.durable < self.number or self.application.unsaved is not None

    def stored(self, now: float) -> None:
        """What was to be stored is."""
        if self.is_durable:
            self.durable = self.number
        if self.application.unsaved is not None:
            self.application.saved()
            if self.talk is not None:
                self.talk.acknowledge_soon(now)
        if self.talk is not None:
            self.talk.refill(now)

    def kept(self) -> Kept:
        """What goes to the disk now."""
        log, cursor = self.peer.log, self.peer.cursor
        return Kept(
            rx=cursor.rx,
            chain=cursor.chain,
            acknowledged=log.acknowledged,
            log_chain=log.chain,
            confirmed=log.confirmed,
            messages=tuple((entry.terms.number, entry.message) for entry in log.entries),
        )

    def restore(self, kept: Kept) -> None:
        """Go on from what an earlier process has kept."""
        log = self.peer.log
        self.peer.cursor.start_over(kept.chain, rx=kept.rx)
        log.go_on(kept.acknowledged, kept.log_chain, confirmed=kept.confirmed)
        for number, message in kept.messages:
            entry = Entry(message, Terms(number=number))
            log.restore(entry)
            self.observer.restored(self.way.other, self.application.sid, entry)
            self.number = max(self.number, number)
        self.durable = self.number

    def detach(self) -> None:
        """The link is lost."""
        if self.talk is not None:
            self.talk = None
            self.peer.suspend()


def new_peer(outbox: Outbox, window: Window, *, is_numbered_at_once: bool) -> Peer:
    """One side of no session yet."""
    return Peer(Log(outbox, is_numbered_at_once=is_numbered_at_once), Cursor(window))
