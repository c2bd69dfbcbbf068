"""Faults and when each of them begins and ends: `latency=0.2 5:cut 10-15:freeze@up`.

A fault without a time is there at once and stays, `5:cut` comes 5 seconds after the start,
and `10-15:freeze` is taken back at 15. The same texts serve a test's marker, a command line,
a line typed while it runs, and a simulation that draws them by chance. See `grammar`.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
from anyio import TASK_STATUS_IGNORED, current_time

from ..errors import UsageError
from .faults import Faults, Way
from .grammar import KINDS, LONGEST, Fault, format_number
from .overlay import Overlay

if TYPE_CHECKING:
    from random import Random

    from anyio.abc import TaskStatus
    from typing_extensions import Self

__all__ = ["DRAWN", "Fault", "Schedule", "Timed"]

DRAWN: Final = tuple(name for name in KINDS if name not in {"thaw", "accept", "heal"})
MOST_DRAWN: Final = 8
SHORTEST: Final = 0.1  # seconds of a random fault
_WHEN: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:-([0-9]+(?:\.[0-9]*)?|\.[0-9]+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A fault with its time. `str` gives its text.

    Attributes:
        fault: what happens.
        at: seconds from the start; 0 is at once.
        until: seconds from the start to where it is taken back; infinite: it is not.

    Raises:
        UsageError: no such time, or a fault that cannot be taken back.
    """

    fault: Fault
    at: float = 0.0
    until: float = math.inf

    def __post_init__(self) -> None:
        if not 0 <= self.at <= LONGEST:
            raise _wrong_time(str(self))
        if self.until == math.inf:
            return
        if not self.at < self.until <= LONGEST:
            raise _wrong_time(str(self))
        if not self.fault.kind.may_end:
            right = f"{format_number(self.at)}:{self.fault}"
            raise UsageError(
                f"{self.fault.name} cannot be taken back: expected {right}, got {str(self)!r}"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """The fault of a text, and its time.

        Raises:
            UsageError: it is none; it says what would be right.
        """
        when, colon, rest = text.strip().rpartition(":")
        if not colon:
            return cls(fault=Fault.parse(text))
        found = _WHEN.fullmatch(when)
        if found is None:
            raise _wrong_time(text)
        if found[2] is None:
            return cls(fault=Fault.parse(rest), at=float(found[1]))
        until = float(found[2])
        if until == math.inf:
            raise _wrong_time(text)
        return cls(fault=Fault.parse(rest), at=float(found[1]), until=until)

    @property
    def ends(self) -> bool:
        """Whether it is taken back."""
        return self.until < math.inf

    def __str__(self) -> str:
        if self.ends:
            return f"{format_number(self.at)}-{format_number(self.until)}:{self.fault}"
        return f"{format_number(self.at)}:{self.fault}" if self.at else str(self.fault)


def _wrong_time(text: str) -> UsageError:
    return UsageError(
        "expected SECONDS:FAULT or BEGIN-END:FAULT, such as 5:cut or 10-15:freeze, with BEGIN "
        f"before END and at most {LONGEST:.0f}, got {text.strip()!r}"
    )


class _Step(NamedTuple):
    """Steps sort into the order in which they are done: at one time, ends come first."""

    at: float
    begins: bool
    place: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """Faults in the order in which they were named. `str` gives the text of all.

    Attributes:
        faults: at one time, the first one comes first.
    """

    faults: tuple[Timed, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """The schedule of texts; each may hold several faults, with spaces between them.

        Raises:
            UsageError: a text is none; it says what would be right.
        """
        return cls(tuple(Timed.parse(word) for text in texts for word in text.split()))

    @classmethod
    def random(cls, random: Random, *, seconds: float, faults: Sequence[str] = DRAWN) -> Self:
        """Up to 8 faults within so many seconds. In the end everything is healed.

        Args:
            random: decides, by `random.random` alone: a seed means the same on every Python.
            seconds: at least 1.
            faults: the names to draw from; what is named twice comes twice as often.

        Raises:
            UsageError: too short, or no such name.
        """
        if not 1 <= seconds <= LONGEST:
            raise UsageError(f"expected 1 to {LONGEST:.0f} seconds, got {seconds!r}")
        unknown = [name for name in faults if name not in KINDS]
        if unknown or not faults:
            raise UsageError(f"expected some of {', '.join(KINDS)}, got {list(faults)!r}")
        draw = random.random
        count = 1 + int(draw() * MOST_DRAWN)
        drawn = [_draw(draw, faults[int(draw() * len(faults))], seconds) for _ in range(count)]
        heal = Timed(fault=Fault(name="heal"), at=seconds)
        return cls((*sorted(drawn, key=lambda each: each.at), heal))

    async def play(
        self,
        faults: Faults | Overlay,
        *,
        task_status: TaskStatus[None] = TASK_STATUS_IGNORED,
    ) -> None:
        """Do it all in its time, to a network that is used meanwhile; returns after the last.

        To be sure that what comes at once is there, start it with `TaskGroup.start`.

        Args:
            faults: the network; an `Overlay` of it if several schedules play.
            task_status: started when everything is done that comes at once.

        Cancellation: what is there stays as it is; `Faults.heal` takes everything back.
        """
        overlay = faults if isinstance(faults, Overlay) else Overlay(faults)
        began = current_time()
        ends: dict[int, Callable[[], None]] = {}

        def perform(step: _Step) -> None:
            timed = self.faults[step.place]
            if not step.begins:
                ends[step.place]()
            elif timed.ends:
                ends[step.place] = overlay.begin(timed.fault)
            else:
                overlay.apply(timed.fault)

        steps = self._steps()
        while steps and steps[0].at == 0:
            perform(steps.popleft())
        task_status.started()
        for step in steps:
            await anyio.sleep_until(began + step.at)
            perform(step)

    def _steps(self) -> deque[_Step]:
        begins = [_Step(timed.at, True, place) for place, timed in enumerate(self.faults)]
        ends = [_Step(timed.until, False, place) for place, timed in enumerate(self.faults)]
        return deque(sorted(step for step in begins + ends if step.at < math.inf))

    def __str__(self) -> str:
        return " ".join(map(str, self.faults))


def _draw(draw: Callable[[], float], name: str, seconds: float) -> Timed:
    """A fault of that name, somewhere in so many seconds."""
    kind = KINDS[name]
    at = _rounded(draw() * seconds * 0.9)
    until = math.inf
    if kind.may_end:
        length = _spread(draw, SHORTEST, max(SHORTEST, seconds / 2))
        until = min(_rounded(at + length), seconds)
    value = _spread(draw, *kind.drawn) if kind.drawn[1] else 0.0
    if kind.takes.is_whole or kind.takes.is_long:
        value = float(int(value))
    way = Way.BOTH
    if kind.has_way and draw() < 0.5:
        way = Way.UP if draw() < 0.5 else Way.DOWN
    return Timed(fault=Fault(name=name, value=_rounded(value), way=way), at=at, until=until)


def _spread(draw: Callable[[], float], least: float, most: float) -> float:
    """As likely from 0.01 to 0.1 as from 0.1 to 1."""
    return least * math.pow(most / least, draw())


def _rounded(number: float) -> float:
    """As short as it can be typed again."""
    return round(number, 3)
