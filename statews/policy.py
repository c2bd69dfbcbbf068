"""How a connection behaves: frozen settings, checked when they are made.

Durations are seconds. `dataclasses.replace` makes a variant of any of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from types import NoneType
from typing import Final

from .errors import UsageError

__all__ = [
    "Acknowledged",
    "AtLimit",
    "Backoff",
    "Deflate",
    "Delivery",
    "Heartbeat",
    "Jitter",
    "Limits",
    "OnStoreError",
    "Outbox",
    "Policy",
    "Timeouts",
]

KIB: Final = 1024
MIB: Final = 1024 * 1024


def _check(
    settings: object,
    names: str,
    kind: type[float],
    right: str,
    holds: Callable[[float], bool],
) -> None:
    """Refuse values that are no numbers, or for which `holds` does not; `int` is a `float` too."""
    for name in names.split():
        value: float = getattr(settings, name)
        is_number = isinstance(value, (int, kind)) and not isinstance(value, bool)
        if not is_number or not holds(value):
            raise _wrong(settings, name, right)


def _check_is(settings: object, name: str, kinds: type | tuple[type, ...], right: str) -> None:
    if not isinstance(getattr(settings, name), kinds):
        raise _wrong(settings, name, right)


def _wrong(settings: object, name: str, right: str) -> UsageError:
    value: object = getattr(settings, name)
    return UsageError(f"{type(settings).__name__}.{name} must be {right}, got {value!r}")


def _is_duration(value: float) -> bool:
    return value > 0  # false for NaN


def _is_finite_duration(value: float) -> bool:
    return 0 < value < math.inf


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
        max_attempts: reconnects in a row without a link that lasted; then `failed`. None: no
            limit.
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
        _check(self, "first", float, "finite and above 0 seconds", _is_finite_duration)
        _check(self, "factor", float, "finite and at least 1", lambda x: 1 <= x < math.inf)
        at_least = f"finite and at least Backoff.first ({self.first:g} seconds)"
        _check(self, "maximum", float, at_least, lambda x: self.first <= x < math.inf)
        choice = "one of Jitter.FULL, Jitter.EQUAL and Jitter.NONE"
        _check_is(self, "jitter", Jitter, choice)
        if self.max_attempts is not None:
            limit = "a whole number of 0 or more, or None for no limit"
            _check(self, "max_attempts", int, limit, lambda x: x >= 0)
        _check(self, "stable_after", float, "above 0 seconds", _is_duration)
        bounds = "finite and 0 seconds or more"
        _check(self, "longest_hint", float, bounds, lambda x: 0 <= x < math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """When to ask the peer whether it is there (RFC 6455 section 5.5.2).

    Attributes:
        interval: a ping goes out when nothing was heard for so long.
        timeout: the link is aborted when nothing was heard for so long after the ping. Where the
            system tells, which is Linux and TCP, that time begins anew while the peer's system
            still acknowledges what was sent before the ping: a long upload is no silence.
        clock_check: how often to look whether the machine slept; after a sleep the peer is
            probed at once.
        message: a message, or a function that makes one, for a server that wants to hear from
            the application as well; a client sends it every `interval`, whatever else goes on.
        is_answer: recognises the server's answer to it, which is then not delivered; the link is
            aborted when it does not come within `timeout`, whatever else does.
    """

    interval: float = 30.0
    timeout: float = 10.0
    clock_check: float = 5.0
    message: str | bytes | Callable[[], str | bytes] | None = None
    is_answer: Callable[[str | bytes], object] | None = None

    def __post_init__(self) -> None:
        _check(self, "interval timeout clock_check", float, "above 0 seconds", _is_duration)
        if self.message is not None and not callable(self.message):
            _check_is(self, "message", (str, bytes), "str, bytes, a function or None")
        if self.is_answer is not None:
            if self.message is None:
                raise _wrong(self, "message", "given where is_answer is")
            if not callable(self.is_answer):
                raise _wrong(self, "is_answer", "a function of a message, or None")


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
        _check(self, "opening closing", float, "finite and above 0 seconds", _is_finite_duration)
        _check(self, "happy_eyeballs", float, "above 0 seconds", _is_duration)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a peer may make us hold, in bytes where the name says so.

    Attributes:
        message_bytes: the longest message taken in, after inflating; a longer one ends the link
            with 1009.
        header_bytes: the longest HTTP head taken in during the opening handshake.
        inbox_bytes: how much is read ahead of the application, across links; then TCP holds the
            peer back, its pings are not answered, and after a second a warning is logged, once for
            each link. What comes in one read with an upgrade is kept in any case.
        outgoing_bytes: how much may wait for the transport before `send` waits.
        redirects: how many of them one attempt follows.
    """

    message_bytes: int = 4 * MIB
    header_bytes: int = 64 * KIB
    inbox_bytes: int = 1 * MIB
    outgoing_bytes: int = 64 * KIB
    redirects: int = 5

    def __post_init__(self) -> None:
        sizes = "message_bytes header_bytes inbox_bytes outgoing_bytes"
        _check(self, sizes, int, "a whole number above 0", _is_duration)
        _check(self, "redirects", int, "a whole number of 0 or more", lambda x: x >= 0)


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
        _check(self, "level", int, "a whole number from 1 to 9", lambda x: 1 <= x <= 9)
        bits = "a whole number from 9 to 15 (zlib cannot do 8)"
        _check(self, "window_bits", int, bits, lambda x: 9 <= x <= 15)
        _check_is(self, "context_takeover", bool, "True or False")
        _check(self, "threshold_bytes", int, "a whole number of 0 or more", lambda x: x >= 0)


class AtLimit(str, Enum):
    """What `send` does with a full outbox."""

    WAIT = "wait"  # until there is room
    RAISE = "raise"  # OutboxFullError
    DROP_OLDEST = "drop-oldest"  # the one that has waited longest makes room
    DROP_NEWEST = "drop-newest"  # the one that is being sent
    CONFLATE = "conflate"  # full or not, a message replaces the waiting one of its key

    __str__ = str.__str__


class Delivery(str, Enum):
    """What becomes of what was written to a link that was lost before it was acknowledged."""

    AT_MOST_ONCE = "at-most-once"  # its receipt says that it is in doubt
    AT_LEAST_ONCE = "at-least-once"  # it is sent again, before what was sent later

    __str__ = str.__str__


class OnStoreError(str, Enum):
    """What a connection with a store does when the store fails: a full disk, no permission."""

    RAISE = "raise"  # `send` raises, and so does entering; the message is not in the outbox
    GO_ON = "go-on"  # the error is logged, and the outbox is in memory only from then on

    __str__ = str.__str__


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """The application's own acknowledgements, for a server that sends some.

    A message then stays in the outbox until its acknowledgement comes, and is sent again, in
    order, on every new link until then.

    Attributes:
        id: what identifies a message that is sent, hashable; None if it is not going to be
            acknowledged, and a ping has to tell.
        acked: what a message that came in acknowledges: an id or a list of ids; None if it is
            no acknowledgement, and so delivered.
        is_cumulative: whether an id acknowledges everything that was sent before it as well.
    """

    id: Callable[[str | bytes], object]
    acked: Callable[[str | bytes], object]
    is_cumulative: bool = False

    def __post_init__(self) -> None:
        for name in ("id", "acked"):
            if not callable(getattr(self, name)):
                raise _wrong(self, name, "a function of a message")
        _check_is(self, "is_cumulative", bool, "True or False")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    """What is kept of the messages that are sent, and for how long.

    Where the peer closes a link with 1009, the longest message that this link was given and that
    is not acknowledged is dropped: it would end each link, and hold up those behind it.

    Attributes:
        messages: the most messages it holds, waiting and unacknowledged together.
        size_bytes: their payloads together; one message always has room in an empty outbox.
        at_limit: what `send` does when it is full.
        time_to_live: a message that is not written so many seconds after it was sent expires;
            None: never. `send` may say otherwise.
        delivery: what becomes of messages in doubt.
        fence_after: a ping that covers all messages before it goes out so many seconds after the
            first of them, sooner if somebody waits; its pong acknowledges them (RFC 6455
            section 5.5.3: frames are taken in in order).
        acknowledged: the application's own acknowledgements, instead of pings; they call for
            `Delivery.AT_LEAST_ONCE`.
        on_store_error: what happens when the store fails, if the connection has one.
    """

    messages: int = 10_000
    size_bytes: int = 16 * MIB
    at_limit: AtLimit = AtLimit.WAIT
    time_to_live: float | None = None
    delivery: Delivery = Delivery.AT_MOST_ONCE
    fence_after: float = 0.2
    acknowledged: Acknowledged | None = None
    on_store_error: OnStoreError = OnStoreError.RAISE

    def __post_init__(self) -> None:
        _check(self, "messages size_bytes", int, "a whole number above 0", _is_duration)
        _check_is(self, "at_limit", AtLimit, "one of AtLimit")
        if self.time_to_live is not None:
            _check(self, "time_to_live", float, "above 0 seconds, or None", _is_duration)
        _check_is(self, "delivery", Delivery, "one of Delivery")
        _check(self, "fence_after", float, "above 0 seconds", _is_duration)
        _check_is(self, "on_store_error", OnStoreError, "one of OnStoreError")
        _check_is(self, "acknowledged", (Acknowledged, NoneType), "an Acknowledged, or None")
        if self.acknowledged is not None and self.delivery is not Delivery.AT_LEAST_ONCE:
            right = "Delivery.AT_LEAST_ONCE where the application acknowledges"
            raise _wrong(self, "delivery", right)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything that decides how a connection lives. The defaults suit a long-lived client.

    Attributes:
        backoff: when to try again, and how often.
        heartbeat: how a silent peer is found; None leaves that to TCP.
        timeouts: the deadlines of opening and closing.
        limits: what a peer may make us hold.
        outbox: what is kept of the messages that are sent.
        deflate: offer compression; None, the default, does not.
    """

    backoff: Backoff = field(default_factory=Backoff)
    heartbeat: Heartbeat | None = field(default_factory=Heartbeat)
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    outbox: Outbox = field(default_factory=Outbox)
    deflate: Deflate | None = None

    def __post_init__(self) -> None:
        _check_is(self, "backoff", Backoff, "a Backoff")
        _check_is(self, "heartbeat", (Heartbeat, NoneType), "a Heartbeat, or None for none")
        _check_is(self, "timeouts", Timeouts, "a Timeouts")
        _check_is(self, "limits", Limits, "a Limits")
        _check_is(self, "outbox", Outbox, "an Outbox")
        _check_is(self, "deflate", (Deflate, NoneType), "a Deflate, or None for none")
