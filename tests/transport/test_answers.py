"""What a server may answer to the opening handshake, and the one error that each of it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from statews import (
    FrameError,
    HandshakeError,
    Limits,
    LinkDropped,
    LinkError,
    PeerError,
    Policy,
    UpgradeRefused,
)

from ..memory import traced
from .conftest import open_sockets
from .peers import TLS, Peer, accepted, dial_to, scripted, serving, text_frame

pytestmark = pytest.mark.anyio
Script = Callable[[Peer], Awaitable[None]]

SMALL = Policy(limits=Limits(header_bytes=4096))


def saying(data: bytes) -> Script:
    """Answers with these bytes, and waits for the client to go."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(data)
        await peer.end()

    return script


@pytest.mark.parametrize(
    "answer",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.0\r\n",
        b"220 mail.example.org ESMTP\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46\r\n",
        b"HTTP/2 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 abc Switching\r\n\r\n",
        b"HTTP/1.1 99 Too Low\r\n\r\n",
        b"HTTP/1.1 1000 Too High\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\n\n",
        b"HTTP/1.1 101 Switching Protocols\r\nno colon\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n: no name\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nna me: x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nname: \x00\r\n\r\n",
        text_frame("frames at once") + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a client\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_a_handshake_error(answer: bytes) -> None:
    async with scripted(saying(answer)) as server:
        with pytest.raises(HandshakeError, match="the peer sent something that is no HTTP"):
            await dial_to(server.url)


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: x", "Sec-WebSocket-Accept"),
        (b"Sec-WebSocket-Accept: ", b"X: ", "Sec-WebSocket-Accept"),
        (b"Upgrade: websocket", b"Upgrade: h2c", "Upgrade"),
        (b"Upgrade: websocket\r\n", b"", "Upgrade"),
        (b"Connection: Upgrade\r\n", b"", "Connection"),
        (b"Connection: Upgrade", b"Connection: close", "Connection"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n", "subprotocol"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: x-foo\r\n\r\n", "extension"),
    ],
)
async def test_a_101_that_is_wrong_is_a_handshake_error(
    before: bytes, after: bytes, why: str
) -> None:
    async def script(peer: Peer) -> None:
        response = accepted(await peer.head())
        assert before in response
        await peer.send(response.replace(before, after, 1))
        await peer.end()

    async with scripted(script) as server:
        with pytest.raises(HandshakeError, match=why) as caught:
            await dial_to(server.url)
    assert not isinstance(caught.value, UpgradeRefused)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("200 OK", {}),
        ("204 No Content", {}),
        ("400 Bad Request", {}),
        ("401 Unauthorized", {"WWW-Authenticate": "Basic"}),
        ("403 Forbidden", {}),
        ("404 Not Found", {"Content-Length": "9999999"}),
        ("426 Upgrade Required", {"Upgrade": "websocket"}),
        ("429 Too Many Requests", {"Retry-After": "120"}),
        ("500 Internal Server Error", {}),
        ("503 Service Unavailable", {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}),
        ("599 ", {}),
    ],
)
async def test_a_refusal_has_its_facts(status: str, headers: dict[str, str]) -> None:
    lines = [f"{name}: {value}" for name, value in headers.items()]
    async with scripted(lambda peer: peer.answer(status, *lines, body=b"sorry")) as server:
        match = f"^the server answered {status.strip()} instead of 101 Switching Protocols$"
        with pytest.raises(UpgradeRefused, match=match) as caught:
            await dial_to(server.url)
    assert caught.value.status == int(status[:3])
    assert caught.value.headers == {name.lower(): value for name, value in headers.items()}
    assert caught.value.body == b"sorry"


async def test_the_body_of_a_refusal_is_not_waited_for() -> None:
    answer = b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with scripted(saying(answer)) as server:
        with pytest.raises(UpgradeRefused, match="403"):
            await dial_to(server.url)


@pytest.mark.parametrize("status", ["100 Continue", "102 Processing", "103 Early Hints"])
async def test_an_interim_answer_is_passed_over(status: str) -> None:
    async def script(peer: Peer) -> None:
        response = accepted(await peer.head())
        await peer.send(f"HTTP/1.1 {status}\r\nLink: </a>\r\n\r\n".encode() + response)
        await peer.end()

    async with scripted(script) as server:
        (await dial_to(server.url)).abort()


@pytest.mark.parametrize(
    "piece",
    [
        b"x" * 1000,
        b"X: 1\r\n" * 100,
        b"X: " + b"1" * 900 + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
async def test_an_answer_without_an_end_is_a_handshake_error(piece: bytes) -> None:
    async def flood(peer: Peer) -> None:
        await peer.head()
        if not piece.startswith(b"HTTP"):
            await peer.send(b"HTTP/1.1 101 Switching Protocols\r\n")
        while True:
            await peer.send(piece)

    async with scripted(flood) as server:
        with pytest.raises(HandshakeError, match="the peer sent an HTTP head "):
            await dial_to(server.url, policy=SMALL)


async def test_an_answer_without_an_end_takes_no_more_memory_than_its_limit() -> None:
    async def flood(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await peer.send(b"X: " + b"1" * 8000 + b"\r\n")

    with traced() as memory:
        async with scripted(flood) as server:
            with pytest.raises(HandshakeError, match="the peer sent an HTTP head "):
                await dial_to(server.url)
        assert memory()[1] < 2 * 1024 * 1024  # of both sides, the limit being 64 KiB


async def test_bytes_behind_the_101_are_frames() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(accepted(await peer.head()) + text_frame("at once") + b"\x81")
        await peer.send(b"\x04then")
        await peer.end()

    async with scripted(script) as server, serving(await dial_to(server.url)) as link:
        assert await link.receive() == "at once"
        assert await link.receive() == "then"
        link.abort()


async def test_a_body_behind_the_101_ends_the_link_with_a_frame_error() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(accepted(await peer.head()) + b"<html>welcome</html>")
        await peer.end()

    async with scripted(script) as server:
        link = await dial_to(server.url)
        with pytest.raises(FrameError, match="the peer sent a frame "):
            await link.receive()
        link.release()


@pytest.mark.parametrize("step", [1, 20])
async def test_an_end_at_any_byte_of_the_answer_is_one_error(tls: TLS, step: int) -> None:
    """At every one of TCP; at every twentieth of TLS, where a dial takes longer."""
    kept, size = 0, 1

    async def script(peer: Peer) -> None:
        nonlocal size
        answer = accepted(await peer.head())
        size = len(answer)
        await peer.send(answer[:kept])

    async with scripted(script, context=tls.server() if step > 1 else None) as server:
        url, context = (server.secure_url, tls.client()) if step > 1 else (server.url, None)
        while kept < size:
            with pytest.raises(HandshakeError, match="closed the TCP connection in the middle"):
                await dial_to(url, ssl=context)
            kept += step
    assert size > 100


async def test_a_reset_is_a_dropped_link() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        peer.reset()

    async with scripted(script) as server:
        with pytest.raises(LinkDropped, match="the link broke while receiving: Connection reset"):
            await dial_to(server.url)


async def test_a_reset_in_the_tls_handshake_is_a_dial_error(tls: TLS) -> None:
    async def script(peer: Peer) -> None:
        await peer.exactly(5)
        peer.reset()

    async with scripted(script) as server:
        with pytest.raises(LinkError, match=r"the TLS handshake with .* failed: the link"):
            await dial_to(server.secure_url, ssl=tls.client())


async def test_an_answer_byte_by_byte_is_an_answer() -> None:
    async def script(peer: Peer) -> None:
        for byte in accepted(await peer.head()) + text_frame("hello"):
            await peer.send(bytes([byte]))
        await peer.end()

    async with scripted(script) as server, serving(await dial_to(server.url)) as link:
        assert await link.receive() == "hello"
        link.abort()


async def test_a_failed_dial_leaves_nothing_open() -> None:
    async with scripted(saying(b"garbage\r\n")) as server:
        before = open_sockets()
        for _ in range(10):
            with pytest.raises(PeerError, match="no HTTP"):
                await dial_to(server.url)
        await server.wait_left()
        assert open_sockets() == before


async def test_an_answer_before_the_question_is_an_answer() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
        await peer.end()

    async with scripted(script) as server:
        with pytest.raises(UpgradeRefused, match="503"):
            await dial_to(server.url)
