"""What the peer has taken in of one link's messages, learned from pongs.

Frames are taken in in order: the pong to a ping confirms every message that went before the ping
(RFC 6455 section 5.5.3). At most one ping is on its way for this; what was sent after it waits
for the next. A position is a number of messages, counted from the beginning of the link.
"""

from __future__ import annotations

import math

__all__ = ["Fence"]


class Fence:
    """When to ask how far the peer has come, and how far it has.

    Args:
        patience: seconds after which to ask about a message that nobody waits for.

    Attributes:
        confirmed: the position up to which the peer has taken everything in.
        due: when a ping has to go out; infinite if none has.
    """

    __slots__ = ("_asked", "_patience", "_wanted", "confirmed", "due")

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self.start()

    def start(self) -> None:
        """Begin with a new link."""
        self.confirmed: int = 0
        self._asked = 0  # the position that the last ping was about
        self._wanted = 0  # somebody waits for this position
        self.due: float = math.inf

    def want(self, position: int) -> None:
        """Somebody waits for what was sent up to here."""
        self._wanted = position

    def asked(self, position: int) -> None:
        """A ping goes out, for whatever reason, after so many messages."""
        self._asked = position
        self.due = math.inf

    def confirm(self, position: int, *, written: int) -> bool:
        """A pong says so; whether that is news, and can be.

        Args:
            position: what the pong confirms.
            written: the position of the last message.
        """
        if not self.confirmed < position <= written:
            return False
        self.confirmed = position
        return True

    def may_ask(self, written: int, now: float, *, is_urgent: bool) -> bool:
        """Whether to ping now, for what was written up to here; else `due` says when.

        Args:
            written: the position of the last message.
            now: the time, in seconds.
            is_urgent: so much is unconfirmed that it should not wait.
        """
        if written == self.confirmed or self._asked > self.confirmed:
            return False  # there is nothing to ask, or the answer is on its way
        if is_urgent or self._wanted > self.confirmed:
            return True
        self.due = min(self.due, now + self._patience)
        return False
