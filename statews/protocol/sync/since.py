"""A stream whose messages have stamps of the server: the cursor is inclusive, ids sort it out."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from hashlib import blake2b
from typing import Final, Generic, TypeGuard

from typing_extensions import override

from ..plain import Message
from .fetching import Fetching, Settings
from .reading import HASHABLE, NUMBER, Parsed, Reader, check, check_calls, is_list, is_number, pick
from .strategy import Page, Strategy
from .timeline import FEWEST_IDS, Item, Mark, Timeline

__all__ = ["Since"]

POSITION: Final = '{"stamp": a number or null, "ids": a list of strings}'


class Since(Fetching, Generic[Parsed]):
    """Every message of a stream whose messages carry the server's stamps.

    With each link it asks for what is not older than the newest stamp less `overlap`, and drops
    by its id what it knows. With `page` live messages are held until the last page has come,
    and then released by stamp. Without it history comes as ordinary messages, in whatever order;
    until `timeout` has passed since the last stamp that went back, a lost link makes it fetch
    from the same cursor again.

    What the server does not have any more, or does not give in time, is a `Gap` between two
    stamps; then the fallback begins.

    The position is an object with the stamp up to which everything is handled, the ids of what
    was handled about then, and the fallback's position once something was lost.

    Args:
        request: makes the message that asks for everything with that stamp or a later one;
            None: from the beginning, for nothing is known, or as far back as the server sees fit.
        stamp: the stamp of a message, in any unit; None: it is not of this stream.
        id: what tells messages apart, compared by its text (`str`). None from it: as for
            `stamp`. By default a digest of the message; a page must then hold it byte by byte.
        overlap: how far back from the newest stamp to ask, in the unit of the stamps: as much
            as stamps may come out of order.
        fallback: begins after a gap, and is offered what is not of this stream.
        page: recognises the server's answer; None from it: this is none.
        timeout: seconds to wait for an answer. They begin anew while what was sent before the
            request still arrives: see `Heartbeat.timeout`.
        retries: further requests before it is given up.
        hold: messages held at most; of more all are let go, and fetched instead. As many ids are
            remembered, or 10,000 if that is more.
        name: of the stream; by default "since".
        parse: makes of a message what the other callables get; it runs once per message.

    Raises:
        UsageError: an argument is wrong.
    """

    __slots__ = (
        "_handled_ids",
        "_handled_to",
        "_id",
        "_overlap",
        "_reader",
        "_stamp",
        "_timeline",
    )

    def __init__(
        self,
        request: Callable[[float | None], Message],
        *,
        stamp: Callable[[Parsed], float | None],
        id: Callable[[Parsed], Hashable | None] | None = None,  # noqa: A002 - its name in JSON
        overlap: float = 2.0,
        fallback: Strategy | None = None,
        page: Callable[[Parsed], Page | None] | None = None,
        timeout: float = 10.0,
        retries: int = 2,
        hold: int = 10_000,
        name: str | None = None,
        parse: Callable[[Message], Parsed] = json.loads,
    ) -> None:
        settings = Settings(timeout, retries, hold)
        super().__init__(name=name, fallback=fallback, settings=settings)
        needed = {"request": request, "stamp": stamp, "parse": parse}
        check_calls(self, needed, id=id, page=page)
        is_overlap = is_number(overlap) and overlap >= 0
        check(self, "overlap", overlap, "finite and 0 or more", holds=is_overlap)
        self._stamp = stamp
        self._id = id
        self._overlap = overlap
        self._reader = Reader[Parsed, Item](
            parse=parse, page=page, select=self._select, outcome=self._outcome
        )
        self._timeline = Timeline(
            request,
            stream=self.name,
            overlap=overlap,
            settings=settings,
            outcome=self._outcome,
            has_pages=page is not None,
        )
        self._handled_to: float | None = None
        self._handled_ids: OrderedDict[str, float] = OrderedDict()

    @override
    def _due(self) -> float:
        return self._timeline.due

    @override
    def _begin(self, now: float) -> None:
        self._timeline.begin(now)

    @override
    def _take(self, message: Message, now: float) -> bool:
        read = self._reader.read(message)
        if isinstance(read, Item):
            self._timeline.admit(read, now)
        elif read is not None:
            self._timeline.take_page(read, now)
        return read is not None

    @override
    def _expire(self, now: float) -> None:
        self._timeline.expire(now)

    @override
    def _prolong(self, now: float) -> None:
        self._timeline.prolong(now)

    @override
    def _repeat(self, now: float) -> None:
        self._timeline.repeat(now)

    @override
    def _miss(self, now: float) -> None:
        self._timeline.miss(now)

    @override
    def _end(self) -> None:
        self._timeline.end()

    @override
    def _handled(self, mark: object) -> None:
        if isinstance(mark, Mark):
            if mark.safe is not None:
                self._handled_to = mark.safe
            self._handled_ids[mark.id] = mark.stamp
            if len(self._handled_ids) > max(self._settings.hold, FEWEST_IDS):
                self._handled_ids.popitem(last=False)

    @override
    def _position(self) -> dict[str, object]:
        at = self._handled_to
        needed = -math.inf if at is None else at - 2 * self._overlap
        ids = [name for name, stamp in self._handled_ids.items() if stamp >= needed]
        return {"stamp": at, "ids": ids}

    @override
    def _restore(self, position: Mapping[object, object]) -> None:
        stamp, ids = position.get("stamp"), position.get("ids")
        if not ((stamp is None or is_number(stamp)) and is_list(ids) and _are_texts(ids)):
            raise self._wrong_position(position, POSITION)
        self._handled_to = stamp
        self._handled_ids = OrderedDict.fromkeys(ids, math.inf if stamp is None else stamp)
        self._timeline.resume(stamp, ids)

    def _select(self, parsed: Parsed, message: Message) -> Item | None:
        stamp = pick(self._outcome, "stamp", self._stamp, parsed, NUMBER)
        if stamp is None:
            return None
        if self._id is None:
            data = message.encode() if isinstance(message, str) else message
            return Item(stamp, blake2b(data, digest_size=16).hexdigest(), message)
        name = pick(self._outcome, "id", self._id, parsed, HASHABLE)
        return None if name is None else Item(stamp, str(name), message)


def _are_texts(values: Sequence[object]) -> TypeGuard[Sequence[str]]:
    return all(isinstance(value, str) for value in values)
