"""When nothing of a session is under way, so that where it stands is all there is to keep."""

from __future__ import annotations

import pytest

from statews.protocol.entry import Entry, Terms

from .logs import both_ways, burst
from .sides import frames, make_open, send, take


def test_a_new_session_is_idle() -> None:
    assert make_open().is_idle


@both_ways
def test_what_is_sent_is_under_way_until_it_is_acknowledged(*, is_server: bool) -> None:
    peer = make_open(is_server=is_server)
    send(peer, "one", "two")
    assert not peer.is_idle
    frames(peer)
    assert not peer.is_idle
    take(peer, "A1")
    assert not peer.is_idle
    take(peer, "A2")
    assert peer.is_idle


def test_a_burst_is_under_way_until_all_of_it_is_acknowledged() -> None:
    peer = make_open(is_server=True)
    burst(peer.log, "one", "two")
    take(peer, "A1")
    assert not peer.is_idle
    take(peer, "A2")
    assert peer.is_idle


def test_what_the_store_has_to_forget_is_under_way() -> None:
    peer = make_open(is_server=True)
    peer.log.put(Entry("x", Terms(number=1)), 0.0)
    frames(peer)
    take(peer, "A1")
    assert peer.log.settled == [1]
    assert not peer.is_idle
    peer.log.settled = []
    assert peer.is_idle


def test_what_was_dropped_is_under_way_until_the_peer_has_come_past_it() -> None:
    peer = make_open(is_server=True)
    send(peer, "one")
    peer.log.drop(1)
    assert not peer.is_idle
    frames(peer)
    take(peer, "A1")
    assert peer.is_idle


def test_what_has_arrived_is_under_way_until_it_is_handled() -> None:
    peer = make_open()
    take(peer, "M1;x")
    assert not peer.is_idle
    peer.cursor.handled("x")
    assert peer.is_idle


def test_what_was_handled_is_under_way_until_the_store_knows() -> None:
    peer = make_open(is_stored=True)
    take(peer, "M1;x")
    peer.cursor.handled("x")
    assert not peer.is_idle
    peer.cursor.saved(1, peer.cursor.chain)
    assert peer.is_idle


@pytest.mark.parametrize("what", ["slot", "volatile", "reply"])
def test_so_is_what_has_no_number(what: str) -> None:
    peer = make_open()
    match what:
        case "slot":
            peer.set_slot("price", "1")
            frames(peer)
        case "volatile":
            peer.write_volatile(Entry("v"))
        case _:
            take(peer, "P")
    assert not peer.is_idle
