"""Frames that go by: found wherever the pieces begin and end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statews.protocol.frames import Encoder, Opcode
from statews.testing.faults import Cut, Ending, Line
from statews.testing.passage import Passage
from statews.testing.tracking import SeenFrame, Tracker
from tests.protocol.wire import frame

REQUEST = b"GET /chat HTTP/1.1\r\nHost: x\r\n\r\n"
RESPONSE = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


def track(*pieces: bytes) -> tuple[bytes, list[SeenFrame]]:
    tracker = Tracker()
    head, frames = b"", []
    for piece in pieces:
        found, more = tracker.feed(piece)
        head += found
        frames += more
    assert tracker.position == sum(map(len, pieces))
    return head, frames


payload_sizes = st.lists(st.one_of(st.integers(0, 200), st.integers(0, 70_000)), max_size=6)


@pytest.mark.no_cover
@given(
    payload_sizes=payload_sizes,
    masked=st.booleans(),
    sizes=st.lists(st.integers(1, 5000), min_size=1),
)
def test_frames_are_found_in_whatever_pieces_they_come(
    payload_sizes: list[int], masked: bool, sizes: list[int]
) -> None:
    encoder = Encoder(entropy=bytes.fromhex("01020304").__mul__ if masked else None)
    payloads = [bytes(range(256)) * (size // 256 + 1) for size in payload_sizes]
    payloads = [payload[:size] for payload, size in zip(payloads, payload_sizes, strict=True)]
    frames = [b"".join(encoder.message(payload)) for payload in payloads]
    data = (REQUEST if masked else RESPONSE) + b"".join(frames)
    pieces: list[bytes] = []
    while data:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[:size])
        data = data[size:]
    head, found = track(*pieces)
    assert head.startswith((b"GET", b"HTTP"))
    assert [each.size for each in found] == [len(payload) for payload in payloads]
    at = len(REQUEST if masked else RESPONSE)
    for each, whole, payload in zip(found, frames, payloads, strict=True):
        assert (each.start, each.end) == (at, at + len(whole))
        assert payload.startswith(each.shown)
        at = each.end


@pytest.mark.parametrize(
    "data",
    [b"\r\n\r\n\x81\x00", b"HTTP/1.1 200 OK\r\n\r\n\x81\x00", b"x" * 70_000 + b"\r\n\r\n\x81\x00"],
)
def test_what_is_no_websocket_has_no_frames(data: bytes) -> None:
    assert track(data, b"\x81\x00")[1] == []


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (frame(1, b"hello"), "text of 5 bytes 'hello'"),
        (frame(1, b""), "text of 0 bytes"),
        (frame(2, b"hello"), "binary of 5 bytes 3610a686"),
        (frame(1, b"hello", rsv=4), "text of 5 bytes, compressed"),
        (frame(9, b"1234"), "ping of 4 bytes"),
        (frame(8, b"\x03\xf4restart"), "close 1012 restart"),
        (frame(8, b""), "close of 0 bytes"),
        (frame(3, b"?"), "opcode 3 of 1 bytes f2c83c3c"),
    ],
)
def test_a_frame_says_what_it_is(data: bytes, text: str) -> None:
    ((found),) = track(RESPONSE, data)[1]
    assert str(found).startswith(text.rpartition(" ")[0])
    if found.first & 0x0F in set(Opcode):
        assert str(found) == text


def test_a_link_is_cut_behind_so_many_bytes_from_now_on() -> None:
    line = Line()
    passage = Passage(line)
    assert passage.measure(b"12345").data == b"12345"
    line.cut = Cut(after_bytes=3, how=Ending.FIN)
    assert passage.measure(b"12")[:2] == (b"12", None)
    assert passage.measure(b"3456")[:2] == (b"3", Ending.FIN)


def test_a_link_is_cut_in_the_middle_of_the_frame_that_was_named() -> None:
    line = Line()
    passage = Passage(line)
    passage.measure(RESPONSE)
    passage.measure(frame(1, b"before"))
    line.cut = Cut(in_frame=2)
    one, two = frame(1, b"one"), frame(2, bytes(1000))
    passed = passage.measure(one + two[:10])
    assert passed[:2] == (one + two[:10], None)
    passed = passage.measure(two[10:])
    assert passed.ending is Ending.RST
    assert len(passed.data) == len(two) // 2 - 10


def test_a_cut_that_is_taken_back_cuts_nothing() -> None:
    line = Line(cut=Cut(after_bytes=3))
    passage = Passage(line)
    passage.measure(b"12")
    line.heal()
    assert passage.measure(b"345")[:2] == (b"345", None)
