"""What a session with a server is to be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum

from ..errors import UsageError
from ..protocol.session import Window

__all__ = ["OnMissing", "Resume"]


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
    """

    on_missing: OnMissing = OnMissing.PLAIN
    window: Window = Window()  # noqa: RUF009 - it is frozen
    auth: object = None

    def __post_init__(self) -> None:
        for name, kind in (("on_missing", OnMissing), ("window", Window)):
            value: object = getattr(self, name)
            if not isinstance(value, kind):
                raise UsageError(f"Resume.{name} must be one of {kind.__name__}, got {value!r}")
        try:
            json.dumps(self.auth, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(f"Resume.auth must be made of what JSON knows: {error}") from error
