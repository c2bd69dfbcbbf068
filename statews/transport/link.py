"""One link: a WebSocket connection from the end of the upgrade to the end of TCP.

Two tasks meet here. The link's owner (the driver, or the listener) runs `serve`, which
keeps it alive: it reads while nobody else does, waits when the transport is full, and
watches over the peer. The application's task sends and receives. Whoever waits for a
message reads, so that a message needs no task switch of its own. A caller's cancellation
leaves whole frames only: nothing that waits holds half of one.
"""

from __future__ import annotations

import math
import os
import time
from enum import Enum
from typing import TYPE_CHECKING, Final

import anyio
from anyio import CancelScope, Event, current_time
from anyio.lowlevel import checkpoint

from ..errors import (
    BusyError,
    ConnectionClosed,
    FrameError,
    LinkClosed,
    LinkDropped,
    PeerSilent,
    StatewsError,
)
from ..protocol.frames import CloseCode, Opcode, parse_close
from ..protocol.handshake import Side
from ..protocol.liveness import Liveness, Verdict
from .outgoing import LONG, Outgoing

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Mapping

    from ..policy import Policy
    from ..protocol.frames import Message
    from ..protocol.handshake import Opened
    from .stream import ByteStream

__all__ = ["Link", "LinkState"]

ATTENDED: Final = 1.0  # seconds for which the owner leaves reading to a caller that has just read

# A clock that goes on while the machine sleeps, where there is one.
_AWAKE: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


def awake_time() -> float:
    """Seconds on a clock that counts the time the machine slept as well."""
    return time.monotonic() if _AWAKE is None else time.clock_gettime(_AWAKE)


class LinkState(Enum):
    """Where a link is in its closing handshake (RFC 6455 section 7.1)."""

    OPEN = "messages go both ways"
    CLOSING = "our close frame is out; the peer's is awaited"
    OVER = "nothing more is sent or received"


class Reader(Enum):
    """Who waits for the transport to become readable."""

    NOBODY = "nobody"
    OWNER = "the task in serve()"
    CALLER = "a task in receive()"


class Link:
    """An open WebSocket link.

    Attributes:
        state: where it is in its closing handshake.
        ending: why it is over, once it is.
        inbox: the messages not yet taken, oldest first.
        subprotocol: the one selected in the opening handshake, if any.
        headers: the peer's headers in the opening handshake, names in lower case.
        path: what the opening handshake asked for, with the query.
    """

    __slots__ = (
        "_arrived",
        "_attended_at",
        "_decoder",
        "_encoder",
        "_inbox_bytes",
        "_inbox_limit",
        "_liveness",
        "_nap",
        "_outgoing",
        "_over",
        "_ping",
        "_reader",
        "_side",
        "_stream",
        "ending",
        "headers",
        "inbox",
        "path",
        "state",
        "subprotocol",
    )

    def __init__(self, stream: ByteStream, opened: Opened, policy: Policy) -> None:
        self.state = LinkState.OPEN
        self.ending: StatewsError | None = None
        self.inbox: deque[Message] = opened.decoder.inbox
        self.subprotocol = opened.subprotocol
        self.headers: Mapping[str, str] = opened.headers
        self.path = opened.path
        self._stream = stream
        self._side = opened.side
        self._decoder = opened.decoder
        self._encoder = opened.encoder
        self._outgoing = Outgoing(stream, policy.limits.outgoing_bytes)
        self._liveness = Liveness(policy.heartbeat, now=current_time(), awake=awake_time())
        self._ping = b""
        self._inbox_bytes = 0  # taken in since the inbox was last empty
        self._inbox_limit = policy.limits.inbox_bytes
        self._reader = Reader.NOBODY
        self._attended_at = -math.inf
        self._nap = CancelScope()
        self._arrived: Event | None = None
        self._over: Event | None = None
        if opened.rest:
            self._take(opened.rest)

    def __repr__(self) -> str:
        return f"<Link {self.state.name.lower()} over {self._stream!r}>"

    @property
    def round_trip(self) -> float | None:
        """Seconds that the last answered ping took."""
        return self._liveness.round_trip

    # What the application's tasks call.

    async def send(self, message: Message) -> None:
        """Send one message: `str` as text, bytes as binary (RFC 6455 section 5.6).

        Returns when the transport has the message, or when it may wait within
        `Limits.outgoing_bytes`. Does not yield unless it has to.

        Raises:
            UsageError: not a message.
            StatewsError: the link is over; the error says why.

        Cancellation: the message is on its way, whole.
        """
        if self.state is not LinkState.OPEN:
            raise self._why_not()
        header, payload = self._encoder.message(message)
        try:
            if len(payload) < LONG:
                wants_turn = self._outgoing.put(header + payload)
            else:
                wants_turn = self._outgoing.put_long(header, payload)
        except LinkDropped as error:
            self._end(error)
            raise
        if wants_turn:
            self._nap.cancel()
        if self._outgoing.is_over_bound:
            await self._wait_room()

    async def _wait_room(self) -> None:
        if self._flush():
            await checkpoint()
        else:
            self._nap.cancel()
            await self._outgoing.wait_room()

    async def receive(self) -> Message:
        """The next message.

        Raises:
            StatewsError: the link is over; the error says why.
            BusyError: another task is receiving.

        Cancellation: no message is lost.
        """
        while not self.inbox:
            if self.state is LinkState.OVER:
                raise self._why_not()
            await self.wait_message()
        return self.inbox.popleft()

    def __aiter__(self) -> Link:
        return self

    async def __anext__(self) -> Message:
        try:
            return await self.receive()
        except LinkClosed:
            raise StopAsyncIteration from None

    def _why_not(self) -> StatewsError:
        return self.ending or ConnectionClosed("the link is closing")

    async def wait_message(self) -> None:
        """Return when `inbox` has a message, or the link is over."""
        while not self.inbox and self.state is not LinkState.OVER:
            if self._reader is Reader.NOBODY:
                self._reader = Reader.CALLER
                try:
                    await self._read()
                finally:
                    self._reader = Reader.NOBODY
                    self._attend()
            elif self._reader is Reader.OWNER:
                self._arrived = self._arrived or Event()
                await self._arrived.wait()
            else:
                message = "another task is receiving from this connection already"
                raise BusyError(message)

    def _attend(self) -> None:
        """A caller has read: leave reading to callers for a while, and look again then."""
        now = current_time()
        self._attended_at = now
        if self._nap.deadline > now + ATTENDED:
            self._nap.deadline = now + ATTENDED

    # What comes in and what goes out, for whichever task is at it.

    async def _read(self) -> None:
        """Read once, waiting if need be. What was read is in the inbox before anything can be cancelled."""
        try:
            data = self._stream.receive_nowait()
            if data is not None:
                self._take(data)
                await checkpoint()  # a peer that never pauses must not have the loop to itself
                return
            self._flush()
            await self._stream.wait_readable()
            data = self._stream.receive_nowait()
        except LinkDropped as error:
            self._end(error)
        else:
            if data is not None:
                self._take(data)

    def _take(self, data: bytes) -> None:
        """Let the decoder have what came in, and see to what is not a message."""
        if not data:
            text = "the peer closed the TCP connection without a closing handshake"
            self._end(LinkDropped(text))
            return
        self._liveness.heard(current_time())
        decoder = self._decoder
        try:
            decoder.feed(data)
            if decoder.controls:
                self._take_controls()
        except FrameError as error:
            self._put(self._encoder.close(error.close_code, str(error)))
            self._end(error)
        self._inbox_bytes = self._inbox_bytes + len(data) if self.inbox else 0
        if self._arrived is not None and self.inbox:
            self._arrived.set()
            self._arrived = None

    def _take_controls(self) -> None:
        controls, self._decoder.controls = self._decoder.controls, []
        for opcode, payload in controls:
            if opcode == Opcode.PING:
                self._put(self._encoder.control(Opcode.PONG, payload))
            elif opcode == Opcode.CLOSE:
                code, reason = parse_close(payload)
                if self.state is LinkState.OPEN:
                    self._put(self._encoder.close(code))
                self._end(LinkClosed(code, reason))
            elif payload == self._ping:
                self._liveness.answered(current_time())

    def _put(self, frame: bytes) -> None:
        """Send a control frame."""
        try:
            if self._outgoing.put_now(frame):
                self._nap.cancel()
        except LinkDropped as error:
            self._end(error)

    def _flush(self) -> bool:
        try:
            return self._outgoing.flush()
        except LinkDropped as error:
            self._end(error)
            return True

    def _end(self, why: StatewsError) -> None:
        """The link is over; whoever waits learns why. The first reason stays."""
        if self.state is not LinkState.OVER:
            self.state = LinkState.OVER
            self.ending = why
            self._nap.cancel()
        self._outgoing.release()
        for event in (self._arrived, self._over):
            if event is not None:
                event.set()
        self._arrived = self._over = None

    # What the link's owner calls.

    async def serve(self) -> StatewsError:
        """Keep the link alive until it is over; returns why. May be cancelled and called again."""
        while self.state is not LinkState.OVER:
            self._nap = CancelScope()
            self._nap.deadline = self._beat()
            with self._nap:
                if self.state is LinkState.OVER:
                    break  # by what the heartbeat did
                if self._flush():
                    await self._turn()
                else:
                    await self._turn_while_full()
        return self._why_not()

    async def _turn(self) -> None:
        """Read if nobody else does and there is room; else wait to be called."""
        is_attended = (
            self._reader is not Reader.NOBODY or current_time() - self._attended_at < ATTENDED
        )
        if is_attended or not self._has_room:
            await anyio.sleep_forever()
        self._reader = Reader.OWNER
        try:
            await self._read()
        finally:
            self._reader = Reader.NOBODY

    async def _turn_while_full(self) -> None:
        """The transport is full: wait for room in it, and go on reading meanwhile."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._wait_writable, group.cancel_scope)
            await self._turn()
            group.cancel_scope.cancel()

    async def _wait_writable(self, scope: CancelScope) -> None:
        try:
            await self._stream.wait_writable()
        except LinkDropped as error:
            self._end(error)
        self._liveness.heard(current_time())  # room in a full pipe: the peer takes things in
        scope.cancel()

    @property
    def _has_room(self) -> bool:
        return self._inbox_bytes < self._inbox_limit

    def _beat(self) -> float:
        """Do what the heartbeat asks for now, and return when to look again."""
        now, awake = current_time(), awake_time()
        reading = self._has_room
        match self._liveness.judge(now, awake, reading=reading):
            case Verdict.DEAD if self._stream.is_readable():
                self._liveness.heard(now)  # its answer is here, and only not read yet
            case Verdict.DEAD:
                self._end(PeerSilent("the peer was silent, and did not answer a ping in time"))
            case Verdict.PING:
                self.ping()
            case Verdict.WAIT:
                pass
        look = self._liveness.next_look(now, reading=reading)
        attended_until = self._attended_at + ATTENDED
        return min(look, attended_until) if attended_until > now else look

    def ping(self) -> None:
        """Ask the peer whether it is there; the answer shows in `round_trip`."""
        self._ping = os.urandom(4)
        self._liveness.asked(current_time())
        self._put(self._encoder.control(Opcode.PING, self._ping))

    def probe(self) -> None:
        """Ask now, and judge by the answer as after any ping."""
        if self.state is LinkState.OPEN:
            self.ping()
            self._nap.cancel()

    def adopt(self, inbox: deque[Message]) -> None:
        """Put what came in, and what will, behind the messages of earlier links."""
        inbox.extend(self.inbox)
        self.inbox = self._decoder.inbox = inbox

    async def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """The closing handshake (RFC 6455 section 7.1.2), then the end of the transport.

        The caller sets the deadline: when this is cancelled, the transport is aborted. A link
        that is over already is only released. The owner calls this, never while it is in `serve`.
        """
        try:
            if self.state is LinkState.OPEN:
                self.state = LinkState.CLOSING
                self._put(self._encoder.close(code, reason))
            while not self._flush():
                await self._stream.wait_writable()
            await self._wait_end()
            if not isinstance(self.ending, (LinkDropped, PeerSilent)):
                await self._wait_eof()
        except LinkDropped as error:
            self._end(error)
        except BaseException:
            self.abort()
            raise
        self.release()

    async def _wait_end(self) -> None:
        """Take in what the peer still says, up to its close frame."""
        while self.state is not LinkState.OVER:
            if self._reader is Reader.NOBODY:
                await self._read()
            else:
                self._over = self._over or Event()
                await self._over.wait()

    async def _wait_eof(self) -> None:
        """The server ends TCP first (section 7.1.1). To close with bytes unread would be a reset."""
        if self._side is Side.SERVER:
            self._stream.send_eof()
        while True:
            data = self._stream.receive_nowait()
            if data is None:
                await self._stream.wait_readable()
            elif not data:
                return

    def release(self) -> None:
        """Give everything back at once. Whoever still waits gets `ending`."""
        self._end(LinkDropped("the link was released"))
        if isinstance(self.ending, PeerSilent):
            self._stream.abort()
        else:
            self._stream.close()

    def abort(self) -> None:
        """`release`, and forget what the peer was not delivered yet."""
        self._end(LinkDropped("the link was aborted"))
        self._stream.abort()
