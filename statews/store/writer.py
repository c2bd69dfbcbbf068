"""Group commit: one flush at a time, which takes along all that was asked for before it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from enum import Enum
from typing import TypeVar

from anyio import CancelScope, CapacityLimiter, Event, get_cancelled_exc_class, to_thread

from ..errors import StoreError
from .database import Database, finish_alone
from .pending import Pending

__all__ = ["Writer"]

Result = TypeVar("Result")


class _Flush:
    """One write that somebody runs and others may wait for."""

    __slots__ = ("ended", "error", "upto")

    def __init__(self, upto: int) -> None:
        self.upto = upto  # it takes the portions up to this one
        self.ended = Event()
        self.error: StoreError | None = None  # set before `ended`


class WriterState(Enum):
    """Whether operations are taken."""

    OPEN = "open"
    CLOSED = "closed"


class Writer:
    """Brings what is pending to an open database, in a worker thread.

    A flush belongs to the task that began it. Under a cancel scope of anyio or trio this
    task stays until the flush has ended. asyncio's own `Task.cancel` takes it out of the
    wait while the thread goes on: then the next one that waits begins a flush, in which the
    thread finds the database taken, waits its turn, and finds less to do or nothing. What is
    done is counted by the thread, in that turn, so nothing is lost or done twice.
    """

    __slots__ = ("_database", "_flush", "_limiter", "pending", "state")

    def __init__(self, database: Database, limiter: CapacityLimiter, next_number: int) -> None:
        self._database = database
        self._limiter = limiter
        self._flush: _Flush | None = None  # while one runs
        self.pending: Pending = Pending(next_number)
        self.state: WriterState = WriterState.OPEN

    async def commit(self) -> None:
        """See `OutboxStore.commit`."""
        target = self.pending.asked
        while self.pending.done < target:
            flush = self._flush
            if flush is None:
                await self._run_flush()
                continue
            await flush.ended.wait()
            if flush.error is not None and target <= flush.upto:
                # Each gets one of its own: a traceback belongs to one task.
                raise copy(flush.error) from flush.error.__cause__

    async def _run_flush(self) -> None:
        flush = self._flush = _Flush(self.pending.close_portion())
        try:
            await to_thread.run_sync(self._write, flush.upto, limiter=self._limiter)
        except StoreError as error:
            flush.error = error
            raise
        finally:
            self._flush = None
            flush.ended.set()

    async def transact(
        self, effect: Callable[[sqlite3.Connection], Result], name: str, position: str
    ) -> Result:
        """See `SQLiteStore.transact`."""
        upto = self.pending.close_portion()
        return await to_thread.run_sync(
            self._transact, effect, (name, position), upto, limiter=self._limiter
        )

    async def close(self) -> None:
        """See `OutboxStore.close`."""
        self.state = WriterState.CLOSED
        self.pending.close_portion()
        try:
            # No deadline: a thread cannot be stopped. It waits for no lock, only for the disk.
            with CancelScope(shield=True):
                await to_thread.run_sync(self._write_and_close, limiter=self._limiter)
        except get_cancelled_exc_class():  # asyncio's own
            finish_alone(self._write_and_close)
            raise

    def _write(self, upto: int) -> None:
        with self._database.turn:
            batch = self.pending.take(upto)
            if self.pending.has_taken:
                self._database.apply(batch)
                self.pending.finish()

    def _transact(
        self,
        effect: Callable[[sqlite3.Connection], Result],
        position: tuple[str, str],
        upto: int,
    ) -> Result:
        with self._database.turn:
            batch = self.pending.take(upto)
            # Not in the batch itself: it stays noted if the effect fails, and the position not.
            whole = replace(batch, positions=dict([*batch.positions.items(), position]))
            result = self._database.transact(effect, whole)
            self.pending.finish()
            return result

    def _write_and_close(self) -> None:
        with self._database.turn:
            if not self._database.is_open:  # another call of `close` was here
                return
            try:
                self._write(self.pending.asked)
            finally:
                self._database.close()
