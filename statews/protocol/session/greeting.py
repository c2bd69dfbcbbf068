"""Hello and welcome: the JSON of the first frame of each side, read and written.

What comes in is checked to the last number here, so that nothing behind it has to doubt. Keys
that nobody knows are passed over, which leaves room to extend.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeVar, cast

from ..envelope import LARGEST, MOST_CHAIN, Greeting, broke_session, parse
from ..plain import Message
from .window import DEFAULT_WINDOW, Window

__all__ = [
    "LONGEST_HELLO",
    "VERSION",
    "Hello",
    "Position",
    "Result",
    "Welcome",
    "read_hello",
    "read_welcome",
    "write_hello",
    "write_welcome",
]

VERSION: Final = 1
LONGEST_HELLO: Final = 16 * 1024  # bytes
LONGEST_NAME: Final = 128  # characters of a session's id or token
MOST_RANGES: Final = 16  # of what is lost

Value = TypeVar("Value")


class Result(str, Enum):
    """What a hello leads to."""

    NEW = "new"  # there was no session
    RESUMED = "resumed"  # it goes on, and nothing was lost
    GAP = "gap"  # it goes on, and what was lost is named
    RESET = "reset"  # it is gone: this is a fresh one

    __str__ = str.__str__


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where one side of a session is.

    Attributes:
        rx: the number of the last message that it has handled.
        chain: the check value of everything up to there.
        first: the number of the first message that it has kept, or of the next one.
        last: the highest number that it has given to a message. # first <= last + 1
    """

    rx: int = 0
    chain: int = 0
    first: int = 1
    last: int = 0


NOWHERE: Final = Position()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a client says first.

    Attributes:
        sid: the session to resume; None: a new one is wanted.
        token: what proves that it is the client's; None with `sid`.
        attempt: rises with each hello of a session.
        position: where the client is.
        window: how much it may have unhandled.
        largest: bytes of the longest message that it takes.
        auth: whatever the application wants to be known by, made of what JSON knows.
    """

    sid: str | None = None
    token: str | None = field(default=None, repr=False)
    attempt: int = 1
    position: Position = NOWHERE
    window: Window = DEFAULT_WINDOW
    largest: int = LARGEST
    auth: object = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """What a server answers.

    Attributes:
        result: what became of the session.
        sid: the session that goes on, or the new one.
        token: what to prove oneself with the next time.
        position: where the server is.
        window: how much it may have unhandled.
        lost: the first and last number of each range that the client will not get.
        time_to_live: seconds for which the session is kept without a link.
        largest: bytes of the longest message that the server takes.
        was: the last number that the old session had handled, after a reset, if that is known.
        why: the reason, in words, for people.
    """

    result: Result
    sid: str
    token: str = field(repr=False)
    position: Position = NOWHERE
    window: Window = DEFAULT_WINDOW
    lost: tuple[tuple[int, int], ...] = ()
    time_to_live: float = 0.0
    largest: int = LARGEST
    was: int | None = None
    why: str | None = None


def write_hello(hello: Hello) -> str:
    """The frame of a hello."""
    content: dict[str, object] = {"v": VERSION}
    if hello.sid is not None:
        content |= {"sid": hello.sid, "tok": hello.token}
    content |= {"n": hello.attempt, **_write_position(hello.position)}
    content["win"] = _write_window(hello.window)
    content["max"] = min(hello.largest, LARGEST)
    if hello.auth is not None:
        content["auth"] = hello.auth
    return f"H{json.dumps(content, separators=(',', ':'))}"


def write_welcome(welcome: Welcome) -> str:
    """The frame of a welcome."""
    content: dict[str, object] = {"v": VERSION, "r": welcome.result.value}
    content |= {"sid": welcome.sid, "tok": welcome.token, **_write_position(welcome.position)}
    content |= {
        "lost": [list(each) for each in welcome.lost],
        "win": _write_window(welcome.window),
        "ttl": round(min(welcome.time_to_live, LARGEST)),
        "max": min(welcome.largest, LARGEST),
    }
    if welcome.was is not None:
        content["was"] = {"rx": welcome.was}
    if welcome.why is not None:
        content["why"] = welcome.why
    return f"W{json.dumps(content, separators=(',', ':'))}"


def _write_window(window: Window) -> list[int]:
    return [min(size, LARGEST) for size in (window.messages, window.size_bytes)]


def _write_position(position: Position) -> dict[str, object]:
    tx = [position.first, position.last]
    return {"rx": position.rx, "rc": position.chain, "tx": tx}


def read_hello(message: Message) -> Hello:
    """The hello that a message is.

    Raises:
        SessionError: it is none.
    """
    fields = _Fields("hello", "H", message)
    sid = fields.read("sid", _name, None)
    token = fields.read("tok", _name, None)
    if (sid is None) is not (token is None):
        raise broke_session("the peer sent a hello with one of sid and tok, and not the other")
    return Hello(
        sid=sid,
        token=token,
        attempt=fields.read("n", _natural, 1),
        position=fields.position(),
        window=fields.read("win", _window, DEFAULT_WINDOW),
        largest=fields.read("max", _natural, LARGEST),
        auth=fields.content.get("auth"),
    )


def read_welcome(message: Message) -> Welcome:
    """The welcome that a message is.

    Raises:
        SessionError: it is none.
    """
    fields = _Fields("welcome", "W", message)
    return Welcome(
        result=fields.read("r", Result),
        sid=fields.read("sid", _name),
        token=fields.read("tok", _name),
        position=fields.position(),
        window=fields.read("win", _window, DEFAULT_WINDOW),
        lost=fields.read("lost", _ranges, ()),
        time_to_live=fields.read("ttl", _natural, 0),
        largest=fields.read("max", _natural, LARGEST),
        was=fields.read("was", _handled, None),
        why=fields.read("why", _text, None),
    )


class _Fields:
    """The content of a greeting, read field by field."""

    def __init__(self, what: str, kind: str, message: Message) -> None:
        if len(message) > LONGEST_HELLO:
            raise broke_session(f"the peer sent a {what} of over {LONGEST_HELLO} bytes")
        frame = parse(message)
        if not isinstance(frame, Greeting) or frame.kind != kind:
            raise broke_session(f"the peer did not begin with its {what}, but with another frame")
        self._what = what
        try:
            self.content = _mapping(json.loads(frame.text, parse_constant=_refuse))
        except (ValueError, RecursionError) as error:
            raise broke_session(f"the peer sent a {what} that is not JSON") from error
        except TypeError as error:
            raise broke_session(f"the peer sent a {what} that is no JSON object") from error
        version = self.content.get("v")
        if version != VERSION or type(version) is not int:  # True == 1.0 == 1
            raise broke_session(
                f"the peer sent a {what} of version {version!r:.20}, not {VERSION}"
            )

    def read(self, name: str, check: Callable[[object], Value], *default: Value) -> Value:
        """One field. One that may be absent may be null as well."""
        value = self.content.get(name)
        if value is None and default:
            return default[0]
        try:
            return check(value)
        except (TypeError, ValueError) as error:
            text = f"the peer sent a {self._what} whose {name!r} is {value!r:.100}"
            raise broke_session(text) from error

    def position(self) -> Position:
        """The fields that say where the peer is."""
        first, last = self.read("tx", _pair, (1, 0))
        if first < 1 or first > last + 1:
            raise broke_session(f"the peer sent a {self._what} with messages {first} to {last}")
        rx, chain = self.read("rx", _natural, 0), self.read("rc", _chain, 0)
        return Position(rx=rx, chain=chain, first=first, last=last)


def _refuse(_: str) -> object:
    """Python reads NaN and Infinity; JSON has none of them (RFC 8259 section 6)."""
    raise ValueError


def _natural(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise ValueError
    return value


def _chain(value: object) -> int:
    chain = _natural(value)
    if chain > MOST_CHAIN:
        raise ValueError
    return chain


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _name(value: object) -> str:
    text = _text(value)
    if not (text.isascii() and text.isprintable() and 0 < len(text) <= LONGEST_NAME):
        raise ValueError
    return text


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError
    return cast("list[object]", value)


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError
    return cast("Mapping[str, object]", value)


def _pair(value: object) -> tuple[int, int]:
    low, high = _list(value)
    return _natural(low), _natural(high)


def _window(value: object) -> Window:
    messages, size_bytes = _pair(value)
    return Window(messages, size_bytes)


def _ranges(value: object) -> tuple[tuple[int, int], ...]:
    ranges = tuple(map(_pair, _list(value)))
    if len(ranges) > MOST_RANGES or not all(1 <= low <= high for low, high in ranges):
        raise ValueError
    return ranges


def _handled(value: object) -> int:
    return _natural(_mapping(value).get("rx"))
