"""The numbers of RFC 6455: opcodes, and the close codes with what may be done with them."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ..errors import FrameError, UsageError

__all__ = ["MAY_BE_SENT", "CloseCode", "Opcode", "broke_protocol", "check_close", "parse_close"]


class Opcode(IntEnum):
    """What a frame is (RFC 6455 section 5.2)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """The close codes that we send or judge by: RFC 6455 section 7.4.1, its registry, ours."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    NO_STATUS = 1005
    ABNORMAL = 1006
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    SESSION_PROTOCOL_ERROR = 4400
    NOT_AUTHENTICATED = 4401
    FORBIDDEN = 4403
    HELLO_TIMEOUT = 4408
    REPLACED = 4409
    SESSION_GONE = 4410
    SESSION_TOO_BIG = 4413
    RATE_LIMITED = 4429
    SERVER_ERROR = 4500
    TOO_SLOW = 4503
    HEARTBEAT_TIMEOUT = 4504


# The registered codes but 1005, 1006 and 1015, which only name what happened (section 7.4.1),
# and those left to libraries and applications (section 7.4.2).
MAY_BE_SENT: Final = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})


LONGEST_REASON: Final = 123  # bytes: a control frame has 125, two for the code (section 5.5)


def check_close(code: object, reason: object) -> None:
    """Raise `UsageError` for what no close frame of ours may hold (section 7.4)."""
    if not isinstance(code, int) or code not in MAY_BE_SENT:
        text = "a close code is 1000 to 1003, 1007 to 1014 or 3000 to 4999"
        raise UsageError(f"{text}, got {code!r:.200}")
    try:
        is_fit = isinstance(reason, str) and len(reason.encode()) <= LONGEST_REASON
    except UnicodeEncodeError:
        is_fit = False
    if not is_fit:
        text = f"a close reason is text of at most {LONGEST_REASON} bytes"
        raise UsageError(f"{text}, got {reason!r:.200}")


def broke_protocol(message: str) -> FrameError:
    """The error for a peer that broke RFC 6455 (close code 1002)."""
    return FrameError(CloseCode.PROTOCOL_ERROR, message)


def parse_close(payload: bytes) -> tuple[int, str]:
    """The close code and reason in a close frame; 1005 when it has none (section 7.1.5).

    Raises:
        FrameError: a code that must not be sent, or a reason that is not UTF-8.
    """
    if not payload:
        return CloseCode.NO_STATUS, ""
    if len(payload) == 1:
        raise broke_protocol("the peer sent a close frame with half a close code")
    code = int.from_bytes(payload[:2], "big")
    if code not in MAY_BE_SENT:
        raise broke_protocol(f"the peer sent close code {code}, which must not be sent")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError as error:
        message = "the peer sent a close reason that is not UTF-8"
        raise FrameError(CloseCode.INVALID_DATA, message) from error
