"""Hello and welcome, both ways, and that each of their fields is checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statews.errors import SessionError
from statews.protocol.envelope import LARGEST
from statews.protocol.plain import Message
from statews.protocol.session import (
    LONGEST_HELLO,
    Hello,
    Position,
    Result,
    Welcome,
    Window,
    read_hello,
    read_welcome,
    write_hello,
    write_welcome,
)

Content = dict[str, object]

HELLO: Content = {
    "v": 1,
    "sid": "session",
    "tok": "token",
    "n": 17,
    "rx": 120345,
    "rc": 3517442201,
    "tx": [88120, 88131],
    "win": [512, 65536],
    "max": 1048576,
    "auth": {"key": "value"},
}
WELCOME: Content = {
    "v": 1,
    "r": "gap",
    "sid": "session",
    "tok": "token",
    "rx": 88125,
    "rc": 7,
    "tx": [120340, 120399],
    "lost": [[120300, 120339]],
    "win": [512, 65536],
    "ttl": 86400,
    "max": 1048576,
    "was": {"rx": 9},
    "why": "it was late",
}
NUMBERS = ("n", "rx", "rc", "ttl", "max")
NO_NUMBER: tuple[object, ...] = (-1, LARGEST + 1, 1.0, 0.5, True, False, "1", "", [], [1], {})
NO_TEXT: tuple[object, ...] = (0, 1, 1.5, True, False, [], ["a"], {}, {"a": "b"})
NO_NAME: tuple[object, ...] = (*NO_TEXT, "", "é", "a\n", "\x7f", "\ud800", "x" * 129)
NO_PAIR: tuple[object, ...] = (
    *(0, True, "ab", {}, {"a": 1, "b": 2}, [], [1], [1, 2, 3], [[1, 2]]),
    *([1, bad] for bad in NO_NUMBER),
    *([bad, LARGEST] for bad in NO_NUMBER),
    *([1, None], [None, 1]),
)
NO_RANGES: tuple[object, ...] = (
    *(0, True, "", "ab", {}, [None], [1, 2], [[]], [[1]], [[1, 2, 3]], [[1, 2], [3]]),
    *([[2, 1]], [[0, 1]], [[1, 2], [4, 3]], [[1, True]], [[1, 2]] * 17),
)
WRONG: dict[str, tuple[object, ...]] = {
    "n": NO_NUMBER,
    "rx": NO_NUMBER,
    "rc": (*NO_NUMBER, 2**32),
    "ttl": NO_NUMBER,
    "max": NO_NUMBER,
    "sid": NO_NAME,
    "tok": NO_NAME,
    "why": NO_TEXT,
    "r": (*NO_TEXT, "", "NEW", "new ", "fresh"),
    "tx": NO_PAIR,
    "win": (*NO_PAIR, [0, 1], [1, 0]),
    "lost": NO_RANGES,
    "was": (0, 5, True, "", [], ["rx"], {}, {"rx": None}, *({"rx": bad} for bad in NO_NUMBER)),
}
each_side = pytest.mark.parametrize(
    ("kind", "content", "read"),
    [("H", HELLO, read_hello), ("W", WELCOME, read_welcome)],
    ids=["hello", "welcome"],
)
Read = Callable[[Message], object]

numbers = st.integers(0, LARGEST)
names = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=128)
windows = st.builds(Window, st.integers(1, LARGEST), st.integers(1, LARGEST))
ranges = st.tuples(st.integers(1, LARGEST), st.integers(1, LARGEST)).map(
    lambda both: (min(both), max(both))
)
finite = st.floats(allow_nan=False, allow_infinity=False)
leaves = st.none() | st.booleans() | numbers | finite | st.text(max_size=9)
few = st.lists(leaves, max_size=3)
json_values = leaves | few | st.dictionaries(st.text(max_size=9), leaves | few, max_size=3)


@st.composite
def positions(draw: st.DrawFn) -> Position:
    last = draw(st.integers(0, LARGEST - 1))  # there is a number for the first one behind it
    first = draw(st.integers(1, last + 1))
    chain = draw(st.integers(0, 2**32 - 1))
    return Position(rx=draw(numbers), chain=chain, first=first, last=last)


def frame(kind: str, content: object) -> str:
    return kind + json.dumps(content)


def refuse(read: Read, message: Message, wanted: str) -> None:
    with pytest.raises(SessionError, match=wanted) as caught:
        read(message)
    assert caught.value.close_code == 4400
    assert len(str(caught.value)) < 300


# On the wire.


def test_a_hello_is_written_so() -> None:
    hello = Hello(
        sid="session",
        token="token",
        attempt=17,
        position=Position(rx=120345, chain=3517442201, first=88120, last=88131),
        window=Window(512, 65536),
        largest=1048576,
        auth={"key": "value"},
    )
    assert write_hello(hello) == "H" + json.dumps(HELLO, separators=(",", ":"))
    assert read_hello(frame("H", HELLO)) == hello
    assert write_hello(Hello()) == (
        'H{"v":1,"n":1,"rx":0,"rc":0,"tx":[1,0],"win":[1024,1048576],"max":9007199254740991}'
    )


def test_a_welcome_is_written_so() -> None:
    welcome = Welcome(
        result=Result.GAP,
        sid="session",
        token="token",
        position=Position(rx=88125, chain=7, first=120340, last=120399),
        window=Window(512, 65536),
        lost=((120300, 120339),),
        time_to_live=86400,
        largest=1048576,
        was=9,
        why="it was late",
    )
    assert write_welcome(welcome) == "W" + json.dumps(WELCOME, separators=(",", ":"))
    assert read_welcome(frame("W", WELCOME)) == welcome
    least = Welcome(result=Result.NEW, sid="s", token="t", time_to_live=1.6)
    assert write_welcome(least) == (
        'W{"v":1,"r":"new","sid":"s","tok":"t","rx":0,"rc":0,"tx":[1,0],"lost":[],'
        '"win":[1024,1048576],"ttl":2,"max":9007199254740991}'
    )


@pytest.mark.parametrize("result", Result)
def test_a_result_is_its_word(result: Result) -> None:
    content = {**WELCOME, "r": str(result)}
    assert read_welcome(frame("W", content)).result is result
    assert str(result) in {"new", "resumed", "gap", "reset"}


# What may be absent.


def test_a_hello_needs_its_version_only() -> None:
    assert read_hello('H{"v":1}') == Hello()
    assert Hello().position == Position(rx=0, chain=0, first=1, last=0)


def test_a_welcome_needs_a_result_and_a_session() -> None:
    content: Content = {"v": 1, "r": "new", "sid": "session", "tok": "token"}
    welcome = Welcome(result=Result.NEW, sid="session", token="token")
    assert read_welcome(frame("W", content)) == welcome
    assert (welcome.lost, welcome.was, welcome.why) == ((), None, None)
    assert (welcome.time_to_live, welcome.largest) == (0, LARGEST)
    for name in ("r", "sid", "tok"):
        for without in ({**content, name: None}, {k: v for k, v in content.items() if k != name}):
            wanted = f"^the peer sent a welcome whose '{name}' is None$"
            refuse(read_welcome, frame("W", without), wanted)


@each_side
def test_what_may_be_absent_may_be_null_and_what_nobody_knows_is_passed_over(
    kind: str, content: Content, read: Read
) -> None:
    needed = {"v", "r"} if kind == "H" else {"v", "r", "sid", "tok"}
    least = {name: value for name, value in content.items() if name in needed}
    nulls = dict.fromkeys(content) | least
    more = least | {"": 0, "V": 2, "hb": [1, 2], "later": {"v": [None]}}
    wanted = read(frame(kind, least))
    assert read(frame(kind, nulls)) == read(frame(kind, more)) == wanted


def test_an_id_and_a_token_belong_together() -> None:
    wanted = "^the peer sent a hello with one of sid and tok, and not the other$"
    refuse(read_hello, 'H{"v":1,"sid":"session"}', wanted)
    refuse(read_hello, 'H{"v":1,"tok":"token","sid":null}', wanted)


# What is wrong.


@each_side
@pytest.mark.parametrize("name", WRONG)
def test_each_field_is_checked(kind: str, content: Content, read: Read, name: str) -> None:
    if name in content:
        for wrong in WRONG[name]:
            what = "hello" if kind == "H" else "welcome"
            wanted = f"^the peer sent a {what} (whose '{name}' is |with messages )"
            refuse(read, frame(kind, {**content, name: wrong}), wanted)


@each_side
@pytest.mark.parametrize("name", [*NUMBERS, "sid", "tok"])
def test_each_field_may_be_as_large_as_it_may(
    kind: str, content: Content, read: Read, name: str
) -> None:
    if name in content:
        largest: object = "x" * 128 if name in {"sid", "tok"} else LARGEST
        read(frame(kind, {**content, name: 2**32 - 1 if name == "rc" else largest}))
        read(frame(kind, {**content, name: "!" if name in {"sid", "tok"} else 0}))


@each_side
@pytest.mark.parametrize("pair", [[1, 0], [1, 1], [6, 5], [LARGEST, LARGEST]])
def test_there_may_be_nothing_between_first_and_last(
    kind: str, content: Content, read: Read, pair: list[int]
) -> None:
    read(frame(kind, {**content, "tx": pair}))


@each_side
@pytest.mark.parametrize("pair", [[0, 0], [0, 5], [2, 0], [7, 5], [LARGEST, 5]])
def test_first_and_last_are_in_order(
    kind: str, content: Content, read: Read, pair: list[int]
) -> None:
    wanted = f"^the peer sent a (hello|welcome) with messages {pair[0]} to {pair[1]}$"
    refuse(read, frame(kind, {**content, "tx": pair}), wanted)


def test_sixteen_ranges_may_be_lost() -> None:
    lost = [[n, n] for n in range(1, 17)]
    assert len(read_welcome(frame("W", {**WELCOME, "lost": lost})).lost) == 16


@each_side
@pytest.mark.parametrize("version", [0, 2, -1, 1.0, 1.5, True, "1", None, [1], {}, "x" * 99])
def test_the_version_is_ours(kind: str, content: Content, read: Read, version: object) -> None:
    shown = f"{version!r:.20}".replace("[", r"\[")
    wanted = f"^the peer sent a (hello|welcome) of version {shown}, not 1$"
    refuse(read, frame(kind, {**content, "v": version}), wanted)
    refuse(read, kind + "{}", "of version None, not 1$")


@each_side
@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "{", "}", "{}{}", "{'v':1}", '{"v":1,}', '{"v":01}', '{"v"=1}', "v", "\x00"),
        *('{"v":1,"auth":NaN}', '{"v":1,"auth":[Infinity]}', '{"v":1,"x":{"y":-Infinity}}'),
        *('{"v":1} x', '\ufeff{"v":1}', '{"v":1,"auth":"\n"}', '{"v":1,"n":' + "9" * 5000 + "}"),
    ],
)
def test_what_is_not_json_is_refused(kind: str, content: Content, read: Read, text: str) -> None:
    del content
    refuse(
        read, kind + text, "^the peer sent a (hello|welcome) (that is not JSON|whose 'n' is 9+)$"
    )


@each_side
@pytest.mark.parametrize("text", ["null", "1", '"v"', "[]", '[{"v":1}]', "true"])
def test_what_is_no_object_is_refused(kind: str, content: Content, read: Read, text: str) -> None:
    del content
    refuse(read, kind + text, "^the peer sent a (hello|welcome) that is no JSON object$")


def test_of_two_fields_with_one_name_the_last_counts() -> None:
    assert read_hello('H{"v":2,"n":1,"v":1,"n":2}').attempt == 2
    refuse(read_hello, 'H{"v":1,"n":1,"v":2}', "of version 2, not 1$")


@each_side
@pytest.mark.parametrize(
    "message",
    ["", "M1;x", "A1", "P", "V;", "x", b"H{}", b"W{}", b"", b"M1;x", b"x", "h{}", "w{}", " H{}"],
)
def test_another_frame_is_refused(
    kind: str, content: Content, read: Read, message: Message
) -> None:
    refuse(read, message, "^the peer ")
    refuse(read, ("W" if kind == "H" else "H") + json.dumps(content), "but with another frame$")
    refuse(read, frame(kind, content).encode(), "^the peer sent ")
    refuse(read, "A1", "^the peer did not begin with its (hello|welcome), but with another frame$")


@each_side
def test_a_greeting_has_a_limit(kind: str, content: Content, read: Read) -> None:
    size = LONGEST_HELLO - len(frame(kind, {**content, "more": ""}))
    assert LONGEST_HELLO == 16384
    read(frame(kind, {**content, "more": "x" * size}))
    wanted = "^the peer sent a (hello|welcome) of over 16384 bytes$"
    refuse(read, frame(kind, {**content, "more": "x" * (size + 1)}), wanted)
    refuse(read, kind + "x" * 10**7, wanted)
    refuse(read, kind.encode() + b"x" * 10**7, wanted)


@each_side
@pytest.mark.parametrize("name", [*WRONG, "v", "auth", "more"])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_nothing_is_too_deep(
    kind: str, content: Content, read: Read, name: str, opening: str
) -> None:
    closing = "]" if opening == "[" else "}"
    text = json.dumps({**content, name: "HERE"})
    for depth in (50, 500, *range(900, 1000, 7), 2000):
        nested = opening * depth + "1" + closing * depth
        try:
            read(kind + text.replace('"HERE"', nested, 1))
        except SessionError as error:
            refuse(read, kind + text.replace('"HERE"', nested, 1), "^the peer sent a ")
            assert error.close_code == 4400  # noqa: PT017 - what is not looked at may be deep


# Whatever there is.


@given(
    hello=st.builds(
        Hello,
        attempt=numbers,
        position=positions(),
        window=windows,
        largest=numbers,
        auth=json_values,
    ),
    named=st.none() | st.tuples(names, names),
)
def test_a_hello_comes_through(hello: Hello, named: tuple[str, str] | None) -> None:
    sid, token = named or (None, None)
    hello = replace(hello, sid=sid, token=token)
    message = write_hello(hello)
    if len(message) <= LONGEST_HELLO:
        assert read_hello(message) == hello


@given(
    welcome=st.builds(
        Welcome,
        result=st.sampled_from(Result),
        sid=names,
        token=names,
        position=positions(),
        window=windows,
        lost=st.lists(ranges, max_size=16).map(tuple),
        time_to_live=numbers,
        largest=numbers,
        was=st.none() | numbers,
        why=st.none() | st.text(),
    )
)
def test_a_welcome_comes_through(welcome: Welcome) -> None:
    message = write_welcome(welcome)
    if len(message) <= LONGEST_HELLO:
        assert read_welcome(message) == welcome


pieces = st.sampled_from([*HELLO, *WELCOME])
strange = st.dictionaries(pieces, json_values).map(lambda content: json.dumps({"v": 1} | content))


@given(message=st.sampled_from("HW").flatmap(lambda k: (strange | st.text()).map(k.__add__)))
def test_whatever_comes_is_a_greeting_or_is_refused(message: str) -> None:
    reads: tuple[Read, ...] = (read_hello, read_welcome)
    for read in reads:
        try:
            read(message)
        except SessionError:
            refuse(read, message, "^the peer ")
