"""One attempt, from a URL to an open link, and what is left of one that ends on the way."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import anyio
import pytest
import trustme
from anyio.lowlevel import checkpoint

from statews import (
    CertificateError,
    DialError,
    HandshakeError,
    Link,
    Phase,
    Target,
    UpgradeRefused,
    UsageError,
    listen,
)
from statews.transport.dial import check_target, redact
from statews.transport.stream import SocketStream, receive, send
from statews.transport.tls import default_context

from .conftest import open_sockets
from .peers import (
    LOCALHOST,
    TLS,
    Peer,
    accepted,
    black_hole,
    dial_to,
    echo,
    scripted,
    serving,
    stalling,
)

pytestmark = pytest.mark.anyio


async def check_echo(link: Link) -> None:
    async with serving(link):
        await link.send("hello")
        assert await link.receive() == "hello"


async def test_a_ws_url_leads_to_an_open_link() -> None:
    phases: list[Phase] = []
    async with listen(echo) as listener:
        link = await dial_to(f"ws://{LOCALHOST}:{listener.port}/", phases=phases)
        await check_echo(link)
    assert phases == [Phase.RESOLVING, Phase.DIALING, Phase.UPGRADING]


async def test_a_wss_url_leads_to_an_open_link(tls: TLS) -> None:
    phases: list[Phase] = []
    async with listen(echo, ssl=tls.server()) as listener:
        url = f"wss://{LOCALHOST}:{listener.port}/"
        link = await dial_to(url, ssl=tls.client(), phases=phases)
        await check_echo(link)
    assert phases == [Phase.RESOLVING, Phase.DIALING, Phase.SECURING, Phase.UPGRADING]


async def test_an_ipv6_literal_leads_to_an_open_link(tls: TLS) -> None:
    async with listen(echo, host="::1", ssl=tls.server("::1")) as listener:
        await check_echo(await dial_to(f"wss://[::1]:{listener.port}/", ssl=tls.client()))


async def test_the_default_context_knows_the_systems_roots(
    tls: TLS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    roots = tmp_path / "roots.pem"
    tls.authority.cert_pem.write_to_path(str(roots))
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    default_context.cache_clear()
    try:
        async with listen(echo, ssl=tls.server()) as listener:
            await check_echo(await dial_to(f"wss://{LOCALHOST}:{listener.port}/"))
    finally:
        default_context.cache_clear()


async def test_a_unix_socket_leads_to_an_open_link(tmp_path: Path) -> None:
    requests: list[bytes] = []
    phases: list[Phase] = []
    path = str(tmp_path / "a socket")

    async def answer(listening: socket.socket) -> None:
        await anyio.wait_readable(listening)
        sock, _ = listening.accept()
        stream = SocketStream(sock)
        requests.append(await receive(stream))
        await send(stream, accepted(requests[0]))
        assert await receive(stream) == b""
        stream.close()

    with socket.socket(socket.AF_UNIX) as listening:
        listening.setblocking(False)
        listening.bind(path)
        listening.listen()
        async with anyio.create_task_group() as group:
            group.start_soon(answer, listening)
            url = f"ws+unix://{path.replace(' ', '%20')}:/chat?room=1"
            link = await dial_to(url, phases=phases)
            link.abort()
    assert requests[0].startswith(b"GET /chat?room=1 HTTP/1.1\r\nHost: localhost\r\n")
    assert phases == [Phase.DIALING, Phase.UPGRADING]


async def test_a_unix_socket_that_is_not_there_is_a_dial_error(tmp_path: Path) -> None:
    with pytest.raises(DialError, match="could not connect to the socket /"):
        await dial_to(f"ws+unix://{tmp_path}/nothing")


# What is asked for.


async def request_to(suffix: str, *, user_info: str = "", **headers: str) -> bytes:
    """The request that goes out for a URL."""
    requests: list[bytes] = []

    async def answer(peer: Peer) -> None:
        requests.append(await peer.head())
        await peer.send(accepted(requests[0]))
        await peer.end()

    async with scripted(answer) as server:
        url = f"ws://{user_info}{LOCALHOST}:{server.port}{suffix}"
        link = await dial_to(url, headers=headers)
        link.abort()
        await server.wait_left()
    return requests[0]


@pytest.mark.parametrize(
    ("suffix", "path"),
    [
        ("", "/"),
        ("/", "/"),
        ("?a=b", "/?a=b"),
        ("/chat/a%20b?q=%26&r=1", "/chat/a%20b?q=%26&r=1"),
        ("/ü?ü=ä", "/%C3%BC?%C3%BC=%C3%A4"),
        ("/user@host:80//x;y", "/user@host:80//x;y"),
    ],
)
async def test_the_path_and_the_query_are_asked_for(suffix: str, path: str) -> None:
    request = await request_to(suffix)
    assert request.startswith(f"GET {path} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize(
    ("user_info", "credentials"),
    [
        ("user:password@", "user:password"),
        ("us%40er:p%3Aw%2F%25@", "us@er:p:w/%"),
        ("%C3%BC:%C3%A4@", "ü:ä"),
        ("user:@", "user:"),
    ],
)
async def test_credentials_go_out_as_basic_authentication(
    user_info: str, credentials: str
) -> None:
    request = await request_to("/", user_info=user_info)
    encoded = base64.b64encode(credentials.encode())
    assert b"\r\nAuthorization: Basic " + encoded + b"\r\n" in request
    assert user_info.encode() not in request


async def test_headers_go_out_and_replace_the_credentials_of_the_url() -> None:
    request = await request_to("/", user_info="a:b@", Authorization="Bearer x", Cookie="c=1")
    assert b"\r\nAuthorization: Bearer x\r\n" in request
    assert b"\r\nCookie: c=1\r\n" in request
    assert b"Basic" not in request


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "http://example.org/",
        "ws:///path",
        "ws://",
        "ws://host/#fragment",
        "ws://user@host/",
        "ws://host:99999/",
        "ws://host:port/",
        "ws://[::1/",
        "ws://host/a b",
        "ws://host/\r\nX-Header: 1",
        "ws://host\0/",
        "ws+unix:",
        "ws+unix://relative/path",
        "ws+unix:///socket:/#fragment",
    ],
)
async def test_a_url_that_is_none_is_a_usage_error_before_anything_is_dialled(url: str) -> None:
    with pytest.raises(UsageError, match="URL"):
        check_target(Target(url))
    with pytest.raises(UsageError, match="URL"):
        await dial_to(url)


@pytest.mark.parametrize(
    ("name", "value"), [("Upgrade", "x"), ("X-Bad\n", "x"), ("X", "a\r\nb"), ("X", "\ud800")]
)
async def test_a_header_that_is_none_is_a_usage_error(name: str, value: str) -> None:
    with pytest.raises(UsageError, match="header"):
        await dial_to(f"ws://{LOCALHOST}:1/", headers={name: value})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://user:secret@host:1/path?token=secret#secret", "wss://host:1/path"),
        ("ws+unix:///a/socket:/path?secret", "ws+unix:///a/socket:/path"),
        ("ws://[secret", "(not a URL)"),
        ("user:secret@host", "(not a URL)"),
        ("wss:user:secret@host", "(not a URL)"),
    ],
)
def test_a_url_in_a_log_holds_no_secrets(url: str, shown: str) -> None:
    assert redact(url) == shown
    assert repr(Target(url, {"Cookie": "secret"})) == f"Target({shown!r})"


# TLS.


async def refusal(client: ssl.SSLContext, server: ssl.SSLContext, **options: str) -> str:
    """Why the server's certificate is not accepted."""
    async with listen(echo, ssl=server) as listener:
        with pytest.raises(CertificateError, match=r"^the certificate of ") as caught:
            await dial_to(f"wss://{LOCALHOST}:{listener.port}/", ssl=client, **options)  # type: ignore[arg-type]
    return str(caught.value)


async def test_the_certificate_of_an_unknown_authority_is_not_accepted(tls: TLS) -> None:
    said = await refusal(TLS(trustme.CA()).client(), tls.server())
    assert said.startswith(f"the certificate of {LOCALHOST} was not accepted: ")
    assert "certificate" in said.partition("accepted: ")[2]  # OpenSSL's words


async def test_the_certificate_of_another_host_is_not_accepted(tls: TLS) -> None:
    assert "mismatch" in await refusal(tls.client(), tls.server("other.test"))


async def test_an_expired_certificate_is_not_accepted(tls: TLS) -> None:
    yesterday = datetime.now(timezone.utc) - timedelta(days=1)
    assert "expired" in await refusal(tls.client(), tls.server(expires=yesterday))


async def test_the_name_in_the_certificate_may_be_given(tls: TLS) -> None:
    async with listen(echo, ssl=tls.server("other.test")) as listener:
        url = f"wss://{LOCALHOST}:{listener.port}/"
        await check_echo(await dial_to(url, ssl=tls.client(), server_hostname="other.test"))
    said = await refusal(tls.client(), tls.server(), server_hostname="other.test")
    assert said.startswith("the certificate of other.test was not accepted")


async def test_a_plain_server_where_tls_is_expected_is_a_dial_error(tls: TLS) -> None:
    async with listen(echo) as listener:
        with pytest.raises(DialError, match="what the peer sends is not TLS"):
            await dial_to(f"wss://{LOCALHOST}:{listener.port}/", ssl=tls.client())


async def test_a_tls_server_where_none_is_expected_is_refused(tls: TLS) -> None:
    async with listen(echo, ssl=tls.server()) as listener:
        with pytest.raises(HandshakeError, match="in the middle of the opening handshake"):
            await dial_to(f"ws://{LOCALHOST}:{listener.port}/")


# Cancellation.


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_a_dial_to_a_server_that_stalls_can_be_cancelled(tls: TLS, scheme: str) -> None:
    phases: list[Phase] = []
    asked = anyio.Event()
    async with scripted(stalling(asked)) as server:
        before = open_sockets()
        url = f"{scheme}://{LOCALHOST}:{server.port}/"
        async with anyio.create_task_group() as group:
            group.start_soon(partial(dial_to, url, ssl=tls.client(), phases=phases))
            await asked.wait()
            group.cancel_scope.cancel()
        assert phases[-1] is (Phase.SECURING if scheme == "wss" else Phase.UPGRADING)
        await server.wait_left()
        assert open_sockets() == before


async def test_a_dial_to_nowhere_can_be_cancelled() -> None:
    phases: list[Phase] = []
    with black_hole() as port:
        before = open_sockets()
        async with anyio.create_task_group() as group:
            url = f"ws://{LOCALHOST}:{port}/"
            group.start_soon(partial(dial_to, url, phases=phases))
            while open_sockets() == before:
                await checkpoint()
            group.cancel_scope.cancel()
        assert phases == [Phase.RESOLVING, Phase.DIALING]
        assert open_sockets() == before


async def redirecting(peer: Peer) -> None:
    await peer.answer("302 Found", "Location: /again")


@asynccontextmanager
async def url_of(kind: str, tls: TLS) -> AsyncGenerator[str]:
    match kind:
        case "redirected":
            async with scripted(redirecting) as server:
                yield server.url
        case "secure":
            async with listen(echo, ssl=tls.server()) as listener:
                yield f"wss://{LOCALHOST}:{listener.port}/"
        case _:
            async with listen(echo) as listener:
                yield f"ws://{LOCALHOST}:{listener.port}/"


async def in_this_thread(host: str, port: int, **_: object) -> list[object]:
    """Instead of `getaddrinfo`, which takes as many turns of the loop as its thread likes."""
    await checkpoint()
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]


@pytest.mark.parametrize("kind", ["plain", "secure", "redirected"])
async def test_a_dial_cancelled_at_any_moment_leaves_nothing_open(
    tls: TLS, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Once for each turn of the loop that a dial takes, until it is through."""
    client = tls.client()
    ends: list[Link | UpgradeRefused] = []

    async def attempt(url: str) -> None:
        try:
            ends.append(await dial_to(url, ssl=client))
        except UpgradeRefused as error:
            ends.append(error)

    async with url_of(kind, tls) as url:
        monkeypatch.setattr(anyio, "getaddrinfo", in_this_thread)
        turns = 0
        while not ends:
            async with anyio.create_task_group() as group:
                group.start_soon(attempt, url)
                for _ in range(turns):
                    await checkpoint()
                group.cancel_scope.cancel()
            turns += 1
        for end in ends:
            assert isinstance(end, UpgradeRefused if kind == "redirected" else Link)
            if isinstance(end, Link):
                end.abort()
    assert turns > 5
