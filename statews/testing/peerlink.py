"""One link of a scripted peer: what the client sent, taken apart, and what it is told."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from struct import pack
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
from websockets.utils import accept_key

from ..errors import LinkDropped
from ..protocol.codes import CloseCode, Opcode
from ..protocol.head import lower_headers, read_request
from ..protocol.plain import FIN, MASKED, SHORT, apply_mask
from ..transport.stream import receive, send
from .faults import Ending
from .tracking import Tracker

if TYPE_CHECKING:
    from ..transport.stream import ByteStream
    from .tracking import SeenFrame

__all__ = ["PeerFrame", "PeerLink", "PeerRequest", "PeerTimeout", "within"]

LONGEST_HEAD: Final = 65536  # bytes, as of a `Tracker`
KEPT: Final = 20  # of what came, to be shown: so many lines of it,
SHOWN: Final = 48  # and so many bytes of what is none

Found = TypeVar("Found")


class PeerTimeout(AssertionError):
    """The client did not do what was awaited of it.

    Attributes:
        awaited: what that was.
        so_far: what has come instead.
    """

    def __init__(self, awaited: str, seconds: float, so_far: str) -> None:
        super().__init__(f"expected {awaited} within {seconds:g} seconds; so far came {so_far}")
        self.awaited: str = awaited
        self.so_far: str = so_far


@contextlib.contextmanager
def within(seconds: float, awaited: str, so_far: Callable[[], str]) -> Generator[None]:
    """Give a wait a deadline.

    Args:
        seconds: how long it may take.
        awaited: what is awaited.
        so_far: tells what has come instead.

    Raises:
        PeerTimeout: it took longer.
    """
    with anyio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise PeerTimeout(awaited, seconds, so_far())


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRequest:
    """A client's half of the opening handshake.

    Attributes:
        method: `GET`, if all is well.
        path: what is asked for, with the query.
        headers: names in lower case; repeated ones joined by commas.
        raw: its bytes.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFrame:
    """A client's frame (RFC 6455 section 5.2).

    Attributes:
        opcode: an `Opcode`, or a number that is none.
        payload: without its mask.
        fin: whether it is the last of its message.
        rsv: the reserved bits; RSV1 is 4.
        mask: the 4 bytes it was masked with; none if it was not.
    """

    opcode: int
    payload: bytes
    fin: bool = True
    rsv: int = 0
    mask: bytes = field(default=b"", repr=False)

    @property
    def text(self) -> str:
        """The payload of a text frame; of a close frame, the reason."""
        return (self.payload[2:] if self.opcode == Opcode.CLOSE else self.payload).decode()

    @property
    def close_code(self) -> int | None:
        """The code of a close frame, 1005 if it has none; None for other frames."""
        if self.opcode != Opcode.CLOSE:
            return None
        return int.from_bytes(self.payload[:2], "big") if self.payload else CloseCode.NO_STATUS


class PeerLink:
    """A connection of a `ScriptedPeer`, for one task at a time.

    Every wait ends with `PeerTimeout` after `timeout` seconds, and with `LinkDropped` if the
    client has ended TCP instead. A cancelled send may leave half a frame, any other wait nothing.

    Attributes:
        timeout: seconds that each wait takes at the most; it may be changed.
    """

    def __init__(self, stream: ByteStream, timeout: float) -> None:
        self.timeout: float = timeout
        self._stream = stream
        self._tracker = Tracker()
        self._head = b""
        self._request: PeerRequest | None = None
        self._buffer = bytearray()  # what was not taken yet
        self._frames: deque[SeenFrame] = deque()  # in there, the last one possibly not whole
        self._log: deque[str] = deque(maxlen=KEPT)
        self._ending: Ending | None = None

    def __repr__(self) -> str:
        return f"<PeerLink, so far came {self._so_far()}>"

    # What comes.

    async def read_request(self) -> PeerRequest:
        """The client's half of the opening handshake; once it was read, the same again.

        Raises:
            HandshakeError: it is no HTTP.
        """
        if self._request is None:
            self._request = await self._wait("a request", self._take_request)
        return self._request

    async def receive(self) -> PeerFrame:
        """The next frame of any kind, once it is whole; read the request if nobody has."""
        await self.read_request()
        return await self._wait("a frame", self._take_frame)

    async def wait_closed(self) -> Ending:
        """Return when the client has ended TCP: how. Frames before that can still be received."""
        return await self._wait("the end of TCP", lambda: self._ending)

    async def _wait(self, awaited: str, take: Callable[[], Found | None]) -> Found:
        with within(self.timeout, awaited, self._so_far):
            while (found := take()) is None:
                if self._ending is not None:
                    how = f"the client ended TCP with {self._ending.name}"
                    raise LinkDropped(f"{how} instead of {awaited}; so far came {self._so_far()}")
                await self._read()
        return found

    async def _read(self) -> None:
        try:
            data = await receive(self._stream)
        except LinkDropped:
            self._ending = self._ending or Ending.RST
            return
        if not data:
            self._ending = self._ending or Ending.FIN
        self._buffer += data
        head, frames = self._tracker.feed(data)
        if head:
            self._head = head + b"\r\n\r\n"
            self._log.append(head.partition(b"\r\n")[0].decode(errors="replace"))
        self._frames.extend(frames)
        self._log.extend(map(str, frames))

    def _so_far(self) -> str:
        what = ", ".join(self._log) or repr(bytes(self._buffer[:SHOWN]))
        return f"{self._tracker.position} bytes: {what}" if self._tracker.position else "nothing"

    def _take_request(self) -> PeerRequest | None:
        if not self._head:
            return None
        request = read_request(LONGEST_HEAD).feed(self._head)
        assert request is not None  # noqa: S101 - the head is whole
        del self._buffer[: len(self._head)]
        return PeerRequest(
            method=self._head.partition(b" ")[0].decode(),
            path=request.path,
            headers=lower_headers(request),
            raw=self._head,
        )

    def _take_frame(self) -> PeerFrame | None:
        if not self._frames or self._frames[0].end > self._tracker.position:
            return None
        frame = self._frames.popleft()
        size = frame.end - frame.start
        raw = bytes(self._buffer[:size])
        del self._buffer[:size]
        start = size - frame.size
        mask = raw[start - 4 : start] if raw[1] & MASKED else b""
        return PeerFrame(
            opcode=frame.first & 0x0F,
            payload=apply_mask(raw[start:], mask) if mask else raw[start:],
            fin=bool(frame.first & FIN),
            rsv=frame.first >> 4 & 7,
            mask=mask,
        )

    # What is said.

    async def upgrade(
        self, *, subprotocol: str | None = None, headers: Mapping[str, str | None] | None = None
    ) -> PeerRequest:
        """Read the request if nobody has, and answer it with a correct 101.

        Args:
            subprotocol: the one selected, offered or not.
            headers: more of them. One of ours is replaced, or left out if its value is None.
        """
        request = await self.read_request()
        ours = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": accept_key(request.headers.get("sec-websocket-key", "")),
            "Sec-WebSocket-Protocol": subprotocol,
        }
        await self.send_bytes(_response(101, ours, headers))
        return request

    async def respond(
        self, status: int, headers: Mapping[str, str | None] | None = None, body: bytes = b""
    ) -> None:
        """Read the request if nobody has, answer it with any status, and send the end of TCP.

        Args:
            status: a number, right or wrong.
            headers: as of `upgrade`.
            body: what follows them.
        """
        await self.read_request()
        ours = {"Connection": "close", "Content-Length": str(len(body))}
        await self.send_bytes(_response(status, ours, headers) + body)
        self.eof()

    async def send_bytes(self, data: bytes) -> None:
        """Send them as they are."""
        with within(self.timeout, f"room for {len(data)} bytes", self._so_far):
            await send(self._stream, data)

    async def send(self, message: str | bytes) -> None:
        """One message in one correct frame."""
        if isinstance(message, str):
            await self.send_frame(Opcode.TEXT, message.encode())
        else:
            await self.send_frame(Opcode.BINARY, message)

    async def send_frame(
        self,
        opcode: int,
        payload: bytes = b"",
        *,
        fin: bool = True,
        rsv: int = 0,
        mask: bytes = b"",
        declared: int | None = None,
    ) -> None:
        """One frame, as wrong as you please (RFC 6455 section 5.2).

        Args:
            opcode: an `Opcode`, or another number below 16.
            payload: the application's data.
            fin: whether it is the last of its message.
            rsv: the reserved bits; RSV1 is 4.
            mask: 4 bytes to mask with, as a server must not.
            declared: how long the header says it is; None: the truth.
        """
        size = len(payload) if declared is None else declared
        header = _header(FIN * fin | rsv << 4 | opcode, MASKED if mask else 0, size) + mask
        await self.send_bytes(header + (apply_mask(payload, mask) if mask else payload))

    async def send_close(self, code: int | None = CloseCode.NORMAL, reason: str = "") -> None:
        """A close frame with any code, or with nothing in it."""
        payload = b"" if code is None else code.to_bytes(2, "big") + reason.encode()
        await self.send_frame(Opcode.CLOSE, payload)

    async def ping(self, payload: bytes = b"") -> None:
        """A ping. The pong, if one comes, is received like any frame."""
        await self.send_frame(Opcode.PING, payload)

    async def pong(self, payload: bytes = b"") -> None:
        """A pong, asked for or not."""
        await self.send_frame(Opcode.PONG, payload)

    def eof(self) -> None:
        """Tell the client that nothing more will come. What it sends can still be received."""
        self._stream.send_eof()

    def close(self) -> None:
        """End TCP in an orderly way, unless something that came was not read: then with RST."""
        self._stream.close()

    def reset(self) -> None:
        """End TCP with RST."""
        self._stream.abort()


def _header(first: int, flag: int, size: int) -> bytes:
    """That of a frame, up to its length."""
    if size <= SHORT:
        return pack(">BB", first, flag | size)
    if size <= 0xFFFF:
        return pack(">BBH", first, flag | 126, size)
    return pack(">BBQ", first, flag | 127, size)


def _response(
    status: int,
    ours: Mapping[str, str | None],
    yours: Mapping[str, str | None] | None,
) -> bytes:
    """A response's head."""
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"
    headers = {n.lower(): (n, v) for each in (ours, yours or {}) for n, v in each.items()}
    lines = [f"{name}: {value}" for name, value in headers.values() if value is not None]
    return "\r\n".join([f"HTTP/1.1 {status} {phrase}", *lines, "", ""]).encode()
