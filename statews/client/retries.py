"""What remains between two links: what went wrong, whose turn it is, and when."""

from __future__ import annotations

import time
from inspect import iscoroutine
from typing import TYPE_CHECKING, Final

from anyio import current_time
from typing_extensions import assert_never

from ..errors import ConnectionFailed, HookError
from ..protocol import verdict
from ..protocol.backoff import delay
from .settings import Attempt, call

if TYPE_CHECKING:
    from ..lifecycle import Event, Phase
    from ..transport.dial import Target
    from .settings import Settings

__all__ = ["Retries"]

KEPT: Final = 100  # errors kept for `ConnectionFailed.history`


class Retries:
    """The verdicts on what was lost, carried out.

    Attributes:
        retry_at: when the next attempt is due, as `anyio.current_time()`.
    """

    __slots__ = ("_endpoint", "_failures", "_history", "_refresh", "_settings", "retry_at")

    def __init__(self, settings: Settings) -> None:
        self.retry_at: float = 0.0
        self._settings = settings
        self._history: list[Exception] = []
        self._endpoint = 0  # the next one's place in the turn
        self.start_over()

    @property
    def last_error(self) -> Exception | None:
        """What ended the last attempt or link; None if nothing has yet."""
        return self._history[-1] if self._history else None

    def start_over(self) -> None:
        """Somebody asked for a new start."""
        self._history.clear()
        self._failures = 0  # attempts and links lost since then
        self._refresh = False

    settle = start_over  # a link has lasted

    async def next_target(self, attempts: int) -> Target:
        """Where the attempt goes whose number is given.

        Raises:
            HookError, UsageError: see `Settings.target`.
        """
        endpoints = self._settings.endpoints
        attempt = Attempt(number=attempts, refresh=self._refresh, last_error=self.last_error)
        return await self._settings.target(endpoints[self._endpoint % len(endpoints)], attempt)

    def judge(
        self, error: Exception, phase: Phase, *, attempts: int, uptime: float | None
    ) -> Event:
        """The event that a loss is, and for `lost` the time of the next attempt."""
        self._remember(error)
        self._failures += 1
        failure = verdict.Failure(
            error=error,
            phase=phase,
            attempt=attempts,
            uptime=uptime,
            has_refreshed=self._refresh,
            unix_time=time.time(),
        )
        try:
            decision = _as_verdict(call("decide", self._settings.decide, failure))
            return self._carry_out(decision, failure)
        except HookError as failed:
            self._remember(failed)
            return "refused"

    def _carry_out(self, decision: verdict.Verdict, failure: verdict.Failure) -> Event:
        at_least, spread = 0.0, None
        match decision:
            case verdict.Fail():
                return "refused"
            case verdict.End():
                return "refused" if failure.uptime is None else "ended"
            case verdict.RetryNow():
                spread = 0.0
            case verdict.Refresh():
                self._refresh = True
            case verdict.NextEndpoint():
                self._endpoint += 1
                at_least = decision.at_least
            case verdict.Retry():
                at_least, spread = decision.at_least, decision.spread
            case _:
                assert_never(decision)
        self.retry_at = current_time() + delay(
            self._settings.dialing.policy.backoff,
            failure.attempt + 1,
            _as_draw(call("random", self._settings.random)),
            at_least=at_least,
            spread=spread,
        )
        return "lost"

    def _remember(self, error: Exception) -> None:
        """Keep an error, but not the frames it went through: they hold the lost link."""
        self._history.append(error)
        del self._history[:-KEPT]
        kept: BaseException | None = error
        seen: set[int] = set()  # what is yours may be its own cause
        while kept is not None and not isinstance(kept, HookError) and id(kept) not in seen:
            seen.add(id(kept))
            kept.__traceback__ = None
            kept = kept.__cause__ or kept.__context__

    def failure(self) -> ConnectionFailed:
        """The error for whoever waits for a connection that gave up."""
        count = f"{self._failures} attempt{'s' if self._failures > 1 else ''}"
        return ConnectionFailed(
            self._history, f"gave up after {count} that failed, the last one: {self.last_error}"
        )


def _as_verdict(given: object) -> verdict.Verdict:
    if isinstance(given, verdict.Verdict):
        return given
    if iscoroutine(given):
        given.close()
    raise HookError(f"decide must give a verdict such as Retry(), got {given!r:.200}")


def _as_draw(given: object) -> float:
    if isinstance(given, (int, float)) and 0 <= given <= 1:
        return given
    raise HookError(f"random must give a number from [0, 1), got {given!r:.200}")
