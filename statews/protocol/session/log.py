"""What one side of a session has sent, and the other side has not handled yet.

A queue whose entries have numbers that outlive the link: the first entry has the number
`acknowledged + 1`. A client numbers a message when it is first written, so that it may still
expire or be replaced before; a server when it is sent, so that its client learns of each that
was dropped.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import TYPE_CHECKING, Final

from ..entry import DROPPED, IN_DOUBT, PLAIN, QUEUED, WRITTEN, Entry, Terms
from ..envelope import LARGEST, broke_session
from ..outbox import DIRECT, Queue
from .chain import advance
from .window import DEFAULT_WINDOW

if TYPE_CHECKING:
    from ...policy import Outbox
    from ..entry import ReceiptState
    from .window import Window

__all__ = ["Log"]


BATCH: Final = 64  # messages
SHORT: Final = 1024  # bytes


class Vacancy(Entry):
    """Has the number of a message that was given up behind others that were not.

    The peer is told that there is none. It keeps the text, which the check value counts, and its
    size: the peer may have taken it in after all, and have that much less room.
    """

    __slots__ = ()


class Log(Queue):
    """The sending half of a session.

    Args:
        settings: the limits, and what happens at them.
        is_numbered_at_once: whether a message has its number before it is written.

    Attributes:
        chain: the check value of everything up to `acknowledged`.
        confirmed: the highest number that the peer has handled. # confirmed <= acknowledged
        largest: bytes of the longest message that the peer takes.
        told: the highest number that the present link knows of.
        window: how much the peer lets us send ahead.
    """

    __slots__ = (
        "_doubtful",
        "_doubtful_bytes",
        "_dropped",
        "_waiting_bytes",
        "chain",
        "confirmed",
        "largest",
        "told",
        "window",
    )

    acknowledged: int
    numbered: float
    size_bytes: int
    written: int

    def __init__(self, settings: Outbox, *, is_numbered_at_once: bool = False) -> None:
        super().__init__(settings)
        self.numbered = math.inf if is_numbered_at_once else 0
        self.chain: int = 0
        self.confirmed: int = 0
        self.largest: int = LARGEST
        self.told: int = 0
        self.window: Window = DEFAULT_WINDOW
        self._waiting_bytes = 0
        # Up to here messages were dropped that had been written: the peer may still hold them.
        self._doubtful = 0
        self._doubtful_bytes: float = 0
        self._dropped = 0  # the highest number in the store of one that was dropped

    @property
    def first(self) -> int:
        """The number of the first message that is kept, or of the next one if none is."""
        return self.acknowledged + 1

    @property
    def last(self) -> int:
        """The highest number that was given to a message; 0 if none was."""
        return self.acknowledged + self.fixed + len(self.texts)

    @property
    def may_write(self) -> bool:
        """Whether the peer has room for the next message."""
        flight = self.written
        size_bytes: float = self.size_bytes - self._waiting_bytes
        if self.confirmed < self._doubtful:
            flight += self._doubtful - self.confirmed
            size_bytes += self._doubtful_bytes
        if not flight:
            return True
        window, following = self.window, self.entries[self.written]
        return flight < window.messages and size_bytes + following.size <= window.size_bytes

    def may_go_at_once(self, size: int) -> bool:
        """Whether nothing waits, and neither the peer's limits nor our own are in the way."""
        written, window, settings = self.written, self.window, self._settings
        after, count = self.size_bytes + size, written + len(self.texts)
        return (
            written == len(self.entries)
            and count < window.messages
            and count < settings.messages
            and size <= self.largest
            and after <= window.size_bytes
            and after <= settings.size_bytes
            and self.told >= self.acknowledged
            and self.confirmed >= self._doubtful
        )

    def may_go_directly(self) -> bool:
        """Whether messages of up to `DIRECT` bytes may be written at once, until `track` tells."""
        settings, window = self._settings, self.window
        most = min(settings.messages, window.messages) - 1
        most_bytes = min(settings.size_bytes, window.size_bytes) - DIRECT
        self.bear(most, most_bytes)
        return self.may_go_at_once(DIRECT)

    @property
    def is_idle(self) -> bool:
        """Whether the peer has handled all that was sent, and a store knows."""
        return self.last == self.confirmed and not (self.entries or self.settled)

    def chain_at(self, seq: int) -> int | None:
        """The check value of everything up to `seq`; None if that is not known (any more)."""
        if not self.acknowledged <= seq <= self.last:
            return None
        self.expand()
        kept = self.entries[: seq - self.acknowledged]
        return advance(self.chain, (entry.message for entry in kept))

    def loss(self, upto: int) -> ReceiptState | None:
        """What became of those up to there that are not kept, and that the peer has not handled.

        In doubt, if all of them were written; else dropped. None: there are no such messages.
        """
        upto = min(upto, self.acknowledged)
        if upto <= self.confirmed:
            return None
        return IN_DOUBT if upto <= self._doubtful else DROPPED

    # In and out.

    def go_on(self, acknowledged: int, chain: int, *, confirmed: int) -> None:
        """Begin where an earlier one was; what that had kept comes with `restore`."""
        self.acknowledged = self.told = acknowledged
        self.chain, self.confirmed = chain, confirmed
        # Of what it had dropped the peer may hold some, and nobody knows how much that is.
        self._doubtful, self._doubtful_bytes = acknowledged, math.inf

    def restore(self, entry: Entry) -> None:
        """See `Queue.restore`. For all that is known, the entry was written."""
        super().restore(entry)
        entry.attempts = max(1, entry.attempts)

    def _append(self, entry: Entry) -> None:
        super()._append(entry)
        self._waiting_bytes += entry.size

    def _take_out(self, index: int) -> Entry:
        if index >= self.written:
            self._waiting_bytes -= self.entries[index].size
        if index < self.fixed:
            # In numbers there are no holes but at the front, and that one is told of; `Vacancy`.
            assert index == 0  # noqa: S101
            self._drop_number(self.entries[0])
        return super()._take_out(index)

    def _drop_number(self, entry: Entry) -> None:
        """The first one goes, and its number with it."""
        self.chain = advance(self.chain, (entry.message,))
        self._dropped = max(self._dropped, entry.terms.number)
        if entry.attempts:
            is_first = self._doubtful <= self.confirmed
            self._doubtful_bytes = entry.size + (0 if is_first else self._doubtful_bytes)
            self._doubtful = self.first
        if self.written:
            self.told = self.position
        else:
            self.acknowledged += 1  # else the queue counts it
        if self.numbered < math.inf:
            self.numbered = max(0, self.numbered - 1)

    def _drop_older(self, key: Hashable) -> None:
        if self.numbered < math.inf:  # else it has a number, and keeps its place
            super()._drop_older(key)

    def withdraw(self, entry: Entry, reason: str) -> None:
        """Drop one that was never written: what waits behind it moves up."""
        numbered, self.numbered = self.numbered, 0
        super().withdraw(entry, reason)
        self.numbered = numbered

    def _vacate(self, index: int) -> None:
        entry = self.entries[index]
        vacancy = Vacancy(entry.message, Terms(number=entry.terms.number))
        vacancy.state, vacancy.attempts = WRITTEN, entry.attempts
        self.entries[index] = vacancy

    def _given(self) -> list[Entry]:
        return [each for each in super()._given() if type(each) is not Vacancy]

    def wrote(self, entry: Entry) -> None:
        """What `next_waiting` gave was handed to the link."""
        self.written = written = self.written + 1
        self._waiting_bytes -= entry.size
        self.told = entry.position = self.acknowledged + written
        entry.attempts += 1
        if entry.terms is not PLAIN:
            self._unkey(entry)
        entry.state = WRITTEN
        if entry.waiter is not None:
            entry.wake()

    def write_batch(self) -> tuple[int, list[str]]:
        """Hand out short texts that wait and have nothing about them, as far as there is room.

        Returns:
            The number before the first one's, and the texts.
        """
        before, written, window = self.position, self.written, self.window
        if self.confirmed < self._doubtful or self.told < self.acknowledged:
            return before, []
        if self.largest < SHORT:
            return before, []  # they are looked at one by one
        room_bytes = window.size_bytes - (self.size_bytes - self._waiting_bytes)
        texts: list[str] = []
        taken_bytes = 0
        for entry in self.entries[written : min(written + BATCH, window.messages)]:
            text = entry.message
            if not isinstance(text, str) or entry.terms is not PLAIN or entry.size > SHORT:
                break
            if taken_bytes + entry.size > room_bytes:
                break
            taken_bytes += entry.size
            texts.append(text)
            entry.position = before + len(texts)
            entry.attempts += 1
            entry.move(WRITTEN)
        self.written, self.told = written + len(texts), before + len(texts)
        self._waiting_bytes -= taken_bytes
        return before, texts

    def acknowledge(self, position: int) -> int:
        """The peer has handled everything up to `position`; how many messages that settles.

        Raises:
            SessionError: it was never sent that much.
        """
        if position > (self.position if self.written or self.texts else self.told):
            raise broke_session(f"the peer acknowledged {position}, which it was not sent")
        self.confirmed = max(self.confirmed, position)
        self.told = max(self.told, position)
        count = position - self.acknowledged
        if count <= 0:
            return 0
        self.chain = advance(self.chain, [entry.message for entry in self.entries[:count]])
        if count > self.written:
            self.chain = advance(self.chain, self.texts[: count - self.written])
        if self.numbered < math.inf:
            self.numbered = max(0, self.numbered - count)
        return super().acknowledge(position)

    # The link comes and goes.

    def drop(self, upto: int) -> None:
        """Keep nothing up to that number; the peer will be told what it has not got."""
        self.expand()
        while self.entries and self.acknowledged < upto:
            self._take_out(0).give_up(DROPPED, "it was kept for as long as it was to be")

    def suspend(self) -> None:
        """The link is lost, and the session is not: what was written waits for the next one."""
        self.expand()
        self._slim()
        for entry in self.entries[: self.written]:
            entry.move(QUEUED)
        self.numbered = max(self.numbered, self.written)
        self.written = 0
        self._waiting_bytes = self.size_bytes
        self.window = DEFAULT_WINDOW  # what was the link's, a session that sleeps need not keep
        self.bear(0, 0)

    def resume(self, rx: int, window: Window) -> None:
        """A link is open on whose other end everything up to `rx` was handled."""
        self.window = window
        self.told = rx
        self.written = max(0, rx - self.acknowledged)
        self.acknowledge(rx)
        self._waiting_bytes = self.size_bytes

    def skip(self, upto: float = math.inf) -> tuple[int, int] | None:
        """What the peer has to be told before the next message: up to where all is gone.

        Args:
            upto: what the store has. What it never had may have its number given away again.
        """
        if not self.written:
            self._drop_longer()
        if self.told >= self.acknowledged or self.written or self.texts:
            return self._skip_vacancy()
        if self._dropped > upto:
            return None
        if self._doubtful <= self.told and self.has_waiting and not self.may_write:
            return None  # more may be dropped until there is room
        self.told = self.acknowledged
        return self.acknowledged, self.chain

    def _skip_vacancy(self) -> tuple[int, int] | None:
        """`skip` behind what is kept. It counts as a message that the link was given."""
        vacancy = self.entries[self.written] if self.has_waiting else None
        if type(vacancy) is not Vacancy:
            return None
        self.wrote(vacancy)
        return self.told, advance(
            self.chain, [each.message for each in self.entries[: self.written]]
        )

    def lose_link(self) -> None:
        """See `Queue.lose_link`. There is no session, and no number that has to be kept."""
        self.expand()
        for entry in [each for each in self.entries if type(each) is Vacancy]:
            self.written -= 1  # it stands for one that was
            self.entries.remove(entry)
            entry.move(DROPPED)
            self._note(entry)
        super().lose_link()

    def close(self) -> None:
        """See `Queue.close`. The session may go on in another process, from this number."""
        acknowledged = self.acknowledged
        super().close()
        self.acknowledged = acknowledged

    def _drop_longer(self) -> None:
        """Nothing is before them, and the peer would end each link for them."""
        while self.entries and self.entries[0].size > self.largest:
            why = f"the peer takes messages of {self.largest} bytes"
            self._take_out(0).give_up(DROPPED, why)

    def start_over(self, chain: int) -> None:
        """A new session: what was sent in the old one is in doubt, or gets a new number."""
        self.expand()
        self.largest = LARGEST
        self.chain, self.confirmed, self.told = chain, 0, 0
        self.written = sum(1 for entry in self.entries if entry.attempts)  # the first ones
        self.numbered = self.numbered if self.numbered == math.inf else 0
        self._waiting_bytes = self._doubtful = self._doubtful_bytes = 0
        self.lose_link()
