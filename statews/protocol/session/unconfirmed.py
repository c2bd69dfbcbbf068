"""What was written for one link alone, until the other side confirms it.

Volatile messages have no numbers. The answer to a question confirms all that went before it, and
one question is on its way at a time.
"""

from __future__ import annotations

from typing import Final

from ..entry import ACKNOWLEDGED, IN_DOUBT, WRITTEN, Entry

__all__ = ["MOST_UNANSWERED", "MOST_VOLATILE", "Unconfirmed"]

# One object for all sessions that have nothing of the kind, and never changed.
_NO_ENTRIES: Final[list[Entry]] = []
MOST_VOLATILE: Final = 256  # whose arrival is not known, before the peer is asked
MOST_UNANSWERED: Final = 4 * MOST_VOLATILE  # kept for a peer that does not answer


class Unconfirmed:
    """The volatile messages of a link whose arrival is not known.

    Attributes:
        entries: in the order in which they were written.
        is_asked: whether a question is on its way that was not answered.
        is_wanted: whether somebody wants to know of some that the question is not about.
    """

    __slots__ = ("_asked", "entries", "is_asked", "is_wanted")

    def __init__(self) -> None:
        self.entries: list[Entry] = _NO_ENTRIES
        self.is_asked: bool = False
        self.is_wanted: bool = False
        self._asked = 0  # how many were written before the question

    @property
    def longest(self) -> Entry | None:
        """The first of the longest ones; None if there are none."""
        return max(self.entries, key=lambda entry: entry.size, default=None)

    def add(self, entry: Entry) -> bool:
        """One is written; whether it is time to ask."""
        if len(self.entries) >= MOST_UNANSWERED:
            self._doubt_oldest()
        entry.state, entry.attempts = WRITTEN, 1
        self.entries = self.entries or []
        self.entries.append(entry)
        return len(self.entries) - self._asked >= MOST_VOLATILE

    def _doubt_oldest(self) -> None:
        """The peer reads and does not answer: the oldest one makes room."""
        oldest = self.entries.pop(0)
        self._asked = max(0, self._asked - 1)
        oldest.move(IN_DOUBT, f"the peer has not confirmed it, nor {MOST_UNANSWERED} later ones")

    def ask(self) -> bool:
        """Somebody wants to know; whether a question goes out now, and not after an answer."""
        count = len(self.entries)
        if self.is_asked:
            self.is_wanted = count > self._asked
            return False
        self.is_asked, self.is_wanted = True, False
        self._asked = count
        return True

    def answered(self) -> bool:
        """What went before the question has arrived; whether that is anything."""
        self.is_asked = False
        count, self._asked = self._asked, 0
        settled, self.entries = self.entries[:count], self.entries[count:]
        for entry in settled:
            entry.move(ACKNOWLEDGED)
        return bool(settled)

    def refuse(self, entry: Entry) -> None:
        """The other side would not take it."""
        self.entries.remove(entry)
        entry.refuse()

    def suspend(self) -> None:
        """The link is lost, and all of these with it."""
        entries, self.entries = self.entries, _NO_ENTRIES
        self.is_asked = self.is_wanted = False
        self._asked = 0
        for entry in entries:
            entry.move(IN_DOUBT, "its link was lost before the peer had confirmed it")
