"""permessage-deflate: RFC 7692, with ourselves, with `websockets`, and with attackers."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from statews.errors import FrameError
from statews.policy import Deflate
from statews.protocol.deflate import Deflater, Inflater, acceptable, codecs, offered
from statews.protocol.frames import Decoder, Encoder, Message

from ..memory import traced
from .wire import BINARY, CONTINUATION, LIMIT, PING, TEXT, chunk_sizes, cut, frame

TAIL = b"\x00\x00\xff\xff"
HELLO = bytes.fromhex("f248cdc9c90700")  # RFC 7692 section 7.2.3.1

all_bits = pytest.mark.parametrize("window_bits", range(9, 16))
both_ways = pytest.mark.parametrize("context_takeover", [True, False], ids=["context", "fresh"])
repetitive = st.lists(st.sampled_from(["statews ", "é", "0123456789" * 30, "", "\n"])).map("".join)
messages = st.lists(
    st.one_of(repetitive, st.binary(max_size=300), repetitive.map(str.encode)), max_size=6
)


def inflater(*, window_bits: int = 15, context_takeover: bool = True) -> Inflater:
    return Inflater(window_bits=window_bits, context_takeover=context_takeover)


def deflater(*, window_bits: int = 15, context_takeover: bool = True) -> Deflater:
    return Deflater(
        window_bits=window_bits, context_takeover=context_takeover, level=6, threshold_bytes=0
    )


def decoder(made: Inflater | None = None, *, limit: int = LIMIT) -> Decoder:
    return Decoder(masked=False, limit=limit, inflater=made or inflater())


def encoder(made: Deflater | None = None) -> Encoder:
    return Encoder(entropy=None, deflater=made or deflater())


def theirs(*, window_bits: int, context_takeover: bool) -> PerMessageDeflate:
    """What `websockets` would have negotiated."""
    fresh = not context_takeover
    return PerMessageDeflate(fresh, fresh, window_bits, window_bits)


# Both ways.


@all_bits
@both_ways
@settings(max_examples=20)
@given(sent=messages, sizes=chunk_sizes)
def test_messages_come_back_in_any_chunks(
    window_bits: int, context_takeover: bool, sent: list[Message], sizes: list[int]
) -> None:
    made = encoder(deflater(window_bits=window_bits, context_takeover=context_takeover))
    reader = decoder(inflater(window_bits=window_bits, context_takeover=context_takeover))
    for chunk in cut(b"".join(b"".join(made.message(message)) for message in sent), sizes):
        reader.feed(chunk)
    assert list(reader.inbox) == sent


@all_bits
@both_ways
@settings(max_examples=20)
@given(sent=messages)
def test_websockets_inflates_what_we_deflate(
    window_bits: int, context_takeover: bool, sent: list[Message]
) -> None:
    ours = deflater(window_bits=window_bits, context_takeover=context_takeover)
    peer = theirs(window_bits=window_bits, context_takeover=context_takeover)
    for message in sent:
        payload = message.encode() if isinstance(message, str) else message
        deflated = Frame(Opcode.BINARY, ours.deflate(payload), rsv1=True)
        assert bytes(peer.decode(deflated).data) == payload


@all_bits
@both_ways
@settings(max_examples=20)
@given(sent=messages)
def test_we_inflate_what_websockets_deflates(
    window_bits: int, context_takeover: bool, sent: list[Message]
) -> None:
    ours = inflater(window_bits=window_bits, context_takeover=context_takeover)
    peer = theirs(window_bits=window_bits, context_takeover=context_takeover)
    for message in sent:
        payload = message.encode() if isinstance(message, str) else message
        deflated = bytes(peer.encode(Frame(Opcode.BINARY, payload)).data)
        assert ours.inflate(deflated, LIMIT) == payload


def test_the_history_is_kept_over_messages_only_if_that_was_agreed() -> None:
    message = bytes(index * index % 251 for index in range(300))
    kept, fresh = deflater(), deflater(context_takeover=False)
    first, second = kept.deflate(message), kept.deflate(message)
    assert len(second) < len(first) / 3
    assert fresh.deflate(message) == fresh.deflate(message) == first
    forgetful = inflater(context_takeover=False)
    assert forgetful.inflate(first, LIMIT) == message
    with pytest.raises(FrameError, match="cannot be inflated"):
        forgetful.inflate(second, LIMIT)


def test_a_small_window_is_kept_to() -> None:
    message = b"0123456789abcdef" + bytes(600) + b"0123456789abcdef"
    deflated = deflater(window_bits=9).deflate(message)
    assert inflater(window_bits=9).inflate(deflated, LIMIT) == message


def test_a_peer_may_keep_to_a_window_of_8_bits() -> None:
    stored = b"\x00\x05\x00\xfa\xffHello\x00"
    assert inflater(window_bits=8).inflate(stored, LIMIT) == b"Hello"


def test_short_messages_go_out_as_they_are() -> None:
    made = encoder(Deflater(window_bits=15, context_takeover=True, level=6, threshold_bytes=10))
    assert made.message("x" * 9) == (b"\x81\x09", b"x" * 9)
    assert made.message("x" * 10)[0][0] == 0xC1


def test_texts_in_a_row_are_compressed_one_by_one() -> None:
    made, reader = encoder(), decoder()
    texts = ["", "a" * 100, "short", "b" * 70_000]
    reader.feed(made.texts(texts))
    assert list(reader.inbox) == texts
    assert len(encoder().texts(["a" * 100] * 10)) < 100


def test_an_empty_message_is_one_octet_however_often_it_comes() -> None:
    made, reader = encoder(), decoder()
    for message in ("", "", "full", "", ""):
        header, payload = made.message(message)
        assert message or payload == b"\x00"  # RFC 7692 section 7.2.3.6
        reader.feed(header + payload)
    assert list(reader.inbox) == ["", "", "full", "", ""]


# What a peer may send.


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (HELLO, "Hello"),  # RFC 7692 section 7.2.3.1
        (bytes.fromhex("000500faff48656c6c6f00"), "Hello"),  # no compression, 7.2.3.3
        (bytes.fromhex("f348cdc9c9070000"), "Hello"),  # a final block, 7.2.3.4
        (bytes.fromhex("f348cdc9c90700"), "Hello"),  # a final block with nothing behind it
        (bytes.fromhex("f248050000 00ffffcac9c90700"), "Hello"),  # two blocks, 7.2.3.5
        (b"\x00", ""),  # nothing, 7.2.3.6
    ],
    ids=["one block", "stored", "final", "bare final", "two blocks", "empty"],
)
@both_ways
def test_the_examples_of_the_rfc_are_inflated_twice(
    context_takeover: bool, payload: bytes, text: str
) -> None:
    reader = decoder(inflater(context_takeover=context_takeover))
    reader.feed(frame(TEXT, payload, rsv=4) * 2)
    assert list(reader.inbox) == [text, text]


def test_the_history_goes_on_over_messages_of_the_rfc() -> None:
    reader = decoder()
    reader.feed(frame(TEXT, HELLO, rsv=4) + frame(TEXT, b"\xf2\x00\x11\x00\x00", rsv=4))
    assert list(reader.inbox) == ["Hello", "Hello"]  # RFC 7692 section 7.2.3.2


def test_uncompressed_messages_may_come_in_between() -> None:
    reader = decoder()
    reader.feed(frame(TEXT, HELLO, rsv=4) + frame(TEXT, b"plain") + frame(TEXT, HELLO, rsv=4))
    assert list(reader.inbox) == ["Hello", "plain", "Hello"]


def test_a_compressed_message_may_come_in_fragments_with_pings_between() -> None:
    reader = decoder()
    reader.feed(frame(TEXT, HELLO[:3], fin=False, rsv=4) + frame(PING, b"?"))
    reader.feed(frame(CONTINUATION, b"", fin=False) + frame(CONTINUATION, HELLO[3:]))
    assert (list(reader.inbox), reader.controls) == (["Hello"], [(PING, b"?")])


def test_a_long_compressed_frame_is_read_in_any_chunks() -> None:
    noise = b"".join(zlib.crc32(bytes([n % 251, n >> 8])).to_bytes(4, "big") for n in range(20000))
    wire = b"".join(encoder().message(noise))
    assert len(wire) > 65536 + 10
    reader = decoder()
    for chunk in cut(wire, [30_000]):
        reader.feed(chunk)
    assert list(reader.inbox) == [noise]


# What is refused.


@pytest.mark.parametrize(
    "wire",
    [
        frame(TEXT, HELLO[:3], fin=False, rsv=4) + frame(CONTINUATION, HELLO[3:], rsv=4),
        frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b", rsv=4),
        frame(PING, b"", rsv=4),
        frame(TEXT, HELLO, rsv=6),
        frame(3, HELLO, rsv=4),
    ],
    ids=["on a continuation", "only there", "on a ping", "with RSV2", "on a reserved opcode"],
)
def test_rsv1_is_refused_where_it_means_nothing(wire: bytes) -> None:
    with pytest.raises(FrameError, match="reserved") as caught:
        decoder().feed(wire)
    assert caught.value.close_code == 1002


@pytest.mark.parametrize(
    ("payload", "match"),
    [
        (b"\xff\xff\xff", "cannot be inflated"),
        (b"\x06", "cannot be inflated"),
        (b"\x00\x01\x00\x00\x00x", "cannot be inflated"),
        (bytes.fromhex("f348cdc9c90700f348cdc9c9070000"), "goes on behind its final block"),
    ],
    ids=["garbage", "a wrong block", "wrong lengths", "more behind the end"],
)
def test_what_cannot_be_inflated_is_refused(payload: bytes, match: str) -> None:
    with pytest.raises(FrameError, match=match) as caught:
        decoder().feed(frame(TEXT, payload, rsv=4))
    assert caught.value.close_code == 1007


@given(payload=st.binary(max_size=80))
def test_garbage_inflates_to_a_message_or_is_refused(payload: bytes) -> None:
    reader = decoder(limit=1000)
    try:
        reader.feed(frame(BINARY, payload, rsv=4))
    except FrameError as error:
        assert error.close_code in {1007, 1009}  # noqa: PT017 - or no error
    else:
        assert len(reader.inbox) == 1


def test_text_has_to_be_utf8_after_inflating() -> None:
    with pytest.raises(FrameError, match="not UTF-8") as caught:
        decoder().feed(frame(TEXT, deflater().deflate(b"\xff"), rsv=4))
    assert caught.value.close_code == 1007


@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_the_limit_is_for_what_is_inflated_and_no_byte_less(size: int) -> None:
    wire = frame(BINARY, deflater().deflate(bytes(size)), rsv=4)
    fits = decoder(limit=size)
    fits.feed(wire)
    assert list(fits.inbox) == [bytes(size)]
    with pytest.raises(FrameError, match=f"inflates to over the limit of {size - 1}") as caught:
        decoder(limit=size - 1).feed(wire)
    assert caught.value.close_code == 1009


@pytest.mark.parametrize("size", [1, 100, 70_000])
@pytest.mark.parametrize("fin", [True, False])
def test_what_deflate_makes_longer_still_fits_a_limit_it_meets(size: int, fin: bool) -> None:
    noise = b"".join(zlib.crc32(n.to_bytes(3, "big")).to_bytes(4, "big") for n in range(size))
    noise = noise[:size]
    deflated = deflater().deflate(noise)
    assert len(deflated) > size
    wire = frame(BINARY, deflated, fin=fin, rsv=4) + frame(CONTINUATION) * (not fin)
    reader = decoder(limit=size)
    reader.feed(wire)
    assert list(reader.inbox) == [noise]


def test_a_compressed_frame_far_over_the_limit_is_refused_at_its_header() -> None:
    with pytest.raises(FrameError, match="200 bytes, over the limit of 100") as caught:
        decoder(limit=100).feed(frame(BINARY, bytes(200), rsv=4)[:4])
    assert caught.value.close_code == 1009


def test_a_bomb_takes_no_more_memory_than_the_limit() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(100))
    bomb += packer.flush(zlib.Z_SYNC_FLUSH)[:-4]
    reader = decoder(limit=1 << 18)
    wire = frame(BINARY, bomb, rsv=4)
    with traced() as memory:
        with pytest.raises(FrameError, match="inflates to over the limit"):
            reader.feed(wire)
        assert memory()[1] < (1 << 20)


# The negotiation.


def test_nothing_is_offered_accepted_or_used_without_settings() -> None:
    assert offered(None) is None
    assert acceptable(None) is None
    assert codecs([], Deflate()) == (None, None)
    assert codecs([theirs(window_bits=15, context_takeover=True)], None) == (None, None)


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        (Deflate(), [("client_max_window_bits", None)]),
        (
            Deflate(window_bits=10, context_takeover=False),
            [
                ("server_no_context_takeover", None),
                ("client_no_context_takeover", None),
                ("server_max_window_bits", "10"),
                ("client_max_window_bits", "10"),
            ],
        ),
    ],
)
def test_the_settings_are_what_is_offered(
    settings: Deflate, parameters: list[tuple[str, str | None]]
) -> None:
    (offer,) = offered(settings) or []
    assert list(offer.get_request_params()) == parameters
