"""A store that lives as long as its object."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from ..errors import UsageError
from .base import (
    FIRST_NUMBER,
    NOT_OPEN,
    STREAM,
    Contents,
    Stored,
    check_next,
    check_position,
    check_text,
)

__all__ = ["MemoryStore"]


class _State(Enum):
    """Whether the store may be used."""

    CLOSED = "closed"
    OPEN = "open"


class MemoryStore:
    """Streams of messages and positions in memory: gone with the object, but not with `close`.

    See `OutboxStore` for what its methods do. Nothing of it waits.
    """

    __slots__ = ("_next_number", "_positions", "_state", "_streams")

    def __init__(self) -> None:
        self._state = _State.CLOSED
        self._streams: dict[str, dict[int, Stored]] = {}  # none of them is empty
        self._positions: dict[str, str] = {}
        self._next_number = FIRST_NUMBER

    async def open(self) -> Contents:
        """See `OutboxStore.open`."""
        if self._state is _State.OPEN:
            raise UsageError("cannot open the store: it is open; close() it first")
        self._state = _State.OPEN
        return Contents(
            messages=[
                messages[number]
                for _, messages in sorted(self._streams.items())
                for number in sorted(messages)
            ],
            positions=dict(self._positions),
            next_number=self._next_number,
        )

    def add(self, stored: Stored) -> None:
        """See `OutboxStore.add`."""
        self._check_open()
        self._next_number = check_next(stored, self._next_number)
        self._streams.setdefault(stored.stream, {})[stored.number] = stored

    def remove(self, numbers: Iterable[int], *, stream: str = "") -> None:
        """See `OutboxStore.remove`."""
        self._check_open()
        check_text(STREAM, stream)
        messages = self._streams.get(stream, {})
        for number in numbers:
            messages.pop(number, None)
        if not messages:
            self._streams.pop(stream, None)

    def forget(self, stream: str) -> None:
        """See `OutboxStore.forget`."""
        self._check_open()
        check_text(STREAM, stream)
        self._streams.pop(stream, None)
        self._positions.pop(stream, None)

    def save_position(self, name: str, position: str) -> None:
        """See `OutboxStore.save_position`."""
        self._check_open()
        check_position(name, position)
        self._positions[name] = position

    async def commit(self) -> None:
        """See `OutboxStore.commit`."""
        self._check_open()

    async def close(self) -> None:
        """See `OutboxStore.close`."""
        self._state = _State.CLOSED

    def _check_open(self) -> None:
        if self._state is not _State.OPEN:
            raise UsageError(NOT_OPEN)
