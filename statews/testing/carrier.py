"""One connection through the proxy, carried both ways on a network with faults."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Final

import anyio
from anyio import CancelScope, current_time
from typing_extensions import assert_never

from ..errors import LinkDropped
from ..transport.stream import SocketStream, receive, send
from .faults import Ending, wait_flowing
from .passage import Passage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from .faults import Faults, Line

__all__ = ["Carrier", "CarrierStream"]

CHUNK: Final = 16384  # bytes a read asks for
CHUNKS_HELD: Final = 64  # under way in one direction; then the writer is held back
SLICE: Final = 0.05  # seconds of a slow line that are sent at once
FAREWELL: Final = 1.0  # seconds that a peer has to answer the end of its connection
DELIVERY: Final = 10.0  # seconds that a peer has to take what comes before a cut
POLL: Final = 0.005  # seconds between two looks at what was acknowledged

Piece = tuple[float, bytes]  # when it is due, and what it is; nothing is the end


class CarrierStream(SocketStream):
    """A connection that knows whether what was sent has reached the peer's system."""

    __slots__ = ()

    def is_delivered(self) -> bool:
        """Whether a reset would lose nothing; where the system does not tell, it is hoped."""
        return not self.transit().under_way


class Carrier:
    """One connection through the proxy: a reader and a writer for each way.

    Args:
        faults: what it suffers from.
        client: what was accepted.
        dial: connects to the server; None: nothing is ever said to the client.
        random: draws from [0, 1), for what is left to chance.
        drop_after: seconds from the server's first bytes to the end.
    """

    def __init__(
        self,
        faults: Faults,
        client: CarrierStream,
        dial: Callable[[], Awaitable[CarrierStream]] | None,
        *,
        random: Callable[[], float],
        drop_after: float,
    ) -> None:
        self._faults = faults
        self._streams = [client]
        self._dial = dial
        self._random = random
        self._drop_after = drop_after
        self._ending = Ending.FIN
        self._scope = CancelScope()

    def end(self, how: Ending) -> None:
        """End both halves."""
        self._ending = how
        self._scope.cancel()

    async def run(self) -> None:
        """Carry until both peers have ended their half, or the connection is broken."""
        try:
            with self._scope:
                await self._carry()
            match self._ending:
                case Ending.RST:
                    for stream in self._streams:
                        stream.abort()
                case Ending.FIN:
                    await self._say_farewell()
                case _:
                    assert_never(self._ending)
        finally:
            for stream in self._streams:
                stream.close()

    async def _carry(self) -> None:
        (client,) = self._streams
        if self._dial is None:
            await _discard(client)
            return
        await self._faults.wait_flowing()
        try:
            server = await self._dial()
        except OSError:
            self.end(Ending.RST)
            return
        self._streams.append(server)
        up, down = self._faults.up, self._faults.down
        async with anyio.create_task_group() as group:
            for source, sink, line in ((client, server, up), (server, client, down)):
                taken, given = anyio.create_memory_object_stream[Piece](CHUNKS_HELD)
                deadline = self._drop_after if sink is client else math.inf
                group.start_soon(self._read, source, line, taken)
                group.start_soon(self._write, sink, line, given, deadline)

    async def _read(
        self, source: CarrierStream, line: Line, taken: MemoryObjectSendStream[Piece]
    ) -> None:
        """Take in what comes."""
        due = 0.0
        with taken:
            while True:
                try:
                    await source.wait_readable()
                    await wait_flowing(line)
                    data = source.receive_nowait(CHUNK)
                except LinkDropped:
                    return  # without an end: the writer takes it for the reset it is
                if data is None:
                    continue
                due = max(due, current_time() + line.delay(self._random))  # TCP keeps the order
                await taken.send((due, data))
                if not data:
                    return

    async def _write(
        self,
        sink: CarrierStream,
        line: Line,
        given: MemoryObjectReceiveStream[Piece],
        drop_after: float,
    ) -> None:
        """Hand on what is due, as fast as the line is."""
        passage = Passage(line)
        with given:
            async for due, data in given:
                await anyio.sleep_until(due)
                await wait_flowing(line)
                if not data:
                    sink.send_eof()
                    return
                passing = passage.measure(data)
                try:
                    await self._send(sink, line, passing.data)
                except LinkDropped:
                    break
                if passing.ending is not None:
                    await _wait_delivered(sink)
                    self.end(passing.ending)
                    return
                self._scope.deadline = min(self._scope.deadline, current_time() + drop_after)
            else:
                await wait_flowing(line)
            self.end(Ending.RST)

    async def _send(self, sink: CarrierStream, line: Line, data: bytes) -> None:
        view = memoryview(data)
        while view:
            bandwidth = line.bandwidth
            size = len(view) if bandwidth == math.inf else max(1, int(bandwidth * SLICE))
            piece, view = view[:size], view[size:]
            if bandwidth < math.inf:
                await anyio.sleep(len(piece) / bandwidth)
                await wait_flowing(line)
            await send(sink, bytes(piece))

    async def _say_farewell(self) -> None:
        """FIN, and time to answer it: to close with bytes unread would be a reset."""
        with anyio.move_on_after(FAREWELL):
            async with anyio.create_task_group() as group:
                for stream in self._streams:
                    group.start_soon(_finish, stream)


async def _wait_delivered(stream: CarrierStream) -> None:
    """A reset throws away what the peer's system has not taken: not what passes before a cut."""
    with anyio.move_on_after(DELIVERY):
        while not stream.is_delivered():  # noqa: ASYNC110 - the system tells nobody
            await anyio.sleep(POLL)


async def _finish(stream: SocketStream) -> None:
    stream.send_eof()
    await _discard(stream)


async def _discard(stream: SocketStream) -> None:
    """Read to the end."""
    with contextlib.suppress(LinkDropped):
        while await receive(stream):
            pass
