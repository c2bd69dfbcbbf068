"""Bytes in, messages out: RFC 6455 section 5, whatever the chunks are."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from statews.errors import FrameError
from statews.protocol.codes import CloseCode
from statews.protocol.frames import Decoder, Message

from ..memory import traced
from .wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    LIMIT,
    MASK,
    PING,
    PONG,
    TEXT,
    Reading,
    Sent,
    chunk_sizes,
    conversations,
    cut,
    expected,
    frame,
    on_the_wire,
    read,
    read_with_websockets,
    read_with_wsproto,
    xor,
)

either_side = pytest.mark.parametrize("masked", [False, True], ids=["client", "server"])


def decoder(*, masked: bool = False, limit: int = LIMIT) -> Decoder:
    return Decoder(masked=masked, limit=limit)


# What is read, in whatever chunks it comes.


@either_side
@given(frames=conversations(), sizes=chunk_sizes)
def test_any_conversation_in_any_chunks_gives_the_same_messages(
    masked: bool, frames: list[Sent], sizes: list[int]
) -> None:
    chunks = cut(on_the_wire(frames, masked=masked), sizes)
    assert read(chunks, masked=masked) == expected(frames)


@either_side
@given(frames=conversations())
def test_a_conversation_is_read_byte_by_byte(masked: bool, frames: list[Sent]) -> None:
    assert read(cut(on_the_wire(frames, masked=masked), [1]), masked=masked) == expected(frames)


@either_side
@given(frames=conversations(), sizes=chunk_sizes)
def test_other_implementations_read_the_same(
    masked: bool, frames: list[Sent], sizes: list[int]
) -> None:
    chunks = list(cut(on_the_wire(frames, masked=masked), sizes))
    ours = read(chunks, masked=masked)
    assert read_with_websockets(chunks, masked=masked) == ours
    assert read_with_wsproto(chunks, masked=masked) == ours


anything = st.builds(
    Sent,
    st.sampled_from([CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG, *range(16)]),
    st.one_of(st.binary(max_size=6), st.sampled_from(["é".encode(), b"\x03\xe8", b"\x03\xe8ok"])),
    st.booleans(),
)


@given(frames=st.lists(anything, max_size=8), masks=st.lists(st.booleans(), min_size=8))
def test_wsproto_refuses_the_same_frames_with_the_same_close_code(
    frames: list[Sent], masks: list[bool]
) -> None:
    wire = b"".join(
        frame(sent.opcode, sent.payload, fin=sent.fin, masked=masked)
        for sent, masked in zip(frames, masks, strict=False)
    )
    for masked in (False, True):
        assert read([wire], masked=masked) == read_with_wsproto([wire], masked=masked)


@given(data=st.binary(max_size=60), sizes=chunk_sizes)
@example(data=b"\x81\x7f" + b"\xff" * 8, sizes=[1])
@example(data=b"\x88\xfe\x00", sizes=[1])
@example(data=b"\x01\x02\x80", sizes=[1])
@example(data=b"\x03\x7e", sizes=[1])
def test_garbage_gives_messages_or_a_frame_error_and_the_same_in_any_chunks(
    data: bytes, sizes: list[int]
) -> None:
    for masked in (False, True):
        whole = read([data], masked=masked)
        assert read(cut(data, sizes), masked=masked) == whole
        theirs = read_with_wsproto([data], masked=masked)
        assert whole.messages == theirs.messages
        # Ours may fail earlier, at the header; theirs at text whose frame is not whole yet.
        assert whole.failed or theirs.failed in {None, CloseCode.INVALID_DATA}


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 65537, 200_000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
@either_side
def test_messages_of_every_length_form_are_read_in_any_chunks(
    masked: bool, opcode: int, size: int
) -> None:
    payload = bytes(index % 128 for index in range(size))
    message: Message = payload.decode() if opcode == TEXT else payload
    wire = frame(opcode, payload, masked=masked) + frame(TEXT, b"next", masked=masked)
    for sizes in ([len(wire)], [1 << 16], [65_000, 9], [4_095, 4_097], [7_919], [10, 1, 70_000]):
        reading = read(cut(wire, sizes), masked=masked)
        assert reading == Reading([message, "next"]), sizes


def test_a_long_text_that_is_not_utf8_fails_when_it_is_whole() -> None:
    wire = frame(TEXT, b"x" * 70_000 + b"\xff")
    reader = decoder()
    reader.feed(wire[:-1])
    with pytest.raises(FrameError, match="not UTF-8") as caught:
        reader.feed(wire[-1:])
    assert caught.value.close_code == 1007


def test_an_empty_chunk_changes_nothing() -> None:
    reader = decoder()
    for chunk in (b"", b"\x81", b"", b"\x01a", b""):
        reader.feed(chunk)
    assert list(reader.inbox) == ["a"]


def test_control_frames_do_not_wait_for_the_message_they_interrupt() -> None:
    wire = (
        frame(TEXT, b"one ", fin=False)
        + frame(PING, b"?")
        + frame(CONTINUATION, b"two ", fin=False)
        + frame(PONG, b"!")
    )
    reader = decoder()
    reader.feed(wire)
    assert (list(reader.inbox), reader.controls) == ([], [(PING, b"?"), (PONG, b"!")])
    reader.feed(frame(CONTINUATION, b"three"))
    assert list(reader.inbox) == ["one two three"]


def test_a_character_may_be_cut_by_fragments() -> None:
    euro = "€".encode()
    parts = [
        frame(TEXT, euro[:1], fin=False),
        frame(CONTINUATION, euro[1:2], fin=False),
        frame(CONTINUATION, euro[2:]),
    ]
    assert read(parts).messages == ["€"]


def test_messages_go_to_whichever_inbox_is_there() -> None:
    reader = decoder()
    reader.feed(frame(TEXT, b"first"))
    reader.inbox = deque[Message]()
    reader.feed(frame(TEXT, b"second"))
    assert list(reader.inbox) == ["second"]


# What is refused, and when.

REFUSED = {
    "a masked frame from a server": (frame(TEXT, b"a", masked=True), 1002, "with a mask"),
    "a masked long frame": (b"\x82\xff", 1002, "with a mask"),
    "RSV1 without compression": (frame(TEXT, b"a", rsv=4), 1002, "reserved bit"),
    "RSV2": (frame(TEXT, b"a", rsv=2), 1002, "reserved bit"),
    "RSV3 on a control frame": (frame(PING, b"a", rsv=1), 1002, "reserved bit"),
    **{
        f"opcode {opcode}": (frame(opcode), 1002, f"reserved opcode {opcode}")
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    },
    "a long control frame": (b"\x89\x7e", 1002, "control frame of over 125 bytes"),
    "a very long close frame": (b"\x88\x7f", 1002, "control frame of over 125 bytes"),
    "a fragmented ping": (frame(PING, fin=False), 1002, "fragmented control frame"),
    "a fragmented close": (frame(CLOSE, fin=False), 1002, "fragmented control frame"),
    "length 125 in 2 bytes": (b"\x81\x7e\x00\x7d", 1002, "length 125 in 2 bytes"),
    "length 0 in 2 bytes": (b"\x82\x7e\x00\x00", 1002, "length 0 in 2 bytes"),
    "length 65535 in 8 bytes": (
        b"\x82\x7f" + (65535).to_bytes(8, "big"),
        1002,
        "length 65535 in 8 bytes",
    ),
    "2^63 bytes": (b"\x82\x7f" + (1 << 63).to_bytes(8, "big"), 1002, r"2\^63"),
    "more than the limit": (b"\x82\x7f" + (LIMIT + 1).to_bytes(8, "big"), 1009, "over the limit"),
    "a continuation of nothing": (frame(CONTINUATION, b"a"), 1002, "continuation of nothing"),
    "a message within a message": (
        frame(TEXT, b"a", fin=False) + b"\x81\x00",
        1002,
        "before the last one was finished",
    ),
    "text that is not UTF-8": (frame(TEXT, b"\xc3\x28"), 1007, "not UTF-8"),
    "half a character": (frame(TEXT, b"\xe2\x82"), 1007, "not UTF-8"),
    "a surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007, "not UTF-8"),
    "half a character in fragments": (
        frame(TEXT, b"\xe2\x82", fin=False) + frame(CONTINUATION, b""),
        1007,
        "not UTF-8",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_what_is_against_the_rules_is_refused_and_what_came_before_is_kept(
    name: str, size: int
) -> None:
    wire, code, match = REFUSED[name]
    before = frame(TEXT, b"before") + frame(PING, b"p") + frame(BINARY, b"too")
    reader = decoder()

    def feed() -> None:
        for chunk in cut(before + wire, [size]):
            reader.feed(chunk)

    with pytest.raises(FrameError, match=match) as caught:
        feed()
    assert caught.value.close_code == code
    assert list(reader.inbox) == ["before", b"too"]
    assert reader.controls == [(PING, b"p")]


@pytest.mark.parametrize("wire", [frame(TEXT, b"a"), b"\x82\x7e", b"\x82\x7f", b"\x89\x00"])
def test_a_server_refuses_what_is_not_masked(wire: bytes) -> None:
    with pytest.raises(FrameError, match="without a mask") as caught:
        decoder(masked=True).feed(wire)
    assert caught.value.close_code == 1002


@pytest.mark.parametrize(
    ("head", "match"),
    [
        (b"\x83\x80", "reserved opcode 3"),
        (b"\xc1\x80", "reserved bit"),
        (b"\x80\x80", "continuation of nothing"),
        (b"\x89\xfe", "control frame of over 125 bytes"),
        (b"\x83\xfe", "reserved opcode 3"),
        (b"\xa2\xff\x00", "reserved bit"),
        (b"\x80\xfe\x01", "continuation of nothing"),
        (b"\x82\xff" + (LIMIT + 1).to_bytes(8, "big"), "over the limit"),
        (b"\x82\xfe\x00\x01", "length 1 in 2 bytes"),
    ],
)
def test_a_wrong_header_is_refused_before_the_rest_of_the_frame_is_there(
    head: bytes, match: str
) -> None:
    with pytest.raises(FrameError, match=match):
        decoder(masked=True).feed(head)


def test_invalid_text_fails_at_the_first_wrong_fragment() -> None:
    reader = decoder()
    reader.feed(frame(TEXT, b"fine", fin=False))
    with pytest.raises(FrameError, match="not UTF-8") as caught:
        reader.feed(frame(CONTINUATION, b"\xff", fin=False))
    assert caught.value.close_code == 1007


def test_binary_fragments_need_not_be_utf8() -> None:
    parts = [frame(BINARY, b"\xff", fin=False), frame(CONTINUATION, b"\xfe")]
    assert read(parts).messages == [b"\xff\xfe"]


@pytest.mark.parametrize("size", [10, 126, 300, 70_000])
@either_side
def test_the_limit_holds_for_a_frame_and_is_no_byte_less(masked: bool, size: int) -> None:
    wire = frame(BINARY, b"x" * size, masked=masked)
    fits = decoder(masked=masked, limit=size)
    fits.feed(wire)
    assert list(fits.inbox) == [b"x" * size]
    head = len(wire) - size - 4 * masked
    with pytest.raises(FrameError, match=f"{size} bytes, over the limit of {size - 1}") as caught:
        decoder(masked=masked, limit=size - 1).feed(wire[:head])
    assert caught.value.close_code == 1009
    with pytest.raises(FrameError, match="over the limit"):
        decoder(masked=masked, limit=size - 1).feed(wire)


def test_the_limit_holds_over_fragments_at_header_time() -> None:
    reader = decoder(limit=10)
    reader.feed(frame(BINARY, b"x" * 6, fin=False) + frame(CONTINUATION, b"x" * 4, fin=False))
    with pytest.raises(FrameError, match="a message of 11 bytes, over the limit of 10") as caught:
        reader.feed(b"\x80\x01")
    assert caught.value.close_code == 1009


def test_the_limit_is_for_each_message() -> None:
    reader = decoder(limit=10)
    reader.feed((frame(BINARY, b"x" * 6, fin=False) + frame(CONTINUATION, b"x" * 4)) * 3)
    assert list(reader.inbox) == [b"x" * 10] * 3


# After the end.


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@either_side
def test_nothing_is_read_behind_a_close_frame(masked: bool, size: int) -> None:
    wire = frame(TEXT, b"last", masked=masked) + frame(CLOSE, b"\x03\xe8bye", masked=masked)
    after = frame(TEXT, b"late", masked=masked) + frame(PING, masked=masked) + b"\xff" * 20
    reading = read(cut(wire + after, [size]), masked=masked)
    assert reading == Reading(["last"], [(CLOSE, b"\x03\xe8bye")])


# What it costs.


def traced_peak(run: deque[bytes], reader: Decoder) -> int:
    with traced() as memory:
        while run:
            reader.feed(run.popleft())
        return memory()[1]


def test_an_announced_gigabyte_allocates_nothing() -> None:
    reader = decoder(limit=1 << 31)
    head = deque([b"\x82\x7f" + (1 << 30).to_bytes(8, "big"), b"x" * 100])
    assert traced_peak(head, reader) < 50_000


@pytest.mark.no_cover
def test_a_long_frame_in_tiny_chunks_takes_little_more_than_its_bytes() -> None:
    size = 300_000
    reader = decoder()
    chunks = deque(cut(frame(BINARY, b"x" * size), [2]))
    chunks.pop()
    assert traced_peak(chunks, reader) < size * 1.5


@pytest.mark.once
@pytest.mark.no_cover
def test_endless_empty_fragments_take_no_memory() -> None:
    reader = decoder()
    reader.feed(frame(BINARY, b"x", fin=False))
    run = deque([frame(CONTINUATION, fin=False) * 10_000] * 10)
    assert traced_peak(run, reader) < 50_000


@pytest.mark.once
@pytest.mark.no_cover
def test_endless_tiny_fragments_take_little_more_than_their_bytes() -> None:
    reader = decoder()
    reader.feed(frame(BINARY, b"x", fin=False))
    run = deque([frame(CONTINUATION, b"x", fin=False) * 10_000] * 10)
    assert traced_peak(run, reader) < 250_000


# Masks.


@given(payload=st.binary(max_size=200), mask=st.binary(min_size=4, max_size=4))
def test_unmasking_is_what_the_rfc_says(payload: bytes, mask: bytes) -> None:
    wire = bytes((0x82, 0x80 | 126)) + len(payload).to_bytes(2, "big")
    wire = bytes((0x82, 0x80 | len(payload))) if len(payload) < 126 else wire
    assert read([wire + mask + xor(payload, mask)], masked=True).messages == [payload]


def test_the_examples_of_the_rfc_are_read() -> None:
    # RFC 6455 section 5.7.
    assert read([b"\x81\x05Hello"]).messages == ["Hello"]
    masked = b"\x81\x85" + MASK + b"\x7f\x9f\x4d\x51\x58"
    assert read([masked], masked=True).messages == ["Hello"]
    assert read([b"\x01\x03Hel\x80\x02lo"]).messages == ["Hello"]
    assert read([b"\x89\x05Hello"]).controls == [(PING, b"Hello")]
