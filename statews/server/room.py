"""What the logs of all sessions together may hold: how much is left, who gives, and who waits."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .sending import Sending
    from .session import Session

__all__ = ["Room"]

OUTDATED: Final = 64  # entries of the heap that may be, beside as many as are not


class Room:
    """The bytes that there are for messages.

    Those who are away and hold something stand in a heap, each with what it held at some time and
    hardly ever more than once; none holds more than that. So to find the one that holds the most
    takes no look at the others, and none at all at those who sleep, for these hold nothing.

    Args:
        total_bytes: see `SessionLimits`.

    Attributes:
        left: what is; below 0 where logs that were empty took a message all the same.
    """

    __slots__ = ("_count", "_entries", "_heap", "_sessions", "_total", "_waiting", "left")

    def __init__(self, total_bytes: int) -> None:
        self.left: int = total_bytes
        self._total = total_bytes
        self._waiting: dict[Sending, int] = {}  # for so much room
        self._heap: list[tuple[int, int]] = []  # bytes, the other way round; number of the entry
        self._entries: dict[Session, tuple[int, int]] = {}  # its entry: bytes, number
        self._sessions: dict[int, Session] = {}  # by the number; without one, it is outdated
        self._count = 0

    @property
    def size_bytes(self) -> int:
        """What all logs hold."""
        return self._total - self.left

    def count(self, session: Session, size_bytes: int, *, is_away: bool) -> None:
        """The log of a session holds so much now."""
        self.left -= size_bytes - session.counted_bytes
        session.counted_bytes = size_bytes
        if is_away:
            if not size_bytes:
                self.come_back(session)
            elif session not in self._entries or size_bytes > self._entries[session][0]:
                self._enter(session)
        if self._waiting and self.left > 0:
            self._wake()

    def come_back(self, session: Session) -> None:
        """A session is not away, or has nothing to give."""
        _, number = self._entries.pop(session, (0, 0))
        self._sessions.pop(number, None)

    def end(self, session: Session) -> None:
        """A session is over."""
        self.come_back(session)
        self._waiting.pop(session, None)
        self.count(session, 0, is_away=False)

    def heaviest(self) -> Session | None:
        """Who is away and holds the most; None: nobody away holds anything."""
        while self._heap:
            size, number = self._heap[0]
            session = self._sessions.get(number)
            if session is not None and session.counted_bytes == -size:
                return session
            heappop(self._heap)
            if session is not None:
                self._enter(session)
        return None

    def _enter(self, session: Session) -> None:
        self.come_back(session)
        self._count += 1
        self._entries[session] = session.counted_bytes, self._count
        self._sessions[self._count] = session
        if len(self._heap) > 2 * len(self._sessions) + OUTDATED:
            self._heap = [entry for entry in self._heap if entry[1] in self._sessions]
            heapify(self._heap)
        heappush(self._heap, (-session.counted_bytes, self._count))

    # Who waits for room.

    def wait(self, session: Sending, size_bytes: int) -> None:
        """Have a session woken when there may be room for so much."""
        self._waiting[session] = min(size_bytes, self._waiting.get(session, size_bytes))

    def wake_all(self) -> None:
        """There is somebody who may give."""
        waiting, self._waiting = self._waiting, {}
        for session in waiting:
            session.wake()

    def _wake(self) -> None:
        """Wake each for whom there is room: who wakes may be gone, or need it no more."""
        for session in [one for one, size in self._waiting.items() if size <= self.left]:
            del self._waiting[session]
            session.wake()
