"""What a server of sessions was asked to be."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from ..errors import UsageError
from ..policy import AtLimit, Delivery, Outbox
from ..protocol.session import Window

__all__ = ["Authenticate", "Request", "SessionLimits"]

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Who wants in, for `authenticate`.

    Attributes:
        path: what the opening handshake asked for, with the query.
        headers: of the opening handshake, names in lower case.
        auth: what the client's hello holds for the application; None if it holds nothing.
    """

    path: str
    headers: Mapping[str, str]
    auth: object


Authenticate = Callable[[Request], Awaitable[str | None]]
"""Gives the name of whoever it is; None: nobody. `PermissionError`: known, and not let in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """What a server keeps for its clients.

    Attributes:
        window: how much a client may send ahead of its handler.
        messages: kept for a client that has not handled them.
        size_bytes: their payloads together.
        retention: seconds for which a message is kept for a client that is away.
        total_bytes: what all sessions together may keep, but that a log which is empty always
            takes a message. The client that is away and for which the most is kept is the first
            to lose its oldest. Where nothing is kept for any that is away, a session is at its
            own limit.
        at_limit: what `Session.send` does at the limits while the client is there: wait, raise, or
            drop the oldest. For a client that is away the oldest is always dropped: its gap is
            reported to it.
        time_to_live: seconds for which a session is kept without a link. With a store they go on
            in the next process where they were when the server was left, or, if it was killed,
            when the session was last stored; the time between the two does not count.
        hello: seconds that a client has to say hello, and `authenticate` to say who it is.
        sessions: the most of them.
        hibernate_after: seconds without a link after which a handler is cancelled; it is called
            anew when the client is back. A session then costs what it has to keep, and no task.
    """

    window: Window = Window()  # noqa: RUF009 - it is frozen
    messages: int = 1000
    size_bytes: int = 4 * MIB
    retention: float = 300.0
    total_bytes: int = 256 * MIB
    at_limit: AtLimit = AtLimit.WAIT
    time_to_live: float = 24 * 3600.0
    hello: float = 10.0
    sessions: int = 100_000
    hibernate_after: float = math.inf

    def __post_init__(self) -> None:
        if not isinstance(self.window, Window):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _wrong(self, "window", "a Window")
        for name in ("messages", "size_bytes", "total_bytes", "sessions"):
            value: object = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise _wrong(self, name, "a whole number above 0")
        for name in ("retention", "time_to_live", "hello", "hibernate_after"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
                raise _wrong(self, name, "above 0 seconds")
        if self.at_limit not in (AtLimit.WAIT, AtLimit.RAISE, AtLimit.DROP_OLDEST):
            raise _wrong(self, "at_limit", "AtLimit.WAIT, RAISE or DROP_OLDEST")

    @property
    def outbox(self) -> Outbox:
        """The same for the log of one session; who waits or raises looks before."""
        return Outbox(
            messages=self.messages,
            size_bytes=self.size_bytes,
            at_limit=AtLimit.DROP_OLDEST,
            delivery=Delivery.AT_LEAST_ONCE,
        )


def _wrong(settings: object, name: str, right: str) -> UsageError:
    value: object = getattr(settings, name)
    return UsageError(f"{type(settings).__name__}.{name} must be {right}, got {value!r}")
