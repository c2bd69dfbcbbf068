"""Which event loop runs here, asked once: anyio finds it out anew in every call.

That costs more than to parse a message, so a link asks for its clock when it is made.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["asyncio_loop", "awake_time", "loop_clock"]

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


def awake_time() -> float:
    """Seconds on a clock that counts the time the machine slept as well."""
    return time.monotonic() if _AWAKE is None else time.clock_gettime(_AWAKE)
