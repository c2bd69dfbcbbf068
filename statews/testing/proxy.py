"""A TCP proxy that is a bad network on request: slow, cut, half-open, or with nobody there.

Every fault is set while the proxy runs, and for both directions. What is not broken on
purpose is carried faithfully: an end goes on as an end, a reset as a reset, and a reader
that does not read holds the writer back.
"""

from __future__ import annotations

import contextlib
import errno
import math
import socket
from enum import Enum
from typing import TYPE_CHECKING, Final

import anyio
from anyio import Event

from ..transport.stream import SocketStream, tune
from ..transport.tcp import connect_socket
from .carrier import Carrier, Ending

if TYPE_CHECKING:
    from types import TracebackType

    from anyio.abc import TaskGroup
    from typing_extensions import Self

__all__ = ["Entry", "Proxy"]

BACKLOG: Final = 128  # connections that the system keeps until they are accepted


class Entry(Enum):
    """What becomes of a new connection."""

    ACCEPT = "it is carried to the server"
    REFUSE = "nobody listens: connection refused"
    RESET = "it is accepted, and reset at once"
    DROP = "it is carried to the server, and ended soon after the server's first bytes"


class Proxy:
    """A TCP proxy on loopback whose faults change while it runs.

    Use it as `async with Proxy(port=server_port) as proxy`, and connect to `proxy.port`. Leaving
    it ends every connection.

    Args:
        host: of the server, an IPv4 address.
        port: of the server.

    Attributes:
        latency: seconds that every byte is under way, each way.
        bandwidth: bytes per second, each way, for each connection.
        entry: what becomes of a new connection; the methods below set it.
        accepted: connections accepted so far, whatever became of them.
    """

    def __init__(self, host: str = "127.0.0.1", *, port: int) -> None:
        self.latency: float = 0.0
        self.bandwidth: float = math.inf
        self.entry: Entry = Entry.ACCEPT
        self.accepted: int = 0
        self._server = (host, port)
        self._drop_after = 0.0
        self._flowing = Event()
        self._flowing.set()
        self._links: set[Carrier] = set()

    def __repr__(self) -> str:
        return f"<Proxy {self.port}, {self.entry.name.lower()}, {self.links} connections>"

    @property
    def port(self) -> int:
        """Where to connect to, on 127.0.0.1; it stays the same."""
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def links(self) -> int:
        """How many connections there are now."""
        return len(self._links)

    @property
    def is_frozen(self) -> bool:
        """Whether nothing passes."""
        return not self._flowing.is_set()

    async def __aenter__(self) -> Self:
        """Start accepting."""
        self._socket = _bound(0)
        self._group: TaskGroup = anyio.create_task_group()
        await self._group.__aenter__()
        self._listen()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End everything."""
        self._group.cancel_scope.cancel()
        if exc is not None and isinstance(exc, anyio.get_cancelled_exc_class()):
            await self._group.__aexit__(exc_type, exc, traceback)
        else:  # the body's own exception leaves as it is, in no group
            await self._group.__aexit__(None, None, None)
        self._unbind()

    # Faults of the connections there are.

    def cut(self) -> int:
        """End every connection in an orderly way, with FIN; returns how many."""
        return self._end(Ending.FIN)

    def reset(self) -> int:
        """Reset every connection; returns how many."""
        return self._end(Ending.RST)

    def _end(self, how: Ending) -> int:
        ended = len(self._links)
        for link in tuple(self._links):
            link.end(how)
        return ended

    def freeze(self) -> None:
        """Let nothing pass and close nothing: all connections, new ones as well, are half-open."""
        if not self.is_frozen:
            self._flowing = Event()

    def thaw(self) -> None:
        """Let pass again, beginning with what was held."""
        self._flowing.set()

    async def wait_flowing(self) -> None:
        """Return when not frozen. Does not yield if that is now."""
        while self.is_frozen:
            await self._flowing.wait()

    # What becomes of new connections.

    def accept(self) -> None:
        """Carry new connections to the server."""
        self._enter(Entry.ACCEPT)

    def refuse(self) -> None:
        """Stop listening, on a port that stays ours; the connections there are go on."""
        self._enter(Entry.REFUSE)

    def reset_new(self) -> None:
        """Accept new connections, and reset them."""
        self._enter(Entry.RESET)

    def drop_new(self, after: float = 0.1) -> None:
        """Carry new connections to the server, and end each with FIN.

        Args:
            after: seconds from the server's first bytes, which a client takes for success.
        """
        self._drop_after = after
        self._enter(Entry.DROP)

    def heal(self) -> None:
        """Take back every fault; what was ended stays so."""
        self.latency = 0.0
        self.bandwidth = math.inf
        self.thaw()
        self.accept()

    def _enter(self, entry: Entry) -> None:
        left, self.entry = self.entry, entry
        if entry is Entry.REFUSE and left is not Entry.REFUSE:
            port = self.port
            self._unbind()
            self._socket = _bound(port)  # without listening: the port stays ours, and refuses
        elif left is Entry.REFUSE and entry is not Entry.REFUSE:
            self._listen()

    # The work.

    def _listen(self) -> None:
        self._socket.listen(BACKLOG)
        self._group.start_soon(self._serve, self._socket)

    def _unbind(self) -> None:
        anyio.notify_closing(self._socket)
        self._socket.close()

    async def _serve(self, listening: socket.socket) -> None:
        while listening.fileno() >= 0:
            try:
                sock, _ = listening.accept()
            except (BlockingIOError, ConnectionError):
                with contextlib.suppress(anyio.ClosedResourceError):
                    await anyio.wait_readable(listening)
            else:
                self.accepted += 1
                self._group.start_soon(self._carry, SocketStream(_tuned(sock)), self.entry)

    async def _carry(self, client: SocketStream, entry: Entry) -> None:
        """One connection, from accept to the end of both halves."""
        if entry is Entry.RESET:
            client.abort()
            return
        link = Carrier(self, client, self._drop_after if entry is Entry.DROP else math.inf)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)

    async def dial(self) -> SocketStream:
        """A connection to the server.

        Raises:
            OSError: there is none.
        """
        sock = await connect_socket(socket.AF_INET, self._server)
        if sock.getsockname() == sock.getpeername():  # TCP on loopback may: simultaneous open
            sock.close()
            raise ConnectionRefusedError(errno.ECONNREFUSED, "connected to itself")
        return SocketStream(_tuned(sock))


def _bound(port: int) -> socket.socket:
    """A socket that has a port of loopback, and does not listen."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
    except BaseException:
        sock.close()
        raise
    return sock


def _tuned(sock: socket.socket) -> socket.socket:
    tune(sock, None)
    return sock
