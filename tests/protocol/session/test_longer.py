"""What is longer than the peer takes: it is never written, and nothing behind it is lost."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statews.protocol.entry import Entry, ReceiptState, Terms
from statews.protocol.envelope import LARGEST
from statews.protocol.outbox import DIRECT
from statews.protocol.session import Position, Window
from statews.protocol.session.chain import advance, start

from .sides import SID, WIDE, frames, make_open, send, take
from .test_both_sides import Side, connect, step

DROPPED, IN_DOUBT, WRITTEN = ReceiptState.DROPPED, ReceiptState.IN_DOUBT, ReceiptState.WRITTEN
WHY = "the peer takes messages of 2 bytes"


def chain(*messages: str) -> int:
    return advance(start(SID), messages)


def test_it_goes_as_a_gap_when_all_before_it_is_handled() -> None:
    peer = make_open(is_server=True)
    entries = send(peer, "a", "bbb", "éé", "d", "eee")
    peer.log.largest = 2
    assert frames(peer) == ["M1;a"]
    assert peer.has_frames
    take(peer, "A1")
    assert frames(peer) == [f"S3,{chain('a', 'bbb', 'éé')}", "M4;d"]
    assert [(entry.state, entry.reason) for entry in entries[1:3]] == [(DROPPED, WHY)] * 2
    take(peer, "A4")
    assert frames(peer) == [f"S5,{chain('a', 'bbb', 'éé', 'd', 'eee')}"]
    assert (peer.has_frames, len(peer.log)) == (False, 0)
    take(peer, "A5")
    assert peer.is_idle


def test_what_is_just_as_long_goes_as_it_is() -> None:
    peer = make_open(is_server=True)
    peer.log.largest = 2
    assert [peer.log.may_go_at_once(size) for size in (2, 3)] == [True, False]
    send(peer, "aa", "éé", "bb")
    assert frames(peer) == ["M1;aa"]
    peer.set_slot("short", "cc")
    peer.set_slot("long", "ccc")
    peer.suspend()
    peer.greet()
    peer.resume(Position(rx=1, chain=chain("aa")), WIDE)
    assert frames(peer) == ["Lshort;cc", f"S2,{chain('aa', 'éé')}", "M3;bb"]


@pytest.mark.parametrize("is_server", [True, False])
def test_what_an_earlier_link_has_taken_is_in_doubt(is_server: bool) -> None:
    peer = make_open(is_server=is_server)
    entries = send(peer, "aaa", "b")
    frames(peer)
    peer.suspend()
    peer.log.largest = 2
    peer.greet()
    peer.resume(Position(), WIDE)
    assert frames(peer) == [f"S1,{chain('aaa')}", "M2;b"]
    assert [entry.state for entry in entries] == [IN_DOUBT, WRITTEN]


def test_what_has_no_number_yet_goes_without_a_gap() -> None:
    peer = make_open()
    (entry, _) = send(peer, "aaa", "b")
    peer.log.largest = 2
    assert frames(peer) == ["M1;b"]
    assert (entry.state, entry.reason) == (DROPPED, WHY)


def test_what_the_store_does_not_have_is_no_gap_yet() -> None:
    peer = make_open(is_server=True)
    for number, message in enumerate(("aaa", "b"), 1):
        peer.log.put(Entry(message, Terms(number=number)), 0.0)
    peer.log.largest = 2
    assert frames(peer, 0) == []
    assert frames(peer, 1) == [f"S1,{chain('aaa')}"]
    assert frames(peer) == ["M2;b"]
    assert peer.log.settled == [1]


def test_it_is_not_written_with_many_others() -> None:
    for largest, first in ((2, 1), (1023, 1), (1024, 3)):
        peer = make_open(is_server=True)
        send(peer, "a", "b", "c" * 1025, "d")
        peer.log.largest = largest
        written = peer.next_frames(0.0, math.inf)
        assert len(written) == (1 if first == 1 else 2)
        while more := peer.next_frames(0.0, math.inf):
            written += more
        assert written == ["M1;a", "M2;b"]


def test_it_does_not_go_past_the_queue() -> None:
    log = make_open(is_server=True).log
    log.largest = DIRECT
    assert log.may_go_directly()
    assert log.may_go_at_once(DIRECT)
    assert not log.may_go_at_once(DIRECT + 1)
    log.largest = DIRECT - 1
    assert not log.may_go_directly()
    assert log.may_go_at_once(DIRECT - 1)


def test_what_a_peer_takes_is_forgotten_with_the_session_and_not_with_the_link() -> None:
    peer = make_open()
    peer.log.largest = 2
    peer.suspend()
    assert peer.log.largest == 2
    peer.log.start_over(0)
    assert peer.log.largest == LARGEST


def test_values_of_slots_that_are_too_long_wait_for_another_link() -> None:
    peer = make_open()
    for name, value in (("one", "aa"), ("two", "aaa"), ("three", b"aaa"), ("four", "éé")):
        peer.set_slot(name, value)
    peer.suspend()
    for largest, expected in ((2, ["Lone;aa"]), (3, ["Lone;aa", "Ltwo;aaa", b"Lthree;aaa"])):
        peer.log.largest = largest
        peer.resume(Position(), WIDE)
        assert frames(peer) == expected
        peer.suspend()


def numbered(number: int) -> str:
    return f"{number:<{1 + number % 4}}"


class Choosy(Side):
    """A side that sends messages of up to four bytes, and takes what it says on each link."""

    largest = LARGEST

    def send(self) -> None:
        self.sent += 1
        send(self.peer, numbered(self.sent))

    def take(self, count: int) -> None:
        for frame in list(self.coming)[:count]:
            assert isinstance(frame, str)
            assert frame[0] != "M" or len(frame.partition(";")[2]) <= self.largest
        super().take(count)


def connect_choosy(client: Choosy, server: Choosy, largest: int) -> None:
    for side, other in ((client, server), (server, client)):
        side.largest = other.peer.log.largest = largest
    connect(client, server)


choosy_steps = st.tuples(
    st.booleans(),
    st.sampled_from(["send", "send", "write", "take", "handle", "say", "save", "connect"]),
    st.integers(1, 4),
)


@given(
    script=st.lists(choosy_steps, max_size=60),
    is_stored=st.booleans(),
    window=st.builds(Window, st.integers(1, 4), st.integers(1, 6)),
    largest=st.integers(0, 4),
)
def test_over_any_links_only_what_was_too_long_for_one_of_them_is_lost(
    script: list[tuple[bool, str, int]], is_stored: bool, window: Window, largest: int
) -> None:
    client = Choosy(is_server=False, is_stored=is_stored, window=window)
    server = Choosy(is_server=True, is_stored=is_stored, window=window)
    connect_choosy(client, server, LARGEST)
    least = largest
    for is_client, what, count in script:
        side, other = (client, server) if is_client else (server, client)
        if what == "connect":
            connect_choosy(client, server, count)
            least = min(least, count)
        elif what != "send" or len(side.peer.log) < 5:  # there is room
            step(side, other, what, count)
    connect_choosy(client, server, largest)
    for _ in range(40):  # at rest nothing is left
        for side, other in ((client, server), (server, client)):
            for what in ("write", "take", "handle", "save", "say"):
                step(side, other, what, 9)
    for side, other in ((client, server), (server, client)):
        assert side.handled == sorted(set(side.handled))
        lost = set(range(1, other.sent + 1)) - set(side.handled)
        assert all(len(numbered(number)) > least for number in lost)
        assert len(other.peer.log) == 0
        assert other.peer.log.last == side.peer.cursor.rx
        assert other.peer.log.chain == side.peer.cursor.chain
