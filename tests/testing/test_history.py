"""What the checker finds: every breach that was made, none in a run that keeps its promise."""

from __future__ import annotations

import copy
import doctest
import pickle
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import combinations, combinations_with_replacement
from operator import itemgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statews.errors import UsageError
from statews.testing import history as module
from statews.testing.history import (
    BreachKind,
    End,
    Guarantee,
    History,
    HistoryError,
    Summary,
    Verdict,
    WayHistory,
)

AT_MOST_ONCE, AT_LEAST_ONCE, EXACTLY_ONCE, LATEST = Guarantee
LOST, DUPLICATED, REORDERED = BreachKind.LOST, BreachKind.DUPLICATED, BreachKind.REORDERED
NEVER_SENT = BreachKind.NEVER_SENT
EARLY, TWICE = BreachKind.ACKNOWLEDGED_EARLY, BreachKind.ACKNOWLEDGED_TWICE

Found = list[tuple[BreachKind, object]]


def run(sent: Sequence[object], delivered: Sequence[object] = ()) -> WayHistory:
    way = WayHistory("up")
    for message in sent:
        way.sent(message)
    for message in delivered:
        way.delivered(message)
    return way


def found(verdict: Verdict) -> Found:
    return [(breach.kind, breach.record.message) for breach in verdict.breaches]


def kept(way: WayHistory) -> set[Guarantee]:
    return {each for each in Guarantee if way.verdict(each).is_kept}


# What each guarantee allows.


def test_everything_in_order_keeps_every_guarantee() -> None:
    assert kept(run("abc", "abc")) == kept(run("")) == set(Guarantee)


@pytest.mark.parametrize(
    ("delivered", "allowed", "breach"),
    [
        ("ac", set(), (LOST, "b")),
        ("abbc", {AT_LEAST_ONCE}, (DUPLICATED, "b")),
        ("acb", set(), (REORDERED, "b")),
        ("abcx", set(), (NEVER_SENT, "x")),
    ],
)
def test_one_fault_is_one_breach_of_what_does_not_allow_it(
    delivered: str, allowed: set[Guarantee], breach: tuple[BreachKind, str]
) -> None:
    way = run("abc", delivered)
    for guarantee in {AT_MOST_ONCE, AT_LEAST_ONCE, EXACTLY_ONCE} - allowed:
        assert found(way.verdict(guarantee)) == [breach]
    assert kept(way) - {LATEST} == allowed


Report = Callable[[WayHistory], None]
REPORTS: dict[str, tuple[Report, set[Guarantee]]] = {
    "gap": (lambda way: way.gap("b"), set(Guarantee)),
    "range": (lambda way: way.gap_range(2, 2), set(Guarantee)),
    "dropped": (lambda way: way.dropped("b"), set(Guarantee)),
    "in doubt": (lambda way: way.in_doubt("b"), {AT_MOST_ONCE, LATEST}),
    "nothing": (lambda _: None, {LATEST}),
}


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("when", ["first", "last"])
def test_what_is_gone_was_reported_and_doubt_is_enough_for_at_most_once(
    name: str, when: str
) -> None:
    report, allowed = REPORTS[name]
    way = run("abc")
    if when == "first":
        report(way)
    way.delivered("a")
    way.delivered("c")
    if when == "last":
        report(way)
    assert kept(way) == allowed
    assert way.verdict(AT_MOST_ONCE, strict=False).is_kept


def test_only_at_most_once_can_do_without_reports() -> None:
    way = run("abc", "ac")
    assert way.verdict(AT_MOST_ONCE, strict=False).summary.lost == 1
    for guarantee in (AT_LEAST_ONCE, EXACTLY_ONCE):
        assert found(way.verdict(guarantee, strict=False)) == [(LOST, "b")]


@pytest.mark.parametrize("gone", [WayHistory.gap, WayHistory.dropped])
def test_what_was_reported_gone_and_turns_up_is_part_of_a_re_send_or_late(
    gone: Callable[[WayHistory, object], None],
) -> None:
    way = run("abc", "ac")
    gone(way, "b")
    way.delivered("b")
    way.delivered("c")
    assert way.verdict(AT_LEAST_ONCE).is_kept
    assert found(way.verdict(EXACTLY_ONCE)) == [(REORDERED, "b"), (DUPLICATED, "c")]


def test_what_was_in_doubt_may_arrive_only_in_order() -> None:
    way = run("abc", "a")
    way.in_doubt("b")
    way.delivered("c")
    assert way.verdict(AT_MOST_ONCE).is_kept
    way.delivered("b")
    assert found(way.verdict(AT_MOST_ONCE)) == [(REORDERED, "b")]


@pytest.mark.parametrize("delivered", ["abcbcd", "ababcd", "abcabcd", "abccdd", "abcbabcd"])
def test_a_re_send_goes_on_from_some_message_to_where_the_way_was(delivered: str) -> None:
    assert run("abcd", delivered).verdict(AT_LEAST_ONCE).is_kept


@pytest.mark.parametrize(
    ("delivered", "breach"),
    [("abcad", "d"), ("abcacd", "c"), ("abcdbd", "d"), ("abcdad", "d")],
)
def test_a_re_send_leaves_nothing_out(delivered: str, breach: str) -> None:
    verdict = run("abcd", delivered).verdict(AT_LEAST_ONCE)
    assert found(verdict) == [(REORDERED, breach)]
    assert verdict.breaches[0].earlier is not None
    assert verdict.breaches[0].earlier.line == verdict.breaches[0].record.line - 1


def test_a_re_send_leaves_out_what_was_acknowledged_by_then() -> None:
    way = run("abcd", "abc")
    way.acknowledged("b")
    for message in "acd":
        way.delivered(message)
    assert way.verdict(AT_LEAST_ONCE).is_kept
    way.acknowledged("c")
    way.delivered("b")
    way.delivered("d")
    assert way.verdict(AT_LEAST_ONCE).is_kept


def test_a_re_send_leaves_out_what_is_gone() -> None:
    way = run("abc", "abac")
    assert found(way.verdict(AT_LEAST_ONCE)) == [(REORDERED, "c")]
    way.dropped("b", why="expired")
    assert way.verdict(AT_LEAST_ONCE).is_kept


def test_behind_a_gap_an_equal_message_is_a_new_one() -> None:
    way = run("abca", "aa")
    way.gap_range(2, 3)
    assert way.verdict(AT_LEAST_ONCE).is_kept


def test_acknowledgements_of_equal_messages_are_taken_for_the_oldest_first() -> None:
    way = run("abac", "aba")
    way.acknowledged("a")
    way.acknowledged("a")
    way.delivered("b")
    way.delivered("c")
    assert way.verdict(AT_LEAST_ONCE).is_kept


def test_an_acknowledgement_is_not_taken_for_one_of_an_equal_message_to_come() -> None:
    way = run("abab", "aa")
    way.acknowledged("a")
    way.acknowledged("a")
    for message in "bbab":
        way.delivered(message)
    assert way.verdict(AT_LEAST_ONCE).is_kept


def test_an_acknowledgement_after_a_re_send_does_not_excuse_its_holes() -> None:
    way = run("abcd", "abcacd")
    way.acknowledged("b")
    assert found(way.verdict(AT_LEAST_ONCE)) == [(REORDERED, "c")]


def test_a_late_message_does_not_make_those_behind_it_late() -> None:
    assert found(run("abcde", "acbde").verdict(AT_LEAST_ONCE)) == [(REORDERED, "b")]


def test_an_acknowledgement_follows_its_delivery_and_is_one_for_each() -> None:
    way = run("abc", "a")
    for message in "aab":
        way.acknowledged(message)
    for message in "bc":
        way.delivered(message)
    way.acknowledged("x")
    expected = [(TWICE, "a"), (EARLY, "b"), (NEVER_SENT, "x")]
    for guarantee in Guarantee:
        assert found(way.verdict(guarantee)) == expected


def test_what_is_delivered_again_may_be_acknowledged_again() -> None:
    way = run("a", "aa")
    way.acknowledged("a")
    way.acknowledged("a")
    assert way.verdict(AT_LEAST_ONCE).is_kept
    way.acknowledged("a")
    assert found(way.verdict(AT_LEAST_ONCE)) == [(TWICE, "a")]


@pytest.mark.parametrize("name", ["gap", "dropped", "in_doubt"])
def test_a_report_is_of_something_that_was_sent(name: str) -> None:
    way = run("a", "a")
    getattr(way, name)("x")
    assert found(way.verdict(EXACTLY_ONCE)) == [(NEVER_SENT, "x")]


def test_a_gap_of_more_than_was_sent_is_a_breach_and_excuses_the_rest() -> None:
    way = run("abc", "a")
    way.gap_range(2, 2**53)
    assert found(way.verdict(EXACTLY_ONCE)) == [(NEVER_SENT, range(2, 2**53 + 1))]


def test_a_gap_may_reach_to_the_last_message_and_no_further() -> None:
    way = run("abc", "ab")
    way.gap_range(3, 3)
    assert way.verdict(EXACTLY_ONCE).is_kept
    way.gap_range(3, 4)
    assert found(way.verdict(EXACTLY_ONCE)) == [(NEVER_SENT, range(3, 5))]


def test_a_number_that_is_in_two_gaps_is_one_excuse() -> None:
    way = run("aa")
    way.gap_range(1, 1)
    way.gap_range(1, 1)
    for guarantee in (AT_MOST_ONCE, AT_LEAST_ONCE, EXACTLY_ONCE):
        assert found(way.verdict(guarantee)) == [(LOST, "a")]


# The latest value.


@pytest.mark.parametrize("delivered", ["abc", "c", "ac", "cc", "aacc"])
def test_latest_asks_for_the_newest_alone(delivered: str) -> None:
    assert run("abc", delivered).verdict(LATEST).is_kept


@pytest.mark.parametrize(
    ("delivered", "breaches"),
    [
        ("", [(LOST, "c")]),
        ("ab", [(LOST, "c")]),
        ("acb", [(REORDERED, "b")]),
        ("abcb", [(REORDERED, "b")]),
    ],
)
def test_latest_never_goes_back_or_stays_behind(delivered: str, breaches: Found) -> None:
    assert found(run("abc", delivered).verdict(LATEST)) == breaches


def test_each_slot_has_its_own_newest_and_its_own_order() -> None:
    way = History().way("prices", slot=itemgetter(0))
    for message in ("x1", "y1", "x2", "y2", "z1"):
        way.sent(message)
    for message in ("y2", "x2", "x1"):
        way.delivered(message)
    assert found(way.verdict(LATEST)) == [(LOST, "z1"), (REORDERED, "x1")]


# Resets.


def test_a_reset_excuses_what_was_to_come_but_not_a_hole() -> None:
    way = run("abcd", "ac")
    way.reset(why="the server forgot")
    way.sent("d")
    way.delivered("d")
    for guarantee in (AT_MOST_ONCE, AT_LEAST_ONCE, EXACTLY_ONCE):
        assert found(way.verdict(guarantee)) == [(LOST, "b")]
    assert way.verdict(LATEST).is_kept


def test_numbers_begin_anew_with_a_reset() -> None:
    way = run("abc", "abc")
    way.reset()
    for message in "abc":
        way.sent(message)
    way.gap_range(2, 2)
    way.delivered("a")
    (breach,) = way.verdict(EXACTLY_ONCE).breaches
    assert (breach.kind, breach.record.message, breach.number) == (LOST, "c", 3)


def test_what_is_delivered_after_a_reset_was_sent_after_it() -> None:
    way = run("ab", "a")
    way.reset()
    way.delivered("b")
    assert found(way.verdict(EXACTLY_ONCE)) == [(NEVER_SENT, "b")]


def test_an_end_may_learn_of_a_reset_later_than_the_other() -> None:
    way = run("ab", "a")
    way.reset(End.SENDER)
    way.sent("a")
    way.delivered("b")
    way.reset(End.RECEIVER)
    way.delivered("a")
    way.acknowledged("a")
    way.reset(End.RECEIVER)
    way.reset(End.RECEIVER)
    way.gap_range(1, 1)
    for _ in range(2):
        way.reset(End.SENDER)
    way.sent("z")
    assert kept(way) == set(Guarantee)


# Telling messages apart.


def test_a_key_tells_messages_apart_that_look_alike_or_cannot_be_compared() -> None:
    way = History().way("chat", key=itemgetter("id"))
    for number in (1, 2):
        way.sent({"id": number, "text": "hello"})
    way.delivered({"id": 2, "text": "hello", "redelivered": True})
    verdict = way.verdict(EXACTLY_ONCE)
    assert found(verdict) == [(LOST, {"id": 1, "text": "hello"})]


def test_a_message_that_cannot_be_a_key_needs_one() -> None:
    with pytest.raises(UsageError, match=r"unhashable type: 'dict'.* give the way a key"):
        WayHistory("up").sent({})


def test_equal_messages_may_all_be_sent_and_all_count() -> None:
    assert kept(run(["ping"] * 3, ["ping"] * 3)) == set(Guarantee)
    for guarantee in (AT_MOST_ONCE, AT_LEAST_ONCE, EXACTLY_ONCE):
        verdict = run(["ping"] * 3, ["ping"] * 2).verdict(guarantee)
        assert found(verdict) == [(LOST, "ping")]
    assert found(run(["ping"] * 3, ["ping"] * 4).verdict(EXACTLY_ONCE)) == [(DUPLICATED, "ping")]


def test_equal_messages_that_are_late_are_found_one_by_one() -> None:
    verdict = run("ababx", "bbxaa").verdict(EXACTLY_ONCE)
    assert found(verdict) == [(REORDERED, "a")] * 2
    assert [breach.number for breach in verdict.breaches] == [1, 3]


def test_which_of_several_equal_messages_is_gone_is_not_guessed_where_it_matters() -> None:
    way = run("aba", "ab")
    way.dropped("a")
    assert way.verdict(EXACTLY_ONCE).is_kept
    with pytest.raises(UsageError, match="one of 2 equal messages is reported gone in line 6"):
        way.check(AT_LEAST_ONCE)


# Against every account of which was which.

few = st.text("ab", max_size=6)


@given(sent=few, delivered=few, reported=st.text("ab", max_size=3))
def test_with_equal_messages_once_is_kept_if_any_account_keeps_it(
    sent: str, delivered: str, reported: str
) -> None:
    way = run(sent, delivered)
    for message in reported:
        way.gap(message)
    accounts = [
        Counter(sent[n] for n in range(len(sent)) if n not in chosen)
        for chosen in combinations(range(len(sent)), len(delivered))
        if [sent[n] for n in chosen] == list(delivered)
    ]
    is_known = set(reported) <= set(sent)
    is_complete = any(lost <= Counter(reported) for lost in accounts)
    assert way.verdict(EXACTLY_ONCE).is_kept == (is_complete and is_known)
    assert way.verdict(AT_MOST_ONCE).is_kept == (is_complete and is_known)
    assert way.verdict(AT_MOST_ONCE, strict=False).is_kept == (bool(accounts) and is_known)


@given(sent=few, delivered=few)
def test_with_equal_messages_latest_is_kept_if_any_account_keeps_it(
    sent: str, delivered: str
) -> None:
    accounts = [
        chosen
        for chosen in combinations_with_replacement(range(len(sent)), len(delivered))
        if [sent[n] for n in chosen] == list(delivered)
    ]
    is_kept = any(chosen[-1:] == (len(sent) - 1,) for chosen in accounts) or sent == delivered
    assert run(sent, delivered).verdict(LATEST).is_kept == is_kept


@given(sent=st.text("abc", max_size=6), delivered=st.text("abc", max_size=10), data=st.data())
def test_with_equal_messages_at_least_once_is_kept_if_any_account_keeps_it(
    sent: str, delivered: str, data: st.DataObject
) -> None:
    numbers = st.sets(st.integers(1, max(1, len(sent))), max_size=2 if sent else 0)
    gone = data.draw(numbers)
    way = run(sent, delivered)
    for number in gone:
        way.gap_range(number, number)
    assert way.verdict(AT_LEAST_ONCE).is_kept == has_account(sent, delivered, gone)


def has_account(sent: str, delivered: str, gone: set[int]) -> bool:
    """Whether the deliveries can be re-sends of everything but what is gone, by trying all."""
    numbers = range(1, len(sent) + 1)
    states: set[tuple[int, frozenset[int]]] = {(0, frozenset())}  # where it is, what arrived
    for message in delivered:
        states = {
            (number, arrived | {number})
            for at, arrived in states
            for number in numbers
            if sent[number - 1] == message and gone >= set(range(at + 1, number))
        }
    return any(set(numbers) <= arrived | gone for _, arrived in states)


# Faults that were made are found, and nothing else is.

FATES = ("well", "well", "lost", "gap", "dropped", "in doubt", "twice", "early", "acked twice")
REPORTED: dict[str, Callable[[WayHistory, object], None]] = {
    "gap": WayHistory.gap,
    "dropped": WayHistory.dropped,
    "in doubt": WayHistory.in_doubt,
}
BREACHES = {
    "lost": (LOST, set(Guarantee)),
    "in doubt": (LOST, {AT_LEAST_ONCE, EXACTLY_ONCE}),
    "twice": (DUPLICATED, {AT_MOST_ONCE, EXACTLY_ONCE}),
    "early": (EARLY, set(Guarantee)),
    "acked twice": (TWICE, set(Guarantee)),
    "late": (REORDERED, set(Guarantee)),
    "never sent": (NEVER_SENT, set(Guarantee)),
}
Fate = tuple[int, str]


@st.composite
def fates(draw: st.DrawFn) -> list[Fate]:
    """Messages and what becomes of them, in the order of arrival."""
    plan = list(enumerate(draw(st.lists(st.sampled_from(FATES), max_size=20))))
    arriving: list[Fate] = []
    for number, fate in plan:
        if fate == "well" and arriving and arriving[-1][1] == "well" and draw(st.booleans()):
            arriving[-1:] = [(number, "ahead"), (arriving[-1][0], "late")]
        else:
            arriving.append((number, fate))
        if draw(st.integers(0, 9)) == 0:
            arriving.append((1000 + number, "never sent"))
    return arriving


def live(way: WayHistory, message: int, fate: str) -> None:
    """Let a message have its fate."""
    if fate in REPORTED:
        REPORTED[fate](way, message)
    elif fate == "early":
        way.acknowledged(message)
        way.delivered(message)
    elif fate != "lost":
        way.delivered(message)
        if fate == "twice":
            way.delivered(message)
        if fate != "never sent":
            way.acknowledged(message)
        if fate == "acked twice":
            way.acknowledged(message)


@given(plan=fates(), sends_late=st.booleans(), guarantee=st.sampled_from([*Guarantee][:3]))
def test_exactly_the_faults_that_were_made_are_found(
    plan: list[Fate], sends_late: bool, guarantee: Guarantee
) -> None:
    way = WayHistory("up")
    sent = sorted(message for message, fate in plan if fate != "never sent")
    if not sends_late:
        for message in sent:
            way.sent(message)
    for message, fate in plan:
        live(way, message, fate)
    if sends_late:
        for message in sent:
            way.sent(message)
    made = Counter(
        (BREACHES[fate][0], message)
        for message, fate in plan
        if fate in BREACHES and guarantee in BREACHES[fate][1]
    )
    verdict = way.verdict(guarantee)
    assert Counter(found(verdict)) == made
    lines = [breach.record.line for breach in verdict.breaches]
    assert lines == sorted(lines)
    summary = verdict.summary
    assert summary.duplicated == sum(fate == "twice" for _, fate in plan)
    assert summary.reordered == sum(fate == "late" for _, fate in plan)
    assert summary.lost == sum(kind is LOST for kind, _ in made)


class Peers:
    """A sender that sends again what is not acknowledged, over links that are lost."""

    def __init__(self, way: WayHistory, messages: Iterator[Hashable]) -> None:
        self.way = way
        self.messages = messages
        self.count = 0  # sent since the last reset
        self.outbox: list[tuple[int, Hashable]] = []
        self.line: list[tuple[int, Hashable]] = []  # under way
        self.answers: list[tuple[int, Hashable]] = []

    def send(self) -> None:
        self.count += 1
        entry = (self.count, next(self.messages))
        self.outbox.append(entry)
        self.line.append(entry)
        self.way.sent(entry[1])

    def deliver(self) -> None:
        if self.line:
            entry = self.line.pop(0)
            self.way.delivered(entry[1])
            self.answers.append(entry)

    def answer(self) -> None:
        if self.answers:
            entry = self.answers.pop(0)
            self.outbox.remove(entry)
            self.way.acknowledged(entry[1])

    def lose_link(self) -> None:
        self.line, self.answers = list(self.outbox), []

    def expire(self) -> None:
        """The link is lost, and of what it carried the oldest is not sent again."""
        arrived = self.answers
        self.lose_link()
        if self.outbox and self.outbox[0] not in arrived:
            number, _ = self.outbox.pop(0)
            self.line.pop(0)
            self.way.gap_range(number, number)

    def reset(self) -> None:
        """Everything begins anew, with what is in the outbox."""
        kept = [message for _, message in self.outbox]
        self.way.reset()
        self.count, self.outbox, self.answers, self.line = 0, [], [], []
        self.messages = chained(kept, self.messages)
        for _ in kept:
            self.send()

    def finish(self) -> None:
        while self.line:
            self.deliver()


def chained(first: list[Hashable], then: Iterator[Hashable]) -> Iterator[Hashable]:
    yield from first
    yield from then


ACTS = (
    [Peers.send] * 4
    + [Peers.deliver] * 4
    + [Peers.answer] * 2
    + [Peers.lose_link, Peers.expire, Peers.reset]
)


@given(acts=st.lists(st.sampled_from(ACTS), max_size=60), alike=st.integers(1, 100))
def test_a_sender_that_sends_again_keeps_at_least_once(
    acts: list[Callable[[Peers], None]], alike: int
) -> None:
    way = WayHistory("up")
    peers = Peers(way, (number % alike for number in range(10**6)))
    for act in acts:
        act(peers)
    peers.finish()
    way.check(AT_LEAST_ONCE)


@given(data=st.data(), alike=st.integers(1, 20))
def test_a_lossy_channel_that_reports_keeps_at_most_once(data: st.DataObject, alike: int) -> None:
    way = WayHistory("up")
    is_doubtful = data.draw(st.booleans())
    under_way: list[int] = []
    acts = ("send", "send", "deliver", "deliver", "lose", "reset")
    for number, act in enumerate(data.draw(st.lists(st.sampled_from(acts), max_size=40))):
        if act == "send":
            under_way.append(number % alike)
            way.sent(number % alike)
        elif act == "reset":
            under_way.clear()
            way.reset()
        elif under_way and act == "deliver":
            way.delivered(under_way[0])
            way.acknowledged(under_way.pop(0))
        elif under_way:
            lost = under_way.pop(0)
            (way.in_doubt if is_doubtful else way.gap)(lost)
    while under_way:
        way.delivered(under_way.pop(0))
    way.check(AT_MOST_ONCE)
    if not is_doubtful:
        way.check(EXACTLY_ONCE)


# What the reader gets.


def test_the_error_says_what_is_wrong_and_shows_where() -> None:
    history = History()
    up = history.way("client -> server")
    down = history.way("server -> client")
    for number, message in enumerate("abcd"):
        up.sent(message, at=number / 10)
        down.sent(message)
        down.delivered(message)
    up.delivered("a", at=1.0)
    up.delivered("d", at=1.25)
    up.dropped("c", why="too old", at=2.0)
    with pytest.raises(HistoryError, match="client -> server") as caught:
        history.check(EXACTLY_ONCE)
    assert isinstance(caught.value, AssertionError)
    assert str(caught.value).splitlines() == [
        "client -> server: exactly once is not kept: 1 lost",
        "  lost: #2 sent 'b' at 0.100 s, no. 2 of those sent",
        "  the record around the first of them:",
        "    #1 sent 'a' at 0.000 s",
        "  > #2 sent 'b' at 0.100 s",
        "    #3 sent 'c' at 0.200 s",
        "    #4 sent 'd' at 0.300 s",
        "    #5 delivered 'a' at 1.000 s",
        "    #6 delivered 'd' at 1.250 s",
    ]
    (verdict,) = caught.value.verdicts
    assert (verdict.way, verdict.guarantee) == ("client -> server", EXACTLY_ONCE)
    assert str(down.verdict(EXACTLY_ONCE)) == "server -> client: exactly once is kept"


def test_each_kind_of_breach_is_told_in_the_readers_words() -> None:
    way = run("abc", "acbbx")
    way.acknowledged("a")
    way.acknowledged("a")
    way.gap_range(5, 6, why="history expired")
    way.reset(End.RECEIVER)
    told = (
        "up: exactly once is not kept: "
        "1 duplicated, 1 out of order, 2 never sent, 1 acknowledged twice\n"
        "  duplicated: #7 delivered 'b', no. 2 of those sent, after #6 delivered 'b'\n"
        "  out of order: #6 delivered 'b', no. 2 of those sent, after #5 delivered 'c'\n"
        "  never sent: #8 delivered 'x'\n"
        "  never sent: #11 gap no. 5 to 6 (history expired)\n"
        "  acknowledged twice: "
        "#10 acknowledged 'a', no. 1 of those sent, after #9 acknowledged 'a'\n"
    )
    assert str(way.verdict(EXACTLY_ONCE)).startswith(told)


def test_long_lists_and_long_messages_are_shortened() -> None:
    way = run([f"{number:03}" * 100 for number in range(50)])
    way.sent(tuple(range(100)))
    text = str(way.verdict(EXACTLY_ONCE))
    assert "  lost: and 46 more\n" in text
    assert len(text.splitlines()) == 13
    assert max(map(len, text.splitlines())) < 120
    assert "'... (300 long)" in text
    assert "15, 16, 1..., no. 51" in str(way.verdict(EXACTLY_ONCE).breaches[-1])


def test_the_excerpt_shows_as_much_before_the_first_breach_as_after_it() -> None:
    verdict = run("abcdef", "abcdefaaaaa").verdict(EXACTLY_ONCE)
    assert [record.line for record in verdict.excerpt] == [*range(9, 18)]
    assert verdict.breaches[0].record.line == 13


def test_a_reset_stands_in_the_record_with_who_saw_it() -> None:
    way = WayHistory("up")
    way.reset(End.SENDER, why="the server forgot")
    way.delivered("a")
    excerpt = way.verdict(EXACTLY_ONCE).excerpt
    assert str(excerpt[0]) == "#1 reset seen by the sender (the server forgot)"


def test_the_error_survives_pickling_and_copying() -> None:
    with pytest.raises(HistoryError, match="1 lost") as caught:
        run("a").check(EXACTLY_ONCE)
    for other in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):  # noqa: S301
        assert str(other) == str(caught.value)
        assert other.verdicts == caught.value.verdicts


def test_a_summary_counts_one_way_or_all() -> None:
    history = History()
    up, down = history.way("up"), history.way("down")
    for message in "abcdef":
        up.sent(message)
    for message in "acbb":
        up.delivered(message)
    up.acknowledged("a")
    up.in_doubt("d")
    up.dropped("e")
    up.gap("f", "f")
    down.sent("a")
    down.reset()
    down.sent("a")
    down.sent("b")
    down.gap_range(1, 2)
    one = Summary(
        sent=6,
        delivered=4,
        acknowledged=1,
        lost=1,
        duplicated=1,
        reordered=1,
        in_doubt=1,
        dropped=1,
        gaps=2,
    )
    assert up.summary(EXACTLY_ONCE) == one
    assert history.summary(EXACTLY_ONCE) == one + Summary(sent=3, gaps=2, resets=1)


def test_both_ends_find_a_way_by_its_name() -> None:
    history = History()
    assert history.way("up", key=itemgetter(0)) is history.way("up")
    assert history.way("up") is not history.way("down")
    with pytest.raises(UsageError, match="way 'up' is there already: give its key and slot"):
        history.way("up", slot=itemgetter(0))


@pytest.mark.parametrize(("first", "last"), [(0, 1), (3, 2), (-1, -1)])
def test_a_gap_begins_with_1_and_does_not_end_before(first: int, last: int) -> None:
    with pytest.raises(UsageError, match=f"no gap goes from {first} to {last}"):
        WayHistory("up").gap_range(first, last)


def test_the_example_in_the_docstring_runs() -> None:
    result = doctest.testmod(module)
    assert result.attempted > 5
    assert not result.failed


@pytest.mark.once
@pytest.mark.no_cover
@pytest.mark.parametrize("alike", [1, 2, 10**6])
@pytest.mark.parametrize("order", ["in order", "backwards", "odd ones last", "not at all"])
def test_nothing_takes_more_than_n_log_n(alike: int, order: str) -> None:
    size = 10_000
    numbers = {
        "in order": [*range(size)],
        "backwards": [*range(size)][::-1],
        "odd ones last": [*range(0, size, 2), *range(1, size, 2)],
        "not at all": [],
    }[order]
    way = run([number % alike for number in range(size)], [n % alike for n in numbers * 2])
    for number in numbers:
        way.acknowledged(number % alike)
    way.delivered(0)
    began = time.process_time()
    for guarantee in Guarantee:
        way.verdict(guarantee)
    assert time.process_time() - began < 5  # a fraction of a second; minutes if quadratic
