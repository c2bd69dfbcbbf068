"""Who may come in now, who has to wait, and who is sent away until there is room.

After a restart every client comes back at once. A refusal costs everybody another attempt, so a
connection is held until its turn; only who would have to wait for too long is refused, with a hint
that puts those who were sent away behind one another. Times are readings of one monotonic clock.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from heapq import heappop, heappush
from typing import Final

from ..errors import UsageError
from ..policy import (  # private to the package: settings are checked in one way everywhere
    _check,  # pyright: ignore[reportPrivateUsage]
    _check_is,  # pyright: ignore[reportPrivateUsage]
    _is_duration,  # pyright: ignore[reportPrivateUsage]
)

__all__ = [
    "Admission",
    "Bucket",
    "Gate",
    "Hint",
    "Kind",
    "Limit",
    "Rate",
    "Refused",
    "Visit",
    "drain_hint",
    "drain_window",
    "retry_after",
    "retry_reason",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How often something may happen.

    Attributes:
        per_second: how often in the long run, 0.001 to 1,000,000.
        burst: how often at once, after a time of quiet.
    """

    per_second: float
    burst: int

    def __post_init__(self) -> None:
        _check(self, "per_second", float, "from 0.001 to 1000000", lambda x: 1e-3 <= x <= 1e6)
        _check(self, "burst", int, "a whole number above 0", _is_duration)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """How many connections a server lets in, and how fast. The defaults suit a single process.

    Who is returning is known from the hello only, and handshakes are taken in order: the higher
    their rate is above that of new clients, the less a flood of those holds up returning ones.

    Attributes:
        handshakes: the opening handshakes.
        new: the clients that begin a session.
        returning: the clients that come back to theirs.
        per_address: the most connections of one address; None: no limit, for a server behind a
            proxy, whose address they all have.
        unheard: the most connections that have not said hello yet, those that wait included.
        connections: the most connections.
        patience: how long a connection is held at most, in both its waits together; it should be
            well below the clients' `Timeouts.opening`. 0: none is held.
        shortest_hint: nobody is asked to come back sooner.
        longest_hint: nobody is asked to come back later, at most a day.
    """

    handshakes: Rate = field(default_factory=lambda: Rate(per_second=200, burst=50))
    new: Rate = field(default_factory=lambda: Rate(per_second=50, burst=25))
    returning: Rate = field(default_factory=lambda: Rate(per_second=100, burst=50))
    per_address: int | None = 1000
    unheard: int = 3000
    connections: int = 10_000
    patience: float = 10.0
    shortest_hint: float = 0.25
    longest_hint: float = 600.0

    def __post_init__(self) -> None:
        for name in ("handshakes", "new", "returning"):
            _check_is(self, name, Rate, "a Rate")
        if self.per_address is not None:
            limit = "a whole number above 0, or None for no limit"
            _check(self, "per_address", int, limit, _is_duration)
        _check(self, "unheard connections", int, "a whole number above 0", _is_duration)
        bounds = "finite and 0 seconds or more"
        _check(self, "patience", float, bounds, lambda x: 0 <= x < math.inf)
        _check(self, "shortest_hint", float, "above 0 seconds", _is_duration)
        between = f"between Admission.shortest_hint ({self.shortest_hint:g} seconds) and a day"
        _check(self, "longest_hint", float, between, lambda x: self.shortest_hint <= x <= 86_400)


class Kind(Enum):
    """What a client says it is in its hello."""

    NEW = "it begins a session"
    RETURNING = "it comes back to its session"


class Limit(Enum):
    """What a client was refused for."""

    CONNECTIONS = "there are as many connections as there may be"
    ADDRESS = "its address has as many connections as it may have"
    UNHEARD = "too many connections have not said hello yet"
    HANDSHAKES = "too many connections wait for their handshake"
    NEW = "too many new clients wait for their welcome"
    RETURNING = "too many returning clients wait for their welcome"


# Behind whom a client that was refused comes back: who was sent away from any of these.
BEHIND: Final[Mapping[Limit, tuple[Limit, ...]]] = {
    Limit.CONNECTIONS: (Limit.HANDSHAKES,),
    Limit.ADDRESS: (),  # one address must not send away the others
    Limit.UNHEARD: (Limit.HANDSHAKES,),
    Limit.HANDSHAKES: (Limit.HANDSHAKES, Limit.RETURNING),  # what it most likely is
    Limit.NEW: (Limit.HANDSHAKES, Limit.NEW),  # both once more
    Limit.RETURNING: (Limit.HANDSHAKES, Limit.RETURNING),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """When to come back: at a random moment between the two, in seconds from now."""

    at_least: float
    at_most: float

    @property
    def milliseconds(self) -> tuple[int, int]:
        """The two as whole milliseconds, as `G min-max` and `retry=min-max` give them."""
        return round(self.at_least * 1000), round(self.at_most * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A client cannot come in now: why, and when it should come back."""

    limit: Limit
    hint: Hint


class Bucket:
    """A rate, and the turns that are reserved with it.

    It lists no waiters: a turn is a time, and the next one a constant time later (the generic cell
    rate algorithm, ITU-T I.371 annex A). One given back goes to who comes next: it cannot be
    taken off the end, since those behind it were told theirs.
    """

    __slots__ = ("_burst", "_free", "_full_at", "_pace", "_postponed")

    def __init__(self, rate: Rate) -> None:
        self._pace = 1 / rate.per_second
        self._burst = rate.burst * self._pace
        self._full_at = -math.inf  # when all of the burst is there again
        self._postponed = -math.inf  # the turn of the last one that was sent away
        self._free: list[float] = []  # a heap of turns given back, all different

    def reserve(self, now: float, until: float) -> float | None:
        """The time of the next turn, which is taken; None: it is after `until`, and nothing is."""
        while self._free and self._free[0] < now:
            heappop(self._free)  # nobody took it in time
        turn = self._free[0] if self._free else self._next_turn(now)
        if turn > until:
            return None
        if self._free:
            heappop(self._free)
        else:
            self._full_at = max(self._full_at, now) + self._pace
        return turn

    def refund(self, turn: float, now: float) -> None:
        """Give a reserved turn back, once. One that has come counts as used."""
        if turn > now:
            heappush(self._free, turn)

    def postpone(self, now: float, *, longest: float) -> float:
        """The turn that one who is sent away would have in an endless queue.

        It is behind those of all who were sent away and have not had theirs. Who would be more
        than `longest` seconds behind gets one in the second half of them.
        """
        turn = max(self._postponed + self._pace, self._next_turn(now))
        if turn > now + longest:
            turn = now + longest / 2
        self._postponed = turn
        return turn

    def _next_turn(self, now: float) -> float:
        return max(now, self._full_at + self._pace - self._burst)


@dataclass(slots=True, kw_only=True, eq=False)
class Visit:
    """One connection's way through the gate, which goes on at the time `turn_at`."""

    address: str
    deadline: float  # it is not held for longer
    turn_at: float
    bucket: Bucket  # which this turn is from


class Gate:
    """A server's decision who comes in, and when. It keeps nothing of those who are not there.

    Attributes:
        visits: those that have entered and not left.
        unheard: those of them that have not said hello.
    """

    __slots__ = ("_addresses", "_admission", "_buckets", "unheard", "visits")

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._buckets = {
            Limit.HANDSHAKES: Bucket(admission.handshakes),
            Limit.NEW: Bucket(admission.new),
            Limit.RETURNING: Bucket(admission.returning),
        }
        self._addresses: Counter[str] = Counter()
        self.visits: set[Visit] = set()
        self.unheard: set[Visit] = set()

    def enter(self, address: str, now: float) -> Visit | Refused:
        """A TCP connection was accepted: what becomes of it before its upgrade is answered.

        Args:
            address: what `per_address` counts by, such as an IPv4 address or an IPv6 prefix.
            now: the time.

        Returns:
            A visit to be answered at its `turn_at`, which has to `leave`; or a refusal.
        """
        if (full := self._full(address)) is not None:
            return self._refuse(full, now)
        bucket, deadline = self._buckets[Limit.HANDSHAKES], now + self._admission.patience
        if (turn := bucket.reserve(now, deadline)) is None:
            return self._refuse(Limit.HANDSHAKES, now)
        visit = Visit(address=address, deadline=deadline, turn_at=turn, bucket=bucket)
        self.visits.add(visit)
        self.unheard.add(visit)
        self._addresses[address] += 1
        return visit

    def hello(self, visit: Visit, kind: Kind, now: float) -> Visit | Refused:
        """The hello has come: what becomes of the client before it is welcomed.

        Returns:
            The same visit with its next `turn_at`; or a refusal, and it still has to `leave`.

        Raises:
            UsageError: it has said hello before, or it has left.
        """
        if visit not in self.unheard:
            raise UsageError("cannot take in this hello: a visit says one, before it leaves")
        self.unheard.remove(visit)
        limit = Limit[kind.name]
        bucket = self._buckets[limit]
        if (turn := bucket.reserve(now, max(now, visit.deadline))) is None:
            return self._refuse(limit, now)
        visit.turn_at, visit.bucket = turn, bucket
        return visit

    def leave(self, visit: Visit, now: float) -> None:
        """The connection has ended. A turn that has not come goes to somebody else.

        Raises:
            UsageError: it has left before.
        """
        if visit not in self.visits:
            raise UsageError("cannot let this visit leave: it has left")
        self.visits.remove(visit)
        self.unheard.discard(visit)
        visit.bucket.refund(visit.turn_at, now)
        self._addresses[visit.address] -= 1
        if not self._addresses[visit.address]:
            del self._addresses[visit.address]

    def _full(self, address: str) -> Limit | None:
        limits = self._admission
        if len(self.visits) >= limits.connections:
            return Limit.CONNECTIONS
        if limits.per_address is not None and self._addresses[address] >= limits.per_address:
            return Limit.ADDRESS
        return Limit.UNHEARD if len(self.unheard) >= limits.unheard else None

    def _refuse(self, limit: Limit, now: float) -> Refused:
        patience, longest = self._admission.patience, self._admission.longest_hint
        shortest = self._admission.shortest_hint
        turns = [self._buckets[each].postpone(now, longest=longest) for each in BEHIND[limit]]
        ahead = max(turns, default=now) - now
        if limit not in self._buckets:  # nobody knows when a connection will end
            ahead += 2 * patience
        # It should be back between three and one quarters of the patience before its turn: not
        # behind the end of the queue, to be refused again, nor at its head, after idle time.
        least = max(shortest, ahead - 3 / 4 * patience)
        most = least + max(shortest, patience / 2)
        hint = Hint(at_least=min(least, longest), at_most=min(most, longest))
        return Refused(limit=limit, hint=hint)


def retry_after(hint: Hint, draw: float, rounding: float) -> str:
    """The `Retry-After` of a refused handshake, in whole seconds (RFC 9110 section 10.2.3).

    Always rounded up it would bring a second's clients back together; so it is rounded up as often
    as the fraction says, and right on average, but at least 1.

    Args:
        hint: when the client should come back.
        draw: a random number in [0, 1), for a moment within the hint.
        rounding: another one, for its rounding up or down.
    """
    moment = hint.at_least + draw * (hint.at_most - hint.at_least)
    whole = math.floor(moment)
    return str(max(1, whole + (moment - whole + rounding >= 1)))


def retry_reason(hint: Hint) -> str:
    """The close reason that tells a client when to come back, such as `retry=250-20000`."""
    low, high = hint.milliseconds
    return f"retry={low}-{high}"


def drain_window(clients: int, per_second: float, *, longest: float) -> float:
    """The seconds in which so many clients can come back, at most `longest`."""
    return min(longest, clients / per_second)


def drain_hint(client: int, clients: int, window: float, *, after: float = 0.0) -> Hint:
    """When one of the clients that are told to go should come back, each in its own moment.

    Args:
        client: its number, from 0.
        clients: how many there are, above 0.
        window: seconds for all of them, see `drain_window`.
        after: seconds until somebody is there to let them in.
    """
    share = window / clients
    return Hint(at_least=after + client * share, at_most=after + (client + 1) * share)
