"""A strategy that asks for what was missed, and what takes over when that cannot be had."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

from typing_extensions import override

from ..plain import Message
from .reading import check, check_whole, is_mapping, is_number
from .strategy import Delivery, Outcome, Strategy

__all__ = ["Fetching", "Settings"]


class Settings(NamedTuple):
    """What bounds every fetch."""

    timeout: float
    retries: int
    hold: int


class Forwarded(NamedTuple):
    """The mark of a delivery of the fallback."""

    mark: object


class Companion:
    """The fallback, once something was lost.

    It begins once for all that is lost before it takes a message: one answer serves it all.
    With the next link it begins again if it took none, or was still fetching.
    """

    __slots__ = ("_is_waiting", "strategy")

    def __init__(self, strategy: Strategy, *, is_waiting: bool) -> None:
        self.strategy: Strategy = strategy
        self._is_waiting = is_waiting

    def begin(self, now: float) -> None:
        """Something was lost."""
        if not self._is_waiting:
            self._is_waiting = True
            self.strategy.begin(now)

    def reopen(self, now: float) -> None:
        """There is a new link."""
        if self._is_waiting:
            self.strategy.begin(now)

    def take(self, message: Message, now: float) -> bool:
        is_taken = self.strategy.take(message, now)
        self._is_waiting = self._is_waiting and not is_taken
        return is_taken

    def expire(self, now: float) -> None:
        if self.strategy.deadline <= now:
            self.strategy.expire(now)

    @property
    def _is_busy(self) -> bool:
        return self._is_waiting or self.strategy.deadline < math.inf

    def repeat(self, now: float) -> None:
        if self._is_busy:
            self.strategy.repeat(now)

    def miss(self, now: float) -> None:
        if self._is_busy:
            self.strategy.miss(now)

    def end(self) -> None:
        self._is_waiting = self._is_busy
        self.strategy.end()

    def merge_into(self, outcome: Outcome) -> None:
        """Make what it wants done a part of `outcome`."""
        requests, outputs = self.strategy.drain()
        outcome.requests += requests
        outcome.outputs += (
            output._replace(mark=Forwarded(output.mark))
            if isinstance(output, Delivery)
            else output
            for output in outputs
        )
        outcome.problems += self.strategy.problems
        self.strategy.problems.clear()


class Fetching(Strategy):
    """Wires the fallback in; a subclass gives the methods that begin with an underscore."""

    __slots__ = ("_companion", "_fallback", "_settings")

    def __init__(self, *, name: str | None, fallback: Strategy | None, settings: Settings) -> None:
        super().__init__(name)
        timeout, retries, hold = settings
        is_duration = is_number(timeout) and timeout > 0
        check(self, "timeout", timeout, "finite and above 0 seconds", holds=is_duration)
        check_whole(self, "retries", retries, least=0)
        check_whole(self, "hold", hold, least=1)
        right = "a Strategy, or None for none"
        check(self, "fallback", fallback, right, holds=_is_strategy(fallback))
        self._settings = settings
        self._fallback = fallback
        self._companion: Companion | None = None  # until something is lost

    @property
    @override
    def parts(self) -> tuple[Strategy, ...]:
        return (self,) if self._fallback is None else (self, *self._fallback.parts)

    @property
    @override
    def deadline(self) -> float:
        if self._companion is None:
            return self._due()
        return min(self._due(), self._companion.strategy.deadline)

    @override
    def begin(self, now: float) -> None:
        self._begin(now)
        if self._companion is not None:
            self._companion.reopen(now)
        self._conclude(now)

    @override
    def take(self, message: Message, now: float) -> bool:
        is_ours = self._take(message, now)
        if not is_ours and self._companion is not None:
            is_ours = self._companion.take(message, now)
        self._conclude(now)
        return is_ours

    @override
    def expire(self, now: float) -> None:
        if self._due() <= now:
            self._expire(now)
        if self._companion is not None:
            self._companion.expire(now)
        self._conclude(now)

    @override
    def prolong(self, now: float) -> None:
        self._prolong(now)
        if self._companion is not None:
            self._companion.strategy.prolong(now)

    @override
    def repeat(self, now: float) -> None:
        self._repeat(now)
        if self._companion is not None:
            self._companion.repeat(now)
        self._conclude(now)

    @override
    def miss(self, now: float) -> None:
        self._miss(now)
        if self._companion is not None:
            self._companion.miss(now)
        self._conclude(now)

    @override
    def end(self) -> None:
        self._outcome.requests.clear()  # they were for that link
        self._end()
        if self._companion is not None:
            self._companion.end()

    @override
    def handled(self, mark: object) -> None:
        if isinstance(mark, Forwarded) and self._fallback is not None:
            self._fallback.handled(mark.mark)
        else:
            self._handled(mark)

    @property
    @override
    def position(self) -> object:
        position = self._position()
        if self._companion is not None:
            position["fallback"] = self._companion.strategy.position
        return position

    @override
    def restore(self, position: object) -> None:
        if not is_mapping(position):
            raise self._wrong_position(position, "an object")
        self._restore(position)
        if self._fallback is not None and "fallback" in position:
            self._fallback.restore(position["fallback"])
            # What it asked for may have been on its way, or in the inbox, when the process ended.
            self._companion = Companion(self._fallback, is_waiting=True)

    def _conclude(self, now: float) -> None:
        """Begin the fallback if something was lost, and collect what it wants done."""
        outcome = self._outcome
        if outcome.losses:
            outcome.losses = 0
            if self._companion is None and self._fallback is not None:
                self._companion = Companion(self._fallback, is_waiting=False)
            if self._companion is not None:
                self._companion.begin(now)
        if self._companion is not None:
            self._companion.merge_into(outcome)

    @abstractmethod
    def _due(self) -> float: ...

    @abstractmethod
    def _begin(self, now: float) -> None: ...

    @abstractmethod
    def _take(self, message: Message, now: float) -> bool: ...

    @abstractmethod
    def _expire(self, now: float) -> None: ...

    @abstractmethod
    def _prolong(self, now: float) -> None: ...

    @abstractmethod
    def _repeat(self, now: float) -> None: ...

    @abstractmethod
    def _miss(self, now: float) -> None: ...

    @abstractmethod
    def _end(self) -> None: ...

    @abstractmethod
    def _handled(self, mark: object) -> None: ...

    @abstractmethod
    def _position(self) -> dict[str, object]: ...

    @abstractmethod
    def _restore(self, position: Mapping[object, object]) -> None: ...


def _is_strategy(value: object) -> bool:
    return value is None or isinstance(value, Strategy)
