"""The application's own heartbeat: when the server is to hear it, and whether it answers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..protocol.liveness import Passage

if TYPE_CHECKING:
    from ..policy import Heartbeat
    from ..protocol.frames import Message
    from ..transport.link import Link
    from .caller import Caller

__all__ = ["Pulse"]


class Pulse:
    """The heartbeat of a connection's application, on one link after another.

    Attributes:
        due: when the next message is to go out; infinite if none is.
        answer_due: when the answer to one is missing; infinite if none is awaited.
    """

    __slots__ = ("_caller", "_heartbeat", "_link", "_passage", "answer_due", "due")

    def __init__(self, heartbeat: Heartbeat | None, caller: Caller) -> None:
        self.due: float = math.inf
        self.answer_due: float = math.inf
        self._heartbeat = heartbeat
        self._caller = caller
        self._link: Link | None = None
        self._passage = Passage()

    @property
    def has_answers(self) -> bool:
        """Whether something that comes in may be an answer."""
        return self._heartbeat is not None and self._heartbeat.is_answer is not None

    def start(self, link: Link, now: float) -> None:
        """A link is open: it is the one from now on."""
        self._link = link
        if self._heartbeat is not None and self._heartbeat.message is not None:
            self.due = now + self._heartbeat.interval

    def stop(self) -> None:
        """The link is gone."""
        self._link = None
        self.due = self.answer_due = math.inf

    def beat(self, now: float) -> Message | None:
        """Return the message that is due; None if there is none."""
        heartbeat = self._heartbeat
        if now < self.due or heartbeat is None or heartbeat.message is None:
            return None
        self.due = now + heartbeat.interval
        message = heartbeat.message
        if not callable(message):
            return message
        what = "Heartbeat.message"
        made = self._caller.call(what, lambda make: make(), message)
        if isinstance(made, (str, bytes)):
            return made
        self._caller.complain(what, f"{what} made no message but {made!r:.100}")
        return None

    def asked(self, now: float, *, is_held_up: bool) -> None:
        """The message went out.

        Args:
            now: the time.
            is_held_up: whether its answer may have to wait for the application.
        """
        heartbeat, link = self._heartbeat, self._link
        if heartbeat is None or heartbeat.is_answer is None or link is None:
            return
        if not is_held_up:
            link.asked()
        # As with pings, a second question is no second chance.
        if self.answer_due == math.inf:
            self.answer_due = now + heartbeat.timeout
            self._passage.begin(*link.passage)

    def is_answer(self, message: Message) -> bool:
        """Whether it is an answer, which nobody else is to see."""
        heartbeat, link = self._heartbeat, self._link
        if heartbeat is None or heartbeat.is_answer is None or link is None:
            return False
        if not self._caller.call("Heartbeat.is_answer", heartbeat.is_answer, message):
            return False
        link.answered()
        self.answer_due = math.inf
        return True

    def prolong(self, now: float) -> None:
        """No answer could come in until now."""
        if self._heartbeat is not None and self.answer_due < math.inf:
            self.answer_due = now + self._heartbeat.timeout

    def is_missed(self, now: float) -> bool:
        """Whether the answer did not come in time, and nothing that stands before it moves."""
        if now < self.answer_due or self._heartbeat is None or self._link is None:
            return False
        if self._passage.has_moved(*self._link.passage):
            self.answer_due = now + self._heartbeat.timeout
            return False
        self.answer_due = math.inf
        return True
