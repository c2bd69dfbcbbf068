"""What can be taken out of the real cores; each time some schedule must break a promise."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from unittest.mock import patch

from statews.protocol.outbox import Queue
from statews.protocol.plain import Message
from statews.protocol.session import Credentials, Cursor, Hello, Log, Peer, digest, identity
from statews.protocol.session.chain import advance

from .core_client import Client
from .core_server import Served
from .cores import Side
from .observer import Promise

__all__ = ["MUTATIONS", "Mutation"]


@dataclass(frozen=True, slots=True)
class Mutation:
    """One mechanism, removed or replaced.

    Attributes:
        owner: a class or a module.
        name: of what is replaced in it.
        by: what replaces it.
        kind: of the schedules that show what it is for.
        breaks: what is broken then.
        since: the first seed to try; those before do not show it.
    """

    owner: object
    name: str
    by: object
    kind: str
    breaks: Promise
    since: int = 0

    @contextmanager
    def applied(self) -> Generator[None]:
        """Do without the mechanism meanwhile."""
        with patch.object(self.owner, self.name, self.by):
            yield


# What is replaced is needed by what replaces it.
_take: Final = Cursor.take
_suspend: Final = Log.suspend
_skip: Final = Log.skip
_next_frames: Final = Peer.next_frames
_handle: Final = Side.handle


def _safe_on_arrival(cursor: Cursor, seq: int, payload: Message) -> bool:
    is_new = _take(cursor, seq, payload)
    if is_new:
        cursor.saved(seq, advance(cursor.safe_chain, (payload,)))
    return is_new


def _new_whatever_comes(cursor: Cursor, seq: int, payload: Message) -> bool:
    _take(cursor, seq, payload)
    return True


def _safe_before_stored(side: Side, now: float) -> bool:
    has_handled = _handle(side, now)
    cursor = side.peer.cursor
    if has_handled:
        cursor.saved(cursor.rx, cursor.chain)
        if side.talk is not None:
            side.talk.acknowledge_soon(now)
    return has_handled


def _one_token(credentials: Credentials, _presented: str, token: str) -> None:
    credentials.current, credentials.issued = digest(token), None


def _any_attempt(hello: Hello, credentials: Credentials, _principal: str | None) -> str | None:
    is_known = hello.token is not None and credentials.accepts(hello.token)
    return None if is_known else "its token is wrong or retired"


def _no_notice(log: Log, _upto: float = math.inf) -> None:
    log.told = max(log.told, log.acknowledged)


def _forget_numbers(log: Log) -> None:
    numbered = log.numbered
    _suspend(log)
    log.numbered = numbered


def _write_unstored(peer: Peer, now: float, _upto: float) -> list[Message]:
    return _next_frames(peer, now, math.inf)


def _tell_unstored(log: Log, _upto: float = math.inf) -> tuple[int, int] | None:
    return _skip(log)


def _acknowledge_all(cursor: Cursor) -> int | None:
    cursor.due = math.inf
    if cursor.safe == cursor.told:
        return None
    cursor.told = cursor.safe
    return cursor.told


def _nothing(*_: object) -> None:
    pass


def _always(*_: object) -> Any:  # noqa: ANN401 - it stands for several
    return True


MUTATIONS: Final = {
    "acknowledge-on-arrival": Mutation(
        Cursor, "take", _safe_on_arrival, "links", Promise.HANDLED_FIRST
    ),
    "acknowledge-unstored": Mutation(
        Side, "handle", _safe_before_stored, "server-dies", Promise.HANDLED_FIRST
    ),
    "acknowledge-what-is-to-come-again": Mutation(
        Cursor, "acknowledge", _acknowledge_all, "tight", Promise.PEACE
    ),
    "acknowledge-nothing-again": Mutation(
        Peer, "_acknowledge_again", _nothing, "links", Promise.ARRIVES
    ),
    "deliver-duplicates": Mutation(Cursor, "take", _new_whatever_comes, "links", Promise.ONCE),
    "one-token": Mutation(Credentials, "renew", _one_token, "links", Promise.GOES_ON),
    "store-token-late": Mutation(Client, "store_token", _nothing, "client-dies", Promise.ONCE),
    "store-attempt-late": Mutation(
        Client, "store_attempt", _nothing, "client-dies", Promise.GOES_ON
    ),
    "any-attempt": Mutation(identity, "refusal", _any_attempt, "links", Promise.OWN_CLIENT),
    "hear-old-links": Mutation(Served, "is_on", _always, "links", Promise.PEACE),
    "no-chain": Mutation(Log, "chain_at", _nothing, "client-goes-back", Promise.NOTHING_LOST, 600),
    "no-gap-notice": Mutation(Log, "skip", _no_notice, "links", Promise.PEACE),
    "no-window": Mutation(Log, "may_write", property(_always), "links", Promise.PEACE),
    "forget-numbers": Mutation(Log, "suspend", _forget_numbers, "links", Promise.GOES_ON),
    "forget-outbox": Mutation(Log, "restore", _nothing, "client-dies", Promise.ONE_NUMBER),
    "restore-as-unwritten": Mutation(Log, "restore", Queue.restore, "server-dies", Promise.PEACE),
    "write-unstored": Mutation(
        Peer, "next_frames", _write_unstored, "server-dies", Promise.ONE_NUMBER
    ),
    "tell-unstored": Mutation(Log, "skip", _tell_unstored, "server-dies", Promise.GOES_ON),
}
