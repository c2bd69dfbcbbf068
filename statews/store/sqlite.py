"""A store in an SQLite file, which outlives the process."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path

from anyio import CapacityLimiter, get_cancelled_exc_class, to_thread

from ..errors import UsageError
from .base import NOT_OPEN, Contents, Stored
from .database import Database, Synchronous, finish_alone
from .writer import Writer, WriterState

__all__ = ["SQLiteStore", "Synchronous"]


class SQLiteStore:
    """An outbox and positions in one SQLite file, for one user of it at a time.

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

    def remove(self, numbers: Iterable[int]) -> None:
        """See `OutboxStore.remove`."""
        self._open_writer().pending.remove(numbers)

    def save_position(self, name: str, position: str) -> None:
        """See `OutboxStore.save_position`."""
        self._open_writer().pending.save_position(name, position)

    async def commit(self) -> None:
        """See `OutboxStore.commit`."""
        await self._open_writer().commit()

    async def close(self) -> None:
        """See `OutboxStore.close`."""
        if self._writer is not None:
            await self._writer.close()

    def _open_writer(self) -> Writer:
        if self._writer is None or self._writer.state is WriterState.CLOSED:
            raise UsageError(NOT_OPEN)
        return self._writer
