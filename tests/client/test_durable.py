"""A connection with a store: in virtual time, the store in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable

import anyio
import pytest
from anyio import current_time

import statews
from statews import (
    Acknowledged,
    After,
    AtLimit,
    Delivery,
    Link,
    MemoryStore,
    OnStoreError,
    Outbox,
    ReceiptState,
    State,
    StoreFullError,
)
from statews.store import Contents, Stored

from .world import World, accept, connect, refuse, steady

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("world")]


def stored(**changes: object) -> statews.Policy:
    return steady(outbox=Outbox(delivery=Delivery.AT_LEAST_ONCE, **changes))  # type: ignore[arg-type]


class Slow:
    """A store that takes its time, and fails when told to."""

    def __init__(self, *, takes: float = 0.0) -> None:
        self.inner = MemoryStore()
        self.takes = takes
        self.fails = False
        self.committed = 0.0

    async def open(self) -> Contents:
        if self.fails:
            raise StoreFullError("/disk", "could not open /disk: it is full")
        return await self.inner.open()

    def add(self, stored: Stored) -> None:
        self.inner.add(stored)

    def remove(self, numbers: Iterable[int]) -> None:
        self.inner.remove(numbers)

    def save_position(self, name: str, position: str) -> None:
        self.inner.save_position(name, position)

    async def commit(self) -> None:
        await anyio.sleep(self.takes)
        if self.fails:
            raise StoreFullError("/disk", "could not write /disk: it is full")
        await self.inner.commit()
        self.committed = current_time()

    async def close(self) -> None:
        if self.fails:
            raise StoreFullError("/disk", "could not write /disk: it is full")
        await self.inner.close()


class Sink:
    def __init__(self) -> None:
        self.got: list[tuple[float, str | bytes]] = []

    async def __call__(self, link: Link) -> None:
        async for message in link:
            self.got.append((current_time(), message))

    @property
    def messages(self) -> list[str | bytes]:
        return [message for _, message in self.got]


@pytest.fixture
def sink(world: World) -> Sink:
    sink = Sink()
    world.scripts = [accept(sink)]
    return sink


async def contents(store: MemoryStore | Slow) -> Contents:
    inner = store.inner if isinstance(store, Slow) else store
    found = await inner.open()
    await inner.close()
    return found


async def test_what_waited_when_a_connection_ended_is_sent_by_the_next(
    world: World, sink: Sink
) -> None:
    store = MemoryStore()
    good = world.scripts
    world.scripts = [refuse]
    async with connect(policy=stored(), store=store, wait=False) as connection:
        receipts = [await connection.send(message) for message in ("a", b"b", "c")]
        await connection.close()
        assert {receipt.state for receipt in receipts} == {ReceiptState.QUEUED}
        with pytest.raises(statews.ConnectionClosed, match="is closed"):
            await receipts[0].wait_settled()
    world.scripts = good
    async with connect(policy=stored(), store=store) as connection:
        await connection.send("d")
        await connection.flush()
    assert sink.messages == ["a", b"b", "c", "d"]
    left = await contents(store)
    assert left.messages == []
    assert left.next_number == 5


async def test_a_message_is_written_only_when_it_is_stored(sink: Sink) -> None:
    store = Slow(takes=1)
    async with connect(policy=stored(), store=store) as connection:
        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(connection.send, str(number))
        await connection.flush()
    assert sorted(sink.messages) == ["0", "1", "2"]
    assert all(time >= 1 for time, _ in sink.got)


async def test_a_sender_that_is_cancelled_while_its_message_is_stored_has_sent_it(
    sink: Sink,
) -> None:
    store = Slow(takes=1)
    async with connect(policy=stored(), store=store) as connection:
        with anyio.move_on_after(0.5):
            await connection.send("x")
        await connection.flush()
    assert sink.messages == ["x"]
    assert (await contents(store)).messages == []


async def test_a_store_has_its_time_though_the_connection_is_cancelled(world: World) -> None:
    closed: list[float] = []

    class Thorough(Slow):
        async def close(self) -> None:
            await anyio.sleep(1)
            closed.append(current_time())

    world.scripts = [refuse]
    with anyio.move_on_after(5):
        async with connect(wait=False, store=Thorough(), policy=stored()):
            await anyio.sleep_forever()
    assert closed == [6]


async def test_a_full_disk_is_an_error_and_the_message_is_not_sent(
    sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    store = Slow()
    async with connect(policy=stored(), store=store) as connection:
        store.fails = True
        with pytest.raises(StoreFullError, match="could not write /disk: it is full"):
            await connection.send("lost")
        assert connection.state is State.OPEN
        store.fails = False
        await connection.send("kept")
        await connection.flush()
        store.fails = True
    assert sink.messages == ["kept"]
    assert "the store failed: could not write /disk" in caplog.text


async def test_a_connection_goes_on_in_memory_only_if_that_was_said(
    sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    policy = stored(on_store_error=OnStoreError.GO_ON)
    store = Slow()
    async with connect(policy=policy, store=store) as connection:
        store.fails = True
        await connection.send("1")
        await connection.send("2")
        await connection.flush()
    assert sink.messages == ["1", "2"]
    assert caplog.text.count("the store failed") == 1

    with pytest.raises(StoreFullError, match="could not open"):
        await connect(policy=stored(), store=store).__aenter__()
    async with connect(policy=policy, store=store) as connection:
        await connection.send("3")
        await connection.flush()
    assert sink.messages == ["1", "2", "3"]


async def test_what_is_dropped_or_expires_leaves_the_store(world: World) -> None:
    store = MemoryStore()
    world.scripts = [refuse]
    policy = stored(messages=2, at_limit=AtLimit.DROP_OLDEST)
    async with connect(policy=policy, store=store, wait=False) as connection:
        await connection.send("dropped")
        await connection.send("short", time_to_live=10)
        await connection.send("long", time_to_live=1e6)
        await connection.send("link only", link_only=True)
        await anyio.sleep(20)
    left = (await contents(store)).messages
    assert [message.message for message in left] == ["long"]
    assert left[0].expires_at is not None


async def test_a_time_to_live_outlives_the_process(world: World, sink: Sink) -> None:
    store = MemoryStore()
    good = world.scripts
    world.scripts = [refuse]
    async with connect(policy=stored(), store=store, wait=False) as connection:
        await connection.send("x", time_to_live=1e6)
    await store.open()
    store.add(Stored(number=2, message="stale", expires_at=1.0))
    await store.close()
    world.scripts = good
    async with connect(policy=stored(), store=store) as connection:
        await connection.flush()
    assert sink.messages == ["x"]


async def test_keys_are_stored(world: World, sink: Sink) -> None:
    store = MemoryStore()
    good = world.scripts
    world.scripts = [refuse]
    policy = stored(at_limit=AtLimit.CONFLATE)
    async with connect(policy=policy, store=store, wait=False) as connection:
        for number in range(4):
            await connection.send(str(number), key=f"{number % 2}")
        with pytest.raises(statews.UsageError, match="must be a str, got int"):
            await connection.send("x", key=1)
    world.scripts = [refuse]
    async with connect(policy=policy, store=store, wait=False) as connection:
        await connection.send("4", key="0")
    world.scripts = good
    async with connect(policy=policy, store=store) as connection:
        await connection.flush()
    assert sink.messages == ["3", "4"]


async def test_what_the_application_did_not_acknowledge_is_sent_by_the_next(world: World) -> None:
    async def deaf(link: Link) -> None:
        async for _ in link:
            pass

    async def server(link: Link) -> None:
        async for message in link:
            await link.send(message)

    names = Acknowledged(id=lambda message: message, acked=lambda message: message)
    store = MemoryStore()
    world.scripts = [accept(deaf)]
    async with connect(policy=stored(acknowledged=names), store=store) as connection:
        for name in "abc":
            receipt = await connection.send(name)
            await receipt.wait_written()
    assert len((await contents(store)).messages) == 3
    world.scripts = [accept(server)]
    async with connect(policy=stored(acknowledged=names), store=store) as connection:
        await connection.flush()
    assert (await contents(store)).messages == []


async def test_positions_are_stored(world: World) -> None:
    asked: list[int] = []

    async def server(link: Link) -> None:
        for seq in range(3):
            await link.send(json.dumps({"seq": seq}))
        async for message in link:
            asked.append(json.loads(message))  # noqa: PERF401 - seen while it goes on

    def stream() -> After[dict[str, int]]:
        return After(lambda ask: str(ask.after), seq=lambda parsed: parsed["seq"])

    world.scripts = [accept(server)]
    store = MemoryStore()
    async with connect(policy=stored(), store=store, sync=stream()) as connection:
        for _ in range(3):
            await connection.receive()
        await anyio.sleep(1)
    assert "after" in (await contents(store)).positions
    async with connect(policy=stored(), store=store, sync=stream()):
        await anyio.sleep(1)
    assert asked == [1]  # the third was taken, and nobody asked for a fourth
    await store.open()
    store.save_position("after", '{"wrong": 1}')
    await store.close()
    with pytest.raises(statews.UsageError, match="a position of 'after' must be"):
        await connect(policy=stored(), store=store, sync=stream()).__aenter__()
    await store.open()  # it was released
    await store.close()


async def test_a_store_calls_for_at_least_once() -> None:
    with pytest.raises(statews.UsageError, match="a store calls for a policy whose outbox"):
        connect(store=MemoryStore())


async def test_a_store_is_released_if_what_it_holds_cannot_be_named(world: World) -> None:
    store = MemoryStore()
    world.scripts = [refuse]
    async with connect(policy=stored(), store=store, wait=False) as connection:
        await connection.send("no json")
    names = Acknowledged(id=json.loads, acked=json.loads)
    with pytest.raises(statews.UsageError, match=r"Acknowledged\.id failed with JSONDecodeError"):
        await connect(policy=stored(acknowledged=names), store=store).__aenter__()
    assert len((await contents(store)).messages) == 1
