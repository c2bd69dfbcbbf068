"""Many messages at once, those that pass the queue, and those that need no entries."""

from __future__ import annotations

import pytest

from statews.errors import SessionError
from statews.protocol.entry import ReceiptState, Terms
from statews.protocol.plain import Message
from statews.protocol.session import Window
from statews.protocol.session.chain import advance

from .logs import CHAIN, WIDE, batch, both_ways, burst, put, span, states, track, watched, write
from .logs import make_log as make

QUEUED, WRITTEN = ReceiptState.QUEUED, ReceiptState.WRITTEN


# Many at once.


@both_ways
def test_many_go_out_at_once_as_they_would_one_by_one(is_server: bool) -> None:
    log = make(is_server=is_server, window=Window(messages=4))
    entries = put(log, "a", "b", "c", "d", "e")
    waiter = watched(entries[1])
    assert write(log, 1) == [(1, "a")]
    assert batch(log) == [(2, "b"), (3, "c"), (4, "d")]
    assert [(entry.position, entry.attempts) for entry in entries[:4]] == [
        (n, 1) for n in range(1, 5)
    ]
    assert (states(entries), waiter.count) == ([WRITTEN] * 4 + [QUEUED], 1)
    assert (log.position, log.told, batch(log)) == (4, 4, [])
    log.acknowledge(4)
    assert write(log) == [(5, "e")]
    log.suspend()
    log.resume(4, WIDE)
    assert batch(log) == [(5, "e")]
    assert entries[4].attempts == 2


@both_ways
def test_they_follow_what_was_written_past_the_queue(is_server: bool) -> None:
    log = make(is_server=is_server)
    track(log, "a", "b")
    put(log, "c", "d")
    assert batch(log) == [(3, "c"), (4, "d")]
    assert (log.told, log.position, batch(log)) == (4, 4, [])


def test_no_more_go_out_at_once_than_a_batch() -> None:
    log = make(messages=1000)
    put(log, *"a" * 130)
    assert [len(batch(log)) for _ in range(4)] == [64, 64, 2, 0]


@pytest.mark.parametrize("stranger", [b"b", "b" * 1025, Terms(expires_at=1.0), Terms(number=9)])
def test_only_short_texts_without_terms_go_out_at_once(stranger: Message | Terms) -> None:
    log = make(is_server=True, size_bytes=10**6)
    put(log, "a" * 1024)
    _ = put(log, "b", terms=stranger) if isinstance(stranger, Terms) else put(log, stranger)
    put(log, "c")
    assert batch(log) == [(1, "a" * 1024)]
    assert (batch(log), log.position) == ([], 1)
    assert [seq for seq, _ in write(log, 1)] == [2]
    assert batch(log) == [(3, "c")]


def test_the_window_bounds_the_bytes_that_go_out_at_once() -> None:
    log = make(window=Window(size_bytes=6))
    put(log, "aa", "é", "bb", "c")
    assert batch(log) == [(1, "aa"), (2, "é"), (3, "bb")]
    log.acknowledge(1)
    assert batch(log) == [(4, "c")]
    put(log, "d", "e")
    assert (batch(log), write(log)) == ([(5, "d")], [])
    log.acknowledge(5)
    assert batch(log) == [(6, "e")]


def test_a_gap_is_told_before_many_go_out_at_once() -> None:
    log = make(is_server=True, messages=3, window=Window(messages=2))
    put(log, "a", "b", "c")
    log.drop(1)
    assert batch(log) == []
    assert log.skip() == (1, advance(CHAIN, ["a"]))
    assert batch(log) == [(2, "b"), (3, "c")]
    log.drop(2)
    put(log, "d")
    assert batch(log) == []  # the peer may have to handle what was dropped
    log.acknowledge(2)
    assert batch(log) == [(4, "d")]


def test_a_message_may_pass_the_queue_where_nothing_is_in_the_way() -> None:
    log = make(is_server=True, messages=4, size_bytes=9, window=Window(3, 7))
    assert log.may_go_at_once(7)
    assert not log.may_go_at_once(8)  # of the peer's bytes
    track(log, "a", "b")
    assert log.may_go_at_once(5)
    assert not log.may_go_at_once(6)
    track(log, "c")
    assert not log.may_go_at_once(0)  # of the peer's messages
    log.acknowledge(3)
    put(log, "d")
    assert not log.may_go_at_once(0)  # it waits
    write(log)
    assert log.may_go_at_once(0)
    narrow = make(is_server=True, messages=2, size_bytes=5)
    assert narrow.may_go_at_once(5)
    assert not narrow.may_go_at_once(6)  # of our own bytes
    track(narrow, "a", "b")
    assert not narrow.may_go_at_once(0)  # of our own messages


def test_nothing_passes_what_the_peer_has_to_be_told_of_or_may_still_hold() -> None:
    log = make(is_server=True)
    put(log, "a")
    log.drop(1)
    assert not log.may_go_at_once(0)
    log.skip()
    assert log.may_go_at_once(0)
    track(log, "b")
    log.drop(2)
    assert not log.may_go_at_once(0)
    log.acknowledge(2)
    assert log.may_go_at_once(0)


# Without entries.


@both_ways
def test_a_burst_is_numbered_behind_the_entries(is_server: bool) -> None:
    log = make(is_server=is_server)
    put(log, "a")
    write(log)
    burst(log, "b", "c", "d")
    assert (span(log), len(log.entries)) == ((1, 4), 1)
    wanted = [advance(CHAIN, "abcd"[:count]) for count in range(5)]
    assert log.acknowledge(2) == 2
    assert (span(log), log.chain, log.confirmed) == ((3, 4), wanted[2], 2)
    with pytest.raises(SessionError, match=r"^the peer acknowledged 5, which it was not sent$"):
        log.acknowledge(5)
    assert log.acknowledge(3) == 1
    assert (span(log), log.chain, log.skip(), log.entries) == ((4, 4), wanted[3], None, [])
    assert [log.chain_at(seq) for seq in (3, 4, 5)] == [*wanted[3:], None]
    assert log.acknowledge(4) == 1
    assert (span(log), log.chain, log.size_bytes) == ((5, 4), wanted[4], 0)


@both_ways
def test_a_burst_goes_out_again_on_the_next_link(is_server: bool) -> None:
    log = make(is_server=is_server)
    burst(log, "a", "b", "c")
    log.acknowledge(1)
    log.suspend()
    assert (span(log), states(log.entries)) == ((2, 3), [QUEUED, QUEUED])
    log.resume(1, WIDE)
    assert write(log) == [(2, "b"), (3, "c")]


def test_a_burst_can_be_dropped_and_its_numbers_with_it() -> None:
    log = make(is_server=True)
    burst(log, "a", "b", "c")
    log.drop(2)
    assert (span(log), log.skip()) == ((3, 3), None)
    assert log.chain == advance(CHAIN, ["a", "b"])
    assert log.acknowledge(3) == 1


@both_ways
def test_a_burst_of_the_old_session_goes_to_the_new_one(is_server: bool) -> None:
    log = make(is_server=is_server)
    burst(log, "a", "b")
    log.start_over(5)
    log.resume(0, WIDE)
    assert write(log) == [(1, "a"), (2, "b")]


def test_what_a_burst_leaves_of_the_limits_may_go_at_once() -> None:
    log = make(is_server=True, messages=3, size_bytes=9, window=Window(5, 7))
    burst(log, "aa", "b")
    assert log.may_go_at_once(4)
    assert not log.may_go_at_once(5)  # of the peer's bytes
    burst(log, "c")
    assert not log.may_go_at_once(0)  # of our own messages
    log = make(is_server=True, window=Window(messages=2))
    burst(log, "a", "b")
    assert not log.may_go_at_once(0)  # of the peer's messages
    log.acknowledge(1)
    assert log.may_go_at_once(0)


def test_a_gap_is_not_told_while_a_burst_is_on_its_way() -> None:
    log = make(is_server=True)
    put(log, "a")
    log.drop(1)
    assert log.skip() is not None
    burst(log, "b")
    log.told = 0
    assert log.skip() is None  # the link is behind it
