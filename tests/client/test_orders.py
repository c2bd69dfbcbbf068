"""Close, drop, cancel and late success against each state, in every order of ready tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio
import pytest

import statews
from statews import Backoff, ConnectionClosed, Jitter, Policy, State
from statews.errors import ConnectionFailed
from statews.testing.faults import Ending
from statews.testing.hanging import trio_tasks
from statews.testing.orders import Tape
from statews.testing.virtual import explore
from statews.transport.network import NETWORK

from .world import URL, World, accept, echo_handler, refuse, silent

MOST: Final = 20_000  # orders: a scenario with more would not be told in full
DIAL: Final = 1.0  # virtual seconds
BRIEF: Final = Policy(
    backoff=Backoff(first=1, maximum=1, jitter=Jitter.NONE, max_attempts=None), heartbeat=None
)

Scenario = Callable[[World, Tape], Awaitable[None]]
SCENARIOS: Final[list[Scenario]] = []


def scenario(function: Scenario) -> Scenario:
    SCENARIOS.append(function)
    return function


def connect(**options: object) -> statews.Connection:
    return statews.connect(URL, **{"policy": BRIEF, "proxy": None, **options})  # type: ignore[arg-type]


# close


@scenario
async def close_while_connecting(world: World, tape: Tape) -> None:
    world.dial_time = DIAL
    async with connect(wait=False) as connection:
        await anyio.sleep(DIAL / 2)
        tape.start()
        await connection.close()
        assert connection.state is State.CLOSED


@scenario
async def close_as_the_dial_succeeds(world: World, tape: Tape) -> None:
    world.dial_time = DIAL
    async with connect(wait=False) as connection:
        tape.start()
        await anyio.sleep(DIAL)
        await connection.close()
        assert connection.state is State.CLOSED


@scenario
async def close_while_upgrading(world: World, tape: Tape) -> None:
    world.scripts = [silent]
    async with connect(wait=False) as connection:
        await anyio.sleep(1)
        tape.start()
        await connection.close()
        assert connection.state is State.CLOSED


@scenario
async def close_in_a_hook(_: World, tape: Tape) -> None:
    async def hook(_: statews.Link) -> None:
        await anyio.sleep(5)

    async with connect(wait=False, on_open=hook) as connection:
        await anyio.sleep(1)
        tape.start()
        await connection.close()
        assert connection.state is State.CLOSED


@scenario
async def close_as_a_hook_ends(_: World, tape: Tape) -> None:
    async def hook(_: statews.Link) -> None:
        await anyio.sleep(1)

    async with connect(wait=False, on_open=hook) as connection:
        await anyio.sleep(0.5)
        tape.start()
        await anyio.sleep(0.5)
        await connection.close()
        assert connection.state is State.CLOSED


@scenario
async def close_while_open(_: World, tape: Tape) -> None:
    async with connect() as connection:
        tape.start()
        await connection.close()
        assert connection.state is State.CLOSED


@scenario
async def close_twice_while_open(_: World, tape: Tape) -> None:
    async with connect() as connection, anyio.create_task_group() as group:
        tape.start()
        group.start_soon(connection.close)
        await connection.close()


@scenario
async def close_while_somebody_receives(_: World, tape: Tape) -> None:
    async def receive() -> None:
        with pytest.raises(ConnectionClosed):
            await connection.receive()

    async with connect() as connection, anyio.create_task_group() as group:
        group.start_soon(receive)
        await anyio.sleep(1)
        tape.start()
        await connection.close()


@scenario
async def close_while_backing_off(world: World, tape: Tape) -> None:
    world.scripts = [refuse]
    async with connect(wait=False) as connection:
        await anyio.sleep(0.5)
        assert connection.state is State.BACKING_OFF
        tape.start()
        await connection.close()


@scenario
async def close_as_the_backoff_ends(world: World, tape: Tape) -> None:
    world.scripts = [refuse]
    async with connect(wait=False) as connection:
        await anyio.sleep(0.5)
        tape.start()
        await anyio.sleep(0.5)
        await connection.close()
        assert connection.state is State.CLOSED


@scenario
async def close_after_giving_up(world: World, tape: Tape) -> None:
    world.scripts = [refuse]
    policy = Policy(backoff=Backoff(max_attempts=0))
    async with connect(wait=False, policy=policy) as connection:
        await connection.wait_for(State.FAILED)
        tape.start()
        await connection.close()
        assert connection.state is State.CLOSED


# drop


@scenario
async def drop_and_close_while_open(world: World, tape: Tape) -> None:
    async with connect() as connection:
        tape.start()
        world.wires[-1].cut()
        await connection.close()
        assert connection.state is State.CLOSED


@scenario
async def an_orderly_end_and_close_while_open(world: World, tape: Tape) -> None:
    async with connect() as connection:
        tape.start()
        world.wires[-1].link.end(Ending.FIN)
        await connection.close()


@scenario
async def drop_while_somebody_receives(world: World, tape: Tape) -> None:
    received: list[object] = []

    async def receive() -> None:
        received.append(await connection.receive())

    async with connect() as connection, anyio.create_task_group() as group:
        group.start_soon(receive)
        await anyio.sleep(1)
        tape.start()
        world.wires[-1].cut()
        await connection.wait_for(State.BACKING_OFF)
        tape.stop()
        await connection.send("hello")
    assert received == ["hello"]


@scenario
async def drop_while_upgrading(world: World, tape: Tape) -> None:
    world.scripts = [silent, accept(echo_handler)]
    async with connect(wait=False) as connection:
        await anyio.sleep(0.5)
        tape.start()
        world.wires[-1].cut()
        await connection.wait_for(State.OPEN)
        tape.stop()
    assert len(world.dials) == 2


@scenario
async def drop_in_a_hook(world: World, tape: Tape) -> None:
    hooks = 0

    async def hook(_: statews.Link) -> None:
        nonlocal hooks
        hooks += 1
        await anyio.sleep(5 if hooks == 1 else 0)

    async with connect(wait=False, on_open=hook) as connection:
        await anyio.sleep(1)
        tape.start()
        world.wires[-1].cut()
        await connection.wait_for(State.BACKING_OFF)
        tape.stop()
        await connection.wait_for(State.OPEN)
    assert hooks == 2


# cancel


@scenario
async def cancel_while_entering(world: World, tape: Tape) -> None:
    world.dial_time = DIAL
    with anyio.move_on_after(DIAL / 2) as scope:
        tape.start()
        async with connect():
            raise AssertionError
    assert scope.cancelled_caught


@scenario
async def cancel_as_the_dial_succeeds(world: World, tape: Tape) -> None:
    world.dial_time = DIAL
    tape.start()
    with anyio.move_on_after(DIAL):
        async with connect():
            await anyio.sleep_forever()


@scenario
async def cancel_the_body_while_open(_: World, tape: Tape) -> None:
    connection = connect()
    with anyio.CancelScope() as scope:
        async with connection:
            tape.start()
            scope.cancel()
            await connection.receive()
    assert connection.state is State.CLOSED


@scenario
async def cancel_the_body_while_backing_off(world: World, tape: Tape) -> None:
    world.scripts = [accept(echo_handler), refuse]
    connection = connect()
    with anyio.CancelScope() as scope:
        async with connection:
            world.wires[-1].cut()
            await connection.wait_for(State.BACKING_OFF)
            tape.start()
            scope.cancel()
            await connection.receive()
    assert connection.state is State.CLOSED


@scenario
async def cancel_a_receiver_as_a_message_comes(_: World, tape: Tape) -> None:
    received: list[object] = []

    async def receive() -> None:
        received.append(await connection.receive())

    async with connect() as connection:
        async with anyio.create_task_group() as group:
            group.start_soon(receive)
            await anyio.sleep(1)
            tape.start()
            await connection.send("hello")
            group.cancel_scope.cancel()
        if not received:
            await receive()
        tape.stop()
    assert received == ["hello"]


# late success, and others that hurry


@scenario
async def a_nudge_as_the_backoff_ends(world: World, tape: Tape) -> None:
    world.scripts = [refuse, accept(echo_handler)]
    async with connect(wait=False) as connection:
        await anyio.sleep(0.5)
        tape.start()
        await anyio.sleep(0.5)
        connection.nudge()
        await connection.wait_for(State.OPEN)
        tape.stop()
    assert len(world.dials) == 2


@scenario
async def connect_from_failed_and_close(world: World, tape: Tape) -> None:
    world.scripts = [refuse]
    policy = Policy(backoff=Backoff(max_attempts=0))

    async def start_over() -> None:
        with pytest.raises((ConnectionClosed, ConnectionFailed)):
            await connection.connect()

    async with connect(wait=False, policy=policy) as connection:
        await connection.wait_for(State.FAILED)
        async with anyio.create_task_group() as group:
            tape.start()
            group.start_soon(start_over)
            group.start_soon(connection.close)
        assert connection.state is State.CLOSED


@scenario
async def a_sender_waits_for_the_next_link_and_it_comes(world: World, tape: Tape) -> None:
    async with connect() as connection:
        world.wires[-1].cut()
        await connection.wait_for(State.BACKING_OFF)
        async with anyio.create_task_group() as group:
            group.start_soon(connection.send, "hello")
            await anyio.sleep(0.5)
            tape.start()
        tape.stop()
        assert await connection.receive() == "hello"


@pytest.mark.parametrize("play", SCENARIOS, ids=lambda play: play.__name__)
def test_in_every_order_nothing_is_left(play: Scenario) -> None:
    async def run(tape: Tape) -> None:
        world = World(scripts=[accept(echo_handler)])
        NETWORK.set(world)
        async with anyio.create_task_group() as world.group:
            await play(world, tape)
            tape.stop()
            assert world.live_wires() == []
            dials = len(world.dials)
            await anyio.sleep(1000)
            assert len(world.dials) == dials
            assert not [task for task in trio_tasks() if "statews/client" in task]
            world.group.cancel_scope.cancel()

    assert explore(run, most=MOST) < MOST
