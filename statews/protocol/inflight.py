"""What was written to a link and waits to be acknowledged: entries, and a burst behind them."""

from __future__ import annotations

from typing import Final

from .burst import Burst
from .entry import ACKNOWLEDGED, PLAIN, WRITTEN, Entry

__all__ = ["InFlight"]

# What most queues never need is one object for all of them, and never changed.
_NO_ENTRIES: Final[list[Entry]] = []
_NO_NUMBERS: Final[list[int]] = []
_NO_TEXTS: Final[list[str]] = []


class InFlight:
    """The part of a `Queue` that a link has.

    Attributes:
        entries: all that is not settled, in the order of sending.
        written: how many of them, from the first on, the present link has.
        texts: that were written behind the entries, as a burst. If there are any, nothing waits.
        burst: what their receipts refer to.
        size_bytes: the payloads of all of them together.
        acknowledged: how many messages of the present link are settled.
        settled: the numbers of stored messages that are settled, until somebody takes them.
    """

    __slots__ = (
        "_most",
        "_most_bytes",
        "_most_texts",
        "acknowledged",
        "burst",
        "entries",
        "settled",
        "size_bytes",
        "texts",
        "written",
    )

    def __init__(self) -> None:
        self._most = self._most_texts = self._most_bytes = 0
        self.entries: list[Entry] = _NO_ENTRIES
        self.texts: list[str] = _NO_TEXTS
        self.burst: Burst | None = None
        self.written: int = 0
        self.size_bytes: int = 0
        self.acknowledged: int = 0
        self.settled: list[int] = _NO_NUMBERS

    def __len__(self) -> int:
        return len(self.entries) + len(self.texts)

    @property
    def position(self) -> int:
        """How many messages the present link was given: the place of the last one."""
        return self.acknowledged + self.written + len(self.texts)

    def track(self, entry: Entry) -> bool:
        """Take in what was written to the link just now. Nothing may be waiting.

        Returns:
            Whether there is more now than `bear` allowed for.
        """
        if self.texts:
            self.expand()
        entry.state = WRITTEN
        entry.attempts = 1
        self.entries = entries = self.entries or []
        entries.append(entry)
        self._most_texts -= 1
        self.written += 1
        self.size_bytes = size = self.size_bytes + entry.size
        return len(entries) > self._most or size > self._most_bytes

    def track_text(self, text: str) -> bool:
        """`track` for ASCII text about which there is nothing to know: the burst is enough.

        Returns:
            Whether there is more now than `bear` allowed for.
        """
        texts = self.texts
        texts.append(text)
        self.size_bytes = size = self.size_bytes + len(text)
        return len(texts) > self._most_texts or size > self._most_bytes

    def begin_burst(self) -> Burst:
        """The first text behind the entries is going to be tracked."""
        self.texts, self.burst = [], Burst(self)
        return self.burst

    def expand(self) -> None:
        """Have an entry for each message."""
        if self.burst is not None:
            self.burst.entries = made = [Entry(text) for text in self.texts]
            self.burst, self.texts = None, _NO_TEXTS
            for entry in made:
                entry.state, entry.attempts = WRITTEN, 1
            self.entries = [*self.entries, *made]
            self.written += len(made)
            self._most_texts = self._most - len(self.entries)

    def bear(self, messages: int, size_bytes: int) -> None:
        """Have `track` and `track_text` speak up beyond so many."""
        self._most, self._most_bytes = messages, size_bytes
        self._most_texts = messages - len(self.entries)

    def acknowledge(self, position: int) -> int:
        """The peer has taken in the first `position` messages of this link; how many are new.

        A position that is none (of an earlier ping, or made up) acknowledges nothing.
        """
        count = position - self.acknowledged
        if not 0 < count <= self.written + len(self.texts):
            return 0
        self.acknowledged = position
        if count > self.written:
            self._acknowledge_texts(count - self.written)
        settled = self.entries[: min(count, self.written)]
        del self.entries[: len(settled)]
        self.written -= len(settled)
        self._most_texts += len(settled)
        for entry in settled:
            self.size_bytes -= entry.size
            entry.state = ACKNOWLEDGED
            if entry.waiter is not None:
                entry.wake()
            if entry.terms is not PLAIN:
                self._note(entry)
        return count

    def _acknowledge_texts(self, count: int) -> None:
        assert self.burst is not None  # noqa: S101 - they are its texts
        self.size_bytes -= sum(map(len, self.texts[:count]))
        del self.texts[:count]
        self.burst.done += count

    def _note(self, entry: Entry) -> None:
        """An entry is settled, and the store need not keep it."""
        if entry.terms.number:
            self.settled = self.settled or []
            self.settled.append(entry.terms.number)

    def _add(self, entry: Entry) -> None:
        self.entries = self.entries or []
        self.entries.append(entry)
        self.size_bytes += entry.size

    def _take_all(self) -> list[Entry]:
        """Give out every entry, and have none."""
        entries, self.entries = self.entries, _NO_ENTRIES
        self.written = self.acknowledged = self.size_bytes = 0
        return entries

    def _slim(self) -> None:
        """Take no more than a queue needs in which nothing is."""
        self.entries = self.entries or _NO_ENTRIES
