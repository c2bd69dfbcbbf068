"""websockets, with its masking in C: the asyncio client or the trio client, as the loop has it."""

from __future__ import annotations

from contextlib import AsyncExitStack

import sniffio

from benchmarks.clients import Link, Peer
from benchmarks.scenarios import Message


async def connect(stack: AsyncExitStack, url: str, count: int, message: Message) -> list[Link]:
    """Open `count` connections."""
    if sniffio.current_async_library() == "trio":
        from websockets.trio.client import connect as opened
    else:
        from websockets.asyncio.client import connect as opened  # type: ignore[assignment]  # the same parameters

    sockets = [
        await stack.enter_async_context(opened(url, compression=None, max_size=None, proxy=None))
        for _ in range(count)
    ]
    return [Peer(ws.recv, ws.send) for ws in sockets]
