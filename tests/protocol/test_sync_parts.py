"""The parts that strategies are made of, each alone."""

from __future__ import annotations

import math

import pytest
from typing_extensions import override

from statews import UsageError
from statews.protocol.plain import Message
from statews.protocol.sync import After, Page
from statews.protocol.sync.fetching import Settings
from statews.protocol.sync.questions import Ask, Question, Questions
from statews.protocol.sync.reading import Answer, Reader, Wrong, is_number
from statews.protocol.sync.recent import Recent
from statews.protocol.sync.strategy import Gap, Outcome, Reset, Strategy
from statews.protocol.sync.track import Room, Track

# Ids that were released lately.


def test_an_id_is_known_while_it_is_needed_or_was_released_since_the_last_fetch_but_one() -> None:
    recent = Recent(100)
    recent.add("old", 1.0, needed=0.0)
    recent.add("edge", 5.0, needed=5.0)  # the present fetch and the one before count whole
    assert "old" in recent
    recent.turn()
    recent.add("next", 6.0, needed=5.0)
    assert "old" in recent
    recent.turn()
    recent.add("later", 7.0, needed=5.0)
    assert "old" not in recent
    assert "edge" in recent  # it is needed from this stamp on
    recent.add("last", 8.0, needed=5.5)
    assert "edge" not in recent
    assert "next" in recent


def test_of_more_ids_than_may_be_remembered_the_oldest_is_forgotten() -> None:
    recent = Recent(2)
    for name in "abc":
        recent.add(name, 1.0, needed=0.0)
    assert ["a" in recent, "b" in recent, "c" in recent] == [False, True, True]


# What a strategy wants done.


def test_gaps_and_resets_are_counted() -> None:
    outcome = Outcome()
    outcome.lose(Gap(stream="after", key=None, after=1, before=3, reason="lost"))
    outcome.lose(Reset(stream="after", key=None, reason="another epoch"))
    assert outcome.losses == 2


def test_each_subject_is_noted_once() -> None:
    outcome = Outcome()
    for subject, what in (("stamp", "raised"), ("stamp", "must be"), ("id", "raised")):
        outcome.note(subject, what)
    assert outcome.problems == ["stamp raised", "id raised"]


def test_whether_a_message_was_made_is_told() -> None:
    outcome = Outcome()
    assert outcome.ask(str, 1) is True
    assert outcome.ask(lambda _: None, 1) is False  # type: ignore[arg-type,return-value]
    assert outcome.ask(lambda _: 1 / 0, 1) is False  # type: ignore[arg-type,return-value]
    assert outcome.requests == ["1"]
    assert outcome.problems == ["request must give str or bytes, got None"]


# Questions.


def request(ask: Ask) -> Message:
    return f"{ask.key} after {ask.after} before {ask.before}"


def made() -> tuple[Questions, Outcome, dict[str, Track]]:
    outcome = Outcome()
    questions = Questions(request, settings=Settings(10.0, 2, 100), outcome=outcome)
    room = Room(100)
    tracks = {
        key: Track(key, None, 5, stream="after", room=room, outcome=outcome) for key in ("a", "b")
    }
    return questions, outcome, tracks


def test_a_hole_is_filled_up_to_the_number_before_its_end() -> None:
    question = Question(after=3, before=7, deadline=1.0, left=2)
    assert [question.is_closed(last) for last in (5, 6, 7)] == [False, True, True]
    assert not Question(after=3, before=None, deadline=1.0, left=2).is_closed(99)


def test_a_question_takes_the_place_of_the_one_before_whose_answer_is_late() -> None:
    questions, outcome, tracks = made()
    questions.ask(tracks["a"], 0.0)
    questions.ask(tracks["a"], 1.0)
    questions.ask(tracks["a"], 2.0)
    assert outcome.requests == ["a after 5 before None"] * 3
    assert questions.due == 12.0
    assert [questions.drop_late() for _ in range(3)] == [True, True, False]


def test_all_answers_of_a_question_that_is_closed_are_late() -> None:
    questions, _, tracks = made()
    for key in ("a", "b"):
        questions.ask(tracks[key], 0.0)
        questions.close(key)
    questions.close("a")
    assert [questions.drop_late() for _ in range(3)] == [True, True, False]
    assert (questions.first_key, questions.due) == (None, math.inf)


def test_an_answer_that_comes_in_has_the_whole_time_and_all_retries_again() -> None:
    questions, _, tracks = made()
    questions.ask(tracks["a"], 0.0)
    questions.ask(tracks["b"], 1.0)
    question = questions.get("a")
    assert question is not None
    questions.repeat(tracks["a"], question, 2.0)
    question = questions.get("a")
    assert question is not None
    assert (question.left, question.unanswered) == (1, 2)
    assert questions.first_key == "b"
    other = questions.get("b")
    assert other is not None
    questions.renew("b", other, 5.0)
    assert (other.left, other.deadline) == (2, 15.0)
    assert questions.first_key == "a"
    questions.renew("a", question, 6.0)
    assert (question.left, question.deadline, questions.first_key) == (2, 16.0, "b")


# What messages say.


def parse(message: Message) -> int | None:
    return None if message == "none" else int(message)


def reader(page: object = None) -> tuple[Reader[int, tuple[int, Message]], Outcome]:
    outcome = Outcome()
    made: Reader[int, tuple[int, Message]] = Reader(
        parse=parse,  # type: ignore[arg-type]
        page=lambda parsed: page if parsed == 0 else None,  # type: ignore[arg-type,return-value]
        select=lambda parsed, message: (parsed, message),
        outcome=outcome,
    )
    return made, outcome


def test_a_page_is_read_with_its_items_and_key() -> None:
    read, _ = reader(Page(["1", "2"], more=True, key="k"))
    answer = read.read("0")
    items: list[tuple[int, Message]] = [(1, "1"), (2, "2")]
    assert answer == Answer(items=items, more=True, gone=False, key="k")


@pytest.mark.parametrize("item", ["none", 5, None])
def test_a_page_with_an_item_that_is_none_is_wrong(item: object) -> None:
    read, _ = reader(Page(["1", item]))  # type: ignore[list-item]
    answer = read.read("0")
    assert isinstance(answer, Wrong)
    assert answer.reason == f"the answer was wrong: it holds {item!r}"


def test_an_item_that_cannot_be_parsed_is_noted_as_a_message_is() -> None:
    read, outcome = reader(Page(["x"]))
    read.read("y")
    read.read("0")
    assert len(outcome.problems) == 1
    assert "parse" in outcome.problems[0]


@pytest.mark.parametrize("value", [-math.inf, math.inf, math.nan, 10**400, True, "1", None])
def test_what_is_no_finite_number_is_none(value: object) -> None:
    assert not is_number(value)


# What fetching needs.


@pytest.mark.parametrize("timeout", [0, -1, math.inf, math.nan, "1", True])
def test_a_timeout_is_above_0_and_finite(timeout: object) -> None:
    with pytest.raises(UsageError, match=r"After\.timeout must be finite and above 0 seconds"):
        After(str, seq=int, timeout=timeout)  # type: ignore[arg-type]


def test_a_timeout_may_be_short() -> None:
    After(str, seq=int, timeout=0.001)


def test_a_fallback_is_told_the_time_of_each_message() -> None:
    pages = {"gone": Page([], gone=True)}
    inner = After[dict[str, int]](str, seq=lambda parsed: parsed.get("m"), timeout=10.0)
    outer = After[dict[str, int]](
        str,
        seq=lambda parsed: parsed.get("n"),
        start=0,
        page=lambda parsed: pages.get(str(next(iter(parsed), None))),
        fallback=inner,
    )
    outer.begin(0.0)
    assert outer.take('{"gone": 1}', 1.0)
    assert outer.take('{"m": 5}', 2.0)
    assert outer.take('{"m": 7}', 3.0)
    assert outer.deadline == 13.0


# A strategy of the application's own.


class Simplest(Strategy):
    """It asks with each link, and takes nothing."""

    @property
    @override
    def deadline(self) -> float:
        return math.inf

    @override
    def begin(self, now: float) -> None:
        self._outcome.requests.append(f"asked at {now}")

    @override
    def take(self, message: Message, now: float) -> bool:
        return False

    @override
    def expire(self, now: float) -> None:
        """Nothing is ever due."""

    @override
    def end(self) -> None:
        """Nothing is held."""

    @override
    def handled(self, mark: object) -> None:
        """Nothing was delivered."""

    @property
    @override
    def position(self) -> object:
        return None

    @override
    def restore(self, position: object) -> None:
        """There is nothing to go on after."""


def test_a_strategy_that_says_nothing_of_sessions_asks_again_where_something_may_be_lost() -> None:
    strategy = Simplest()
    strategy.repeat(1.0)
    strategy.miss(2.0)
    strategy.prolong(3.0)
    assert strategy.drain() == (["asked at 1.0", "asked at 2.0"], [])
