"""Days of bad network in seconds: many clients and a server under faults drawn from a seed.

A `Simulation` is one stretch of virtual time: clients talk to a server through a `Network`
while a random `Schedule` of faults plays, then everything heals and must come back. What
must hold is a list of invariants, to which others may be added. The same seed gives the
same trace, byte for byte, on each backend.
"""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import anyio
from anyio import current_time

from ..client.connect import connect
from ..errors import ConnectionFailed, StatewsError
from ..lifecycle import MACHINE, State
from ..policy import Backoff, Heartbeat, Policy, Timeouts
from ..transport.listen import listen
from .history import Guarantee, History, HistoryError
from .network import Network
from .schedule import Schedule
from .virtual import Backend, run

if TYPE_CHECKING:
    from ..client.changes import Change
    from ..client.connection import Connection
    from ..transport.link import Link

__all__ = ["INVARIANTS", "Invariant", "Outcome", "Simulated", "Simulation", "SimulationError"]

HOST: Final = "example.org"
PORT: Final = 80
POLICY: Final = Policy(
    backoff=Backoff(max_attempts=None, maximum=10.0, stable_after=5.0),
    heartbeat=Heartbeat(interval=10.0, timeout=5.0),
    timeouts=Timeouts(opening=10.0, closing=2.0),
)
# After the last fault: a frozen peer is found, an attempt may hang, a delay may be at its longest.
RECOVERY: Final = 15.0 + 10.0 + 10.0 + 5.0  # seconds
TALK: Final = 5.0  # seconds between two messages of a client, on average


class SimulationError(AssertionError):
    """An invariant did not hold.

    Attributes:
        seed: makes it happen again.
        backend: on which it did.
        complaints: what did not hold.
        trace: what happened.
    """

    def __init__(self, seed: int, backend: Backend, complaints: list[str], trace: str) -> None:
        super().__init__(f"seed {seed} on {backend}: {'; '.join(complaints)}")
        self.seed: int = seed
        self.backend: Backend = backend
        self.complaints: list[str] = complaints
        self.trace: str = trace


@dataclass(slots=True, kw_only=True)
class Client:
    """A client of the simulation, and what was seen of it.

    Attributes:
        number: counts the clients, from 0.
        connection: its connection.
        changes: every change of its state, the oldest first.
        sent: messages sent.
    """

    number: int
    connection: Connection
    changes: list[Change] = field(default_factory=list)
    sent: int = 0


@dataclass(slots=True, kw_only=True)
class Simulated:
    """What an invariant may look at.

    Attributes:
        network: with every dial, and the links there are.
        clients: all of them.
        history: what was sent and delivered, a way for each client and direction.
        is_over: every client has been closed; before that, everything has healed.
    """

    network: Network
    clients: list[Client] = field(default_factory=list)
    history: History = field(default_factory=History)
    is_over: bool = False


Invariant = Callable[[Simulated], str | None]
"""Looks once when all has healed and had its time, and once when all is closed; complains."""


def comes_back(simulated: Simulated) -> str | None:
    """Every client is open when the network was good for long enough."""
    lost = [each.number for each in simulated.clients if each.connection.state is not State.OPEN]
    return f"clients {lost} are not open" if lost and not simulated.is_over else None


def moves_by_declared_rows(simulated: Simulated) -> str | None:
    """Every change is a row of the machine, and begins where the one before it ended."""
    for client in simulated.clients:
        at = State.CONNECTING  # where entering has led
        for change in client.changes:
            rows = MACHINE.get_transitions(change.event, change.left)
            ends = {row.dest or row.source for row in rows}  # names of the enum's members
            if change.left is not at or change.now.state.name not in ends:
                return f"client {client.number} moved {change.left} -> {change.now.state}"
            at = change.now.state
    return None


def does_not_hammer(simulated: Simulated) -> str | None:
    """Dials of all clients in any minute stay within what backoff allows."""
    most = 40 * len(simulated.clients)  # a hot loop makes thousands
    times = [dial.at for dial in simulated.network.dials]
    for first, last in zip(times, times[most:], strict=False):
        if last - first < 60:
            return f"more than {most} dials within a minute of {first:.1f} s"
    return None


def delivers_in_order(simulated: Simulated) -> str | None:
    """Nothing comes twice, out of order, or from nowhere."""
    try:
        simulated.history.check(Guarantee.AT_MOST_ONCE, strict=False)
    except HistoryError as error:
        return str(error)
    return None


def leaves_nothing(simulated: Simulated) -> str | None:
    """When all is closed, no link is left."""
    left = simulated.network.links
    return f"{left} links are left" if simulated.is_over and left else None


INVARIANTS: Final[Sequence[Invariant]] = (
    comes_back,
    moves_by_declared_rows,
    does_not_hammer,
    delivers_in_order,
    leaves_nothing,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a stretch.

    Attributes:
        seed: what it was drawn from.
        seconds: of virtual time.
        dials: attempts to connect.
        sent: messages sent, both ways.
        delivered: those that arrived.
        longest_outage: seconds for which a client was not open at the longest.
        digest: of the trace; see `Trace.digest`.
    """

    seed: int
    seconds: float
    dials: int
    sent: int
    delivered: int
    longest_outage: float
    digest: str


class Simulation:
    """One stretch of virtual time under faults.

    Args:
        seed: everything is drawn from it.
        clients: how many.
        seconds: for which faults play; then they heal, and there is time to come back.
        policy: of clients and server.
        invariants: what must hold.
    """

    def __init__(
        self,
        seed: int,
        *,
        clients: int = 2,
        seconds: float = 60.0,
        policy: Policy = POLICY,
        invariants: Sequence[Invariant] = INVARIANTS,
    ) -> None:
        self._seed = seed
        self._count = clients
        self._seconds = seconds
        self._policy = policy
        self._invariants = invariants
        self._random = _random.Random(seed)  # noqa: S311 - chance that can be repeated
        self._world = Simulated(network=Network(seed=seed))

    def run(self, backend: Backend = "asyncio") -> Outcome:
        """Simulate, once.

        Raises:
            SimulationError: an invariant did not hold.
        """
        return run(lambda: self._run(backend), backend=backend, seed=self._seed)

    async def _run(self, backend: Backend) -> Outcome:
        world = self._world
        schedule = Schedule.random(self._random, seconds=self._seconds)
        began = current_time()
        complaints: list[str] = []
        with world.network:
            async with (
                listen(self._echo, HOST, PORT, policy=self._policy),
                anyio.create_task_group() as group,
            ):
                for number in range(self._count):
                    await group.start(self._live, number)
                await schedule.play(world.network)
                await anyio.sleep_until(began + self._seconds + RECOVERY)
                complaints += self._look()
                for client in world.clients:
                    await client.connection.close()
                group.cancel_scope.cancel()
            await anyio.sleep(self._policy.timeouts.closing)
        world.is_over = True
        complaints += self._look()
        if complaints:
            raise SimulationError(self._seed, backend, complaints, str(world.network.trace))
        return self._outcome(current_time() - began)

    def _look(self) -> list[str]:
        found = (invariant(self._world) for invariant in self._invariants)
        return [complaint for complaint in found if complaint is not None]

    async def _live(self, number: int, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """A client: what it says, hears and goes through."""
        connection = connect(
            f"ws://{HOST}/{number}",
            policy=self._policy,
            proxy=None,
            wait=False,
            random=self._random.random,
        )
        client = Client(number=number, connection=connection)
        self._world.clients.append(client)
        async with connection, anyio.create_task_group() as group:
            group.start_soon(self._watch, client)
            group.start_soon(self._talk, client)
            task_status.started()
            back = self._world.history.way(f"server -> client {number}")
            with suppress(ConnectionFailed):  # that it gave up is for an invariant to say
                async for message in connection:
                    back.delivered(message, at=current_time())
            await anyio.sleep_forever()

    async def _watch(self, client: Client) -> None:
        async for change in client.connection.changes():
            client.changes.append(change)
            moved = f"{change.left} -> {change.now.state} ({change.event})"
            self._world.network.trace.note(f"machine {client.number}", moved)

    async def _talk(self, client: Client) -> None:
        way = self._world.history.way(f"client {client.number} -> server")
        while True:
            await anyio.sleep(self._random.expovariate(1 / TALK))
            client.sent += 1
            message = f"{client.number}:{client.sent}"
            way.sent(message, at=current_time())
            try:
                await client.connection.send(message)
            except StatewsError:
                return  # it is being closed

    async def _echo(self, link: Link) -> None:
        """The server: what it hears, it says again."""
        number = link.path.strip("/")
        way = self._world.history.way(f"client {number} -> server")
        back = self._world.history.way(f"server -> client {number}")
        async for message in link:
            way.delivered(message, at=current_time())
            back.sent(message, at=current_time())
            await link.send(message)

    def _outcome(self, seconds: float) -> Outcome:
        world = self._world
        summary = world.history.summary(Guarantee.AT_MOST_ONCE)
        return Outcome(
            seed=self._seed,
            seconds=seconds,
            dials=len(world.network.dials),
            sent=summary.sent,
            delivered=summary.delivered,
            longest_outage=max(map(_longest_outage, world.clients)),
            digest=world.network.trace.digest,
        )


def _longest_outage(client: Client) -> float:
    """Seconds from a loss to the next `open`, at the longest."""
    longest, lost_at = 0.0, None
    for change in client.changes:
        now = change.now
        if now.state is State.OPEN:
            longest = max(longest, now.since - lost_at if lost_at is not None else 0.0)
            lost_at = None
        elif lost_at is None:
            lost_at = now.since
    return longest
