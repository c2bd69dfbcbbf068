"""The driver: runs the activity of the present state, fires the event it returns, again.

What makes it right:

- only the driver fires while an activity runs; `close()` and `nudge()` record a wish and
  cancel the activity;
- a result beats a wish: a dial that won the race still gets its closing handshake;
- no await stands between two activities;
- leaving `open` is a closing handshake with a deadline, so that `closed` means released;
- no listener runs in a transition: observers read from a stream of their own.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Literal, NoReturn

import anyio
from anyio import CancelScope, current_time
from typing_extensions import assert_never

from ..errors import (
    ConnectionClosed,
    ConnectionFailed,
    HookError,
    OpeningTimeout,
    StatewsError,
    UsageError,
)
from ..lifecycle import Lifecycle, Phase, State
from ..protocol import backoff, verdict
from ..protocol.frames import CloseCode
from ..transport.dial import dial, redact
from ..transport.link import LinkState
from .changes import Change, Observers, Snapshot
from .settings import Attempt, provide

if TYPE_CHECKING:
    from ..lifecycle import Event
    from ..protocol.frames import Message
    from ..transport.link import Link
    from .settings import Settings

__all__ = ["Driver"]

HISTORY: Final = 100  # errors kept for `ConnectionFailed.history`

logger: Final = logging.getLogger("statews.client")


class Driver:
    """One connection's lifecycle, running.

    Attributes:
        link: the open link; None in every state but `open`.
        inbox: messages not yet taken, of this link and of those before it.
        observers: who watches.
    """

    __slots__ = (
        "_closing",
        "_endpoint",
        "_history",
        "_life",
        "_phase",
        "_refresh",
        "_retry_at",
        "_scope",
        "_settings",
        "_settles_at",
        "_since",
        "_turn",
        "_wish",
        "inbox",
        "link",
        "observers",
    )

    def __init__(self, settings: Settings) -> None:
        self.link: Link | None = None
        self.inbox: deque[Message] = deque()
        self.observers = Observers()
        self._settings = settings
        self._life = Lifecycle(settings.dialing.policy.backoff.max_attempts)
        self._phase: Phase | None = None
        self._since = 0.0
        self._scope = CancelScope()
        self._wish: Literal["close", "nudge"] | None = None
        self._closing: tuple[int, str] = (CloseCode.NORMAL, "")
        self._history: deque[Exception] = deque(maxlen=HISTORY)
        self._turn = 0  # how often the next endpoint was asked for
        self._endpoint: str | None = None
        self._refresh = False
        self._retry_at = 0.0
        self._settles_at = math.inf

    @property
    def state(self) -> State:
        """Where in its life the connection is."""
        return self._life.state

    @property
    def phase(self) -> Phase | None:
        """What it is busy with in that state."""
        return self._phase

    async def run(self) -> None:
        """Drive until `closed`. Cancelled by nothing but a wish, and each state ends in bounded time."""
        while self.state is not State.CLOSED:
            event: Event | None = None
            with CancelScope(shield=True) as self._scope:
                if self._wish is not None:
                    self._scope.cancel()
                event = await self._run_activity()
            event = event or self._wish
            if event is not None:
                self._fire(event)

    async def _run_activity(self) -> Event:
        match self.state:
            case State.CONNECTING:
                return await self._attempt()
            case State.OPEN:
                return await self._serve()
            case State.BACKING_OFF:
                await anyio.sleep_until(self._retry_at)
                return "elapsed"
            case State.IDLE | State.FAILED | State.CLOSED:
                await _sleep_forever()
            case _:
                assert_never(self.state)

    def _fire(self, event: Event) -> None:
        left = self._life.fire(event)
        if self._wish == "nudge":
            self._wish = None
        if event == "settled":
            self._history.clear()
            self._refresh = False
        if self.state is not State.OPEN:
            self.link = None
        if self.state is not left:
            self._since = current_time()
            self._phase = Phase.LIVE if self.state is State.OPEN else None
            self._log(left, event)
        self.observers.publish(Change(left=left, event=event, now=self.snapshot()))

    # What others ask for.

    def connect(self) -> None:
        """Start, or start over: the caller fires, not the driver's task."""
        self._history.clear()
        self._fire("connect")
        self._scope.cancel()

    def close(self, code: int, reason: str) -> None:
        """Wish for `closed`. The first close code stays."""
        if self.state is State.IDLE:
            self._fire("close")
        elif self._wish != "close" and self.state is not State.CLOSED:
            self._wish = "close"
            self._closing = (code, reason)
            self._scope.cancel()

    def nudge(self) -> None:
        """Retry now, or ask the peer whether it is there; in other states there is nothing to hurry."""
        if self.state is State.BACKING_OFF and self._wish is None:
            self._wish = "nudge"
            self._scope.cancel()
        elif self.link is not None:
            self.link.probe()

    async def wait_open(self, *, spent: Link | None = None) -> None:
        """Return in `open`, with another link than `spent`.

        Raises:
            ConnectionFailed: the policy gave up.
            ConnectionClosed: the connection is closed.
        """
        while self.link is None or self.link is spent:
            self._check_alive()
            await self.observers.wait_change()

    async def wait_message(self) -> None:
        """Return when `inbox` may have a message. Raises as `wait_open`."""
        if self.link is not None and self.link.state is not LinkState.OVER:
            await self.link.wait_message()
        else:
            self._check_alive()
            await self.observers.wait_change()

    def _check_alive(self) -> None:
        if self.state is State.FAILED:
            tries = f"after {len(self._history)} failed attempts, the last one: "
            raise ConnectionFailed(self._history, f"gave up {tries}{self._history[-1]}")
        if self.state is State.CLOSED:
            message = "the connection is closed"
            raise ConnectionClosed(message)

    def snapshot(self) -> Snapshot:
        """The connection as it is now."""
        return Snapshot(
            state=self.state,
            phase=self._phase,
            attempt=self._life.attempts,
            since=self._since,
            retry_at=self._retry_at if self.state is State.BACKING_OFF else None,
            last_error=self._history[-1] if self._history else None,
            round_trip=None if self.link is None else self.link.round_trip,
            endpoint=self._endpoint,
        )

    # The activities.

    async def _attempt(self) -> Event:
        """`connecting`: one dial, and the hooks on what it gave."""
        opening = self._settings.dialing.policy.timeouts.opening
        try:
            with anyio.fail_after(opening):
                link = await self._open_link()
        except TimeoutError as error:
            message = f"the attempt took more than {opening:g} seconds while {self._phase}"
            failure = OpeningTimeout(message)
            failure.__cause__ = error
            return self._judge(failure)
        except StatewsError as error:
            return self._judge(error)
        link.adopt(self.inbox)
        self.link = link
        self._settles_at = current_time() + self._settings.dialing.policy.backoff.stable_after
        return "opened"

    async def _open_link(self) -> Link:
        settings = self._settings
        self._phase = Phase.RESOLVING
        attempt = Attempt(
            number=self._life.attempts,
            refresh=self._refresh,
            last_error=self._history[-1] if self._history else None,
        )
        endpoint = settings.endpoints[self._turn % len(settings.endpoints)]
        target = await settings.target(endpoint, attempt)
        self._endpoint = redact(target.url)
        link = await dial(target, settings.dialing, self._enter_phase)
        try:
            if settings.hooks:
                await self._restore(link)
        except BaseException:
            await self._part(link, CloseCode.GOING_AWAY)
            raise
        return link

    def _enter_phase(self, phase: Phase) -> None:
        self._phase = phase

    async def _restore(self, link: Link) -> None:
        """Run the hooks, with the link kept alive under them."""
        self._phase = Phase.RESTORING
        failure: HookError | UsageError | None = None

        async def serve() -> None:
            await link.serve()
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(serve)
            try:
                for hook in self._settings.hooks:
                    await provide("the on_open hook", hook, link)
            except (HookError, UsageError) as error:
                failure = error
            group.cancel_scope.cancel()
        if link.ending is not None:
            raise link.ending  # the hook's failure, if any, is a consequence
        if failure is not None:
            raise failure

    async def _serve(self) -> Event:
        """`open`: keep the link alive; on leaving, by whatever way, shake hands."""
        assert self.link is not None  # noqa: S101 - the row into `open` is taken with a link only
        link, ending = self.link, None
        try:
            with CancelScope(deadline=self._settles_at):
                ending = await link.serve()
            if ending is None:
                self._settles_at = math.inf
                return "settled"
        except BaseException:
            await self._part(link, *self._closing)
            raise
        await self._part(link, CloseCode.NORMAL)
        return self._judge(ending)

    async def _part(self, link: Link, code: int, reason: str = "") -> None:
        self._phase = Phase.DRAINING
        with anyio.move_on_after(self._settings.dialing.policy.timeouts.closing, shield=True):
            await link.close(code, reason)

    def _judge(self, error: Exception) -> Event:
        """What a loss means: the verdict, and for a retry its time."""
        settings = self._settings
        self._history.append(error)
        now = current_time()
        failure = verdict.Failure(
            error=error,
            phase=Phase.LIVE if self.state is State.OPEN else self._phase or Phase.RESOLVING,
            attempt=self._life.attempts,
            uptime=now - self._since if self.state is State.OPEN else None,
            has_refreshed=self._refresh,
            unix_time=time.time(),
        )
        at_least, spread = 0.0, None
        match decision := settings.decide(failure):
            case verdict.Fail():
                return "refused"
            case verdict.End():
                return "ended" if self.state is State.OPEN else "refused"
            case verdict.RetryNow():
                spread = 0.0
            case verdict.Refresh():
                self._refresh = True
            case verdict.NextEndpoint():
                self._turn += 1
                at_least = decision.at_least
            case verdict.Retry():
                at_least, spread = decision.at_least, decision.spread
            case _:
                assert_never(decision)
        self._retry_at = now + backoff.delay(
            settings.dialing.policy.backoff,
            self._life.attempts + 1,
            settings.random(),
            at_least=at_least,
            spread=spread,
        )
        return "lost"

    def _log(self, left: State, event: Event) -> None:
        error = self._history[-1] if self._history else None
        match self.state:
            case State.BACKING_OFF:
                wait = self._retry_at - self._since
                logger.warning("%s -> backing-off for %.2f s: %s", left, wait, error)
            case State.FAILED:
                logger.error("%s -> failed: %s", left, error)
            case _:
                logger.info("%s -> %s (%s) %s", left, self.state, event, self._endpoint or "")


async def _sleep_forever() -> NoReturn:
    await anyio.sleep_forever()
    raise AssertionError
