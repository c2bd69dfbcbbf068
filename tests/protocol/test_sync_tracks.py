"""Numbers of several keys: each key is asked for, closed and reported by itself."""

from __future__ import annotations

import math

import pytest

from statews.protocol.sync import After, Ask, Delivery, Gap, Reset
from statews.protocol.sync.strategy import Key, Outcome
from statews.protocol.sync.track import Held, Item, Likeness, Room, Track

from .sync_streams import Client, Fields, page, page_of, read, text

GONE = "the server's history does not reach back so far"
MISSING = "the server's history does not have it"
REPEATS = "the server promises more and gives nothing new"
SILENT = "the server did not answer in time"
ANOTHER_EPOCH = "the epoch changed"
TWICE = "a number came again with another content"
WENT_BACK = "the numbers went back"
TOO_MANY = "there are too many keys to remember this one"
WRONG = "the answer was wrong: it holds '{\"x\": 1}'"


def request(ask: Ask) -> str:
    return text(key=ask.key, after=ask.after, before=ask.before, epoch=ask.epoch)


def seq_of(fields: Fields) -> int | None:
    seq = fields.get("n")
    return seq if isinstance(seq, int) else None


def key_of(fields: Fields) -> str | None:
    key = fields.get("k")
    return key if isinstance(key, str) else None


def epoch_of(fields: Fields) -> str | None:
    epoch = fields.get("e")
    return epoch if isinstance(epoch, str) else None


def made(
    *,
    has_pages: bool = True,
    has_epochs: bool = False,
    retries: int = 0,
    hold: int = 100,
    keys: int = 100,
) -> Client:
    strategy = After(
        request,
        seq=seq_of,
        key=key_of,
        epoch=epoch_of if has_epochs else None,
        page=page_of if has_pages else None,
        retries=retries,
        hold=hold,
        keys=keys,
        parse=read,
    )
    return Client(strategy)


def a(*numbers: int, **fields: object) -> list[str]:
    return [text(n=number, k="a", **fields) for number in numbers]


def b(*numbers: int, **fields: object) -> list[str]:
    return [text(n=number, k="b", **fields) for number in numbers]


def items(key: str, *numbers: int, **fields: object) -> list[Fields]:
    return [{"n": number, "k": key, **fields} for number in numbers]


def ask(key: str, after: int, before: int | None = None, epoch: str | None = None) -> Fields:
    return {"key": key, "after": after, "before": before, "epoch": epoch}


def gap(key: Key, after: int, before: int | None, reason: str) -> Gap:
    return Gap(stream="after", key=key, after=after, before=before, reason=reason)


def reset(key: Key, reason: str) -> Reset:
    return Reset(stream="after", key=key, reason=reason)


def shown(client: Client) -> list[object]:
    """What came out since the last time: numbers, and whole gaps and resets."""
    out, client.out = client.out, []
    return [seq_of(read(x.message)) if isinstance(x, Delivery) else x for x in out]


def running(client: Client, **fields: object) -> Client:
    """Has released 5 of "a" and 8 of "b", and waits for nothing."""
    client.begin()
    client.take(*a(5, **fields), *b(8, **fields))
    client.out.clear()
    return client


def back(client: Client) -> Client:
    """The link is a new one, and both keys are asked for: "a" has waited longest."""
    client.end()
    client.begin()
    client.asked.clear()
    return client


def waits_for_a_alone(client: Client) -> bool:
    waited = client.strategy.deadline
    client.take(page(of="a"))
    return waited < math.inf and client.strategy.deadline == math.inf


# What the application is told.


def test_a_history_that_is_gone_is_a_gap_of_its_key() -> None:
    client = back(running(made()))
    client.take(page(*items("b", 12), gone=True))
    assert shown(client) == [gap("b", 8, 12, GONE), 12]
    assert waits_for_a_alone(client)


def test_an_empty_history_that_is_gone_is_a_gap_of_the_key_it_names() -> None:
    client = back(running(made()))
    client.take(page(gone=True, of="b"))
    assert shown(client) == [gap("b", 8, None, GONE)]
    assert waits_for_a_alone(client)


def test_a_history_that_is_gone_is_a_gap_up_to_what_is_held() -> None:
    client = back(running(made()))
    client.take(*b(12), page(gone=True, of="b"))
    assert shown(client) == [gap("b", 8, 12, GONE), 12]
    assert waits_for_a_alone(client)


def test_a_hole_in_a_page_is_not_in_the_history() -> None:
    client = back(running(made()))
    client.take(page(*items("b", 9, 11)))
    assert shown(client) == [9, gap("b", 9, 11, MISSING), 11]


def test_holes_before_and_after_what_is_held_are_not_in_the_history() -> None:
    client = back(running(made()))
    client.take(*b(10), page(*items("b", 12)))
    assert shown(client) == [gap("b", 8, 10, MISSING), 10, gap("b", 10, 12, MISSING), 12]


def test_an_empty_page_shows_that_the_history_lacks_the_hole() -> None:
    client = running(made())
    client.take(*a(7), *b(10), page(of="b"))
    assert shown(client) == [gap("b", 8, 10, MISSING), 10]
    assert waits_for_a_alone(client)


def test_an_empty_page_for_what_had_no_room_is_a_gap_with_an_open_end() -> None:
    client = running(made(hold=1))
    client.take(*a(7), *b(10), page(of="b"))
    assert shown(client) == [gap("b", 8, None, MISSING)]
    assert waits_for_a_alone(client)


def test_the_last_one_held_is_delivered_once_if_a_page_has_it_too() -> None:
    client = back(running(made()))
    client.take(*b(10, 11), page(*items("b", 11)))
    assert shown(client) == [gap("b", 8, 10, MISSING), 10, 11]


def test_a_page_that_repeats_is_a_gap_of_its_key() -> None:
    client = back(running(made()))
    client.take(page(*items("b", 8), more=True))
    assert shown(client) == [gap("b", 8, None, REPEATS)]
    assert waits_for_a_alone(client)


def test_an_answer_that_never_came_is_a_gap_of_its_key() -> None:
    client = running(made())
    client.take(*a(7))
    client.wait(4)
    client.take(*b(10))
    client.wait(6)
    assert shown(client) == [gap("a", 5, 7, SILENT), 7]
    assert client.strategy.deadline == client.now + 4
    client.wait(4)
    assert shown(client) == [gap("b", 8, 10, SILENT), 10]
    assert client.strategy.deadline == math.inf


@pytest.mark.parametrize(
    ("answer", "reason"), [(page(more=True, of="b"), REPEATS), (page({"x": 1}), WRONG)]
)
def test_what_had_no_room_is_asked_for_after_an_answer_of_no_use(answer: str, reason: str) -> None:
    client = running(made(hold=1))
    client.take(*b(10, 12))
    client.wait(3)
    client.asked.clear()
    client.take(answer)
    assert shown(client) == [gap("b", 8, 10, reason), 10]
    assert client.requests() == [ask("b", 10)]
    assert client.strategy.deadline == client.now + 10


def test_of_too_many_keys_the_oldest_ends_with_gaps() -> None:
    client = running(made(keys=2))
    client.take(*a(8), text(n=1, k="c"))
    assert shown(client) == [gap("a", 5, 8, TOO_MANY), 8, gap("a", 8, None, TOO_MANY), 1]
    assert client.requests() == [ask("a", 5, 8)]
    assert client.strategy.deadline == math.inf
    client.take(*b(9, 11))
    assert shown(client) == [9]
    assert client.requests() == [ask("b", 9, 11)]


@pytest.mark.parametrize("more", [False, True])
def test_a_page_may_push_out_the_key_that_it_was_asked_for(*, more: bool) -> None:
    client = running(made(keys=2))
    client.take(*a(8))
    client.requests()
    client.take(page(*items("a", 6), *items("c", 1), of="a", more=more))
    gaps = [gap("a", 6, 8, TOO_MANY), gap("a", 8, None, TOO_MANY)]
    assert shown(client) == [6, gaps[0], 8, gaps[1], 1]
    assert client.requests() == []
    assert client.strategy.deadline == math.inf
    client.wait(100)
    assert shown(client) == []


def test_a_key_that_a_page_has_pushed_out_begins_anew_with_its_next_number() -> None:
    client = running(made(keys=2))
    client.take(*a(8))
    client.take(page(*items("a", 6), *items("c", 1), *items("a", 7), of="a"))
    gaps = [gap("a", 6, 8, TOO_MANY), gap("a", 8, None, TOO_MANY), gap("b", 8, None, TOO_MANY)]
    assert shown(client) == [6, gaps[0], 8, gaps[1], 1, gaps[2], 7]
    assert client.take(*a(8)) == [True]
    assert shown(client) == [8]


def test_an_epoch_that_changes_ends_what_is_held_and_let_go_of_its_key() -> None:
    client = running(made(has_epochs=True, hold=1), e="x")
    client.take(*b(10, 12, e="x"), *b(1, e="y"))
    assert shown(client) == [
        gap("b", 8, 10, ANOTHER_EPOCH),
        10,
        gap("b", 10, None, ANOTHER_EPOCH),
        reset("b", ANOTHER_EPOCH),
        1,
    ]
    assert client.strategy.deadline == math.inf
    client.take(*a(6, e="x"))
    assert shown(client) == [6]


def test_what_began_an_epoch_is_known_when_it_comes_again() -> None:
    client = running(made(has_epochs=True), e="x")
    client.take(*b(1, e="y"), *b(1, e="y"))
    assert shown(client) == [reset("b", ANOTHER_EPOCH), 1]
    client.take(*b(1, e="y", other=1))
    assert shown(client) == [reset("b", TWICE), 1]


def test_an_epoch_may_change_back_at_once() -> None:
    client = running(made(has_epochs=True), e="x")
    client.take(*b(1, e="y"), *b(9, e="x"))
    assert shown(client) == [reset("b", ANOTHER_EPOCH), 1, reset("b", ANOTHER_EPOCH), 9]


def test_an_epoch_that_changes_in_a_page_is_a_reset_of_its_key() -> None:
    client = back(running(made(has_epochs=True), e="x"))
    client.take(page(*items("b", 1, e="y")))
    assert shown(client) == [reset("b", ANOTHER_EPOCH), 1]
    client.take(*b(1, e="y", other=1))
    assert shown(client) == []
    assert waits_for_a_alone(client)


def test_what_was_given_a_number_anew_is_known_when_it_comes_again() -> None:
    client = running(made())
    client.take(*b(8, other=1), *b(8, other=1))
    assert shown(client) == [reset("b", TWICE), 8]
    client.take(*b(8))
    assert shown(client) == [reset("b", TWICE), 8]


def restored() -> Client:
    client = made()
    client.strategy.restore({"cursors": [["a", [None, 5]], ["b", [None, 8]]]})
    client.begin()
    return client


def test_numbers_that_went_back_are_a_reset_of_their_key() -> None:
    client = restored()
    client.take(page(of="b"), *b(3), *b(3))
    assert shown(client) == [reset("b", WENT_BACK), 3]
    client.take(*b(3, other=1))
    assert shown(client) == [reset("b", TWICE), 3]


def test_numbers_do_not_go_back_while_their_key_is_asked_for() -> None:
    client = restored()
    client.take(*b(3), page(of="a"))
    assert shown(client) == []
    client.take(*a(3), *b(3))
    assert shown(client) == [reset("a", WENT_BACK), 3]


# Whose question it is.


def test_a_hole_that_is_filled_ends_the_question_of_its_key_alone() -> None:
    client = running(made())
    client.take(*a(7))
    client.wait(4)
    client.take(*b(10), *a(6))
    assert shown(client) == [6, 7]
    assert client.strategy.deadline == client.now + 10
    client.take(*b(9))
    assert client.strategy.deadline == math.inf


def test_a_step_into_a_hole_gives_time_to_its_key_alone() -> None:
    client = running(made(has_pages=False))
    client.take(*a(9))
    client.wait(4)
    client.take(*b(11))
    client.wait(1)
    client.take(*a(6))
    assert client.strategy.deadline == client.now + 9
    client.wait(9)
    assert shown(client) == [6, gap("b", 8, 11, SILENT), 11]
    assert client.strategy.deadline == client.now + 1


def test_a_reset_ends_the_question_of_its_key_alone() -> None:
    client = running(made())
    client.take(*a(7), *b(10), *b(8, other=1))
    assert shown(client) == [gap("b", 8, 10, TWICE), 10, reset("b", TWICE), 8]
    assert client.strategy.deadline == client.now + 10
    client.take(*a(6))
    assert client.strategy.deadline == math.inf


def test_a_hole_of_another_key_that_a_page_shows_is_asked_for() -> None:
    client = running(made())
    client.take(*a(7))
    client.wait(3)
    client.asked.clear()
    client.take(page(*items("a", 6), *items("b", 11)))
    assert shown(client) == [6, 7]
    assert client.requests() == [ask("b", 8, 11)]
    assert client.strategy.deadline == client.now + 10


# The numbers of one key, alone.


def item(seq: int, message: str = "", epoch: Key = None) -> Item:
    return Item("k", epoch, seq, message or text(n=seq))


def track_of(outcome: Outcome, *, room: Room | None = None, epoch: Key = None) -> Track:
    """Nothing was released; 6 comes next."""
    room = Room(100) if room is None else room
    return Track("k", epoch, 5, stream="after", room=room, outcome=outcome)


def released(outcome: Outcome) -> list[object]:
    _, outputs = outcome.drain()
    return [seq_of(read(x.message)) if isinstance(x, Delivery) else x for x in outputs]


def test_all_that_is_held_shares_one_room() -> None:
    room = Room(4)
    one, other = Held(room), Held(room)
    assert [one.put(item(7)), one.put(item(8)), other.put(item(9))] == [None, None, None]
    assert room.free == 1
    assert one.pop() == item(7)
    assert room.free == 2
    one.put(item(10))
    one.clear()
    assert (one.lowest, other.lowest, room.free) == (None, 9, 3)


@pytest.mark.parametrize(
    ("epoch", "of_item", "is_other"),
    [
        (None, None, False),
        (None, "x", False),
        ("x", None, False),
        ("x", "x", False),
        ("x", "y", True),
    ],
)
def test_another_epoch_is_after_every_number(epoch: Key, of_item: Key, is_other: bool) -> None:
    track = track_of(Outcome(), epoch=epoch)
    found = [track.is_after(item(seq, epoch=of_item), 7) for seq in (6, 7, 8)]
    assert found == [is_other, is_other, True]


@pytest.mark.parametrize("seq", [0, 1, 2, 5])
def test_a_number_that_was_never_released_is_unknown(seq: int) -> None:
    assert track_of(Outcome()).recall(item(seq)) is Likeness.UNKNOWN


def test_what_was_held_is_compared_after_its_release() -> None:
    track = track_of(Outcome())
    track.hold(item(7))
    track.release(item(6), None)
    assert track.recall(item(7)) is Likeness.SAME
    assert track.recall(item(7, "other")) is Likeness.OTHER


def test_the_lowest_that_had_no_room_is_a_hole_until_it_is_released() -> None:
    track = track_of(Outcome(), room=Room(0))
    for seq in (10, 8, 9):
        track.hold(item(seq))
    for seq in (6, 7):
        track.release(item(seq), None)
    assert track.has_hole
    track.release(item(8), None)
    assert not track.has_hole
    track.hold(item(12))
    assert track.has_hole


def test_to_skip_to_a_number_releases_nothing_of_that_number() -> None:
    outcome = Outcome()
    track = track_of(outcome)
    track.hold(item(8))
    track.skip_to(8, "why")
    assert released(outcome) == [gap("k", 5, 8, "why")]
    assert (track.last, track.expected, track.held.lowest) == (5, 8, 8)
    track.release(item(8), None)
    assert released(outcome) == [8]
    assert track.expected == 9


def test_to_skip_to_a_number_names_each_hole_before_it() -> None:
    outcome = Outcome()
    track = track_of(outcome)
    track.hold(item(7))
    track.skip_to(10, "why")
    assert released(outcome) == [gap("k", 5, 7, "why"), 7, gap("k", 7, 10, "why")]
    assert track.expected == 10


def test_after_an_open_end_any_higher_number_is_next() -> None:
    outcome = Outcome()
    track = track_of(outcome, room=Room(0))
    track.hold(item(8))
    track.open_end("why")
    assert released(outcome) == [gap("k", 5, None, "why")]
    assert not track.has_hole
    assert [track.is_next(seq) for seq in (5, 6, 20)] == [False, True, True]


def test_lost_numbers_are_remembered_and_released_ones_before_them_are_compared() -> None:
    track = track_of(Outcome())
    track.release(item(6), hash(text(n=6)))
    track.release(item(7), hash(text(n=7)))
    track.skip_to(11, "why")
    late = [track.recall(item(seq, "other")) for seq in (5, 6, 7, 8, 9, 10, 11)]
    unknown, other, same = Likeness.UNKNOWN, Likeness.OTHER, Likeness.SAME
    assert late == [unknown, other, other, same, same, same, unknown]


def test_a_restart_takes_the_epoch_and_forgets_what_was_released() -> None:
    outcome = Outcome()
    track = track_of(outcome, epoch="x")
    track.release(item(6, epoch="x"), None)
    track.restart(item(2, epoch="y"), hash(text(n=2)), "why")
    assert released(outcome) == [6, reset("k", "why"), 2]
    assert (track.epoch, track.last, track.expected) == ("y", 2, 3)
    assert track.recall(item(6)) is Likeness.UNKNOWN
    assert track.recall(item(2)) is Likeness.SAME
    assert track.recall(item(2, "other")) is Likeness.OTHER
