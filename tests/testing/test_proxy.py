"""The fault proxy, proved against plain sockets."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import anyio
import pytest
from anyio import BrokenResourceError, EndOfStream, current_time
from anyio.abc import SocketAttribute, SocketStream

from statews.testing import Entry, FaultProxy

pytestmark = pytest.mark.anyio

DEADLINE = 10.0  # seconds for a whole test
WHILE = 0.2  # seconds in which nothing should happen


async def echo(stream: SocketStream) -> None:
    async with stream:
        with suppress(BrokenResourceError):
            async for data in stream:
                await stream.send(data)
            await stream.send_eof()


@asynccontextmanager
async def network() -> AsyncGenerator[FaultProxy, None]:
    """A proxy before an echo server."""
    with anyio.fail_after(DEADLINE):
        async with (
            await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
            anyio.create_task_group() as group,
        ):
            group.start_soon(listener.serve, echo)
            async with FaultProxy(port=listener.extra(SocketAttribute.local_port)) as proxy:  # noqa: S610 - not Django
                yield proxy
            group.cancel_scope.cancel()


@asynccontextmanager
async def client(proxy: FaultProxy) -> AsyncGenerator[SocketStream, None]:
    """A connection through the proxy that is known to work."""
    async with await anyio.connect_tcp("127.0.0.1", proxy.port) as stream:
        await check_echo(stream)
        yield stream


async def check_echo(stream: SocketStream, data: bytes = b"ping") -> float:
    """The seconds that an echo took."""
    began = current_time()
    await stream.send(data)
    received = b""
    while len(received) < len(data):
        received += await stream.receive()
    assert received == data
    return current_time() - began


async def check_silent(stream: SocketStream) -> None:
    """Nothing comes, and nothing ends."""
    with anyio.move_on_after(WHILE) as scope:
        await stream.receive()
    assert scope.cancelled_caught


async def test_without_a_fault_it_only_carries() -> None:
    async with network() as proxy, client(proxy) as stream:
        async with anyio.create_task_group() as group:
            group.start_soon(stream.send, bytes(3_000_000))
            received = 0
            while received < 3_000_000:
                received += len(await stream.receive())
        assert (proxy.accepted, proxy.links) == (1, 1)
        await stream.send_eof()
        with pytest.raises(EndOfStream):
            await stream.receive()


async def test_a_cut_is_an_orderly_end() -> None:
    async with network() as proxy, client(proxy) as stream:
        assert proxy.cut() == 1
        with pytest.raises(EndOfStream):
            await stream.receive()
        await stream.aclose()
        async with client(proxy):
            assert proxy.accepted == 2


async def test_a_cut_is_an_orderly_end_while_bytes_are_under_way() -> None:
    async with network() as proxy, client(proxy) as stream:
        proxy.slow(latency=60)
        await stream.send(b"never carried")
        await anyio.sleep(WHILE)
        proxy.cut()
        await stream.send(b"not even read")
        with pytest.raises(EndOfStream):
            await stream.receive()


async def test_a_reset_is_no_orderly_end() -> None:
    async with network() as proxy, client(proxy) as stream:
        assert proxy.reset() == 1
        with pytest.raises(BrokenResourceError):
            await stream.receive()


@pytest.mark.parametrize("is_frozen", [False, True])
async def test_a_reset_by_a_peer_is_carried(is_frozen: bool) -> None:
    async with network() as proxy, client(proxy) as stream:
        if is_frozen:
            proxy.freeze()
        raw = socket.create_connection(("127.0.0.1", proxy.port))
        await anyio.sleep(WHILE)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()
        await anyio.sleep(WHILE)
        assert proxy.links == 1 + is_frozen
        proxy.thaw()
        await check_echo(stream)
        await anyio.sleep(WHILE)
        assert proxy.links == 1


async def test_frozen_nothing_passes_and_nothing_ends() -> None:
    async with network() as proxy, client(proxy) as stream:
        proxy.freeze()
        assert proxy.is_frozen
        await stream.send(b"one")
        await check_silent(stream)
        async with await anyio.connect_tcp("127.0.0.1", proxy.port) as late:
            await late.send(b"two")
            await check_silent(late)
            proxy.thaw()
            assert await late.receive() == b"two"
        assert await stream.receive() == b"one"


async def test_frozen_an_end_is_not_told() -> None:
    async with network() as proxy, client(proxy) as stream:
        proxy.freeze()
        await stream.send_eof()
        await check_silent(stream)
        proxy.thaw()
        with pytest.raises(EndOfStream):
            await stream.receive()


async def test_frozen_the_writer_is_held_back() -> None:
    async with network() as proxy, client(proxy) as stream:
        proxy.freeze()
        with anyio.move_on_after(WHILE) as scope:
            await stream.send(bytes(64_000_000))
        assert scope.cancelled_caught


async def test_a_frozen_connection_can_be_cut() -> None:
    async with network() as proxy, client(proxy) as stream:
        proxy.freeze()
        proxy.cut()
        with pytest.raises(EndOfStream):
            await stream.receive()


async def test_latency_counts_each_way_and_does_not_add_up() -> None:
    async with network() as proxy, client(proxy) as stream:
        proxy.slow(latency=0.1)
        assert 0.19 <= await check_echo(stream) < 1.0
        began = current_time()
        for _ in range(10):
            await stream.send(b"x")
            await anyio.sleep(0.01)
        received = b""
        while len(received) < 10:
            received += await stream.receive()
        assert current_time() - began < 1.0  # not ten times 0.2
        proxy.slow(latency=0.0)
        assert await check_echo(stream) < 0.2


async def test_a_slow_line_takes_its_time() -> None:
    async with network() as proxy, client(proxy) as stream:
        proxy.slow(bandwidth=20_000.0)
        assert 0.39 <= await check_echo(stream, bytes(8000)) < 3.0
        proxy.heal()
        assert await check_echo(stream, bytes(8000)) < 0.4


async def test_refusing_connections_leaves_those_there_are() -> None:
    async with network() as proxy, client(proxy) as stream:
        port = proxy.port
        for _ in range(2):
            proxy.refuse()
            assert (proxy.entry, proxy.port) == (Entry.REFUSE, port)
            with pytest.raises(OSError, match="connection attempts failed"):
                await anyio.connect_tcp("127.0.0.1", port)
            await check_echo(stream)
            proxy.accept()
            async with client(proxy):
                pass
        assert proxy.accepted == 3


async def test_new_connections_can_be_reset() -> None:
    async with network() as proxy, client(proxy) as stream:
        proxy.reset_new()
        with pytest.raises((BrokenResourceError, OSError)):
            async with await anyio.connect_tcp("127.0.0.1", proxy.port) as late:
                await late.receive()
        await check_echo(stream)
        assert proxy.accepted == 2


async def test_new_connections_can_be_accepted_and_dropped() -> None:
    async with network() as proxy:
        proxy.drop_new(after=WHILE)
        async with client(proxy) as stream:
            began = current_time()
            with pytest.raises(EndOfStream):
                await stream.receive()
            assert WHILE / 2 < current_time() - began < WHILE + 1.0


async def test_where_no_server_is_a_connection_is_reset() -> None:
    async with FaultProxy(port=1) as proxy:
        with pytest.raises((BrokenResourceError, OSError)):
            async with await anyio.connect_tcp("127.0.0.1", proxy.port) as stream:
                await stream.receive()


async def test_leaving_ends_everything() -> None:
    async with network() as proxy:
        async with FaultProxy(port=proxy.port) as other:
            stream = await anyio.connect_tcp("127.0.0.1", other.port)
            await check_echo(stream)
        async with stream:
            with pytest.raises((BrokenResourceError, EndOfStream)):
                await stream.receive()


async def test_the_bodys_exception_leaves_as_it_is() -> None:
    async def fail() -> None:
        async with FaultProxy(port=1):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await fail()
