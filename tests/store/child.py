"""A process of its own that uses a store: `child.py <what> <path> [backend]`."""

from __future__ import annotations

import os
import resource
import sys

import anyio

from statews.errors import StoreError
from statews.store import SQLiteStore, Stored

KEPT = 20  # messages that `append` leaves in the store
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


async def append(path: str) -> None:
    """Add, commit, say so, and remove what is old: in three tasks, until it is killed."""
    store = SQLiteStore(path)
    next_number = (await store.open()).next_number
    say("opened")

    async def run() -> None:
        nonlocal next_number
        while True:
            number = next_number
            next_number += 1
            store.add(Stored(number=number, message=f"message {number}"))
            if number > KEPT:
                store.remove([number - KEPT])
            store.save_position("last", f"{number}")
            await store.commit()
            say(f"{number}")

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(run)


if __name__ == "__main__":
    what, path, backend = [*sys.argv[1:], "asyncio"][:3]
    uses = {
        "append": append,
        "open": try_to_open,
        "unprivileged": unprivileged,
        "limited": limited,
    }
    anyio.run(uses[what], path, backend=backend)
