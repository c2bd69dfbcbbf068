"""Under which event loop a command runs, and how a signal ends it."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import Final

import anyio
from anyio import CancelScope

from ..errors import UsageError

__all__ = ["BACKENDS", "INTERRUPTED", "require", "run"]

BACKENDS: Final = ("asyncio", "trio", "uvloop")
INTERRUPTED: Final = 128  # and the number of the signal: the exit status, as shells have it


def run(backend: str, main: Callable[[], Awaitable[int]]) -> int:
    """The exit status of `main`; 128 and the number of the signal that ended it.

    Args:
        backend: one of `BACKENDS`.
        main: cancelled by SIGINT and by SIGTERM, so that it closes what it has opened.

    Raises:
        UsageError: the backend is not installed.
    """
    require(backend)
    try:
        return anyio.run(
            _until_signal,
            main,
            backend="asyncio" if backend == "uvloop" else backend,
            backend_options={"use_uvloop": True} if backend == "uvloop" else {},
        )
    except KeyboardInterrupt:  # where signals are not received, or before they are
        return INTERRUPTED + signal.SIGINT


def require(backend: str) -> None:
    """Raise `UsageError` if the backend is not installed."""
    if find_spec(backend) is None:
        how = "statews[trio]" if backend == "trio" else backend
        raise UsageError(f"{backend} is not installed: pip install '{how}'")


async def _until_signal(main: Callable[[], Awaitable[int]]) -> int:
    ended_by: list[int] = []
    outcome: int | Exception = 0
    async with anyio.create_task_group() as group:
        group.start_soon(_wait_signal, group.cancel_scope, ended_by)
        try:
            outcome = await main()
        except Exception as error:  # noqa: BLE001 - raised below, in no group
            outcome = error
        group.cancel_scope.cancel()
    if isinstance(outcome, Exception):
        raise outcome
    return INTERRUPTED + ended_by[0] if ended_by else outcome


async def _wait_signal(scope: CancelScope, ended_by: list[int]) -> None:
    try:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                ended_by.append(number)
                scope.cancel()
    except NotImplementedError:
        pass  # asyncio on Windows: Ctrl-C is a KeyboardInterrupt there
