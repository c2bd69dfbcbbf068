"""What a connection holds from entering to leaving: its strategies, its store and its tasks."""

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

__all__ = ["let_go", "take_hold"]


async def take_hold(settings: Settings, sender: Sender, session: Session | None) -> None:
    """Have the strategies alone, and go on from what an earlier process stored.

    Raises:
        StoreError: the store cannot be opened.
        UsageError: another connection has one of them, or what is stored does not fit.
    """
    for part in settings.all_strategies:
        if part.is_in_use:
            text = f"the strategy {part.name!r} is in use by another connection"
            raise UsageError(f"{text}; give each connection one of its own")
    _mark(settings, is_in_use=True)
    try:
        await _restore(settings, sender, session)
    except BaseException:
        _mark(settings, is_in_use=False)
        raise


def _mark(settings: Settings, *, is_in_use: bool) -> None:
    for part in settings.all_strategies:
        part.is_in_use = is_in_use


async def _restore(settings: Settings, sender: Sender, session: Session | None) -> None:
    if settings.store is None:
        return
    keeper = Keeper(settings.store, settings.strategies, session, settings.outbox.on_store_error)
    messages = await keeper.open()
    try:
        sender.restore(messages)
    except BaseException:
        with CancelScope(shield=True):
            await keeper.close()
        raise
    sender.keeper = keeper
    if sender.intake is not None:
        sender.intake.feed.on_handled = keeper.handled
        sender.intake.feed.is_careful = session is not None


async def let_go(
    settings: Settings, sender: Sender, group: TaskGroup, exc: BaseException | None
) -> None:
    """Wait for the tasks of `group`, then store what is not yet, and release everything.

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
        try:
            if sender.keeper is not None:
                with CancelScope(shield=True):  # the disk's own pace; nothing else is waited for
                    await sender.keeper.close()
        finally:
            _mark(settings, is_in_use=False)
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
