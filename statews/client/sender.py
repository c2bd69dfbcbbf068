"""The sending half of a connection: its outbox, and what is spoken on the link it goes out by.

While a link is open and nothing waits, a message is written at once and only remembered. What
the peer has taken in is learned in the link's own way: see `Plain` and `Spoken`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from anyio import CancelScope, Event, current_time
from anyio.lowlevel import checkpoint

from ..errors import StoreError, UsageError
from ..protocol.entry import Entry, ReceiptState, Terms
from ..protocol.outbox import Queue
from .expiry import Expiry
from .keeper import from_unix_time
from .plain import Plain
from .receipts import Receipt
from .spoken import Spoken
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
    from .plain import Way
    from .session import Session

__all__ = ["Sender"]


TURNS: Final = 16
TURN: Final = 64  # messages that are queued on an open link between two turns for others


class Sender:
    """What a connection sends, across links.

    Attributes:
        queue: what is not settled.
        way: where to write to at once; None: a message has to queue.
        direct: the same, for texts of which a burst is enough.
        has_terms: whether there is something to each message, whatever was asked for it.
        intake: what looks at what comes in, if anything does.
        keeper: what stores the messages, if anything does.
    """

    __slots__ = (
        "_check_alive",
        "_expiry",
        "_group",
        "_room",
        "_session",
        "_settings",
        "_spoken",
        "direct",
        "has_terms",
        "intake",
        "keeper",
        "queue",
        "way",
    )

    def __init__(
        self, settings: Outbox, check_alive: Callable[[], None], session: Session | None = None
    ) -> None:
        self.queue: Queue = Queue(settings) if session is None else session.peer.log
        self.way: Way | None = None
        self.direct: Way | None = None
        self.has_terms: bool = (
            settings.time_to_live is not None or settings.acknowledged is not None
        )
        self._check_alive = check_alive
        self.intake: Intake | None = None
        self.keeper: Keeper | None = None
        self._settings = settings
        self._session = session
        self._spoken: Plain | Spoken | None = None  # while a link is open
        self._room: Event | None = None  # somebody waits for room in the outbox
        self._group: TaskGroup | None = None  # once the connection is entered
        self._expiry: Expiry | None = None  # once something may expire

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
        if time_to_live is not None and self.queue.numbered == math.inf:
            raise UsageError("a stored message of a session is numbered, and does not expire")
        terms = make_terms(
            self._settings,
            message,
            key=key,
            time_to_live=time_to_live,
            link_only=link_only,
            now=current_time(),
        )
        entry = Entry(message, terms)
        await self.enter(entry)
        return self.receipt(entry)

    def receipt(self, entry: Entry) -> Receipt:
        """What tells how far that entry has come."""
        receipt = Receipt()
        receipt.message, receipt.sending = entry.message, self
        receipt.burst, receipt.index = entry, 0
        return receipt

    async def enter(self, entry: Entry) -> None:
        """`send` for an entry that is made already."""
        self.check_alive()
        self.check_size(entry.size)
        if entry.terms.link_only and self._spoken is None:
            entry.give_up(ReceiptState.DROPPED, "there was no link")
            return
        if entry.terms.link_only and self._spoken is not None and self._spoken.send_now(entry):
            await self._wait_written(entry)
            return
        if self.keeper is None and self.queue.put_behind(entry):
            if self._spoken is not None and not len(self.queue.entries) % TURN:
                await checkpoint()  # who sends without a pause lets others in now and then
            return  # what the others wait for, this one waits for as well
        await self._put(entry)

    async def _put(self, entry: Entry) -> None:
        """Bring an entry into the outbox as soon as there is room, and store it."""
        link = self._spoken
        self._number(entry)
        while not self.queue.put(entry, current_time()):
            if not await self._wait_room(until=entry.terms.expires_at):
                entry.give_up(ReceiptState.EXPIRED, "its time to live was over")
                return
            self.check_alive()
            if entry.terms.link_only and link is not self._spoken:
                entry.give_up(ReceiptState.DROPPED, "its link was lost")
                return
            self.check_size(entry.size)
            self._number(entry)
        self._sweep()
        if entry.terms.number and not entry.state.is_final:
            await self._store(entry)
        await self._wait_written(entry)

    def check_size(self, size: int) -> None:
        """Raise UsageError if the server takes no message of that length."""
        if self._session is not None and size > self._session.peer.log.largest:
            most = self._session.peer.log.largest
            raise UsageError(f"the server takes messages of {most} bytes, got {size}")

    async def _wait_written(self, entry: Entry) -> None:
        """Have the outbox go out as far as it may, and wait if the link is full."""
        spoken = self._spoken
        if spoken is not None:
            spoken.refill()
        if entry.state is ReceiptState.QUEUED:
            self._watch(entry.terms.expires_at)
        elif spoken is not None and not spoken.link.may_write:
            await spoken.link.wait_room()

    def _number(self, entry: Entry) -> None:
        """Give a message its place in the store, if there is one."""
        if self.keeper is not None and not entry.terms.link_only:
            entry.terms = replace(entry.terms, number=self.keeper.next_number())

    async def _store(self, entry: Entry) -> None:
        """Return when the message is stored, and may be written."""
        assert self.keeper is not None  # noqa: S101 - who else gave it a number
        self.keeper.add(entry)
        try:
            await self.keeper.commit()
        except StoreError:
            if entry.state is ReceiptState.QUEUED and not entry.attempts:
                self.queue.withdraw(entry, "the store failed")
                self.wake()
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
            self.queue.restore(Entry(stored.message, terms))

    def pending(self) -> list[Receipt]:
        """The receipts of all that is not settled."""
        self.queue.expand()
        volatile = () if self._session is None else self._session.peer.volatile.entries
        return [self.receipt(entry) for entry in (*volatile, *self.queue.entries)]

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

    def wake(self) -> None:
        """Something was settled: there is room in the outbox."""
        self._sweep()
        if self._room is not None:
            self._room.set()
            self._room = None

    def hurry(self) -> None:
        """Somebody waits for an acknowledgement: do not let it wait, and read it."""
        if self._spoken is not None:
            self._spoken.hurry()

    def acknowledge(self, name: Hashable) -> bool:
        """The application's acknowledgement of a message; whether there is one of that name."""
        acknowledged = self._settings.acknowledged
        if acknowledged is None or not self.queue.acknowledge_named(
            name, is_cumulative=acknowledged.is_cumulative
        ):
            return False
        self.wake()
        return True

    # What the link asks for.

    @property
    def durable(self) -> float:
        """The highest number of a message that is stored, or needs no storing any more."""
        return math.inf if self.keeper is None else self.keeper.durable

    @property
    def may_go_directly(self) -> bool:
        """Whether a message needs nothing but a link: no time, no name, no store."""
        return not self.has_terms and self.keeper is None

    @property
    def is_held_back(self) -> bool:
        """Whether nothing but a limit keeps a message from being written at once."""
        is_open = self.way is None and self._spoken is not None and self.may_go_directly
        return is_open and not self.queue.has_waiting

    async def wait_turns(self) -> None:
        """Let others have some turns: a near peer's word that there is room takes no longer.

        It is cheaper than to queue, and happens once each time that a limit is reached.
        """
        if self._spoken is not None:
            self._spoken.link.call_owner()  # whoever sends here may have been receiving just now
        for _ in range(TURNS):
            await checkpoint()
            if not self.is_held_back:
                return

    def look_at_limits(self) -> None:
        """More was written directly than was borne: see `Queue.track`."""
        if self._spoken is not None:
            self._spoken.look_at_limits()

    def write(self, request: Message) -> None:
        """Say something on this link, if there is one, and now or never.

        Raises:
            StatewsError: the link is over.
        """
        if self._spoken is not None:
            self._spoken.write(request)

    # The link comes and goes.

    def opened(self, link: Link) -> None:
        """A link is open: what waits goes out by it, before anything else."""
        if self._session is not None and self._session.is_on(link):
            self._spoken = Spoken(self, self._session, link, self._settings)
        else:
            self._spoken = Plain(self, link, self._settings)
            if self._session is not None and self.intake is not None:
                self._session.tell(self.intake)
        self._spoken.start()

    def refill(self) -> None:
        """More may be written than before."""
        if self._spoken is not None:
            self._spoken.refill()

    def lost(self) -> None:
        """The link is gone."""
        if self._spoken is not None:
            self._spoken.lost()
        self._spoken = self.way = self.direct = None
        if self._session is not None and self._session.is_alive:
            self._session.lost()
            if self.intake is not None:
                self.intake.suspended()
        else:
            self.queue.lose_link()
            if self.intake is not None:
                self.intake.lost()
        self._watch(self.queue.expire(current_time()))
        self.wake()

    def failed(self) -> None:
        """The policy gave up: what waits stays, and whoever waits learns it."""
        for entry in self.queue.entries:
            entry.wake()
        self.wake()

    def closed(self) -> None:
        """The connection is over."""
        self._spoken = self.way = self.direct = None
        self.queue.close()
        self.wake()
        if self.keeper is not None:
            self.keeper.stop()
        if self._expiry is not None:
            self._expiry.stop()

    def start(self, group: TaskGroup) -> None:
        """The connection was entered; its tasks run in `group`."""
        self._group = group
        if self.keeper is not None:
            group.start_soon(self.keeper.run, self.refill)

    def _watch(self, at: float) -> None:
        """Something expires at that time, if ever."""
        if at < math.inf and self._group is not None:
            self._expiry = self._expiry or Expiry(self.queue, self.wake, self._group)
            self._expiry.watch(at)

    def expire(self) -> None:
        """The time of a message may be over."""
        self.queue.expire(current_time())
        self.wake()
