"""Frozen peers, busy consumers, sleeping machines: in virtual time, without sockets."""

from __future__ import annotations

from collections.abc import Callable, Coroutine

import anyio
import pytest
from anyio import current_time

import statews
from statews import (
    Backoff,
    Delivery,
    Heartbeat,
    Jitter,
    Limits,
    Link,
    LinkClosed,
    Outbox,
    Policy,
    State,
)
from statews.testing.faults import Way
from statews.testing.memory import MemoryStream
from statews.transport.stream import receive, send

from .world import (
    World,
    accept,
    accept_upgrade,
    connect,
    echo,
    refuse,
    steady,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("world")]


async def test_a_frozen_peer_is_found_and_aborted_within_interval_and_timeout(
    world: World,
) -> None:
    policy = steady(heartbeat=Heartbeat(interval=10, timeout=3))
    async with connect(policy=policy) as connection:
        await connection.send("x")
        await connection.receive()
        frozen_at = current_time()
        world.wires[-1].freeze()
        await connection.wait_for(State.BACKING_OFF)
        assert current_time() - frozen_at <= 13.01
        assert isinstance(connection.snapshot().last_error, statews.PeerSilent)
        assert world.wires[0].client.is_aborted
        await connection.wait_for(State.OPEN)
        await connection.send("y")
        assert await connection.receive() == "y"


async def receive_all(connection: statews.Connection) -> None:
    async for _ in connection:
        pass


async def send_steadily(connection: statews.Connection) -> None:
    while connection.state is State.OPEN:
        await connection.send("x" * 1000)
        await anyio.sleep(0.01)


async def do_something_else(_: statews.Connection) -> None:
    await anyio.sleep_forever()


@pytest.mark.no_cover
@pytest.mark.parametrize("application", [receive_all, send_steadily, do_something_else])
async def test_a_frozen_peer_is_found_whatever_the_application_does(
    world: World, application: Callable[[statews.Connection], Coroutine[None, None, None]]
) -> None:
    async def sink(link: Link) -> None:
        async for _ in link:
            pass

    world.scripts = [accept(sink)]
    policy = steady(heartbeat=Heartbeat(interval=10, timeout=3))
    async with connect(policy=policy) as connection, anyio.create_task_group() as group:
        group.start_soon(application, connection)
        await anyio.sleep(50)
        frozen_at = current_time()
        world.wires[-1].freeze()
        await connection.wait_for(State.BACKING_OFF)
        assert current_time() - frozen_at <= 13.1
        assert len(world.dials) == 1
        group.cancel_scope.cancel()


# What the peer takes in of a long message is life as well.

MIB = 1 << 20
CERTAIN = steady(outbox=Outbox(delivery=Delivery.AT_LEAST_ONCE))


async def take(link: Link) -> None:
    async for _ in link:
        pass


@pytest.mark.parametrize("bandwidth", [30_000, 100_000])
async def test_a_long_upload_over_a_slow_line_arrives(world: World, bandwidth: float) -> None:
    world.scripts = [accept(take)]
    world.capacity = 2 * MIB
    async with connect(policy=CERTAIN) as connection:
        world.wires[-1].faults.slow(bandwidth=bandwidth, way=Way.UP)
        receipt = await connection.send(bytes(MIB))
        await receipt.wait_acknowledged()
        assert current_time() == pytest.approx(MIB / bandwidth, rel=0.1)
        assert len(world.dials) == 1


async def test_a_server_waits_for_a_slow_client(world: World) -> None:
    async def talk(link: Link) -> None:
        await anyio.sleep(1)
        await link.send(bytes(MIB))
        link.ping()
        await link.receive()

    world.scripts = [accept(talk, heartbeat=Heartbeat())]
    world.capacity = 2 * MIB
    async with connect(policy=steady(heartbeat=None)) as connection:
        world.wires[-1].faults.slow(bandwidth=50_000, way=Way.DOWN)
        assert len(await connection.receive()) == MIB
        assert current_time() > 20
        await connection.send("done")


@pytest.mark.parametrize("way", Way)
async def test_a_line_that_freezes_in_a_long_upload_is_found(world: World, way: Way) -> None:
    world.scripts = [accept(take)]
    world.capacity = 2 * MIB
    async with connect(policy=CERTAIN) as connection:
        world.wires[-1].faults.slow(bandwidth=30_000, way=Way.UP)
        await connection.send(bytes(MIB))
        await anyio.sleep(20)
        assert connection.state is State.OPEN
        world.wires[-1].freeze(way)
        await connection.wait_for(State.BACKING_OFF)
        assert current_time() <= 20 + 10 * 9 / 8 + 0.1
        assert isinstance(connection.snapshot().last_error, statews.PeerSilent)


async def test_a_peer_that_stops_in_a_long_upload_is_found(world: World) -> None:
    async def stop(link: Link) -> None:
        await anyio.sleep(20)
        link.call_off()
        await anyio.sleep_forever()

    world.scripts = [accept(stop)]
    world.capacity = 2 * MIB
    async with connect(policy=CERTAIN) as connection:
        world.wires[-1].faults.slow(bandwidth=30_000, way=Way.UP)
        await connection.send(bytes(MIB))
        await connection.wait_for(State.BACKING_OFF)
        assert 20 + 10 * 7 / 8 <= current_time() <= 20 + 10 * 9 / 8 + 0.1


async def test_a_peer_that_takes_everything_and_answers_nothing_is_found(world: World) -> None:
    async def take_all(stream: MemoryStream) -> None:
        await accept_upgrade(stream)
        while await receive(stream):
            pass

    world.scripts = [take_all]
    policy = steady(heartbeat=Heartbeat(interval=10, timeout=3))
    async with connect(policy=policy) as connection, anyio.create_task_group() as group:
        world.wires[-1].faults.slow(latency=0.1)
        group.start_soon(send_steadily, connection)
        await connection.wait_for(State.BACKING_OFF)
        assert current_time() <= 10 + 3 + 0.1
        group.cancel_scope.cancel()


@pytest.mark.parametrize("size", [10, 1000])
async def test_a_consumer_that_does_not_read_loses_nothing_and_is_not_disconnected(
    world: World, size: int
) -> None:
    async def flood(link: Link) -> None:
        for number in range(100):
            await link.send(f"{number:>{size}}")
        async for message in link:
            await link.send(message)

    world.scripts = [accept(flood)]
    world.capacity = 4096
    policy = steady(heartbeat=Heartbeat(interval=10, timeout=3), limits=Limits(inbox_bytes=2048))
    async with connect(policy=policy) as connection:
        await anyio.sleep(10 * 13)
        assert len(world.dials) == 1
        assert [int(await connection.receive()) for _ in range(100)] == list(range(100))
        await connection.send("still here")
        assert await connection.receive() == "still here"


async def flood(link: Link) -> None:
    """Send a message per second, twice as much as fits into `SMALL`, and echo after that."""
    for number in range(8):
        await link.send(f"{number:>1024}")
        await anyio.sleep(1)
    async for message in link:
        await link.send(message)


SMALL = Limits(inbox_bytes=4096)


async def test_who_does_not_receive_is_told_once_that_nothing_is_read(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.scripts = [accept(flood)]
    async with connect(policy=steady(limits=SMALL)) as connection:
        await anyio.sleep(3.5)
        assert caplog.messages == []
        await anyio.sleep(2)
        (told,) = caplog.records
        assert (told.name, told.levelname) == ("statews.client", "WARNING")
        waiting = 1024 + 3 * (4 + 1024)  # the first came with the upgrade
        assert told.getMessage() == (
            "nothing more is read from /feed, and no ping answered, "
            f"until the application receives: {waiting} bytes wait"
        )
        for _ in range(8):
            await connection.receive()
        await connection.send("x" * 5000)
        await anyio.sleep(10)
        assert await connection.receive() == "x" * 5000
        assert len(caplog.records) == 1
        world.wires[-1].cut()
        await connection.wait_for(State.BACKING_OFF)
        caplog.clear()
        await connection.wait_for(State.OPEN)
        await anyio.sleep(10)
        assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_handler_that_does_not_receive_is_told_as_well(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def busy(_: Link) -> None:
        await anyio.sleep(5)

    world.scripts = [accept(busy, inbox_bytes=4096)]
    async with connect() as connection:
        await connection.send("x" * 10_000)
        await anyio.sleep(4)
    assert [record.name for record in caplog.records] == ["statews.listen"]


async def test_who_receives_in_time_is_told_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def send_long(link: Link) -> None:
        for _ in range(10):
            await link.send("x" * 10_000)
            await anyio.sleep(0.9)

    world.scripts = [accept(send_long)]
    async with connect(policy=steady(limits=SMALL)) as connection:
        for _ in range(10):
            await anyio.sleep(0.9)
            await connection.receive()
        assert caplog.records == []


async def test_pings_are_answered_while_the_only_message_is_seen_to(world: World) -> None:
    round_trips: list[float | None] = []

    async def ask(link: Link) -> None:
        await link.send("x" * 10_000)
        await anyio.sleep(5)
        link.ping()
        await anyio.sleep(5)
        round_trips.append(link.round_trip)

    world.scripts = [accept(ask)]
    async with connect(policy=steady(limits=SMALL)) as connection:
        await connection.receive()
        await anyio.sleep(20)
        assert round_trips == [0]


async def test_pings_are_answered_while_nobody_receives(world: World) -> None:
    round_trips = []

    async def pinger(link: Link) -> None:
        for _ in range(3):
            link.ping()
            await anyio.sleep(5)
            round_trips.append(link.round_trip)
        await link.send("done")
        await anyio.sleep_forever()

    world.scripts = [accept(pinger)]
    async with connect() as connection:
        await anyio.sleep(20)
        assert all(trip is not None and trip < 1.1 for trip in round_trips)
        assert len(round_trips) == 3
        assert await connection.receive() == "done"


async def test_nudge_retries_now(world: World) -> None:
    world.scripts = [refuse, echo]
    policy = steady(backoff=Backoff(first=30, maximum=30, jitter=Jitter.NONE))
    async with connect(policy=policy, wait=False) as connection:
        await connection.wait_for(State.BACKING_OFF)
        connection.nudge()
        await connection.wait_for(State.OPEN)
        assert current_time() < 1


async def test_nudge_finds_a_frozen_peer_within_the_timeout(world: World) -> None:
    async with connect() as connection:
        world.wires[-1].freeze()
        connection.nudge()
        await connection.wait_for(State.BACKING_OFF)
        assert current_time() <= 10.01


async def test_nudging_again_and_again_does_not_hide_a_frozen_peer(world: World) -> None:
    async with connect() as connection:
        world.wires[-1].freeze()
        while connection.state is State.OPEN:
            connection.nudge()
            await anyio.sleep(1)
        assert current_time() <= 11.01


async def test_nudge_is_harmless_in_every_other_state(world: World) -> None:
    connection = connect(policy=Policy(backoff=Backoff(max_attempts=0)), wait=False)
    connection.nudge()
    world.scripts = [refuse]
    world.dial_time = 1
    async with connection:
        connection.nudge()
        await connection.wait_for(State.FAILED)
        connection.nudge()
    connection.nudge()
    assert connection.state is State.CLOSED


async def test_after_a_sleep_of_the_machine_the_peer_is_asked_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = 0.0
    monkeypatch.setattr("statews.transport.wire.awake_time", lambda: current_time() + slept)
    async with connect() as connection:
        await anyio.sleep(2)
        world.wires[-1].freeze()
        slept = 3600.0
        await connection.wait_for(State.BACKING_OFF)
        assert current_time() <= 2 + 5 + 10 + 0.1


async def test_a_peer_that_breaks_the_protocol_is_told_and_replaced(world: World) -> None:
    told: list[LinkClosed] = []

    async def garbage(link: Link) -> None:
        await send(link._stream, b"\xff\xff\xff")
        with pytest.raises(LinkClosed, match="with a mask") as caught:
            await link.receive()
        told.append(caught.value)

    world.scripts = [accept(garbage), echo]
    async with connect() as connection:
        await connection.wait_for(State.BACKING_OFF)
        error = connection.snapshot().last_error
        assert isinstance(error, statews.FrameError)
        await connection.wait_for(State.OPEN)
    assert [ending.code for ending in told] == [error.close_code] == [1002]


async def test_a_heartbeat_of_the_application_that_stands_behind_an_upload_is_waited_for(
    world: World,
) -> None:
    sizes: list[int] = []

    async def handler(link: Link) -> None:
        async for message in link:
            if message == "ping":
                await link.send("pong")
            else:
                sizes.append(len(message))

    world.scripts = [accept(handler)]
    heartbeat = Heartbeat(
        interval=10, timeout=10, message="ping", is_answer=lambda message: message == "pong"
    )
    async with connect(policy=steady(heartbeat=heartbeat)) as connection:
        world.wires[-1].faults.slow(bandwidth=10_000)
        world.wires[-1].link.notify()
        receipt = await connection.send("x" * 600_000)
        await receipt.wait_acknowledged()
        assert sizes == [600_000]
        assert len(world.wires) == 1
        world.wires[-1].freeze()
        with anyio.fail_after(21):
            await connection.wait_for(State.BACKING_OFF)
