"""One module a library: how it opens connections, and how it sends and receives on one.

Each module has ``connect``. Nobody compresses, no message is too large, everybody keeps the
heartbeat of his defaults, and options that a library documents as fast are used where they help.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.scenarios import Message

__all__ = ["Connector", "Link", "Peer"]


class Link(Protocol):
    """One open connection."""

    def receive(self) -> Awaitable[object]:
        """The next message, or the library's own object with the message in `data`."""

    async def receive_many(self, count: int) -> int:
        """Take `count` messages or somewhat more; how many they were."""

    async def send_many(self, message: Message, count: int) -> None:
        """Send `message` so often, one by one, held up as the library holds up its user."""

    async def echo_many(self, message: Message, count: int) -> None:
        """Send `message` and await its echo, so often."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A link with an awaitable for each message: the library's own methods, nothing in between."""

    receive: Callable[[], Awaitable[object]]
    send: Callable[
        [Any], Awaitable[object]
    ]  # Any: some take `str` and `bytes`, some have a method for each

    async def receive_many(self, count: int) -> int:
        """Take exactly so many."""
        receive = self.receive
        for _ in range(count):
            await receive()
        return count

    async def send_many(self, message: Message, count: int) -> None:
        """One await a message."""
        send = self.send
        for _ in range(count):
            await send(message)

    async def echo_many(self, message: Message, count: int) -> None:
        """Two awaits a round trip."""
        send, receive = self.send, self.receive
        for _ in range(count):
            await send(message)
            await receive()


class Connector(Protocol):
    """What each module of this package has."""

    async def connect(
        self, stack: AsyncExitStack, url: str, count: int, message: Message
    ) -> list[Link]:
        """Open `count` connections, to be closed by `stack`, for messages like `message`."""
