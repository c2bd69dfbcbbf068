"""Numbered messages: each is delivered once, in order, or named in a gap."""

from __future__ import annotations

import json
import math
import re

import pytest

from statews.errors import UsageError
from statews.protocol.sync import After, Ask, Delivery, Gap, Latest, Page, Reset

from .sync_streams import Client, Fields, page, page_of, read, text


def request(ask: Ask) -> str:
    return text(key=ask.key, after=ask.after, before=ask.before, epoch=ask.epoch)


def seq_of(fields: Fields) -> int | None:
    return fields.get("n")  # type: ignore[return-value]


def key_of(fields: Fields) -> str | int | None:
    return fields.get("k")  # type: ignore[return-value]


def epoch_of(fields: Fields) -> str | int | None:
    return fields.get("e")  # type: ignore[return-value]


def n(*numbers: int, **fields: object) -> list[str]:
    return [text(n=number, **fields) for number in numbers]


def items(*numbers: int, **fields: object) -> list[Fields]:
    return [{"n": number, **fields} for number in numbers]


def plain(**arguments: object) -> Client:
    """A stream whose history comes as ordinary messages."""
    return Client(After(request, seq=seq_of, parse=read, **arguments))  # type: ignore[arg-type]


def paged(**arguments: object) -> Client:
    return plain(page=page_of, **arguments)


def keyed(**arguments: object) -> Client:
    return paged(key=key_of, **arguments)


def ask(after: int, before: int | None = None, key: object = None, epoch: object = None) -> Fields:
    return {"key": key, "after": after, "before": before, "epoch": epoch}


def numbers(client: Client) -> list[object]:
    return client.outputs(seq_of)


def running(client: Client, *, upto: int = 5) -> Client:
    """A client that has released all up to a number, on a link that is up to date."""
    client.begin()
    client.take(*n(upto))
    client.out.clear()
    return client


def back(client: Client) -> Client:
    """The client lost its link and has a new one."""
    client.end()
    client.begin()
    return client


# What is live.


def test_without_a_start_the_first_message_is_the_beginning() -> None:
    client = plain()
    client.begin()
    assert client.take(*n(7, 8)) == [True, True]
    assert numbers(client) == [7, 8]
    assert client.requests() == []
    assert client.strategy.deadline == math.inf


def test_with_a_start_everything_after_it_is_asked_for() -> None:
    client = plain(start=0)
    client.begin()
    assert client.requests() == [ask(0)]
    client.take(*n(1, 2))
    assert numbers(client) == [1, 2]


def test_a_start_of_minus_one_wants_the_number_0() -> None:
    client = plain(start=-1)
    client.begin()
    client.take(*n(0, 1))
    assert numbers(client) == [0, 1]


def test_with_a_start_a_new_key_is_asked_for_from_there() -> None:
    client = keyed(start=0)
    client.begin()
    assert client.requests() == []
    client.take(*n(3, k="a"))
    assert client.requests() == [ask(0, 3, "a")]
    client.take(page(*items(1, 2, k="a")))
    assert numbers(client) == [1, 2, 3]


def test_the_message_delivered_is_the_one_that_came() -> None:
    client = plain()
    client.begin()
    message = b'{"n": 1}'
    client.take(message)
    (delivery,) = client.out
    assert isinstance(delivery, Delivery)
    assert delivery.message is message
    assert delivery.replaces is None


def test_a_hole_on_a_live_link_is_asked_for() -> None:
    client = running(paged())
    client.take(*n(8))
    assert numbers(client) == []
    assert client.requests() == [ask(5, 8)]
    assert client.strategy.deadline == client.now + 10
    client.take(page(*items(6, 7)))
    assert numbers(client) == [6, 7, 8]
    assert client.strategy.deadline == math.inf


def test_a_hole_is_asked_for_once() -> None:
    client = running(paged())
    client.take(*n(8, 10, 8))
    assert client.requests() == [ask(5, 8)]


def test_the_next_hole_is_asked_for_when_the_first_is_filled() -> None:
    client = running(paged())
    client.take(*n(7, 10), page(*items(6)))
    assert client.requests() == [ask(5, 7), ask(7, 10)]
    client.take(page(*items(8, 9)))
    assert numbers(client) == [6, 7, 8, 9, 10]


def test_a_hole_filled_by_ordinary_messages_ends_the_question() -> None:
    for client in (running(plain()), running(paged())):
        client.take(*n(8, 6, 7))
        assert numbers(client) == [6, 7, 8]
        assert client.strategy.deadline == math.inf
        client.take(*n(10))
        assert client.requests() == [ask(5, 8), ask(8, 10)]


def test_the_next_hole_is_asked_for_without_pages_too() -> None:
    client = running(plain())
    client.take(*n(7, 10, 6))
    assert numbers(client) == [6, 7]
    assert client.requests() == [ask(5, 7), ask(7, 10)]


def test_each_step_into_a_hole_has_the_whole_time_again() -> None:
    client = running(plain(retries=0))
    client.take(*n(9))
    client.wait(9)
    client.take(*n(6))
    assert client.strategy.deadline == client.now + 10
    client.wait(9)
    client.take(*n(7, 8))
    assert numbers(client) == [6, 7, 8, 9]


def test_with_pages_a_step_into_a_hole_is_no_answer() -> None:
    client = running(paged())
    client.take(*n(9))
    due = client.strategy.deadline
    client.wait(5)
    client.take(*n(6))
    assert client.strategy.deadline == due


# What comes again.


def test_a_duplicate_is_dropped() -> None:
    client = running(plain())
    assert client.take(*n(6, 6, 5)) == [True, True, True]
    assert numbers(client) == [6]


def test_a_number_with_another_content_is_a_reset() -> None:
    client = running(plain())
    client.take(*n(6), *n(6, other=1), *n(7))
    assert client.out[1] == Reset(
        stream="after", key=None, reason="a number came again with another content"
    )
    assert numbers(client) == [6, ("reset",), 6, 7]


def test_a_number_older_than_the_memory_is_a_reset() -> None:
    client = running(plain())
    client.take(*n(*range(6, 2000)))
    client.out.clear()
    client.take(*n(976))
    assert numbers(client) == []
    client.take(*n(975, 976))
    assert numbers(client) == [("reset",), 975, 976]


def test_a_number_older_than_the_memory_is_a_duplicate_while_a_question_is_open() -> None:
    client = plain()
    client.strategy.restore({"cursors": [[None, [None, 5]]]})
    client.begin()
    client.take(*n(4, 5, 6))
    assert numbers(client) == [6]
    client.wait()
    client.take(*n(5))
    assert numbers(client) == [("reset",), 5]


def test_what_a_page_holds_is_not_compared() -> None:
    client = back(running(paged()))
    client.take(page(*items(5, 6, other=1)), *n(6), page(*items(6)))
    assert numbers(client) == [6]


def test_a_reset_releases_what_was_held_before_it() -> None:
    client = running(plain())
    client.take(*n(7), *n(5, other=1))
    assert numbers(client) == [("gap", 5, 7), 7, ("reset",), 5]
    assert client.strategy.deadline == math.inf


def test_an_epoch_that_changes_begins_anew_at_that_message() -> None:
    client = plain(epoch=epoch_of)
    client.begin()
    client.take(*n(5, 6, e="a"), *n(1, 2, e="b"))
    assert numbers(client) == [5, 6, ("reset",), 1, 2]
    assert back(client).requests() == [ask(2, epoch="b")]


def test_an_unknown_epoch_is_learned_from_the_first_message() -> None:
    client = plain(epoch=epoch_of)
    client.strategy.restore({"cursors": [[None, [None, 5]]]})
    client.begin()
    client.take(*n(6, e="a"), *n(7, e="b"))
    assert numbers(client) == [6, ("reset",), 7]


def test_an_epoch_that_is_not_told_any_more_is_forgotten() -> None:
    client = plain()
    client.strategy.restore({"cursors": [[None, ["a", 5]]]})
    client.begin()
    client.take(*n(6))
    assert numbers(client) == [6]


def test_an_epoch_may_change_within_a_page() -> None:
    client = paged(epoch=epoch_of)
    client.begin()
    client.take(*n(5, e="a"))
    back(client).asked.clear()
    client.take(page(*items(6, e="a"), *items(1, 2, e="b"), more=True))
    assert numbers(client) == [5, 6, ("reset",), 1, 2]
    assert client.requests() == [ask(2, epoch="b")]
    client.take(page(*items(3, e="b")))
    assert numbers(client) == [3]


# After a reconnect.


def test_each_known_key_is_asked_for_on_a_new_link() -> None:
    client = keyed()
    client.begin()
    client.take(*n(3, k="a"), *n(8, k="b"))
    assert back(client).requests() == [ask(3, key="a"), ask(8, key="b")]
    client.take(page(*items(9, k="b")), page(of="a"))
    assert numbers(client) == [3, 8, 9]
    assert client.strategy.deadline == math.inf


def test_a_page_without_items_and_key_is_for_who_has_waited_longest() -> None:
    client = keyed()
    client.begin()
    client.take(*n(3, k="a"), *n(8, k="b"))
    back(client)
    client.take(page(gone=True))
    assert numbers(client) == [3, 8, ("gap", "a", 3, None)]


def test_items_of_another_key_in_a_page_prove_no_hole() -> None:
    client = keyed()
    client.begin()
    client.take(*n(3, k="a"), *n(8, k="b"))
    back(client).requests()
    client.take(page(*items(4, k="a"), *items(9, k="b"), *items(11, k="b")))
    assert numbers(client) == [3, 8, 4, 9]
    assert client.requests() == []
    client.take(page(*items(9, 10, k="b")))
    assert numbers(client) == [10, 11]


def test_the_next_number_is_released_while_history_is_fetched() -> None:
    client = back(running(paged()))
    client.take(*n(6))
    assert numbers(client) == [6]


def test_history_and_live_messages_are_merged() -> None:
    client = back(running(paged()))
    client.take(*n(9, 10), page(*items(6, 7), more=True), page(*items(8, 9, 10)))
    assert client.requests() == [ask(5), ask(7, 9)]
    assert numbers(client) == [6, 7, 8, 9, 10]


def test_a_page_may_bring_what_is_held() -> None:
    client = back(running(paged()))
    client.take(*n(7, 8), page(*items(6, 7, 8, 9)))
    assert numbers(client) == [6, 7, 8, 9]


def test_a_page_may_bring_what_is_held_behind_a_gap() -> None:
    client = back(running(paged()))
    client.take(*n(8), page(*items(8, 9)))
    assert numbers(client) == [("gap", 5, 8), 8, 9]


def test_history_may_come_as_ordinary_messages() -> None:
    client = back(running(plain()))
    assert client.requests() == [ask(5)]
    client.take(*n(9, 6, 7, 8, 9))
    assert numbers(client) == [6, 7, 8, 9]
    assert client.requests() == []


def test_without_pages_silence_means_that_nothing_was_missed() -> None:
    client = back(running(plain()))
    client.wait()
    assert client.out == []
    assert client.requests() == [ask(5)]
    assert client.strategy.deadline == math.inf


def test_a_hole_behind_the_whole_answer_is_asked_for_itself() -> None:
    client = back(running(paged()))
    client.take(*n(9), page(*items(6, 7)))
    assert numbers(client) == [6, 7]
    assert client.requests() == [ask(5), ask(7, 9)]
    client.take(page())
    assert numbers(client) == [("gap", 7, 9), 9]


def test_what_was_held_is_asked_for_again_after_a_lost_link() -> None:
    client = running(paged())
    client.take(*n(7))
    assert back(client).requests() == [ask(5, 7), ask(5)]
    client.take(page(*items(6, 7)))
    assert numbers(client) == [6, 7]


def test_requests_that_were_not_sent_are_not_for_the_next_link() -> None:
    client = running(plain())
    client.strategy.take(n(8)[0], client.now)
    client.end()
    assert client.requests() == []


def test_the_end_forgets_every_deadline() -> None:
    client = running(paged())
    client.take(*n(7))
    client.end()
    assert client.strategy.deadline == math.inf


# What is gone.


def test_a_history_that_is_gone_is_a_gap_up_to_its_oldest_item() -> None:
    client = back(running(paged()))
    client.take(page(*items(8, 9), gone=True))
    assert client.out[0] == Gap(
        stream="after",
        key=None,
        after=5,
        before=8,
        reason="the server's history does not reach back so far",
    )
    assert numbers(client) == [("gap", 5, 8), 8, 9]


def test_a_gap_ends_at_what_is_held_if_that_is_earlier() -> None:
    client = back(running(paged()))
    client.take(*n(7), page(*items(9), gone=True))
    assert numbers(client) == [("gap", 5, 7), 7, ("gap", 7, 9), 9]


def test_a_gap_ends_at_what_is_held_if_the_page_is_empty() -> None:
    client = back(running(paged()))
    client.take(*n(7, 9), page(gone=True))
    assert numbers(client) == [("gap", 5, 7), 7]
    assert client.requests() == [ask(5), ask(7, 9)]


def test_a_gap_without_anything_behind_it_ends_with_the_next_message() -> None:
    client = back(running(paged()))
    client.take(page(gone=True))
    assert numbers(client) == [("gap", 5, None)]
    client.take(*n(5, 20, 21))
    assert numbers(client) == [20, 21]


def test_what_is_held_and_in_the_history_as_well_is_delivered_once() -> None:
    client = back(running(paged()))
    client.take(*n(7, 8, 9), page(*items(8, 9), gone=True))
    assert numbers(client) == [("gap", 5, 7), 7, 8, 9]


def test_what_was_reported_as_lost_and_comes_late_is_dropped() -> None:
    client = back(running(paged()))
    client.take(page(*items(9), gone=True), *n(7, 8, 9, 10))
    assert numbers(client) == [("gap", 5, 9), 9, 10]


def test_what_was_lost_long_ago_shows_that_numbers_started_over() -> None:
    client = back(running(paged()))
    client.take(page(*items(5000), gone=True), *n(7))
    (gap, last, reset, first) = numbers(client)
    assert (gap, last, first) == (("gap", 5, 5000), 5000, 7)
    assert "reset" in str(reset)


def test_a_history_that_is_gone_loses_nothing_if_the_next_number_came() -> None:
    client = back(running(paged()))
    client.take(*n(6), page(gone=True), page(gone=True))
    assert numbers(client) == [6]


def test_a_history_that_is_said_to_be_gone_but_is_not_is_no_gap() -> None:
    client = back(running(paged()))
    client.take(page(*items(6), gone=True))
    assert numbers(client) == [6]


def test_a_hole_in_a_page_is_a_gap() -> None:
    client = back(running(paged()))
    client.take(page(*items(6, 8)))
    assert numbers(client) == [6, ("gap", 6, 8), 8]


def test_a_page_that_repeats_is_a_gap() -> None:
    client = back(running(paged()))
    client.take(page(*items(6), more=True), page(*items(6), more=True))
    assert numbers(client) == [6, ("gap", 6, None)]
    assert client.strategy.deadline == math.inf


def test_a_page_that_repeats_releases_what_is_held() -> None:
    client = back(running(paged()))
    client.take(*n(8, 10), page(more=True))
    assert numbers(client) == [("gap", 5, 8), 8, ("gap", 8, 10), 10]


def test_a_wrong_answer_is_a_gap() -> None:
    wrong = [page({"x": 1}), page(*items(6), {"n": -1}), page(*items(6), {"n": True})]
    for message in wrong:
        client = back(running(paged()))
        client.take(*n(8), message)
        (gap, _) = client.out
        assert isinstance(gap, Gap)
        assert gap.reason.startswith("the answer was wrong: it holds")
        assert numbers(client) == [("gap", 5, 8), 8]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (1, "the answer was wrong: page must give a Page or None, got 1"),
        (Page("ab"), "the answer was wrong: Page.items must be a list, got 'ab'"),
        (Page([1]), "the answer was wrong: it holds 1"),  # type: ignore[list-item]
        (Page(["{"]), "the answer was wrong: it holds '{'"),
        (
            Page([], key=["a"]),  # type: ignore[arg-type]
            "the answer was wrong: Page.key must be str, int or None, got ['a']",
        ),
        (
            Page([], key={}),  # type: ignore[arg-type]
            "the answer was wrong: Page.key must be str, int or None, got {}",
        ),
    ],
)
def test_a_page_of_a_wrong_shape_is_a_gap(answer: Page, reason: str) -> None:
    client = running(plain(page=lambda fields: answer if fields.get("page") else None))
    back(client)
    assert client.take(text(page=1)) == [True]
    (gap,) = client.out
    assert isinstance(gap, Gap)
    assert gap.reason == reason


def test_an_overdue_answer_is_asked_for_again_and_then_given_up() -> None:
    client = back(running(paged()))
    client.wait()
    client.take(*n(8, 10))
    client.wait()
    assert client.requests() == [ask(5), ask(5), ask(5, 8)]
    assert client.out == []
    client.wait()
    (gap, *_) = client.out
    assert isinstance(gap, Gap)
    assert gap.reason == "the server did not answer in time"
    assert numbers(client) == [("gap", 5, 8), 8, ("gap", 8, 10), 10]
    assert client.strategy.deadline == math.inf


def test_an_answer_that_never_comes_is_a_gap_with_an_open_end() -> None:
    client = back(running(paged(retries=0)))
    client.wait()
    assert numbers(client) == [("gap", 5, None)]


def test_an_answer_that_never_comes_is_no_gap_if_the_next_number_came() -> None:
    client = back(running(paged()))
    client.take(*n(6))
    client.wait()
    assert numbers(client) == [6]
    assert client.requests() == [ask(5)]
    assert client.strategy.deadline == math.inf


def test_an_expiry_that_comes_early_does_nothing() -> None:
    client = back(running(paged()))
    client.strategy.expire(client.now + 9)
    assert client.requests() == [ask(5)]


def test_a_late_page_is_dropped() -> None:
    client = back(running(paged(retries=0)))
    client.take(*n(8))
    client.wait()
    client.take(page(*items(6, 7)))
    assert numbers(client) == [("gap", 5, 8), 8]


def test_a_late_page_is_not_the_answer_to_a_newer_question() -> None:
    client = running(paged())
    client.take(*n(7))
    client.wait()
    client.take(*n(9), page(*items(6)))
    assert client.requests() == [ask(5, 7), ask(5, 7), ask(7, 9)]
    client.take(page(*items(6)))
    assert numbers(client) == [6, 7]
    client.take(page(*items(8)))
    assert numbers(client) == [8, 9]


def test_an_answer_after_a_late_one_counts() -> None:
    client = running(paged())
    client.take(*n(7))
    client.wait()
    client.take(*n(9), page(*items(6)), page(*items(6)), page())
    assert numbers(client) == [6, 7, ("gap", 7, 9), 9]


def test_a_request_that_cannot_be_made_is_given_up_in_time() -> None:
    def fail(ask: Ask) -> str:
        raise KeyError(ask.after)

    client = Client(After(fail, seq=seq_of, parse=read, page=page_of, retries=1))
    running(client).take(*n(8))
    client.wait()
    client.wait()
    assert numbers(client) == [("gap", 5, 8), 8]
    assert client.strategy.problems == ["request raised KeyError(5)"]


def test_an_answer_to_a_request_that_was_not_made_counts() -> None:
    client = Client(After(lambda _: 1, seq=seq_of, parse=read, page=page_of))  # type: ignore[arg-type,return-value]
    running(client).take(*n(8), page(*items(6, 7)))
    assert numbers(client) == [6, 7, 8]
    assert client.strategy.problems == ["request must give str or bytes, got 1"]


# What is held.


def test_a_full_hold_lets_the_newest_go_and_asks_for_it_later() -> None:
    client = running(paged(hold=2))
    client.take(*n(7, 9, 8, 12))
    assert client.requests() == [ask(5, 7)]
    client.take(page(*items(6)))
    assert numbers(client) == [6, 7, 8]
    assert client.requests() == [ask(8)]
    client.take(page(*items(9, 10, 11, 12)))
    assert numbers(client) == [9, 10, 11, 12]
    assert client.strategy.deadline == math.inf


def test_what_was_let_go_and_cannot_be_had_is_a_gap() -> None:
    client = running(paged(hold=1))
    client.take(*n(7, 8), page(*items(6)), page())
    assert numbers(client) == [6, 7, ("gap", 7, None)]
    client.take(*n(9))
    assert numbers(client) == [9]


def test_what_was_let_go_is_asked_for_even_if_the_hole_was_given_up() -> None:
    client = running(plain(hold=1, retries=0))
    client.take(*n(7, 8))
    client.wait()
    assert numbers(client) == [("gap", 5, 7), 7]
    assert client.requests() == [ask(5, 7), ask(7)]
    client.wait()
    assert numbers(client) == [("gap", 7, None)]


def test_a_reset_names_what_was_let_go() -> None:
    client = running(plain(hold=1))
    client.take(*n(7, 8), *n(5, other=1))
    assert numbers(client) == [("gap", 5, 7), 7, ("gap", 7, None), ("reset",), 5]


def test_what_was_let_go_is_asked_for_until_it_is_there() -> None:
    client = running(paged(hold=1))
    client.take(*n(7, 8, 9), page(*items(6)), page(*items(8)))
    assert client.requests() == [ask(5, 7), ask(7)]
    assert numbers(client) == [6, 7, 8]


def test_the_hold_is_for_all_keys_together() -> None:
    client = keyed(hold=1)
    client.begin()
    client.take(*n(1, 3, k="a"), *n(1, 3, 4, k="b"))
    assert client.requests() == [ask(1, 3, "a"), ask(1, None, "b")]
    client.take(page(*items(2, k="a")), page(*items(2, 3, 4, k="b")))
    assert numbers(client) == [1, 1, 2, 3, 2, 3, 4]
    client.take(*n(5, 7, k="a"), page(*items(4, k="a")))
    assert client.requests() == [ask(3, 5, "a"), ask(5, None, "a")]


def test_a_lost_link_makes_room_again() -> None:
    client = running(plain(hold=1))
    client.take(*n(7))
    back(client).take(*n(7, 6))
    assert numbers(client) == [6, 7]


def test_keys_are_bounded_and_the_oldest_ends_with_a_gap() -> None:
    client = keyed(keys=1)
    client.begin()
    client.take(*n(1, 3, k="a"), *n(8, k="b"))
    assert numbers(client) == [1, ("gap", "a", 1, 3), 3, ("gap", "a", 3, None), 8]
    client.strategy.restore({"cursors": [["b", [None, 9]]]})
    assert client.out == []
    assert back(client).requests()[-1] == ask(9, key="b")


# The position.


def test_the_position_moves_when_a_delivery_is_handled() -> None:
    client = plain(epoch=epoch_of)
    client.begin()
    client.take(*n(5, 6, e="a"))
    assert client.strategy.position == {"cursors": []}
    client.strategy.handled(client.out[0].mark)  # type: ignore[union-attr]
    assert client.strategy.position == {"cursors": [[None, ["a", 5]]]}
    client.handle()
    assert client.strategy.position == {"cursors": [[None, ["a", 6]]]}


def test_a_new_process_goes_on_after_what_was_handled() -> None:
    client = keyed()
    client.begin()
    client.take(*n(5, k="a"), *n(7, k=3))
    client.handle()
    client.take(*n(6, k="a"))
    restored = keyed()
    restored.strategy.restore(json.loads(json.dumps(client.strategy.position)))
    assert restored.strategy.position == client.strategy.position
    restored.begin()
    assert restored.requests() == [ask(5, key="a"), ask(7, key=3)]
    restored.take(page(*items(6, k="a")))
    assert numbers(restored) == [6]


def test_what_was_released_is_not_asked_for_again_on_a_new_link() -> None:
    client = running(plain())
    client.take(*n(6))
    assert back(client).requests() == [ask(6)]


def test_the_positions_of_forgotten_keys_are_forgotten() -> None:
    client = keyed(keys=1)
    client.begin()
    client.take(*n(1, k="a"), *n(1, k="b"))
    client.handle()
    assert client.strategy.position == {"cursors": [["b", [None, 1]]]}


@pytest.mark.parametrize(
    "position",
    [
        None,
        [],
        {},
        {"cursors": None},
        {"cursors": [1]},
        {"cursors": [["k"]]},
        {"cursors": [["k", 5]]},
        {"cursors": [["k", [5]]]},
        {"cursors": [["k", [None, "5"]]]},
        {"cursors": [["k", [None, -1]]]},
        {"cursors": [["k", [1.5, 5]]]},
        {"cursors": [[1.5, [None, 5]]]},
    ],
)
def test_a_wrong_position_is_refused(position: object) -> None:
    client = plain()
    with pytest.raises(UsageError, match="a position of 'after' must be"):
        client.strategy.restore(position)
    client.begin()
    assert client.requests() == []


# What is somebody else's.


def test_a_message_without_a_number_is_somebody_elses() -> None:
    client = keyed(epoch=epoch_of)
    client.begin()
    assert client.take(text(x=1), *n(1), *n(1, k="a")) == [False, False, False]
    assert client.out == []
    assert client.strategy.problems == []


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"n": True}, "seq must give a whole number of 0 or more or None, got True"),
        ({"n": 1.0}, "seq must give a whole number of 0 or more or None, got 1.0"),
        ({"n": "1"}, "seq must give a whole number of 0 or more or None, got '1'"),
        ({"n": -1}, "seq must give a whole number of 0 or more or None, got -1"),
        ({"n": 1, "k": [1]}, "key must give str or int or None, got [1]"),
        ({"n": 1, "k": 1, "e": [1]}, "epoch must give str or int or None, got [1]"),
    ],
)
def test_an_unfit_value_is_noted_once(fields: Fields, problem: str) -> None:
    client = keyed(epoch=epoch_of)
    client.begin()
    assert client.take(text(**fields), text(**fields)) == [False, False]
    assert client.strategy.problems == [problem]


def test_a_message_that_cannot_be_parsed_is_somebody_elses() -> None:
    client = plain()
    assert client.take("{", "[", "null") == [False, False, False]
    (problem,) = client.strategy.problems
    assert problem.startswith("parse raised JSONDecodeError(")


def test_a_selector_that_raises_is_noted_and_the_message_is_somebody_elses() -> None:
    client = Client(After(request, seq=lambda fields: fields["n"]))
    assert client.take('{"x": 1}', "1", '{"n": 1}') == [False, False, True]
    assert client.strategy.problems == ["seq raised KeyError('n')"]


def test_a_page_callable_that_raises_found_no_page() -> None:
    client = Client(After(request, seq=seq_of, parse=read, page=lambda fields: fields["page"]))  # type: ignore[arg-type,return-value]
    assert client.take(*n(1)) == [True]
    assert client.strategy.problems == ["page raised KeyError('page')"]


# The fallback.


def with_fallback(**arguments: object) -> Client:
    fallback = Latest("snapshot?", version=lambda fields: fields.get("v"), name="snapshot")
    return paged(fallback=fallback, **arguments)


def test_the_fallback_begins_after_a_gap() -> None:
    client = back(running(with_fallback()))
    assert client.take(text(v=1)) == [False]
    client.take(page(*items(8), gone=True))
    assert client.asked[1:] == ["snapshot?"]
    assert client.take(text(v=1), *n(9), text(v=2), text(v=1)) == [True] * 4
    assert client.outputs(lambda fields: fields.get("n") or fields["v"]) == [
        ("gap", 5, 8), 8, 1, 9, 2,
    ]  # fmt: skip
    assert client.take(text(x=1)) == [False]


def test_the_fallback_begins_after_a_reset() -> None:
    client = running(with_fallback())
    client.take(*n(5, other=1))
    assert client.asked == ["snapshot?"]


def test_the_fallback_begins_once_until_it_is_answered() -> None:
    client = running(with_fallback())
    client.take(*n(5, other=1), *n(5, other=2))
    assert client.asked == ["snapshot?"]
    client.take(text(v=1), *n(5, other=3))
    assert client.asked == ["snapshot?", "snapshot?"]


def test_the_fallback_begins_with_the_next_link_if_it_was_not_answered() -> None:
    client = running(with_fallback())
    client.take(*n(5, other=1))
    assert back(client).asked.count("snapshot?") == 2
    client.take(text(v=1))
    assert back(client).asked.count("snapshot?") == 2


def test_a_fallback_that_was_still_fetching_begins_with_the_next_link() -> None:
    inner = After(request, seq=lambda fields: fields.get("m"), start=0, name="inner")
    client = running(plain(fallback=inner))
    client.take(*n(5, other=1), text(m=1))
    assert client.strategy.deadline == client.now + 10
    assert back(client).requests() == [ask(0), ask(5), ask(1)]
    client.take(text(m=2))
    client.wait()
    assert client.strategy.deadline == math.inf
    assert back(client).requests() == [ask(5)]


def test_the_deadline_and_the_problems_of_the_fallback_are_passed_on() -> None:
    inner = After(request, seq=lambda fields: fields["m"], start=0, retries=1, name="inner")
    client = running(plain(fallback=inner))
    client.take(*n(5, other=1), text(x=1), text(m=3))
    assert client.strategy.problems == ["seq raised KeyError('m')"]
    assert inner.problems == []
    client.wait(5)
    client.take(*n(7))
    client.out.clear()
    client.wait(5)
    assert client.requests() == [ask(0), ask(5, 7), ask(0, 3)]
    client.wait(5)
    assert client.requests() == [ask(5, 7)]
    client.wait(5)
    assert client.outputs(lambda fields: fields.get("m")) == [("gap", 0, 3), 3]


def test_the_position_holds_that_of_the_fallback() -> None:
    client = running(with_fallback())
    client.take(*n(5, other=1), text(v=7))
    client.handle()
    position = {"cursors": [[None, [None, 5]]], "fallback": [[None, 7]]}
    assert client.strategy.position == position
    restored = with_fallback()
    restored.strategy.restore(position)
    restored.begin()
    assert restored.asked[1:] == ["snapshot?"]
    assert restored.take(text(v=7)) == [True]
    assert restored.out == []


def test_a_position_of_a_fallback_that_is_no_more_is_passed_over() -> None:
    client = plain()
    client.strategy.restore({"cursors": [], "fallback": [[None, 7]]})
    client.begin()
    assert client.requests() == []


# The arguments.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"timeout": 0}, "After.timeout must be finite and above 0 seconds, got 0"),
        ({"timeout": math.inf}, "After.timeout must be finite and above 0 seconds, got inf"),
        ({"timeout": "1"}, "After.timeout must be finite and above 0 seconds, got '1'"),
        ({"retries": -1}, "After.retries must be a whole number of 0 or more, got -1"),
        ({"retries": True}, "After.retries must be a whole number of 0 or more, got True"),
        ({"hold": 0}, "After.hold must be a whole number of 1 or more, got 0"),
        ({"keys": 0}, "After.keys must be a whole number of 1 or more, got 0"),
        ({"start": -2}, "After.start must be a whole number of -1 or more, got -2"),
        ({"epoch": 1}, "After.epoch must be callable, or None for none, got 1"),
        ({"seq": None}, "After.seq must be callable, got None"),
        ({"fallback": 1}, "After.fallback must be a Strategy, or None for none, got 1"),
        ({"name": ""}, "After.name must be a text, or None for the default, got ''"),
    ],
)
def test_a_wrong_argument_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        After(request, **{"seq": seq_of, "parse": read, **arguments})  # type: ignore[arg-type]


def test_the_default_name_is_that_of_the_class() -> None:
    assert After(request, seq=seq_of, parse=read).name == "after"
    assert After(request, seq=seq_of, parse=read, name="x").name == "x"


def test_a_foreign_mark_is_nobodys() -> None:
    client = with_fallback()
    client.strategy.handled("x")
    assert client.strategy.position == {"cursors": []}
