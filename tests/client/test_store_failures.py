"""A connection whose store fails: what is tried again, what is told, and what is released."""

from __future__ import annotations

import anyio
import pytest
from anyio import current_time

from statews import (
    Connection,
    ConnectionClosed,
    OnStoreError,
    StoreFullError,
    UsageError,
)

from .test_durable import Sink, Slow, contents, sink, stored
from .world import connect

__all__ = ["sink"]

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("world")]


async def test_what_a_cancelled_sender_left_is_stored_when_there_is_room_again(
    sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    store = Slow(takes=0.1)
    async with connect(policy=stored(), store=store) as connection:
        store.fails = True
        with anyio.move_on_after(0.05):
            await connection.send("x")
        await anyio.sleep(100)
        tries = caplog.text.count("the store failed")
        assert 5 <= tries <= 10  # the pauses between them grow up to half a minute
        store.fails = False
        with anyio.fail_after(31):
            await connection.flush()
    assert sink.messages == ["x"]


async def test_another_commit_ends_the_pause_before_the_next_try(sink: Sink) -> None:
    store = Slow(takes=0.1)
    async with connect(policy=stored(), store=store) as connection:
        store.fails = True
        with pytest.raises(StoreFullError, match="it is full"):
            await connection.send("lost")
        await anyio.sleep(100)
        store.fails = False
        await connection.send("kept")
        await connection.flush()
        await anyio.sleep(1)
        committed = store.committed
        assert current_time() - committed < 1
        await anyio.sleep(100)
        assert store.committed == committed  # all is stored, and there is nothing to try
    assert sink.messages == ["kept"]
    assert (await contents(store)).messages == []


async def test_a_store_that_fails_after_closing_is_what_send_raises(sink: Sink) -> None:
    store = Slow(takes=1)
    async with connect(policy=stored(), store=store) as connection:
        store.fails = True
        async with anyio.create_task_group() as group:
            group.start_soon(_send_in_vain, connection)
            await anyio.sleep(0.5)
            group.start_soon(_flush_until_closed, connection)
            await connection.close()
            store.takes = 0
            await anyio.sleep(0.6)
            store.fails = False
    assert sink.messages == []
    assert (await contents(store)).messages == []


async def _send_in_vain(connection: Connection) -> None:
    with pytest.raises(StoreFullError, match="it is full"):
        await connection.send("lost")


async def _flush_until_closed(connection: Connection) -> None:
    with pytest.raises(ConnectionClosed, match="is closed"):
        await connection.flush()


async def test_a_store_that_a_connection_goes_on_without_is_released_in_the_end(
    sink: Sink,
) -> None:
    store = Slow()
    policy = stored(on_store_error=OnStoreError.GO_ON)
    async with connect(policy=policy, store=store) as connection:
        await connection.send("before")
        await connection.flush()
        store.fails = True
        for message in ("1", "2"):
            await connection.send(message)
        store.fails = False
        await connection.flush()
        with pytest.raises(UsageError, match="it is open"):  # nobody else is to use it as yet
            await store.open()
    left = await contents(store)  # it was released
    assert left.messages == []
    assert left.next_number == 3
    assert sink.messages == ["before", "1", "2"]


async def test_a_connection_that_goes_on_without_its_store_needs_no_sender_to_notice(
    sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    store = Slow(takes=0.1)
    policy = stored(on_store_error=OnStoreError.GO_ON)
    async with connect(policy=policy, store=store) as connection:
        store.fails = True
        with anyio.move_on_after(0.05):
            await connection.send("x")
        with anyio.fail_after(1):
            await connection.flush()
    assert sink.messages == ["x"]
    assert caplog.text.count("the store failed") == 1
    store.fails = False
    await store.inner.close()
