"""The handlers of sessions, each in a task of its own, for as long as the session lasts."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from anyio import CancelScope, current_time

from ..errors import ConnectionClosed
from ..protocol.codes import CloseCode
from .session import Session

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

__all__ = ["Handler", "Handlers"]

Handler = Callable[[Session], Awaitable[object]]

FAREWELL: Final = 5.0  # seconds that a handler has, after its session, to see the end of it

logger: Final = logging.getLogger("statews.server")


class Handlers:
    """Starts and stops them."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._group: TaskGroup | None = None
        self._running: dict[Session, CancelScope] = {}

    def start(self, group: TaskGroup) -> None:
        """From now on, tasks run in `group`."""
        self._group = group

    def run(self, session: Session) -> None:
        """Have the handler of a session run, if it does not."""
        if session not in self._running and self._group is not None:
            self._running[session] = CancelScope()
            self._group.start_soon(self._run, session)

    def stop(self, session: Session) -> None:
        """The session is over: what has arrived is still handled, but not for ever."""
        if session in self._running:
            self._running[session].deadline = current_time() + FAREWELL

    def hibernate(self, session: Session) -> None:
        """Cancel the handler of a session; what it was busy with comes again."""
        if session in self._running:
            self._running[session].cancel()

    async def _run(self, session: Session) -> None:
        try:
            with self._running[session] as scope:
                await self._call(session)
            if scope.cancelled_caught:
                session.inbox.put_back()
        finally:
            del self._running[session]
        if scope.cancel_called and session.is_attached and not session.is_over:
            self.run(session)  # its client came back before this one was gone

    async def _call(self, session: Session) -> None:
        try:
            await self._handler(session)
        except ConnectionClosed:
            if session.is_over:
                return
            logger.exception("the handler of session %s failed", session.id)
        except Exception:
            logger.exception("the handler of session %s failed", session.id)
        else:
            session.close()
            return
        session.inbox.put_back()
        session.leave_link(CloseCode.SERVER_ERROR, "the server failed")
