"""The messages of the demo: what both sides have logged of them, and what that comes to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from anyio import Event, current_time

from ...testing.history import Guarantee, WayHistory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...testing.history import Verdict

__all__ = ["Arrival", "Traffic", "Way"]


class Arrival(NamedTuple):
    """A line of a receiver's log.

    Attributes:
        message: its number, or what came in place of one.
        at: when, as a reading of `anyio.current_time`.
    """

    message: object
    at: float


class Way:
    """The numbered messages of one direction: the log of their sender, and of their receiver.

    Each side writes its own log only. Nothing is counted but from these two.

    Args:
        name: of the direction.
        guarantee: what is promised.

    Attributes:
        sent: the sender's log: when each was sent. The first is number 1.
        arrived: the receiver's log: all that came, as often as it came.
    """

    def __init__(self, name: str, guarantee: Guarantee) -> None:
        self.name: str = name
        self.guarantee: Guarantee = guarantee
        self.sent: list[float] = []
        self.arrived: list[Arrival] = []
        self._times: Counter[object] = Counter()  # that each has arrived
        self._changed = Event()

    def send(self) -> int:
        """Log the next message as sent, and return its number."""
        self.sent.append(current_time())
        return len(self.sent)

    def withdraw(self) -> None:
        """The message that was logged last could not be sent."""
        self.sent.pop()
        self._note()

    def take(self, message: object) -> None:
        """Log what came: a number, or whatever it is."""
        self.arrived.append(Arrival(message, current_time()))
        self._times[message] += 1
        self._note()

    def _note(self) -> None:
        self._changed.set()
        self._changed = Event()

    @property
    def again(self) -> int:
        """Arrivals of what had arrived."""
        return len(self.arrived) - len(self._times)

    @property
    def awaited(self) -> int:
        """Messages that were sent, and have not arrived."""
        return len(self.sent) - sum(self._was_sent(message) for message in self._times)

    def _was_sent(self, message: object) -> bool:
        return isinstance(message, int) and 1 <= message <= len(self.sent)

    async def wait_arrived(self) -> None:
        """Return when everything that was sent has arrived."""
        while self.awaited:
            await self._changed.wait()

    def times(self, count: int) -> Sequence[int]:
        """How often each of so many latest messages has arrived."""
        last = len(self.sent)
        return [self._times[number] for number in range(max(1, last - count + 1), last + 1)]

    def delays(self, since: float) -> list[float]:
        """How long what was sent since then, and has arrived, was under way, in seconds."""
        first = {arrival.message: arrival.at for arrival in reversed(self.arrived)}
        return [
            first[number] - at
            for number, at in enumerate(self.sent, 1)
            if at >= since and number in first
        ]

    def verdict(self, began: float) -> Verdict:
        """Lay one log beside the other; times are told from `began` on."""
        history = WayHistory(self.name)
        log: list[tuple[float, Callable[..., None], object]] = [
            *((at, history.sent, number) for number, at in enumerate(self.sent, 1)),
            *((arrival.at, history.delivered, arrival.message) for arrival in self.arrived),
        ]
        for at, write, message in sorted(log, key=itemgetter(0)):
            write(message, at=at - began)
        return history.verdict(self.guarantee)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Both directions.

    Attributes:
        up: what the client sends: the outbox keeps it until the server has it, and sends it
            again if it is in doubt. The server logs it as often as it comes.
        down: what the server says: the client asks for what it has missed.
    """

    up: Way = field(default_factory=lambda: Way("client → server", Guarantee.AT_LEAST_ONCE))
    down: Way = field(default_factory=lambda: Way("server → client", Guarantee.EXACTLY_ONCE))

    @property
    def ways(self) -> tuple[Way, Way]:
        """Both."""
        return self.up, self.down

    async def wait_arrived(self) -> None:
        """Return when everything that was sent has arrived, both ways."""
        for way in self.ways:
            await way.wait_arrived()
