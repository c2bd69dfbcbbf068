"""What a link writes, and the end of it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from anyio import CancelScope, Event

from ..errors import ConnectionClosed, LinkDropped, PeerSilent, StatewsError
from .outgoing import HEADER, LONG, Outgoing

if TYPE_CHECKING:
    from ..policy import Policy
    from ..protocol.frames import Message
    from ..protocol.handshake import Opened
    from .eventloop import Signal
    from .stream import ByteStream
    from .traffic import Traffic

__all__ = ["LinkState", "Writing"]


class LinkState(Enum):
    """Where a link is in its closing handshake (RFC 6455 section 7.1)."""

    OPEN = "messages go both ways"
    CLOSING = "our close frame is out; the peer's is awaited"
    OVER = "nothing more is sent or received"


class Writing:
    """The part of a `Wire` that writes. It never waits.

    Attributes:
        state: where the link is in its closing handshake.
        ending: why it is over, once it is.
        traffic: whose messages go over it, if it is a connection's.
        has_backlog: whether there is more to write as soon as there is room.
    """

    __slots__ = (
        "_arrived",
        "_encoder",
        "_nap",
        "_outgoing",
        "_over",
        "_stream",
        "ending",
        "has_backlog",
        "state",
        "traffic",
    )

    def __init__(self, stream: ByteStream, opened: Opened, policy: Policy) -> None:
        self.state: LinkState = LinkState.OPEN
        self.ending: StatewsError | None = None
        self.traffic: Traffic | None = None
        self.has_backlog: bool = False
        self._stream = stream
        self._encoder = opened.encoder
        self._outgoing = Outgoing(stream, opened.encoder, policy.limits.outgoing_bytes)
        self._nap = CancelScope()  # cancelled to call the owner
        self._arrived: Signal | None = None  # a caller waits for what the owner reads
        self._over: Event | None = None  # the owner waits for what a caller reads

    def _why_not(self) -> StatewsError:
        return self.ending or ConnectionClosed("the link is closing")

    def write(self, message: Message) -> bool:
        """`Link.send` without the wait; whether there is more to write than there should be."""
        if self.state is not LinkState.OPEN:
            raise self._why_not()
        if self._outgoing.texts:
            self._outgoing.make_frames()  # a deflater takes messages in the order of the wire
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
        return self._outgoing.size > self._outgoing.bound

    def write_text(self, text: str) -> bool:
        """`write` for what is known to be ASCII text."""
        outgoing, size = self._outgoing, len(text)
        if outgoing.is_fresh or self.state is not LinkState.OPEN or size >= LONG:
            return self.write(text)
        texts = outgoing.texts  # one call less for each of many
        texts.append(text)
        if len(texts) == 1:
            self._nap.cancel()
        outgoing.size = size = outgoing.size + size + HEADER
        return size > outgoing.bound

    def _put(self, frame: bytes) -> None:
        """Send a control frame."""
        try:
            if self._outgoing.put_now(frame):
                self._nap.cancel()
        except LinkDropped as error:
            self._end(error)

    def _flush(self) -> bool:
        """Hand on what was collected, and what waits behind it; whether nothing is left."""
        try:
            while self._outgoing.flush():
                if not (self.has_backlog and self.traffic and self.traffic.refill()):
                    return True
        except LinkDropped as error:
            self._end(error)
            return True
        return False

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
