"""What a connection holds from entering to leaving: its store, and the tasks that run for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import CancelScope, get_cancelled_exc_class

from ..errors import UsageError
from ..transport.group import leave
from .keeper import Keeper

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from .sender import Sender
    from .session import Session
    from .settings import Settings

__all__ = ["let_go", "restore"]


async def restore(settings: Settings, sender: Sender, session: Session | None) -> None:
    """Go on from what an earlier process stored."""
    if settings.store is None:
        return
    keeper = Keeper(settings.store, settings.strategies, session, settings.outbox.on_store_error)
    messages = await keeper.open()
    try:
        sender.restore(messages)
    except UsageError:
        await keeper.close()
        raise
    sender.keeper = keeper
    if sender.intake is not None:
        sender.intake.feed.on_handled = keeper.handled
        sender.intake.feed.is_careful = session is not None


async def let_go(sender: Sender, group: TaskGroup, exc: BaseException | None) -> None:
    """Wait for the tasks of `group`, then store what is not yet, and release the store.

    What nobody foresaw in one of the tasks leaves as it is, in no group, in place of `exc`.
    """
    failure: BaseException | None = None
    try:
        await leave(group, exc)
    except BaseException as error:
        failure = _first_failure(error)
        if failure is None:
            raise
    finally:
        if sender.keeper is not None:
            with CancelScope(shield=True):  # the disk's own pace; nothing else is waited for
                await sender.keeper.close()
    if failure is not None:
        context = failure.__context__
        try:
            raise failure
        finally:
            failure.__context__ = context or exc


def _first_failure(error: BaseException) -> BaseException | None:
    """The first that is no cancellation; a group is what holds more exceptions."""
    inner: tuple[BaseException, ...] | None = getattr(error, "exceptions", None)
    if not isinstance(inner, tuple):
        return None if isinstance(error, get_cancelled_exc_class()) else error
    return next(filter(None, map(_first_failure, inner)), None)
