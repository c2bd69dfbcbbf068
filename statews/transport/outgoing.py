"""What is on its way to the transport: frames, whole, in order, in as few pieces as possible.

The first frame goes to the transport at once. What follows before anybody had a turn is
collected, and goes out in one piece: at the owner's next turn, before a caller waits for
a message, or as soon as the bound is reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio import Event

if TYPE_CHECKING:
    from .stream import ByteStream

__all__ = ["Outgoing"]

LONG: Final = 16384  # bytes; a longer piece is not copied to stand beside others


class Outgoing:
    """The sending half of a link, which never waits except in `wait_room`.

    Args:
        stream: where the bytes go.
        bound: `is_over_bound` above so many bytes.

    Its methods raise `LinkDropped` when the transport breaks.
    """

    __slots__ = ("_bound", "_drained", "_is_fresh", "_pieces", "_size", "_stream")

    def __init__(self, stream: ByteStream, bound: int) -> None:
        self._stream = stream
        self._bound = bound
        self._pieces: list[bytes | memoryview] = []  # the first may be the rest of a frame
        self._size = 0
        self._is_fresh = True  # nobody has sent since the last turn
        self._drained: Event | None = None

    @property
    def is_over_bound(self) -> bool:
        """Whether whoever sends should wait."""
        return self._size > self._bound

    def put(self, frame: bytes) -> bool:
        """Send a frame, or collect it; whether the owner has to take a turn for it."""
        if self._is_fresh and not self._pieces:
            self._is_fresh = False
            taken = self._stream.send_nowait(frame)
            if taken == len(frame):
                return False
            frame = frame[taken:]
        self._pieces.append(frame)
        self._size += len(frame)
        return len(self._pieces) == 1

    def put_long(self, header: bytes, payload: bytes) -> bool:
        """`put` for a frame whose payload is too long to be copied behind its header."""
        self._pieces += header, payload
        self._size += len(header) + len(payload)
        return not self.flush()

    def put_now(self, frame: bytes) -> bool:
        """`put` for a control frame: what was collected goes out before it, at once."""
        self._is_fresh = self.flush()
        return self.put(frame)

    def flush(self) -> bool:
        """Hand on what was collected; whether all of it was taken."""
        self._is_fresh = True
        if not self._pieces:
            return True
        pieces = _join(self._pieces)
        taken = self._stream.send_pieces_nowait(pieces)
        self._pieces = _rest(pieces, taken)
        self._size = sum(map(len, self._pieces))
        if self._pieces:
            return False
        self.release()
        return True

    async def wait_room(self) -> None:
        """Return when all was taken, or the link is over."""
        if self._drained is None:
            self._drained = Event()
        await self._drained.wait()

    def release(self) -> None:
        """Let go whoever is in `wait_room`."""
        if self._drained is not None:
            self._drained.set()
            self._drained = None


def _rest(pieces: list[bytes | memoryview], taken: int) -> list[bytes | memoryview]:
    """The pieces without the first `taken` bytes."""
    for index, piece in enumerate(pieces):
        if taken < len(piece):
            return [memoryview(piece)[taken:], *pieces[index + 1 :]]
        taken -= len(piece)
    return []


def _join(pieces: list[bytes | memoryview]) -> list[bytes | memoryview]:
    """The same bytes in fewer pieces, the long ones left alone."""
    if len(pieces) == 1:
        return pieces
    joined: list[bytes | memoryview] = []
    short: list[bytes | memoryview] = []
    for piece in pieces:
        if len(piece) < LONG:
            short.append(piece)
            continue
        if short:
            joined.append(b"".join(short))
            short = []
        joined.append(piece)
    if short:
        joined.append(b"".join(short))
    return joined
