"""What was sent and what arrived, written down, and whether that keeps the promise.

>>> history = History()
>>> up = history.way("client -> server")
>>> for message in ("a", "b", "c"):
...     up.sent(message)
>>> for message in ("a", "c"):
...     up.delivered(message)
>>> up.summary(Guarantee.AT_LEAST_ONCE).lost
1
>>> up.dropped("b", why="too old")
>>> history.check(Guarantee.AT_LEAST_ONCE)  # raises HistoryError where it is not kept

Equal messages may be sent as often as you like, or told apart by a `key`. Whether the guarantee
is kept is decided exactly: is there any account of which was which that keeps it? What a breach
names is one such account. One thing is not guessed but refused with `UsageError`: at least once,
where one of several equal messages is reported gone; that needs a `key`, or `gap_range`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

from ..errors import UsageError
from .judge import Count, Found, Reading, tolerated
from .judgement import (
    Breach,
    BreachKind,
    End,
    Guarantee,
    HistoryError,
    Record,
    RecordKind,
    Summary,
    Verdict,
)

__all__ = [
    "Breach",
    "BreachKind",
    "End",
    "Guarantee",
    "History",
    "HistoryError",
    "Record",
    "RecordKind",
    "Summary",
    "Verdict",
    "WayHistory",
]

AROUND: Final = 4  # records that are shown before and after the first breach

_Line = tuple[RecordKind, object, "float | None", str]


class WayHistory:
    """The messages of one direction of a connection, as both ends saw them.

    An end writes down what it sees, as it sees it. Between the ends only one thing matters: a
    delivery is written down before its acknowledgement. Each record may have a time, `at`, in
    seconds of any clock; it is shown, and decides nothing.

    Args:
        name: what it is called in a verdict.
        key: what tells messages apart, such as their id; None: whether they are equal.
        slot: what it is that only the newest counts of, for `LATEST`; None: there is one slot.
    """

    def __init__(
        self,
        name: str,
        *,
        key: Callable[..., Hashable] | None = None,
        slot: Callable[..., Hashable] | None = None,
    ) -> None:
        self.name: str = name
        self._key = key
        self._slot = slot
        self._lines: list[_Line] = []
        self._counts = [Count(position=0)]
        self._sender = self._receiver = self._counts[0]

    def sent(self, message: object, *, at: float | None = None) -> None:
        """The sender sent it. May be written down after its delivery as well as before."""
        self._sender.sent.append(self._ident(self._sender, message))
        self._sender.lines.append(self._note(RecordKind.SENT, message, at))

    def delivered(self, message: object, *, at: float | None = None) -> None:
        """The receiver was given it."""
        ident = self._ident(self._receiver, message)
        self._receiver.seen.append((self._note(RecordKind.DELIVERED, message, at), ident, True))

    def acknowledged(self, message: object, *, at: float | None = None) -> None:
        """The sender learned that it was delivered."""
        ident = self._ident(self._sender, message)
        self._sender.seen.append((self._note(RecordKind.ACKNOWLEDGED, message, at), ident, False))

    def in_doubt(self, message: object, *, why: str = "", at: float | None = None) -> None:
        """The sender was told that nobody knows whether it arrives."""
        self._report(self._sender, RecordKind.IN_DOUBT, message, at, why)

    def dropped(self, message: object, *, why: str = "", at: float | None = None) -> None:
        """The sender was told that it is given up."""
        self._report(self._sender, RecordKind.DROPPED, message, at, why)

    def gap(self, *lost: object, why: str = "", at: float | None = None) -> None:
        """The receiver was told that these messages do not come."""
        for message in lost:
            self._report(self._receiver, RecordKind.GAP, message, at, why)

    def gap_range(self, first: int, last: int, *, why: str = "", at: float | None = None) -> None:
        """The receiver was told that the messages from one number to another do not come.

        The numbers count what was sent since the last reset, from 1, as a session's seq does.

        Raises:
            UsageError: that is no range.
        """
        if not 1 <= first <= last:
            raise UsageError(f"no gap goes from {first} to {last}: the first message is number 1")
        gap = range(first, last + 1)
        self._receiver.gaps.append((self._note(RecordKind.GAP, gap, at, why), gap))

    def reset(self, seen_by: End = End.BOTH, *, why: str = "", at: float | None = None) -> None:
        """A new count begins; what the sender takes over into it is `sent` once more.

        Args:
            seen_by: whose later records belong to it. The ends may learn of it at different
                times; what the other one sees belongs to the old count until then.
            why: the reason.
            at: when.
        """
        self._note(RecordKind.RESET, seen_by, at, why)
        if seen_by is not End.RECEIVER:
            self._sender = self._after(self._sender)
        if seen_by is not End.SENDER:
            self._receiver = self._after(self._receiver)

    def check(self, guarantee: Guarantee, *, strict: bool = True) -> None:
        """Raise if the guarantee was not kept; `Guarantee` says what is `strict`.

        Raises:
            HistoryError: it was not kept.
            UsageError: that cannot be told; the top of this module says when.
        """
        verdict = self.verdict(guarantee, strict=strict)
        if not verdict.is_kept:
            raise HistoryError([verdict])

    def summary(self, guarantee: Guarantee) -> Summary:
        """The counts; which messages are lost or out of order depends on what was promised."""
        return self.verdict(guarantee).summary

    def verdict(self, guarantee: Guarantee, *, strict: bool = True) -> Verdict:
        """What `check` finds."""
        found: list[Found] = []
        for count in self._counts:
            reading = Reading(count, guarantee)
            reading.read()
            found += reading.found
        found.sort(key=lambda each: each[0])
        allowed = tolerated(guarantee, strict=strict)
        breaches = [each for each in found if each[1] is not allowed]
        first = breaches[0][0] if breaches else -AROUND
        around = range(max(1, first - AROUND), min(len(self._lines), first + AROUND) + 1)
        return Verdict(
            way=self.name,
            guarantee=guarantee,
            breaches=tuple(map(self._breach, breaches)),
            summary=self._summary([kind for _, kind, _, _ in found]),
            excerpt=tuple(map(self._record, around)),
        )

    def _ident(self, count: Count, message: object) -> int:
        slot = None if self._slot is None else self._slot(message)
        key = message if self._key is None else self._key(message)
        try:
            return count.idents.setdefault((slot, key), len(count.idents))
        except TypeError as error:
            raise UsageError(
                f"{error}: give the way a key that tells its messages apart"
            ) from error

    def _note(self, kind: RecordKind, message: object, at: float | None, why: str = "") -> int:
        self._lines.append((kind, message, at, why))
        return len(self._lines)

    def _report(
        self, count: Count, kind: RecordKind, message: object, at: float | None, why: str
    ) -> None:
        ident = self._ident(count, message)
        count.reports.append((self._note(kind, message, at, why), ident, kind))

    def _after(self, count: Count) -> Count:
        """The next count, which may be a new one."""
        if count is self._counts[-1]:
            self._counts.append(Count(position=len(self._counts)))
            count.is_over = True
        return self._counts[count.position + 1]

    def _record(self, line: int) -> Record:
        kind, message, at, why = self._lines[line - 1]
        return Record(line=line, kind=kind, message=message, at=at, why=why)

    def _breach(self, found: Found) -> Breach:
        line, kind, number, before = found
        return Breach(
            kind=kind,
            record=self._record(line),
            number=number or None,
            earlier=self._record(before) if before else None,
        )

    def _summary(self, found: list[BreachKind]) -> Summary:
        kinds = [kind for kind, _, _, _ in self._lines]
        ranges = [len(gap) - 1 for count in self._counts for _, gap in count.gaps]
        return Summary(
            sent=kinds.count(RecordKind.SENT),
            delivered=kinds.count(RecordKind.DELIVERED),
            acknowledged=kinds.count(RecordKind.ACKNOWLEDGED),
            lost=found.count(BreachKind.LOST),
            duplicated=found.count(BreachKind.DUPLICATED),
            reordered=found.count(BreachKind.REORDERED),
            in_doubt=kinds.count(RecordKind.IN_DOUBT),
            dropped=kinds.count(RecordKind.DROPPED),
            gaps=kinds.count(RecordKind.GAP) + sum(ranges),
            resets=kinds.count(RecordKind.RESET),
        )


class History:
    """What was seen of a connection, or of many: its ways, each with its own messages."""

    def __init__(self) -> None:
        self._ways: dict[str, WayHistory] = {}

    def way(
        self,
        name: str,
        *,
        key: Callable[..., Hashable] | None = None,
        slot: Callable[..., Hashable] | None = None,
    ) -> WayHistory:
        """The way of this name, such as "client -> server", a new one when first asked for.

        Args:
            name: which one.
            key: for a new one; see `WayHistory`.
            slot: likewise.

        Raises:
            UsageError: a key or a slot for one that is there.
        """
        if name not in self._ways:
            self._ways[name] = WayHistory(name, key=key, slot=slot)
        elif key or slot:
            raise UsageError(
                f"way {name!r} is there already: give its key and slot the first time"
            )
        return self._ways[name]

    def check(self, guarantee: Guarantee, *, strict: bool = True) -> None:
        """Raise if any way did not keep the guarantee. See `WayHistory.check`."""
        verdicts = [way.verdict(guarantee, strict=strict) for way in self._ways.values()]
        broken = [verdict for verdict in verdicts if not verdict.is_kept]
        if broken:
            raise HistoryError(broken)

    def summary(self, guarantee: Guarantee) -> Summary:
        """The counts of all ways together. See `WayHistory.summary`."""
        return sum((way.summary(guarantee) for way in self._ways.values()), Summary())
