"""What one side has sent: which number each message has, and what the peer is told of the gone."""

from __future__ import annotations

import math

import pytest

from statews.errors import SessionError
from statews.policy import Delivery, Outbox
from statews.protocol.entry import Entry, ReceiptState, Terms
from statews.protocol.plain import Message
from statews.protocol.session import Log, Window
from statews.protocol.session.chain import advance
from statews.protocol.session.window import DEFAULT_WINDOW

from .logs import CHAIN, WIDE, batch, both_ways, put, span, states, track, watched, write
from .logs import make_log as make

QUEUED, WRITTEN = ReceiptState.QUEUED, ReceiptState.WRITTEN
ACKNOWLEDGED, EXPIRED = ReceiptState.ACKNOWLEDGED, ReceiptState.EXPIRED
DROPPED, IN_DOUBT = ReceiptState.DROPPED, ReceiptState.IN_DOUBT


# Numbers.


def test_a_new_log_has_given_no_number() -> None:
    for is_server in (False, True):
        log = Log(Outbox(), is_numbered_at_once=is_server)
        assert (span(log), log.chain, log.confirmed, log.told) == ((1, 0), 0, 0, 0)
        assert log.window == DEFAULT_WINDOW == Window(1024, 1024 * 1024)
        assert (log.skip(), log.may_write) == (None, True)


def test_a_client_numbers_a_message_when_it_is_written() -> None:
    log = make()
    put(log, "a", "b", "c")
    waiter = watched(log.entries[0])
    assert span(log) == (1, 0)
    assert write(log, 2) == [(1, "a"), (2, "b")]
    assert (span(log), log.told, waiter.count) == ((1, 2), 2, 1)
    track(log, "d")  # in the place of "c", if that were not waiting
    assert span(log) == (1, 3)


def test_a_message_is_numbered_when_it_is_written_unless_it_is_asked_for() -> None:
    log = Log(Outbox())
    log.put(Entry("a"), 0.0)
    assert (log.last, log.numbered) == (0, 0)


def test_a_server_numbers_a_message_when_it_is_sent() -> None:
    log = make(is_server=True)
    put(log, "a", "b", "c")
    assert span(log) == (1, 3)
    assert write(log, 2) == [(1, "a"), (2, "b")]
    assert (span(log), log.told) == ((1, 3), 2)


@both_ways
def test_a_number_outlives_the_link(is_server: bool) -> None:
    log = make(is_server=is_server)
    entries = put(log, "a", "b", "c")
    write(log, 2)
    log.suspend()
    assert states(entries) == [QUEUED] * 3
    assert (span(log), log.written) == ((1, 3 if is_server else 2), 0)
    log.suspend()  # nothing is written, and nothing is forgotten
    log.resume(1, WIDE)
    assert states(entries) == [ACKNOWLEDGED, QUEUED, QUEUED]
    assert span(log) == (2, 3 if is_server else 2)
    assert write(log) == [(2, "b"), (3, "c")]
    assert [entry.attempts for entry in entries] == [1, 2, 1]


@both_ways
def test_to_resume_and_write_less_than_before_takes_no_number_back(is_server: bool) -> None:
    log = make(is_server=is_server)
    put(log, "a", "b", "c")
    write(log)
    log.suspend()
    log.resume(0, WIDE)
    assert write(log, 1) == [(1, "a")]
    log.suspend()
    assert span(log) == (1, 3)
    log.resume(0, WIDE)
    write(log, 1)
    assert log.acknowledge(1) == 1
    log.suspend()
    assert span(log) == (2, 3)


# What has a number stays.


@pytest.mark.parametrize("is_server", [False, True])
def test_what_has_a_number_neither_expires_nor_is_replaced(is_server: bool) -> None:
    log = make(is_server=is_server)
    mortal = Terms(key="key", expires_at=10.0)
    a, b = put(log, "a", terms=mortal) + put(log, "b")
    write(log, 1)
    log.suspend()
    log.resume(0, WIDE)
    (c,) = put(log, "c", terms=mortal)
    assert log.expire(20.0) == math.inf
    assert states([a, b, c]) == [QUEUED, QUEUED, QUEUED if is_server else EXPIRED]
    (d,) = put(log, "d", terms=mortal)
    wanted = [(1, "a"), (2, "b"), (3, "c"), (4, "d")] if is_server else [(1, "a"), (2, "b")]
    assert write(log, now=20.0) == wanted
    assert d.state is (WRITTEN if is_server else EXPIRED)


def test_a_client_replaces_what_waits_without_a_number() -> None:
    log = make()
    a, b = put(log, "a", "b", terms=Terms(key="key"))
    assert states([a, b]) == [DROPPED, QUEUED]
    write(log)
    (c,) = put(log, "c", terms=Terms(key="key"))
    log.suspend()
    assert states([b, c]) == [QUEUED, QUEUED]
    assert span(log) == (1, 1)


def test_a_client_has_the_oldest_without_a_number_make_room() -> None:
    log = make(messages=3)
    entries = put(log, "a", "b", "c")
    write(log, 1)
    log.suspend()
    put(log, "d")
    assert states(entries) == [QUEUED, DROPPED, QUEUED]
    assert span(log) == (1, 1)
    log.resume(0, WIDE)
    assert write(log) == [(1, "a"), (2, "c"), (3, "d")]


@both_ways
def test_where_all_have_numbers_the_first_makes_room(is_server: bool) -> None:
    log = make(is_server=is_server, messages=2)
    entries = put(log, "a", "b")
    write(log)
    log.suspend()
    put(log, "c")
    assert states(entries) == [IN_DOUBT, QUEUED]
    assert span(log) == (2, 3 if is_server else 2)
    assert log.chain == advance(CHAIN, ["a"])
    log.resume(0, WIDE)
    assert log.skip() == (1, advance(CHAIN, ["a"]))
    assert write(log) == [(2, "b"), (3, "c")]


def test_what_was_never_written_can_be_withdrawn_and_leaves_no_gap() -> None:
    log = make(is_server=True, window=Window(size_bytes=4))
    entries = put(log, "aa", "bb", "cc", "dd")
    write(log, 1)
    log.withdraw(entries[2], "nobody wants it")
    assert (states(entries), span(log)) == ([WRITTEN, QUEUED, DROPPED, QUEUED], (1, 3))
    assert entries[2].reason == "nobody wants it"
    log.withdraw(entries[1], "nobody wants it")
    assert (span(log), log.numbered) == ((1, 2), math.inf)
    assert (write(log), log.skip()) == ([(2, "dd")], None)
    client = make()
    entries = put(client, "a", "b")
    client.withdraw(entries[0], "nobody wants it")
    assert (span(client), client.numbered, write(client)) == ((1, 0), 0, [(1, "b")])


def test_a_client_whose_last_number_was_dropped_gives_the_next_one_when_it_writes() -> None:
    log = make(messages=1)
    put(log, "a")
    write(log)
    log.suspend()
    put(log, "b")
    assert (span(log), log.numbered) == ((2, 1), 0)


# Acknowledgements.


@both_ways
def test_what_the_peer_has_handled_is_settled(is_server: bool) -> None:
    log = make(is_server=is_server)
    entries = put(log, "a", "b", "c")
    write(log)
    assert log.acknowledge(2) == 2
    assert states(entries) == [ACKNOWLEDGED, ACKNOWLEDGED, WRITTEN]
    assert (span(log), log.confirmed) == ((3, 3), 2)
    assert log.chain == advance(CHAIN, ["a", "b"])
    assert log.acknowledge(2) == log.acknowledge(1) == log.acknowledge(0) == 0
    assert (span(log), log.confirmed, log.skip()) == ((3, 3), 2, None)


@both_ways
@pytest.mark.parametrize("is_tracked", [False, True])
def test_nothing_can_be_acknowledged_that_was_not_sent(is_server: bool, is_tracked: bool) -> None:
    log = make(is_server=is_server)
    if is_tracked:
        track(log, "a", "b")
    put(log, "c", "d", "e")
    if not is_tracked:
        write(log, 2)
    for position in (3, 4, 2**53 - 1):
        wanted = f"^the peer acknowledged {position}, which it was not sent$"
        with pytest.raises(SessionError, match=wanted) as caught:
            log.acknowledge(position)
        assert caught.value.close_code == 4400
    assert (log.acknowledged, log.confirmed, log.chain) == (0, 0, CHAIN)
    assert log.acknowledge(2) == 2
    with pytest.raises(SessionError, match=r"^the peer acknowledged 3, which it was not sent$"):
        log.acknowledge(3)


def test_what_was_dropped_unsent_can_be_acknowledged_only_after_the_peer_was_told() -> None:
    log = make(is_server=True, window=Window(messages=1))
    put(log, "a", "b", "c")
    write(log)
    assert log.acknowledge(1) == 1
    log.drop(3)
    for position in (2, 3):
        with pytest.raises(SessionError, match=r"^the peer acknowledged \d, which"):
            log.acknowledge(position)
    assert log.skip() == (3, advance(CHAIN, ["a", "b", "c"]))
    assert log.acknowledge(3) == 0
    assert log.confirmed == 3


def test_a_position_within_what_was_dropped_settles_nothing() -> None:
    log = make(is_server=True)
    put(log, "a", "b", "c")
    write(log)
    log.drop(2)
    assert log.acknowledge(1) == 0
    assert (log.confirmed, log.acknowledged) == (1, 2)
    assert log.acknowledge(3) == 1
    assert (log.confirmed, log.acknowledged) == (3, 3)


# A later process.


def restored(messages: str = "", *, window: Window = WIDE) -> Log:
    """A log that goes on behind the fourth message, of which the peer had handled two."""
    log = make(is_server=True, window=window)
    log.go_on(4, CHAIN, confirmed=2)
    for number, message in enumerate(messages, 5):
        log.restore(Entry(message, Terms(number=number)))
    return log


def test_a_later_process_goes_on_where_the_earlier_one_was() -> None:
    log = restored("ef")
    assert (span(log), log.chain, log.confirmed, log.told) == ((5, 6), CHAIN, 2, 4)
    log.resume(4, WIDE)
    put(log, "g")
    assert (log.skip(), write(log)) == (None, [(5, "e"), (6, "f"), (7, "g")])


def test_what_an_earlier_process_kept_may_have_been_written() -> None:
    log = restored("ef", window=Window(messages=2))
    log.resume(4, Window(messages=2))
    log.drop(6)
    put(log, "g", "h")
    assert log.skip() == (6, advance(CHAIN, ["e", "f"]))
    assert write(log) == []
    log.acknowledge(6)
    assert write(log) == [(7, "g"), (8, "h")]
    log = restored("ef")
    entry = log.entries[0]
    log.withdraw(entry, "nobody wants it")
    assert entry.state is IN_DOUBT


@pytest.mark.parametrize("attempts", [0, 1, 3])
def test_a_restored_message_counts_one_attempt_at_least(attempts: int) -> None:
    log, entry = restored(), Entry("e")
    entry.attempts = attempts
    log.restore(entry)
    assert (entry.attempts, log.size_bytes) == (max(1, attempts), 1)


def test_what_an_earlier_process_dropped_has_any_size() -> None:
    log = restored("e")
    log.resume(3, WIDE)
    assert log.skip() == (4, CHAIN)
    assert write(log) == []  # until the peer has handled what it has
    log.acknowledge(4)
    assert write(log) == [(5, "e")]
    put(log, "f", "g")
    log.drop(5)
    assert write(log) == [(6, "f"), (7, "g")]


def test_a_gap_is_told_of_when_the_store_has_what_was_dropped() -> None:
    log = make(is_server=True)
    for number in (7, 8, 9):
        put(log, "a", terms=Terms(number=number))
    log.drop(2)
    assert log.skip(7) is None
    assert log.told == 0
    assert log.skip(8) == (2, advance(CHAIN, ["a", "a"]))
    log = make(is_server=True)
    put(log, "a")
    log.drop(1)
    assert log.skip(0) == (1, advance(CHAIN, ["a"]))  # no store has ever had it


# Check values.


@both_ways
def test_the_check_value_is_known_for_all_that_is_kept(is_server: bool) -> None:
    log = make(is_server=is_server)
    put(log, "a", b"b", "c", "d")
    write(log, 3)
    log.acknowledge(1)
    sent: list[Message] = ["a", b"b", "c", "d"]
    wanted = [advance(CHAIN, sent[:count]) for count in range(5)]
    last = 4 if is_server else 3
    assert [log.chain_at(seq) for seq in range(1, last + 1)] == wanted[1 : last + 1]
    assert [log.chain_at(seq) for seq in (-1, 0, last + 1, 99)] == [None] * 4
    log.suspend()
    assert log.chain_at(last) == wanted[last]


def test_the_check_value_of_a_new_log_is_that_of_its_session() -> None:
    log = make()
    assert log.chain_at(0) == CHAIN
    put(log, "a")
    assert log.chain_at(1) is None


# A new session.


def test_at_most_once_what_was_sent_in_the_old_session_is_in_doubt() -> None:
    log = make(delivery=Delivery.AT_MOST_ONCE)
    entries = put(log, "a", "b", "c")
    write(log, 1)
    log.suspend()
    log.resume(0, Window(1))
    log.start_over(5)
    assert states(entries) == [IN_DOUBT, QUEUED, QUEUED]
    assert (span(log), log.chain, log.confirmed, log.told) == ((1, 0), 5, 0, 0)
    log.resume(0, WIDE)
    assert write(log) == [(1, "b"), (2, "c")]
    assert log.chain_at(2) == advance(5, ["b", "c"])


def test_at_least_once_it_gets_a_new_number_before_the_rest() -> None:
    log = make()
    put(log, "a", "b", "c", "d")
    write(log, 3)
    log.acknowledge(1)
    log.suspend()
    log.resume(1, WIDE)
    write(log, 1)
    log.start_over(5)
    assert (span(log), log.confirmed, log.told, log.numbered) == ((1, 0), 0, 0, 0)
    log.resume(0, WIDE)
    assert write(log) == [(1, "b"), (2, "c"), (3, "d")]


@pytest.mark.parametrize("delivery", Delivery)
def test_what_was_numbered_and_never_written_goes_to_the_new_session(delivery: Delivery) -> None:
    log = make(is_server=True, delivery=delivery)
    entries = put(log, "a", "b", "c")
    write(log, 1)
    log.suspend()
    log.start_over(5)
    is_sent_again = delivery is Delivery.AT_LEAST_ONCE
    assert states(entries) == [QUEUED if is_sent_again else IN_DOUBT, QUEUED, QUEUED]
    assert (span(log), log.numbered) == ((1, 3 if is_sent_again else 2), math.inf)
    log.resume(0, WIDE)
    assert [message for _, message in write(log)][-2:] == ["b", "c"]


def test_a_new_session_owes_nothing_for_what_the_old_one_dropped() -> None:
    log = make(messages=2)
    put(log, "a", "b")
    write(log)
    put(log, "c")
    log.start_over(5)
    log.resume(0, WIDE)
    assert (log.skip(), write(log)) == (None, [(1, "b"), (2, "c")])


def test_in_a_new_session_a_message_may_expire_again() -> None:
    log = make()
    (entry,) = put(log, "a", terms=Terms(expires_at=10.0))
    write(log)
    log.suspend()
    assert log.expire(20.0) == math.inf
    log.start_over(5)
    log.expire(20.0)
    assert (entry.state, log.entries) == (IN_DOUBT, [])


# What the peer would not take.


@both_ways
def test_what_was_refused_keeps_its_number_until_the_peer_knows(is_server: bool) -> None:
    log = make(is_server=is_server)
    sent = put(log, "a", "long", "b", "c")
    write(log, 3)
    assert log.refuse_longest()
    log.suspend()
    assert states(sent) == [QUEUED, DROPPED, QUEUED, QUEUED]
    log.resume(0, WIDE)
    assert log.skip() is None
    assert write(log, 1) == [(1, "a")]
    assert batch(log) == []
    assert log.skip() == (2, advance(CHAIN, ["a", "long"]))
    assert (log.skip(), batch(log)) == (None, [(3, "b"), (4, "c")])
    assert log.acknowledge(2) == 2
    assert states(sent) == [ACKNOWLEDGED, DROPPED, WRITTEN, WRITTEN]
    assert (span(log), log.chain) == ((3, 4), advance(CHAIN, ["a", "long"]))
    assert log.size_bytes == 2


def test_what_was_refused_is_skipped_on_each_link_whatever_was_dropped_before_it() -> None:
    log = make(messages=3)
    put(log, "a", "long", "b")
    write(log)
    assert log.refuse_longest()
    log.suspend()
    put(log, "c")  # makes room
    for _ in range(2):
        log.resume(0, WIDE)
        assert log.skip() == (1, advance(CHAIN, ["a"]))
        assert log.skip() == (2, advance(CHAIN, ["a", "long"]))
        assert write(log) == [(3, "b"), (4, "c")]
        log.suspend()
    log.resume(2, WIDE)
    assert (log.skip(), write(log)) == (None, [(3, "b"), (4, "c")])


def test_the_store_forgets_what_was_refused_when_the_peer_knows() -> None:
    log = make(is_server=True)
    for number, message in enumerate(("a", "long", "b"), 1):
        put(log, message, terms=Terms(number=number))
    write(log)
    assert log.refuse_longest()
    log.suspend()
    log.resume(1, WIDE)
    assert log.settled == [1]  # those behind it are counted from the first that is stored
    assert log.skip() == (2, advance(CHAIN, ["a", "long"]))
    assert log.acknowledge(2) == 1
    assert log.settled == [1, 2]


@pytest.mark.parametrize("delivery", Delivery)
@pytest.mark.parametrize("is_on_link", [False, True])
def test_nothing_is_skipped_in_a_new_session(delivery: Delivery, is_on_link: bool) -> None:
    log = make(delivery=delivery)
    refused = put(log, "long", "a", terms=Terms(number=7))[0]
    vacancy = watched(refused)
    write(log)
    assert log.refuse_longest()
    assert vacancy.count == 1
    vacancy = watched(log.entries[0])
    if not is_on_link:
        log.suspend()
        vacancy = watched(log.entries[0])
    log.start_over(5)
    assert (refused.state, vacancy.count, log.settled) == (DROPPED, 1, [7])
    log.resume(0, WIDE)
    is_kept = delivery is Delivery.AT_LEAST_ONCE
    assert (log.skip(), write(log)) == (None, [(1, "a")] if is_kept else [])


@pytest.mark.parametrize("delivery", Delivery)
def test_a_new_session_begins_with_what_may_be_sent_again_around_what_was_refused(
    delivery: Delivery,
) -> None:
    log = make(delivery=delivery)
    sent = put(log, "a", "long", "b", "c")
    write(log, 3)
    assert log.refuse_longest()
    vacancy = log.entries[1]
    log.suspend()
    log.start_over(5)
    assert vacancy.state is DROPPED
    log.resume(0, WIDE)
    is_kept = delivery is Delivery.AT_LEAST_ONCE
    doubt = QUEUED if is_kept else IN_DOUBT
    assert states(sent) == [doubt, DROPPED, doubt, QUEUED]
    assert write(log) == ([(1, "a"), (2, "b"), (3, "c")] if is_kept else [(1, "c")])
    assert log.size_bytes == (3 if is_kept else 1)


def test_what_was_refused_is_refused_once() -> None:
    log = make()
    sent = put(log, "long", "a", "bb")
    write(log)
    assert [log.refuse_longest() for _ in range(4)] == [True, True, True, False]
    assert states(sent) == [DROPPED] * 3


@pytest.mark.parametrize("is_lost", [False, True])
def test_what_was_refused_may_have_been_taken_in_and_leaves_no_room(is_lost: bool) -> None:
    log = make(window=Window(size_bytes=5))
    put(log, "long", "aa")
    assert write(log) == [(1, "long")]
    assert log.refuse_longest()
    if is_lost:
        log.suspend()
        log.resume(0, Window(size_bytes=5))
        assert log.skip() == (1, advance(CHAIN, ["long"]))
    assert write(log) == []
    log.acknowledge(1)
    assert write(log) == [(2, "aa")]


# The end.


def test_numbers_outlive_a_connection_that_is_closed() -> None:
    log = make(is_server=True)
    put(log, "a", "b", "c")
    write(log)
    log.acknowledge(2)
    log.close()
    assert (log.acknowledged, log.chain, log.confirmed) == (2, advance(CHAIN, ["a", "b"]), 2)
    assert log.entries == []
