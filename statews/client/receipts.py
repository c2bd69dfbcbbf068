"""What `send` gives back: how far the message has come, to be read or awaited."""

from __future__ import annotations

import math
from typing import Protocol

from anyio import CancelScope, Event

from ..errors import DeliveryError
from ..protocol.entry import Entry, ReceiptState, Waiter

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


class Receipt(Entry):
    """How far one message has come, across links.

    Attributes:
        message: what was sent.
        state: how far it has come: see `ReceiptState`.
        reason: why, if it was dropped or is in doubt; else empty.
        attempts: how many links it was written to.
        size: its payload, in bytes.
        sending: the outbox that it is in.
    """

    __slots__ = ("sending",)

    sending: Sending

    def __repr__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"<statews.Receipt {self.state}{why}>"

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
        moved = self.waiter if isinstance(self.waiter, Event) else Event()
        self.waiter: Waiter | None = moved
        self.sending.hurry()
        is_waiting = self.state is ReceiptState.QUEUED
        with CancelScope(deadline=self.terms.expires_at if is_waiting else math.inf) as scope:
            await moved.wait()
        if scope.cancelled_caught:
            self.sending.expire()
