"""Ids that were released lately, so that what is fetched twice is released once."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

__all__ = ["Recent"]

FETCHES: Final = 2  # this one and the one before: some servers send more than they are asked for


class Recent:
    """Remembers an id while its stamp is recent, or it was released since the last fetch but one.

    Args:
        size: how many are remembered at most; of more the oldest are forgotten.
    """

    __slots__ = ("_fetch", "_ids", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._fetch = 0
        self._ids: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        return name in self._ids

    def turn(self) -> None:
        """Another fetch begins."""
        self._fetch += 1

    def add(self, name: str, stamp: float, *, needed: float) -> None:
        """It was released. Older ones are forgotten, up to the first that is needed.

        Args:
            name: the id.
            stamp: of its message.
            needed: ids are needed from this stamp on.
        """
        self._ids[name] = stamp, self._fetch
        if len(self._ids) > self._size:
            del self._ids[next(iter(self._ids))]
        while True:  # it ends with the present fetch's first id, if not before
            oldest, (its_stamp, its_fetch) = next(iter(self._ids.items()))
            if its_stamp >= needed or its_fetch > self._fetch - FETCHES:
                return
            del self._ids[oldest]
