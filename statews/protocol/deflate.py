"""permessage-deflate (RFC 7692): one inflate or deflate call a message."""

from __future__ import annotations

import zlib
from typing import Final

from ..errors import FrameError

__all__ = ["Deflater", "Inflater"]

TAIL: Final = b"\x00\x00\xff\xff"  # what a sender leaves off (section 7.2.1)
PROTOCOL_ERROR: Final = 1002
INVALID_DATA: Final = 1007
TOO_BIG: Final = 1009


class Inflater:
    """The peer's messages, inflated.

    Args:
        window_bits: the most history the peer keeps, 8 to 15 (section 7.1.2).
        context_takeover: whether a message may refer to the ones before it (section 7.1.1).
    """

    __slots__ = ("_context_takeover", "_stream", "_window_bits")

    def __init__(self, *, window_bits: int, context_takeover: bool) -> None:
        self._window_bits = window_bits
        self._context_takeover = context_takeover
        self._stream = zlib.decompressobj(-window_bits)

    def inflate(self, payload: bytes, limit: int) -> bytes:
        """One message; never more than `limit` + 1 bytes are made, whatever it claims.

        Raises:
            FrameError: not a deflate stream, or more than `limit` bytes.
        """
        stream = self._stream
        try:
            message = stream.decompress(payload + TAIL, limit + 1)
        except zlib.error as error:
            text = f"the peer sent a compressed message that cannot be inflated: {error}"
            raise FrameError(INVALID_DATA, text) from error
        if len(message) > limit:
            text = f"the peer sent a message that inflates to over the limit of {limit} bytes"
            raise FrameError(TOO_BIG, text)
        if stream.eof or not self._context_takeover:  # a final block ends the stream (section 7.2.3.5)
            self._stream = zlib.decompressobj(-self._window_bits)
        return message


class Deflater:
    """Our messages, deflated.

    Args:
        window_bits: the most history we may keep, 9 to 15.
        context_takeover: whether a message may refer to the ones before it.
        level: 1 (fast) to 9 (small).
        threshold_bytes: shorter messages are left as they are.
    """

    __slots__ = ("_context_takeover", "_level", "_stream", "_window_bits", "threshold_bytes")

    def __init__(
        self, *, window_bits: int, context_takeover: bool, level: int, threshold_bytes: int
    ) -> None:
        self.threshold_bytes = threshold_bytes
        self._window_bits = window_bits
        self._context_takeover = context_takeover
        self._level = level
        self._stream = self._fresh_stream()

    def _fresh_stream(self) -> zlib._Compress:
        return zlib.compressobj(self._level, zlib.DEFLATED, -self._window_bits)

    def deflate(self, payload: bytes) -> bytes:
        """One message, as it goes into a frame with RSV1 set."""
        stream = self._stream
        deflated = stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH)
        if not self._context_takeover:
            self._stream = self._fresh_stream()
        return deflated[: -len(TAIL)]
