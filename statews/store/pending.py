"""What a store was asked to do and has not done yet.

The event loop puts operations in, a worker thread takes them out. Both only use steps that
no other thread sees half done: appending to a list, slicing it, deleting a slice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from typing_extensions import assert_never

from .base import STREAM, Stored, check_next, check_position, check_text

__all__ = ["Batch", "End", "Pending", "Position", "Removal", "net"]


@dataclass(frozen=True, slots=True)
class Removal:
    """These messages of the stream are to be forgotten."""

    stream: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class End:
    """All of the stream is to be forgotten, and the position that has its name."""

    stream: str


@dataclass(frozen=True, slots=True)
class Position:
    """This is to be kept under the name."""

    name: str
    text: str


Operation: TypeAlias = Stored | Removal | End | Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What some operations come to, if they are done in the order of these attributes.

    Attributes:
        ended: streams of which all is forgotten that was there before.
        removed: stream and number, of messages that were there before and of others.
        added: messages, though not those that were removed again.
        positions: the newest text of each name, though not of those that were forgotten again.
        next_number: above the number of every message that was added to the stream "", also of
            those that were removed again; 0 if there was none.
    """

    ended: list[str]
    removed: list[tuple[str, int]]
    added: list[Stored]
    positions: dict[str, str]
    next_number: int


class Pending:
    """Operations in the order in which they were asked for.

    Attributes:
        asked: how many there ever were.
        done: how many of these are on disk, the first ones. # done <= asked
    """

    __slots__ = ("_next_number", "_operations", "asked", "done")

    def __init__(self, next_number: int) -> None:
        self._next_number = next_number
        self._operations: list[Operation] = []  # len == asked - done
        self.asked: int = 0
        self.done: int = 0

    def add(self, stored: Stored) -> None:
        """See `OutboxStore.add`."""
        self._next_number = check_next(stored, self._next_number)
        self._append(stored)

    def remove(self, numbers: Iterable[int], stream: str) -> None:
        """See `OutboxStore.remove`."""
        check_text(STREAM, stream)
        self._append(Removal(stream, tuple(numbers)))

    def forget(self, stream: str) -> None:
        """See `OutboxStore.forget`."""
        check_text(STREAM, stream)
        self._append(End(stream))

    def save_position(self, name: str, position: str) -> None:
        """See `OutboxStore.save_position`."""
        check_position(name, position)
        self._append(Position(name, position))

    def _append(self, operation: Operation) -> None:
        self._operations.append(operation)
        self.asked += 1

    def first(self, upto: int) -> Sequence[Operation]:
        """Those of the first `upto` that are not done."""
        return self._operations[: max(0, upto - self.done)]

    def finish(self, count: int) -> None:
        """The first `count` that were not done are done."""
        del self._operations[:count]
        self.done += count


def net(operations: Sequence[Operation]) -> Batch:
    """What these operations come to."""
    ended: list[str] = []
    removed: list[tuple[str, int]] = []
    added: defaultdict[str, dict[int, Stored]] = defaultdict(dict)
    positions: dict[str, str] = {}
    next_number = 0
    for operation in operations:
        match operation:
            case Stored():
                added[operation.stream][operation.number] = operation
                if not operation.stream:
                    next_number = operation.number + 1
            case Removal(stream, numbers):
                # Also of what is added here: it may be there, see `Database`.
                removed += ((stream, number) for number in numbers)
                for number in numbers:
                    added[stream].pop(number, None)
            case End(stream):
                ended.append(stream)
                added.pop(stream, None)
                positions.pop(stream, None)
            case Position():
                positions[operation.name] = operation.text
            case _:
                assert_never(operation)
    return Batch(
        ended=ended,
        removed=removed,
        added=[stored for messages in added.values() for stored in messages.values()],
        positions=positions,
        next_number=next_number,
    )
