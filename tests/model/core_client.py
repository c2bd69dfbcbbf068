"""The client's side of a real session: see `statews.client.session`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from statews.policy import Outbox
from statews.protocol.entry import PLAIN, Entry, Terms
from statews.protocol.plain import Message
from statews.protocol.session import (
    Cursor,
    Result,
    Ticket,
    Welcome,
    Window,
    read_welcome,
    write_hello,
)
from statews.protocol.session.chain import start as start_chain

from .cores import Application, Kept, Link, Side, Talk, cut, new_peer
from .observer import Observer, Way

__all__ = ["Client", "Disk"]

DIRECT: Final = 10  # bytes of the longest message that is written without a look at the limits


@dataclass(frozen=True, slots=True)
class Disk:
    """What the client's disk holds."""

    ticket: Ticket
    kept: Kept


class Client(Side):
    """A client, across links and, with a disk, across processes.

    Attributes:
        link: the one it is on, or calls on.
        disk: what was stored last.
        former: applications of sessions that are over, which still have something to take.
    """

    def __init__(
        self, outbox: Outbox, window: Window, observer: Observer, *, is_durable: bool
    ) -> None:
        peer = new_peer(outbox, window, is_numbered_at_once=is_durable)
        super().__init__(Way.DOWN, "", peer, observer, is_durable=is_durable)
        self.outbox = outbox
        self.window = window
        self.ticket = Ticket()
        self.link: Link | None = None
        self.former: list[Application] = []
        self.may_go_directly = False
        self.disk = Disk(Ticket(), self.kept())

    # Messages.

    def send(self, message: Message, terms: Terms, now: float) -> None:
        """Send a message: directly if nothing has to be looked at."""
        log = self.peer.log
        entry = Entry(message, terms)
        is_plain = terms is PLAIN and entry.size <= DIRECT
        if self.talk is None or not self.may_go_directly or not is_plain:
            self.put(entry, now)
            return
        self.talk.write_direct(message)
        self.observer.sent(Way.UP, entry)
        if log.track(entry):
            self.may_go_directly = False

    def choose_way(self) -> None:
        """See `Spoken`."""
        log = self.peer.log
        most = min(self.outbox.messages, log.window.messages) - 1
        most_bytes = min(self.outbox.size_bytes, log.window.size_bytes) - DIRECT
        log.bear(most, most_bytes)
        is_within = len(log) <= most and log.size_bytes <= most_bytes
        is_free = is_within and log.may_go_at_once(DIRECT) and not self.is_durable
        self.may_go_directly = is_free and self.talk is not None

    # Links.

    def call(self, link: Link, now: float) -> None:
        """Say hello; the attempt is stored before."""
        self.link = link
        hello = self.ticket.hello(self.peer, self.window)
        self.store_attempt(now)
        link.up.append(write_hello(hello))

    def read(self, now: float, most: int = 1) -> bool:
        """Take in the next frames of the link, or see that it is closed; whether it did."""
        link = self.link
        if link is None or (not link.down and link.has_server):
            return False
        if not link.down:
            self.leave()
            return True
        if self.talk is None:
            self._welcomed(link, read_welcome(link.down.popleft()), now)
        else:
            self.talk.take(cut(link.down, most), now)
            self.choose_way()
        return True

    def _welcomed(self, link: Link, welcome: Welcome, now: float) -> None:
        why = self.ticket.judge(welcome, self.peer)
        if why is not None:
            self._forget(why)
            self.leave()
            return
        if welcome.result in (Result.NEW, Result.RESET):
            self._start_over(welcome)
        self.ticket.renew(welcome)
        self.application.sid = welcome.sid
        self.store_token(now)
        self.peer.resume(welcome.position, welcome.window)
        self.talk = Talk(self, link.up, link.room)
        self.talk.start(now)
        self.choose_way()

    def _start_over(self, welcome: Welcome) -> None:
        log = self.peer.log
        if welcome.was is not None and welcome.was <= log.last:
            log.resume(welcome.was, welcome.window)
        if self.ticket.sid is not None:
            self._forget(welcome.why or "the server does not know it any more")
        chain = start_chain(welcome.sid)
        log.chain = chain
        self.peer.cursor.start_over(chain)

    def _forget(self, why: str) -> None:
        sid = self.ticket.sid
        assert sid is not None, "there is none to forget"
        self.observer.reset(sid, why)
        self.ticket.forget()
        self.peer.log.start_over(0)
        self.peer.cursor = Cursor(self.window)
        self.former.append(self.application)
        self.application = Application(Way.DOWN, "", self.peer.cursor, self.observer)

    def leave(self) -> None:
        """The link is lost, as far as the client can see."""
        if self.link is not None:
            self.link.has_client = False
            self.link.down.clear()
            self.link = None
        self.may_go_directly = False
        self.detach()

    # The disk.

    def store_attempt(self, now: float) -> None:
        """No later process may use this attempt's number again."""
        self.store(now)

    def store_token(self, now: float) -> None:
        """The first frame proves the token, and retires the one before."""
        self.store(now)

    def store(self, now: float) -> bool:
        """Store everything; whether there was something to store."""
        if not self.is_durable:
            return False
        ticket = Ticket(self.ticket.sid, self.ticket.token, self.ticket.attempt)
        disk = Disk(ticket, self.kept())
        has_news = disk != self.disk or self.has_news
        self.disk = disk
        self.stored(now)
        return has_news

    def revive(self, disk: Disk) -> None:
        """Go on in a new process."""
        ticket = disk.ticket
        self.ticket = Ticket(ticket.sid, ticket.token, ticket.attempt)
        self.application.sid = ticket.sid or ""
        self.restore(disk.kept)
        self.disk = disk
