"""Messages, across links: in virtual time, on a network without sockets."""

from __future__ import annotations

import anyio
import pytest

import statews
from statews import (
    Backoff,
    Heartbeat,
    Jitter,
    Limits,
    Link,
    LinkClosed,
    State,
)

from .world import (
    World,
    accept,
    connect,
    silent,
    states_of,
    steady,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("world")]


async def test_messages_go_both_ways() -> None:
    async with connect() as connection:
        await connection.send("text")
        await connection.send(b"bytes")
        assert await connection.receive() == "text"
        assert await connection.receive() == b"bytes"


async def test_nothing_is_dialled_before_it_is_entered(world: World) -> None:
    connection = connect()
    assert connection.state is State.IDLE
    await anyio.sleep(100)
    assert world.dials == []


async def test_an_unused_connection_can_be_closed() -> None:
    connection = connect()
    await connection.close()
    assert connection.state is State.CLOSED
    with pytest.raises(statews.UsageError, match="make a new one"):
        await connection.__aenter__()


async def test_it_reconnects_and_goes_on(world: World) -> None:
    async with connect() as connection:
        changes = connection.changes()
        for number in range(3):
            await connection.send(str(number))
            assert await connection.receive() == str(number)
            world.wires[-1].cut()
            await connection.wait_for(State.BACKING_OFF)
            await connection.wait_for(State.OPEN)
    seen = [change async for change in changes]
    assert states_of(seen)[:3] == [State.BACKING_OFF, State.CONNECTING, State.OPEN]
    assert states_of(seen)[-1] is State.CLOSED
    assert len(world.wires) == 4


async def test_messages_that_came_before_a_drop_are_delivered_before_those_that_came_after(
    world: World,
) -> None:
    count = iter(range(100))

    async def burst(link: Link) -> None:
        for _ in range(3):
            await link.send(str(next(count)))

    world.scripts = [accept(burst), accept(burst), silent]
    policy = steady(backoff=Backoff(first=1, maximum=1, jitter=Jitter.NONE, max_attempts=None))
    async with connect(policy=policy, decide=lambda _: statews.Retry()) as connection:
        await anyio.sleep(5)
        received = [await connection.receive() for _ in range(6)]
    assert received == [str(number) for number in range(6)]


async def test_iteration_spans_links_and_ends_with_close(world: World) -> None:
    async def hello(link: Link) -> None:
        await link.send("hello")

    world.scripts = [accept(hello)]
    received = []
    async with connect(decide=lambda _: statews.Retry()) as connection:
        async for message in connection:
            received.append(message)
            if len(received) == 4:
                await connection.close()
    assert received == ["hello"] * 4
    assert len(world.dials) == 4


async def test_close_tells_the_peer_1000_and_an_exception_1001(world: World) -> None:
    endings: list[BaseException | None] = []

    async def watch(link: Link) -> None:
        with pytest.raises(LinkClosed, match="closed the link"):
            await link.receive()
        endings.append(link.ending)

    world.scripts = [accept(watch)]
    async with connect():
        pass
    async with connect() as connection:
        await connection.close(4000, "that is all")
    with pytest.raises(ZeroDivisionError, match="mine"):
        async with connect():
            raise ZeroDivisionError("mine")
    with anyio.move_on_after(1):
        async with connect():
            await anyio.sleep_forever()
    codes = [(e.code, e.reason) for e in endings if isinstance(e, LinkClosed)]
    assert codes == [(1000, ""), (4000, "that is all"), (1001, ""), (1001, "")]


async def test_a_break_out_of_the_iteration_closes_with_1000(world: World) -> None:
    codes = []

    async def handler(link: Link) -> None:
        await link.send("x")
        with pytest.raises(LinkClosed, match="1000"):
            await link.receive()
        codes.append(link.ending)

    world.scripts = [accept(handler)]
    async with connect() as connection:
        async for _ in connection:
            break
    assert len(codes) == 1


async def test_what_nobody_reads_is_bounded_across_links(world: World) -> None:
    async def burst(link: Link) -> None:
        for _ in range(50):
            await link.send("x" * 1000)
        await anyio.sleep(1)

    world.scripts = [accept(burst)]
    world.capacity = 4096
    backoff = Backoff(first=1, maximum=1, jitter=Jitter.NONE, max_attempts=None)
    heartbeat = Heartbeat(interval=1, timeout=1)
    policy = steady(limits=Limits(inbox_bytes=10_000), backoff=backoff, heartbeat=heartbeat)

    def again(_: statews.Failure) -> statews.Verdict:
        return statews.Retry()

    async with connect(policy=policy, decide=again) as connection:
        for _ in range(20):
            await anyio.sleep(5)
            world.wires[-1].cut()
    assert len(world.wires) == 20
    kept = [message async for message in connection]
    came_along = len(world.wires) * world.capacity  # with an upgrade, in the read that had it
    assert 10_000 <= sum(map(len, kept)) <= 10_000 + 2 * world.capacity + came_along
