"""A network without sockets, for virtual time: where `connect_tcp` leads is a coroutine here."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio import Event, current_time

import statews
from statews import Backoff, Jitter, State
from statews.errors import DialError, LinkDropped
from statews.policy import Limits, Policy
from statews.protocol.handshake import ServerHandshake
from statews.transport.link import Link
from statews.transport.stream import receive, send, send_each_nowait

CAPACITY = 65536


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer as soon as there is nothing else to do."""

    def __init__(self) -> None:
        super().__init__(_JumpingSelector(self))
        self.now = 0.0

    def time(self) -> float:
        return self.now


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("every task waits, and nothing will ever wake one")
        if not ready and timeout is not None and timeout > 0:
            self._loop.now += timeout
        return ready


class Pipe:
    """One direction."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self.data = bytearray()
        self.has_eof = False
        self.is_broken = False
        self.is_frozen = False
        self.changed = Event()

    def notify(self) -> None:
        self.changed.set()
        self.changed = Event()


class MemoryStream:
    """A `ByteStream` between two tasks."""

    def __init__(self, incoming: Pipe, outgoing: Pipe) -> None:
        self.incoming = incoming
        self.outgoing = outgoing
        self.is_closed = False
        self.is_aborted = False

    def receive_nowait(self, most: int = CAPACITY) -> bytes | None:
        pipe = self.incoming
        if self.is_closed or pipe.is_broken:
            raise LinkDropped("the link broke while receiving: connection reset")
        if pipe.is_frozen:
            return None
        if not pipe.data:
            return b"" if pipe.has_eof else None
        data = bytes(pipe.data[:most])
        del pipe.data[:most]
        pipe.notify()
        return data

    def send_nowait(self, data: bytes | memoryview) -> int:
        pipe = self.outgoing
        if self.is_closed or pipe.is_broken:
            raise LinkDropped("the link broke while sending: broken pipe")
        room = max(0, pipe.capacity - len(pipe.data))
        pipe.data += bytes(data[:room])
        pipe.notify()
        return min(room, len(data))

    def send_pieces_nowait(self, pieces: Sequence[bytes | memoryview]) -> int:
        return send_each_nowait(self, pieces)

    def is_readable(self) -> bool:
        pipe = self.incoming
        return not pipe.is_frozen and bool(pipe.data or pipe.has_eof or pipe.is_broken)

    async def wait_readable(self) -> None:
        while not self.is_readable():
            await self.incoming.changed.wait()
            if self.is_closed:
                raise LinkDropped("the link was closed while receiving")
        await anyio.lowlevel.checkpoint()

    async def wait_writable(self) -> None:
        pipe = self.outgoing
        while len(pipe.data) >= pipe.capacity and not pipe.is_broken:
            await pipe.changed.wait()
            if self.is_closed:
                raise LinkDropped("the link was closed while sending")
        await anyio.lowlevel.checkpoint()

    def send_eof(self) -> None:
        self.outgoing.has_eof = True
        self.outgoing.notify()

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.outgoing.has_eof = True
            for pipe in (self.incoming, self.outgoing):
                pipe.notify()

    def abort(self) -> None:
        if not self.is_closed:
            self.is_aborted = True
            self.outgoing.is_broken = True
            self.close()


@dataclass
class Wire:
    """One connection of the network, and the faults that can be done to it."""

    client: MemoryStream
    server: MemoryStream
    opened_at: float

    def freeze(self) -> None:
        """Nothing is delivered any more, and nobody is told."""
        self.client.incoming.is_frozen = self.server.incoming.is_frozen = True

    def cut(self) -> None:
        """Both sides see a reset."""
        for pipe in (self.client.incoming, self.client.outgoing):
            pipe.is_broken = True
            pipe.notify()


Script = Callable[[MemoryStream], Awaitable[object]]


@dataclass
class World:
    """Where the connections of a test lead.

    `scripts` serve the dials in order, the last one again and again. A script is a raw peer;
    `echo` and `accept` make scripts that speak WebSocket.
    """

    scripts: list[Script]
    group: Any = None  # where the scripts run: set for the time of a test
    wires: list[Wire] = field(default_factory=list)
    dials: list[tuple[float, str, int]] = field(default_factory=list)
    dial_time: float = 0.0
    capacity: int = CAPACITY

    async def connect_tcp(
        self, host: str, port: int, *, on_resolved: Callable[[], None], **_: object
    ) -> MemoryStream:
        """Stands in for `statews.transport.tcp.connect_tcp`."""
        on_resolved()
        self.dials.append((current_time(), host, port))
        await anyio.sleep(self.dial_time)
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        if script is refuse:
            raise DialError(f"could not connect to {host} port {port}: connection refused")
        up, down = Pipe(self.capacity), Pipe(self.capacity)
        wire = Wire(MemoryStream(down, up), MemoryStream(up, down), current_time())
        self.wires.append(wire)
        self.group.start_soon(self._serve, script, wire.server)
        return wire.client

    async def _serve(self, script: Script, stream: MemoryStream) -> None:
        try:
            await script(stream)
        except LinkDropped:
            stream.close()

    def live_wires(self) -> list[Wire]:
        """Those that the client holds."""
        return [wire for wire in self.wires if not wire.client.is_closed]


async def refuse(_: MemoryStream) -> None:
    """A script: nobody listens."""


async def silent(stream: MemoryStream) -> None:
    """A script: accepts TCP, and says nothing until the client leaves."""
    while await receive(stream):
        pass


def respond(response: bytes) -> Script:
    """A script: answers the opening handshake with these bytes."""

    async def script(stream: MemoryStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await receive(stream)
        await send(stream, response)
        stream.close()

    return script


def accept(
    handler: Callable[[Link], Awaitable[object]], *, closes: bool = True, **limits: int
) -> Script:
    """A script: a WebSocket server with this handler; it closes the link at the handler's end."""
    policy = Policy(limits=Limits(**limits), heartbeat=None)

    async def script(stream: MemoryStream) -> None:
        handshake = ServerHandshake(subprotocols=("chat",), deflate=None, limits=policy.limits)
        request = None
        while request is None:
            request = handshake.feed(await receive(stream))
        response, opened = handshake.accept(request)
        await send(stream, response)
        link = Link(stream, opened, policy)
        async with anyio.create_task_group() as group:
            group.start_soon(link.serve)
            try:
                await handler(link)
            except Exception as error:
                if error is not link.ending:
                    raise
            if not closes:
                await anyio.sleep_forever()
            group.cancel_scope.cancel()
        with anyio.move_on_after(5, shield=True):
            await link.close()

    return script


async def echo_handler(link: Link) -> None:
    """Send back whatever comes."""
    async for message in link:
        await link.send(message)


echo = accept(echo_handler)


URL = "ws://example.org/feed"


def steady(**changes: object) -> Policy:
    """Delays without chance, no limit of attempts."""
    backoff = Backoff(jitter=Jitter.NONE, max_attempts=None)
    return Policy(**{"backoff": backoff, **changes})  # type: ignore[arg-type]


def connect(url: object = URL, **options: object) -> statews.Connection:
    return statews.connect(url, **{"policy": steady(), "proxy": None, **options})  # type: ignore[arg-type]


def states_of(seen: list[statews.Change]) -> list[State]:
    return [change.now.state for change in seen]
