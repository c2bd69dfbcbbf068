"""One attempt: from a target to an open link, with every step's failure a typed error."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from ..errors import HandshakeError, UpgradeRefused, UsageError
from ..lifecycle import Phase
from ..protocol.handshake import ClientHandshake, Opened, parse_url
from .link import Link
from .network import NETWORK, SYSTEM
from .proxy import FROM_ENVIRONMENT, ProxySetting, choose_proxy, decode_credentials, tunnel
from .stream import receive, send
from .tcp import connect_unix
from .tls import default_context, secure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from websockets.uri import WebSocketURI

    from ..policy import Policy
    from .stream import ByteStream

__all__ = ["Dialing", "Target", "check_target", "dial", "redact", "redirect"]

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})  # RFC 9110 section 15.4
UNIX: Final = "ws+unix"


@dataclass(frozen=True, slots=True)
class Target:
    """Where one attempt goes, and with which credentials.

    Attributes:
        url: `ws://`, `wss://`, or `ws+unix:///path/to/socket:/path/to/ask/for`. A user name and
            a password in it go out as HTTP Basic authentication.
        headers: more headers for the request, such as `Authorization` or `Cookie`.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    def __repr__(self) -> str:
        return f"Target({redact(self.url)!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialing:
    """What every attempt of a connection has in common.

    Attributes:
        policy: deadlines and limits.
        subprotocols: offered, the preferred first.
        ssl: for `wss://`; None: the system's roots, and the host name checked.
        server_hostname: the name the certificate must have; None: the URL's.
        proxy: a proxy's URL, None for a direct connection, or what the environment says.
    """

    policy: Policy
    subprotocols: Sequence[str] = ()
    ssl: ssl.SSLContext | None = None
    server_hostname: str | None = None
    proxy: ProxySetting = FROM_ENVIRONMENT


def redact(url: str) -> str:
    """A URL fit for a log: without credentials, query and fragment."""
    if url.startswith(f"{UNIX}:"):
        return url.partition("?")[0].partition("#")[0]
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(not a URL)"
    if not parts.netloc:
        return "(not a URL)"  # and what it is may be a password
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def check_target(target: Target) -> None:
    """Raise `UsageError` for a URL that can never be dialled."""
    _split(target.url)


def _split(url: str) -> tuple[WebSocketURI, str | None]:
    """The parts of a URL, and the path of the Unix socket if it names one."""
    if not url.startswith(f"{UNIX}:"):
        return decode_credentials(parse_url(url), url), None
    path, _, resource = url.removeprefix(f"{UNIX}:").partition(":")
    path = unquote(path.removeprefix("//"))
    if not path.startswith("/"):
        raise UsageError("expected a URL like ws+unix:///path/to/socket:/path/to/ask/for")
    return parse_url(f"ws://localhost{resource or '/'}"), path


async def dial(target: Target, dialing: Dialing, on_phase: Callable[[Phase], None]) -> Link:
    """An open link to the target, over redirects if need be.

    The caller sets the deadline. What a redirect changed is forgotten with the attempt.

    Raises:
        LinkError: the server was not reached, or the link broke on the way.
        PeerError: the server answered something else than a WebSocket server does.
        UsageError: the target or an option is wrong.

    Cancellation: everything is released.
    """
    followed = 0
    while True:
        try:
            return await _dial_once(target, dialing, on_phase)
        except UpgradeRefused as error:
            location = error.headers.get("location")
            if error.status not in REDIRECTS or location is None:
                raise
            if followed == dialing.policy.limits.redirects:
                message = f"the server redirected more than {followed} times"
                raise UpgradeRefused(error.status, error.headers, error.body, message) from error
            target = redirect(target, location)
            followed += 1


def redirect(target: Target, location: str) -> Target:
    """Where a redirect leads. Another origin (RFC 6454) gets no header and no credentials of ours.

    Raises:
        HandshakeError: it leads somewhere no WebSocket is, or out of TLS.
    """
    old = urlsplit(target.url)
    try:
        new = urlsplit(urljoin(target.url, location.strip().replace(" ", "%20")))
    except ValueError:
        raise HandshakeError("the server redirected to something that is no URL") from None
    scheme = {"http": "ws", "https": "wss"}.get(new.scheme, new.scheme)
    new = new._replace(scheme=scheme, fragment="")
    if scheme not in {"ws", "wss"} or old.scheme == UNIX:
        message = f"the server redirected to {redact(location)}, where no WebSocket can be"
        raise HandshakeError(message)
    if old.scheme == "wss" and scheme == "ws":
        raise HandshakeError("the server redirected from wss to ws, out of TLS")
    if _origin(old.geturl()) == _origin(new.geturl()):
        if "@" not in new.netloc and "@" in old.netloc:
            userinfo = old.netloc.rpartition("@")[0]
            new = new._replace(netloc=f"{userinfo}@{new.netloc}")
        return replace(target, url=new.geturl())
    return Target(new._replace(netloc=new.netloc.rpartition("@")[2]).geturl())


def _origin(url: str) -> tuple[bool, str, int]:
    try:
        uri = parse_url(url)
    except UsageError:
        raise HandshakeError("the server redirected to something that is no URL") from None
    return uri.secure, uri.host, uri.port


async def _dial_once(target: Target, dialing: Dialing, on_phase: Callable[[Phase], None]) -> Link:
    uri, unix_path = _split(target.url)
    handshake = ClientHandshake(
        uri,
        headers=target.headers,
        subprotocols=dialing.subprotocols,
        deflate=dialing.policy.deflate,
        limits=dialing.policy.limits,
    )
    stream = await _reach(uri, unix_path, dialing, on_phase)
    try:
        if uri.secure:
            on_phase(Phase.SECURING)
            hostname = dialing.server_hostname or uri.host
            stream = await secure(stream, dialing.ssl or default_context(), hostname=hostname)
        on_phase(Phase.UPGRADING)
        opened = await _upgrade(stream, handshake)
        return Link(stream, opened, dialing.policy)
    except BaseException:
        stream.abort()
        raise


async def _reach(
    uri: WebSocketURI, unix_path: str | None, dialing: Dialing, on_phase: Callable[[Phase], None]
) -> ByteStream:
    """A byte stream to the server, directly or through a proxy."""
    policy = dialing.policy
    if unix_path is not None:
        on_phase(Phase.DIALING)
        return await connect_unix(unix_path)
    network = NETWORK.get()
    is_elsewhere = dialing.proxy is FROM_ENVIRONMENT and network is not SYSTEM
    proxy = None if is_elsewhere else choose_proxy(dialing.proxy, uri)
    heartbeat = policy.heartbeat
    on_phase(Phase.RESOLVING)
    stream = await network.connect_tcp(
        *((uri.host, uri.port) if proxy is None else (proxy.host, proxy.port)),
        head_start=policy.timeouts.happy_eyeballs,
        user_timeout=None if heartbeat is None else heartbeat.interval + heartbeat.timeout,
        on_resolved=lambda: on_phase(Phase.DIALING),
    )
    if proxy is None:
        return stream
    try:
        return await tunnel(stream, proxy, uri, header_bytes=policy.limits.header_bytes)
    except BaseException:
        stream.abort()
        raise


async def _upgrade(stream: ByteStream, handshake: ClientHandshake) -> Opened:
    """Both halves of the opening handshake (RFC 6455 section 4.1)."""
    await send(stream, handshake.request())
    while True:
        opened = handshake.feed(await receive(stream))
        if opened is not None:
            return opened
