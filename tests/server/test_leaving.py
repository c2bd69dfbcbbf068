"""What a server and its sessions leave behind, and what a cancelled call does: nothing."""

from __future__ import annotations

import contextlib

import anyio
import pytest

import statews
from statews import (
    Connection,
    ConnectionClosed,
    Session,
    SessionLimits,
    SessionState,
    State,
    Window,
)
from statews.testing import Network

from ..test_end_to_end import held
from .world import SOON, Desk, connect, dialled, go_missing, only, serve

DEADLINE = 20.0  # real seconds


@pytest.mark.anyio
async def test_nothing_is_left_of_a_server_and_its_sessions() -> None:
    with anyio.fail_after(DEADLINE):
        await talk_and_leave()  # whatever is made once for all is made now
        before = held()
        for _ in range(3):
            await talk_and_leave()
        await anyio.wait_all_tasks_blocked()
        assert held() == before


async def talk_and_leave() -> None:
    async with statews.serve(stuck) as server, anyio.create_task_group() as group:
        url = f"ws://127.0.0.1:{server.port}/"
        async with statews.connect(url, session=statews.Resume()) as connection:
            await connection.send("x")
            assert await connection.receive() == "x"
        async with statews.connect(url, session=statews.Resume()) as connection:
            await connection.send("x")
            assert await connection.receive() == "x"
            group.start_soon(leave_in_the_middle, url)
            await anyio.wait_all_tasks_blocked()
            server.broadcast("bye")
            assert await connection.receive() == "bye"
            group.cancel_scope.cancel()


async def leave_in_the_middle(url: str) -> None:
    async with statews.connect(url, session=statews.Resume()):
        await anyio.sleep_forever()


async def stuck(session: Session) -> None:
    async for message in session:
        await session.send(message)
        await anyio.sleep_forever()


@pytest.mark.anyio
async def test_the_bytes_of_a_session_are_a_websocket_s() -> None:
    async with statews.serve(echo_of_both) as server:
        url = f"ws://127.0.0.1:{server.port}/"
        policy = statews.Policy(deflate=statews.Deflate())
        with anyio.fail_after(DEADLINE):
            async with statews.connect(url, session=statews.Resume(), policy=policy) as connection:
                for message in ("text", b"\0\xff", "ä" * 1000, b"x" * 1_000_000, "", b""):
                    await connection.send(message)
                    assert await connection.receive() == message
                await connection.flush()


async def echo_of_both(session: Session) -> None:
    async for message in session:
        await session.send(message)


virtual = pytest.mark.statews(limit=5000)


@virtual
@pytest.mark.parametrize("handler", ["waiting", "stuck", "sending", "slow to go"])
async def test_leaving_a_server_ends_its_handlers_and_links(
    statews_network: Network, handler: str
) -> None:
    ended: list[str] = []

    async def handle(session: Session) -> None:
        try:
            match handler:
                case "waiting":
                    await session.receive()
                case "sending":
                    while True:
                        await session.send("x" * 10_000)
                case _:
                    await anyio.sleep_forever()
        finally:
            if handler == "slow to go":
                with anyio.move_on_after(3, shield=True):
                    await anyio.sleep_forever()
            ended.append(session.state)

    async with connect(wait=False) as connection:
        async with serve(handle) as server:
            await connection.connect()
            await anyio.sleep(1)
            session = server.sessions[connection.session or ""]
            changes = connection.changes()
        assert ended == [SessionState.DETACHED]
        assert anyio.current_time() < 10
        change = await anext(changes)
        assert change.now.state is State.BACKING_OFF
        error = change.now.last_error
        assert isinstance(error, statews.LinkClosed)
        assert error.code == 1001
        assert not session.is_over
    assert not statews_network.living


@virtual
async def test_leaving_a_server_whose_network_is_dead_takes_seconds(
    statews_network: Network,
) -> None:
    async with connect(wait=False) as connection:
        async with serve():
            await connection.connect()
            statews_network.freeze()
            began = anyio.current_time()
        assert anyio.current_time() - began <= 6
        statews_network.thaw()
        await connection.wait_for(State.BACKING_OFF)
    assert not statews_network.living


@virtual
async def test_leaving_a_server_while_clients_come_leaves_no_link(
    statews_network: Network,
) -> None:
    statews_network.slow(latency=0.1)

    async def authenticate(_: statews.Request) -> str:
        await anyio.sleep(1)
        return "bob"

    for moment in (0.05, 0.25, 0.35, 0.55, 0.8, 1.55, 1.62, 1.7):
        async with connect(wait=False), serve(authenticate=authenticate), dialled():
            await anyio.sleep(moment)
        assert not statews_network.living


@virtual
async def test_an_error_in_the_body_leaves_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with serve(), connect():
            raise ZeroDivisionError


# Cancelled calls.


@virtual
async def test_a_cancelled_receive_loses_nothing() -> None:
    heard: list[str] = []

    async def handler(session: Session) -> None:
        while True:
            with anyio.move_on_after(0.001):
                heard.append(str(await session.receive()))

    async with serve(handler), connect() as connection:
        for number in range(100):
            await connection.send(str(number))
            await anyio.sleep(0.0007)
        await connection.flush()
    assert heard == [str(number) for number in range(100)]


@virtual
async def test_a_cancelled_send_has_sent_the_message_whole_or_not_at_all() -> None:
    limits = SessionLimits(messages=1)
    async with serve(limits=limits) as server, connect() as connection:
        session = only(server)
        await session.send("first")
        with anyio.move_on_after(1) as scope:
            await session.send("cancelled, for there is no room")
        assert scope.cancelled_caught
        assert await connection.receive() == "first"
        with anyio.move_on_after(1):
            await connection.receive()
        await session.send("second")
        assert await connection.receive() == "second"


@virtual
async def test_a_cancelled_flush_and_wait_leave_nothing() -> None:
    desk = Desk()
    async with serve(desk.handle) as server, connect() as connection:
        session = only(server)
        await session.send("x")
        receipt = await connection.send("y")
        for wait in (session.flush, connection.flush, receipt.wait_acknowledged):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await wait()
        with anyio.move_on_after(1):
            await session.flush()
        assert await connection.receive() == "x"
        with anyio.move_on_after(1):
            await connection.receive()
        await session.flush()
        await receipt.wait_acknowledged()


@virtual
async def test_a_client_that_is_cancelled_keeps_its_session_on_the_server() -> None:
    async with serve(limits=SessionLimits(time_to_live=10)) as server:
        with anyio.move_on_after(1):
            async with connect():
                await anyio.sleep_forever()
        await anyio.sleep(1)
        assert only(server).state is SessionState.DETACHED
        await anyio.sleep(10)
        assert not server.sessions


@virtual
async def test_a_client_that_is_cancelled_while_it_says_hello_leaves_no_link(
    statews_network: Network,
) -> None:
    statews_network.slow(latency=0.1)
    async with serve() as server:
        for moment in (0.1, 0.3, 0.45, 0.55, 0.6, 0.65):
            with anyio.move_on_after(moment):
                async with connect():
                    await anyio.sleep_forever()
        await anyio.sleep(10)
        assert not statews_network.living
        assert server.statistics().links == 0


@virtual
async def test_whoever_receives_learns_of_the_end() -> None:
    learnt: list[str] = []

    async def handler(session: Session) -> None:
        with contextlib.suppress(ConnectionClosed):
            await session.receive()
        learnt.append(session.state)

    async with serve(handler):
        async with connect():
            pass
        await anyio.sleep(SOON)
    assert learnt == ["ended"]


@virtual
async def test_sessions_that_come_and_go_leave_nothing_in_the_server(
    statews_network: Network,
) -> None:
    limits = SessionLimits(time_to_live=5, window=Window(4), hibernate_after=1)
    async with serve(limits=limits) as server:
        for number in range(20):
            connection: Connection
            async with connect() as connection:
                await connection.send("x")
                server.join(only(server), "group")
                if number % 2:
                    async with go_missing(statews_network):
                        pass
                    await connection.wait_for(State.OPEN)
                await connection.flush()
            await anyio.sleep(SOON)
        await anyio.sleep(10)
        journal, upkeep = server._journal, server._upkeep
        assert (server._groups, server._handlers._running, upkeep._awake) == ({}, {}, {})
        assert (journal.sessions, journal.away, journal.room.size_bytes) == ({}, {}, 0)
        assert not server._door._gate.visits
        assert server.statistics().links == 0
