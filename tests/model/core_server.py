"""The server's side of real sessions: see `statews.server.reception`, `session` and `journal`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from statews.policy import Outbox
from statews.protocol.entry import Entry
from statews.protocol.plain import Message
from statews.protocol.session import (
    Credentials,
    Cursor,
    Hello,
    Log,
    Peer,
    Position,
    Result,
    Welcome,
    Window,
    digest,
    judge,
    read_hello,
    write_welcome,
)
from statews.protocol.session.chain import start as start_chain

from .cores import Kept, Link, Side, Talk, cut
from .observer import Breach, Observer, Promise, Way

__all__ = ["Record", "Served", "Server"]


@dataclass(frozen=True, slots=True)
class Record:
    """What the server's disk holds of one session."""

    attempt: int
    current: bytes
    issued: bytes | None
    kept: Kept


class Tokens:
    """Which tokens open a session, by what an observer saw."""

    def __init__(self, token: str) -> None:
        self.proved: str = token
        self.issued: str | None = None

    def check(self, hello: Hello) -> None:
        """Only the token proved last and the one issued since are good."""
        if hello.token not in (self.proved, self.issued):
            raise Breach(Promise.OWN_CLIENT, f"{hello.token} is retired")


class Served(Side):
    """One session on the server."""

    def __init__(self, sid: str, credentials: Credentials, peer: Peer, server: Server) -> None:
        super().__init__(Way.UP, sid, peer, server.observer, is_durable=server.is_durable)
        self.sid = sid
        self.credentials = credentials
        self.link: Link | None = None
        self.tokens = Tokens("")
        self.attempt = credentials.attempt  # as an observer saw it

    def send(self, message: Message, now: float) -> None:
        """Send a message, at once where nothing stands before it."""
        log, entry = self.peer.log, Entry(message)
        if self.talk is None or self.is_durable:
            self.put(entry, now)
        elif log.may_go_at_once(entry.size):
            self.talk.write_direct(message)
            log.track(entry)
            self.observer.sent(Way.DOWN, entry)
        elif log.put_behind(entry):
            self.observer.sent(Way.DOWN, entry)
        else:
            self.put(entry, now)

    def is_on(self, link: Link) -> bool:
        """Whether that link is the one; what an older one says is not heard."""
        return self.link is link

    def heard(self) -> None:
        """The client has spoken on the link that it was welcome on."""
        self.credentials.prove()
        if self.tokens.issued is not None:
            self.tokens.proved, self.tokens.issued = self.tokens.issued, None

    def make_way(self) -> None:
        """A newer link is coming, or this one is lost."""
        if self.link is not None:
            self.link.has_server = False
            self.link = None
        self.detach()

    def record(self) -> Record:
        """What goes to the disk now."""
        credentials = self.credentials
        return Record(credentials.attempt, credentials.current, credentials.issued, self.kept())


@dataclass(frozen=True, slots=True)
class Guest:
    """A link whose hello was judged, and whose session is being stored."""

    link: Link
    hello: Hello
    served: Served
    welcome: Welcome


class Server:
    """All sessions of a server, and its disk.

    Attributes:
        links: all that have not ended here, the oldest first.
        guests: those on which the welcome is still to come.
        hosts: the session of each link.
        disk: what was stored last of each session.
    """

    def __init__(
        self, outbox: Outbox, window: Window, observer: Observer, *, is_durable: bool
    ) -> None:
        self.outbox = outbox
        self.window = window
        self.observer = observer
        self.is_durable = is_durable
        self.sessions: dict[str, Served] = {}
        self.links: list[Link] = []
        self.guests: list[Guest] = []
        self.hosts: dict[int, Served] = {}
        self.disk: dict[str, Record] = {}
        self._made = 0

    # Links.

    def read(self, link: Link, now: float, most: int = 1) -> bool:
        """Take in the next frames of a link, or see that it is lost; whether it did."""
        if not link.up:
            if link.has_client:
                return False
            self.lose(link)
            return True
        if any(guest.link is link for guest in self.guests):
            return False  # it is not read until the client is welcome
        served = self.hosts.get(id(link))
        if served is None:
            self._judge(link, read_hello(link.up.popleft()))
        else:
            frames = cut(link.up, most)
            if served.talk is not None and served.is_on(link):
                served.heard()
                served.talk.take(frames, now)
        return True

    def _judge(self, link: Link, hello: Hello) -> None:
        served = self.sessions.get(hello.sid or "")
        credentials = None if served is None else served.credentials
        judgement = judge(hello, credentials, None if served is None else served.peer, None)
        self._made += 1
        token = f"t{self._made}"
        if served is not None and judgement.result in (Result.RESUMED, Result.GAP):
            assert hello.token is not None, "or it would not be accepted"
            self._check(served, hello)
            served.make_way()
            served.credentials.renew(hello.token, token)
            served.credentials.attempt = served.attempt = hello.attempt
            served.tokens.proved, served.tokens.issued = hello.token, token
        else:
            served = self._begin(hello, token)
        welcome = Welcome(
            result=judgement.result,
            sid=served.sid,
            token=token,
            window=self.window,
            lost=judgement.lost,
            why=judgement.why,
        )
        self.guests.append(Guest(link, hello, served, welcome))

    def _check(self, served: Served, hello: Hello) -> None:
        if self.observer.trusts:
            served.tokens.check(hello)
            if hello.attempt <= served.attempt:
                raise Breach(Promise.OWN_CLIENT, f"{hello.attempt} is no new attempt")

    def _begin(self, hello: Hello, token: str) -> Served:
        sid = f"s{self._made}"
        credentials = Credentials(
            principal=None,
            attempt=1 if hello.sid is not None else hello.attempt,
            current=digest(token),
        )
        chain = start_chain(sid)
        log = Log(self.outbox, is_numbered_at_once=True)
        log.chain = chain
        served = Served(sid, credentials, Peer(log, Cursor(self.window, chain=chain)), self)
        served.tokens = Tokens(token)
        self.sessions[sid] = served
        return served

    def welcome(self, now: float) -> bool:
        """Welcome the first that waits for it; whether there was one."""
        if not self.guests:
            return False
        guest = self.guests.pop(0)
        link, served, welcome = guest.link, guest.served, guest.welcome
        self.store(served, now)
        if not served.credentials.accepts(welcome.token):
            self.lose(link)
            return True
        served.make_way()
        position = served.peer.greet()
        link.down.append(write_welcome(replace(welcome, position=position)))
        other = guest.hello.position
        if welcome.result in (Result.NEW, Result.RESET):
            other = Position()
        served.peer.resume(other, guest.hello.window)
        served.link = link
        self.hosts[id(link)] = served
        served.talk = Talk(served, link.down, link.room)
        served.talk.start(now)
        return True

    def lose(self, link: Link) -> None:
        """A link is over."""
        link.has_server = False
        link.up.clear()
        self.guests = [guest for guest in self.guests if guest.link is not link]
        if link in self.links:
            self.links.remove(link)
        served = self.hosts.pop(id(link), None)
        if served is not None and served.link is link:
            served.make_way()

    # The disk.

    def store(self, served: Served, now: float) -> bool:
        """Store everything of a session; whether there was something to store."""
        if not self.is_durable:
            return False
        record = served.record()
        has_news = record != self.disk.get(served.sid) or served.has_news
        self.disk[served.sid] = record
        served.stored(now)
        return has_news

    def crash(self) -> None:
        """The process dies, with its links."""
        for link in list(self.links):
            self.lose(link)
        self.guests.clear()
        self.hosts.clear()
        self.sessions.clear()

    def revive(self, disk: dict[str, Record], restarted: Callable[[Served], object]) -> None:
        """Go on in a new process with what a disk holds."""
        self.disk = dict(disk)
        former = dict(self.sessions)
        self.crash()
        for sid, record in disk.items():
            credentials = Credentials(
                principal=None,
                attempt=record.attempt,
                current=record.current,
                issued=record.issued,
            )
            log = Log(self.outbox, is_numbered_at_once=True)
            served = Served(sid, credentials, Peer(log, Cursor(self.window)), self)
            served.restore(record.kept)
            served.tokens = former[sid].tokens if sid in former else Tokens("")
            served.attempt = former[sid].attempt if sid in former else record.attempt
            self.sessions[sid] = served
            restarted(served)
