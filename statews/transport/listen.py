"""The server half without sessions: accept, shake hands, hand each link to a handler."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import anyio

from ..errors import DialError, HandshakeError, LinkError, PeerError, UsageError
from ..policy import Policy
from ..protocol.frames import CloseCode
from ..protocol.handshake import Refusal, ServerHandshake
from .link import Link
from .stream import SocketStream, receive, secure, send, tune

if TYPE_CHECKING:
    import ssl as _ssl
    from collections.abc import Sequence
    from types import TracebackType

    from .stream import ByteStream

__all__ = ["Handler", "Listener", "listen"]

Handler = Callable[[Link], Awaitable[object]]

BACKLOG: Final = 1024  # connections the system keeps until they are accepted
OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
SERVICE_UNAVAILABLE: Final = 503
BAD_REQUEST: Final = 400
RETRY_AFTER: Final = "5"

logger: Final = logging.getLogger("statews.listen")


def listen(
    handler: Handler,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    policy: Policy | None = None,
    subprotocols: Sequence[str] = (),
    ssl: _ssl.SSLContext | None = None,
    max_connections: float = math.inf,
) -> Listener:
    """A WebSocket server, to be used as `async with listen(...) as listener`.

    Leaving it stops accepting, cancels the handlers, and closes every link with 1001.

    Args:
        handler: gets each `Link` when it is open. The link is closed with 1000 when it returns, and
            with 1011 when it raises, which is logged.
        host: a name or an address; every address of it is bound.
        port: 0 lets the system choose; see `Listener.port`.
        policy: `timeouts`, `limits`, `heartbeat` and `deflate` apply to each link.
        subprotocols: spoken here, the preferred first.
        ssl: a server's context, for `wss://`.
        max_connections: one more is answered 503 with `Retry-After`.

    Raises:
        UsageError: an argument is wrong.
    """
    if not callable(handler):
        message = f"expected handler to be an async function of a Link, got {handler!r}"
        raise UsageError(message)
    if not 0 <= port <= 0xFFFF:  # noqa: PLR2004
        message = f"expected a port between 0 and 65535, got {port}"
        raise UsageError(message)
    return Listener(
        handler, host, port, policy or Policy(), tuple(subprotocols), ssl, max_connections
    )


class Listener:
    """A running server. Made by `listen`."""

    def __init__(  # noqa: PLR0913, PLR0917 - only `listen` calls it
        self,
        handler: Handler,
        host: str,
        port: int,
        policy: Policy,
        subprotocols: Sequence[str],
        ssl: _ssl.SSLContext | None,
        max_connections: float,
    ) -> None:
        self._handler = handler
        self._host = host
        self._wanted_port = port
        self._policy = policy
        self._subprotocols = subprotocols
        self._ssl = ssl
        self._max_connections = max_connections
        self._sockets: list[socket.socket] = []
        self.connections = 0

    def __repr__(self) -> str:
        return f"<Listener {self._host} with {self.connections} connections>"

    @property
    def port(self) -> int:
        """The port that is listened on."""
        port: int = self._sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Listener:
        """Bind and start accepting.

        Raises:
            OSError: the address is not to be had.
        """
        try:
            await self._bind()
        except BaseException:
            self._unbind()
            raise
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        for sock in self._sockets:
            self._group.start_soon(self._accept, sock)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop: nothing is accepted any more, and every link is closed with 1001."""
        self._unbind()
        self._group.cancel_scope.cancel()
        if exc is not None and isinstance(exc, anyio.get_cancelled_exc_class()):
            await self._group.__aexit__(exc_type, exc, traceback)
        else:
            await self._group.__aexit__(None, None, None)

    async def _bind(self) -> None:
        found = await anyio.getaddrinfo(
            self._host, self._wanted_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        port = self._wanted_port
        for family, _, _, _, address in dict.fromkeys(found):
            sock = socket.socket(family, socket.SOCK_STREAM)
            self._sockets.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address[0], port, *address[2:]))
            sock.listen(BACKLOG)
            port = sock.getsockname()[1]  # every address gets the port that the first one got

    def _unbind(self) -> None:
        for sock in self._sockets:
            if sock.fileno() >= 0:
                anyio.notify_closing(sock)
                sock.close()

    async def _accept(self, listening: socket.socket) -> None:
        while listening.fileno() >= 0:
            try:
                sock, _ = listening.accept()
            except (BlockingIOError, ConnectionError):
                with contextlib.suppress(anyio.ClosedResourceError):
                    await anyio.wait_readable(listening)
            except OSError as error:
                if error.errno not in OUT_OF_RESOURCES:
                    raise
                logger.warning("cannot accept: %s", error.strerror)
                await anyio.sleep(0.1)  # until somebody has closed something
            else:
                sock.setblocking(False)
                self._group.start_soon(self._run, sock)

    async def _run(self, sock: socket.socket) -> None:
        """One connection, from accept to the end of TCP. Whatever it does, the others go on."""
        stream = SocketStream(sock)
        self.connections += 1
        try:
            heartbeat = self._policy.heartbeat
            tune(sock, None if heartbeat is None else heartbeat.interval + heartbeat.timeout)
            link = await self._shake_hands(stream)
            if link is not None:
                await self._handle(link)
        except (LinkError, PeerError, OSError) as error:
            logger.info("%s: %s", stream.peer_address(), error)
        finally:
            self.connections -= 1
            stream.close()

    async def _shake_hands(self, socket_stream: SocketStream) -> Link | None:
        """The opening handshake, answered in any case; None when it led to no link."""
        limits = self._policy.limits
        stream: ByteStream = socket_stream
        handshake = ServerHandshake(
            subprotocols=self._subprotocols, deflate=self._policy.deflate, limits=limits
        )
        with anyio.move_on_after(self._policy.timeouts.opening):
            if self._ssl is not None:
                stream = await secure(stream, self._ssl, hostname=None, server_side=True)
            try:
                request = None
                while request is None:
                    request = handshake.feed(await receive(stream))
            except HandshakeError as error:
                await _refuse(stream, handshake.refuse(BAD_REQUEST, str(error)))
                raise
            if self.connections > self._max_connections:
                refusal = handshake.refuse(
                    SERVICE_UNAVAILABLE, "too many connections", {"Retry-After": RETRY_AFTER}
                )
                await _refuse(stream, refusal)
                return None
            try:
                response, opened = handshake.accept(request)
            except Refusal as refusal:
                await _refuse(stream, refusal.response)
                raise
            await send(stream, response)
            return Link(stream, opened, self._policy)
        message = f"no opening handshake within {self._policy.timeouts.opening:g} seconds"
        raise DialError(message)

    async def _handle(self, link: Link) -> None:
        """Run the handler with the link kept alive under it, then close."""
        code = CloseCode.GOING_AWAY  # unless the handler ends by itself
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(link.serve)
                code = await self._call_handler(link)
                group.cancel_scope.cancel()
        finally:
            with anyio.move_on_after(self._policy.timeouts.closing, shield=True):
                await link.close(code)

    async def _call_handler(self, link: Link) -> CloseCode:
        try:
            await self._handler(link)
        except Exception as error:
            if error is not link.ending:
                logger.exception("the handler of %s failed", link.path.partition("?")[0])
                return CloseCode.INTERNAL_ERROR
        return CloseCode.NORMAL


async def _refuse(stream: ByteStream, response: bytes) -> None:
    """Answer, and leave the peer the time to read the answer: a close with unread bytes is a reset."""
    await send(stream, response)
    with anyio.move_on_after(1):
        while await receive(stream):
            pass
