"""The watch over times to live."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from anyio import CancelScope, current_time, sleep_forever

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from ..protocol.outbox import Queue

__all__ = ["Expiry"]


class Expiry:
    """Settles messages when their time is over. Its task lives while one that has a time waits."""

    __slots__ = ("_group", "_on_expired", "_queue", "_scope")

    def __init__(self, queue: Queue, on_expired: Callable[[], None], group: TaskGroup) -> None:
        self._queue = queue
        self._on_expired = on_expired
        self._group = group
        self._scope: CancelScope | None = None  # of the task, if there is one

    def watch(self, at: float) -> None:
        """Something expires at that time."""
        if self._scope is None:
            self._scope = CancelScope(deadline=at)
            self._group.start_soon(self._run)
        else:
            self._scope.deadline = min(self._scope.deadline, at)

    async def _run(self) -> None:
        while (at := self._queue.expire(current_time())) < math.inf:
            self._on_expired()
            with CancelScope(deadline=at) as self._scope:
                await sleep_forever()
        self._scope = None
        self._on_expired()

    def stop(self) -> None:
        """The queue is empty, for good."""
        if self._scope is not None:
            self._scope.cancel()
