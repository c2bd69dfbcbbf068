"""Who may resume a session, and whether the two sides of it belong together.

A session's id is public; its token is not, and the server keeps a digest of it alone. Each
resumption issues a new token, and both are good until the first frame on the new link proves
that the client has the new one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from ..envelope import LARGEST
from .greeting import Hello, Position, Result, Welcome

if TYPE_CHECKING:
    from .peer import Peer
    from .window import Window

__all__ = ["Credentials", "Judgement", "Ticket", "digest", "judge", "misfit", "refusal"]

NOBODY: Final = bytes(32)  # what the token of an unknown session is compared with


def digest(token: str) -> bytes:
    """What a server keeps of a token. It is random, so that no salt is needed."""
    return sha256(token.encode()).digest()


@dataclass(slots=True)
class Credentials:
    """What a server knows of the client that a session belongs to.

    Attributes:
        principal: whose session it is; None: nobody was authenticated.
        attempt: of the last hello that was accepted.
        current: the digest of the token that was proved last.
        issued: the digest of the one that was issued since; None: it was proved.
    """

    principal: str | None
    attempt: int
    current: bytes
    issued: bytes | None = None

    def accepts(self, token: str) -> bool:
        """Whether a token is one of the two, in constant time."""
        given = digest(token)
        is_current = compare_digest(given, self.current)
        return compare_digest(given, self.issued or NOBODY) or is_current

    def renew(self, presented: str, token: str) -> None:
        """Issue a token to a client that has presented one of the two."""
        self.current, self.issued = digest(presented), digest(token)

    def prove(self) -> None:
        """The client has shown that it knows the last token: the one before is retired."""
        if self.issued is not None:
            self.current, self.issued = self.issued, None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a server makes of a hello.

    Attributes:
        result: what becomes of the session.
        why: the reason, in words; not for the client where it could learn something.
        lost: the range that the client will not get, if there is one.
    """

    result: Result
    why: str
    lost: tuple[tuple[int, int], ...] = ()


def judge(
    hello: Hello, credentials: Credentials | None, peer: Peer | None, principal: str | None
) -> Judgement:
    """What becomes of a hello, in the order that keeps a late or strange one off the session.

    Args:
        hello: what the client said.
        credentials: of the session that it names; None: there is none (any more).
        peer: the server's side of that session.
        principal: who the client is on this link.
    """
    if hello.sid is None or hello.token is None:
        return Judgement(result=Result.NEW, why="it has no session")
    if credentials is None or peer is None:
        compare_digest(digest(hello.token), NOBODY)  # takes as long as for one that is known
        return Judgement(result=Result.RESET, why="its session is not known")
    why = refusal(hello, credentials, principal) or misfit(peer, hello.position)
    if why is not None:
        return Judgement(result=Result.RESET, why=why)
    log, rx = peer.log, hello.position.rx
    if rx < log.acknowledged:
        lost = (rx + 1, log.acknowledged)
        return Judgement(result=Result.GAP, why="it was away for too long", lost=(lost,))
    if hello.position.first > peer.cursor.safe + 1:
        return Judgement(result=Result.GAP, why="it has dropped some of its own messages")
    return Judgement(result=Result.RESUMED, why="nothing is lost")


def refusal(hello: Hello, credentials: Credentials, principal: str | None) -> str | None:
    """Why a client may not resume a session, whatever became of that; None if it may."""
    if hello.attempt <= credentials.attempt:
        return "a later attempt of it was accepted already"
    if hello.token is None or not credentials.accepts(hello.token):
        return "its token is wrong or retired"
    if principal != credentials.principal:
        return "its session is somebody else's"
    return None


def misfit(peer: Peer, other: Position) -> str | None:
    """Why two sides do not belong together; None if they do.

    One of them went back in time: it was restored from a backup, or its store was.
    """
    log = peer.log
    if other.rx > log.last:
        return f"it has handled message {other.rx}, and {log.last} was the last one"
    if other.rx < log.confirmed:
        return f"it has handled {other.rx} messages, and had acknowledged {log.confirmed}"
    if other.last < peer.cursor.arrived:
        return f"message {peer.cursor.arrived} has arrived, and it knows {other.last} only"
    chain = log.chain_at(other.rx)
    if chain is not None and chain != other.chain:
        return f"up to message {other.rx} it was told something else"
    return None


@dataclass(slots=True)
class Ticket:
    """What a client has to resume a session with.

    Attributes:
        sid: the session; None: there is none.
        token: what proves that it is this client's.
        attempt: of the last hello. It is stored before the hello is sent.
    """

    sid: str | None = None
    token: str | None = field(default=None, repr=False)
    attempt: int = 0

    def hello(
        self, peer: Peer, window: Window, auth: object = None, *, largest: int = LARGEST
    ) -> Hello:
        """The next hello."""
        self.attempt += 1
        return Hello(
            sid=self.sid,
            token=self.token,
            attempt=self.attempt,
            position=peer.greet(),
            window=window,
            largest=largest,
            auth=auth,
        )

    def judge(self, welcome: Welcome, peer: Peer) -> str | None:
        """Why a welcome does not fit, and the session is over; None if it does."""
        if welcome.result in (Result.NEW, Result.RESET):
            rx = welcome.position.rx
            return f"it has handled {rx} messages of a new session" if rx else None
        if welcome.sid != self.sid:
            return "the server went on with another session"
        return misfit(peer, welcome.position)

    def renew(self, welcome: Welcome) -> None:
        """Take the session and the token that a welcome brought.

        Attempts go on counting in a new session: the server knows the number of the last hello.
        """
        self.sid, self.token = welcome.sid, welcome.token

    def forget(self) -> None:
        """There is no session any more; the next one counts its attempts on from here."""
        self.sid = self.token = None
