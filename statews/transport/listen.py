"""The server half without sessions: a handler for each link."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from ..errors import UsageError
from ..policy import Policy
from ..protocol.frames import CloseCode
from .group import sort_out
from .link import Link
from .listener import Listener, TurnedAway, close

if TYPE_CHECKING:
    import ssl as _ssl
    from collections.abc import Sequence

__all__ = ["Handler", "listen"]

Handler = Callable[[Link], Awaitable[object]]

SERVICE_UNAVAILABLE: Final = 503
RETRY_AFTER: Final = "5"

logger: Final = logging.getLogger("statews.listen")


def listen(
    handler: Handler,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    policy: Policy | None = None,
    subprotocols: Sequence[str] = (),
    ssl: _ssl.SSLContext | None = None,
    max_connections: float = math.inf,
) -> Listener[object]:
    """A WebSocket server, which runs for as long as it is entered.

    Use it as `async with listen(...) as listener`. Leaving it stops accepting, cancels the
    handlers, and closes every link with 1001.

    Args:
        handler: gets each `Link` when it is open. The link is closed with 1000 when it returns,
            and with 1011 when it raises, which is logged.
        host: a name or an address; every address of it is bound.
        port: 0 lets the system choose; see `Listener.port`.
        policy: `timeouts`, `limits`, `heartbeat` and `deflate` apply to each link.
        subprotocols: spoken here, the preferred first.
        ssl: a server's context, for `wss://`.
        max_connections: of open links; one more is answered 503 with `Retry-After`.

    Raises:
        UsageError: an argument is wrong.
    """
    if not callable(handler):
        raise UsageError(f"expected handler to be an async function of a Link, got {handler!r}")
    policy = policy or Policy()
    return Listener(
        Handling(handler, policy).run,
        host,
        port,
        policy=policy,
        subprotocols=subprotocols,
        ssl=ssl,
        door=Capacity(max_connections),
    )


class Capacity:
    """A door that lets in so many at a time."""

    def __init__(self, most: float) -> None:
        self._most = most
        self._inside: set[object] = set()

    def enter(self, address: str) -> object:
        """See `Door`."""
        del address  # all are alike
        return object()

    async def wait_turn(self, visit: object, /) -> None:
        """See `Door`."""
        if len(self._inside) >= self._most:
            raise TurnedAway(SERVICE_UNAVAILABLE, "too many connections", RETRY_AFTER)
        self._inside.add(visit)

    def leave(self, visit: object, /) -> None:
        """See `Door`."""
        self._inside.discard(visit)


class Handling:
    """What `listen` does with each link."""

    def __init__(self, handler: Handler, policy: Policy) -> None:
        self._handler = handler
        self._policy = policy

    async def run(self, link: Link, _: object) -> None:
        """Run the handler with the link kept alive under it, then close."""
        code = CloseCode.GOING_AWAY  # unless the handler ends by itself
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(link.serve)
                code = await self._call_handler(link)
                group.cancel_scope.cancel()
        finally:
            await close(link, self._policy, code)

    async def _call_handler(self, link: Link) -> CloseCode:
        try:
            await self._handler(link)
        except Exception as error:  # noqa: BLE001 - a handler may raise anything
            return self._failed(link, error)
        except asyncio.CancelledError as error:
            await checkpoint_if_cancelled()
            return self._failed(link, error)  # it waited for what somebody else has cancelled
        except BaseException as error:
            failure, rest = sort_out(error)
            if failure is None or rest is None:
                raise
            self._failed(link, failure)
            raise rest from None
        return CloseCode.NORMAL

    def _failed(self, link: Link, error: BaseException) -> CloseCode:
        if error is link.ending:
            return CloseCode.NORMAL
        path = link.path.partition("?")[0]
        logger.error("the handler of %s failed", path, exc_info=error)
        return CloseCode.INTERNAL_ERROR
