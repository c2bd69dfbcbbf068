"""What schedules of the real cores have found, each by its shortest example."""

from __future__ import annotations

import math
from collections import deque

from statews.policy import AtLimit, Outbox
from statews.protocol.entry import Entry, Terms
from statews.protocol.plain import Message
from statews.protocol.session import (
    Credentials,
    Cursor,
    Log,
    Peer,
    Position,
    Result,
    Ticket,
    Welcome,
    Window,
    digest,
    judge,
)

from .cores import Application
from .observer import Observer, Way

NOW = 0.0
EVERYTHING = math.inf


def new_peer(window: int = 4, *, outbox: Outbox | None = None, at_once: bool = True) -> Peer:
    """One side on an open link, whose other side takes so much ahead."""
    peer = Peer(Log(outbox or Outbox(), is_numbered_at_once=at_once), Cursor(Window(4)))
    peer.resume(Position(), Window(window))
    return peer


def put(peer: Peer, *messages: Message) -> None:
    for message in messages:
        number = peer.log.last + 1
        assert peer.log.put(Entry(message, Terms(number=number)), NOW)


def written(peer: Peer, *, stored: float = EVERYTHING) -> list[Message]:
    """All that a side has to say."""
    frames: list[Message] = []
    while more := peer.next_frames(NOW, stored):
        frames += more
    return frames


def take(peer: Peer, *frames: Message) -> None:
    peer.take(deque(frames), Application(Way.UP, "", peer.cursor, Observer()))


def test_a_session_is_resumed_whose_first_hello_was_in_vain() -> None:
    ticket, peer = Ticket(), new_peer()
    ticket.hello(peer, Window())  # its link is lost before the welcome
    hello = ticket.hello(peer, Window())
    credentials = Credentials(principal=None, attempt=hello.attempt, current=digest("token"))
    ticket.renew(Welcome(result=Result.NEW, sid="sid", token="token"))
    again = ticket.hello(peer, Window())
    assert judge(again, credentials, new_peer(), None).result is Result.RESUMED


def test_what_an_earlier_link_brought_is_acknowledged_when_it_comes_again() -> None:
    peer = new_peer()
    take(peer, "M1;a", "M2;b")
    peer.suspend()
    peer.greet()
    for message in ("a", "b"):  # while the link is not open yet
        peer.cursor.handled(message)
    peer.cursor.saved(peer.cursor.rx, peer.cursor.chain)
    assert peer.acknowledgement() is None  # nothing has been sent on this link
    take(peer, "M1;a")
    assert written(peer) == ["A1"]
    take(peer, "M2;b")
    assert written(peer) == ["A2"]


def test_a_batch_goes_on_behind_what_was_written_directly() -> None:
    peer = new_peer(window=2)
    for message in ("a", "b"):
        assert peer.log.may_go_at_once(1)
        peer.write_direct(message)
        peer.log.track(Entry(message))
    peer.log.put(Entry("c"), NOW)
    take(peer, "P", "A1")
    assert written(peer) == ["Q", "M3;c"]


def test_a_message_that_has_expired_does_not_make_room_for_a_longer_one() -> None:
    peer = new_peer(at_once=False)
    peer.log.window = Window(4, 10)
    for message, expires_at in (("12345", math.inf), ("1", NOW), ("123456", math.inf)):
        peer.log.put(Entry(message, Terms(expires_at=expires_at)), NOW - 1)
    assert written(peer) == ["M1;12345"]


def test_a_drop_of_what_the_store_never_had_is_not_told() -> None:
    peer = new_peer(outbox=Outbox(messages=1, at_limit=AtLimit.DROP_OLDEST))
    put(peer, "a", "b")
    assert written(peer, stored=0) == []  # or a later process would give number 1 away again
    skip, message = written(peer, stored=2)
    assert (str(skip)[:3], message) == ("S1,", "M2;b")


def test_what_an_earlier_process_dropped_may_fill_the_window() -> None:
    peer = new_peer()
    peer.log.go_on(2, 7, confirmed=0)
    peer.log.restore(Entry("c"))
    peer.suspend()
    peer.resume(Position(), Window(2))
    assert written(peer) == ["S2,7"]
    take(peer, "A1")
    assert written(peer) == []
    take(peer, "A2")
    assert written(peer) == ["M3;c"]


def test_what_an_earlier_process_may_have_written_fills_the_window_when_it_is_dropped() -> None:
    peer = new_peer()
    peer.log.go_on(0, 7, confirmed=0)
    peer.log.restore(Entry("a"))
    peer.log.drop(1)
    put(peer, "b")
    peer.suspend()
    peer.resume(Position(), Window(1))
    assert [str(frame)[:3] for frame in written(peer)] == ["S1,"]
    take(peer, "A1")
    assert written(peer) == ["M2;b"]
