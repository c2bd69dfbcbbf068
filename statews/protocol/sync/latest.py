"""Converge to the newest value: what is older than what was delivered is dropped."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeGuard

from typing_extensions import override

from ..plain import Message
from .reading import (
    KEY,
    VERSION,
    Parsed,
    Reader,
    Version,
    check,
    check_calls,
    check_whole,
    is_key,
    is_list,
    is_version,
    pick,
)
from .strategy import Key, Strategy

__all__ = ["Latest"]

POSITION: Final = "a list of pairs of key and version"
POSITION_IN_EPOCHS: Final = "a list of keys, versions and epochs, three by three"


class Item(NamedTuple):
    """What a message says of itself."""

    mark: Mark
    message: Message


class Mark(NamedTuple):
    """What is handled with a delivery."""

    key: Key
    version: Version | None
    epoch: Key

    def is_newer(self, last: Mark | None) -> bool | None:
        """Whether its version is above the last one's; None if the two cannot be compared."""
        if self.version is None or last is None or last.version is None:
            return True
        return self.epoch != last.epoch or _is_above(self.version, last.version)


class Latest(Strategy, Generic[Parsed]):
    """The newest value of each key; what lies between does not matter.

    A message whose version is not above the last one delivered of its key is dropped, so the
    value never goes back, whether the answer to the request or a live message comes first.
    An undelivered older value may be replaced (`Delivery.replaces`).

    The position is a list of pairs of key and version, with `epoch` of key, version and epoch,
    of what was handled. Either can be restored; what has no epoch is older than any.

    Args:
        request: what is sent with each link to get the present values: a message, or a callable
            that makes it. None: nothing, for the server sends them unasked.
        version: the version of a message, whole, a float or a string; they are compared with each
            other, of one key all must be of one kind. None from it: the message is not of this
            stream. Without `version` every message is delivered, in the order it came.
        epoch: what the versions belong to, if they may start over: of another epoch than the last
            one delivered of its key, a message is newer. None from it: the message is not of this
            stream. Without `epoch` versions must not start over, for what is below the last one
            is dropped until they are above it again.
        key: whose value it is. None from it: the message is not of this stream. Without `key`
            there is one value.
        name: of the stream; by default "latest".
        keys: how many keys are remembered; of more, those that changed longest ago are forgotten.
        parse: makes of a message what the other callables get; it runs once per message.

    Raises:
        UsageError: an argument is wrong.
    """

    __slots__ = (
        "_epoch",
        "_handled",
        "_key",
        "_keys",
        "_reader",
        "_released",
        "_request",
        "_version",
    )

    def __init__(
        self,
        request: Message | Callable[[], Message] | None,
        *,
        version: Callable[[Parsed], Version | None] | None = None,
        epoch: Callable[[Parsed], str | int | None] | None = None,
        key: Callable[[Parsed], str | int | None] | None = None,
        name: str | None = None,
        keys: int = 100_000,
        parse: Callable[[Message], Parsed] = json.loads,
    ) -> None:
        super().__init__(name)
        is_request = request is None or isinstance(request, (str, bytes)) or callable(request)
        right = "a message, a callable that makes one, or None"
        check(self, "request", request, right, holds=is_request)
        check_calls(self, {"parse": parse}, version=version, epoch=epoch, key=key)
        check_whole(self, "keys", keys, least=1)
        self._request = request
        self._version = version
        self._epoch = epoch
        self._key = key
        self._keys = keys
        self._reader = Reader[Parsed, Item](
            parse=parse, page=None, select=self._select, outcome=self._outcome
        )
        self._released: OrderedDict[Key, Mark] = OrderedDict()
        self._handled: OrderedDict[Key, Mark] = OrderedDict()

    @property
    @override
    def deadline(self) -> float:
        return math.inf

    @override
    def begin(self, now: float) -> None:
        request = self._request
        if isinstance(request, (str, bytes)):
            self._outcome.requests.append(request)
        elif request is not None:
            self._outcome.ask(lambda _: request(), None)

    @override
    def take(self, message: Message, now: float) -> bool:
        item = self._reader.read(message)
        if not isinstance(item, Item):
            return False
        mark = item.mark
        if mark.version is not None:
            is_newer = mark.is_newer(self._released.get(mark.key))
            if is_newer is None:
                what = f"must give one kind of value per key, got {mark.version!r}"
                self._outcome.note("version", what)
                return False
            if not is_newer:
                return True
            self._remember(self._released, mark)
        self._outcome.deliver(item.message, mark, (self.name, mark.key))
        return True

    @override
    def expire(self, now: float) -> None:
        """Nothing is ever due."""

    @override
    def prolong(self, now: float) -> None:
        """Nothing is ever due."""

    @override
    def repeat(self, now: float) -> None:
        self.begin(now)

    @override
    def miss(self, now: float) -> None:
        self.begin(now)

    @override
    def end(self) -> None:
        self._outcome.requests.clear()  # they were for that link

    @override
    def handled(self, mark: object) -> None:
        if isinstance(mark, Mark) and mark.version is not None:
            self._remember(self._handled, mark)

    @property
    @override
    def position(self) -> object:
        size = 2 if self._epoch is None else 3
        return [list(mark[:size]) for mark in self._handled.values()]

    @override
    def restore(self, position: object) -> None:
        right = POSITION if self._epoch is None else POSITION_IN_EPOCHS
        if not is_list(position):
            raise self._wrong_position(position, right)
        marks: list[Mark] = []
        for each in position:
            mark = _read_mark(each)
            if mark is None:
                raise self._wrong_position(position, right)
            marks.append(mark)
        self._released = OrderedDict((mark.key, mark) for mark in marks)
        self._handled = self._released.copy()

    def _select(self, parsed: Parsed, message: Message) -> Item | None:
        key, version, epoch = None, None, None
        if self._key is not None:
            key = pick(self._outcome, "key", self._key, parsed, KEY)
            if key is None:
                return None
        if self._version is not None:
            version = pick(self._outcome, "version", self._version, parsed, VERSION)
            if version is None:
                return None
        if self._epoch is not None:
            epoch = pick(self._outcome, "epoch", self._epoch, parsed, KEY)
            if epoch is None:
                return None
        return Item(Mark(key, version, epoch), message)

    def _remember(self, marks: OrderedDict[Key, Mark], mark: Mark) -> None:
        marks[mark.key] = mark
        marks.move_to_end(mark.key)
        if len(marks) > self._keys:
            marks.popitem(last=False)


def _read_mark(each: object) -> Mark | None:
    """One entry of a position; None if it is none."""
    if not is_list(each) or len(each) not in (2, 3):
        return None
    key, version, epoch = (*each, None)[:3]
    if _is_label(key) and _is_label(epoch) and is_version(version):
        return Mark(key, version, epoch)
    return None


def _is_label(value: object) -> TypeGuard[Key]:
    return value is None or is_key(value)


def _is_above(version: Version, last: Version) -> bool | None:
    """Whether it is newer; None if the two cannot be compared."""
    if isinstance(version, str):
        return version > last if isinstance(last, str) else None
    return None if isinstance(last, str) else version > last
