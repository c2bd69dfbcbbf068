"""Which keys wait for an answer to a request, since when, and how often it was asked."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from ..plain import Message
from .fetching import Settings
from .strategy import Key, Outcome
from .track import Track

__all__ = ["Ask", "Question", "Questions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What `After` wants from the server: everything after `after`, and before `before`.

    Attributes:
        key: whose messages; None if the stream has no keys.
        after: the number before the first one wanted.
        before: the number after the last one wanted; None: all there are.
        epoch: of the numbers; None if it is not known.
    """

    key: Key
    after: int
    before: int | None
    epoch: Key


@dataclass(slots=True)
class Question:
    """One hole, or the unknown end, that the server was asked about.

    Attributes:
        after: see `Ask`.
        before: see `Ask`.
        deadline: when the answer is overdue.
        left: further requests before it is given up.
        unanswered: requests sent whose answer has not come.
        is_again: messages were lost on the way. Whatever is held, it is asked for all there are,
            and no answer to an earlier request will do.
    """

    after: int
    before: int | None
    deadline: float
    left: int
    unanswered: int = 0
    is_again: bool = False

    def answered(self) -> None:
        """One of the answers is here."""
        self.unanswered = max(0, self.unanswered - 1)  # 0 if the request could not be made

    def is_closed(self, last: int) -> bool:
        """Whether the hole that was asked about is filled."""
        return self.before is not None and last >= self.before - 1


class Questions:
    """The open questions, at most one per key, the one that is due first at the front.

    Answers may still come to questions that are not open any more. They are counted, lest such
    a page be taken for the answer to a newer question.

    Attributes:
        is_doubtful: some answers that are counted may never come.
    """

    __slots__ = ("_late", "_open", "_outcome", "_request", "_settings", "is_doubtful")

    def __init__(
        self, request: Callable[[Ask], Message], *, settings: Settings, outcome: Outcome
    ) -> None:
        self._request = request
        self._settings = settings
        self._outcome = outcome
        self._open: OrderedDict[Key, Question] = OrderedDict()
        self._late = 0
        self.is_doubtful: bool = False

    @property
    def first_key(self) -> Key:
        """Who has waited longest; None if nobody waits."""
        return next(iter(self._open), None)

    def get(self, key: Key) -> Question | None:
        """Its open question, if there is one."""
        return self._open.get(key)

    @property
    def first(self) -> tuple[Key, Question]:
        """Who has waited longest; there must be someone."""
        return next(iter(self._open.items()))

    @property
    def due(self) -> float:
        """When the first answer is overdue."""
        return next(iter(self._open.values())).deadline if self._open else math.inf

    @property
    def keys(self) -> list[Key]:
        """Who waits, longest first."""
        return list(self._open)

    def prolong(self, now: float) -> None:
        """Every answer has the whole time again."""
        for question in self._open.values():
            question.deadline = now + self._settings.timeout

    def ask(self, track: Track, now: float, *, is_again: bool = False) -> None:
        """Ask for what comes after the last number released, up to what is held."""
        self.close(track.key)
        self._send(track, now, self._settings.retries, is_again=is_again)

    def repeat(self, track: Track, question: Question, now: float) -> None:
        """Ask again, for what is missing now."""
        self._resend(track, question, now, question.left - 1)

    def ask_again(self, track: Track, now: float) -> None:
        """`repeat`, for the request or its answer may be lost: no retry is spent on that."""
        question = self._open[track.key]
        self._resend(track, question, now, question.left)

    def _resend(self, track: Track, question: Question, now: float, left: int) -> None:
        del self._open[track.key]
        again = self._send(track, now, left, is_again=question.is_again)
        again.unanswered += question.unanswered

    def _send(self, track: Track, now: float, left: int, *, is_again: bool) -> Question:
        before = None if is_again else track.held.lowest
        ask = Ask(key=track.key, after=track.last, before=before, epoch=track.epoch)
        deadline = now + self._settings.timeout
        question = Question(ask.after, before, deadline, left, is_again=is_again)
        if self._outcome.ask(self._request, ask):
            question.unanswered = 1
        self._open[track.key] = question
        return question

    def renew(self, key: Key, question: Question, now: float) -> None:
        """The answer is coming in: it has the whole time again."""
        question.deadline = now + self._settings.timeout
        question.left = self._settings.retries
        self._open.move_to_end(key)

    def close(self, key: Key) -> None:
        """Wait no longer for an answer to this key, if one was waited for."""
        question = self._open.pop(key, None)
        if question is not None:
            self._late += question.unanswered

    def drop_late(self) -> bool:
        """Whether an answer that serves nobody was one of the late ones; then one less is."""
        is_late = self._late > 0
        self._late -= is_late
        return is_late

    def clear(self) -> None:
        """The link is lost, and every answer with it."""
        self._open.clear()
        self._late = 0
        self.is_doubtful = False
