"""What a store was asked to do and has not done yet.

The event loop puts operations in, a worker thread takes out what they come to. Both hold no more
than what is to be kept: what takes the place of another has it forgotten at once.

A portion is closed when a commit begins, and one that a thread may have is not changed any more.
So what was noted in one step of the event loop is in one portion, and in one transaction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from .base import STREAM, Stored, check_next, check_position, check_text

__all__ = ["Batch", "Pending", "Span"]

Span = tuple[int, int]
"""Numbers in a row: the first and the last."""


@dataclass(slots=True, kw_only=True)
class Batch:
    """What some operations come to, if they are done in the order of these attributes.

    Attributes:
        ended: streams of which all is forgotten that was there before.
        removed: of each stream the numbers of messages that were there before, and of others.
            Those in a row are one span, and so spans are hardly more than messages are kept.
        added: of each stream the messages by number, though not those that were removed again.
        positions: the newest text of each name, though not of those that were forgotten again.
        next_number: above the number of every message that was added to the stream "", also of
            those that were removed again; 0 if there was none.
    """

    ended: dict[str, None] = field(default_factory=dict)
    removed: dict[str, list[Span]] = field(default_factory=dict)
    added: dict[str, dict[int, Stored]] = field(default_factory=dict)  # none of them is empty
    positions: dict[str, str] = field(default_factory=dict)
    next_number: int = 0

    def add(self, stored: Stored) -> None:
        """A message is to be kept."""
        self.added.setdefault(stored.stream, {})[stored.number] = stored
        if not stored.stream:
            self.next_number = stored.number + 1

    def remove(self, stream: str, spans: Iterable[Span]) -> None:
        """Messages are to be forgotten; those added here as well may be there: see `Database`."""
        removed = _joined(spans)
        if not removed:
            return
        self.removed[stream] = _joined([*self.removed.get(stream, ()), *removed])
        messages = self.added.get(stream)
        if messages:
            for first, last in removed:
                _take_out(messages, first, last)
            if not messages:
                del self.added[stream]

    def end(self, stream: str) -> None:
        """All of a stream is to be forgotten, and the position that has its name."""
        self.ended[stream] = None
        for kept in (self.removed, self.added, self.positions):
            kept.pop(stream, None)

    def follow(self, later: Batch) -> None:
        """Come to what this batch and a later one come to together."""
        for stream in later.ended:
            self.end(stream)
        for stream, spans in later.removed.items():
            self.remove(stream, spans)
        for stream, messages in later.added.items():
            self.added.setdefault(stream, {}).update(messages)
        self.positions.update(later.positions)
        self.next_number = later.next_number or self.next_number


class Pending:
    """Operations in the order in which they were asked for, or what they come to.

    Attributes:
        asked: how many there ever were.
        done: how many of these are on disk, the first ones. # done <= asked
    """

    __slots__ = (
        "_closed",
        "_closed_upto",
        "_next_number",
        "_open",
        "_taken",
        "_taken_upto",
        "asked",
        "done",
    )

    def __init__(self, next_number: int) -> None:
        self._next_number = next_number
        self._open = Batch()  # the event loop's own
        self._closed: deque[tuple[int, Batch]] = deque()  # each with `asked` at its end
        self._taken = Batch()  # is for whoever has the turn
        self._closed_upto = self._taken_upto = 0  # done <= _taken_upto <= _closed_upto <= asked
        self.asked: int = 0
        self.done: int = 0

    # For the event loop.

    def add(self, stored: Stored) -> None:
        """See `OutboxStore.add`."""
        self._next_number = check_next(stored, self._next_number)
        self._open.add(stored)
        self.asked += 1

    def remove(self, numbers: Iterable[int], stream: str) -> None:
        """See `OutboxStore.remove`."""
        check_text(STREAM, stream)
        self._open.remove(stream, ((number, number) for number in numbers))
        self.asked += 1

    def forget(self, stream: str) -> None:
        """See `OutboxStore.forget`."""
        check_text(STREAM, stream)
        self._open.end(stream)
        self.asked += 1

    def save_position(self, name: str, position: str) -> None:
        """See `OutboxStore.save_position`."""
        check_position(name, position)
        self._open.positions[name] = position
        self.asked += 1

    def close_portion(self) -> int:
        """Have what was asked for so far be taken as a whole; how much that is."""
        if self.asked > self._closed_upto:
            self._closed.append((self.asked, self._open))
            self._open, self._closed_upto = Batch(), self.asked
        return self.asked

    # For the thread that has the turn.

    def take(self, upto: int) -> Batch:
        """What the portions up to there come to that are not done, and any that was taken."""
        while self._closed and self._closed[0][0] <= upto:
            taken_upto, batch = self._closed[0]
            if self.has_taken:
                self._taken.follow(batch)
            else:
                self._taken = batch
            self._taken_upto = taken_upto
            self._closed.popleft()
        return self._taken

    @property
    def has_taken(self) -> bool:
        """Whether something was taken and is not done."""
        return self._taken_upto > self.done

    def finish(self) -> None:
        """What was taken is done."""
        self.done, self._taken = self._taken_upto, Batch()


def _joined(spans: Iterable[Span]) -> list[Span]:
    """The same numbers in as few spans as there can be, in their order."""
    joined: list[Span] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        else:
            joined.append((first, last))
    return joined


def _take_out(messages: dict[int, Stored], first: int, last: int) -> None:
    """Have none of the messages from the first number to the last."""
    if last - first < len(messages):
        for number in range(first, last + 1):
            messages.pop(number, None)
    else:
        for number in [number for number in messages if first <= number <= last]:
            del messages[number]
