"""The messages of the demo: what both sides have logged of them, and what that comes to."""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from anyio import current_time

from ...testing.history import Guarantee, WayHistory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ...testing.history import Verdict

__all__ = ["GUARANTEE", "Line", "Traffic", "Way"]

GUARANTEE: Final = Guarantee.EXACTLY_ONCE


class Line(NamedTuple):
    """A line of a log.

    Attributes:
        message: its number, or what came in place of one.
        at: when it was read there, as a reading of `anyio.current_time`.
    """

    message: object
    at: float


class Way:
    """The numbered messages of one direction: the log of their sender, and of their receiver.

    Each side writes its own log only. Nothing is counted but from these two.

    Args:
        name: of the direction.

    Attributes:
        sent: the sender's log. The first is number 1.
        arrived: the receiver's log: all that came, as often as it came.
    """

    def __init__(self, name: str) -> None:
        self.name: str = name
        self.sent: list[Line] = []
        self.arrived: list[Line] = []
        self._numbers: set[object] = set()  # of those that were sent
        self._times: Counter[object] = Counter()  # that each has arrived

    def send(self) -> int:
        """Log the next message as sent, and return its number."""
        number = len(self.sent) + 1
        self.take_sent(number)
        return number

    def take_sent(self, message: object) -> None:
        """Log what was sent elsewhere."""
        self.sent.append(Line(message, current_time()))
        self._numbers.add(message)

    def withdraw(self) -> None:
        """The message that was logged last could not be sent."""
        self._numbers.discard(self.sent.pop().message)

    def take(self, message: object) -> None:
        """Log what came: a number, or whatever it is."""
        self.arrived.append(Line(message, current_time()))
        self._times[message] += 1

    def correct(self, arrived: Iterable[object]) -> None:
        """The receiver's log, as it is in the end; of each message it is known when it came."""
        at = {line.message: line.at for line in self.arrived}
        now = current_time()
        self.arrived = [Line(message, at.get(message, now)) for message in arrived]
        self._times = Counter(line.message for line in self.arrived)

    @property
    def again(self) -> int:
        """Arrivals of what had arrived."""
        return len(self.arrived) - len(self._times)

    @property
    def awaited(self) -> int:
        """Messages that were sent, and have not arrived."""
        return len(self._numbers) - len(self._times.keys() & self._numbers)

    def times(self, count: int) -> Sequence[int]:
        """How often each of so many latest messages has arrived."""
        return [self._times[line.message] for line in self.sent[-count:]] if count else []

    def delays(self, since: float) -> list[float]:
        """How long what was sent since then, and has arrived, was under way, in seconds."""
        first = {line.message: line.at for line in reversed(self.arrived)}
        return [
            first[message] - at for message, at in self.sent if at >= since and message in first
        ]

    def verdict(self, began: float) -> Verdict:
        """Lay one log beside the other; times are told from `began` on."""
        history = WayHistory(self.name)
        log: list[tuple[float, Callable[..., None], object]] = [
            *((line.at, history.sent, line.message) for line in self.sent),
            *((line.at, history.delivered, line.message) for line in self.arrived),
        ]
        for at, write, message in sorted(log, key=itemgetter(0)):
            write(message, at=at - began)
        return history.verdict(GUARANTEE)


class Traffic:
    """Both directions between a client and the server.

    Args:
        client: its name.

    Attributes:
        up: what the client sends.
        down: what the server says to it.
    """

    def __init__(self, client: str) -> None:
        self.up: Way = Way(f"{client} → server")
        self.down: Way = Way(f"server → {client}")

    @property
    def ways(self) -> tuple[Way, Way]:
        """Both."""
        return self.up, self.down
