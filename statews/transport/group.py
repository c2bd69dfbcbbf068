"""Task groups whose end somebody else decides: leaving them, and what failed in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    Parts = tuple[BaseException | None, BaseException | None]
    Split = Callable[[type[Exception]], Parts]

__all__ = ["leave", "sort_out"]


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


def sort_out(error: BaseException) -> Parts:
    """What failed among the tasks of a group, and what else ended it: cancellations."""
    split: Split | None = getattr(error, "split", None)  # a group's; it has no name before 3.11
    return (None, error) if split is None else split(Exception)
