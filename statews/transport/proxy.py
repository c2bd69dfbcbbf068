"""Through a proxy: which one, and the tunnel. HTTP CONNECT (RFC 9110 section 9.3.6) and SOCKS5 (RFC 1928)."""

from __future__ import annotations

import ssl
from enum import Enum
from typing import TYPE_CHECKING, Final

from socksio import ProtocolError
from socksio.socks5 import (
    SOCKS5AuthMethod,
    SOCKS5AuthMethodsRequest,
    SOCKS5AuthReply,
    SOCKS5Command,
    SOCKS5CommandRequest,
    SOCKS5Connection,
    SOCKS5Reply,
    SOCKS5ReplyCode,
    SOCKS5UsernamePasswordReply,
    SOCKS5UsernamePasswordRequest,
)
from websockets.exceptions import InvalidProxy
from websockets.proxy import Proxy, get_proxy, parse_proxy, prepare_connect_request

from ..errors import DialError, HandshakeError, UsageError
from ..protocol.handshake import read_response
from .stream import receive, secure, send

if TYPE_CHECKING:
    from websockets.uri import WebSocketURI

    from .stream import ByteStream

__all__ = ["Proxy", "ProxySetting", "choose_proxy", "tunnel"]


class FromEnvironment(Enum):
    """The proxy that the environment names for the target (`https_proxy`, `no_proxy`, ...)."""

    FROM_ENVIRONMENT = "from environment"


FROM_ENVIRONMENT: Final = FromEnvironment.FROM_ENVIRONMENT
ProxySetting = str | None | FromEnvironment
SOCKS_PORT: Final = 1080


def choose_proxy(setting: ProxySetting, uri: WebSocketURI) -> Proxy | None:
    """The proxy for a target; None: a direct connection.

    Raises:
        UsageError: the proxy's URL is wrong; the message holds no credentials.
    """
    url = get_proxy(uri) if isinstance(setting, FromEnvironment) else setting
    if url is None:
        return None
    scheme, _, rest = url.partition("://")
    if not rest:
        scheme, rest = "http", url
    try:
        proxy = parse_proxy(f"{scheme}://{rest}")
    except (InvalidProxy, ValueError) as error:
        why = error.msg if isinstance(error, InvalidProxy) else str(error)
        message = f"expected a proxy like http://host:port or socks5h://host:port, but {why}"
        raise UsageError(message) from None
    if proxy.scheme in {"socks4", "socks4a"}:
        message = f"expected a proxy with http, https, socks5 or socks5h, got {proxy.scheme}"
        raise UsageError(message)
    if proxy.scheme.startswith("socks") and proxy.port == 80 and ":80" not in rest:  # noqa: PLR2004
        proxy.port = SOCKS_PORT
    return proxy


async def tunnel(
    stream: ByteStream, proxy: Proxy, uri: WebSocketURI, *, header_bytes: int
) -> ByteStream:
    """The stream to the target, through the proxy at the other end of `stream`.

    Raises:
        DialError: the proxy said no, or something that is no answer.
    """
    try:
        if proxy.scheme == "https":
            context = ssl.create_default_context()
            stream = await secure(stream, context, hostname=proxy.host)
        if proxy.scheme.startswith("socks"):
            await _socks(stream, proxy, uri)
        else:
            await _connect(stream, proxy, uri, header_bytes)
    except (ProtocolError, HandshakeError) as error:
        message = f"the proxy {proxy.host} port {proxy.port} sent a wrong answer: {error}"
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
    if not 200 <= response.status_code < 300:  # noqa: PLR2004
        raise _refused(proxy, f"{response.status_code} {response.reason_phrase}")
    if head.rest:
        message = "bytes before the target was asked anything"
        raise HandshakeError(message)


async def _socks(stream: ByteStream, proxy: Proxy, uri: WebSocketURI) -> None:
    socks = SOCKS5Connection()
    methods = [SOCKS5AuthMethod.NO_AUTH_REQUIRED]
    if proxy.user_info is not None:
        methods.append(SOCKS5AuthMethod.USERNAME_PASSWORD)
    socks.send(SOCKS5AuthMethodsRequest(methods))
    await send(stream, socks.data_to_send())
    chosen = socks.receive_data(await _exactly(stream, 2))
    if not isinstance(chosen, SOCKS5AuthReply) or chosen.method not in methods:
        raise _refused(proxy, "it accepts none of our ways to authenticate")
    if chosen.method is SOCKS5AuthMethod.USERNAME_PASSWORD and proxy.user_info is not None:
        username, password = proxy.user_info
        socks.send(SOCKS5UsernamePasswordRequest(username.encode(), password.encode()))
        await send(stream, socks.data_to_send())
        verdict = socks.receive_data(await _exactly(stream, 2))
        if not isinstance(verdict, SOCKS5UsernamePasswordReply) or not verdict.success:
            raise _refused(proxy, "wrong user name or password")
    target = (uri.host, uri.port)
    socks.send(SOCKS5CommandRequest.from_address(SOCKS5Command.CONNECT, target))
    await send(stream, socks.data_to_send())
    reply = socks.receive_data(await _read_reply(stream))
    if not isinstance(reply, SOCKS5Reply) or reply.reply_code is not SOCKS5ReplyCode.SUCCEEDED:
        why = reply.reply_code.name if isinstance(reply, SOCKS5Reply) else "no reply"
        raise _refused(proxy, why.lower().replace("_", " "))


async def _read_reply(stream: ByteStream) -> bytes:
    """The reply to a command, whose length its fifth byte tells (RFC 1928 section 6)."""
    head = await _exactly(stream, 5)
    lengths = {1: 4, 4: 16, 3: head[4] + 1}
    return head + await _exactly(stream, lengths.get(head[3], 1) + 1)


async def _exactly(stream: ByteStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = await receive(stream, size - len(data))
        if not chunk:
            message = "it closed the connection in the middle of its answer"
            raise HandshakeError(message)
        data += chunk
    return data
