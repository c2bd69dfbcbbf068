"""What a session asks of strategies: its links may lose a request, and come long after it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from statews.protocol.sync import After, Gap, Latest

from .sync_stamps import ids, items, live, paged, replayed, running
from .sync_streams import Client, Fields, page, page_of, read, text


def numbered(**arguments: object) -> Client:
    """A stream of numbers from 1 on, with keys if need be."""
    return Client(
        After(
            lambda ask: text(key=ask.key, after=ask.after, before=ask.before),
            seq=seq_of,
            parse=read,
            **{"start": 0, "page": page_of, **arguments},  # type: ignore[arg-type]
        )
    )


def seq_of(fields: Fields) -> int | None:
    return fields.get("n")  # type: ignore[return-value]


def version_of(fields: Fields) -> int | None:
    return fields.get("v")  # type: ignore[return-value]


def asked(after: int, before: int | None = None, key: str | None = None) -> Fields:
    return {"key": key, "after": after, "before": before}


def n(*numbers: int) -> list[Fields]:
    return [{"n": number} for number in numbers]


def texts(*numbers: int) -> list[str]:
    return [text(n=number) for number in numbers]


def numbers(client: Client) -> list[object]:
    return client.outputs(seq_of)


# A request that may be lost.


@pytest.mark.parametrize("retries", [0, 2])
def test_a_fetch_is_made_again_and_no_retry_is_spent(retries: int) -> None:
    client = paged(retries=retries)
    client.begin()
    client.now += 9
    for _ in range(5):
        client.repeat()
    assert client.requests() == [None] * 6
    for _ in range(retries):
        client.wait()
    client.wait(9.9)
    assert client.out == []
    client.wait(0.1)
    assert [type(each) for each in client.out] == [Gap]


def test_either_answer_to_a_fetch_made_again_will_do() -> None:
    for answers in (1, 2):
        client = running(paged(overlap=0.0))
        client.end()
        client.begin()
        client.repeat()
        client.take(*[page()] * answers)
        client.take(*live(101))
        assert ids(client) == ["101"]
        assert client.strategy.deadline == math.inf


def test_where_an_answer_may_be_the_second_it_is_asked_again() -> None:
    client = paged(retries=0, overlap=0.0)
    client.begin()
    client.repeat()
    client.take(page(*items(1), more=True), page(*items(1)))
    assert client.requests() == [None, None, 1, 1]
    client.take(page(*items(1)))
    assert ids(client) == ["1"]
    assert client.strategy.deadline == math.inf


def test_a_replay_that_is_not_over_is_asked_for_again_and_has_its_whole_time() -> None:
    client = replayed()
    client.begin()
    client.now += 9
    client.repeat()
    assert client.requests() == [None, None]
    assert client.strategy.deadline == client.now + 10


def test_each_open_question_is_asked_again_and_no_retry_is_spent() -> None:
    client = numbered(retries=0, key=lambda fields: fields.get("k"), start=None)
    client.take(*(text(n=number, k=key) for key in "ab" for number in (1, 3)))
    client.take(text(n=2, k="a"))
    client.requests()
    client.now += 9
    client.repeat()
    assert client.requests() == [asked(1, 3, "b")]
    assert client.strategy.deadline == client.now + 10
    client.take(page({"n": 2, "k": "b"}))
    assert numbers(client) == [1, 1, 2, 3, 2, 3]


def test_an_answer_that_may_be_the_second_is_not_taken_for_that_to_a_later_question() -> None:
    client = numbered(retries=0)
    client.begin()
    client.repeat()
    client.take(page(*n(1)))
    client.take(*texts(3))
    client.requests()
    client.take(page(*n(1)))  # the second
    assert client.requests() == [asked(1, 3)]
    client.take(page(*n(2)))
    assert numbers(client) == [1, 2, 3]


def test_what_is_not_open_is_not_asked_again() -> None:
    for client in (numbered(), paged(), replayed()):
        client.begin()
        client.take(page())
        client.wait(10)
        client.requests()
        client.repeat()
        assert client.requests() == []


def test_the_newest_value_is_asked_for_again() -> None:
    client = Client(Latest('"?"'))
    client.begin()
    client.repeat()
    assert client.requests() == ["?", "?"]


def test_a_fallback_that_waits_for_an_answer_asks_again() -> None:
    client = numbered(fallback=Latest('"?"', version=version_of, parse=read))
    client.begin()
    client.repeat()
    assert client.requests() == [asked(0)] * 2
    client.take(page(gone=True))
    client.repeat()
    assert client.requests() == ["?", "?"]
    client.take(text(v=1))
    client.repeat()
    assert client.requests() == []


# A link that comes after the time.


@pytest.mark.parametrize("make", [numbered, paged, replayed])
def test_an_answer_that_could_not_come_has_its_whole_time_again(
    make: Callable[[], Client],
) -> None:
    client = make()
    client.begin()
    client.now += 100
    client.prolong()
    assert client.strategy.deadline == client.now + 10
    assert len(client.requests()) == 1
    assert client.out == []


@pytest.mark.parametrize("make", [numbered, paged, replayed])
def test_who_waits_for_nothing_needs_no_time(make: Callable[[], Client]) -> None:
    client = make()
    client.prolong()
    assert client.strategy.deadline == math.inf


def test_a_fallback_has_its_whole_time_again() -> None:
    inner = After[Fields](str, seq=lambda fields: fields.get("m"), start=0, parse=read)  # type: ignore[arg-type,return-value]
    client = numbered(fallback=inner)
    client.begin()
    client.take(page(gone=True))
    client.now += 100
    client.prolong()
    assert inner.deadline == client.now + 10


# Messages that are lost between two links.


def test_what_is_held_stays_and_an_answer_from_before_does_not_count() -> None:
    for client, before, after in (
        (paged(overlap=0.0), page(*items(1)), page(*items(1, 2))),
        (numbered(), page(*n(1)), page(*n(1, 2))),
    ):
        client.begin()
        client.take(*live(3), *texts(3))
        client.miss()
        assert len(client.requests()) == 2
        client.take(before)
        assert client.out == []
        assert len(client.requests()) == 1  # it may have been the one to the second
        client.take(after)
        assert len(client.out) == 3
        assert client.strategy.deadline == math.inf
        client.take(after, page())
        assert (len(client.out), client.strategy.deadline) == (3, math.inf)


def test_no_retry_is_spent_on_an_answer_that_is_lost_as_well() -> None:
    for client, answer in (
        (paged(retries=0), page(*items(1))),
        (numbered(retries=0), page(*n(1))),
    ):
        client.begin()
        client.miss()
        client.miss()
        client.take(answer, answer)
        assert client.out == []
        client.wait(9)
        client.take(answer)
        assert [type(each).__name__ for each in client.out] == ["Delivery"]
        assert client.strategy.deadline == math.inf


@pytest.mark.parametrize("make", [numbered, paged])
def test_a_wrong_answer_from_before_does_not_count_either(make: Callable[[], Client]) -> None:
    client = make()
    client.begin()
    client.miss()
    client.take(page({"x": 1}))
    assert client.out == []
    client.take(page({"x": 1}))
    assert [type(each) for each in client.out] == [Gap]


@pytest.mark.parametrize("make", [numbered, paged])
def test_where_nothing_was_asked_the_first_answer_counts(make: Callable[[], Client]) -> None:
    client = make()
    client.begin()
    client.take(page())
    client.miss()
    client.take(page())
    assert client.strategy.deadline == math.inf
    assert len(client.requests()) == 2


def test_a_replay_begins_anew() -> None:
    client = running(replayed(overlap=2.0))
    client.miss()
    client.take(*live(101))
    client.now += 9
    client.miss()
    assert client.requests() == [98, 98]
    assert client.strategy.deadline == client.now + 10


def test_each_run_of_stamps_that_is_held_has_a_gap_before_it() -> None:
    for answer in ((), (page(gone=True),) * 3):
        client = running(paged(retries=0, overlap=0.0))
        client.end()
        client.begin()
        client.take(*live(103, 104))
        client.miss()
        client.take(*live(106))
        client.miss()
        client.take(*answer)
        client.wait()
        assert ids(client) == [
            ("gap", 100, 103), "103", "104", ("gap", 104, 106), "106", ("gap", 106, None),
        ]  # fmt: skip


def test_a_run_that_is_not_beyond_the_newest_stamp_has_no_gap_of_its_own() -> None:
    client = running(paged(retries=0))
    client.end()
    client.begin()
    client.take(*live(99.5))
    client.miss()
    client.take(*live(106))
    client.wait()
    assert ids(client) == ["99.5", ("gap", 100, 106), "106"]


def test_a_history_that_begins_amid_what_is_held_has_what_was_lost_behind() -> None:
    client = running(paged(overlap=0.0))
    client.end()
    client.begin()
    client.take(*live(103, 106))
    client.miss()
    client.take(*live(108))
    client.take(page(), page(*items(105, 106, 107, 108), gone=True))
    assert ids(client) == [("gap", 100, 103), "103", "105", "106", "107", "108"]


def test_too_many_held_stay_too_many() -> None:
    client = paged(hold=1, overlap=0.0)
    client.begin()
    client.take(*live(1))
    client.miss()
    client.take(*live(3))
    client.miss()
    client.take(page(), page(), page(*items(1, 2, 3)))
    client.take(page(), page(), page(*items(3)))
    assert ids(client) == ["1", "2", "3"]


def test_all_there_are_is_asked_for_whatever_is_held() -> None:
    client = numbered()
    client.begin()
    client.take(page(), *texts(2))
    client.miss()
    assert client.requests() == [asked(0), asked(0, 2), asked(0)]
    client.take(page(*n(1)))
    assert client.requests() == [asked(0)]
    client.take(page(*n(1), more=True))
    assert client.requests() == [asked(2)]
    client.take(page(*n(1)), page(*n(3)), page(*n(3)))
    assert numbers(client) == [1, 2, 3]
    assert client.strategy.deadline == math.inf


def test_where_the_history_is_gone_it_is_asked_behind_what_is_held() -> None:
    client = numbered()
    client.take(*texts(1, 3))
    client.take(page())
    client.out.clear()
    client.take(*texts(5))
    client.requests()
    client.miss()
    client.take(page(gone=True), page(gone=True))
    assert client.requests() == [asked(3), asked(3), asked(5)]
    client.take(page(gone=True), page(gone=True))
    assert numbers(client) == [("gap", 3, 5), 5, ("gap", 5, None)]


def test_without_an_answer_what_lies_behind_all_that_is_held_is_lost() -> None:
    client = numbered(retries=0)
    client.take(*texts(1, 3))
    client.miss()
    client.wait()
    assert numbers(client) == [1, ("gap", 1, 3), 3, ("gap", 3, None)]
    assert client.strategy.deadline == math.inf


def test_silence_shows_that_nothing_more_was_lost() -> None:
    client = numbered(retries=0, page=None)
    client.take(*texts(1, 3))
    client.miss()
    client.wait()
    assert numbers(client) == [1, ("gap", 1, 3), 3]


def test_a_page_that_was_asked_for_before_others_came_in_does_not_repeat() -> None:
    client = numbered(retries=0)
    client.begin()
    client.take(*texts(1, 2))
    client.repeat()
    client.take(page(*n(1), more=True))
    assert numbers(client) == [1, 2]
    client.take(page(*n(3)))
    assert numbers(client) == [3]


def test_a_fallback_that_waits_for_an_answer_asks_again_for_what_is_lost() -> None:
    client = numbered(fallback=Latest('"?"', version=version_of, parse=read))
    client.begin()
    client.take(page(gone=True))
    client.requests()
    client.miss()
    assert client.requests() == [asked(0), "?"]
    client.take(text(v=1))
    client.miss()
    assert client.requests() == [asked(0)]
