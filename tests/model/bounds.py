"""How far a search goes: how many messages, links and faults there are, and which server."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

__all__ = ["FULL", "SMALL", "WIDE", "Bounds", "Handler", "Server"]


class Server(Enum):
    """Where a newer link of a session arrives."""

    ONE_PROCESS = auto()
    """The newer link can wait until the older link's handler has ended."""

    SEVERAL_PROCESSES = auto()
    """The newer link knows nothing of the older one: only the fence stands between them."""


class Handler(Enum):
    """How the server's application handles a message."""

    PLAIN = auto()
    """It acts first and commits the position afterwards: a fault may come in between."""

    TRANSACTIONAL = auto()
    """It commits its effect and the position in one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """One configuration of the search.

    Attributes:
        name: what the configuration is about.
        client_messages: how many messages the client's application sends.
        server_messages: how many messages the server's application sends.
        window: how many messages a peer may have unhandled.
        log_messages: how many messages the server's log retains.
        links: how many links the client opens.
        drops: how many links are lost.
        server_crashes: how often the server's processes die; the store survives.
        client_crashes: how often the client's process dies; its outbox is on disk.
        store_regressions: how often the store goes back to a snapshot, as a failover does.
        outbox_restores: how often the client's disk goes back to a backup.
        server: one process or several.
        handler: of the server's application.
    """

    name: str
    client_messages: int = 0
    server_messages: int = 0
    window: int = 2
    log_messages: int = 9
    links: int = 3
    drops: int = 0
    server_crashes: int = 0
    client_crashes: int = 0
    store_regressions: int = 0
    outbox_restores: int = 0
    server: Server = Server.ONE_PROCESS
    handler: Handler = Handler.PLAIN


_ALL: Final = (
    Bounds(name="to-server", client_messages=2, drops=2),
    Bounds(name="server-crash", client_messages=2, drops=1, server_crashes=1),
    Bounds(
        name="server-crash-transactional",
        client_messages=2,
        drops=1,
        server_crashes=1,
        handler=Handler.TRANSACTIONAL,
    ),
    Bounds(name="client-crash", client_messages=2, drops=1, client_crashes=1),
    Bounds(name="processes", client_messages=2, drops=2, server=Server.SEVERAL_PROCESSES),
    Bounds(
        name="processes-transactional",
        client_messages=2,
        drops=2,
        server=Server.SEVERAL_PROCESSES,
        handler=Handler.TRANSACTIONAL,
    ),
    Bounds(name="to-client", server_messages=2, drops=2),
    Bounds(name="to-client-crashes", server_messages=2, server_crashes=1, client_crashes=1),
    Bounds(name="gaps", server_messages=3, window=3, log_messages=1, links=2, drops=1),
    Bounds(
        name="both-ways-crashes",
        client_messages=1,
        server_messages=1,
        drops=1,
        server_crashes=1,
        client_crashes=1,
    ),
    Bounds(
        name="both-ways-processes",
        client_messages=1,
        server_messages=1,
        drops=2,
        server=Server.SEVERAL_PROCESSES,
    ),
    Bounds(name="store-back-to-server", client_messages=2, links=2, drops=1, store_regressions=1),
    Bounds(
        name="store-back-to-client",
        server_messages=3,
        window=3,
        links=2,
        drops=1,
        store_regressions=1,
    ),
    Bounds(name="outbox-back", client_messages=3, window=3, drops=1, outbox_restores=1),
)

FULL: Final = {bounds.name: bounds for bounds in _ALL}

# For each run of the tests: less of what has the most states.
SMALL: Final = {
    bounds.name: bounds
    for bounds in (
        *_ALL,
        replace(FULL["processes-transactional"], drops=1),
        replace(FULL["both-ways-crashes"], drops=0),
        replace(FULL["both-ways-processes"], drops=1),
        replace(FULL["store-back-to-client"], server_messages=2),
        replace(FULL["outbox-back"], client_messages=2),
    )
}

# For a search that may take minutes: one more link and one more loss of a link or, where that
# would be too much, one more message.
WIDE: Final = {
    bounds.name: bounds
    for bounds in (
        *(replace(bounds, links=bounds.links + 1, drops=bounds.drops + 1) for bounds in _ALL),
        replace(FULL["gaps"], server_messages=5, window=2, links=3, drops=2),
        replace(FULL["processes"], client_messages=3),
        replace(FULL["processes-transactional"], client_messages=3),
        replace(FULL["both-ways-processes"], server_messages=2),
        replace(FULL["outbox-back"], client_messages=4),
    )
}
