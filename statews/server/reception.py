"""The way from an open link to a session: hello, who it is, whether it may, welcome."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from ..errors import (
    FrameError,
    LinkClosed,
    SessionError,
    SessionMissing,
    StatewsError,
    StoreError,
)
from ..protocol.admission import Kind, retry_reason
from ..protocol.codes import CloseCode
from ..protocol.envelope import LONGEST_HEADER, SUBPROTOCOL
from ..protocol.session import (
    LONGEST_HELLO,
    Credentials,
    Judgement,
    Position,
    Result,
    Welcome,
    digest,
    judge,
    read_hello,
    refusal,
    write_welcome,
)
from ..protocol.session.chain import start as start_chain
from ..transport.listener import close
from .door import NotNow
from .settings import Request

if TYPE_CHECKING:
    from ..policy import Policy
    from ..protocol.admission import Refused, Visit
    from ..protocol.session import Hello
    from ..transport.link import Link
    from .door import AdmissionDoor
    from .journal import Journal
    from .session import Session
    from .settings import Authenticate, SessionLimits

__all__ = ["Reception"]

SID_BYTES: Final = 16
TOKEN_BYTES: Final = 32

logger: Final = logging.getLogger("statews.server")


class Reception:
    """Brings links and sessions together.

    Args:
        journal: all sessions.
        door: says when a client may be welcomed.
        authenticate: says who it is; None: nobody is asked.
        limits: see `SessionLimits`.
        policy: of the links.
        on_attached: called with a session that has a new link.
        on_detached: called with a session that has lost its link.
    """

    def __init__(
        self,
        journal: Journal,
        door: AdmissionDoor,
        *,
        authenticate: Authenticate | None,
        limits: SessionLimits,
        policy: Policy,
        on_attached: Callable[[Session], None],
        on_detached: Callable[[Session], None],
    ) -> None:
        self._journal = journal
        self._door = door
        self._authenticate = authenticate
        self._limits = limits
        self._policy = policy
        self._on_attached = on_attached
        self._on_detached = on_detached
        self._spare: list[str] = []  # ids of sessions that nobody knows of

    async def attend(self, link: Link, visit: Visit | Refused) -> Session | None:
        """Run one link, from its upgrade to its session.

        None: there is no session, and the link is closed.
        """
        session: Session | None = None
        try:
            hello = await self._wait_hello(link)
            if hello is not None:
                session = await self._welcome(link, hello, visit)
        finally:
            if session is None:
                await close(link, self._policy)
        return session

    def leave(self, session: Session, link: Link) -> None:
        """The link is over, or the server is."""
        ending = link.ending
        if not session.is_on(link):
            return  # a newer one took over
        if isinstance(ending, LinkClosed) and ending.code == CloseCode.NORMAL:
            self._journal.end(session)
        session.detach()
        if not session.is_over:
            self._on_detached(session)

    async def _wait_hello(self, link: Link) -> Hello | None:
        """The client's hello. Without one in time the link is over."""
        if link.subprotocol != SUBPROTOCOL:
            why = "this server speaks statews.v1 only"
            link.depart(SessionMissing(why), CloseCode.PROTOCOL_ERROR, why)
            return None
        link.limit_messages(LONGEST_HELLO)
        try:
            with anyio.fail_after(self._limits.hello):
                return read_hello(await link.receive())
        except TimeoutError:
            why = f"no hello within {self._limits.hello:g} seconds"
            link.depart(SessionError(CloseCode.HELLO_TIMEOUT, why), CloseCode.HELLO_TIMEOUT, why)
        except FrameError as error:
            link.depart(error, error.close_code, str(error))
        except StatewsError:
            pass  # it left
        return None

    async def _welcome(self, link: Link, hello: Hello, visit: Visit | Refused) -> Session | None:
        """Find or begin the session, and attach the link to it; None: the link is over."""
        try:
            principal = await self._identify(link, hello)
            is_new = self._judge(hello, principal).result in (Result.NEW, Result.RESET)
            await self._door.wait_welcome(visit, Kind.NEW if is_new else Kind.RETURNING)
            link.look()  # it may have given up meanwhile
            session, welcome = await self._settle(hello, principal)
            self._check(link, session, welcome)
        except NotNow as error:
            link.depart(error, CloseCode.TRY_AGAIN_LATER, retry_reason(error.hint))
        except SessionError as error:
            link.depart(error, error.close_code, str(error))
        except StoreError as error:
            logger.error("the store failed: %s", error)  # noqa: TRY400 - no bug of ours
            link.depart(error, CloseCode.SERVER_ERROR, "the store failed")
        except StatewsError as error:
            logger.info("a client left before it was welcomed: %s", error)
        else:
            self._attach(link, hello, session, welcome)
            return session
        return None

    async def _identify(self, link: Link, hello: Hello) -> str | None:
        """Who it is.

        Raises:
            SessionError: nobody, or nobody who may come in; or nobody can say.
        """
        if self._authenticate is None:
            return None
        request = Request(path=link.path, headers=link.headers, auth=hello.auth)
        try:
            with anyio.fail_after(self._limits.hello):
                principal = await self._authenticate(request)
        except PermissionError as error:
            raise SessionError(CloseCode.FORBIDDEN, str(error) or "forbidden") from error
        except (Exception, asyncio.CancelledError) as error:
            await checkpoint_if_cancelled()  # else it waited for what somebody else has cancelled
            logger.exception("authenticate failed")
            raise SessionError(CloseCode.SERVER_ERROR, "the server failed") from error
        if principal is None:
            raise SessionError(CloseCode.NOT_AUTHENTICATED, "not authenticated")
        if not isinstance(principal, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            logger.error("authenticate must give a str or None, it gave %.100r", principal)
            raise SessionError(CloseCode.SERVER_ERROR, "the server failed")
        return principal

    def _judge(self, hello: Hello, principal: str | None) -> Judgement:
        session = None if hello.sid is None else self._journal.sessions.get(hello.sid)
        if session is None or hello.token is None:
            return judge(hello, None, None, principal)
        why = refusal(hello, session.credentials, principal)
        if why is not None:  # nobody is woken, and it takes as long as for an unknown session
            return Judgement(result=Result.RESET, why=why)
        return judge(hello, session.credentials, session.peer, principal)

    async def _settle(self, hello: Hello, principal: str | None) -> tuple[Session, Welcome]:
        """The session that the hello leads to, stored, and the welcome but for its position.

        Raises:
            SessionError: a newer attempt of the same client came meanwhile.
            StoreError: it could not be stored.
        """
        judgement = self._judge(hello, principal)  # again: there was a wait
        token = secrets.token_urlsafe(TOKEN_BYTES)
        if judgement.result in (Result.RESUMED, Result.GAP):
            assert hello.sid is not None and hello.token is not None  # noqa: PT018, S101
            session = self._journal.sessions[hello.sid]
            if session.is_attached:
                session.make_way()
                self._on_detached(session)  # until the new link is attached, if it ever is
            self._journal.expect(session)
            session.credentials.renew(hello.token, token)
            session.credentials.attempt = hello.attempt
        else:
            session = self._begin(principal, token)
            if judgement.result is Result.RESET:
                logger.info("a client cannot resume session %s: %s", hello.sid, judgement.why)
        try:
            await self._journal.save(session)
        except StoreError:
            if judgement.result in (Result.NEW, Result.RESET):
                self._journal.end(session)
                self._spare.append(session.id)  # the store has few to forget, whoever comes
            raise
        if not session.credentials.accepts(token):
            raise SessionError(CloseCode.REPLACED, "a newer link took over")
        if session.is_over:
            raise SessionError(CloseCode.SESSION_GONE, "the session is over")
        return session, Welcome(
            result=judgement.result,
            sid=session.id,
            token=token,
            window=self._limits.window,
            lost=judgement.lost,
            time_to_live=self._limits.time_to_live,
            largest=self._policy.limits.message_bytes,
            was=self._was(hello) if judgement.result is Result.RESET else None,
        )

    def _check(self, link: Link, session: Session, welcome: Welcome) -> None:
        """See whether there still is somebody to welcome, and somebody who does: there was a wait.

        Raises:
            NotNow: the server is about to leave.
            StatewsError: the link is over.
        """
        try:
            self._door.check_welcome()
            link.look()
        except StatewsError:
            if welcome.result in (Result.NEW, Result.RESET):
                self._journal.end(session)  # nobody knows of it
            raise

    def _begin(self, principal: str | None, token: str) -> Session:
        if len(self._journal.sessions) >= self._limits.sessions:
            raise SessionError(CloseCode.TRY_AGAIN_LATER, "there are too many sessions")
        sid = self._spare.pop() if self._spare else secrets.token_urlsafe(SID_BYTES)
        credentials = Credentials(
            principal=principal,
            attempt=1,  # no earlier hello can name it, however the client counts
            current=digest(token),
        )
        return self._journal.new(sid, credentials, start_chain(sid))

    def _was(self, hello: Hello) -> int | None:
        """How far the session that is over had come, for the client that it belonged to."""
        tombstone = self._journal.tombstones.get(hello.sid or "")
        if tombstone is None or not tombstone.credentials.accepts(hello.token or ""):
            return None
        return tombstone.rx

    def _attach(self, link: Link, hello: Hello, session: Session, welcome: Welcome) -> None:
        """Welcome the client, and go on with its session on this link. Nothing here waits."""
        session.make_way()
        position = session.peer.greet()
        link.limit_messages(self._policy.limits.message_bytes + LONGEST_HEADER)
        with contextlib.suppress(StatewsError):  # it is over: whoever serves it learns so
            link.write(write_welcome(replace(welcome, position=position)))
        if welcome.result in (Result.NEW, Result.RESET):
            hello = replace(hello, position=Position())  # what the old session had, is over
        self._journal.come_back(session)
        session.attach(link, hello)
        link.forget_headers()
        session.settled()
        self._on_attached(session)
