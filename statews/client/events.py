"""The iterator over everything that a connection has to tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConnectionClosed

if TYPE_CHECKING:
    from .driver import Driver
    from .feed import Event, Feed

__all__ = ["Events"]


class Events:
    """Iterates over messages, gaps, resets and changes of state, until the connection is closed.

    To ask for the next event is to have handled the last one.
    """

    __slots__ = ("_driver", "_feed")

    def __init__(self, feed: Feed, driver: Driver) -> None:
        self._feed = feed
        self._driver = driver

    @property
    def missed(self) -> int:
        """How many changes of state were left out: more than 256 that nobody looked at."""
        return self._feed.missed

    def __aiter__(self) -> Events:
        """Iterate; `break` leaves everything as it is, and another loop goes on."""
        return self

    async def __anext__(self) -> Event:
        """The next event.

        Raises:
            ConnectionFailed: the policy gave up, and every event was taken.
            BusyError: another task is receiving.

        Cancellation: no event is lost.
        """
        while True:
            try:
                return self._feed.take()
            except IndexError:
                pass
            try:
                await self._driver.wait_message()
            except ConnectionClosed:
                raise StopAsyncIteration from None
