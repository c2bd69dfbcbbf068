"""One side of a session on one link: the peer decides, this writes and keeps the time.

It is the `Traffic` of the link. Frames go to the peer as they come in; what the peer wants
written goes out as far as the link has room.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from ..errors import StatewsError
from ..protocol.session.cursor import ACKNOWLEDGE_AFTER
from ..protocol.session.peer import Sink

if TYPE_CHECKING:
    from collections import deque

    from ..protocol.entry import Entry
    from ..protocol.frames import Message
    from ..protocol.session.log import Log
    from ..protocol.session.peer import Peer
    from .link import Link
    from .traffic import Inbox

__all__ = ["Conversation", "Host"]


class Host(Sink, Protocol):
    """Whose session it is."""

    @property
    def durable(self) -> float:
        """The highest number of a message that the store has; infinite if there is none."""
        ...

    def heard(self) -> None:
        """The peer has spoken on this link."""
        ...

    def settled(self) -> None:
        """The peer has acknowledged something."""
        ...

    def tick(self, now: float, /) -> float:
        """Do what is due now, and say when to come again."""
        ...


class Conversation:
    """What is said in a session over one link.

    Args:
        link: open, the greetings exchanged.
        peer: resumed.
        host: takes what comes in.

    Attributes:
        log: the peer's.
    """

    __slots__ = ("_cursor", "_host", "_is_busy", "_link", "_peer", "log")

    def __init__(self, link: Link, peer: Peer, host: Host) -> None:
        self._link = link
        self._peer = peer
        self.log: Log = peer.log
        self._cursor = peer.cursor
        self._host = host
        self._is_busy = False  # something has come in since the last tick

    def start(
        self,
        inbox: Inbox,
        *,
        is_sole: bool = False,
        arriving: deque[Message] | None = None,
    ) -> None:
        """Take over the link: what waits goes out, and what comes in goes to the host.

        Args:
            inbox: see `Wire.divert`.
            is_sole: see `Wire.divert`.
            arriving: see `Wire.divert`.
        """
        self._link.traffic = self
        self.refill()
        self._link.divert(inbox, self.take, is_sole=is_sole, arriving=arriving)

    # What comes in.

    def take(self, arrived: deque[Message]) -> int:
        """Take in frames; 0, for the window bounds what waits for the application.

        So the link is always read: acknowledgements and heartbeats get through to an application
        that is stuck.

        Raises:
            SessionError: one of them breaks the protocol.
        """
        if arrived:
            self._is_busy = True
            self._host.heard()
            try:
                has_settled = self._peer.take(arrived, self._host)
            finally:
                arrived.clear()  # behind an error nothing counts, and links may share this
            if has_settled:
                self._host.settled()
            if self._peer.has_frames:
                self.refill()
        return 0

    # What goes out.

    def write(self, message: Message) -> bool:
        """Write a message at once, before `Queue.track`; whether whoever sends should wait.

        Raises:
            StatewsError: the link is over.
        """
        return self._link.write(self._peer.write_direct(message))

    def write_text(self, text: str) -> bool:
        """`write` for what is known to be ASCII text."""
        log = self.log
        if self._cursor.has_news:
            return self.write(text)
        seq = log.acknowledged + log.written + len(log.texts) + 1
        return self._link.write_text(f"M{seq};{text}")

    def write_volatile(self, entry: Entry) -> bool:
        """Write a message that is for this link alone; as `write`."""
        is_full = self._link.write(self._peer.write_volatile(entry))
        self._write_replies()
        return is_full

    async def wait_room(self) -> None:
        """Return when what was written is out, or the link is over."""
        await self._link.wait_room()

    def refill(self) -> bool:
        """See `Traffic`."""
        link, peer = self._link, self._peer
        now, size_bytes = link.clock(), self.log.size_bytes
        durable, has_written = self._host.durable, False
        try:
            while link.may_write and (frames := peer.next_frames(now, durable)):
                has_written = True
                for frame in frames:
                    link.write(frame)
        except StatewsError:
            return False  # whoever serves the link learns of it
        link.has_backlog = peer.has_frames
        if link.has_backlog:
            link.take_back()  # the application may be busy, and what makes room be here
        if self.log.size_bytes < size_bytes:
            self._host.settled()  # some was given up
        return has_written

    def _write_replies(self) -> None:
        if self._peer.replies:
            self.refill()

    def acknowledge_soon(self) -> None:
        """Something was handled: say so now, or a little later."""
        cursor = self._peer.cursor
        if cursor.is_urgent:
            self._acknowledge()
        elif cursor.due == math.inf:
            cursor.promise(self._link.clock() + ACKNOWLEDGE_AFTER)
            self._link.look_at(cursor.due)

    def _acknowledge(self) -> None:
        frame = self._peer.acknowledgement()
        if frame is not None:
            try:
                self._link.write(frame)
            except StatewsError:
                return  # the next link begins with it

    def finish(self) -> None:
        """The link will be closed: acknowledge what was handled."""
        self._acknowledge()

    def hurry(self) -> None:
        """Somebody waits for an acknowledgement: ask for it, and have the answer read."""
        self._peer.ask()
        self._write_replies()
        self._link.call_owner()

    # See `Traffic`. Pings say nothing here: the peer acknowledges what it has handled.

    def ask(self) -> int:
        """See `Traffic`."""
        return 0

    @property
    def has_unconfirmed(self) -> bool:
        """See `Traffic`."""
        return False

    def confirm(self, position: int) -> None:
        """See `Traffic`."""

    def tick(self, now: float) -> float:
        """See `Traffic`."""
        cursor = self._peer.cursor
        if now >= cursor.due:
            self._acknowledge()
        is_busy, self._is_busy = self._is_busy, False
        # What has come in will be handled soon, and to set a deadline twice costs a message more.
        due = min(cursor.due, now + ACKNOWLEDGE_AFTER) if is_busy else cursor.due
        return min(due, self._host.tick(now))
