"""What a log says of messages that it has not kept, until the peer has handled them."""

from __future__ import annotations

from statews.protocol.entry import ReceiptState

from .logs import WIDE, both_ways, make_log, put, write


def test_nothing_is_lost_that_is_kept_or_handled() -> None:
    log = make_log(is_server=True)
    put(log, "a", "b", "c")
    assert log.loss(3) is None
    write(log)
    log.acknowledge(2)
    assert [log.loss(upto) for upto in range(4)] == [None] * 4


@both_ways
def test_what_was_dropped_is_in_doubt_where_all_of_it_was_written(is_server: bool) -> None:
    log = make_log(is_server=is_server)
    put(log, "a", "b", "c", "d")
    write(log, 2)
    log.drop(2)
    assert [log.loss(upto) for upto in range(4)] == [None, *[ReceiptState.IN_DOUBT] * 3]
    log.acknowledge(1)
    assert [log.loss(upto) for upto in range(3)] == [None, None, ReceiptState.IN_DOUBT]
    log.acknowledge(2)
    assert log.loss(4) is None


def test_what_was_dropped_and_never_written_is_lost_until_the_peer_knows() -> None:
    log = make_log(is_server=True)
    put(log, "a", "b", "c", "d")
    write(log, 1)
    log.drop(3)
    assert [log.loss(upto) for upto in range(1, 5)] == [
        ReceiptState.IN_DOUBT,
        *[ReceiptState.DROPPED] * 3,
    ]
    log.skip()
    log.acknowledge(3)
    assert log.loss(4) is None


def test_what_an_earlier_process_had_dropped_may_have_been_written() -> None:
    log = make_log(is_server=True)
    log.go_on(5, 1, confirmed=3)
    assert [log.loss(upto) for upto in (3, 4, 9)] == [None, *[ReceiptState.IN_DOUBT] * 2]
    log.resume(5, WIDE)
    assert log.loss(9) is None
