"""statews."""

from __future__ import annotations

from contextlib import AsyncExitStack

import statews
from benchmarks.clients import Link, Peer
from benchmarks.scenarios import Message


async def connect(stack: AsyncExitStack, url: str, count: int, message: Message) -> list[Link]:
    """Open `count` connections."""
    connections = [await stack.enter_async_context(statews.connect(url)) for _ in range(count)]
    return [Peer(connection.receive, connection.send) for connection in connections]
