"""All sessions of a server, and what a store keeps of them.

Without a store, all is in memory. With one, it is in memory as well, and the store follows: what
a peer is told, the store knows. Records are JSON, messages are streams named after sessions.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final, TypeVar

from anyio import CancelScope, Event, current_time, sleep

from ..errors import StoreCorruptError, StoreError, UsageError
from ..protocol.entry import Entry, Terms
from ..store.base import Stored
from ..store.sqlite import SQLiteStore
from .inbox import Inbox
from .room import Room
from .session import Session
from .standing import Standing, Tombstone, read_record, write_record

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from ..policy import AtLimit
    from ..protocol.frames import Message
    from ..protocol.session import Credentials, Log
    from ..store.base import Contents, OutboxStore
    from .settings import SessionLimits

__all__ = ["Journal"]

PAUSE: Final = 0.02  # seconds between two commits of what nobody waits for
PAUSE_OF_FAILURE: Final = 1.0  # seconds more behind one that failed
Result = TypeVar("Result")

MOST_SETTLED: Final = 8  # messages of a log that wait for the next commit to be forgotten
TOMBSTONES: Final = 10_000  # sessions that are over, and whose last position is remembered

logger: Final = logging.getLogger("statews.server")


class Journal:
    """The sessions, in memory and in the store.

    Args:
        limits: of each session, and of all together.
        store: where they outlive the process, if they do.

    Attributes:
        sessions: all that are not over, by id.
        tombstones: the last ones that are, by id.
        away: those without a link, and when they expire, the first first.
        room: what all logs together may hold.
        has_failed: whether the store could not keep the last that it was to.
        is_left: whether the server is, and nothing will come or go any more.
        arriving: where each link in its turn puts together what comes in.
    """

    def __init__(self, limits: SessionLimits, store: OutboxStore | None) -> None:
        self.sessions: dict[str, Session] = {}
        self.tombstones: dict[str, Tombstone] = {}
        self.away: dict[Session, float] = {}
        self.room: Room = Room(limits.total_bytes)
        self.has_failed: bool = False
        self.is_left: bool = False
        self.arriving: deque[Message] = deque()
        self._limits = limits
        self._outbox = limits.outbox  # one for all of them
        self._store = store
        self._noted: set[Session] = set()  # those that have changed since they were handed over
        self._handed: dict[Session, tuple[int, Standing]] = {}  # what the store has, not safe yet
        self._expected: set[Session] = set()  # those that are away, and whose clients have come
        self._transacting: dict[Session, Event] = {}  # and what is set when that is over
        self._moved = Event()
        self._on_over: Callable[[Session], None] = _nothing
        self._on_woken: Callable[[Session], None] = _nothing

    @property
    def at_limit(self) -> AtLimit:
        """See `SessionLimits`."""
        return self._limits.at_limit

    @property
    def is_durable(self) -> bool:
        """Whether there is a store."""
        return self._store is not None

    # Sessions begin and end.

    def new(self, sid: str, credentials: Credentials, chain: int) -> Session:
        """Begin a session. What its client knows of it has to be saved first."""
        session = Session(sid, credentials, Standing.first(chain), self)
        self.sessions[sid] = session
        self.note(session)
        return session

    def wake(self, session: Session, standing: Standing) -> Inbox:
        """What a session goes on with that has slept."""
        self._on_woken(session)
        peer = standing.peer(self._outbox, self._limits.window, is_stored=self.is_durable)
        return Inbox(peer, standing.again_upto)

    def leave(self, session: Session, expires_at: float) -> None:
        """A session has lost its link."""
        self.away[session] = expires_at
        self._expected.discard(session)
        if not session.is_asleep:
            session.kept_upto = session.peer.log.acknowledged
            self.settled(session)
        if session.counted_bytes:
            self.room.wake_all()

    def expect(self, session: Session) -> None:
        """The client of a session that is away has come: no record says any more that it is."""
        self._expected.add(session)

    def come_back(self, session: Session) -> None:
        """A session is about to have a link."""
        self.away.pop(session, None)
        self._expected.discard(session)
        self.room.come_back(session)

    def end(self, session: Session, event: str = "ended") -> None:
        """A session is over: both the memory and the store forget it."""
        if self.sessions.pop(session.id, None) is None:
            return
        session.over(event)
        self.room.end(session)
        self.away.pop(session, None)
        self._expected.discard(session)
        self._noted.discard(session)
        self._handed.pop(session, None)
        self._bury(session)
        if self._store is not None:
            self._store.forget(session.id)
            self._moved.set()
        self._on_over(session)

    def _bury(self, session: Session) -> None:
        self.tombstones[session.id] = Tombstone(session.credentials, session.position)
        if len(self.tombstones) > TOMBSTONES:
            del self.tombstones[next(iter(self.tombstones))]

    def on_over(self, call: Callable[[Session], None]) -> None:
        """Have this called with each session that is over."""
        self._on_over = call

    def on_woken(self, call: Callable[[Session], None]) -> None:
        """Have this called with each session that wakes."""
        self._on_woken = call

    # What a session wants kept.

    def add(self, session: Session, entry: Entry) -> None:
        """A message is in the log of a session."""
        if self._store is not None:
            message, number = entry.message, entry.terms.number
            self._store.add(Stored(number=number, message=message, stream=session.id))
            self.note(session)
        self.settled(session)

    def settled(self, session: Session) -> None:
        """Some messages of a session may not have to be kept any more."""
        log = session.peer.log
        self.room.count(session, log.size_bytes, is_away=session in self.away)
        if log.settled:
            self.note(session)
            if self._store is not None and len(log.settled) > MOST_SETTLED + len(log) // 4:
                self._forget_settled(self._store, session)

    def _forget_settled(self, store: OutboxStore, session: Session) -> None:
        """However long commits take or fail, the store is to hold little more than the log."""
        if session not in self._transacting and not session.is_over:
            self._save(store, session)

    def make_room(self, log: Log, size: int) -> bool:
        """Whether a log may hold so much more, at the cost of those who are away."""
        while self.room.left < size:
            heaviest = self.room.heaviest()
            if heaviest is None:
                return not len(log)
            self._drop(heaviest, heaviest.peer.log.first)
        return True

    def make_place(self, session: Session, size: int) -> None:
        """The same, and if need be at the cost of its own."""
        log = session.peer.log
        while not log.has_room(size) or not self.make_room(log, size):
            self._drop(session, log.first)

    def _drop(self, session: Session, upto: int) -> None:
        if not session.is_asleep:
            session.peer.log.drop(upto)
            session.settled()

    def sweep(self) -> None:
        """Drop what was here at the last sweep already, of clients that are away."""
        for session in self.away:
            self._drop(session, session.kept_upto)
            session.kept_upto = session.sent

    def note(self, session: Session) -> None:
        """Something of a session has changed. To save it is not urgent."""
        if self._store is not None and not session.is_over:
            self._noted.add(session)
            self._moved.set()

    async def save(self, session: Session) -> None:
        """Return when everything of a session is stored.

        Raises:
            StoreError: it is not.
        """
        if self._store is not None:
            if not session.is_over:
                self._noted.add(session)
            ended = self._transacting.get(session)
            if ended is not None:
                await ended.wait()  # its record is in the store's hands then
            await self._commit(self._store)

    async def _commit(self, store: OutboxStore) -> None:
        noted = self._noted - self._transacting.keys()
        self._noted -= noted
        for session in noted:
            self._save(store, session)
            self._handed[session] = session.sent, session.standing()
        handed, self._handed = self._handed, {}
        try:
            await store.commit()
        except BaseException as error:
            self.has_failed |= isinstance(error, StoreError)
            left = {session: mark for session, mark in handed.items() if not session.is_over}
            self._handed = {**left, **self._handed}
            self._moved.set()
            raise
        self.has_failed = False
        for session, (last, standing) in handed.items():
            session.stored(last, standing)

    def _save(self, store: OutboxStore, session: Session) -> None:
        """Have the store keep the record, and forget what is settled: never one without the other.

        The record says which number the first message has that is kept.
        """
        if not session.is_asleep:
            log = session.peer.log
            if log.settled:
                store.remove(log.settled, stream=session.id)
                log.settled = []
        been_away = self._been_away(session)
        record = write_record(session.credentials, session.standing(), been_away)
        store.save_position(session.id, record)

    def _been_away(self, session: Session) -> float:
        """For how many seconds, in this process and in earlier ones."""
        if session not in self.away or session in self._expected:
            return 0.0
        return max(0.0, current_time() - self.away[session] + self._limits.time_to_live)

    async def transact(
        self, session: Session, effect: Callable[[sqlite3.Connection], Result]
    ) -> Result:
        """See `Session.transact`."""
        position, store = session.inbox.next_position(), self._store
        if not isinstance(store, SQLiteStore):
            raise UsageError(
                "a transaction needs a SQLiteStore: serve(..., store=SQLiteStore(path))"
            )
        if position is None or session in self._transacting:
            raise UsageError("there is no message that was received and is not handled")
        last, (rx, chain) = session.sent, position
        standing = session.standing()._replace(rx=rx, rx_chain=chain)
        record = write_record(session.credentials, standing, self._been_away(session))
        self._transacting[session] = Event()  # no record that knows less may come after this one
        try:
            result = await store.transact(effect, name=session.id, position=record)
            session.inbox.handle_last()
        finally:
            self._transacted(store, session)
        session.stored(last, session.standing())
        return result

    def _transacted(self, store: OutboxStore, session: Session) -> None:
        """A transaction is over: what was held back meanwhile is not any more."""
        self._transacting.pop(session).set()
        self._moved.set()
        if session.is_over:
            store.forget(session.id)  # the transaction has put a record there
            return
        if session in self._noted:
            self._save(store, session)

    # The store comes and goes.

    async def open(self) -> dict[Session, float]:
        """Restore what earlier processes kept, and return how many seconds each was away.

        Raises:
            StoreError: it cannot be read.
        """
        if self._store is None:
            return {}
        contents = await self._store.open()
        try:
            return self._restore(contents)
        except (KeyError, TypeError, ValueError) as error:
            await self._store.close()
            text = f"the store holds a session that is none: {error!r}"
            raise StoreCorruptError("", text) from error

    def _restore(self, contents: Contents) -> dict[Session, float]:
        been_away: dict[Session, float] = {}
        for sid, text in contents.positions.items():
            credentials, standing, seconds = read_record(text)
            session = self.sessions[sid] = Session(sid, credentials, standing, self)
            been_away[session] = seconds
        for stored in contents.messages:
            owner = self.sessions.get(stored.stream)
            if owner is not None and stored.number == owner.sent + 1:
                owner.restore(Entry(stored.message, Terms(number=stored.number)))
                self.settled(owner)
        return been_away

    async def run(self) -> None:
        """Commit what nobody waits for, now and then, until cancelled."""
        while self._store is not None:
            await self._moved.wait()
            self._moved = Event()
            try:
                await self._commit(self._store)
            except StoreError as error:
                logger.error("the store failed: %s", error)  # noqa: TRY400 - no bug of ours
                await sleep(PAUSE_OF_FAILURE)
            await sleep(PAUSE)

    async def close(self) -> None:
        """Have nobody wait for anything any more, commit what is noted, and release the store.

        With each session that is away is noted for how long.
        """
        self.is_left = True
        for session in self.sessions.values():
            session.wake_all()
        if self._store is not None:
            self._noted |= self.away.keys()
            with CancelScope(shield=True):  # the disk's own pace
                try:
                    try:
                        await self._commit(self._store)
                    finally:
                        await self._store.close()  # which tries once more
                except StoreError as error:
                    logger.error("the store failed: %s", error)  # noqa: TRY400


def _nothing(_: Session) -> None:
    """Nobody wants to know."""
