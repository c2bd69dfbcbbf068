"""What listens on a port: a task for each address, in a group that ends with it."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import anyio

from ..errors import LinkDropped, UsageError
from .network import NETWORK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anyio.abc import TaskGroup

    from .network import Acceptor
    from .stream import ByteStream

__all__ = ["Accepting"]


class Accepting(ABC):
    """The part of a server that accepts.

    Args:
        name: what it is, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._acceptors: Sequence[Acceptor] = ()

    @abstractmethod
    def _accepted(self, stream: ByteStream, peer: str, /) -> None:
        """A connection has come, from that address and port."""

    @property
    def port(self) -> int:
        """The port that is listened on."""
        if not self._acceptors:
            raise UsageError(f"{self._name} has no port: it is not entered, or left already")
        return self._acceptors[0].port

    async def _bind(self, host: str, port: int, *, user_timeout: float | None) -> None:
        self._acceptors = await NETWORK.get().listen_tcp(host, port, user_timeout=user_timeout)

    async def _start_accepting(self) -> None:
        self._group: TaskGroup = anyio.create_task_group()
        await self._group.__aenter__()
        for acceptor in self._acceptors:
            self._group.start_soon(self._accept, acceptor)

    def _stop_accepting(self) -> None:
        """Nothing is accepted any more, and what runs in the group is cancelled."""
        self._unbind()
        self._group.cancel_scope.cancel()

    def _unbind(self) -> None:
        for acceptor in self._acceptors:
            acceptor.close()
        self._acceptors = ()

    async def _accept(self, acceptor: Acceptor) -> None:
        with contextlib.suppress(LinkDropped):  # it was closed
            while True:
                self._accepted(*await acceptor.accept())
