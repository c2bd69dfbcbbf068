"""What many receipts share: texts written one after the other, with one state for all of them."""

from __future__ import annotations

from typing import Protocol

from .entry import Entry

__all__ = ["Burst"]


class Expanding(Protocol):
    """What holds the texts of a burst."""

    def expand(self) -> None:
        """Have an entry for each message."""
        ...


class Burst:
    """Texts that were written one after the other, about which there is nothing else to know.

    An entry for each would cost as much as all the rest of sending it. One number is enough for
    all of them: how many are acknowledged. Where it is not any more - a link is lost, somebody
    waits - the queue expands the burst.

    Attributes:
        done: how many of its messages are acknowledged, the first ones.
        entries: those that were not when it was expanded; None: it was not.
    """

    __slots__ = ("_queue", "done", "entries")

    def __init__(self, queue: Expanding) -> None:
        self._queue = queue
        self.done: int = 0
        self.entries: list[Entry] | None = None

    def find(self, index: int) -> Entry | None:
        """The entry of one of its messages; None if it has none (any more)."""
        index -= self.done
        return None if index < 0 or self.entries is None else self.entries[index]

    def expand(self) -> None:
        """Have an entry made for each message that is not acknowledged."""
        if self.entries is None:
            self._queue.expand()
