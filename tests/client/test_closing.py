"""Closing and cancelling, from everywhere: in virtual time, on a network without sockets."""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Callable

import anyio
import pytest
from anyio import current_time

import statews
from statews import (
    Backoff,
    Limits,
    Link,
    LinkClosed,
    Phase,
    Policy,
    State,
    Timeouts,
)
from statews.client.opening import open_link
from statews.client.settings import Settings
from statews.protocol.handshake import Opened, ServerHandshake
from statews.testing.memory import MemoryStream
from statews.transport.dial import Target
from statews.transport.listen import Handler
from statews.transport.stream import receive, send

from .world import (
    URL,
    World,
    accept,
    connect,
    echo,
    refuse,
    silent,
    steady,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("world")]


def tell(codes: list[int]) -> Handler:
    """A handler that waits for the end of a link, and writes its close code down."""

    async def handler(link: Link) -> None:
        with pytest.raises(LinkClosed) as caught:
            await link.receive()
        codes.append(caught.value.code)

    return handler


async def answer(stream: MemoryStream) -> tuple[bytes, Opened]:
    """What a server answers to a client's opening handshake, and goes on with."""
    handshake = ServerHandshake(subprotocols=(), deflate=None, limits=Limits())
    request = None
    while request is None:
        request = handshake.feed(await receive(stream))
    return handshake.accept(request)


@pytest.mark.parametrize(
    "phase",
    ["resolving", "dialing", "upgrading", "restoring", "backing-off", "failed", "live"],
)
async def test_close_is_prompt_everywhere_and_nothing_is_dialled_after(
    world: World, phase: str
) -> None:
    async def endpoint(_: statews.Attempt) -> str:
        await anyio.sleep(1000 if phase == "resolving" else 0)
        return URL

    async def hook(_: Link) -> None:
        await anyio.sleep(1000 if phase == "restoring" else 0)

    world.dial_time = 1000 if phase == "dialing" else 0
    scripts = {"upgrading": silent, "backing-off": refuse, "failed": refuse}
    world.scripts = [scripts.get(phase, echo)]
    backoff = Backoff(first=30, maximum=30, max_attempts=0 if phase == "failed" else None)
    timeouts = Timeouts(opening=10_000)
    policy = Policy(backoff=backoff, timeouts=timeouts)
    async with connect(endpoint, on_open=hook, policy=policy, wait=False) as connection:
        await anyio.sleep(0.1)
        assert phase in {connection.state.value, connection.phase and connection.phase.value}
        dials = len(world.dials)
        before = current_time()
        await connection.close()
        assert current_time() - before <= 0.1
        assert connection.state is State.CLOSED
        await anyio.sleep(10_000)
        assert len(world.dials) == dials
        assert world.live_wires() == []
        await connection.close()


async def test_close_of_a_frozen_link_takes_the_closing_deadline_and_aborts(world: World) -> None:
    async with connect() as connection:
        world.wires[-1].freeze()
        await connection.close()
        assert current_time() == pytest.approx(5)
    assert world.wires[-1].client.is_aborted


async def test_close_while_another_task_receives_is_a_whole_closing_handshake(
    world: World,
) -> None:
    codes: list[int] = []
    world.scripts = [accept(tell(codes))]
    async with connect() as connection, anyio.create_task_group() as group:

        async def receive() -> None:
            with pytest.raises(statews.ConnectionClosed, match="is closed"):
                await connection.receive()

        group.start_soon(receive)
        await anyio.sleep(5)
        await connection.close()
        assert current_time() - 5 < 0.1
    assert codes == [1000]
    assert not world.wires[-1].client.is_aborted


CODE = "a close code is 1000 to 1003, 1007 to 1014 or 3000 to 4999, got "
REASON = "a close reason is text of at most 123 bytes, got "


@pytest.mark.parametrize(
    ("code", "reason", "why"),
    [
        *((code, "", CODE + repr(code)) for code in (99, 1004, 1005, 1006, 1015, 2999, 5000)),
        ("1000", "", CODE + "'1000'"),
        (1000.0, "", CODE + "1000.0"),
        ([], "", CODE + "[]"),
        (1000, None, REASON + "None"),
        (1000, b"x", REASON + "b'x'"),
        (4000, "\ud800", REASON + "'\\ud800'"),
        (4000, 62 * "é", REASON),
    ],
)
async def test_a_close_that_cannot_be_told_is_refused_and_changes_nothing(
    world: World, code: object, reason: object, why: str
) -> None:
    codes: list[int] = []
    world.scripts = [accept(tell(codes))]
    connection = connect()
    for state in (State.IDLE, State.OPEN, State.CLOSED):
        with pytest.raises(statews.UsageError, match=re.escape(why)):
            await connection.close(code, reason)  # type: ignore[arg-type]
        assert connection.state is state
        if state is State.IDLE:
            await connection.__aenter__()
        elif state is State.OPEN:
            await connection.close(4000, 61 * "é" + "!")
    assert codes == [4000]
    await connection.__aexit__(None, None, None)


async def test_of_two_closes_at_once_the_first_is_told(world: World) -> None:
    told = []

    async def handler(link: Link) -> None:
        with pytest.raises(LinkClosed, match="closed the link") as caught:
            await link.receive()
        told.append(caught.value.code)

    world.scripts = [accept(handler)]
    order = []
    async with connect() as connection, anyio.create_task_group() as group:

        async def close(code: int) -> None:
            order.append(code)
            await connection.close(code)

        group.start_soon(close, 4000)
        group.start_soon(close, 4001)
    assert told == order[:1]


@pytest.mark.parametrize("farewell", [b"", b"\x88\x02\x03\xe8"], ids=["we close", "the peer"])
async def test_while_the_closing_handshake_lasts_the_link_is_draining(
    world: World, farewell: bytes
) -> None:
    async def hold_tcp(stream: MemoryStream) -> None:
        response, _ = await answer(stream)
        await send(stream, response + farewell)
        await anyio.sleep_forever()

    world.scripts = [hold_tcp]
    async with connect() as connection, anyio.create_task_group() as group:
        if not farewell:
            group.start_soon(connection.close)
        await anyio.sleep(1)
        assert (connection.state, connection.phase) == (State.OPEN, Phase.DRAINING)
        await connection.wait_for(State.CLOSED)
        assert current_time() == pytest.approx(5)


async def test_a_late_dial_is_undone(world: World) -> None:
    """A dial that succeeds in the moment of the close still gets its closing handshake."""
    for instant in (0.0, 1.0, 1.0000001, 2.0):
        world.dial_time = 1
        async with connect(wait=False) as connection:
            await anyio.sleep(instant)
            began = current_time()
            await connection.close()
        assert connection.state is State.CLOSED
        assert world.live_wires() == []
        assert current_time() - began <= 0.1


async def test_a_link_that_opens_in_the_moment_of_the_close_is_closed_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []

    async def open_as_it_is_closed(
        settings: Settings, target: Target, session: None, on_phase: Callable[[Phase], None]
    ) -> Link:
        link = await open_link(settings, target, session, on_phase)
        connection._driver.close(4000, "too late for the attempt to be stopped")
        return link

    monkeypatch.setattr("statews.client.driver.open_link", open_as_it_is_closed)
    world.scripts = [accept(tell(codes))]
    async with connect(wait=False) as connection:
        await connection.wait_for(State.CLOSED)
    assert current_time() <= 0.1
    assert codes == [4000]


async def test_who_cleans_up_behind_a_shield_still_has_a_connection_that_comes_back(
    world: World,
) -> None:
    said: list[str | bytes] = []

    async def listen(link: Link) -> None:
        said.extend([message async for message in link])

    world.scripts = [accept(listen)]
    with anyio.CancelScope() as outer:
        async with connect() as connection:
            world.wires[-1].cut()
            await connection.wait_for(State.BACKING_OFF)
            outer.cancel()
            with anyio.CancelScope(shield=True):
                await connection.wait_for(State.OPEN)
                await connection.send("good bye")
    assert said == ["good bye"]


async def test_a_bug_while_the_link_is_open_closes_it_and_comes_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []
    phases: list[Phase | None] = []

    async def serve(link: Link, **options: object) -> object:
        if "until" not in options:
            return await serve_as_usual(link)
        await anyio.sleep(1)
        raise ZeroDivisionError

    async def close(link: Link, code: int = 1000, reason: str = "") -> None:
        phases.append(connection.phase)
        await close_as_usual(link, code, reason)

    serve_as_usual, close_as_usual = Link.serve, Link.close
    monkeypatch.setattr(Link, "serve", serve)
    monkeypatch.setattr(Link, "close", close)
    world.scripts = [accept(tell(codes))]
    connection = connect()
    with pytest.raises(ZeroDivisionError, match=r"^$"):
        async with connection:
            await anyio.sleep_forever()
    assert codes == [1011]
    assert connection.state is State.CLOSED
    assert phases[0] is Phase.DRAINING
    assert world.live_wires() == []


@pytest.mark.parametrize("instant", [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 7.0])
async def test_cancelling_at_any_moment_leaves_nothing(world: World, instant: float) -> None:
    async def endpoint(_: statews.Attempt) -> str:
        await anyio.sleep(1)
        return URL

    async def hook(link: Link) -> None:
        await link.send("hook")
        await anyio.sleep(1)

    world.dial_time = 1
    with anyio.move_on_after(instant) as scope:
        async with connect(endpoint, on_open=hook) as connection:
            while True:
                await connection.send("x")
                await connection.receive()
                await anyio.sleep(0.1)
    assert scope.cancelled_caught
    assert current_time() - instant <= 0.1
    assert world.live_wires() == []
    await anyio.sleep(100)
    assert len(world.dials) <= 1


async def test_a_cancelled_send_leaves_whole_frames(world: World) -> None:
    got: list[str] = []

    async def slow_reader(link: Link) -> None:
        await anyio.sleep(10)
        got.extend([str(message) async for message in link])

    world.scripts = [accept(slow_reader)]
    world.capacity = 1000
    policy = steady(limits=Limits(outgoing_bytes=1000))
    async with connect(policy=policy) as connection:
        for number in range(20):
            with anyio.move_on_after(0.1):
                await connection.send(f"{number:>400}")
        await anyio.sleep(20)
        await connection.send("end")
    assert got[-1] == "end"
    assert [int(each) for each in got[:-1]] == list(range(len(got) - 1))


async def test_both_sides_may_send_more_than_the_link_holds_before_they_read(
    world: World,
) -> None:
    async def handler(link: Link) -> None:
        for number in range(100):
            await link.send(f"{number:>1000}")
        got = [int(await link.receive()) for _ in range(100)]
        await link.send(str(got == list(range(100))))
        await link.receive()

    world.scripts = [accept(handler)]
    world.capacity = 5000
    async with connect() as connection:
        for number in range(100):
            await connection.send(f"{number:>1000}")
        assert [int(await connection.receive()) for _ in range(100)] == list(range(100))
        assert await connection.receive() == "True"


async def test_after_the_end_nothing_refers_to_the_connection(world: World) -> None:
    async def use() -> list[weakref.ref[object]]:
        async with connect() as connection:
            await connection.send("x")
            await connection.receive()
            world.wires[-1].cut()
            await connection.wait_for(State.BACKING_OFF)
            await connection.wait_for(State.OPEN)
            return [weakref.ref(connection), weakref.ref(connection.changes())]

    references = await use()
    await anyio.sleep(1)
    gc.collect()
    assert [reference() for reference in references] == [None, None]


async def test_a_lost_link_is_not_kept_alive_by_its_error(world: World) -> None:
    streams = []
    async with connect() as connection:
        for _ in range(3):
            streams.append(weakref.ref(world.wires[-1].client))
            world.wires[-1].cut()
            await connection.wait_for(State.BACKING_OFF)
            await connection.wait_for(State.OPEN)
        del world.wires[:3]
        await anyio.sleep(1)
        gc.collect()
        assert [stream() for stream in streams] == [None] * 3


async def test_a_peer_that_floods_instead_of_closing_fills_no_memory(world: World) -> None:
    async def flood(stream: MemoryStream) -> None:
        handshake = ServerHandshake(subprotocols=(), deflate=None, limits=Limits())
        request = None
        while request is None:
            request = handshake.feed(await receive(stream))
        await send(stream, handshake.accept(request)[0])
        while True:
            await send(stream, b"\x82\x7e\x03\xe8" + b"x" * 1000)
            await anyio.sleep(0.001)

    world.scripts = [flood]
    policy = steady(limits=Limits(inbox_bytes=10_000))
    async with connect(policy=policy) as connection:
        await connection.close()
        assert current_time() == pytest.approx(5, abs=0.1)
    kept = [message async for message in connection]
    assert sum(map(len, kept)) <= 10_000 + world.capacity
