"""A socket that stays registered with asyncio between two reads.

asyncio registers a socket for each wait and forgets it after, at the price of several
messages. Here it stays registered, and what comes in is read where asyncio says so: one
chunk, kept until somebody takes it; after that the system holds the peer back. Under trio
the socket waits as trio has it, and on loops without `add_reader` through anyio, which takes
half a microsecond and half a kilobyte more.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

from ..errors import LinkDropped
from .eventloop import asyncio_loop
from .stream import CHUNK, SocketStream, closed, dropped

if TYPE_CHECKING:
    import socket

__all__ = ["WatchedSocketStream", "socket_stream"]


def socket_stream(sock: socket.socket) -> SocketStream:
    """The stream for a connected socket under the event loop that runs here."""
    loop = asyncio_loop()
    if loop is None:
        return TrioSocketStream(sock)
    if isinstance(loop, getattr(asyncio, "ProactorEventLoop", ())):
        return SocketStream(sock)
    return WatchedSocketStream(sock, loop)


class TrioSocketStream(SocketStream):
    """A `SocketStream` for trio."""

    __slots__ = ()

    async def wait_readable(self) -> None:
        """See `ByteStream`."""
        trio = sys.modules["trio"]
        try:
            await trio.lowlevel.wait_readable(self._socket)
        except trio.ClosedResourceError as error:
            if self._socket.fileno() < 0:  # else it is an interruption
                raise closed("receiving") from error
        except (ValueError, OSError) as error:
            raise closed("receiving") from error


class WatchedSocketStream(SocketStream):
    """A `SocketStream` for asyncio."""

    __slots__ = ("_is_watched", "_kept", "_loop", "_most", "_waiter")

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(sock)
        self._loop = loop
        self._is_watched = False
        self._kept: bytes | LinkDropped | None = None  # came in, and nobody has taken it
        self._most = CHUNK  # what the last read asked for, and the next one will
        self._waiter: asyncio.Future[None] | None = None

    def receive_nowait(self, most: int = CHUNK) -> bytes | None:
        """See `ByteStream`."""
        kept = self._kept
        if isinstance(kept, LinkDropped):
            raise kept
        if kept is not None:
            data: bytes | None = kept[:most]
            self._kept = kept[most:] or None
        elif self._is_watched:
            return None  # asyncio would have said so
        else:
            data = super().receive_nowait(most)
        self._most = most
        if data is not None and len(data) >= CHUNK:
            self._unwatch()  # in a flood, to ask the system for more is cheaper
        return data

    def is_readable(self) -> bool:
        """See `ByteStream`."""
        return self._kept is not None or super().is_readable()

    async def wait_readable(self) -> None:
        """See `ByteStream`."""
        if self._kept is not None:
            return
        if self._socket.fileno() < 0:
            raise closed("receiving")
        if not self._is_watched:
            self._loop.add_reader(self._socket, self._on_readable)
            self._is_watched = True
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._socket.fileno() < 0:
            raise closed("receiving")

    def interrupt(self) -> None:
        """See `ByteStream`."""
        self._wake()
        super().interrupt()

    def _on_readable(self) -> None:
        if self._kept is not None:
            self._unwatch()
            return
        try:
            self._kept = self._receive(self._most)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._kept = dropped(error, "receiving")
            self._kept.__cause__ = error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _unwatch(self) -> None:
        if self._is_watched:
            self._is_watched = False
            with contextlib.suppress(RuntimeError):  # the loop is closed, and holds nothing
                self._loop.remove_reader(self._socket)

    def close(self) -> None:
        """See `ByteStream`."""
        self._unwatch()
        super().close()
        self._wake()
