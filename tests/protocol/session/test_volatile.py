"""What becomes of volatile messages whose peer is slow to answer, or never does."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

from hypothesis import example, given
from hypothesis import strategies as st

from statews.protocol.entry import Entry, ReceiptState
from statews.protocol.session import Peer
from statews.protocol.session.unconfirmed import MOST_UNANSWERED, MOST_VOLATILE

from .sides import Notes, frames, make_open, take

WRITTEN, ACKNOWLEDGED, IN_DOUBT = (
    ReceiptState.WRITTEN,
    ReceiptState.ACKNOWLEDGED,
    ReceiptState.IN_DOUBT,
)


def write(peer: Peer, count: int) -> list[Entry]:
    entries = [Entry("v") for _ in range(count)]
    for entry in entries:
        peer.write_volatile(entry)
    return entries


def states(entries: list[Entry]) -> list[ReceiptState]:
    return [entry.state for entry in entries]


def test_of_so_many_that_nobody_answers_for_the_oldest_are_in_doubt() -> None:
    peer = make_open()
    entries = write(peer, MOST_UNANSWERED)
    assert MOST_UNANSWERED == 4 * MOST_VOLATILE
    assert set(states(entries)) == {WRITTEN}
    write(peer, 2)
    assert states(entries[:3]) == [IN_DOUBT, IN_DOUBT, WRITTEN]
    assert entries[0].reason == "the peer has not confirmed it, nor 1024 later ones"
    assert frames(peer) == ["P"]


def test_an_answer_that_comes_late_settles_none_but_those_before_its_question() -> None:
    peer = make_open()
    before = write(peer, MOST_VOLATILE)
    assert frames(peer) == ["P"]
    behind = write(peer, MOST_UNANSWERED - 1)
    assert take(peer, "Q") == []
    assert states(before) == [*[IN_DOUBT] * (MOST_VOLATILE - 1), ACKNOWLEDGED]
    assert set(states(behind)) == {WRITTEN}
    assert frames(peer) == ["P"]
    take(peer, "Q")
    assert set(states(behind)) == {ACKNOWLEDGED}
    assert (frames(peer), peer.is_idle) == ([], True)


def test_an_answer_that_comes_too_late_settles_nothing() -> None:
    peer = make_open()
    before = write(peer, MOST_VOLATILE)
    behind = write(peer, MOST_UNANSWERED)
    assert set(states(before)) == {IN_DOUBT}
    take(peer, "Q")
    assert set(states(behind)) == {WRITTEN}


class Model:
    """What each message should have come to, by its place among all that were written."""

    def __init__(self) -> None:
        self.states: list[ReceiptState] = []
        self.unsettled: list[int] = []
        self.asked: int | None = None  # how many were written before the question under way
        self.wanted = 0
        self.questions = 0

    def write(self) -> None:
        if len(self.unsettled) == MOST_UNANSWERED:
            self.states[self.unsettled.pop(0)] = IN_DOUBT
        self.unsettled.append(len(self.states))
        self.states.append(WRITTEN)
        if len(self.unsettled) - bisect_left(self.unsettled, self.asked or 0) >= MOST_VOLATILE:
            self.ask()

    def ask(self) -> None:
        self.wanted = len(self.states)
        if self.asked is None:
            self.asked = self.wanted
            self.questions += 1

    def answer(self) -> None:
        asked, self.asked = self.asked or 0, None
        while self.unsettled and self.unsettled[0] < asked:
            self.states[self.unsettled.pop(0)] = ACKNOWLEDGED
        if self.unsettled and self.unsettled[0] < self.wanted:
            self.ask()


Step = st.integers(1, 3 * MOST_VOLATILE) | st.sampled_from(["ask", "answer"])


@given(steps=st.lists(Step, max_size=12))
@example(steps=[1, "ask", MOST_UNANSWERED - 1, "answer", 2, "answer"])
def test_each_is_settled_as_by_one_who_remembers_all(steps: list[int | str]) -> None:
    peer, model = make_open(), Model()
    entries: list[Entry] = []
    questions = 0
    for step in steps:
        match step:
            case "ask":
                peer.ask()
                model.ask()
            case "answer":
                peer.take(deque(["Q"]), Notes())
                model.answer()
            case _:
                entries += write(peer, int(step))
                for _ in range(int(step)):
                    model.write()
        questions += frames(peer).count("P")
        assert states(entries) == model.states
        assert (questions, peer.volatile.is_asked) == (model.questions, model.asked is not None)
