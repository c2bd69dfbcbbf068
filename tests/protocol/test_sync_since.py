"""Stamped messages: fetched from a little before the newest, and told apart by their ids."""

from __future__ import annotations

import json
import math
import re

import pytest

from statews.errors import UsageError
from statews.protocol.sync import Delivery, Gap, Latest, Page, Since

from .sync_stamps import (
    back,
    ids,
    item,
    items,
    live,
    paged,
    replayed,
    request,
    running,
    stamp_of,
)
from .sync_streams import Client, Fields, page, page_of, read, text

# With pages.


def test_the_first_fetch_has_no_cursor() -> None:
    client = paged()
    client.begin()
    assert client.requests() == [None]
    client.take(page(*items(1, 2)))
    assert ids(client) == ["1", "2"]
    assert client.strategy.deadline == math.inf


def test_a_fetch_begins_the_overlap_before_the_newest_stamp() -> None:
    assert back(running(paged())).requests() == [98]
    assert back(running(paged(overlap=0))).requests() == [100]


def test_what_was_released_is_dropped_by_its_id() -> None:
    client = back(running(paged(), 99, 100))
    client.take(page(*items(98, 99, 100, 101, 101)))
    assert ids(client) == ["98", "101"]


def test_live_messages_are_held_until_the_last_page() -> None:
    client = back(running(paged()))
    assert client.take(*live(105, 104, 105)) == [True] * 3
    assert ids(client) == []
    client.take(page(*items(101, 102), more=True))
    assert ids(client) == ["101", "102"]
    client.take(page(*items(102, 103, 104)))
    assert ids(client) == ["103", "104", "105"]


def test_the_next_page_is_asked_for_from_the_newest_item_on() -> None:
    client = back(running(paged()))
    client.take(page(*items(99, 100, 101), more=True))
    assert client.requests() == [98, 101]


def test_a_page_of_what_is_known_is_passed_over() -> None:
    client = back(running(paged(), 99, 100))
    client.take(page(*items(99), more=True), page(*items(100), more=True), page(*items(101)))
    assert client.requests() == [98, 99, 100]
    assert ids(client) == ["101"]


def test_a_page_that_repeats_is_a_gap() -> None:
    client = back(running(paged()))
    client.take(page(*items(101), more=True), *live(104, 103), page(*items(101), more=True))
    assert client.requests() == [98, 101]
    (_, gap, *_) = client.out
    assert isinstance(gap, Gap)
    assert gap.reason == "the server promises more and gives nothing new"
    assert ids(client) == ["101", ("gap", 101, 103), "103", "104"]


def test_a_history_that_is_gone_is_a_gap_before_its_items() -> None:
    client = back(running(paged()))
    client.take(*live(109), page(*items(105, 106), gone=True))
    assert client.out[0] == Gap(
        stream="since",
        key=None,
        after=100,
        before=105,
        reason="the server's history does not reach back so far",
    )
    assert ids(client) == [("gap", 100, 105), "105", "106", "109"]


def test_what_is_held_and_older_than_the_history_is_not_lost_and_comes_first() -> None:
    client = back(running(paged()))
    client.take(*live(103, 104, 105), page(*items(105), gone=True))
    assert ids(client) == [("gap", 100, 103), "103", "104", "105"]
    client = paged()
    client.begin()
    client.take(*live(3, 4), page(*items(4)))
    assert ids(client) == ["3", "4"]


def test_a_history_that_is_gone_and_empty_ends_the_gap_at_what_is_held() -> None:
    client = back(running(paged()))
    client.take(*live(99, 109), page(gone=True))
    assert ids(client) == [("gap", 100, 109), "99", "109"]


def test_a_history_that_is_gone_and_empty_may_leave_the_end_open() -> None:
    client = back(running(paged()))
    client.take(page(gone=True))
    assert ids(client) == [("gap", 100, None)]


def test_a_history_that_reaches_back_to_what_is_known_has_no_gap() -> None:
    client = back(running(paged()))
    client.take(page(*items(100, 101), gone=True))
    assert ids(client) == ["101"]


def test_a_history_that_ends_within_the_overlap_has_a_gap_there() -> None:
    client = back(running(paged()))
    client.take(page(*items(99, 101), gone=True))
    assert ids(client) == [("gap", 99, 99), "99", "101"]


def test_a_gap_at_the_very_beginning_has_no_end_before_it() -> None:
    client = paged()
    client.begin()
    client.take(page(*items(5), gone=True))
    assert ids(client) == [("gap", None, 5), "5"]


def test_too_many_live_messages_are_let_go_and_fetched() -> None:
    client = back(running(paged(hold=2)))
    client.take(*live(103, 104, 105, 106), page(*items(101, 102, 103)))
    assert ids(client) == ["101", "102", "103"]
    assert client.requests() == [98, 101]
    client.take(*live(107), page(*items(103, 104, 105, 106)))
    assert ids(client) == ["104", "105", "106", "107"]


def test_too_many_live_messages_that_history_does_not_have_are_a_gap() -> None:
    client = back(running(paged(hold=1)))
    client.take(*live(103, 104), page())
    assert ids(client) == [("gap", 100, None)]
    client.take(*live(105))
    assert ids(client) == ["105"]


def test_a_flood_during_a_fetch_that_is_given_up_is_a_gap() -> None:
    client = back(running(paged(hold=1, retries=0)))
    client.take(*live(103, 104))
    client.wait()
    assert ids(client) == [("gap", 100, None)]


def test_an_overdue_answer_is_asked_for_again_and_then_given_up() -> None:
    client = back(running(paged(retries=1)))
    client.take(*live(103, 102))
    client.wait()
    assert client.requests() == [98, 98]
    client.wait()
    (gap, *_) = client.out
    assert isinstance(gap, Gap)
    assert gap.reason == "the server did not answer in time"
    assert ids(client) == [("gap", 100, 102), "102", "103"]
    assert client.strategy.deadline == math.inf


def test_a_wrong_answer_is_a_gap() -> None:
    client = back(running(paged()))
    client.take(*live(103), page(item(101), {"id": "x"}))
    (gap, *_) = client.out
    assert isinstance(gap, Gap)
    assert gap.reason.startswith("the answer was wrong: it holds")
    assert ids(client) == [("gap", 100, 103), "103"]


def test_a_late_page_is_dropped() -> None:
    client = back(running(paged()))
    client.wait()
    client.take(page(*items(101)), page(*items(101, 102)), page(*items(103)))
    assert ids(client) == ["101"]


def test_a_late_page_is_not_the_answer_to_a_newer_request() -> None:
    client = back(running(paged()))
    client.wait()
    client.take(page(*items(101), more=True), page(*items(101), more=True), page(*items(102)))
    assert client.requests() == [98, 98, 101]
    assert ids(client) == ["101", "102"]


def test_held_messages_are_let_go_when_the_link_is_lost() -> None:
    client = back(running(paged()))
    client.take(*live(103))
    back(client).take(page(*items(101, 103)))
    assert ids(client) == ["101", "103"]


def test_a_lost_link_fetches_again_from_the_last_page() -> None:
    client = back(running(paged()))
    client.take(page(*items(105), more=True))
    assert back(client).requests() == [98, 105, 103]


def test_a_request_that_cannot_be_made_is_given_up_in_time() -> None:
    client = Client(Since(lambda _: 1 / 0, stamp=stamp_of, page=page_of, parse=read, retries=0))  # type: ignore[arg-type,return-value]
    client.begin()
    client.wait()
    assert ids(client) == [("gap", None, None)]
    assert client.strategy.problems == ["request raised ZeroDivisionError('division by zero')"]


def test_an_answer_to_a_request_that_was_not_made_counts() -> None:
    client = Client(Since(lambda _: 1, stamp=stamp_of, page=page_of, parse=read))  # type: ignore[arg-type,return-value]
    client.begin()
    client.take(page(*items(1)))
    assert ids(client) == ["1"]


# Without pages.


def test_history_may_come_among_live_messages() -> None:
    client = back(running(replayed()))
    assert client.requests() == [98]
    client.take(*live(150, 99, 100, 101, 102))
    assert ids(client) == ["150", "99", "101", "102"]


def test_a_link_lost_during_a_replay_is_fetched_from_the_same_cursor() -> None:
    client = back(running(replayed()))
    client.take(*live(150, 101))
    assert back(client).requests() == [98, 98]
    client.take(*live(101, 102, 150))
    assert ids(client) == ["150", "101", "102"]


def test_a_replay_lasts_while_stamps_go_back() -> None:
    client = back(running(replayed()))
    client.take(*live(150))
    client.wait(9)
    client.take(*live(101))
    client.wait(9)
    assert back(client).requests() == [98, 98]
    client.wait(10)
    assert back(client).requests() == [148]


def test_the_position_waits_for_the_end_of_the_replay() -> None:
    client = back(running(replayed()))
    client.take(*live(150, 101))
    client.handle()
    client.wait()
    client.take(*live(151))
    assert client.strategy.position == {"stamp": 100, "ids": ["150", "101"]}
    client.handle()
    assert client.strategy.position == {"stamp": 151, "ids": ["150", "151"]}


# What is live.


def test_a_duplicate_is_dropped_by_its_id() -> None:
    client = running(replayed())
    assert client.take(text(t=101, id=1), text(t=102, id=1), text(t=101, id=2)) == [True] * 3
    assert ids(client) == [1, 2]


def test_without_ids_messages_are_told_apart_by_their_content() -> None:
    client = Client(Since(request, stamp=stamp_of, parse=read))
    client.begin()
    client.take(*live(1, 1), b'{"t": 1, "id": 2}', b'{"t": 1, "id": 2}', text(t=1, id=3))
    assert ids(client) == ["1", 2, 3]


def test_a_stamp_that_goes_far_back_is_delivered_and_noted() -> None:
    client = running(replayed())
    client.take(*live(98))
    assert client.strategy.problems == []
    client.take(*live(97, 96))
    assert ids(client) == ["98", "97", "96"]
    assert client.strategy.problems == ["a stamp went back by more than the overlap, to 97"]
    assert back(client).requests() == [98]


def test_the_message_delivered_is_the_one_that_came() -> None:
    client = running(replayed())
    (message,) = live(101)
    client.take(message)
    (delivery,) = client.out
    assert isinstance(delivery, Delivery)
    assert delivery.message is message
    assert delivery.replaces is None


def test_ids_are_remembered_for_twice_the_overlap_and_two_fetches() -> None:
    client = running(replayed(), 100, 200)
    for fetch in range(3):
        back(client).wait()
        client.take(*live(201 + 10 * fetch, 100))
    assert ids(client) == ["201", "211", "100", "221"]


def test_of_too_many_ids_the_oldest_is_forgotten() -> None:
    client = running(replayed(hold=1))
    client.take(*(text(t=101, id=name) for name in range(1000, 11_001)))
    client.handle()
    client.take(text(t=101, id=1001), text(t=101, id=1000))
    assert ids(client) == [1000]
    position = client.strategy.position
    assert isinstance(position, dict)
    assert len(position["ids"]) == 10_000


# The position.


def test_the_position_moves_when_a_delivery_is_handled() -> None:
    client = running(paged(hold=2), 97, 100)
    assert client.strategy.position == {"stamp": None, "ids": []}
    client.take(*live(101))
    client.strategy.handled("no mark")
    client.handle()
    assert client.strategy.position == {"stamp": 101, "ids": ["101"]}
    client.take(*live(102, 107))
    client.handle()
    assert client.strategy.position == {"stamp": 107, "ids": ["107"]}


def test_a_new_process_goes_on_after_what_was_handled() -> None:
    client = running(paged())
    client.take(*live(101))
    client.handle()
    client.take(*live(102))
    restored = paged()
    restored.strategy.restore(json.loads(json.dumps(client.strategy.position)))
    assert restored.strategy.position == client.strategy.position
    restored.begin()
    assert restored.requests() == [99]
    restored.take(page(*items(101, 102)))
    assert ids(restored) == ["102"]


def test_during_the_first_replay_the_position_has_no_stamp() -> None:
    client = replayed()
    client.begin()
    client.take(*live(5, 4))
    client.handle()
    assert client.strategy.position == {"stamp": None, "ids": ["5", "4"]}


def test_a_position_without_a_stamp_still_knows_its_ids() -> None:
    client = replayed()
    client.strategy.restore({"stamp": None, "ids": ["1"]})
    client.begin()
    assert client.requests() == [None]
    client.take(*live(1, 2))
    assert ids(client) == ["2"]


@pytest.mark.parametrize(
    "position",
    [
        None,
        {},
        {"stamp": 1},
        {"stamp": "1", "ids": []},
        {"stamp": True, "ids": []},
        {"stamp": math.nan, "ids": []},
        {"stamp": 1, "ids": "ab"},
        {"stamp": 1, "ids": [1]},
    ],
)
def test_a_wrong_position_is_refused(position: object) -> None:
    client = replayed()
    right = "a position of 'since' must be .*; without `restore` the stream begins anew$"
    with pytest.raises(UsageError, match=right):
        client.strategy.restore(position)


# What is somebody else's, the fallback, the arguments.


def test_a_message_without_stamp_or_id_is_somebody_elses() -> None:
    client = replayed()
    assert client.take(text(id=1), text(t=1), "{") == [False] * 3


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"t": "1", "id": 1}, "stamp must give a finite number or None, got '1'"),
        ({"t": math.inf, "id": 1}, "stamp must give a finite number or None, got inf"),
        ({"t": 10**400, "id": 1}, f"stamp must give a finite number or None, got 1{'0' * 199}"),
        ({"t": 1, "id": [1]}, "id must give something hashable or None, got [1]"),
    ],
)
def test_an_unfit_value_is_noted_once(fields: Fields, problem: str) -> None:
    client = replayed()
    assert client.take(text(**fields), text(**fields)) == [False, False]
    assert client.strategy.problems == [problem]


def test_the_fallback_begins_after_a_gap() -> None:
    fallback = Latest("snapshot?", version=lambda fields: fields.get("v"))
    client = back(running(paged(fallback=fallback)))
    client.take(page(gone=True))
    assert client.asked[-1] == "snapshot?"
    assert client.take(text(v=1)) == [True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"overlap": -1}, "Since.overlap must be finite and 0 or more, got -1"),
        ({"overlap": math.inf}, "Since.overlap must be finite and 0 or more, got inf"),
        ({"stamp": None}, "Since.stamp must be callable, got None"),
        ({"request": "?"}, "Since.request must be callable, got '?'"),
        ({"page": Page([])}, "Since.page must be callable, or None for none"),
    ],
)
def test_a_wrong_argument_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        Since(**{"request": request, "stamp": stamp_of, **arguments})  # type: ignore[arg-type]
