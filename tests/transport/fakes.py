"""Byte streams that are difficult on purpose."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat

from anyio.lowlevel import checkpoint

from statews import LinkDropped
from statews.transport.stream import CHUNK, ByteStream, SocketStream, send_each_nowait
from statews.transport.transit import UNKNOWN, Transit

Make = Callable[[socket.socket], SocketStream]


def socket_pair(make: Make = SocketStream) -> tuple[SocketStream, SocketStream]:
    """The two ends of a connection. What one sends is with the other at once."""
    one, other = socket.socketpair()
    return make(one), make(other)


class Throttle:
    """Takes so many bytes at a time of what is sent: one of `sizes` for each call, then all."""

    def __init__(self, inner: ByteStream, sizes: Iterable[int]) -> None:
        self._inner = inner
        self._sizes: Iterator[int] = iter(sizes)

    def receive_nowait(self, most: int = CHUNK) -> bytes | None:
        return self._inner.receive_nowait(most)

    def send_nowait(self, data: bytes | memoryview) -> int:
        size = next(self._sizes, len(data))
        return self._inner.send_nowait(memoryview(data)[:size]) if size else 0

    def send_pieces_nowait(self, pieces: Sequence[bytes | memoryview]) -> int:
        return send_each_nowait(self, pieces)

    def is_readable(self) -> bool:
        return self._inner.is_readable()

    def transit(self) -> Transit:
        return self._inner.transit()

    async def wait_readable(self) -> None:
        await self._inner.wait_readable()

    async def wait_writable(self) -> None:
        await checkpoint()

    def interrupt(self) -> None:
        self._inner.interrupt()

    def send_eof(self) -> None:
        self._inner.send_eof()

    def close(self) -> None:
        self._inner.close()

    def abort(self) -> None:
        self._inner.abort()


class Sink:
    """Keeps the pieces it is sent: of each as much as the next of `sizes` says, then all of it.

    A size below 0 breaks it.
    """

    def __init__(self, sizes: Iterable[int] = ()) -> None:
        self._sizes = iter(sizes)
        self.pieces: list[bytes] = []
        self.handed: list[bytes | memoryview] = []  # the objects themselves, copied or not

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def send_nowait(self, data: bytes | memoryview) -> int:
        size = next(self._sizes, len(data))
        if size < 0:
            raise LinkDropped("the link broke while sending: by request")
        self.handed.append(data)
        self.pieces.append(bytes(data[:size]))
        return min(size, len(data))

    def send_pieces_nowait(self, pieces: Sequence[bytes | memoryview]) -> int:
        return send_each_nowait(self, pieces)

    def receive_nowait(self, most: int = CHUNK) -> bytes | None:
        """A flood: there is always something."""
        return bytes(most)

    def is_readable(self) -> bool:
        return True

    def transit(self) -> Transit:
        return UNKNOWN

    async def wait_readable(self) -> None:
        await checkpoint()

    async def wait_writable(self) -> None:
        await checkpoint()

    def interrupt(self) -> None: ...

    def send_eof(self) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


NOTHING = repeat(0)
