"""Messages in, frames out: what a peer reads of them, and what masks are made of."""

from __future__ import annotations

import importlib.util
import sys
from array import array
from collections.abc import Callable
from itertools import count
from types import ModuleType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets import utils

from statews.errors import UsageError
from statews.protocol import plain
from statews.protocol.frames import Encoder, Message

from .wire import (
    CLOSE,
    PING,
    PONG,
    Reading,
    frame,
    read,
    read_with_websockets,
    read_with_wsproto,
    xor,
)

either_side = pytest.mark.parametrize("masked", [False, True], ids=["server", "client"])
texts = st.text(st.characters(exclude_categories=["Cs"]))
messages = st.one_of(texts, st.binary(), st.binary(min_size=120, max_size=140))


class Drawn:
    """Entropy that is told apart: the numbers from 0 on, 4 bytes each."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self._numbers = count()

    def __call__(self, size: int) -> bytes:
        self.calls.append(size)
        return b"".join(next(self._numbers).to_bytes(4, "big") for _ in range(size // 4))


def encoder(*, masked: bool) -> Encoder:
    return Encoder(entropy=Drawn() if masked else None)


def encode(made: Encoder, message: Message) -> bytes:
    return b"".join(made.message(message))


@either_side
@given(sent=st.lists(st.text(st.characters(max_codepoint=127), max_size=300), max_size=9))
@example(sent=["", "a" * 125, "b" * 126, "c" * 65535, "d" * 65536])
def test_texts_in_a_row_are_read_as_such(masked: bool, sent: list[str]) -> None:
    made = encoder(masked=masked)
    assert read([made.texts(sent)], masked=masked) == Reading(messages=list(sent))


def mask_of(wire: bytes) -> int:
    """The mask of a short frame."""
    return int.from_bytes(wire[2:6], "big")


@either_side
@given(sent=st.lists(messages, max_size=6))
def test_every_reader_gets_the_messages_back(masked: bool, sent: list[Message]) -> None:
    made = encoder(masked=masked)
    wire = [encode(made, message) for message in sent]
    for reader in (read, read_with_websockets, read_with_wsproto):
        assert reader(wire, masked=masked) == Reading(sent)


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_the_length_takes_as_few_bytes_as_possible(size: int) -> None:
    payload = b"x" * size
    assert encode(encoder(masked=False), payload) == frame(2, payload)
    masked = encode(encoder(masked=True), payload)
    head = bytearray(frame(2, payload)[: len(masked) - size - 4])
    head[1] |= 0x80
    assert masked == bytes(head) + bytes(4) + payload  # the first mask is 0


def test_text_and_binary_are_told_apart() -> None:
    made = encoder(masked=False)
    assert made.message("é") == (b"\x81\x02", b"\xc3\xa9")
    assert made.message(b"\xc3\xa9") == (b"\x82\x02", b"\xc3\xa9")


@pytest.mark.parametrize(
    "message", [bytearray(b"abc"), memoryview(b"abc"), memoryview(b"a-b-c")[::2]]
)
def test_other_kinds_of_bytes_are_copied(message: bytearray | memoryview) -> None:
    assert encoder(masked=False).message(message) == (b"\x82\x03", b"abc")


def test_what_holds_items_of_more_bytes_is_sent_as_its_bytes() -> None:
    made = encoder(masked=False)
    assert made.message(memoryview(array("H", [1, 2])))[1] == array("H", [1, 2]).tobytes()


@pytest.mark.parametrize("message", [None, 7, ["a"], object()])
def test_what_is_neither_text_nor_bytes_is_refused(message: Message) -> None:
    name = type(message).__name__
    with pytest.raises(UsageError, match=f"a message is str or bytes, got {name}"):
        encoder(masked=True).message(message)


def test_lone_surrogates_are_refused_and_nothing_of_the_message_is_quoted() -> None:
    with pytest.raises(UsageError, match="encodable as UTF-8: surrogates not allowed at 6") as got:
        encoder(masked=True).message("secret\ud800")
    assert "secret" not in str(got.value)


# Masks.


def test_every_mask_is_drawn_and_used_once() -> None:
    drawn = Drawn()
    made = Encoder(entropy=drawn)
    used = [mask_of(encode(made, b"x")) for _ in range(1000)]
    assert used == list(range(1000))
    assert len(drawn.calls) < 10
    assert all(size % 4 == 0 for size in drawn.calls)


def test_control_frames_draw_masks_as_well() -> None:
    made = encoder(masked=True)
    wires = [made.control(PING), encode(made, ""), made.close(1000), made.control(PONG, b"x")]
    assert [mask_of(wire) for wire in wires] == [0, 1, 2, 3]


def test_nothing_is_drawn_before_something_is_sent() -> None:
    drawn = Drawn()
    Encoder(entropy=drawn)
    assert drawn.calls == []


def test_two_encoders_share_no_masks() -> None:
    drawn = Drawn()
    first, second = Encoder(entropy=drawn), Encoder(entropy=drawn)
    masks = [mask_of(encode(made, b"x")) for _ in range(300) for made in (first, second)]
    assert len(set(masks)) == 600


def test_the_mask_is_applied_as_the_rfc_says() -> None:
    wire = encode(Encoder(entropy=lambda size: b"\x37\xfa\x21\x3d" * (size // 4)), "Hello")
    assert wire == b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"  # section 5.7


@pytest.fixture
def plain_without_c(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module as it is where `websockets` has no C part."""
    monkeypatch.setitem(sys.modules, "websockets.speedups", None)
    spec = importlib.util.find_spec(plain.__name__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def masking(module: ModuleType) -> Callable[[bytes, bytes], bytes]:
    masking: Callable[[bytes, bytes], bytes] = module.apply_mask
    return masking


def test_masking_in_python_does_what_masking_in_c_does(plain_without_c: ModuleType) -> None:
    fast, slow = masking(plain), masking(plain_without_c)
    assert slow is masking(utils)
    assert fast is not slow
    for size in [*range(70), 1000, 65537]:
        payload = bytes(index * 7 % 256 for index in range(size))
        mask = size.to_bytes(3, "big") + b"\x80"
        assert slow(payload, mask) == fast(payload, mask) == xor(payload, mask)


# Control frames.


@either_side
def test_a_control_frame_carries_its_payload(masked: bool) -> None:
    wire = encoder(masked=masked).control(PING, b"?" * 125)
    assert read([wire], masked=masked).controls == [(PING, b"?" * 125)]


def close_payload(code: int, reason: str = "") -> bytes:
    ((opcode, payload),) = read([encoder(masked=False).close(code, reason)]).controls
    assert opcode == CLOSE
    return payload


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4000, 4999])
def test_a_close_frame_carries_its_code_and_reason(code: int) -> None:
    assert close_payload(code, "why") == code.to_bytes(2, "big") + b"why"


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65536, -1])
def test_a_close_code_that_must_not_be_sent_is_not_sent(code: int) -> None:
    assert close_payload(code, "why") == b""


@pytest.mark.parametrize(
    ("reason", "sent"),
    [
        ("x" * 123, b"x" * 123),
        ("x" * 124, b"x" * 123),
        ("x" * 122 + "é", b"x" * 122),
        ("€" * 100, "€".encode() * 41),
        ("🙂" * 31, "🙂".encode() * 30),
        ("\ud800", b"?"),
    ],
    ids=["just fits", "one too long", "half a character", "41 of 3 bytes", "30 of 4", "surrogate"],
)
def test_a_close_reason_is_cut_between_characters(reason: str, sent: bytes) -> None:
    assert close_payload(1000, reason)[2:] == sent


@given(reason=texts)
def test_every_reader_understands_every_close_reason(reason: str) -> None:
    wire = [encoder(masked=False).close(4000, reason)]
    ours = read(wire)
    assert ours.failed is None
    assert read_with_websockets(wire) == read_with_wsproto(wire) == ours
    assert reason.encode().startswith(ours.controls[0][1][2:])
