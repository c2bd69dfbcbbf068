"""What one side of a session makes of the frames of the other, and what it says."""

from __future__ import annotations

import math
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statews.errors import SessionError
from statews.protocol.entry import Entry, ReceiptState, Terms
from statews.protocol.envelope import GoAway
from statews.protocol.plain import Message
from statews.protocol.session import Peer, Position, Window
from statews.protocol.session.chain import advance, start
from statews.protocol.session.peer import MOST_REPLIES, MOST_SLOTS
from statews.protocol.session.unconfirmed import MOST_VOLATILE

from .logs import burst
from .sides import SID, WIDE, Event, Notes, frames, make_open, make_peer, send, take

ACKNOWLEDGED, DROPPED, IN_DOUBT, WRITTEN = (
    ReceiptState.ACKNOWLEDGED,
    ReceiptState.DROPPED,
    ReceiptState.IN_DOUBT,
    ReceiptState.WRITTEN,
)


def refuse(peer: Peer, wanted: str, *messages: Message) -> list[Event]:
    notes, arrived = Notes(), deque(messages)
    with pytest.raises(SessionError, match=wanted) as caught:
        peer.take(arrived, notes)
    assert caught.value.close_code == 4400
    return notes.events


def settles(peer: Peer, *messages: Message) -> bool:
    return peer.take(deque(messages), Notes())


def reconnect(peer: Peer, rx: int) -> None:
    """A new link, on whose other end so many were handled."""
    peer.suspend()
    peer.greet()
    peer.resume(Position(rx=rx), WIDE)


def write_volatile(peer: Peer, count: int = 1) -> list[Entry]:
    entries = [Entry("v") for _ in range(count)]
    for entry in entries:
        peer.write_volatile(entry)
    return entries


# What comes in.


def test_each_frame_goes_where_it_belongs() -> None:
    peer = make_open()
    send(peer, "a", "b", "c", "d", "e", "f", "g", "h")
    frames(peer)
    events = take(
        peer,
        *("M1;a", b"M2;b", "M3,1;;", b"M4,2;", "Ls;5", b"Lt,3;6", "V;7", b"V,4;8"),
        *("A5", "P,6", "Q,7", "S6,99", "M7,8;x", "G1-2;why", "z whatever", b"y"),
    )
    assert events == [
        *(("a", 1), (b"b", 2), (";", 3), (b"", 4), ("5", "s"), (b"6", "t"), ("7", None)),
        *((b"8", None), ("lost", 4, 6, 99), ("x", 7), (GoAway(1, 2, "why"),)),
    ]
    assert (peer.cursor.arrived, peer.log.acknowledged) == (7, 8)
    assert frames(peer) == ["Q"]


@pytest.mark.parametrize("frame", ["M{};x", b"M%d;x", "M{},1;x", b"M%d,1;x"])
@pytest.mark.parametrize("seq", [1, 2, 4, 5, 2**53 - 1])
def test_a_message_out_of_turn_is_refused(frame: Message, seq: int) -> None:
    peer = make_open()
    send(peer, "a")
    frames(peer)
    take(peer, "M1;a", "M2;b")
    wrong = frame.format(seq) if isinstance(frame, str) else frame % seq
    wanted = f"^the peer sent message {seq} where 3 was next$"
    assert refuse(peer, wanted, wrong) == []
    assert (peer.cursor.arrived, peer.cursor.expected) == (2, 3)


@pytest.mark.parametrize(
    "frame",
    [
        "M3",
        "M3,1",
        "M3,0",
        "M03;",
        "M3,;",
        "M3,01;",
        "M3,-1;",
        "M3,1,1;",
        "M3,²;",
        "M3, 1;",
        "m3;",
    ],
)
def test_the_short_way_takes_nothing_that_is_no_frame(frame: str) -> None:
    peer = make_open()
    take(peer, "M1;a", "M2;b")
    if frame[0] == "M":
        refuse(peer, ", which is no frame$", frame)
    else:
        assert take(peer, frame) == []
    assert peer.cursor.arrived == 2


def test_a_second_greeting_is_refused() -> None:
    for greeting in ("H{}", "W{}", "H"):
        wanted = "^the peer sent a second greeting$"
        assert refuse(make_open(), wanted, "M1;a", greeting, "M2;b") == [("a", 1)]


@pytest.mark.parametrize(
    "frame", ["M1,2;", b"M1,2;", "Ls,2;", "V,2;", "A2", "P,2", "Q,2", f"M1,{2**53 - 1};"]
)
def test_what_was_not_sent_cannot_be_acknowledged(frame: Message) -> None:
    peer = make_open()
    send(peer, "a")
    frames(peer)
    assert refuse(peer, r"^the peer acknowledged \d+, which it was not sent$", frame) == []
    assert peer.log.acknowledged == 0


@pytest.mark.parametrize("frame", ["M1,1;", b"M1,1;", "Ls,1;", "V,1;", "A1", "P,1", "Q,1"])
def test_an_acknowledgement_rides_on_each_frame(frame: Message) -> None:
    peer = make_open()
    (entry,) = send(peer, "a")
    frames(peer)
    assert settles(peer, frame)
    assert entry.state is ACKNOWLEDGED
    again = frame.replace("M1", "M2") if isinstance(frame, str) else frame.replace(b"M1", b"M2")
    assert not settles(peer, again)


def test_whoever_takes_frames_learns_whether_something_is_settled() -> None:
    peer = make_open()
    send(peer, "a", "b")
    frames(peer)
    assert not settles(peer)
    assert not settles(peer, "M1;a", "V;", "P", "Q", "A0")
    assert not settles(peer, "G1-2")
    assert not settles(make_open(), "S3,4")
    assert settles(peer, "A1", "M2;b")
    write_volatile(peer)
    peer.ask()
    assert settles(peer, "Q", "P")
    assert settles(peer, "A2")


# What goes out.


def test_messages_go_out_in_order_and_acknowledge_what_was_handled() -> None:
    peer = make_open()
    send(peer, "a", b"b", "c")
    assert peer.has_frames
    assert peer.next_frame(0.0, math.inf) == "M1;a"
    take(peer, "M1;x")
    peer.cursor.handled("x")
    assert frames(peer) == [b"M2,1;b", "M3;c"]
    assert not peer.has_frames
    assert peer.next_frame(0.0, math.inf) is None


def test_what_waits_for_the_store_does_not_go_out() -> None:
    peer = make_open(is_server=True)
    for number in (3, 5):
        peer.log.put(Entry("a", Terms(number=number)), 0.0)
    assert [frames(peer, upto) for upto in (2, 3, 4, 5)] == [[], ["M1;a"], [], ["M2;a"]]
    peer.log.put(Entry("a", Terms(number=6)), 0.0)
    peer.log.drop(3)
    assert frames(peer, 5) == []
    reconnect(peer, 2)
    assert frames(peer, 5) == []  # nor is its loss told
    assert frames(peer, 6) == [f"S3,{advance(start(SID), 'aaa')}"]


def test_what_expired_does_not_go_out() -> None:
    peer = make_open()
    peer.log.put(Entry("a", Terms(expires_at=5.0)), 0.0)
    assert peer.next_frame(5.0, math.inf) is None
    assert (len(peer.log), peer.log.last) == (0, 0)


def test_the_window_of_the_peer_holds_messages_back_and_nothing_else() -> None:
    peer = make_peer()
    peer.greet()
    peer.resume(Position(), Window(messages=1))
    send(peer, "a", "b")
    peer.set_slot("s", "1")
    assert frames(peer) == ["Ls;1", "M1;a"]
    assert peer.has_frames
    peer.set_slot("s", "2")
    assert take(peer, "P") == []
    assert frames(peer) == ["Q", "Ls;2"]
    settles(peer, "A1")
    assert frames(peer) == ["M2;b"]


def test_many_go_out_at_once_behind_the_first() -> None:
    peer = make_open()
    assert peer.next_frames(0.0, math.inf) == []
    send(peer, "a", "b", "c", b"d", "e")
    take(peer, "M1;x", "P")
    peer.cursor.handled("x")
    assert peer.next_frames(0.0, math.inf) == ["Q", "M1;a", "M2;b", "M3;c"]
    assert peer.next_frames(0.0, math.inf) == [b"M4,1;d", "M5;e"]
    assert peer.next_frames(0.0, math.inf) == []
    peer.log.track(Entry("f"))
    send(peer, "g")
    take(peer, "P")
    assert peer.next_frames(0.0, math.inf) == ["Q", "M7;g"]


def test_a_message_that_goes_out_directly_has_the_next_number() -> None:
    peer = make_open()
    take(peer, "M1;x")
    peer.cursor.handled("x")
    assert peer.write_direct("a") == "M1,1;a"
    peer.log.track(Entry("a"))
    assert peer.write_direct(b"b") == b"M2;b"
    peer.log.track(Entry(b"b"))
    settles(peer, "A1")
    assert peer.write_direct("c") == "M3;c"
    burst(peer.log, "c", "d")
    assert peer.write_direct("e") == "M5;e"
    take(peer, "M2;y")
    peer.cursor.handled("y")
    assert peer.write_direct("é") == "M5,2;é"


def test_an_acknowledgement_goes_alone_if_it_is_news() -> None:
    peer = make_open()
    take(peer, "M1;a", "M2;b")
    assert peer.acknowledgement() is None
    peer.cursor.handled("a")
    assert peer.acknowledgement() == "A1"
    assert peer.acknowledgement() is None
    peer.cursor.handled("b")
    take(peer, "P")
    assert frames(peer) == ["Q,2"]


def test_what_was_dropped_is_told_before_the_next_message() -> None:
    peer = make_open(is_server=True)
    send(peer, "a", "b", "c")
    peer.log.drop(2)
    assert frames(peer) == [f"S2,{advance(start(SID), 'ab')}", "M3;c"]


def test_who_asks_is_told_of_what_has_arrived_as_soon_as_it_is_handled() -> None:
    peer = make_open()
    take(peer, "M1;a", "M2;b", "P", "M3;c")
    assert (frames(peer), peer.cursor.wanted) == (["Q"], 2)
    peer.cursor.handled("a")
    assert not peer.cursor.is_urgent
    peer.cursor.handled("b")
    assert peer.cursor.is_urgent
    assert peer.acknowledgement() == "A2"
    peer.cursor.handled("c")
    assert not peer.cursor.is_urgent


def test_who_asks_faster_than_it_reads_gets_few_answers() -> None:
    peer = make_open()
    for _ in range(3):
        take(peer, *["P"] * 10_000)
    assert len(peer.replies) == MOST_REPLIES == 16
    assert set(frames(peer)) == {"Q"}
    take(peer, "P")
    assert frames(peer) == ["Q"]


# Slots.


def test_of_a_slot_the_newest_value_goes_out() -> None:
    peer = make_open()
    assert (peer.has_frames, peer.volatile.is_asked) == (False, False)
    for name, value in (("s", "1"), ("t", b"2"), ("s", "3")):
        assert peer.set_slot(name, value)
    assert peer.has_frames
    take(peer, "M1;x")
    peer.cursor.handled("x")
    assert frames(peer) == ["Ls,1;3", b"Lt;2"]
    assert not peer.has_frames
    assert peer.set_slot("t", "4")
    assert frames(peer) == ["Lt;4"]


def test_each_link_is_told_the_newest_value_of_each_slot() -> None:
    peer = make_open()
    peer.set_slot("s", "1")
    peer.set_slot("t", "2")
    frames(peer)
    peer.suspend()
    peer.set_slot("s", "3")
    for _ in range(2):
        reconnect(peer, 0)
        assert frames(peer) == ["Ls;3", "Lt;2"]


def test_slots_are_no_ones_but_their_peers() -> None:
    first, second = make_open(), make_open()
    first.set_slot("s", "1")
    reconnect(second, 0)
    assert not second.has_frames
    second.set_slot("t", "2")
    assert (frames(first), frames(second)) == (["Ls;1"], ["Lt;2"])


def test_there_are_so_many_slots_and_no_more() -> None:
    peer = make_open()
    assert MOST_SLOTS == 1024
    assert all(peer.set_slot(f"{number}", "a") for number in range(MOST_SLOTS))
    assert not peer.set_slot("more", "a")
    assert peer.set_slot("0", "b")
    assert len(frames(peer)) == MOST_SLOTS


# Volatile messages.


def test_the_answer_to_a_question_settles_what_went_before_it() -> None:
    peer = make_open()
    take(peer, "M1;x")
    peer.cursor.handled("x")
    first = Entry("v")
    assert peer.write_volatile(first) == "V,1;v"
    assert peer.write_volatile(Entry(b"w")) == b"V;w"
    peer.ask()
    assert (frames(peer), peer.volatile.is_asked) == (["P"], True)
    (later,) = write_volatile(peer)
    assert (first.state, first.attempts) == (WRITTEN, 1)
    assert settles(peer, "Q")
    assert (first.state, later.state, peer.volatile.is_asked) == (ACKNOWLEDGED, WRITTEN, False)
    assert not settles(peer, "Q")  # nobody asked
    assert later.state is WRITTEN


def test_one_question_is_on_its_way_at_a_time_and_the_next_one_is_not_forgotten() -> None:
    peer = make_open()
    write_volatile(peer)
    peer.ask()
    (second,) = write_volatile(peer)
    peer.ask()
    (third,) = write_volatile(peer)
    assert frames(peer) == ["P"]
    assert settles(peer, "Q")
    assert (frames(peer), peer.volatile.is_asked) == (["P"], True)
    assert second.state is WRITTEN
    assert settles(peer, "Q")
    assert (second.state, third.state) == (ACKNOWLEDGED, ACKNOWLEDGED)
    assert (frames(peer), peer.volatile.is_asked) == ([], False)


def test_a_question_acknowledges() -> None:
    peer = make_open()
    take(peer, "M1;x")
    peer.cursor.handled("x")
    peer.ask()
    assert frames(peer) == ["P,1"]


def test_after_many_volatile_messages_the_peer_is_asked() -> None:
    peer = make_open()
    assert MOST_VOLATILE == 256
    write_volatile(peer, 255)
    assert not peer.volatile.is_asked
    write_volatile(peer)
    assert frames(peer) == ["P"]
    write_volatile(peer, 255)
    settles(peer, "Q")
    assert frames(peer) == []
    write_volatile(peer)
    assert frames(peer) == ["P"]


def test_with_its_link_a_volatile_message_is_in_doubt() -> None:
    peer = make_open()
    entries = write_volatile(peer, 2)
    peer.ask()
    settles(peer, "P")
    peer.suspend()
    why = "its link was lost before the peer had confirmed it"
    assert [(entry.state, entry.reason) for entry in entries] == [(IN_DOUBT, why)] * 2
    assert (peer.replies, peer.volatile.is_asked) == ([], False)
    reconnect(peer, 0)
    (entry,) = write_volatile(peer)
    assert not settles(peer, "Q")
    assert (entry.state, frames(peer)) == (WRITTEN, [])
    peer.ask()
    peer.volatile.suspend()
    assert entry.state is IN_DOUBT
    (entry,) = write_volatile(peer)
    assert not settles(peer, "Q")
    assert (entry.state, frames(peer)) == (WRITTEN, ["P"])


def test_what_the_other_side_would_not_take_may_be_volatile() -> None:
    peer = make_open()
    send(peer, "aa", "b")
    frames(peer)
    write_volatile(peer)
    volatile = Entry("vvv")
    peer.write_volatile(volatile)
    peer.refuse_longest()
    assert volatile.state is DROPPED
    peer.refuse_longest()
    reconnect(peer, 0)
    chain = peer.log.chain_at(1)
    assert frames(peer) == [f"S1,{chain}", "M2;b"]
    peer.refuse_longest()
    reconnect(peer, 0)
    peer.refuse_longest()  # nothing was written
    assert frames(peer) == [f"S1,{chain}", f"S2,{peer.log.chain_at(2)}"]


# Links.


def test_a_greeting_says_where_this_side_is() -> None:
    peer = make_open(is_server=True, is_stored=True)
    send(peer, "a", "b", "c")
    frames(peer)
    settles(peer, "A1", "M1;x", "M2;y", "M3;z")
    peer.cursor.handled("x")
    peer.cursor.saved(1, peer.cursor.chain)
    peer.cursor.handled("y")
    peer.suspend()
    chain = advance(start(SID), ["x"])
    assert peer.greet() == Position(rx=1, chain=chain, first=2, last=3)
    assert peer.cursor.expected == 2


def test_what_was_not_handled_goes_out_again_on_the_next_link() -> None:
    peer = make_open()
    entries = send(peer, "a", "b", "c")
    frames(peer)
    reconnect(peer, 1)
    assert [entry.state for entry in entries[:1]] == [ACKNOWLEDGED]
    assert frames(peer) == ["M2;b", "M3;c"]


def test_what_comes_again_is_not_delivered_again_and_acknowledged_once_more() -> None:
    peer = make_open()
    take(peer, "M1;a", "M2;b", "M3;c")
    peer.cursor.handled("a")
    reconnect(peer, 0)
    peer.cursor.handled("b")
    assert peer.acknowledgement() is None
    assert take(peer, b"M2;b") == []
    assert frames(peer) == ["A2"]
    assert take(peer, "M3;c", "M4;d") == [("d", 4)]
    assert frames(peer) == []
    peer.cursor.handled("c")
    reconnect(peer, 0)
    peer.cursor.handled("d")
    assert take(peer, "S4,99") == []
    assert frames(peer) == ["A4"]


# Whatever comes.


known: tuple[Message, ...] = (
    *("M1;a", b"M1;a", "M1,0;", "M2;b", b"M2,1;b", "M3,1;c", "M1", "Ls;1", "V;1", "A0", "A1"),
    *(
        "A2",
        "S1,1",
        "S3,4",
        f"S{2**53 - 1},1",
        "P",
        "P,1",
        "Q",
        "Q,1",
        "G1-2",
        "z",
        "H{}",
        "",
        b"",
    ),
)


def test_of_a_run_that_is_too_long_the_messages_that_fit_are_taken_in() -> None:
    peer = make_open(window=Window(3))
    events = refuse(peer, "more than the window allows", *[f"M{n};t" for n in range(1, 6)])
    assert events == [("t", 1), ("t", 2), ("t", 3)]


def test_of_a_run_with_a_false_acknowledgement_nothing_is_taken_in() -> None:
    peer = make_open()
    assert refuse(peer, "acknowledged 7", "M1;a", "M2,7;b", "M3;c") == []
    assert peer.cursor.arrived == 0


def test_a_run_may_come_again_and_go_on() -> None:
    peer = make_open()
    take(peer, "M1;a", "M2;b")
    reconnect(peer, 0)
    assert take(peer, "M1;a", "M2;b", "M3;c") == [("c", 3)]
    assert take(peer, "M4;d", b"M5;e", "M6;f", "A0", "M7;g") == [
        ("d", 4),
        (b"e", 5),
        ("f", 6),
        ("g", 7),
    ]


@given(
    arrived=st.lists(st.sampled_from(known) | st.text() | st.binary(), max_size=30),
    is_server=st.booleans(),
)
def test_whatever_comes_is_taken_in_or_refused(arrived: list[Message], is_server: bool) -> None:
    peer = make_open(is_server=is_server)
    send(peer, "a", "b")
    frames(peer)
    notes, waiting = Notes(), deque(arrived)
    try:
        peer.take(waiting, notes)
    except SessionError:
        cursor = peer.cursor
        assert cursor.arrived < cursor.expected  # what came before is taken in
    else:
        assert not waiting
    assert len(notes.events) <= len(arrived)
    assert len(frames(peer)) <= MOST_REPLIES
    assert peer.log.acknowledged <= 2
