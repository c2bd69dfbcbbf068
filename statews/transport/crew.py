"""Tasks for what there is by the thousand: each ends by itself once it is told to.

Each task of an anyio group has an event that others may wait for, and a record of its scopes:
on asyncio a kilobyte and a half. These are tasks of the event loop itself. Nobody cancels them,
but for the loop when it is cancelled as a whole; whoever starts them can have each of them end.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from anyio import CancelScope
from typing_extensions import TypeVarTuple, Unpack

from .eventloop import asyncio_loop

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    import trio

__all__ = ["Crew", "make_crew"]

Arguments = TypeVarTuple("Arguments")
Work = Callable[[Unpack[Arguments]], Coroutine[Any, Any, None]]


class Crew(Protocol):
    """The tasks. It is entered before any of them starts."""

    async def enter(self) -> None:
        """Be ready for tasks."""
        ...

    def start(self, work: Work[Unpack[Arguments]], *args: Unpack[Arguments]) -> None:
        """Have `work` run in a task of its own. It raises nothing."""
        ...

    async def leave(self) -> None:
        """Return when all of them have ended, whoever is cancelled: they were told to."""
        ...


class _AsyncioCrew:
    __slots__ = ("_loop", "_tasks")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()

    async def enter(self) -> None:
        """See `Crew`."""

    def start(self, work: Work[Unpack[Arguments]], *args: Unpack[Arguments]) -> None:
        """See `Crew`."""
        task = self._loop.create_task(work(*args))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def leave(self) -> None:
        """See `Crew`. A scope shields from anyio's cancellations only."""
        cancellation: asyncio.CancelledError | None = None
        with CancelScope(shield=True):
            while self._tasks:
                try:
                    await asyncio.wait(self._tasks)
                except asyncio.CancelledError as error:
                    cancellation = error
        if cancellation is not None:
            raise cancellation


class _TrioCrew:
    __slots__ = ("_manager", "_nursery")

    def __init__(self) -> None:
        self._manager: AbstractAsyncContextManager[trio.Nursery] = sys.modules[
            "trio"
        ].open_nursery()

    async def enter(self) -> None:
        """See `Crew`."""
        self._nursery = await self._manager.__aenter__()

    def start(self, work: Work[Unpack[Arguments]], *args: Unpack[Arguments]) -> None:
        """See `Crew`."""
        # trio would make a name for each task, of 170 bytes.
        name = sys.intern(f"{work.__module__}.{work.__qualname__}")
        self._nursery.start_soon(work, *args, name=name)

    async def leave(self) -> None:
        """See `Crew`."""
        self._nursery.cancel_scope.shield = True
        await self._manager.__aexit__(None, None, None)


def make_crew() -> Crew:
    """A crew for the event loop that runs here."""
    loop = asyncio_loop()
    return _TrioCrew() if loop is None else _AsyncioCrew(loop)
