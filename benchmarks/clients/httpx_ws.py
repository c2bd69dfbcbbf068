"""httpx-ws: wsproto over httpx' connection."""

from __future__ import annotations

from contextlib import AsyncExitStack

import httpx
from httpx_ws import AsyncWebSocketSession, aconnect_ws

from benchmarks.clients import Link, Peer
from benchmarks.scenarios import Message


async def connect(stack: AsyncExitStack, url: str, count: int, message: Message) -> list[Link]:
    """Open `count` connections of one HTTP client."""
    limits = httpx.Limits(max_connections=None)
    client = await stack.enter_async_context(httpx.AsyncClient(limits=limits, trust_env=False))
    sockets: list[AsyncWebSocketSession] = [
        await stack.enter_async_context(aconnect_ws(url, client)) for _ in range(count)
    ]
    if isinstance(message, str):
        return [Peer(ws.receive_text, ws.send_text) for ws in sockets]
    return [Peer(ws.receive_bytes, ws.send_bytes) for ws in sockets]
