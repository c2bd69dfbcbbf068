"""How far one side of a session has handled what the other sends.

A message *arrives* and waits for the application; it is *handled* when the application asks for
the next one, and only then acknowledged. What has arrived survives the link, so that a message
that comes again on the next one is not delivered again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from ..envelope import broke_session
from ..plain import Message
from .chain import advance
from .window import Window

__all__ = ["ACKNOWLEDGE_AFTER", "SHORT", "Cursor"]

ACKNOWLEDGE_AFTER: Final = 0.2  # seconds that the first message handled waits for company
SHARE: Final = 4  # a quarter of the window is acknowledged at once
LATER: Final = 64  # messages that are handled before they are counted
SHORT: Final = 1024  # bytes of the longest of them
_NONE: Final[list[Message]] = []  # one for all, and never changed


class Cursor:
    """The receiving half of a session.

    To count each message that is handled costs more than to parse it. So once an acknowledgement
    has its time, short messages are only put into `later`, and are counted together.

    Args:
        window: how much the peer may have unhandled here.
        rx, chain: where an earlier one was.
        is_stored: whether a store has to know first what was handled: see `saved`.

    Attributes:
        arrived: the number of the last message taken in. # rx <= arrived
        expected: the number that the next message on this link must have.
        told: the last number acknowledged on this link.
        has_news: whether `acknowledge` may have something to say.
        wanted: the number whose acknowledgement the peer waits for; it is to have it at once.
        due: when an acknowledgement has to go out alone; infinite if none has.
        window: how much the peer may have unhandled here.
        later: messages that were handled, and are not counted.
        limit: so many may be there; beyond, `handled` has to know.
    """

    __slots__ = (
        "_chain",
        "_held",
        "_held_bytes",
        "_is_stored",
        "_rx",
        "_safe",
        "_safe_chain",
        "_unacknowledged_bytes",
        "arrived",
        "due",
        "expected",
        "has_news",
        "later",
        "limit",
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
        self._rx = self._safe = rx
        self._chain = self._safe_chain = chain
        self.arrived: int = rx
        self.expected: int = rx + 1
        self.told: int = rx
        self.has_news: bool = False
        self.wanted: int = 0
        self.due: float = math.inf
        self.later: list[Message] = _NONE
        self.limit: int = 0
        self._held = 0
        self._held_bytes = 0
        self._unacknowledged_bytes = 0

    @property
    def rx(self) -> int:
        """The number of the last message handled."""
        self._count()
        return self._rx

    @property
    def chain(self) -> int:
        """The check value of everything up to there."""
        self._count()
        return self._chain

    @property
    def safe(self) -> int:
        """The number up to which messages may be acknowledged.

        If there is a store, those of which it knows that they were handled. # safe <= rx
        """
        self._count()
        return self._safe

    @property
    def safe_chain(self) -> int:
        """The check value of everything up to there."""
        self._count()
        return self._safe_chain

    def resume(self) -> None:
        """The other end of a new link is told that `safe` is the last one handled."""
        self.told = self.safe
        self.expected = self.told + 1
        self.has_news = False
        self.due = math.inf if self._rx == self.told else -math.inf
        self._unacknowledged_bytes = 0

    def suspend(self) -> None:
        """The link is lost: nothing is acknowledged for now."""
        self._count()
        self.later, self.limit = _NONE, 0

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

    def take_run(self, texts: Sequence[str]) -> bool:
        """`take` for the next ones together; False: they have to be looked at one by one."""
        count = len(texts)
        held, held_bytes = self._held + count, self._held_bytes + sum(map(len, texts))
        window = self.window
        if self.is_behind or held > window.messages or held_bytes > window.size_bytes:
            return False
        self.arrived += count
        self.expected += count
        self._held, self._held_bytes = held, held_bytes
        return True

    @property
    def is_behind(self) -> bool:
        """Whether this link has not brought all again that an earlier one had."""
        return self.expected <= self.arrived

    @property
    def held_bytes(self) -> int:
        """What has arrived and was not handled; characters, for text."""
        self._count()
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
        if len(self.later) < self.limit and len(payload) <= SHORT:
            self.later.append(payload)
            return False
        self._count()
        self._count_all((payload,))
        self._limit_later()
        return self.due == math.inf or self.is_urgent

    def _count(self) -> None:
        if self.later:
            later, self.later = self.later, []
            self._count_all(later)
            self.limit = 0  # the next one has to be looked at: something may be urgent by now

    def _count_all(self, payloads: Sequence[Message]) -> None:
        count, size = len(payloads), sum(map(len, payloads))
        self._rx += count
        self._chain = advance(self._chain, payloads)
        self._held -= count
        self._held_bytes -= size
        self._unacknowledged_bytes += size
        if not self._is_stored:
            self._safe, self._safe_chain = self._rx, self._chain
            self.has_news = True

    def passed(self, upto: int, chain: int) -> bool:
        """The application was told that everything up to there is lost. As `handled`."""
        self._count()
        self._rx, self._chain = upto, chain
        if not self._is_stored:
            self.saved(upto, chain)
        return True

    def saved(self, rx: int, chain: int) -> None:
        """What was handled up to there may be acknowledged."""
        self._safe, self._safe_chain = rx, chain
        self.has_news = True

    @property
    def is_urgent(self) -> bool:
        """Whether a quarter of the window is handled and not acknowledged, or the peer waits."""
        rx, told = self.rx, self.told
        return (
            (rx - told) * SHARE >= self.window.messages
            or self._unacknowledged_bytes * SHARE >= self.window.size_bytes
            or told < self.wanted <= rx
        )

    def want(self) -> None:
        """The peer waits for the acknowledgement of everything that has arrived."""
        self.wanted, self.limit = self.arrived, 0

    def promise(self, due: float) -> None:
        """What was handled is acknowledged at that time, with what is handled until then."""
        self.due = due
        self.later = self.later or []
        self._limit_later()

    def _limit_later(self) -> None:
        """See to it that nothing urgent is noticed too late."""
        if self._is_stored or self.due == math.inf or self.later is _NONE:
            return
        most, most_bytes = self.window.messages, self.window.size_bytes
        self.limit = min(LATER, most // (2 * SHARE), most_bytes // (2 * SHARE * SHORT))
        if self._rx < self.wanted:
            self.limit = min(self.limit, self.wanted - self._rx - 1)

    def acknowledge(self) -> int | None:
        """What the next frame may acknowledge; None if that was said already."""
        self.due = math.inf  # where the store is behind, its next word is waited for
        self.limit = 0
        # What an earlier link has brought, the peer sends on this one again, and not all at once.
        upto = min(self.safe, self.expected - 1)
        self.has_news = upto < self._safe
        if upto == self.told:
            return None
        self.told = upto
        if upto == self._rx:
            self._unacknowledged_bytes = 0
        return upto
