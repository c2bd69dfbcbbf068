"""When `Session.flush` returns, and what it says of messages that were dropped meanwhile."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from statews import (
    ConnectionClosed,
    DeliveryError,
    MemoryStore,
    ReceiptState,
    Session,
    SessionLimits,
    State,
)
from statews.testing import Network

from .world import SOON, connect, go_missing, only, serve

pytestmark = pytest.mark.statews(limit=5000)

NEVER_WRITTEN = "^the message is dropped: 1 to 2 were not kept until the client had handled them$"
WRITTEN_ONCE = "^the message is in doubt: 1 to 1 were not kept until the client had handled them$"


@asynccontextmanager
async def flushing(session: Session) -> AsyncGenerator[list[str]]:
    """For the length of the block, somebody waits; the word on what came of it is in the list."""
    ends: list[str] = []

    async def flush() -> None:
        try:
            await session.flush()
        except DeliveryError as error:
            ends.append(error.state)
        else:
            ends.append("handled")

    async with anyio.create_task_group() as group:
        group.start_soon(flush)
        await anyio.sleep(SOON)
        yield ends
        group.cancel_scope.cancel()


async def test_flush_returns_when_the_client_has_handled_everything() -> None:
    async with serve() as server, connect() as connection, anyio.create_task_group() as group:
        session = only(server)
        flushed: list[float] = []

        async def flush() -> None:
            await session.flush()
            flushed.append(anyio.current_time())

        for text in ("one", "two"):
            await session.send(text)
        group.start_soon(flush)
        await anyio.sleep(10)
        assert await connection.receive() == "one"
        assert await connection.receive() == "two"
        await anyio.sleep(10)
        assert not flushed
        with anyio.move_on_after(1):
            await connection.receive()
        assert flushed == [pytest.approx(20.0, abs=0.01)]


async def test_flush_of_a_session_that_ends_says_so(statews_network: Network) -> None:
    limits = SessionLimits(time_to_live=10)
    async with serve(limits=limits) as server, connect(), anyio.create_task_group() as group:
        session = only(server)
        statews_network.refuse()
        statews_network.reset()
        await session.send("never handled")

        async def flush() -> None:
            with pytest.raises(ConnectionClosed, match="the session is over: expired"):
                await session.flush()
            group.cancel_scope.cancel()

        group.start_soon(flush)
        await anyio.sleep(100)


# What is dropped meanwhile.


async def test_flush_says_so_where_the_log_had_no_room_for_a_message_any_more(
    statews_network: Network,
) -> None:
    limits = SessionLimits(messages=2)
    async with serve(limits=limits) as server, connect() as connection:
        await anyio.sleep(SOON)
        session = only(server)
        async with go_missing(statews_network):
            await session.send("one")
            async with flushing(session) as ends:
                await session.send("two")
                await anyio.sleep(SOON)
                assert ends == []
                session.put("three")
                await anyio.sleep(SOON)
                assert ends == [ReceiptState.DROPPED]
        await connection.wait_for(State.OPEN)


async def test_flush_asks_for_no_more_than_was_sent_before(statews_network: Network) -> None:
    limits = SessionLimits(messages=2)
    async with serve(limits=limits) as server, connect() as connection:
        session = only(server)
        await session.send("one")
        async with flushing(session) as ends:
            assert await connection.receive() == "one"
            with anyio.move_on_after(SOON):
                await connection.receive()
            async with go_missing(statews_network):
                for number in range(5):
                    session.put(f"{number}")
            assert ends == ["handled"]


async def test_flush_says_so_where_a_message_is_not_kept_for_longer(
    statews_network: Network,
) -> None:
    async with serve(limits=SessionLimits(retention=10)) as server, connect() as connection:
        await anyio.sleep(SOON)
        session = only(server)
        async with go_missing(statews_network):
            await session.send("one")
            async with flushing(session) as ends:
                await anyio.sleep(21)
                assert ends == [ReceiptState.DROPPED]
        await connection.wait_for(State.OPEN)


async def test_flush_says_so_where_others_need_the_room(statews_network: Network) -> None:
    limits = SessionLimits(total_bytes=100)
    async with serve(limits=limits) as server, connect() as first, connect() as second:
        await anyio.sleep(SOON)
        one, other = server.sessions[str(first.session)], server.sessions[str(second.session)]
        statews_network.refuse()
        one.leave_link(1001, "it is away for longest")
        await anyio.sleep(SOON)
        async with go_missing(statews_network):
            await one.send("x" * 80)
            async with flushing(one) as ends:
                await other.send("y" * 80)
                await anyio.sleep(SOON)
                assert ends == [ReceiptState.DROPPED]


async def test_what_was_written_and_is_dropped_is_in_doubt_to_flush() -> None:
    async with serve(limits=SessionLimits(messages=2)) as server, connect() as connection:
        session = only(server)
        await session.send("one")
        await session.send("two")
        async with flushing(session) as ends:
            session.put("three")
            await anyio.sleep(SOON)
            assert ends == [ReceiptState.IN_DOUBT]
        assert await connection.receive() == "one"


async def test_of_what_was_dropped_before_flush_knows_until_the_client_does(
    statews_network: Network,
) -> None:
    async with serve(limits=SessionLimits(messages=1)) as server, connect() as connection:
        session = only(server)
        await session.send("written")
        await anyio.sleep(SOON)
        async with go_missing(statews_network):
            session.put("dropped")
            with pytest.raises(DeliveryError, match=WRITTEN_ONCE):
                await session.flush()
            session.put("kept")
            with pytest.raises(DeliveryError, match=NEVER_WRITTEN):
                await session.flush()
        assert await connection.receive() == "written"
        assert await connection.receive() == "kept"
        with anyio.move_on_after(1):
            await connection.receive()
        await session.flush()


async def test_flush_knows_of_what_an_earlier_process_has_dropped(
    statews_network: Network,
) -> None:
    disk, limits = MemoryStore(), SessionLimits(messages=1)
    async with connect(wait=False) as connection:
        async with serve(limits=limits, store=disk) as server:
            await connection.wait_for(State.OPEN)
            async with go_missing(statews_network):
                session = only(server)
                session.put("one")
                session.put("two")
        async with serve(limits=limits, store=disk) as server:
            with pytest.raises(DeliveryError, match=r"^the message is in doubt: "):
                await only(server).flush()


async def test_flush_lets_a_session_sleep_of_which_everything_is_handled(
    statews_network: Network,
) -> None:
    limits = SessionLimits(hibernate_after=1)
    async with serve(limits=limits) as server, connect() as connection:
        session = only(server)
        await session.send("one")
        assert await connection.receive() == "one"
        with anyio.move_on_after(1):
            await connection.receive()
        async with go_missing(statews_network):
            await anyio.sleep(2)
            assert session.is_asleep
            await session.flush()
            assert session.is_asleep
