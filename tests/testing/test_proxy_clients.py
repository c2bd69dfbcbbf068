"""Clients that are not ours, through the proxy: what they go through is what it promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import anyio
import pytest
import websockets.asyncio.client
import websockets.exceptions

from statews import Link, listen
from statews.testing import FaultProxy
from statews.testing.schedule import Fault

DEADLINE = 30.0
PING = 0.3  # seconds between pings, and for their answers

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[{}, {"use_uvloop": True}], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both are made for asyncio alone."""
    if request.param:
        pytest.importorskip("uvloop")
    return "asyncio", request.param


class Client(ABC):
    """A connected client of another library.

    Attributes:
        why_frozen: what it says when its pings are not answered.
    """

    why_frozen: str

    @abstractmethod
    async def send(self, message: str) -> None:
        """Send a message; the library may say later that it could not."""

    @abstractmethod
    async def receive(self) -> str:
        """The next message.

        Raises:
            ConnectionError: the library says that the link is lost.
        """

    async def echo(self, message: str) -> str:
        """The server's answer."""
        await self.send(message)
        return await self.receive()


class Websockets(Client):
    why_frozen = "keepalive ping timeout"

    def __init__(self, connection: websockets.asyncio.client.ClientConnection) -> None:
        self._connection = connection

    async def send(self, message: str) -> None:
        await self._connection.send(message)

    async def receive(self) -> str:
        try:
            return str(await self._connection.recv())
        except websockets.exceptions.ConnectionClosedError as error:
            raise ConnectionError(str(error)) from None


class Aiohttp(Client):
    why_frozen = "No PONG received"

    def __init__(self, connection: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self._connection = connection

    async def send(self, message: str) -> None:
        await self._connection.send_str(message)

    async def receive(self) -> str:
        message = await self._connection.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            return str(message.data)
        raise ConnectionError(f"{message.type.name} {message.data}")


@asynccontextmanager
async def connected(
    library: type[Client], port: int, *, ping: float | None = None
) -> AsyncGenerator[Client, None]:
    """A client that has so many seconds from ping to ping, and for each answer."""
    url = f"ws://127.0.0.1:{port}/"
    if library is Websockets:
        async with websockets.asyncio.client.connect(
            url, ping_interval=ping, ping_timeout=ping, close_timeout=PING, proxy=None
        ) as connection:
            yield Websockets(connection)
    else:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, heartbeat=None if ping is None else 2 * ping) as response,
        ):
            yield Aiohttp(response)


async def echo(link: Link) -> None:
    async for message in link:
        await link.send(message)


@asynccontextmanager
async def network() -> AsyncGenerator[FaultProxy, None]:
    """A proxy before an echo server of ours."""
    with anyio.fail_after(DEADLINE):
        async with (
            listen(echo, "127.0.0.1", 0) as listener,
            FaultProxy(port=listener.port) as proxy,
        ):
            yield proxy


@pytest.fixture(params=[Websockets, Aiohttp])
def library(request: pytest.FixtureRequest) -> type[Client]:
    chosen: type[Client] = request.param
    return chosen


async def test_without_a_fault_it_hears_the_echo(library: type[Client]) -> None:
    async with network() as proxy, connected(library, proxy.port) as client:
        for message in ("hello", "x" * 300_000):
            assert await client.echo(message) == message


@pytest.mark.parametrize("text", ["cut", "reset"])
async def test_it_sees_the_end_of_the_link(library: type[Client], text: str) -> None:
    async with network() as proxy, connected(library, proxy.port) as client:
        assert await client.echo("hello") == "hello"
        Fault.parse(text).apply(proxy)
        with pytest.raises(ConnectionError):
            await client.receive()
        Fault.parse("heal").apply(proxy)
        async with connected(library, proxy.port) as again:
            assert await again.echo("again") == "again"


@pytest.mark.parametrize("text", ["cut-in-frame=1@up", "cut-in-frame=1@down", "cut-after=3@down"])
async def test_it_sees_a_frame_that_breaks_off(library: type[Client], text: str) -> None:
    async with network() as proxy, connected(library, proxy.port) as client:
        assert await client.echo("hello") == "hello"
        Fault.parse(text).apply(proxy)
        with pytest.raises(ConnectionError):
            await client.echo("x" * 1000)


@pytest.mark.parametrize("text", ["freeze", "freeze@up", "freeze@down"])
async def test_frozen_its_pings_find_out(library: type[Client], text: str) -> None:
    async with network() as proxy, connected(library, proxy.port, ping=PING) as client:
        Fault.parse(text).apply(proxy)
        began = anyio.current_time()
        with pytest.raises(ConnectionError, match=library.why_frozen):
            await client.receive()
        assert anyio.current_time() - began >= PING / 2


@pytest.mark.parametrize("text", ["refuse", "reset-new"])
async def test_it_cannot_connect(library: type[Client], text: str) -> None:
    async with network() as proxy:
        Fault.parse(text).apply(proxy)
        with pytest.raises((OSError, aiohttp.ClientError, websockets.exceptions.InvalidMessage)):
            async with connected(library, proxy.port):
                pass


async def test_where_nothing_is_said_it_gives_up(library: type[Client]) -> None:
    async with network() as proxy:
        Fault.parse("silence-new").apply(proxy)
        with anyio.move_on_after(PING) as scope:
            async with connected(library, proxy.port):
                pass
        assert scope.cancelled_caught
