"""Frames on their way out: whole, in order, in few pieces, whatever the transport takes."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statews import LinkDropped
from statews.protocol.frames import Encoder
from statews.transport.outgoing import HEADER, LONG, Outgoing

from .fakes import Sink

BOUND = 65536


class Lengths(Encoder):
    """Frames that can be read here: texts with their length before them."""

    def __init__(self) -> None:
        super().__init__(entropy=None)

    def texts(self, texts: list[str]) -> bytes:
        return b"".join(b"%d:%b" % (len(text), text.encode()) for text in texts)


def outgoing(*sizes: int, bound: int = BOUND) -> tuple[Outgoing, Sink]:
    """With a transport that takes so many bytes of what it is handed, one size a time."""
    sink = Sink(sizes)
    return Outgoing(sink, Lengths(), bound), sink


def test_the_first_frame_goes_at_once_and_the_rest_goes_in_one_piece() -> None:
    out, sink = outgoing()
    assert not out.put(b"one")  # gone: no turn is needed
    assert sink.pieces == [b"one"]
    assert out.put(b"two")
    assert not out.put(b"three")  # a turn was asked for already
    assert not out.put(b"four")
    assert sink.pieces == [b"one"]
    assert out.flush()
    assert sink.pieces == [b"one", b"twothreefour"]


def test_after_a_turn_a_frame_is_a_first_one_again() -> None:
    out, sink = outgoing()
    for frame in (b"one", b"two"):
        assert not out.put(frame)
        assert out.flush()
    assert sink.pieces == [b"one", b"two"]


def test_a_frame_that_is_half_taken_keeps_its_place() -> None:
    out, sink = outgoing(2, 0, 1)
    assert out.put(b"first")
    assert not out.put(b"second")
    assert not out.flush()
    assert not out.flush()
    assert not out.put(b"third")  # behind what waits, though somebody had a turn
    assert out.flush()
    assert sink.data == b"firstsecondthird"


@pytest.mark.parametrize("size", [0, 1, 2, 7, 100])
def test_a_transport_may_take_any_part_of_anything(size: int) -> None:
    out, sink = outgoing(*[size, 0] * 20)
    frames = [b"a", b"bb" * 9, b"c" * LONG, b"d" * 3, b"e" * (LONG + 1), b"f"]
    for frame in frames:
        out.put(frame)
    while not out.flush():
        pass
    assert sink.data == b"".join(frames)
    assert out.size <= out.bound


def test_a_long_payload_is_not_copied() -> None:
    out, sink = outgoing()
    payload = bytes(LONG)
    out.put(b"first")
    out.put(b"short")
    assert not out.put_long(b"header", payload)
    assert sink.pieces == [b"first", b"shortheader", payload]
    assert sink.handed[-1] is payload


def test_the_rest_of_a_long_payload_is_not_copied_either() -> None:
    out, sink = outgoing(6, 10)
    payload = bytes(range(256)) * (LONG // 128)
    assert out.put_long(b"header", payload)
    out.put(b"after")
    assert out.flush()
    rest = sink.handed[-2]
    assert isinstance(rest, memoryview)
    assert rest.obj is payload
    assert sink.data == b"header" + payload + b"after"


def test_a_control_frame_goes_at_once_and_behind_what_waits() -> None:
    out, sink = outgoing()
    out.put(b"one")
    out.put(b"two")
    assert not out.put_now(b"pong")
    assert sink.pieces == [b"one", b"two", b"pong"]
    assert out.put(b"three")  # the turn is still owed
    assert out.flush()
    assert sink.data == b"onetwopongthree"


def test_a_control_frame_waits_where_there_is_no_room() -> None:
    out, sink = outgoing(1, 0)
    out.put(b"frame")
    assert not out.put_now(b"pong")
    assert sink.data == b"f"
    assert out.flush()
    assert sink.data == b"framepong"


def test_the_bound_counts_what_waits() -> None:
    out, _ = outgoing(1, 2, bound=5)
    out.put(b"123")
    assert out.size <= out.bound
    out.put(b"4567")
    assert out.size > out.bound
    assert not out.flush()  # four are left
    assert out.size <= out.bound
    out.put(b"89")
    assert out.size > out.bound
    assert out.flush()
    assert out.size <= out.bound


def collect(out: Outgoing, *texts: str) -> None:
    """As `Wire.write_text`."""
    out.texts += texts
    out.size += sum(len(text) + HEADER for text in texts)


def test_texts_become_frames_when_they_are_handed_on() -> None:
    out, sink = outgoing()
    out.put(b"first")
    collect(out, "one", "two")
    assert out.size == 6 + 2 * HEADER
    assert out.flush()
    assert sink.pieces == [b"first", b"3:one3:two"]
    assert (out.texts, out.size) == ([], 0)


def test_texts_keep_their_place() -> None:
    out, sink = outgoing(1, 2)
    out.put(b"first")
    collect(out, "one")
    out.put(b"frame")
    collect(out, "two")
    assert out.put_long(b"header", b"payload")  # only a part of what is first was taken
    collect(out, "three")
    assert not out.put_now(b"pong")
    assert sink.data == b"first3:oneframe3:twoheaderpayload5:threepong"


def test_texts_that_are_half_taken_count_as_what_is_left() -> None:
    out, _ = outgoing(1, 2)
    out.put(b"x")
    collect(out, "one")
    assert not out.flush()
    assert out.size == 3


@pytest.mark.parametrize("begin", ["put", "put_now", "put_long and put_now"])
def test_two_links_never_collect_the_same_texts(begin: str) -> None:
    links = [outgoing(1, 1, 1) for _ in range(2)]
    for out, _ in links:
        if "put_long" in begin:
            out.put_long(b"header", b"payload")
        if "put_now" in begin:
            out.put_now(b"pong")
        else:
            out.put(b"frame")
        assert not out.is_fresh
        collect(out, "text")
    assert [out.texts for out, _ in links] == [["text"], ["text"]]


def test_a_flush_of_nothing_is_nothing() -> None:
    out, sink = outgoing()
    assert out.flush()
    assert sink.pieces == []


@pytest.mark.parametrize("method", ["put", "flush", "put_now", "put_long"])
def test_a_transport_that_breaks_raises(method: str) -> None:
    out, _ = outgoing(*[] if method == "put" else [3], -1)
    if method != "put":
        out.put(b"first")
    match method:
        case "flush":
            out.put(b"second")
            arguments: tuple[bytes, ...] = ()
        case "put_long":
            arguments = (b"header", bytes(LONG))
        case _:
            arguments = (b"frame",)
    with pytest.raises(LinkDropped, match="by request"):
        getattr(out, method)(*arguments)


@pytest.mark.anyio
async def test_room_is_there_when_all_was_taken() -> None:
    out, _ = outgoing(1, 1)
    out.put(b"frame")
    waiting: list[str] = []

    async def wait(name: str) -> None:
        waiting.append(name)
        await out.wait_room()
        waiting.remove(name)

    async with anyio.create_task_group() as group:
        group.start_soon(wait, "one")
        group.start_soon(wait, "other")
        await anyio.wait_all_tasks_blocked()
        assert not out.flush()
        await anyio.wait_all_tasks_blocked()
        assert sorted(waiting) == ["one", "other"]
        assert out.flush()
    assert waiting == []


@pytest.mark.anyio
async def test_at_the_end_nobody_waits_for_room_any_more() -> None:
    out, _ = outgoing(0)
    out.put(b"frame")
    async with anyio.create_task_group() as group:
        group.start_soon(out.wait_room)
        await anyio.wait_all_tasks_blocked()
        out.release()
    out.release()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 300)),
        st.tuples(st.just("put_now"), st.integers(0, 130)),
        st.tuples(st.just("put_long"), st.integers(LONG, LONG + 9)),
        st.tuples(st.just("flush"), st.just(0)),
    ),
    max_size=30,
)


@given(steps, st.lists(st.integers(0, 3 * LONG), max_size=60))
def test_what_goes_out_is_what_was_put_in_that_order(
    steps: list[tuple[str, int]], sizes: list[int]
) -> None:
    out, sink = outgoing(*sizes)
    expected = b""
    for number, (step, size) in enumerate(steps):
        frame = bytes([number % 256]) * size
        match step:
            case "put":
                out.put(frame)
            case "put_now":
                out.put_now(frame)
            case "put_long":
                out.put_long(b"header", frame)
                expected += b"header"
            case _:
                out.flush()
        expected += frame
        assert expected.startswith(sink.data)
    while not out.flush():
        pass
    assert sink.data == expected
