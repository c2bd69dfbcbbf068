"""How a connection behaves: frozen settings, checked when they are made.

Durations are seconds. `dataclasses.replace` makes a variant of any of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from .errors import UsageError

__all__ = ["Backoff", "Deflate", "Heartbeat", "Jitter", "Limits", "Policy", "Timeouts"]

KIB: Final = 1024
MIB: Final = 1024 * 1024


def _require(holds: bool, what: str, value: object) -> None:  # noqa: FBT001 - a check, not a switch
    if not holds:
        message = f"{what}, got {value!r}"
        raise UsageError(message)


def _require_duration(name: str, value: float) -> None:
    _require(value > 0, f"{name} must be above 0 seconds", value)  # false for NaN too


class Jitter(str, Enum):
    """How much of a delay is left to chance."""

    FULL = "full"  # anywhere between 0 and the delay
    EQUAL = "equal"  # half of it is sure, half is drawn
    NONE = "none"  # the delay itself: every client comes back at once

    __str__ = str.__str__


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before the next attempt, and how many there are.

    Attributes:
        first: the longest wait before the first reconnect.
        factor: each further wait is this much longer, at least 1.
        maximum: no wait is longer; the jitter is drawn after this cap.
        jitter: how the wait is drawn from what the other three give.
        max_attempts: reconnects in a row without a link that lasted; then `failed`. None: no limit.
        stable_after: how long a link must be open before earlier attempts are forgotten,
            so that a server that accepts and drops is not hammered.
        longest_hint: a server's `Retry-After` or `retry=` is obeyed up to here.
    """

    first: float = 1.0
    factor: float = 2.0
    maximum: float = 30.0
    jitter: Jitter = Jitter.FULL
    max_attempts: int | None = 5
    stable_after: float = 10.0
    longest_hint: float = 3600.0

    def __post_init__(self) -> None:
        _require_duration("Backoff.first", self.first)
        _require(1 <= self.factor < math.inf, "Backoff.factor must be at least 1", self.factor)
        _require(
            self.first <= self.maximum < math.inf,
            f"Backoff.maximum must be finite and at least Backoff.first ({self.first:g} seconds)",
            self.maximum,
        )
        _require(
            isinstance(self.jitter, Jitter),
            "Backoff.jitter must be one of Jitter.FULL, Jitter.EQUAL and Jitter.NONE",
            self.jitter,
        )
        _require(
            self.max_attempts is None or self.max_attempts >= 0,
            "Backoff.max_attempts must be 0 or more, or None for no limit",
            self.max_attempts,
        )
        _require_duration("Backoff.stable_after", self.stable_after)
        _require(
            0 <= self.longest_hint < math.inf,
            "Backoff.longest_hint must be 0 seconds or more, and finite",
            self.longest_hint,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """When to ask a silent peer whether it is there (RFC 6455 section 5.5.2).

    Attributes:
        interval: a ping goes out when nothing was heard for so long.
        timeout: the link is aborted when nothing was heard for so long after the ping.
        clock_check: how often to look whether the machine slept; after a sleep the peer is probed at once.
    """

    interval: float = 30.0
    timeout: float = 10.0
    clock_check: float = 5.0

    def __post_init__(self) -> None:
        _require_duration("Heartbeat.interval", self.interval)
        _require_duration("Heartbeat.timeout", self.timeout)
        _require_duration("Heartbeat.clock_check", self.clock_check)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """The deadlines of what happens once per link.

    Attributes:
        opening: a whole attempt: the providers, DNS, TCP, TLS, upgrade, redirects and hooks.
        closing: the closing handshake and the end of TCP (RFC 6455 section 7.1.1).
        happy_eyeballs: head start of one address over the next (RFC 8305 section 5).
    """

    opening: float = 15.0
    closing: float = 5.0
    happy_eyeballs: float = 0.25

    def __post_init__(self) -> None:
        _require_duration("Timeouts.opening", self.opening)
        _require(self.opening < math.inf, "Timeouts.opening must be finite", self.opening)
        _require_duration("Timeouts.closing", self.closing)
        _require(self.closing < math.inf, "Timeouts.closing must be finite", self.closing)
        _require_duration("Timeouts.happy_eyeballs", self.happy_eyeballs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a peer may make us hold, in bytes where the name says so.

    Attributes:
        message_bytes: the longest message taken in, after inflating; a longer one ends the link with 1009.
        header_bytes: the longest HTTP head taken in during the opening handshake.
        inbox_bytes: how much is read ahead of the application; then TCP holds the peer back.
        outgoing_bytes: how much may wait for the transport before `send` waits.
        redirects: how many of them one attempt follows.
    """

    message_bytes: int = 4 * MIB
    header_bytes: int = 64 * KIB
    inbox_bytes: int = 1 * MIB
    outgoing_bytes: int = 64 * KIB
    redirects: int = 5

    def __post_init__(self) -> None:
        for name in ("message_bytes", "header_bytes", "inbox_bytes", "outgoing_bytes"):
            value: int = getattr(self, name)
            _require(value > 0, f"Limits.{name} must be above 0", value)
        _require(self.redirects >= 0, "Limits.redirects must be 0 or more", self.redirects)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deflate:
    """Offer permessage-deflate (RFC 7692).

    Attributes:
        level: 1 is fast, 9 is small; zlib's own default is 6.
        window_bits: the most history either side keeps, 9 to 15.
        context_takeover: whether a message may refer to the ones before it.
        threshold_bytes: shorter messages go out as they are.
    """

    level: int = 6
    window_bits: int = 15
    context_takeover: bool = True
    threshold_bytes: int = 64

    def __post_init__(self) -> None:
        _require(1 <= self.level <= 9, "Deflate.level must be between 1 and 9", self.level)  # noqa: PLR2004
        _require(
            9 <= self.window_bits <= 15,  # noqa: PLR2004
            "Deflate.window_bits must be between 9 and 15 (zlib cannot do 8)",
            self.window_bits,
        )
        _require(
            self.threshold_bytes >= 0,
            "Deflate.threshold_bytes must be 0 or more",
            self.threshold_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything that decides how a connection lives. The defaults suit a long-lived client.

    Attributes:
        backoff: when to try again, and how often.
        heartbeat: how a silent peer is found; None leaves that to TCP.
        timeouts: the deadlines of opening and closing.
        limits: what a peer may make us hold.
        deflate: offer compression; None, the default, does not.
    """

    backoff: Backoff = field(default_factory=Backoff)
    heartbeat: Heartbeat | None = field(default_factory=Heartbeat)
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    deflate: Deflate | None = None
