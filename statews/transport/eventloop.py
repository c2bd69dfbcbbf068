"""Which event loop runs here, asked once: anyio finds it out anew in every call.

That costs more than to parse a message, so a link asks for its clock when it is made.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Signal", "asyncio_loop", "awake_time", "loop_clock", "make_signal"]

# A clock that goes on while the machine sleeps, where there is one.
_AWAKE: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


def asyncio_loop() -> asyncio.AbstractEventLoop | None:
    """The asyncio event loop that runs this task; None under trio."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return None  # even where asyncio runs as well, as trio's host
    return asyncio.get_running_loop()


def loop_clock() -> Callable[[], float]:
    """What `anyio.current_time` calls under the event loop that runs here."""
    loop = asyncio_loop()
    if loop is not None:
        return loop.time
    clock: Callable[[], float] = sys.modules["trio"].current_time
    return clock


class Signal(Protocol):
    """What one task waits for and another sets, once."""

    def set(self) -> object:
        """Let the one that waits go on."""
        ...

    async def wait(self) -> object:
        """Return when it is set."""
        ...


class _FutureSignal:
    """asyncio's Event can have many waiters, and takes 760 bytes for that."""

    __slots__ = ("_future",)

    def __init__(self, future: asyncio.Future[None]) -> None:
        self._future = future

    def set(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> None:
        await self._future


class _TaskSignal:
    """And trio's takes half a kilobyte more than one that has one waiter."""

    __slots__ = ("_is_set", "_lowlevel", "_waiting")

    def __init__(self) -> None:
        self._lowlevel = sys.modules["trio"].lowlevel
        self._waiting: object = None
        self._is_set = False

    def set(self) -> None:
        self._is_set = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._lowlevel.reschedule(waiting)

    async def wait(self) -> None:
        if not self._is_set:
            self._waiting = self._lowlevel.current_task()
            await self._lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: object) -> object:
        self._waiting = None
        return self._lowlevel.Abort.SUCCEEDED


def make_signal() -> Signal:
    """A signal for the event loop that runs here."""
    loop = asyncio_loop()
    return _TaskSignal() if loop is None else _FutureSignal(loop.create_future())


def awake_time() -> float:
    """Seconds on a clock that counts the time the machine slept as well."""
    return time.monotonic() if _AWAKE is None else time.clock_gettime(_AWAKE)
