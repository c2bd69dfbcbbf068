"""What was sent and is not settled yet: one queue, its head on the wire, its tail waiting.

The first `written` entries were handed to the present link and wait to be acknowledged; the
others wait for a link. So order is the order of one list, and to send again after a lost link
is to move one boundary back to the front. Nothing leaves the queue but with a word to whoever
holds its receipt.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Final

from typing_extensions import assert_never

from ..errors import OutboxFullError
from ..policy import AtLimit, Delivery, Outbox
from .entry import ACKNOWLEDGED, DROPPED, EXPIRED, IN_DOUBT, PLAIN, QUEUED, WRITTEN, Entry
from .inflight import InFlight

__all__ = ["DIRECT", "Queue"]

DIRECT: Final = 64 * 1024  # bytes; a longer message is not written before the limit was looked at
_NO_KEYS: Final[dict[Hashable, Entry]] = {}  # one for all queues without, and never changed


class Queue(InFlight):
    """The outbox of one connection.

    Attributes:
        numbered: how many entries, from the first on, have numbers that outlive the link; they
            neither expire nor make room for newer ones.
    """

    __slots__ = ("_keys", "_settings", "_soonest", "numbered")

    acknowledged: int
    size_bytes: int
    written: int

    def __init__(self, settings: Outbox) -> None:
        super().__init__()
        self._settings = settings
        self._keys: dict[Hashable, Entry] = _NO_KEYS  # the waiting one of each key
        self._soonest = math.inf  # nothing that waits expires before
        self.numbered: float = 0

    @property
    def has_waiting(self) -> bool:
        """Whether something waits for a link."""
        return len(self.entries) > self.written

    @property
    def fixed(self) -> int:
        """How many entries, from the first on, keep their place whatever comes."""
        return int(min(max(self.written, self.numbered), len(self.entries)))

    # In.

    def has_room(self, size: int) -> bool:
        """Whether a message of so many bytes fits. Into an empty queue every message does."""
        settings, count = self._settings, len(self.entries) + len(self.texts)
        return not count or (
            count < settings.messages and self.size_bytes + size <= settings.size_bytes
        )

    def put_behind(self, entry: Entry) -> bool:
        """Take in what has nothing about it and comes behind others that wait; whether it is so.

        It needs no look at the clock, nor at the link: what lets the others out lets it out.
        """
        if entry.terms is not PLAIN or len(self.entries) <= self.written:
            return False
        if not self.has_room(entry.size):
            return False
        self._append(entry)
        return True

    def put(self, entry: Entry, now: float) -> bool:
        """Take in what has to wait, and settle it or others as the limit says.

        Returns:
            Whether it is in, or settled; False: wait until there is room, and come again.

        Raises:
            OutboxFullError: the outbox is at its limit, and is to raise.
        """
        self.expand()
        if entry.terms.key is not None:
            self._drop_older(entry.terms.key)
        if not self.has_room(entry.size):
            self.expire(now)
        while not self.has_room(entry.size):
            match self._settings.at_limit:
                case AtLimit.WAIT:
                    return False
                case AtLimit.RAISE:
                    held = f"{len(self.entries)} messages of {self.size_bytes} bytes in all"
                    raise OutboxFullError(f"the outbox is at its limit: it holds {held}")
                case AtLimit.DROP_NEWEST:
                    entry.move(DROPPED, "the outbox was full")
                    return True
                case AtLimit.DROP_OLDEST | AtLimit.CONFLATE:
                    self._drop_oldest()
                case _:
                    assert_never(self._settings.at_limit)
        self._append(entry)
        return True

    def restore(self, entry: Entry) -> None:
        """Take back in what an earlier process left, whatever the limits are now."""
        self._append(entry)

    def _append(self, entry: Entry) -> None:
        key = entry.terms.key
        if key is not None:
            self._drop_older(key)
            self._keys = self._keys or {}
            self._keys[key] = entry
        self._add(entry)
        self._soonest = min(self._soonest, entry.terms.expires_at)

    def _drop_older(self, key: Hashable) -> None:
        older = self._keys.get(key)
        if older is not None:
            self._take_out(self.entries.index(older, self.fixed))
            older.give_up(DROPPED, "a newer message with its key took its place")

    def _drop_oldest(self) -> None:
        """The oldest that waits; if none does, the oldest of all, and that is in doubt."""
        fixed = self.fixed
        entry = self._take_out(fixed if fixed < len(self.entries) else 0)
        entry.give_up(DROPPED, "the outbox was full of newer messages")

    def _take_out(self, index: int) -> Entry:
        entry = self.entries.pop(index)
        if index < self.written:
            self.written -= 1
            self.acknowledged += 1
        self.size_bytes -= entry.size
        self._unkey(entry)
        self._note(entry)
        return entry

    def _unkey(self, entry: Entry) -> None:
        """An entry waits no longer."""
        key = entry.terms.key
        if key is not None and self._keys.get(key) is entry:
            del self._keys[key]

    # Out.

    def next_waiting(self, now: float) -> Entry | None:
        """The first that waits and is still worth sending; None if there is none."""
        while self.has_waiting:
            entry = self.entries[self.written]
            if entry.terms.expires_at > now or self.written < self.numbered:
                return entry
            self._take_out(self.written)
            entry.give_up(EXPIRED, "its time to live was over")
        return None

    def wrote(self, entry: Entry) -> None:
        """What `next_waiting` gave was handed to the link."""
        self.written += 1
        entry.attempts += 1
        entry.position = self.position
        self._unkey(entry)
        entry.move(WRITTEN)

    def withdraw(self, entry: Entry, reason: str) -> None:
        """Drop one that waits, or that a store was to keep when the queue was closed."""
        if entry in self.entries:
            self._take_out(self.entries.index(entry, self.written))
        else:
            self._note(entry)
        entry.give_up(DROPPED, reason)

    def refuse_longest(self, *, longer_than: int = 0) -> bool:
        """Give up what the peer ended the link for, since it would not take it.

        Returns:
            Whether the link was given something longer than that.
        """
        self.expand()
        entry = max(self._given(), key=lambda each: each.size, default=None)
        if entry is None or entry.size <= longer_than:
            return False
        self._vacate(self.entries.index(entry))
        entry.refuse()
        return True

    def _given(self) -> list[Entry]:
        """What the link was given, and may be given up."""
        return self.entries[: self.written]

    def _vacate(self, index: int) -> None:
        self._take_out(index)

    def acknowledge_unnamed(self, position: int) -> int:
        """`acknowledge` where the application acknowledges what it has a name for."""
        covered = [
            index
            for index, entry in enumerate(self.entries[: self.written])
            if entry.terms.acknowledged_by is None and entry.position <= position
        ]
        for index in reversed(covered):
            self._take_out(index).move(ACKNOWLEDGED)
        return len(covered)

    def acknowledge_named(self, name: Hashable, *, is_cumulative: bool) -> int:
        """The application's acknowledgement of one message, or of all up to it; how many.

        It may be for a message of an earlier link that was not sent again yet. 0: nothing that
        was ever written bears that name.
        """
        index = None if name is None else self._find(name)
        if index is None:
            return 0
        first = 0 if is_cumulative else index
        for _ in range(first, index + 1):
            self._take_out(first).move(ACKNOWLEDGED)
        return index + 1 - first

    def _find(self, name: Hashable) -> int | None:
        for index, entry in enumerate(self.entries):
            if not entry.attempts:
                return None  # nor was anything behind it written
            if entry.terms.acknowledged_by == name:
                return index
        return None

    def expire(self, now: float) -> float:
        """Settle what waits and has outlived its time; return when the next one will."""
        if now < self._soonest:
            return self._soonest
        self._soonest = math.inf
        index = self.fixed
        while index < len(self.entries):
            expires_at = self.entries[index].terms.expires_at
            if expires_at <= now:
                self._take_out(index).give_up(EXPIRED, "its time to live was over")
            else:
                self._soonest = min(self._soonest, expires_at)
                index += 1
        return self._soonest

    # The link comes and goes.

    def lose_link(self) -> None:
        """What was written and not acknowledged is in doubt, or waits again before the rest."""
        self.expand()
        written, entries = self.written, self._take_all()
        self._keys = _NO_KEYS
        is_sent_again = self._settings.delivery is Delivery.AT_LEAST_ONCE
        for index, entry in enumerate(entries):
            is_written = index < written
            if is_written and not is_sent_again:
                entry.move(IN_DOUBT, "its link was lost before the peer had confirmed it")
            elif entry.terms.link_only:
                entry.give_up(DROPPED, "its link was lost")
            else:
                if is_written:
                    entry.move(QUEUED)
                self._append(entry)

    def close(self) -> None:
        """The connection is over: settle everything but what a store keeps for the next one."""
        self.expand()
        self._keys = _NO_KEYS
        self._soonest = math.inf
        for entry in self._take_all():
            if not entry.terms.number:
                entry.give_up(DROPPED, "the connection was closed")
            elif entry.state is WRITTEN:
                entry.move(QUEUED)
            else:
                entry.wake()
