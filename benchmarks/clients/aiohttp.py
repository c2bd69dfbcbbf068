"""aiohttp's client, with its reader and its masking in C."""

from __future__ import annotations

from contextlib import AsyncExitStack

import aiohttp

from benchmarks.clients import Link, Peer
from benchmarks.scenarios import Message


async def connect(stack: AsyncExitStack, url: str, count: int, message: Message) -> list[Link]:
    """Open `count` connections of one session."""
    connector = aiohttp.TCPConnector(limit=0)
    session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
    sockets = [
        await stack.enter_async_context(session.ws_connect(url, max_msg_size=0))
        for _ in range(count)
    ]
    return [
        Peer(ws.receive, ws.send_str if isinstance(message, str) else ws.send_bytes)
        for ws in sockets
    ]
