"""The second client of the demo: a process that may be killed at any moment, its outbox on disk.

It sends numbers, and the number of the next message is the one that the outbox has for it. What it
is given it writes down before it asks for the next. A message that comes again, since it was being
handled when a process was killed, is looked up there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import Event

from ...client.connect import connect
from ...lifecycle import State
from ...store import SQLiteStore
from ..backend import run
from .logbook import Logbook, number_of, numbered, wait_orders
from .names import SECOND, log_of, resume_as, store_of
from .pace import PACES

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...client.changes import Changes
    from ...client.connection import Connection
    from .pace import Pace

__all__ = ["Client"]


class Client:
    """One process of it.

    Args:
        folder: where its files are.
        pace: its numbers.
    """

    def __init__(self, folder: Path, pace: Pace) -> None:
        self._store = SQLiteStore(store_of(SECOND, folder))
        self._log = Logbook(log_of(SECOND, folder))
        self._pace = pace
        self._quiet = Event()
        self._logged = {(each.what, *each.about) for each in self._log.records}

    async def run(self, url: str, read_order: Callable[[], str]) -> None:
        """Talk to the server until the orders end, then end the session.

        Args:
            url: of the server.
            read_order: see `wait_orders`.
        """
        contents = await self._store.open()  # only for a look
        await self._store.close()
        self._log.write("ready", os.getpid(), len(contents.messages))
        async with (
            connect(
                url,
                policy=self._pace.policy,
                session=resume_as(SECOND),
                store=self._store,
                proxy=None,
                wait=False,
            ) as connection,
            anyio.create_task_group() as group,
        ):
            group.start_soon(self._watch, connection, connection.changes())
            group.start_soon(self._talk, connection, contents.next_number)
            group.start_soon(self._hear, connection)
            await wait_orders(self._quiet, self._log, read_order)
            await connection.close()
            group.cancel_scope.cancel()

    async def _watch(self, connection: Connection, changes: Changes) -> None:
        """Write down which session each link is one of."""
        async for change in changes:
            if change.event == "opened" and connection.state is State.OPEN:
                self._log.write("opened", connection.session)

    async def _talk(self, connection: Connection, number: int) -> None:
        """Send, again and again, whether there is a link or not."""
        while not self._quiet.is_set():
            if ("sent", number) not in self._logged:  # else killed before the outbox had it
                self._log.write("sent", number)
            await connection.send(numbered(number))
            number += 1
            with anyio.move_on_after(self._pace.every):
                await self._quiet.wait()

    async def _hear(self, connection: Connection) -> None:
        """Write down what comes, be busy with it, and ask for the next."""
        async for message in connection:
            number = number_of(message)
            is_known = connection.redelivered and ("got", number) in self._logged
            self._log.write("again" if is_known else "got", number)
            await anyio.sleep(self._pace.every / 2)


def main() -> int:
    """`python -m statews.cli.demo.client FOLDER PACE BACKEND URL`, with orders on its input."""
    folder, pace, backend, url = sys.argv[1:]

    async def talk_until_the_end() -> int:
        await Client(Path(folder), PACES[pace]).run(url, sys.stdin.readline)
        return 0

    return run(backend, talk_until_the_end)


if __name__ == "__main__":
    sys.exit(main())
