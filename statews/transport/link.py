"""One link: a WebSocket connection from the end of the upgrade to the end of TCP.

Two tasks meet here. The link's owner (the driver, or the listener) runs `serve`, which
keeps it alive: it reads while nobody else does, waits when the transport is full, and
watches over the peer. The application's task sends and receives. Whoever waits for a
message reads, so that a message needs no task switch of its own. A caller's cancellation
leaves whole frames only: nothing that waits holds half of one.
"""

from __future__ import annotations

import math
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Final

import anyio
from anyio import CancelScope, Event
from anyio.lowlevel import checkpoint

from ..errors import BusyError, LinkClosed, LinkDropped, PeerSilent, StatewsError
from ..protocol.entry import Entry
from ..protocol.frames import CloseCode
from ..protocol.handshake import Side
from .eventloop import make_signal
from .stream import receive
from .wire import READ, Wire
from .writing import LinkState

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from typing_extensions import Self

    from ..policy import Policy
    from ..protocol.frames import Message
    from ..protocol.handshake import Opened
    from .stream import ByteStream

__all__ = ["Link", "LinkState"]


TURN: Final = 4 * READ  # frames and reads, after which others have a turn


class Reader(Enum):
    """Who waits for the transport to become readable."""

    NOBODY = "nobody"
    OWNER = "the task in serve()"
    CALLER = "a task in receive()"


class Link(Wire):
    """An open WebSocket link. `on_open` hooks and the handlers of `listen` get one.

    Attributes:
        is_left: whether this side has begun to close it.
        longest_sent: bytes of the longest message that `send` was given.
    """

    __slots__ = ("_reader", "_until", "is_left", "longest_sent")

    def __init__(self, stream: ByteStream, opened: Opened, policy: Policy) -> None:
        super().__init__(stream, opened, policy)
        self._reader = Reader.NOBODY
        self._until = math.inf  # `serve` returns then
        self.is_left: bool = False
        self.longest_sent: int = 0

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
        is_full = self.write(message)
        if len(message) > self.longest_sent:
            self.longest_sent = Entry(message).size
        if is_full:
            await self.wait_room()

    @property
    def may_write(self) -> bool:
        """Whether what waits for the transport is within `Limits.outgoing_bytes`."""
        return self._outgoing.size <= self._outgoing.bound

    async def wait_room(self) -> None:
        """Return when what was sent is out, or the link is over."""
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

    def __aiter__(self) -> Self:
        """Iterate over the messages, until the peer closes the link."""
        return self

    async def __anext__(self) -> Message:
        try:
            return await self.receive()
        except LinkClosed:
            raise StopAsyncIteration from None

    async def wait_message(self) -> None:
        """Return when `inbox` has a message, or the link is over."""
        if not self.inbox:
            self._inbox_bytes = 0
        while not self.inbox and self.state is not LinkState.OVER:
            if self._reader is Reader.CALLER or self._arrived is not None:
                raise BusyError("another task is receiving from this connection already")
            if self._reader is Reader.NOBODY and self.is_sole:
                try:
                    await self._read(Reader.CALLER)
                finally:
                    self._attend()
            else:
                self._arrived = make_signal()
                if self._reader is Reader.NOBODY:
                    self._nap.cancel()  # time and changes may bring something as well: no CALLER
                try:
                    await self._arrived.wait()
                finally:
                    self._arrived = None

    @property
    def _is_amid_message(self) -> bool:
        """Whether to go on reading without a turn for others: there is nothing to hand out yet."""
        return bool(self._decoder.missing) and not self.inbox and self.state is not LinkState.OVER

    async def _read(self, reader: Reader) -> None:
        """Read once, waiting if need be. What was read is in the inbox before a cancellation."""
        self._reader = reader
        try:
            self._flush()
            while self._receive():
                if not self._is_amid_message:
                    await self._give_turn()
                    return
            await self._stream.wait_readable()
            self._receive()
        except LinkDropped as error:
            self._end(error)
        finally:
            self._reader = Reader.NOBODY
            if self._over is not None and reader is Reader.CALLER:
                self._over.set()  # the owner is closing, and reads on if this caller does not

    async def _give_turn(self) -> None:
        """Give others a turn: a peer that never pauses must not have the loop to itself.

        A few long messages take less time than a turn, and have one for several reads.
        """
        if self._work >= TURN:
            self._work = 0
            await checkpoint()

    # What the link's owner calls.

    async def serve(self, *, until: float = math.inf, shield: bool = False) -> StatewsError | None:
        """Keep the link alive until it is over, and return why; None if `until` came first.

        May be cancelled, unless there is a shield, and called again.
        """
        self._until = min(until, self._until)
        while True:
            self._nap = CancelScope(shield=shield)
            self._nap.deadline = min(self._look_again(), self._until)
            if self.state is LinkState.OVER:
                return self._why_not()
            if self.clock() >= self._until:
                self._until = math.inf
                return None
            with self._nap:
                if self._flush():
                    await self._turn()
                else:
                    await self._turn_while_full()

    def call_off(self) -> None:
        """Have `serve` return now, or as soon as it is called."""
        self._until = -math.inf
        self._nap.cancel()

    def _look_again(self) -> float:
        look, until = self._beat(), self._attended_until
        return min(look, until) if until > self.clock() else look

    def _turn(self) -> Awaitable[object]:
        """Read if nobody else does and there is room; else wait to be called."""
        return self._read(Reader.OWNER) if self._is_owners_turn() else make_signal().wait()

    def _is_owners_turn(self) -> bool:
        if self._arrived is not None:
            return True  # a caller found the owner reading, and relies on it
        is_attended = self.clock() < self._attended_until
        return self._reader is Reader.NOBODY and not is_attended and self._has_room

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
        self._liveness.heard(self.clock())  # room in a full pipe: the peer takes things in
        scope.cancel()

    async def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """The closing handshake (RFC 6455 section 7.1.2), then the end of the transport.

        The caller sets the deadline: when this is cancelled, the transport is aborted. A link
        that is over already is only released. The owner calls this, never while in `serve`.
        """
        try:
            if self.state is LinkState.OPEN:
                if self.traffic is not None:
                    self.traffic.finish()
                self.state = LinkState.CLOSING
                self.is_left = True
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
        """Take in what the peer still says, up to its close frame; without bound, keep nothing."""
        while self.state is not LinkState.OVER:
            if not self._has_room:
                self._decoder.inbox = deque(maxlen=0)
            if self._reader is Reader.NOBODY:
                await self._read(Reader.OWNER)
            else:
                self._over = Event()
                await self._over.wait()

    async def _wait_eof(self) -> None:
        """The server ends TCP first (section 7.1.1); a close with bytes unread is a reset."""
        if self._side is Side.SERVER:
            self._stream.send_eof()
        while await receive(self._stream):
            pass  # what follows a close frame is not for us (section 1.4)
