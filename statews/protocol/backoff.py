"""How long to wait before the next attempt."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from typing_extensions import assert_never

from ..policy import Jitter

if TYPE_CHECKING:
    from ..policy import Backoff

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
        At most `backoff.maximum`, plus what the hints ask for up to `backoff.longest_hint`.
    """
    if spread is not None:
        return min(at_least + draw * spread, backoff.longest_hint)
    # In logarithms, so that attempt 2,000 of an unlimited policy is no OverflowError.
    doublings = math.log(backoff.maximum / backoff.first)
    exponent = (attempt - 1) * math.log(backoff.factor)
    longest = backoff.maximum if exponent >= doublings else backoff.first * math.exp(exponent)
    match backoff.jitter:
        case Jitter.FULL:
            drawn = draw * longest
        case Jitter.EQUAL:
            drawn = longest / 2 + draw * longest / 2
        case Jitter.NONE:
            drawn = longest
        case _:
            assert_never(backoff.jitter)
    return min(at_least, backoff.longest_hint) + drawn
