"""A TCP proxy that is a bad network on request: slow, cut, half-open, or with nobody there.

What is not broken on purpose is carried faithfully: an end goes on as an end, a reset as a
reset, and a reader that does not read holds the writer back.
"""

from __future__ import annotations

import contextlib
import logging
import math
import socket
from typing import TYPE_CHECKING, Final

import anyio

from ..errors import LinkDropped, UsageError
from ..transport.accept import TCPAcceptor, bind
from ..transport.group import leave
from ..transport.stream import tune
from ..transport.tcp import connect_socket
from .carrier import Carrier, CarrierStream
from .faults import Entry, Faults

if TYPE_CHECKING:
    from types import TracebackType

    from anyio.abc import TaskGroup
    from typing_extensions import Self

__all__ = ["FaultProxy"]

logger: Final = logging.getLogger("statews.testing")

HOST: Final = "127.0.0.1"


class FaultProxy(Faults):
    """A TCP proxy whose faults change while it runs.

    Use it as `async with FaultProxy(port=server_port) as proxy`, and connect to `proxy.port`.
    Leaving it ends every connection. It needs real time: see `Network` for virtual time.

    Args:
        host: of the server, an IPv4 address.
        port: of the server.
        listen_port: where to listen, on 127.0.0.1; 0 lets the system choose.
        seed: of what is left to chance.
    """

    def __init__(
        self, host: str = HOST, *, port: int, listen_port: int = 0, seed: int = 0
    ) -> None:
        super().__init__(seed=seed)
        self._server = (host, port)
        self._wanted_port = listen_port
        self._socket: socket.socket | None = None

    def __repr__(self) -> str:
        return f"<FaultProxy {self.entry.name.lower()}, {self.links} connections>"

    @property
    def port(self) -> int:
        """Where to connect to, on 127.0.0.1; it stays the same."""
        if self._socket is None:
            raise UsageError("the proxy has no port: it is not entered, or left already")
        port: int = self._socket.getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        """Start accepting.

        Raises:
            OSError: the port is not to be had.
        """
        self._socket = bind(HOST, self._wanted_port)
        self._group: TaskGroup = anyio.create_task_group()
        await self._group.__aenter__()
        if self.entry is not Entry.REFUSE:
            self._listen(self._socket)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End everything."""
        self._group.cancel_scope.cancel()
        try:
            await leave(self._group, exc)
        finally:
            self._unbind()

    def _enter(self, entry: Entry) -> None:
        left = self.entry
        super()._enter(entry)
        if self._socket is None:
            return  # entering does it
        if entry is Entry.REFUSE and left is not Entry.REFUSE:
            port = self.port
            self._unbind()
            self._socket = bind(HOST, port)  # without listening: the port stays ours, and refuses
        elif left is Entry.REFUSE and entry is not Entry.REFUSE:
            self._listen(self._socket)

    def _changed(self, what: str) -> None:
        logger.info("%s", what)

    def _listen(self, sock: socket.socket) -> None:
        self._group.start_soon(self._serve, TCPAcceptor(sock, wrap=CarrierStream))

    def _unbind(self) -> None:
        if self._socket is not None:
            anyio.notify_closing(self._socket)
            self._socket.close()
            self._socket = None

    async def _serve(self, acceptor: TCPAcceptor) -> None:
        with contextlib.suppress(LinkDropped):  # it was closed
            while True:
                client, _ = await acceptor.accept()
                self._count_accepted()
                assert isinstance(client, CarrierStream)  # noqa: S101 - `_listen` has said so
                self._group.start_soon(self._carry, client, self._admit())

    async def _carry(self, client: CarrierStream, entry: Entry) -> None:
        """One connection, from accept to the end of both halves."""
        if entry is Entry.RESET:
            client.abort()
            return
        link = Carrier(
            self,
            client,
            None if entry is Entry.SILENT else self.dial,
            random=self._random,
            drop_after=self._drop_after if entry is Entry.DROP else math.inf,
        )
        self.adopt(link)
        try:
            await link.run()
        finally:
            self.forget(link)

    async def dial(self) -> CarrierStream:
        """A connection to the server.

        Raises:
            OSError: there is none.
        """
        sock = await connect_socket(socket.AF_INET, self._server)
        tune(sock, None)
        return CarrierStream(sock)
