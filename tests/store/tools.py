"""What the tests of stores share: messages, the inside of a store, and programs beside it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from statews.store import Contents, OutboxStore, SQLiteStore, Stored
from statews.store.database import Database
from statews.store.pending import Batch

CHILD = Path(__file__).with_name("child.py")
DEADLINE = 30  # seconds, for anything that another process or thread does


def stored(number: int, message: str | bytes = "m", *, stream: str = "") -> Stored:
    return Stored(number=number, message=message, stream=stream)


def batch(*messages: Stored) -> Batch:
    """What it comes to to add these."""
    added = Batch()
    for message in messages:
        added.add(message)
    return added


def numbers(contents: Contents, stream: str = "") -> list[int]:
    return [each.number for each in contents.messages if each.stream == stream]


def places(contents: Contents) -> list[tuple[str, int]]:
    return [(each.stream, each.number) for each in contents.messages]


def add(store: OutboxStore, which: Iterable[int], *, stream: str = "") -> None:
    for number in which:
        store.add(stored(number, stream=stream))


async def contents_of(store: OutboxStore) -> Contents:
    """What the store, which is closed, holds."""
    contents = await store.open()
    await store.close()
    return contents


@asynccontextmanager
async def opened(path: Path) -> AsyncGenerator[SQLiteStore]:
    store = SQLiteStore(path)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def database_of(store: SQLiteStore) -> Database:
    assert store._writer is not None
    return store._writer._database


def connection_of(store: SQLiteStore) -> sqlite3.Connection:
    return database_of(store)._connection


def transactions(store: SQLiteStore) -> list[str]:
    """A list that gets the SQL of each transaction's end from now on."""
    ends: list[str] = []

    def see(sql: str) -> None:
        if sql.startswith(("COMMIT", "ROLLBACK")):
            ends.append(sql)

    connection_of(store).set_trace_callback(see)
    return ends


def wait_for_lone_threads() -> None:
    for thread in threading.enumerate():
        if thread.name == "statews finishes alone":
            thread.join(DEADLINE)
            assert not thread.is_alive()


def child(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """What `child.py` says, run to its end."""
    return subprocess.run(  # noqa: S603 - this very interpreter
        [sys.executable, CHILD, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
        check=False,
    )
