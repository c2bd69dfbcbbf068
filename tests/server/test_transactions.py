"""A handler's effect and the position of its session, in one transaction of the server's store."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest

import statews
from statews import (
    Backoff,
    Connection,
    MemoryStore,
    OutboxStore,
    Policy,
    Resume,
    Session,
    SQLiteStore,
    UsageError,
)

from .world import Desk

pytestmark = pytest.mark.anyio

DEADLINE = 30
POLICY = Policy(backoff=Backoff(first=0.01, maximum=0.05, max_attempts=None))


@asynccontextmanager
async def talking(
    handler: Callable[[Session], Awaitable[object]], store: OutboxStore
) -> AsyncGenerator[Connection]:
    """A server on loopback, and a client that has a session with it."""
    with anyio.fail_after(DEADLINE):
        async with (
            statews.serve(handler, store=store) as server,
            statews.connect(
                f"ws://127.0.0.1:{server.port}/", policy=POLICY, session=Resume(), proxy=None
            ) as connection,
        ):
            yield connection


def write(message: str | bytes) -> Callable[[sqlite3.Connection], int | None]:
    """An effect."""

    def effect(connection: sqlite3.Connection) -> int | None:
        connection.execute("CREATE TABLE IF NOT EXISTS effects (message)")
        return connection.execute("INSERT INTO effects VALUES (?)", (message,)).lastrowid

    return effect


def read(path: Path) -> tuple[list[str], dict[str, dict[str, int]]]:
    """The effects in a file that is closed, and the records of its sessions."""
    connection = sqlite3.connect(path)
    effects = [message for (message,) in connection.execute("SELECT message FROM effects")]
    records = dict(connection.execute("SELECT name, position FROM position"))
    connection.close()
    return effects, {name: json.loads(text) for name, text in records.items()}


async def test_the_effect_and_the_position_are_stored_together(tmp_path: Path) -> None:
    path = tmp_path / "store"
    rows: list[int | None] = []

    async def handler(session: Session) -> None:
        async for message in session:
            row = await session.transact(write(message))
            rows.append(row)

    async with talking(handler, SQLiteStore(path)) as connection:
        for message in ("a", "b", "c"):
            await connection.send(message)
        await connection.flush()
        sid = connection.session
        await connection.close(1001)
    effects, records = read(path)
    assert (rows, effects) == ([1, 2, 3], ["a", "b", "c"])
    assert [(name, record["rx"]) for name, record in records.items()] == [(sid, 3)]


async def test_an_effect_that_fails_is_undone_and_its_message_comes_again(tmp_path: Path) -> None:
    path = tmp_path / "store"
    again: list[bool] = []

    def fail_once(message: str | bytes, connection: sqlite3.Connection) -> None:
        write(message)(connection)
        if len(again) == 1:
            raise ValueError(message)

    async def handler(session: Session) -> None:
        async for message in session:
            again.append(session.redelivered)
            await session.transact(partial(fail_once, message))

    async with talking(handler, SQLiteStore(path)) as connection:
        await (await connection.send("a")).wait_acknowledged()
        await (await connection.send("b")).wait_acknowledged()
    assert read(path)[0] == ["a", "b"]
    assert again == [False, True, False]


async def test_a_message_without_a_number_has_its_effect_and_moves_no_position(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store"
    complaints: list[str] = []
    positions: list[int] = []

    async def handler(session: Session) -> None:
        async for message in session:
            await session.transact(write(message))
            positions.append(session.position)
            try:
                await session.transact(write("twice"))
            except UsageError as error:
                complaints.append(str(error))

    async with talking(handler, SQLiteStore(path)) as connection:
        for message in ("a", "b", "c", "d"):
            receipt = await connection.send(message, link_only=message in "ad")
            await receipt.wait_acknowledged()
        await connection.flush()
        while len(complaints) < 4:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        sid = connection.session
        await connection.close(1001)
    effects, records = read(path)
    assert (effects, positions) == (["a", "b", "c", "d"], [0, 1, 2, 2])
    assert set(complaints) == {"there is no message that was received and is not handled"}
    assert [(name, record["rx"]) for name, record in records.items()] == [(sid, 2)]


async def test_a_message_without_a_number_whose_effect_fails_does_not_come_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store"
    again: list[bool] = []

    def fail_once(message: str | bytes, connection: sqlite3.Connection) -> None:
        write(message)(connection)
        if len(again) == 1:
            raise ValueError(message)

    async def handler(session: Session) -> None:
        async for message in session:
            again.append(session.redelivered)
            await session.transact(partial(fail_once, message))

    async with talking(handler, SQLiteStore(path)) as connection:
        await connection.send("a", link_only=True)
        await connection.wait_for(statews.State.BACKING_OFF)
        await (await connection.send("b")).wait_acknowledged()
    assert (read(path)[0], again) == (["b"], [False, False])


async def test_where_no_message_is_being_handled_there_is_nothing_to_store(tmp_path: Path) -> None:
    complaints: list[str] = []

    async def handler(session: Session) -> None:
        for _ in range(2):
            try:
                await session.transact(write("x"))
            except UsageError as error:
                complaints.append(str(error))
            await session.receive()
        await session.transact(write("y"))

    async with talking(handler, SQLiteStore(tmp_path / "store")) as connection:
        for message in ("a", "b"):
            await connection.send(message)
        await connection.wait_for(statews.State.CLOSED, statews.State.FAILED)
    assert complaints == ["there is no message that was received and is not handled"]
    assert read(tmp_path / "store")[0] == ["x", "y"]


async def test_a_store_without_transactions_is_refused() -> None:
    desk = Desk()

    async def handler(session: Session) -> None:
        await session.receive()
        with pytest.raises(UsageError, match="a transaction needs a SQLiteStore"):
            await session.transact(write("x"))
        desk.heard.append("refused")

    async with talking(handler, MemoryStore()) as connection:
        await (await connection.send("a")).wait_settled()
    assert desk.heard == ["refused"]


class Seen(Exception):
    """What was in the file: the records, and the numbers of the messages that are kept."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.records = dict(connection.execute("SELECT name, position FROM position"))
        self.numbers = [number for (number,) in connection.execute("SELECT number FROM outbox")]


def look(connection: sqlite3.Connection) -> None:
    raise Seen(connection)


class Watched(SQLiteStore):
    """A store that is looked at after each commit, as the next process would find it."""

    __slots__ = ("seen",)

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.seen: list[Seen] = []

    async def commit(self) -> None:
        await super().commit()
        try:
            await self.transact(look, name="nobody", position="{}")
        except Seen as seen:
            self.seen.append(seen)


class Held:
    """A handler whose transaction is held while other things happen."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.go = threading.Event()
        self.is_begun = threading.Event()
        self.is_over = anyio.Event()

    def effect(self, connection: sqlite3.Connection) -> None:
        write("held")(connection)
        self.is_begun.set()
        self.go.wait(DEADLINE)

    async def handle(self, session: Session) -> None:
        self.sessions.append(session)
        for number in (1, 2, 3):
            await session.send(str(number))
        await session.receive()
        try:
            await session.transact(self.effect)
        finally:
            self.is_over.set()
        await anyio.sleep_forever()

    async def wait_begun(self) -> None:
        while not self.is_begun.is_set():  # noqa: ASYNC110 - it is another thread's
            await anyio.sleep(0.01)


async def test_what_is_acknowledged_during_a_transaction_goes_with_its_record(
    tmp_path: Path,
) -> None:
    held, store = Held(), Watched(tmp_path / "store")
    async with talking(held.handle, store) as connection:
        await connection.send("x")
        await held.wait_begun()
        (session,) = held.sessions
        for _ in range(3):
            await connection.receive()
        async with anyio.create_task_group() as group:
            group.start_soon(connection.receive)  # it has handled all three
            while session.peer.log.acknowledged < 3:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            group.start_soon(session.send, "4")
            await anyio.wait_all_tasks_blocked()
            held.go.set()
    assert any(4 in seen.numbers for seen in store.seen)
    for seen in store.seen:
        for text in seen.records.values():
            acknowledged = json.loads(text)["acknowledged"]
            assert min(seen.numbers, default=0) <= acknowledged + 1


async def test_a_client_is_welcomed_when_its_token_is_stored_whatever_is_transacted(
    tmp_path: Path,
) -> None:
    held, store = Held(), Watched(tmp_path / "store")
    async with talking(held.handle, store) as connection:
        await connection.send("x")
        await held.wait_begun()
        (session,) = held.sessions
        session.leave_link(1001, "come back")
        await connection.wait_for(statews.State.BACKING_OFF)
        await anyio.sleep(0.2)
        assert connection.state is not statews.State.OPEN
        held.go.set()
        await connection.wait_for(statews.State.OPEN)
        attempt = session.credentials.attempt
        assert any(
            json.loads(text)["n"] == attempt
            for seen in store.seen
            for text in seen.records.values()
        )


async def test_nothing_is_kept_of_a_session_that_ends_during_a_transaction(tmp_path: Path) -> None:
    held, path = Held(), tmp_path / "store"
    async with talking(held.handle, SQLiteStore(path)) as connection:
        await connection.send("x")
        await held.wait_begun()
        await connection.close()
        (session,) = held.sessions
        while not session.is_over:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        held.go.set()
        await held.is_over.wait()
    assert read(path) == (["held"], {})
