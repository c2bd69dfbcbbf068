"""Proxies for the tests: HTTP CONNECT and SOCKS5, as small as they can be."""

from __future__ import annotations

import base64
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import ByteStream

from .peers import GONE, Peer, Server, scripted


class Proxy:
    """A proxy that lets everything through, and remembers what it was asked for.

    Attributes:
        targets: the host names or addresses asked for, with their ports.
        credentials: what has to be presented, as `user:password`; None: nothing.
        requests: the heads of HTTP requests.
    """

    def __init__(self, credentials: str | None = None) -> None:
        self.credentials = credentials
        self.targets: list[tuple[str, int]] = []
        self.requests: list[str] = []

    async def http(self, peer: Peer) -> None:
        """One connection of an HTTP proxy."""
        request = (await peer.head()).decode()
        self.requests.append(request)
        method, authority, _ = request.split(" ", 2)
        assert method == "CONNECT"
        if self.credentials is not None:
            encoded = base64.b64encode(self.credentials.encode()).decode()
            if f"\r\nProxy-Authorization: Basic {encoded}\r\n" not in request:
                await peer.send(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                return
        host, _, port = authority.rpartition(":")
        self.targets.append((host, int(port)))
        async with await anyio.connect_tcp(host.strip("[]"), int(port)) as target:
            await peer.send(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
            await pump(peer.stream, target)

    async def socks(self, peer: Peer) -> None:
        """One connection of a SOCKS5 proxy."""
        version, count = await peer.exactly(2)
        assert version == 5
        methods = await peer.exactly(count)
        if self.credentials is None:
            await peer.send(b"\x05\x00")
        elif 2 not in methods:
            await peer.send(b"\x05\xff")
            return
        else:
            await peer.send(b"\x05\x02")
            if await read_credentials(peer) != self.credentials:
                await peer.send(b"\x01\x01")
                return
            await peer.send(b"\x01\x00")
        host, port = await read_target(peer)
        self.targets.append((host, port))
        async with await anyio.connect_tcp(host, port) as target:
            await peer.send(b"\x05\x00\x00\x03\x04test\x00\x00")
            await pump(peer.stream, target)


async def read_credentials(peer: Peer) -> str:
    """RFC 1929 section 2."""
    version, size = await peer.exactly(2)
    assert version == 1
    username = (await peer.exactly(size)).decode()
    password = (await peer.exactly((await peer.exactly(1))[0])).decode()
    return f"{username}:{password}"


async def read_target(peer: Peer) -> tuple[str, int]:
    """RFC 1928 section 4."""
    version, command, reserved, kind = await peer.exactly(4)
    assert (version, command, reserved) == (5, 1, 0)
    match kind:
        case 1:
            host = socket.inet_ntop(socket.AF_INET, await peer.exactly(4))
        case 4:
            host = socket.inet_ntop(socket.AF_INET6, await peer.exactly(16))
        case _:
            host = (await peer.exactly((await peer.exactly(1))[0])).decode()
    return host, int.from_bytes(await peer.exactly(2), "big")


async def pump(one: ByteStream, other: ByteStream) -> None:
    """Carry bytes both ways, until either side ends."""

    async def carry(source: ByteStream, sink: ByteStream) -> None:
        with suppress(*GONE):
            async for chunk in source:
                await sink.send(chunk)
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(carry, one, other)
        group.start_soon(carry, other, one)


@asynccontextmanager
async def answering(data: bytes) -> AsyncGenerator[Server]:
    """A proxy that says this, whatever it is asked, and then ends."""

    async def script(peer: Peer) -> None:
        await peer.stream.receive()
        await peer.send(data)

    async with scripted(script) as server:
        yield server
