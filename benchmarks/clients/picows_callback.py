"""picows' core API: a callback for each frame, and a plain function to send; on aiofastnet."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from benchmarks.clients import Link
from benchmarks.scenarios import Message


class CallbackLink(WSListener):
    """Makes `str` or `bytes` of each frame, as everybody does, and wakes who waits for so many."""

    def __init__(self) -> None:
        super().__init__()
        self.last: Message = b""
        self._received = 0
        self._wanted = 0
        self._arrived: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._paused = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Keep what sends."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take one message out of its frame."""
        if frame.msg_type == WSMsgType.TEXT:
            self.last = frame.get_payload_as_utf8_text()
        else:
            self.last = frame.get_payload_as_bytes()
        self._received += 1
        if self._received == self._wanted and self._arrived is not None:
            self._arrived.set_result(None)

    def pause_writing(self) -> None:
        """More than the transport wants to hold is waiting."""
        self._paused = True
        self._writable.clear()

    def resume_writing(self) -> None:
        """There is room again."""
        self._paused = False
        self._writable.set()

    async def receive(self) -> Message:
        """The last message, once there is one."""
        await self.receive_many(1)
        return self.last

    async def receive_many(self, count: int) -> int:
        """Wait until so many have come."""
        if self._received < count:
            self._wanted, self._arrived = count, asyncio.get_running_loop().create_future()
            await self._arrived
        # Frames went on arriving while this task waited for its turn: all of them are counted.
        received, self._received, self._wanted = self._received, 0, 0
        return received

    async def send_many(self, message: Message, count: int) -> None:
        """Send, and wait while the transport has enough."""
        send, kind = (
            self._transport.send,
            WSMsgType.TEXT if isinstance(message, str) else WSMsgType.BINARY,
        )
        for _ in range(count):
            send(kind, message)
            if self._paused:
                await self._writable.wait()

    async def echo_many(self, message: Message, count: int) -> None:
        """Not in this scenario."""
        raise NotImplementedError("a callback answers itself")


async def connect(stack: AsyncExitStack, url: str, count: int, message: Message) -> list[Link]:
    """Open `count` connections."""
    links: list[Link] = []
    for _ in range(count):
        transport, link = await ws_connect(CallbackLink, url, max_frame_size=1 << 30)
        assert isinstance(link, CallbackLink)
        stack.callback(transport.disconnect)
        links.append(link)
    return links
