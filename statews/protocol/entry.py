"""One message that was sent: how far it has come, and where it may go from there."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Final, Protocol

from ..errors import UsageError
from .codes import CloseCode
from .plain import Message, as_bytes

__all__ = [
    "ACKNOWLEDGED",
    "DROPPED",
    "EXPIRED",
    "IN_DOUBT",
    "MOVES",
    "PLAIN",
    "QUEUED",
    "WRITTEN",
    "Entry",
    "ReceiptState",
    "Terms",
    "Waiter",
]


class ReceiptState(str, Enum):
    """How far a message has come. The last four are final."""

    QUEUED = "queued"
    """It waits for a link."""
    WRITTEN = "written"
    """It was handed to a link, and is not acknowledged."""
    ACKNOWLEDGED = "acknowledged"
    """The peer has taken it in."""
    EXPIRED = "expired"
    """Its time to live was over before it was written."""
    DROPPED = "dropped"
    """It was never written, or the peer would not take it, for the reason given."""
    IN_DOUBT = "in-doubt"
    """It was written, and nobody can say whether the peer has it."""

    __str__ = str.__str__

    @property
    def is_final(self) -> bool:
        """Whether nothing comes after it."""
        return not MOVES[self]


QUEUED: Final = ReceiptState.QUEUED  # to look an enum's member up costs as much as to use it
WRITTEN: Final = ReceiptState.WRITTEN
ACKNOWLEDGED: Final = ReceiptState.ACKNOWLEDGED
EXPIRED: Final = ReceiptState.EXPIRED
DROPPED: Final = ReceiptState.DROPPED
IN_DOUBT: Final = ReceiptState.IN_DOUBT

MOVES: Final[dict[ReceiptState, frozenset[ReceiptState]]] = {
    QUEUED: frozenset({WRITTEN, ACKNOWLEDGED, EXPIRED, DROPPED, IN_DOUBT}),
    WRITTEN: frozenset({QUEUED, ACKNOWLEDGED, DROPPED, IN_DOUBT}),
    ACKNOWLEDGED: frozenset(),
    EXPIRED: frozenset(),
    DROPPED: frozenset(),
    IN_DOUBT: frozenset(),
}
"""Where a receipt may go from each state. From queued to acknowledged or in doubt goes only what
was written to an earlier link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What was asked for one message, if anything was.

    Attributes:
        key: under `AtLimit.CONFLATE` it takes the place of a waiting message with this key.
        expires_at: when to give up on it, on the connection's clock.
        link_only: it makes sense on the present link only.
        acknowledged_by: what the application's acknowledgement of it will say.
        number: its place in the store; 0: it is not stored.
    """

    key: Hashable = None
    expires_at: float = math.inf
    link_only: bool = False
    acknowledged_by: Hashable = None
    number: int = 0


PLAIN: Final = Terms()


REFUSED: Final = f"the peer closed the link with {CloseCode.TOO_BIG:d}: it takes no message of"


class Waiter(Protocol):
    """Somebody who waits for a move."""

    def set(self) -> object:
        """It was made."""
        ...


class Entry:
    """One message in a queue.

    Attributes:
        message: what was sent.
        state: how far it has come.
        reason: why, if it was dropped or is in doubt; else empty.
        attempts: how many links it was written to.
        terms: what was asked for it.
        size: its payload, in bytes.
        position: its place among the messages of the link it was last written to, if it waited.
        waiter: told of the next move, and then forgotten.

    Raises:
        UsageError: not a message, or text with lone surrogates.
    """

    __slots__ = (
        "attempts",
        "message",
        "position",
        "reason",
        "size",
        "state",
        "terms",
        "waiter",
    )

    position: int
    done: ClassVar[int] = 0  # as of a burst of this one

    def __init__(self, message: Message | bytearray | memoryview, terms: Terms = PLAIN) -> None:
        # There is one for each message: the usual comes first, and nothing is called or looked up.
        if type(message) is str and message.isascii():
            self.size: int = len(message)
            self.message: Message = message
        else:
            self.message, self.size = _measure(message)
        self.state: ReceiptState = QUEUED
        self.reason: str = ""
        self.attempts: int = 0
        self.terms: Terms = terms
        self.waiter: Waiter | None = None

    def find(self, index: int) -> Entry:
        """See `Burst.find`: a receipt of its own finds it here."""
        del index  # there is one
        return self

    def expand(self) -> None:
        """See `Burst.expand`: it is made already."""

    def move(self, state: ReceiptState, reason: str = "") -> None:
        """Go to another state, and tell whoever waits."""
        self.state = state
        self.reason = reason
        self.wake()

    def wake(self) -> None:
        """Have whoever waits look again."""
        if self.waiter is not None:
            self.waiter.set()
            self.waiter = None

    def give_up(self, state: ReceiptState, reason: str) -> None:
        """Settle without an acknowledgement: what was ever written is in doubt, whatever else."""
        self.move(IN_DOUBT if self.attempts else state, reason)

    def refuse(self) -> None:
        """Settle what the peer ended the link for: it was written, and is not in doubt."""
        self.move(DROPPED, f"{REFUSED} {self.size} bytes")


def _measure(message: Message | bytearray | memoryview) -> tuple[Message, int]:
    """A message that nobody can change any more, and the bytes of its payload."""
    if not isinstance(message, str):
        payload = message if isinstance(message, bytes) else as_bytes(message)
        return payload, len(payload)
    try:
        return message, len(message.encode())
    except UnicodeEncodeError as error:
        text = f"text must be encodable as UTF-8: {error.reason} at {error.start}"
        raise UsageError(text) from error
