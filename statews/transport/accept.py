"""A TCP port on which connections are accepted."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Callable
from typing import Final

import anyio
from anyio.lowlevel import checkpoint

from .stream import SocketStream, closed, tune
from .watched import socket_stream

__all__ = ["TCPAcceptor", "bind", "listen_tcp"]

BACKLOG: Final = 1024  # connections the system keeps until they are accepted
# The listening socket itself is of no use; any other error of accept(2) passes.
BROKEN: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK})
NO_SUCH_ADDRESS: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
PAUSE: Final = 0.1  # seconds until somebody may have closed something

logger: Final = logging.getLogger("statews.listen")


class TCPAcceptor:
    """A listening socket. `accept` is called by one task at a time.

    Args:
        sock: bound; it begins to listen, and is closed if it cannot.
        user_timeout: for each connection, see `tune`.
        wrap: makes the stream of a connection.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        user_timeout: float | None = None,
        wrap: Callable[[socket.socket], SocketStream] = socket_stream,
    ) -> None:
        try:
            sock.listen(BACKLOG)
        except BaseException:
            sock.close()
            raise
        self._socket = sock
        self._user_timeout = user_timeout
        self._wrap = wrap

    @property
    def port(self) -> int:
        """The port that is listened on."""
        port: int = self._socket.getsockname()[1]
        return port

    async def accept(self) -> tuple[SocketStream, str]:
        """The next connection, and the address of its peer.

        Raises:
            LinkDropped: `close` was called.
            OSError: the socket is of no use.
        """
        await checkpoint()  # connections that come in a flood get their turn as well
        while self._socket.fileno() >= 0:
            try:
                sock, _ = self._socket.accept()
            except (BlockingIOError, ConnectionError):
                await self._wait()
            except OSError as error:
                if error.errno in BROKEN:
                    raise
                logger.warning("cannot accept: %s", error.strerror)
                await anyio.sleep(PAUSE)
            else:
                tune(sock, self._user_timeout)
                stream = self._wrap(sock)
                return stream, stream.peer_address()
        raise closed("accepting")

    async def _wait(self) -> None:
        try:
            await anyio.wait_readable(self._socket)
        except anyio.ClosedResourceError as error:
            raise closed("accepting") from error

    def close(self) -> None:
        """Stop listening. May be called again."""
        if self._socket.fileno() >= 0:
            anyio.notify_closing(self._socket)
            self._socket.close()


async def listen_tcp(host: str, port: int, *, user_timeout: float | None) -> list[TCPAcceptor]:
    """One for every address of `host`, all on the port that the first one got.

    Args:
        host: a name or an address.
        port: 0 lets the system choose.
        user_timeout: for each connection, see `tune`.

    Raises:
        OSError: the address is not to be had.
    """
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    acceptors: list[TCPAcceptor] = []
    missing: list[OSError] = []
    try:
        for family, _, _, _, (address, _) in dict.fromkeys(found):
            try:
                sock = bind(address, acceptors[0].port if acceptors else port, family)
            except OSError as error:
                if error.errno not in NO_SUCH_ADDRESS:
                    raise
                missing.append(error)  # a name of ::1 where there is no IPv6
            else:
                acceptors.append(TCPAcceptor(sock, user_timeout=user_timeout))
    except BaseException:
        for acceptor in acceptors:
            acceptor.close()
        raise
    if not acceptors:
        raise missing[0]
    return acceptors


def bind(host: str, port: int, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    """A socket that has a port, and does not listen yet.

    Raises:
        OSError: the address is not to be had.
    """
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if os.name == "posix":  # elsewhere it would let two servers have one port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock
