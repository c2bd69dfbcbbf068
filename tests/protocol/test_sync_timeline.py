"""Stamped messages: late answers, crowded links, gaps, and what is remembered of the past."""

from __future__ import annotations

import math

import pytest

from statews.protocol.plain import Message
from statews.protocol.sync import After, Delivery, Gap, Page, Since

from .sync_stamps import back, id_of, ids, item, items, live, paged, replayed, running, stamp_of
from .sync_streams import Client, page, page_of, read, text


def of(stamp: float, *names: str) -> list[str]:
    """Live messages with one stamp."""
    return [text(**item(stamp, name)) for name in names]


def is_fetching(client: Client) -> bool:
    return client.strategy.deadline < math.inf


def reasons(client: Client) -> list[str]:
    return [output.reason for output in client.out if isinstance(output, Gap)]


def ends_with_page(client: Client, number: int) -> bool:
    """Whether that one of the pages that come now, with nothing new, is taken for the answer."""
    for _ in range(number - 1):
        client.take(page())
        if not is_fetching(client):
            return False
    client.take(page())
    return not is_fetching(client)


# How long an answer is waited for.


def test_each_request_has_the_whole_time() -> None:
    client = paged(timeout=3.0)
    assert client.strategy.deadline == math.inf
    client.begin()
    assert client.strategy.deadline == client.now + 3
    client.wait(3.5)
    assert client.strategy.deadline == client.now + 3
    client.wait(1)
    client.take(page(*items(1), more=True))
    assert client.strategy.deadline == client.now + 3
    client.end()
    assert client.strategy.deadline == math.inf


def test_each_page_has_all_retries() -> None:
    client = paged(retries=1)
    client.begin()
    client.wait()
    client.take(page(*items(1), more=True))
    client.wait()
    assert client.requests() == [None, None, 1, 1]
    client.wait()
    assert reasons(client) == ["the server did not answer in time"]


# Answers that come late.


def test_all_answers_to_requests_before_the_present_one_are_late() -> None:
    client = back(running(paged()))
    client.wait()
    client.take(page(*items(101), more=True))  # one of two
    client.wait()
    client.take(page(*items(102), more=True))  # one of two
    assert client.requests() == [98, 98, 101, 101, 102]
    assert ends_with_page(client, 3)
    assert ids(client) == ["101", "102"]


def test_a_page_that_is_taken_is_not_late_any_more() -> None:
    client = back(running(paged()))
    client.take(page(*items(101), more=True), page())
    assert not is_fetching(client)


def test_a_request_that_could_not_be_made_has_no_late_answer() -> None:
    made = iter(["", "98", "101"])

    def request(_: float | None) -> Message:
        return next(made) or None  # type: ignore[return-value]

    client = Client(Since(request, stamp=stamp_of, id=id_of, page=page_of, parse=read))
    client.begin()
    client.wait()
    client.take(page(*items(101), more=True))
    assert client.requests() == [98, 101]
    assert ends_with_page(client, 1)


def test_a_new_link_has_no_late_answers() -> None:
    client = back(running(paged()))
    client.wait()
    client.take(page(*items(101), more=True))
    assert ends_with_page(back(client), 1)


# A fallback begins whenever something was lost, so it may do so again on the same link.


@pytest.mark.parametrize("come", [0, 1, 2])
def test_late_answers_are_those_that_have_not_come_since_the_fetch_was_over(come: int) -> None:
    client = back(running(paged()))
    client.wait()
    client.wait()
    client.take(page(*items(101)), *[page()] * come)  # of three
    client.begin()
    assert ends_with_page(client, 3 - come)


def test_a_page_nobody_asked_for_does_not_stand_for_a_late_one() -> None:
    client = back(running(paged()))
    client.take(page(), page())  # one too many
    client.begin()
    client.begin()
    assert ends_with_page(client, 2)


def test_late_answers_of_several_fetches_add_up() -> None:
    client = back(running(paged(retries=1)))
    client.wait()
    client.take(page(*items(101), more=True))  # one of two
    client.wait()
    client.take(page(*items(102)))  # one of two
    client.begin()
    assert ends_with_page(client, 3)


def test_the_answers_to_a_fetch_that_was_given_up_are_late() -> None:
    client = back(running(paged(retries=1)))
    client.wait()
    client.take(page(*items(101), more=True))  # one of two
    client.wait()
    client.wait()
    assert ids(client) == ["101", ("gap", 101, None)]
    client.begin()
    assert ends_with_page(client, 4)


@pytest.mark.parametrize("answer", [page({"id": "x"}), page(more=True)])
def test_an_answer_for_which_a_fetch_is_given_up_is_not_late(answer: str) -> None:
    client = back(running(paged()))
    client.take(answer)
    assert ids(client) == [("gap", 100, None)]
    client.begin()
    assert ends_with_page(client, 1)


def test_what_is_held_stays_so_when_a_fallback_begins_again() -> None:
    gone = text(gone=True)
    fallback = paged(name="fallback").strategy
    client = Client(
        After(
            lambda ask: text(after=ask.after),
            seq=lambda fields: fields.get("n"),
            start=0,
            page=lambda fields: Page([], gone=True) if fields.get("gone") is True else None,
            fallback=fallback,
        )
    )
    client.begin()
    client.take(gone, *live(103), text(n=1), text(n=5), gone)
    assert client.requests() == [{"after": 0}, None, {"after": 1}, None]
    client.out.clear()
    client.take(page(*items(101)))  # it was written before 103 came
    assert ids(client) == ["101", "103"]


def test_ids_stay_known_however_often_a_fallback_begins_again() -> None:
    client = back(running(paged(overlap=2), 93, 100))
    client.begin()
    client.begin()
    client.take(page(*items(101), more=True), page(*items(93, 102)))
    assert ids(client) == ["101", "102"]


def test_an_answer_to_the_request_before_does_not_end_a_fetch_that_began_again() -> None:
    client = back(running(paged()))
    client.begin()
    assert client.requests() == [98, 98]
    assert ends_with_page(client, 2)


# Live messages while pages are fetched.


def test_as_many_are_held_as_may_be() -> None:
    client = back(running(paged(hold=2)))
    client.take(*live(103, 104), page(*items(101)))
    assert client.requests() == [98]
    assert ids(client) == ["101", "103", "104"]


def test_what_is_held_with_the_same_stamp_is_released_as_it_came() -> None:
    client = back(running(paged()))
    client.take(*live(104), *of(103, "c", "a", "b"), page())
    assert ids(client) == ["c", "a", "b", "104"]


def test_what_is_held_at_the_stamp_where_the_history_begins_comes_after_it() -> None:
    client = back(running(paged()))
    client.take(*of(105, "held"), page(item(105, "first"), gone=True))
    assert ids(client) == [("gap", 100, 105), "first", "held"]


def test_what_is_held_and_in_the_history_is_delivered_as_the_history_has_it() -> None:
    client = back(running(paged()))
    (message,) = live(105)
    client.take(message.replace(" ", ""), page(*items(105)))
    (delivery,) = client.out
    assert isinstance(delivery, Delivery)
    assert delivery.message == message


def test_a_flood_is_fetched_if_any_page_held_something_new() -> None:
    client = back(running(paged(hold=1)))
    client.take(*live(103, 104), page(*items(101), more=True), page(*items(101)))
    assert client.requests() == [98, 101, 99]
    assert client.strategy.deadline == client.now + 10
    client.take(page(*items(101, 103, 104)))
    assert ids(client) == ["101", "103", "104"]


def test_a_flood_that_the_history_does_not_have_is_a_gap_with_a_reason() -> None:
    client = back(running(paged(hold=1)))
    client.take(*live(103, 104), page())
    assert reasons(client) == [
        "more live messages came than may be held, and the history brings nothing new"
    ]


def test_a_flood_that_was_fetched_once_is_a_gap_if_nothing_new_comes() -> None:
    client = back(running(paged(hold=1)))
    client.take(*live(103, 104), page(*items(101)), *live(105, 106), page(*items(101)))
    assert ids(client) == ["101", ("gap", 101, None)]


@pytest.mark.parametrize("late", [page(), page(*items(101)), page(*items(101, 102), more=True)])
def test_an_answer_from_before_a_flood_does_not_stand_for_what_was_let_go(late: str) -> None:
    client = back(running(paged(hold=1)))
    client.take(*live(103, 104))
    client.wait()
    client.take(page(*items(101)), late)
    assert client.requests() == [98, 98, 99]
    client.take(*live(105), page(*items(101, 102, 103, 104)))
    assert ids(client) == ["101", "102", "103", "104", "105"]


def test_answers_from_before_a_flood_add_up() -> None:
    client = back(running(paged(hold=1)))
    client.wait()
    client.take(page(*items(101), more=True))  # one of two
    client.wait()
    client.take(*live(103, 104), page(*items(102)))  # one of two
    assert ends_with_page(client, 3)


# Pages that bring nothing new.


def test_a_new_message_at_the_cursor_itself_is_something_new() -> None:
    client = back(running(paged()))
    client.take(page(item(98, "late"), more=True))
    assert client.requests() == [98, 98]
    client.take(page(item(98, "late"), item(101, "next")))
    assert ids(client) == ["late", "next"]


# Where a gap begins and ends.


def test_a_gap_before_an_empty_history_has_a_reason() -> None:
    client = back(running(paged()))
    client.take(page(gone=True))
    assert reasons(client) == ["the server's history does not reach back so far"]


def test_a_gap_at_the_very_beginning_ends_at_the_first_that_is_held() -> None:
    client = paged()
    client.begin()
    client.take(*live(6, 5), page(gone=True))
    assert ids(client) == [("gap", None, 5), "5", "6"]


def test_a_gap_does_not_end_at_the_stamp_where_it_begins() -> None:
    client = back(running(paged()))
    client.take(*of(100, "other"), *live(109), page(gone=True))
    assert ids(client) == [("gap", 100, 109), "other", "109"]


# What is remembered.


def forgetting(client: Client) -> Client:
    """After two more fetches, and a message at 100 with which old ids are forgotten."""
    for _ in range(2):
        back(client).wait()
    client.take(*of(100, "last"))
    client.out.clear()
    return client


def test_ids_are_known_from_twice_the_overlap_before_the_newest_stamp() -> None:
    client = forgetting(running(replayed(overlap=2), 93, 94, 95, 96, 97, 100))
    client.take(*live(100, 97, 96, 95, 94, 93))
    assert ids(client) == ["95", "94", "93"]


def test_ids_are_known_from_the_oldest_request_on_that_may_be_answered_yet() -> None:
    client = paged()
    client.begin()
    client.take(page(*items(98, 99, 100)))
    for _ in range(2):
        back(client)
        client.take(page(*items(98, 99, 100)))
    back(client)
    client.wait()  # it is asked for twice
    answer = page(*items(98, 99, 100, 110), more=True)
    client.take(answer, *live(120), answer, page())
    assert ids(client) == ["98", "99", "100", "110", "120"]


def test_ids_stay_known_while_answers_to_older_requests_come() -> None:
    client = paged(overlap=1.0)
    client.begin()
    client.take(page(*items(1, 2)))
    for begins, stamps in ((4, (1, 2, 3)), (1, (1, 2, 3, 4)), (2, (1, 2, 3, 4, 7, 8))):
        for _ in range(begins):
            client.begin()
        client.take(page(*items(*stamps)))
    assert ids(client) == ["1", "2", "3", "4", "7", "8"]


def test_ids_are_forgotten_from_before_what_was_asked_for() -> None:
    client = paged()
    client.begin()
    client.take(page(*items(90, 100)))
    back(client)
    client.take(page())
    back(client)
    client.take(page(*items(110), more=True), page(*items(90)))
    assert ids(client) == ["90", "100", "110", "90"]


def test_the_ids_of_a_position_are_forgotten_as_others_are() -> None:
    client = replayed(overlap=2)
    client.strategy.restore({"stamp": 95, "ids": ["95"]})
    client.begin()
    client.take(*live(95))
    assert ids(client) == []
    forgetting(client).take(*live(95))
    assert ids(client) == ["95"]


def test_no_id_is_forgotten_before_the_first_replay_is_over() -> None:
    client = replayed()
    client.begin()
    for stamp in (1, 2, 3, 4):
        client.take(*live(stamp))
        back(client)
    assert client.requests() == [None] * 5
    client.take(*live(1, 2, 3, 4, 5))
    assert ids(client) == ["1", "2", "3", "4", "5"]


def test_a_stamp_that_goes_back_is_noted_beside_what_else_is_wrong() -> None:
    client = running(replayed())
    client.take(text(t="?", id=1), *live(97), text(t=100, id=[]), *live(96))
    assert client.strategy.problems == [
        "stamp must give a finite number or None, got '?'",
        "a stamp went back by more than the overlap, to 97",
        "id must give something hashable or None, got []",
    ]
