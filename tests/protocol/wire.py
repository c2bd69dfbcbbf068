"""Frames as bytes, and what different implementations read in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, pairwise

from hypothesis import strategies as st
from websockets.frames import Frame as WebsocketsFrame
from websockets.protocol import Protocol
from websockets.protocol import Side as WebsocketsSide
from websockets.protocol import State as WebsocketsState
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from statews.errors import FrameError
from statews.protocol.frames import Decoder, Message, Opcode, parse_close

LIMIT = 1 << 20
MASK = b"\x37\xfa\x21\x3d"  # of RFC 6455 section 5.7

CONTINUATION, TEXT, BINARY = Opcode.CONTINUATION, Opcode.TEXT, Opcode.BINARY
CLOSE, PING, PONG = Opcode.CLOSE, Opcode.PING, Opcode.PONG


def xor(data: bytes, mask: bytes) -> bytes:
    """RFC 6455 section 5.3, to the letter."""
    return bytes(octet ^ mask[index % 4] for index, octet in enumerate(data))


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = False
) -> bytes:
    """RFC 6455 section 5.2, to the letter: `rsv` is 4 for RSV1, 2 for RSV2, 1 for RSV3."""
    size = len(payload)
    first = fin << 7 | rsv << 4 | opcode
    if size < 126:
        head = bytes((first, masked << 7 | size))
    elif size < 1 << 16:
        head = bytes((first, masked << 7 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, masked << 7 | 127)) + size.to_bytes(8, "big")
    return head + (MASK + xor(payload, MASK) if masked else payload)


def cut(data: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """The same bytes in chunks of these sizes, over and over."""
    position = 0
    for size in cycle(sizes):
        if position >= len(data):
            return
        yield data[position : position + size]
        position += size


@dataclass
class Reading:
    """What somebody made of a stream.

    Attributes:
        messages: in order.
        controls: as (opcode, payload), in order.
        failed: the close code for the peer that broke a rule, None if it did not.
    """

    messages: list[Message] = field(default_factory=list[Message])
    controls: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])
    failed: int | None = None


def read(
    chunks: Iterable[bytes], *, masked: bool = False, decoder: Decoder | None = None
) -> Reading:
    """What our decoder reads."""
    decoder = decoder or Decoder(masked=masked, limit=LIMIT)
    reading = Reading([], decoder.controls)
    try:
        for chunk in chunks:
            decoder.feed(chunk)
        if reading.controls and reading.controls[-1][0] == CLOSE:
            parse_close(reading.controls[-1][1])
    except FrameError as error:
        reading.failed = error.close_code
        reading.controls = [control for control in reading.controls if control[0] != CLOSE]
    reading.messages = list(decoder.inbox)
    return reading


def read_with_websockets(chunks: Iterable[bytes], *, masked: bool = False) -> Reading:
    """What the sans-IO part of `websockets` reads; it leaves UTF-8 to its callers."""
    side = WebsocketsSide.SERVER if masked else WebsocketsSide.CLIENT
    protocol = Protocol(side, state=WebsocketsState.OPEN, max_size=None)
    reading = Reading()
    parts: list[WebsocketsFrame] = []
    for chunk in chunks:
        protocol.receive_data(chunk)
    try:
        for event in protocol.events_received():
            assert isinstance(event, WebsocketsFrame)
            if event.opcode.value >= CLOSE:
                reading.controls.append((event.opcode.value, bytes(event.data)))
                continue
            parts.append(event)
            if event.fin:
                data = b"".join(part.data for part in parts)
                is_text = parts[0].opcode.value == TEXT
                reading.messages.append(data.decode() if is_text else data)
                parts.clear()
    except UnicodeDecodeError:
        reading.failed = 1007
    if protocol.parser_exc is not None:
        reading.failed = 1007 if isinstance(protocol.parser_exc, UnicodeDecodeError) else 1002
    return reading


def read_with_wsproto(chunks: Iterable[bytes], *, masked: bool = False) -> Reading:
    """What `wsproto` reads."""
    connection = Connection(ConnectionType.SERVER if masked else ConnectionType.CLIENT)
    reading = Reading()
    for chunk in chunks:
        connection.receive_data(chunk)
    text, data = "", b""
    for event in connection.events():
        if isinstance(event, TextMessage):
            text += event.data
            if event.message_finished:
                reading.messages.append(text)
                text = ""
        elif isinstance(event, BytesMessage):
            data += event.data
            if event.message_finished:
                reading.messages.append(data)
                data = b""
        elif isinstance(event, CloseConnection) and connection.state is ConnectionState.OPEN:
            reading.failed = int(event.code)  # its way to say that the peer broke a rule
        else:
            reading.controls.append(_control(event))
    return reading


def _control(event: Event) -> tuple[int, bytes]:
    match event:
        case Ping():
            return PING, bytes(event.payload)
        case Pong():
            return PONG, bytes(event.payload)
        case CloseConnection(code=1005):
            return CLOSE, b""
        case CloseConnection():
            return CLOSE, event.code.to_bytes(2, "big") + (event.reason or "").encode()
        case _:
            raise AssertionError(event)


@dataclass(frozen=True)
class Sent:
    """One frame of a stream, before it is bytes."""

    opcode: int
    payload: bytes = b""
    fin: bool = True


@st.composite
def conversations(draw: st.DrawFn) -> list[Sent]:
    """Frames in an order that RFC 6455 section 5.4 allows, without a close frame."""
    frames: list[Sent] = []
    control = st.builds(Sent, st.sampled_from([PING, PONG]), st.binary(max_size=125))
    payloads = st.one_of(st.binary(max_size=40), st.binary(min_size=120, max_size=300))
    texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
    for _ in range(draw(st.integers(0, 6))):
        is_text = draw(st.booleans())
        payload = draw(texts).encode() if is_text else draw(payloads)
        cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=3)))
        bounds = [0, *cuts, len(payload)]
        for index, (start, stop) in enumerate(pairwise(bounds)):
            frames += draw(st.lists(control, max_size=2))
            opcode = CONTINUATION if index else TEXT if is_text else BINARY
            frames.append(Sent(opcode, payload[start:stop], fin=index == len(cuts)))
    return frames


def expected(frames: Iterable[Sent]) -> Reading:
    """What such frames mean."""
    reading = Reading()
    parts: list[Sent] = []
    for sent in frames:
        if sent.opcode >= CLOSE:
            reading.controls.append((sent.opcode, sent.payload))
            continue
        parts.append(sent)
        if sent.fin:
            payload = b"".join(part.payload for part in parts)
            reading.messages.append(payload.decode() if parts[0].opcode == TEXT else payload)
            parts.clear()
    return reading


def on_the_wire(frames: Iterable[Sent], *, masked: bool) -> bytes:
    """The frames as bytes."""
    return b"".join(
        frame(sent.opcode, sent.payload, fin=sent.fin, masked=masked) for sent in frames
    )


chunk_sizes = st.lists(st.integers(1, 200), min_size=1, max_size=8)
