"""What can be seen of a connection from outside: a snapshot, and the stream of changes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from weakref import ref

from anyio import Event

from ..lifecycle import State

if TYPE_CHECKING:
    from ..lifecycle import Event as LifecycleEvent
    from ..lifecycle import Phase

__all__ = ["Change", "Changes", "Observers", "Snapshot"]

KEPT: Final = 256  # changes kept for an observer that does not look


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A connection at one moment. Times are readings of `anyio.current_time()`, in seconds.

    Attributes:
        state: where in its life it is.
        phase: what it is busy with in that state; None where nothing runs.
        attempt: reconnects since the last link that lasted; 0 for a first dial.
        since: when the state was entered.
        retry_at: when the next attempt is due; None unless backing off.
        last_error: what ended the last attempt or link; None if nothing has yet.
        round_trip: seconds that the last answered ping took; None if none was.
        endpoint: the URL of the present or last attempt, without credentials and query.
    """

    state: State
    phase: Phase | None
    attempt: int
    since: float
    retry_at: float | None
    last_error: Exception | None
    round_trip: float | None
    endpoint: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One row of the lifecycle that was taken.

    Attributes:
        left: the state before.
        event: what moved the machine.
        now: the connection right after it; `now.state` is the state entered.
    """

    left: State
    event: LifecycleEvent
    now: Snapshot


class Changes:
    """An iterator over the changes from here on; ends after the one into `closed`.

    Of several tasks that share it, each gets what the others do not.
    It never holds up the connection: of an observer that does not keep up, the oldest
    changes beyond 256 are left out, and counted in `missed`.
    """

    __slots__ = ("__weakref__", "_arrived", "_is_over", "_kept", "missed")

    def __init__(self, *, is_over: bool) -> None:
        self._is_over = is_over  # nothing comes after what is kept
        self._kept: deque[Change] = deque()
        self._arrived = Event()
        self.missed: int = 0

    def add(self, change: Change) -> None:
        """Keep a change for the observer."""
        if len(self._kept) == KEPT:
            self._kept.popleft()
            self.missed += 1
        self._kept.append(change)
        self._is_over = change.now.state is State.CLOSED
        self._arrived.set()

    def __aiter__(self) -> Changes:
        return self

    async def __anext__(self) -> Change:
        while not self._kept:
            if self._is_over:
                raise StopAsyncIteration
            if self._arrived.is_set():  # else somebody else waits for it
                self._arrived = Event()
            await self._arrived.wait()
        return self._kept.popleft()


class Observers:
    """Everybody who watches one connection. An observer that is dropped is forgotten."""

    __slots__ = ("_changed", "_observers")

    def __init__(self) -> None:
        self._observers: tuple[ref[Changes], ...] = ()
        self._changed: Event | None = None

    def subscribe(self, state: State) -> Changes:
        """A new observer of a connection that is in `state`."""
        changes = Changes(is_over=state is State.CLOSED)
        self._observers = (*self._living(), ref(changes))
        return changes

    def _living(self) -> tuple[ref[Changes], ...]:
        return tuple(observer for observer in self._observers if observer() is not None)

    def publish(self, change: Change) -> None:
        """Tell everybody. Nobody's code runs in here."""
        self._observers = self._living()
        for observer in self._observers:
            changes = observer()
            if changes is not None:
                changes.add(change)
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def wait_change(self) -> None:
        """Return after the next change, whatever it is."""
        if self._changed is None:
            self._changed = Event()
        await self._changed.wait()
