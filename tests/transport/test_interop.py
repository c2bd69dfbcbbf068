"""With implementations that are not ours, in threads of their own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from threading import Thread

import aiohttp
import anyio
import anyio.to_thread
import pytest
from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import connect
from websockets.sync.server import Server, ServerConnection, serve

from statews import Deflate, Limits, LinkClosed, Policy, listen

from .peers import LOCALHOST, TLS, dial_to, echo, serving

pytestmark = pytest.mark.anyio

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


@contextmanager
def websockets_server(
    context: ssl.SSLContext | None, *, compressing: bool = False
) -> Generator[int]:
    """An echo server; gives its port."""

    def handler(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    compression = "deflate" if compressing else None
    server: Server = serve(
        handler, LOCALHOST, 0, ssl=context, max_size=None, compression=compression
    )
    with server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join()


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
    def talk(url: str, context: ssl.SSLContext | None) -> int | None:
        compression = "deflate" if compressing else None
        with connect(url, ssl=context, proxy=None, compression=compression) as connection:
            assert bool(connection.protocol.extensions) is compressing
            for message in MESSAGES:
                connection.send(message)
            for message in MESSAGES:
                assert connection.recv() == message
            assert connection.ping().wait(10)
        return connection.close_code

    policy = Policy(deflate=Deflate() if compressing else None)
    async with listen(echo, ssl=tls.server() if secure else None, policy=policy) as listener:
        url = f"ws{'s' * secure}://{LOCALHOST}:{listener.port}/"
        context = tls.client() if secure else None
        assert await anyio.to_thread.run_sync(talk, url, context) == 1000


async def test_ten_megabytes_go_from_a_client_of_websockets_and_back(tls: TLS) -> None:
    def talk(url: str, context: ssl.SSLContext) -> None:
        with connect(url, ssl=context, proxy=None, max_size=None) as connection:
            connection.send(LARGE)
            assert connection.recv() == LARGE

    async with listen(echo, ssl=tls.server(), policy=ROOMY) as listener:
        url = f"wss://{LOCALHOST}:{listener.port}/"
        await anyio.to_thread.run_sync(talk, url, tls.client())


async def test_a_client_of_websockets_sees_the_end_of_a_listener() -> None:
    def talk(url: str) -> int | None:
        with connect(url, proxy=None) as connection:
            anyio.from_thread.run_sync(connected.set)
            with pytest.raises(ConnectionClosedOK, match="1001"):
                connection.recv()
        return connection.close_code

    connected = anyio.Event()
    codes: list[int | None] = []

    async def run(url: str) -> None:
        codes.append(await anyio.to_thread.run_sync(talk, url))

    async with anyio.create_task_group() as group, listen(echo) as listener:
        group.start_soon(run, f"ws://{LOCALHOST}:{listener.port}/")
        await connected.wait()
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
        assert await anyio.to_thread.run_sync(asyncio.run, talking) == 1000
