"""The judge: which message each delivery was of, and what breaches a guarantee in that."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import accumulate

from typing_extensions import assert_never

from ..errors import UsageError
from .judgement import BreachKind, Guarantee, RecordKind

__all__ = ["Count", "Found", "Reading", "tolerated"]

Found = tuple[int, BreachKind, int, int]  # line, what, number or 0, line before or 0


@dataclass(slots=True, kw_only=True)
class Count:
    """What was seen from one reset to the next.

    A message's number says as which one it was sent, from 1; equal messages share an ident.
    """

    position: int
    idents: dict[tuple[Hashable, Hashable], int] = field(default_factory=dict)  # by slot and key
    sent: list[int] = field(default_factory=lambda: [-1])  # idents, by number
    lines: list[int] = field(default_factory=lambda: [0])  # where they were sent, by number
    seen: list[tuple[int, int, bool]] = field(default_factory=list)  # line, ident, is a delivery
    reports: list[tuple[int, int, RecordKind]] = field(default_factory=list)  # line, ident, kind
    gaps: list[tuple[int, range]] = field(default_factory=list)  # line, numbers
    is_over: bool = False


class Reading:
    """Finds which message each delivery of one count was of, in n log n.

    At least once, a delivery may lead to any number up to `_reach`. Of equal messages the last
    one there is taken: whatever could follow another choice can follow this one, so that if any
    choice keeps the guarantee, this one does. Otherwise the next equal one is taken; how many
    are passed over does not depend on the choice.
    """

    def __init__(self, count: Count, guarantee: Guarantee) -> None:
        idents, size = len(count.idents), len(count.sent)
        self.found: list[Found] = []
        self._count = count
        self._is_at_least_once = guarantee is Guarantee.AT_LEAST_ONCE
        self._is_latest = guarantee is Guarantee.LATEST
        self._is_at_most_once = guarantee is Guarantee.AT_MOST_ONCE
        self._slots = [slot if self._is_latest else None for slot, _ in count.idents]
        self._times = [0] * idents  # sent
        for ident in count.sent[1:]:
            self._times[ident] += 1
        self._equal = sorted(range(1, size), key=count.sent.__getitem__)  # numbers, by ident
        self._begin = [0, *accumulate(self._times)]  # where an ident's numbers are in `_equal`
        self._first = [0] * (size + 1)  # the line of the first delivery, by number
        self._beyond = list(range(size + 1))  # itself; if settled: where a search goes on
        self._gone = [False] * size  # by number
        self._excused = [0] * idents  # so many need not arrive
        self._deliveries = [0] * idents
        self._acknowledged = [0] * idents
        self._acknowledged_at = [0] * idents
        self._oldest = self._begin[:-1]  # none before it is still to be delivered
        self._unsettled = self._begin[:-1]  # none before it is still to be acknowledged
        self._tops: dict[Hashable, int] = {}  # the highest number delivered, by slot
        self._at = 0  # at least once: the number delivered last, and its line
        self._at_line = 0

    def read(self) -> None:
        """Fill `found`."""
        for line, ident, kind in self._count.reports:
            self._report(line, ident, kind)
        for line, gap in self._count.gaps:
            self._report_gap(line, gap)
        for line, ident, is_delivery in self._count.seen:
            if not self._times[ident]:
                self.found.append((line, BreachKind.NEVER_SENT, 0, 0))
            elif is_delivery:
                self._deliver(line, ident)
            else:
                self._acknowledge(line, ident)
        self._find_lost()

    def _report(self, line: int, ident: int, kind: RecordKind) -> None:
        if not self._times[ident]:
            self.found.append((line, BreachKind.NEVER_SENT, 0, 0))
        elif kind is RecordKind.IN_DOUBT:
            self._excused[ident] += self._is_at_most_once
        elif self._times[ident] == 1:
            self._excuse(self._equal[self._begin[ident]])
        elif self._is_at_least_once:
            raise UsageError(
                f"one of {self._times[ident]} equal messages is reported gone in line {line}, and "
                "at least once depends on which: give the way a key, or use gap_range"
            )
        else:
            self._excused[ident] += 1

    def _report_gap(self, line: int, gap: range) -> None:
        if gap.stop > len(self._count.sent):
            self.found.append((line, BreachKind.NEVER_SENT, 0, 0))
        for number in range(gap.start, min(gap.stop, len(self._count.sent))):
            self._excuse(number)

    def _excuse(self, number: int) -> None:
        """It is gone: once, however often that is reported."""
        if not self._gone[number]:
            self._gone[number] = True
            self._beyond[number] = number + 1
            self._excused[self._count.sent[number]] += 1

    def _deliver(self, line: int, ident: int) -> None:
        self._deliveries[ident] += 1
        slot = self._slots[ident]
        top = self._tops.get(slot, 0)
        number = self._choose(ident, top)
        first = self._first[number]
        if first:
            self.found.append((line, BreachKind.DUPLICATED, number, first))
        else:
            self._first[number] = line
        if number > top:
            self._tops[slot] = number
        if self._is_at_least_once and (first or number > top or self._gone[number]):
            self._follow(line, number)
        elif number < top and (self._is_latest or not first):
            self.found.append((line, BreachKind.REORDERED, number, self._first[top]))

    def _choose(self, ident: int, top: int) -> int:
        """Which number a delivery is taken for."""
        equal, begin, end = self._equal, self._begin[ident], self._begin[ident + 1]
        if end - begin == 1:
            return equal[begin]
        if self._is_at_least_once:
            return equal[max(begin, bisect_right(equal, self._reach(), begin, end) - 1)]
        if self._is_latest:
            return equal[min(end - 1, bisect_left(equal, top, begin, end))]
        index = bisect_right(equal, top, begin, end)
        return equal[index] if index < end else self._overdue(ident, end)

    def _overdue(self, ident: int, end: int) -> int:
        """The oldest that was not delivered, else the newest."""
        index = self._oldest[ident]
        while index < end and self._first[self._equal[index]]:
            index += 1
        self._oldest[ident] = index
        return self._equal[min(index, end - 1)]

    def _reach(self) -> int:
        """The number that is to come, if no re-send begins: the next that is not settled."""
        number, beyond = self._at + 1, self._beyond
        while beyond[number] != number:
            beyond[number] = number = beyond[beyond[number]]
        return number

    def _follow(self, line: int, number: int) -> None:
        """At least once: a re-send may go back to anywhere, but it leaves nothing out."""
        reach = self._reach()
        if number > reach and self._first[reach]:
            self.found.append((line, BreachKind.REORDERED, number, self._at_line))
        self._at, self._at_line = number, line

    def _acknowledge(self, line: int, ident: int) -> None:
        self._acknowledged[ident] += 1
        times, index = self._acknowledged[ident], self._unsettled[ident]
        number = self._equal[self._begin[ident] + min(times, self._times[ident]) - 1]
        if times > max(self._times[ident], self._deliveries[ident]):
            before = self._acknowledged_at[ident]
            self.found.append((line, BreachKind.ACKNOWLEDGED_TWICE, number, before))
        elif times > self._deliveries[ident]:
            self.found.append((line, BreachKind.ACKNOWLEDGED_EARLY, number, 0))
        elif index < self._begin[ident + 1] and self._first[self._equal[index]]:
            self._beyond[self._equal[index]] = self._equal[index] + 1
            self._unsettled[ident] += 1
        self._acknowledged_at[ident] = line

    def _find_lost(self) -> None:
        for number in self._newest() if self._is_latest else range(1, len(self._count.sent)):
            if not (self._first[number] or self._take_excuse(number)):
                self.found.append((self._count.lines[number], BreachKind.LOST, number, 0))

    def _take_excuse(self, number: int) -> bool:
        """Whether there is one for not having arrived."""
        ident = self._count.sent[number]
        if self._count.is_over and number > self._tops.get(self._slots[ident], 0):
            return True
        if self._is_at_least_once:
            return self._gone[number]
        self._excused[ident] -= 1  # equal messages take what excuses there are for any of them
        return self._excused[ident] >= 0

    def _newest(self) -> list[int]:
        """The newest of each slot, unless a message that is equal to it arrived last."""
        sent = self._count.sent
        newest = {self._slots[ident]: number for number, ident in enumerate(sent[1:], 1)}
        return [n for slot, n in newest.items() if sent[n] != sent[self._tops.get(slot, 0)]]


def tolerated(guarantee: Guarantee, *, strict: bool) -> BreachKind | None:
    """What is counted, and no breach."""
    match guarantee:
        case Guarantee.AT_LEAST_ONCE | Guarantee.LATEST:
            return BreachKind.DUPLICATED
        case Guarantee.AT_MOST_ONCE:
            return None if strict else BreachKind.LOST
        case Guarantee.EXACTLY_ONCE:
            return None
    assert_never(guarantee)
