"""picows' awaitable API, after the one of websockets: Cython, on aiofastnet's transport."""

from __future__ import annotations

from contextlib import AsyncExitStack

from picows.websockets.asyncio.client import connect as picows_connect

from benchmarks.clients import Link, Peer
from benchmarks.scenarios import Message


async def connect(stack: AsyncExitStack, url: str, count: int, message: Message) -> list[Link]:
    """Open `count` connections."""
    sockets = [
        await stack.enter_async_context(
            picows_connect(url, compression=None, max_size=None, proxy=None)
        )
        for _ in range(count)
    ]
    return [Peer(ws.recv, ws.send) for ws in sockets]
