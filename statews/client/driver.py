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
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal

import anyio
from anyio import CancelScope, current_time

from ..errors import ConnectionClosed, OpeningTimeout, StatewsError, UsageError
from ..lifecycle import Lifecycle, Phase, State
from ..protocol.frames import CloseCode
from ..transport.dial import redact
from ..transport.link import LinkState
from .changes import Change, Observers, Snapshot
from .intake import Intake
from .opening import open_link, part
from .retries import Retries
from .sender import Sender
from .session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine

    from ..lifecycle import Event
    from ..protocol.frames import Message
    from ..transport.link import Link
    from .settings import Settings

__all__ = ["Driver"]

logger: Final = logging.getLogger("statews.client")


class Driver:
    """One connection's lifecycle, running.

    Attributes:
        link: the open link; None in every state but `open`.
        inbox: messages not yet taken, of this link and of those before it, if nothing looks at
            them first; else they are in the feed of the `Intake`.
        observers: who watches.
        sender: what goes out, by this link and the ones after it.
        session: what outlives the links, with a server that has sessions.
    """

    __slots__ = (
        "_closing",
        "_endpoint",
        "_interrupt",
        "_life",
        "_phase",
        "_retries",
        "_settings",
        "_settles_at",
        "_since",
        "_wish",
        "inbox",
        "link",
        "observers",
        "sender",
        "session",
    )

    def __init__(self, settings: Settings) -> None:
        self.link: Link | None = None
        self.inbox: deque[Message] = deque()
        self.observers: Observers = Observers()
        resume = settings.session
        session = (
            None
            if resume is None
            else Session(resume, settings.dialing.policy, is_stored=settings.store is not None)
        )
        self.session: Session | None = session
        self.sender: Sender = Sender(settings.outbox, self._check_alive, session)
        self._settings = settings
        self._life = Lifecycle(settings.dialing.policy.backoff.max_attempts)
        self._retries = Retries(settings)
        self._phase: Phase | None = None
        self._since = 0.0
        self._settles_at = math.inf
        self._endpoint: str | None = None
        self._interrupt: Callable[[], object] = _nothing  # ends the activity that runs
        self._wish: Literal["close", "nudge"] | None = None
        self._closing: tuple[int, str] = (CloseCode.NORMAL, "")
        if settings.needs_intake:
            self.take_in()

    @property
    def state(self) -> State:
        """Where in its life the connection is."""
        return self._life.state

    @property
    def phase(self) -> Phase | None:
        """What it is busy with in that state."""
        intake = self.sender.intake
        if self._phase is Phase.LIVE and intake is not None and intake.is_fetching:
            return Phase.SYNCHRONISING
        return self._phase

    async def run(self) -> None:
        """Drive until `closed`. Nothing but a wish ends an activity early, and all are bounded.

        An exception is a defect, here or in what is yours. It leaves as it is, in `closed`.
        """
        try:
            while self.state is not State.CLOSED:
                is_open = self.state is State.OPEN
                event = await (self._serve() if is_open else self._unless_wished())
                event = event or self._wish
                if event is not None:
                    self._fire(event)
        except BaseException:
            await self._break_off()
            raise

    async def _break_off(self) -> None:
        """Be `closed` although no row foresees why, and let everybody know."""
        self._phase, self._interrupt = Phase.DRAINING, _nothing
        if self.link is not None:
            with suppress(Exception):  # it is aborted then; the first exception counts
                await part(self._settings, self.link, CloseCode.INTERNAL_ERROR)
        if self.sender.intake is not None:
            for strategy in self.sender.intake.strategies:
                with suppress(Exception):
                    strategy.end()
            self.sender.intake.strategies = ()  # what is broken is not asked again
        left = self._life.fire("close")
        self._enter(left, "close")
        self._publish(left, "close")

    async def _unless_wished(self) -> Event | None:
        """Run the activity; None if a wish was faster."""
        with CancelScope(shield=True) as scope:
            self._interrupt = scope.cancel
            if self._wish is not None:
                scope.cancel()
            return await self._activity()
        return None

    def _activity(self) -> Coroutine[None, None, Event]:
        match self.state:
            case State.CONNECTING:
                return self._attempt()
            case State.BACKING_OFF:
                return self._back_off()
            case _:
                return self._rest()

    async def _rest(self) -> Event:
        """`idle`, `failed`: until somebody connects or closes."""
        await anyio.sleep_forever()
        raise AssertionError

    async def _back_off(self) -> Event:
        """`backing-off`: the drawn delay, unless somebody nudges."""
        await anyio.sleep_until(self._retries.retry_at)
        return "elapsed"

    async def _attempt(self) -> Event:
        """`connecting`: one dial, and the hooks on what it gave."""
        policy = self._settings.dialing.policy
        try:
            with anyio.fail_after(policy.timeouts.opening):
                self._phase = Phase.RESOLVING
                target = await self._retries.next_target(self._life.attempts)
                self._endpoint = redact(target.url)
                link = await open_link(self._settings, target, self.session, self._enter_phase)
        except TimeoutError as error:
            limit = f"{policy.timeouts.opening:g} seconds"
            failure = OpeningTimeout(f"the attempt took more than {limit}, while {self._phase}")
            failure.__cause__ = error
            return self._judge(failure)
        except StatewsError as error:
            return self._judge(error)
        if self.sender.intake is None:
            link.adopt(self.inbox)
        self.link = link
        self._settles_at = current_time() + policy.backoff.stable_after
        return "opened"

    async def _serve(self) -> Event | None:
        """`open`: keep the link alive; on leaving, by whatever way, shake hands.

        A wish calls the link off instead of cancelling: one scope less for each connection that
        is open is half a kilobyte under trio.
        """
        link = self.link
        assert link is not None  # noqa: S101 - `opened` is returned with a link only
        self._interrupt = link.call_off
        until = -math.inf if self._wish else self._settles_at
        ending = await link.serve(until=until, shield=True)
        if ending is None and self._wish is None:
            self._settles_at = math.inf
            return "settled"
        self._phase, self._interrupt = Phase.DRAINING, _nothing
        if ending is None:
            await part(self._settings, link, *self._closing)
            return None
        await part(self._settings, link, CloseCode.NORMAL)
        return self._judge(ending)

    def _enter_phase(self, phase: Phase) -> None:
        self._phase = phase

    def _judge(self, error: Exception) -> Event:
        is_open = self.state is State.OPEN
        return self._retries.judge(
            error,
            Phase.LIVE if is_open else self._phase or Phase.RESOLVING,
            attempts=self._life.attempts,
            uptime=current_time() - self._since if is_open else None,
        )

    def _fire(self, event: Event) -> None:
        left, intake = self._life.fire(event), self.sender.intake
        # What came in as the link was opened is behind the change.
        place = len(intake.feed) if intake is not None and event == "opened" else None
        if self._wish == "nudge":
            self._wish = None
        if event == "settled":
            self._retries.settle()
        if self.state is not left:
            self._enter(left, event)
        self._publish(left, event, place=place)

    def _enter(self, left: State, event: Event) -> None:
        self._tell_sender(left)
        self._since = current_time()
        self._phase = Phase.LIVE if self.state is State.OPEN else None
        self._log(left, event)

    def _publish(self, left: State, event: Event, *, place: int | None = None) -> None:
        change, intake = Change(left=left, event=event, now=self.snapshot()), self.sender.intake
        self.observers.publish(change)
        if intake is not None:
            intake.publish(change, len(intake.feed) if place is None else place)

    def _tell_sender(self, left: State) -> None:
        if left is State.OPEN:
            self.link = None
            self.sender.lost()
        match self.state:
            case State.OPEN if self.link is not None:
                self.sender.opened(self.link)
            case State.FAILED:
                self.sender.failed()
            case State.CLOSED:
                self.sender.closed()
            case _:
                pass

    def _log(self, left: State, event: Event) -> None:
        error = self._retries.last_error
        match self.state:
            case State.BACKING_OFF:
                wait = self._retries.retry_at - self._since
                logger.warning("%s -> backing-off for %.2f s: %s", left, wait, error)
            case State.FAILED:
                logger.error("%s -> failed: %s", left, error)
            case state:
                logger.info("%s -> %s (%s) %s", left, state, event, self._endpoint or "")

    # What others ask for.

    def connect(self) -> None:
        """Start, or start over: the caller fires, not the driver's task."""
        self._fire("connect")
        self._retries.start_over()
        self._interrupt()

    def close(self, code: int, reason: str) -> None:
        """Wish for `closed`. The first close code stays."""
        if self.state is State.IDLE:
            self._fire("close")
        elif self._wish != "close" and self.state is not State.CLOSED:
            self._wish = "close"
            self._closing = (code, reason)
            self._interrupt()

    def nudge(self) -> None:
        """Retry now, or ask the peer whether it is there; elsewhere there is nothing to hurry."""
        if self.state is State.BACKING_OFF and self._wish is None:
            self._wish = "nudge"
            self._interrupt()
        elif self.link is not None:
            self.link.probe()

    def take_in(self) -> Intake:
        """What looks at what comes in; from now on something does."""
        intake = self.sender.intake
        if intake is None:
            settings = self._settings
            intake = Intake(settings.dialing.policy, settings.strategies, self.sender)
            self.sender.intake = intake
            if self.link is not None:
                self.link.divert(intake.feed, intake.sort)
            intake.feed.extend(self.inbox)
            self.inbox.clear()
        elif self.link is not None:
            self.link.is_sole = False  # changes of state may be wanted from now on
        return intake

    async def wait_open(self) -> None:
        """Return in `open`.

        Raises:
            ConnectionFailed: the policy gave up.
            ConnectionClosed: the connection is closed.
            UsageError: it was not entered.
        """
        while self.link is None:
            self._check_alive()
            await self.observers.wait_change()

    async def wait_message(self) -> None:
        """Return when `inbox` may have a message. Raises as `wait_open`."""
        intake, keeper = self.sender.intake, self.sender.keeper
        if intake is not None and keeper is not None and intake.feed.is_unsettled:
            if self.session is not None:
                await keeper.save(self.session.progress)
            intake.feed.is_unsettled = False
            return
        if self.link is not None and self.link.state is not LinkState.OVER:
            await self.link.wait_message()
        else:
            self._check_alive()
            await self.observers.wait_change()

    def check_hope(self, state: State, wanted: Collection[State]) -> None:
        """Raise `ConnectionFailed` in `failed`, if what is wanted is not to be had from there."""
        if state is State.FAILED and State.CLOSED not in wanted:
            raise self._retries.failure()

    def _check_alive(self) -> None:
        match self.state:
            case State.IDLE:
                raise UsageError("enter the connection first: async with connect(...)")
            case State.FAILED:
                raise self._retries.failure()
            case State.CLOSED:
                raise ConnectionClosed("the connection is closed")
            case _:
                pass

    def snapshot(self) -> Snapshot:
        """The connection as it is now."""
        return Snapshot(
            state=self.state,
            phase=self.phase,
            attempt=self._life.attempts,
            since=self._since,
            retry_at=self._retries.retry_at if self.state is State.BACKING_OFF else None,
            last_error=self._retries.last_error,
            round_trip=None if self.link is None else self.link.round_trip,
            endpoint=self._endpoint,
        )


def _nothing() -> None:
    """No activity runs that could be ended."""
