"""The server: whom it lets in, what it tells the others, and that it ends when it is left."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
import ssl
import sys
from collections.abc import Callable
from contextlib import suppress

import anyio
import pytest
from anyio.lowlevel import checkpoint

import statews
from statews import (
    Deflate,
    DialError,
    Heartbeat,
    Limits,
    Link,
    LinkClosed,
    LinkDropped,
    Listener,
    PeerSilent,
    Policy,
    Timeouts,
    UpgradeRefused,
    UsageError,
    listen,
)
from statews.testing import FaultProxy
from statews.transport.accept import TCPAcceptor
from statews.transport.stream import SocketStream, receive, send
from statews.transport.tcp import connect_tcp

from .conftest import open_sockets
from .peers import LOCALHOST, TLS, dial_to, echo, serving

pytestmark = pytest.mark.anyio

REQUEST = (
    b"GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
HASTY = Policy(timeouts=Timeouts(opening=0.2))


class Waiting:
    """A handler that waits until it is told to go on, or cancelled.

    Attributes:
        entered: a link is here.
        leave: lets the handlers return.
        cancelled: how many were cancelled.
    """

    def __init__(self) -> None:
        self.entered = anyio.Event()
        self.leave = anyio.Event()
        self.cancelled = 0

    async def __call__(self, _: Link) -> None:
        self.entered.set()
        try:
            await self.leave.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise


def url_of(listener: Listener, path: str = "/") -> str:
    return f"ws://{LOCALHOST}:{listener.port}{path}"


async def connect(listener: Listener) -> SocketStream:
    """A plain TCP connection to it."""
    return await connect_tcp(LOCALHOST, listener.port, head_start=1, user_timeout=None)


async def exchange(listener: Listener, request: bytes) -> str:
    """All that is answered to a request."""
    stream = await connect(listener)
    try:
        await send(stream, request)
        answer = b""
        while chunk := await receive(stream):
            answer += chunk
        return answer.decode(errors="replace")
    finally:
        stream.close()


async def check_echo(url: str, **options: ssl.SSLContext) -> None:
    async with serving(await dial_to(url, **options)) as link:  # type: ignore[arg-type]
        await link.send("hello")
        assert await link.receive() == "hello"


# Links.


async def test_a_link_tells_the_handler_what_was_asked_for() -> None:
    paths: list[str] = []

    async def handler(link: Link) -> None:
        paths.append(link.path)
        assert link.headers["cookie"] == "a=1"
        assert link.subprotocol is None

    async with listen(handler) as listener:
        link = await dial_to(url_of(listener, "/chat?room=1"), headers={"Cookie": "a=1"})
        async with serving(link):
            pass
    assert paths == ["/chat?room=1"]


async def test_a_handler_that_returns_closes_with_1000() -> None:
    async def handler(link: Link) -> None:
        await link.send("goodbye")

    async with listen(handler) as listener, serving(await dial_to(url_of(listener))) as link:
        assert await link.receive() == "goodbye"
        with pytest.raises(LinkClosed, match="with 1000") as caught:
            await link.receive()
        assert caught.value.code == 1000


async def test_a_handler_that_raises_closes_with_1011_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(link: Link) -> None:
        raise LookupError(link.path)

    async with listen(handler) as listener:
        async with serving(await dial_to(url_of(listener, "/a?token=secret"))) as link:
            with pytest.raises(LinkClosed, match="with 1011"):
                await link.receive()
        await check_no_connections(listener)
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.getMessage() == "the handler of /a failed"
    assert record.exc_info
    assert isinstance(record.exc_info[1], LookupError)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio cancels scopes only
async def test_a_handler_that_waits_for_what_somebody_else_cancels_has_failed() -> None:
    async def handler(link: Link) -> None:
        if await link.receive() == "bad":
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        await link.send("fine")

    async with listen(handler) as listener:
        async with serving(await dial_to(url_of(listener))) as bad:
            await bad.send("bad")
            with pytest.raises(LinkClosed, match="with 1011"):
                await bad.receive()
        async with serving(await dial_to(url_of(listener))) as good:
            await good.send("good")
            assert await good.receive() == "fine"


async def test_what_fails_while_a_handler_is_cancelled_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    started = anyio.Event()

    async def fail_at_the_end() -> None:
        try:
            started.set()
            await anyio.sleep_forever()
        finally:
            raise LookupError

    async def handler(link: Link) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(fail_at_the_end)
            await link.receive()

    async with listen(handler) as listener, serving(await dial_to(url_of(listener))):
        await started.wait()
    assert "the handler of / failed" in caplog.text
    assert "LookupError" in caplog.text


async def test_a_handler_that_is_no_async_function_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def handler(_: Link) -> None:
        """Nothing to await."""

    listener = listen(handler)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    async with listener, serving(await dial_to(url_of(listener))) as link:
        with pytest.raises(LinkClosed, match="with 1011"):
            await link.receive()
    assert "the handler of / failed" in caplog.text


async def check_no_connections(listener: Listener) -> None:
    """Wait until the listener has let everybody go."""
    while listener.connections:
        await checkpoint()


async def test_a_handler_that_ends_by_its_links_end_has_not_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(link: Link) -> None:
        await link.receive()

    caplog.set_level(logging.INFO)
    async with listen(handler) as listener:
        for end in ("close", "abort"):
            link = await dial_to(url_of(listener))
            async with serving(link):
                if end == "abort":
                    link.abort()
            await check_no_connections(listener)
    assert "failed" not in caplog.text


async def test_connections_are_counted_while_they_are_open() -> None:
    handler = Waiting()
    async with listen(handler) as listener:
        assert listener.connections == 0
        async with serving(await dial_to(url_of(listener))):
            await handler.entered.wait()
            assert listener.connections == 1
            assert repr(listener) == f"<Listener {LOCALHOST} with 1 connections>"
            handler.leave.set()
        await check_no_connections(listener)


async def test_tls_is_served_where_a_context_is_given(tls: TLS) -> None:
    async with listen(echo, ssl=tls.server()) as listener:
        await check_echo(f"wss://{LOCALHOST}:{listener.port}/", ssl=tls.client())


async def test_compression_is_agreed_on_where_both_want_it() -> None:
    async def handler(link: Link) -> None:
        assert "permessage-deflate" in link.headers["sec-websocket-extensions"]
        await echo(link)

    policy = Policy(deflate=Deflate())
    async with listen(handler, policy=policy) as listener:
        link = await dial_to(url_of(listener), policy=policy)
        async with serving(link):
            await link.send("a" * 10_000)
            assert await link.receive() == "a" * 10_000


@pytest.mark.parametrize("heartbeat", [None, Heartbeat(interval=float("inf"))])
async def test_any_heartbeat_will_do(heartbeat: Heartbeat | None) -> None:
    policy = Policy(heartbeat=heartbeat)
    async with listen(echo, policy=policy) as listener:
        link = await dial_to(url_of(listener), policy=policy)
        async with serving(link):
            await link.send("hello")
            assert await link.receive() == "hello"


# Those who are not let in.


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"POST" + REQUEST[3:], "HTTP/1.1 4"),
        (REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"), "HTTP/1.1 "),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 426 Upgrade Required"),
        (REQUEST.replace(b"Upgrade: websocket", b"Upgrade: h2c"), "HTTP/1.1 426 "),
        (REQUEST.replace(b"Version: 13", b"Version: 8"), "HTTP/1.1 400 Bad Request"),
        (REQUEST.replace(b"Sec-WebSocket-Key", b"X"), "HTTP/1.1 400 Bad Request"),
        (REQUEST.replace(b"dGhl", b""), "HTTP/1.1 400 Bad Request"),
        (REQUEST.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\nx"), "HTTP/1.1 400 "),
        (b"garbage\r\n\r\n", "HTTP/1.1 400 Bad Request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "HTTP/1.1 400 Bad Request"),
        (b"GET /\xff HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request"),
        (b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 200 + b"\r\n", "HTTP/1.1 431 "),
        (b"GET / HTTP/1.1\r\nX: " + b"1" * 70_000, "HTTP/1.1 431 "),
    ],
)
async def test_a_bad_request_is_answered_and_disturbs_nobody(request_: bytes, answer: str) -> None:
    async with listen(echo) as listener, serving(await dial_to(url_of(listener))) as link:
        said = await exchange(listener, request_)
        assert said.startswith(answer)
        assert "\r\nConnection: close\r\n" in said
        await link.send("hello")
        assert await link.receive() == "hello"


@pytest.mark.parametrize("sent", [b"", b"GET / HT", REQUEST[:-2]])
async def test_a_request_that_is_cut_is_let_go(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with listen(echo) as listener:
        before = open_sockets()
        stream = await connect(listener)
        await send(stream, sent)
        stream.send_eof()
        while await receive(stream):
            pass
        stream.close()
        while open_sockets() != before:
            await checkpoint()
    assert "closed the TCP connection in the middle" in caplog.text


@pytest.mark.parametrize("moment", ["at once", "in the request"])
async def test_a_reset_disturbs_nobody(moment: str) -> None:
    async with listen(echo) as listener:
        stream = await connect(listener)
        if moment != "at once":
            await send(stream, REQUEST[:50])
        stream.abort()
        await check_echo(url_of(listener))


async def test_a_peer_that_breaks_the_protocol_disturbs_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with listen(echo) as listener, serving(await dial_to(url_of(listener))) as link:
        said = await exchange(listener, REQUEST + b"\xff" * 1000)
        assert said.endswith("the peer sent a frame with a reserved bit set")
        await link.send("hello")
        assert await link.receive() == "hello"
    assert not [each for each in caplog.records if each.levelno > logging.WARNING]


async def test_a_request_that_never_ends_has_a_deadline(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async with listen(echo, policy=HASTY) as listener:
        stream = await connect(listener)
        with suppress(LinkDropped):  # as soon as it is let go
            for byte in b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 1000:
                await send(stream, bytes([byte]))
                await anyio.sleep(0.01)
        stream.close()
    assert "no opening handshake within 0.2 seconds" in caplog.text


async def test_a_tls_handshake_that_never_ends_has_a_deadline(tls: TLS) -> None:
    async with listen(echo, policy=HASTY, ssl=tls.server()) as listener:
        stream = await connect(listener)
        assert await receive(stream) == b""
        stream.close()


async def test_plain_http_to_a_tls_server_is_let_go(
    tls: TLS, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with listen(echo, ssl=tls.server()) as listener:
        stream = await connect(listener)
        await send(stream, REQUEST)
        while await receive(stream):
            pass
        stream.close()
    assert "what the peer sends is not TLS" in caplog.text


async def test_the_deadline_of_the_handshake_is_none_for_the_link() -> None:
    async def handler(link: Link) -> None:
        await anyio.sleep(HASTY.timeouts.opening * 1.5)
        await link.send("still here")

    async with listen(handler, policy=HASTY) as listener:
        link = await dial_to(url_of(listener))
        async with serving(link):
            assert await link.receive() == "still here"


async def test_a_refused_peer_that_floods_does_not_hold_up_the_others() -> None:
    async def flood(stream: SocketStream) -> None:
        with suppress(LinkDropped):
            while True:
                await send(stream, bytes(65536))

    policy = Policy(limits=Limits(header_bytes=1000))
    async with listen(echo, policy=policy) as listener:
        stream = await connect(listener)
        async with anyio.create_task_group() as group:
            group.start_soon(flood, stream)
            assert (await receive(stream)).startswith(b"HTTP/1.1 4")
            await check_echo(url_of(listener))
            group.cancel_scope.cancel()
        stream.close()


async def test_one_connection_too_many_is_told_when_to_come_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    handler = Waiting()
    async with listen(handler, max_connections=1) as listener:
        async with serving(await dial_to(url_of(listener))):
            await handler.entered.wait()
            for _ in range(3):
                with pytest.raises(UpgradeRefused, match="503") as caught:
                    await dial_to(url_of(listener))
                assert caught.value.headers["retry-after"] == "5"
            assert listener.connections == 1
            handler.leave.set()
        await check_no_connections(listener)
        async with serving(await dial_to(url_of(listener))):
            pass
    assert caplog.text.count("refused with 503: too many connections") == 3


async def test_those_who_are_not_let_in_yet_take_no_place() -> None:
    async with listen(echo, max_connections=1) as listener:
        strangers = [await connect(listener) for _ in range(5)]
        await check_echo(url_of(listener))
        for stream in strangers:
            stream.close()


# The end.


async def test_leaving_closes_links_with_1001_and_cancels_handlers() -> None:
    handler = Waiting()
    ends: list[int] = []

    async def stay(link: Link) -> None:
        async with serving(link):
            with pytest.raises(LinkClosed, match="with 1001") as caught:
                await link.receive()
            ends.append(caught.value.code)

    listener = listen(handler)
    async with anyio.create_task_group() as group, listener:
        for _ in range(3):
            group.start_soon(stay, await dial_to(url_of(listener)))
        while listener.connections < 3:
            await checkpoint()
        await handler.entered.wait()
        await anyio.wait_all_tasks_blocked()
    assert ends == [1001] * 3
    assert handler.cancelled == 3
    assert listener.connections == 0


async def test_leaving_takes_no_longer_than_the_closing_deadline() -> None:
    handler = Waiting()
    policy = Policy(timeouts=Timeouts(closing=0.2))
    async with listen(handler, policy=policy) as listener:
        stream = await connect(listener)  # which will not answer the close frame
        await send(stream, REQUEST)
        await handler.entered.wait()
        left_at = anyio.current_time()
    assert 0.1 < anyio.current_time() - left_at < 5
    assert await receive(stream)  # the 101, and a close frame
    with pytest.raises(LinkDropped, match="reset"):
        await receive(stream)
    stream.close()


async def test_leaving_leaves_nothing() -> None:
    tasks = len(anyio.get_running_tasks())
    before = open_sockets()
    async with listen(echo, host="localhost") as listener:
        strangers = [await connect(listener) for _ in range(3)]
        await send(strangers[0], b"GET / HT")
        await send(strangers[1], b"garbage\r\n\r\n")
        async with serving(await dial_to(url_of(listener))):
            pass
        port = listener.port
    for stream in strangers:
        stream.close()
    assert open_sockets() == before
    assert len(anyio.get_running_tasks()) == tasks
    with pytest.raises(DialError, match="could not connect"):
        await dial_to(f"ws://{LOCALHOST}:{port}/")


async def test_the_bodys_own_exception_leaves_as_it_is() -> None:
    with pytest.raises(LookupError, match="mine"):
        async with listen(echo):
            raise LookupError("mine")


async def test_a_cancelled_body_leaves_nothing() -> None:
    before = open_sockets()
    with anyio.move_on_after(0.05) as scope:
        async with listen(echo) as listener:
            stream = await connect(listener)
            stream.close()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert open_sockets() == before


# The address.


async def test_a_listener_may_be_entered_again() -> None:
    listener = listen(echo)
    for _ in range(2):
        with pytest.raises(UsageError, match="no port: it is not entered, or left already"):
            assert listener.port
        async with listener:
            await check_echo(url_of(listener))


async def test_a_port_in_use_is_an_os_error() -> None:
    async with listen(echo) as listener:
        with pytest.raises(OSError, match="in use") as caught:
            async with listen(echo, port=listener.port):
                pass
    assert caught.value.errno == errno.EADDRINUSE


async def test_a_host_that_is_not_here_is_an_os_error() -> None:
    with pytest.raises(OSError, match="assign requested address"):
        async with listen(echo, host="192.0.2.1"):
            pass


async def test_every_address_of_a_host_gets_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(_: str, port: int, **__: object) -> list[object]:
        await checkpoint()
        addresses = [
            (socket.AF_INET6, "2001:db8::1"),  # not here
            (socket.AF_INET6, "::1"),
            (socket.AF_INET, LOCALHOST),
        ]
        return [(family, 1, 6, "", (host, port)) for family, host in addresses]

    with monkeypatch.context() as patch:
        patch.setattr(anyio, "getaddrinfo", getaddrinfo)
        listener = await listen(echo, host="host.test").__aenter__()
    try:
        await check_echo(f"ws://[::1]:{listener.port}/")
        await check_echo(f"ws://{LOCALHOST}:{listener.port}/")
    finally:
        await listener.__aexit__(None, None, None)


def test_a_handler_that_is_no_function_is_a_usage_error_at_once() -> None:
    with pytest.raises(UsageError, match="expected handler to be an async function of a Link"):
        listen("echo")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: listen(echo, port=65536), "expected a port between 0 and 65535, got 65536"),
        (lambda: listen(echo, port=-1), "expected a port between 0 and 65535, got -1"),
        (lambda: listen(echo, subprotocols="chat"), "expected subprotocols to be a sequence"),
        (lambda: listen(echo, ssl=ssl.create_default_context()), "expected a server's SSLContext"),
    ],
)
def test_a_wrong_argument_is_a_usage_error_at_once(make: Callable[[], Listener], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        make()


# Accepting.


class Logged(logging.Handler):
    """Sets an event when something is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.event = anyio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.event.set()
        self.message = record.getMessage()


async def test_too_many_open_files_pass() -> None:
    logger, logged = logging.getLogger("statews.listen"), Logged()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    logger.addHandler(logged)
    try:
        async with listen(echo) as listener:
            client = socket.socket()
            client.setblocking(False)
            lowest_free = os.dup(0)
            os.close(lowest_free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
            client.connect_ex((LOCALHOST, listener.port))
            await logged.event.wait()
            assert logged.message == "cannot accept: Too many open files"
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            client.close()
            await check_echo(url_of(listener))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        logger.removeHandler(logged)


@pytest.mark.skipif(sys.platform != "linux", reason="others go on accepting")
async def test_a_listening_socket_that_is_of_no_use_ends_the_listener() -> None:
    async def run() -> None:
        async with listen(echo) as listener:
            (acceptor,) = listener._acceptors
            assert isinstance(acceptor, TCPAcceptor)
            acceptor._socket.shutdown(socket.SHUT_RDWR)
            await anyio.sleep_forever()

    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="Invalid argument")):
        await run()


async def test_a_storm_of_connections_is_served() -> None:
    async with listen(echo) as listener, anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(check_echo, url_of(listener))


def test_a_socket_that_cannot_listen_is_closed() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with pytest.raises(OSError, match="not supported"):
        TCPAcceptor(sock)
    assert sock.fileno() == -1


async def test_a_handler_that_waits_learns_that_its_peer_is_silent() -> None:
    heard, ended = anyio.Event(), anyio.Event()
    links: list[Link] = []

    async def wait(link: Link) -> None:
        links.append(link)
        try:
            await link.receive()
            heard.set()
            await link.receive()
        finally:
            ended.set()

    policy = Policy(heartbeat=Heartbeat(interval=0.1, timeout=0.1))
    with anyio.fail_after(20):
        async with (
            listen(wait, LOCALHOST, policy=policy) as listener,
            FaultProxy(port=listener.port) as proxy,
            statews.connect(f"ws://{LOCALHOST}:{proxy.port}/", proxy=None) as client,
        ):
            await client.send("x")
            await heard.wait()
            proxy.freeze()
            await ended.wait()
            assert isinstance(links[0].ending, PeerSilent)
            proxy.heal()
