"""What `send` gives back: how far the message has come, to be read or awaited."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from anyio import CancelScope, Event, current_time

from ..errors import DeliveryError
from ..protocol.entry import ReceiptState

if TYPE_CHECKING:
    from ..protocol.burst import Burst
    from ..protocol.entry import Entry
    from ..protocol.frames import Message

__all__ = ["Receipt"]


class Sending(Protocol):
    """What a receipt needs of the connection it comes from."""

    def hurry(self) -> None:
        """Somebody waits for an acknowledgement."""
        ...

    def expire(self) -> None:
        """The time of a message may be over."""
        ...

    def check_alive(self) -> None:
        """Raise if nothing will become of what waits."""
        ...


class Receipt:
    """How far one message has come, across links.

    Attributes:
        message: what was sent.
        sending: the outbox that it is in.
        burst: what it was written with, or what keeps it alone.
        index: its place in that.
    """

    __slots__ = ("burst", "index", "message", "sending")

    # There is one for each message, and most are thrown away at once: whoever makes one sets these
    # itself, for to be called with them costs as much again.
    message: Message
    sending: Sending
    burst: Burst | Entry
    index: int

    def __repr__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"<statews.Receipt {self.state}{why}>"

    @property
    def state(self) -> ReceiptState:
        """How far it has come: see `ReceiptState`."""
        burst = self.burst
        if self.index < burst.done:
            return ReceiptState.ACKNOWLEDGED
        entry = burst.find(self.index)
        return ReceiptState.WRITTEN if entry is None else entry.state

    @property
    def reason(self) -> str:
        """Why, if it was dropped or is in doubt; else empty."""
        entry = self.burst.find(self.index)
        return "" if entry is None else entry.reason

    @property
    def attempts(self) -> int:
        """How many links it was written to."""
        entry = self.burst.find(self.index)
        return 1 if entry is None else entry.attempts

    @property
    def size(self) -> int:
        """Its payload, in bytes."""
        entry = self.burst.find(self.index)
        return len(self.message) if entry is None else entry.size

    async def wait_settled(self) -> ReceiptState:
        """Return the final state, as soon as there is one.

        Raises:
            ConnectionFailed: the connection gave up. The message stays queued for `connect()`.
        """
        while not self.state.is_final:
            await self._wait_move()
        return self.state

    async def wait_written(self) -> None:
        """Return when the message was handed to a link.

        Raises:
            DeliveryError: it never was, and never will be.
            ConnectionFailed: the connection gave up. The message stays queued for `connect()`.
        """
        while self.state is ReceiptState.QUEUED:
            await self._wait_move()
        if self.state in (ReceiptState.EXPIRED, ReceiptState.DROPPED):
            raise DeliveryError(self.state, self.reason)

    async def wait_acknowledged(self) -> None:
        """Return when the peer has taken the message in.

        Raises:
            DeliveryError: it expired, was dropped or is in doubt.
            ConnectionFailed: the connection gave up. The message stays queued for `connect()`.
        """
        if await self.wait_settled() is not ReceiptState.ACKNOWLEDGED:
            raise DeliveryError(self.state, self.reason)

    async def _wait_move(self) -> None:
        self.sending.check_alive()
        self.burst.expand()
        entry = self.burst.find(self.index)
        assert entry is not None  # noqa: S101 - it is not acknowledged
        moved = entry.waiter if isinstance(entry.waiter, Event) else Event()
        entry.waiter = moved
        self.sending.hurry()
        deadline = entry.terms.expires_at if entry.state is ReceiptState.QUEUED else math.inf
        if deadline <= current_time():
            self.sending.expire()
            deadline = math.inf  # what has a number of its session's waits all the same
        with CancelScope(deadline=deadline) as scope:
            await moved.wait()
        if scope.cancelled_caught:
            self.sending.expire()
