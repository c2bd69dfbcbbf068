"""A link of a session, on the server: what goes out by it, and where what comes in goes."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

from ..errors import LinkClosed, StatewsError
from ..protocol.entry import Entry
from ..protocol.envelope import write_go_away
from ..protocol.sync import Gap
from ..transport.conversation import Conversation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..protocol.admission import Hint
    from ..protocol.envelope import GoAway
    from ..protocol.frames import Message
    from ..transport.link import Link
    from .session import Session

__all__ = ["Attachment"]

NO_INBOX: Final[deque[Message]] = deque()  # nobody receives from the link itself


def _ignore(arrived: deque[Message]) -> int:
    """Take in what nobody is to hear."""
    arrived.clear()
    return 0


class Attachment:
    """A session and its link, for as long as that is up.

    Attributes:
        link: the link.
    """

    __slots__ = ("_arriving", "_conversation", "_session", "link")

    def __init__(self, session: Session, link: Link, arriving: deque[Message]) -> None:
        self.link: Link = link
        self._session = session
        self._arriving = arriving
        self._conversation = Conversation(link, session.peer, self)

    def start(self) -> None:
        """What waits goes out, and what comes in is taken in."""
        inbox = self._session.inbox
        self._conversation.start(inbox, is_sole=True, arriving=self._arriving)
        inbox.wake()  # whoever waits may read from the link from now on
        self._choose_way()

    # What goes out.

    def refill(self) -> None:
        """Write what waits, as far as there is room."""
        self._conversation.refill()
        self._choose_way()

    def _choose_way(self) -> None:
        """Write directly as long as nothing has to be looked at."""
        session = self._session
        is_free = session.peer.log.may_go_directly() and session.durable == math.inf
        session.direct = self._conversation if is_free else None

    def write(self, entry: Entry) -> bool:
        """Write a message at once, if nothing stands before it; whether it was."""
        log = self._session.peer.log
        if not log.may_go_at_once(entry.size):
            return False
        try:
            self._conversation.write(entry.message)
        except StatewsError:
            return False  # it is over, and the session has not been told yet
        if log.track(entry):
            self._session.direct = None
        return True

    async def wait_room(self) -> None:
        """Return when the link may have more, or is over."""
        if not self.link.may_write:
            await self.link.wait_room()

    def write_volatile(self, entry: Entry) -> bool:
        """Write what is for this link alone; whether there was room for it."""
        try:
            if self.link.may_write:
                self._conversation.write_volatile(entry)
                return True
        except StatewsError:
            pass  # it is over, and whoever serves it learns so
        return False

    def hurry(self) -> None:
        """Somebody waits for an acknowledgement."""
        self._conversation.hurry()

    def acknowledge_soon(self) -> None:
        """Something was handled."""
        self._conversation.acknowledge_soon()

    def leave(self, code: int, reason: str) -> None:
        """Close the link. What was read from it and not looked at yet is not heard any more."""
        self._conversation.finish()
        self.link.divert(NO_INBOX, _ignore)
        self.link.depart(LinkClosed(code, reason), code, reason)

    def part(self) -> None:
        """The session goes on without this link, which may still be in its closing handshake."""
        self._conversation.finish()
        self.link.traffic = None
        self.link.divert(NO_INBOX, _ignore)

    def send_away(self, hint: Hint, why: str) -> None:
        """Have the client leave, and come back at a time of its own."""
        try:
            self.link.write(write_go_away(*hint.milliseconds, why))
        except StatewsError:
            return  # it is leaving

    # The host of the conversation.

    @property
    def durable(self) -> float:
        """See `Host`."""
        return self._session.durable

    def heard(self) -> None:
        """See `Host`."""
        session = self._session
        if session.credentials.issued is not None:
            session.credentials.prove()
            session.changed()

    def tick(self, _now: float, /) -> float:
        """See `Host`."""
        return math.inf

    def settled(self) -> None:
        """See `Host`."""
        self._session.settled()
        if self._session.direct is None:
            self._choose_way()

    def deliver(self, payloads: Sequence[Message], _first: int, /) -> None:
        """See `Sink`."""
        self._session.inbox.put(payloads)

    def deliver_unnumbered(self, payload: Message, slot: str | None, /) -> None:
        """See `Sink`."""
        self._session.inbox.put_loose(payload, slot)

    def lose(self, after: int, upto: int, chain: int) -> None:
        """See `Sink`."""
        reason = "the client has dropped them"
        gap = Gap(stream="session", key=None, after=after, before=upto + 1, reason=reason)
        self._session.inbox.put_gap(gap, upto, chain)

    def go_away(self, order: GoAway) -> None:
        """See `Sink`."""
        del order  # a server stays where it is
