"""The server's side of each connection: it is let in, shaken hands with and attended to."""

from __future__ import annotations

import contextlib
import logging
import ssl as _ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Generic, Protocol

import anyio
from typing_extensions import TypeVar

from ..errors import DialError, LinkDropped, LinkError, PeerError, UsageError
from ..policy import Policy
from ..protocol.frames import CloseCode
from ..protocol.handshake import Opened, Refusal, ServerHandshake
from .accepting import Accepting
from .crew import make_crew
from .group import leave
from .link import Link
from .stream import receive, send
from .tls import secure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from typing_extensions import Self

    from .stream import ByteStream

__all__ = ["Door", "Listener", "TurnedAway", "close"]

FAREWELL: Final = 1.0  # seconds that a refused peer has to read why

logger: Final = logging.getLogger("statews.listen")


def _check(port: int, ssl: _ssl.SSLContext | None) -> None:
    if not 0 <= port <= 0xFFFF:
        raise UsageError(f"expected a port between 0 and 65535, got {port}")
    if ssl is not None and ssl.protocol is _ssl.PROTOCOL_TLS_CLIENT:
        raise UsageError("expected a server's SSLContext, got a client's")


class TurnedAway(LinkError):
    """A connection is not let in now.

    Attributes:
        status: the HTTP status that it is answered with.
        why: the reason, in words.
        retry_after: when to come again, as the header says it.
    """

    def __init__(self, status: int, why: str, retry_after: str) -> None:
        super().__init__(f"refused with {status}: {why}")
        self.status = status
        self.why = why
        self.retry_after = retry_after


Visit = TypeVar("Visit", default=object)
Guest = TypeVar("Guest", default=object)


class Door(Protocol[Visit]):
    """What decides which connections become links, and when."""

    def enter(self, address: str) -> Visit:
        """A connection was accepted from that address."""
        ...

    async def wait_turn(self, visit: Visit, /) -> None:
        """Return when its opening handshake may be answered with 101.

        Raises:
            TurnedAway: it may not.
        """
        ...

    def leave(self, visit: Visit, /) -> None:
        """It has ended, however far it came."""
        ...


def _nobody_leaves(guest: object, link: Link) -> None:
    """No link is left to the listener."""


async def close(link: Link, policy: Policy, code: int = CloseCode.GOING_AWAY) -> None:
    """The closing handshake of a link, within its deadline, whoever is cancelled."""
    with anyio.move_on_after(policy.timeouts.closing, shield=True):
        await link.close(code)


class Listener(Accepting, Generic[Visit, Guest]):
    """A running server. Made by `listen`.

    Args:
        attend: runs one link, from the end of the upgrade to the end of TCP; or returns early
            who its guest is, and leaves the link to the listener.
        leave: called with that guest, and a link of which nothing more comes.
        host, port, policy, subprotocols, ssl: see `listen`.
        door: decides who comes in.
    """

    def __init__(
        self,
        attend: Callable[[Link, Visit], Awaitable[Guest | None]],
        host: str,
        port: int,
        *,
        policy: Policy,
        subprotocols: Sequence[str],
        ssl: _ssl.SSLContext | None,
        door: Door[Visit],
        leave: Callable[[Guest, Link], None] = _nobody_leaves,
    ) -> None:
        _check(port, ssl)
        super().__init__("the listener")
        self._attend = attend
        self._leave = leave
        self._host = host
        self._wanted_port = port
        self._policy = policy
        self._subprotocols = subprotocols
        self._ssl = ssl
        self._door = door
        self._handshake()  # refuses subprotocols that are none
        self._links: set[Link] = set()
        self._empty = anyio.Event()

    def __repr__(self) -> str:
        return f"<Listener {self._host} with {self.connections} connections>"

    @property
    def connections(self) -> int:
        """How many links are open now."""
        return len(self._links)

    async def wait_empty(self) -> None:
        """Return when there are no links."""
        while self._links:
            await self._empty.wait()

    async def __aenter__(self) -> Self:
        """Bind and start accepting.

        Raises:
            OSError: the address is not to be had.
        """
        heartbeat = self._policy.heartbeat
        await self._bind(
            self._host,
            self._wanted_port,
            user_timeout=None if heartbeat is None else heartbeat.interval + heartbeat.timeout,
        )
        self._crew = make_crew()
        await self._crew.enter()
        await self._start_accepting()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop: nothing is accepted any more, and every link is closed with 1001."""
        self._stop_accepting()
        self._call_off()
        try:
            await leave(self._group, exc)
        finally:
            self._call_off()  # those that were being welcomed
            await self._crew.leave()

    def _call_off(self) -> None:
        for link in self._links:
            link.call_off()

    def _accepted(self, stream: ByteStream, peer: str, /) -> None:
        self._group.start_soon(self._run, stream, peer)

    async def _run(self, stream: ByteStream, peer: str) -> None:
        """One connection, from its accept. Whatever it does, the others go on."""
        visit = self._door.enter(peer.rpartition(":")[0])
        link: Link | None = None
        guest: Guest | None = None
        try:
            link = await self._open(stream, visit)
            self._links.add(link)
            guest = await self._attend(link, visit)
        except (LinkError, PeerError) as error:
            logger.info("%s: %s", peer, error)
        except Exception:
            logger.exception("the link to %s failed", peer)
        finally:
            if link is None or guest is None:
                self._release(stream, visit, link)
            else:
                self._crew.start(self._keep, link, guest, stream, visit)

    async def _keep(self, link: Link, guest: Guest, stream: ByteStream, visit: Visit) -> None:
        """Run a link to the end of TCP, which comes when it is called off as well."""
        try:
            try:
                await link.serve()
            finally:
                self._leave(guest, link)
                await close(link, self._policy)
        except Exception:
            logger.exception("a link failed")
        finally:
            self._release(stream, visit, link)

    def _release(self, stream: ByteStream, visit: Visit, link: Link | None) -> None:
        if link is not None:
            self._links.discard(link)
            if not self._links:
                self._empty.set()
                self._empty = anyio.Event()
        self._door.leave(visit)
        stream.close()

    async def _open(self, stream: ByteStream, visit: Visit) -> Link:
        """The opening handshake, answered in any case, within its deadline."""
        opening = self._policy.timeouts.opening
        with anyio.move_on_after(opening):
            if self._ssl is not None:
                stream = await secure(stream, self._ssl, hostname=None, server_side=True)
            response, opened = await self._agree(stream, visit)
            await send(stream, response)
            return Link(stream, opened, self._policy)
        raise DialError(f"no opening handshake within {opening:g} seconds")

    def _handshake(self) -> ServerHandshake:
        return ServerHandshake(
            subprotocols=self._subprotocols,
            deflate=self._policy.deflate,
            limits=self._policy.limits,
        )

    async def _agree(self, stream: ByteStream, visit: Visit) -> tuple[bytes, Opened]:
        """What the client asks for, and the answer to it. A refusal is sent here."""
        handshake = self._handshake()
        try:
            request = None
            while request is None:
                request = handshake.feed(await receive(stream))
            agreed = handshake.accept(request)
        except Refusal as refusal:
            await _refuse(stream, refusal.response)
            raise
        try:
            await self._door.wait_turn(visit)
        except TurnedAway as away:
            headers = {"Retry-After": away.retry_after}
            await _refuse(stream, handshake.refuse(away.status, away.why, headers))
            raise
        return agreed


async def _refuse(stream: ByteStream, response: bytes) -> None:
    """Answer, and leave the peer time to read the answer: a close with unread bytes is a reset."""
    with contextlib.suppress(LinkDropped), anyio.move_on_after(FAREWELL):
        await send(stream, response)
        stream.send_eof()
        while await receive(stream):
            pass
