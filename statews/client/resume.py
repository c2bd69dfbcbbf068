"""What a session with a server is to be."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import cast

from typing_extensions import TypeIs

from ..errors import UsageError
from ..protocol.plain import Message
from ..protocol.session import Window

__all__ = ["First", "OnMissing", "Resume", "are_messages"]

First = Sequence[Message] | Callable[[], Awaitable[Sequence[Message]]]
"""Messages, or an async callable that gives them."""


class OnMissing(str, Enum):
    """What a connection does with a server that does not speak `statews.v1`."""

    PLAIN = "plain"  # go on as with any WebSocket server
    FAIL = "fail"  # raise, for there is to be a session or nothing

    __str__ = str.__str__


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Have a session that outlives its links, with a server that speaks `statews.v1`.

    Attributes:
        on_missing: what to do with a server that does not.
        window: how much the server may send ahead of the application.
        auth: told to the server with each hello, made of what JSON knows; for those who cannot
            set headers.
        first: what each new session begins with, such as a subscription: messages, or an async
            callable that gives them. They go out before anything that waits, with no receipt, and
            again on the next link if nobody knows whether they have arrived. A callable that
            fails is an attempt that failed.
    """

    on_missing: OnMissing = OnMissing.PLAIN
    window: Window = Window()  # noqa: RUF009 - it is frozen
    auth: object = None
    first: First = ()

    def __post_init__(self) -> None:
        for name, kind in (("on_missing", OnMissing), ("window", Window)):
            value: object = getattr(self, name)
            if not isinstance(value, kind):
                raise UsageError(f"Resume.{name} must be one of {kind.__name__}, got {value!r}")
        try:
            json.dumps(self.auth, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(f"Resume.auth must be made of what JSON knows: {error}") from error
        first: object = self.first
        if not (callable(first) or are_messages(first)):
            raise UsageError(f"Resume.first must be messages, got {self.first!r:.100}")


def are_messages(value: object) -> TypeIs[Sequence[Message]]:
    """Whether it is a sequence of messages, and not one message."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        return False
    return all(isinstance(each, (str, bytes)) for each in cast("Sequence[object]", value))
