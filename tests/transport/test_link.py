"""One link against a peer that never pauses."""

from __future__ import annotations

import math
import socket
import ssl
import sys
from dataclasses import replace

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from statews import Heartbeat, Limits, Link, LinkClosed, LinkDropped, PeerSilent, Policy
from statews.protocol.deflate import Deflater, Inflater
from statews.protocol.frames import Decoder, Encoder, Opcode
from statews.protocol.handshake import ServerHandshake
from statews.transport.link import LinkState
from statews.transport.stream import CHUNK, LONG_CHUNK, ByteStream, receive, send
from statews.transport.tls import secure
from statews.transport.watched import socket_stream
from tests.transport.fakes import Sink, socket_pair
from tests.transport.peers import LOCALHOST, TLS
from tests.transport.test_listen import REQUEST

pytestmark = pytest.mark.anyio


def link_over(
    stream: ByteStream, deflater: Deflater | None = None, policy: Policy | None = None
) -> Link:
    """A server's link, without the bytes of the opening handshake."""
    handshake = ServerHandshake(subprotocols=(), deflate=None, limits=Limits())
    request = handshake.feed(REQUEST)
    assert request is not None
    opened = handshake.accept(request)[1]
    if deflater is not None:
        opened = replace(opened, encoder=Encoder(entropy=None, deflater=deflater))
    return Link(stream, opened, policy or Policy())


async def test_a_peer_that_floods_behind_its_close_frame_does_not_hold_up_the_loop() -> None:
    link = link_over(Sink())
    link._end(LinkClosed(1000))
    with anyio.move_on_after(0.1) as scope:
        await link.close()
    assert scope.cancelled_caught


@pytest.mark.parametrize("head_start", [0.0, 0.1])
async def test_a_consumer_keeps_up_with_an_endless_flood(head_start: float) -> None:
    """Whether the owner begins to read, or the consumer does, and whoever takes over."""
    ours, theirs = socket_pair(socket_stream)
    mask = bytes(range(4))
    header, payload = Encoder(entropy=lambda size: mask * (size // 4)).message("x" * 32)
    burst = (header + payload) * 2000

    async def flood() -> None:
        while True:
            await send(theirs, burst)

    link = link_over(ours)
    async with anyio.create_task_group() as group:
        group.start_soon(flood)
        group.start_soon(link.serve)
        await anyio.sleep(head_start)
        for _ in range(50_000):
            assert await link.receive() == "x" * 32
        group.cancel_scope.cancel()
    link.release()
    theirs.close()


class LongFrames(Sink):
    """A client that sends long messages without a pause, in reads as long as are asked for."""

    def __init__(self, size: int, *, reads: float = math.inf) -> None:
        super().__init__()
        header, payload = Encoder(entropy=bytes).message(bytes(size))
        self._ahead = b""
        self._frame = header + payload
        self._reads = reads
        self.asked: list[int] = []

    def receive_nowait(self, most: int = CHUNK) -> bytes | None:
        self.asked.append(most)
        if len(self.asked) > self._reads:
            return b""
        while len(self._ahead) < most:
            self._ahead += self._frame
        data, self._ahead = self._ahead[:most], self._ahead[most:]
        return data


async def test_a_flood_of_long_messages_leaves_others_their_turn() -> None:
    stream = LongFrames(CHUNK * 3)
    link = link_over(stream)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await checkpoint()
            turns += 1

    async with anyio.create_task_group() as group:
        group.start_soon(count_turns)
        for _ in range(100):
            assert await link.receive() == bytes(CHUNK * 3)
        group.cancel_scope.cancel()
    # Each read has up to three messages, some none.
    assert turns >= len(stream.asked) // 5


async def test_what_is_missing_of_a_long_message_is_read_in_long_steps() -> None:
    stream = LongFrames(CHUNK + 2 * LONG_CHUNK)
    link = link_over(stream)
    await link.wait_message()
    assert stream.asked == [CHUNK, LONG_CHUNK, LONG_CHUNK, LONG_CHUNK]


async def test_an_end_in_the_middle_of_a_long_message_is_noticed() -> None:
    link = link_over(LongFrames(1 << 20, reads=2))
    with pytest.raises(LinkDropped, match="without a closing handshake"):
        await link.receive()


async def test_who_is_called_off_before_it_serves_does_not_begin() -> None:
    ours, theirs = socket_pair(socket_stream)
    link = link_over(ours)
    link.call_off()
    with anyio.fail_after(20):
        assert await link.serve() is None
        async with anyio.create_task_group() as group:  # and the next time it does
            group.start_soon(link.serve)
            await anyio.wait_all_tasks_blocked()
            link.call_off()
    link.release()
    theirs.close()


async def test_a_link_that_departs_lets_go_whoever_reads_it() -> None:
    ours, theirs = socket_pair(socket_stream)
    link = link_over(ours)

    async def receive() -> None:
        with pytest.raises(LinkClosed, match="closed by us"):
            await link.receive()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(receive)
            await anyio.wait_all_tasks_blocked()
            link.depart(LinkClosed(1001, "closed by us"))
    link.release()
    theirs.close()


async def test_texts_go_out_in_order_with_everything_else() -> None:
    ours, theirs = socket_pair(socket_stream)
    link = link_over(ours)
    reader = Decoder(masked=False, limit=1 << 20)
    link.write("first")
    link.write_text("second")
    link.write(b"third")
    link.write_text("fourth")
    link.write_text("x" * 20_000)
    link.write_text("last")
    link.ping()
    reader.feed(await receive(theirs))
    assert list(reader.inbox) == ["first", "second", b"third", "fourth", "x" * 20_000, "last"]
    assert len(reader.controls) == 1
    link.release()
    with pytest.raises(LinkDropped, match="the link was released"):
        link.write_text("too late")
    theirs.close()


async def test_texts_are_bounded_as_everything_else() -> None:
    ours, theirs = socket_pair(socket_stream)
    link = link_over(ours)
    assert not link.write_text("")
    told = [link.write_text("x" * 992) for _ in range(66)]
    assert told == [False] * 65 + [True]
    link.release()
    theirs.close()


def message_of(size: int) -> str | bytes:
    """Text that is ASCII, text that is not, or bytes; worth compressing or not."""
    kinds: list[str | bytes] = [
        b"\xc3" * size,
        "x" * size,
        "é" * size,
        f"{size} " * (size // 4 + 1),
    ]
    return kinds[size % len(kinds)]


@given(sizes=st.lists(st.one_of(st.integers(0, 300), st.integers(16_000, 17_000)), max_size=30))
def test_a_deflater_takes_messages_in_the_order_of_the_wire(sizes: list[int]) -> None:
    async def play() -> None:
        sink = Sink()
        deflater = Deflater(window_bits=15, context_takeover=True, level=6, threshold_bytes=64)
        link = link_over(sink, deflater)
        sent = [message_of(size) for size in sizes]
        for message in sent:
            if isinstance(message, str) and message.isascii():
                link.write_text(message)
            else:
                link.write(message)
        link.ping()
        reader = Decoder(
            masked=False, limit=1 << 20, inflater=Inflater(window_bits=15, context_takeover=True)
        )
        reader.feed(sink.data)
        assert list(reader.inbox) == sent

    anyio.run(play)


# A peer that reads more slowly than its heartbeat's timeout.

LENGTH = 1_500_000


async def slow_pair(tls: TLS | None) -> tuple[ByteStream, ByteStream]:
    """A server's stream, and a client's whose system takes in little."""
    with socket.create_server((LOCALHOST, 0)) as listening:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.connect(listening.getsockname())
        server, _ = listening.accept()
    ours, theirs = socket_stream(server), socket_stream(client)
    if tls is None:
        return ours, theirs
    secured: dict[bool, ByteStream] = {}

    async def shake(stream: ByteStream, context: ssl.SSLContext, *, is_server: bool) -> None:
        name = None if is_server else LOCALHOST
        secured[is_server] = await secure(stream, context, hostname=name, server_side=is_server)

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: shake(ours, tls.server(), is_server=True))
        group.start_soon(lambda: shake(theirs, tls.client(), is_server=False))
    return secured[True], secured[False]


async def take_slowly(stream: ByteStream, size: int) -> int:
    """Take in so much, and answer what came as a client does; how many messages came."""
    decoder, encoder = Decoder(masked=False, limit=2 * LENGTH), Encoder(entropy=bytes)
    while size > 0:
        data = await receive(stream, 16384)
        size -= len(data)
        decoder.feed(data)
        await anyio.sleep(0.016)
    for opcode, payload in decoder.controls:
        if opcode == Opcode.PING:
            await send(stream, encoder.control(Opcode.PONG, payload))
    return len(decoder.inbox)


@pytest.mark.once
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell what arrives")
@pytest.mark.parametrize("is_secure", [False, True], ids=["TCP", "TLS"])
@pytest.mark.parametrize("share", [1.0, 0.3], ids=["reads all", "stops"])
async def test_a_slow_reader_is_alive_while_it_takes_in_what_was_sent(
    tls: TLS, share: float, *, is_secure: bool
) -> None:
    policy = Policy(heartbeat=Heartbeat(interval=0.01, timeout=0.6))
    ours, theirs = await slow_pair(tls if is_secure else None)
    link = link_over(ours, policy=policy)
    async with anyio.create_task_group() as group:
        group.start_soon(link.serve)
        began = anyio.current_time()
        await link.send(bytes(LENGTH))
        link.ping()
        assert await take_slowly(theirs, int(LENGTH * share)) == (share == 1.0)
        if share < 1.0:
            with pytest.raises(PeerSilent):
                await link.receive()
            assert anyio.current_time() - began < 5
        else:
            assert anyio.current_time() - began > 1
            assert link.state is LinkState.OPEN
        group.cancel_scope.cancel()
    link.release()
    theirs.close()
