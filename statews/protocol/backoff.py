"""How long to wait before the next attempt."""

from __future__ import annotations

from typing_extensions import assert_never

from ..policy import Backoff, Jitter

__all__ = ["delay"]


def delay(
    backoff: Backoff,
    attempt: int,
    draw: float,
    *,
    at_least: float = 0.0,
    spread: float | None = None,
) -> float:
    """Seconds before reconnect number `attempt`.

    Args:
        backoff: the policy's numbers.
        attempt: 1 for the first reconnect after a link that lasted.
        draw: a random number in [0, 1); the jitter is drawn with it after the cap.
        at_least: the server's hint (`Retry-After`, RFC 9110 section 10.2.3), a lower bound: the
            drawn delay comes on top, so that clients that got the same hint still spread.
        spread: the server's own idea of the jitter, which then replaces the backoff's.

    Returns:
        The hint, obeyed up to `backoff.longest_hint`, plus a jitter of at most `backoff.maximum`
        or, where the server spreads its clients, `backoff.longest_hint`.
    """
    hint = max(0.0, min(at_least, backoff.longest_hint))
    longest = _longest(backoff, attempt)
    if spread is not None:  # cut each by itself: a herd with one absurd hint must not be one again
        return hint + draw * min(spread, max(longest, backoff.longest_hint))
    match backoff.jitter:
        case Jitter.FULL:
            share = draw
        case Jitter.EQUAL:
            share = (1 + draw) / 2
        case Jitter.NONE:
            share = 1.0
        case _:
            assert_never(backoff.jitter)
    return hint + share * longest


def _longest(backoff: Backoff, attempt: int) -> float:
    """The delay that the jitter is drawn from: it grows with each attempt, up to the cap."""
    try:
        return min(backoff.maximum, backoff.first * float(backoff.factor) ** (attempt - 1))
    except OverflowError:
        return backoff.maximum
