"""A link to any WebSocket server: what it has taken in is learned by fences.

A ping says how many messages went before it, and so does its pong. At most one fence is on its
way, and a link without messages has none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol

from anyio import current_time

from ..errors import LinkClosed, StatewsError
from ..protocol.codes import CloseCode
from ..protocol.entry import Entry
from ..protocol.fence import Fence
from ..protocol.outbox import DIRECT

if TYPE_CHECKING:
    from ..policy import Outbox
    from ..protocol.frames import Message
    from ..protocol.outbox import Queue
    from ..transport.link import Link
    from .sender import Sender

__all__ = ["Plain", "Way", "was_too_big"]

QUARTER: Final = 0.25  # of the limits; what goes beyond it is fenced off at once


class Way(Protocol):
    """Where a message is written to at once."""

    def write(self, message: Message, /) -> bool:
        """Write it; whether whoever sends should wait. Raises StatewsError if it is over."""
        ...

    def write_text(self, text: str, /) -> bool:
        """The same for what is known to be ASCII text."""
        ...

    async def wait_room(self) -> None:
        """Return when what was written is out, or the link is over."""
        ...


def was_too_big(link: Link) -> bool:
    """Whether the peer ended a link since it would not take a message."""
    ending = link.ending
    is_refusal = isinstance(ending, LinkClosed) and ending.code == CloseCode.TOO_BIG
    return is_refusal and not link.is_left  # else it is the answer to a code of ours


class Plain:
    """The sending half of a connection on one plain link. It is the `Traffic` of it."""

    __slots__ = ("_fence", "_link", "_longest", "_queue", "_sender", "_settings")

    def __init__(self, sender: Sender, link: Link, settings: Outbox) -> None:
        self._sender = sender
        self._link = link
        self._settings = settings
        self._queue: Queue = sender.queue
        self._fence = Fence(settings.fence_after)
        self._longest = 0  # bytes, of what the connection itself had to say

    @property
    def link(self) -> Link:
        """The link that it goes by."""
        return self._link

    def start(self) -> None:
        """The link is open: what waits goes out by it, before anything else."""
        self._link.traffic = self
        intake = self._sender.intake
        if intake is not None:
            intake.opened(self._link)
        self._go_on()
        self.refill()
        if self._queue.entries and self._queue.entries[0].attempts > 1:
            self.hurry()  # it has waited long enough, and this link may not live for long either

    def send_now(self, _: Entry) -> bool:
        """What is for this link alone goes the way of everything else."""
        return False

    def write(self, request: str | bytes) -> None:
        """Send what the connection itself has to say."""
        self._link.write(request)
        self._longest = max(self._longest, Entry(request).size)

    def lost(self) -> None:
        """The link is gone: what it is gone for is not to end the next one as well."""
        if was_too_big(self._link):
            self._queue.refuse_longest(longer_than=max(self._longest, self._link.longest_sent))

    def refill(self) -> bool:
        """See `Traffic`."""
        link, queue = self._link, self._queue
        now, before = current_time(), queue.position
        durable = self._sender.durable
        while link.may_write and (entry := queue.next_waiting(now)) is not None:
            if entry.terms.number > durable:
                break  # a process that dies now must find it in the store
            try:
                link.write(entry.message)
            except StatewsError:
                break  # the driver learns of it, and has it sent by the next link
            queue.wrote(entry)
        link.has_backlog = queue.has_waiting
        self._ask_if_due()
        self._choose_way()
        return queue.position > before

    # How far the peer has come.

    def hurry(self) -> None:
        """Somebody waits for an acknowledgement: do not let the fence wait, and read it."""
        if self._settings.acknowledged is None:
            self._fence.want(self._queue.position)
            self._ask_if_due()
        self._link.call_owner()

    def ask(self) -> int:
        """See `Traffic`."""
        self._fence.asked(self._queue.position)
        return self._queue.position

    @property
    def has_unconfirmed(self) -> bool:
        """See `Traffic`."""
        return self._fence.confirmed < self._queue.position

    def confirm(self, position: int) -> None:
        """See `Traffic`."""
        if not self._fence.confirm(position, written=self._queue.position):
            return
        if self._settings.acknowledged is None:
            self._queue.acknowledge(position)
        else:
            self._queue.acknowledge_unnamed(position)
        self._go_on()

    def finish(self) -> None:
        """See `Traffic`."""
        if self.has_unconfirmed:
            self._link.ping()  # its pong comes before the answer to our close frame

    def tick(self, now: float) -> float:
        """See `Traffic`."""
        if now >= self._fence.due:
            self._link.ping()
        intake = self._sender.intake
        return min(self._fence.due, math.inf if intake is None else intake.tick(now))

    def _go_on(self) -> None:
        """There is room: for the next fence, in the outbox, on the direct way."""
        self._queue.bear(0, 0)
        if self.has_unconfirmed:
            self.look_at_limits()
        self._choose_way()
        self._sender.wake()

    def _ask_if_due(self) -> None:
        """Have a ping go out for what is unconfirmed, now or soon."""
        is_urgent = self._is_beyond(QUARTER)
        if self._fence.may_ask(self._queue.position, current_time(), is_urgent=is_urgent):
            self._link.ping()
        else:
            self._link.look_at(self._fence.due)

    def _is_beyond(self, share: float) -> bool:
        queue, settings = self._queue, self._settings
        beyond = len(queue) > settings.messages * share
        return beyond or queue.size_bytes > settings.size_bytes * share

    def look_at_limits(self) -> None:
        """Fence off what was written directly, and say up to where more of it is borne."""
        self._ask_if_due()
        settings, queue = self._settings, self._queue
        if self._is_beyond(QUARTER):
            queue.bear(settings.messages - 1, settings.size_bytes - DIRECT)
        else:
            borne = min(int(settings.size_bytes * QUARTER), settings.size_bytes - DIRECT)
            queue.bear(int(settings.messages * QUARTER), borne)
        if len(queue) >= settings.messages or queue.size_bytes > settings.size_bytes - DIRECT:
            self._sender.way = self._sender.direct = None  # each is held against the limits now

    def _choose_way(self) -> None:
        """Write directly where nothing has to be looked at: no names, times or backlog."""
        settings, queue = self._settings, self._queue
        is_plain = self._sender.may_go_directly
        is_within = (
            len(queue) < settings.messages and queue.size_bytes + DIRECT <= settings.size_bytes
        )
        is_free = not len(queue) or (is_within and not queue.has_waiting)
        way = self._link if is_plain and is_free else None
        self._sender.way = way
        self._sender.direct = way
