"""A process of its own that uses a store: `child.py <what> <path> [backend]`."""

from __future__ import annotations

import os
import resource
import sqlite3
import sys
from functools import partial

import anyio

from statews.errors import StoreError
from statews.store import SQLiteStore, Stored

KEPT = 20  # messages that `append` and `count` leave in each stream
COUNTERS = ("a", "b", "c")
MEGABYTE = 1024 * 1024


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # at once, and whole


async def try_to_open(path: str) -> None:
    """Say how it went."""
    store = SQLiteStore(path, lock_timeout=0)
    try:
        contents = await store.open()
        say(f"opened {len(contents.messages)}")
        store.add(Stored(number=contents.next_number, message=b"x" * MEGABYTE))
        await store.commit()
        say("committed")
        await store.close()
    except StoreError as error:
        say(f"{type(error).__name__} {error}")


async def unprivileged(path: str) -> None:
    """`try_to_open` as a user whom permissions bind."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    await try_to_open(path)


async def limited(path: str) -> None:
    """`try_to_open` where no file may grow as large as its message."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (MEGABYTE // 2, MEGABYTE // 2))
    await try_to_open(path)


def stored(number: int, stream: str, *, message: str) -> Stored:
    return Stored(number=number, stream=stream, message=message)


async def append(path: str) -> None:
    """Add, commit, say so, and remove what is old: in three tasks, until it is killed.

    Each message is also one of the stream "session", and begins a stream that has its number as
    name, which is forgotten when it is old.
    """
    store = SQLiteStore(path)
    next_number = (await store.open()).next_number
    say("opened")

    async def run() -> None:
        nonlocal next_number
        while True:
            number = next_number
            next_number += 1
            for place in (number, ""), (number, "session"), (1, f"{number}"):
                store.add(stored(*place, message=f"message {number}"))
            store.save_position(f"{number}", "1")
            if number > KEPT:
                store.remove([number - KEPT])
                store.remove([number - KEPT], stream="session")
                store.forget(f"{number - KEPT}")
            store.save_position("last", f"{number}")
            await store.commit()
            say(f"{number}")

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(run)


def make_counters(connection: sqlite3.Connection) -> dict[str, int]:
    connection.execute("CREATE TABLE IF NOT EXISTS counter (name PRIMARY KEY, value)")
    for name in COUNTERS:
        connection.execute("INSERT OR IGNORE INTO counter VALUES (?, 0)", (name,))
    return dict(connection.execute("SELECT name, value FROM counter"))


def increment(name: str, connection: sqlite3.Connection) -> None:
    for _ in range(2):  # half of it would be seen
        connection.execute("UPDATE counter SET value = value + 0.5 WHERE name = ?", (name,))


async def count(path: str) -> None:
    """Have each task count in a table, and keep its position and a stream of messages beside."""
    store = SQLiteStore(path)
    await store.open()
    counters = await store.transact(make_counters, name="made", position="1")
    say("opened")

    async def run(name: str) -> None:
        value = int(counters[name])
        while True:
            value += 1
            store.add(stored(value, name, message=f"message {value}"))
            store.remove([value - KEPT], stream=name)
            await store.transact(partial(increment, name), name=name, position=f"{value}")
            say(f"{name} {value}")

    async def commit() -> None:
        while True:
            await store.commit()
            await anyio.sleep(0.001)

    async with anyio.create_task_group() as group:
        group.start_soon(commit)
        for name in COUNTERS:
            group.start_soon(run, name)


if __name__ == "__main__":
    what, path, backend = [*sys.argv[1:], "asyncio"][:3]
    uses = {
        "append": append,
        "count": count,
        "open": try_to_open,
        "unprivileged": unprivileged,
        "limited": limited,
    }
    anyio.run(uses[what], path, backend=backend)
