"""What is kept of what was sent, in which order, and what becomes of it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from statews.errors import OutboxFullError, UsageError
from statews.policy import AtLimit, Delivery, Outbox
from statews.protocol.entry import MOVES, PLAIN, Entry, ReceiptState, Terms
from statews.protocol.outbox import Queue
from statews.protocol.plain import Message

QUEUED, WRITTEN = ReceiptState.QUEUED, ReceiptState.WRITTEN
ACKNOWLEDGED, EXPIRED = ReceiptState.ACKNOWLEDGED, ReceiptState.EXPIRED
DROPPED, IN_DOUBT = ReceiptState.DROPPED, ReceiptState.IN_DOUBT
FINAL = {ACKNOWLEDGED, EXPIRED, DROPPED, IN_DOUBT}
AT_MOST_ONCE, AT_LEAST_ONCE = Delivery.AT_MOST_ONCE, Delivery.AT_LEAST_ONCE

TOO_LATE = "its time to live was over"
REPLACED = "a newer message with its key took its place"
OVERTAKEN = "the outbox was full of newer messages"
NO_ROOM = "the outbox was full"
LOST = "its link was lost"
UNCONFIRMED = "its link was lost before the peer had confirmed it"
CLOSED = "the connection was closed"

every_limit = pytest.mark.parametrize("at_limit", AtLimit)
every_delivery = pytest.mark.parametrize("delivery", Delivery)
makes_room = pytest.mark.parametrize("at_limit", [AtLimit.DROP_OLDEST, AtLimit.CONFLATE])


class Sent(Entry):
    """An entry that goes nowhere but where `MOVES` lets it."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        if name == "state" and hasattr(self, "state"):
            assert value in MOVES[self.state], f"from {self.state} to {value}"
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return f"<{self.message!r} {self.state}>"


def outbox(
    at_limit: AtLimit = AtLimit.WAIT,
    *,
    messages: int = 100,
    size_bytes: int = 1000,
    delivery: Delivery = AT_MOST_ONCE,
) -> Queue:
    settings = Outbox(
        messages=messages, size_bytes=size_bytes, at_limit=at_limit, delivery=delivery
    )
    return Queue(settings)


def put(queue: Queue, *messages: Message, now: float = 0.0, terms: Terms = PLAIN) -> list[Sent]:
    entries = [Sent(message, terms) for message in messages]
    for entry in entries:
        assert queue.put(entry, now)
    return entries


def put_named(queue: Queue, *names: str | None) -> list[Sent]:
    return [put(queue, name or "-", terms=Terms(acknowledged_by=name))[0] for name in names]


def write(queue: Queue, count: int = 1000, *, now: float = 0.0) -> list[Message]:
    """Hand so much of what waits to the link; return what went out."""
    messages: list[Message] = []
    while len(messages) < count and (entry := queue.next_waiting(now)) is not None:
        queue.wrote(entry)
        messages.append(entry.message)
    return messages


def held(queue: Queue) -> list[Message]:
    assert len(queue) == len(queue.entries)
    assert queue.size_bytes == sum(entry.size for entry in queue.entries)
    assert queue.has_waiting == (len(queue) > queue.written)
    return [entry.message for entry in queue.entries]


def states(entries: list[Sent]) -> list[ReceiptState]:
    return [entry.state for entry in entries]


def fate(entry: Entry) -> tuple[ReceiptState, str]:
    return entry.state, entry.reason


# States.


def test_a_receipt_may_move_so_and_not_otherwise() -> None:
    allowed = {
        ("queued", "written"),
        ("queued", "acknowledged"),
        ("queued", "expired"),
        ("queued", "dropped"),
        ("queued", "in-doubt"),
        ("written", "queued"),
        ("written", "acknowledged"),
        ("written", "dropped"),
        ("written", "in-doubt"),
    }
    for before, after in product(ReceiptState, ReceiptState):
        assert (after in MOVES[before]) == ((f"{before}", f"{after}") in allowed)


def test_the_last_four_states_are_final() -> None:
    assert [state for state in ReceiptState if state.is_final] == [*ReceiptState][-4:]
    assert set([*ReceiptState][-4:]) == FINAL


# Messages.


@pytest.mark.parametrize(
    ("message", "size"),
    [("", 0), (b"", 0), ("abc", 3), (b"abc", 3), ("é", 2), ("€uro", 6), ("🙂", 4), (b"\xff\0", 2)],
)
def test_the_size_of_a_message_is_that_of_its_payload(message: Message, size: int) -> None:
    entry = Entry(message)
    assert entry.message is message
    assert entry.size == size


@given(message=st.text(st.characters(exclude_categories=["Cs"])) | st.binary())
def test_every_message_has_the_size_that_goes_out(message: Message) -> None:
    payload = message.encode() if isinstance(message, str) else message
    assert Entry(message).size == len(payload)


def test_what_may_still_change_is_copied() -> None:
    buffer = bytearray(b"abc")
    for message in (buffer, memoryview(buffer)):
        entry = Entry(message)
        buffer[0:3] = b"xyz"
        assert (entry.message, type(entry.message), entry.size) == (b"abc", bytes, 3)
        buffer[0:3] = b"abc"


def test_the_size_of_a_view_is_in_bytes() -> None:
    assert Entry(memoryview(array("H", [1, 2, 3]))).size == 6
    assert Entry(memoryview(b"abcdef")[::2]).message == b"ace"


@pytest.mark.parametrize("message", [None, 5, 1.5, ["a"], {}, ...], ids=repr)
def test_what_is_no_message_is_refused(message: bytes) -> None:
    wanted = f"^a message is str or bytes, got {type(message).__name__}$"
    with pytest.raises(UsageError, match=wanted):
        Entry(message)


def test_text_that_no_frame_can_carry_is_refused() -> None:
    wanted = "^text must be encodable as UTF-8: surrogates not allowed at 2$"
    with pytest.raises(UsageError, match=wanted):
        Entry("ab\ud800")


def test_a_new_entry_waits_and_was_never_written() -> None:
    entry = Entry("a")
    assert fate(entry) == (QUEUED, "")
    assert entry.attempts == 0
    assert entry.waiter is None
    assert entry.terms == Terms(
        key=None, expires_at=math.inf, link_only=False, acknowledged_by=None
    )


# Whoever waits for a move.


class Waiter:
    def __init__(self) -> None:
        self.count = 0

    def set(self) -> None:
        self.count += 1


def watched(entry: Entry) -> Waiter:
    entry.waiter = waiter = Waiter()
    return waiter


def test_a_waiter_is_told_of_the_next_move_and_forgotten() -> None:
    queue = outbox()
    (entry,) = put(queue, "a")
    waiter = watched(entry)
    write(queue)
    queue.acknowledge(1)
    assert (waiter.count, entry.waiter) == (1, None)


def test_a_waiter_can_be_woken_without_a_move() -> None:
    entry = Entry("a")
    entry.wake()
    waiter = watched(entry)
    entry.wake()
    entry.wake()
    assert (waiter.count, entry.waiter, entry.state) == (1, None, QUEUED)


def test_whoever_waits_learns_how_it_ends() -> None:
    queue = outbox()
    entries = [*put(queue, "a", "b"), timed(queue, "c", 10), *put(queue, "d", "e")]
    write(queue, 2)
    waiters = [watched(entry) for entry in entries]
    assert queue.acknowledge(1) == 1
    queue.expire(10)
    queue.lose_link()
    queue.close()
    assert states(entries) == [ACKNOWLEDGED, IN_DOUBT, EXPIRED, DROPPED, DROPPED]
    assert [waiter.count for waiter in waiters] == [1] * 5


def test_a_lost_link_is_no_news_to_what_waits() -> None:
    queue = outbox(delivery=AT_LEAST_ONCE)
    entries = put(queue, "a", "b")
    write(queue, 1)
    waiters = [watched(entry) for entry in entries]
    queue.lose_link()
    assert states(entries) == [QUEUED, QUEUED]
    assert [waiter.count for waiter in waiters] == [1, 0]


# Order.


@every_delivery
def test_what_waits_goes_out_in_the_order_of_sending(delivery: Delivery) -> None:
    queue = outbox(delivery=delivery)
    entries = put(queue, "a", b"bb", "ccc")
    assert (held(queue), queue.size_bytes, queue.position) == (["a", b"bb", "ccc"], 6, 0)
    assert write(queue, 2) == ["a", b"bb"]
    assert states(entries) == [WRITTEN, WRITTEN, QUEUED]
    assert (queue.written, queue.position, queue.has_waiting) == (2, 2, True)
    put(queue, "d")
    assert write(queue) == ["ccc", "d"]
    assert held(queue) == ["a", b"bb", "ccc", "d"]
    assert [entry.position for entry in queue.entries] == [1, 2, 3, 4]
    assert [entry.attempts for entry in queue.entries] == [1, 1, 1, 1]
    assert not queue.has_waiting
    assert queue.next_waiting(0) is None


def test_to_ask_what_is_next_changes_nothing() -> None:
    queue = outbox()
    (entry,) = put(queue, "a")
    assert queue.next_waiting(0) is queue.next_waiting(0) is entry
    assert fate(entry) == (QUEUED, "")


def test_what_was_written_directly_is_only_remembered() -> None:
    queue = outbox()
    entries = [Sent("a"), Sent("bb")]
    for entry in entries:
        queue.track(entry)
    assert states(entries) == [WRITTEN, WRITTEN]
    assert [entry.attempts for entry in entries] == [1, 1]
    assert (held(queue), queue.size_bytes, queue.written) == (["a", "bb"], 3, 2)
    assert (queue.position, queue.has_waiting) == (2, False)
    put(queue, "c")
    write(queue)
    assert queue.entries[-1].position == 3
    assert queue.acknowledge(2) == 2
    assert held(queue) == ["c"]


def test_what_is_remembered_says_when_there_is_more_than_allowed_for() -> None:
    queue = outbox()
    assert queue.track(Sent(""))  # nothing was allowed for yet
    queue.bear(3, 5)
    assert not queue.track(Sent("abcd"))
    assert not queue.track(Sent("e"))
    assert queue.track(Sent(""))  # by messages
    queue.bear(5, 5)
    assert queue.track(Sent("f"))  # by bytes
    queue.bear(6, 6)
    assert not queue.track(Sent(""))


def test_one_that_waits_can_be_withdrawn() -> None:
    queue = outbox()
    a, b, c = put(queue, "a", "bb", "ccc")
    write(queue, 1)
    queue.withdraw(b, "nobody wants it")
    assert fate(b) == (DROPPED, "nobody wants it")
    assert states([a, c]) == [WRITTEN, QUEUED]
    assert (held(queue), queue.written, queue.position) == (["a", "ccc"], 1, 1)


def test_one_that_was_written_before_is_in_doubt_when_it_is_withdrawn() -> None:
    queue = outbox(delivery=AT_LEAST_ONCE)
    (entry,) = put(queue, "a")
    write(queue)
    queue.lose_link()
    queue.withdraw(entry, "nobody wants it")
    assert fate(entry) == (IN_DOUBT, "nobody wants it")
    assert held(queue) == []


def test_what_was_written_cannot_be_withdrawn() -> None:
    queue = outbox()
    (entry,) = put(queue, "a")
    write(queue)
    with pytest.raises(ValueError, match="not in list"):
        queue.withdraw(entry, "nobody wants it")
    assert (entry.state, held(queue), queue.written) == (WRITTEN, ["a"], 1)


# Limits.


def test_there_is_room_up_to_the_limits_and_not_beyond() -> None:
    queue = outbox(messages=2, size_bytes=5)
    put(queue, "abc")
    assert queue.has_room(2)
    assert not queue.has_room(3)
    put(queue, "d")
    assert not queue.has_room(0)


def test_every_message_has_room_in_an_empty_outbox() -> None:
    queue = outbox(messages=1, size_bytes=1)
    assert queue.has_room(10**9)
    put(queue, "much too long")
    assert held(queue) == ["much too long"]
    assert not queue.has_room(0)


@every_limit
def test_what_fits_exactly_is_taken_in_whatever_the_limit_says(at_limit: AtLimit) -> None:
    queue = outbox(at_limit, messages=3, size_bytes=6)
    entries = put(queue, "a", "bb", "ccc")
    assert held(queue) == ["a", "bb", "ccc"]
    assert states(entries) == [QUEUED] * 3


at_both_limits = pytest.mark.parametrize(
    ("messages", "size_bytes", "last"),
    [(2, 1000, "c"), (100, 6, "cccc")],
    ids=["messages", "bytes"],
)


@at_both_limits
@pytest.mark.parametrize("is_written", [False, True])
def test_a_message_may_have_to_wait_for_room(
    messages: int, size_bytes: int, last: str, is_written: bool
) -> None:
    queue = outbox(AtLimit.WAIT, messages=messages, size_bytes=size_bytes)
    entries = put(queue, "aa", "b")
    write(queue, 2 * is_written)
    entry = Sent(last)
    assert not queue.put(entry, 0)
    assert fate(entry) == (QUEUED, "")
    assert held(queue) == ["aa", "b"]
    assert states(entries) == [WRITTEN if is_written else QUEUED] * 2
    write(queue)
    queue.acknowledge(1)
    assert queue.put(entry, 0)
    assert held(queue) == ["b", last]


@at_both_limits
def test_a_message_may_be_refused(messages: int, size_bytes: int, last: str) -> None:
    queue = outbox(AtLimit.RAISE, messages=messages, size_bytes=size_bytes)
    entries = put(queue, "aa", "b")
    entry = Sent(last)
    wanted = "^the outbox is at its limit: it holds 2 messages of 3 bytes in all$"
    with pytest.raises(OutboxFullError, match=wanted):
        queue.put(entry, 0)
    assert held(queue) == ["aa", "b"]
    assert states([*entries, entry]) == [QUEUED] * 3


@at_both_limits
def test_the_newest_message_may_be_dropped(messages: int, size_bytes: int, last: str) -> None:
    queue = outbox(AtLimit.DROP_NEWEST, messages=messages, size_bytes=size_bytes)
    entries = put(queue, "aa", "b")
    (entry,) = put(queue, last)
    assert fate(entry) == (DROPPED, NO_ROOM)
    assert held(queue) == ["aa", "b"]
    assert states(entries) == [QUEUED, QUEUED]


@makes_room
@at_both_limits
def test_the_oldest_that_waits_may_make_room(
    at_limit: AtLimit, messages: int, size_bytes: int, last: str
) -> None:
    queue = outbox(at_limit, messages=messages, size_bytes=size_bytes)
    a, b = put(queue, "aa", "b")
    (entry,) = put(queue, last)
    assert fate(a) == (DROPPED, OVERTAKEN)
    assert states([b, entry]) == [QUEUED, QUEUED]
    assert held(queue) == ["b", last]


@makes_room
def test_what_waits_makes_room_before_what_was_written(at_limit: AtLimit) -> None:
    queue = outbox(at_limit, messages=3)
    entries = put(queue, "a", "b", "c")
    write(queue, 1)
    put(queue, "d")
    assert states(entries) == [WRITTEN, DROPPED, QUEUED]
    assert (held(queue), queue.written, queue.position) == (["a", "c", "d"], 1, 1)


@makes_room
def test_as_many_make_room_as_it_takes(at_limit: AtLimit) -> None:
    queue = outbox(at_limit, size_bytes=6)
    entries = put(queue, "aa", "bb", "cc")
    put(queue, "dddd")
    assert states(entries) == [DROPPED, DROPPED, QUEUED]
    assert held(queue) == ["cc", "dddd"]


@makes_room
@every_delivery
def test_what_was_written_is_in_doubt_if_it_makes_room(
    at_limit: AtLimit, delivery: Delivery
) -> None:
    queue = outbox(at_limit, messages=2, delivery=delivery)
    entries = put(queue, "a", "b")
    write(queue)
    put(queue, "c")
    assert fate(entries[0]) == (IN_DOUBT, OVERTAKEN)
    assert entries[1].state is WRITTEN
    assert held(queue) == ["b", "c"]


@makes_room
def test_what_waits_again_is_in_doubt_if_it_makes_room(at_limit: AtLimit) -> None:
    queue = outbox(at_limit, messages=2, delivery=AT_LEAST_ONCE)
    entries = put(queue, "a", "b")
    write(queue, 1)
    queue.lose_link()
    put(queue, "c", "d")
    assert [fate(entry) for entry in entries] == [(IN_DOUBT, OVERTAKEN), (DROPPED, OVERTAKEN)]
    assert held(queue) == ["c", "d"]


def test_the_positions_of_a_link_fit_after_its_oldest_message_made_room() -> None:
    queue = outbox(AtLimit.DROP_OLDEST, messages=3)
    entries = put(queue, "a", "b", "c")
    write(queue)
    entries += put(queue, "d")  # for which "a" makes room
    assert (queue.position, queue.acknowledged, queue.written) == (3, 1, 2)
    assert write(queue) == ["d"]
    assert entries[-1].position == queue.position == 4
    assert queue.acknowledge(1) == 0
    assert states(entries) == [IN_DOUBT, WRITTEN, WRITTEN, WRITTEN]
    assert queue.acknowledge(3) == 2
    assert states(entries) == [IN_DOUBT, ACKNOWLEDGED, ACKNOWLEDGED, WRITTEN]
    assert queue.acknowledge(4) == 1
    assert (held(queue), queue.position) == ([], 4)


LONG = "longer than the whole outbox"


@pytest.mark.parametrize(
    ("at_limit", "wanted"),
    [
        (AtLimit.DROP_NEWEST, ["a", "b"]),
        (AtLimit.DROP_OLDEST, [LONG]),
        (AtLimit.CONFLATE, [LONG]),
    ],
)
def test_a_message_longer_than_the_whole_outbox_goes_alone_or_not_at_all(
    at_limit: AtLimit, wanted: list[str]
) -> None:
    queue = outbox(at_limit, size_bytes=10)
    put(queue, "a", "b")
    write(queue, 1)
    (entry,) = put(queue, LONG)
    assert held(queue) == wanted
    assert entry.state is (QUEUED if LONG in wanted else DROPPED)


def test_a_message_longer_than_the_whole_outbox_waits_until_that_is_empty() -> None:
    queue = outbox(AtLimit.WAIT, size_bytes=10)
    put(queue, "a", "b")
    entry = Sent(LONG)
    write(queue)
    queue.acknowledge(1)
    assert not queue.put(entry, 0)
    queue.acknowledge(2)
    assert queue.put(entry, 0)
    assert not queue.put(Sent(""), 0)


def test_a_message_longer_than_the_whole_outbox_is_refused_unless_that_is_empty() -> None:
    queue = outbox(AtLimit.RAISE, size_bytes=10)
    put(queue, "a")
    with pytest.raises(OutboxFullError, match="it holds 1 messages of 1 bytes"):
        queue.put(Sent(LONG), 0)
    queue.close()
    put(queue, LONG)
    assert held(queue) == [LONG]


@every_limit
def test_what_an_earlier_process_left_is_taken_back_whatever_the_limits_are(
    at_limit: AtLimit,
) -> None:
    queue = outbox(at_limit, messages=1, size_bytes=1)
    entries = [Sent("aa"), Sent("bb")]
    for entry in entries:
        queue.restore(entry)
    assert states(entries) == [QUEUED, QUEUED]
    assert write(queue) == held(queue) == ["aa", "bb"]


# Keys.


def keyed(queue: Queue, message: Message, key: Hashable = "key") -> Sent:
    return put(queue, message, terms=Terms(key=key))[0]


@pytest.mark.parametrize("key", ["key", 0, "", (1, "x"), False])
def test_the_newest_of_a_key_goes_to_the_end_and_the_older_is_dropped(key: Hashable) -> None:
    queue = outbox(AtLimit.CONFLATE)
    older = keyed(queue, "old", key)
    other = keyed(queue, "other", "other")
    (plain,) = put(queue, "plain")
    newer = keyed(queue, "newer", key)
    assert fate(older) == (DROPPED, REPLACED)
    assert states([other, plain, newer]) == [QUEUED] * 3
    assert held(queue) == ["other", "plain", "newer"]
    newest = keyed(queue, "newest", key)
    assert fate(newer) == (DROPPED, REPLACED)
    assert held(queue) == ["other", "plain", "newest"]
    assert newest.state is QUEUED


def test_messages_without_a_key_replace_nothing() -> None:
    queue = outbox(AtLimit.CONFLATE)
    assert states(put(queue, "a", "a", "a")) == [QUEUED] * 3


def test_the_older_of_a_key_makes_room_before_any_other_has_to() -> None:
    queue = outbox(AtLimit.CONFLATE, messages=2, size_bytes=4)
    (plain,) = put(queue, "a")
    older = keyed(queue, "bbb")
    newer = keyed(queue, "ccc")
    assert states([plain, older, newer]) == [QUEUED, DROPPED, QUEUED]


def test_what_was_written_is_not_replaced() -> None:
    queue = outbox(AtLimit.CONFLATE)
    older = keyed(queue, "old")
    write(queue)
    newer = keyed(queue, "new")
    assert states([older, newer]) == [WRITTEN, QUEUED]
    assert held(queue) == ["old", "new"]
    newest = keyed(queue, "newest")
    assert states([older, newer, newest]) == [WRITTEN, DROPPED, QUEUED]


def test_what_was_written_before_is_in_doubt_when_it_is_replaced() -> None:
    queue = outbox(AtLimit.CONFLATE, delivery=AT_LEAST_ONCE)
    older = keyed(queue, "old")
    write(queue)
    queue.lose_link()
    assert older.state is QUEUED
    newer = keyed(queue, "new")
    assert fate(older) == (IN_DOUBT, REPLACED)
    assert held(queue) == ["new"]
    assert newer.state is QUEUED


def test_a_link_that_is_lost_leaves_the_newest_of_each_key() -> None:
    queue = outbox(AtLimit.CONFLATE, delivery=AT_LEAST_ONCE)
    first = keyed(queue, "first")
    (plain,) = put(queue, "plain")
    write(queue)
    second = keyed(queue, "second")
    write(queue)
    third = keyed(queue, "third")
    queue.lose_link()
    assert [fate(entry) for entry in (first, second)] == [(IN_DOUBT, REPLACED)] * 2
    assert states([plain, third]) == [QUEUED, QUEUED]
    assert write(queue) == held(queue) == ["plain", "third"]


def test_what_an_earlier_process_left_is_replaced_as_well() -> None:
    queue = outbox(AtLimit.CONFLATE)
    entries = [Sent(message, Terms(key="key")) for message in ("a", "b")]
    for entry in entries:
        queue.restore(entry)
    entries.append(keyed(queue, "c"))
    assert [fate(entry) for entry in entries[:2]] == [(DROPPED, REPLACED)] * 2
    assert held(queue) == ["c"]


@pytest.mark.parametrize("way", ["withdrawn", "dropped", "expired", "acknowledged", "link"])
def test_nothing_is_replaced_that_is_settled(way: str) -> None:
    queue = outbox(AtLimit.CONFLATE, messages=2, delivery=AT_LEAST_ONCE)
    terms = Terms(key="key", acknowledged_by="id", expires_at=10, link_only=way == "link")
    (older,) = put(queue, "old", terms=terms)
    match way:
        case "withdrawn":
            queue.withdraw(older, "nobody wants it")
        case "dropped":
            put(queue, "a", "b")
        case "expired":
            queue.expire(10)
        case "acknowledged":
            write(queue)
            queue.lose_link()
            queue.acknowledge_named("id", is_cumulative=False)
        case _:
            queue.lose_link()
    settled = fate(older)
    assert older.state.is_final
    newer = keyed(queue, "new")
    assert (fate(older), newer.state) == (settled, QUEUED)
    assert held(queue)[-1] == "new"


def test_a_key_is_free_after_a_connection_that_was_closed() -> None:
    queue = outbox(AtLimit.CONFLATE)
    older = keyed(queue, "old")
    queue.close()
    keyed(queue, "new")
    assert (fate(older), held(queue)) == ((DROPPED, CLOSED), ["new"])


# Times to live.


def timed(queue: Queue, message: Message, expires_at: float, *, now: float = 0.0) -> Sent:
    return put(queue, message, now=now, terms=Terms(expires_at=expires_at))[0]


def test_what_waits_expires_when_its_time_is_over_and_no_sooner() -> None:
    queue = outbox()
    entries = [timed(queue, "late", 30), timed(queue, "soon", 10), *put(queue, "ever")]
    entries.append(timed(queue, "next", 20))
    assert queue.expire(9.9) == 10
    assert states(entries) == [QUEUED] * 4
    assert queue.expire(10) == 20
    assert fate(entries[1]) == (EXPIRED, TOO_LATE)
    assert held(queue) == ["late", "ever", "next"]
    assert queue.expire(15) == 20
    assert queue.expire(100) == math.inf
    assert states(entries) == [EXPIRED, EXPIRED, QUEUED, EXPIRED]
    assert held(queue) == ["ever"]
    timed(queue, "again", 120, now=100)
    assert queue.expire(110) == 120


def test_nothing_expires_where_nothing_waits_or_has_a_limit() -> None:
    queue = outbox()
    assert queue.expire(1e9) == math.inf
    put(queue, "a")
    assert queue.expire(1e9) == math.inf
    assert held(queue) == ["a"]


def test_what_is_over_is_not_written() -> None:
    queue = outbox()
    entries = [timed(queue, "a", 10), timed(queue, "b", 5), timed(queue, "c", 20)]
    assert write(queue, now=10) == ["c"]
    assert [fate(entry) for entry in entries[:2]] == [(EXPIRED, TOO_LATE)] * 2
    assert (held(queue), queue.position) == (["c"], 1)
    timed(queue, "d", 11)
    assert queue.next_waiting(11) is None
    assert held(queue) == ["c"]


def test_what_was_written_never_expires() -> None:
    queue = outbox()
    entry = timed(queue, "a", 10)
    later = timed(queue, "b", 20)
    assert write(queue, 1) == ["a"]
    assert queue.expire(15) == 20
    assert states([entry, later]) == [WRITTEN, QUEUED]
    assert queue.expire(25) == math.inf
    assert states([entry, later]) == [WRITTEN, EXPIRED]
    assert queue.acknowledge(1) == 1


def test_what_was_written_before_and_expires_is_in_doubt() -> None:
    queue = outbox(delivery=AT_LEAST_ONCE)
    entries = [timed(queue, "a", 10), timed(queue, "b", 20)]
    write(queue)
    assert queue.expire(5) <= 10
    queue.lose_link()
    assert queue.expire(5) == 10
    assert queue.expire(10) == 20
    assert write(queue, now=20) == []
    assert [fate(entry) for entry in entries] == [(IN_DOUBT, TOO_LATE)] * 2


def test_a_link_that_is_lost_starts_the_time_again_where_it_was() -> None:
    queue = outbox(delivery=AT_LEAST_ONCE)
    entry = timed(queue, "a", 10)
    write(queue)
    assert queue.expire(50) == math.inf
    queue.lose_link()
    assert queue.expire(50) == math.inf
    assert fate(entry) == (IN_DOUBT, TOO_LATE)


@every_limit
def test_what_is_over_makes_room_before_anything_else_happens(at_limit: AtLimit) -> None:
    queue = outbox(at_limit, messages=3)
    entries = [*put(queue, "a"), timed(queue, "b", 10), timed(queue, "c", 11)]
    put(queue, "d", now=10)
    assert states(entries) == [QUEUED, EXPIRED, QUEUED]
    assert held(queue) == ["a", "c", "d"]


def test_what_is_over_makes_room_by_its_bytes_too() -> None:
    queue = outbox(AtLimit.DROP_OLDEST, size_bytes=4)
    entries = [*put(queue, "a"), timed(queue, "bbb", 10)]
    put(queue, "cc", now=10)
    assert states(entries) == [QUEUED, EXPIRED]


def test_nobody_looks_at_the_time_as_long_as_there_is_room() -> None:
    queue = outbox()
    entry = timed(queue, "a", 10)
    put(queue, "b", now=20)
    assert entry.state is QUEUED


def test_what_an_earlier_process_left_expires_as_well() -> None:
    queue = outbox()
    queue.restore(Sent("a", Terms(expires_at=10)))
    assert queue.expire(5) == 10
    assert queue.expire(10) == math.inf
    assert held(queue) == []


# Acknowledgements of positions.


def test_a_position_acknowledges_all_up_to_it() -> None:
    queue = outbox()
    entries = put(queue, "a", "bb", "ccc", "dddd")
    write(queue, 3)
    assert queue.acknowledge(2) == 2
    assert states(entries) == [ACKNOWLEDGED, ACKNOWLEDGED, WRITTEN, QUEUED]
    assert (held(queue), queue.written, queue.acknowledged) == (["ccc", "dddd"], 1, 2)
    assert queue.position == 3
    assert queue.acknowledge(3) == 1
    assert states(entries) == [ACKNOWLEDGED] * 3 + [QUEUED]
    assert (queue.acknowledged, queue.position) == (3, 3)
    assert write(queue) == ["dddd"]
    assert (entries[-1].position, queue.position) == (4, 4)


@pytest.mark.parametrize("position", [-1, 0, 1, 2, 4, 5, 10**9])
def test_a_position_of_the_past_or_the_future_acknowledges_nothing(position: int) -> None:
    queue = outbox()
    entries = put(queue, "a", "b", "c", "d")
    write(queue, 3)
    assert queue.acknowledge(2) == 2
    assert queue.acknowledge(position) == 0
    assert states(entries) == [ACKNOWLEDGED, ACKNOWLEDGED, WRITTEN, QUEUED]
    assert (held(queue), queue.acknowledged, queue.position) == (["c", "d"], 2, 3)


def test_nothing_is_acknowledged_of_an_empty_outbox() -> None:
    queue = outbox()
    assert [queue.acknowledge(position) for position in (-1, 0, 1)] == [0, 0, 0]
    assert queue.position == 0


# Acknowledgements of names.


def test_a_position_acknowledges_only_what_has_no_name_where_others_have_one() -> None:
    queue = outbox()
    entries = put_named(queue, None, "b", None, "d", None, None)
    write(queue, 5)
    assert queue.acknowledge_unnamed(3) == 2
    assert states(entries) == [ACKNOWLEDGED, WRITTEN, ACKNOWLEDGED, WRITTEN, WRITTEN, QUEUED]
    assert (held(queue), queue.written, queue.position) == (["b", "d", "-", "-"], 3, 5)
    assert queue.acknowledge_unnamed(3) == queue.acknowledge_unnamed(4) == 0
    assert write(queue) == ["-"]
    assert entries[-1].position == queue.position == 6
    assert queue.acknowledge_unnamed(5) == 1
    assert queue.acknowledge_named("d", is_cumulative=False) == 1
    assert queue.acknowledge_unnamed(6) == 1
    assert held(queue) == ["b"]


def test_a_position_of_a_new_link_counts_from_its_start() -> None:
    queue = outbox(delivery=AT_LEAST_ONCE)
    entries = put_named(queue, "a", None, None, None)
    write(queue, 3)
    queue.lose_link()
    assert queue.acknowledge_unnamed(3) == 0  # nothing was written to the new one yet
    write(queue, 2)
    assert queue.acknowledge_unnamed(2) == 1
    assert states(entries) == [WRITTEN, ACKNOWLEDGED, QUEUED, QUEUED]


def test_a_name_acknowledges_one_message() -> None:
    queue = outbox()
    entries = put_named(queue, "a", None, "c", "d", "e")
    write(queue, 4)
    assert queue.acknowledge_named("c", is_cumulative=False) == 1
    assert states(entries) == [WRITTEN, WRITTEN, ACKNOWLEDGED, WRITTEN, QUEUED]
    assert (held(queue), queue.written, queue.position) == (["a", "-", "d", "e"], 3, 4)
    assert queue.acknowledge_named("c", is_cumulative=False) == 0
    assert queue.acknowledge_named("a", is_cumulative=False) == 1
    assert held(queue) == ["-", "d", "e"]


def test_a_name_may_acknowledge_all_up_to_it() -> None:
    queue = outbox()
    entries = put_named(queue, "a", None, "c", "d", "e")
    write(queue, 4)
    assert queue.acknowledge_named("c", is_cumulative=True) == 3
    assert states(entries) == [ACKNOWLEDGED] * 3 + [WRITTEN, QUEUED]
    assert (held(queue), queue.written, queue.position) == (["d", "e"], 1, 4)
    assert queue.acknowledge_named("d", is_cumulative=True) == 1
    assert held(queue) == ["e"]


@pytest.mark.parametrize("is_cumulative", [False, True])
@pytest.mark.parametrize("name", ["e", "unknown", "", None, 0, ["a"]], ids=repr)
def test_a_name_that_was_never_written_acknowledges_nothing(
    name: Hashable, is_cumulative: bool
) -> None:
    queue = outbox()
    entries = put_named(queue, "a", None, "e")
    write(queue, 2)
    assert queue.acknowledge_named(name, is_cumulative=is_cumulative) == 0
    assert states(entries) == [WRITTEN, WRITTEN, QUEUED]
    assert outbox().acknowledge_named(name, is_cumulative=is_cumulative) == 0


@pytest.mark.parametrize("is_cumulative", [False, True])
def test_the_older_of_two_messages_with_a_name_is_acknowledged_first(is_cumulative: bool) -> None:
    queue = outbox()
    entries = put_named(queue, "a", "a")
    write(queue)
    assert queue.acknowledge_named("a", is_cumulative=is_cumulative) == 1
    assert states(entries) == [ACKNOWLEDGED, WRITTEN]


def test_an_acknowledgement_may_come_before_its_message_is_sent_again() -> None:
    queue = outbox(delivery=AT_LEAST_ONCE)
    entries = put_named(queue, "a", "b", "c", "d", "e")
    write(queue, 4)
    queue.lose_link()
    write(queue, 1)
    assert queue.acknowledge_named("c", is_cumulative=False) == 1
    assert states(entries) == [WRITTEN, QUEUED, ACKNOWLEDGED, QUEUED, QUEUED]
    assert (held(queue), queue.written, queue.position) == (["a", "b", "d", "e"], 1, 1)
    assert queue.acknowledge_named("e", is_cumulative=True) == 0
    assert queue.acknowledge_named("d", is_cumulative=True) == 3
    assert states(entries) == [ACKNOWLEDGED] * 4 + [QUEUED]
    assert (queue.written, queue.position) == (0, 1)
    assert write(queue) == ["e"]
    assert entries[-1].position == queue.position == 2


# A link that is lost.


def test_at_most_once_means_that_what_was_written_is_in_doubt() -> None:
    queue = outbox(delivery=AT_MOST_ONCE)
    entries = put(queue, "a", "bb", "ccc")
    write(queue, 2)
    queue.lose_link()
    assert [fate(entry) for entry in entries[:2]] == [(IN_DOUBT, UNCONFIRMED)] * 2
    assert fate(entries[2]) == (QUEUED, "")
    assert (held(queue), queue.written, queue.position) == (["ccc"], 0, 0)
    assert queue.acknowledge(1) == 0
    assert write(queue) == ["ccc"]


def test_at_least_once_means_that_it_is_sent_again_before_the_rest() -> None:
    queue = outbox(delivery=AT_LEAST_ONCE)
    entries = [Sent("a"), *put(queue)]
    queue.track(entries[0])
    entries += put(queue, "b", "c", "d")
    write(queue, 2)
    assert queue.acknowledge(1) == 1
    queue.lose_link()
    assert [fate(entry) for entry in entries[1:]] == [(QUEUED, "")] * 3
    assert (held(queue), queue.written, queue.acknowledged) == (["b", "c", "d"], 0, 0)
    assert queue.acknowledge(1) == 0
    assert write(queue) == ["b", "c", "d"]
    assert [entry.attempts for entry in entries] == [1, 2, 2, 1]
    assert [entry.position for entry in entries[1:]] == [1, 2, 3]
    assert queue.acknowledge(3) == 3
    assert states(entries) == [ACKNOWLEDGED] * 4


def test_what_was_written_directly_is_sent_again_as_well() -> None:
    queue = outbox(delivery=AT_LEAST_ONCE)
    entry = Sent("a")
    queue.track(entry)
    queue.lose_link()
    assert entry.state is QUEUED
    assert write(queue) == ["a"]
    assert (entry.attempts, entry.position) == (2, 1)


@every_delivery
def test_what_makes_sense_on_one_link_only_goes_with_it(delivery: Delivery) -> None:
    queue = outbox(delivery=delivery)
    first, second = put(queue, "a", "b", terms=Terms(link_only=True))
    (plain,) = put(queue, "c")
    write(queue, 1)
    queue.lose_link()
    reason = UNCONFIRMED if delivery is AT_MOST_ONCE else LOST
    assert fate(first) == (IN_DOUBT, reason)
    assert fate(second) == (DROPPED, LOST)
    assert fate(plain) == (QUEUED, "")
    assert held(queue) == ["c"]


# The end.


@every_delivery
def test_a_connection_that_is_closed_settles_everything(delivery: Delivery) -> None:
    queue = outbox(delivery=delivery)
    first, second, third = put(queue, "a", "b", "c", terms=Terms(expires_at=10))
    write(queue, 2)
    queue.acknowledge(1)
    queue.close()
    assert fate(first) == (ACKNOWLEDGED, "")
    assert fate(second) == (IN_DOUBT, CLOSED)
    assert fate(third) == (DROPPED, CLOSED)
    assert (held(queue), queue.written, queue.position) == ([], 0, 0)
    assert queue.expire(0) == math.inf  # nobody needs to look again
    queue.close()


def test_what_waits_again_is_in_doubt_when_the_connection_is_closed() -> None:
    queue = outbox(delivery=AT_LEAST_ONCE)
    (entry,) = put(queue, "a")
    write(queue)
    queue.lose_link()
    queue.close()
    assert fate(entry) == (IN_DOUBT, CLOSED)


# What a store keeps.


def numbered(queue: Queue, *numbers: int, at: float = math.inf, key: str | None = None) -> None:
    for number in numbers:
        terms = Terms(number=number, expires_at=at, key=key, acknowledged_by=number)
        put(queue, f"{number}", terms=terms)


def test_the_store_learns_what_is_settled() -> None:
    queue = outbox(AtLimit.DROP_OLDEST, messages=6, delivery=AT_LEAST_ONCE)
    numbered(queue, 1, 2, 3)
    put(queue, "a")
    write(queue)
    assert queue.settled == []
    queue.acknowledge(2)
    assert queue.settled == [1, 2]
    queue.acknowledge_named(3, is_cumulative=False)
    assert queue.settled == [1, 2, 3]
    queue.acknowledge_unnamed(4)
    assert queue.settled == [1, 2, 3]  # "a" has no number
    numbered(queue, 4, at=10)
    numbered(queue, 5, 6, 7, key="key")
    assert queue.settled == [1, 2, 3, 5, 6]
    queue.expire(10)
    assert queue.settled == [1, 2, 3, 5, 6, 4]
    queue.withdraw(queue.entries[0], "nobody wants it")
    assert queue.settled == [1, 2, 3, 5, 6, 4, 7]
    numbered(queue, *range(8, 16))
    assert queue.settled == [1, 2, 3, 5, 6, 4, 7, 8, 9]


def test_what_is_stored_waits_for_the_next_connection_when_this_one_is_closed() -> None:
    queue = outbox(delivery=AT_LEAST_ONCE)
    numbered(queue, 1, 2)
    put(queue, "a")
    write(queue, 1)
    entries = [*queue.entries]
    waiters = [watched(entry) for entry in entries]
    queue.close()
    assert [fate(entry) for entry in entries] == [(QUEUED, ""), (QUEUED, ""), (DROPPED, CLOSED)]
    assert [waiter.count for waiter in waiters] == [1, 1, 1]
    assert (held(queue), queue.settled) == ([], [])


def test_what_was_to_be_stored_when_this_connection_was_closed_can_be_withdrawn() -> None:
    queue = outbox(delivery=AT_LEAST_ONCE)
    (entry,) = put(queue, "a", terms=Terms(number=7))
    queue.close()
    queue.withdraw(entry, "the store failed")
    assert fate(entry) == (DROPPED, "the store failed")
    assert queue.settled == [7]
    assert held(queue) == []


@every_delivery
def test_the_longest_of_what_the_link_has_is_what_the_peer_would_not_take(
    delivery: Delivery,
) -> None:
    queue = outbox(delivery=delivery)
    entries = put(queue, "aa", "bbb", "ccc", "d", "eeee")
    write(queue, 4)
    queue.acknowledge(1)
    assert not queue.refuse_longest(longer_than=3)
    assert queue.refuse_longest(longer_than=2)
    why = "the peer closed the link with 1009: it takes no message of 3 bytes"
    assert [fate(entry) for entry in entries[:3]] == [
        (ACKNOWLEDGED, ""),
        (DROPPED, why),
        (WRITTEN, ""),
    ]
    queue.lose_link()
    is_kept = delivery is AT_LEAST_ONCE
    assert write(queue) == ["ccc", "d", "eeee"] if is_kept else ["eeee"]
    assert not queue.settled


def test_what_the_peer_would_not_take_may_be_of_a_burst() -> None:
    queue = outbox(delivery=AT_LEAST_ONCE)
    assert not queue.refuse_longest()
    queue.begin_burst()
    for text in ("a", "bb"):
        queue.track_text(text)
    assert queue.refuse_longest()
    queue.lose_link()
    assert held(queue) == ["a"]


def test_the_store_forgets_what_the_peer_would_not_take() -> None:
    queue = outbox(delivery=AT_LEAST_ONCE)
    numbered(queue, 1, 2)
    write(queue)
    assert queue.refuse_longest()
    assert queue.settled == [1]


# All of it, in any order, beside a model without boundaries, counts or shortcuts.


@dataclass(eq=False, slots=True)
class Known:
    """What the model knows of a message."""

    entry: Sent
    links: list[int] = field(default_factory=list)
    """Those it was written to."""
    place: int = 0
    """Its place on the last of them."""
    state: ReceiptState = QUEUED

    @property
    def terms(self) -> Terms:
        return self.entry.terms

    def give_up(self, state: ReceiptState) -> None:
        self.state = IN_DOUBT if self.links else state


some_message = st.text("aé", max_size=6) | st.binary(max_size=3)
some_terms = st.builds(
    Terms,
    key=st.sampled_from([None, None, "x", "y"]),
    expires_at=st.sampled_from([math.inf, math.inf, 1.0, 3.0]),  # from now on
    link_only=st.sampled_from([False, False, True]),
    acknowledged_by=st.sampled_from([None, "1", "2", "3"]),
)


class Outboxes(RuleBasedStateMachine):
    """A queue, and every message it ever had in the order of sending."""

    @initialize(
        messages=st.integers(1, 4),
        size_bytes=st.integers(1, 9),
        at_limit=st.sampled_from(AtLimit),
        delivery=st.sampled_from(Delivery),
        has_names=st.booleans(),
    )
    def start(
        self,
        messages: int,
        size_bytes: int,
        at_limit: AtLimit,
        delivery: Delivery,
        has_names: bool,
    ) -> None:
        self.settings = Outbox(
            messages=messages, size_bytes=size_bytes, at_limit=at_limit, delivery=delivery
        )
        self.queue = Queue(self.settings)
        self.known: list[Known] = []
        self.has_names = has_names
        self.now = 0.0
        self.link = 1
        self.position = 0

    def in_state(self, *wanted: ReceiptState) -> list[Known]:
        return [known for known in self.known if known.state in wanted]

    @property
    def waiting(self) -> list[Known]:
        return self.in_state(QUEUED)

    @property
    def held(self) -> list[Known]:
        return self.in_state(QUEUED, WRITTEN)

    def fits(self, size: int) -> bool:
        sizes = [known.entry.size for known in self.held]
        is_within = len(sizes) < self.settings.messages
        return not sizes or (is_within and sum(sizes) + size <= self.settings.size_bytes)

    def drop_older(self) -> None:
        """Of what waits, keep the newest of each key."""
        newest = {known.terms.key: known for known in self.waiting}
        for known in self.waiting:
            if known.terms.key is not None and newest[known.terms.key] is not known:
                known.give_up(DROPPED)

    def drop_expired(self) -> None:
        for known in self.waiting:
            if known.terms.expires_at <= self.now:
                known.give_up(EXPIRED)

    def written(self, known: Known) -> None:
        self.position += 1
        known.links.append(self.link)
        known.place = self.position
        known.state = WRITTEN

    def make(self, message: Message, terms: Terms) -> Known:
        name = terms.acknowledged_by if self.has_names else None
        expires_at = self.now + terms.expires_at
        return Known(Sent(message, replace(terms, expires_at=expires_at, acknowledged_by=name)))

    @rule(message=some_message, terms=some_terms)
    def restore(self, message: Message, terms: Terms) -> None:
        known = self.make(message, terms)
        self.queue.restore(known.entry)
        self.known.append(known)
        self.drop_older()

    @rule(message=some_message, terms=some_terms)
    def put(self, message: Message, terms: Terms) -> None:
        known = self.make(message, terms)
        self.known.append(known)
        self.drop_older()
        self.known.remove(known)
        size = known.entry.size
        if not self.fits(size):
            self.drop_expired()
        limit = None if self.fits(size) else self.settings.at_limit
        if limit is AtLimit.RAISE:
            with pytest.raises(OutboxFullError, match=r"^the outbox is at its limit"):
                self.queue.put(known.entry, self.now)
            return
        assert self.queue.put(known.entry, self.now) == (limit is not AtLimit.WAIT)
        if limit is AtLimit.WAIT:
            return
        if limit is AtLimit.DROP_NEWEST:
            known.give_up(DROPPED)
        else:
            while not self.fits(size):
                [*self.waiting, *self.held][0].give_up(DROPPED)
        self.known.append(known)

    @rule()
    def track(self) -> None:
        if not self.waiting and not self.has_names:
            known = Known(Sent("direct"))
            self.queue.track(known.entry)
            self.known.append(known)
            self.written(known)

    @rule(count=st.integers(1, 4))
    def write(self, count: int) -> None:
        for _ in range(count):
            following = self.queue.next_waiting(self.now)
            while self.waiting and self.waiting[0].terms.expires_at <= self.now:
                self.waiting[0].give_up(EXPIRED)
            if not self.waiting:
                assert following is None
                return
            known = self.waiting[0]
            assert following is known.entry
            self.queue.wrote(known.entry)
            self.written(known)

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0]), is_looking=st.booleans())
    def pass_time(self, seconds: float, is_looking: bool) -> None:
        self.now += seconds
        if is_looking:
            self.drop_expired()
            soonest = min((known.terms.expires_at for known in self.waiting), default=math.inf)
            assert self.now < self.queue.expire(self.now) <= soonest

    @rule(position=st.integers(-1, 12))
    def acknowledge(self, position: int) -> None:
        covered: list[Known] = []
        if position <= self.position:
            covered = [
                known
                for known in self.in_state(WRITTEN)
                if known.place <= position and known.terms.acknowledged_by is None
            ]
        if not self.has_names:
            assert self.queue.acknowledge(position) == len(covered)
        elif position <= self.position:
            assert self.queue.acknowledge_unnamed(position) == len(covered)
        for known in covered:
            known.state = ACKNOWLEDGED

    @precondition(lambda self: self.has_names)
    @rule(name=st.sampled_from(["1", "2", "3", "4"]), is_cumulative=st.booleans())
    def acknowledge_named(self, name: str, is_cumulative: bool) -> None:
        covered: list[Known] = []
        ever_written = [known for known in self.held if known.links]
        names = [known.terms.acknowledged_by for known in ever_written]
        if name in names:
            index = names.index(name)
            covered = ever_written[0 if is_cumulative else index : index + 1]
        count = self.queue.acknowledge_named(name, is_cumulative=is_cumulative)
        assert count == len(covered)
        for known in covered:
            known.state = ACKNOWLEDGED

    @rule(index=st.integers(0, 3))
    def withdraw(self, index: int) -> None:
        if index < len(self.waiting):
            known = self.waiting[index]
            self.queue.withdraw(known.entry, "nobody wants it")
            known.give_up(DROPPED)

    @rule()
    def lose_link(self) -> None:
        self.queue.lose_link()
        self.link += 1
        self.position = 0
        for known in self.held:
            if known.state is WRITTEN and self.settings.delivery is AT_MOST_ONCE:
                known.state = IN_DOUBT
            elif known.terms.link_only:
                known.give_up(DROPPED)
            else:
                known.state = QUEUED
        self.drop_older()

    @invariant()
    def every_message_is_where_it_should_be(self) -> None:
        for known in self.known:
            assert known.entry.state is known.state
            assert known.entry.attempts == len(known.links)
        assert self.queue.entries == [known.entry for known in self.held]
        assert self.queue.size_bytes == sum(known.entry.size for known in self.held)
        assert self.queue.written == len(self.in_state(WRITTEN))
        assert self.queue.position == self.position
        assert self.queue.has_waiting == bool(self.waiting)

    @invariant()
    def a_message_goes_over_a_link_once(self) -> None:
        for known in self.known:
            assert known.links == sorted(set(known.links))
            assert len(known.links) <= 1 or self.settings.delivery is AT_LEAST_ONCE

    @invariant()
    def at_least_once_nothing_is_lost_with_a_link(self) -> None:
        for known in self.in_state(DROPPED, IN_DOUBT):
            is_by_link = known.entry.reason in {LOST, UNCONFIRMED}
            is_bound = known.terms.link_only or self.settings.delivery is AT_MOST_ONCE
            assert is_bound or not is_by_link

    def teardown(self) -> None:
        """Close: then every message is in one final state."""
        if not hasattr(self, "queue"):
            return  # Hypothesis did not even begin
        self.queue.close()
        self.position = 0
        for known in self.held:
            known.give_up(DROPPED)
        self.every_message_is_where_it_should_be()
        assert {known.state for known in self.known} <= FINAL


def test_in_any_order_it_does_what_the_model_does() -> None:
    run_state_machine_as_test(Outboxes)
