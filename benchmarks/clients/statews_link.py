"""statews without receipts: the links themselves, which an `on_open` hook is given."""

from __future__ import annotations

from contextlib import AsyncExitStack

import statews
from benchmarks.clients import Link, Peer
from benchmarks.scenarios import Message


async def connect(stack: AsyncExitStack, url: str, count: int, message: Message) -> list[Link]:
    """Open `count` connections."""
    links: list[statews.Link] = []

    async def keep(link: statews.Link) -> None:
        links.append(link)

    connections = [
        await stack.enter_async_context(statews.connect(url, on_open=keep)) for _ in range(count)
    ]
    return [
        Peer(connection.receive, link.send)
        for connection, link in zip(connections, links, strict=True)
    ]
