"""What a session comes down to while it sleeps, in a store, and when it is over."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, NamedTuple, cast

from ..protocol.envelope import LARGEST
from ..protocol.session import Credentials, Cursor, Log, Peer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..policy import Outbox
    from ..protocol.session import Window

__all__ = ["Standing", "Tombstone", "read_record", "write_record"]


class Standing(NamedTuple):
    """Where the server's side of a session stands, beside the messages that wait.

    Attributes:
        acknowledged: the number of the last message that its client need not get any more.
        chain: the check value up to there.
        confirmed: the number of the last one that its client has handled. # <= acknowledged
        rx: the number of the client's last message that was handled.
        rx_chain: the check value up to there.
        again_upto: messages up to this number may have been handled before.
        largest: bytes of the longest message that its client takes, if it has said so to this
            process.
    """

    acknowledged: int
    chain: int
    confirmed: int
    rx: int
    rx_chain: int
    again_upto: int
    largest: int = LARGEST

    @classmethod
    def first(cls, chain: int) -> Standing:
        """That of a new session, with the check value of nothing at all."""
        return cls(0, chain, 0, 0, chain, 0)

    @classmethod
    def of(cls, peer: Peer, again_upto: int) -> Standing:
        """That of a session that is awake."""
        log, cursor = peer.log, peer.cursor
        return cls(
            acknowledged=log.acknowledged,
            chain=log.chain,
            confirmed=log.confirmed,
            rx=cursor.rx,
            rx_chain=cursor.chain,
            again_upto=again_upto,
            largest=log.largest,
        )

    def peer(self, outbox: Outbox, window: Window, *, is_stored: bool) -> Peer:
        """A peer that goes on from here."""
        log = Log(outbox, is_numbered_at_once=True)
        log.go_on(self.acknowledged, self.chain, confirmed=self.confirmed)
        log.largest = self.largest
        cursor = Cursor(window, rx=self.rx, chain=self.rx_chain, is_stored=is_stored)
        return Peer(log, cursor)


class Tombstone:
    """What is remembered of a session that is over."""

    __slots__ = ("credentials", "rx")

    def __init__(self, credentials: Credentials, rx: int) -> None:
        self.credentials: Credentials = credentials
        self.rx: int = rx


def write_record(credentials: Credentials, standing: Standing, been_away: float) -> str:
    """What a later process has to know of a session, beside its messages.

    Args:
        credentials: what its client resumes it with.
        standing: where it stands.
        been_away: seconds for which it has had no link.
    """
    issued = credentials.issued
    record = {
        "principal": credentials.principal,
        "n": credentials.attempt,
        "current": credentials.current.hex(),
        "issued": None if issued is None else issued.hex(),
        "rx": standing.rx,
        "rc": standing.rx_chain,
        "acknowledged": standing.acknowledged,
        "chain": standing.chain,
        "confirmed": standing.confirmed,
        "away": round(been_away, 3),
    }
    return json.dumps(record)


def read_record(text: str) -> tuple[Credentials, Standing, float]:
    """What an earlier process has written; of an earlier version, without the seconds.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    read = _Reader(cast("Mapping[str, object]", json.loads(text)))
    issued = read.maybe_text("issued")
    credentials = Credentials(
        principal=read.maybe_text("principal"),
        attempt=read.number("n"),
        current=bytes.fromhex(read.text("current")),
        issued=None if issued is None else bytes.fromhex(issued),
    )
    rx = read.number("rx")
    standing = Standing(
        acknowledged=read.number("acknowledged"),
        chain=read.number("chain"),
        confirmed=read.number("confirmed"),
        rx=rx,
        rx_chain=read.number("rc"),
        again_upto=rx + 1,  # it may have been in the middle of the next one
    )
    return credentials, standing, read.seconds("away")


class _Reader:
    """A record, read field by field."""

    def __init__(self, record: Mapping[str, object]) -> None:
        self._record = record

    def number(self, name: str) -> int:
        value = self._record[name]
        if not isinstance(value, int):
            raise TypeError(name)
        return value

    def seconds(self, name: str) -> float:
        value = self._record.get(name, 0.0)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(name)
        if not 0 <= value < math.inf:
            raise ValueError(name)
        return value

    def text(self, name: str) -> str:
        value = self._record[name]
        if not isinstance(value, str):
            raise TypeError(name)
        return value

    def maybe_text(self, name: str) -> str | None:
        return None if self._record[name] is None else self.text(name)
