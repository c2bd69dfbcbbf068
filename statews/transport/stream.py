"""The seam under a link: a byte stream that never waits in a call, and waits only for readiness.

`receive_nowait` and `send_nowait` do what can be done now. Since they cannot be cancelled,
no cancelled caller leaves half a frame behind; only the two `wait_` methods take time.
Another transport fits under statews when it has these eleven methods.
"""

from __future__ import annotations

import contextlib
import math
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Final, Protocol

import anyio
from anyio.lowlevel import checkpoint

from ..errors import LinkDropped
from .transit import Transit, tcp_transit

__all__ = [
    "CHUNK",
    "LONG_CHUNK",
    "ByteStream",
    "SocketStream",
    "receive",
    "send",
    "send_each_nowait",
    "tune",
]

CHUNK: Final = 131072  # bytes a read asks for; with more, what is parsed has left the cache
LONG_CHUNK: Final = 524288  # bytes, where they are moved on and not looked at
# Once a block of this size was freed, glibc no longer maps shorter ones anew each time, which is
# up to seven page faults for a message of 64 KiB. See M_MMAP_THRESHOLD in mallopt(3).
bytearray(2 * LONG_CHUNK)
MOST_PIECES: Final = 64  # in one system call; Linux takes 1024, POSIX promises 16
LONGEST_MILLISECONDS: Final = 2**31 - 1  # of tcp(7)'s TCP_USER_TIMEOUT, an int


class ByteStream(Protocol):  # pragma: no cover - nothing in it runs
    """What a link needs of a transport."""

    def receive_nowait(self, most: int = ...) -> bytes | None:
        """At most so many bytes of what has come in: None when nothing has yet, `b""` at the end.

        Raises:
            LinkDropped: the transport broke.
        """

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Hand over what fits now; returns how many bytes were taken, possibly 0.

        What was not taken has to come again before anything else.

        Raises:
            LinkDropped: the transport broke.
        """
        ...

    def send_pieces_nowait(self, pieces: Sequence[bytes | memoryview]) -> int:
        """`send_nowait` for pieces that follow each other.

        `send_each_nowait` is this for a transport that can send only one at a time.
        """
        ...

    def is_readable(self) -> bool:
        """Whether something has come in that was not received yet."""
        ...

    def transit(self) -> Transit:
        """How far the bytes have come that were sent; `UNKNOWN` where nobody tells."""
        ...

    async def wait_readable(self) -> None:
        """Return when `receive_nowait` may have something, or `interrupt` was called.

        Raises:
            LinkDropped: the stream was closed meanwhile.
        """

    async def wait_writable(self) -> None:
        """Return when `send_nowait` may take something.

        Raises:
            LinkDropped: the stream was closed meanwhile.
        """

    def interrupt(self) -> None:
        """Let go whoever waits: there is something else to look at."""

    def send_eof(self) -> None:
        """Tell the peer that nothing more will be sent."""

    def close(self) -> None:
        """Release everything at once; waiters get `LinkDropped`. May be called again.

        What the peer was sent still reaches it.
        """

    def abort(self) -> None:
        """`close`, and forget what was not delivered yet."""


def send_each_nowait(stream: ByteStream, pieces: Sequence[bytes | memoryview]) -> int:
    """Hand over what fits now of each piece in turn; returns how many bytes were taken."""
    taken = 0
    for piece in pieces:
        size = stream.send_nowait(piece)
        taken += size
        if size < len(piece):
            break
    return taken


async def receive(stream: ByteStream, most: int = CHUNK) -> bytes:
    """Wait for bytes, at most so many; `b""` at the end. A cancelled call has taken nothing."""
    await checkpoint()  # a peer that never pauses must not have the loop to itself
    while True:
        data = stream.receive_nowait(most)
        if data is not None:
            return data
        await stream.wait_readable()


async def send(stream: ByteStream, data: bytes) -> None:
    """Wait until all of `data` was taken. A cancelled call leaves the stream unfit for more."""
    view = memoryview(data)
    while view:
        taken = stream.send_nowait(view)
        view = view[taken:]
        if not taken:
            await stream.wait_writable()


def dropped(error: OSError, doing: str) -> LinkDropped:
    """The error for a transport that broke."""
    return LinkDropped(f"the link broke while {doing}: {error.strerror or error}")


class SocketStream:
    """A connected TCP or Unix socket, which blocks nobody from now on."""

    __slots__ = ("_receive", "_send", "_socket")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._receive = sock.recv
        self._send = sock.send

    def __repr__(self) -> str:
        return f"<SocketStream fd={self._socket.fileno()}>"

    def receive_nowait(self, most: int = CHUNK) -> bytes | None:
        """See `ByteStream`."""
        try:
            return self._receive(most)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            raise dropped(error, "receiving") from error

    def send_nowait(self, data: bytes | memoryview) -> int:
        """See `ByteStream`."""
        try:
            return self._send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise dropped(error, "sending") from error

    def send_pieces_nowait(self, pieces: Sequence[bytes | memoryview]) -> int:
        """See `ByteStream`. One system call, and no segment for a header alone."""
        if len(pieces) == 1 or sys.platform == "win32":
            return send_each_nowait(self, pieces)
        try:
            return self._socket.sendmsg(pieces[:MOST_PIECES])
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise dropped(error, "sending") from error

    def is_readable(self) -> bool:
        """See `ByteStream`."""
        try:
            self._receive(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True  # that it broke is what there is to receive
        return True

    def transit(self) -> Transit:
        """See `ByteStream`."""
        return tcp_transit(self._socket)

    async def wait_readable(self) -> None:
        """See `ByteStream`."""
        try:
            await anyio.wait_readable(self._socket)
        except anyio.ClosedResourceError as error:
            if self._socket.fileno() < 0:  # else it is an interruption
                raise closed("receiving") from error
        except (ValueError, OSError) as error:
            raise closed("receiving") from error

    async def wait_writable(self) -> None:
        """See `ByteStream`."""
        try:
            await anyio.wait_writable(self._socket)
        except anyio.ClosedResourceError as error:
            if self._socket.fileno() < 0:  # as above
                raise closed("sending") from error
        except (ValueError, OSError) as error:
            raise closed("sending") from error

    def interrupt(self) -> None:
        """See `ByteStream`."""
        if self._socket.fileno() >= 0:
            anyio.notify_closing(self._socket)

    def send_eof(self) -> None:
        """See `ByteStream`."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """See `ByteStream`."""
        if self._socket.fileno() >= 0:
            anyio.notify_closing(self._socket)
            self._socket.close()

    def abort(self) -> None:
        """See `ByteStream`. TCP tells the peer with a reset."""
        if self._socket.fileno() >= 0:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
        self.close()

    def peer_address(self) -> str:
        """Where the peer is, as `host:port`; for a Unix socket its path."""
        try:
            name = self._socket.getpeername()
        except OSError:
            return "unknown"
        return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name)


def closed(doing: str) -> LinkDropped:
    """The error for a transport that somebody closed meanwhile."""
    return LinkDropped(f"the link was closed while {doing}")


def tune(sock: socket.socket, user_timeout: float | None) -> None:
    """No delay for small frames, and an end to bytes that nobody acknowledges.

    Args:
        sock: a socket of any family.
        user_timeout: seconds after which TCP gives up unacknowledged bytes (RFC 5482), where
            the system has that; None leaves it to the system.
    """
    if sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    with contextlib.suppress(OSError):  # a sandbox without the option, or a peer gone already
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if user_timeout is not None and sys.platform == "linux":
            milliseconds = math.ceil(min(user_timeout * 1000, LONGEST_MILLISECONDS))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
