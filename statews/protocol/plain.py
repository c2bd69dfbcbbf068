"""The frames that most streams are made of, taken in a loop for each side.

Most of a decoder's time is spent here. To ask in the loop which side this is would cost a
tenth of it, and a call half, so there are two, as short as they get. A plain frame is a whole
message, not compressed, within the limit, and all of it is there.
Whatever is not, they leave alone.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final

from ..errors import UsageError
from .codes import Opcode

try:
    from websockets.speedups import apply_mask
except ImportError:  # no C for this platform: the same in Python
    from websockets.utils import apply_mask

__all__ = ["Message", "apply_mask", "as_bytes", "take_masked", "take_unmasked"]

Message = str | bytes

# The first two bytes of a frame (RFC 6455 section 5.2).
FIN: Final = 0x80
MASKED: Final = 0x80
SHORT: Final = 125  # bytes: longer payloads extend the length; no control frame is (section 5.5)
WHOLE_TEXT: Final = FIN | Opcode.TEXT
WHOLE_BINARY: Final = FIN | Opcode.BINARY

_read_head: Final = Struct(">BBH").unpack_from  # both, and a length if it has 16 bits
HEAD: Final = 4  # bytes that it reads
from_bytes: Final = int.from_bytes


def take_unmasked(  # noqa: C901 - a call costs half a frame
    data: bytes, position: int, limit: int, append: Callable[[Message], None]
) -> int:
    """Take the plain frames of a server and return where the first other frame begins."""
    end, last, read_head = len(data), len(data) - HEAD, _read_head
    has_more = position <= last  # one comparison does for both ends, but in the last frame
    while has_more:
        first, size, extended = read_head(data, position)
        if size <= SHORT:
            start = position + 2
            stop = start + size
        elif size == 126 and extended > SHORT and extended <= limit:
            start = position + 4
            stop = start + extended
        elif (
            size == 127
            and 0xFFFF < (long := from_bytes(data[position + 2 : position + 10], "big")) <= limit
        ):
            start = position + 10
            stop = start + long
        else:
            break
        if stop > last:
            if stop > end:
                break
            has_more = False
        if first == WHOLE_TEXT:
            append(data[start:stop].decode())
        elif first == WHOLE_BINARY:
            append(data[start:stop])
        else:
            break
        position = stop
    return position


def take_masked(  # noqa: C901 - a call costs half a frame
    data: bytes, position: int, limit: int, append: Callable[[Message], None]
) -> int:
    """Take the plain frames of a client and return where the first other frame begins."""
    end, last, read_head = len(data), len(data) - HEAD, _read_head
    has_more = position <= last  # one comparison does for both ends, but in the last frame
    while has_more:
        first, size, extended = read_head(data, position)
        if MASKED <= size <= MASKED | SHORT:
            start = position + 6
            stop = start + size - MASKED
        elif size == MASKED | 126 and extended > SHORT and extended <= limit:
            start = position + 8
            stop = start + extended
        elif (
            size == MASKED | 127
            and 0xFFFF < (long := from_bytes(data[position + 2 : position + 10], "big")) <= limit
        ):
            start = position + 14
            stop = start + long
        else:
            break
        if stop > last:
            if stop > end:
                break
            has_more = False
        if first == WHOLE_TEXT:
            append(apply_mask(data[start:stop], data[start - 4 : start]).decode())
        elif first == WHOLE_BINARY:
            append(apply_mask(data[start:stop], data[start - 4 : start]))
        else:
            break
        position = stop
    return position


def as_bytes(message: bytearray | memoryview) -> bytes:
    """A copy of what may still change.

    Raises:
        UsageError: no bytes at all, or none any more.
    """
    try:
        return bytes(memoryview(message))
    except TypeError:
        text = f"a message is str or bytes, got {type(message).__name__}"
        raise UsageError(text) from None
    except ValueError:
        text = "a message is str or bytes, got a memoryview that was released"
        raise UsageError(text) from None
