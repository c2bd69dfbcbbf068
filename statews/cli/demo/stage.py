"""What the demo plays on: a server, a bad network before it, and a client with traffic."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import anyio
from anyio import Event, current_time

from ...client.connection import Connection
from ...errors import ConnectionClosed, ConnectionFailed
from ...lifecycle import State
from ...testing import FaultProxy
from .pace import Pace
from .server import Server, number_of, numbered
from .traffic import Traffic

if TYPE_CHECKING:
    from ...client.changes import Change, Changes

__all__ = [
    "FINE",
    "Entry",
    "Kind",
    "Network",
    "Stage",
]

SETTLING: Final = 10.0  # seconds that the last messages have; on a link that works they need none

Kind = Literal["step", "state", "lost", "ok", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How the network is, in words and as a picture.

    Attributes:
        says: in words.
        near: the way between client and proxy.
        far: the way between proxy and server.
    """

    says: str = "fine"
    near: str = "━━━━━━"
    far: str = "━━━━━━"


FINE: Final = Network()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the log."""

    at: float  # seconds since the demo began
    kind: Kind
    text: str


@dataclass(slots=True, kw_only=True)
class Stage:
    """Everything there is to see.

    Attributes:
        pace: its numbers.
        server: the far end.
        proxy: the network, with its faults.
        connection: the near end.
        traffic: the messages of both directions.
        network: how the network is.
        history: every change of the connection.
        log: what happened.
        began: when, as a reading of `anyio.current_time`.
        mark: where in the history the present step begins.
        quiet: set when no more is to be said.
    """

    pace: Pace
    server: Server
    proxy: FaultProxy
    connection: Connection
    traffic: Traffic
    network: Network = FINE
    history: list[Change] = field(default_factory=list)
    log: list[Entry] = field(default_factory=list)
    began: float = field(default_factory=current_time)
    mark: int = 0
    quiet: Event = field(default_factory=Event)
    _changed: Event = field(default_factory=Event)

    def note(self, kind: Kind, text: str, *, at: float | None = None) -> None:
        """Write into the log."""
        now = current_time() if at is None else at
        self.log.append(Entry(at=now - self.began, kind=kind, text=text))

    async def wait_lost(self) -> None:
        """Return when this step has lost the link."""
        while not any(change.event == "lost" for change in self.history[self.mark :]):
            await self._changed.wait()

    async def wait_calm(self) -> None:
        """Return when the link has lasted long enough, or there will be none."""
        while not self._is_calm:
            await self._changed.wait()

    @property
    def _is_calm(self) -> bool:
        if not self.history or self.history[-1].now.state is not self.connection.state:
            return False  # the history is not written up to now
        last = self.history[-1]
        return last.event == "settled" or last.now.state in {State.FAILED, State.CLOSED}

    async def settle(self) -> None:
        """Have no more said, and return when all has arrived, or has had its time."""
        self.quiet.set()
        with anyio.move_on_after(SETTLING):
            await self.connection.flush()
            await self.traffic.wait_arrived()

    async def watch(self, changes: Changes) -> None:
        """Keep the history."""
        async for change in changes:
            self.history.append(change)
            self.note(*_words(change), at=None if change.event == "settled" else change.now.since)
            self._changed.set()
            self._changed = Event()

    async def talk(self) -> None:
        """Send, again and again, whether there is a link or not."""
        while not self.quiet.is_set():
            number = self.traffic.up.send()
            try:
                await self.connection.send(numbered(number))
            except (ConnectionClosed, ConnectionFailed):
                self.traffic.up.withdraw()
                return
            await self._pause()

    async def speak(self) -> None:
        """Have the server speak, again and again, whether anybody is there or not."""
        while not self.quiet.is_set():
            await self.server.say()
            await self._pause()

    async def _pause(self) -> None:
        """Wait until the next message is due."""
        with anyio.move_on_after(self.pace.every):
            await self.quiet.wait()

    async def hear(self) -> None:
        """Log what the client gets."""
        try:
            async for message in self.connection:
                self.traffic.down.take(number_of(message))
        except ConnectionFailed as error:
            self.note("failed", str(error))


def _words(change: Change) -> tuple[Kind, str]:
    """A change, for the log."""
    now = change.now
    if change.event == "settled":
        return "state", f"{now.state}: settled, earlier attempts are forgotten"
    moved = f"{change.left} → {now.state}"
    if change.event == "lost" and now.retry_at is not None:
        wait = now.retry_at - now.since
        return "lost", f"{moved}, attempt {now.attempt} in {wait:.2f} s: {now.last_error}"
    return "state", moved
