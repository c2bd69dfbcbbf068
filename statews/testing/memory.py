"""Links without sockets: two byte streams, and a line between them that obeys its faults.

Nothing runs here. What is sent is kept with the time at which it is due, and the reader
takes it when that has come; so a link costs no task, and all of it is decided by the clock
and the seed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from anyio import CancelScope, Event
from anyio.lowlevel import checkpoint

from ..errors import LinkDropped
from ..transport.eventloop import loop_clock
from ..transport.stream import CHUNK, closed, send_each_nowait
from .faults import Ending
from .passage import Passage

if TYPE_CHECKING:
    from .faults import Faults, Line
    from .passage import Passing

__all__ = ["MemoryLink", "MemoryStream"]

CAPACITY: Final = 65536  # bytes under way, each way; then the writer is held back

Seen = Callable[[int, str, "Passing"], None]


class Pipe:
    """One way of a link: what was sent, and when it arrives.

    Attributes:
        size: bytes sent that nobody has received.
        ending: how it ends, behind everything that was sent; None: it does not.
        is_cut: the network itself has ended it: to that, a frozen line is no obstacle.
        changed: set when something is otherwise.
    """

    __slots__ = (
        "_arrives",
        "_ends",
        "_free",
        "_pieces",
        "capacity",
        "changed",
        "clock",
        "ending",
        "is_cut",
        "line",
        "passage",
        "random",
        "size",
    )

    def __init__(self, line: Line, random: Callable[[], float], capacity: int) -> None:
        self.line: Line = line
        self.random: Callable[[], float] = random
        self.capacity: int = capacity
        self.clock: Callable[[], float] = loop_clock()
        self.passage: Passage = Passage(line)
        self.size: int = 0
        self.ending: Ending | None = None
        self.is_cut: bool = False
        self.changed: Event = Event()
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._arrives = -math.inf  # when the last piece does: TCP keeps the order
        self._free = -math.inf  # when the line is done with what was sent
        self._ends = math.inf  # when the ending arrives

    def notify(self) -> None:
        """Wake whoever waits for a change."""
        self.changed.set()
        self.changed = Event()

    def put(self, data: bytes) -> None:
        """Send."""
        if data:
            self._pieces.append((self._due(len(data)), data))
            self.size += len(data)
            self.notify()

    def _due(self, size: int) -> float:
        now = self.clock()
        if self.line.bandwidth < math.inf:
            self._free = max(now, self._free) + size / self.line.bandwidth
            now = self._free
        self._arrives = max(self._arrives, now + self.line.delay(self.random))
        return self._arrives

    def end(self, how: Ending) -> None:
        """End behind what was sent. An orderly end may become a reset, and not the other way."""
        if self.ending is None or (how is Ending.RST and self.ending is Ending.FIN):
            self.ending = how
            self._ends = self._due(0)
            self.notify()

    def cut(self, how: Ending, *, keeps: bool) -> None:
        """End now, whatever is under way, or behind it."""
        if not keeps:
            self._pieces.clear()
            self.size = 0
        self.ending = how
        self.is_cut = not keeps
        self._ends = self._arrives if self._pieces else -math.inf
        self.notify()

    def take(self, most: int) -> bytes | None:
        """What has arrived: None: nothing has; `b""`: the end in an orderly way.

        Raises:
            LinkDropped: it was reset.
        """
        now = self.clock()
        if self.line.is_frozen and not self.is_cut:
            return None
        taken: list[bytes] = []
        pieces, room = self._pieces, most
        while pieces and room and pieces[0][0] <= now:
            due, data = pieces.popleft()
            taken.append(data[:room])
            if len(data) > room:
                pieces.appendleft((due, data[room:]))
            room -= len(taken[-1])
        if taken:
            self.size -= most - room
            self.notify()
            return b"".join(taken)
        if pieces or self.ending is None or self._ends > now:
            return None
        if self.ending is Ending.RST:
            raise LinkDropped("the link broke while receiving: connection reset by peer")
        return b""

    def ready_at(self) -> float:
        """When `take` has something to say; infinite if something must change before."""
        if self.line.is_frozen and not self.is_cut:
            return math.inf
        return self._pieces[0][0] if self._pieces else self._ends

    def reset_at(self) -> float:
        """When a reset arrives; infinite if none is on its way, or a frozen line holds it."""
        is_held = self.line.is_frozen and not self.is_cut
        return self._ends if self.ending is Ending.RST and not is_held else math.inf

    @property
    def is_reset(self) -> bool:
        """Whether a reset has arrived."""
        return self.reset_at() <= self.clock()


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
