"""A store whose process may die: what was not committed by then never was."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import anyio

from statews import MemoryStore
from statews.errors import StoreError
from statews.store import Contents, Stored

__all__ = ["CrashingStore", "Disk"]


class Disk:
    """What is there after a process has died.

    Args:
        takes: seconds for a commit; it is safe after half of them.
        fails: these commits fail, counted over all processes from 1.
    """

    def __init__(self, *, takes: float = 0.0, fails: frozenset[int] = frozenset()) -> None:
        self.committed: MemoryStore = MemoryStore()
        self.takes: float = takes
        self._fails = fails
        self._commits = 0

    def mount(self) -> CrashingStore:
        """The store of one more process."""
        return CrashingStore(self)

    def fail_next(self) -> None:
        """The next commit fails as well."""
        self._fails |= {self._commits + 1}

    def is_faulty(self) -> bool:
        """Whether the commit that begins now fails."""
        self._commits += 1
        return self._commits in self._fails


class CrashingStore:
    """An `OutboxStore` of one process.

    Attributes:
        is_open: whether it may be used.
    """

    def __init__(self, disk: Disk) -> None:
        self.is_open: bool = False
        self._disk = disk
        self._noted: list[Callable[[], None]] = []
        self._written = 0  # of what was noted
        self._is_dead = False

    def die(self) -> None:
        """Nothing is written any more."""
        self._is_dead = True

    async def open(self) -> Contents:
        """See `OutboxStore`."""
        self.is_open = True
        await self._disk.committed.close()
        return await self._disk.committed.open()

    def add(self, stored: Stored) -> None:
        """See `OutboxStore`."""
        self._noted.append(lambda: self._disk.committed.add(stored))

    def remove(self, numbers: Iterable[int], *, stream: str = "") -> None:
        """See `OutboxStore`."""
        settled = list(numbers)
        self._noted.append(lambda: self._disk.committed.remove(settled, stream=stream))

    def forget(self, stream: str) -> None:
        """See `OutboxStore`."""
        self._noted.append(lambda: self._disk.committed.forget(stream))

    def save_position(self, name: str, position: str) -> None:
        """See `OutboxStore`."""
        self._noted.append(lambda: self._disk.committed.save_position(name, position))

    async def commit(self) -> None:
        """See `OutboxStore`."""
        count = len(self._noted)
        if self._disk.is_faulty():
            raise StoreError("", "the disk is faulty")
        await self._work()
        for write in self._noted[self._written : count]:
            write()
        self._written = max(self._written, count)
        await self._work()  # it is safe, and the process does not know it yet

    async def _work(self) -> None:
        if self._disk.takes:
            await anyio.sleep(self._disk.takes / 2)
        if self._is_dead:
            raise StoreError("", "the process is dead")

    async def close(self) -> None:
        """See `OutboxStore`."""
        self.is_open = False
        if not self._is_dead:
            await self.commit()
