"""What the demo plays on: a server, two clients with traffic, and a bad network between them.

The first client is in this process, where it is watched. The server and the second client are
processes of their own, and what they do is read in their logs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from anyio import Event, current_time

from ...client.connection import Connection
from ...errors import ConnectionClosed, ConnectionFailed
from ...lifecycle import State
from ...testing import FaultProxy
from .logbook import number_of, numbered
from .logs import Kind, Logs
from .names import FIRST, SECOND, SERVER, store_of
from .pace import Pace
from .processes import TICK, Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ...client.changes import Change, Changes
    from .logs import News

__all__ = ["FINE", "Entry", "Network", "Stage"]

SETTLING: Final = 10.0  # seconds that the last messages have; on a link that works they need none
ENDING: Final = 10.0  # seconds that a process has to end in an orderly way


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
        folder: where the processes have their files.
        server: the far end.
        second: the second client.
        proxies: the network with its faults, before the client and before the second one.
        connection: the near end.
        logs: of all.
        network: how the network is.
        history: every change of the connection.
        log: what happened.
        facts: what else is worth knowing of the present step.
        troubles: what went wrong in it, beside what is seen of the connection.
        began: when, as a reading of `anyio.current_time`.
        mark: where in the history the present step begins.
        quiet: set when no more is to be said.
    """

    pace: Pace
    folder: Path
    server: Process
    second: Process
    proxies: tuple[FaultProxy, FaultProxy]
    connection: Connection
    logs: Logs
    network: Network = FINE
    history: list[Change] = field(default_factory=list)
    log: list[Entry] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    began: float = field(default_factory=current_time)
    mark: int = 0
    quiet: Event = field(default_factory=Event)

    def note(self, kind: Kind, text: str, *, at: float | None = None) -> None:
        """Write into the log."""
        now = current_time() if at is None else at
        self.log.append(Entry(at=now - self.began, kind=kind, text=text))

    def tell(self, fact: str) -> None:
        """Write into the log what is worth knowing of the step afterwards as well."""
        self.note("state", fact)
        self.facts.append(fact)

    async def start_server(self) -> None:
        """Start the next process of the server's; return when it listens."""
        self.logs.port = 0
        self.server.start()
        await self.wait(lambda: bool(self.logs.port))

    async def stop(self, process: Process) -> None:
        """Have a process end in an orderly way, which it should."""
        if not await process.stop(ENDING):
            self.troubles.append(f"{process.name} did not end as it should")

    # What is waited for.

    async def wait(self, is_so: Callable[[], bool]) -> None:
        """Return when something is so."""
        while not is_so():  # noqa: ASYNC110 - others do it, in their own processes
            await anyio.sleep(TICK)

    async def wait_lost(self) -> None:
        """Return when this step has lost the link."""
        await self.wait(lambda: any(each.event == "lost" for each in self.history[self.mark :]))

    async def wait_calm(self) -> None:
        """Return when the link has lasted long enough, or there will be none."""
        await self.wait(lambda: self._is_calm)

    @property
    def _is_calm(self) -> bool:
        if not self.history or self.history[-1].now.state is not self.connection.state:
            return False  # the history is not written up to now
        last = self.history[-1]
        return last.event == "settled" or last.now.state in {State.FAILED, State.CLOSED}

    async def wait_second(self) -> None:
        """Return when the second client has a link, and messages go both ways on it."""
        logs, traffic = self.logs, self.logs.traffic[SECOND]
        opened, up, down = (
            len(each) for each in (logs.sessions[SECOND], traffic.up.arrived, traffic.down.arrived)
        )
        await self.wait(lambda: len(logs.sessions[SECOND]) > opened)
        await self.wait(lambda: len(traffic.up.arrived) > up)
        await self.wait(lambda: len(traffic.down.arrived) > down)

    async def settle(self) -> None:
        """Have no more said, and return when all has arrived, or has had its time."""
        self.quiet.set()
        processes = (self.server, self.second)
        for process in processes:
            process.order_quiet()
        with anyio.move_on_after(SETTLING):
            await self.wait(lambda: self.logs.silent >= {each.name for each in processes})
            await self.connection.flush()
            await self.wait(lambda: not any(way.awaited for way in self.logs.ways))

    async def end_sessions(self) -> None:
        """End both clients' sessions, by intent, and return when the server has seen it."""
        await self.connection.close()
        await self.stop(self.second)
        with anyio.move_on_after(ENDING):
            await self.wait(lambda: len(self.logs.ended) == len(self.logs.traffic))

    async def leave(self) -> None:
        """Stop what still runs. After that, all logs are whole."""
        for process in (self.second, self.server):
            await process.stop(ENDING)
        self.read()
        self.logs.close(store_of(SERVER, self.folder))

    # What goes on.

    async def follow(self) -> None:
        """Read what the processes write down, all the time."""
        while True:
            self.read()
            await anyio.sleep(TICK)

    def read(self) -> None:
        """Take in what the processes have written down."""
        for process in (self.server, self.second):
            self.take(self.logs.read(process))

    def take(self, news: Iterable[News]) -> None:
        """Tell what was read."""
        for kind, text in news:
            self.note(kind, text)
            if kind == "state":
                self.facts.append(text)

    async def watch(self, changes: Changes) -> None:
        """Keep the history."""
        async for change in changes:
            self.history.append(change)
            self.note(*_words(change), at=None if change.event == "settled" else change.now.since)
            if change.event == "opened":
                self.logs.sessions[FIRST].append(self.connection.session)

    async def talk(self) -> None:
        """Send, again and again, whether there is a link or not."""
        way = self.logs.traffic[FIRST].up
        while not self.quiet.is_set():
            number = way.send()
            try:
                await self.connection.send(numbered(number))
            except (ConnectionClosed, ConnectionFailed):
                way.withdraw()
                return
            with anyio.move_on_after(self.pace.every):
                await self.quiet.wait()

    async def hear(self) -> None:
        """Log what the client gets."""
        try:
            async for message in self.connection:
                self.logs.traffic[FIRST].down.take(number_of(message))
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
