"""One link against a peer that never pauses."""

from __future__ import annotations

import math

import anyio
import pytest
from anyio.lowlevel import checkpoint

from statews import Limits, Link, LinkClosed, LinkDropped, Policy
from statews.protocol.frames import Encoder
from statews.protocol.handshake import ServerHandshake
from statews.transport.stream import CHUNK, LONG_CHUNK, ByteStream, send
from statews.transport.watched import socket_stream
from tests.transport.fakes import Sink, socket_pair
from tests.transport.test_listen import REQUEST

pytestmark = pytest.mark.anyio


def link_over(stream: ByteStream) -> Link:
    """A server's link, without the bytes of the opening handshake."""
    handshake = ServerHandshake(subprotocols=(), deflate=None, limits=Limits())
    request = handshake.feed(REQUEST)
    assert request is not None
    return Link(stream, handshake.accept(request)[1], Policy())


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
    link = link_over(LongFrames(CHUNK * 3))
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
    assert turns > 50


async def test_what_is_missing_of_a_long_message_is_read_in_long_steps() -> None:
    stream = LongFrames(CHUNK + 2 * LONG_CHUNK)
    link = link_over(stream)
    await link.wait_message()
    assert stream.asked == [CHUNK, LONG_CHUNK, LONG_CHUNK, LONG_CHUNK]


async def test_an_end_in_the_middle_of_a_long_message_is_noticed() -> None:
    link = link_over(LongFrames(1 << 20, reads=2))
    with pytest.raises(LinkDropped, match="without a closing handshake"):
        await link.receive()
