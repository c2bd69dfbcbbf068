"""The server of the demo: a process that may be killed at any moment, on sessions in a file.

What a client says is written down by `Session.transact`, in the file of the sessions: that it was
heard, and that the session has come so far, are one transaction. What the server says has the
number that the session gives it. So a server that comes after a killed one goes on behind the
last message that is in the session's log, and neither leaves one out nor says one twice.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import Event

from ...errors import ConnectionClosed
from ...server import serve
from ...store import SQLiteStore
from ..backend import run
from .heard import read_heard, write_heard
from .logbook import Logbook, number_of, numbered, wait_orders
from .names import SERVER, log_of, store_of
from .pace import PACES

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...server import Request, Session
    from .pace import Pace

__all__ = ["Server"]


async def _name(request: Request) -> str | None:
    """Whose session it is: everybody is believed."""
    return request.auth if isinstance(request.auth, str) else None


class Server:
    """One process of it.

    Args:
        folder: where its files are.
        pace: its numbers.
    """

    def __init__(self, folder: Path, pace: Pace) -> None:
        self._file = store_of(SERVER, folder)
        self._log = Logbook(log_of(SERVER, folder))
        self._pace = pace
        self._quiet = Event()
        self._said = {each.about for each in self._log.records if each.what == "said"}

    async def run(self, port: int, read_order: Callable[[], str]) -> None:
        """Serve until the orders end, then have the clients leave and come back later.

        Args:
            port: where to listen, on 127.0.0.1; 0 lets the system choose.
            read_order: see `wait_orders`.
        """
        for row in read_heard(self._file):  # an earlier process may not have got to say so
            self._log.write("heard", *row)
        async with serve(
            self._attend,
            port=port,
            store=SQLiteStore(self._file),
            authenticate=_name,
            policy=self._pace.policy,
        ) as server:
            self._log.write("ready", os.getpid(), len(server.sessions), server.port)
            await wait_orders(self._quiet, self._log, read_order)
            await server.drain(self._pace.down)

    async def _attend(self, session: Session) -> None:
        client = session.principal or "a stranger"
        async with anyio.create_task_group() as group:
            group.start_soon(self._speak, session, client)
            async for message in session:
                heard = number_of(message)
                row = await session.transact(partial(write_heard, client, heard))
                self._log.write("heard", row, client, heard)
            group.cancel_scope.cancel()
        self._log.write("ended", client)

    async def _speak(self, session: Session, client: str) -> None:
        """Say numbers, again and again, whether anybody is there or not."""
        with suppress(ConnectionClosed):
            while not self._quiet.is_set():
                said = client, session.peer.log.last + 1
                if said not in self._said:  # else it was killed before the session had it
                    self._log.write("said", *said)
                    self._said.add(said)
                await session.send(numbered(said[1]))
                with anyio.move_on_after(self._pace.every):
                    await self._quiet.wait()


def main() -> int:
    """`python -m statews.cli.demo.server FOLDER PACE BACKEND PORT`, with orders on its input."""
    folder, pace, backend, port = sys.argv[1:]

    async def serve_until_the_end() -> int:
        await Server(Path(folder), PACES[pace]).run(int(port), sys.stdin.readline)
        return 0

    return run(backend, serve_until_the_end)


if __name__ == "__main__":
    sys.exit(main())
