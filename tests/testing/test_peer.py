"""The scripted peer: on sockets and in a network of memory, against clients of three kinds."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import aiohttp
import anyio
import pytest
from anyio import current_time
from websockets.asyncio.client import connect as websockets_connect
from websockets.exceptions import ConnectionClosed as WebsocketsClosed
from websockets.exceptions import InvalidHandshake, InvalidStatus

import statews
from statews import Backoff, Jitter, Outbox, Policy, State, Timeouts
from statews.errors import (
    FrameError,
    HandshakeError,
    LinkClosed,
    LinkDropped,
    OpeningTimeout,
    UpgradeRefused,
    UsageError,
)
from statews.protocol.codes import Opcode
from statews.testing.faults import Ending
from statews.testing.network import Network
from statews.testing.peer import (
    PeerFrame,
    PeerLink,
    PeerTimeout,
    Script,
    ScriptedPeer,
    close_with,
    echo,
    respond_with,
    say,
    silent,
)
from statews.testing.virtual import BACKENDS as VIRTUAL
from statews.testing.virtual import run
from statews.transport.network import NETWORK
from statews.transport.stream import ByteStream
from tests.conftest import BACKENDS as REAL
from tests.transport.conftest import is_socket

DEADLINE = 10.0  # seconds, real ones where there are sockets
QUICK = Policy(
    backoff=Backoff(first=0.01, maximum=0.01, jitter=Jitter.NONE, max_attempts=None),
    timeouts=Timeouts(closing=0.2),
    outbox=Outbox(fence_after=60),  # no ping of its own accord: scripts say what is to come
)
STEADY = Policy(backoff=Backoff(jitter=Jitter.NONE, max_attempts=None))

Scene = Callable[[], Awaitable[None]]
Play = Callable[[Scene], None]


def connect(peer: ScriptedPeer, policy: Policy = QUICK, path: str = "") -> statews.Connection:
    return statews.connect(peer.url + path, policy=policy, proxy=None, wait=False)


async def in_memory(scene: Scene) -> None:
    with Network() as network:
        await scene()
    assert network.links == 0


async def in_time(scene: Scene) -> None:
    with anyio.fail_after(DEADLINE):
        await scene()


def open_sockets() -> int:
    gc.collect()
    return sum(is_socket(int(each.name)) for each in Path("/dev/fd").iterdir())


@pytest.fixture(params=VIRTUAL)
def play(request: pytest.FixtureRequest) -> Play:
    """Runs a scene in virtual time, in a network of memory."""
    return lambda scene: run(partial(in_memory, scene), backend=request.param, limit=100_000)


@pytest.fixture(
    params=[*((None, name) for name in VIRTUAL), *(("tcp", name) for name in sorted(REAL))],
    ids=lambda param: "-".join(filter(None, param)),
)
def anywhere(request: pytest.FixtureRequest) -> Play:
    """Runs a scene in memory, or on sockets."""
    kind, name = request.param
    if kind is None:
        return lambda scene: run(partial(in_memory, scene), backend=name, limit=100_000)
    backend, options = REAL[name]
    return lambda scene: anyio.run(in_time, scene, backend=backend, backend_options=options)


# Steered.


def test_the_example_of_the_docstring(play: Play) -> None:
    async def scene() -> None:
        async with ScriptedPeer() as peer, statews.connect(peer.url, wait=False) as connection:
            link = await peer.accept()
            await link.respond(503, {"Retry-After": "5"})  # the first attempt is refused
            link = await peer.accept()
            await link.upgrade()
            await link.send("hello")
            assert await connection.receive() == "hello"

    play(scene)


def test_a_request_is_parsed_and_its_bytes_are_at_hand(anywhere: Play) -> None:
    async def scene() -> None:
        async with ScriptedPeer() as peer:
            url, headers = f"{peer.url}feed?n=1", {"X-Twice": "a, b"}
            async with statews.connect(
                url, headers=headers, subprotocols=["chat"], policy=QUICK, proxy=None, wait=False
            ) as connection:
                link = await peer.accept()
                request = await link.read_request()
                assert (request.method, request.path) == ("GET", "/feed?n=1")
                assert request.headers["x-twice"] == "a, b"
                assert request.raw.startswith(b"GET /feed?n=1 HTTP/1.1\r\n")
                assert request.raw.endswith(b"\r\n\r\n")
                assert await link.upgrade(subprotocol="chat") is request
                await connection.wait_for(State.OPEN)
                assert connection.subprotocol == "chat"

    anywhere(scene)


def test_frames_come_one_by_one_and_unmasked(anywhere: Play) -> None:
    async def scene() -> None:
        async with ScriptedPeer() as peer, connect(peer) as connection:
            link = await peer.accept()
            await link.upgrade()
            for size in (0, 125, 126, 0xFFFF, 0x10000):
                await connection.send(bytes(size))
                frame = await link.receive()
                assert frame == PeerFrame(
                    opcode=Opcode.BINARY, payload=bytes(size), mask=frame.mask
                )
                assert len(frame.mask) == 4
                assert frame.close_code is None
            await connection.send("caf\N{LATIN SMALL LETTER E WITH ACUTE}")
            assert (await link.receive()).text == "caf\N{LATIN SMALL LETTER E WITH ACUTE}"

    anywhere(scene)


def test_messages_of_every_length_are_sent(anywhere: Play) -> None:
    async def scene() -> None:
        async with ScriptedPeer() as peer, connect(peer) as connection:
            link = await peer.accept()
            await link.upgrade()
            for size in (0, 125, 126, 0xFFFF, 0x10000):
                await link.send(bytes(size))
                assert await connection.receive() == bytes(size)
            await link.send_frame(Opcode.TEXT, b"in ", fin=False)
            await link.ping()
            await link.send_frame(Opcode.CONTINUATION, b"parts")
            assert await connection.receive() == "in parts"

    anywhere(scene)


def test_a_ping_is_answered_with_the_same_payload(anywhere: Play) -> None:
    async def scene() -> None:
        async with ScriptedPeer() as peer, connect(peer):
            link = await peer.accept()
            await link.upgrade()
            for payload in (b"", b"x", bytes(125)):
                await link.ping(payload)
                frame = await link.receive()
                assert (frame.opcode, frame.payload) == (Opcode.PONG, payload)

    anywhere(scene)


def test_nothing_is_answered_by_itself(play: Play) -> None:
    async def scene() -> None:
        policy = Policy(heartbeat=statews.Heartbeat(interval=5, timeout=5))
        async with ScriptedPeer() as peer, connect(peer, policy) as connection:
            link = await peer.accept()
            await link.upgrade()
            assert (await link.receive()).opcode == Opcode.PING
            assert await link.wait_closed() is Ending.RST
            assert current_time() == pytest.approx(10)
            assert isinstance(connection.snapshot().last_error, statews.PeerSilent)

    play(scene)


def test_a_close_is_seen_with_code_and_reason(anywhere: Play) -> None:
    async def scene() -> None:
        async with ScriptedPeer() as peer, connect(peer) as connection:
            link = await peer.accept()
            await link.upgrade()
            await connection.wait_for(State.OPEN)
            async with anyio.create_task_group() as group:
                group.start_soon(connection.close, 4000, "bye")
                frame = await link.receive()
                assert (frame.opcode, frame.close_code, frame.text) == (8, 4000, "bye")
                await link.send_close(4000)
                link.eof()
            assert await link.wait_closed() is Ending.FIN
            with pytest.raises(LinkDropped, match="with FIN instead of a frame; so far came"):
                await link.receive()

    anywhere(scene)


@pytest.mark.parametrize("accept", ["c2hhbWU=", None])
def test_a_wrong_accept_key_is_refused(anywhere: Play, accept: str | None) -> None:
    async def scene() -> None:
        async with ScriptedPeer() as peer, connect(peer) as connection:
            link = await peer.accept()
            await link.upgrade(headers={"sec-websocket-accept": accept})
            await connection.wait_for(State.BACKING_OFF)
            error = connection.snapshot().last_error
            assert isinstance(error, HandshakeError)
            assert "a 101 that is wrong" in str(error)

    anywhere(scene)


def test_a_subprotocol_that_was_not_offered_is_refused(anywhere: Play) -> None:
    async def scene() -> None:
        async with ScriptedPeer() as peer, connect(peer) as connection:
            link = await peer.accept()
            await link.upgrade(subprotocol="chess")
            await connection.wait_for(State.BACKING_OFF)
            assert isinstance(connection.snapshot().last_error, HandshakeError)

    anywhere(scene)


Fault = Callable[[PeerLink], Awaitable[None]]
WRONG_FRAMES: dict[str, Fault] = {
    "masked": lambda link: link.send_frame(Opcode.TEXT, b"hello", mask=b"mask"),
    "reserved bit": lambda link: link.send_frame(Opcode.TEXT, b"hello", rsv=4),
    "reserved opcode": lambda link: link.send_frame(0xB),
    "fragmented ping": lambda link: link.send_frame(Opcode.PING, fin=False),
    "long ping": lambda link: link.ping(bytes(126)),
    "continuation of nothing": lambda link: link.send_frame(Opcode.CONTINUATION, b"x"),
    "2^63 bytes": lambda link: link.send_frame(Opcode.BINARY, declared=1 << 63),
    "close 1005": lambda link: link.send_close(1005),
    "garbage": lambda link: link.send_bytes(b"\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("fault", WRONG_FRAMES)
def test_a_wrong_frame_is_answered_with_1002(anywhere: Play, fault: str) -> None:
    async def scene() -> None:
        async with ScriptedPeer() as peer, connect(peer) as connection:
            link = await peer.accept()
            await link.upgrade()
            await WRONG_FRAMES[fault](link)
            frame = await link.receive()
            assert (frame.opcode, frame.close_code) == (Opcode.CLOSE, 1002)
            link.eof()
            await connection.wait_for(State.BACKING_OFF)
            assert isinstance(connection.snapshot().last_error, FrameError)

    anywhere(scene)


def test_half_a_frame_and_the_end_of_tcp_is_a_loss(anywhere: Play) -> None:
    async def scene() -> None:
        async with ScriptedPeer() as peer, connect(peer) as connection:
            link = await peer.accept()
            await link.upgrade()
            await link.send("whole")
            await link.send_frame(Opcode.TEXT, b"ha", declared=4)
            link.eof()
            assert await connection.receive() == "whole"
            assert isinstance(await lost(connection), LinkDropped)
            assert await link.wait_closed() is Ending.FIN

    anywhere(scene)


async def lost(connection: statews.Connection) -> Exception | None:
    """Why the link is, which may have been a while ago."""
    if connection.state is State.OPEN or connection.snapshot().last_error is None:
        await connection.wait_for(State.BACKING_OFF)
    return connection.snapshot().last_error


@pytest.mark.parametrize("how", ["reset", "close"])
def test_tcp_is_ended_at_any_time(anywhere: Play, how: str) -> None:
    async def scene() -> None:
        async with ScriptedPeer() as peer, connect(peer) as connection:
            link = await peer.accept()
            await link.upgrade()
            await connection.wait_for(State.OPEN)
            getattr(link, how)()
            assert isinstance(await lost(connection), LinkDropped)

    anywhere(scene)


def test_connections_are_accepted_in_the_order_they_came(anywhere: Play) -> None:
    async def scene() -> None:
        async with ScriptedPeer() as peer:
            for path in ("one", "two"):
                async with connect(peer, path=path) as connection:
                    with anyio.move_on_after(0.2):
                        await connection.wait_for(State.OPEN)
            first, second = await peer.accept(), await peer.accept()
            assert (await first.read_request()).path == "/one"
            assert (await second.read_request()).path == "/two"
            assert peer.links == [first, second]

    anywhere(scene)


# What does not come.


def test_who_waits_in_vain_is_told_what_came_so_far(anywhere: Play) -> None:
    async def scene() -> None:
        async with ScriptedPeer(timeout=0.2) as peer:
            with pytest.raises(PeerTimeout, match="expected a connection within 0") as e:
                await peer.accept()
            assert (e.value.awaited, e.value.so_far) == ("a connection", "0 connections")
            async with connect(peer) as connection:
                link = await peer.accept()
                await link.upgrade()
                await connection.send("hello")
                await link.receive()
                came = r"came \d+ bytes: GET / HTTP/1.1, text of 5 bytes 'hello'$"
                with pytest.raises(PeerTimeout, match=f"expected a frame .* {came}"):
                    await link.receive()
                with pytest.raises(PeerTimeout, match=f"expected the end of TCP .* {came}"):
                    await link.wait_closed()
                assert "text of 5 bytes 'hello'" in repr(link)

    anywhere(scene)


def test_what_is_no_request_is_shown(anywhere: Play) -> None:
    async def scene() -> None:
        async with ScriptedPeer(timeout=0.2) as peer:
            client = await dial(peer)
            link = await peer.accept()
            with pytest.raises(PeerTimeout, match=r"so far came nothing$"):
                await link.read_request()
            client.send_nowait(b"\x16\x03\x01")
            with pytest.raises(PeerTimeout, match=r"so far came 3 bytes: b'\\x16\\x03\\x01'$"):
                await link.read_request()
            client.abort()
            assert await link.wait_closed() is Ending.RST
            with pytest.raises(LinkDropped, match="with RST instead of a request"):
                await link.read_request()

    anywhere(scene)


def test_a_request_that_is_no_http_is_an_error(anywhere: Play) -> None:
    async def scene() -> None:
        async with ScriptedPeer() as peer:
            client = await dial(peer)
            client.send_nowait(b"GET / HTTP/1.1\r\nno header\r\n\r\n")
            link = await peer.accept()
            with pytest.raises(HandshakeError, match="no HTTP"):
                await link.read_request()
            client.close()

    anywhere(scene)


async def dial(peer: ScriptedPeer) -> ByteStream:
    return await NETWORK.get().connect_tcp(
        "127.0.0.1", peer.port, head_start=0.25, user_timeout=None, on_resolved=lambda: None
    )


def test_a_client_that_takes_nothing_in_is_waited_for_in_vain(play: Play) -> None:
    async def scene() -> None:
        async with ScriptedPeer(timeout=3) as peer:
            client = await dial(peer)
            link = await peer.accept()
            with pytest.raises(PeerTimeout, match="expected room for 100000 bytes within 3"):
                await link.send_bytes(bytes(100_000))
            client.close()

    play(scene)


def test_the_deadline_of_the_callers_scope_holds(play: Play) -> None:
    async def scene() -> None:
        async with ScriptedPeer() as peer:
            with pytest.raises(TimeoutError), anyio.fail_after(5):
                await peer.accept()
            assert current_time() == 5

    play(scene)


def test_a_wait_that_was_cancelled_has_lost_nothing(anywhere: Play) -> None:
    async def scene() -> None:
        async with ScriptedPeer() as peer:
            client = await dial(peer)
            link = await peer.accept()
            for piece in (b"GET / HTTP/1.1\r\n", b"Host: x\r\n\r\n\x81", b"\x80mas", b"k"):
                with anyio.move_on_after(0.05):
                    await link.receive()
                    raise AssertionError
                client.send_nowait(piece)
            frame = await link.receive()
            assert (frame.opcode, frame.payload, frame.mask) == (1, b"", b"mask")
            client.send_nowait(b"\x0a\x01u")
            frame = await link.receive()
            assert (frame.payload, frame.fin, frame.mask) == (b"u", False, b"")
            client.close()

    anywhere(scene)


# Refusals and closes, as statews takes them; in virtual time.


async def outcome(*scripts: Script, policy: Policy = STEADY) -> tuple[float, Exception, int]:
    """When a connection is open for the last script, or failed; its last error; its attempts."""
    async with ScriptedPeer("example.org", 80, scripts=scripts) as peer:
        assert peer.url == "ws://example.org:80/"
        async with connect(peer, policy) as connection:
            while len(peer.links) < len(scripts) and connection.state is not State.FAILED:
                await connection.wait_for(State.CONNECTING, State.FAILED)
                await connection.wait_for(State.OPEN, State.BACKING_OFF, State.FAILED)
            error = connection.snapshot().last_error
            assert error is not None
            return current_time(), error, len(peer.links)


@pytest.mark.parametrize(
    ("script", "waited"),
    [
        (respond_with(503, {"Retry-After": "120"}, b"busy"), 121),
        (respond_with(429, {"Retry-After": "5"}), 6),
        (respond_with(500), 1),
        (respond_with(401), 1),
        (respond_with(599), 1),
    ],
)
def test_a_refusal_that_may_pass_is_retried_when_it_says(
    play: Play, script: Script, waited: float
) -> None:
    async def scene() -> None:
        now, error, attempts = await outcome(script, echo)
        assert isinstance(error, UpgradeRefused)
        assert now == pytest.approx(waited)
        assert attempts == 2

    play(scene)


@pytest.mark.parametrize(("status", "attempts"), [(401, 2), (403, 1), (404, 1)])
def test_a_refusal_that_stays_is_final(play: Play, status: int, attempts: int) -> None:
    async def scene() -> None:
        script = respond_with(status, {"X-Why": "no"}, b"go away")
        _, error, tried = await outcome(script, script, script, script)
        assert isinstance(error, UpgradeRefused)
        assert (error.status, error.headers["x-why"], error.body) == (status, "no", b"go away")
        assert tried == attempts

    play(scene)


def test_a_restart_is_followed_by_another_link(play: Play) -> None:
    async def scene() -> None:
        now, error, attempts = await outcome(close_with(1012, "restart", after=100), echo)
        assert isinstance(error, LinkClosed)
        assert (error.code, error.reason) == (1012, "restart")
        assert now == pytest.approx(101)
        assert attempts == 2

    play(scene)


def test_a_close_code_that_forbids_is_final(play: Play) -> None:
    async def scene() -> None:
        _, error, attempts = await outcome(close_with(4403, "no"), echo, echo)
        assert isinstance(error, LinkClosed)
        assert (error.code, attempts) == (4403, 1)

    play(scene)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (say(b"\x00\xff\r\n\r\n"), HandshakeError),
        (say(b"HTTP/1.1 101 Switching Protocols\r\n"), HandshakeError),
        (say(), HandshakeError),
        (say(b"\x81\x05", b"hel", upgrade=True), LinkDropped),
        (say(b"\xff\xff", upgrade=True), FrameError),
        (close_with(None), LinkClosed),
        (close_with(1), FrameError),
        (silent, OpeningTimeout),
    ],
)
def test_what_is_wrong_is_retried(play: Play, script: Script, kind: type[Exception]) -> None:
    async def scene() -> None:
        _, error, attempts = await outcome(script, echo)
        assert isinstance(error, kind)
        assert attempts == 2

    play(scene)


# Scripts.


def test_the_last_script_serves_all_that_come_after(anywhere: Play) -> None:
    async def scene() -> None:
        scripts = [respond_with(503), close_with(1012)]
        async with ScriptedPeer(scripts=scripts) as peer, connect(peer) as connection:
            seen: list[type[object]] = []
            async for change in connection.changes():
                if change.now.state is State.BACKING_OFF:
                    seen.append(type(change.now.last_error))
                if len(seen) == 4:
                    break
            assert seen == [UpgradeRefused, LinkClosed, LinkClosed, LinkClosed]
            with pytest.raises(UsageError, match="the scripts take every connection"):
                await peer.accept()

    anywhere(scene)


def test_an_echo_sends_every_message_back_and_answers_the_close(anywhere: Play) -> None:
    async def scene() -> None:
        endings: list[Ending] = []
        done = anyio.Event()

        async def watched(link: PeerLink) -> None:
            await echo(link)
            link.eof()
            endings.append(await link.wait_closed())
            done.set()

        async with ScriptedPeer(scripts=[watched]) as peer:
            async with connect(peer) as connection:
                for message in ("hello", b"\x00", "", bytes(200_000)):
                    await connection.send(message)
                    assert await connection.receive() == message
            await done.wait()
        assert endings == [Ending.FIN]

    anywhere(scene)


@pytest.mark.parametrize("script", [echo, close_with(1000, after=1e9)])
def test_an_echo_answers_pings_for_hours(play: Play, script: Script) -> None:
    async def scene() -> None:
        async with ScriptedPeer(scripts=[script]) as peer, connect(peer, STEADY) as connection:
            await anyio.sleep(7200)
            assert connection.state is State.OPEN
            assert len(peer.links) == 1

    play(scene)


REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def test_an_echo_leaves_pongs_alone_and_sends_parts_as_parts(play: Play) -> None:
    async def scene() -> None:
        async with ScriptedPeer(scripts=[echo]) as peer:
            client = await dial(peer)
            client.send_nowait(REQUEST + b"\x8a\x01x\x01\x01a\x89\x01p\x80\x01b\x88\x00")
            await anyio.sleep(1)
            answer = (client.receive_nowait() or b"").partition(b"\r\n\r\n")[2]
            assert answer == b"\x01\x01a\x8a\x01p\x80\x01b\x88\x00"
            assert client.receive_nowait() == b""
            client.close()

    play(scene)


def test_a_close_that_nobody_answers_is_followed_by_the_end_of_tcp(play: Play) -> None:
    async def scene() -> None:
        async with ScriptedPeer(scripts=[close_with(1012)]) as peer:
            client = await dial(peer)
            client.send_nowait(REQUEST)
            await anyio.sleep(1)
            client.send_nowait(b"\x81\x01a")
            assert (client.receive_nowait() or b"").endswith(b"\x88\x02\x03\xf4")
            await client.wait_readable()
            assert (current_time(), client.receive_nowait()) == (5, b"")
            client.close()

    play(scene)


def test_an_own_script_is_a_function(anywhere: Play) -> None:
    async def greet(link: PeerLink) -> None:
        request = await link.upgrade()
        await link.send(request.path)

    async def scene() -> None:
        async with ScriptedPeer(scripts=[greet]) as peer, connect(peer) as connection:
            assert [await connection.receive() for _ in range(3)] == ["/", "/", "/"]

    anywhere(scene)


def test_what_fails_in_a_script_ends_the_body_and_is_raised(anywhere: Play) -> None:
    why = ValueError("why")

    async def fail(link: PeerLink) -> None:
        await link.upgrade()
        raise KeyError("wrong") from why

    async def scene() -> None:
        with pytest.raises(KeyError, match="wrong") as caught:
            async with ScriptedPeer(scripts=[fail]) as peer, connect(peer):
                await anyio.sleep_forever()
        assert caught.value.__cause__ is why
        assert caught.value.__suppress_context__

    anywhere(scene)


def test_what_a_script_awaits_in_vain_is_raised(play: Play) -> None:
    async def scene() -> None:
        with pytest.raises(PeerTimeout, match="expected a frame within 60 seconds"):
            async with (
                ScriptedPeer(scripts=[PeerLink.receive]) as peer,
                connect(peer, Policy(timeouts=Timeouts(opening=90))),
            ):
                await anyio.sleep(1000)

    play(scene)


def test_the_exception_of_the_body_leaves_as_it_is(anywhere: Play) -> None:
    async def scene() -> None:
        with pytest.raises(KeyError, match="body") as caught:
            async with ScriptedPeer(scripts=[echo]) as peer, connect(peer):
                raise KeyError("body")
        assert not hasattr(caught.value, "__notes__")

    anywhere(scene)


def test_the_exception_of_the_body_tells_of_a_script_that_failed_before(play: Play) -> None:
    async def fail(_: PeerLink) -> None:
        raise KeyError("script")

    async def scene() -> None:
        with pytest.raises(ValueError, match="body") as caught:
            async with ScriptedPeer(scripts=[fail]) as peer:
                await dial_and_fail(peer)
        notes: list[str] = caught.value.__notes__  # type: ignore[attr-defined,unused-ignore]
        assert notes == ["before that, a script failed: KeyError('script')"]

    play(scene)


async def dial_and_fail(peer: ScriptedPeer) -> None:
    client = await dial(peer)
    try:
        await anyio.sleep_forever()
    finally:
        client.close()
        raise ValueError("body")


def test_a_body_that_is_cancelled_is_left_at_once(anywhere: Play) -> None:
    async def scene() -> None:
        with anyio.move_on_after(0.2) as scope:
            async with ScriptedPeer(scripts=[silent]) as peer, connect(peer):
                await anyio.sleep_forever()
        assert scope.cancelled_caught

    anywhere(scene)


def test_leaving_ends_all(anywhere: Play) -> None:
    async def scene() -> None:
        before = open_sockets()
        async with ScriptedPeer() as peer:
            clients = [await dial(peer) for _ in range(3)]
            link = await peer.accept()
            port = peer.port
        for client in clients:
            with anyio.fail_after(1):
                await client.wait_readable()
            client.close()
        with pytest.raises(LinkDropped):
            await link.send("too late")
        with pytest.raises(UsageError, match="the peer has no port"):
            _ = peer.port
        async with ScriptedPeer(port=port):
            pass
        assert open_sockets() == before

    anywhere(scene)


def test_a_peer_has_a_port_while_it_is_entered() -> None:
    peer = ScriptedPeer("::1", 80)
    assert repr(peer) == "<ScriptedPeer ::1, 0 connections>"
    with pytest.raises(UsageError, match="the peer has no port: it is not entered"):
        _ = peer.url


def test_an_address_of_ipv6_stands_in_brackets(play: Play) -> None:
    async def scene() -> None:
        async with ScriptedPeer("::1", 80) as peer:
            assert peer.url == "ws://[::1]:80/"

    play(scene)


# Clients of other kinds.


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_client_of_websockets_is_served() -> None:
    scripts = [respond_with(403), say(b"garbage\r\n\r\n"), echo, close_with(4403, "no")]
    async with ScriptedPeer(scripts=scripts) as peer:
        with pytest.raises(InvalidStatus, match="403"):
            await websockets_connect(peer.url, proxy=None)
        with pytest.raises(InvalidHandshake):
            await websockets_connect(peer.url, proxy=None)
        async with websockets_connect(peer.url, proxy=None) as client:
            await client.send(["in ", "parts"])
            assert await client.recv() == "in parts"
            await (await client.ping(b"there?"))
        assert client.close_code == 1000
        async with websockets_connect(peer.url, proxy=None) as client:
            with pytest.raises(WebsocketsClosed):
                await client.recv()
        assert (client.close_code, client.close_reason) == (4403, "no")


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_client_of_websockets_refuses_a_masked_frame_with_1002() -> None:
    async with ScriptedPeer() as peer, anyio.create_task_group() as group:

        async def client() -> None:
            async with websockets_connect(peer.url, proxy=None) as connection:
                with pytest.raises(WebsocketsClosed):
                    await connection.recv()

        group.start_soon(client)
        link = await peer.accept()
        await link.upgrade()
        await link.send_frame(Opcode.TEXT, b"hello", mask=b"mask")
        assert (await link.receive()).close_code == 1002
        link.close()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_client_of_aiohttp_is_served() -> None:
    scripts = [respond_with(503, {"Retry-After": "5"}, b"busy"), echo, close_with(1012, "restart")]
    async with ScriptedPeer(scripts=scripts) as peer, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await session.ws_connect(peer.url)
        assert caught.value.headers is not None
        assert (caught.value.status, caught.value.headers["Retry-After"]) == (503, "5")
        async with session.ws_connect(peer.url) as client:
            await client.send_str("hello")
            assert await client.receive_str() == "hello"
            await client.ping(b"x")
        assert client.close_code == 1000
        async with session.ws_connect(peer.url) as client:
            message = await client.receive()
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1012)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_client_of_aiohttp_answers_a_ping() -> None:
    async with ScriptedPeer() as peer, aiohttp.ClientSession() as session:

        async def client() -> None:
            async with session.ws_connect(peer.url) as connection:
                assert await connection.receive_bytes() == b"bytes"

        async with anyio.create_task_group() as group:
            group.start_soon(client)
            link = await peer.accept()
            await link.upgrade()
            await link.ping(b"there?")
            frame = await link.receive()
            assert (frame.opcode, frame.payload) == (Opcode.PONG, b"there?")
            await link.send(b"bytes")
            assert (await link.receive()).close_code == 1000
            await link.send_close()
            link.eof()
