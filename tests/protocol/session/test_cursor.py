"""What arrives, what is handled, and when that is said."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from statews.errors import SessionError
from statews.protocol.plain import Message
from statews.protocol.session import Cursor, Window
from statews.protocol.session.chain import advance
from statews.protocol.session.cursor import ACKNOWLEDGE_AFTER

CHAIN = 77
WIDE = Window()
TOO_MUCH = "^the peer sent more than the window allows$"
both_ways = pytest.mark.parametrize("is_stored", [False, True], ids=["in memory", "stored"])


def make(window: Window = WIDE, *, is_stored: bool = False, rx: int = 0) -> Cursor:
    return Cursor(window, rx=rx, chain=CHAIN, is_stored=is_stored)


def take(cursor: Cursor, *messages: Message) -> list[bool]:
    return [cursor.take(cursor.expected, message) for message in messages]


def refuse(cursor: Cursor, seq: int, wanted: str, payload: Message = "") -> None:
    before = cursor.arrived, cursor.expected, cursor.held_bytes
    with pytest.raises(SessionError, match=wanted) as caught:
        cursor.take(seq, payload)
    assert caught.value.close_code == 4400
    assert (cursor.arrived, cursor.held_bytes) == (before[0], before[2])


# What arrives.


@both_ways
def test_a_cursor_begins_where_it_is_told(is_stored: bool) -> None:
    cursor = Cursor(WIDE, is_stored=is_stored)
    assert (cursor.rx, cursor.arrived, cursor.expected, cursor.safe) == (0, 0, 1, 0)
    assert (cursor.chain, cursor.safe_chain) == (0, 0)
    cursor = make(Window(3), is_stored=is_stored, rx=8)
    assert (cursor.rx, cursor.arrived, cursor.expected, cursor.safe) == (8, 8, 9, 8)
    assert (cursor.chain, cursor.safe_chain, cursor.told) == (CHAIN, CHAIN, 8)
    assert (cursor.due, cursor.is_urgent, cursor.acknowledge()) == (math.inf, False, None)
    assert (cursor.window, cursor.held_bytes) == (Window(3), 0)


def test_what_happens_without_a_store_to_wait_for_has_to_be_asked_for() -> None:
    cursor = Cursor(WIDE)
    take(cursor, "a")
    cursor.handled("a")
    assert (cursor.rx, cursor.safe) == (1, 0)


def test_messages_come_in_the_order_of_their_numbers() -> None:
    cursor = make(rx=8)
    assert cursor.take(9, "a")
    assert cursor.take(10, b"b")
    assert (cursor.arrived, cursor.expected, cursor.rx) == (10, 11, 8)
    for seq in (0, 9, 10, 12, 99):
        refuse(cursor, seq, f"^the peer sent message {seq} where 11 was next$")
    assert cursor.take(11, "c")


@both_ways
def test_what_comes_again_on_a_new_link_is_not_new(is_stored: bool) -> None:
    cursor = make(is_stored=is_stored)
    take(cursor, "a", "b", "c")
    cursor.handled("a")
    cursor.saved(1, cursor.chain)
    cursor.resume()
    assert cursor.expected == 2
    refuse(cursor, 4, "^the peer sent message 4 where 2 was next$")
    for message in ("b", "c"):
        assert cursor.is_behind
        assert take(cursor, message) == [False]
    assert not cursor.is_behind
    assert take(cursor, "d") == [True]
    assert (cursor.arrived, cursor.held_bytes) == (4, 3)


# The window.


def test_the_window_bounds_the_messages_that_are_not_handled() -> None:
    cursor = make(Window(messages=2))
    take(cursor, "a", "b")
    refuse(cursor, 3, TOO_MUCH)
    cursor = make(Window(messages=2))
    take(cursor, "a", "b")
    cursor.handled("a")
    assert take(cursor, "c") == [True]
    refuse(cursor, 4, TOO_MUCH)


def test_the_window_bounds_the_bytes_that_are_not_handled() -> None:
    cursor = make(Window(size_bytes=5))
    take(cursor, "aa", b"bbb")
    assert cursor.held_bytes == 5
    refuse(cursor, 3, TOO_MUCH, "c")
    cursor = make(Window(size_bytes=5))
    take(cursor, "aa", b"bbb")
    cursor.handled("aa")
    assert cursor.held_bytes == 3
    assert take(cursor, "cc", "") == [True, True]
    refuse(cursor, 5, TOO_MUCH, "d")


def test_one_message_is_always_allowed() -> None:
    cursor = make(Window(1, 1))
    take(cursor, "a" * 9)
    refuse(cursor, 2, TOO_MUCH)
    cursor.handled("a" * 9)
    cursor.resume()
    assert take(cursor, "b" * 9) == [True]


def test_what_comes_again_takes_no_room_in_the_window() -> None:
    cursor = make(Window(2, 2))
    take(cursor, "a", "b")
    for _ in range(3):
        cursor.resume()
        assert take(cursor, "a", "b") == [False, False]
    refuse(cursor, 3, TOO_MUCH)


# Gaps.


def test_a_gap_is_what_was_skipped_and_has_not_arrived() -> None:
    cursor = make()
    take(cursor, "a", "b")
    assert cursor.skip(5) == (3, 5)
    assert (cursor.arrived, cursor.expected, cursor.rx, cursor.held_bytes) == (5, 6, 0, 2)
    assert cursor.skip(6) == (6, 6)
    assert take(cursor, "g") == [True]
    cursor.resume()
    assert cursor.skip(3) is None
    assert (cursor.expected, cursor.arrived) == (4, 7)
    assert cursor.skip(7) is None
    cursor.resume()
    assert cursor.skip(9) == (8, 9)


@pytest.mark.parametrize("upto", [0, 1, 2])
def test_what_was_sent_on_this_link_cannot_be_skipped(upto: int) -> None:
    cursor = make()
    take(cursor, "a", "b")
    wanted = f"^the peer skipped up to {upto} where 3 was next$"
    with pytest.raises(SessionError, match=wanted) as caught:
        cursor.skip(upto)
    assert caught.value.close_code == 4400
    assert (cursor.arrived, cursor.expected) == (2, 3)
    cursor.resume()
    assert cursor.skip(1) is None


@both_ways
def test_a_gap_is_handled_when_the_application_was_told(is_stored: bool) -> None:
    cursor = make(is_stored=is_stored)
    take(cursor, "a")
    cursor.skip(5)
    cursor.handled("a")
    assert cursor.passed(5, 123)
    assert (cursor.rx, cursor.chain) == (5, 123)
    assert (cursor.safe, cursor.safe_chain) == ((0, CHAIN) if is_stored else (5, 123))
    cursor.saved(5, 123)
    assert cursor.acknowledge() == 5
    take(cursor, "f")
    cursor.handled("f")
    assert (cursor.rx, cursor.chain) == (6, advance(123, ["f"]))


# What is handled.


@both_ways
def test_what_is_handled_counts_and_has_a_check_value(is_stored: bool) -> None:
    cursor = make(is_stored=is_stored)
    take(cursor, "a", b"b")
    cursor.handled("a")
    assert (cursor.rx, cursor.chain) == (1, advance(CHAIN, ["a"]))
    cursor.handled(b"b")
    assert (cursor.rx, cursor.chain) == (2, advance(CHAIN, ["a", b"b"]))
    saved = (0, CHAIN) if is_stored else (2, cursor.chain)
    assert (cursor.safe, cursor.safe_chain) == saved


def test_no_more_is_acknowledged_than_the_store_has() -> None:
    cursor = make(is_stored=True)
    take(cursor, "a", "b", "c")
    for message in ("a", "b", "c"):
        cursor.handled(message)
    assert cursor.acknowledge() is None
    cursor.saved(2, 123)
    assert cursor.acknowledge() == 2
    assert cursor.acknowledge() is None
    assert (cursor.safe, cursor.safe_chain) == (2, 123)
    cursor.resume()
    assert (cursor.expected, cursor.told) == (3, 2)


def test_no_more_is_acknowledged_than_this_link_has_brought() -> None:
    cursor = make()
    take(cursor, "a", "b", "c", "d")
    cursor.handled("a")
    cursor.resume()
    for message in ("b", "c", "d"):
        cursor.handled(message)
    assert cursor.acknowledge() is None  # whoever sends again would not know of these
    take(cursor, "b")
    assert (cursor.acknowledge(), cursor.told) == (2, 2)
    assert cursor.skip(3) is None
    assert (cursor.acknowledge(), cursor.acknowledge()) == (3, None)
    take(cursor, "d", "e")
    assert (cursor.acknowledge(), cursor.rx) == (4, 4)


# When it is said.


def test_the_first_one_handled_asks_for_an_acknowledgement_and_the_next_ones_do_not() -> None:
    cursor = make()
    take(cursor, "a", "b", "c")
    assert cursor.handled("a")
    cursor.due = 10 + ACKNOWLEDGE_AFTER
    assert (ACKNOWLEDGE_AFTER, cursor.is_urgent) == (0.2, False)
    assert not cursor.handled("b")
    assert cursor.due == 10.2
    assert cursor.acknowledge() == 2
    assert cursor.due == math.inf
    assert cursor.handled("c")


@pytest.mark.parametrize(("messages", "quarter"), [(1, 1), (4, 1), (5, 2), (8, 2), (16, 4)])
def test_a_quarter_of_the_messages_is_urgent(messages: int, quarter: int) -> None:
    cursor = make(Window(messages=messages))
    for upto in (quarter, 2 * quarter, 3 * quarter):
        while cursor.rx < upto:
            take(cursor, "a")
            assert not cursor.is_urgent
            cursor.due = 10.2
            assert cursor.handled("a") == cursor.is_urgent == (cursor.rx == upto)
        assert cursor.acknowledge() == upto
        assert not cursor.is_urgent


@pytest.mark.parametrize(("size_bytes", "quarter"), [(1, 1), (4, 1), (5, 2), (8, 2), (16, 4)])
def test_a_quarter_of_the_bytes_is_urgent(size_bytes: int, quarter: int) -> None:
    cursor = make(Window(size_bytes=size_bytes))
    for upto in (quarter, 2 * quarter, 3 * quarter):
        while cursor.rx < upto:
            take(cursor, "a")
            assert not cursor.is_urgent
            cursor.due = 10.2
            assert cursor.handled("a") == cursor.is_urgent == (cursor.rx == upto)
        assert cursor.acknowledge() == upto
        assert not cursor.is_urgent


def test_what_the_peer_waits_for_is_urgent_when_it_is_handled_and_not_before() -> None:
    cursor = make()
    assert cursor.wanted == 0
    take(cursor, "a", "b", "c", "d")
    cursor.wanted = 3
    cursor.handled("a")
    cursor.due = 10.2
    assert (cursor.handled("b"), cursor.is_urgent) == (False, False)
    assert (cursor.handled("c"), cursor.is_urgent) == (True, True)
    assert (cursor.acknowledge(), cursor.is_urgent) == (3, False)
    cursor.due = 10.2
    assert (cursor.handled("d"), cursor.is_urgent) == (False, False)
    cursor.wanted = 4
    cursor.start_over(5)
    assert (cursor.wanted, cursor.is_urgent) == (0, False)


def test_bytes_of_which_the_store_does_not_know_stay_urgent() -> None:
    cursor = make(Window(size_bytes=8), is_stored=True)
    take(cursor, "aa", "b")
    cursor.handled("aa")
    chain = cursor.chain
    cursor.handled("b")
    cursor.saved(1, chain)
    assert cursor.acknowledge() == 1
    assert cursor.is_urgent
    cursor.saved(2, cursor.chain)
    assert cursor.acknowledge() == 2
    assert not cursor.is_urgent


@pytest.mark.parametrize(
    ("window", "limit"),
    [
        (WIDE, 64),
        (Window(messages=511), 63),
        (Window(messages=8), 1),
        (Window(messages=7), 0),
        (Window(size_bytes=8 * 1024), 1),
        (Window(size_bytes=8 * 1024 - 1), 0),
    ],
)
def test_once_an_acknowledgement_is_promised_messages_are_counted_together(
    window: Window, limit: int
) -> None:
    cursor = make(window)
    take(cursor, "a", "b", "c")
    assert cursor.handled("a")
    assert (cursor.limit, cursor.later) == (0, [])
    cursor.promise(10.2)
    assert (cursor.due, cursor.limit) == (10.2, limit)
    for number in range(limit):
        take(cursor, "d")
        assert not cursor.handled("d")
        assert len(cursor.later) == number + 1
    cursor.handled("d")
    assert cursor.later == []
    assert cursor.rx == limit + 2


@both_ways
def test_what_has_to_be_known_at_once_is_not_put_off(is_stored: bool) -> None:
    cursor = make(is_stored=is_stored)
    take(cursor, "a", "b" * 1024, "c" * 1025, "d")
    cursor.handled("a")
    cursor.promise(10.2)
    cursor.handled("b" * 1024)
    assert len(cursor.later) == (not is_stored)
    cursor.handled("c" * 1025)
    assert cursor.later == []
    cursor.want()
    assert (cursor.wanted, cursor.limit) == (4, 0)
    cursor.promise(10.4)
    assert cursor.limit == 0
    assert cursor.handled("d")


def test_the_number_that_the_peer_waits_for_is_not_put_off() -> None:
    cursor = make()
    take(cursor, *["a"] * 100)
    cursor.want()
    cursor.handled("a")
    cursor.promise(10.2)
    assert cursor.limit == 64
    urgent = [cursor.handled("a") for _ in range(99)]
    assert urgent == [False] * 98 + [True]
    assert cursor.later == []


@pytest.mark.parametrize("event", ["suspend", "acknowledge", "start_over"])
def test_what_was_put_off_is_counted_before_anything_else(event: str) -> None:
    cursor = make()
    take(cursor, "a", "b")
    cursor.handled("a")
    cursor.promise(10.2)
    cursor.handled("b")
    assert cursor.later == ["b"]
    if event == "suspend":
        cursor.suspend()
    elif event == "acknowledge":
        assert cursor.acknowledge() == 2
    else:
        cursor.start_over(5)
    assert (cursor.later, cursor.limit) == ([], 0)
    assert cursor.chain == (5 if event == "start_over" else advance(CHAIN, ["a", "b"]))


@pytest.mark.parametrize("ask", ["rx", "chain", "safe", "safe_chain", "held_bytes", "is_urgent"])
def test_who_asks_is_told_of_what_was_put_off(ask: str) -> None:
    cursors = make(), make()
    for cursor in cursors:
        take(cursor, *["a" * 10] * 30)
        cursor.handled("a" * 10)
    cursors[1].promise(10.2)
    for cursor in cursors:
        for _ in range(20):
            cursor.handled("a" * 10)
    assert len(cursors[1].later) == 20
    assert getattr(cursors[1], ask) == getattr(cursors[0], ask)


def test_a_gap_comes_behind_what_was_put_off() -> None:
    cursor = make()
    take(cursor, "a", "b")
    assert cursor.skip(5) == (3, 5)
    cursor.handled("a")
    cursor.promise(10.2)
    cursor.handled("b")
    assert cursor.passed(5, 99)
    assert (cursor.rx, cursor.chain, cursor.held_bytes) == (5, 99, 0)


@pytest.mark.parametrize("is_stored", [False, True])
def test_there_is_news_where_something_may_be_acknowledged(is_stored: bool) -> None:
    cursor = make(is_stored=is_stored)
    take(cursor, "a", "b")
    assert not cursor.has_news
    cursor.handled("a")
    assert bool(cursor.has_news) == (not is_stored)
    cursor.saved(1, 1)
    assert cursor.has_news
    assert cursor.acknowledge() == 1
    assert not cursor.has_news
    cursor.saved(2, 2)
    cursor.resume()
    assert not cursor.has_news


def test_what_this_link_has_not_brought_again_stays_news() -> None:
    cursor = make()
    take(cursor, "a", "b")
    cursor.resume()
    cursor.handled("a")
    cursor.handled("b")
    assert cursor.acknowledge() is None
    assert cursor.has_news
    take(cursor, "a", "b")
    assert cursor.acknowledge() == 2
    assert not cursor.has_news


@given(texts=st.lists(st.text(max_size=9), min_size=1, max_size=9), messages=st.integers(1, 9))
@example(texts=["a" * 20, "b" * 20], messages=2)
def test_a_run_is_taken_in_like_its_messages_or_left_alone(
    texts: list[str], messages: int
) -> None:
    cursor, other = (make(Window(messages=messages, size_bytes=40), rx=7) for _ in range(2))
    size = sum(map(len, texts))
    is_within = len(texts) <= messages and size <= 40
    assert cursor.take_run(texts) == is_within
    if is_within:
        take(other, *texts)
    assert (cursor.arrived, cursor.expected) == (other.arrived, other.expected)
    assert cursor.held_bytes == other.held_bytes


def test_a_run_that_came_before_is_looked_at_one_by_one() -> None:
    cursor = make()
    assert cursor.take_run(["a", "b"])
    cursor.resume()
    assert not cursor.take_run(["a"])
    assert take(cursor, "a", "b") == [False, False]
    assert cursor.take_run(["c"])


def test_a_new_link_knows_what_was_handled() -> None:
    cursor = make(Window(size_bytes=4))
    take(cursor, "a")
    cursor.handled("a")
    cursor.due = 10.2
    cursor.resume()
    assert (cursor.due, cursor.is_urgent, cursor.told) == (math.inf, False, 1)
    assert (cursor.acknowledge(), cursor.expected) == (None, 2)


def test_a_new_link_is_told_at_once_of_what_the_store_learns_later() -> None:
    cursor = make(is_stored=True)
    take(cursor, "a")
    cursor.handled("a")
    cursor.resume()
    assert (cursor.due, cursor.told) == (-math.inf, 0)
    take(cursor, "a")
    cursor.saved(1, cursor.chain)
    assert (cursor.acknowledge(), cursor.due) == (1, math.inf)


@both_ways
def test_a_new_session_begins_anew(is_stored: bool) -> None:
    cursor = make(Window(4, 4), is_stored=is_stored)
    take(cursor, "a", "b")
    cursor.handled("a")
    cursor.due = 10.2
    cursor.start_over(5)
    assert (cursor.rx, cursor.arrived, cursor.expected, cursor.safe, cursor.told) == (
        0,
        0,
        1,
        0,
        0,
    )
    assert (cursor.chain, cursor.safe_chain, cursor.due) == (5, 5, math.inf)
    assert (cursor.held_bytes, cursor.is_urgent, cursor.window) == (0, False, Window(4, 4))
    assert take(cursor, "a", "b", "c", "d") == [True] * 4
    cursor.handled("a")
    assert cursor.safe == (0 if is_stored else 1)
    cursor.start_over(6, rx=9)
    assert (cursor.rx, cursor.expected, cursor.safe, cursor.told) == (9, 10, 9, 9)


# Whatever happens.


@given(
    is_stored=st.booleans(),
    steps=st.lists(st.sampled_from(["take", "handle", "save", "say", "resume", "skip"])),
)
def test_what_is_said_is_handled_stored_and_was_brought(is_stored: bool, steps: list[str]) -> None:
    cursor = make(Window(5), is_stored=is_stored)
    waiting: list[int] = []  # ends of gaps are negative
    for step in steps:
        match step:
            case "take" if len(waiting) < 5:
                if cursor.take(cursor.expected, "m"):
                    waiting.append(cursor.arrived)
            case "skip" if cursor.skip(cursor.expected + 1) is not None:
                waiting.append(-cursor.arrived)
            case "handle" if waiting:
                number = waiting.pop(0)
                _ = cursor.handled("m") if number > 0 else cursor.passed(-number, 123)
                assert cursor.rx == abs(number)
            case "save":
                cursor.saved(cursor.rx, cursor.chain)
            case "resume":
                cursor.resume()
            case _:
                told, ack = cursor.told, cursor.acknowledge()
                assert ack is None or told < ack == cursor.told
        assert cursor.told <= cursor.safe <= cursor.rx <= cursor.arrived
        assert cursor.told < cursor.expected <= cursor.arrived + 1
        assert cursor.held_bytes == sum(number > 0 for number in waiting)


@pytest.mark.parametrize("ask", ["rx", "chain", "safe", "held_bytes"])
def test_to_ask_for_it_does_not_put_off_what_is_urgent(ask: str) -> None:
    cursor = make(Window(messages=40))
    urgent: list[int] = [0]
    for number in range(1, 101):
        take(cursor, "a")
        is_due = cursor.handled("a")
        getattr(cursor, ask)
        if is_due and cursor.is_urgent:
            urgent.append(number)
            cursor.acknowledge()
        elif is_due:
            cursor.promise(10.2)
    late = [after - before - 10 for before, after in pairwise(urgent)]
    assert len(late) > 6
    assert all(0 <= count <= 5 for count in late)  # an eighth of the window
