"""The frames of `statews.v1`: what stands before the payload of a message, and messages alone.

A frame is one WebSocket message. Its header is ASCII, in text and binary messages alike, and
ends with a semicolon where a payload follows: `M120,98;text`. Numbers are decimal, without
signs or leading zeros, so that each header has one form only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ..errors import SessionError
from .codes import CloseCode
from .plain import Message

__all__ = [
    "LARGEST",
    "LONGEST_HEADER",
    "LONGEST_SLOT",
    "MOST_CHAIN",
    "SUBPROTOCOL",
    "Acknowledgement",
    "Answer",
    "Frame",
    "GoAway",
    "Greeting",
    "Question",
    "Reliable",
    "Skip",
    "Slot",
    "Volatile",
    "broke_session",
    "is_slot",
    "parse",
    "parse_run",
    "write_acknowledgement",
    "write_answer",
    "write_go_away",
    "write_question",
    "write_reliable",
    "write_skip",
    "write_slot",
    "write_volatile",
]

SUBPROTOCOL: Final = "statews.v1"
LARGEST: Final = 2**53 - 1  # what every JSON parser can read
MOST_CHAIN: Final = 2**32 - 1  # of a check value
LONGEST_SLOT: Final = 64  # characters of a slot's name
LONGEST_HEADER: Final = LONGEST_SLOT + 24  # a kind, a slot or a number, an acknowledgement, ;
LONGEST_DELAY: Final = 24 * 3600 * 1000  # milliseconds that a peer is sent away for


@dataclass(frozen=True, slots=True)
class Reliable:
    """`M seq[,ack];payload`: a message that arrives, in order."""

    seq: int
    ack: int | None
    payload: Message


@dataclass(frozen=True, slots=True)
class Slot:
    """`L slot[,ack];payload`: the latest value of a slot; older ones are worth nothing."""

    name: str
    ack: int | None
    payload: Message


@dataclass(frozen=True, slots=True)
class Volatile:
    """`V[,ack];payload`: a message that arrives at most once, and is never sent again."""

    ack: int | None
    payload: Message


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """`A ack`: everything up to there was handled."""

    ack: int


@dataclass(frozen=True, slots=True)
class Skip:
    """`S upto,chain`: the sender has nothing before there any more."""

    upto: int
    chain: int


@dataclass(frozen=True, slots=True)
class Question:
    """`P[,ack]`: is anybody there."""

    ack: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    """`Q[,ack]`: yes."""

    ack: int | None


@dataclass(frozen=True, slots=True)
class GoAway:
    """`G min-max[;why]`: leave, and come back at a random moment between, in milliseconds."""

    least_ms: int
    most_ms: int
    why: str


@dataclass(frozen=True, slots=True)
class Greeting:
    """`H json` or `W json`: the first frame of each side, and never a later one."""

    kind: str
    text: str


Frame = Reliable | Slot | Volatile | Acknowledgement | Skip | Question | Answer | GoAway | Greeting

_NUMBER: Final = "(0|[1-9][0-9]{0,15})"
_ACK: Final = f"(?:,{_NUMBER})?"
_RELIABLE: Final = re.compile(f"M{_NUMBER}{_ACK}")
_SLOT: Final = re.compile(f"L([!-+\\--:<-~]{{1,{LONGEST_SLOT}}}){_ACK}")  # no , ; or blank
_VOLATILE: Final = re.compile(f"V{_ACK}")
_ACKNOWLEDGEMENT: Final = re.compile(f"A{_NUMBER}")
_SKIP: Final = re.compile(f"S{_NUMBER},{_NUMBER}")
_QUESTION: Final = re.compile(f"P{_ACK}")
_ANSWER: Final = re.compile(f"Q{_ACK}")
_GO_AWAY: Final = re.compile(f"G{_NUMBER}-{_NUMBER}")


def broke_session(message: str) -> SessionError:
    """The error for a peer that broke `statews.v1`."""
    return SessionError(CloseCode.SESSION_PROTOCOL_ERROR, message)


def parse(message: Message) -> Frame | None:
    """The frame that a message is; None for a kind that later versions may have.

    Raises:
        SessionError: it is none.
    """
    kind = message[:1] if isinstance(message, str) else message[:1].decode("latin-1")
    if kind in ("H", "W") and isinstance(message, str):
        return Greeting(kind, message[1:])
    head, payload = _split(message)
    if "a" <= kind <= "z":
        return None
    if payload is None:
        frame = _parse_bare(kind, head) if isinstance(message, str) else None
    else:
        frame = _parse_loaded(kind, head, payload)
    if frame is None:
        raise broke_session(f"the peer sent {head!r}, which is no frame")
    return frame


def parse_run(messages: Iterable[Message], seq: int) -> tuple[list[str], int]:
    """The payloads of the texts that come first and have the numbers from `seq` on.

    And the highest acknowledgement that they carry; 0 if there is none.
    """
    texts: list[str] = []
    highest = 0
    for message in messages:
        if type(message) is not str:
            break
        head, end, text = message.partition(";")
        if not end:
            break
        if head != f"M{seq}":
            kind, _, ack = head.partition(",")
            if kind != f"M{seq}" or not _is_number(ack):
                break
            highest = max(highest, int(ack))
        texts.append(text)
        seq += 1
    return texts, highest


def _split(message: Message) -> tuple[str, Message | None]:
    """The header, and the payload if there is one."""
    if isinstance(message, str):
        end = message.find(";", 0, LONGEST_HEADER)
        return (message[:LONGEST_HEADER], None) if end < 0 else (message[:end], message[end + 1 :])
    end = message.find(b";", 0, LONGEST_HEADER)
    head = message[: LONGEST_HEADER if end < 0 else end].decode("latin-1")
    return head, None if end < 0 else message[end + 1 :]


def _parse_loaded(kind: str, head: str, payload: Message) -> Frame | None:
    match kind:
        case "M" if found := _RELIABLE.fullmatch(head):
            return Reliable(_number(found[1]), _maybe_number(found[2]), payload)
        case "L" if found := _SLOT.fullmatch(head):
            return Slot(found[1], _maybe_number(found[2]), payload)
        case "V" if found := _VOLATILE.fullmatch(head):
            return Volatile(_maybe_number(found[1]), payload)
        case "G" if isinstance(payload, str) and (found := _GO_AWAY.fullmatch(head)):
            return _go_away(found[1], found[2], payload)
        case _:
            return None


def _parse_bare(kind: str, head: str) -> Frame | None:
    match kind:
        case "A" if found := _ACKNOWLEDGEMENT.fullmatch(head):
            return Acknowledgement(_number(found[1]))
        case "S" if found := _SKIP.fullmatch(head):
            return Skip(_number(found[1]), _chain(found[2]))
        case "P" if found := _QUESTION.fullmatch(head):
            return Question(_maybe_number(found[1]))
        case "Q" if found := _ANSWER.fullmatch(head):
            return Answer(_maybe_number(found[1]))
        case "G" if found := _GO_AWAY.fullmatch(head):
            return _go_away(found[1], found[2], "")
        case _:
            return None


def _number(digits: str) -> int:
    number = int(digits)
    if number > LARGEST:
        raise broke_session(f"the peer sent the number {number}, above 2^53 - 1")
    return number


def _chain(digits: str) -> int:
    chain = _number(digits)
    if chain > MOST_CHAIN:
        raise broke_session(f"the peer sent the check value {chain}, above 2^32 - 1")
    return chain


def _is_number(digits: str) -> bool:
    """Whether that is a number as `parse` takes one, with 15 digits at most."""
    return (
        digits.isdecimal()
        and digits.isascii()
        and len(digits) < 16
        and (digits[0] != "0" or digits == "0")
    )


def _maybe_number(digits: str | None) -> int | None:
    return None if digits is None else _number(digits)


def _go_away(least: str, most: str, why: str) -> GoAway:
    """The delay, sorted, and no longer than anybody can mean."""
    low, high = sorted(min(_number(digits), LONGEST_DELAY) for digits in (least, most))
    return GoAway(low, high, why)


def is_slot(name: object) -> bool:
    """Whether a slot may have that name: 1 to 64 characters of ASCII, no blank, `,` or `;`."""
    return isinstance(name, str) and _SLOT.fullmatch(f"L{name}") is not None


# One function a kind, and strings only: each stands on the way of every message.


def write_reliable(seq: int, ack: int | None, payload: Message) -> Message:
    """See `Reliable`."""
    if isinstance(payload, str):
        return f"M{seq};{payload}" if ack is None else f"M{seq},{ack};{payload}"
    return (b"M%d;" % seq if ack is None else b"M%d,%d;" % (seq, ack)) + payload


def write_slot(name: str, ack: int | None, payload: Message) -> Message:
    """See `Slot`."""
    return _load(f"L{name}" if ack is None else f"L{name},{ack}", payload)


def write_volatile(ack: int | None, payload: Message) -> Message:
    """See `Volatile`."""
    return _load("V" if ack is None else f"V,{ack}", payload)


def _load(head: str, payload: Message) -> Message:
    if isinstance(payload, str):
        return f"{head};{payload}"
    return f"{head};".encode() + payload


def write_acknowledgement(ack: int) -> str:
    """See `Acknowledgement`."""
    return f"A{ack}"


def write_skip(upto: int, chain: int) -> str:
    """See `Skip`."""
    return f"S{upto},{chain}"


def write_question(ack: int | None) -> str:
    """See `Question`."""
    return "P" if ack is None else f"P,{ack}"


def write_answer(ack: int | None) -> str:
    """See `Answer`."""
    return "Q" if ack is None else f"Q,{ack}"


def write_go_away(least_ms: int, most_ms: int, why: str = "") -> str:
    """See `GoAway`."""
    return f"G{least_ms}-{most_ms};{why}" if why else f"G{least_ms}-{most_ms}"
