"""Converge to the newest value: what is older than what was delivered is dropped."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, NamedTuple

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


class Item(NamedTuple):
    """What a message says of itself."""

    key: Key
    version: Version | None
    message: Message


class Mark(NamedTuple):
    """What is handled with a delivery."""

    key: Key
    version: Version | None


class Latest(Strategy, Generic[Parsed]):
    """The newest value of each key; what lies between does not matter.

    A message whose version is not above the last one delivered of its key is dropped, so the
    value never goes back, whether the answer to the request or a live message comes first.
    An undelivered older value may be replaced (`Delivery.replaces`).

    The position is a list of pairs of key and version, of what was handled.

    Args:
        request: what is sent with each link to get the present values: a message, or a callable
            that makes it. None: nothing, for the server sends them unasked.
        version: the version of a message, whole, a float or a string; they are compared with each
            other, of one key all must be of one kind. None from it: the message is not of this
            stream. Without `version` every message is delivered, in the order it came.
        key: whose value it is. None from it: the message is not of this stream. Without `key`
            there is one value.
        name: of the stream; by default "latest".
        keys: how many keys are remembered; of more, those that changed longest ago are forgotten.
        parse: makes of a message what the other callables get; it runs once per message.

    Raises:
        UsageError: an argument is wrong.
    """

    __slots__ = ("_handled", "_key", "_keys", "_reader", "_released", "_request", "_version")

    def __init__(
        self,
        request: Message | Callable[[], Message] | None,
        *,
        version: Callable[[Parsed], Version | None] | None = None,
        key: Callable[[Parsed], str | int | None] | None = None,
        name: str | None = None,
        keys: int = 100_000,
        parse: Callable[[Message], Parsed] = json.loads,
    ) -> None:
        super().__init__(name)
        is_request = request is None or isinstance(request, (str, bytes)) or callable(request)
        right = "a message, a callable that makes one, or None"
        check(self, "request", request, right, holds=is_request)
        check_calls(self, {"parse": parse}, version=version, key=key)
        check_whole(self, "keys", keys, least=1)
        self._request = request
        self._version = version
        self._key = key
        self._keys = keys
        self._reader = Reader[Parsed, Item](
            parse=parse, page=None, select=self._select, outcome=self._outcome
        )
        self._released: OrderedDict[Key, Version] = OrderedDict()
        self._handled: OrderedDict[Key, Version] = OrderedDict()

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
        key, version, _ = item
        if version is not None:
            is_newer = _is_above(version, self._released.get(key))
            if is_newer is None:
                what = f"must give one kind of value per key, got {version!r}"
                self._outcome.note("version", what)
                return False
            if not is_newer:
                return True
            self._remember(self._released, key, version)
        self._outcome.deliver(item.message, Mark(key, version), (self.name, key))
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
            self._remember(self._handled, mark.key, mark.version)

    @property
    @override
    def position(self) -> object:
        return [list(pair) for pair in self._handled.items()]

    @override
    def restore(self, position: object) -> None:
        if not is_list(position):
            raise self._wrong_position(position, POSITION)
        versions: dict[Key, Version] = {}
        for pair in position:
            if not is_list(pair) or len(pair) != 2:
                raise self._wrong_position(position, POSITION)
            key, version = pair
            if not ((key is None or is_key(key)) and is_version(version)):
                raise self._wrong_position(position, POSITION)
            versions[key] = version
        self._released = OrderedDict(versions)
        self._handled = OrderedDict(versions)

    def _select(self, parsed: Parsed, message: Message) -> Item | None:
        key, version = None, None
        if self._key is not None:
            key = pick(self._outcome, "key", self._key, parsed, KEY)
            if key is None:
                return None
        if self._version is not None:
            version = pick(self._outcome, "version", self._version, parsed, VERSION)
            if version is None:
                return None
        return Item(key, version, message)

    def _remember(self, versions: OrderedDict[Key, Version], key: Key, version: Version) -> None:
        versions[key] = version
        versions.move_to_end(key)
        if len(versions) > self._keys:
            versions.popitem(last=False)


def _is_above(version: Version, last: Version | None) -> bool | None:
    """Whether it is newer; None if the two cannot be compared."""
    if last is None:
        return True
    if isinstance(version, str):
        return version > last if isinstance(last, str) else None
    return None if isinstance(last, str) else version > last
