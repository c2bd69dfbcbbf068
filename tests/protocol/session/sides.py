"""Both sides of a session, for the tests of what they say to each other."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from statews.policy import AtLimit, Delivery, Outbox
from statews.protocol.entry import Entry
from statews.protocol.envelope import GoAway
from statews.protocol.plain import Message
from statews.protocol.session import Cursor, Log, Peer, Position, Window
from statews.protocol.session.chain import start

SID = "session"
WIDE = Window()

Event = tuple[object, ...]


class Notes:
    """A sink that remembers what it was told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def deliver(self, payloads: Sequence[Message], first: int, /) -> None:
        self.events += [(payload, seq) for seq, payload in enumerate(payloads, first)]

    def deliver_unnumbered(self, payload: Message, slot: str | None, /) -> None:
        self.events.append((payload, slot))

    def lose(self, after: int, upto: int, chain: int) -> None:
        self.events.append(("lost", after, upto, chain))

    def go_away(self, order: GoAway) -> None:
        self.events.append((order,))


def make_peer(
    *,
    window: Window = WIDE,
    messages: int = 1000,
    is_server: bool = False,
    is_stored: bool = False,
) -> Peer:
    """One side of a new session."""
    settings = Outbox(
        messages=messages, at_limit=AtLimit.DROP_OLDEST, delivery=Delivery.AT_LEAST_ONCE
    )
    log = Log(settings, is_numbered_at_once=is_server)
    log.chain = start(SID)
    return Peer(log, Cursor(window, chain=start(SID), is_stored=is_stored))


def make_open(
    *,
    window: Window = WIDE,
    messages: int = 1000,
    is_server: bool = False,
    is_stored: bool = False,
) -> Peer:
    """The same on its first link."""
    peer = make_peer(window=window, messages=messages, is_server=is_server, is_stored=is_stored)
    peer.greet()
    peer.resume(Position(), WIDE)
    return peer


def send(peer: Peer, *messages: Message) -> list[Entry]:
    """Put messages into the log."""
    entries = [Entry(message) for message in messages]
    for entry in entries:
        peer.log.put(entry, 0.0)
    return entries


def frames(peer: Peer, upto: float = math.inf) -> list[Message]:
    """What it wants written, one by one."""
    written: list[Message] = []
    while (frame := peer.next_frame(0.0, upto)) is not None:
        written.append(frame)
    return written


def take(peer: Peer, *messages: Message) -> list[Event]:
    """Have it take frames in; what its sink is told."""
    notes = Notes()
    peer.take(deque(messages), notes)
    return notes.events
