"""Texts that go out one after the other, and what comes behind others that wait."""

from __future__ import annotations

import pytest

from statews.policy import Delivery, Outbox
from statews.protocol.burst import Burst
from statews.protocol.entry import Entry, ReceiptState, Terms
from statews.protocol.outbox import DIRECT, Queue
from statews.protocol.session.log import Log
from statews.protocol.session.window import DEFAULT_WINDOW


def burst_of(queue: Queue, *texts: str) -> tuple[Burst, int]:
    """Track texts, and say what a receipt of the first one refers to."""
    burst = queue.burst or queue.begin_burst()
    first = burst.done + len(queue.texts)
    for text in texts:
        queue.track_text(text)
    return burst, first


def test_a_burst_counts_what_is_acknowledged_of_it() -> None:
    queue = Queue(Outbox())
    burst, first = burst_of(queue, "a", "bc", "def")
    assert (first, queue.position, len(queue), queue.size_bytes) == (0, 3, 3, 6)
    assert not queue.has_waiting
    assert queue.acknowledge(2) == 2
    assert (burst.done, burst.entries, queue.texts) == (2, None, ["def"])
    assert (queue.position, len(queue), queue.size_bytes) == (3, 1, 3)
    assert burst_of(queue, "g") == (burst, 3)
    assert queue.acknowledge(4) == 2
    assert (burst.done, len(queue), queue.size_bytes) == (4, 0, 0)


def test_a_burst_is_acknowledged_behind_the_entries_before_it() -> None:
    queue = Queue(Outbox())
    entry = Entry("first")
    queue.track(entry)
    burst, _ = burst_of(queue, "a", "b")
    assert queue.acknowledge(1) == 1
    assert (entry.state, burst.done) == (ReceiptState.ACKNOWLEDGED, 0)
    assert queue.acknowledge(3) == 2
    assert burst.done == 2
    assert queue.acknowledge(4) == 0


def test_entries_and_a_burst_are_acknowledged_at_once() -> None:
    queue = Queue(Outbox())
    entry = Entry("first")
    queue.track(entry)
    burst, _ = burst_of(queue, "a", "b")
    assert queue.acknowledge(2) == 2
    assert (entry.state, burst.done, queue.texts) == (ReceiptState.ACKNOWLEDGED, 1, ["b"])
    assert queue.size_bytes == 1


def test_what_comes_behind_a_burst_expands_it() -> None:
    queue = Queue(Outbox())
    burst, _ = burst_of(queue, "a", "b", "c")
    queue.acknowledge(1)
    queue.track(Entry(b"binary"))
    assert burst.entries is not None
    assert [each.message for each in queue.entries] == ["b", "c", b"binary"]
    assert burst.find(0) is None
    assert (burst.find(1), burst.find(2)) == (queue.entries[0], queue.entries[1])
    assert all(each.state is ReceiptState.WRITTEN for each in queue.entries)
    assert all(each.attempts == 1 for each in queue.entries)
    assert (queue.written, queue.position, queue.size_bytes) == (3, 4, 8)
    assert (queue.burst, queue.texts) == (None, [])
    later, first = burst_of(queue, "d")
    assert later is not burst
    assert first == 0


def test_what_has_to_wait_expands_a_burst() -> None:
    queue = Queue(Outbox())
    burst, _ = burst_of(queue, "a")
    waiting = Entry("b")
    assert not queue.put_behind(waiting)
    assert queue.put(waiting, 0.0)
    assert burst.find(0) is queue.entries[0]
    assert queue.entries[1] is waiting
    assert queue.has_waiting


@pytest.mark.parametrize("delivery", Delivery)
def test_a_burst_whose_link_is_lost_is_in_doubt_or_waits_again(delivery: Delivery) -> None:
    queue = Queue(Outbox(delivery=delivery))
    burst, _ = burst_of(queue, "a", "b")
    queue.acknowledge(1)
    queue.lose_link()
    entry = burst.find(1)
    assert burst.find(0) is None
    assert entry is not None
    is_kept = delivery is Delivery.AT_LEAST_ONCE
    assert entry.state is (ReceiptState.QUEUED if is_kept else ReceiptState.IN_DOUBT)
    assert queue.entries == ([entry] if is_kept else [])
    assert queue.size_bytes == (1 if is_kept else 0)


def test_a_burst_is_in_doubt_when_the_connection_is_closed() -> None:
    queue = Queue(Outbox())
    burst, _ = burst_of(queue, "a")
    queue.close()
    entry = burst.find(0)
    assert entry is not None
    assert entry.state is ReceiptState.IN_DOUBT
    assert (len(queue), queue.size_bytes) == (0, 0)


def test_a_burst_is_expanded_when_somebody_waits_for_one_of_it() -> None:
    queue = Queue(Outbox())
    burst, _ = burst_of(queue, "a", "b")
    burst.expand()
    assert [each.message for each in queue.entries] == ["a", "b"]
    burst.expand()  # which it is
    assert len(queue.entries) == 2
    assert queue.acknowledge(2) == 2
    assert [each.state for each in burst.entries or ()] == [ReceiptState.ACKNOWLEDGED] * 2


@pytest.mark.parametrize(
    ("messages", "size_bytes", "is_beyond"),
    [(3, 99, False), (2, 99, True), (9, 4, False), (9, 3, True)],
)
def test_a_burst_speaks_up_beyond_what_is_borne(
    messages: int, size_bytes: int, *, is_beyond: bool
) -> None:
    queue = Queue(Outbox())
    queue.track(Entry("x"))
    queue.bear(messages, size_bytes)
    queue.begin_burst()
    assert not queue.track_text("y")
    assert queue.track_text("zz") is is_beyond


def test_what_comes_behind_others_that_wait_is_put_there_without_a_look_at_the_clock() -> None:
    queue = Queue(Outbox(messages=3, size_bytes=5))
    first, second, third = Entry("a"), Entry("b"), Entry("c")
    assert not queue.put_behind(first)  # nothing waits
    assert queue.put(first, 0.0)
    assert queue.put_behind(second)
    assert queue.entries == [first, second]
    assert queue.size_bytes == 2
    assert not queue.put_behind(Entry("d", Terms(key="k")))  # there is something about it
    assert not queue.put_behind(Entry("long"))  # there is no room for it
    assert queue.put_behind(third)
    assert not queue.put_behind(Entry("e"))
    assert len(queue) == 3


def test_behind_what_is_only_written_nothing_is_put() -> None:
    queue = Queue(Outbox())
    queue.track(Entry("a"))
    assert not queue.put_behind(Entry("b"))


def test_what_is_borne_counts_entries_that_came_between_bursts() -> None:
    queue = Queue(Outbox())
    queue.bear(5, 99)
    burst_of(queue, "a", "b")
    assert not queue.track(Entry("c"))
    queue.begin_burst()
    assert not queue.track_text("d")
    assert not queue.track_text("e")
    assert queue.track_text("f")


def test_what_is_borne_counts_a_burst_that_was_expanded() -> None:
    queue = Queue(Outbox())
    queue.bear(2, 99)
    burst, _ = burst_of(queue, "a", "b")
    burst.expand()
    queue.begin_burst()
    assert queue.track_text("c")


def test_two_queues_never_share_what_is_in_them() -> None:
    queues = [Queue(Outbox()) for _ in range(4)]
    queues[0].track(Entry("tracked"))
    assert queues[1].put(Entry("put"), 0.0)
    queues[2].begin_burst()
    queues[2].track_text("text")
    queues[2].expand()
    queues[3].lose_link()
    assert queues[3].put(Entry("put after a loss"), 0.0)
    queues[3].close()
    queues[3].restore(Entry("restored after a close"))
    held = [[entry.message for entry in queue.entries] for queue in queues]
    assert held == [["tracked"], ["put"], ["text"], ["restored after a close"]]
    assert Queue(Outbox()).entries == []


def test_a_burst_takes_room_behind_the_entries() -> None:
    queue = Queue(Outbox(messages=4, size_bytes=100))
    queue.track(Entry("a"))
    burst_of(queue, "b", "c")
    assert queue.has_room(1)
    queue.track_text("d")
    assert not queue.has_room(1)
    queue.expand()
    assert (queue.written, len(queue.entries)) == (4, 4)
    queue.track(Entry("e"))
    burst_of(queue, "f")
    queue.expand()
    assert (queue.written, len(queue.entries)) == (6, 6)


def test_texts_are_borne_anew_as_far_as_entries_are_acknowledged() -> None:
    queue = Queue(Outbox())
    for _ in range(3):
        queue.track(Entry("entry"))
    queue.bear(5, 1000)
    burst_of(queue)
    assert [queue.track_text("a") for _ in range(3)] == [False, False, True]
    assert queue.acknowledge(2) == 2
    assert [queue.track_text("a") for _ in range(2)] == [False, True]
    assert queue.acknowledge(3) == 1
    assert [queue.track_text("a") for _ in range(1)] == [True]
    assert queue.acknowledge(5) == 2
    assert not queue.track_text("a")


def test_what_may_go_without_a_look_is_64_kib() -> None:
    assert DIRECT == 65536


def test_a_queue_that_is_made_slim_keeps_what_is_in_it() -> None:
    log = Log(Outbox())
    assert log.put(Entry("kept"), 0.0)
    log.suspend()
    assert [entry.message for entry in log.entries] == ["kept"]
    log.resume(0, DEFAULT_WINDOW)
    entry = log.next_waiting(0.0)
    assert entry is not None
    log.wrote(entry)
    log.acknowledge(1)
    log.suspend()
    assert log.entries is Queue(Outbox()).entries
