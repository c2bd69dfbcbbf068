"""What becomes of sessions without a link: they hibernate, forget what is old, and expire."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from anyio import CancelScope, Event, current_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .handlers import Handlers
    from .journal import Journal
    from .session import Session
    from .settings import SessionLimits

__all__ = ["Upkeep"]


class Upkeep:
    """One task for all sessions of a server."""

    def __init__(self, journal: Journal, handlers: Handlers, limits: SessionLimits) -> None:
        self._journal = journal
        self._handlers = handlers
        self._limits = limits
        self._awake: dict[Session, float] = {}  # those to hibernate, and when, the first first
        self._left = Event()
        journal.on_woken(self.woken)

    def left(self, session: Session, *, been_away: float = 0.0) -> None:
        """The link of a session is lost, or was so many seconds ago."""
        self._journal.leave(session, current_time() + self._limits.time_to_live - been_away)
        self.woken(session)
        self._left.set()

    def woken(self, session: Session) -> None:
        """A session may have to be put to sleep again."""
        if self._limits.hibernate_after < math.inf:
            self._awake.pop(session, None)  # to the end
            self._awake[session] = current_time() + self._limits.hibernate_after
            self._left.set()

    def restored(self, been_away: Mapping[Session, float]) -> None:
        """All the sessions there are have just come out of the store."""
        for session in sorted(been_away, key=been_away.__getitem__, reverse=True):
            self.left(session, been_away=been_away[session])  # the first to expire first

    async def run(self) -> None:
        """Look after them until cancelled."""
        sweep_at = current_time() + self._limits.retention
        while True:
            now = current_time()
            if now >= sweep_at:
                self._journal.sweep()
                sweep_at = now + self._limits.retention
            due = min(self._expire(now), self._hibernate(now))
            with CancelScope(deadline=min(due, sweep_at) if self._journal.away else math.inf):
                await self._left.wait()
            self._left = Event()

    def _expire(self, now: float) -> float:
        """End what is over; return when the next one will be."""
        away = self._journal.away
        while away:
            session, at = next(iter(away.items()))
            if at > now:
                return at
            self._journal.end(session, "elapsed")
        return math.inf

    def _hibernate(self, now: float) -> float:
        while self._awake:
            session, at = next(iter(self._awake.items()))
            if session.is_attached or session.is_over:
                del self._awake[session]
            elif at > now:
                return at
            else:
                del self._awake[session]
                self._handlers.hibernate(session)
        return math.inf
