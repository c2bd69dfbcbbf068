"""Through proxies: which one is taken, what it is told, and every way in which it may say no."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint
from websockets.proxy import Proxy as ChosenProxy

from statews import CertificateError, DialError, Link, Phase, UpgradeRefused, UsageError, listen
from statews.protocol.handshake import parse_url
from statews.transport.proxy import FROM_ENVIRONMENT, ProxySetting, choose_proxy
from statews.transport.tls import default_context

from .conftest import open_sockets
from .peers import (
    LOCALHOST,
    TLS,
    Peer,
    dial_to,
    echo,
    scripted,
    serving,
    stalling,
    text_frame,
    unused_port,
)
from .proxies import Proxy, answering

pytestmark = pytest.mark.anyio


def chosen(setting: ProxySetting, url: str = "ws://example.test/") -> ChosenProxy | None:
    return choose_proxy(setting, parse_url(url))


async def check_echo(link: Link) -> None:
    async with serving(link):
        await link.send("hello")
        assert await link.receive() == "hello"


# Which one.


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://proxy", ChosenProxy("http", "proxy", 80)),
        ("http://proxy:3128/", ChosenProxy("http", "proxy", 3128)),
        ("https://proxy", ChosenProxy("https", "proxy", 443)),
        ("proxy:3128", ChosenProxy("http", "proxy", 3128)),
        ("user:pass@proxy:3128", ChosenProxy("http", "proxy", 3128, "user", "pass")),
        ("socks5://proxy", ChosenProxy("socks5", "proxy", 1080)),
        ("socks5h://proxy", ChosenProxy("socks5h", "proxy", 1080)),
        ("socks5h://proxy:80", ChosenProxy("socks5h", "proxy", 80)),
        ("socks5h://u:80x@proxy", ChosenProxy("socks5h", "proxy", 1080, "u", "80x")),
        ("socks5h://[::1]:1", ChosenProxy("socks5h", "::1", 1)),
        ("http://u%40x:p%3A%2F%25@proxy", ChosenProxy("http", "proxy", 80, "u@x", "p:/%")),
    ],
)
def test_a_proxy_is_named_by_its_url(url: str, proxy: ChosenProxy) -> None:
    assert chosen(url) == proxy


@pytest.mark.parametrize(
    "url",
    [
        "",
        "://proxy",
        "http://",
        "ftp://proxy",
        "socks4://proxy",
        "socks4a://proxy",
        "http://proxy/path",
        "http://proxy?query",
        "http://secret@proxy",
        "http://user:se/cret@proxy:80",
        "http://user:secret@proxy:port",
        "http://user:secret@[::1",
        "socks5://user:" + "secret" * 50 + "@proxy",
    ],
)
def test_a_proxy_that_is_none_is_a_usage_error_without_its_credentials(url: str) -> None:
    with pytest.raises(UsageError, match=r"a proxy (like|with) http|SOCKS has no ") as caught:
        chosen(url)
    assert "'se'" not in str(caught.value)
    assert "cret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_no_proxy_is_no_proxy_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:1")
    assert chosen(None) is None


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, "wss://a.test/", None),
        ({"https_proxy": "http://p:1"}, "wss://a.test/", "p"),
        ({"HTTPS_PROXY": "http://p:1"}, "wss://a.test/", "p"),
        ({"https_proxy": "http://p:1"}, "ws://a.test/", "p"),
        ({"http_proxy": "http://p:1"}, "wss://a.test/", None),
        ({"http_proxy": "http://p:1"}, "ws://a.test/", "p"),
        ({"all_proxy": "http://p:1"}, "ws://a.test/", "p"),
        ({"ALL_PROXY": "socks5h://p:1"}, "wss://a.test/", "p"),
        ({"all_proxy": "http://p:1", "https_proxy": "http://q:1"}, "wss://a.test/", "q"),
        ({"wss_proxy": "http://p:1", "https_proxy": "http://q:1"}, "wss://a.test/", "p"),
        ({"socks_proxy": "socks5h://p:1", "https_proxy": "http://q:1"}, "wss://a.test/", "p"),
        ({"https_proxy": ""}, "wss://a.test/", None),
        ({"https_proxy": "p:1"}, "wss://a.test/", "p"),
        ({"https_proxy": "http://p:1", "no_proxy": "a.test"}, "wss://a.test/", None),
        ({"https_proxy": "http://p:1", "no_proxy": ".test"}, "wss://a.test/", None),
        ({"https_proxy": "http://p:1", "no_proxy": "b.test, c.test"}, "wss://a.test/", "p"),
        ({"https_proxy": "http://p:1", "no_proxy": "a.test:443"}, "wss://a.test/", None),
        ({"all_proxy": "http://p:1", "no_proxy": "*"}, "wss://a.test/", None),
        ({"all_proxy": "http://p:1", "NO_PROXY": "::1"}, "wss://[::1]/", None),
    ],
)
def test_the_environment_names_a_proxy(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str, proxy: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = chosen(FROM_ENVIRONMENT, url)
    assert (found and found.host) == proxy


async def test_a_dial_takes_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Proxy()
    async with listen(echo) as listener, scripted(proxy.http) as server:
        url = f"ws://{LOCALHOST}:{listener.port}/"
        monkeypatch.setenv("all_proxy", f"http://{LOCALHOST}:{server.port}")
        await check_echo(await dial_to(url, proxy=FROM_ENVIRONMENT))
        assert proxy.targets == [(LOCALHOST, listener.port)]
        await check_echo(await dial_to(url, proxy=None))
        monkeypatch.setenv("no_proxy", LOCALHOST)
        await check_echo(await dial_to(url, proxy=FROM_ENVIRONMENT))
        assert server.served == 1


# HTTP.


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("user_info", ["", "us%40er:p%3Ass@"])
async def test_a_dial_goes_through_an_http_proxy(tls: TLS, user_info: str, secure: bool) -> None:
    proxy = Proxy("us@er:p:ss" if user_info else None)
    phases: list[Phase] = []
    async with listen(echo, ssl=tls.server() if secure else None) as listener:
        async with scripted(proxy.http) as server:
            link = await dial_to(
                f"ws{'s' * secure}://{LOCALHOST}:{listener.port}/",
                ssl=tls.client() if secure else None,
                proxy=f"http://{user_info}{LOCALHOST}:{server.port}",
                phases=phases,
            )
            await check_echo(link)
        assert proxy.targets == [(LOCALHOST, listener.port)]
    assert proxy.requests[0].startswith(f"CONNECT {LOCALHOST}:")
    assert "\r\nUser-Agent: statews\r\n" in proxy.requests[0]
    assert phases[:2] == [Phase.RESOLVING, Phase.DIALING]


@pytest.mark.parametrize("user_info", ["", "us%40er:p%3Ass@"])
async def test_a_dial_goes_through_an_https_proxy(
    tls: TLS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, user_info: str
) -> None:
    """TLS to the proxy, and TLS to the server in it."""
    trust_by_default(tls, monkeypatch, tmp_path)
    proxy = Proxy("us@er:p:ss" if user_info else None)
    async with (
        listen(echo, ssl=tls.server()) as listener,
        scripted(proxy.http, context=tls.server("localhost")) as server,
    ):
        url = f"wss://{LOCALHOST}:{listener.port}/"
        setting = f"https://{user_info}localhost:{server.port}"
        link = await dial_to(url, ssl=tls.client(), proxy=setting)
        async with serving(link):
            message = "hello" * 100_000
            await link.send(message)
            assert await link.receive() == message


async def test_a_proxy_whose_certificate_is_unknown_is_a_certificate_error(tls: TLS) -> None:
    async with scripted(Proxy().http, context=tls.server()) as server:
        with pytest.raises(CertificateError, match=f"the certificate of {LOCALHOST} was not"):
            await dial_to("ws://a.test/", proxy=f"https://{LOCALHOST}:{server.port}")


async def test_a_plain_proxy_where_tls_is_expected_is_a_dial_error() -> None:
    async with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as server:
        with pytest.raises(DialError, match="what the peer sends is not TLS"):
            await dial_to("ws://a.test/", proxy=f"https://{LOCALHOST}:{server.port}")


def trust_by_default(tls: TLS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have `default_context` trust the tests' authority."""
    roots = tmp_path / "roots.pem"
    tls.authority.cert_pem.write_to_path(str(roots))
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    monkeypatch.setattr("statews.transport.proxy.default_context", default_context.__wrapped__)


async def test_an_ipv6_target_is_put_in_brackets() -> None:
    proxy = Proxy()
    async with listen(echo, host="::1") as listener, scripted(proxy.http) as server:
        url = f"ws://[::1]:{listener.port}/"
        await check_echo(await dial_to(url, proxy=f"http://{LOCALHOST}:{server.port}"))
    assert proxy.requests[0].startswith("CONNECT [::1]:")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "refused: 407 Proxy Auth"),
        (b"HTTP/1.0 403 Forbidden\r\nContent-Length: 5\r\n\r\nsorry", "refused: 403 Forbidden$"),
        (b"HTTP/1.1 502 \r\n\r\n", "refused: 502$"),
        (b"HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n", "refused: 301 Moved$"),
        (b"garbage\r\n\r\n", "^no tunnel through the proxy 127.0.0.1 port .* no HTTP"),
        (b"", "closed the TCP connection in the middle"),
        (b"HTTP/1.1 200 OK\r\nX", "closed the TCP connection in the middle"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 200, "sent an HTTP head "),
        (b"HTTP/1.1 200 OK\r\nX: " + b"1" * 70_000, "sent an HTTP head "),
        (b"HTTP/1.1 200 OK\r\n\r\n" + text_frame("x"), "before the target was asked anything"),
    ],
)
async def test_an_http_proxy_that_says_no_is_a_dial_error(answer: bytes, why: str) -> None:
    async with answering(answer) as server:
        with pytest.raises(DialError, match=why) as caught:
            await dial_to("ws://a.test/", proxy=f"http://{LOCALHOST}:{server.port}")
    assert f"the proxy {LOCALHOST} port {server.port}" in str(caught.value)


async def test_wrong_credentials_are_a_dial_error_without_them() -> None:
    async with scripted(Proxy("user:right").http) as server:
        url = f"http://user:wrong@{LOCALHOST}:{server.port}"
        with pytest.raises(DialError, match="refused: 407 Proxy Authentication Re") as caught:
            await dial_to("ws://a.test/", proxy=url)
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
async def test_a_proxy_that_is_not_there_is_a_dial_error(scheme: str) -> None:
    port = unused_port()
    with pytest.raises(DialError, match=f"could not connect to {LOCALHOST} port {port}"):
        await dial_to("ws://a.test/", proxy=f"{scheme}://{LOCALHOST}:{port}")


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
async def test_a_proxy_that_resets_is_a_dial_error(scheme: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.stream.receive()
        peer.reset()

    async with scripted(script) as server:
        with pytest.raises(DialError, match=r"no tunnel through the proxy .* reset by peer"):
            await dial_to("ws://a.test/", proxy=f"{scheme}://{LOCALHOST}:{server.port}")


@pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
async def test_a_dial_through_a_proxy_that_stalls_can_be_cancelled(scheme: str) -> None:
    asked = anyio.Event()
    async with scripted(stalling(asked)) as server:
        before = open_sockets()
        async with anyio.create_task_group() as group:
            proxy = f"{scheme}://{LOCALHOST}:{server.port}"
            group.start_soon(partial(dial_to, "ws://a.test/", proxy=proxy))
            await asked.wait()
            group.cancel_scope.cancel()
        await server.wait_left()
        assert open_sockets() == before


async def test_a_wrong_server_behind_a_proxy_leaves_nothing_open() -> None:
    async def script(peer: Peer) -> None:
        await peer.answer("403 Forbidden")

    proxy = Proxy()
    async with scripted(script) as target, scripted(proxy.http) as server:
        with pytest.raises(UpgradeRefused, match="answered 403 Forbidden"):
            await dial_to(target.url, proxy=f"http://{LOCALHOST}:{server.port}")
        await server.wait_left()


# SOCKS5.


@pytest.fixture
def local_names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that this machine's resolver was asked for; all of them are on loopback."""
    asked: list[str] = []

    async def getaddrinfo(host: str, port: int, **_: object) -> list[object]:
        await checkpoint()
        asked.append(host)
        if host == "unknown.test":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (LOCALHOST, port))]

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("user_info", ["", "us%40er:p%3Ass@"])
async def test_socks5h_leaves_the_name_to_the_proxy(
    local_names: list[str], user_info: str
) -> None:
    proxy = Proxy("us@er:p:ss" if user_info else None)
    async with listen(echo) as listener, scripted(proxy.socks) as server:
        local_names.clear()
        url = f"ws://localhost:{listener.port}/"
        setting = f"socks5h://{user_info}{LOCALHOST}:{server.port}"
        await check_echo(await dial_to(url, proxy=setting))
        assert proxy.targets == [("localhost", listener.port)]
        assert local_names == [LOCALHOST]  # of the proxy


async def test_socks5_resolves_the_name_here(local_names: list[str]) -> None:
    proxy = Proxy()
    async with listen(echo) as listener, scripted(proxy.socks) as server:
        local_names.clear()
        url = f"ws://known.test:{listener.port}/"
        await check_echo(await dial_to(url, proxy=f"socks5://{LOCALHOST}:{server.port}"))
        assert proxy.targets == [(LOCALHOST, listener.port)]
        assert local_names == [LOCALHOST, "known.test"]


async def test_socks5_and_an_unknown_name_is_a_dial_error(local_names: list[str]) -> None:
    async with scripted(Proxy().socks) as server:
        with pytest.raises(DialError, match=r"could not resolve unknown\.test"):
            await dial_to("ws://unknown.test/", proxy=f"socks5://{LOCALHOST}:{server.port}")
    assert local_names


@pytest.mark.parametrize(("host", "address"), [(LOCALHOST, LOCALHOST), ("::1", "[::1]")])
@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
async def test_addresses_go_through_socks_as_such(scheme: str, host: str, address: str) -> None:
    proxy = Proxy()
    async with listen(echo, host=host) as listener, scripted(proxy.socks) as server:
        url = f"ws://{address}:{listener.port}/"
        await check_echo(await dial_to(url, proxy=f"{scheme}://{LOCALHOST}:{server.port}"))
        assert proxy.targets == [(host, listener.port)]


async def test_tls_goes_through_socks(tls: TLS) -> None:
    proxy = Proxy()
    async with (
        listen(echo, ssl=tls.server("localhost")) as listener,
        scripted(proxy.socks) as server,
    ):
        link = await dial_to(
            f"wss://localhost:{listener.port}/",
            ssl=tls.client(),
            proxy=f"socks5h://{LOCALHOST}:{server.port}",
        )
        await check_echo(link)


@pytest.mark.parametrize(
    ("user_info", "why"),
    [
        ("", "it accepts none of our ways to authenticate"),
        ("user:wrong@", "wrong user name or password"),
    ],
)
async def test_a_socks_proxy_wants_the_right_password(user_info: str, why: str) -> None:
    async with scripted(Proxy("user:right").socks) as server:
        url = f"socks5h://{user_info}{LOCALHOST}:{server.port}"
        with pytest.raises(DialError, match=f"port {server.port} refused: {why}$"):
            await dial_to("ws://a.test/", proxy=url)


REPLIES = {
    1: "general server failure",
    2: "connection not allowed by ruleset",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "ttl expired",
    7: "command not supported",
    8: "address type not supported",
    9: "code 9",
    255: "code 255",
}


def replying(*replies: bytes) -> Callable[[Peer], Awaitable[None]]:
    """A SOCKS proxy that answers one request after another, and then ends."""

    async def script(peer: Peer) -> None:
        for reply in replies:
            await peer.stream.receive()
            await peer.send(reply)

    return script


@pytest.mark.parametrize(("code", "why"), REPLIES.items())
@pytest.mark.parametrize("rest", [b"", b"\x00\x00", b"\x00\x01\x00\x00\x00\x00\x00\x00"])
async def test_each_reply_of_a_socks_proxy_is_a_dial_error(
    code: int, why: str, rest: bytes
) -> None:
    """A proxy that refuses may save itself the address: the code is enough."""
    async with scripted(replying(b"\x05\x00", bytes((5, code)) + rest)) as server:
        with pytest.raises(DialError, match=f"port {server.port} refused: {why}$"):
            await dial_to("ws://a.test/", proxy=f"socks5h://{LOCALHOST}:{server.port}")


SUCCESSES = [
    b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50",
    b"\x05\x00\x00\x04" + bytes(16) + b"\x00\x50",
    b"\x05\x00\x00\x03\x04test\x00\x50",
]


@pytest.mark.parametrize("success", SUCCESSES)
async def test_a_reply_that_is_cut_is_a_dial_error(success: bytes) -> None:
    for size in range(len(success)):
        async with scripted(replying(b"\x05\x00", success[:size])) as server:
            with pytest.raises(DialError, match="closed the connection in the middle"):
                await dial_to("ws://a.test/", proxy=f"socks5h://{LOCALHOST}:{server.port}")


@pytest.mark.parametrize(
    "replies",
    [
        [b""],
        [b"\x05"],
        [b"\x05\x02"],
        [b"\x05\x02", b"\x01"],
        [b"\x05\x02", b"\x01\x00"],
    ],
)
async def test_an_authentication_that_is_cut_is_a_dial_error(replies: list[bytes]) -> None:
    async with scripted(replying(*replies)) as server:
        with pytest.raises(DialError, match=r"^no tunnel through the proxy "):
            await dial_to("ws://a.test/", proxy=f"socks5h://u:p@{LOCALHOST}:{server.port}")


@pytest.mark.parametrize(
    "replies",
    [
        [b"HTTP/1.1 400 Bad Request\r\n\r\n"],
        [b"\x04\x5a" + bytes(6)],
        [b"\x05\x07"],
        [b"\x05\x00", b"HTTP/1.1 400 Bad Request\r\n\r\n"],
        [b"\x05\x00", b"\x05\x00\x00\x02" + bytes(6)],
        [b"\x05\x00", b"\x05\x00\x00\x03\x02\xff\xff\x00\x50"],
    ],
)
async def test_a_wrong_answer_of_a_socks_proxy_is_a_dial_error(replies: list[bytes]) -> None:
    async with scripted(replying(*replies)) as server:
        with pytest.raises(DialError, match=f"^no tunnel through the proxy {LOCALHOST} port "):
            await dial_to("ws://a.test/", proxy=f"socks5h://{LOCALHOST}:{server.port}")


async def test_a_host_name_too_long_for_socks_is_a_usage_error() -> None:
    async with scripted(Proxy().socks) as server:
        with pytest.raises(UsageError, match="no host names of more than 255"):
            await dial_to(f"ws://{'a.' * 150}test/", proxy=f"socks5h://{LOCALHOST}:{server.port}")
