"""What `send` was asked for one message, checked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..policy import AtLimit
from ..protocol.entry import PLAIN, Terms

if TYPE_CHECKING:
    from collections.abc import Hashable

    from ..policy import Outbox
    from ..protocol.frames import Message

__all__ = ["make_terms", "name_of"]


def make_terms(
    settings: Outbox,
    message: Message,
    *,
    key: Hashable,
    time_to_live: float | None,
    link_only: bool,
    now: float,
) -> Terms:
    """The terms of one message. See `Connection.send`.

    Raises:
        UsageError: an option is wrong.
    """
    if key is not None and settings.at_limit is not AtLimit.CONFLATE:
        raise UsageError("a key has a meaning under AtLimit.CONFLATE only: see Policy.outbox")
    try:
        hash(key)
    except Exception as error:
        raise UsageError(f"a key must be hashable, got {key!r:.100}") from error
    if time_to_live is None:
        time_to_live = settings.time_to_live
    elif not _is_duration(time_to_live):
        raise UsageError(f"time_to_live must be above 0 seconds, got {time_to_live!r}")
    if key is None and time_to_live is None and not link_only and settings.acknowledged is None:
        return PLAIN
    return Terms(
        key=key,
        expires_at=math.inf if time_to_live is None else now + time_to_live,
        link_only=link_only,
        acknowledged_by=name_of(settings, message),
    )


def _is_duration(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def name_of(settings: Outbox, message: Message) -> Hashable:
    """What the application's acknowledgement of a message will say; None: there is none.

    Raises:
        UsageError: the application's function failed, or gave what is not hashable.
    """
    if settings.acknowledged is None:
        return None
    try:
        name = settings.acknowledged.id(message)
        hash(name)
    except Exception as error:
        text = f"Acknowledged.id failed with {type(error).__name__}: {error}"
        raise UsageError(text) from error
    return name
