"""Frames seen from outside: where each begins and ends in the bytes that go by.

Whoever only carries bytes, a proxy or a network of memory, cuts a link in the middle of a
frame, and writes down what went over it, with this. Bytes that are no WebSocket are let by.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

from ..protocol.codes import Opcode
from ..protocol.plain import MASKED, apply_mask

__all__ = ["SeenFrame", "Tracker"]

HEADERS_END: Final = b"\r\n\r\n"
LONGEST_HEADERS: Final = 65536  # bytes; without an end by then, this is no HTTP
KEPT: Final = 48  # bytes of a payload that are kept to be shown


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFrame:
    """A frame (RFC 6455 section 5.2) whose header has gone by.

    Attributes:
        first: its first byte: FIN, the reserved bits and the opcode.
        size: bytes of its payload.
        start: where it begins, counted from the first byte of this way.
        end: where the next one begins.
        shown: the beginning of its payload, as far as it came in one piece with the header.
    """

    first: int
    size: int
    start: int
    end: int
    shown: bytes

    @property
    def middle(self) -> int:
        """A place inside it."""
        return (self.start + self.end) // 2

    def __str__(self) -> str:
        opcode = self.first & 0x0F
        name = Opcode(opcode).name.lower() if opcode in _OPCODES else f"opcode {opcode}"
        text = f"{name} of {self.size} bytes"
        if self.first & 0x40:
            return f"{text}, compressed"
        if opcode == Opcode.CLOSE and len(self.shown) >= 2:
            code = int.from_bytes(self.shown[:2], "big")
            reason = self.shown[2:].decode(errors="replace")
            return f"close {code} {reason}".rstrip()
        if opcode in {Opcode.PING, Opcode.PONG} or not self.size:
            return text  # what is in a ping is chance
        if opcode == Opcode.TEXT:
            return f"{text} {self.shown.decode(errors='replace')!r}"
        return f"{text} {zlib.crc32(self.shown):08x}"


_OPCODES: Final = frozenset(map(int, Opcode))


class Tracker:
    """Follows one way of one link.

    Attributes:
        position: bytes that went by.
    """

    __slots__ = ("_buffer", "_is_upgraded", "_skip", "position")

    def __init__(self) -> None:
        self.position: int = 0
        self._buffer = b""  # what was not understood yet
        self._skip = 0.0  # bytes of a payload still to go by; infinite: this is no WebSocket
        self._is_upgraded = False

    def feed(self, data: bytes) -> tuple[bytes, list[SeenFrame]]:
        """Let bytes go by: the head of the opening handshake if it ended here, and new frames."""
        self.position += len(data)
        head = b""
        if self._skip >= len(data) and self._skip:
            self._skip -= len(data)
            return head, []
        self._buffer += data[int(self._skip) :]
        self._skip = 0
        if not self._is_upgraded:
            head = self._take_head()
        return head, self._take_frames() if self._is_upgraded else []

    def _take_head(self) -> bytes:
        head, end, rest = self._buffer.partition(HEADERS_END)
        if end:
            first = head.partition(b"\r\n")[0]
            if first.endswith(b"HTTP/1.1") or b" 101 " in first:
                self._is_upgraded = True
                self._buffer = rest
            else:
                self._give_up()
            return head
        if len(self._buffer) > LONGEST_HEADERS:
            self._give_up()
        return b""

    def _give_up(self) -> None:
        self._buffer, self._skip = b"", float("inf")

    def _take_frames(self) -> list[SeenFrame]:
        frames: list[SeenFrame] = []
        data, at = self._buffer, 0
        offset = self.position - len(data)  # of data, from the first byte of this way
        while (header := _header(data, at)) is not None:
            payload, end = header
            shown = data[payload : min(end, payload + KEPT)]
            if data[at + 1] & MASKED:
                shown = apply_mask(shown, data[payload - 4 : payload])
            frames.append(
                SeenFrame(
                    first=data[at],
                    size=end - payload,
                    start=offset + at,
                    end=offset + end,
                    shown=shown,
                )
            )
            at = end
        self._buffer = data[at:]
        self._skip = max(0, at - len(data))
        return frames


def _header(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the payload of the frame at `at` begins and ends; None if its header is not whole."""
    if len(data) < at + 2:
        return None
    masked, size, payload = data[at + 1] & MASKED, data[at + 1] & ~MASKED, at + 2
    if size >= 126:
        payload += 2 if size == 126 else 8
        size = int.from_bytes(data[at + 2 : payload], "big")
    payload += 4 if masked else 0
    return None if len(data) < payload else (payload, payload + size)
