"""Two worlds that one suite is played in: a proxy before plain sockets, and a network of memory.

A scene dials through the faults, accepts behind them, and has a peer on either side. What
it may not know is in which world it is.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
import anyio.abc
import pytest
from anyio import BrokenResourceError, EndOfStream
from anyio.streams.memory import MemoryObjectReceiveStream

from statews import DialError, LinkDropped
from statews.testing import FaultProxy, Faults
from statews.testing.memory import MemoryStream
from statews.testing.network import MemoryAcceptor, Network
from statews.testing.virtual import BACKENDS as VIRTUAL
from statews.testing.virtual import Backend as Virtual
from statews.testing.virtual import run
from statews.transport.stream import receive, send

from ..conftest import BACKENDS, Backend

__all__ = [
    "PARAMS",
    "SHORT",
    "WHILE",
    "Param",
    "Peer",
    "Play",
    "Refused",
    "Reset",
    "World",
    "playing",
]

DEADLINE: Final = 60.0  # seconds for a whole scene
WHILE: Final = 0.2  # seconds in which nothing should happen
SHORT: Final = 0.05  # seconds by which a clock and the sleeps of an event loop may differ
HOST: Final = "127.0.0.1"


class Reset(Exception):
    """The link was reset."""


class Refused(Exception):
    """Nobody listens."""


class Peer(ABC):
    """One end of a link."""

    @abstractmethod
    async def send(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            Reset: the link is.
        """

    @abstractmethod
    async def receive(self) -> bytes:
        """What has come; nothing at the end.

        Raises:
            Reset: the link is.
        """

    @abstractmethod
    async def send_eof(self) -> None:
        """Say that nothing more will come."""

    @abstractmethod
    async def close(self) -> None:
        """Be gone."""

    async def receive_exactly(self, size: int) -> bytes:
        """So many bytes.

        Raises:
            Reset: the link was, before.
        """
        data = b""
        while len(data) < size:
            chunk = await self.receive()
            assert chunk
            data += chunk
        assert len(data) == size
        return data

    async def receive_all(self) -> tuple[bytes, str]:
        """All until the link ends, and how it ends."""
        data = b""
        with suppress(Reset):
            while chunk := await self.receive():
                data += chunk
            return data, "FIN"
        return data, "RST"

    async def send_forever(self, data: bytes) -> None:
        """Send until the link is no more."""
        with suppress(Reset):
            await self.send(data)

    async def check_silent(self, seconds: float = WHILE) -> None:
        """Nothing comes, and nothing ends."""
        with anyio.move_on_after(seconds) as scope:
            await self.receive()
        assert scope.cancelled_caught


class World(ABC):
    """A network with faults, and a server behind it."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults

    @abstractmethod
    async def dial(self) -> Peer:
        """A new link, from the client's side.

        Raises:
            Refused: nobody listens.
        """

    @abstractmethod
    async def accept(self) -> Peer:
        """The next link that comes, from the server's side."""

    @asynccontextmanager
    async def link(self) -> AsyncGenerator[tuple[Peer, Peer], None]:
        """Both sides of a link that is known to work."""
        client = await self.dial()
        server = await self.accept()
        await self.exchange(client, server)
        await self.exchange(server, client)
        yield client, server
        await client.close()
        await server.close()

    async def exchange(self, sender: Peer, receiver: Peer, data: bytes = b"hello") -> float:
        """Have bytes pass; the seconds it took."""
        began = anyio.current_time()
        async with anyio.create_task_group() as group:
            group.start_soon(sender.send, data)
            assert await receiver.receive_exactly(len(data)) == data
        return anyio.current_time() - began


Scene = Callable[[World], Awaitable[None]]
Play = Callable[[Scene], None]
Param = Backend | Virtual  # of a `FaultProxy`, or of a `Network`


# Plain sockets.


class SocketPeer(Peer):
    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self._stream = stream

    async def send(self, data: bytes) -> None:
        try:
            await self._stream.send(data)
        except BrokenResourceError:
            raise Reset from None

    async def receive(self) -> bytes:
        try:
            return await self._stream.receive()
        except EndOfStream:
            return b""
        except BrokenResourceError:
            raise Reset from None

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def close(self) -> None:
        await self._stream.aclose()


class ProxyWorld(World):
    def __init__(self, proxy: FaultProxy, accepted: MemoryObjectReceiveStream[SocketPeer]) -> None:
        super().__init__(proxy)
        self._proxy = proxy
        self._accepted = accepted
        self._dialled: list[Peer] = []

    async def dial(self) -> Peer:
        try:
            peer = SocketPeer(await anyio.connect_tcp(HOST, self._proxy.port))
        except OSError:
            raise Refused from None
        self._dialled.append(peer)
        return peer

    async def close(self) -> None:
        for peer in self._dialled:
            await peer.close()

    async def accept(self) -> Peer:
        return await self._accepted.receive()


async def play_with_proxy(scene: Scene, seed: int) -> None:
    came, accepted = anyio.create_memory_object_stream[SocketPeer](math.inf)

    async def keep(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await came.send(SocketPeer(stream))
            await anyio.sleep(2 * DEADLINE)

    with anyio.fail_after(DEADLINE), came, accepted:
        async with (
            await anyio.create_tcp_listener(local_host=HOST) as listener,
            anyio.create_task_group() as group,
        ):
            group.start_soon(listener.serve, keep)
            port: int = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610
            async with FaultProxy(port=port, seed=seed) as proxy:
                world = ProxyWorld(proxy, accepted)
                try:
                    await scene(world)
                finally:
                    await world.close()
            group.cancel_scope.cancel()


# Memory.


class MemoryPeer(Peer):
    def __init__(self, stream: MemoryStream) -> None:
        self._stream = stream

    async def send(self, data: bytes) -> None:
        try:
            await send(self._stream, data)
        except LinkDropped:
            raise Reset from None

    async def receive(self) -> bytes:
        try:
            return await receive(self._stream)
        except LinkDropped:
            raise Reset from None

    async def send_eof(self) -> None:
        self._stream.send_eof()

    async def close(self) -> None:
        self._stream.close()


class MemoryWorld(World):
    def __init__(self, network: Network, acceptor: MemoryAcceptor) -> None:
        super().__init__(network)
        self._network = network
        self._acceptor = acceptor

    async def dial(self) -> Peer:
        try:
            return MemoryPeer(await self._network.connect_tcp(HOST, self._acceptor.port))
        except DialError:
            raise Refused from None

    async def accept(self) -> Peer:
        return MemoryPeer((await self._acceptor.accept())[0])


async def play_in_memory(scene: Scene, seed: int) -> None:
    network = Network(seed=seed)
    (acceptor,) = await network.listen_tcp(HOST, 0)
    with anyio.fail_after(DEADLINE):
        await scene(MemoryWorld(network, acceptor))


# Both.

PARAMS: Final[list[object]] = [
    *(pytest.param(backend, id=f"proxy-{name}") for name, backend in BACKENDS.items()),
    *(pytest.param(backend, id=f"memory-{backend}") for backend in VIRTUAL),
]


def playing(param: Param, *, seed: int = 1) -> Play:
    """What plays scenes in one of the worlds, named by one of `PARAMS`."""

    def play(scene: Scene) -> None:
        if isinstance(param, str):
            run(functools.partial(play_in_memory, scene, seed), backend=param)
        else:
            backend, options = param
            anyio.run(play_with_proxy, scene, seed, backend=backend, backend_options=options)

    return play
