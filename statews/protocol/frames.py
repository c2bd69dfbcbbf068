"""RFC 6455 section 5 without I/O: bytes in, messages out, and back.

`Decoder.feed` takes whatever the transport gave and appends each message that is now
whole to `inbox`. All whole frames of a chunk are taken in one loop without an object
for each; one frame in a hundred (long, fragmented, compressed, control) leaves the
loop for methods of its own. Header errors are raised before the payload is there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from struct import Struct, iter_unpack
from typing import Final

from ..errors import FrameError, UsageError
from .codes import MAY_BE_SENT, CloseCode, Opcode, broke_protocol, parse_close
from .deflate import Deflater, Inflater
from .pieces import Fragments, LongFrame
from .plain import (
    FIN,
    MASKED,
    SHORT,
    WHOLE_BINARY,
    WHOLE_TEXT,
    Message,
    apply_mask,
    as_bytes,
    take_masked,
    take_unmasked,
)

__all__ = ["CloseCode", "Decoder", "Encoder", "Message", "Opcode", "parse_close"]

# Bits of the first two bytes of a frame, and what they are in most frames.
RSV1: Final = 0x40
RSV23: Final = 0x30
CONTROL: Final = 0x08
OPCODE: Final = 0x0F
WHOLE_CLOSE: Final = FIN | Opcode.CLOSE

LONG: Final = 4096  # bytes; a longer payload that comes in parts is joined once
MASK_POOL: Final = 1024  # bytes drawn at a time: 256 masks


_NOT_FOR_US: Final = LongFrame(0, b"", 0)  # what follows a close frame (section 5.5.1)


class Decoder:
    """Turns the peer's bytes into messages and control frames.

    Args:
        masked: whether the peer must mask, as a client must and a server must not (section 5.1).
        limit: the longest message, in bytes, after inflating.
        inflater: what was negotiated for compressed messages, if anything.

    Attributes:
        inbox: the messages not yet taken, oldest first.
        limit: the longest message, in bytes, after inflating.
        controls: control frames not yet taken, as (opcode, payload). Nothing follows a close.
    """

    __slots__ = (
        "_fragments",
        "_inflater",
        "_long",
        "_mask_bit",
        "_tail",
        "controls",
        "inbox",
        "limit",
    )

    def __init__(self, *, masked: bool, limit: int, inflater: Inflater | None = None) -> None:
        self.inbox: deque[Message] = deque()
        self.controls: list[tuple[int, bytes]] = []
        self._mask_bit = MASKED if masked else 0
        self.limit: int = limit
        self._inflater = inflater
        self._tail = b""
        self._long: LongFrame | None = None
        self._fragments: Fragments | None = None

    @property
    def missing(self) -> int:
        """Bytes of a long frame that are still to come; 0 if there is none."""
        return 0 if self._long is None else self._long.missing

    def feed(self, chunk: bytes) -> None:
        """Take in the next bytes; what is whole by then is in `inbox` and `controls`.

        Raises:
            FrameError: the peer broke a rule. What was whole before is kept; the decoder is
                of no further use.
        """
        try:
            position = 0
            if self._long is not None:
                position = self._feed_long(self._long, chunk)
            elif self._tail:
                chunk = self._tail + chunk
            self._tail = self._parse(chunk, position)
        except UnicodeDecodeError as error:
            message = f"the peer sent text that is not UTF-8: {error.reason}"
            raise FrameError(CloseCode.INVALID_DATA, message) from error

    def _parse(self, data: bytes, position: int) -> bytes:
        """Take all whole frames from `position` on and return what is left."""
        end = len(data)
        take_plain = take_masked if self._mask_bit else take_unmasked
        while end - position >= 2:
            if self._fragments is None and self.limit >= SHORT:
                position = take_plain(data, position, self.limit, self.inbox.append)
                if end - position < 2:
                    break
            stop = self._parse_frame(data, position)
            if stop < 0:
                break
            position = stop
        return data[position:]

    def _parse_frame(self, data: bytes, position: int) -> int:
        """Take a frame of any kind and return where the next one begins, -1 if more must come."""
        first, end, mask_bit = data[position], len(data), self._mask_bit
        size = data[position + 1] ^ mask_bit
        if size & MASKED:
            raise broke_protocol(f"the peer sent a frame with{'out' if mask_bit else ''} a mask")
        self._check_header(first, min(size, SHORT + 1))  # as far as that is known
        width, size = _read_size(data, position, size)
        if size < 0:
            return -1
        self._check_header(first, size)
        start = position + 2 + width + (4 if mask_bit else 0)
        stop = start + size
        if stop <= end:
            self._take(first, data[start:stop], data[start - 4 : start])
        elif size <= LONG or start > end:
            return -1
        else:
            self._long = LongFrame(first, data[start - 4 : start], stop - end)
            self._long.add(memoryview(data)[start:])
            return end
        if first == WHOLE_CLOSE:
            self._long = _NOT_FOR_US
            return end
        return stop

    def _check_header(self, first: int, size: int) -> None:
        """Refuse what no payload can make right (sections 5.2, 5.4 and 5.5)."""
        opcode = first & OPCODE
        has_use_for_rsv1 = self._inflater is not None and 0 < opcode < CONTROL
        if first & RSV23 or (first & RSV1 and not has_use_for_rsv1):
            raise broke_protocol("the peer sent a frame with a reserved bit set")
        if not opcode & CONTROL:
            self._check_data_header(first, size)
        elif opcode > Opcode.PONG:
            raise broke_protocol(f"the peer sent a control frame of reserved opcode {opcode}")
        elif not first & FIN:
            raise broke_protocol("the peer sent a fragmented control frame")
        elif size > SHORT:
            raise broke_protocol(f"the peer sent a control frame of over {SHORT} bytes")

    def _check_data_header(self, first: int, size: int) -> None:
        opcode = first & OPCODE
        if opcode > Opcode.BINARY:
            raise broke_protocol(f"the peer sent a frame of reserved opcode {opcode}")
        fragments = self._fragments
        if fragments is not None:
            if opcode != Opcode.CONTINUATION:
                raise broke_protocol("the peer began a message before the last one was finished")
            first, size = fragments.first, fragments.size + size
        elif opcode == Opcode.CONTINUATION:
            raise broke_protocol("the peer sent a continuation of nothing")
        limit = self.limit
        if first & RSV1:  # deflate makes longer what it cannot make shorter, by less than a fifth
            limit += limit // 5 + 64
        if size > limit:
            message = f"the peer sent a message of {size} bytes, over the limit of {self.limit}"
            raise FrameError(CloseCode.TOO_BIG, message)

    def _feed_long(self, frame: LongFrame, chunk: bytes) -> int:
        """Add to a long frame and return where in `chunk` the next one begins."""
        if frame is _NOT_FOR_US:
            return len(chunk)
        missing = frame.missing
        if len(chunk) < missing:
            frame.add(chunk)
            frame.missing = missing - len(chunk)
            return len(chunk)
        frame.add(memoryview(chunk)[:missing])
        self._long = None
        self._take(frame.first, frame.join(), frame.mask)
        return missing

    def _take(self, first: int, payload: bytes, mask: bytes) -> None:
        """Take in one whole frame whose header is in order."""
        if self._mask_bit:
            payload = apply_mask(payload, mask)
        fragments = self._fragments
        if first & CONTROL:
            self.controls.append((first & OPCODE, payload))
        elif fragments is not None:
            self._add_fragment(fragments, payload, is_last=bool(first & FIN))
        elif first & FIN:
            self._deliver(first, payload)
        else:
            self._fragments = Fragments(first)
            self._add_fragment(self._fragments, payload, is_last=False)

    def _add_fragment(self, fragments: Fragments, payload: bytes, *, is_last: bool) -> None:
        fragments.add(payload)
        if is_last:
            self._fragments = None
            self._deliver(fragments.first, fragments.join())
        elif fragments.first == Opcode.TEXT:
            fragments.text.decode(payload)  # fail at the first fragment that is wrong

    def _deliver(self, first: int, payload: bytes) -> None:
        """One whole message, still compressed if its first frame says so."""
        if first & RSV1 and self._inflater is not None:
            payload = self._inflater.inflate(payload, self.limit)
        self.inbox.append(payload.decode() if first & OPCODE == Opcode.TEXT else payload)


def _read_size(data: bytes, position: int, size: int) -> tuple[int, int]:
    """How many bytes extend the length of a frame, and its length (section 5.2).

    The length is -1 if not all of it is there yet.

    Args:
        data: what is being parsed.
        position: where the frame begins in it.
        size: the length as its first 7 bits say it.

    Raises:
        FrameError: the length has more bytes than it needs, or is too long for anybody.
    """
    if size <= SHORT:
        return 0, size
    width = 2 if size == 126 else 8
    extended = data[position + 2 : position + 2 + width]
    if len(extended) < width:
        return width, -1
    size = int.from_bytes(extended, "big")
    if size >> 63:
        raise broke_protocol("the peer sent a frame of 2^63 bytes or more")
    if size <= (SHORT if width == 2 else 0xFFFF):
        raise broke_protocol(
            f"the peer sent length {size} in {width} bytes, not in as few as possible"
        )
    return width, size


class Encoder:
    """Turns messages and control frames into bytes for the peer.

    Args:
        entropy: gives n unpredictable bytes for masks (section 5.3); None: a server, which
            does not mask.
        deflater: what was negotiated for compression, if anything.
    """

    __slots__ = ("_deflater", "_entropy", "_masks")

    def __init__(
        self, *, entropy: Callable[[int], bytes] | None, deflater: Deflater | None = None
    ) -> None:
        self._entropy = entropy
        self._deflater = deflater
        self._masks: Iterator[tuple[bytes]] = iter(())

    def message(self, message: Message | bytearray | memoryview) -> tuple[bytes, bytes]:
        """One message as one frame: its header and its payload as they go on the wire.

        Raises:
            UsageError: neither `str` nor bytes, or text with lone surrogates.
        """
        if isinstance(message, str):
            first = WHOLE_TEXT
            try:
                payload = message.encode()
            except UnicodeEncodeError as error:
                text = f"text must be encodable as UTF-8: {error.reason} at {error.start}"
                raise UsageError(text) from error
        else:
            first = WHOLE_BINARY
            payload = message if isinstance(message, bytes) else as_bytes(message)
        deflater = self._deflater
        if deflater is not None and len(payload) >= deflater.threshold_bytes:
            payload, first = deflater.deflate(payload), first | RSV1
        return self._frame(first, payload)

    def texts(self, texts: list[str]) -> bytes:
        """One frame for each text, all of them ASCII."""
        pieces: list[bytes] = []
        if self._deflater is not None:
            for text in texts:
                pieces += self.message(text)
            return b"".join(pieces)
        payloads = map(str.encode, texts)
        if self._entropy is None:
            for payload in payloads:
                pieces += _header(WHOLE_TEXT, len(payload)), payload
        else:
            masks = iter_unpack("4s", self._entropy(4 * len(texts)))
            for payload, (mask,) in zip(payloads, masks, strict=True):
                header = _masked_header(WHOLE_TEXT, len(payload), mask)
                pieces += header, apply_mask(payload, mask)
        return b"".join(pieces)

    def control(self, opcode: Opcode, payload: bytes = b"") -> bytes:
        """One control frame; the payload is at most 125 bytes (section 5.5)."""
        header, payload = self._frame(FIN | opcode, payload)
        return header + payload

    def close(self, code: int, reason: str = "") -> bytes:
        """A close frame; the reason is cut to what fits (section 5.5.1).

        A code that must not be sent, such as 1005, makes a frame without code and reason.
        """
        if code not in MAY_BE_SENT:
            return self.control(Opcode.CLOSE)
        text = reason.encode(errors="replace")[: SHORT - 2].decode(errors="ignore")
        return self.control(Opcode.CLOSE, code.to_bytes(2, "big") + text.encode())

    def _frame(self, first: int, payload: bytes) -> tuple[bytes, bytes]:
        if self._entropy is None:
            return _header(first, len(payload)), payload
        try:
            (mask,) = next(self._masks)
        except StopIteration:
            self._masks = iter_unpack("4s", self._entropy(MASK_POOL))
            (mask,) = next(self._masks)
        return _masked_header(first, len(payload), mask), apply_mask(payload, mask)


def _header(first: int, size: int) -> bytes:
    if size <= SHORT:
        return _short_header(first, size)
    if size <= 0xFFFF:
        return _medium_header(first, 126, size)
    return _long_header(first, 127, size)


def _masked_header(first: int, size: int, mask: bytes) -> bytes:
    if size <= SHORT:
        return _short_masked_header(first, MASKED | size, mask)
    if size <= 0xFFFF:
        return _medium_masked_header(first, MASKED | 126, size, mask)
    return _long_masked_header(first, MASKED | 127, size, mask)


_short_header: Final = Struct(">BB").pack
_medium_header: Final = Struct(">BBH").pack
_long_header: Final = Struct(">BBQ").pack
_short_masked_header: Final = Struct(">BB4s").pack
_medium_masked_header: Final = Struct(">BBH4s").pack
_long_masked_header: Final = Struct(">BBQ4s").pack
