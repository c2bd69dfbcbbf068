"""Whether the peer is still there: any byte of it is life, and silence is asked about.

Told of what happens and at which time, it says what to do next and when to look again.
It pings a silent peer after `interval`, and calls the link dead when nothing at all was
heard for `timeout` after that. A ping may stand in line behind a long message: while what
is ahead of it arrives, the peer is alive, and has the timeout anew. A jump of the clock (the
machine slept) is a reason to ask at once, never to judge: what came in meanwhile has not been
read yet.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final

from ..policy import Heartbeat

__all__ = ["Liveness", "Passage", "Verdict"]

LOOKS: Final = 8  # in a timeout, at what arrives: its end is found one timeout and a look later


class Verdict(Enum):
    """What to do now."""

    WAIT = "nothing is due"
    PING = "ask the peer"
    LOOK = "see whether the peer's system takes in what was sent before the ping"
    DEAD = "abort: a closing handshake with a dead peer would only take time"


class Passage:
    """Whether the peer's system still takes in what stands before a question of ours."""

    __slots__ = ("_ahead", "_arrived")

    def __init__(self) -> None:
        self.begin()

    def begin(self, arrived: int = 0, upto: int = 0) -> None:
        """A question was asked. If nothing is known now, the next look tells what is before it.

        Args:
            arrived: bytes of ours that the peer's system has acknowledged.
            upto: how many it will have acknowledged in the end.
        """
        self._arrived = arrived  # at the last look
        self._ahead = upto  # is to arrive before the peer can answer; 0: not seen yet

    def has_moved(self, arrived: int, upto: int) -> bool:
        """Look again. See `begin`."""
        # When all has arrived that was ahead, it is the peer's turn: more of ours is no answer.
        has_moved = self._arrived < arrived < self._ahead
        self._ahead = self._ahead or upto
        self._arrived = arrived
        return has_moved


class Liveness:
    """One link's watch over its peer. All times are readings of one clock, in seconds.

    Args:
        heartbeat: the policy's numbers; None: never ask, never judge.
        now: the time at which the link came up.
        awake: a reading of a clock that also counts the time the machine slept.

    Attributes:
        round_trip: seconds that the last answered ping took; None if none was.
    """

    __slots__ = (
        "_asked_at",
        "_drift",
        "_heard_at",
        "_heartbeat",
        "_look_at",
        "_looked_at",
        "_passage",
        "_silent_until",
        "round_trip",
    )

    def __init__(self, heartbeat: Heartbeat | None, *, now: float, awake: float) -> None:
        self._heartbeat = heartbeat
        self._heard_at = now
        self._asked_at: float | None = None
        self._silent_until = math.inf  # how long silence is borne; unbounded after any byte
        self._look_at = math.inf  # when to see what arrives, while silence has a bound
        self._passage = Passage()
        self._looked_at = now
        self._drift = awake - now
        self.round_trip: float | None = None

    def heard(self, now: float) -> None:
        """Something came from the peer, or it took in something that had been waiting."""
        self._heard_at = now
        self._silent_until = math.inf

    def answered(self, now: float) -> None:
        """The pong to our latest ping came in; others must not be reported here."""
        if self._asked_at is not None:
            self.round_trip = now - self._asked_at
        self._asked_at = None

    def asked(self, now: float) -> None:
        """A ping went out."""
        self._asked_at = now
        # A second question is no second chance: who asks often must not hide a dead peer.
        if self._heartbeat is not None and self._silent_until == math.inf:
            self._passage.begin()
            self._bear(self._heartbeat, now)

    def _bear(self, heartbeat: Heartbeat, now: float) -> None:
        """Bear silence for a timeout from now."""
        self._silent_until = now + heartbeat.timeout
        self._look_again(heartbeat, now)

    def _look_again(self, heartbeat: Heartbeat, now: float) -> None:
        # Within the interval, so that interval and timeout are enough to find a dead peer.
        self._look_at = now + min(heartbeat.timeout / LOOKS, heartbeat.interval)

    def looked(self, now: float, *, arrived: int, upto: int) -> bool:
        """What was seen for `Verdict.LOOK` or `Verdict.DEAD`; whether the peer is alive after all.

        Args:
            now: the time.
            arrived: see `Passage.begin`.
            upto: the same.
        """
        is_alive = self._passage.has_moved(arrived, upto)
        if is_alive and self._heartbeat is not None:
            self._bear(self._heartbeat, now)
        return is_alive

    def judge(self, now: float, awake: float, *, reading: bool) -> Verdict:
        """What is due at `now`.

        Args:
            now: the time.
            awake: the clock that also counts sleep.
            reading: whether what the peer sends is being taken in. While it is not, its
                silence is ours: nobody is declared dead, and the timeout waits.
        """
        heartbeat = self._heartbeat
        if heartbeat is None:
            return Verdict.WAIT
        if self._has_slept(heartbeat, now, awake):
            self._silent_until = math.inf  # the timeout begins anew, with this ping
            return Verdict.PING
        if not reading and self._silent_until < math.inf:
            self._bear(heartbeat, now)
        # Sums as in `next_look`, never differences: what is due then must be due now.
        if now < self._due(heartbeat, reading=reading):
            return Verdict.WAIT
        if not reading or self._silent_until == math.inf:
            return Verdict.PING
        self._look_again(heartbeat, now)
        return Verdict.DEAD if now >= self._silent_until else Verdict.LOOK

    def _due(self, heartbeat: Heartbeat, *, reading: bool) -> float:
        if reading and self._silent_until < math.inf:
            return min(self._silent_until, self._look_at)
        asked_at = self._heard_at if self._asked_at is None else self._asked_at
        return max(self._heard_at, asked_at) + heartbeat.interval

    def _has_slept(self, heartbeat: Heartbeat, now: float, awake: float) -> bool:
        """Whether the machine was away: asleep, stopped, or this task was kept from running."""
        drift = awake - now
        slept = drift - self._drift > heartbeat.clock_check
        stopped = now - self._looked_at > heartbeat.interval + heartbeat.timeout
        self._drift, self._looked_at = drift, now
        return slept or stopped

    def next_look(self, now: float, *, reading: bool) -> float:
        """When `judge` should be asked again, at the latest."""
        heartbeat = self._heartbeat
        if heartbeat is None:
            return math.inf
        due = self._due(heartbeat, reading=reading)
        return min(max(due, now), now + heartbeat.clock_check)
