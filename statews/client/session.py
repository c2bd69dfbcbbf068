"""A client's session with a server that speaks `statews.v1`, across links.

Where a server does not, the connection is a plain one, or fails, as `Resume` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..errors import SessionMissing, UsageError
from ..protocol.entry import ACKNOWLEDGED, Entry
from ..protocol.envelope import LONGEST_HEADER, SUBPROTOCOL, broke_session
from ..protocol.session import (
    LONGEST_HELLO,
    Cursor,
    Log,
    Peer,
    Result,
    Ticket,
    Welcome,
    read_welcome,
    write_hello,
)
from ..protocol.session.chain import start as start_chain
from ..protocol.sync import Reset
from .resume import OnMissing, Resume, are_messages
from .settings import provide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..policy import Policy
    from ..transport.link import Link
    from .intake import Intake
    from .keeper import Keeper
    from .spoken import Spoken

__all__ = ["STREAM", "Gone", "Progress", "Session"]

STREAM: Final = "session"  # the name of its gaps and resets


class Progress:
    """How far the application has come in one session. Its items in the feed refer to it.

    Attributes:
        cursor: of that session.
        again: the number of a message that an earlier process may have handled; 0: of none.
    """

    __slots__ = ("_session", "again", "cursor")

    @property
    def name(self) -> str:
        """What its position is stored under."""
        return STREAM

    @property
    def position(self) -> object:
        """What a later process resumes the session with."""
        return self._session.record()

    def __init__(self, session: Session, cursor: Cursor) -> None:
        self._session = session
        self.cursor: Cursor = cursor
        self.again: int = 0

    def handled(self, mark: object) -> None:
        """The application is done with the next message, or was told of a gap or a reset."""
        if isinstance(mark, (str, bytes)):
            is_due = self.cursor.handled(mark)
        elif isinstance(mark, Reset):
            self._session.told(self)
            return
        else:
            assert isinstance(mark, Gone)  # noqa: S101 - nothing else is put into the feed
            is_due = self.cursor.passed(mark.upto, mark.chain)
        if is_due:
            self._session.moved(self.cursor)


@dataclass(frozen=True, slots=True)
class Gone:
    """The mark of a gap."""

    upto: int
    chain: int


class Session:
    """A client's session, across links.

    Attributes:
        first: what this link begins with, since the session is new.
        peer: this side of it.
        ticket: what it is resumed with.
        progress: how far the application has come.
        result: what the last hello led to.
        links: how many links of sessions there were in this process.
    """

    __slots__ = (
        "_is_fresh",
        "_keeper",
        "_limits",
        "_link",
        "_reset_because",
        "_settings",
        "_spoken",
        "_untold",
        "first",
        "links",
        "peer",
        "progress",
        "result",
        "ticket",
    )

    def __init__(self, settings: Resume, policy: Policy, *, is_stored: bool) -> None:
        self._settings = settings
        self._limits = policy.limits
        self.links: int = 0
        self.first: Sequence[Entry] = ()
        self._is_fresh = False
        self._keeper: Keeper | None = None
        self.ticket: Ticket = Ticket()
        # What is stored has its number at once: a later process must give it the same.
        log = Log(policy.outbox, is_numbered_at_once=is_stored)
        self.peer: Peer = Peer(log, Cursor(settings.window, is_stored=is_stored))
        self.progress: Progress = Progress(self, self.peer.cursor)
        self.result: Result = Result.NEW
        self._link: Link | None = None  # the one that the greetings were exchanged on
        self._spoken: Spoken | None = None
        self._reset_because: str | None = None
        self._untold: str | None = None  # the same, until the application has handled that

    @property
    def is_alive(self) -> bool:
        """Whether there is one to resume."""
        return self.ticket.sid is not None

    def is_on(self, link: Link) -> bool:
        """Whether that link is one of a session."""
        return self._link is link

    async def begin(self, link: Link) -> None:
        """Exchange greetings on a new link, if its server speaks `statews.v1`.

        Raises:
            SessionMissing: it does not, and has to.
            SessionError: its welcome is none, or does not fit.
            StatewsError: the link is over.

        Cancellation: the link is of no further use.
        """
        self._link = None
        if link.subprotocol != SUBPROTOCOL:
            if self._settings.on_missing is OnMissing.FAIL:
                raise SessionMissing(
                    "the server does not speak statews.v1, and a session is wanted"
                )
            if self.is_alive:
                self._forget("the server does not speak statews.v1 any more")
            return
        settings, largest = self._settings, self._limits.message_bytes
        hello = self.ticket.hello(self.peer, settings.window, settings.auth, largest=largest)
        await self._save()  # no later process may use this attempt's number again
        # What the server sends first may come with its welcome.
        link.limit_messages(max(largest + LONGEST_HEADER, LONGEST_HELLO))
        link.write(write_hello(hello))
        welcome = read_welcome(await link.receive())
        why = self.ticket.judge(welcome, self.peer)
        if why is not None:
            self._forget(why)
            raise broke_session(f"the server's session is not this one: {why}")
        self.result = welcome.result
        if welcome.result in (Result.NEW, Result.RESET):
            self._start_over(welcome)
        self.ticket.renew(welcome)
        is_new = welcome.result in (Result.NEW, Result.RESET)
        await self._begin_with(is_new=is_new, largest=welcome.largest)
        self._withdraw_longer(welcome.largest)
        link.limit_messages(largest + LONGEST_HEADER)
        await self._save()  # the first frame proves the token, and retires the one before
        self.peer.resume(welcome.position, welcome.window)
        self._link = link
        self.links += 1

    async def _begin_with(self, *, is_new: bool, largest: int) -> None:
        """Have said first what a new session begins with, until it is known to have arrived."""
        self._is_fresh = is_new or self.is_fresh
        first = self._settings.first if self._is_fresh else ()
        if callable(first):
            self.first = [Entry("")]  # nobody knows yet what it is, and nothing of it has arrived
            first = await provide("Resume.first", first)
            if not are_messages(first):
                raise UsageError(f"Resume.first must give messages, got {first!r:.100}")
        self.first = [Entry(message) for message in first]
        longest = max((entry.size for entry in self.first), default=0)
        if longest > largest:
            text = f"the server takes messages of {largest} bytes"
            raise UsageError(f"{text}, and Resume.first has one of {longest}")

    @property
    def is_fresh(self) -> bool:
        """Whether the server is not known to have what a new session begins with."""
        has_arrived = self.links and all(entry.state is ACKNOWLEDGED for entry in self.first)
        return self._is_fresh and not has_arrived

    def _withdraw_longer(self, size_bytes: int) -> None:
        """What the server would not take, and end each link for, is not sent to it."""
        log = self.peer.log
        log.largest = size_bytes
        for entry in [each for each in log.entries if each.size > size_bytes]:
            if not entry.attempts:
                log.withdraw(entry, f"the server takes {size_bytes} bytes at most")

    async def _save(self) -> None:
        if self._keeper is not None:
            await self._keeper.save(self.progress)

    def _start_over(self, welcome: Welcome) -> None:
        log = self.peer.log
        if welcome.was is not None and welcome.was <= log.last:
            log.resume(welcome.was, welcome.window)
        if self.is_alive:
            self._forget(welcome.why or "the server does not know it any more")
        chain = start_chain(welcome.sid)
        log.start_over(chain)  # a plain link may have been in between
        self.peer.cursor.start_over(chain)

    def _forget(self, why: str) -> None:
        """The session is over: what was sent in it is in doubt, or is sent again in the next."""
        self._reset_because = self._untold = why
        self.ticket.forget()
        self.peer.log.start_over(0)
        self.peer.cursor = Cursor(self._settings.window, is_stored=self._keeper is not None)
        self.progress = Progress(self, self.peer.cursor)

    def opened(self, spoken: Spoken, intake: Intake) -> None:
        """The link counts as open."""
        self._spoken = spoken
        intake.feed.begin(self.progress)
        self.tell(intake)

    def tell(self, intake: Intake) -> None:
        """A link counts as open, of a session or not: if the one before is over, say so."""
        if self._reset_because is not None:
            reset = Reset(stream=STREAM, key=None, reason=self._reset_because)
            intake.note(reset, self.progress, reset)
            self._reset_because = None

    def told(self, progress: Progress) -> None:
        """The application knows that the session before this one is over."""
        if progress is self.progress:
            self._untold = None

    def moved(self, cursor: Cursor) -> None:
        """Something is to be acknowledged, of this session or of one that is over."""
        if self._spoken is not None and cursor is self.peer.cursor:
            self._spoken.acknowledge_soon()

    # What is stored.

    def keep(self, keeper: Keeper) -> None:
        """From now on, what the server is told has to be stored first."""
        self._keeper = keeper

    def record(self) -> object:
        """What a later process resumes the session with, beside the messages in the outbox."""
        ticket, cursor, log = self.ticket, self.peer.cursor, self.peer.log
        return {
            "sid": ticket.sid,
            "tok": ticket.token,
            "n": ticket.attempt,
            "rx": cursor.rx,
            "rc": cursor.chain,
            "acknowledged": log.acknowledged,
            "chain": log.chain,
            "confirmed": log.confirmed,
            "reset": self._untold,
            "fresh": self.is_fresh,
        }

    def saved(self, position: object) -> None:
        """This record is stored: what it says was handled may be acknowledged."""
        match position:
            case {"sid": str(sid), "rx": int(rx), "rc": int(chain)} if sid == self.ticket.sid:
                if rx > self.peer.cursor.safe:  # two tasks may hear of one flush, the later first
                    self.peer.cursor.saved(rx, chain)
                if self._spoken is not None:
                    self._spoken.acknowledge_soon()
            case _:
                pass  # of a session that is over

    def restore(self, position: object) -> None:
        """Go on, in a new process, with the session of an earlier one.

        Raises:
            UsageError: this is no record of a session.
        """
        match position:
            case {
                "sid": str() | None as sid,
                "tok": str() | None as token,
                "n": int(attempt),
                "rx": int(rx),
                "rc": int(rx_chain),
                "acknowledged": int(acknowledged),
                "chain": int(chain),
                "confirmed": int(confirmed),
                "reset": str() | None as reset,
            }:
                self.ticket = Ticket(sid=sid, token=token, attempt=attempt)
                self.peer.cursor.start_over(rx_chain, rx=rx)
                self.progress.again = rx + 1
                self.peer.log.go_on(acknowledged, chain, confirmed=confirmed)
                self._reset_because = self._untold = reset
                self._is_fresh = _is_fresh(position)
            case _:
                raise UsageError(f"the store holds a session that is none: {position!r:.200}")

    @property
    def redelivers(self) -> bool:
        """Whether an earlier process may have handled the message that is being handled."""
        return self.progress.again == self.peer.cursor.rx + 1

    def lost(self) -> None:
        """The link is gone."""
        self._link = self._spoken = None
        self.peer.suspend()


def _is_fresh(position: object) -> bool:
    """Whether a record says so; those of earlier versions say nothing."""
    match position:
        case {"fresh": bool(is_fresh)}:
            return is_fresh
        case _:
            return False
