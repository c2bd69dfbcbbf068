"""Leaving a task group that the body of an `async with` knows nothing of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

__all__ = ["leave"]


async def leave(group: TaskGroup, exc: BaseException | None) -> bool:
    """Wait until the tasks of a group have ended, which were told to, each within a deadline.

    The body's own exception leaves as it is: in no group, and not for a cancellation that
    comes meanwhile.

    Args:
        group: entered by hand.
        exc: with which the body ended; None: with none.

    Returns:
        Whether `exc` ends here: it is the cancellation of the group itself.
    """
    if isinstance(exc, anyio.get_cancelled_exc_class()):
        return bool(await group.__aexit__(type(exc), exc, exc.__traceback__))
    group.cancel_scope.shield = exc is not None
    await group.__aexit__(None, None, None)
    return False
