"""The client's half of a session, with a store of its own."""

from __future__ import annotations

import anyio
import pytest
from anyio import current_time

from statews import ConnectionClosed, Delivery, OnStoreError, Outbox, Session

from .test_stored import Disk
from .world import SOON, Desk, connect, only, serve, steady

pytestmark = [
    pytest.mark.statews(limit=5000),
    pytest.mark.usefixtures("statews_network"),
]

KEEPING = steady(outbox=Outbox(delivery=Delivery.AT_LEAST_ONCE))


async def test_what_was_handled_is_acknowledged_when_the_store_knows_of_it() -> None:
    flushed: list[float] = []

    async def handler(session: Session) -> None:
        await session.send("news")
        await session.flush()
        flushed.append(current_time())
        await anyio.sleep_forever()

    async with serve(handler), connect(store=Disk(1.0), policy=KEEPING) as connection:
        assert await connection.receive() == "news"
        began = current_time()
        with anyio.move_on_after(5):
            await connection.receive()
    (at,) = flushed
    assert 1.0 <= at - began < 1.5


async def test_the_next_message_is_held_back_until_the_store_knows_of_the_last() -> None:
    async def handler(session: Session) -> None:
        for text in ("one", "two"):
            await session.send(text)
        await anyio.sleep_forever()

    async with serve(handler), connect(store=Disk(1.0), policy=KEEPING) as connection:
        assert await connection.receive() == "one"
        began = current_time()
        assert await connection.receive() == "two"
        assert 1.0 <= current_time() - began < 1.5


async def test_the_next_process_goes_on_with_the_session_of_the_one_before() -> None:
    disk, desk = Disk(), Desk()
    async with serve(desk.handle) as server:
        async with connect(store=disk, policy=KEEPING) as connection:
            first = connection.session
            await (await connection.send("one")).wait_acknowledged()
            await only(server).send("news")
            assert await connection.receive() == "news"  # and it is not handled
        async with connect(store=disk, policy=KEEPING) as connection:
            assert connection.session == first
            assert await connection.receive() == "news"
            assert connection.redelivered
    assert desk.heard == ["one"]


async def test_what_waits_when_the_connection_is_left_can_be_taken_afterwards() -> None:
    async def handler(session: Session) -> None:
        for text in ("one", "two", "three"):
            await session.send(text)
        await anyio.sleep_forever()

    disk = Disk()
    async with serve(handler):
        async with connect(store=disk, policy=KEEPING) as connection:
            assert await connection.receive() == "one"
            await anyio.sleep(SOON)
        assert [message async for message in connection] == ["two", "three"]
        with pytest.raises(ConnectionClosed, match="is closed"):
            await connection.receive()
        async with connect(store=disk, policy=KEEPING) as connection:
            assert await connection.receive() == "one"  # nobody was told that it was handled
            assert connection.redelivered


async def test_what_is_taken_between_closing_and_leaving_leaves_the_session_as_it_is() -> None:
    async def handler(session: Session) -> None:
        for text in ("one", "two", "three"):
            await session.send(text)
        async for _ in session:
            pass

    disk = Disk()
    async with serve(handler):
        async with connect(store=disk, policy=KEEPING) as connection:
            sid = connection.session
            await (await connection.send("x")).wait_acknowledged()
            await connection.close(1001)
            assert [message async for message in connection] == ["one", "two", "three"]
        async with connect(store=disk, policy=KEEPING) as connection:
            assert connection.session == sid
            await (await connection.send("y")).wait_acknowledged()


async def test_a_session_goes_on_though_its_store_failed_if_that_works_again_in_the_end() -> None:
    outbox = Outbox(delivery=Delivery.AT_LEAST_ONCE, on_store_error=OnStoreError.GO_ON)
    disk, desk = Disk(), Desk()
    async with serve(desk.handle) as server:
        async with connect(store=disk, policy=steady(outbox=outbox)) as connection:
            sid = connection.session
            await connection.send("one")
            disk.is_full = True
            for text in ("two", "three"):
                await connection.send(text)
            await only(server).send("news")
            assert await connection.receive() == "news"
            await connection.flush()
            disk.is_full = False
        async with connect(store=disk, policy=KEEPING) as connection:
            assert connection.session == sid
            await (await connection.send("four")).wait_acknowledged()
    assert desk.heard == ["one", "two", "three", "four"]
