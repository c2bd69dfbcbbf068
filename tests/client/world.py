"""A network without sockets, for virtual time: what is dialled leads to a script here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio import current_time

import statews
from statews import Backoff, Jitter, State
from statews.errors import DialError, LinkDropped
from statews.policy import Heartbeat, Limits, Policy
from statews.protocol.handshake import Opened, ServerHandshake
from statews.testing.faults import Ending, Faults, Way
from statews.testing.memory import CAPACITY, MemoryLink, MemoryStream
from statews.transport.link import Link
from statews.transport.network import Acceptor
from statews.transport.stream import receive, send


@dataclass(frozen=True)
class Wire:
    """One connection of the world, and the faults that can be done to it alone."""

    link: MemoryLink
    faults: Faults

    @property
    def client(self) -> MemoryStream:
        return self.link.client

    def freeze(self, way: Way = Way.BOTH) -> None:
        """Nothing is delivered any more, and nobody is told."""
        self.faults.freeze(way)
        self.link.notify()

    def cut(self) -> None:
        """Both sides see a reset."""
        self.link.end(Ending.RST)


Script = Callable[[MemoryStream], Awaitable[object]]


@dataclass
class World:
    """Where the connections of a test lead: a network that has a script for each dial.

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
        """See `statews.transport.network.Network`."""
        on_resolved()
        self.dials.append((current_time(), host, port))
        await anyio.sleep(self.dial_time)
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        if script is refuse:
            raise DialError(f"could not connect to {host} port {port}: connection refused")
        faults = Faults()
        link = MemoryLink(
            faults,
            lambda: 0.5,
            number=len(self.wires) + 1,
            capacity=self.capacity,
            seen=lambda *_: None,
        )
        self.wires.append(Wire(link, faults))
        self.group.start_soon(self._serve, script, link.server)
        return link.client

    async def listen_tcp(self, host: str, port: int, **_: object) -> list[Acceptor]:
        raise AssertionError(f"nobody listens in this world, not on {host}:{port} either")

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


async def accept_upgrade(stream: MemoryStream, limits: Limits | None = None) -> Opened:
    """The server's half of an opening handshake."""
    limits = limits or Limits()
    handshake = ServerHandshake(subprotocols=("chat",), deflate=None, limits=limits)
    request = None
    while request is None:
        request = handshake.feed(await receive(stream))
    response, opened = handshake.accept(request)
    await send(stream, response)
    return opened


def accept(
    handler: Callable[[Link], Awaitable[object]],
    *,
    closes: bool = True,
    heartbeat: Heartbeat | None = None,
    **limits: int,
) -> Script:
    """A script: a WebSocket server with this handler; it closes the link at the handler's end."""
    policy = Policy(limits=Limits(**limits), heartbeat=heartbeat)

    async def script(stream: MemoryStream) -> None:
        link = Link(stream, await accept_upgrade(stream, policy.limits), policy)
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
