"""The connection that applications hold: one object across any number of links."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from ..errors import ConnectionClosed, StatewsError, UsageError
from ..lifecycle import Phase, State
from ..protocol.codes import check_close
from ..protocol.entry import Entry
from ..protocol.frames import CloseCode
from ..protocol.outbox import DIRECT
from ..transport.dial import Target, redact
from .driver import Driver
from .events import Events
from .holding import let_go, take_hold
from .receipts import Receipt
from .settings import Settings

if TYPE_CHECKING:
    from collections.abc import Hashable
    from types import TracebackType

    from typing_extensions import Self

    from ..protocol.frames import Message
    from ..transport.traffic import Inbox
    from .changes import Changes, Snapshot

__all__ = ["Connection"]


class Connection:
    """A client's connection, across links. Made by `connect`, entered with `async with`.

    One task at a time may receive; any number may send, watch and close.
    """

    __slots__ = ("__weakref__", "_driver", "_group", "_inbox", "_sender", "_settings", "_wait")

    def __init__(self, settings: Settings, *, wait: bool) -> None:
        self._settings = settings
        self._wait = wait
        self._driver = Driver(settings)
        self._sender = self._driver.sender
        intake = self._sender.intake
        self._inbox: Inbox = self._driver.inbox if intake is None else intake.feed

    def __repr__(self) -> str:
        first = self._settings.endpoints[0]
        url = (
            first if isinstance(first, str) else first.url if isinstance(first, Target) else "..."
        )
        return f"<statews.Connection {self.state} {redact(url)}>"

    async def __aenter__(self) -> Self:
        """Start, and wait for `open` unless `wait=False` was given.

        Raises:
            ConnectionFailed: the policy gave up; the attempts are in its `history`.
            StoreError: the store cannot be opened, and `OnStoreError.RAISE` says what then.
            UsageError: it was entered before, or another connection has one of its strategies.
        """
        if self.state is not State.IDLE:
            raise UsageError("a connection is entered once; make a new one with connect()")
        await take_hold(self._settings, self._sender, self._driver.session)
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        try:
            self._driver.connect()
            self._sender.start(self._group)
            self._group.start_soon(self._driver.run)
            if self._wait:
                await self._driver.wait_open()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close, with 1000 after a body that ended and 1001 after one that raised.

        A session that is stored is kept, with 1001; `close` ends it.
        """
        is_over = exc is None and not self._settings.has_fixed_order
        self._driver.close(CloseCode.NORMAL if is_over else CloseCode.GOING_AWAY, "")
        await let_go(self._settings, self._sender, self._group, exc)

    # Messages.

    async def send(
        self,
        message: Message,
        *,
        key: Hashable = None,
        time_to_live: float | None = None,
        link_only: bool = False,
    ) -> Receipt:
        """Queue one message for the peer, for now or for when the link is back.

        What is sent goes out in order, on a new link after the `on_open` hooks. Returns when the
        message is in the outbox and, on an open link, may be written: `Limits.outgoing_bytes`.

        Args:
            message: `str` goes as text, `bytes` as binary (RFC 6455 section 5.6).
            key: under `AtLimit.CONFLATE`, the message takes the place of one with this key that
                still waits.
            time_to_live: seconds after which it expires if it still waits; None: as
                `Outbox.time_to_live` says.
            link_only: it makes sense on the present link only, and is dropped with it, or at
                once if there is none.

        Returns:
            How far the message has come, to be read or awaited.

        Raises:
            UsageError: not a message, or an option that is wrong.
            OutboxFullError: the outbox is at its limit, and `AtLimit.RAISE` says what then.
            ConnectionFailed: the policy gave up. What was queued before stays, for `connect()`.
            ConnectionClosed: the connection is closed.

        Cancellation: the message is in the outbox whole, or not at all.
        """
        sender = self._sender
        if sender.direct is None and sender.is_held_back:
            await sender.wait_turns()
        direct = sender.direct
        if (
            direct is None
            or type(message) is not str
            or len(message) > DIRECT
            or key is not None
            or time_to_live is not None
            or link_only
            or not message.isascii()
        ):
            if key is not None or time_to_live is not None or link_only or sender.has_terms:
                return await sender.send(
                    message, key=key, time_to_live=time_to_live, link_only=link_only
                )
            return await self._send_entry(Entry(message))
        try:
            is_full = direct.write_text(message)
        except StatewsError:  # it is over, and the driver has not had its turn yet
            return await self._send_entry(Entry(message))
        queue = sender.queue
        receipt = Receipt()
        receipt.message, receipt.sending = message, sender
        receipt.burst = burst = queue.burst or queue.begin_burst()
        receipt.index = burst.done + len(queue.texts)
        if queue.track_text(message):
            sender.look_at_limits()
        if is_full:
            await direct.wait_room()
        return receipt

    async def _send_entry(self, entry: Entry) -> Receipt:
        sender = self._sender
        way = sender.way
        if way is None or entry.size > DIRECT:
            await sender.enter(entry)
            return sender.receipt(entry)
        try:
            is_full = way.write(entry.message)
        except StatewsError:
            await sender.enter(entry)
            return sender.receipt(entry)
        if sender.queue.track(entry):
            sender.look_at_limits()
        if is_full:
            await way.wait_room()
        return sender.receipt(entry)

    async def flush(self) -> None:
        """Return when everything that was sent before is settled: acknowledged, or given up.

        Raises:
            ConnectionFailed: the policy gave up. What waits stays, for `connect()`.
        """
        for receipt in self._sender.pending():
            await receipt.wait_settled()

    async def receive(self) -> Message:
        """The next message, whichever link it comes over.

        Raises:
            ConnectionFailed: the policy gave up, and every message was taken.
            ConnectionClosed: the connection is closed, and every message was taken.
            BusyError: another task is receiving.

        Cancellation: no message is lost.
        """
        while True:
            try:  # to ask whether there is one costs a tenth of a message
                return self._inbox.popleft()
            except IndexError:
                pass
            await self._driver.wait_message()

    def __aiter__(self) -> Self:
        """Iterate over the messages, until the connection is closed."""
        return self

    async def __anext__(self) -> Message:
        while True:
            try:
                return self._inbox.popleft()
            except IndexError:
                pass
            try:
                await self._driver.wait_message()
            except ConnectionClosed:
                raise StopAsyncIteration from None

    def events(self) -> Events:
        """An iterator over everything in one order: messages, gaps, resets, changes of state.

        It takes the place of `receive`: each event is yielded once, here or there. Changes of
        state come in from the first call on.
        """
        intake = self._driver.take_in()
        intake.feed.has_changes = True
        self._inbox = intake.feed
        return Events(intake.feed, self._driver)

    @property
    def session(self) -> str | None:
        """The id of the session; None if there is none (yet)."""
        session = self._driver.session
        return None if session is None else session.ticket.sid

    @property
    def redelivered(self) -> bool:
        """Whether an earlier process may have handled the message that was received last.

        Only with a session and a store: after a crash, it is delivered again.
        """
        session = self._driver.session
        return session is not None and session.redelivers

    # The lifecycle.

    @property
    def state(self) -> State:
        """Where in its life the connection is."""
        return self._driver.state

    @property
    def phase(self) -> Phase | None:
        """What it is busy with in that state; None where nothing runs."""
        return self._driver.phase

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol of the open link; None if there is no link, or it has none."""
        link = self._driver.link
        return None if link is None else link.subprotocol

    def snapshot(self) -> Snapshot:
        """The connection as it is now: state, attempt, next attempt, last error and more."""
        return self._driver.snapshot()

    def changes(self) -> Changes:
        """An iterator over the changes of state from now on. A slow reader holds up nobody."""
        return self._driver.observers.subscribe(self.state)

    async def wait_for(self, *states: State) -> State:
        """Return as soon as the connection is, or for a moment was, in one of `states`.

        Raises:
            ConnectionClosed: it was closed, and `closed` is not one of them.
            ConnectionFailed: the policy gave up, and neither `failed` nor `closed` is.
            UsageError: something else than states is waited for.
        """
        if not (states and all(map(_is_state, states))):
            raise UsageError(f"wait_for needs one State or more, got {states!r:.200}")
        changes = self.changes()
        if self.state in states:
            return self.state
        self._driver.check_hope(self.state, states)
        async for change in changes:
            if change.now.state in states:
                return change.now.state
            self._driver.check_hope(change.now.state, states)
        raise ConnectionClosed(f"the connection was closed before it was {' or '.join(states)}")

    async def connect(self) -> None:
        """Start over from `failed`; in every state, wait for `open`.

        Raises:
            ConnectionFailed: the policy gave up, again.
            ConnectionClosed: the connection is closed, for good.
            UsageError: it was not entered.
        """
        if self.state is State.FAILED:
            self._driver.connect()
        await self._driver.wait_open()

    def nudge(self) -> None:
        """Hurry: retry now while backing off, ask the peer for a sign of life while open.

        For when the application knows better: the network changed, the device woke up.
        """
        self._driver.nudge()

    async def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Close for good, from any state; returns when everything is released.

        Takes at most `Timeouts.closing`. Calling it again is fine.

        Args:
            code: the close code for the peer (RFC 6455 section 7.4).
            reason: at most 123 bytes.

        Raises:
            UsageError: a code or reason that cannot be sent. Nothing is closed.

        Cancellation: the connection is closed all the same.
        """
        check_close(code, reason)
        self._driver.close(code, reason)
        await self.wait_for(State.CLOSED)


def _is_state(value: object) -> bool:
    return isinstance(value, State)
