"""What is on its way to the transport: frames, whole, in order, in as few pieces as possible.

The first frame goes to the transport at once. What follows before anybody had a turn is
collected, and goes out in one piece: at the owner's next turn, before a caller waits for
a message, or as soon as the bound is reached. Text that nobody has to look at becomes frames
only then, for to make many in a row costs half as much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio import Event

if TYPE_CHECKING:
    from ..protocol.frames import Encoder
    from .stream import ByteStream

__all__ = ["HEADER", "LONG", "Outgoing"]

HEADER: Final = 8  # bytes, about, of the frames of texts that are not made yet
_NO_TEXTS: Final[list[str]] = []  # one for all that have not sent yet, and never changed
LONG: Final = 16384  # bytes; a longer piece is not copied to stand beside others


class Outgoing:
    """The sending half of a link, which never waits except in `wait_room`.

    Args:
        stream: where the bytes go.
        encoder: makes frames of the texts.
        bound: see below.

    Its methods raise `LinkDropped` when the transport breaks.

    Attributes:
        is_fresh: whether nobody has sent since the last turn; then texts are not to be collected.
        texts: that were collected behind the frames.
        size: about how many bytes wait.
        bound: whoever sends should wait above so many.
    """

    __slots__ = (
        "_drained",
        "_encoder",
        "_pieces",
        "_stream",
        "bound",
        "is_fresh",
        "size",
        "texts",
    )

    def __init__(self, stream: ByteStream, encoder: Encoder, bound: int) -> None:
        self._stream = stream
        self._encoder = encoder
        self._pieces: list[bytes | memoryview] = []  # the first may be the rest of a frame
        self.texts: list[str] = _NO_TEXTS
        self._drained: Event | None = None
        self.is_fresh: bool = True
        self.size: int = 0
        self.bound: int = bound

    def make_frames(self) -> None:
        """Collect texts no longer: something else comes behind them."""
        if self.texts:
            self._pieces.append(self._encoder.texts(self.texts))
            self.texts = []
            self.size = sum(map(len, self._pieces))

    def _add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.size += len(piece)

    def put(self, frame: bytes) -> bool:
        """Send a frame, or collect it; whether the owner has to take a turn for it."""
        if self.is_fresh and not self._pieces:
            self.is_fresh = False
            self.texts = self.texts or []
            taken = self._stream.send_nowait(frame)
            if taken == len(frame):
                return False
            frame = frame[taken:]
        self.make_frames()
        self._add(frame)
        return len(self._pieces) == 1

    def put_long(self, header: bytes, payload: bytes) -> bool:
        """`put` for a frame whose payload is too long to be copied behind its header."""
        self.make_frames()
        if self._pieces:
            self._add(header)
            self._add(payload)
            return not self.flush()
        self.is_fresh = True
        size = len(header) + len(payload)
        taken = self._stream.send_pieces_nowait((header, payload))
        if taken == size:
            return False
        self._pieces = _rest([header, payload], taken)
        self.size = size - taken
        return True

    def put_now(self, frame: bytes) -> bool:
        """`put` for a control frame: what was collected goes out before it, at once."""
        self.is_fresh = self.flush()
        self.texts = self.texts or []
        return self.put(frame)

    def flush(self) -> bool:
        """Hand on what was collected; whether all of it was taken."""
        self.is_fresh = True
        self.make_frames()
        if not self._pieces:
            return True
        pieces = _join(self._pieces)
        taken = self._stream.send_pieces_nowait(pieces)
        self._pieces = _rest(pieces, taken)
        self.size = sum(map(len, self._pieces))
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
