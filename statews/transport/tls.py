"""TLS over another stream, in the same shape: nothing waits but the two `wait_` methods."""

from __future__ import annotations

import contextlib
import functools
import ssl
from typing import TYPE_CHECKING, Final

from ..errors import CertificateError, DialError, LinkDropped, UsageError
from .stream import CHUNK, dropped, send_each_nowait

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ssl import SSLContext

    from .stream import ByteStream
    from .transit import Transit

__all__ = ["TLSStream", "default_context", "secure"]

RECORD: Final = 16384  # the longest TLS record (RFC 8446 section 5.1)


@functools.cache
def default_context() -> SSLContext:
    """The system's roots, host names checked. Loading them takes longer than a dial: once only."""
    return ssl.create_default_context()


class TLSStream:
    """TLS over another stream. Made by `secure`."""

    __slots__ = ("_failure", "_incoming", "_inner", "_outgoing", "_owed", "_tls", "_unsent")

    def __init__(
        self, inner: ByteStream, context: SSLContext, *, hostname: str | None, server_side: bool
    ) -> None:
        self._inner = inner
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._unsent = b""
        self._owed = 0  # bytes of the next send that are encrypted already, in `_unsent`
        self._failure: ssl.SSLError | None = None  # met behind records that came first
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
            except ssl.SSLError:
                self._push_what_fits()  # an alert, so that the peer learns why as well
                raise
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

    def _push_what_fits(self) -> None:
        """`_push`, where a stream that broke is noticed elsewhere."""
        with contextlib.suppress(LinkDropped):
            self._push()

    def _pull(self) -> bytes | None:
        """Hand what came in to TLS."""
        data = self._inner.receive_nowait()
        if data:
            self._incoming.write(data)
        elif data is not None:
            self._incoming.write_eof()
        return data

    def receive_nowait(self, most: int = CHUNK) -> bytes | None:
        """See `ByteStream`. Takes all records that are here, since small ones are many."""
        try:
            data = self._receive_record(most)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""  # RFC 6455 ends a link in its own way; truncation shows there
        except ssl.SSLError as error:
            raise dropped(error, "receiving") from error
        if not data or not self._is_ahead():
            return data
        return data + self._receive_more(most - len(data))

    def _receive_record(self, most: int) -> bytes | None:
        if self._failure is not None:
            raise self._failure
        while True:
            try:
                return self._tls.read(most)
            except ssl.SSLWantReadError:
                if self._outgoing.pending or self._unsent:
                    self._push_what_fits()  # a key update wants an answer (RFC 8446 section 4.6.3)
                if self._pull() is None:
                    return None

    def _receive_more(self, room: int) -> bytes:
        """The records behind one, as far as they are here."""
        records: list[bytes] = []
        try:
            while room and self._is_ahead():
                record = self._tls.read(room)
                if not record:
                    break  # the peer's goodbye, and bytes behind it
                records.append(record)
                room -= len(record)
        except ssl.SSLWantReadError:
            pass  # half a record
        except ssl.SSLError as error:
            self._failure = error  # OpenSSL says what is wrong only once
        return b"".join(records)

    def _is_ahead(self) -> bool:
        """Whether bytes were taken from the inner stream that nobody has received."""
        return self._incoming.pending > 0 or self._tls.pending() > 0

    def send_nowait(self, data: bytes | memoryview) -> int:
        """See `ByteStream`. What was not taken may be encrypted already, and wait to go out."""
        taken = 0
        view = memoryview(data)
        while self._push():
            taken += self._owed
            self._owed = 0
            if taken == len(view):
                break
            try:
                self._owed = self._tls.write(view[taken : taken + RECORD])
            except ssl.SSLWantReadError:
                break  # a renegotiation (RFC 5246 section 7.4.1.1): reading moves it on
            except ssl.SSLError as error:
                raise dropped(error, "sending") from error
        return taken

    def send_pieces_nowait(self, pieces: Sequence[bytes | memoryview]) -> int:
        """See `ByteStream`."""
        return send_each_nowait(self, pieces)

    def is_readable(self) -> bool:
        """See `ByteStream`."""
        return self._is_ahead() or self._inner.is_readable()

    def transit(self) -> Transit:
        """See `ByteStream`. The bytes are those of the records."""
        return self._inner.transit()

    async def wait_readable(self) -> None:
        """See `ByteStream`."""
        if not self._is_ahead():
            await self._inner.wait_readable()

    async def wait_writable(self) -> None:
        """See `ByteStream`."""
        await self._inner.wait_writable()
        self._push()

    def interrupt(self) -> None:
        """See `ByteStream`."""
        self._inner.interrupt()

    def send_eof(self) -> None:
        """See `ByteStream`."""
        self._say_goodbye()
        self._inner.send_eof()

    def _say_goodbye(self) -> None:
        """Tell the peer in TLS too that this is all (RFC 8446 section 6.1), if there is room."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        self._push_what_fits()

    def close(self) -> None:
        """See `ByteStream`."""
        self._say_goodbye()
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
        UsageError: the context is for the other side, or the host name is none.
    """
    peer = hostname or "the client"
    try:
        stream = TLSStream(inner, context, hostname=hostname, server_side=server_side)
    except (ssl.SSLError, ValueError) as error:
        message = f"the SSLContext cannot be used with {peer}: {error}"
        raise UsageError(message) from error
    try:
        await stream.shake_hands()
    except ssl.SSLCertVerificationError as error:
        message = f"the certificate of {peer} was not accepted: {error.verify_message}"
        raise CertificateError(message) from error
    except (ssl.SSLError, LinkDropped) as error:
        message = f"the TLS handshake with {peer} failed: {_why(error)}"
        raise DialError(message) from error
    return stream


def _why(error: ssl.SSLError | LinkDropped) -> str:
    """The reason without OpenSSL's file names and line numbers."""
    match error:
        case ssl.SSLEOFError():
            return "the peer closed the TCP connection in the middle of it"
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "HTTP_REQUEST"):
            return "what the peer sends is not TLS"
        case ssl.SSLError() if error.reason:
            return error.reason.replace("_", " ").lower()
        case _:
            return str(error)
