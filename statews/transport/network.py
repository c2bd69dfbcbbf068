"""Where connections are made and taken: by the system, or in a network put in its place.

A test that wants no sockets makes `NETWORK` its own for the tasks it starts; the code
under test does not notice. See `statews.testing.Network`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Final, Protocol

from .accept import listen_tcp
from .stream import ByteStream
from .tcp import connect_tcp

__all__ = ["NETWORK", "SYSTEM", "Acceptor", "Network"]


class Acceptor(Protocol):  # pragma: no cover - nothing in it runs
    """An address on which connections are accepted."""

    @property
    def port(self) -> int:
        """Its port."""
        ...

    async def accept(self) -> tuple[ByteStream, str]:
        """The next connection, and the address of its peer.

        Raises:
            LinkDropped: `close` was called.
            OSError: nothing more will come.
        """
        ...

    def close(self) -> None:
        """Accept nothing more. May be called again."""


class Network(Protocol):  # pragma: no cover - nothing in it runs
    """What a client dials in and a server listens in.

    The environment's proxies are the system's: in no other network they are asked for.
    """

    async def connect_tcp(
        self,
        host: str,
        port: int,
        *,
        head_start: float,
        user_timeout: float | None,
        on_resolved: Callable[[], None],
    ) -> ByteStream:
        """See `statews.transport.tcp.connect_tcp`."""
        ...

    async def listen_tcp(
        self, host: str, port: int, *, user_timeout: float | None
    ) -> Sequence[Acceptor]:
        """See `statews.transport.accept.listen_tcp`."""
        ...


class _System:
    """The machine's own network."""

    connect_tcp = staticmethod(connect_tcp)
    listen_tcp = staticmethod(listen_tcp)


SYSTEM: Final[Network] = _System()
NETWORK: Final[ContextVar[Network]] = ContextVar("NETWORK", default=SYSTEM)
