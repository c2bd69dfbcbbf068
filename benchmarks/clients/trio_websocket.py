"""trio-websocket: wsproto on trio."""

from __future__ import annotations

from contextlib import AsyncExitStack

from trio_websocket import open_websocket_url

from benchmarks.clients import Link, Peer
from benchmarks.scenarios import Message


async def connect(stack: AsyncExitStack, url: str, count: int, message: Message) -> list[Link]:
    """Open `count` connections."""
    sockets = [
        await stack.enter_async_context(
            # None lets trio choose how much is read at once, up to 64 KiB, instead of 4 KiB.
            open_websocket_url(
                url, max_message_size=1 << 30, message_queue_size=1000, receive_buffer_size=None
            )
        )
        for _ in range(count)
    ]
    return [Peer(ws.get_message, ws.send_message) for ws in sockets]
