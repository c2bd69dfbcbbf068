"""How much may be on its way to the peer, and what it is told of what was dropped."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statews.errors import UsageError
from statews.protocol.entry import ReceiptState, Terms
from statews.protocol.outbox import DIRECT
from statews.protocol.plain import Message
from statews.protocol.session import Log, Window
from statews.protocol.session.chain import advance
from statews.protocol.session.window import DEFAULT_WINDOW

from .logs import CHAIN, WIDE, batch, both_ways, burst, put, span, track, write
from .logs import make_log as make

# Windows.


@pytest.mark.parametrize("value", [0, -1, 1.5, True, None, "9", math.inf])
@pytest.mark.parametrize("name", ["messages", "size_bytes"])
def test_a_window_is_of_whole_numbers(name: str, value: int) -> None:
    wanted = f"^Window.{name} must be a whole number above 0, got {value!r}$"
    with pytest.raises(UsageError, match=wanted):
        Window(**{name: value})
    assert getattr(Window(**{name: 1}), name) == 1


# The window.


@both_ways
def test_the_window_bounds_the_messages_on_their_way(is_server: bool) -> None:
    log = make(is_server=is_server, window=Window(messages=2))
    put(log, "a", "b", "c", "d")
    assert write(log) == [(1, "a"), (2, "b")]
    log.acknowledge(1)
    assert write(log) == [(3, "c")]
    log.suspend()
    log.resume(1, Window(messages=3))
    assert write(log) == [(2, "b"), (3, "c"), (4, "d")]


@both_ways
def test_the_window_bounds_the_bytes_on_their_way(is_server: bool) -> None:
    log = make(is_server=is_server, window=Window(size_bytes=5))
    put(log, "éa", "bb", "c", "dd", "x" * 9, "f")
    assert write(log) == [(1, "éa"), (2, "bb")]
    log.acknowledge(1)
    assert write(log) == [(3, "c"), (4, "dd")]
    log.acknowledge(3)
    assert write(log) == []
    log.acknowledge(4)
    assert write(log) == [(5, "x" * 9)]  # one may always be on its way
    log.acknowledge(5)
    assert write(log) == [(6, "f")]


@both_ways
def test_what_was_written_past_the_queue_counts_as_well(is_server: bool) -> None:
    log = make(is_server=is_server, window=Window(messages=4, size_bytes=5))
    track(log, "aa", "b")
    put(log, "cc", "d")
    assert write(log) == [(3, "cc")]
    log.acknowledge(2)
    assert write(log) == [(4, "d")]


def track_until_told(log: Log, text: str) -> int:
    """How many texts are written before the log says that this is all."""
    count = 1
    if log.burst is None:
        log.begin_burst()
    while not log.track_text(text):
        count += 1
    return count


@both_ways
@pytest.mark.parametrize(("kept", "window"), [(7, 100), (100, 7), (7, 7), (1, 9)])
def test_texts_go_directly_up_to_the_messages_of_both_limits(
    is_server: bool, kept: int, window: int
) -> None:
    log = make(
        messages=kept, size_bytes=10**6, window=Window(messages=window), is_server=is_server
    )
    assert log.may_go_directly()
    assert track_until_told(log, "a") == min(kept, window)
    assert not log.may_go_directly()
    log.acknowledge(1)
    assert log.may_go_directly()
    assert track_until_told(log, "a") == 1


def test_a_session_without_a_link_keeps_nothing_of_it() -> None:
    log = make(window=Window(7), size_bytes=10**6)
    assert log.may_go_directly()
    log.suspend()
    assert log.window is DEFAULT_WINDOW
    assert track_until_told(log, "a") == 1


@both_ways
@pytest.mark.parametrize(("kept", "window"), [(5, 100), (100, 5), (5, 5)])
def test_texts_go_directly_up_to_the_bytes_of_both_limits(
    is_server: bool, kept: int, window: int
) -> None:
    log = make(
        size_bytes=DIRECT + kept, window=Window(size_bytes=DIRECT + window), is_server=is_server
    )
    assert log.may_go_directly()
    assert track_until_told(log, "a") == 6
    assert not log.may_go_directly()
    log.acknowledge(1)
    assert log.may_go_directly()


def test_of_the_messages_before_texts_each_counts() -> None:
    log = make(messages=4, size_bytes=10**6)
    track(log, "a", "b")
    assert log.may_go_directly()
    assert track_until_told(log, "c") == 2


@pytest.mark.parametrize("in_the_way", ["waiting", "too much", "too long", "gap"])
def test_nothing_goes_directly_past_what_has_to_be_looked_at(in_the_way: str) -> None:
    log = make(messages=2, size_bytes=DIRECT if in_the_way != "too long" else DIRECT - 1)
    assert log.may_go_directly() == (in_the_way != "too long")
    match in_the_way:
        case "waiting":
            put(log, "a")
        case "too much":
            track(log, "a", "b")
        case "gap":
            log.go_on(3, CHAIN, confirmed=0)
            log.told = 0
        case _:
            pass
    assert not log.may_go_directly()


def test_what_expired_while_it_waited_is_not_on_its_way() -> None:
    log = make(window=Window(size_bytes=4))
    put(log, "aa")
    put(log, "b", terms=Terms(expires_at=1.0))
    put(log, "cc", "d")
    assert write(log, 1) == [(1, "aa")]
    assert write(log, now=1.0) == [(2, "cc")]
    log.acknowledge(1)
    assert write(log) == [(3, "d")]


@both_ways
def test_the_bytes_on_their_way_are_right_whatever_leaves(is_server: bool) -> None:
    log = make(is_server=is_server, window=Window(size_bytes=4), size_bytes=8)
    put(log, "aa", "bb", "cc", "dd")
    assert len(write(log)) == 2
    put(log, "ee")  # in the place of the first; a client: of the first that waits
    log.acknowledge(2)
    log.suspend()
    log.resume(2, Window(size_bytes=4))
    assert len(write(log)) == 2
    log.acknowledge(log.position)
    log.suspend()
    log.start_over(0)
    log.resume(0, Window(size_bytes=4))
    put(log, "f", "g")
    assert [message for _, message in write(log)] == (
        ["ee", "f", "g"] if is_server else ["f", "g"]
    )


def test_what_was_dropped_on_its_way_keeps_its_place_among_the_messages() -> None:
    window = Window(messages=3)
    log = make(is_server=True, messages=3, window=window)
    put(log, "a", "b", "c")
    write(log)
    put(log, "d")  # "a" makes room, and the peer still has to handle it
    assert (span(log), write(log), log.skip()) == ((2, 4), [], None)
    assert log.acknowledge(1) == 0
    assert write(log) == [(4, "d")]
    log.suspend()
    put(log, "e", "f")
    log.resume(1, window)  # it may have "b" and "c", or not: then it is told of them first
    assert span(log) == (4, 6)
    assert log.skip() == (3, advance(CHAIN, ["a", "b", "c"]))
    assert write(log) == [(4, "d")]
    assert log.acknowledge(2) == 0
    assert write(log) == [(5, "e")]
    assert log.acknowledge(4) == 1
    assert write(log) == [(6, "f")]


def test_what_was_dropped_on_its_way_keeps_its_place_among_the_bytes() -> None:
    log = make(is_server=True, size_bytes=6, window=Window(size_bytes=6))
    put(log, "aa", "bb", "cc")
    write(log)
    put(log, "ddd")  # in the place of "aa" and "bb"
    assert (span(log), write(log)) == ((3, 4), [])
    log.acknowledge(1)
    assert write(log) == []  # what the other was is not kept
    log.acknowledge(2)
    assert write(log) == [(4, "ddd")]
    put(log, "e", "f")  # in the place of "cc"
    log.acknowledge(3)
    put(log, "gg")  # in the place of "ddd"
    assert write(log) == [(5, "e"), (6, "f")]
    assert log.acknowledge(5) == 1
    assert write(log) == [(7, "gg")]


def test_the_bytes_of_all_that_was_dropped_count_until_all_are_handled() -> None:
    log = make(is_server=True, window=Window(size_bytes=6))
    put(log, "aa", "bb", "cc")
    write(log)
    log.drop(2)
    put(log, "d")
    assert write(log) == []
    log.acknowledge(2)
    assert write(log) == [(4, "d")]
    log = make(is_server=True, window=Window(size_bytes=6))
    put(log, "aa", "bb")
    write(log)
    log.drop(1)
    put(log, "cc", "d")
    assert write(log) == [(3, "cc")]


def test_the_peer_is_told_of_a_gap_when_it_has_room_for_what_follows() -> None:
    log = make(is_server=True, messages=2, window=Window(messages=2))
    put(log, "a", "b")
    write(log)
    put(log, "c", "d", "e", "f")
    assert (span(log), log.skip(), write(log)) == ((5, 6), None, [])
    assert log.acknowledge(1) == 0
    assert log.skip() == (4, advance(CHAIN, ["a", "b", "c", "d"]))
    assert write(log) == [(5, "e")]
    log.drop(6)
    assert log.skip() == (6, advance(CHAIN, ["a", "b", "c", "d", "e", "f"]))


# Gaps.


def test_the_peer_is_told_once_of_what_was_dropped() -> None:
    log = make(is_server=True)
    entries = put(log, "a", "b", "c")
    log.drop(2)
    dropped, waiting = ReceiptState.DROPPED, ReceiptState.QUEUED
    assert [entry.state for entry in entries] == [dropped, dropped, waiting]
    assert entries[0].reason == "it was kept for as long as it was to be"
    assert (span(log), log.told) == ((3, 3), 0)
    assert log.skip() == (2, advance(CHAIN, ["a", "b"]))
    assert (log.skip(), log.told) == (None, 2)
    assert write(log) == [(3, "c")]
    log.drop(99)
    assert span(log) == (4, 3)
    assert log.skip() is None  # it was written to this link
    log.suspend()
    log.resume(1, WIDE)
    assert log.skip() == (3, advance(CHAIN, ["a", "b", "c"]))
    log.suspend()
    log.resume(3, WIDE)
    assert log.skip() is None


@both_ways
def test_nobody_is_told_of_a_gap_in_what_was_written_past_the_queue(is_server: bool) -> None:
    log = make(is_server=is_server, size_bytes=3)
    track(log, "a", "b")
    put(log, "ccc")
    assert (log.acknowledged, log.written, log.skip()) == (2, 0, None)
    assert write(log) == [(3, "ccc")]


def test_to_drop_what_is_gone_changes_nothing() -> None:
    log = make(is_server=True)
    put(log, "a", "b")
    log.drop(1)
    log.drop(1)
    log.drop(0)
    assert span(log) == (2, 2)


@both_ways
def test_a_resumption_behind_what_is_kept_is_a_gap(is_server: bool) -> None:
    log = make(is_server=is_server)
    put(log, "a", "b", "c")
    write(log)
    log.suspend()
    log.drop(2)
    log.resume(1, WIDE)
    assert (log.told, log.confirmed, span(log)) == (1, 1, (3, 3))
    assert log.skip() == (2, advance(CHAIN, ["a", "b"]))


@both_ways
def test_a_resumption_ahead_settles_what_the_lost_link_did_not(is_server: bool) -> None:
    log = make(is_server=is_server, window=Window(messages=3, size_bytes=2))
    entries = put(log, "a", "b", "c", "d")
    write(log)
    log.acknowledge(1)
    write(log)
    log.suspend()
    window = Window(messages=7, size_bytes=2)
    log.resume(3, window)
    acknowledged, waiting = ReceiptState.ACKNOWLEDGED, ReceiptState.QUEUED
    assert [entry.state for entry in entries] == [acknowledged] * 3 + [waiting]
    assert (span(log), log.written) == ((4, 4 if is_server else 3), 0)
    assert (log.told, log.confirmed, log.window, log.skip()) == (3, 3, window, None)
    assert log.chain == advance(CHAIN, ["a", "b", "c"])
    put(log, "e", "f")
    assert write(log) == [(4, "d"), (5, "e")]


# Whatever happens.


class Receiver:
    """The other side: what it has got, under which number."""

    def __init__(self) -> None:
        self.handled, self.arrived, self.expected = 0, 0, 1
        self.chain: int | None = CHAIN
        self.known: dict[int, Message] = {}
        self.lost: set[int] = set()

    def take(self, seq: int, message: Message) -> None:
        assert seq == self.expected
        assert self.known.setdefault(seq, message) == message
        self.expected, self.arrived = seq + 1, max(self.arrived, seq)

    def skip(self, upto: int) -> None:
        assert upto >= self.expected
        self.lost |= set(range(self.arrived + 1, upto + 1))
        self.expected, self.arrived = upto + 1, max(self.arrived, upto)

    def handle(self, count: int) -> int:
        """Handle some more of what this link has carried."""
        for seq in range(self.handled + 1, min(self.handled + count, self.expected - 1) + 1):
            if seq in self.known and self.chain is not None:
                self.chain = advance(self.chain, [self.known[seq]])
            else:
                self.chain = None
            self.handled = seq
        return self.handled

    @property
    def unhandled(self) -> list[int]:
        numbers = range(self.handled + 1, self.arrived + 1)
        return [len(self.known[seq]) for seq in numbers if seq in self.known]


def step(log: Log, other: Receiver, what: str, count: int) -> None:
    match what:
        case "put":
            put(log, "m" * (count + 1))
        case "lose":
            window = log.window
            log.suspend()
            log.resume(other.handled, window)
            other.expected = other.handled + 1
        case "drop":
            log.drop(log.acknowledged + count)
        case "pass" if log.may_go_at_once(1):
            burst(log, "m")
            other.take(log.position, "m")
        case "acknowledge":
            log.acknowledge(other.handle(count))
        case _:
            skipped = log.skip()
            if skipped is not None:
                other.skip(skipped[0])
            for seq, message in batch(log) if what == "batch" else write(log, count):
                other.take(seq, message)


@given(
    is_server=st.booleans(),
    steps=st.lists(
        st.tuples(
            st.sampled_from(
                ["put", "put", "write", "batch", "pass", "acknowledge", "lose", "drop"]
            ),
            st.integers(0, 5),
        ),
        max_size=40,
    ),
    window=st.builds(Window, st.integers(1, 4), st.integers(1, 9)),
)
def test_the_peer_gets_each_message_once_and_is_told_of_the_rest(
    is_server: bool, steps: list[tuple[str, int]], window: Window
) -> None:
    log = make(is_server=is_server, messages=6, size_bytes=9, window=window)
    other = Receiver()
    for what, count in steps:
        if is_server or what != "drop":
            step(log, other, what, count)
        assert log.first <= log.last + 1
        assert log.confirmed == other.handled
        assert len(other.unhandled) <= window.messages
        assert len(other.unhandled) <= 1 or sum(other.unhandled) <= window.size_bytes
        if other.chain is not None:
            assert log.chain_at(other.handled) in (None, other.chain)
    assert not other.lost & other.known.keys()
    assert other.lost | other.known.keys() == set(range(1, other.arrived + 1))
