"""What a connection keeps beyond its process: its outbox, and how far its streams were handled.

A message is written to a link only when the store has it, and taken out of the store some time
after it was acknowledged: a process that is killed in between sends it again. Positions follow
within a fraction of a second: what was handled since is delivered again.
"""

from __future__ import annotations

import json
import logging
import math
import time
from typing import TYPE_CHECKING, Final

from anyio import CancelScope, Event, current_time, move_on_after, sleep

from ..errors import StoreError
from ..policy import OnStoreError
from ..store.base import Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..protocol.entry import Entry
    from ..protocol.sync import Strategy
    from ..store.base import Contents, OutboxStore
    from .feed import Handler
    from .session import Session

__all__ = ["Keeper"]

OURS: Final = ""  # the stream of a client; a server has others
PAUSE: Final = 0.02  # seconds between two commits of what nobody waits for
FIRST_PAUSE: Final = 1.0  # seconds after a commit that failed; the next pause is twice as long
LONGEST_PAUSE: Final = 30.0

logger: Final = logging.getLogger("statews.client")


class Keeper:
    """The store of one connection, while it can be used.

    Attributes:
        durable: the highest number that is stored, or needs no storing any more.
    """

    __slots__ = (
        "_moved",
        "_next_number",
        "_on_error",
        "_opened",
        "_scope",
        "_session",
        "_store",
        "_strategies",
        "_unsaved",
        "_works",
        "durable",
    )

    def __init__(
        self,
        store: OutboxStore,
        strategies: Sequence[Strategy],
        session: Session | None,
        on_error: OnStoreError,
    ) -> None:
        self.durable: float = 0
        self._store: OutboxStore | None = store  # while it is written to
        self._opened: OutboxStore | None = None  # until it is released
        self._strategies = strategies
        self._on_error = on_error
        self._next_number = 1
        self._moved = Event()
        self._works = Event()  # something was committed since the last failure
        self._session = session
        self._unsaved: set[Handler] = set()
        self._scope = CancelScope()

    async def open(self) -> list[Stored]:
        """Open the store, restore the positions, and return the messages that it holds.

        Raises:
            StoreError: it failed, and that is not to be borne.
            UsageError: a position in it does not fit its strategy.
        """
        contents = await self._attempt_open()
        if contents is None:
            return []
        self._next_number = contents.next_number
        self.durable = contents.next_number - 1
        try:
            self._restore(contents)
        except BaseException:
            with CancelScope(shield=True):
                await self.close()  # it is not used, so nobody else would release it
            raise
        return [each for each in contents.messages if each.stream == OURS]

    def _restore(self, contents: Contents) -> None:
        for strategy in self._strategies:
            position = contents.positions.get(strategy.name)
            if position is not None:
                strategy.restore(json.loads(position))
        if self._session is not None:
            self._session.keep(self)
            position = contents.positions.get(self._session.progress.name)
            if position is not None:
                self._session.restore(json.loads(position))

    async def _attempt_open(self) -> Contents | None:
        if self._store is None:
            return None
        try:
            contents = await self._store.open()
        except StoreError as error:
            self._bear(error)
            return None
        self._opened = self._store
        return contents

    def next_number(self) -> int:
        """The place in the store of the next message; 0 if there is no store any more."""
        return 0 if self._store is None else self._next_number

    def add(self, entry: Entry) -> None:
        """Take note of a message that was given `next_number`."""
        if self._store is None:
            return
        terms = entry.terms
        expires_at = terms.expires_at
        self._store.add(
            Stored(
                number=terms.number,
                message=entry.message,
                key=terms.key if isinstance(terms.key, str) else None,
                expires_at=None if expires_at == math.inf else to_unix_time(expires_at),
            )
        )
        self._next_number = terms.number + 1

    async def commit(self) -> None:
        """Return when what was noted is stored.

        Raises:
            StoreError: it is not, and that is not to be borne.

        Cancellation: it will be, a little later.
        """
        try:
            await self._commit()
        except StoreError as error:
            self._bear(error)
        except BaseException:
            self._moved.set()
            raise

    async def _commit(self) -> None:
        if self._store is not None:
            number = self._next_number - 1
            await self._store.commit()
            self.durable = max(self.durable, number)
            self._works.set()

    def remove(self, numbers: list[int]) -> None:
        """These are settled. To remove them is not urgent."""
        if self._opened is not None and numbers:  # it may be written once more when it is closed
            self._opened.remove(numbers)
            if self._session is not None:  # by its record, the first that is left has its number
                _note(self._opened, self._session.progress)
            self._moved.set()

    def handled(self, handler: Handler) -> None:
        """A position has moved. To save it is not urgent."""
        self._unsaved.add(handler)
        self._moved.set()

    async def run(self, on_durable: Callable[[], object]) -> None:
        """Commit what nobody waits for, now and then, until `stop`."""
        pause = FIRST_PAUSE
        with self._scope:
            while True:
                await self._moved.wait()
                self._moved = Event()
                if await self._save():
                    pause = FIRST_PAUSE
                    on_durable()
                    await sleep(PAUSE)
                    continue
                self._moved.set()
                self._works = Event()
                with move_on_after(pause):
                    await self._works.wait()
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _save(self) -> bool:
        """Commit what was noted; whether there is nothing left to commit."""
        try:
            await self._write()
        except StoreError as error:
            if self._on_error is OnStoreError.RAISE:
                self._log(error)  # what was to be written stays noted, and whoever sends is told
                return False
            self._go_on(error)
        return True

    async def _write(self) -> None:
        """Save the positions that have moved."""
        unsaved, self._unsaved = self._unsaved, set()
        for handler in unsaved:
            if self._store is not None:
                _note(self._store, handler)
        session = self._session
        record = None if session is None else session.record()
        await self._commit()
        if session is not None:
            session.saved(record)

    async def save(self, handler: Handler) -> None:
        """Return when a position is stored, and everything that was noted. Raises as `commit`.

        Cancellation: it will be, a little later.
        """
        self._unsaved.add(handler)
        try:
            await self._write()
        except StoreError as error:
            self._moved.set()
            self._bear(error)
        except BaseException:
            self._moved.set()
            raise

    def stop(self) -> None:
        """Nothing more will be noted."""
        self._scope.cancel()

    async def close(self) -> None:
        """Commit what is noted, and release the store. What is handled later is not noted."""
        if self._opened is None:
            return
        await self._save()
        is_used = self._store is not None
        store, self._opened, self._store = self._opened, None, None
        if not is_used and self._session is not None:
            _note(store, self._session.progress)  # much has happened since
        try:
            await store.close()
        except StoreError as error:
            if is_used:  # else that was said
                self._log(error)

    def _bear(self, error: StoreError) -> None:
        if self._on_error is OnStoreError.RAISE:
            raise error
        self._go_on(error)

    def _go_on(self, error: StoreError) -> None:
        """From here on, in memory. `close` releases the store, and writes to it once more."""
        if self._store is not None:
            self._log(error)
        self._store = None
        self.durable = math.inf
        if self._session is not None:
            self._session.saved(self._session.record())

    def _log(self, error: StoreError) -> None:
        logger.error("the store failed: %s", error)


def _note(store: OutboxStore, handler: Handler) -> None:
    store.save_position(handler.name, json.dumps(handler.position))


def to_unix_time(at: float) -> float:
    """A reading of the event loop's clock, as seconds since the epoch."""
    return at - current_time() + time.time()


def from_unix_time(at: float) -> float:
    """Seconds since the epoch, as a reading of the event loop's clock."""
    return at - time.time() + current_time()
