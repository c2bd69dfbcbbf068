"""A server whose sessions outlive their links."""

from __future__ import annotations

import logging
import math
import random as _random
import ssl as _ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import anyio

from ..errors import ConnectionClosed, UsageError
from ..policy import Policy
from ..protocol.admission import Admission, Hint, drain_hint, drain_window, retry_reason
from ..protocol.codes import CloseCode
from ..protocol.entry import Entry
from ..protocol.envelope import SUBPROTOCOL
from ..transport.group import leave
from ..transport.listener import Listener
from .door import LEAVING, AdmissionDoor
from .handlers import Handlers
from .journal import Journal
from .reception import Reception
from .settings import SessionLimits
from .upkeep import Upkeep

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from ..protocol.frames import Message
    from ..store.base import OutboxStore
    from .handlers import Handler
    from .session import Session
    from .settings import Authenticate

__all__ = ["Server", "ServerStatistics", "serve"]

FAREWELL: Final = 5.0  # seconds beyond the window for which clients may still leave by themselves

logger: Final = logging.getLogger("statews.server")


def serve(
    handler: Handler,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    store: OutboxStore | None = None,
    authenticate: Authenticate | None = None,
    limits: SessionLimits | None = None,
    admission: Admission | None = None,
    policy: Policy | None = None,
    ssl: _ssl.SSLContext | None = None,
    random: Callable[[], float] = _random.random,
) -> Server:
    """A WebSocket server whose clients keep their sessions across links (`statews.v1`).

    Use it as `async with serve(...) as server`. Leaving it cancels the handlers and closes every
    link with 1001: clients keep their sessions, and a server on the same store resumes them.

    Args:
        handler: gets each `Session`, once, and lives as long as it does, across links. When it
            returns, the session has ended by intent. When it raises, which is logged, the client
            loses its link (4500), and the next one begins with the message that was not handled.
        host: a name or an address; every address of it is bound.
        port: 0 lets the system choose; see `Server.port`.
        store: where sessions outlive the process; None: they do not.
        authenticate: says who is at the other end of a link; a session belongs to whoever it was
            when it began. None: nobody is asked.
        limits: what is kept for clients.
        admission: how many come in, and how fast.
        policy: `timeouts`, `limits`, `heartbeat` and `deflate` apply to each link.
        ssl: a server's context, for `wss://`.
        random: draws from [0, 1), for the moments at which clients are told to come back.

    Raises:
        UsageError: an argument is wrong.
    """
    if not callable(handler):
        raise UsageError(f"expected handler to be an async function of a Session, got {handler!r}")
    return Server(
        handler,
        host,
        port,
        store=store,
        authenticate=authenticate,
        limits=limits or SessionLimits(),
        admission=admission or Admission(),
        policy=policy or Policy(),
        ssl=ssl,
        random=random,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatistics:
    """A server in numbers.

    Attributes:
        sessions: those that are not over.
        away: those of them that have no link.
        links: open links, those without a session yet included.
        size_bytes: what the logs hold for clients, all together.
        refused: connections and hellos that were turned away so far.
    """

    sessions: int
    away: int
    links: int
    size_bytes: int
    refused: int


class Server:
    """A running server of sessions. Made by `serve`."""

    def __init__(
        self,
        handler: Handler,
        host: str,
        port: int,
        *,
        store: OutboxStore | None,
        authenticate: Authenticate | None,
        limits: SessionLimits,
        admission: Admission,
        policy: Policy,
        ssl: _ssl.SSLContext | None,
        random: Callable[[], float],
    ) -> None:
        self._journal = Journal(limits, store)
        self._handlers = Handlers(handler)
        self._upkeep = Upkeep(self._journal, self._handlers, limits)
        self._admission = admission
        self._door = AdmissionDoor(admission, random)
        self._reception = Reception(
            self._journal,
            self._door,
            authenticate=authenticate,
            limits=limits,
            policy=policy,
            on_attached=self._handlers.run,
            on_detached=self._upkeep.left,
        )
        self._groups: dict[str, set[Session]] = {}
        self._journal.on_over(self._forget)
        self._listener = Listener(
            self._reception.attend,
            host,
            port,
            policy=policy,
            subprotocols=[SUBPROTOCOL],
            ssl=ssl,
            door=self._door,
            leave=self._reception.leave,
        )

    def __repr__(self) -> str:
        held = f"{len(self.sessions)} sessions, {self._listener.connections} links"
        return f"<statews.Server with {held}>"

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._listener.port

    @property
    def sessions(self) -> Mapping[str, Session]:
        """All sessions that are not over, by id."""
        return MappingProxyType(self._journal.sessions)

    def statistics(self) -> ServerStatistics:
        """The server in numbers, now."""
        journal = self._journal
        return ServerStatistics(
            sessions=len(journal.sessions),
            links=self._listener.connections,
            away=len(journal.away),
            size_bytes=journal.room.size_bytes,
            refused=self._door.refused,
        )

    async def __aenter__(self) -> Self:
        """Restore what the store holds, bind and start accepting.

        Raises:
            StoreError: the store cannot be read.
            OSError: the address is not to be had.
        """
        been_away = await self._journal.open()
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        try:
            await self._handlers.start()
            self._upkeep.restored(been_away)
            self._group.start_soon(self._journal.run)
            self._group.start_soon(self._upkeep.run)
            await self._listener.__aenter__()
        except BaseException as error:
            await self._stop(error)
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop. What handlers are busy with is not handled, and comes again another time."""
        try:
            await self._listener.__aexit__(exc_type, exc, traceback)
        finally:
            await self._stop(exc)

    async def _stop(self, exc: BaseException | None) -> None:
        try:
            await self._handlers.close()
            self._group.cancel_scope.cancel()
            await leave(self._group, exc)
        finally:
            await self._journal.close()

    # Sending to others than the client at hand.

    async def send(self, sid: str, message: Message) -> None:
        """Send to a session, whether or not its client is there: see `Session.send`.

        Raises:
            UsageError: there is no such session, or as `Session.send`.
        """
        session = self._journal.sessions.get(sid)
        if session is None:
            raise UsageError(f"there is no session {sid!r:.200}")
        await session.send(message)

    def join(self, session: Session, group: str) -> None:
        """Have a session get what is broadcast to a group, until it is over or leaves it."""
        if not session.is_over:
            self._groups.setdefault(group, set()).add(session)

    def leave(self, session: Session, group: str) -> None:
        """Take a session out of a group."""
        members = self._groups.get(group, set())
        members.discard(session)
        if not members:
            self._groups.pop(group, None)

    def _forget(self, session: Session) -> None:
        self._handlers.stop(session)
        for group in [name for name, members in self._groups.items() if session in members]:
            self.leave(session, group)

    def broadcast(self, message: Message, *, group: str | None = None) -> int:
        """Send to all sessions, or to those in a group; how many they are. It waits for nobody.

        A client that is slow or away gets it later, in order, as far as its log reaches. One that
        does not take messages of that length is passed over, which is logged.

        Raises:
            UsageError: not a message.
        """
        Entry(message)  # refuse it before anybody has it
        to = self._journal.sessions.values() if group is None else self._groups.get(group, ())
        reached = 0
        for session in list(to):
            try:
                session.put(message)
            except ConnectionClosed:
                continue  # it ended with the server
            except UsageError as error:  # what it sends to others is fine
                logger.warning("session %s is not sent a broadcast: %s", session.id, error)
            else:
                reached += 1
        return reached

    async def drain(self, window: float | None = None, *, after: float = 0.0) -> None:
        """Send every client away, and let it come back to the next server at a moment of its own.

        Nobody is let in any more. Returns when all links are closed, at most a few seconds
        after the window.

        Args:
            window: seconds over which they come back; None: as the rate for returning clients
                makes it.
            after: seconds until somebody is there to let them in.

        Raises:
            UsageError: one of them is below 0, or infinite.
        """
        for name, seconds in (("window", window), ("after", after)):
            if seconds is not None and not 0 <= seconds < math.inf:
                raise UsageError(f"{name} must be 0 or more seconds, got {seconds!r}")
        sessions = self._attached()
        rate = self._admission.returning.per_second
        longest = self._admission.longest_hint
        if window is None:
            window = drain_window(len(sessions), rate, longest=longest)
        self._door.closed_for = Hint(at_least=after + window, at_most=after + 2 * window + 1)
        for number, session in enumerate(sessions):
            hint = drain_hint(number, len(sessions), window, after=after)
            session.send_away(hint, LEAVING)
        with anyio.move_on_after(FAREWELL):
            await self._listener.wait_empty()
        sessions = self._attached()  # with those that were being let in
        for number, session in enumerate(sessions):
            hint = drain_hint(number, len(sessions), window, after=after)
            session.leave_link(CloseCode.SERVICE_RESTART, retry_reason(hint))
        await self._listener.wait_empty()

    def _attached(self) -> list[Session]:
        return [each for each in self._journal.sessions.values() if each.is_attached]
