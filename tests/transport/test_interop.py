"""With implementations that are not ours, in threads of their own."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Literal

import aiohttp
import anyio
import anyio.to_thread
import pytest
from anyio.from_thread import start_blocking_portal
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedOK

from statews import Deflate, Limits, Link, LinkClosed, Policy, listen

from .peers import LOCALHOST, TLS, dial_to, echo, serving

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.once,
    # asyncio of Python 3.10 forgets to close the TLS that the peer ended.
    pytest.mark.filterwarnings("ignore:unclosed transport <asyncio.sslproto:ResourceWarning"),
]

MIB = 1024 * 1024
ROOMY = Policy(limits=Limits(message_bytes=16 * MIB))
MESSAGES: list[str | bytes] = [
    "",
    "hello",
    "h\N{LATIN SMALL LETTER E WITH ACUTE}llo \N{SNOWMAN}",
    b"",
    b"\x00\xff",
    bytes(125),
    bytes(126),
    bytes(65535),
    bytes(65536),
    "x" * 100_000,
]
LARGE = bytes(range(256)) * (10 * MIB // 256)


@asynccontextmanager
async def echo_server(
    context: ssl.SSLContext | None, compression: Literal["deflate"] | None
) -> AsyncGenerator[int]:
    async def handler(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(
        handler, LOCALHOST, 0, ssl=context, max_size=None, compression=compression
    ) as server:
        port: int = server.sockets[0].getsockname()[1]
        yield port


@contextmanager
def websockets_server(
    context: ssl.SSLContext | None, *, compressing: bool = False
) -> Generator[int]:
    """A server that sends back what comes, on asyncio in another thread; gives its port."""
    running = echo_server(context, "deflate" if compressing else None)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(running) as port:
        yield port
    gc.collect()  # so that what is warned of is warned of here


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("compressing", [False, True])
async def test_a_link_talks_to_a_server_of_websockets(
    tls: TLS, secure: bool, compressing: bool
) -> None:
    policy = Policy(deflate=Deflate() if compressing else None)
    context = tls.server() if secure else None
    with websockets_server(context, compressing=compressing) as port:
        url = f"ws{'s' * secure}://{LOCALHOST}:{port}/"
        link = await dial_to(url, ssl=tls.client() if secure else None, policy=policy)
        async with serving(link):
            for message in MESSAGES:
                await link.send(message)
            for message in MESSAGES:
                assert await link.receive() == message
        assert isinstance(link.ending, LinkClosed)
        assert link.ending.code == 1000


async def test_ten_megabytes_go_to_a_server_of_websockets_and_back(tls: TLS) -> None:
    with websockets_server(tls.server()) as port:
        url = f"wss://{LOCALHOST}:{port}/"
        link = await dial_to(url, ssl=tls.client(), policy=ROOMY)
        async with serving(link):
            await link.send(LARGE)
            assert await link.receive() == LARGE


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("compressing", [False, True])
async def test_a_client_of_websockets_talks_to_a_listener(
    tls: TLS, secure: bool, compressing: bool
) -> None:
    async def talk(url: str, context: ssl.SSLContext | None) -> int | None:
        compression = "deflate" if compressing else None
        async with connect(url, ssl=context, proxy=None, compression=compression) as connection:
            assert bool(connection.protocol.extensions) is compressing
            for message in MESSAGES:
                await connection.send(message)
            for message in MESSAGES:
                assert await connection.recv() == message
            await (await connection.ping())
        return connection.close_code

    policy = Policy(deflate=Deflate() if compressing else None)
    async with listen(echo, ssl=tls.server() if secure else None, policy=policy) as listener:
        url = f"ws{'s' * secure}://{LOCALHOST}:{listener.port}/"
        talking = talk(url, tls.client() if secure else None)
        assert await run_elsewhere(talking) == 1000


async def run_elsewhere(coroutine: Coroutine[None, None, int | None]) -> int | None:
    """On asyncio, in another thread."""
    try:
        return await anyio.to_thread.run_sync(asyncio.run, coroutine)
    finally:
        gc.collect()  # so that what is warned of is warned of here


async def test_ten_megabytes_go_from_a_client_of_websockets_and_back(tls: TLS) -> None:
    async def talk(url: str, context: ssl.SSLContext) -> int | None:
        async with connect(url, ssl=context, proxy=None, max_size=None) as connection:
            await connection.send(LARGE)
            assert await connection.recv() == LARGE
        return connection.close_code

    async with listen(echo, ssl=tls.server(), policy=ROOMY) as listener:
        url = f"wss://{LOCALHOST}:{listener.port}/"
        assert await run_elsewhere(talk(url, tls.client())) == 1000


async def test_a_client_of_websockets_sees_the_end_of_a_listener() -> None:
    async def talk(url: str) -> int | None:
        async with connect(url, proxy=None) as connection:
            await connection.send("here")
            with pytest.raises(ConnectionClosedOK, match="1001"):
                await connection.recv()
        return connection.close_code

    async def handler(link: Link) -> None:
        assert await link.receive() == "here"
        arrived.set()
        await anyio.sleep_forever()

    async def stay(url: str) -> None:
        codes.append(await run_elsewhere(talk(url)))

    arrived = anyio.Event()
    codes: list[int | None] = []
    async with anyio.create_task_group() as group, listen(handler) as listener:
        group.start_soon(stay, f"ws://{LOCALHOST}:{listener.port}/")
        await arrived.wait()
    assert codes == [1001]


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("compress", [0, 15])
async def test_a_client_of_aiohttp_talks_to_a_listener(
    tls: TLS, secure: bool, compress: int
) -> None:
    async def talk(url: str, context: ssl.SSLContext | None) -> int | None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, ssl=context or True, compress=compress) as socket,
        ):
            for message in MESSAGES:
                if isinstance(message, str):
                    await socket.send_str(message)
                else:
                    await socket.send_bytes(message)
            for message in MESSAGES:
                assert (await socket.receive()).data == message
            transport = socket.get_extra_info("socket")
            await socket.close()
            code: int | None = socket.close_code
        while transport.fileno() >= 0:  # noqa: ASYNC110 - with TLS, aiohttp does not wait
            await asyncio.sleep(0.001)
        return code

    policy = Policy(deflate=Deflate() if compress else None)
    async with listen(echo, ssl=tls.server() if secure else None, policy=policy) as listener:
        url = f"ws{'s' * secure}://{LOCALHOST}:{listener.port}/"
        talking = talk(url, tls.client() if secure else None)
        assert await run_elsewhere(talking) == 1000
