"""The seam under a link: a byte stream that never waits in a call, and waits only for readiness.

`receive_nowait` and `send_nowait` do what can be done now. Since they cannot be cancelled,
no cancelled caller leaves half a frame behind; only the two `wait_` methods take time.
Another transport fits under statews when it has these eight methods.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import sys
from typing import TYPE_CHECKING, Final, Protocol

import anyio

from ..errors import CertificateError, DialError, LinkDropped

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = ["ByteStream", "SocketStream", "TLSStream", "receive", "secure", "send", "tune"]

CHUNK: Final = 65536  # bytes a read asks for; more per read makes no message cheaper
RECORD: Final = 16384  # the longest TLS record (RFC 8446 section 5.1)


class ByteStream(Protocol):
    """What a link needs of a transport."""

    def receive_nowait(self, most: int = ...) -> bytes | None:
        """At most so many bytes of what has come in: None when nothing has yet, `b""` at the end.

        Raises:
            LinkDropped: the transport broke.
        """

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Hand over what fits now; returns how many bytes were taken, possibly 0.

        Raises:
            LinkDropped: the transport broke.
        """

    def is_readable(self) -> bool:
        """Whether something has come in that was not received yet."""

    async def wait_readable(self) -> None:
        """Return when `receive_nowait` may have something.

        Raises:
            LinkDropped: the stream was closed meanwhile.
        """

    async def wait_writable(self) -> None:
        """Return when `send_nowait` may take something.

        Raises:
            LinkDropped: the stream was closed meanwhile.
        """

    def send_eof(self) -> None:
        """Tell the peer that nothing more will be sent."""

    def close(self) -> None:
        """Release everything at once; waiters get `LinkDropped`. What the peer was sent still reaches it."""

    def abort(self) -> None:
        """Release everything at once and forget what was not delivered yet."""


async def receive(stream: ByteStream, most: int = CHUNK) -> bytes:
    """Wait for bytes, at most so many; `b""` at the end."""
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
    """A connected, non-blocking TCP or Unix socket."""

    __slots__ = ("_receive", "_send", "_socket")

    def __init__(self, sock: socket.socket) -> None:
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

    def is_readable(self) -> bool:
        """See `ByteStream`."""
        try:
            self._receive(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True  # the error is what there is to receive
        return True

    async def wait_readable(self) -> None:
        """See `ByteStream`."""
        try:
            await anyio.wait_readable(self._socket)
        except (anyio.ClosedResourceError, ValueError, OSError) as error:
            raise _closed("receiving") from error

    async def wait_writable(self) -> None:
        """See `ByteStream`."""
        try:
            await anyio.wait_writable(self._socket)
        except (anyio.ClosedResourceError, ValueError, OSError) as error:
            raise _closed("sending") from error

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


def _closed(doing: str) -> LinkDropped:
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
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if user_timeout is not None and sys.platform == "linux":
        milliseconds = min(int(user_timeout * 1000), 2**31 - 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


class TLSStream:
    """TLS over another stream. Made by `secure`."""

    __slots__ = ("_incoming", "_inner", "_outgoing", "_owed", "_tls", "_unsent")

    def __init__(
        self, inner: ByteStream, context: SSLContext, *, hostname: str | None, server_side: bool
    ) -> None:
        self._inner = inner
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._unsent = b""
        self._owed = 0  # bytes of the next send that are encrypted already, in `_unsent`
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=hostname
        )

    def __repr__(self) -> str:
        return f"<TLSStream {self._tls.version()} over {self._inner!r}>"

    async def shake_hands(self) -> None:
        """The TLS handshake (RFC 8446 section 4)."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                if self._pull() is None:
                    await self._inner.wait_readable()
            else:
                await self._flush()
                return

    async def _flush(self) -> None:
        while not self._push():
            await self._inner.wait_writable()

    def _push(self) -> bool:
        """Hand on what TLS wants sent; whether all of it was taken."""
        unsent = self._unsent + self._outgoing.read() if self._outgoing.pending else self._unsent
        self._unsent = unsent[self._inner.send_nowait(unsent) :] if unsent else b""
        return not self._unsent

    def _pull(self) -> bytes | None:
        """Hand what came in to TLS."""
        data = self._inner.receive_nowait()
        if data:
            self._incoming.write(data)
        elif data is not None:
            self._incoming.write_eof()
        return data

    def receive_nowait(self, most: int = CHUNK) -> bytes | None:
        """See `ByteStream`."""
        while True:
            try:
                return self._tls.read(most)
            except ssl.SSLWantReadError:
                self._push()  # a key update, or a ticket, may want an answer
                if self._pull() is None:
                    return None
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""  # RFC 6455 ends a link in its own way; truncation shows there
            except ssl.SSLError as error:
                raise dropped(error, "receiving") from error

    def send_nowait(self, data: bytes | memoryview) -> int:
        """See `ByteStream`. What is not taken has to come again, as with TLS in general."""
        taken = 0
        view = memoryview(data)
        while self._push():
            taken += self._owed
            self._owed = 0
            if taken == len(view):
                break
            try:
                self._owed = self._tls.write(view[taken : taken + RECORD])
            except ssl.SSLError as error:
                raise dropped(error, "sending") from error
        return taken

    def is_readable(self) -> bool:
        """See `ByteStream`."""
        return self._tls.pending() > 0 or self._inner.is_readable()

    async def wait_readable(self) -> None:
        """See `ByteStream`."""
        await self._inner.wait_readable()

    async def wait_writable(self) -> None:
        """See `ByteStream`."""
        await self._inner.wait_writable()
        self._push()

    def send_eof(self) -> None:
        """See `ByteStream`. Says goodbye in TLS first (RFC 8446 section 6.1), if there is room for it."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        with contextlib.suppress(LinkDropped):
            self._push()
        self._inner.send_eof()

    def close(self) -> None:
        """See `ByteStream`."""
        self._inner.close()

    def abort(self) -> None:
        """See `ByteStream`."""
        self._inner.abort()


async def secure(
    inner: ByteStream, context: SSLContext, *, hostname: str | None, server_side: bool = False
) -> TLSStream:
    """TLS over `inner`, after its handshake.

    Raises:
        CertificateError: the peer's certificate was not accepted.
        DialError: the handshake failed otherwise.
    """
    stream = TLSStream(inner, context, hostname=hostname, server_side=server_side)
    try:
        await stream.shake_hands()
    except ssl.SSLCertVerificationError as error:
        message = f"the certificate of {hostname} was not accepted: {error.verify_message}"
        raise CertificateError(message) from error
    except (ssl.SSLError, LinkDropped) as error:
        message = f"the TLS handshake failed: {error}"
        raise DialError(message) from error
    return stream
