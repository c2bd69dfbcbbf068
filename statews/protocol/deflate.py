"""permessage-deflate (RFC 7692): one inflate or deflate call a message, and the negotiation."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import partial
from typing import Final, cast

from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)

from ..errors import FrameError
from ..policy import Deflate
from .codes import CloseCode

__all__ = ["Deflater", "Inflater", "acceptable", "codecs", "offered"]

TAIL: Final = b"\x00\x00\xff\xff"  # what a sender leaves off (section 7.2.1)
# What is left behind a final block: the tail, or the empty block that section 7.2.3.4 appends.
ENDS: Final = frozenset({TAIL, b"\x00" + TAIL})


class Inflater:
    """The peer's messages, inflated.

    Args:
        window_bits: the most history the peer keeps, 8 to 15 (section 7.1.2).
        context_takeover: whether a message may refer to the ones before it (section 7.1.1).
    """

    __slots__ = ("_new", "_stream")

    def __init__(self, *, window_bits: int, context_takeover: bool) -> None:
        self._new = partial(zlib.decompressobj, -window_bits)
        self._stream = self._new() if context_takeover else None

    def inflate(self, payload: bytes, limit: int) -> bytes:
        """One message; never more than `limit` + 1 bytes are made, whatever it claims.

        Raises:
            FrameError: not a deflate stream, or more than `limit` bytes.
        """
        stream = self._stream or self._new()
        try:
            message = stream.decompress(payload + TAIL, limit + 1)
        except zlib.error as error:
            text = f"the peer sent a compressed message that cannot be inflated: {error}"
            raise FrameError(CloseCode.INVALID_DATA, text) from error
        if len(message) > limit:
            text = f"the peer sent a message that inflates to over the limit of {limit} bytes"
            raise FrameError(CloseCode.TOO_BIG, text)
        if stream.eof:
            if stream.unused_data not in ENDS:  # zlib stops there, and what follows would be lost
                text = "the peer sent a compressed message that goes on behind its final block"
                raise FrameError(CloseCode.INVALID_DATA, text)
            if self._stream is not None:
                self._stream = self._new()
        return message


class Deflater:
    """Our messages, deflated.

    Args:
        window_bits: the most history we may keep, 9 to 15.
        context_takeover: whether a message may refer to the ones before it.
        level: 1 (fast) to 9 (small).
        threshold_bytes: shorter messages are left as they are.
    """

    __slots__ = ("_new", "_stream", "threshold_bytes")

    def __init__(
        self, *, window_bits: int, context_takeover: bool, level: int, threshold_bytes: int
    ) -> None:
        self.threshold_bytes: int = threshold_bytes
        self._new = partial(zlib.compressobj, level, zlib.DEFLATED, -window_bits)
        self._stream = self._new() if context_takeover else None

    def deflate(self, payload: bytes) -> bytes:
        """One message, as it goes into a frame with RSV1 set."""
        stream = self._stream or self._new()
        deflated = stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH)
        return deflated[: -len(TAIL)]


def offered(settings: Deflate | None) -> list[ClientPerMessageDeflateFactory] | None:
    """What a client with these settings offers (section 7.1)."""
    if settings is None:
        return None
    return [
        ClientPerMessageDeflateFactory(
            server_max_window_bits=_window_bits(settings),
            client_max_window_bits=_window_bits(settings) or True,
            server_no_context_takeover=not settings.context_takeover,
            client_no_context_takeover=not settings.context_takeover,
        )
    ]


def acceptable(settings: Deflate | None) -> list[ServerPerMessageDeflateFactory] | None:
    """What a server with these settings accepts (section 7.1)."""
    if settings is None:
        return None
    return [
        ServerPerMessageDeflateFactory(
            server_max_window_bits=_window_bits(settings),
            client_max_window_bits=_window_bits(settings),
            server_no_context_takeover=not settings.context_takeover,
            client_no_context_takeover=not settings.context_takeover,
        )
    ]


def _window_bits(settings: Deflate) -> int | None:
    return None if settings.window_bits == 15 else settings.window_bits  # 15 is unsaid


def codecs(
    extensions: Sequence[Extension], settings: Deflate | None
) -> tuple[Inflater | None, Deflater | None]:
    """Both halves of what was negotiated, None for each if nothing was."""
    if settings is None or not extensions:
        return None, None
    agreed = cast("PerMessageDeflate", extensions[0])  # no other extension is ever offered
    inflater = Inflater(
        window_bits=agreed.remote_max_window_bits,
        context_takeover=not agreed.remote_no_context_takeover,
    )
    deflater = Deflater(
        window_bits=agreed.local_max_window_bits,
        context_takeover=not agreed.local_no_context_takeover,
        level=settings.level,
        threshold_bytes=settings.threshold_bytes,
    )
    return inflater, deflater
