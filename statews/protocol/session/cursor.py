"""How far one side of a session has handled what the other sends.

A message *arrives* and waits for the application; it is *handled* when the application asks for
the next one, and only then acknowledged. What has arrived survives the link, so that a message
that comes again on the next one is not delivered again.
"""

from __future__ import annotations

import math
from typing import Final

from ..envelope import broke_session
from ..plain import Message
from .chain import step
from .log import Window

__all__ = ["ACKNOWLEDGE_AFTER", "Cursor"]

ACKNOWLEDGE_AFTER: Final = 0.2  # seconds that the first message handled waits for company
SHARE: Final = 4  # a quarter of the window is acknowledged at once


class Cursor:
    """The receiving half of a session.

    Args:
        window: how much the peer may have unhandled here.
        rx, chain: where an earlier process was.
        is_stored: whether a store has to know first what was handled: see `saved`.

    Attributes:
        rx: the number of the last message handled.
        chain: the check value of everything up to there.
        arrived: the number of the last message taken in. # rx <= arrived
        expected: the number that the next message on this link must have.
        safe: the number up to which messages may be acknowledged: those of which a store knows
            that they were handled, if there is one. # safe <= rx
        safe_chain: the check value of everything up to there.
        told: the last number acknowledged on this link.
        wanted: the number whose acknowledgement the peer waits for; it is to have it at once.
        due: when an acknowledgement has to go out alone; infinite if none has.
        window: how much the peer may have unhandled here.
    """

    __slots__ = (
        "_held",
        "_held_bytes",
        "_is_stored",
        "_unacknowledged_bytes",
        "arrived",
        "chain",
        "due",
        "expected",
        "rx",
        "safe",
        "safe_chain",
        "told",
        "wanted",
        "window",
    )

    def __init__(
        self, window: Window, *, rx: int = 0, chain: int = 0, is_stored: bool = True
    ) -> None:
        self.window: Window = window
        self._is_stored = is_stored
        self.start_over(chain, rx=rx)

    def start_over(self, chain: int, *, rx: int = 0) -> None:
        """A new session, or one that goes on in this process."""
        self.rx: int = rx
        self.chain: int = chain
        self.arrived: int = rx
        self.expected: int = rx + 1
        self.safe: int = rx
        self.safe_chain: int = chain
        self.told: int = rx
        self.wanted: int = 0
        self.due: float = math.inf
        self._held = 0
        self._held_bytes = 0
        self._unacknowledged_bytes = 0

    def resume(self) -> None:
        """The other end of a new link is told that `safe` is the last one handled."""
        self.expected = self.safe + 1
        self.told = self.safe
        self.due = math.inf if self.rx == self.safe else -math.inf
        self._unacknowledged_bytes = 0

    # What comes in.

    def take(self, seq: int, payload: Message) -> bool:
        """Take in a message; whether it is new here.

        Raises:
            SessionError: it is not the next one, or more than the window allows.
        """
        if seq != self.expected:
            raise broke_session(f"the peer sent message {seq} where {self.expected} was next")
        self.expected = seq + 1
        if seq <= self.arrived:
            return False
        held, held_bytes, window = self._held + 1, self._held_bytes + len(payload), self.window
        if held > 1 and (held > window.messages or held_bytes > window.size_bytes):
            raise broke_session("the peer sent more than the window allows")
        self.arrived, self._held, self._held_bytes = seq, held, held_bytes
        return True

    @property
    def is_behind(self) -> bool:
        """Whether this link has not brought all again that an earlier one had."""
        return self.expected <= self.arrived

    @property
    def held_bytes(self) -> int:
        """What has arrived and was not handled; characters, for text."""
        return self._held_bytes

    def skip(self, upto: int) -> tuple[int, int] | None:
        """The peer has nothing up to there any more; which range is lost here, if any.

        Raises:
            SessionError: the messages up to there were sent already.
        """
        if upto < self.expected:
            raise broke_session(f"the peer skipped up to {upto} where {self.expected} was next")
        self.expected = upto + 1
        if upto <= self.arrived:
            return None
        lost = self.arrived + 1, upto
        self.arrived = upto
        return lost

    # What the application is done with.

    def handled(self, payload: Message) -> bool:
        """The next message was handled; whether an acknowledgement is due at once, or soon."""
        self.rx = rx = self.rx + 1
        self.chain = chain = step(self.chain, payload)
        size, window = len(payload), self.window
        self._held -= 1
        self._held_bytes -= size
        self._unacknowledged_bytes = unacknowledged = self._unacknowledged_bytes + size
        if not self._is_stored:
            self.safe, self.safe_chain = rx, chain
        # As `is_urgent`, which costs as much as all of this.
        return (
            self.due == math.inf
            or (rx - self.told) * SHARE >= window.messages
            or unacknowledged * SHARE >= window.size_bytes
            or self.told < self.wanted <= rx
        )

    def passed(self, upto: int, chain: int) -> bool:
        """The application was told that everything up to there is lost. As `handled`."""
        self.rx, self.chain = upto, chain
        if not self._is_stored:
            self.safe, self.safe_chain = upto, chain
        return True

    def saved(self, rx: int, chain: int) -> None:
        """What was handled up to there may be acknowledged."""
        self.safe, self.safe_chain = rx, chain

    @property
    def is_urgent(self) -> bool:
        """Whether a quarter of the window is handled and not acknowledged, or the peer waits."""
        return (
            (self.rx - self.told) * SHARE >= self.window.messages
            or self._unacknowledged_bytes * SHARE >= self.window.size_bytes
            or self.told < self.wanted <= self.rx
        )

    def acknowledge(self) -> int | None:
        """What the next frame may acknowledge; None if that was said already."""
        self.due = math.inf  # where the store is behind, its next word is waited for
        # What an earlier link has brought, the peer sends on this one again, and not all at once.
        upto = min(self.safe, self.expected - 1)
        if upto == self.told:
            return None
        self.told = upto
        if upto == self.rx:
            self._unacknowledged_bytes = 0
        return upto
