"""The seam: what a socket does when it is full, empty, closed or broken."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import socket
import sys

import anyio
import pytest

from statews import LinkDropped
from statews.transport.stream import SocketStream, receive, send
from statews.transport.transit import UNKNOWN, tcp_transit
from statews.transport.watched import socket_stream

from .fakes import Make, Sink, Throttle, socket_pair
from .peers import LOCALHOST

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[SocketStream, socket_stream])
def make(request: pytest.FixtureRequest) -> Make:
    """The stream that waits through anyio, and the one that is made for the event loop."""
    made: Make = request.param
    return made


def tcp_pair(make: Make) -> tuple[SocketStream, socket.socket]:
    """A connection, and the plain socket at its other end."""
    with socket.create_server((LOCALHOST, 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        peer, _ = listening.accept()
    return make(client), peer


def fill(stream: SocketStream) -> None:
    while stream.send_nowait(bytes(65536)):
        pass


async def test_bytes_go_both_ways_up_to_the_end(make: Make) -> None:
    one, other = socket_pair(make)
    assert one.receive_nowait() is None
    assert not one.is_readable()
    await send(other, b"hello")
    assert one.is_readable()
    assert await receive(one, 2) == b"he"
    assert await receive(one) == b"llo"
    other.send_eof()
    assert one.is_readable()
    assert await receive(one) == b""
    one.close()
    other.close()


async def test_a_sender_waits_for_a_slow_reader(make: Make) -> None:
    one, other = socket_pair(make)
    data = bytes(range(256)) * 20_000
    received = b""
    async with anyio.create_task_group() as group:
        group.start_soon(send, one, data)
        while len(received) < len(data):
            received += await receive(other, 100_000)
    assert received == data
    one.close()
    other.close()


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_what_the_transport_does_not_take_comes_again(make: Make, size: int) -> None:
    one, other = socket_pair(make)
    data, received = b"0123456789" * 100, b""
    async with anyio.create_task_group() as group:
        group.start_soon(send, Throttle(one, [0, size, 0, 0, size] * 1000), data)
        while len(received) < len(data):
            received += await receive(other)
    assert received == data
    one.close()
    other.close()


@pytest.mark.parametrize("count", [1, 2, 200])
async def test_pieces_follow_each_other(make: Make, count: int) -> None:
    one, other = socket_pair(make)
    pieces: list[bytes | memoryview] = [bytes([number]) * 3000 for number in range(count)]
    sent, received = 0, b""
    while sent < 3000:
        sent = one.send_pieces_nowait(pieces)
    while len(received) < sent:
        received += await receive(other)
    assert received == b"".join(pieces)[:sent]
    while one.send_pieces_nowait(pieces):
        pass  # as long as there is room
    one.close()
    with pytest.raises(LinkDropped, match="while sending"):
        one.send_pieces_nowait(pieces)
    other.close()


async def test_a_stream_may_be_closed_and_aborted_again(make: Make) -> None:
    one, other = socket_pair(make)
    for _ in range(2):
        one.close()
        one.abort()
    assert await receive(other) == b""
    other.abort()
    other.close()


async def test_a_closed_stream_raises_link_dropped(make: Make) -> None:
    one, other = socket_pair(make)
    one.close()
    other.close()
    with pytest.raises(LinkDropped, match="while receiving"):
        one.receive_nowait()
    with pytest.raises(LinkDropped, match="while sending"):
        one.send_nowait(b"x")
    with pytest.raises(LinkDropped, match="while receiving"):
        await one.wait_readable()
    with pytest.raises(LinkDropped, match="while sending"):
        await one.wait_writable()
    one.send_eof()
    assert one.is_readable()  # the error is there to be received
    assert one.peer_address() == "unknown"


async def test_closing_wakes_whoever_waits(make: Make) -> None:
    one, other = socket_pair(make)
    fill(one)
    woken: list[str] = []

    async def wait_readable() -> None:
        with pytest.raises(LinkDropped, match="the link was closed while receiving"):
            await one.wait_readable()
        woken.append("reader")

    async def wait_writable() -> None:
        with pytest.raises(LinkDropped, match="the link was closed while sending"):
            await one.wait_writable()
        woken.append("writer")

    async with anyio.create_task_group() as group:
        group.start_soon(wait_readable)
        group.start_soon(wait_writable)
        await anyio.wait_all_tasks_blocked()
        one.close()
    assert sorted(woken) == ["reader", "writer"]
    other.close()


async def test_an_interruption_lets_go_whoever_waits_and_breaks_nothing(make: Make) -> None:
    one, other = socket_pair(make)
    fill(one)
    async with anyio.create_task_group() as group:
        group.start_soon(one.wait_readable)
        group.start_soon(one.wait_writable)
        await anyio.wait_all_tasks_blocked()
        one.interrupt()
        one.interrupt()
    other.send_nowait(b"still here")
    assert await receive(one) == b"still here"
    one.close()
    one.interrupt()
    other.close()


async def test_what_was_sent_before_a_close_still_arrives(make: Make) -> None:
    stream, peer = tcp_pair(make)
    with peer:
        await send(stream, b"goodbye")
        stream.close()
        assert peer.recv(100) == b"goodbye"
        assert peer.recv(100) == b""


async def test_an_abort_is_a_reset(make: Make) -> None:
    stream, peer = tcp_pair(make)
    with peer:
        stream.abort()
        with pytest.raises(ConnectionResetError):
            peer.recv(100)


async def test_a_reset_by_the_peer_is_a_dropped_link(make: Make) -> None:
    stream, peer = tcp_pair(make)
    SocketStream(peer).abort()
    with pytest.raises(LinkDropped, match="while receiving: Connection reset by peer"):
        await receive(stream)
    with pytest.raises(LinkDropped, match="while sending: Broken pipe"):
        await send(stream, b"x")
    stream.close()


async def test_a_reset_is_something_to_receive(make: Make) -> None:
    stream, peer = tcp_pair(make)
    SocketStream(peer).abort()
    assert stream.is_readable()
    stream.close()


async def test_receiving_gives_others_a_turn() -> None:
    """A peer that never pauses must not hold up the whole loop."""
    with anyio.move_on_after(0.05) as scope:
        while await receive(Sink()):
            pass
    assert scope.cancelled_caught


async def test_a_cancelled_receive_has_taken_nothing(make: Make) -> None:
    one, other = socket_pair(make)
    await send(other, b"hello")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await receive(one)
    assert await receive(one) == b"hello"
    one.close()
    other.close()


async def test_streams_tell_what_they_are(make: Make) -> None:
    stream, peer = tcp_pair(make)
    with peer:
        assert repr(stream) == f"<SocketStream fd={stream._socket.fileno()}>"
        assert stream.peer_address() == "{}:{}".format(*peer.getsockname())
    stream.close()


# What the system tells of what was sent.


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
async def test_what_the_peers_system_acknowledges_has_arrived(make: Make) -> None:
    stream, peer = tcp_pair(make)
    with peer:
        before = stream.transit().arrived
        fill(stream)
        stuck = stream.transit()
        assert stuck.arrived > before
        assert stuck.under_way > 0
        peer.settimeout(1)
        size = stuck.under_way
        while size > 0:
            size -= len(peer.recv(65536))
        assert stream.transit().arrived > stuck.arrived
    stream.close()
    assert stream.transit() == UNKNOWN


async def test_of_a_unix_socket_nothing_is_known(make: Make) -> None:
    one, other = socket_pair(make)
    await send(one, b"x")
    assert one.transit() == UNKNOWN
    one.close()
    other.close()


async def test_where_the_system_tells_less_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Older(socket.socket):
        """A socket whose system counts no acknowledged bytes."""

        def getsockopt(self, *_: int) -> bytes:  # type: ignore[override]
            return bytes(104)

    stream, peer = tcp_pair(SocketStream)
    older = Older(fileno=peer.detach())
    assert tcp_transit(older) == UNKNOWN
    assert stream.transit() != UNKNOWN or sys.platform != "linux"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert stream.transit() == UNKNOWN
    older.close()
    stream.close()
