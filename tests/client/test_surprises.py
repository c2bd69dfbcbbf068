"""What nobody foresaw, in whatever it happens: it ends the connection, and leaves as it is."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

import anyio
import pytest
from typing_extensions import override

import statews
from statews import (
    Change,
    ConnectionClosed,
    Delivery,
    Limits,
    Link,
    LinkClosed,
    MemoryStore,
    Outbox,
    Phase,
    State,
)
from statews.protocol.sync import Output, Strategy
from statews.store.base import Contents, Stored

from .world import World, accept, connect, steady

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("world")]

WAYS = ["begin", "take", "end", "drain", "expire"]


class Surprise(Exception):
    """What nobody foresaw."""


class Broken(Strategy):
    """A strategy that breaks where it is told to, once the connection has been open."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.is_armed = False

    def _pass(self, way: str) -> None:
        if self.is_armed and way == self.way:
            raise Surprise(way)

    @property
    @override
    def deadline(self) -> float:
        return 0.0 if self.is_armed and self.way == "expire" else float("inf")

    @override
    def begin(self, now: float) -> None:
        self._pass("begin")

    @override
    def take(self, message: str | bytes, now: float) -> bool:
        self._pass("take")
        return False

    @override
    def expire(self, now: float) -> None:
        self._pass("expire")

    @override
    def prolong(self, now: float) -> None:
        self._pass("prolong")

    @override
    def repeat(self, now: float) -> None:
        self._pass("repeat")

    @override
    def end(self) -> None:
        self._pass("end")

    @override
    def drain(self) -> tuple[list[str | bytes], list[Output]]:
        self._pass("drain")
        return super().drain()

    @override
    def handled(self, mark: object) -> None:
        raise AssertionError("it delivers nothing")

    @property
    @override
    def position(self) -> object:
        return None

    @override
    def restore(self, position: object) -> None:
        raise AssertionError("there is no store")


async def provoke(connection: statews.Connection, world: World, strategy: Broken) -> None:
    """Let a strategy be called in every way."""
    strategy.is_armed = True
    await connection.send("x")
    await anyio.sleep(1)
    world.wires[-1].cut()
    await anyio.sleep(10)


async def raised_by(
    connection: statews.Connection, body: Callable[[], Awaitable[object]]
) -> BaseException | None:
    """With what a connection is left."""
    try:
        async with connection:
            await body()
    except Exception as error:  # noqa: BLE001 - what it is is the question
        return error
    return None


@pytest.mark.parametrize("way", WAYS)
async def test_a_surprise_leaves_as_it_is_and_closes_the_connection(
    world: World, way: str
) -> None:
    strategy = Broken(way)
    connection = connect(sync=strategy)
    error = await raised_by(connection, lambda: provoke(connection, world, strategy))
    assert type(error) is Surprise
    assert error.args == (way,)
    assert error.__traceback__ is not None
    assert connection.state is State.CLOSED
    assert world.live_wires() == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_surprise_releases_whoever_waits(world: World, way: str) -> None:
    strategy = Broken(way)
    connection = connect(sync=strategy)
    seen: list[Change] = []
    ended: list[str] = []

    async def watch() -> None:
        seen.extend([change async for change in connection.changes()])
        ended.append("changes")

    async def listen_to_events() -> None:
        await connection.wait_for(State.OPEN)
        with suppress(ConnectionClosed, Surprise):
            async for _ in connection.events():
                pass
        ended.append("events")

    async def wait() -> None:
        await connection.wait_for(State.CLOSED)
        ended.append("wait_for")

    async def settle() -> None:
        await connection.wait_for(State.OPEN)
        await connection.wait_for(State.BACKING_OFF, State.CLOSED)
        with suppress(ConnectionClosed):
            await (await connection.send("y")).wait_settled()
        ended.append("receipt")

    async with anyio.create_task_group() as group:
        for task in (watch, listen_to_events, wait, settle):
            group.start_soon(task)
        await anyio.wait_all_tasks_blocked()
        await raised_by(connection, lambda: provoke(connection, world, strategy))
        with anyio.fail_after(10):
            await connection.close()
    assert sorted(ended) == ["changes", "events", "receipt", "wait_for"]
    last = seen[-1]
    assert last.now.state is State.CLOSED
    assert last.left in {State.OPEN, State.CONNECTING, State.BACKING_OFF}
    assert last.event == "close"


async def test_a_surprise_is_logged_and_published_as_the_end_of_what_was_left(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "statews.client")
    strategy = Broken("take")
    connection = connect(sync=strategy)
    seen: list[Change] = []

    async def watch() -> None:
        seen.extend([change async for change in connection.changes()])

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        await anyio.wait_all_tasks_blocked()
        await raised_by(connection, lambda: provoke(connection, world, strategy))
    assert [(change.left, change.event) for change in seen][-1] == (State.OPEN, "close")
    assert caplog.messages[-1] == "open -> closed (close) ws://example.org/feed"


async def test_a_second_surprise_while_the_link_is_closed_is_not_the_one_that_leaves(
    world: World,
) -> None:
    class Numbered(Broken):
        count = 0

        @override
        def take(self, message: str | bytes, now: float) -> bool:
            self.count += 1
            raise Surprise(self.count)

    async def chatter(link: Link) -> None:
        with suppress(LinkClosed):
            while True:
                await link.send("x")
                await anyio.sleep(0.1)

    world.scripts = [accept(chatter)]
    strategy = Numbered("take")
    connection = connect(sync=strategy)
    error = await raised_by(connection, lambda: anyio.sleep(10))
    assert type(error) is Surprise
    assert error.args == (1,)


async def test_who_closes_while_a_surprise_does_waits_for_it(world: World) -> None:
    strategy = Broken("take")
    connection = connect(sync=strategy)
    closed_at: list[float] = []

    async def close() -> None:
        await connection.wait_for(State.OPEN)
        await anyio.sleep(2)
        assert connection.phase is Phase.DRAINING
        await connection.close()
        closed_at.append(anyio.current_time())

    async def body() -> None:
        strategy.is_armed = True
        await connection.send("x")
        await anyio.sleep(10)

    began = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(close)
        world.scripts = [accept(slow_echo)]
        assert type(await raised_by(connection, body)) is Surprise
    assert closed_at == [pytest.approx(began + 6, abs=0.1)]


async def slow_echo(link: Link) -> None:
    """Answers after a second, and reads no more."""
    message = await link.receive()
    await anyio.sleep(1)
    await link.send(message)
    await anyio.sleep(100)


async def test_the_peer_is_told_of_a_surprise_and_the_receipts_are_settled(world: World) -> None:
    endings: list[object] = []

    async def hear(link: Link) -> None:
        try:
            await link.receive()
            await link.receive()
        except LinkClosed as error:
            endings.append(error.code)

    world.scripts = [accept(hear)]
    strategy = Broken("expire")
    receipts: list[statews.Receipt] = []

    async def body() -> None:
        receipts.append(await connection.send("x"))
        strategy.is_armed = True
        await anyio.sleep(100)

    connection = connect(sync=strategy, policy=steady(heartbeat=statews.Heartbeat(interval=1)))
    error = await raised_by(connection, body)
    while not endings:
        strategy.is_armed = True
        await anyio.sleep(1)
    assert type(error) is Surprise
    assert endings == [1011]
    assert receipts[0].state.is_final


async def test_a_surprise_before_there_is_a_link_ends_entering_with_it(world: World) -> None:
    strategy = Broken("begin")
    strategy.is_armed = True
    connection = connect(sync=strategy)
    with pytest.raises(Surprise, match="begin"):
        await connection.__aenter__()
    assert connection.state is State.CLOSED
    assert world.live_wires() == []


async def test_a_surprise_comes_before_what_the_body_made_of_it(world: World) -> None:
    strategy = Broken("begin")

    async def body() -> None:
        strategy.is_armed = True
        world.wires[-1].cut()
        try:
            await connection.receive()
        finally:
            raise KeyError("a consequence")

    connection = connect(sync=strategy)
    error = await raised_by(connection, body)
    assert type(error) is Surprise
    assert isinstance(error.__context__, KeyError)


async def test_a_surprise_is_no_answer_to_a_cancellation(world: World) -> None:
    strategy = Broken("end")
    connection = connect(sync=strategy)
    with anyio.CancelScope() as scope:

        async def body() -> None:
            strategy.is_armed = True
            scope.cancel()
            await anyio.sleep(1)

        error = await raised_by(connection, body)
        assert type(error) is Surprise
    assert connection.state is State.CLOSED
    assert world.live_wires() == []


class BrokenStore:
    """A store that breaks in a way that no store may."""

    def __init__(self) -> None:
        self.is_open = False
        self.is_broken = False

    async def open(self) -> Contents:
        self.is_open = True
        return Contents(messages=[], positions={}, next_number=1)

    def add(self, stored: Stored) -> None:
        pass

    def remove(self, _: Iterable[int], *, stream: str = "") -> None:
        del stream
        self.is_broken = True

    def forget(self, stream: str) -> None:
        pass

    def save_position(self, name: str, position: str) -> None:
        pass

    async def commit(self) -> None:
        if self.is_broken:
            self.is_broken = False
            raise Surprise("commit")

    async def close(self) -> None:
        self.is_open = False


async def test_a_surprise_in_the_store_leaves_as_it_is_and_the_store_is_closed() -> None:
    store = BrokenStore()
    outbox = statews.Outbox(delivery=statews.Delivery.AT_LEAST_ONCE)
    connection = connect(store=store, policy=steady(outbox=outbox))

    async def body() -> None:
        receipt = await connection.send("x")
        await receipt.wait_acknowledged()
        await anyio.sleep(10)

    assert type(await raised_by(connection, body)) is Surprise
    assert connection.state is State.CLOSED
    assert not store.is_open


async def test_with_a_surprise_the_store_is_closed() -> None:
    store = BrokenStore()
    outbox = statews.Outbox(delivery=statews.Delivery.AT_LEAST_ONCE)
    strategy = Broken("begin")
    strategy.is_armed = True
    connection = connect(store=store, sync=strategy, policy=steady(outbox=outbox), wait=False)
    assert type(await raised_by(connection, lambda: anyio.sleep(10))) is Surprise
    assert not store.is_open


@pytest.mark.parametrize("anyio_backend", ["trio"])  # asyncio itself ends its loop with it
async def test_what_exits_the_process_leaves_as_it_is(world: World) -> None:
    async def leave(_: Link) -> None:
        raise SystemExit(3)

    connection = connect(on_open=leave)
    with pytest.raises(SystemExit, match="3"):
        await connection.__aenter__()
    assert connection.state is State.CLOSED
    assert world.live_wires() == []


class Hasty(Broken):
    """A strategy of one's own that does not care for what keeps answers away."""

    def __init__(self) -> None:
        super().__init__("never")
        self.due = math.inf
        self.expired_at: list[float] = []

    prolong = Strategy.prolong

    @property
    @override
    def deadline(self) -> float:
        return self.due

    @override
    def begin(self, now: float) -> None:
        self.due = now + 5

    @override
    def expire(self, now: float) -> None:
        self.expired_at.append(now)
        self.due = math.inf


async def test_a_deadline_passes_although_the_application_takes_nothing(world: World) -> None:
    async def handler(link: Link) -> None:
        for _ in range(20):
            await link.send("x" * 1000)
        await anyio.sleep_forever()

    world.scripts = [accept(handler)]
    strategy, began = Hasty(), anyio.current_time()
    async with connect(sync=strategy, policy=steady(limits=Limits(inbox_bytes=2000))):
        await anyio.sleep(60)
    assert [at - began for at in strategy.expired_at] == [pytest.approx(5, abs=1)]


class Forgetful(Broken):
    """It cannot read what it has stored."""

    @override
    def restore(self, position: object) -> None:
        raise Surprise("an old format")


async def test_a_store_is_released_when_what_it_holds_breaks_a_strategy() -> None:
    store = MemoryStore()
    await store.open()
    store.save_position("forgetful", "{}")
    await store.commit()
    await store.close()
    policy = steady(outbox=Outbox(delivery=Delivery.AT_LEAST_ONCE))
    with pytest.raises(Surprise):
        await connect(policy=policy, sync=Forgetful("never"), store=store).__aenter__()
    await store.open()
    await store.close()
