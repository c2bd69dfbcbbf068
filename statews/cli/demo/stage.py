"""What the demo plays on: a server, a bad network before it, and a client with traffic."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import anyio
from anyio import CancelScope, Event, current_time

from ...client.connection import Connection
from ...errors import ConnectionClosed, ConnectionFailed, LinkClosed
from ...lifecycle import State
from ...testing import FaultProxy
from ...transport.listen import listen
from .pace import Pace

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from ...client.changes import Change, Changes
    from ...policy import Policy
    from ...transport.link import Link

__all__ = [
    "FINE",
    "Entry",
    "Kind",
    "Network",
    "Server",
    "Stage",
    "Traffic",
]

RATE_OVER: Final = 2.0  # seconds over which the rate of messages is counted
SHOWN: Final = 200  # messages whose fate is remembered
DRAIN: Final = 3.0  # seconds that the last echoes have

Kind = Literal["step", "state", "lost", "ok", "failed"]


class Traffic:
    """Numbered messages and their echoes: what came back, and what a lost link took with it.

    Echoes come in order. So when one comes, all messages before it that have not come back
    never will: `sent == echoed + lost + in_flight`.

    Attributes:
        sent: messages handed to the transport.
        echoed: those that came back.
        lost: those that did not, and cannot any more.
        strays: what came and was not expected: a duplicate, or a stranger.
        round_trip: seconds that the last echo took.
        slowest: the longest of these since it was last set to 0.
        fates: of the latest messages whose fate is known, whether they came back.
    """

    def __init__(self) -> None:
        self.sent: int = 0
        self.echoed: int = 0
        self.lost: int = 0
        self.strays: int = 0
        self.round_trip: float | None = None
        self.slowest: float = 0.0
        self.fates: deque[bool] = deque(maxlen=SHOWN)
        self._sent_at: dict[str, float] = {}
        self._echoed_at: deque[float] = deque()

    @property
    def in_flight(self) -> int:
        """Messages sent that may still come back."""
        return self.sent - self.echoed - self.lost

    def rate(self, now: float) -> float:
        """Echoes per second, lately."""
        while self._echoed_at and self._echoed_at[0] < now - RATE_OVER:
            self._echoed_at.popleft()
        return len(self._echoed_at) / RATE_OVER

    async def send(self, connection: Connection) -> None:
        """Send the next message; counted when it is on its way."""
        message = f"message {self.sent + 1}"
        await connection.send(message)
        self.sent += 1
        self._sent_at[message] = current_time()

    def take(self, message: object) -> None:
        """Count an echo."""
        if not isinstance(message, str) or message not in self._sent_at:
            self.strays += 1
            return
        before, sent_at = self._pop_oldest()
        while before != message:
            self._lose()
            before, sent_at = self._pop_oldest()
        now = current_time()
        self.round_trip = now - sent_at
        self.slowest = max(self.slowest, self.round_trip)
        self.echoed += 1
        self.fates.append(True)
        self._echoed_at.append(now)

    def _pop_oldest(self) -> tuple[str, float]:
        oldest = next(iter(self._sent_at))
        return oldest, self._sent_at.pop(oldest)

    def give_up(self) -> None:
        """Count what is still in flight as lost: nothing will come any more."""
        while self._sent_at:
            self._pop_oldest()
            self._lose()

    def _lose(self) -> None:
        self.lost += 1
        self.fates.append(False)


class Server:
    """An echo server that can be restarted on its port.

    Attributes:
        port: its port; 0 before it runs.
        last_code: the close code with which a client ended the last link that one ended.
    """

    def __init__(self, policy: Policy, down: float) -> None:
        self.port: int = 0
        self.last_code: int | None = None
        self._policy = policy
        self._down = down
        self._restart = Event()

    def restart(self) -> None:
        """Stop now, and come back a little later."""
        self._restart.set()

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Serve; `started` as soon as it listens."""
        while True:
            async with listen(self._echo, port=self.port, policy=self._policy) as listener:
                if not self.port:
                    self.port = listener.port
                    task_status.started()
                await self._restart.wait()
            self._restart = Event()
            await anyio.sleep(self._down)

    async def _echo(self, link: Link) -> None:
        async for message in link:
            await link.send(message)
        if isinstance(link.ending, LinkClosed):
            self.last_code = link.ending.code


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
        traffic: the messages.
        network: how the network is.
        history: every change of the connection.
        log: what happened.
        began: when, as a reading of `anyio.current_time`.
        mark: where in the history the present step begins.
        talking: cancelled to stop the traffic.
    """

    pace: Pace
    server: Server
    proxy: FaultProxy
    connection: Connection
    traffic: Traffic = field(default_factory=Traffic)
    network: Network = FINE
    history: list[Change] = field(default_factory=list)
    log: list[Entry] = field(default_factory=list)
    began: float = field(default_factory=current_time)
    mark: int = 0
    talking: CancelScope = field(default_factory=CancelScope)
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

    async def drain(self) -> None:
        """Return when every message is back, or has had its time."""
        with anyio.move_on_after(DRAIN):
            while self.traffic.in_flight:  # noqa: ASYNC110 - `hear` counts, and tells nobody
                await anyio.sleep(self.pace.every)

    async def watch(self, changes: Changes) -> None:
        """Keep the history."""
        async for change in changes:
            self.history.append(change)
            self.note(*_words(change), at=None if change.event == "settled" else change.now.since)
            self._changed.set()
            self._changed = Event()

    async def talk(self) -> None:
        """Send, again and again; while there is no link, `send` waits."""
        with self.talking, suppress(ConnectionClosed, ConnectionFailed):
            while True:
                await self.traffic.send(self.connection)
                await anyio.sleep(self.pace.every)

    async def hear(self) -> None:
        """Count the echoes."""
        try:
            async for message in self.connection:
                self.traffic.take(message)
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
