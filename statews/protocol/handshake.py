"""The opening handshake without I/O (RFC 6455 section 4), for both sides.

HTTP and the negotiation are the sans-IO part of `websockets`; its objects live until
the 101 and are dropped. What this module adds: a bound on the head, the bytes behind
the head kept for the frame decoder, and errors that say what the peer did.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast

from websockets.client import ClientProtocol
from websockets.exceptions import (
    InvalidHandshake,
    InvalidStatus,
    InvalidURI,
    NegotiationError,
    SecurityError,
)
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.streams import StreamReader
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI, parse_uri

from ..errors import HandshakeError, UpgradeRefused, UsageError
from .deflate import Deflater, Inflater
from .frames import Decoder, Encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from websockets.extensions import Extension

    from ..policy import Deflate, Limits

__all__ = [
    "ClientHandshake",
    "HeadReader",
    "Opened",
    "Refusal",
    "ServerHandshake",
    "Side",
    "lower_headers",
    "parse_url",
    "read_response",
]

Head = TypeVar("Head", Request, Response)

SWITCHING_PROTOCOLS: Final = 101
BODY_BYTES: Final = 1024  # of a refusal's body, as far as it came along with the head
_HEADER_NAME: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9a-zA-Z]+")  # RFC 9110 section 5.1
_NOT_IN_HEADERS: Final = re.compile(r"[^\t\x20-\x7e\x80-\xff]")

# `websockets` logs every header at DEBUG, credentials among them; ours must not get that far.
_SILENT: Final = logging.Logger("statews.handshake", logging.CRITICAL + 1)  # noqa: LOG001


class Side(Enum):
    """Which half of the opening handshake was ours."""

    CLIENT = "client"
    SERVER = "server"


class Refusal(HandshakeError):
    """A request that was answered with something else than 101.

    Attributes:
        response: the answer's bytes.
    """

    def __init__(self, response: bytes, why: str) -> None:
        super().__init__(f"the client's request is not a WebSocket's: {why}")
        self.response = response


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What the two sides agreed on.

    Attributes:
        side: which half was ours.
        decoder: for the peer's frames.
        encoder: for ours.
        subprotocol: the one selected, if any.
        rest: what came after the head, the first bytes of frames.
        headers: the peer's headers, names in lower case.
        path: what was asked for, with the query.
    """

    side: Side
    decoder: Decoder
    encoder: Encoder
    subprotocol: str | None
    rest: bytes
    headers: Mapping[str, str] = field(repr=False)
    path: str = field(repr=False)


def parse_url(url: str) -> WebSocketURI:
    """The parts of a `ws://` or `wss://` URL (RFC 6455 section 3).

    Raises:
        UsageError: it is not one; the message holds nothing of its credentials or query.
    """
    try:
        return parse_uri(url)
    except (InvalidURI, ValueError) as error:
        why = error.msg if isinstance(error, InvalidURI) else str(error)
        message = f"expected a URL like wss://host:port/path, but {why}"
        raise UsageError(message) from None


def lower_headers(message: Request | Response) -> dict[str, str]:
    """Header names in lower case; repeated ones joined by commas (RFC 9110 section 5.3)."""
    headers: dict[str, str] = {}
    for name, value in message.headers.raw_items():
        known = headers.get(name.lower())
        headers[name.lower()] = value if known is None else f"{known}, {value}"
    return headers


class HeadReader(Generic[Head]):
    """Reads one HTTP head, and nothing behind it.

    Args:
        parse: the parser, as a generator that reads from the given reader.
        limit: the longest head taken in, in bytes.
    """

    def __init__(self, parse: Callable[[StreamReader], Generator[None, None, Head]], limit: int) -> None:
        self._reader = StreamReader()
        self._parser = parse(self._reader)
        self._room = limit
        self._limit = limit

    def feed(self, chunk: bytes) -> Head | None:
        """Take in the next bytes, nothing at the end of the stream; None while the head is incomplete.

        Raises:
            HandshakeError: it is no HTTP, it is beyond bounds, or the stream ended in the middle.
        """
        if chunk:
            self._reader.feed_data(chunk)
            self._room -= len(chunk)
        else:
            self._reader.feed_eof()
        try:
            next(self._parser)
        except StopIteration as stop:
            return cast("Head", stop.value)
        except EOFError as error:
            message = "the peer closed the TCP connection in the middle of the opening handshake"
            raise HandshakeError(message) from error
        except SecurityError as error:
            message = f"the peer sent an HTTP head beyond bounds: {error}"
            raise HandshakeError(message) from error
        except (ValueError, LookupError, NotImplementedError) as error:
            message = f"the peer sent something that is no HTTP: {error}"
            raise HandshakeError(message) from error
        if self._room <= 0:
            message = f"the peer sent an HTTP head of over {self._limit} bytes"
            raise HandshakeError(message)
        return None

    @property
    def rest(self) -> bytes:
        """The bytes behind the head, once it is complete."""
        return bytes(self._reader.buffer)


def read_response(limit: int) -> HeadReader[Response]:
    """A reader for the head of a response; a body is left where it is."""

    def parse(reader: StreamReader) -> Generator[None, None, Response]:
        return Response.parse(reader.read_line, reader.read_exact, reader.read_to_eof, proxy=True)

    return HeadReader(parse, limit)


class ClientHandshake:
    """A client's opening handshake.

    Args:
        uri: where to, as `parse_url` gave it.
        headers: more headers for the request; a value of ours cannot be replaced.
        subprotocols: offered, the preferred first.
        deflate: offer compression.
        limits: how much of a head and of a message is taken in.
    """

    def __init__(
        self,
        uri: WebSocketURI,
        *,
        headers: Mapping[str, str],
        subprotocols: Sequence[str],
        deflate: Deflate | None,
        limits: Limits,
    ) -> None:
        self._limits = limits
        self._deflate = deflate
        self._protocol = ClientProtocol(
            uri,
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            extensions=[
                ClientPerMessageDeflateFactory(
                    server_max_window_bits=None if deflate.window_bits == 15 else deflate.window_bits,  # noqa: PLR2004
                    client_max_window_bits=deflate.window_bits,
                    server_no_context_takeover=not deflate.context_takeover,
                    client_no_context_takeover=not deflate.context_takeover,
                )
            ]
            if deflate
            else None,
            max_size=None,
            logger=_SILENT,
        )
        self._head = read_response(limits.header_bytes)
        self._request = self._protocol.connect()
        _add_headers(self._request, headers)

    def request(self) -> bytes:
        """The bytes of our half."""
        return self._request.serialize()

    def feed(self, chunk: bytes) -> Opened | None:
        """Take in the server's next bytes; None while its half is incomplete.

        Raises:
            UpgradeRefused: the server answered, but not with 101.
            HandshakeError: the answer is not one, or agrees to something not offered.
        """
        response = self._head.feed(chunk)
        if response is None:
            return None
        try:
            self._protocol.process_response(response)
        except InvalidStatus:
            raise _refusal(response, self._head.rest) from None
        except NegotiationError as error:
            message = f"the server agreed to what was not offered: {error}"
            raise HandshakeError(message) from error
        except InvalidHandshake as error:
            message = f"the server sent a 101 that is wrong: {error}"
            raise HandshakeError(message) from error
        inflater, deflater = _compression(self._protocol.extensions, self._deflate)
        return Opened(
            side=Side.CLIENT,
            decoder=Decoder(masked=False, limit=self._limits.message_bytes, inflater=inflater),
            encoder=Encoder(entropy=os.urandom, deflater=deflater),
            subprotocol=self._protocol.subprotocol,
            rest=self._head.rest,
            headers=lower_headers(response),
            path=self._request.path,
        )


def _add_headers(request: Request, headers: Mapping[str, str]) -> None:
    """The user's headers, in place of ours only where that makes sense."""
    replaceable = {"host", "authorization"}
    ours = {name.lower() for name in request.headers} - replaceable
    for name, value in {"User-Agent": "statews", **headers}.items():
        if name.lower() in ours:
            message = f"the header {name} belongs to the opening handshake; leave it out"
            raise UsageError(message)
        if not _HEADER_NAME.fullmatch(name) or _NOT_IN_HEADERS.search(value):
            message = f"the header {name!r} has a character that HTTP does not allow"
            raise UsageError(message)
        if name in request.headers:
            del request.headers[name]
        request.headers[name] = value


def _refusal(response: Response, rest: bytes) -> UpgradeRefused:
    status = response.status_code
    said = f"{status} {response.reason_phrase}".strip()
    return UpgradeRefused(
        status,
        lower_headers(response),
        rest[:BODY_BYTES],
        f"the server answered {said} instead of 101 Switching Protocols",
    )


def _compression(
    extensions: Sequence[Extension], settings: Deflate | None
) -> tuple[Inflater | None, Deflater | None]:
    """Our own codecs, with what was negotiated."""
    for extension in extensions:
        if isinstance(extension, PerMessageDeflate) and settings is not None:
            return (
                Inflater(
                    window_bits=extension.remote_max_window_bits,
                    context_takeover=not extension.remote_no_context_takeover,
                ),
                Deflater(
                    window_bits=extension.local_max_window_bits,
                    context_takeover=not extension.local_no_context_takeover,
                    level=settings.level,
                    threshold_bytes=settings.threshold_bytes,
                ),
            )
    return None, None


class ServerHandshake:
    """A server's opening handshake.

    Args:
        subprotocols: what the server speaks, the preferred first.
        deflate: accept compression if it is offered.
        limits: how much of a head and of a message is taken in.
    """

    def __init__(
        self, *, subprotocols: Sequence[str], deflate: Deflate | None, limits: Limits
    ) -> None:
        self._limits = limits
        self._deflate = deflate
        self._protocol = ServerProtocol(
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            extensions=[
                ServerPerMessageDeflateFactory(
                    server_max_window_bits=deflate.window_bits,
                    client_max_window_bits=deflate.window_bits,
                    server_no_context_takeover=not deflate.context_takeover,
                    client_no_context_takeover=not deflate.context_takeover,
                )
            ]
            if deflate
            else None,
            max_size=None,
            logger=_SILENT,
        )
        self._head = HeadReader(lambda reader: Request.parse(reader.read_line), limits.header_bytes)

    def feed(self, chunk: bytes) -> Request | None:
        """Take in the client's next bytes; None while its half is incomplete.

        Raises:
            HandshakeError: the request is no HTTP, or beyond bounds.
        """
        return self._head.feed(chunk)

    def accept(self, request: Request) -> tuple[bytes, Opened]:
        """The bytes of our half, and what was agreed on.

        Raises:
            Refusal: the request does not ask for what this server does; its `response` says so.
        """
        response = self._protocol.accept(request)
        if response.status_code != SWITCHING_PROTOCOLS:
            raise Refusal(response.serialize(), f"{self._protocol.handshake_exc}")
        inflater, deflater = _compression(self._protocol.extensions, self._deflate)
        return response.serialize(), Opened(
            side=Side.SERVER,
            decoder=Decoder(masked=True, limit=self._limits.message_bytes, inflater=inflater),
            encoder=Encoder(entropy=None, deflater=deflater),
            subprotocol=self._protocol.subprotocol,
            rest=self._head.rest,
            headers=lower_headers(request),
            path=request.path,
        )

    def refuse(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> bytes:
        """A whole response that is not a 101."""
        response = self._protocol.reject(status, text + "\n")
        for name, value in (headers or {}).items():
            response.headers[name] = value
        return response.serialize()
