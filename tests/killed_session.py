"""One side of a session, in a process that is killed: sends numbers, and says what it gets.

``python -m tests.killed_session ROLE PORT STORE FIRST``, where the role is ``server``,
``transacting`` (a server that has the effect of each message in its store) or ``client``.
Each line of the output is ``sent NUMBER``, for which sending has returned, ``got SEQ NUMBER``,
with ``again`` behind it if the message may have been handled before, or ``gap`` or ``reset``.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from functools import partial
from itertools import count

import anyio

import statews
from statews import Gap, Reset

PAUSE = 0.002  # seconds between two messages
HOST = "127.0.0.1"


def say(*words: object) -> None:
    os.write(1, f"{' '.join(map(str, words))}\n".encode())  # at once, and whole


def policy() -> statews.Policy:
    return statews.Policy(
        backoff=statews.Backoff(first=0.01, maximum=0.05, max_attempts=None),
        outbox=statews.Outbox(messages=50, delivery=statews.Delivery.AT_LEAST_ONCE),
    )


class Server:
    """Handles messages, and sends its own meanwhile."""

    def __init__(self, first: int, *, is_transacting: bool) -> None:
        self._numbers = count(first)
        self._is_transacting = is_transacting

    async def __call__(self, session: statews.Session) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._send, session)
            async for event in session.events():
                if isinstance(event, Gap):
                    say("gap", event)
                    continue
                seq, is_again = session.position + 1, session.redelivered
                if self._is_transacting:
                    await session.transact(partial(take, int(event)))
                say("got", seq, event, *["again"] * is_again)
            group.cancel_scope.cancel()

    async def _send(self, session: statews.Session) -> None:
        for number in self._numbers:
            await session.send(str(number))
            say("sent", number)
            await anyio.sleep(PAUSE)


def take(number: int, store: sqlite3.Connection) -> None:
    """The effect of a message."""
    store.execute("CREATE TABLE IF NOT EXISTS taken (place INTEGER PRIMARY KEY, number INTEGER)")
    store.execute("INSERT INTO taken (number) VALUES (?)", (number,))


async def serve(port: int, path: str, first: int, *, is_transacting: bool) -> None:
    """Serve until somebody ends this process."""
    server = Server(first, is_transacting=is_transacting)
    store = statews.SQLiteStore(path)
    async with statews.serve(server, HOST, port, store=store, policy=policy()):
        say("ready")
        await anyio.sleep_forever()


async def talk(port: int, path: str, first: int) -> None:
    """Send and receive until somebody ends this process."""
    async with (
        statews.connect(
            f"ws://{HOST}:{port}",
            session=statews.Resume(on_missing=statews.OnMissing.FAIL),
            policy=policy(),
            store=statews.SQLiteStore(path),
            proxy=None,
            wait=False,
        ) as connection,
        anyio.create_task_group() as group,
    ):
        say("ready")
        group.start_soon(receive, connection)
        for number in count(first):
            await connection.send(str(number))
            say("sent", number)
            await anyio.sleep(PAUSE)


async def receive(connection: statews.Connection) -> None:
    async for event in connection.events():
        match event:
            case Gap() | Reset():
                say("gap" if isinstance(event, Gap) else "reset", event)
            case str():
                say("got", 0, event, *["again"] * connection.redelivered)
            case _:
                pass


async def main(role: str, port: int, path: str, first: int) -> None:
    if role == "client":
        await talk(port, path, first)
    else:
        await serve(port, path, first, is_transacting=role == "transacting")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), backend="trio")
