"""Links without sockets: two byte streams, and a line between them that obeys its faults.

Nothing runs here. What is sent is kept with the time at which it is due, and the reader
takes it when that has come; so a link costs no task, and all of it is decided by the clock
and the seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from anyio import CancelScope
from anyio.lowlevel import checkpoint

from ..errors import LinkDropped
from ..transport.stream import CHUNK, closed, send_each_nowait
from ..transport.transit import UNKNOWN, Transit
from .faults import Ending
from .pipe import Pipe

if TYPE_CHECKING:
    from .faults import Faults
    from .passage import Passing

__all__ = ["MemoryLink", "MemoryStream"]

CAPACITY: Final = 65536  # bytes under way, each way; then the writer is held back

Seen = Callable[[int, str, "Passing"], None]


class MemoryStream:
    """A `ByteStream` to the other end of a `MemoryLink`.

    Attributes:
        incoming: what comes in.
        outgoing: what goes out.
        is_closed: by its owner.
        is_aborted: by its owner.
    """

    __slots__ = (
        "__weakref__",
        "_is_interrupted",
        "_link",
        "incoming",
        "is_aborted",
        "is_closed",
        "outgoing",
    )

    def __init__(self, link: MemoryLink, incoming: Pipe, outgoing: Pipe) -> None:
        self._link = link
        self.incoming: Pipe = incoming
        self.outgoing: Pipe = outgoing
        self._is_interrupted = False
        self.is_closed: bool = False
        self.is_aborted: bool = False

    def receive_nowait(self, most: int = CHUNK) -> bytes | None:
        """See `ByteStream`."""
        if self.is_closed:
            raise closed("receiving")
        self._link.expire()
        return self.incoming.take(most)

    def send_nowait(self, data: bytes | memoryview) -> int:
        """See `ByteStream`."""
        self._link.expire()
        pipe = self.outgoing
        if self._is_over():
            raise LinkDropped("the link broke while sending: broken pipe")
        room = pipe.capacity - pipe.size
        return self._link.carry(self, pipe, bytes(data[:room])) if room > 0 else 0

    def _is_over(self) -> bool:
        """Whether nothing can be sent any more."""
        return self.is_closed or self.incoming.is_reset or self.outgoing.ending is not None

    def send_pieces_nowait(self, pieces: Sequence[bytes | memoryview]) -> int:
        """See `ByteStream`."""
        return send_each_nowait(self, pieces)

    def is_readable(self) -> bool:
        """See `ByteStream`."""
        self._link.expire()
        return self.is_closed or self.incoming.ready_at() <= self.incoming.clock()

    def transit(self) -> Transit:
        """See `ByteStream`. What the peer has received has arrived, if the way back is open."""
        if self.incoming.line.is_frozen:
            return UNKNOWN
        return Transit(self.outgoing.received, self.outgoing.size)

    async def wait_readable(self) -> None:
        """See `ByteStream`."""
        pipe = self.incoming
        self._is_interrupted = False
        while not (self.is_readable() or self._is_interrupted):
            with CancelScope(deadline=min(pipe.ready_at(), self._link.expires)):
                await pipe.changed.wait()
        await checkpoint()
        if self.is_closed:
            raise closed("receiving")

    async def wait_writable(self) -> None:
        """See `ByteStream`."""
        pipe = self.outgoing
        while pipe.size >= pipe.capacity and not self._is_over():
            with CancelScope(deadline=min(self._link.expires, self.incoming.reset_at())):
                await pipe.changed.wait()
            self._link.expire()
        await checkpoint()
        if self.is_closed:
            raise closed("sending")

    def interrupt(self) -> None:
        """See `ByteStream`."""
        self._is_interrupted = True
        self.incoming.notify()

    def send_eof(self) -> None:
        """See `ByteStream`."""
        self.outgoing.end(Ending.FIN)

    def close(self) -> None:
        """See `ByteStream`."""
        self._close(Ending.RST if self.incoming.size else Ending.FIN)

    def abort(self) -> None:
        """See `ByteStream`."""
        if not self.is_closed:
            self.is_aborted = True
            self._close(Ending.RST)

    def _close(self, how: Ending) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.outgoing.end(how)
            self.incoming.notify()
            self.outgoing.notify()
            self._link.forget()


class MemoryLink:
    """A client and a server joined without sockets. Made by a `Network`.

    Attributes:
        client: the stream of the one who dialled.
        server: the stream of the one who accepted.
        number: counts the links of its network, from 1.
        opened_at: when, as a reading of `anyio.current_time`.
        expires: when the network ends it by itself.
    """

    __slots__ = (
        "__weakref__",
        "_down",
        "_drop_after",
        "_faults",
        "_is_silent",
        "_seen",
        "_up",
        "client",
        "expires",
        "number",
        "opened_at",
        "server",
    )

    def __init__(
        self,
        faults: Faults,
        random: Callable[[], float],
        *,
        number: int,
        capacity: int = CAPACITY,
        drop_after: float = math.inf,
        is_silent: bool = False,
        seen: Seen,
    ) -> None:
        self.number: int = number
        self._is_silent = is_silent  # nobody holds the server's end
        self._faults = faults
        self._seen = seen
        self._up = Pipe(faults.up, random, capacity)
        self._down = Pipe(faults.down, random, capacity)
        self._drop_after = drop_after
        self.client: MemoryStream = MemoryStream(self, self._down, self._up)
        self.server: MemoryStream = MemoryStream(self, self._up, self._down)
        self.opened_at: float = self._up.clock()
        self.expires: float = math.inf

    def carry(self, sender: MemoryStream, pipe: Pipe, data: bytes) -> int:
        """Send what a fault lets pass; how many bytes were taken."""
        passing = pipe.passage.measure(data)
        self._seen(self.number, "client" if sender is self.client else "server", passing)
        receiver = self.server if sender is self.client else self.client
        if receiver.is_closed:  # its system answers what comes for nobody with a reset
            sender.incoming.end(Ending.RST)
        else:
            pipe.put(passing.data)
        if pipe is self._down and self._drop_after < math.inf:
            self.expires = min(self.expires, pipe.clock() + self._drop_after)
        if passing.ending is not None:
            self._end(passing.ending, keeps=True)
        return len(data)

    def expire(self) -> None:
        """End it if its time has come."""
        if self.expires <= self._up.clock():
            self.expires = math.inf
            self.end(Ending.FIN)

    def end(self, how: Ending) -> None:
        """End it for both peers, whatever is under way."""
        self._end(how, keeps=False)

    def _end(self, how: Ending, *, keeps: bool) -> None:
        for pipe in (self._up, self._down):
            pipe.cut(how, keeps=keeps)

    def notify(self) -> None:
        """A line is otherwise now."""
        self._up.notify()
        self._down.notify()

    def forget(self) -> None:
        """Leave the network, if both ends are closed."""
        if self.client.is_closed and (self.server.is_closed or self._is_silent):
            self._faults.forget(self)
