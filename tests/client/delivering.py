"""What the randomised tests of delivery share: weather, a server that sees all, receipts watched.

A plan is drawn by Hypothesis, and is all there is: it shrinks, its `repr` makes it again, and the
same plan gives the same run. The faults of its weather are texts of `statews.testing.Schedule`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import os
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

import anyio
from anyio import TASK_STATUS_IGNORED, Event, current_time
from anyio.abc import TaskGroup, TaskStatus
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import statews
from statews import (
    After,
    Backoff,
    Heartbeat,
    Link,
    MemoryStore,
    Page,
    Receipt,
    ReceiptState,
    Since,
    Timeouts,
)
from statews.errors import ConnectionClosed, OutboxFullError, StatewsError, StoreError
from statews.policy import Limits, Outbox, Policy
from statews.store import Contents, Stored
from statews.testing import Fault, Network, Schedule, Way
from statews.testing.grammar import KINDS
from statews.testing.hanging import asyncio_tasks, trio_tasks
from statews.testing.schedule import Timed
from statews.transport.listen import Handler

HOST: Final = "example.org"
PORT: Final = 80
SECONDS: Final = 10.0  # for which faults play; then all is healed
RECOVERY: Final = 120.0  # in which everything must be settled then
AFTERWARDS: Final = 1000.0  # in which nothing may happen any more

BRIEF: Final = os.environ.get("STATEWS_TESTS") == "brief"
EXAMPLES: Final = int(os.environ.get("STATEWS_DELIVERIES", "3" if BRIEF else "40"))

Message = str | bytes
Number = tuple[int, int]  # of a sender, and of a message of that sender


def plays(share: float = 1.0) -> settings:
    """Settings for a test that takes this share of the examples."""
    return settings(
        max_examples=max(1, int(EXAMPLES * share)),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        print_blob=True,
    )


# What is drawn.


def hundredths(least: float, most: float) -> st.SearchStrategy[float]:
    """A number with two decimals; it shrinks to the least."""
    return st.integers(round(least * 100), round(most * 100)).map(lambda number: number / 100)


VALUES: Final[dict[str, st.SearchStrategy[float]]] = {
    "latency": hundredths(0, 2),
    "jitter": hundredths(0, 1),
    "loss": hundredths(0, 0.5),
    "bandwidth": st.sampled_from([100.0, 1000.0, 10_000.0, 100_000.0]),
    "cut-after": st.integers(0, 3000).map(float),
    "cut-in-frame": st.integers(1, 12).map(float),
    "drop-new": hundredths(0, 3),
    "drop-some": hundredths(0.1, 0.9),
}
NAMES: Final = (
    *("cut", "reset", "cut-after", "cut-in-frame", "freeze", "refuse"),
    *("latency", "bandwidth", "jitter", "loss"),
    *("drop-new", "reset-new", "silence-new", "drop-some"),
)


@st.composite
def faults(draw: st.DrawFn) -> str:
    """One fault and its time, as text."""
    name = draw(st.sampled_from(NAMES))
    kind = KINDS[name]
    value = draw(VALUES[name]) if name in VALUES else 0.0
    ways = [Way.BOTH, Way.UP, Way.DOWN] if kind.has_way else [Way.BOTH]
    fault = Fault(name=name, value=value, way=draw(st.sampled_from(ways)))
    at = draw(hundredths(0, SECONDS - 1))
    until = math.inf
    if kind.may_end:
        until = min(SECONDS, round(at + draw(hundredths(0.01, SECONDS)), 2))
    return str(Timed(fault=fault, at=at, until=until))


@dataclass(frozen=True, kw_only=True)
class Weather:
    """Everything that is done to a connection from outside.

    Attributes:
        seed: of the order of tasks, of jitter and of other chance.
        faults: of the network, in `SECONDS`.
        restarts: of the server: when, and for how long it is away.
        latency: of the good network, in seconds.
        capacity: of a link, in bytes.
        is_watchful: whether the server has a heartbeat.
    """

    seed: int
    faults: str
    restarts: tuple[tuple[float, float], ...]
    latency: float
    capacity: int
    is_watchful: bool


weathers: Final = st.builds(
    Weather,
    seed=st.integers(0, 2**16),
    faults=st.lists(faults(), max_size=6).map(" ".join),
    restarts=st.lists(st.tuples(hundredths(0, SECONDS), hundredths(0, 3)), max_size=2).map(
        lambda found: tuple(sorted(found))
    ),
    latency=st.sampled_from([0.0, 0.01, 0.1]),
    capacity=st.sampled_from([65536, 4096, 300]),
    is_watchful=st.booleans(),
)
closings: Final = st.none() | hundredths(0, SECONDS + 2)  # when the client closes, if before all


def policy(outbox: Outbox, *, outgoing_bytes: int = 65536, inbox_bytes: int = 2**20) -> Policy:
    """For a client that is soon back, and notices soon."""
    return Policy(
        backoff=Backoff(first=0.5, maximum=2.0, max_attempts=None, stable_after=5.0),
        heartbeat=Heartbeat(interval=3.0, timeout=2.0),
        timeouts=Timeouts(opening=5.0, closing=2.0),
        limits=Limits(outgoing_bytes=outgoing_bytes, inbox_bytes=inbox_bytes),
        outbox=outbox,
    )


def server_policy(weather: Weather) -> Policy:
    return Policy(
        heartbeat=Heartbeat(interval=4.0, timeout=2.0) if weather.is_watchful else None,
        timeouts=Timeouts(opening=5.0, closing=2.0),
    )


class Urls:
    """Numbers the links in the order in which the client dials them: `Server` finds it there."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    async def __call__(self, _: statews.Attempt) -> str:
        return f"ws://{HOST}/{next(self._numbers)}"


# The world.


@asynccontextmanager
async def playing(weather: Weather, handler: Handler, network: Network) -> AsyncGenerator[float]:
    """A network with a server in it, and the faults at work; gives when all is healed."""
    network.slow(latency=weather.latency)
    healed_at = current_time() + SECONDS
    with network:
        async with anyio.create_task_group() as group:
            await group.start(_serve, weather, handler)
            group.start_soon(_play, weather, network)
            yield healed_at
            group.cancel_scope.cancel()
    await anyio.sleep(AFTERWARDS)
    assert not network.links, "a link is left"
    left = [task for task in tasks() if "statews/client" in task or "statews/transport" in task]
    assert not left, "\n".join(left)


async def _play(weather: Weather, network: Network) -> None:
    schedule = Schedule.parse([weather.faults])
    async with anyio.create_task_group() as group:
        await group.start(schedule.play, network)
        await anyio.sleep(SECONDS)
        group.cancel_scope.cancel()
    network.heal()


async def _serve(
    weather: Weather, handler: Handler, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED
) -> None:
    """The server, which is away now and then."""
    began = current_time()
    for at, away in weather.restarts:
        async with statews.listen(handler, HOST, PORT, policy=server_policy(weather)):
            task_status.started()
            task_status = TASK_STATUS_IGNORED
            await anyio.sleep_until(began + at)
        await anyio.sleep(away)
    async with statews.listen(handler, HOST, PORT, policy=server_policy(weather)):
        task_status.started()
        await anyio.sleep_forever()


def tasks() -> list[str]:
    """Those that there are, on whichever backend this runs."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return trio_tasks()
    return asyncio_tasks()


# The server.


class Tap(deque[Message]):
    """The inbox of a server's link. What is put into it was taken in by the WebSocket layer."""

    def __init__(self, on_taken: Callable[[Message], None]) -> None:
        super().__init__()
        self._on_taken = on_taken

    def sort(self, arrived: deque[Message]) -> int:
        """See `Wire.divert`."""
        while arrived:
            message = arrived.popleft()
            self._on_taken(message)
            self.append(message)
        return sum(map(len, self))


def number_of(message: Message) -> Number:
    """Which one it is: see `Step.message`."""
    text = message if isinstance(message, str) else message.decode()
    sender, _, number = text.partition(":")[0].partition(".")
    return int(sender), int(number)


@dataclass(frozen=True, kw_only=True)
class Habits:
    """What a server does with messages.

    Attributes:
        pause: seconds that it takes for each.
        echoes: whether it says each again.
        drops_after: it aborts a link after so many messages, while there are faults.
    """

    pause: float = 0.0
    echoes: bool = False
    drops_after: int = 10**9


habits: Final = st.builds(
    Habits,
    pause=st.sampled_from([0.0, 0.0, 0.02, 0.5]),
    echoes=st.booleans(),
    drops_after=st.sampled_from([10**9, 10**9, 1, 5]),
)


class Server:
    """Writes down what it takes in, of each link.

    Attributes:
        taken: link and message, in the order of their arrival.
        seen: every message that came.
        named: those of them that it acknowledges, if it acknowledges any.
        acknowledged: every message whose acknowledgement went out, if it sends any.
        problems: what must not be.
        receipts: of the client, as far as its `send` has returned.
    """

    def __init__(self, habits: Habits, *, acknowledges: bool = False) -> None:
        self.taken: list[tuple[int, Number]] = []
        self.seen: set[Number] = set()
        self.named: set[Number] = set()
        self.acknowledged: set[Number] = set()
        self.problems: list[str] = []
        self.receipts: dict[Number, Receipt] = {}
        self._habits = habits
        self._acknowledges = acknowledges

    async def __call__(self, link: Link) -> None:
        place = int(link.path.strip("/"))
        tap = Tap(lambda message: self._take(place, message))
        link.divert(tap, tap.sort)
        count = 0
        async for message in link:
            await anyio.sleep(self._habits.pause)
            if self._acknowledges and is_named(message):
                self.acknowledged.add(number_of(message))
                await link.send(f"ack {message.partition(':')[0]}")
            if self._habits.echoes:
                await link.send("echo")
            count += 1
            if count == self._habits.drops_after and current_time() < SECONDS:
                link.abort()

    def check_acknowledged(self, number: Number) -> None:
        """The client takes this for acknowledged."""
        if number not in self.seen:
            self.problems.append(f"{number} is acknowledged, and did not arrive")
        if self._acknowledges and number in self.named and number not in self.acknowledged:
            self.problems.append(f"{number} is acknowledged, and not by the server")

    def _take(self, place: int, message: Message) -> None:
        number = number_of(message)
        receipt = self.receipts.get(number)
        if receipt is not None and not receipt.attempts:
            self.problems.append(f"{number} arrived, and {receipt} says it was never written")
        self.taken.append((place, number))
        self.seen.add(number)
        if is_named(message):
            self.named.add(number)


def is_named(message: Message) -> TypeGuard[str]:
    """Whether the server acknowledges it."""
    return isinstance(message, str)


def name_of(message: Message) -> str | None:
    """See `Acknowledged.id`."""
    return message.partition(":")[0] if is_named(message) else None


def acked(message: Message) -> str | None:
    """See `Acknowledged.acked`."""
    assert isinstance(message, str)
    return message.removeprefix("ack ") if message.startswith("ack ") else None


# The client.


@dataclass(frozen=True, kw_only=True)
class Step:
    """One message, and how it is sent.

    Attributes:
        pause: seconds before it.
        size: of its payload, more or less.
        is_text: or bytes.
        patience: seconds after which the call is cancelled; None: never.
        time_to_live: see `Connection.send`.
        link_only: see `Connection.send`.
        key: see `Connection.send`; under `AtLimit.CONFLATE` only.
    """

    pause: float
    size: int = 0
    is_text: bool = True
    patience: float | None = None
    time_to_live: float | None = None
    link_only: bool = False
    key: int | None = None

    def message(self, number: Number) -> Message:
        """What is sent."""
        text = f"{number[0]}.{number[1]}:".ljust(self.size, "x")
        return text if self.is_text else text.encode()


sizes: Final = st.sampled_from([0, 0, 0, 10, 100, 300, 1000, 5000, 20_000, 70_000])
PAUSES: Final = st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.1, 0.3]) | hundredths(0, 3)
plain: Final = st.builds(Step, pause=PAUSES, size=sizes, is_text=st.booleans())
varied: Final = st.builds(
    Step,
    pause=PAUSES,
    size=sizes,
    is_text=st.booleans(),
    patience=st.none() | hundredths(0, 1),
    time_to_live=st.sampled_from([None, None, None, 0.01, 0.5, 3.0]),
    link_only=st.sampled_from([False, False, False, True]),
    key=st.sampled_from([None, 1, 2]),
)


class Client:
    """What the client sent, and what it was told.

    Args:
        server: which knows the truth.
        group: where it watches over receipts.
        hurries: whether it waits for each acknowledgement, so that pings go out at once.
        has_keys: whether the keys of the steps count.

    Attributes:
        steps: of each message that `send` was called with.
        receipts: of each that it returned for.
        refused: those that it raised for.
    """

    def __init__(
        self, server: Server, group: TaskGroup, *, hurries: bool, has_keys: bool = False
    ) -> None:
        self.steps: dict[Number, Step] = {}
        self.receipts: dict[Number, Receipt] = {}
        self.refused: set[Number] = set()
        self._server = server
        self._group = group
        self._hurries = hurries
        self._has_keys = has_keys

    async def send(
        self, connection: statews.Connection, sender: int, steps: Sequence[Step]
    ) -> None:
        """Send all of this."""
        for index, step in enumerate(steps):
            await anyio.sleep(step.pause)
            number = sender, index
            self.steps[number] = step
            patience = math.inf if step.patience is None else step.patience
            with anyio.move_on_after(patience):
                try:
                    receipt = await connection.send(
                        step.message(number),
                        key=step.key if self._has_keys else None,
                        time_to_live=step.time_to_live,
                        link_only=step.link_only,
                    )
                except (ConnectionClosed, OutboxFullError):
                    self.refused.add(number)
                    continue
                self.receipts[number] = self._server.receipts[number] = receipt
                self._group.start_soon(self._watch, number, receipt)

    async def _watch(self, number: Number, receipt: Receipt) -> None:
        """See what becomes of it, at the time; of some that nobody waits for, in the end."""
        if not self._hurries and number[1] % 2:
            return
        while not receipt.state.is_final:
            if self._hurries:
                with suppress(ConnectionClosed):
                    await receipt.wait_settled()
            else:
                receipt.burst.expand()
                entry = receipt.burst.find(receipt.index)
                if entry is None or entry.state.is_final:
                    continue
                moved = entry.waiter if isinstance(entry.waiter, Event) else Event()
                entry.waiter = moved
                await moved.wait()
        if receipt.state is ReceiptState.ACKNOWLEDGED:
            self._server.check_acknowledged(number)


# Streams.


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A server with numbered messages, and how it gives them out.

    Attributes:
        pauses: seconds before each message.
        page: how many a page holds.
        keeps: how many it remembers.
        twins: how many messages have one stamp.
        forgets: of so many messages it leaves one out, to be asked for; 0: it says all.
    """

    pauses: tuple[float, ...]
    page: int
    keeps: int = 10**9
    twins: int = 1
    forgets: int = 0


class Feeder:
    """Says what is new on every link, and gives out pages of what it remembers.

    Attributes:
        said: every message.
        is_thorough: whether it forgets nothing from now on.
    """

    def __init__(self, stream: Stream) -> None:
        self.said: list[dict[str, float]] = []
        self.is_thorough: bool = False
        self._stream = stream
        self._pushed: dict[Link, int] = {}  # so many were said on the link
        self._news = Event()

    def say(self) -> None:
        """The next message, to whoever is there."""
        seq = len(self.said) + 1
        self.said.append({"seq": seq, "at": float(seq // self._stream.twins)})
        self._news.set()
        self._news = Event()

    async def say_all(self) -> None:
        """All that there is to say, in its time."""
        for pause in self._stream.pauses:
            await anyio.sleep(pause)
            self.say()

    async def __call__(self, link: Link) -> None:
        with suppress(StatewsError):
            async with anyio.create_task_group() as group:
                self._pushed[link] = len(self.said)
                group.start_soon(self._push, link)
                async for message in link:
                    await link.send(json.dumps(self._answer(link, json.loads(message))))

    async def _push(self, link: Link) -> None:
        forgets = self._stream.forgets
        with suppress(StatewsError):
            while True:
                for each in self.said[self._pushed[link] :]:
                    if self.is_thorough or not forgets or each["seq"] % forgets:
                        await link.send(json.dumps(each))
                    self._pushed[link] += 1
                if self._pushed[link] == len(self.said):
                    await self._news.wait()

    def _answer(self, link: Link, asked: dict[str, float | None]) -> Mapping[str, object]:
        """The newest message, or what comes after a number, or is not before a stamp."""
        if not asked:
            return self.said[-1] if self.said else {"seq": 0}
        after, since = asked.get("after"), asked.get("since")

        def is_wanted(each: dict[str, float]) -> bool:
            if after is not None:
                return each["seq"] > after
            return since is None or each["at"] >= since

        # What a link is still to be told of is kept for it.
        first = max(0, min(len(self.said) - self._stream.keeps, self._pushed[link]))
        wanted = [json.dumps(each) for each in self.said[first:] if is_wanted(each)]
        return {
            "page": wanted[: self._stream.page],
            "more": len(wanted) > self._stream.page,
            "gone": asked != {"since": None} and any(map(is_wanted, self.said[:first])),
        }


def page_of(parsed: dict[str, Any]) -> Page | None:
    """See `After`."""
    if "page" not in parsed:
        return None
    return Page(items=parsed["page"], more=parsed["more"], gone=parsed["gone"])


def after(**options: Any) -> After[Any]:  # noqa: ANN401 - whatever `After` takes
    """Everything from number 1 on."""
    return After(
        lambda ask: json.dumps({"after": ask.after}),
        seq=lambda parsed: parsed.get("seq"),
        page=page_of,
        start=0,
        **options,
    )


def since(**options: Any) -> Since[Any]:  # noqa: ANN401 - whatever `Since` takes
    """Everything from the beginning."""
    return Since(
        lambda cursor: json.dumps({"since": cursor}),
        stamp=lambda parsed: parsed.get("at"),
        id=lambda parsed: parsed["seq"],
        page=page_of,
        **options,
    )


# A process that dies.


class Disk:
    """A store whose process may die: what was not committed by then never was.

    Args:
        takes: seconds for a commit.
    """

    def __init__(self, takes: float) -> None:
        self._inner = MemoryStore()
        self._takes = takes
        self._noted: list[Callable[[], None]] = []
        self._written = 0  # of what was noted
        self._is_dead = False

    def die(self) -> None:
        """Nothing is written any more."""
        self._is_dead = True

    async def open(self) -> Contents:
        """See `OutboxStore`: another process finds what is there."""
        self._noted, self._written, self._is_dead = [], 0, False
        await self._inner.close()
        return await self._inner.open()

    def add(self, stored: Stored) -> None:
        """See `OutboxStore`."""
        self._noted.append(lambda: self._inner.add(stored))

    def remove(self, numbers: Iterable[int], *, stream: str = "") -> None:
        """See `OutboxStore`."""
        settled = list(numbers)
        self._noted.append(lambda: self._inner.remove(settled, stream=stream))

    def forget(self, stream: str) -> None:
        """See `OutboxStore`."""
        self._noted.append(lambda: self._inner.forget(stream))

    def save_position(self, name: str, position: str) -> None:
        """See `OutboxStore`."""
        self._noted.append(lambda: self._inner.save_position(name, position))

    async def commit(self) -> None:
        """See `OutboxStore`."""
        count = len(self._noted)
        await anyio.sleep(self._takes)
        if self._is_dead:
            raise StoreError("", "the process is dead")
        for write in self._noted[self._written : count]:
            write()
        self._written = max(self._written, count)

    async def close(self) -> None:
        """See `OutboxStore`."""
        if not self._is_dead:
            await self.commit()
