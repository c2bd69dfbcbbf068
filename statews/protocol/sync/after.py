"""A stream of numbered messages: each is delivered once, in order, or named in a gap."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeGuard

from typing_extensions import override

from ..plain import Message
from .fetching import Fetching, Settings
from .questions import Ask
from .reading import (
    KEY,
    WHOLE,
    Parsed,
    Reader,
    check_calls,
    check_whole,
    is_key,
    is_list,
    is_whole,
    pick,
)
from .strategy import Key, Page, Strategy
from .track import Item, Mark
from .tracks import Tracks

__all__ = ["After"]

POSITION: Final = '{"cursors": a list of [key, [epoch, number]]}'


class After(Fetching, Generic[Parsed]):
    """Every message of a stream whose messages are numbered without holes, per key.

    ========================== ==============================================================
    the number of a message    what happens
    ========================== ==============================================================
    the next one               it is released, and what is held right after it
    further on                 it is held, and the server is asked for what is missing; while
                               a question is open, that one is waited for
    not above the last one     a duplicate, dropped; but if its content is not that of the
                               message released with this number (the last 1024 are known),
                               or that is forgotten and no question is open: `Reset`
    any, in another epoch      `Reset`
    ========================== ==============================================================

    With each link every known key is asked for. What the server does not have, or does not give
    in time, is a `Gap`; what lies behind it is released, and the fallback begins. With `page`
    an answer is known, and an empty one means that nothing was missed. Without it what is asked
    for comes as ordinary messages, and silence means that nothing was missed, unless a hole is
    known. A server that gives other numbers to its history, or marks it (`"replayed": true`),
    needs `page`: the content of what a page holds is not compared.

    The position is an object with a list of pairs of key and pair of epoch and number, and
    with the fallback's position once something was lost.

    Args:
        request: makes the message that asks the server.
        seq: the number of a message; None: it is not of this stream.
        epoch: what the numbers belong to, if they may start over. None from it: as for `seq`.
        key: whose numbers they are. None from it: as for `seq`.
        start: everything after this number is wanted of a key of which nothing is known (-1 if
            the first number is 0); without `key` it is asked for with the first link. None: the
            first message that comes is the beginning.
        fallback: begins after a gap and a reset, and is offered what is not of this stream.
        page: recognises the server's answer; None from it: this is none.
        timeout: seconds to wait for an answer, or for the next missing message. They begin anew
            while what was sent before the request still arrives: see `Heartbeat.timeout`.
        retries: further requests before it is given up.
        hold: messages held at most, of all keys; of more the highest numbers are let go, and
            asked for later.
        keys: how many keys are remembered; of more the oldest ends with a gap.
        name: of the stream; by default "after".
        parse: makes of a message what the other callables get; it runs once per message.

    Raises:
        UsageError: an argument is wrong.
    """

    __slots__ = (
        "_epoch",
        "_handled_at",
        "_key",
        "_keys",
        "_reader",
        "_seq",
        "_tracks",
    )

    def __init__(
        self,
        request: Callable[[Ask], Message],
        *,
        seq: Callable[[Parsed], int | None],
        epoch: Callable[[Parsed], str | int | None] | None = None,
        key: Callable[[Parsed], str | int | None] | None = None,
        start: int | None = None,
        fallback: Strategy | None = None,
        page: Callable[[Parsed], Page | None] | None = None,
        timeout: float = 10.0,
        retries: int = 2,
        hold: int = 10_000,
        keys: int = 10_000,
        name: str | None = None,
        parse: Callable[[Message], Parsed] = json.loads,
    ) -> None:
        settings = Settings(timeout, retries, hold)
        super().__init__(name=name, fallback=fallback, settings=settings)
        needed = {"request": request, "seq": seq, "parse": parse}
        check_calls(self, needed, epoch=epoch, key=key, page=page)
        check_whole(self, "start", 0 if start is None else start, least=-1)
        check_whole(self, "keys", keys, least=1)
        self._seq, self._epoch, self._key = seq, epoch, key
        self._keys = keys
        self._reader = Reader[Parsed, Item](
            parse=parse, page=page, select=self._select, outcome=self._outcome
        )
        self._tracks = Tracks(
            request,
            stream=self.name,
            outcome=self._outcome,
            settings=settings,
            keys=keys,
            start=start,
            has_pages=page is not None,
        )
        self._handled_at: OrderedDict[Key, tuple[Key, int]] = OrderedDict()
        if start is not None and key is None:
            self._tracks.add(None, None, start)

    @override
    def _due(self) -> float:
        return self._tracks.due

    @override
    def _begin(self, now: float) -> None:
        self._tracks.begin(now)

    @override
    def _take(self, message: Message, now: float) -> bool:
        read = self._reader.read(message)
        if isinstance(read, Item):
            self._tracks.admit(read, now)
        elif read is not None:
            self._tracks.take_page(read, now)
        return read is not None

    @override
    def _expire(self, now: float) -> None:
        self._tracks.expire(now)

    @override
    def _prolong(self, now: float) -> None:
        self._tracks.prolong(now)

    @override
    def _repeat(self, now: float) -> None:
        self._tracks.repeat(now)

    @override
    def _miss(self, now: float) -> None:
        self._tracks.miss(now)

    @override
    def _end(self) -> None:
        self._tracks.end()

    @override
    def _handled(self, mark: object) -> None:
        if isinstance(mark, Mark):
            self._handled_at[mark.key] = mark.epoch, mark.seq
            if len(self._handled_at) > self._keys:
                self._handled_at.popitem(last=False)

    @override
    def _position(self) -> dict[str, object]:
        return {"cursors": [[key, list(cursor)] for key, cursor in self._handled_at.items()]}

    @override
    def _restore(self, position: Mapping[object, object]) -> None:
        cursors = position.get("cursors")
        marks = [_read_cursor(cursor) for cursor in cursors] if is_list(cursors) else [None]
        if None in marks:
            raise self._wrong_position(position, POSITION)
        for key, epoch, seq in filter(None, marks):
            self._tracks.add(key, epoch, seq)
            self._handled_at[key] = epoch, seq

    def _select(self, parsed: Parsed, message: Message) -> Item | None:
        seq = pick(self._outcome, "seq", self._seq, parsed, WHOLE)
        if seq is None:
            return None
        key, epoch = None, None
        if self._key is not None:
            key = pick(self._outcome, "key", self._key, parsed, KEY)
            if key is None:
                return None
        if self._epoch is not None:
            epoch = pick(self._outcome, "epoch", self._epoch, parsed, KEY)
            if epoch is None:
                return None
        return Item(key, epoch, seq, message)


def _read_cursor(cursor: object) -> Mark | None:
    """One pair of a position; None if it is none."""
    if not is_list(cursor) or len(cursor) != 2 or not is_list(cursor[1]) or len(cursor[1]) != 2:
        return None
    key, (epoch, seq) = cursor[0], cursor[1]
    return Mark(key, epoch, seq) if _is_label(key) and _is_label(epoch) and is_whole(seq) else None


def _is_label(value: object) -> TypeGuard[Key]:
    return value is None or is_key(value)
