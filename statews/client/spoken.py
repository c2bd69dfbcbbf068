"""A link on which a session is spoken: what goes out by it, and where what comes in goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import LinkClosed, StatewsError
from ..protocol.codes import CloseCode
from ..protocol.entry import Entry
from ..protocol.session import Result
from ..protocol.session.peer import Deliver
from ..protocol.sync import Gap
from ..transport.conversation import Conversation
from .plain import was_too_big
from .session import STREAM, Gone

if TYPE_CHECKING:
    from ..policy import Outbox
    from ..protocol.envelope import GoAway
    from ..protocol.frames import Message
    from ..transport.link import Link
    from .intake import Intake
    from .sender import Sender
    from .session import Session

__all__ = ["Spoken"]


class Spoken:
    """The sending half of a connection on one link of a session, and the host of what is said."""

    __slots__ = (
        "_conversation",
        "_intake",
        "_sender",
        "_session",
        "_settings",
        "deliver",
        "link",
    )

    def __init__(self, sender: Sender, session: Session, link: Link, settings: Outbox) -> None:
        assert sender.intake is not None  # noqa: S101 - see `Settings.needs_intake`
        self.link: Link = link
        self._sender = sender
        self._session = session
        self._settings = settings
        self._intake: Intake = sender.intake
        feed = sender.intake.feed
        # A name of its own: one call less for each of many messages.
        self.deliver: Deliver = sender.intake.deliver if sender.intake.is_curious else feed.deliver
        self._conversation = Conversation(link, session.peer, self)

    def start(self) -> None:
        """The link is open: what waits goes out by it, before anything else."""
        self._session.opened(self, self._intake)
        if self._session.first:
            for entry in self._session.first:
                self.send_now(entry)
            self.hurry()
        # After a gap `lose` follows, with what exactly is gone. An earlier process may have been
        # fetching something.
        is_new = self._session.result in (Result.NEW, Result.RESET)
        self._intake.resumed(self, is_new=is_new or self._session.links == 1)
        intake = self._intake
        is_sole = not intake.is_curious and not intake.feed.has_changes
        self._conversation.start(intake.feed, is_sole=is_sole)
        self._choose_way()
        self._sender.wake()

    # What goes out: see `Plain`.

    def send_now(self, entry: Entry) -> bool:
        """Write what is for this link alone."""
        try:
            self._conversation.write_volatile(entry)
        except StatewsError:
            self._session.peer.volatile.suspend()
        return True

    def write(self, request: Message) -> None:
        """Send what the connection itself has to say. Raises as `ask`."""
        self._write(Entry(request))

    def ask(self, request: Entry) -> None:
        """Send a strategy's request, and find out whether it arrives.

        Raises:
            UsageError: the server takes no message of that length, and would end the link.
            StatewsError: the link is over.
        """
        self._write(request)
        self._conversation.hurry()

    def _write(self, entry: Entry) -> None:
        self._sender.check_size(entry.size)
        self._conversation.write_volatile(entry)

    def lost(self) -> None:
        """See `Plain.lost`."""
        if was_too_big(self.link):
            self._session.peer.refuse_longest()

    def refill(self) -> None:
        """Write what waits, as far as there is room."""
        self._conversation.refill()
        self._choose_way()

    def hurry(self) -> None:
        """Somebody waits for an acknowledgement."""
        self._conversation.hurry()

    def acknowledge_soon(self) -> None:
        """Something was handled."""
        self._conversation.acknowledge_soon()

    def look_at_limits(self) -> None:
        """The limits, or those of the peer, are reached: look at each message from here on."""
        self._sender.way = self._sender.direct = None

    def _choose_way(self) -> None:
        """Write directly as long as nothing has to be looked at."""
        sender, session = self._sender, self._session
        is_free = session.peer.log.may_go_directly() and sender.may_go_directly
        sender.way = sender.direct = self._conversation if is_free else None

    # The host of the conversation.

    @property
    def durable(self) -> float:
        """See `Host`."""
        return self._sender.durable

    def heard(self) -> None:
        """See `Host`."""

    def tick(self, now: float, /) -> float:
        """See `Host`."""
        return self._intake.tick(now)

    @property
    def is_held_up(self) -> bool:
        """Whether the server may have to wait until the application has taken what came.

        What it has taken counts as well until it is acknowledged, up to a quarter of the window.
        """
        cursor = self._session.peer.cursor
        waiting, window = cursor.arrived - cursor.rx, cursor.window
        return 2 * waiting >= window.messages or 2 * cursor.held_bytes >= window.size_bytes

    def settled(self) -> None:
        """See `Host`."""
        if self._sender.direct is None:  # else nothing waits
            self.refill()
        self._sender.wake()

    def deliver_unnumbered(self, payload: Message, slot: str | None, /) -> None:
        """See `Sink`."""
        if self._intake.is_answer(payload):
            return
        feed, window = self._intake.feed, self._session.peer.cursor.window
        # Nobody acknowledges it, so that nothing but this bounds what an application has to hold.
        has_room = feed.size_bytes < window.size_bytes and len(feed) < 2 * window.messages
        if has_room or (slot is not None and feed.has_place(slot)):
            self._intake.deliver_unnumbered(payload, slot)

    def lose(self, after: int, upto: int, chain: int) -> None:
        """See `Sink`."""
        gap = Gap(
            stream=STREAM,
            key=None,
            after=after,
            before=upto + 1,
            reason="the server has not kept what was missed",
        )
        self._intake.note(gap, self._session.progress, Gone(upto, chain))
        self._intake.catch_up()

    def go_away(self, order: GoAway) -> None:
        """See `Sink`."""
        why = f"{order.why} retry={order.least_ms}-{order.most_ms}".strip()
        self.link.depart(LinkClosed(CloseCode.SERVICE_RESTART, why))
