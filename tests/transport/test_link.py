"""One link against a peer that never pauses."""

from __future__ import annotations

import anyio
import pytest

from statews import Limits, Link, LinkClosed, Policy
from statews.protocol.frames import Encoder
from statews.protocol.handshake import ServerHandshake
from statews.transport.stream import ByteStream, send
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
