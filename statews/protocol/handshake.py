"""The opening handshake without I/O (RFC 6455 section 4), for both sides.

The negotiation is the sans-IO part of `websockets`; its objects live until the 101 and are
dropped. What this module adds: the bytes behind the head kept for the frame decoder, checks
on what the user gives, and errors that say what the peer did.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeGuard, cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI, NegotiationError
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI, parse_uri

from ..errors import HandshakeError, UpgradeRefused, UsageError
from ..policy import Deflate, Limits
from .deflate import acceptable, codecs, offered
from .frames import Decoder, Encoder
from .head import HeadTooLongError, lower_headers, read_request, read_response

if TYPE_CHECKING:
    from websockets.typing import LoggerLike

__all__ = [
    "ClientHandshake",
    "Opened",
    "Refusal",
    "ServerHandshake",
    "Side",
    "check_headers",
    "check_subprotocols",
    "parse_url",
    "read_response",
]

# What the server's half is made of, spent once it was read (RFC 6455 section 4.1).
NEGOTIATION: Final = frozenset(
    {"connection", "upgrade", "sec-websocket-accept", "sec-websocket-extensions"}
)
SWITCHING_PROTOCOLS: Final = 101
BAD_REQUEST: Final = 400
HEAD_TOO_LONG: Final = 431  # RFC 6585 section 5
BODY_BYTES: Final = 1024  # of a refusal's body, as far as it came along with the head

_TOKEN: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9a-zA-Z]+")  # RFC 9110 section 5.6.2
_NOT_IN_HEADERS: Final = re.compile(r"[^\t\x20-\x7e]")  # ASCII only (RFC 9110 section 5.5)
_NOT_IN_URLS: Final = re.compile(r"[\x00-\x20\x7f]")
# Headers that say what the handshake is, and where the request ends.
_OURS: Final = re.compile(
    r"connection|upgrade|sec-websocket-.*|content-length|transfer-encoding", re.IGNORECASE
)


class _Quiet:
    """In the place of a logger: `websockets` logs all headers at DEBUG, credentials among them."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        """No: nothing is logged at any level."""
        del level
        return False

    def error(self, message: str, *, exc_info: bool) -> None:
        """Nothing: the exception is in `handshake_exc` as well."""


_QUIET: Final = cast("LoggerLike", _Quiet())


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
        headers: the peer's headers, names in lower case; a server's without its half of the
            negotiation.
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
    if _NOT_IN_URLS.search(url):
        raise UsageError("a URL has no spaces or control characters; percent-encode them")
    try:
        return parse_uri(url)
    except InvalidURI as error:
        why = error.msg
    except ValueError:  # which may quote a part of the password
        why = "its user name, host or port is malformed"
    raise UsageError(f"expected a URL like wss://host:port/path, but {why}")


def _is_token(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


def check_subprotocols(names: Sequence[str]) -> list[Subprotocol] | None:
    """The names as `websockets` takes them; None for none (RFC 6455 section 4.1)."""
    if isinstance(names, str) or not all(map(_is_token, names)):
        raise UsageError(f"expected subprotocols to be a sequence of tokens, got {names!r}")
    if len(set(names)) < len(names):
        raise UsageError(f"expected subprotocols to differ, got {names!r}")
    return [Subprotocol(name) for name in names] or None


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
            subprotocols=check_subprotocols(subprotocols),
            extensions=offered(deflate),
            max_size=None,
            logger=_QUIET,
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
        inflater, deflater = codecs(self._protocol.extensions, self._deflate)
        return Opened(
            side=Side.CLIENT,
            decoder=Decoder(masked=False, limit=self._limits.message_bytes, inflater=inflater),
            encoder=Encoder(entropy=os.urandom, deflater=deflater),
            subprotocol=self._protocol.subprotocol,
            rest=self._head.rest,
            headers={k: v for k, v in lower_headers(response).items() if k not in NEGOTIATION},
            path=self._request.path,
        )


def check_headers(headers: object) -> None:
    """Raise `UsageError` for what cannot go into a request of ours; it holds no values."""
    if not isinstance(headers, Mapping):
        kind = type(headers).__name__
        raise UsageError(f"expected headers to be a mapping of names to values, got {kind}")
    for name, value in cast("Mapping[object, object]", headers).items():
        _check_header(name, value)


def _add_headers(request: Request, headers: Mapping[str, str]) -> None:
    """The user's headers, in place of ours only where that makes sense."""
    for name, value in {"User-Agent": "statews", **headers}.items():
        _check_header(name, value)
        if name in request.headers:
            del request.headers[name]
        request.headers[name] = value


def _check_header(name: object, value: object) -> None:
    """Refuse what would make another request of it; the message does not hold the value."""
    if not _is_token(name):
        raise UsageError(f"expected the name of a header, got {name!r}")
    if _OURS.fullmatch(name):
        raise UsageError(f"the header {name} belongs to the opening handshake; leave it out")
    if not isinstance(value, str) or _NOT_IN_HEADERS.search(value):
        raise UsageError(f"the header {name} must be text of printable ASCII characters")


def _refusal(response: Response, rest: bytes) -> UpgradeRefused:
    status = response.status_code
    said = f"{status} {response.reason_phrase}".strip()
    return UpgradeRefused(
        status,
        lower_headers(response),
        rest[:BODY_BYTES],
        f"the server answered {said} instead of 101 Switching Protocols",
    )


def _select_subprotocol(
    protocol: ServerProtocol, offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    """The first of the server's that the client offers; none is no reason to refuse."""
    spoken = protocol.available_subprotocols or ()
    return next((name for name in spoken if name in offered), None)


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
            subprotocols=check_subprotocols(subprotocols),
            select_subprotocol=_select_subprotocol,
            extensions=acceptable(deflate),
            max_size=None,
            logger=_QUIET,
        )
        self._head = read_request(limits.header_bytes)

    def feed(self, chunk: bytes) -> Request | None:
        """Take in the client's next bytes; None while its half is incomplete.

        Raises:
            Refusal: the request is no HTTP, or beyond bounds; its `response` says so.
        """
        try:
            return self._head.feed(chunk)
        except HeadTooLongError as error:
            raise Refusal(self.refuse(HEAD_TOO_LONG, str(error)), str(error)) from error
        except HandshakeError as error:
            raise Refusal(self.refuse(BAD_REQUEST, str(error)), str(error)) from error

    def accept(self, request: Request) -> tuple[bytes, Opened]:
        """The bytes of our half, and what was agreed on.

        Raises:
            Refusal: the request does not ask for what this server does; its `response` says so.
        """
        if len(request.headers.get_all("Host")) != 1:  # `websockets` leaves that to others
            why = "expected one Host header"
            raise Refusal(self.refuse(BAD_REQUEST, why), why)
        response = self._protocol.accept(request)
        if response.status_code != SWITCHING_PROTOCOLS:
            response.headers["Sec-WebSocket-Version"] = "13"  # section 4.4
            error = self._protocol.handshake_exc
            raise Refusal(response.serialize(), f"{error}") from error
        inflater, deflater = codecs(self._protocol.extensions, self._deflate)
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
