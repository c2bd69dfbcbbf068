"""What `connecting` runs: a dial, and the hooks on what it gave; and how a link is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from ..errors import FrameError, HookError, UsageError
from ..lifecycle import Phase
from ..protocol.frames import CloseCode
from ..transport.dial import dial
from .settings import provide

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..transport.dial import Target
    from ..transport.link import Link
    from .session import Session
    from .settings import Hook, Settings

__all__ = ["open_link", "part"]


async def open_link(
    settings: Settings,
    target: Target,
    session: Session | None,
    on_phase: Callable[[Phase], None],
) -> Link:
    """A link on which the session goes on, or the hooks have run. The caller sets the deadline.

    Raises:
        StatewsError: any step failed; the error says which.

    Cancellation: everything is released; a link that was up gets its closing handshake.
    """
    link = await dial(target, settings.dialing, on_phase)
    try:
        if session is not None:
            on_phase(Phase.RESUMING)
            await session.begin(link)
        if settings.hooks and not (session is not None and session.is_on(link)):
            on_phase(Phase.RESTORING)
            await _restore(link, settings.hooks)
    except FrameError as error:
        await part(settings, link, error.close_code, str(error))
        raise
    except BaseException:
        await part(settings, link, CloseCode.GOING_AWAY)
        raise
    return link


async def _restore(link: Link, hooks: Sequence[Hook]) -> None:
    """Run the hooks in order, with the link kept alive under them."""
    failure: HookError | UsageError | None = None

    async def serve() -> None:
        await link.serve()
        group.cancel_scope.cancel()  # no hook outlives its link

    async with anyio.create_task_group() as group:
        group.start_soon(serve)
        try:
            for hook in hooks:
                await provide("the on_open hook", hook, link)
        except (HookError, UsageError) as error:
            failure = error
        group.cancel_scope.cancel()
    if link.ending is not None:
        raise link.ending  # what the hook made of it, if anything, is a consequence
    if failure is not None:
        raise failure


async def part(settings: Settings, link: Link, code: int, reason: str = "") -> None:
    """The closing handshake and the end of TCP, within the deadline, whoever is cancelled."""
    with anyio.move_on_after(settings.dialing.policy.timeouts.closing, shield=True):
        await link.close(code, reason)
