"""What can happen to a client and a server of real cores.

Each step says whether it did anything, where that matters: see `CALM`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Final

from statews.policy import AtLimit
from statews.protocol.entry import PLAIN, Terms

from .core_client import Disk
from .core_server import Record, Served
from .cores import Link
from .observer import Way
from .world import World

__all__ = ["CALM", "DOES", "FAULTS", "Step"]

TICK: Final = 0.15  # seconds
MANY: Final = 100  # frames


class Step(Enum):
    """What can happen. What cannot, at the moment, is passed over."""

    CLIENT_SENDS = "C sends"
    CLIENT_SENDS_FOR_A_WHILE = "C sends for a while"
    CLIENT_READS = "C reads"
    CLIENT_READS_ALL = "C reads all"
    CLIENT_TAKES = "C takes"
    CLIENT_HANDLES = "C handles"
    CLIENT_STORES = "C stores"
    CLIENT_ASKS = "C asks"
    CLIENT_CALLS = "C calls"
    SERVER_SENDS = "S sends"
    SERVER_READS = "S reads"
    SERVER_READS_ALL = "S reads all"
    SERVER_READS_OLD = "S reads the oldest link"
    SERVER_WELCOMES = "S welcomes"
    SERVER_TAKES = "S takes"
    SERVER_HANDLES = "S handles"
    SERVER_STORES = "S stores"
    SERVER_ASKS = "S asks"
    SERVER_FORGETS = "S forgets an old message"
    TIME_PASSES = "time passes"
    CLIENT_LOSES_LINK = "C loses its link"
    SERVER_LOSES_LINK = "S loses its link"
    LINK_BREAKS = "the link breaks"
    CLIENT_DIES = "C dies"
    SERVER_DIES = "S dies"
    CLIENT_IS_COPIED = "C is copied"
    CLIENT_GOES_BACK = "C goes back"
    STORE_IS_COPIED = "the store is copied"
    STORE_GOES_BACK = "the store goes back"


# The client.


def client_sends(world: World, terms: Terms = PLAIN) -> None:
    message = world.message(Way.UP)
    waits = world.settings.outbox.at_limit is AtLimit.WAIT
    if not waits or world.client.peer.log.has_room(len(message)):
        world.client.send(message, terms, world.now)
        world.client.choose_way()


def client_sends_for_a_while(world: World) -> None:
    if world.settings.is_client_durable:
        return client_sends(world)
    return client_sends(world, Terms(expires_at=world.now + 2.5 * TICK))


def client_reads(world: World, most: int = 1) -> bool:
    has_read = world.client.read(world.now, most)
    served = world.served
    if served is not None and served.talk is not None:  # there may be room again
        served.talk.refill(world.now)
    return has_read


def client_reads_all(world: World) -> bool:
    return client_reads(world, MANY)


def client_takes(world: World) -> bool:
    client = world.client
    while client.former and not client.former[0].items:
        del client.former[0]
    if client.former:
        return client.former[0].finish()
    return client.application.take()


def client_handles(world: World) -> bool:
    return world.client.handle(world.now)


def client_stores(world: World) -> bool:
    return world.client.store(world.now)


def client_asks(world: World) -> None:
    if world.client.talk is not None:
        world.client.talk.ask(world.now)


def client_calls(world: World) -> bool:
    if world.client.link is not None:
        return False
    link = Link(world.settings.room)
    world.server.links.append(link)
    world.client.call(link, world.now)
    return True


# The server.


def server_sends(world: World) -> None:
    served = world.served
    if served is not None:
        served.send(world.message(Way.DOWN), world.now)


def server_reads(world: World, most: int = 1) -> bool:
    link = world.client.link
    has_read = link in world.server.links and world.server.read(link, world.now, most)
    if world.client.talk is not None:  # there may be room again
        world.client.talk.refill(world.now)
        world.client.choose_way()
    return has_read


def server_reads_all(world: World) -> bool:
    return server_reads(world, MANY)


def server_reads_old(world: World) -> bool:
    links = [link for link in world.server.links if link is not world.client.link]
    return any(world.server.read(link, world.now) for link in links[:1])


def server_welcomes(world: World) -> bool:
    return world.server.welcome(world.now)


def server_takes(world: World) -> bool:
    return world.served is not None and world.served.application.take()


def server_handles(world: World) -> bool:
    return world.served is not None and world.served.handle(world.now)


def server_stores(world: World) -> bool:
    served = world.served
    return served is not None and world.server.store(served, world.now)


def server_asks(world: World) -> None:
    if world.served is not None and world.served.talk is not None:
        world.served.talk.ask(world.now)


def server_forgets(world: World) -> None:
    if world.served is not None and world.served.talk is None:
        world.served.peer.log.drop(world.served.peer.log.first)


# Time, and faults.


def time_passes(world: World) -> bool:
    world.now += TICK
    world.client.peer.log.expire(world.now)
    is_waiting = False
    for side in (world.client, world.served):
        if side is not None and side.talk is not None:
            is_waiting |= side.peer.cursor.due < math.inf
            side.talk.tick(world.now)
            side.talk.refill(world.now)
    return is_waiting


def client_loses_link(world: World) -> None:
    world.client.leave()


def server_loses_link(world: World) -> None:
    if world.client.link is not None:
        world.server.lose(world.client.link)


def link_breaks(world: World) -> None:
    link = world.client.link
    if link is not None:
        world.client.leave()
        world.server.lose(link)


def client_dies(world: World) -> None:
    if world.settings.is_client_durable:
        _revive_client(world, world.client.disk)


def _revive_client(world: World, disk: Disk) -> None:
    world.client.leave()
    world.client = client = world.new_client()
    kept = disk.kept
    world.observer.crashed(Way.UP, disk.ticket.sid, kept.acknowledged + len(kept.messages))
    client.revive(disk)
    if disk.ticket.sid is not None:
        world.observer.restarted(Way.DOWN, disk.ticket.sid, kept.rx)


def server_dies(world: World) -> None:
    if not world.settings.is_server_durable:
        world.observer.may_reset = True
    _revive_server(world, world.server.disk)


def _revive_server(world: World, disk: dict[str, Record]) -> None:
    for sid, record in disk.items():
        kept = record.kept
        world.observer.crashed(Way.DOWN, sid, kept.acknowledged + len(kept.messages))
    world.server.revive(disk, partial(_restarted, world))


def _restarted(world: World, served: Served) -> None:
    world.observer.restarted(Way.UP, served.sid, served.peer.cursor.rx)


def client_is_copied(world: World) -> None:
    world.client_copy = world.client.disk


def client_goes_back(world: World) -> None:
    if world.settings.is_client_durable and world.client_copy is not None:
        sid = world.client.ticket.sid
        is_same = world.client_copy.ticket.sid == sid
        world.observer.regressed(Way.UP, None if is_same else sid)
        _revive_client(world, world.client_copy)


def store_is_copied(world: World) -> None:
    world.store_copy = dict(world.server.disk)


def store_goes_back(world: World) -> None:
    if world.settings.is_server_durable and world.store_copy is not None:
        world.observer.regressed(Way.DOWN, None)
        _revive_server(world, world.store_copy)


DOES: Final[dict[Step, Callable[[World], object]]] = {
    Step.CLIENT_SENDS: client_sends,
    Step.CLIENT_SENDS_FOR_A_WHILE: client_sends_for_a_while,
    Step.CLIENT_READS: client_reads,
    Step.CLIENT_READS_ALL: client_reads_all,
    Step.CLIENT_TAKES: client_takes,
    Step.CLIENT_HANDLES: client_handles,
    Step.CLIENT_STORES: client_stores,
    Step.CLIENT_ASKS: client_asks,
    Step.CLIENT_CALLS: client_calls,
    Step.SERVER_SENDS: server_sends,
    Step.SERVER_READS: server_reads,
    Step.SERVER_READS_ALL: server_reads_all,
    Step.SERVER_READS_OLD: server_reads_old,
    Step.SERVER_WELCOMES: server_welcomes,
    Step.SERVER_TAKES: server_takes,
    Step.SERVER_HANDLES: server_handles,
    Step.SERVER_STORES: server_stores,
    Step.SERVER_ASKS: server_asks,
    Step.SERVER_FORGETS: server_forgets,
    Step.TIME_PASSES: time_passes,
    Step.CLIENT_LOSES_LINK: client_loses_link,
    Step.SERVER_LOSES_LINK: server_loses_link,
    Step.LINK_BREAKS: link_breaks,
    Step.CLIENT_DIES: client_dies,
    Step.SERVER_DIES: server_dies,
    Step.CLIENT_IS_COPIED: client_is_copied,
    Step.CLIENT_GOES_BACK: client_goes_back,
    Step.STORE_IS_COPIED: store_is_copied,
    Step.STORE_GOES_BACK: store_goes_back,
}

FAULTS: Final = frozenset(list(Step)[list(Step).index(Step.CLIENT_LOSES_LINK) :])

# Nothing but these is needed for all to arrive; each is done as long as it can be.
CALM: Final = (
    Step.SERVER_READS_OLD,
    Step.SERVER_WELCOMES,
    Step.SERVER_READS,
    Step.CLIENT_READS,
    Step.CLIENT_TAKES,
    Step.CLIENT_HANDLES,
    Step.CLIENT_STORES,
    Step.SERVER_TAKES,
    Step.SERVER_HANDLES,
    Step.SERVER_STORES,
    Step.CLIENT_CALLS,
)
