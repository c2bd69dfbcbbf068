"""What a link asks of the connection whose messages go over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..protocol.frames import Message

__all__ = ["Inbox", "Traffic"]


class Traffic(Protocol):
    """What a connection does with its link, and the link with its connection."""

    def ask(self) -> int:
        """A ping goes out; how many messages of the connection's go before it."""
        ...

    @property
    def has_unconfirmed(self) -> bool:
        """Whether the peer has not confirmed all of them."""
        ...

    def refill(self) -> bool:
        """The link has room: write what waits; whether anything did."""
        ...

    def confirm(self, position: int) -> None:
        """The peer has taken in the first `position` messages."""
        ...

    def finish(self) -> None:
        """The link is going to be closed: write what is still to be said."""
        ...

    def tick(self, now: float) -> float:
        """Do what is due now, and say when to come again."""
        ...


class Inbox(Protocol):
    """Where messages wait for the application."""

    def __len__(self) -> int: ...

    def popleft(self) -> Message:
        """The next message; IndexError if there is none."""
        ...
