"""What was seen of a step of the demo, and whether that is what must come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ...client.changes import Change
from ...errors import DialError, LinkClosed, LinkDropped, PeerSilent
from ...lifecycle import State
from ...policy import Backoff
from ...protocol.frames import CloseCode
from .names import FIRST, SECOND
from .pace import Pace

__all__ = [
    "Observed",
    "is_closed",
    "is_connected",
    "is_found_silent",
    "is_lost_and_back",
    "is_no_hot_loop",
    "is_only_slow",
    "is_refused",
    "is_restarted",
    "is_undisturbed",
    "shorten",
]

RESTARTS: Final = frozenset({CloseCode.GOING_AWAY, CloseCode.SERVICE_RESTART})


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What was seen of one step.

    Attributes:
        pace: the numbers it was played with.
        began: when, as a reading of `anyio.current_time`.
        ended: when.
        changes: of the connection.
        accepted: connections that the proxy accepted.
        arrived: messages that were sent meanwhile, either way, and arrived.
        slowest: the longest that one of these was under way, in seconds.
        facts: what else is worth knowing.
        ended_sessions: the clients whose session the server saw end.
    """

    pace: Pace
    began: float
    ended: float
    changes: Sequence[Change]
    accepted: int
    arrived: int
    slowest: float
    facts: Sequence[str]
    ended_sessions: frozenset[object]

    @property
    def errors(self) -> list[Exception]:
        """What ended each link and each attempt."""
        return [
            change.now.last_error
            for change in self.changes
            if change.event in {"lost", "refused", "ended"} and change.now.last_error is not None
        ]

    @property
    def waits(self) -> list[float]:
        """The delays before the attempts, in seconds."""
        return [
            change.now.retry_at - change.now.since
            for change in self.changes
            if change.now.retry_at is not None
        ]

    @property
    def noticed_after(self) -> float | None:
        """Seconds until the first loss; None if there was none."""
        return next((at - self.began for at in self._times("lost")), None)

    @property
    def away(self) -> float | None:
        """Seconds from the first loss, or from the beginning, to the last opening."""
        opened = self._times("opened")
        if not opened:
            return None
        return opened[-1] - min([*self._times("lost"), *self._times("connect")])

    def _times(self, event: str) -> list[float]:
        return [change.now.since for change in self.changes if change.event == event]

    @property
    def path(self) -> list[State]:
        """The states that were entered."""
        return [change.now.state for change in self.changes if change.event != "settled"]


# What must come of a step. Each returns why it did not come, and nothing if it did.


def _came_back(observed: Observed, *kinds: type[Exception]) -> str:
    """After a loss for one of these reasons first, open again."""
    if not observed.errors:
        return "the loss was not noticed"
    error = observed.errors[0]
    if not isinstance(error, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        return f"expected {wanted}, got {type(error).__name__}"
    if observed.path[-1] is not State.OPEN:
        return f"not open again, but {observed.path[-1]}"
    return ""


def is_connected(observed: Observed) -> str:
    """Open, at the first attempt."""
    if observed.path != [State.CONNECTING, State.OPEN]:
        return f"expected connecting → open, got {shorten(observed.path)}"
    return ""


def is_lost_and_back(observed: Observed) -> str:
    """The broken TCP connection is noticed, and the link replaced."""
    return _came_back(observed, LinkDropped)


def is_refused(observed: Observed) -> str:
    """It tries again, later and later, until somebody listens."""
    complaint = _came_back(observed, LinkDropped)
    attempts = observed.errors[1:]
    if not complaint and not attempts:
        return "no attempt was made while connections were refused"
    if not complaint and not all(isinstance(error, DialError) for error in attempts):
        return "an attempt failed in another way than with DialError"
    return complaint or _backed_off(observed)


def is_found_silent(observed: Observed) -> str:
    """The heartbeat finds the dead peer in time."""
    complaint = _came_back(observed, PeerSilent)
    heartbeat = observed.pace.policy.heartbeat
    if complaint or heartbeat is None or observed.noticed_after is None:
        return complaint
    limit = heartbeat.interval + heartbeat.timeout
    if observed.noticed_after > limit + observed.pace.tolerance:
        return f"found after {observed.noticed_after:.1f} s instead of {limit:g} s"
    return ""


def is_undisturbed(observed: Observed) -> str:
    """All stays as it is."""
    if observed.changes:
        return f"nothing was lost, but it went through {shorten(observed.path)}"
    return "" if observed.arrived else "nothing arrived"


def is_only_slow(observed: Observed) -> str:
    """All stays as it is, and takes its time."""
    is_fast = observed.slowest < observed.pace.latency
    return is_undisturbed(observed) or ("the network was not slow" if is_fast else "")


def is_restarted(observed: Observed) -> str:
    """The server's close code is understood, and its return awaited."""
    complaint = _came_back(observed, LinkClosed)
    error = next(iter(observed.errors), None)
    if not complaint and isinstance(error, LinkClosed) and error.code not in RESTARTS:
        return f"expected the close code 1001 or 1012, got {error.code}"
    return complaint


def is_no_hot_loop(observed: Observed) -> str:
    """Links that do not last count as failed attempts: the waits grow."""
    complaint = _came_back(observed, LinkDropped) or _backed_off(observed)
    most = _most_attempts(observed.pace.policy.backoff, observed.ended - observed.began)
    if not complaint and not 1 < observed.accepted <= most:
        return f"expected 2 to {most} connections, got {observed.accepted}"
    return complaint


def is_closed(observed: Observed) -> str:
    """Closed, and so that both sides forget the sessions."""
    if observed.path != [State.CLOSED]:
        return f"expected closed, got {shorten(observed.path) or 'nothing'}"
    lasting = sorted({FIRST, SECOND} - observed.ended_sessions)
    return f"the server still has the session of {' and '.join(lasting)}" if lasting else ""


LATE: Final = 0.1  # seconds


def _shortest_wait(backoff: Backoff, attempt: int) -> float:
    """With equal jitter, half of the delay is sure."""
    return min(backoff.first * backoff.factor ** (attempt - 1), backoff.maximum) / 2


def _backed_off(observed: Observed) -> str:
    """Each wait must be as long as its place in the row asks for.

    A wait is seen from the moment the state was entered, which on a busy machine is a little
    after the moment it was counted from.
    """
    backoff = observed.pace.policy.backoff
    for attempt, wait in enumerate(observed.waits, 1):
        if wait + LATE < _shortest_wait(backoff, attempt):
            return f"the backoff does not grow: only {wait:.2f} s before attempt {attempt}"
    return ""


def _most_attempts(backoff: Backoff, seconds: float) -> int:
    """How many attempts fit into so much time."""
    attempts, spent = 0, _shortest_wait(backoff, 1)
    while spent <= seconds:
        attempts += 1
        spent += _shortest_wait(backoff, attempts + 1)
    return attempts


def shorten(path: Sequence[State]) -> str:
    """A way through the states, with what repeats itself said once."""
    parts: list[str] = []
    at = 0
    while at < len(path):
        for size in (2, 3):
            block = path[at : at + size]
            times = 1
            while len(block) == size and path[at + times * size :][:size] == block:
                times += 1
            if times > 1:
                parts.append(f"({' → '.join(block)}) x {times}")
                at += times * size
                break
        else:
            parts.append(path[at])
            at += 1
    return " → ".join(parts)
