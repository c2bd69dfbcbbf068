"""What a bad network does, for a proxy before real sockets and for a network of memory alike.

A `Faults` is the state of a network: how each way is, what becomes of new links, and the
links there are. Everything may be changed at any time. A `Fault` of `schedule` does the same
by its text, so that a test's marker, a command line and a random schedule say it in one way.
"""

from __future__ import annotations

import math
import random as _random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from anyio import Event
from typing_extensions import assert_never

from ..errors import UsageError

__all__ = [
    "Breakable",
    "Cut",
    "Ending",
    "Entry",
    "Faults",
    "Line",
    "Way",
    "wait_flowing",
]

_BOUNDS: Final = {
    "latency": (0.0, math.inf),
    "jitter": (0.0, math.inf),
    "loss": (0.0, 1.0),
    "bandwidth": (1.0, math.inf),
}
RETRANSMISSION: Final = 0.2  # seconds: TCP's least wait before it sends again (RFC 6298, Linux)


class Way(Enum):
    """A direction of the traffic."""

    UP = "from the client to the server"
    DOWN = "from the server to the client"
    BOTH = "both"


class Ending(Enum):
    """How a link ends, seen from both its peers."""

    FIN = "both are told that nothing more will come"
    RST = "both are reset"


class Entry(Enum):
    """What becomes of a new connection."""

    ACCEPT = "it is carried to the server"
    REFUSE = "nobody listens: connection refused"
    RESET = "it is accepted, and reset at once"
    SILENT = "it is accepted, and nothing is ever said on it"
    DROP = "it is carried to the server, and ended soon after the server's first bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The end of a link at a place in its bytes.

    Attributes:
        after_bytes: so many bytes from now on still pass; None if a frame decides.
        in_frame: in the middle of this frame from now on, 1 is the next; None if bytes decide.
        how: how it ends.
    """

    after_bytes: int | None = None
    in_frame: int | None = None
    how: Ending = Ending.RST

    def __str__(self) -> str:
        if self.in_frame is not None:
            return f"{self.how.name} in frame {self.in_frame}"
        return f"{self.how.name} after {self.after_bytes} bytes"


@dataclass(slots=True, kw_only=True)
class Line:
    """One way of a network.

    Attributes:
        latency: seconds that every byte is under way.
        jitter: seconds on top at the most, drawn anew for each piece; the order stays.
        loss: the share of pieces that TCP has to send again, which makes each 0.2 s late.
        bandwidth: bytes per second, for each link.
        cut: where each link there is, and each new one, ends; None: nowhere.
    """

    latency: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    bandwidth: float = math.inf
    cut: Cut | None = None
    flowing: Event = field(default_factory=lambda: _set(Event()))

    def delay(self, random: Callable[[], float]) -> float:
        """Seconds that a piece is under way, apart from the bandwidth."""
        delay = self.latency
        if self.jitter:
            delay += self.jitter * random()
        if self.loss and random() < self.loss:
            delay += RETRANSMISSION
        return delay

    @property
    def is_frozen(self) -> bool:
        """Whether nothing passes."""
        return not self.flowing.is_set()

    def heal(self) -> None:
        """Be a good line again."""
        self.latency = self.jitter = self.loss = 0.0
        self.bandwidth = math.inf
        self.cut = None
        self.flowing.set()


def _set(event: Event) -> Event:
    event.set()
    return event


class Breakable(Protocol):
    """A link, as faults see it."""

    def end(self, how: Ending) -> None:
        """End it for both peers."""


class Faults:
    """A network whose faults change while it is used.

    Attributes:
        up: the way from the client to the server.
        down: the way back.
        entry: what becomes of a new connection; the methods below set it.
        drop_share: the share of new connections that are reset, whatever `entry` says.
        accepted: connections accepted so far, whatever became of them.
        seed: of everything here that is left to chance.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.up: Line = Line()
        self.down: Line = Line()
        self.entry: Entry = Entry.ACCEPT
        self.drop_share: float = 0.0
        self.accepted: int = 0
        self.seed: int = seed
        self._drop_after = 0.1
        self._random = _random.Random(seed).random  # noqa: S311 - chance that can be repeated
        self._links: dict[Breakable, None] = {}  # in the order in which they came

    @property
    def drop_after(self) -> float:
        """Seconds that `drop_new` leaves to a new connection."""
        return self._drop_after

    @property
    def links(self) -> int:
        """How many links there are now."""
        return len(self._links)

    def adopt(self, link: Breakable) -> None:
        """Have a new link suffer from the faults."""
        self._links[link] = None

    def forget(self, link: Breakable) -> None:
        """A link has ended."""
        self._links.pop(link, None)

    def _lines(self, way: Way) -> Iterator[Line]:
        match way:
            case Way.UP:
                yield self.up
            case Way.DOWN:
                yield self.down
            case Way.BOTH:
                yield from (self.up, self.down)
            case _:
                assert_never(way)

    # Faults of the links there are, and of each that comes.

    def slow(
        self,
        *,
        latency: float | None = None,
        jitter: float | None = None,
        loss: float | None = None,
        bandwidth: float | None = None,
        way: Way = Way.BOTH,
    ) -> None:
        """Change what a line is like; what is left out stays. See `Line`.

        Raises:
            UsageError: less than nothing, a share above 1, or no bandwidth: that is `freeze`.
        """
        for name, value in (
            ("latency", latency),
            ("jitter", jitter),
            ("loss", loss),
            ("bandwidth", bandwidth),
        ):
            if value is None:
                continue
            least, most = _BOUNDS[name]
            _check(name, value, least=least, most=most)
            for line in self._lines(way):
                setattr(line, name, value)
            self._changed(f"{name} is {value:g}, {way.value}")

    def freeze(self, way: Way = Way.BOTH) -> None:
        """Let nothing pass and close nothing: all links, new ones as well, are half-open."""
        for line in self._lines(way):
            if not line.is_frozen:
                line.flowing = Event()
        self._changed(f"frozen, {way.value}")

    def thaw(self, way: Way = Way.BOTH) -> None:
        """Let pass again, beginning with what was held."""
        for line in self._lines(way):
            line.flowing.set()
        self._changed(f"thawed, {way.value}")

    @property
    def is_frozen(self) -> bool:
        """Whether nothing passes, either way."""
        return self.up.is_frozen and self.down.is_frozen

    def cut(self) -> int:
        """End every link in an orderly way, with FIN; returns how many."""
        return self._end(Ending.FIN)

    def reset(self) -> int:
        """Reset every link; returns how many."""
        return self._end(Ending.RST)

    def _end(self, how: Ending) -> int:
        ended = tuple(self._links)
        self._changed(f"every link is ended with {how.name}")
        for link in ended:
            link.end(how)
        return len(ended)

    def cut_after(self, size_bytes: int, way: Way = Way.BOTH, how: Ending = Ending.RST) -> None:
        """End each link, the new ones as well, when so many more bytes have passed on a way."""
        _check("the number of bytes", size_bytes)
        self.cut_at(Cut(after_bytes=size_bytes, how=how), way)

    def cut_in_frame(self, number: int = 1, way: Way = Way.BOTH, how: Ending = Ending.RST) -> None:
        """End each link, the new ones as well, in the middle of a WebSocket frame.

        Args:
            number: which frame on its way from now on; 1 is the next.
            way: where frames are counted.
            how: how it ends.
        """
        _check("the number of the frame", number, least=1)
        self.cut_at(Cut(in_frame=number, how=how), way)

    def cut_at(self, cut: Cut | None, way: Way = Way.BOTH) -> None:
        """End each link, the new ones as well, at this place; None: nowhere any more."""
        for line in self._lines(way):
            line.cut = cut
        what = "are cut nowhere" if cut is None else f"end with {cut}"
        self._changed(f"links {what}, {way.value}")

    # What becomes of new connections.

    def accept(self) -> None:
        """Carry new connections to the server."""
        self._enter(Entry.ACCEPT)

    def refuse(self) -> None:
        """Stop listening, on a port that stays ours; the links there are go on."""
        self._enter(Entry.REFUSE)

    def reset_new(self) -> None:
        """Accept new connections, and reset them."""
        self._enter(Entry.RESET)

    def silence_new(self) -> None:
        """Accept new connections, and say nothing on them."""
        self._enter(Entry.SILENT)

    def drop_new(self, after: float = 0.1) -> None:
        """Carry new connections to the server, and end each with FIN.

        Args:
            after: seconds from the server's first bytes, which a client takes for success.
        """
        _check("the time", after)
        self._drop_after = after
        self._enter(Entry.DROP)

    def drop_some(self, share: float) -> None:
        """Reset this share of new connections, at random."""
        _check("the share", share, most=1.0)
        self.drop_share = share
        self._changed(f"of new connections, {share:.0%} are reset")

    def heal(self) -> None:
        """Take back every fault; what was ended stays so."""
        self.up.heal()
        self.down.heal()
        self.drop_share = 0.0
        self._enter(Entry.ACCEPT)
        self._changed("every fault is taken back")

    def _enter(self, entry: Entry) -> None:
        self.entry = entry
        self._changed(f"of a new connection: {entry.value}")

    def _count_accepted(self) -> None:
        """A connection has come and was not refused."""
        self.accepted += 1

    def _admit(self) -> Entry:
        """What becomes of the connection that has just come."""
        if self.drop_share and self._random() < self.drop_share:
            return Entry.RESET
        return self.entry

    def _changed(self, what: str) -> None:
        """Something was done, in words; a line may be otherwise now."""

    async def wait_flowing(self) -> None:
        """Return when something passes both ways. Does not yield if that is now."""
        for line in (self.up, self.down):
            await wait_flowing(line)


async def wait_flowing(line: Line) -> None:
    """Return when something passes. Does not yield if that is now."""
    while line.is_frozen:
        await line.flowing.wait()


def _check(what: str, value: float, *, least: float = 0, most: float = math.inf) -> None:
    if not least <= value <= most:
        bounds = f"at least {least:g}" if most == math.inf else f"between {least:g} and {most:g}"
        raise UsageError(f"expected {what} to be {bounds}, got {value!r}")
