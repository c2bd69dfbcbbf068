"""One key's numbers: what was released, what is held because something before it is missing."""

from __future__ import annotations

from bisect import insort
from enum import Enum
from typing import Final, NamedTuple

from ..plain import Message
from .strategy import Gap, Key, Outcome, Reset

__all__ = ["Item", "Likeness", "Mark", "Room", "Track"]

MEMORY: Final = 1024  # released messages per key whose content can be compared
NONE: Final = -2  # below every number, and below `last`


class Item(NamedTuple):
    """What a message says of itself."""

    key: Key
    epoch: Key
    seq: int
    message: Message


class Mark(NamedTuple):
    """What is handled with a delivery."""

    key: Key
    epoch: Key
    seq: int


class Likeness(Enum):
    """How a message is to the one that was released with its number."""

    SAME = "the same again, or what proves nothing: a page may write anew, a lost one come late"
    OTHER = "the number was given twice"
    UNKNOWN = "that one is forgotten"


class Room:
    """How many messages may be held, all keys together."""

    __slots__ = ("free",)

    def __init__(self, size: int) -> None:
        self.free: int = size


class Held:
    """Messages that came too early, by number."""

    __slots__ = ("_items", "_order", "_room")

    def __init__(self, room: Room) -> None:
        self._room = room
        self._items: dict[int, Item] = {}
        self._order: list[int] = []  # sorted; messages mostly come in order, so at its end

    @property
    def lowest(self) -> int | None:
        return self._order[0] if self._order else None

    def put(self, item: Item) -> int | None:
        """Hold it; without room the highest number is let go, and given back."""
        if item.seq in self._items:
            return None
        self._items[item.seq] = item
        insort(self._order, item.seq)
        if self._room.free == 0:
            highest = self._order.pop()
            del self._items[highest]
            return highest
        self._room.free -= 1
        return None

    def pop(self) -> Item:
        """Take out the lowest."""
        self._room.free += 1
        return self._items.pop(self._order.pop(0))

    def clear(self) -> None:
        self._room.free += len(self._order)
        self._order.clear()
        self._items.clear()


class Track:
    """The numbers of one key. It releases in order, and names every hole it passes over.

    Attributes:
        key: whose numbers.
        epoch: of the numbers; None as long as it is not known.
        last: the number released last.
        expected: the number that comes next, `last + 1`; None: any above `last`, for after a
            gap with an open end nobody knows what comes next.
        held: what came too early. A number that is not above `last` is never in it.
    """

    __slots__ = (
        "_let_go",
        "_memory",
        "_outcome",
        "_stream",
        "epoch",
        "expected",
        "held",
        "key",
        "last",
    )

    def __init__(
        self, key: Key, epoch: Key, last: int, *, stream: str, room: Room, outcome: Outcome
    ) -> None:
        self.key: Key = key
        self.epoch: Key = epoch
        self.last: int = last
        self.expected: int | None = last + 1
        self.held: Held = Held(room)
        self._let_go = NONE  # the lowest number above `last` for which there was no room
        self._memory: dict[int, tuple[int, int | None]] = {}  # by number modulo its size
        self._stream = stream
        self._outcome = outcome

    @property
    def has_hole(self) -> bool:
        """Whether something is known to exist that cannot be released yet."""
        return self.held.lowest is not None or self._let_go > self.last

    def is_next(self, seq: int) -> bool:
        """Whether nothing is missing before it."""
        return seq == self.expected or (self.expected is None and seq > self.last)

    def is_after(self, item: Item, seq: int) -> bool:
        """Whether it is beyond `seq`, or the numbers are others now."""
        is_other = self.epoch is not None and item.epoch is not None and item.epoch != self.epoch
        return is_other or item.seq > seq

    def recall(self, item: Item) -> Likeness:
        """Compare a message whose number is not above `last` with what was released."""
        seq, digest = self._memory.get(item.seq % MEMORY, (-1, None))
        if seq != item.seq:
            return Likeness.UNKNOWN
        is_same = digest is None or digest == hash(item.message)
        return Likeness.SAME if is_same else Likeness.OTHER

    def release(self, item: Item, digest: int | None) -> None:
        """Release what `is_next`, and what is held right after it."""
        self._deliver(item, digest)
        self._run_on()

    def hold(self, item: Item) -> None:
        """Keep what came too early; what has no room is remembered as missing."""
        let_go = self.held.put(item)
        if let_go is not None:
            self._let_go = min(self._let_go, let_go) if self._let_go > self.last else let_go

    def forget_held(self) -> None:
        """Let go what is held, and that it ever came."""
        self.held.clear()
        self._let_go = NONE

    def skip_to(self, seq: int, reason: str) -> None:
        """Make `seq` the next: report what is missing before it, release what is held."""
        while self.expected is not None and self.expected < seq:
            lowest = self.held.lowest
            if lowest is not None and lowest < seq:
                self.skip_hole(lowest, reason)
            else:
                self._lose(seq, reason)
                self.expected = seq

    def skip_hole(self, lowest: int, reason: str) -> None:
        """Report the hole before what is held, and release that up to the next hole."""
        self._lose(lowest, reason)
        self.expected = lowest
        self._run_on()

    def skip_held(self, reason: str) -> None:
        """Report every hole, and release all that is held."""
        while (lowest := self.held.lowest) is not None:
            self.skip_hole(lowest, reason)

    def open_end(self, reason: str) -> None:
        """Report that whatever follows `last` is missing, up to what comes next."""
        self._lose(None, reason)
        self.expected = None
        self._let_go = NONE

    def restart(self, item: Item, digest: int | None, reason: str) -> None:
        """Begin anew at this message; what is held of the old numbers is released before."""
        self.skip_held(reason)
        if self.has_hole:
            self.open_end(reason)
        self._outcome.lose(Reset(stream=self._stream, key=self.key, reason=reason))
        self._memory.clear()
        self._let_go = NONE
        self.epoch = item.epoch
        self._deliver(item, digest)

    def _run_on(self) -> None:
        """Release what is held without a hole before it."""
        while self.expected is not None and self.held.lowest is not None:
            if self.held.lowest > self.expected:
                break
            item = self.held.pop()
            if item.seq == self.expected:  # lower if a page has brought it meanwhile
                self._deliver(item, hash(item.message))

    def _deliver(self, item: Item, digest: int | None) -> None:
        self._memory[item.seq % MEMORY] = item.seq, digest
        self.last = item.seq
        self.expected = item.seq + 1
        self._outcome.deliver(item.message, Mark(self.key, self.epoch, item.seq))

    def _lose(self, before: int | None, reason: str) -> None:
        self._outcome.lose(
            Gap(stream=self._stream, key=self.key, after=self.last, before=before, reason=reason)
        )
        if before is not None:  # what was reported as lost and comes late is no restart
            for seq in range(max(self.last + 1, before - MEMORY), before):
                self._memory[seq % MEMORY] = seq, None
