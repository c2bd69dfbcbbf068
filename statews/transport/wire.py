"""What a link does without waiting: bytes in and out, control frames, the watch over the peer."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ..errors import FrameError, LinkClosed, LinkDropped, PeerSilent, StatewsError
from ..protocol.frames import CloseCode, Opcode, parse_close
from ..protocol.handshake import Side
from ..protocol.liveness import Liveness, Verdict
from .eventloop import awake_time, loop_clock
from .stream import CHUNK, LONG_CHUNK
from .writing import LinkState, Writing

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from ..policy import Policy
    from ..protocol.frames import Message
    from ..protocol.handshake import Opened
    from .stream import ByteStream
    from .traffic import Inbox

__all__ = ["Wire"]

_NO_HEADERS: Final[Mapping[str, str]] = {}
NONCE_BYTES: Final = 4  # of a ping: what no stranger's pong has
PING_BYTES: Final = 12  # with the position behind it
READ: Final = 8  # frames, about, that take as long as a read
ATTENDED: Final = 0.1  # seconds for which the owner leaves reading to a caller that has just read
UNREAD: Final = 1.0  # seconds without reading that an application is not told of

LOGGERS: Final = {
    Side.CLIENT: logging.getLogger("statews.client"),
    Side.SERVER: logging.getLogger("statews.listen"),
}


class Wire(Writing):
    """The part of a `Link` that any task may run, since it never waits.

    Attributes:
        clock: of the event loop; `anyio.current_time` costs as much as a message.
        inbox: the messages not yet taken, oldest first.
        subprotocol: the one selected in the opening handshake, if any.
        headers: the peer's headers in the opening handshake, names in lower case.
        path: what the opening handshake asked for, with the query.
        is_sole: whether nothing but what comes in fills `inbox`, so that who waits may read.
    """

    __slots__ = (
        "_attended_until",
        "_decoder",
        "_inbox_bytes",
        "_inbox_limit",
        "_liveness",
        "_ping",
        "_side",
        "_sort",
        "_unread_since",
        "_work",
        "clock",
        "headers",
        "inbox",
        "is_sole",
        "path",
        "subprotocol",
    )

    def __init__(self, stream: ByteStream, opened: Opened, policy: Policy) -> None:
        super().__init__(stream, opened, policy)
        self.inbox: Inbox = opened.decoder.inbox
        self.subprotocol: str | None = opened.subprotocol
        self.headers: Mapping[str, str] = opened.headers
        self.path: str = opened.path
        self._side = opened.side
        self._decoder = opened.decoder
        self.clock: Callable[[], float] = loop_clock()
        self._liveness = Liveness(policy.heartbeat, now=self.clock(), awake=awake_time())
        self._ping = b""
        self.is_sole: bool = True
        self._sort: Callable[[deque[Message]], int] | None = None
        self._work = 0  # what was done since others had a turn: frames, and reads
        self._inbox_bytes = 0  # taken in since the inbox was last empty
        self._inbox_limit = policy.limits.inbox_bytes
        self._unread_since = math.inf  # nothing is read for want of room; -inf: that was told
        self._attended_until = -math.inf
        if opened.rest:
            self._take(opened.rest)

    def __repr__(self) -> str:
        return f"<Link {self.state.name.lower()} over {self._stream!r}>"

    @property
    def round_trip(self) -> float | None:
        """Seconds that the last answered ping took; None if none was."""
        return self._liveness.round_trip

    def limit_messages(self, size_bytes: int) -> None:
        """Take in no longer message from now on; the peer that sends one is told 1009."""
        self._decoder.limit = size_bytes

    def forget_headers(self) -> None:
        """Nobody asks for them any more."""
        self.headers = _NO_HEADERS

    def adopt(self, inbox: deque[Message]) -> None:
        """Put what came in, and what will, behind the messages of earlier links."""
        inbox.extend(self._decoder.inbox)
        self.inbox = self._decoder.inbox = inbox
        self._inbox_bytes = sum(map(len, inbox))  # what earlier links left counts as well

    def divert(
        self,
        inbox: Inbox,
        sort: Callable[[deque[Message]], int],
        *,
        is_sole: bool = False,
        arriving: deque[Message] | None = None,
    ) -> None:
        """Have what came in, and what will, looked at before it goes into `inbox`.

        Args:
            inbox: where the application finds messages.
            sort: takes in what has come, and returns the bytes that wait in `inbox`.
            is_sole: whether nothing else puts anything there.
            arriving: where what comes in is put together until it is sorted; links of one event
                loop may share it, since an empty deque takes 760 bytes.
        """
        self.inbox = inbox
        self.is_sole = is_sole
        self._sort = sort
        self.call_owner()
        try:
            self._inbox_bytes = sort(self._decoder.inbox)
        except FrameError as error:
            self._refuse(error)
        if arriving is not None:
            self._decoder.inbox = arriving

    @property
    def _has_room(self) -> bool:
        return self._inbox_bytes < self._inbox_limit

    @property
    def is_held_up(self) -> bool:
        """Whether nothing is read until the application has taken what was."""
        return not self._has_room

    @property
    def has_unread(self) -> bool:
        """Whether something has come that is not read yet."""
        return self._stream.is_readable()

    def _attend(self) -> None:
        """A caller is receiving: leave reading to callers for a while, and look again then."""
        if not self.is_sole:
            return  # what comes in is looked at first, whether anybody receives or not
        self._attended_until = until = self.clock() + ATTENDED
        if self._nap.deadline > until:  # noqa: PLR1730 - to set a deadline costs more than to look
            self._nap.deadline = until

    def call_owner(self) -> None:
        """Have the owner read: a caller may have left it to others, and something is awaited."""
        self._attended_until = -math.inf
        self._nap.cancel()

    def take_back(self) -> None:
        """Have the owner read, if that is left to callers for now."""
        if self._attended_until > -math.inf:
            self.call_owner()

    # What comes in.

    def look(self) -> None:
        """Take in what has come already, where nobody reads.

        Raises:
            StatewsError: the link is over; the error says why.
        """
        if self.state is LinkState.OPEN:
            self._receive()
        if self.state is not LinkState.OPEN:
            raise self._why_not()

    def _receive(self) -> bool:
        """Take in what has come; whether anything had."""
        try:
            most = LONG_CHUNK if self._decoder.missing else CHUNK
            data = self._stream.receive_nowait(most)
        except LinkDropped as error:
            self._end(error)
            return True
        if data is None:
            return False
        self._take(data)
        return True

    def _take(self, data: bytes) -> None:
        """Let the decoder have what came in, and see to what is not a message."""
        if not data:
            text = "the peer closed the TCP connection without a closing handshake"
            self._end(LinkDropped(text))
            return
        self._liveness.heard(self.clock())
        decoder = self._decoder
        try:
            decoder.feed(data)
            self._work += READ + len(decoder.inbox) + len(decoder.controls)
            if decoder.controls:
                self._take_controls()
        except FrameError as error:
            self._refuse(error)
        if self._sort is None:
            self._inbox_bytes = self._inbox_bytes + len(data) if self.inbox else 0
        else:
            try:
                self._inbox_bytes = self._sort(decoder.inbox)
            except FrameError as error:
                self._refuse(error)
        self.wake_reader()

    def _refuse(self, error: FrameError) -> None:
        """The peer broke a rule: tell it which, and end the link."""
        if self.state is LinkState.OPEN:
            self._put(self._encoder.close(error.close_code, str(error)))
        self._end(error)

    def depart(
        self, why: StatewsError, code: int = CloseCode.GOING_AWAY, reason: str = ""
    ) -> None:
        """End the link with a close frame, for a reason of our own."""
        if self.state is LinkState.OPEN:
            self._put(self._encoder.close(code, reason))
        self._end(why)
        self._stream.interrupt()  # a caller may be reading

    def wake_reader(self) -> None:
        """Have whoever waits for messages look, if there is one."""
        if self._arrived is not None and self.inbox:
            self._arrived.set()
            self._arrived = None
            self._attend()

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
            elif len(payload) == PING_BYTES and payload.startswith(self._ping[:NONCE_BYTES]):
                self._take_pong(payload)

    def _take_pong(self, payload: bytes) -> None:
        """Take in an answer; others may have been left out (RFC 6455 section 5.5.3)."""
        if payload == self._ping:
            self._liveness.answered(self.clock())
        if self.traffic is not None:
            self.traffic.confirm(int.from_bytes(payload[NONCE_BYTES:], "big"))

    # The watch over the peer.

    def ping(self) -> None:
        """Ask the peer whether it is there; the answer shows in `round_trip`.

        And it confirms what was sent before: the ping says how much that was.
        """
        self._attended_until = -math.inf  # the answer is to be read, whether callers read or not
        if self.state is LinkState.OPEN:
            nonce = self._ping[:NONCE_BYTES] or os.urandom(NONCE_BYTES)
            position = 0 if self.traffic is None else self.traffic.ask()
            self._ping = nonce + position.to_bytes(PING_BYTES - NONCE_BYTES, "big")
            self._liveness.asked(self.clock())
            self._put(self._encoder.control(Opcode.PING, self._ping))

    def asked(self) -> None:
        """The application has asked the peer for a sign of life, in its own words."""
        self._liveness.asked(self.clock())

    def answered(self) -> None:
        """And the peer has answered."""
        self._liveness.answered(self.clock())

    def look_at(self, at: float) -> None:
        """Have `Traffic.tick` called at that time, or earlier."""
        if at < self._nap.deadline:  # noqa: PLR1730 - to set a deadline costs more than to look
            self._nap.deadline = at

    def probe(self) -> None:
        """`ping`, and hold the peer to an answer within the heartbeat's timeout."""
        self.ping()
        self._nap.cancel()

    def _beat(self) -> float:
        """Do what the heartbeat asks for now, and return when to look again."""
        now, reading = self.clock(), self._has_room or self._find_room()
        match self._liveness.judge(now, awake_time(), reading=reading):
            case Verdict.DEAD if self._stream.is_readable():
                self._liveness.heard(now)  # its answer is here, and only not read yet
            case Verdict.DEAD if not self._is_taking(now):
                self._end(PeerSilent("the peer was silent, and did not answer a ping in time"))
                self._stream.abort()  # whoever waits for it to be readable learns it, too
            case Verdict.LOOK:
                self._is_taking(now)
            case Verdict.PING:
                self.ping()
            case Verdict.DEAD | Verdict.WAIT:
                pass
        look = self._liveness.next_look(now, reading=reading)
        if not reading:
            look = min(look, self._tell_unread(now))
        elif self._unread_since > -math.inf:
            self._unread_since = math.inf
        return look if self.traffic is None else min(look, self.traffic.tick(now))

    def _find_room(self) -> bool:
        """Whether the application has taken everything since something last came in."""
        if self.inbox:
            return False
        self._inbox_bytes = 0
        return True

    def _tell_unread(self, now: float) -> float:
        """Tell the application, once, that it leaves no room to read on; when to look again."""
        self._unread_since = min(self._unread_since, now)
        told_at = self._unread_since + UNREAD
        if now < told_at:
            return told_at
        if self._unread_since > -math.inf:
            self._unread_since = -math.inf
            LOGGERS[self._side].warning(
                "nothing more is read from %s, and no ping answered, "
                "until the application receives: %d bytes wait",
                self.path.partition("?")[0],
                self._inbox_bytes,
            )
        return math.inf

    def _is_taking(self, now: float) -> bool:
        """Whether the peer's system takes in what was sent before the ping."""
        arrived, upto = self.passage
        return self._liveness.looked(now, arrived=arrived, upto=upto)

    @property
    def passage(self) -> tuple[int, int]:
        """How many bytes of ours the peer's system has, and how many it will have in the end."""
        arrived, under_way = self._stream.transit()
        return arrived, arrived + under_way + self._outgoing.size
