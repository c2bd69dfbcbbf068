"""What may be promised of messages, and the words in which a breach of it is told.

The `Guarantee` is the promise, a `Verdict` says whether one way kept it: with each `Breach`,
the `Record` in which that shows, and the counts of a `Summary`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import Enum
from typing import Final

__all__ = [
    "Breach",
    "BreachKind",
    "End",
    "Guarantee",
    "HistoryError",
    "Record",
    "RecordKind",
    "Summary",
    "Verdict",
]

NAMED: Final = 5  # breaches of one kind that are told one by one
WIDEST: Final = 60  # characters of a message that are shown


class Guarantee(Enum):
    """What is promised of the messages of one way.

    Always: what arrives was sent, and an acknowledgement follows a delivery, one for each. What
    is reported gone, by `gap` or `dropped`, need not arrive. A `reset` excuses what was still
    to come.

    AT_MOST_ONCE: nothing arrives twice; what arrives is in order. What does not arrive was
    reported: as gone, or `in_doubt`. Not `strict`: nothing need be reported.

    AT_LEAST_ONCE: everything arrives, at first in order. It may arrive again as a re-send: from
    some message on, everything in order, up to where the way was or to where the next re-send
    begins, which is no later. What was acknowledged by then may be left out, and what was
    reported gone may be left out or turn up. A message repeated in any other way is out of
    order: a receiver for whom the last one wins would end wrong.

    EXACTLY_ONCE: everything arrives, in order, and nothing twice.

    LATEST: the newest message of each slot arrives, older ones may be left out. None is followed
    by an older one of its slot, but it may be repeated.
    """

    AT_MOST_ONCE = "at most once"
    AT_LEAST_ONCE = "at least once"
    EXACTLY_ONCE = "exactly once"
    LATEST = "latest"


class BreachKind(Enum):
    """What is wrong with a message."""

    LOST = "lost"
    DUPLICATED = "duplicated"
    REORDERED = "out of order"
    NEVER_SENT = "never sent"
    ACKNOWLEDGED_EARLY = "acknowledged before delivered"
    ACKNOWLEDGED_TWICE = "acknowledged twice"


class RecordKind(Enum):
    """What was seen."""

    SENT = "sent"
    DELIVERED = "delivered"
    ACKNOWLEDGED = "acknowledged"
    IN_DOUBT = "in doubt"
    DROPPED = "dropped"
    GAP = "gap"
    RESET = "reset"


class End(Enum):
    """Who saw a reset."""

    SENDER = "sender"
    RECEIVER = "receiver"
    BOTH = "sender and the receiver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One line of a history.

    Attributes:
        line: 1 is the first.
        kind: what was seen.
        message: of which message; a `range` of numbers for `gap_range`, the `End` for `reset`.
        at: when, in seconds, if it was given.
        why: the reason, if it was given.
    """

    line: int
    kind: RecordKind
    message: object
    at: float | None
    why: str

    def __str__(self) -> str:
        at = "" if self.at is None else f" at {self.at:.3f} s"
        why = f" ({self.why})" if self.why else ""
        return f"#{self.line} {self.kind.value} {_shown(self.message)}{at}{why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """One message that is not as promised.

    Attributes:
        kind: what is wrong with it.
        record: where that shows; of a lost message: where it was sent.
        number: which one it is of those sent since the last reset, from 1, as a seq counts; None
            if it was never sent.
        earlier: what it repeats (duplicated, acknowledged twice) or should not follow (out of
            order); None for the other kinds.
    """

    kind: BreachKind
    record: Record
    number: int | None = None
    earlier: Record | None = None

    def __str__(self) -> str:
        number = "" if self.number is None else f", no. {self.number} of those sent"
        earlier = "" if self.earlier is None else f", after {self.earlier}"
        return f"{self.record}{number}{earlier}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How many messages became what; `+` adds ways up."""

    sent: int = 0
    delivered: int = 0  # with the repeated ones
    acknowledged: int = 0
    lost: int = 0  # did not arrive and should have, tolerated or not
    duplicated: int = 0  # deliveries of what was delivered before, allowed or not
    reordered: int = 0  # deliveries out of order
    in_doubt: int = 0
    dropped: int = 0
    gaps: int = 0  # messages in gaps
    resets: int = 0

    def __add__(self, other: Summary) -> Summary:
        names = [each.name for each in fields(self)]
        return Summary(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether one way kept a guarantee; as a string, what is wrong.

    Attributes:
        way: its name.
        guarantee: what was promised.
        breaches: all of them, in the order in which they show.
        summary: the counts.
        excerpt: the records around the first breach.
    """

    way: str
    guarantee: Guarantee
    breaches: tuple[Breach, ...]
    summary: Summary
    excerpt: tuple[Record, ...]

    @property
    def is_kept(self) -> bool:
        """Whether there is no breach."""
        return not self.breaches

    def of(self, kind: BreachKind) -> tuple[Breach, ...]:
        """The breaches of one kind."""
        return tuple(breach for breach in self.breaches if breach.kind is kind)

    def __str__(self) -> str:
        if self.is_kept:
            return f"{self.way}: {self.guarantee.value} is kept"
        kinds = {kind: found for kind in BreachKind if (found := self.of(kind))}
        counts = ", ".join(f"{len(found)} {kind.value}" for kind, found in kinds.items())
        lines = [f"{self.way}: {self.guarantee.value} is not kept: {counts}"]
        for kind, found in kinds.items():
            lines += [f"  {kind.value}: {breach}" for breach in found[:NAMED]]
            if len(found) > NAMED:
                lines.append(f"  {kind.value}: and {len(found) - NAMED} more")
        first = self.breaches[0].record
        lines.append("  the record around the first of them:")
        lines += [f"  {'>' if record == first else ' '} {record}" for record in self.excerpt]
        return "\n".join(lines)


class HistoryError(AssertionError):
    """A guarantee was not kept.

    Attributes:
        verdicts: of each way that did not keep it.
    """

    def __init__(self, verdicts: Sequence[Verdict]) -> None:
        super().__init__(verdicts)
        self.verdicts: tuple[Verdict, ...] = tuple(verdicts)

    def __str__(self) -> str:
        return "\n".join(map(str, self.verdicts))


def _shown(message: object) -> str:
    """What a reader sees of a message."""
    if isinstance(message, End):
        return f"seen by the {message.value}"
    if isinstance(message, range):
        return f"no. {message.start} to {message.stop - 1}"
    if isinstance(message, (str, bytes)) and len(message) > WIDEST:
        return f"{message[:WIDEST]!r}... ({len(message)} long)"
    text = repr(message)
    return text if len(text) <= WIDEST else f"{text[:WIDEST]}..."
