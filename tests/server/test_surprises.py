"""What the functions given to a server may do, and clients: nothing of it ends the server."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Callable

import anyio
import pytest

import statews
from statews import (
    Gap,
    Limits,
    ReceiptState,
    Session,
    SessionLimits,
    State,
    StatewsError,
    Timeouts,
    UsageError,
)
from statews.server.settings import Request
from statews.store import MemoryStore
from statews.testing import Network

from .test_stored import Disk
from .world import SOON, connect, dialled, echo, go_missing, only, seen_by, serve, steady

pytestmark = pytest.mark.statews(limit=5000)

on_asyncio = pytest.mark.statews(backends=["asyncio"], limit=5000)  # trio cancels scopes only


async def wait_for_what_is_cancelled() -> None:
    """As if for a request that several share, of which somebody else thinks better."""
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def still_works() -> None:
    async with connect() as connection:
        await connection.send("still there")
        assert await connection.receive() == "still there"


@on_asyncio
async def test_authenticate_may_wait_for_what_somebody_else_cancels() -> None:
    async def authenticate(request: Request) -> str:
        if request.auth == "bad":
            await wait_for_what_is_cancelled()
        return "ann"

    async with serve(authenticate=authenticate):
        async with dialled() as speaker:
            await speaker.hello(auth="bad")
            assert (await speaker.ending()).code == 4500
        await still_works()


@pytest.mark.parametrize("name", [7, b"ann", object()])
async def test_authenticate_has_to_give_a_text(
    name: object, caplog: pytest.LogCaptureFixture
) -> None:
    async def authenticate(request: Request) -> object:
        return name if request.auth == "bad" else "ann"

    store = MemoryStore()
    async with serve(authenticate=authenticate, store=store) as server:
        async with dialled() as speaker:
            await speaker.hello(auth="bad")
            assert (await speaker.ending()).code == 4500
        assert not server.sessions
        assert "authenticate must give a str or None" in caplog.text
        await still_works()
    async with serve(store=store):
        await still_works()


async def pump() -> None:
    try:
        await anyio.sleep_forever()
    finally:
        raise OSError("the database did not close cleanly")


async def handle_with_a_pump(session: Session) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(pump)
        await echo(session)


async def test_tasks_of_a_handler_that_hibernates_may_fail(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serve(handle_with_a_pump, limits=SessionLimits(hibernate_after=1)) as server:
        async with dialled() as speaker:
            await speaker.greet()
            session = only(server)
        await anyio.sleep(2)
        assert session.is_asleep
        assert "failed" in caplog.text
        await still_works()


async def test_tasks_of_a_handler_may_fail_when_the_server_is_left() -> None:
    async with serve(handle_with_a_pump), dialled() as speaker:
        await speaker.greet()
        await speaker.say("M1;x")
        assert await speaker.hear() == "M1;x"
    async with serve():
        await still_works()


async def test_a_session_may_be_kept_for_ever() -> None:
    async with serve(limits=SessionLimits(time_to_live=math.inf)) as server, dialled() as speaker:
        assert (await speaker.greet())["ttl"] == 2**53 - 1
        assert server.sessions


async def test_a_surprise_on_one_link_ends_that_link(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def raise_it(*_: object) -> None:
        raise ZeroDivisionError

    async with serve():
        async with dialled() as speaker:
            with monkeypatch.context() as patch:
                patch.setattr("statews.server.reception.write_welcome", raise_it)
                await speaker.hello()
                with pytest.raises(StatewsError):
                    await speaker.hear()
        await still_works()
        assert "ZeroDivisionError" in caplog.text


# What a handler has sent when it returns.


async def send_many(session: Session) -> None:
    await session.receive()
    for number in range(600):
        await session.send(f"{number:03}" + "x" * 5000)


async def test_what_a_handler_has_sent_before_it_returned_arrives() -> None:
    got: list[int] = []
    async with serve(send_many), connect() as connection:
        receipt = await connection.send("go")
        async for message in connection:
            got.append(int(message[:3]))
            await anyio.sleep(0.001)
        assert got == list(range(600))
        assert connection.state is State.CLOSED
        assert receipt.state is ReceiptState.ACKNOWLEDGED


async def test_it_arrives_when_the_client_is_back(statews_network: Network) -> None:
    calls: list[Session] = []

    async def handle(session: Session) -> None:
        calls.append(session)
        await session.receive()
        await anyio.sleep(2)
        await session.send("while you were away")

    limits = SessionLimits(hibernate_after=30)
    async with serve(handle, limits=limits) as server, connect() as connection:
        await connection.send("go")
        await anyio.sleep(1)
        async with go_missing(statews_network):
            await anyio.sleep(100)
            assert server.sessions
        assert await connection.receive() == "while you were away"
        await connection.wait_for(State.CLOSED)
        assert not server.sessions
    assert len(calls) == 1


async def test_a_client_that_handles_nothing_does_not_keep_a_session_for_ever() -> None:
    async def handle(session: Session) -> None:
        await session.send("the last word")

    async with serve(handle) as server, dialled() as speaker:
        await speaker.greet()
        assert await speaker.hear() == "M1;the last word"
        assert await speaker.hear() == "P"
        await speaker.say("Q")  # it is here, and nobody asks for what comes behind it
        assert (await speaker.ending()).code == 1000
        assert anyio.current_time() < 10
        assert not server.sessions


async def test_a_handler_that_is_done_is_not_called_again_for_a_store_that_fails() -> None:
    disk, calls = Disk(), list[Session]()

    async def handle(session: Session) -> None:
        calls.append(session)
        await session.receive()
        await session.send("the answer")
        disk.is_full = True

    limits = SessionLimits(hibernate_after=2)
    async with serve(handle, store=disk, limits=limits) as server, connect() as connection:
        receipt = await connection.send("x")
        assert await connection.receive() == "the answer"
        await anyio.sleep(10)
        assert server.sessions
        assert not receipt.state.is_final
        disk.is_full = False
        await receipt.wait_acknowledged()
        await connection.wait_for(State.CLOSED)
        assert not server.sessions
    assert len(calls) == 1


async def test_at_the_limit_the_rest_and_the_gap_arrive_before_the_end(
    statews_network: Network,
) -> None:
    async def handle(session: Session) -> None:
        await session.receive()
        await anyio.sleep(1)
        for number in range(30):
            session.put(str(number))

    limits = SessionLimits(messages=10)
    async with serve(handle, limits=limits) as server, connect() as connection:
        await connection.send("go")
        await anyio.sleep(SOON)
        async with go_missing(statews_network):
            await anyio.sleep(30)
            assert server.sessions
        gap, *rest = await seen_by(connection, 60)
        assert isinstance(gap, Gap)
        assert (gap.after, gap.before) == (0, 21)
        assert rest == [str(number) for number in range(20, 30)]
        assert connection.state is State.CLOSED


async def test_what_is_only_in_the_buffers_of_a_dead_link_is_kept(
    statews_network: Network,
) -> None:
    async def handle(session: Session) -> None:
        await session.receive()
        statews_network.freeze()
        for number in range(3):
            await session.send(str(number))

    async with serve(handle) as server, connect() as connection:
        await connection.send("go")
        await anyio.sleep(8)
        assert server.sessions
        statews_network.reset()
        statews_network.thaw()
        assert [await connection.receive() for _ in range(3)] == ["0", "1", "2"]


async def test_what_others_send_to_a_session_whose_handler_is_done_arrives_as_well(
    statews_network: Network,
) -> None:
    async def handle(session: Session) -> None:
        await session.send("from the handler")

    async with serve(handle) as server:
        statews_network.slow(latency=0.5)
        async with connect() as connection:
            session = only(server)
            await session.send("from somebody else")
            session.set("slot", "of somebody else")
            heard = [message async for message in connection]
    assert sorted(map(str, heard)) == [
        "from somebody else",
        "from the handler",
        "of somebody else",
    ]


async def test_a_slot_is_told_before_the_end(statews_network: Network) -> None:
    async def handle(session: Session) -> None:
        await session.receive()
        await anyio.sleep(1)
        session.set("price", "42")

    async with serve(handle), connect() as connection:
        await connection.send("go")
        async with go_missing(statews_network):
            await anyio.sleep(20)
        assert await connection.receive() == "42"


async def test_sides_without_a_limit_say_the_largest_number_that_there_is() -> None:
    policy = steady(limits=Limits(message_bytes=sys.maxsize))
    async with serve(policy=policy), connect(policy=policy) as connection:
        await connection.send("x")
        assert await connection.receive() == "x"


# Clients that leave, and servers that do.


async def test_a_client_that_gave_up_leaves_no_session() -> None:
    async def authenticate(_: Request) -> str:
        await anyio.sleep(6)
        return "ann"

    policy = steady(timeouts=Timeouts(opening=5))
    async with (
        serve(authenticate=authenticate) as server,
        connect(wait=False, policy=policy) as connection,
    ):
        await anyio.sleep(600)
        assert connection.state is not State.OPEN
        assert not server.sessions


async def test_nor_does_one_that_gave_up_while_its_session_was_stored() -> None:
    policy = steady(timeouts=Timeouts(opening=5))
    async with (
        serve(store=Disk(seconds=6)) as server,
        connect(wait=False, policy=policy),
    ):
        await anyio.sleep(5.5)
        assert server.sessions
        await anyio.sleep(1)
        assert not server.sessions


async def test_draining_ends_though_a_session_is_being_stored() -> None:
    disk = Disk()
    async with serve(store=disk) as server, dialled() as old:
        await old.greet()
        disk.seconds = 8.0
        async with dialled() as speaker, anyio.create_task_group() as group:
            await speaker.hello()
            group.start_soon(old.ending)
            await anyio.sleep(SOON)
            with anyio.fail_after(60):
                await server.drain(1.0)
            ending = await speaker.ending()
            assert ending.code == 1013
            assert "retry=" in ending.reason
        assert server.statistics().links == 0
        assert len(server.sessions) == 1


@pytest.mark.parametrize("seconds", [-1.0, math.inf, math.nan])
async def test_a_drain_that_cannot_be_is_refused_before_anybody_is_sent_away(
    seconds: float,
) -> None:
    async with serve() as server:
        with pytest.raises(UsageError, match="window must be 0 or more seconds"):
            await server.drain(seconds)
        with pytest.raises(UsageError, match="after must be 0 or more seconds"):
            await server.drain(after=seconds)
        await still_works()


async def test_slots_have_texts_for_names() -> None:
    async with serve() as server, dialled() as speaker:
        await speaker.greet()
        with pytest.raises(UsageError, match="a slot is named by"):
            only(server).set(3, "x")  # type: ignore[arg-type]


@pytest.mark.parametrize("wait", [Session.flush, Session.receive])
async def test_nobody_waits_for_a_session_of_a_server_that_was_left(
    wait: Callable[[Session], object],
) -> None:
    async with anyio.create_task_group() as group:

        async def expect_the_end(session: Session) -> None:
            with pytest.raises(statews.ConnectionClosed, match="the server was left"):
                await wait(session)  # type: ignore[misc]

        async with serve(lambda _: anyio.sleep_forever()) as server:
            async with dialled() as speaker:
                await speaker.greet()
                session = only(server)
                await session.send("to be handled")
            group.start_soon(expect_the_end, session)
            await anyio.sleep(1)
        with pytest.raises(statews.ConnectionClosed, match="the server was left"):
            await session.send("into the void")
