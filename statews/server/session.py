"""A session as its handler sees it: one object across any number of links."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

from ..errors import BusyError, ConnectionClosed
from ..lifecycle import fire_session
from ..protocol.codes import CloseCode
from ..protocol.entry import Entry
from ..protocol.sync import Gap
from .attachment import Attachment
from .sending import Sending
from .standing import Standing

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable

    from typing_extensions import Self

    from ..protocol.admission import Hint
    from ..protocol.frames import Message
    from ..protocol.session import Credentials, Hello
    from ..transport.link import Link
    from .inbox import Event, Inbox
    from .journal import Journal

__all__ = ["Events", "Session"]

Result = TypeVar("Result")


class Session(Sending):
    """One client, across links. The handler of `serve` gets it, and others may send to it.

    One task at a time may receive; any number may send.

    Attributes:
        credentials: what the client resumes it with.
        links: how many there were; what an older one still says is not heard.
        kept_upto: the number of the last message when the server last looked.
        context: yours, for whatever belongs to the session in this process.
    """

    __slots__ = (
        "__weakref__",
        "_durable",
        "context",
        "credentials",
        "kept_upto",
        "links",
    )

    def __init__(
        self, sid: str, credentials: Credentials, standing: Standing, journal: Journal
    ) -> None:
        super().__init__(sid, standing, journal)
        self.credentials: Credentials = credentials
        self.links: int = 0
        self.context: object = None
        self.kept_upto: int = 0
        self._durable = 0

    def __repr__(self) -> str:
        return f"<statews.Session {self.id} {self.state}>"

    @property
    def principal(self) -> str | None:
        """Whose session it is, as `authenticate` has said; None if nobody asked."""
        return self.credentials.principal

    @property
    def is_attached(self) -> bool:
        """Whether a link of the client is up."""
        return self._attachment is not None

    def is_on(self, link: Link) -> bool:
        """Whether that link is the one."""
        return self._attachment is not None and self._attachment.link is link

    # What comes in.

    async def receive(self) -> Message:
        """The next message of the client. To ask for it is to have handled the one before.

        Raises:
            ConnectionClosed: the session is over, and every message was taken.
            StoreError: the store cannot say that the last one was handled.
            BusyError: another task is receiving.

        Cancellation: no message is lost.
        """
        text = self.inbox.next_text()
        if text is not None:
            return text
        while True:
            event = self._next_nowait()
            if event is None:
                event = await self.next_event()
            if not isinstance(event, Gap):
                return event

    def _next_nowait(self) -> Event | None:
        """The next event, if it is here, and no store has to know first of the one before."""
        if self._journal.is_durable:
            return None
        inbox = self.inbox
        if inbox.handle_last() and self._attachment is not None:
            self._attachment.acknowledge_soon()
        return inbox.take()

    async def next_event(self) -> Event:
        """As `receive`, with the gaps: messages that the client dropped before they were sent."""
        await self.acknowledge()
        while (event := self.inbox.take()) is None:
            await self._arrival()
        return event

    def _arrival(self) -> Awaitable[None]:
        """What to wait for where no event is here. Raises as `receive`."""
        self._check_alive()
        attachment = self._attachment
        if attachment is not None and attachment.link.ending is None:
            return attachment.link.wait_message()
        if self.inbox.is_waited_for:
            raise BusyError("another task is receiving from this session already")
        return self.inbox.wait()

    def __aiter__(self) -> Self:
        """Iterate over the messages, until the session is over."""
        return self

    async def __anext__(self) -> Message:
        text = self.inbox.next_text()
        if text is not None:
            return text
        while True:  # as `receive`, with fewer coroutines for each handler that waits
            event = self._next_nowait()
            try:
                if event is None and self._journal.is_durable:
                    event = await self.next_event()
                elif event is None:
                    await self._arrival()
            except ConnectionClosed:
                raise StopAsyncIteration from None
            if not (event is None or isinstance(event, Gap)):
                return event

    def events(self) -> Events:
        """An iterator over messages and gaps in one order, until the session is over."""
        return Events(self)

    async def acknowledge(self) -> None:
        """The message received last is handled: tell the client, before the next is asked for.

        Raises:
            StoreError: the store cannot keep that. As long as it cannot, there is no next one.
        """
        inbox = self.inbox
        is_unsaved = self._journal.has_failed and inbox.cursor.safe < inbox.cursor.rx
        if inbox.handle_last() is not None or is_unsaved:
            await self._save()
            self.saved()

    async def transact(self, effect: Callable[[sqlite3.Connection], Result]) -> Result:
        """Handle the message received last: its effect and the position are stored together.

        So the effect is there exactly once, whatever dies when: what a process that dies has
        handled is not delivered again, and what it has not handled has no effect. With a message
        that has no number the position stays where it is: one for the link alone arrives at most
        once, and a slot's value with each link.

        Args:
            effect: makes its changes with the connection of the server's store, in a worker
                thread: see `SQLiteStore.transact`.

        Raises:
            UsageError: the server's store is no `SQLiteStore`, or there is no message that was
                received and not handled.
            StoreError: it could not be stored. Nothing of it was.
            Exception: what the effect raises. The message is not handled.

        Cancellation: both are stored, or neither is. Where that is not known, the message comes
            again if it was not.
        """
        return await self._journal.transact(self, effect)

    def stored(self, last: int, standing: Standing) -> None:
        """The store has everything up to there: it may go out, and be acknowledged."""
        self._durable = max(self._durable, last)
        if self.is_asleep:
            return
        cursor = self.peer.cursor
        if standing.rx > cursor.safe:
            cursor.saved(standing.rx, standing.rx_chain)
        if self._attachment is not None:
            self._attachment.acknowledge_soon()
            self._attachment.refill()

    def saved(self) -> None:
        """What was handled is as safe as it gets, and may be acknowledged."""
        cursor = self.peer.cursor
        cursor.saved(cursor.rx, cursor.chain)
        if self._attachment is not None:
            self._attachment.acknowledge_soon()

    @property
    def redelivered(self) -> bool:
        """Whether the message received last may have been handled before, by one that failed."""
        return self.inbox.is_again

    @property
    def position(self) -> int:
        """The number of the last message handled: with `id` it names a message for good."""
        side = self._side
        return side.rx if isinstance(side, Standing) else side.cursor.rx

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """End the session, by intent: both sides forget it. Calling it again is fine."""
        if not self.is_over:
            self.leave_link(code, reason)
            self._journal.end(self)

    # The link comes and goes: see `Server`.

    def attach(self, link: Link, hello: Hello) -> None:
        """A link of the client's is up; it takes the place of the one before."""
        fire_session(self, "attached")
        self.peer.log.largest = hello.largest
        self.peer.resume(hello.position, hello.window)
        self._put_on(Attachment(self, link, self._journal.arriving))

    def make_way(self) -> None:
        """A newer link of the client's is coming."""
        if self._attachment is not None:
            self.leave_link(CloseCode.REPLACED, "a newer link took over")
            self.detach()

    def detach(self) -> None:
        """The link is lost."""
        if self._attachment is not None:
            self._attachment.part()
            self._take_off()
            self.peer.suspend()
            if not self.is_over:
                fire_session(self, "lost")
            self.wake()

    def leave_link(self, code: int, reason: str) -> None:
        """Close the link, if one is up. The session stays."""
        if self._attachment is not None:
            self._attachment.leave(code, reason)

    def send_away(self, hint: Hint, why: str) -> None:
        """Have the client leave, and come back at a time of its own."""
        if self._attachment is not None:
            self._attachment.send_away(hint, why)

    def restore(self, entry: Entry) -> None:
        """Take back in what an earlier process had in the log."""
        self.peer.log.restore(entry)
        self._durable = entry.terms.number

    def over(self, event: str) -> None:
        """Nothing will come any more: whoever waits learns it.

        What has arrived is still handled if the client has ended the session; else it sends that
        again in another one, should it come back.
        """
        is_ended = event != "elapsed"
        fire_session(self, "ended" if is_ended else "elapsed")
        if not (is_ended or self.is_asleep):
            self.inbox.clear()
        self.wake_all()

    def wake_all(self) -> None:
        """Have whoever waits for something look whether it will ever come."""
        if not self.is_asleep:
            self.inbox.wake()
        self.wake()

    def count_link(self, _: object) -> None:
        """An effect of the machine's."""
        self.links += 1

    @property
    def inbox(self) -> Inbox:
        """What waits for the handler. To ask for it wakes a session that sleeps."""
        side = self._side
        if isinstance(side, Standing):
            side = self._side = self._journal.wake(self, side)
        return side

    def standing(self) -> Standing:
        """Where it stands now, beside the messages that wait."""
        side = self._side
        return side if isinstance(side, Standing) else Standing.of(side.peer, side.again_upto)

    def fall_asleep(self) -> None:
        """Keep only what is needed to go on, if nothing is under way."""
        if not (self.is_asleep or self.is_attached) and self.inbox.is_idle:
            self._side = self.standing()

    @property
    def durable(self) -> float:
        """The highest number of a message that is stored, or needs no storing."""
        return self._durable if self._journal.is_durable else math.inf

    def changed(self) -> None:
        """Something of it is to be stored, and nobody waits for that."""
        self._journal.note(self)

    async def _save(self) -> None:
        await self._journal.save(self)

    def _added(self, entry: Entry) -> None:
        self._journal.add(self, entry)

    def _make_place(self, size: int) -> None:
        self._journal.make_place(self, size)

    def settled(self) -> None:
        """Some of what was sent need not be kept any more."""
        self._journal.settled(self)
        self.wake()


class Events:
    """Iterates over messages and gaps, until the session is over."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def __aiter__(self) -> Events:
        """Iterate; another loop goes on where this one is left."""
        return self

    async def __anext__(self) -> Event:
        """The next event. Raises as `Session.receive`."""
        try:
            return await self._session.next_event()
        except ConnectionClosed:
            raise StopAsyncIteration from None
