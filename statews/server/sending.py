"""What a server sends in a session: at once while the client is there, else when it is back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from anyio import Event as Signal
from anyio import current_time
from anyio.lowlevel import checkpoint

from ..errors import (
    ConnectionClosed,
    DeliveryError,
    OutboxFullError,
    StatewsError,
    UsageError,
)
from ..lifecycle import SessionState
from ..policy import AtLimit
from ..protocol.entry import Entry, Terms
from ..protocol.envelope import is_slot
from ..protocol.outbox import DIRECT
from .standing import Standing

if TYPE_CHECKING:
    from ..protocol.frames import Message
    from ..protocol.session import Peer
    from ..transport.conversation import Conversation
    from .attachment import Attachment
    from .inbox import Inbox
    from .journal import Journal

__all__ = ["Sending"]


class Sending(ABC):
    """The part of a `Session` that sends. Any number of tasks may.

    Attributes:
        id: public, and the same for as long as the session lasts.
        state: whether a link of the client is up, or why none will be.
        direct: where to write texts to at once; None: a message has to be looked at.
        counted_bytes: what its log holds, as far as `Room` has counted.
    """

    __slots__ = (
        "_attachment",
        "_journal",
        "_room",
        "_side",
        "counted_bytes",
        "direct",
        "id",
        "state",
    )

    def __init__(self, sid: str, standing: Standing, journal: Journal) -> None:
        self.id: str = sid
        self.state: SessionState = SessionState.DETACHED
        self.direct: Conversation | None = None
        self.counted_bytes: int = 0
        self._journal = journal
        self._side: Inbox | Standing = standing  # awake or asleep
        self._attachment: Attachment | None = None  # while a link is up
        self._room: Signal | None = None

    @abstractmethod
    async def _save(self) -> None:
        """Return when everything of it is stored, if there is a store. Raises StoreError."""

    @property
    @abstractmethod
    def inbox(self) -> Inbox:
        """What waits for the handler. To ask for it wakes a session that sleeps."""

    @abstractmethod
    def _added(self, entry: Entry) -> None:
        """A message is in the log."""

    @abstractmethod
    def _make_place(self, size: int) -> None:
        """Have room for so much more, whatever has to be dropped for it."""

    @property
    def is_over(self) -> bool:
        """Whether no link will come any more."""
        return self.state in (SessionState.EXPIRED, SessionState.ENDED)

    @property
    def peer(self) -> Peer:
        """This side of it. To ask for it wakes a session that sleeps."""
        return self.inbox.peer

    @property
    def is_asleep(self) -> bool:
        """Whether nothing of it is under way, and only what is needed to go on is kept."""
        return isinstance(self._side, Standing)

    @property
    def sent(self) -> int:
        """The number of the last message that was sent; the next one has the next."""
        side = self._side
        return side.acknowledged if isinstance(side, Standing) else side.peer.log.last

    @property
    def largest(self) -> int:
        """Bytes of the longest message that the client takes, as far as this process knows."""
        side = self._side
        return side.largest if isinstance(side, Standing) else side.peer.log.largest

    async def send(self, message: Message) -> None:
        """Send one message: at once if the client is there, and when it is back if it is not.

        Returns when the message is in the log, and stored if there is a store. At the log's
        limits it waits for the client, or what else `SessionLimits.at_limit` says.

        Raises:
            UsageError: not a message, or longer than the client takes.
            OutboxFullError: the log is at its limit, and `AtLimit.RAISE` says what then.
            ConnectionClosed: the session is over.
            StoreError: the message could not be stored; it is sent if this process lives.

        Cancellation: the message is in the log whole, or not at all.
        """
        direct, entry, room = self.direct, None, self._journal.room
        if direct is None:
            entry = Entry(message)
            await self._wait_place(entry.size)
            direct = self.direct  # there may have been a wait
        if (
            direct is None
            or type(message) is not str
            or (size := len(message)) > DIRECT
            or size > room.left
            or not message.isascii()
        ):
            await self._send_entry(entry or Entry(message))
            return
        try:
            is_full = direct.write_text(message)
        except StatewsError:  # it is over, and the session has not been told yet
            await self._send_entry(Entry(message))
            return
        log = direct.log
        if log.burst is None:
            log.begin_burst()
        if log.track_text(message):
            self.direct = None
        self.counted_bytes += size
        room.left -= size
        if is_full:
            await direct.wait_room()

    async def _send_entry(self, entry: Entry) -> None:
        if not self._write(entry):
            await self._wait_place(entry.size)
            if not self._write(entry):  # there may have been a wait
                await self._queue(entry)
                return
        if self._attachment is not None:
            await self._attachment.wait_room()

    def _write(self, entry: Entry) -> bool:
        """Write a message at once, if nothing stands before it; whether it was."""
        attachment, journal = self._attachment, self._journal
        if attachment is None or journal.is_durable or entry.size > journal.room.left:
            return False
        if not attachment.write(entry):
            return False
        self._count(entry.size)
        return True

    def _count(self, size: int) -> None:
        """So much more is in the log of one that is not away."""
        self.counted_bytes += size
        self._journal.room.left -= size

    async def _queue(self, entry: Entry) -> None:
        """Put a message behind the others, and into the store if there is one."""
        journal = self._journal
        is_plain = not (journal.is_durable or self._attachment is None)
        if is_plain and entry.size <= journal.room.left and self.peer.log.put_behind(entry):
            self._count(entry.size)
            return
        self._put(entry)
        if journal.is_durable:
            await self._save()
        if self._attachment is None:
            await checkpoint()  # nothing holds back whoever sends to a client that is away
        else:
            self._attachment.refill()
            await self._attachment.wait_room()

    async def _wait_place(self, size: int) -> None:
        """Return when so much more may be in the log, or will drive something else out of it."""
        self._check_alive()
        self._check_size(size)
        log, journal = self.peer.log, self._journal
        while self._attachment is not None:
            has_room = log.has_room(size)
            if has_room and journal.make_room(log, size):
                return
            if journal.at_limit is AtLimit.RAISE:
                own = f"the log of session {self.id} is at its limit"
                all_ = "the logs of all sessions together are at their limit"
                raise OutboxFullError(all_ if has_room else own)
            if journal.at_limit is AtLimit.DROP_OLDEST:
                return
            if has_room:
                journal.room.wait(self, size)
            await self._wait_room()
            self._check_alive()
            self._check_size(size)

    def put(self, message: Message) -> None:
        """Send without waiting: at the limits the oldest message is dropped, and the gap reported.

        Raises:
            UsageError: not a message, or longer than the client takes.
            ConnectionClosed: the session is over.
        """
        self._check_alive()
        entry = Entry(message)
        self._check_size(entry.size)
        self._put(entry)
        if self._attachment is not None:
            self._attachment.refill()

    def _put(self, entry: Entry) -> None:
        log, journal = self.peer.log, self._journal
        if journal.is_durable:
            entry.terms = Terms(number=log.last + 1)
        if entry.size > journal.room.left:
            self._make_place(entry.size)
        before = log.acknowledged
        log.put(entry, current_time())
        self._added(entry)
        if log.acknowledged > before:
            self.wake()  # older ones made room, and somebody may wait for those

    def send_volatile(self, message: Message) -> bool:
        """Send what is of use at this very moment only; whether it was written.

        Raises:
            UsageError: not a message, or longer than the client takes.
        """
        entry = Entry(message)
        self._check_size(entry.size)
        return self._attachment is not None and self._attachment.write_volatile(entry)

    def set(self, slot: str, message: Message) -> None:
        """Have the client get the latest value of a slot; older ones that were not sent are not.

        The newest is sent again after each resumption, but to a client that takes less than it
        did. It lives as long as this process.

        Raises:
            UsageError: not a message, or longer than the client takes; the slot's name has blanks,
                commas or semicolons, or over 64 characters; or there are too many slots.
            ConnectionClosed: the session is over.
        """
        self._check_alive()
        if not is_slot(slot):
            raise UsageError(f"a slot is named by 1 to 64 ASCII characters, got {slot!r:.100}")
        entry = Entry(message)
        self._check_size(entry.size)
        if not self.peer.set_slot(slot, entry.message):
            raise UsageError("a session has at most 1024 slots")
        if self._attachment is not None:
            self._attachment.refill()

    async def flush(self) -> None:
        """Return when the client has handled everything that was sent before the call.

        Raises:
            DeliveryError: some of that is not kept any more, and the client has not handled it:
                "dropped", or "in-doubt" if all of it had been written.
            ConnectionClosed: the session is over.
        """
        side = self._side
        if isinstance(side, Standing) and side.confirmed == side.acknowledged:
            return  # and may sleep on
        log = self.peer.log
        upto = log.last
        while log.confirmed < upto:
            state = log.loss(upto)
            if state is not None:
                first, last = log.confirmed + 1, min(upto, log.acknowledged)
                why = f"{first} to {last} were not kept until the client had handled them"
                raise DeliveryError(state, why)
            self._check_alive()
            await self._wait_room()

    async def wait_passed(self) -> None:
        """`flush`, but of what was dropped word is enough; and with what is sent meanwhile."""
        peer = self.peer
        while peer.log.confirmed < peer.log.last or peer.has_frames:
            self._check_alive()
            await self._wait_room()

    @property
    def is_written(self) -> bool:
        """Whether everything that was sent is with the client, as its answer on this link says."""
        peer = self.peer
        return self._attachment is not None and not (peer.has_frames or peer.volatile.is_asked)

    # The link comes and goes.

    def _put_on(self, attachment: Attachment) -> None:
        """A link is up: what waits goes out by it."""
        self._attachment = attachment
        attachment.start()

    def _take_off(self) -> None:
        """It is gone."""
        self._attachment = self.direct = None

    async def _wait_room(self) -> None:
        if self._attachment is not None:
            self._attachment.hurry()
        self._room = room = self._room or Signal()
        await room.wait()

    def wake(self) -> None:
        """Have those who wait to send look again."""
        if self._room is not None:
            self._room.set()
            self._room = None

    def _check_size(self, size: int) -> None:
        if size > self.largest:
            raise UsageError(f"the client takes messages of {self.largest} bytes, got {size}")

    def _check_alive(self) -> None:
        if self.is_over:
            raise ConnectionClosed(f"the session is over: {self.state}")
        if self._journal.is_left:
            raise ConnectionClosed("the server was left, and with it the session")
