"""A store in an SQLite file, which outlives the process."""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from anyio import CapacityLimiter, get_cancelled_exc_class, to_thread

from ..errors import UsageError
from .base import NOT_OPEN, Contents, Stored, check_position
from .database import Database, Synchronous, finish_alone
from .writer import Writer, WriterState

__all__ = ["SQLiteStore", "Synchronous"]

Result = TypeVar("Result")


class SQLiteStore:
    """Streams of messages and positions in one SQLite file, for one user of it at a time.

    See `OutboxStore` for what its methods do. A file is made when the store is opened first,
    readable and writable for its owner alone. Beside it stands `<path>-wal` while it is open,
    and after a crash; the two belong together. While it is open, do not open the file by other
    means in the same process, not even to copy it: POSIX would end the lock that keeps other
    processes out (https://www.sqlite.org/howtocorrupt.html, section 2.2).

    Args:
        path: of the file; its directory must exist, on a disk that knows locks.
        synchronous: what a commit outlives.
        lock_timeout: seconds for which `open` waits for another process to release the file.

    Raises:
        UsageError: at once, for a wrong argument.
    """

    __slots__ = ("_lock_timeout", "_path", "_synchronous", "_writer")

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Synchronous = Synchronous.NORMAL,
        lock_timeout: float = 5.0,
    ) -> None:
        if synchronous not in tuple(Synchronous):
            raise UsageError(
                f"synchronous must be Synchronous.NORMAL or Synchronous.FULL, got {synchronous!r}"
            )
        if not 0 <= lock_timeout < math.inf:
            raise UsageError(
                f"lock_timeout must be finite and 0 seconds or more, got {lock_timeout!r}"
            )
        self._path = Path(path).absolute()
        self._synchronous = Synchronous(synchronous)
        self._lock_timeout = lock_timeout
        self._writer: Writer | None = None  # until it is opened first

    async def open(self) -> Contents:
        """See `OutboxStore.open`.

        Raises:
            StoreBusyError: somebody has the file open.
            StoreCorruptError: the file is damaged, or no store of this version. It is untouched.
            StoreReadOnlyError: it may not be written.
            StoreFullError: there is no room for it.
            StoreError: anything else that the system or SQLite complains of.
            UsageError: this store is open.

        Cancellation: waits for the thread that opens the file, which may wait for
            `lock_timeout`; the store is open, or it is as it was before.
        """
        if self._writer is not None and self._writer.state is WriterState.OPEN:
            raise UsageError(f"cannot open {self._path}: this store is open; close() it first")
        database = Database(
            self._path, synchronous=self._synchronous, lock_timeout=self._lock_timeout
        )
        limiter = CapacityLimiter(1)  # the threads of others are not to be waited for
        try:
            contents = await to_thread.run_sync(database.open, limiter=limiter)
        except get_cancelled_exc_class():  # asyncio's own may come while the thread is at it
            finish_alone(database.close)
            raise
        self._writer = Writer(database, limiter, contents.next_number)
        return contents

    def add(self, stored: Stored) -> None:
        """See `OutboxStore.add`."""
        self._open_writer().pending.add(stored)

    def remove(self, numbers: Iterable[int], *, stream: str = "") -> None:
        """See `OutboxStore.remove`."""
        self._open_writer().pending.remove(numbers, stream)

    def forget(self, stream: str) -> None:
        """See `OutboxStore.forget`."""
        self._open_writer().pending.forget(stream)

    def save_position(self, name: str, position: str) -> None:
        """See `OutboxStore.save_position`."""
        self._open_writer().pending.save_position(name, position)

    async def commit(self) -> None:
        """See `OutboxStore.commit`."""
        await self._open_writer().commit()

    async def transact(
        self, effect: Callable[[sqlite3.Connection], Result], *, name: str, position: str
    ) -> Result:
        """Have your own change in this file, and return what `effect` returns, when all is safe.

        One transaction holds what the effect did, what was noted before this call, and the
        position: so the position says how far your tables are, whatever happens.

        The tables are yours, and the effect makes them as well. The store has the tables
        `outbox`, `position` and `meta`, and names beginning with `statews_` are kept for it.

        Args:
            effect: is called with the store's connection, in a worker thread, in which it keeps
                all other writing waiting. It must leave the transaction open and the settings of
                the connection as they are, and keep neither it nor a cursor. It cannot use this
                store.
            name: of the position, as for `save_position`.
            position: JSON text.

        Raises:
            UsageError: the store is not open, a text has no UTF-8 form, or the effect ended the
                transaction: what it had committed by then stays, the position is not saved, and
                what was noted stays noted.
            StoreError: it could not be written. What the effect did is undone; what was noted
                stays noted, and the next commit tries again.
            Exception: what the effect raises, as it is, even if it is SQLite's. Nothing of what it
                did is there; what was noted stays noted.

        Cancellation: the transaction is done as a whole, or not at all. A cancel scope waits for
            an effect that has begun; asyncio's own `Task.cancel` does not, and cannot tell.
        """
        writer = self._open_writer()
        check_position(name, position)
        return await writer.transact(effect, name, position)

    async def close(self) -> None:
        """See `OutboxStore.close`."""
        if self._writer is not None:
            await self._writer.close()

    def _open_writer(self) -> Writer:
        if self._writer is None or self._writer.state is WriterState.CLOSED:
            raise UsageError(NOT_OPEN)
        return self._writer
