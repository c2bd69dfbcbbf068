"""The two applications: numbered messages all the time, and a word in the ledger for each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import anyio

import statews
from statews import Change, Gap, Message, Receipt, ReceiptState, Reset, Session
from statews.errors import ConnectionClosed, OutboxFullError, StoreError

from .ledger import Ledger, Taken
from .plans import Listening, Talk
from .processes import Process

__all__ = ["Client", "Host", "Refused", "Talking"]


class Refused(Exception):
    """A handler fails on purpose."""


def payload_of(label: str, size: int, number: int) -> Message:
    """A message that says which it is; every third is binary."""
    text = f"{label}:".ljust(size, "x")
    return text.encode() if number % 3 == 0 else text


def label_of(message: Message) -> str:
    """What it says."""
    return (message if isinstance(message, str) else message.decode()).partition(":")[0]


class Client:
    """A client's application, over one process or several.

    Args:
        name: it is known by.
        talk: what it sends.
        listening: what it does with messages.
        problems: see `Ledger`.

    Attributes:
        up: what it sends.
        down: what is sent to it.
        receipts: of the messages that this and earlier processes have sent.
        resets: how often it was told that its session is over.
        is_done: whether it has nothing more to send.
        flushed_at: when the last process had it all acknowledged.
        session: the one that it had in the end.
    """

    def __init__(self, name: str, talk: Talk, listening: Listening, problems: list[str]) -> None:
        self.name: str = name
        self.up: Ledger = Ledger(f"{name} -> server", problems)
        self.down: Ledger = Ledger(f"server -> {name}", problems)
        self.receipts: dict[int, Receipt] = {}
        self.resets: int = 0
        self.is_done: anyio.Event = anyio.Event()
        self.flushed_at: float = math.inf
        self.session: str | None = None
        self._steps = iter(talk)
        self._listening = listening
        self._count = 0
        self._sid: str | None = None  # of the last message
        self._ended: set[str] = set()

    async def talk(self, connection: statews.Connection, process: Process) -> None:
        """Send all that is left to send."""
        for pause, size, _ in self._steps:
            await anyio.sleep(pause)
            number = self.up.begin()
            try:
                receipt = await connection.send(payload_of(f"{self.name}.{number}", size, number))
            except (ConnectionClosed, OutboxFullError, StoreError):
                if process.is_alive:
                    self.up.refused.add(number)
                continue
            if process.is_alive:
                self.receipts[number] = receipt
                self.up.accepted.add(number)
        self.is_done.set()

    async def listen(self, connection: statews.Connection, process: Process) -> None:
        """Take in all that comes."""
        is_first, events = True, connection.events()
        while process.is_alive:
            try:
                event = await anext(events)
            except StopAsyncIteration:
                return
            except StoreError:
                continue
            if not process.is_alive:
                return
            await self._take(event, connection, is_first=is_first)
            is_first = is_first and isinstance(event, (Change, Reset))
            self._done(process)

    def _done(self, process: Process) -> None:
        """What was taken is handled, unless the process has died over it."""
        if process.is_alive and self._sid is not None:
            self.down.done(self._sid)

    async def _take(
        self, event: object, connection: statews.Connection, *, is_first: bool
    ) -> None:
        match event:
            case Gap(after=after, before=before):
                assert after is not None
                assert before is not None
                self._sid = self._sid or session_of_last(connection)
                if self._sid is not None:
                    self.down.gap(self._sid, int(after), int(before), is_first=is_first)
            case Reset():
                self.resets += 1
                if self._sid is not None:
                    self._ended.add(self._sid)
                self._sid = None
            case str() | bytes():
                self._count += 1
                self._take_message(event, connection, is_first=is_first)
                await anyio.sleep(self._listening.pause(self._count))
            case _:
                pass

    def _take_message(
        self, message: Message, connection: statews.Connection, *, is_first: bool
    ) -> None:
        words = label_of(message).split(".")
        if len(words) == 1:  # a broadcast does not say whose it is
            sid = session_of_last(connection) or ""
            seq, number = self.down.arrived(sid) + 1, -int(words[0])
        else:
            sid, seq, number = words[0], int(words[1]), int(words[2])
        if not sid:
            return  # of a session that was over before this came up
        if sid in self._ended:
            self.down.complain(f"a message of session {sid}, which was over")
        if self._sid is not None and sid != self._sid:
            self.down.complain(f"session {sid} follows {self._sid} without a reset")
        self._sid = sid
        self.down.take(
            Taken(
                sid=sid,
                seq=seq,
                number=number,
                is_again=connection.redelivered,
                is_first=is_first,
            )
        )


def session_of_last(connection: statews.Connection) -> str | None:
    """The session that the last event belongs to; None if that one is over already."""
    driver = connection._driver
    assert driver.session is not None
    assert driver.sender.intake is not None
    feed = driver.sender.intake.feed
    handler = getattr(feed._last, "handler", feed._session)
    return connection.session if handler is driver.session.progress else None


@dataclass
class Talking:
    """What the server still has to say in a session, over all calls of its handler."""

    steps: Iterator[tuple[float, int, bool]]
    is_done: anyio.Event = field(default_factory=anyio.Event)


class Host:
    """The handler of a server's process.

    Args:
        process: of the server.
        clients: by their names.
        talk: what it sends in each session.
        listening: what it does with messages.
        talkings: what is left to send, by session, over all processes.
    """

    def __init__(
        self,
        process: Process,
        clients: dict[str, Client],
        talk: Talk,
        listening: Listening,
        talkings: dict[str, Talking],
    ) -> None:
        self._process = process
        self._clients = clients
        self._talk = talk
        self._listening = listening
        self._talkings = talkings
        self._count = 0
        self._news = 0
        self._members: dict[str, Session] = {}

    async def __call__(self, session: Session) -> None:
        """Serve one session."""
        client, is_failing = self._clients[session.principal or ""], False
        self._members[session.id] = session
        async with anyio.create_task_group() as group:
            group.start_soon(self._say, session, client.down)
            is_failing = await self._listen(session, client)
            group.cancel_scope.cancel()
        if is_failing:
            raise Refused

    async def _say(self, session: Session, ledger: Ledger) -> None:
        talking = self._talkings.setdefault(session.id, Talking(iter(self._talk)))
        for pause, size, is_put in talking.steps:
            await anyio.sleep(pause)
            with suppress(ConnectionClosed, OutboxFullError, StoreError):
                await self._send(session, ledger, size, is_put=is_put)
        talking.is_done.set()

    async def _send(self, session: Session, ledger: Ledger, size: int, *, is_put: bool) -> None:
        number, seq = ledger.begin(), session.peer.log.last + 1
        ledger.logged[session.id, seq] = number  # only this task sends to the session
        message = payload_of(f"{session.id}.{seq}.{number}", size, number)
        if is_put:
            session.put(message)
        else:
            await session.send(message)
            if self._process.is_alive:
                ledger.accepted.add(number)

    async def broadcast(self, server: statews.Server, news: Talk) -> None:
        """Say something to all who were ever here in this process, and are not over."""
        for pause, size, _ in news:
            await anyio.sleep(pause)
            self._news += 1
            for session in list(self._members.values()):
                server.join(session, "news")  # again: it does no harm
                if not session.is_over:
                    ledger = self._clients[session.principal or ""].down
                    ledger.logged[session.id, session.peer.log.last + 1] = -self._news
            server.broadcast(payload_of(str(self._news), size, self._news), group="news")

    async def _listen(self, session: Session, client: Client) -> bool:
        """Take in all that comes; whether to fail."""
        ledger = client.up
        is_first, events = True, session.events()
        while self._process.is_alive:
            try:
                event = await anext(events)
            except StopAsyncIteration:
                return False
            except StoreError:
                continue
            if not self._process.is_alive:
                return False
            if isinstance(event, Gap):
                assert event.after is not None
                assert event.before is not None
                after, before = int(event.after), int(event.before)
                ledger.gap(session.id, after, before, is_first=is_first)
            else:
                self._count += 1
                self._take(session, client, event, is_first=is_first)
                if self._count in self._listening.fails_at:
                    return True
                await anyio.sleep(self._listening.pause(self._count))
            is_first = False
            if self._process.is_alive:
                ledger.done(session.id)
        return False

    def _take(self, session: Session, client: Client, message: Message, *, is_first: bool) -> None:
        name, number = label_of(message).split(".")
        if name != client.name:
            client.up.complain(f"a message of {name} came in a session of {client.name}")
        receipt = client.receipts.get(int(number))
        if receipt is not None and receipt.state is ReceiptState.ACKNOWLEDGED:
            client.up.complain(f"message {number} came, and was acknowledged before")
        client.up.take(
            Taken(
                sid=session.id,
                seq=session.position + 1,
                number=int(number),
                is_again=session.redelivered,
                is_first=is_first,
            )
        )
