"""A network of memory: what is dialled and served in it needs no sockets, and no real time.

    network = Network(seed=1)
    with network:
        async with statews.listen(handler, "example.org", 80):
            async with statews.connect("ws://example.org/") as connection:
                network.freeze()

Everything `statews` dials or serves in that block, and in tasks started in it, does so here.
It has the faults of a `FaultProxy`. Under `statews.testing.run` all that happens in it is
decided by the seed, and written down in `trace`.
"""

from __future__ import annotations

import errno
import math
from collections import deque
from collections.abc import Callable
from contextvars import Token
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio
from anyio import Event, current_time

from ..errors import DialError
from ..transport import network as seam
from ..transport.stream import closed
from .faults import Entry, Faults, wait_flowing
from .memory import CAPACITY, MemoryLink, MemoryStream
from .passage import Passing
from .trace import Trace

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["Dial", "MemoryAcceptor", "Network"]

FIRST_PORT: Final = 49152  # of those for short use (RFC 6335 section 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """An attempt to connect.

    Attributes:
        at: when, as a reading of `anyio.current_time`.
        host: where to.
        port: where to.
    """

    at: float
    host: str
    port: int


class MemoryAcceptor:
    """An address of a `Network` on which connections are accepted."""

    def __init__(self, network: Network, address: tuple[str, int]) -> None:
        self._network = network
        self._address = address
        self._waiting: deque[MemoryLink] = deque()
        self._changed = Event()
        self._is_closed = False

    @property
    def port(self) -> int:
        """Its port."""
        return self._address[1]

    def offer(self, link: MemoryLink) -> None:
        """A connection has come."""
        self._waiting.append(link)
        self._changed.set()

    async def accept(self) -> tuple[MemoryStream, str]:
        """The next connection, and the name of its peer.

        Raises:
            LinkDropped: `close` was called.
        """
        await anyio.lowlevel.checkpoint()
        while not self._waiting:
            if self._is_closed:
                raise closed("accepting")
            self._changed = Event()
            await self._changed.wait()
        link = self._waiting.popleft()
        return link.server, f"client {link.number}"

    def close(self) -> None:
        """Accept nothing more; who waits to be accepted is reset."""
        self._is_closed = True
        self._network.release(self._address)
        while self._waiting:
            self._waiting.popleft().server.abort()
        self._changed.set()


class Network(Faults):
    """Hosts, ports and links in memory.

    Args:
        seed: of latencies, losses and other things left to chance.
        capacity: bytes under way each way of a link; then the writer is held back.
        trace: where to write what happens; None: into one of its own.

    Attributes:
        dials: every attempt to connect, the oldest first.
        living: the links there are, the oldest first.
    """

    def __init__(
        self, *, seed: int = 0, capacity: int = CAPACITY, trace: Trace | None = None
    ) -> None:
        super().__init__(seed=seed)
        self.capacity: int = capacity
        self.trace: Trace = Trace() if trace is None else trace
        self.dials: list[Dial] = []
        self._acceptors: dict[tuple[str, int], MemoryAcceptor] = {}
        self._tokens: list[Token[seam.Network]] = []
        self._next_port = FIRST_PORT

    def __enter__(self) -> Self:
        """Take the place of the system's network, for this task and those it starts."""
        self._tokens.append(seam.NETWORK.set(self))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give it back."""
        seam.NETWORK.reset(self._tokens.pop())

    @property
    def living(self) -> list[MemoryLink]:
        """The links that somebody still holds."""
        return [link for link in self._links if isinstance(link, MemoryLink)]

    # The seam.

    async def connect_tcp(
        self,
        host: str,
        port: int,
        *,
        on_resolved: Callable[[], None] = lambda: None,
        **_: float | None,
    ) -> MemoryStream:
        """A link to whoever listens there; it takes as long as the lines are slow.

        Raises:
            DialError: nobody does.
        """
        on_resolved()
        self.dials.append(Dial(at=current_time(), host=host, port=port))
        for line in (self.up, self.down):
            await wait_flowing(line)
            await anyio.sleep(line.delay(self._random))
        entry = self._admit()
        acceptor = self._acceptors.get(_address(host, port), self._acceptors.get(("", port)))
        if entry is Entry.REFUSE or (acceptor is None and entry is not Entry.SILENT):
            self.trace.note("client", f"-> {host}:{port} refused")
            raise DialError(f"could not connect to {host} port {port}: connection refused")
        return self._open(host, port, entry, acceptor)

    def _open(
        self, host: str, port: int, entry: Entry, acceptor: MemoryAcceptor | None
    ) -> MemoryStream:
        self._count_accepted()
        link = MemoryLink(
            self,
            self._random,
            number=self.accepted,
            capacity=self.capacity,
            drop_after=self._drop_after if entry is Entry.DROP else math.inf,
            is_silent=entry is Entry.SILENT,
            seen=self._write_down,
        )
        self.adopt(link)
        self.trace.note(f"client {link.number}", f"-> {host}:{port} connected")
        if entry is Entry.RESET:
            link.server.abort()
        elif acceptor is not None and entry is not Entry.SILENT:
            acceptor.offer(link)
        return link.client

    async def listen_tcp(
        self, host: str, port: int, *, user_timeout: float | None = None
    ) -> list[MemoryAcceptor]:
        """An address of this network.

        Raises:
            OSError: somebody listens there already.
        """
        del user_timeout  # of TCP's, which is not here
        await anyio.lowlevel.checkpoint()
        if not port:
            port, self._next_port = self._next_port, self._next_port + 1
        address = _address(host, port)
        if address in self._acceptors:
            raise OSError(errno.EADDRINUSE, f"{host}:{port} is in use already")
        acceptor = self._acceptors[address] = MemoryAcceptor(self, address)
        return [acceptor]

    def release(self, address: tuple[str, int]) -> None:
        """Nobody listens there any more."""
        self._acceptors.pop(address, None)

    # What is seen.

    def _write_down(self, number: int, who: str, passing: Passing) -> None:
        sender = f"{who} {number}"
        if passing.head:
            self.trace.note(sender, passing.head.partition(b"\r\n")[0].decode(errors="replace"))
        for frame in passing.frames:
            self.trace.note(sender, str(frame))
        if passing.ending is not None:
            self.trace.note(
                "network", f"link {number} is cut in what {who} sends ({passing.ending.name})"
            )

    def _changed(self, what: str) -> None:
        self.trace.note("network", what)
        for link in self.living:
            link.notify()


def _address(host: str, port: int) -> tuple[str, int]:
    """A host by its one name: `""` for every host, and this machine has many names."""
    host = host.lower()
    if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - nothing is bound
        return "", port
    return "127.0.0.1" if host in {"localhost", "::1"} else host, port
