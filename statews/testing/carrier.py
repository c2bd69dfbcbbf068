"""One connection through the proxy, carried both ways on a network with faults."""

from __future__ import annotations

import contextlib
import math
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

import anyio
from anyio import CancelScope, current_time
from typing_extensions import assert_never

from ..errors import LinkDropped
from ..transport.stream import receive, send

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from ..transport.stream import SocketStream

__all__ = ["Carrier", "Ending", "Network"]

CHUNK: Final = 16384  # bytes a read asks for
CHUNKS_HELD: Final = 64  # under way in one direction; then the writer is held back
SLICE: Final = 0.05  # seconds of a slow line that are sent at once
FAREWELL: Final = 1.0  # seconds that a peer has to answer the end of its connection

Piece = tuple[float, bytes]  # when it is due, and what it is; nothing is the end


class Network(Protocol):
    """What a connection is carried on; it may change at any time."""

    latency: float
    bandwidth: float

    async def wait_flowing(self) -> None:
        """Return when bytes pass. Does not yield if that is now."""

    async def dial(self) -> SocketStream:
        """A connection to the server.

        Raises:
            OSError: there is none.
        """
        ...


class Ending(Enum):
    """How a connection through the proxy ends, seen from both its peers."""

    FIN = "both are told that nothing more will come"
    RST = "both are reset"


class Carrier:
    """One connection through the proxy: a reader and a writer for each way.

    Args:
        network: what it suffers from.
        client: what was accepted.
        drop_after: seconds from the server's first bytes to the end.
    """

    def __init__(self, network: Network, client: SocketStream, drop_after: float) -> None:
        self._network = network
        self._streams = [client]
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
        await self._network.wait_flowing()
        try:
            server = await self._network.dial()
        except OSError:
            self.end(Ending.RST)
            return
        (client,) = self._streams
        self._streams.append(server)
        async with anyio.create_task_group() as group:
            for source, sink in ((client, server), (server, client)):
                taken, given = anyio.create_memory_object_stream[Piece](CHUNKS_HELD)
                deadline = self._drop_after if sink is client else math.inf
                group.start_soon(self._read, source, taken)
                group.start_soon(self._write, sink, given, deadline)

    async def _read(self, source: SocketStream, taken: MemoryObjectSendStream[Piece]) -> None:
        """Take in what comes."""
        with taken:
            while True:
                try:
                    await source.wait_readable()
                    await self._network.wait_flowing()
                    data = source.receive_nowait(CHUNK)
                except LinkDropped:
                    return  # without an end: the writer takes it for the reset it is
                if data is None:
                    continue
                await taken.send((current_time() + self._network.latency, data))
                if not data:
                    return

    async def _write(
        self,
        sink: SocketStream,
        given: MemoryObjectReceiveStream[Piece],
        drop_after: float,
    ) -> None:
        """Hand on what is due, as fast as the line is."""
        with given:
            async for due, data in given:
                await anyio.sleep_until(due)
                await self._network.wait_flowing()
                if not data:
                    sink.send_eof()
                    return
                try:
                    await self._send(sink, data)
                except LinkDropped:
                    break
                self._scope.deadline = min(self._scope.deadline, current_time() + drop_after)
            else:
                await self._network.wait_flowing()
            self.end(Ending.RST)

    async def _send(self, sink: SocketStream, data: bytes) -> None:
        view = memoryview(data)
        while view:
            bandwidth = self._network.bandwidth
            size = len(view) if bandwidth == math.inf else max(1, int(bandwidth * SLICE))
            piece, view = view[:size], view[size:]
            if bandwidth < math.inf:
                await anyio.sleep(len(piece) / bandwidth)
                await self._network.wait_flowing()
            await send(sink, bytes(piece))

    async def _say_farewell(self) -> None:
        """FIN, and time to answer it: to close with bytes unread would be a reset."""
        with anyio.move_on_after(FAREWELL):
            async with anyio.create_task_group() as group:
                for stream in self._streams:
                    group.start_soon(_finish, stream)


async def _finish(stream: SocketStream) -> None:
    stream.send_eof()
    with contextlib.suppress(LinkDropped):
        while await receive(stream):
            pass
