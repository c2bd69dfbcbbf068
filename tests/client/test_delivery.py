"""Delivery through any schedule of faults: nothing is lost, and no receipt lies.

`STATEWS_DELIVERIES=2000` in the environment has each test try so many plans on each backend.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import anyio
import pytest
from anyio import current_time
from hypothesis import given
from hypothesis import strategies as st

import statews
from statews import (
    Acknowledged,
    AtLimit,
    Change,
    Delivery,
    Latest,
    Outbox,
    Receipt,
    ReceiptState,
    Strategy,
)
from statews.errors import StoreError
from statews.store import Stored
from statews.testing import Guarantee, History, Network
from statews.testing.virtual import BACKENDS, Backend, run

from .delivering import (
    HOST,
    PORT,
    RECOVERY,
    Client,
    Disk,
    Feeder,
    Habits,
    Number,
    Server,
    Step,
    Stream,
    Urls,
    Weather,
    acked,
    after,
    closings,
    habits,
    hundredths,
    name_of,
    plain,
    playing,
    plays,
    policy,
    since,
    sizes,
    varied,
    weathers,
)

pytestmark = pytest.mark.no_cover
backends = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    """Thousands of lost links, and a line in the log for each, cost more than they tell."""
    logger = logging.getLogger("statews")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A client that sends, and a server that takes in.

    Attributes:
        weather: what happens to them.
        outbox: of the client.
        senders: what each of its tasks sends.
        habits: of the server.
        closes_at: when the client closes, if before all is done.
        hurries: whether somebody waits for each acknowledgement.
        outgoing_bytes: see `Limits`.
    """

    weather: Weather
    outbox: Outbox
    senders: tuple[tuple[Step, ...], ...]
    habits: Habits
    closes_at: float | None
    hurries: bool
    outgoing_bytes: int


def outboxes(**options: st.SearchStrategy[Any]) -> st.SearchStrategy[Outbox]:
    return st.builds(
        Outbox,
        messages=st.sampled_from([10_000, 10, 3, 1]),
        size_bytes=st.sampled_from([2**24, 1000, 100_000]),
        fence_after=st.sampled_from([0.2, 0.01, 2.0]),
        **options,
    )


def plans(
    each: st.SearchStrategy[Step], delivery: Delivery, **options: st.SearchStrategy[Any]
) -> st.SearchStrategy[Plan]:
    senders = st.lists(each, min_size=1, max_size=12).map(tuple)
    return st.builds(
        Plan,
        weather=weathers,
        outbox=outboxes(delivery=st.just(delivery), **options),
        senders=st.lists(senders, min_size=1, max_size=2).map(tuple),
        habits=habits,
        closes_at=closings,
        hurries=st.booleans(),
        outgoing_bytes=st.sampled_from([65536, 500, 1]),
    )


class Run:
    """A plan, carried out; what was seen is then judged."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.server = Server(plan.habits, acknowledges=plan.outbox.acknowledged is not None)
        self.network = Network(seed=plan.weather.seed, capacity=plan.weather.capacity)
        self.client: Client

    def on(self, backend: Backend) -> Run:
        run(self._main, backend=backend, seed=self.plan.weather.seed)
        return self

    @property
    def receipts(self) -> dict[Number, Receipt | None]:
        """Of everything that may arrive; None: the call was cancelled."""
        client = self.client
        return {n: client.receipts.get(n) for n in client.steps if n not in client.refused}

    async def _main(self) -> None:
        plan = self.plan
        async with (
            playing(plan.weather, self.server, self.network) as healed_at,
            anyio.create_task_group() as group,
        ):
            self.client = Client(
                self.server,
                group,
                hurries=plan.hurries,
                has_keys=plan.outbox.at_limit is AtLimit.CONFLATE,
            )
            async with statews.connect(
                Urls(),
                policy=policy(plan.outbox, outgoing_bytes=plan.outgoing_bytes),
                proxy=None,
                wait=False,
            ) as connection:
                group.start_soon(self._receive, connection)
                with anyio.fail_after(healed_at - anyio.current_time() + RECOVERY):
                    if plan.closes_at is None:
                        await self._talk(connection)
                        await anyio.sleep_until(healed_at)
                        await connection.flush()
                    else:
                        group.start_soon(self._talk, connection)
                        await anyio.sleep(plan.closes_at)
                        await connection.close()
            group.cancel_scope.cancel()

    async def _talk(self, connection: statews.Connection) -> None:
        async with anyio.create_task_group() as group:
            for sender, each in enumerate(self.plan.senders):
                group.start_soon(self.client.send, connection, sender, each)

    async def _receive(self, connection: statews.Connection) -> None:
        async for message in connection:
            assert message == "echo"


def check_receipts(run: Run) -> None:
    """No receipt lies."""
    server = run.server
    assert not server.problems
    assert not run.client.refused & server.seen
    for number, receipt in run.client.receipts.items():
        match receipt.state:
            case ReceiptState.ACKNOWLEDGED:
                assert number in server.seen, f"{number}: {receipt}"
            case ReceiptState.IN_DOUBT:
                assert receipt.attempts, f"{number}: {receipt}"
            case ReceiptState.DROPPED | ReceiptState.EXPIRED:
                assert not receipt.attempts, f"{number}: {receipt}"
                assert number not in server.seen, f"{number}: {receipt}"
            case state:
                raise AssertionError(f"{number} is still {state}")


def check_order(run: Run, numbers: Iterable[Number]) -> None:
    """Of these, what was sent first came first, in the server's own time."""
    counted = set(numbers)
    arrived = dict.fromkeys(number for _, number in run.server.taken if number in counted)
    for sender in range(len(run.plan.senders)):
        its = [number for number in arrived if number[0] == sender]
        assert its == sorted(its)


def check_history(run: Run, guarantee: Guarantee) -> None:
    """What went over one link comes before what went over the next: so it must be in order.

    In its own time the server may hear the rest of an old link when the next is there already.
    """
    history, taken = History(), sorted(run.server.taken, key=lambda each: each[0])
    for number, receipt in sorted(run.receipts.items()):
        way = history.way(f"sender {number[0]}")
        if guarantee is Guarantee.AT_MOST_ONCE or number in run.server.seen:
            way.sent(number)
            if receipt is None or receipt.state is ReceiptState.IN_DOUBT:
                way.in_doubt(number)
            elif receipt.state is not ReceiptState.ACKNOWLEDGED:
                way.dropped(number)
    for _, number in taken:
        history.way(f"sender {number[0]}").delivered(number)
    for number, receipt in run.client.receipts.items():
        if receipt.state is ReceiptState.ACKNOWLEDGED:
            history.way(f"sender {number[0]}").acknowledged(number)
    history.check(guarantee)


def check_nothing_is_lost(run: Run) -> None:
    """What was accepted and not closed away has arrived, and its receipt says so."""
    if run.plan.closes_at is None:
        for number, receipt in run.client.receipts.items():
            assert receipt.state is ReceiptState.ACKNOWLEDGED, f"{number}: {receipt}"


# The outbox.


@backends
@plays()
@given(plan=plans(plain, delivery=Delivery.AT_LEAST_ONCE))
def test_at_least_once_everything_arrives_and_at_first_in_order(
    backend: Backend, plan: Plan
) -> None:
    run = Run(plan).on(backend)
    check_receipts(run)
    check_nothing_is_lost(run)
    check_order(run, run.server.seen)
    check_history(run, Guarantee.AT_LEAST_ONCE)


@backends
@plays()
@given(plan=plans(plain, delivery=Delivery.AT_MOST_ONCE))
def test_at_most_once_nothing_arrives_twice_and_what_may_be_missing_is_known(
    backend: Backend, plan: Plan
) -> None:
    run = Run(plan).on(backend)
    check_receipts(run)
    check_history(run, Guarantee.AT_MOST_ONCE)
    for number, receipt in run.client.receipts.items():
        assert receipt.attempts <= 1
        if plan.closes_at is None:
            assert receipt.state is not ReceiptState.DROPPED, f"{number}: {receipt}"


@backends
@plays()
@given(plan=plans(varied, delivery=Delivery.AT_LEAST_ONCE, at_limit=st.sampled_from(AtLimit)))
def test_at_least_once_no_receipt_lies_whatever_is_given_up(backend: Backend, plan: Plan) -> None:
    run = Run(plan).on(backend)
    check_receipts(run)
    receipts = run.client.receipts
    check_order(run, [n for n in receipts if receipts[n].state is ReceiptState.ACKNOWLEDGED])


@backends
@plays()
@given(plan=plans(varied, delivery=Delivery.AT_MOST_ONCE, at_limit=st.sampled_from(AtLimit)))
def test_at_most_once_no_receipt_lies_whatever_is_given_up(backend: Backend, plan: Plan) -> None:
    run = Run(plan).on(backend)
    check_receipts(run)
    check_history(run, Guarantee.AT_MOST_ONCE)


@backends
@plays()
@given(
    plan=plans(
        plain,
        delivery=Delivery.AT_LEAST_ONCE,
        acknowledged=st.sampled_from([False, True]).map(
            lambda is_cumulative: Acknowledged(
                id=name_of, acked=acked, is_cumulative=is_cumulative
            )
        ),
    )
)
def test_what_the_server_acknowledges_itself_is_acknowledged_by_nothing_else(
    backend: Backend, plan: Plan
) -> None:
    run = Run(plan).on(backend)
    check_receipts(run)
    check_nothing_is_lost(run)
    check_order(run, run.server.seen)


# A process that dies.


@dataclass(frozen=True, kw_only=True)
class Deaths:
    """A client that dies and comes again, with the same store.

    Attributes:
        weather: what happens to its links.
        steps: what it sends, one life after the other.
        lives: seconds that each life lasts; the last one has no end.
        takes: seconds that the store takes for a commit.
        acknowledges: whether the server acknowledges by name.
    """

    weather: Weather
    steps: tuple[Step, ...]
    lives: tuple[float, ...]
    takes: float
    acknowledges: bool


deaths = st.builds(
    Deaths,
    weather=weathers,
    steps=st.lists(plain, min_size=1, max_size=15).map(tuple),
    lives=st.lists(hundredths(0, 6), min_size=1, max_size=3).map(tuple),
    takes=st.sampled_from([0.0, 0.01, 0.3]),
    acknowledges=st.booleans(),
)


class Lives:
    """Carries out `Deaths`.

    Attributes:
        accepted: what `send` returned for, in some life.
        left: what is in the store at the end.
    """

    def __init__(self, plan: Deaths) -> None:
        self.plan = plan
        self.server = Server(Habits(), acknowledges=plan.acknowledges)
        self.accepted: set[Number] = set()
        self.left: list[Stored] = []
        self._network = Network(seed=plan.weather.seed, capacity=plan.weather.capacity)
        self._disk = Disk(plan.takes)
        self._steps = deque(enumerate(plan.steps))
        self._urls = Urls()

    async def main(self) -> None:
        async with playing(self.plan.weather, self.server, self._network) as healed_at:
            for seconds in self.plan.lives:
                await self._live(seconds)
            with anyio.fail_after(max(0.0, healed_at - current_time()) + 2 * RECOVERY):
                await self._live(math.inf)
        self.left = (await self._disk.open()).messages

    async def _live(self, seconds: float) -> None:
        names = Acknowledged(id=name_of, acked=acked) if self.plan.acknowledges else None
        outbox = Outbox(delivery=Delivery.AT_LEAST_ONCE, acknowledged=names)
        with anyio.CancelScope() as life:
            async with (
                statews.connect(
                    self._urls, policy=policy(outbox), proxy=None, wait=False, store=self._disk
                ) as connection,
                anyio.create_task_group() as group,
            ):
                group.start_soon(self._die, seconds, life)
                await self._send(connection)
                if seconds < math.inf:
                    await anyio.sleep_forever()
                await connection.flush()
                group.cancel_scope.cancel()

    async def _die(self, seconds: float, life: anyio.CancelScope) -> None:
        """The system ends what it held, and says nothing to the peer but that."""
        await anyio.sleep(seconds)
        self._disk.die()
        for link in self._network.living:
            link.client.abort()
        life.cancel()

    async def _send(self, connection: statews.Connection) -> None:
        while self._steps:
            await anyio.sleep(self._steps[0][1].pause)
            index, step = self._steps.popleft()
            with suppress(StoreError):  # it died meanwhile
                await connection.send(step.message((0, index)))
                self.accepted.add((0, index))


@backends
@plays()
@given(plan=deaths)
def test_what_a_store_has_taken_in_outlives_the_process(backend: Backend, plan: Deaths) -> None:
    lives = Lives(plan)
    run(lives.main, backend=backend, seed=plan.weather.seed)
    assert not lives.server.problems
    assert lives.accepted <= lives.server.seen
    firsts = list(dict.fromkeys(number for _, number in lives.server.taken))
    assert firsts == sorted(firsts)
    assert lives.left == []


# Streams.


@dataclass(frozen=True, kw_only=True)
class Reading:
    """An application that reads a stream.

    Attributes:
        weather: what happens to its links.
        stream: what the server says.
        pause: seconds that the application takes for each event.
        inbox_bytes: see `Limits`.
        timeout: of the strategy.
        overlap: of `Since`.
        hold: of the strategy.
    """

    weather: Weather
    stream: Stream
    pause: float
    inbox_bytes: int
    timeout: float = 1000.0
    overlap: float = 0.0
    hold: int = 10_000


def readings(**options: st.SearchStrategy[Any]) -> st.SearchStrategy[Reading]:
    return st.builds(
        Reading,
        weather=weathers,
        pause=st.sampled_from([0.0, 0.0, 0.01, 0.2]),
        inbox_bytes=st.sampled_from([2**20, 100, 1]),
        **options,
    )


def streams(**options: st.SearchStrategy[Any]) -> st.SearchStrategy[Stream]:
    return st.builds(
        Stream,
        pauses=st.lists(
            st.sampled_from([0.0, 0.0, 0.05]) | hundredths(0, 2), min_size=1, max_size=25
        ).map(tuple),
        page=st.sampled_from([100, 3, 5]),
        **options,
    )


async def read(
    plan: Reading, strategy: Strategy
) -> tuple[Feeder, list[int], list[statews.Gap | statews.Reset]]:
    """What the application gets of a stream: its numbers, and what it was told it has lost."""
    feeder = Feeder(plan.stream)
    network = Network(seed=plan.weather.seed, capacity=plan.weather.capacity)
    numbers: list[int] = []
    losses: list[statews.Gap | statews.Reset] = []

    async def take(connection: statews.Connection) -> None:
        async for event in connection.events():
            if isinstance(event, (statews.Gap, statews.Reset)):
                losses.append(event)
            elif not isinstance(event, Change):
                numbers.append(json.loads(event)["seq"])
                if is_over.is_set() and numbers[-1] == len(feeder.said):
                    return
            await anyio.sleep(plan.pause)

    is_over = anyio.Event()
    async with (
        playing(plan.weather, feeder, network) as healed_at,
        statews.connect(
            Urls(),
            policy=policy(Outbox(), inbox_bytes=plan.inbox_bytes),
            proxy=None,
            wait=False,
            sync=strategy,
        ) as connection,
    ):
        async with anyio.create_task_group() as group:
            group.start_soon(take, connection)
            await feeder.say_all()
            await anyio.sleep_until(healed_at + RECOVERY)
            is_over.set()
            feeder.is_thorough = True
            feeder.say()  # what it does not know of by now, it learns of
            group.cancel_scope.deadline = current_time() + RECOVERY
        assert not group.cancel_scope.cancel_called, "the last message did not come"
    return feeder, numbers, losses


@backends
@plays()
@given(plan=readings(stream=streams(forgets=st.sampled_from([0, 2, 7]))))
def test_after_gives_each_number_once_and_in_order(backend: Backend, plan: Reading) -> None:
    options = {"timeout": plan.timeout, "hold": plan.hold}
    feeder, numbers, losses = run(
        lambda: read(plan, after(**options)), backend=backend, seed=plan.weather.seed
    )
    assert not losses
    assert numbers == list(range(1, len(feeder.said) + 1))


@backends
@plays()
@given(
    plan=readings(
        stream=streams(twins=st.sampled_from([1, 2])), overlap=st.sampled_from([0.0, 1.0, 2.0])
    )
)
def test_since_gives_each_message_once_and_in_order(backend: Backend, plan: Reading) -> None:
    options = {"timeout": plan.timeout, "hold": plan.hold, "overlap": plan.overlap}
    feeder, numbers, losses = run(
        lambda: read(plan, since(**options)), backend=backend, seed=plan.weather.seed
    )
    assert not losses
    assert numbers == list(range(1, len(feeder.said) + 1))


def check_cover(
    said: int, numbers: list[int], losses: list[statews.Gap | statews.Reset], *, first: int
) -> None:
    """From the first on, each number was delivered, or is in a gap, and not both."""
    assert numbers == sorted(set(numbers))
    named: set[int] = set()
    for loss in losses:
        assert isinstance(loss, statews.Gap)
        after = 0 if loss.after is None else int(loss.after)
        following = (number for number in numbers if number > after)
        before = next(following) if loss.before is None else int(loss.before)
        named.update(range(max(first, after + 1), before))
    assert named == set(range(first, said + 1)) - set(numbers)


kept = {
    "stream": streams(keeps=st.sampled_from([1, 2, 5])),
    "timeout": st.sampled_from([1000.0, 2.0, 0.3]),
    "hold": st.sampled_from([10_000, 2]),
}


@backends
@plays()
@given(plan=readings(**kept))
def test_after_names_what_it_does_not_give(backend: Backend, plan: Reading) -> None:
    options = {"timeout": plan.timeout, "hold": plan.hold, "retries": 1}
    feeder, numbers, losses = run(
        lambda: read(plan, after(**options)), backend=backend, seed=plan.weather.seed
    )
    check_cover(len(feeder.said), numbers, losses, first=1)


@backends
@plays()
@given(plan=readings(**kept))
def test_since_names_what_it_does_not_give(backend: Backend, plan: Reading) -> None:
    options = {"timeout": plan.timeout, "hold": plan.hold, "retries": 1, "overlap": 0.0}
    feeder, numbers, losses = run(
        lambda: read(plan, since(**options)), backend=backend, seed=plan.weather.seed
    )
    check_cover(len(feeder.said), numbers, losses, first=numbers[0])


# The newest value.


@backends
@plays()
@given(plan=readings(stream=streams()))
def test_latest_ends_with_the_servers_value_and_never_goes_back(
    backend: Backend, plan: Reading
) -> None:
    run(lambda: converge(plan), backend=backend, seed=plan.weather.seed)


async def converge(plan: Reading) -> None:
    feeder = Feeder(plan.stream)
    network = Network(seed=plan.weather.seed, capacity=plan.weather.capacity)
    versions: list[int] = []

    async def take(connection: statews.Connection) -> None:
        while True:
            versions.append(json.loads(await connection.receive())["seq"])
            await anyio.sleep(plan.pause)

    latest = Latest("{}", version=lambda parsed: parsed["seq"])
    async with (
        playing(plan.weather, feeder, network) as healed_at,
        statews.connect(
            Urls(),
            policy=policy(Outbox(), inbox_bytes=plan.inbox_bytes),
            proxy=None,
            wait=False,
            sync=latest,
        ) as connection,
        anyio.create_task_group() as group,
    ):
        group.start_soon(take, connection)
        await feeder.say_all()
        await anyio.sleep_until(healed_at + RECOVERY)
        group.cancel_scope.cancel()
    assert versions == sorted(set(versions))
    assert versions[-1] == len(feeder.said)


# Memory.


@dataclass(frozen=True, kw_only=True)
class Flood:
    """Senders that never stop, and a peer that is frozen for ever."""

    seed: int
    outbox: Outbox
    sizes: tuple[int, ...]
    senders: int
    frozen_at: float
    outgoing_bytes: int
    beats: bool


floods = st.builds(
    Flood,
    seed=st.integers(0, 2**16),
    outbox=outboxes(
        delivery=st.sampled_from(Delivery),
        at_limit=st.sampled_from(AtLimit),
        time_to_live=st.sampled_from([None, 0.5]),
    ),
    sizes=st.lists(sizes, min_size=1, max_size=5).map(tuple),
    senders=st.sampled_from([1, 3]),
    frozen_at=hundredths(0, 1),
    outgoing_bytes=st.sampled_from([65536, 500]),
    beats=st.booleans(),
)


@backends
@plays()
@given(plan=floods)
def test_a_frozen_peer_and_a_sender_that_never_stops_stay_within_the_limits(
    backend: Backend, plan: Flood
) -> None:
    run(lambda: flood(plan), backend=backend, seed=plan.seed)


async def flood(plan: Flood) -> None:
    server = Server(Habits())
    network = Network(seed=plan.seed)
    settings = policy(plan.outbox, outgoing_bytes=plan.outgoing_bytes)
    if not plan.beats:
        settings = replace(settings, heartbeat=None)

    async def send(connection: statews.Connection, sender: int) -> None:
        for index, size in zip(range(60), itertools.cycle(plan.sizes), strict=False):
            key = index % 4 if plan.outbox.at_limit is AtLimit.CONFLATE else None
            with suppress(statews.OutboxFullError):
                await connection.send(Step(size=size, pause=0).message((sender, index)), key=key)
            queue = connection._sender.queue
            held = [*(entry.size for entry in queue.entries), *map(len, queue.texts)]
            assert queue.size_bytes == sum(held)
            assert len(held) <= plan.outbox.messages
            assert len(held) == 1 or sum(held) <= plan.outbox.size_bytes
            await anyio.sleep(0.02)

    with network:
        async with (
            statews.listen(server, HOST, PORT),
            statews.connect(Urls(), policy=settings, proxy=None) as connection,
        ):
            with anyio.move_on_after(30):
                async with anyio.create_task_group() as group:
                    for sender in range(plan.senders):
                        group.start_soon(send, connection, sender)
                    await anyio.sleep(plan.frozen_at)
                    network.freeze()
            network.reset()
