"""wsproto, sans-IO in pure Python, over an anyio stream: what one would write with the two."""

from __future__ import annotations

from collections import deque
from contextlib import AsyncExitStack
from typing import Final
from urllib.parse import urlsplit

import anyio
from anyio.abc import SocketStream
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, Event, Ping, Request, TextMessage

from benchmarks.clients import Link, Peer
from benchmarks.scenarios import Message

_READ_BYTES: Final = 1 << 16  # anyio's own default


class WSProtoLink:
    """One connection; whoever waits for a message reads."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._messages: deque[Message] = deque()
        self._text: list[str] = []
        self._binary: list[bytes | bytearray] = []

    async def open(self, host: str, path: str) -> None:
        """The opening handshake."""
        await self._stream.send(self._protocol.send(Request(host=host, target=path)))
        self._protocol.receive_data(await self._stream.receive(_READ_BYTES))
        assert isinstance(next(self._protocol.events()), AcceptConnection)

    async def receive(self) -> Message:
        """The next whole message."""
        while not self._messages:
            for event in self._protocol.events():
                await self._take(event)
            if not self._messages:
                self._protocol.receive_data(await self._stream.receive(_READ_BYTES))
        return self._messages.popleft()

    async def _take(self, event: Event) -> None:
        match event:
            case TextMessage():
                self._text.append(event.data)
                if event.message_finished:
                    self._messages.append("".join(self._text))
                    self._text.clear()
            case BytesMessage():
                self._binary.append(event.data)
                if event.message_finished:
                    self._messages.append(b"".join(self._binary))
                    self._binary.clear()
            case Ping():
                await self._stream.send(self._protocol.send(event.response()))

    async def send_text(self, message: str) -> None:
        """One frame, written."""
        await self._stream.send(self._protocol.send(TextMessage(data=message)))

    async def send_binary(self, message: bytes) -> None:
        """One frame, written."""
        await self._stream.send(self._protocol.send(BytesMessage(data=message)))


async def connect(stack: AsyncExitStack, url: str, count: int, message: Message) -> list[Link]:
    """Open `count` connections."""
    where = urlsplit(url)
    links: list[Link] = []
    for _ in range(count):
        stream = await anyio.connect_tcp(where.hostname or "", where.port or 80)
        link = WSProtoLink(await stack.enter_async_context(stream))
        await link.open(where.netloc, where.path)
        links.append(
            Peer(link.receive, link.send_text if isinstance(message, str) else link.send_binary)
        )
    return links
