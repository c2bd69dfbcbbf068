"""RFC 6455 section 5 without I/O: bytes in, messages out, and back.

`Decoder.feed` takes whatever the transport gave and appends each message that is now
whole to `inbox`. All whole frames of a chunk are taken in one loop without an object
for each; one frame in a hundred (long, fragmented, compressed, control) leaves the
loop for a method of its own. Header errors are raised before the payload is there.
"""

from __future__ import annotations

import codecs
from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from ..errors import FrameError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .deflate import Deflater, Inflater

try:
    from websockets.speedups import apply_mask
except ImportError:  # pragma: no cover - the wheel for this platform has no C part

    def apply_mask(data: bytes | bytearray | memoryview, mask: bytes | bytearray | memoryview) -> bytes:
        """XOR `data` with the repeated 4-byte `mask` (RFC 6455 section 5.3)."""
        return apply_mask_slowly(data, mask)


__all__ = ["Decoder", "Encoder", "Message", "Opcode", "apply_mask_slowly", "parse_close"]

Message = str | bytes

LONG: Final = 65536  # payloads above are collected in parts, and joined once


class Opcode(IntEnum):
    """RFC 6455 section 5.2."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """The close codes that we send or judge by (RFC 6455 section 7.4.1, and its registry)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    NO_STATUS = 1005
    ABNORMAL = 1006
    INVALID_DATA = 1007
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013


# Bits of the first two bytes of a frame.
FIN: Final = 0x80
RSV1: Final = 0x40
RSV23: Final = 0x30
CONTROL: Final = 0x08
MASKED: Final = 0x80

WHOLE_TEXT: Final = FIN | Opcode.TEXT
WHOLE_BINARY: Final = FIN | Opcode.BINARY
CONTROL_BYTES: Final = 125  # RFC 6455 section 5.5
MAY_BE_SENT: Final = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})


def apply_mask_slowly(
    data: bytes | bytearray | memoryview, mask: bytes | bytearray | memoryview
) -> bytes:
    """XOR `data` with the repeated 4-byte `mask`, in Python (RFC 6455 section 5.3)."""
    size = len(data)
    repeated = (bytes(mask) * (size // 4 + 1))[:size]
    value = int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")
    return value.to_bytes(size, "little")


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
        message = "the peer sent a close frame with half a close code"
        raise broke_protocol(message)
    code = int.from_bytes(payload[:2], "big")
    if code not in MAY_BE_SENT:
        message = f"the peer sent close code {code}, which must not be sent"
        raise broke_protocol(message)
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError as error:
        message = "the peer sent a close reason that is not UTF-8"
        raise FrameError(CloseCode.INVALID_DATA, message) from error


class _Fragments:
    """A message whose last fragment is still to come."""

    __slots__ = ("compressed", "opcode", "parts", "size", "text")

    def __init__(self, opcode: int, *, compressed: bool) -> None:
        self.opcode = opcode
        self.compressed = compressed
        self.parts: list[bytes] = []
        self.size = 0
        self.text = codecs.getincrementaldecoder("utf-8")()


class _LongFrame:
    """A frame whose header is known and whose payload is still coming in."""

    __slots__ = ("first", "mask", "missing", "parts")

    def __init__(self, first: int, mask: bytes | None, missing: int) -> None:
        self.first = first
        self.mask = mask
        self.missing = missing
        self.parts: list[bytes | memoryview] = []


class Decoder:
    """Turns the peer's bytes into messages and control frames.

    Args:
        masked: whether the peer must mask, which a client must and a server must not (section 5.1).
        limit: the longest message, in bytes, after inflating.
        inflater: what was negotiated for compressed messages, if anything.

    Attributes:
        inbox: the messages not yet taken, oldest first.
        controls: control frames not yet taken, as (opcode, payload). Nothing follows a close frame.
    """

    __slots__ = (
        "_fragments",
        "_inflater",
        "_limit",
        "_long",
        "_masked",
        "_tail",
        "controls",
        "inbox",
    )

    def __init__(self, *, masked: bool, limit: int, inflater: Inflater | None = None) -> None:
        self.inbox: deque[Message] = deque()
        self.controls: list[tuple[int, bytes]] = []
        self._masked = masked
        self._limit = limit
        self._inflater = inflater
        self._tail = b""
        self._long: _LongFrame | None = None
        self._fragments: _Fragments | None = None

    @property
    def is_between_frames(self) -> bool:
        """Whether an end of the stream here would cut no frame and no message."""
        return not (self._tail or self._long or self._fragments)

    def feed(self, chunk: bytes) -> None:
        """Take in the next bytes; what is whole by then is in `inbox` and `controls`.

        Raises:
            FrameError: the peer broke a rule. What was whole before is kept; the decoder is
                of no further use.
        """
        if self._long is not None:
            chunk = self._feed_long(self._long, chunk)
        if self._tail:
            chunk = self._tail + chunk
        try:
            self._tail = chunk[self._parse(chunk) :]
        except UnicodeDecodeError as error:
            message = f"the peer sent text that is not UTF-8: {error.reason}"
            raise FrameError(CloseCode.INVALID_DATA, message) from error

    def _parse(self, data: bytes) -> int:  # noqa: C901, PLR0912 - the hot loop, kept in one piece: a call costs half a frame
        """Take all whole frames out of `data` and return where the first partial one begins."""
        position, end = 0, len(data)
        append = self.inbox.append
        masked, limit = self._masked, self._limit
        short = 2 + 4 * masked  # bytes of a header without extended length
        while end - position >= 2:  # noqa: PLR2004
            first, size = data[position], data[position + 1]
            start = position + short
            if masked is (size < MASKED):
                message = "the peer sent a frame " + ("without a mask" if masked else "with a mask")
                raise broke_protocol(message)
            size &= 0x7F
            if size > CONTROL_BYTES:
                width = 2 if size == 126 else 8  # noqa: PLR2004
                if first & CONTROL or end - position >= 2 + width:
                    size = self._read_length(data, position, width)
                    start += width
                else:
                    return position
            if first == WHOLE_TEXT and self._fragments is None and start + size <= end:
                if size > limit:
                    raise self._too_big(size)
                position = start + size
                if masked:
                    append(str(apply_mask(data[start:position], data[start - 4 : start]), "utf-8"))
                else:
                    append(str(data[start:position], "utf-8"))
                continue
            self._check_header(first, size)
            if end < start:
                return position
            mask = data[start - 4 : start] if masked else None
            if start + size > end:
                if size <= LONG:
                    return position
                self._long = _LongFrame(first, mask, start + size - end)
                self._long.parts.append(memoryview(data)[start:])
                return end
            position = start + size
            payload = data[start:position]
            self._take(first, payload if mask is None else apply_mask(payload, mask))
            if first == FIN | Opcode.CLOSE:
                return end  # whatever follows is not for us (section 1.4)
        return position

    def _read_length(self, data: bytes, position: int, width: int) -> int:
        """The extended payload length (section 5.2)."""
        if data[position] & CONTROL:
            message = f"the peer sent a control frame of over {CONTROL_BYTES} bytes"
            raise broke_protocol(message)
        size = int.from_bytes(data[position + 2 : position + 2 + width], "big")
        if size >> 63:
            message = "the peer sent a frame of 2^63 bytes or more"
            raise broke_protocol(message)
        if size <= (CONTROL_BYTES if width == 2 else 0xFFFF):  # noqa: PLR2004
            message = f"the peer sent length {size} in {width} bytes, not in as few as possible"
            raise broke_protocol(message)
        return size

    def _check_header(self, first: int, size: int) -> None:
        """Refuse what no payload can make right."""
        opcode = first & 0x0F
        fragments = self._fragments
        if first & RSV23 or (first & RSV1 and (self._inflater is None or not 0 < opcode < CONTROL)):
            message = "the peer sent a frame with a reserved bit set"
        elif opcode & CONTROL:
            if opcode > Opcode.PONG:
                message = f"the peer sent a control frame of reserved opcode {opcode}"
            elif not first & FIN:
                message = "the peer sent a fragmented control frame"
            else:
                return
        elif opcode > Opcode.BINARY:
            message = f"the peer sent a frame of reserved opcode {opcode}"
        elif opcode == Opcode.CONTINUATION and fragments is None:
            message = "the peer sent a continuation of nothing"
        elif opcode != Opcode.CONTINUATION and fragments is not None:
            message = "the peer began a message before the last one was finished"
        elif (size if fragments is None else size + fragments.size) > self._limit:
            raise self._too_big(size if fragments is None else size + fragments.size)
        else:
            return
        raise broke_protocol(message)

    def _too_big(self, size: int) -> FrameError:
        message = f"the peer sent a message of {size} bytes, over the limit of {self._limit}"
        return FrameError(CloseCode.TOO_BIG, message)

    def _feed_long(self, frame: _LongFrame, chunk: bytes) -> bytes:
        """Add to a long frame and return what belongs to the next one."""
        if len(chunk) < frame.missing:
            frame.parts.append(chunk)
            frame.missing -= len(chunk)
            return b""
        self._long = None
        frame.parts.append(memoryview(chunk)[: frame.missing])
        payload = b"".join(frame.parts)
        rest = chunk[frame.missing :]
        self._tail = b""
        try:
            self._take(
                frame.first, payload if frame.mask is None else apply_mask(payload, frame.mask)
            )
        except UnicodeDecodeError as error:
            message = f"the peer sent text that is not UTF-8: {error.reason}"
            raise FrameError(CloseCode.INVALID_DATA, message) from error
        return rest

    def _take(self, first: int, payload: bytes) -> None:
        """Take in one whole frame whose header is in order."""
        opcode = first & 0x0F
        if opcode & CONTROL:
            self.controls.append((opcode, payload))
        elif self._fragments is not None:
            self._add_fragment(self._fragments, payload, is_last=bool(first & FIN))
        elif first & FIN:
            if first & RSV1 and self._inflater is not None:
                payload = self._inflater.inflate(payload, self._limit)
            self.inbox.append(str(payload, "utf-8") if opcode == Opcode.TEXT else payload)
        else:
            self._fragments = _Fragments(opcode, compressed=bool(first & RSV1))
            self._add_fragment(self._fragments, payload, is_last=False)

    def _add_fragment(self, fragments: _Fragments, payload: bytes, *, is_last: bool) -> None:
        fragments.parts.append(payload)
        fragments.size += len(payload)
        if fragments.compressed:
            if not is_last:
                return
            assert self._inflater is not None  # noqa: S101 - the header check saw to it
            payload = self._inflater.inflate(b"".join(fragments.parts), self._limit)
            self.inbox.append(str(payload, "utf-8") if fragments.opcode == Opcode.TEXT else payload)
        else:
            if fragments.opcode == Opcode.TEXT:
                fragments.text.decode(payload, is_last)  # fail at the first fragment that is wrong
            if not is_last:
                return
            payload = b"".join(fragments.parts)
            self.inbox.append(str(payload, "utf-8") if fragments.opcode == Opcode.TEXT else payload)
        self._fragments = None


class Encoder:
    """Turns messages and control frames into bytes for the peer.

    Args:
        entropy: gives n unpredictable bytes for masks (section 5.3); None: a server, which does not mask.
        deflater: what was negotiated for compression, if anything.
    """

    __slots__ = ("_deflater", "_entropy", "_masks", "_used")

    def __init__(
        self, *, entropy: Callable[[int], bytes] | None, deflater: Deflater | None = None
    ) -> None:
        self._entropy = entropy
        self._deflater = deflater
        self._masks = b""
        self._used = 0

    def message(self, message: Message) -> tuple[bytes, bytes]:
        """One message as one frame: its header and its payload as they go on the wire.

        Raises:
            UsageError: neither `str` nor bytes, or text with lone surrogates.
        """
        if isinstance(message, str):
            try:
                payload, first = message.encode(), WHOLE_TEXT
            except UnicodeEncodeError as error:
                text = f"text must be encodable as UTF-8: {error.reason} at {error.start}"
                raise UsageError(text) from error
        elif isinstance(message, (bytes, bytearray, memoryview)):
            payload, first = bytes(message), WHOLE_BINARY
        else:
            text = f"a message is str or bytes, got {type(message).__name__}"
            raise UsageError(text)
        deflater = self._deflater
        if deflater is not None and len(payload) >= deflater.threshold_bytes:
            payload, first = deflater.deflate(payload), first | RSV1
        return self._frame(first, payload)

    def control(self, opcode: Opcode, payload: bytes = b"") -> bytes:
        """One control frame; the payload is at most 125 bytes (section 5.5)."""
        header, payload = self._frame(FIN | opcode, payload)
        return header + payload

    def close(self, code: int, reason: str = "") -> bytes:
        """A close frame; the reason is cut to what fits (section 5.5.1)."""
        if code not in MAY_BE_SENT:
            return self.control(Opcode.CLOSE)
        text = reason.encode(errors="replace")[: CONTROL_BYTES - 2].decode(errors="ignore")
        return self.control(Opcode.CLOSE, code.to_bytes(2, "big") + text.encode())

    def _frame(self, first: int, payload: bytes) -> tuple[bytes, bytes]:
        size = len(payload)
        entropy = self._entropy
        if entropy is None:
            if size <= CONTROL_BYTES:
                return bytes((first, size)), payload
            return _long_header(first, 0, size), payload
        used = self._used
        if used == len(self._masks):
            self._masks, used = entropy(4096), 0
        self._used = used + 4
        mask = self._masks[used : used + 4]
        if size <= CONTROL_BYTES:
            return bytes((first, MASKED | size)) + mask, apply_mask(payload, mask)
        return _long_header(first, MASKED, size) + mask, apply_mask(payload, mask)


def _long_header(first: int, masked: int, size: int) -> bytes:
    if size <= 0xFFFF:  # noqa: PLR2004
        return bytes((first, masked | 126)) + size.to_bytes(2, "big")
    return bytes((first, masked | 127)) + size.to_bytes(8, "big")
