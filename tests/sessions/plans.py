"""What is drawn for a session: how both applications talk and listen, and what happens to them.

A plan is all there is: it shrinks, its `repr` makes it again, and it gives the same run each time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from hypothesis import strategies as st

from statews import AtLimit, Deflate, Delivery, Outbox, SessionLimits, Window

from ..client.delivering import SECONDS, Weather, hundredths, weathers
from .processes import KILLS, Death

__all__ = [
    "End",
    "Listening",
    "Plan",
    "Talk",
    "ends",
    "limits",
    "listening",
    "outboxes",
    "plans",
    "small_limits",
]


@dataclass(frozen=True, kw_only=True)
class Talk:
    """What an application sends.

    Attributes:
        steps: seconds of silence and the size of a message, round and round.
        count: how many messages.
        puts: whether the server waits for neither room nor the store, round and round.
    """

    steps: tuple[tuple[float, int], ...]
    count: int
    puts: tuple[bool, ...] = (False,)

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return sum(pause for pause, _, _ in self)

    def __iter__(self) -> Iterator[tuple[float, int, bool]]:
        steps, puts = itertools.cycle(self.steps), itertools.cycle(self.puts)
        for (pause, size), is_put in itertools.islice(zip(steps, puts, strict=False), self.count):
            yield pause, size, is_put


@dataclass(frozen=True, kw_only=True)
class Listening:
    """What an application does with messages.

    Attributes:
        takes: seconds for each, round and round.
        stuck: the number of a message that it is stuck at, and the seconds for which it is.
        fails_at: the handler raises at these, counted over all that it was given.
    """

    takes: tuple[float, ...] = (0.0,)
    stuck: tuple[int, float] = (0, 0.0)
    fails_at: frozenset[int] = frozenset()

    def pause(self, count: int) -> float:
        """Seconds for this message, counted from 1."""
        at, seconds = self.stuck
        return self.takes[count % len(self.takes)] + (seconds if count == at else 0.0)


@dataclass(frozen=True, kw_only=True)
class End:
    """A process ends, and the next one begins.

    Attributes:
        at: seconds after its beginning.
        away: seconds for which there is none.
        death: how it ends.
    """

    at: float
    away: float
    death: Death


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A client and a server.

    Attributes:
        weather: what happens to their links.
        up: what the client sends.
        down: what the server's handler sends.
        client: what the client does with messages.
        host: what the server's handler does with them.
        outbox: of the client.
        window: of the client.
        limits: of the server.
        server_ends: what happens to its processes.
        client_ends: likewise.
        closes_at: when the client closes, if before all is done.
        is_ended_at: when the server ends all sessions that there are then, if it does.
        news: what the server broadcasts.
        takes: seconds that a store takes for a commit.
        fails: which commits fail, counted from 1.
        outgoing_bytes: see `Limits`.
        deflate: of both sides.
    """

    weather: Weather
    up: Talk
    down: Talk
    client: Listening
    host: Listening
    outbox: Outbox
    window: Window
    limits: SessionLimits
    server_ends: tuple[End, ...] = ()
    client_ends: tuple[End, ...] = ()
    closes_at: float | None = None
    is_ended_at: float | None = None
    news: Talk = Talk(steps=((0.0, 0),), count=0)
    takes: float = 0.0
    fails: frozenset[int] = frozenset()
    outgoing_bytes: int = 65536
    deflate: Deflate | None = None

    @property
    def seconds(self) -> float:
        """How long it takes at the most, without any faults."""
        slowest = max(*self.client.takes, *self.host.takes) * (self.up.count + self.down.count)
        stuck = self.client.stuck[1] + self.host.stuck[1]
        return self.up.seconds + self.down.seconds + self.news.seconds + stuck + slowest


PAUSES: Final = st.sampled_from([0.0, 0.0, 0.01, 0.1, 0.3]) | hundredths(0, 2)
SIZES: Final = st.sampled_from([0, 0, 0, 10, 100, 1000, 5000, 70_000])
talks: Final = st.builds(
    Talk,
    steps=st.lists(st.tuples(PAUSES, SIZES), min_size=1, max_size=8).map(tuple),
    count=st.integers(1, 25),
    puts=st.lists(st.booleans(), min_size=1, max_size=3).map(tuple),
)
listening: Final = st.builds(
    Listening,
    takes=st.lists(st.sampled_from([0.0, 0.0, 0.01, 0.3]), min_size=1, max_size=4).map(tuple),
    stuck=st.tuples(st.integers(0, 20), st.sampled_from([0.0, 1.0, 8.0, 20.0])),
    fails_at=st.frozensets(st.integers(1, 20), max_size=2),
)
windows: Final = st.just(Window()) | st.builds(
    Window, messages=st.integers(1, 8), size_bytes=st.sampled_from([2**20, 100_000, 300, 1])
)
still: Final = weathers.map(lambda weather: replace(weather, restarts=()))
deflates: Final = st.builds(
    Deflate, context_takeover=st.booleans(), threshold_bytes=st.sampled_from([0, 64])
)
closings: Final = st.none() | hundredths(0, SECONDS + 2)


def outboxes(**options: st.SearchStrategy[Any]) -> st.SearchStrategy[Outbox]:
    """Outboxes of a client."""
    drawn = {
        "messages": st.sampled_from([10_000, 10, 3, 1]),
        "size_bytes": st.sampled_from([2**24, 100_000, 1000]),
        "delivery": st.sampled_from(Delivery),
    }
    return st.builds(Outbox, **{**drawn, **options})


def limits(**options: st.SearchStrategy[Any]) -> st.SearchStrategy[SessionLimits]:
    """Limits of a server that nobody reaches, but for the window."""
    drawn = {"window": windows, "hibernate_after": st.sampled_from([1e9, 0.5, 0.01])}
    return st.builds(SessionLimits, **{**drawn, **options})


small_limits: Final = limits(
    messages=st.sampled_from([1, 2, 5, 1000]),
    size_bytes=st.sampled_from([1000, 100_000, 2**22]),
    retention=st.sampled_from([0.5, 3.0, 300.0]),
    total_bytes=st.sampled_from([1000, 2**28]),
    at_limit=st.sampled_from([AtLimit.WAIT, AtLimit.RAISE, AtLimit.DROP_OLDEST]),
)


def ends(*deaths: Death, most: int = 2) -> st.SearchStrategy[tuple[End, ...]]:
    """Ends of processes of one kind, one after the other."""
    end = st.builds(
        End, at=hundredths(0, 6), away=hundredths(0, 2), death=st.sampled_from(deaths or KILLS)
    )
    return st.lists(end, max_size=most).map(tuple)


def plans(**options: st.SearchStrategy[Any]) -> st.SearchStrategy[Plan]:
    """Plans in which all that is not an option is as it may be."""
    drawn = {
        "weather": still,
        "up": talks,
        "down": talks,
        "client": listening,
        "host": listening,
        "outbox": outboxes(),
        "window": windows,
        "limits": limits(),
        "closes_at": closings,
        "outgoing_bytes": st.sampled_from([65536, 500, 1]),
        "deflate": st.none() | deflates,
    }
    return st.builds(Plan, **{**drawn, **options})
