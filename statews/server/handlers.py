"""The handlers of sessions, each in a task of its own, for as long as the session lasts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from anyio import CancelScope, current_time, sleep

from ..errors import ConnectionClosed, StatewsError, StoreError
from ..protocol.codes import CloseCode
from ..transport.crew import make_crew
from .session import Session

if TYPE_CHECKING:
    from ..transport.crew import Crew

__all__ = ["Handler", "Handlers"]

Handler = Callable[[Session], Awaitable[object]]

FAREWELL: Final = 5.0  # seconds that a handler has after its session; and the other way round
PAUSE: Final = 1.0  # seconds before a store that failed is asked again

logger: Final = logging.getLogger("statews.server")


class Handlers:
    """Starts and stops them."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._crew: Crew | None = None
        self._running: dict[Session, CancelScope] = {}
        self._ready: set[Session] = set()  # whose handler has returned, and is not to run again

    async def start(self) -> None:
        """Be ready to run some."""
        self._crew = make_crew()
        await self._crew.enter()

    async def close(self) -> None:
        """Cancel all, and return when they have ended."""
        crew, self._crew = self._crew, None
        for scope in self._running.values():
            scope.cancel()
        if crew is not None:
            await crew.leave()

    def run(self, session: Session) -> None:
        """Have the handler of a session run, if it does not."""
        if session not in self._running and self._crew is not None:
            self._running[session] = CancelScope()
            self._crew.start(self._run, session)

    def stop(self, session: Session) -> None:
        """The session is over: what has arrived is still handled, but not for ever."""
        if session in self._running:
            self._running[session].deadline = current_time() + FAREWELL

    def hibernate(self, session: Session) -> None:
        """Cancel the handler of a session, and let it sleep; what it was busy with comes again."""
        if session in self._ready:
            return
        if session in self._running:
            self._running[session].cancel()
        else:
            session.fall_asleep()

    async def _run(self, session: Session) -> None:
        scope = self._running[session]
        try:
            with scope:  # no call between: a coroutine is a quarter KB
                try:
                    await self._handler(session)
                except Exception as error:  # noqa: BLE001 - a handler may raise anything
                    self._failed(session, error)
                except asyncio.CancelledError as error:
                    if scope.cancel_called:
                        raise
                    self._failed(session, error)  # it waited for what somebody else has cancelled
                else:
                    await self._see_off(session)
            if scope.cancelled_caught:
                session.inbox.put_back()
        except Exception as error:  # noqa: BLE001 - of a group that was cancelled, what failed
            self._failed(session, error)
        finally:
            del self._running[session]
            self._ready.discard(session)
        if scope.cancel_called and not session.is_over:
            self._hibernated(session)

    def _hibernated(self, session: Session) -> None:
        if session.is_attached:
            self.run(session)  # its client came back before this one was gone
        else:
            session.fall_asleep()

    async def _see_off(self, session: Session) -> None:
        """Its handler is done: the session ends when the client has everything it was sent."""
        self._ready.add(session)  # from now on it is neither put to sleep nor called anew
        while not session.is_over:
            try:
                await session.acknowledge()
                break
            except StoreError as error:
                logger.error("the store failed: %s", error)  # noqa: TRY400 - no bug of ours
                await sleep(PAUSE)
        with contextlib.suppress(StatewsError):
            while not session.is_over:
                with CancelScope(deadline=current_time() + FAREWELL):
                    await session.wait_passed()
                    break
                if session.is_written:
                    break  # what the application has not handled, its connection has
        session.close()

    def _failed(self, session: Session, error: BaseException) -> None:
        """The link is closed, and the next one begins with what was not handled."""
        if isinstance(error, ConnectionClosed) and session.is_over:
            return
        logger.error("the handler of session %s failed", session.id, exc_info=error)
        session.inbox.put_back()
        session.leave_link(CloseCode.SERVER_ERROR, "the server failed")
