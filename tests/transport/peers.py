"""The other side for the tests: servers that follow a script, byte by byte."""

# pyright: reportUnknownMemberType=false
# trustme takes the contexts of pyOpenSSL as well, which is not here.

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime
from select import select

import anyio
import trustme
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSListener
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

from statews import Link, Phase, Policy
from statews.transport.dial import Dialing, Target, dial
from statews.transport.proxy import ProxySetting

LOCALHOST = "127.0.0.1"
GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


class TLS:
    """A certificate authority, and contexts for both sides."""

    def __init__(self, authority: trustme.CA) -> None:
        self.authority = authority

    def server(self, name: str = LOCALHOST, expires: datetime | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.certify(context, name, expires)
        return context

    def client(self) -> ssl.SSLContext:
        authority = self.authority.cert_pem.bytes().decode()
        return ssl.create_default_context(cadata=authority)  # the system's take long to load

    def trust(self, context: ssl.SSLContext) -> None:
        self.authority.configure_trust(context)

    def certify(self, context: ssl.SSLContext, name: str, expires: datetime | None = None) -> None:
        self.authority.issue_cert(name, not_after=expires).configure_cert(context)


class Peer:
    """One connection, seen from the server."""

    def __init__(self, stream: ByteStream, socket: socket.socket) -> None:
        self.stream = stream
        self.socket = socket
        self._ahead = b""

    async def head(self) -> bytes:
        """An HTTP head, or less at the end of the stream."""
        data = self._ahead
        with suppress(anyio.EndOfStream):
            while b"\r\n\r\n" not in data:
                data += await self.stream.receive()
        head, separator, self._ahead = data.partition(b"\r\n\r\n")
        return head + separator

    async def exactly(self, size: int) -> bytes:
        data = self._ahead
        while len(data) < size:
            data += await self.stream.receive()
        self._ahead = data[size:]
        return data[:size]

    async def send(self, data: bytes) -> None:
        await self.stream.send(data)

    async def answer(self, status: str, *headers: str, body: bytes = b"") -> None:
        """Read a request, and answer it."""
        await self.head()
        await self.send("\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + body)

    async def end(self) -> bytes:
        """Everything up to the end."""
        data = self._ahead
        with suppress(*GONE):
            while True:
                data += await self.stream.receive()
        return data

    def reset(self) -> None:
        """Have the close of this connection be a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Server:
    """A running server.

    Attributes:
        port: where it listens.
        served: how many connections it has had.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.served = 0
        self.connections = 0
        self._left = anyio.Event()

    @property
    def url(self) -> str:
        return f"ws://{LOCALHOST}:{self.port}/"

    @property
    def secure_url(self) -> str:
        return f"wss://{LOCALHOST}:{self.port}/"

    @contextmanager
    def serve(self) -> Generator[None]:
        self.served += 1
        self.connections += 1
        try:
            yield
        finally:
            self.connections -= 1
            self._left.set()
            self._left = anyio.Event()

    async def wait_left(self) -> None:
        """Return when no connection is left."""
        while self.connections:
            await self._left.wait()


@asynccontextmanager
async def scripted(
    script: Callable[[Peer], Awaitable[object]], *, context: ssl.SSLContext | None = None
) -> AsyncGenerator[Server]:
    """A server on loopback that runs `script` for each connection, and then closes it."""
    tcp = await anyio.create_tcp_listener(local_host=LOCALHOST)
    server = Server(tcp.extra_attributes[SocketAttribute.local_port]())
    listener = tcp if context is None else TLSListener(tcp, context, standard_compatible=False)

    async def handle(stream: ByteStream) -> None:
        raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - this is not Django
        with server.serve(), suppress(*GONE):
            async with stream:
                await script(Peer(stream, raw))

    async with tcp, anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        yield server
        group.cancel_scope.cancel()


def stalling(asked: anyio.Event) -> Callable[[Peer], Awaitable[None]]:
    """A script that reads, and never answers."""

    async def script(peer: Peer) -> None:
        await peer.stream.receive()
        asked.set()
        await peer.end()

    return script


@contextmanager
def black_hole() -> Generator[int]:
    """A port that takes in no connection, and refuses none: its backlog is full."""
    with socket.create_server((LOCALHOST, 0), backlog=0) as listening:
        port: int = listening.getsockname()[1]
        clients: list[socket.socket] = []
        try:
            while len(clients) < 20:
                client = socket.socket()
                clients.append(client)
                client.setblocking(False)
                client.connect_ex((LOCALHOST, port))
                if not select([], [client], [], 0.05)[1]:
                    break
            else:
                raise AssertionError("the backlog never gets full here")
            yield port
        finally:
            for client in clients:
                client.close()


def unused_port() -> int:
    """A port where nobody listens."""
    with socket.create_server((LOCALHOST, 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def accepted(request: bytes) -> bytes:
    """The 101 that belongs to a request."""
    reader = StreamReader()
    reader.feed_data(request)
    parser = Request.parse(reader.read_line)
    try:
        next(parser)
    except StopIteration as stop:
        return ServerProtocol().accept(stop.value).serialize()
    raise AssertionError("half a request")


def text_frame(text: str) -> bytes:
    """A short, unmasked text frame."""
    payload = text.encode()
    assert len(payload) < 126
    return bytes((0x81, len(payload))) + payload


async def dial_to(
    url: str,
    *,
    headers: dict[str, str] | None = None,
    policy: Policy | None = None,
    ssl: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    proxy: ProxySetting = None,
    phases: list[Phase] | None = None,
) -> Link:
    """`dial`, past any proxy unless one is named."""
    dialing = Dialing(
        policy=policy or Policy(), ssl=ssl, server_hostname=server_hostname, proxy=proxy
    )
    seen: list[Phase] = [] if phases is None else phases
    return await dial(Target(url, headers or {}), dialing, seen.append)


async def echo(link: Link) -> None:
    """A handler that sends back what comes."""
    async for message in link:
        await link.send(message)


@asynccontextmanager
async def serving(link: Link) -> AsyncGenerator[Link]:
    """Do for a link what a driver does, and close it in the end."""
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(link.serve)
            yield link
            group.cancel_scope.cancel()
    finally:
        with anyio.move_on_after(5, shield=True):
            await link.close()
