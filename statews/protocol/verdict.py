"""What a loss means: try again, how, or stop. One function decides, and yours may replace it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Final

from ..errors import CertificateError, LinkClosed, SessionMissing, UpgradeRefused, UsageError
from ..lifecycle import Phase
from .codes import CloseCode

__all__ = [
    "Decide",
    "End",
    "Fail",
    "Failure",
    "NextEndpoint",
    "Refresh",
    "Retry",
    "RetryNow",
    "Verdict",
    "decide",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The whole context of a loss.

    Attributes:
        error: what happened; statews' own errors carry the facts.
        phase: what the connection was busy with.
        attempt: reconnects since the last link that lasted; 0 for the first dial.
        uptime: seconds since the link was open; None if it never was.
        has_refreshed: the attempt already used credentials that were asked for anew.
        unix_time: the wall clock, for a `Retry-After` that names a date.
    """

    error: Exception
    phase: Phase
    attempt: int = 0
    uptime: float | None = None
    has_refreshed: bool = False
    unix_time: float = 0.0

    @property
    def status(self) -> int | None:
        """The HTTP status of the server that refused, if one did."""
        return self.error.status if isinstance(self.error, UpgradeRefused) else None

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of that answer, names in lower case."""
        return self.error.headers if isinstance(self.error, UpgradeRefused) else {}

    @property
    def close_code(self) -> int | None:
        """The close code the peer sent, if it did."""
        return self.error.code if isinstance(self.error, LinkClosed) else None

    @property
    def close_reason(self) -> str:
        """The close reason the peer sent, or nothing."""
        return self.error.reason if isinstance(self.error, LinkClosed) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Try again after the backoff.

    Attributes:
        at_least: seconds that the server asked for; the jitter comes on top.
        spread: draw the jitter from so many seconds instead of from the backoff.
    """

    at_least: float = 0.0
    spread: float | None = None

    def __post_init__(self) -> None:
        _check_seconds(self, "at_least", self.at_least, -math.inf, "a number of seconds")
        if self.spread is not None:
            _check_seconds(self, "spread", self.spread, 0, "0 seconds or more, or None")


@dataclass(frozen=True, slots=True)
class RetryNow:
    """Try again without a delay. The attempt counts like any other."""


@dataclass(frozen=True, slots=True)
class Refresh:
    """Try again after the backoff, with credentials asked for anew (`Attempt.refresh`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextEndpoint:
    """Try the next endpoint after the backoff; with one endpoint, that one.

    Attributes:
        at_least: seconds that the server asked for; the jitter comes on top.
    """

    at_least: float = 0.0

    def __post_init__(self) -> None:
        _check_seconds(self, "at_least", self.at_least, -math.inf, "a number of seconds")


@dataclass(frozen=True, slots=True)
class Fail:
    """Stop, in `failed`: the answer will not change."""


@dataclass(frozen=True, slots=True)
class End:
    """Stop, in `closed`: the peer ended the connection by intent."""


def _check_seconds(verdict: object, name: str, value: object, least: float, right: str) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= least
    if not is_number:  # nor is NaN
        raise UsageError(f"{type(verdict).__name__}.{name} must be {right}, got {value!r}")


Verdict = Retry | RetryNow | Refresh | NextEndpoint | Fail | End
Decide = Callable[[Failure], Verdict]

# RFC 9110 section 15: answers that time alone may change. All of 5xx are as well.
PASSING_STATUS: Final = frozenset({408, 425, 429})
# RFC 6455 section 7.4.1, and the statews.v1 close codes.
WILL_NOT_CHANGE: Final = frozenset(
    {
        CloseCode.POLICY_VIOLATION,
        CloseCode.MANDATORY_EXTENSION,
        CloseCode.FORBIDDEN,
        CloseCode.REPLACED,
    }
)
RETRY_HINT: Final = re.compile(r"\bretry=([0-9]{1,9})-([0-9]{1,9})\b")  # milliseconds


def decide(failure: Failure) -> Verdict:
    """The default: retry what may pass, refresh credentials once, fail on what will not change."""
    match failure.error:
        case UpgradeRefused(status=status):
            return _judge_status(failure, status)
        case LinkClosed(code=code):
            return _judge_close(failure, code)
        case CertificateError() | SessionMissing() | UsageError():
            return Fail()
        case _:
            return Retry() if failure.phase is Phase.LIVE else NextEndpoint()


def _judge_status(failure: Failure, status: int) -> Verdict:
    if status == 401:  # RFC 9110 section 15.5.2
        return Fail() if failure.has_refreshed else Refresh()
    if status in PASSING_STATUS or status >= 500:
        return NextEndpoint(at_least=retry_after(failure.headers, failure.unix_time))
    return Fail()


def _judge_close(failure: Failure, code: int) -> Verdict:
    if code == CloseCode.NORMAL:
        return End() if failure.phase is Phase.LIVE else Retry()
    if code == CloseCode.NOT_AUTHENTICATED:
        return Fail() if failure.has_refreshed else Refresh()
    if code in WILL_NOT_CHANGE:
        return Fail()
    hint = RETRY_HINT.search(failure.close_reason)
    if hint is None:
        return Retry()
    low, high = sorted(int(milliseconds) / 1000 for milliseconds in hint.groups())
    # Each attempt widens what is too narrow: a server that accepts and drops sets no hot pace.
    return Retry(at_least=low, spread=max(high - low, float(failure.attempt)))


def retry_after(headers: Mapping[str, str], unix_time: float) -> float:
    """The seconds that `Retry-After` asks for, in either form (RFC 9110 section 10.2.3).

    A date is compared with the answer's own `Date`, so that clocks need not agree, and
    with `unix_time` if there is none. What cannot be read asks for nothing.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    until = _parse_date(value)
    if until is None:
        return 0.0
    since = _parse_date(headers.get("date", ""))
    return max(0.0, until - (unix_time if since is None else since))


def _parse_date(value: str) -> float | None:
    """The Unix time of a date; one without a time zone is in GMT (RFC 9110 section 5.6.7)."""
    try:
        date = parsedate_to_datetime(value)
        return date.replace(tzinfo=date.tzinfo or timezone.utc).timestamp()
    except (ValueError, OverflowError):
        return None
