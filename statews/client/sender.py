"""The sending half of a connection: its outbox, and the link that it goes out by.

While a link is open and nothing waits, a message is written at once and only remembered. What
the peer has taken in is learned by fences: a ping says how many messages went before it, and so
does its pong. At most one fence is on its way, and a link without messages has none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from anyio import CancelScope, Event, current_time, sleep_forever

from ..errors import StatewsError, UsageError
from ..policy import AtLimit
from ..protocol.outbox import Queue, ReceiptState, Terms
from .receipts import Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from anyio.abc import TaskGroup

    from ..policy import Outbox
    from ..protocol.frames import Message
    from ..transport.link import Link

__all__ = ["Sender"]

QUARTER: Final = 0.25  # of the limits; what goes beyond it is fenced off at once
HALF: Final = 0.5  # what goes beyond it does not take the direct way
DIRECT: Final = 64 * 1024  # bytes; a longer message is not written before the limit was looked at


class Sender:
    """What a connection sends, across links. It is the `Traffic` of each.

    Attributes:
        queue: what is not settled.
        direct: the link to write to at once; None: a message has to queue.
        check_alive: raises if nothing will become of what waits.
    """

    __slots__ = (
        "_asked",
        "_confirmed",
        "_expiring",
        "_group",
        "_link",
        "_room",
        "_settings",
        "_wanted",
        "check_alive",
        "direct",
        "queue",
    )

    def __init__(self, settings: Outbox, check_alive: Callable[[], None]) -> None:
        self.queue: Queue = Queue(settings)
        self.direct: Link | None = None
        self.check_alive: Callable[[], None] = check_alive
        self._settings = settings
        self._link: Link | None = None
        self._group: TaskGroup | None = None
        self._asked = self._confirmed = self._wanted = 0  # positions on this link: see `Traffic`
        self._room: Event | None = None  # somebody waits for room in the outbox
        self._expiring: CancelScope | None = None  # somebody watches over times to live

    # What the application's tasks call.

    async def send(
        self,
        message: Message,
        *,
        key: Hashable = None,
        time_to_live: float | None = None,
        link_only: bool = False,
    ) -> Receipt:
        """Put a message into the outbox, and out of it if there is a link. See `Connection`."""
        settings = self._settings
        if key is not None and settings.at_limit is not AtLimit.CONFLATE:
            raise UsageError("a key has a meaning under AtLimit.CONFLATE only: see Policy.outbox")
        if time_to_live is None:
            time_to_live = settings.time_to_live
        elif not time_to_live > 0:
            raise UsageError(f"time_to_live must be above 0 seconds, got {time_to_live!r}")
        terms = Terms(
            key=key,
            expires_at=math.inf if time_to_live is None else current_time() + time_to_live,
            link_only=link_only,
            acknowledged_by=self._name(message),
        )
        receipt = Receipt(message, terms)
        receipt.sending = self
        await self.enter(receipt)
        return receipt

    def _name(self, message: Message) -> Hashable:
        """What the application's acknowledgement of a message will say; None: there is none."""
        acknowledged = self._settings.acknowledged
        if acknowledged is None:
            return None
        try:
            name = acknowledged.id(message)
            hash(name)
        except Exception as error:
            text = f"Acknowledged.id failed with {type(error).__name__}: {error}"
            raise UsageError(text) from error
        return name

    async def enter(self, receipt: Receipt) -> None:
        """`send` for a receipt that is made already."""
        self.check_alive()
        if receipt.terms.link_only and self._link is None:
            receipt.give_up(ReceiptState.DROPPED, "there was no link")
            return
        while not self.queue.put(receipt, current_time()):
            await self._wait_room()
            self.check_alive()
        link = self._link
        if link is not None:
            self.refill()
            if not (link.may_write or self.queue.has_waiting):
                await link.wait_room()
        elif receipt.terms.expires_at < math.inf:
            self._watch_expiry(receipt.terms.expires_at)

    def pending(self) -> list[Receipt]:
        """The receipts of all that is not settled."""
        return [entry for entry in self.queue.entries if isinstance(entry, Receipt)]

    async def _wait_room(self) -> None:
        self._room = room = self._room or Event()
        self.hurry()
        await room.wait()

    def _wake(self) -> None:
        if self._room is not None:
            self._room.set()
            self._room = None

    def hurry(self) -> None:
        """Somebody waits for an acknowledgement: do not let the fence wait."""
        if self._settings.acknowledged is None:
            self._wanted = self.queue.position
            self._fence()

    # How far the peer has come.

    def ask(self) -> int:
        """See `Traffic`."""
        self._asked = self.queue.position
        return self._asked

    @property
    def has_unconfirmed(self) -> bool:
        """See `Traffic`."""
        return self._confirmed < self.queue.position

    def confirm(self, position: int) -> None:
        """See `Traffic`."""
        if not self._confirmed < position <= self.queue.position:
            return
        self._confirmed = position
        if self._settings.acknowledged is None:
            self.queue.acknowledge(position)
        else:
            self.queue.acknowledge_unnamed(position)
        self._go_on()

    def _go_on(self) -> None:
        """There is room: for the next fence, in the outbox, on the direct way."""
        self.queue.bear(0, 0)
        if self.has_unconfirmed:
            self.look_at_limits()
        self._choose_way()
        self._wake()

    def _fence(self) -> None:
        """Have a ping go out for what is unconfirmed, unless one is on its way already."""
        link = self._link
        if link is None or self._asked > self._confirmed or not self.has_unconfirmed:
            return
        if self._wanted > self._confirmed or self._is_beyond(QUARTER):
            link.ping()
        else:
            link.fence(current_time() + self._settings.fence_after)

    def _is_beyond(self, share: float) -> bool:
        queue, settings = self.queue, self._settings
        beyond = len(queue.entries) > settings.messages * share
        return beyond or queue.size_bytes > settings.size_bytes * share

    def look_at_limits(self) -> None:
        """Fence off what was written directly, and say up to where more of it is borne."""
        self._fence()
        settings, queue = self._settings, self.queue
        if self._is_beyond(QUARTER):
            queue.bear(settings.messages - 1, settings.size_bytes - DIRECT)
        else:
            queue.bear(int(settings.messages * QUARTER), int(settings.size_bytes * QUARTER))
        if len(queue) >= settings.messages or queue.size_bytes > settings.size_bytes - DIRECT:
            self.direct = None  # from here on each message is held against the limits

    def _choose_way(self) -> None:
        """Write directly where nothing has to be looked at: no names, times or backlog."""
        settings, queue = self._settings, self.queue
        is_plain = settings.acknowledged is None and settings.time_to_live is None
        is_free = not queue.has_waiting and not self._is_beyond(HALF)
        self.direct = self._link if is_plain and is_free else None

    # The link comes and goes.

    def opened(self, link: Link) -> None:
        """A link is open: what waits goes out by it, before anything else."""
        self._link = link
        link.traffic = self
        self._asked = self._confirmed = self._wanted = 0
        self._go_on()
        self.refill()

    def refill(self) -> bool:
        """See `Traffic`."""
        link, queue = self._link, self.queue
        if link is None:
            return False
        now, before = current_time(), queue.position
        while link.may_write and (entry := queue.next_waiting(now)) is not None:
            try:
                link.write(entry.message)
            except StatewsError:
                break  # the driver learns of it, and has it sent by the next link
            queue.wrote(entry)
        link.has_backlog = queue.has_waiting
        self._fence()
        self._choose_way()
        return queue.position > before

    def lost(self) -> None:
        """The link is gone."""
        self._link = self.direct = None
        self.queue.lose_link()
        self._watch_expiry(self.queue.expire(current_time()))
        self._wake()

    def failed(self) -> None:
        """The policy gave up: what waits stays, and whoever waits learns it."""
        for receipt in self.pending():
            receipt.wake()
        self._wake()

    def closed(self) -> None:
        """The connection is over."""
        self._link = self.direct = None
        self.queue.close()
        self._wake()
        if self._expiring is not None:
            self._expiring.cancel()

    # Times to live.

    def start(self, group: TaskGroup) -> None:
        """The connection was entered; its tasks run in `group`."""
        self._group = group

    def expire(self) -> None:
        """The time of a message may be over."""
        self.queue.expire(current_time())
        self._wake()

    def _watch_expiry(self, at: float) -> None:
        if at == math.inf or self._group is None:
            return
        if self._expiring is None:
            self._expiring = CancelScope(deadline=at)
            self._group.start_soon(self._keep_expiring)
        else:
            self._expiring.deadline = min(self._expiring.deadline, at)

    async def _keep_expiring(self) -> None:
        """Settle messages as their time is over, as long as any waits that has a limit."""
        while (at := self.queue.expire(current_time())) < math.inf:
            self._wake()
            with CancelScope(deadline=at) as self._expiring:
                await sleep_forever()
        self._expiring = None
        self._wake()
