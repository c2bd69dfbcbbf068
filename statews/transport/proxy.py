"""Through a proxy: which one, and the tunnel.

HTTP CONNECT is RFC 9110 section 9.3.6, SOCKS5 is RFC 1928, its passwords RFC 1929.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from socksio import ProtocolError
from socksio.socks5 import (
    SOCKS5AuthMethod,
    SOCKS5AuthMethodsRequest,
    SOCKS5AuthReply,
    SOCKS5Command,
    SOCKS5CommandRequest,
    SOCKS5Reply,
    SOCKS5ReplyCode,
    SOCKS5UsernamePasswordReply,
    SOCKS5UsernamePasswordRequest,
)
from websockets.exceptions import InvalidProxy
from websockets.proxy import Proxy, get_proxy, parse_proxy, prepare_connect_request
from websockets.uri import WebSocketURI

from ..errors import DialError, HandshakeError, LinkDropped, UsageError
from ..protocol.handshake import read_response
from .stream import receive, send
from .tcp import resolve
from .tls import default_context, secure

if TYPE_CHECKING:
    from .stream import ByteStream

__all__ = [
    "FROM_ENVIRONMENT",
    "Proxy",
    "ProxySetting",
    "choose_proxy",
    "decode_credentials",
    "tunnel",
]


class FromEnvironment(Enum):
    """The proxy that the environment names for the target (`https_proxy`, `no_proxy`, ...)."""

    FROM_ENVIRONMENT = "from environment"


FROM_ENVIRONMENT: Final = FromEnvironment.FROM_ENVIRONMENT
ProxySetting = str | None | FromEnvironment
Parsed = TypeVar("Parsed", Proxy, WebSocketURI)

SOCKS_PORT: Final = 1080  # RFC 1928 section 3
SOCKS_VERSION: Final = 5
LONGEST: Final = 255  # a length is one byte in SOCKS
# What follows the first four bytes of a reply: an address and two bytes of a port (section 6).
ADDRESS_BYTES: Final = {1: 4, 4: 16}
DOMAIN_NAME: Final = 3


def choose_proxy(setting: ProxySetting, uri: WebSocketURI) -> Proxy | None:
    """The proxy for a target; None: a direct connection.

    Raises:
        UsageError: the proxy's URL is wrong; the message holds no credentials.
    """
    url = _from_environment(uri) if isinstance(setting, FromEnvironment) else setting
    if url is None:
        return None
    if "://" not in url:
        url = f"http://{url}"
    try:
        proxy = decode_credentials(parse_proxy(url), url)
        has_port = urlsplit(url).port is not None
    except (InvalidProxy, ValueError) as error:
        # A ValueError quotes what it stumbled over, which may be half a password.
        why = error.msg if isinstance(error, InvalidProxy) else "this is no URL"
        message = f"expected a proxy like http://host:port or socks5h://host:port, but {why}"
        raise UsageError(message) from None
    if proxy.scheme in {"socks4", "socks4a"}:
        message = f"expected a proxy with http, https, socks5 or socks5h, got {proxy.scheme}"
        raise UsageError(message)
    if _is_socks(proxy):
        if not has_port:
            proxy.port = SOCKS_PORT
        if any(len(text.encode()) > LONGEST for text in proxy.user_info or ()):
            message = f"SOCKS has no user names and passwords of more than {LONGEST} bytes"
            raise UsageError(message)
    return proxy


def _from_environment(uri: WebSocketURI) -> str | None:
    url = get_proxy(uri)
    if url is None and not proxy_bypass(f"{uri.host}:{uri.port}"):
        url = getproxies().get("all")  # which `websockets` does not look at
    return url


def _is_socks(proxy: Proxy) -> bool:
    return proxy.scheme in {"socks5", "socks5h"}


def decode_credentials(parsed: Parsed, url: str) -> Parsed:
    """The parts of a URL with its credentials as they are meant.

    `websockets` 16 leaves their percent-encoding, 17 takes it off.
    """
    parts = urlsplit(url)
    if parts.username is not None and parts.password is not None:
        parsed.username = unquote(parts.username)
        parsed.password = unquote(parts.password)
    return parsed


async def tunnel(
    stream: ByteStream, proxy: Proxy, uri: WebSocketURI, *, header_bytes: int
) -> ByteStream:
    """The stream to the target, through the proxy at the other end of `stream`.

    Raises:
        DialError: the proxy said no, or something that is no answer.
        CertificateError: the proxy's certificate was not accepted.
    """
    if proxy.scheme == "https":
        stream = await secure(stream, default_context(), hostname=proxy.host)
    try:
        if _is_socks(proxy):
            await _socks(stream, proxy, uri)
        else:
            await _connect(stream, proxy, uri, header_bytes)
    except (ProtocolError, HandshakeError, LinkDropped) as error:
        message = f"no tunnel through the proxy {proxy.host} port {proxy.port}: {error}"
        raise DialError(message) from error
    return stream


def _refused(proxy: Proxy, why: str) -> DialError:
    return DialError(f"the proxy {proxy.host} port {proxy.port} refused: {why}")


async def _connect(stream: ByteStream, proxy: Proxy, uri: WebSocketURI, header_bytes: int) -> None:
    await send(stream, prepare_connect_request(proxy, uri, "statews"))
    head = read_response(header_bytes)
    response = None
    while response is None:
        response = head.feed(await receive(stream))
    if not 200 <= response.status_code < 300:
        raise _refused(proxy, f"{response.status_code} {response.reason_phrase}".rstrip())
    if head.rest:
        raise HandshakeError("it sent something before the target was asked anything")


async def _socks(stream: ByteStream, proxy: Proxy, uri: WebSocketURI) -> None:
    """A SOCKS5 tunnel. With `socks5` the target's name is resolved here, with `socks5h` there."""
    host = uri.host
    if proxy.scheme == "socks5":
        _, (host, _) = (await resolve(uri.host, uri.port))[0]
    if len(host) > LONGEST:
        raise UsageError(f"SOCKS has no host names of more than {LONGEST} characters")
    await _authenticate(stream, proxy)
    request = SOCKS5CommandRequest.from_address(SOCKS5Command.CONNECT, (host, uri.port))
    await send(stream, request.dumps())
    reply = await _answer(stream, 2)
    if reply[1:] != SOCKS5ReplyCode.SUCCEEDED:
        raise _refused(proxy, _reason(reply[1]))
    reply += await _exactly(stream, 2)
    length = ADDRESS_BYTES.get(reply[3])
    if reply[3] == DOMAIN_NAME:
        reply += await _exactly(stream, 1)
        length = reply[4]
    if length is not None:
        reply += await _exactly(stream, length + 2)
    SOCKS5Reply.loads(reply)


async def _authenticate(stream: ByteStream, proxy: Proxy) -> None:
    methods = [SOCKS5AuthMethod.NO_AUTH_REQUIRED]
    if proxy.user_info is not None:
        methods.append(SOCKS5AuthMethod.USERNAME_PASSWORD)
    await send(stream, SOCKS5AuthMethodsRequest(methods).dumps())
    chosen = SOCKS5AuthReply.loads(await _answer(stream, 2)).method
    if chosen not in methods:
        raise _refused(proxy, "it accepts none of our ways to authenticate")
    if chosen is SOCKS5AuthMethod.USERNAME_PASSWORD and proxy.user_info is not None:
        username, password = proxy.user_info
        request = SOCKS5UsernamePasswordRequest(username.encode(), password.encode())
        await send(stream, request.dumps())
        if not SOCKS5UsernamePasswordReply.loads(await _exactly(stream, 2)).success:
            raise _refused(proxy, "wrong user name or password")


def _reason(code: int) -> str:
    """What a reply code means (RFC 1928 section 6)."""
    try:
        return SOCKS5ReplyCode(bytes([code])).name.lower().replace("_", " ")
    except ValueError:
        return f"code {code}"


async def _answer(stream: ByteStream, size: int) -> bytes:
    """So many bytes, which begin with the version."""
    data = await _exactly(stream, size)
    if data[0] != SOCKS_VERSION:
        raise HandshakeError("what it speaks is not SOCKS5")
    return data


async def _exactly(stream: ByteStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = await receive(stream, size - len(data))
        if not chunk:
            raise HandshakeError("it closed the connection in the middle of its answer")
        data += chunk
    return data
