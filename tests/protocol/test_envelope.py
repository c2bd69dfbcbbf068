"""Every frame of `statews.v1`, both ways, and that nothing else is one."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from typing_extensions import assert_never

from statews.errors import SessionError
from statews.protocol.envelope import (
    LARGEST,
    LONGEST_HEADER,
    LONGEST_SLOT,
    MOST_CHAIN,
    SUBPROTOCOL,
    Acknowledgement,
    Answer,
    Frame,
    GoAway,
    Greeting,
    Question,
    Reliable,
    Skip,
    Slot,
    Volatile,
    broke_session,
    is_slot,
    parse,
    parse_run,
    write_acknowledgement,
    write_answer,
    write_go_away,
    write_question,
    write_reliable,
    write_skip,
    write_slot,
    write_volatile,
)
from statews.protocol.plain import Message

DAY_MS = 24 * 3600 * 1000
LONGEST_NAME = "s" * LONGEST_SLOT
# One frame of each kind that has a payload, and of each that has none.
LOADED = ("M1;", "M1,2;", "Lslot;", "Lslot,2;", "V;", "V,2;")
BARE = ("A1", "S1,2", "P", "P,2", "Q", "Q,2", "G1-2", "G1-2;why")

numbers = st.integers(0, LARGEST)
chains = st.integers(0, MOST_CHAIN)
acks = st.none() | numbers
payloads = st.text() | st.binary()
slots = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=",;"),
    min_size=1,
    max_size=LONGEST_SLOT,
)
each_kind = pytest.mark.parametrize("message", LOADED + BARE)


def refuse(message: Message, wanted: str = ", which is no frame$") -> None:
    with pytest.raises(SessionError, match=wanted) as caught:
        parse(message)
    assert caught.value.close_code == 4400


def write(frame: Frame) -> Message:  # noqa: C901 - one case a kind
    match frame:
        case Reliable(seq, ack, payload):
            return write_reliable(seq, ack, payload)
        case Slot(name, ack, payload):
            return write_slot(name, ack, payload)
        case Volatile(ack, payload):
            return write_volatile(ack, payload)
        case Acknowledgement(ack):
            return write_acknowledgement(ack)
        case Skip(upto, chain):
            return write_skip(upto, chain)
        case Question(ack):
            return write_question(ack)
        case Answer(ack):
            return write_answer(ack)
        case GoAway(least_ms, most_ms, why):
            return write_go_away(least_ms, most_ms, why)
        case Greeting(kind, text):
            return kind + text
        case _:
            assert_never(frame)


# Both ways.


@given(seq=numbers, ack=acks, payload=payloads)
def test_a_reliable_message_comes_through(seq: int, ack: int | None, payload: Message) -> None:
    assert parse(write_reliable(seq, ack, payload)) == Reliable(seq, ack, payload)


@given(name=slots, ack=acks, payload=payloads)
@example(name=LONGEST_NAME, ack=LARGEST, payload="")
@example(name="1", ack=2, payload=b";")
def test_the_value_of_a_slot_comes_through(name: str, ack: int | None, payload: Message) -> None:
    assert is_slot(name)
    assert parse(write_slot(name, ack, payload)) == Slot(name, ack, payload)


@given(ack=acks, payload=payloads)
def test_a_volatile_message_comes_through(ack: int | None, payload: Message) -> None:
    assert parse(write_volatile(ack, payload)) == Volatile(ack, payload)


@given(number=numbers, chain=chains, ack=acks)
def test_what_has_no_payload_comes_through(number: int, chain: int, ack: int | None) -> None:
    assert parse(write_acknowledgement(number)) == Acknowledgement(number)
    assert parse(write_skip(number, chain)) == Skip(number, chain)
    assert parse(write_question(ack)) == Question(ack)
    assert parse(write_answer(ack)) == Answer(ack)


@given(least=st.integers(0, DAY_MS), longer=st.integers(0, DAY_MS), why=st.text())
def test_the_order_to_go_away_comes_through(least: int, longer: int, why: str) -> None:
    most = min(least + longer, DAY_MS)
    assert parse(write_go_away(least, most, why)) == GoAway(least, most, why)


@pytest.mark.parametrize(
    ("message", "frame"),
    [
        ("M120,98;text", Reliable(120, 98, "text")),
        ("M120;text", Reliable(120, None, "text")),
        (b"M120,98;\x00;\xff", Reliable(120, 98, b"\x00;\xff")),
        (b"M120;", Reliable(120, None, b"")),
        ("Lprice/EUR-USD,98;1.1", Slot("price/EUR-USD", 98, "1.1")),
        (b"L!:;<~", Slot("!:", None, b"<~")),
        ("V,98;a", Volatile(98, "a")),
        ("V;a", Volatile(None, "a")),
        (b"V,98;a", Volatile(98, b"a")),
        (b"V;;", Volatile(None, b";")),
        ("A98", Acknowledgement(98)),
        ("A0", Acknowledgement(0)),
        ("S120,4294967295", Skip(120, 2**32 - 1)),
        ("P", Question(None)),
        ("P,98", Question(98)),
        ("Q", Answer(None)),
        ("Q,98", Answer(98)),
        ("G250-20000", GoAway(250, 20000, "")),
        ("G250-20000;restart; soon", GoAway(250, 20000, "restart; soon")),
    ],
    ids=repr,
)
def test_a_frame_has_one_form(message: Message, frame: Frame) -> None:
    assert parse(message) == frame
    written = write(frame)
    assert (written, type(written)) == (message, type(message))


@pytest.mark.parametrize("kind", ["H", "W"])
@pytest.mark.parametrize("text", ["", "{}", ";", "no JSON", "{" * 10**6])
def test_a_greeting_is_handed_on_as_it_is(kind: str, text: str) -> None:
    assert parse(kind + text) == Greeting(kind, text)


def test_nobody_is_sent_away_for_over_a_day_and_the_smaller_number_comes_first() -> None:
    assert parse(f"G9-{LARGEST}") == GoAway(9, DAY_MS, "")
    assert parse(f"G{DAY_MS}-{DAY_MS + 1};x") == GoAway(DAY_MS, DAY_MS, "x")
    assert parse("G5-2") == GoAway(2, 5, "")
    assert write_go_away(2, 5) == "G2-5"


# No other form.


def with_number(digits: str) -> list[Message]:
    """Each place of each frame where a number stands, with `digits` there."""
    loaded = [f"M{digits};", f"M1,{digits};", f"Lslot,{digits};", f"V,{digits};"]
    bare = [f"A{digits}", f"S{digits},1", f"S1,{digits}", f"P,{digits}", f"Q,{digits}"]
    away = [f"G{digits}-1", f"G1-{digits}", f"G{digits}-1;", f"G1-{digits};"]
    in_bytes: list[Message] = [text.encode() for text in loaded]
    return [*loaded, *bare, *away, *in_bytes]


@pytest.mark.parametrize(
    "digits",
    [
        "",
        "-1",
        "+1",
        "01",
        "00",
        " 1",
        "1 ",
        "1\n",
        "1_0",
        "1.0",
        "1e3",
        "0x1",
        "½",
        "²",
        "१",
        "\uff11",
    ],
)
def test_a_number_has_decimal_digits_and_nothing_else(digits: str) -> None:
    for message in with_number(digits):
        refuse(message)


def test_a_number_that_not_every_parser_can_read_is_refused() -> None:
    for message in with_number(f"{LARGEST}"):
        if message != f"S1,{LARGEST}":
            parse(message)
    for message in with_number(f"{LARGEST + 1}"):
        refuse(message, r"^the peer sent the number 9007199254740992, above 2\^53 - 1$")
    for message in with_number("9" * 17) + with_number("9" * 5000):
        refuse(message)


def test_a_check_value_has_32_bits() -> None:
    assert parse("S1,4294967295") == Skip(1, MOST_CHAIN)
    for chain in (2**32, LARGEST):
        refuse(f"S1,{chain}", rf"^the peer sent the check value {chain}, above 2\^32 - 1$")


@given(
    digits=st.text(st.sampled_from("0123459²१"), max_size=17)
    | st.text(st.characters(exclude_characters=";"))
)
@example(digits="9" * 15)
@example(digits="9" * 16)
@example(digits="01")
@example(digits="0")
@example(digits="")
def test_a_short_acknowledgement_is_recognised_without_a_parser(digits: str) -> None:
    is_right = digits.isascii() and digits.isdecimal() and f"{int(digits)}" == digits
    run = parse_run([f"M7,{digits};text"], 7)
    assert run == ((["text"], int(digits)) if is_right and len(digits) <= 15 else ([], 0))


@given(
    before=st.lists(st.tuples(st.text(), st.none() | st.integers(0, 99)), max_size=5),
    behind=st.sampled_from(
        ["", "M", "M1", "M99;", "M8", "M08;x", "M8,;x", "M8,1,2;x", "A3", b"M8;"]
    ),
    seq=st.integers(0, 12),
)
@example(before=[("a", None), ("b;c", 9), ("", 3)], behind="P", seq=9)
def test_a_run_is_what_the_parser_says_of_its_frames(
    before: list[tuple[str, int | None]], behind: Message, seq: int
) -> None:
    frames = [write_reliable(n, ack, text) for n, (text, ack) in enumerate(before, seq)]
    texts, ack = parse_run([*frames, behind, *frames], seq)
    read = [parse(message) for message in frames]
    assert texts == [frame.payload for frame in read if isinstance(frame, Reliable)]
    assert ack == max((frame.ack or 0 for frame in read if isinstance(frame, Reliable)), default=0)


@each_kind
def test_a_header_has_no_blanks_and_nothing_too_much(message: str) -> None:
    parse(message)
    head, semicolon, payload = message.partition(";")
    for wrong in (f" {head}", f"{head} ", f"{head}\n", f"{head},", f"{head},1,1", f"{head},1-1"):
        refuse(wrong + semicolon + payload)
        refuse((wrong + semicolon + payload).encode())


@pytest.mark.parametrize("message", LOADED)
def test_a_payload_needs_the_end_of_its_header(message: str) -> None:
    refuse(message[:-1])
    refuse(message[:-1].encode())


@pytest.mark.parametrize("message", ["A1", "S1,2", "P", "P,2", "Q", "Q,2"])
def test_what_has_no_payload_has_no_end_of_a_header(message: str) -> None:
    refuse(message + ";")
    refuse(message + ";payload")


@pytest.mark.parametrize("message", [*BARE, "H{}", "W{}"])
def test_what_has_no_payload_of_its_own_is_text(message: str) -> None:
    refuse(message.encode())


@pytest.mark.parametrize("kind", sorted(set("BCDEFIJKNORTUXYZ") | set("0;,- \x00Éé\uff5e[@`{")))
def test_an_unknown_kind_is_refused(kind: str) -> None:
    for message in (kind, f"{kind}1", f"{kind}1;x", f"{kind};"):
        refuse(message)
        refuse(message.encode())


def test_a_frame_has_a_kind() -> None:
    refuse("", "^the peer sent '', which is no frame$")
    refuse(b"", "^the peer sent '', which is no frame$")


@pytest.mark.parametrize("kind", "abcdefghijklmnopqrstuvwxyz")
def test_an_unknown_kind_in_lower_case_is_left_for_later_versions(kind: str) -> None:
    for message in (kind, f"{kind}1;x", f"{kind} whatever, {kind * 1000}"):
        assert parse(message) is None
        assert parse(message.encode()) is None


@pytest.mark.parametrize(
    "name", ["", "a b", "a,b", "a;b", "a\n", "\x7f", "é", "a\x00", "s" * (LONGEST_SLOT + 1)]
)
def test_a_slot_is_named_by_a_few_printable_characters_of_ascii(name: str) -> None:
    assert not is_slot(name)
    if ";" not in name:
        refuse(f"L{name};")
        refuse(f"L{name};".encode())


def test_the_longest_header_is_found_and_what_is_longer_is_not_looked_for() -> None:
    longest = f"L{LONGEST_NAME},{LARGEST}"
    assert len(longest) < LONGEST_HEADER
    assert parse(f"{longest};") == Slot(LONGEST_NAME, LARGEST, "")
    for message in ("M1" + "0" * LONGEST_HEADER + ";", "é" * 1000):
        shown = message[:LONGEST_HEADER]
        refuse(message, f"^the peer sent '{shown}', which is no frame$")
    refuse(b"\xe9" * 1000, f"^the peer sent '{'é' * LONGEST_HEADER}', which is no frame$")


@pytest.mark.parametrize("end", ["", ";", ";payload"])
@pytest.mark.parametrize("head", ["A", "A1 ", "", "é", "M", "X" * 88, "X" * 89])
def test_what_was_sent_is_shown_without_its_payload(head: str, end: str) -> None:
    wanted = f"^the peer sent '{head[:LONGEST_HEADER]}', which is no frame$"
    refuse(head + end, wanted)
    refuse((head + end).encode("latin-1"), wanted)


def test_the_constants_are_those_of_the_protocol() -> None:
    assert SUBPROTOCOL == "statews.v1"
    assert (LARGEST, LONGEST_SLOT, LONGEST_HEADER) == (9_007_199_254_740_991, 64, 88)
    assert MOST_CHAIN == 4_294_967_295


def test_the_error_is_told_to_the_peer_with_4400() -> None:
    error = broke_session("it is late")
    assert (error.close_code, str(error)) == (4400, "it is late")


# Whatever comes.


pieces = st.sampled_from([*"MLVASPQGHWz", *"0195,;- é", f"{LARGEST}", "x" * 90])
near = st.lists(pieces).map("".join)


@given(message=near | near.map(lambda text: text.encode()) | payloads)
def test_whatever_comes_is_a_frame_or_is_refused(message: Message) -> None:
    try:
        frame = parse(message)
    except SessionError:
        refuse(message, "^the peer sent .{1,1000}$")
        return
    kind = message[:1] if isinstance(message, str) else message[:1].decode()
    if frame is None:
        assert "a" <= kind <= "z"
    else:
        assert f"`{kind}" in (type(frame).__doc__ or "")
        assert parse(write(frame)) == frame
