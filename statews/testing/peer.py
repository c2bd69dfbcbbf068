"""A WebSocket server that says what a test tells it to, byte for byte if need be.

    async with ScriptedPeer() as peer, statews.connect(peer.url, wait=False) as connection:
        link = await peer.accept()
        await link.respond(503, {"Retry-After": "5"})  # the first attempt is refused
        link = await peer.accept()
        await link.upgrade()
        await link.send("hello")
        assert await connection.receive() == "hello"

It listens in whatever network it is entered: on sockets, or in a `Network` of memory. Nothing
is checked, and nothing happens by itself: a ping is answered if the test answers it. Tests that
do not want to steer have `scripts` do it.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import anyio
from anyio import CancelScope, Event, current_time

from ..errors import LinkDropped, UsageError
from ..protocol.codes import Opcode
from ..transport.accepting import Accepting
from ..transport.group import leave
from .peerlink import PeerFrame, PeerLink, PeerRequest, PeerTimeout, within
from .virtual import add_note

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from ..transport.stream import ByteStream

__all__ = [
    "PeerFrame",
    "PeerLink",
    "PeerRequest",
    "PeerTimeout",
    "Script",
    "ScriptedPeer",
    "close_with",
    "echo",
    "respond_with",
    "say",
    "silent",
]

TIMEOUT: Final = 60.0  # seconds: longer than any wait of the default `Policy`
FAREWELL: Final = 5.0  # seconds that a client has to answer an end

Script = Callable[[PeerLink], Awaitable[object]]


class ScriptedPeer(Accepting):
    """A server that accepts TCP connections, and leaves the rest to the test.

    Leaving it ends every connection. The exception of a script cancels the body, and leaves the
    `async with` as it is; only `LinkDropped` just ends a script, for the client may leave.

    Args:
        host: where to listen, in the network it is entered in.
        port: 0 lets the network choose.
        scripts: async functions of a `PeerLink`, for one connection each, the last one for all
            that come after; TCP is ended in an orderly way behind them. None: see `accept`.
        timeout: seconds that each wait takes at the most, here and in links that come.

    Attributes:
        links: the connections that came, the oldest first.
        timeout: as given; it may be changed, as that of each link.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        scripts: Sequence[Script] = (),
        timeout: float = TIMEOUT,
    ) -> None:
        super().__init__("the peer")
        self.links: list[PeerLink] = []
        self._address = (host, port)
        self._scripts = tuple(scripts)
        self.timeout: float = timeout
        self._taken = 0  # of links, by accept
        self._came = Event()
        self._failure: Exception | None = None

    def __repr__(self) -> str:
        return f"<ScriptedPeer {self._address[0]}, {self._so_far()}>"

    def _so_far(self) -> str:
        return f"{len(self.links)} connections"

    @property
    def url(self) -> str:
        """What a client connects to."""
        host = self._address[0]
        return f"ws://[{host}]:{self.port}/" if ":" in host else f"ws://{host}:{self.port}/"

    async def accept(self) -> PeerLink:
        """The next connection, in the order in which they came.

        Raises:
            PeerTimeout: none came in time.
            UsageError: the scripts take them all.
        """
        if self._scripts:
            raise UsageError("the scripts take every connection: see links, or leave scripts out")
        with within(self.timeout, "a connection", self._so_far):
            while len(self.links) == self._taken:
                await self._came.wait()
        self._taken += 1
        return self.links[self._taken - 1]

    async def __aenter__(self) -> Self:
        """Start accepting.

        Raises:
            OSError: the address is not to be had.
        """
        await self._bind(*self._address, user_timeout=None)
        await self._start_accepting()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End everything."""
        self._stop_accepting()
        try:
            is_ours = await leave(self._group, exc) or exc is None
        finally:
            for link in self.links:
                link.close()
        if self._failure is not None and is_ours:
            raise self._failure from self._failure.__cause__  # and not from the cancellation
        if self._failure is not None and exc is not None:
            add_note(exc, f"before that, a script failed: {self._failure!r}")

    def _accepted(self, stream: ByteStream, _: str, /) -> None:
        link = PeerLink(stream, self.timeout)
        self.links.append(link)
        self._came.set()
        self._came = Event()
        if self._scripts:
            script = self._scripts[min(len(self.links), len(self._scripts)) - 1]
            self._group.start_soon(self._run, script, link)

    async def _run(self, script: Script, link: PeerLink) -> None:
        try:
            await script(link)
            link.eof()
            link.timeout = math.inf
            with anyio.move_on_after(FAREWELL):  # a close with bytes unread would be a reset
                await link.wait_closed()
        except LinkDropped:
            pass  # the client left
        except Exception as error:  # noqa: BLE001 - raised on leaving, in no group
            self._failure = self._failure or error
            self._group.cancel_scope.cancel()
        finally:
            link.close()


# Scripts.


async def echo(link: PeerLink) -> None:
    """Upgrade, send every frame of a message back, answer pings and the close."""
    link.timeout = math.inf
    await link.upgrade()
    await _converse(link, math.inf)


async def _converse(link: PeerLink, until: float) -> bool:
    """Be an echo up to a time, or to the client's close; whether the time has come."""
    while True:
        frame = None
        with CancelScope(deadline=until):
            frame = await link.receive()
        if frame is None:
            return True
        if frame.opcode == Opcode.PING:
            await link.pong(frame.payload)
        elif frame.opcode != Opcode.PONG:
            await link.send_frame(frame.opcode, frame.payload, fin=frame.fin)
        if frame.opcode == Opcode.CLOSE:
            return False


async def silent(link: PeerLink) -> None:
    """Say nothing, not even to the opening handshake."""
    link.timeout = math.inf
    await link.wait_closed()


def respond_with(
    status: int, headers: Mapping[str, str | None] | None = None, body: bytes = b""
) -> Script:
    """A script that answers the opening handshake: see `PeerLink.respond`."""

    async def script(link: PeerLink) -> None:
        link.timeout = math.inf
        await link.respond(status, headers, body)

    return script


def say(*pieces: bytes, upgrade: bool = False) -> Script:
    """A script that sends bytes as they are, and then the end of TCP.

    Args:
        pieces: sent one after the other, when the request has come.
        upgrade: whether it is first answered with a correct 101.
    """

    async def script(link: PeerLink) -> None:
        link.timeout = math.inf
        await (link.upgrade() if upgrade else link.read_request())
        for piece in pieces:
            await link.send_bytes(piece)

    return script


def close_with(code: int | None, reason: str = "", *, after: float = 0.0) -> Script:
    """A script that is an `echo` for so many seconds, and then closes with any code."""

    async def script(link: PeerLink) -> None:
        link.timeout = math.inf
        await link.upgrade()
        if await _converse(link, current_time() + after):
            await link.send_close(code, reason)
            with anyio.move_on_after(FAREWELL):
                while (await link.receive()).opcode != Opcode.CLOSE:
                    pass

    return script
