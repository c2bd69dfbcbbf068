"""The sending half of a connection: its outbox, and the link that it goes out by.

While a link is open and nothing waits, a message is written at once and only remembered. What
the peer has taken in is learned by fences: a ping says how many messages went before it, and so
does its pong. At most one fence is on its way, and a link without messages has none.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from anyio import CancelScope, Event, current_time

from ..errors import StatewsError, StoreError, UsageError
from ..protocol.entry import ReceiptState, Terms
from ..protocol.fence import Fence
from ..protocol.outbox import Queue
from .expiry import Expiry
from .keeper import from_unix_time
from .receipts import Receipt
from .terms import make_terms, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from anyio.abc import TaskGroup

    from ..policy import Outbox
    from ..protocol.frames import Message
    from ..store.base import Stored
    from ..transport.link import Link
    from .intake import Intake
    from .keeper import Keeper

__all__ = ["Sender"]

QUARTER: Final = 0.25  # of the limits; what goes beyond it is fenced off at once
DIRECT: Final = 64 * 1024  # bytes; a longer message is not written before the limit was looked at


class Sender:
    """What a connection sends, across links. It is the `Traffic` of each.

    Attributes:
        queue: what is not settled.
        direct: the link to write to at once; None: a message has to queue.
        intake: what looks at what comes in, if anything does.
        keeper: what stores the messages, if anything does.
    """

    __slots__ = (
        "_check_alive",
        "_expiry",
        "_fence",
        "_link",
        "_room",
        "_settings",
        "direct",
        "intake",
        "keeper",
        "queue",
    )

    def __init__(self, settings: Outbox, check_alive: Callable[[], None]) -> None:
        self.queue: Queue = Queue(settings)
        self.direct: Link | None = None
        self._check_alive = check_alive
        self.intake: Intake | None = None
        self.keeper: Keeper | None = None
        self._settings = settings
        self._link: Link | None = None
        self._fence = Fence(settings.fence_after)
        self._room: Event | None = None  # somebody waits for room in the outbox
        self._expiry = Expiry(self.queue, self._wake)

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
        if self.keeper is not None and not isinstance(key, (str, type(None))):
            raise UsageError(f"a key that is stored must be a str, got {type(key).__name__}")
        terms = make_terms(
            self._settings,
            message,
            key=key,
            time_to_live=time_to_live,
            link_only=link_only,
            now=current_time(),
        )
        receipt = Receipt(message, terms)
        receipt.sending = self
        await self.enter(receipt)
        return receipt

    async def enter(self, receipt: Receipt) -> None:
        """`send` for a receipt that is made already."""
        self.check_alive()
        if receipt.terms.link_only and self._link is None:
            receipt.give_up(ReceiptState.DROPPED, "there was no link")
            return
        self._number(receipt)
        while not self.queue.put(receipt, current_time()):
            if not await self._wait_room(until=receipt.terms.expires_at):
                receipt.give_up(ReceiptState.EXPIRED, "its time to live was over")
                return
            self.check_alive()
            self._number(receipt)
        self._sweep()
        if receipt.terms.number and not receipt.state.is_final:
            await self._store(receipt)
        link = self._link
        if link is not None:
            self.refill()
        if receipt.state is ReceiptState.QUEUED:
            self._expiry.watch(receipt.terms.expires_at)
        elif link is not None and not link.may_write:
            await link.wait_room()

    def _number(self, receipt: Receipt) -> None:
        """Give a message its place in the store, if there is one."""
        if self.keeper is not None and not receipt.terms.link_only:
            receipt.terms = replace(receipt.terms, number=self.keeper.next_number())

    async def _store(self, receipt: Receipt) -> None:
        """Return when the message is stored, and may be written."""
        assert self.keeper is not None  # noqa: S101 - who else gave it a number
        self.keeper.add(receipt)
        try:
            await self.keeper.commit()
        except StoreError:
            if receipt.state is ReceiptState.QUEUED and not receipt.attempts:
                self.queue.withdraw(receipt, "the store failed")
                self._wake()
            raise

    def restore(self, messages: Iterable[Stored]) -> None:
        """Take in what an earlier process left in the store."""
        for stored in messages:
            at = stored.expires_at
            terms = Terms(
                key=stored.key,
                expires_at=math.inf if at is None else from_unix_time(at),
                acknowledged_by=name_of(self._settings, stored.message),
                number=stored.number,
            )
            receipt = Receipt(stored.message, terms)
            receipt.sending = self
            self.queue.restore(receipt)

    def pending(self) -> list[Receipt]:
        """The receipts of all that is not settled."""
        return [entry for entry in self.queue.entries if isinstance(entry, Receipt)]

    def check_alive(self) -> None:
        """Raise if nothing will become of what waits."""
        self._check_alive()

    async def _wait_room(self, *, until: float) -> bool:
        self._room = room = self._room or Event()
        self.hurry()
        with CancelScope(deadline=until):
            await room.wait()
            return True
        return False

    def _sweep(self) -> None:
        """Let the store forget what is settled."""
        if self.keeper is not None and self.queue.settled:
            settled, self.queue.settled = self.queue.settled, []
            self.keeper.remove(settled)

    def _wake(self) -> None:
        self._sweep()
        if self._room is not None:
            self._room.set()
            self._room = None

    def hurry(self) -> None:
        """Somebody waits for an acknowledgement: do not let the fence wait, and read it."""
        if self._settings.acknowledged is None:
            self._fence.want(self.queue.position)
            self._ask_if_due()
        if self._link is not None:
            self._link.call_owner()

    # How far the peer has come.

    def ask(self) -> int:
        """See `Traffic`."""
        self._fence.asked(self.queue.position)
        return self.queue.position

    @property
    def has_unconfirmed(self) -> bool:
        """See `Traffic`."""
        return self._fence.confirmed < self.queue.position

    def confirm(self, position: int) -> None:
        """See `Traffic`."""
        if not self._fence.confirm(position, written=self.queue.position):
            return
        if self._settings.acknowledged is None:
            self.queue.acknowledge(position)
        else:
            self.queue.acknowledge_unnamed(position)
        self._go_on()

    def acknowledge(self, name: Hashable) -> bool:
        """The application's acknowledgement of a message; whether there is one of that name."""
        acknowledged = self._settings.acknowledged
        if acknowledged is None or not self.queue.acknowledge_named(
            name, is_cumulative=acknowledged.is_cumulative
        ):
            return False
        self._wake()
        return True

    def tick(self, now: float) -> float:
        """See `Traffic`."""
        if now >= self._fence.due and self._link is not None:
            self._link.ping()
        return min(self._fence.due, math.inf if self.intake is None else self.intake.tick(now))

    def _go_on(self) -> None:
        """There is room: for the next fence, in the outbox, on the direct way."""
        self.queue.bear(0, 0)
        if self.has_unconfirmed:
            self.look_at_limits()
        self._choose_way()
        self._wake()

    def _ask_if_due(self) -> None:
        """Have a ping go out for what is unconfirmed, now or soon."""
        link = self._link
        if link is None:
            return
        is_urgent = self._is_beyond(QUARTER)
        if self._fence.may_ask(self.queue.position, current_time(), is_urgent=is_urgent):
            link.ping()
        else:
            link.look_at(self._fence.due)

    def _is_beyond(self, share: float) -> bool:
        queue, settings = self.queue, self._settings
        beyond = len(queue.entries) > settings.messages * share
        return beyond or queue.size_bytes > settings.size_bytes * share

    def look_at_limits(self) -> None:
        """Fence off what was written directly, and say up to where more of it is borne."""
        self._ask_if_due()
        settings, queue = self._settings, self.queue
        if self._is_beyond(QUARTER):
            queue.bear(settings.messages - 1, settings.size_bytes - DIRECT)
        else:
            borne = min(int(settings.size_bytes * QUARTER), settings.size_bytes - DIRECT)
            queue.bear(int(settings.messages * QUARTER), borne)
        if len(queue) >= settings.messages or queue.size_bytes > settings.size_bytes - DIRECT:
            self.direct = None  # from here on each message is held against the limits

    def _choose_way(self) -> None:
        """Write directly where nothing has to be looked at: no names, times or backlog."""
        settings, queue = self._settings, self.queue
        is_plain = (
            settings.acknowledged is None and settings.time_to_live is None and self.keeper is None
        )
        is_within = (
            len(queue) < settings.messages and queue.size_bytes + DIRECT <= settings.size_bytes
        )
        is_free = not queue.entries or (is_within and not queue.has_waiting)
        self.direct = self._link if is_plain and is_free else None

    # The link comes and goes.

    def opened(self, link: Link) -> None:
        """A link is open: what waits goes out by it, before anything else."""
        self._link = link
        link.traffic = self
        self._fence.start()
        if self.intake is not None:
            self.intake.opened(link)
        self._go_on()
        self.refill()
        if self.queue.entries and self.queue.entries[0].attempts > 1:
            self.hurry()  # it has waited long enough, and this link may not live for long either

    def refill(self) -> bool:
        """See `Traffic`."""
        link, queue = self._link, self.queue
        if link is None:
            return False
        now, before = current_time(), queue.position
        durable = math.inf if self.keeper is None else self.keeper.durable
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

    def lost(self) -> None:
        """The link is gone."""
        self._link = self.direct = None
        if self.intake is not None:
            self.intake.lost()
        self.queue.lose_link()
        self._expiry.watch(self.queue.expire(current_time()))
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
        if self.keeper is not None:
            self.keeper.stop()
        self._expiry.stop()

    def start(self, group: TaskGroup) -> None:
        """The connection was entered; its tasks run in `group`."""
        self._expiry.start(group)
        if self.keeper is not None:
            group.start_soon(self.keeper.run, self.refill)

    def expire(self) -> None:
        """The time of a message may be over."""
        self.queue.expire(current_time())
        self._wake()
