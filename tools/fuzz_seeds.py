"""Where `fuzz.py` begins: the library's own words, some nearly right, and pieces of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from statews.protocol.envelope import (
    MOST_CHAIN,
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
from statews.protocol.session import (
    Hello,
    Position,
    Result,
    Welcome,
    Window,
    write_hello,
    write_welcome,
)

__all__ = ["SEEDS", "WORDS"]

NAME: Final = "name"  # of a session, and its token


def _frames() -> Iterator[Message]:
    payloads: tuple[Message, Message] = ("text", b"\x00;\xff")
    for payload in payloads:
        for ack in (None, 0, 98):
            yield write_reliable(120, ack, payload)
            yield write_slot("price/EUR", ack, payload)
            yield write_volatile(ack, payload)
    yield from (write_question(None), write_question(7), write_answer(None), write_answer(7))
    yield from (write_acknowledgement(2**53 - 1), write_skip(5, MOST_CHAIN), "x later versions")
    yield from (write_go_away(250, 20000), write_go_away(0, 1, "why; not"))


def _hellos() -> Iterator[str]:
    position = Position(rx=3, chain=MOST_CHAIN, first=4, last=9)
    yield write_hello(Hello())
    yield write_hello(
        Hello(sid=NAME, token=NAME, attempt=7, position=position, auth={"key": ["é", 1.5, None]})
    )


def _welcomes() -> Iterator[str]:
    position = Position(rx=3, chain=MOST_CHAIN, first=4, last=9)
    for result in Result:
        yield write_welcome(Welcome(result=result, sid=NAME, token=NAME))
    yield write_welcome(
        Welcome(
            result=Result.GAP,
            sid=NAME,
            token=NAME,
            position=position,
            lost=((1, 2),),
            was=5,
            why="x",
        )
    )


def _talks() -> Iterator[str]:
    largest = 2**53
    yield "\n".join(["c", "mx", f">S9,{MOST_CHAIN}", "a", "r", "h", f">S{largest - 1},1", ">P,9"])
    yield "\n".join(
        ["vx", f">S9,{MOST_CHAIN + 1}", ">M1", ">M1;", ">M2,00;", f">M{largest};", ">A"]
    )
    hello = write_hello(Hello(position=Position(first=1, last=2), window=Window(2, 100)))
    yield "\n".join(["c", *(f">{text}" for text in _frames() if isinstance(text, str))])
    yield "ms\nmt\nh\nsone\nw\n>M3,1;x\na\nw\nk\nr\nm\nw"
    yield "\n".join(["c", *(f"s{number}" for number in range(25)), "w", "k", "w", "r", "w"])
    yield f"mx\nmy\nsz\nw\n{hello}\n>M1;x\n>M2,1;y\nh\nw\n>S9,7\n>M10;z\na\n>P,1\nw"
    yield "\n".join([*[">P"] * 20, "w"])
    yield "vx\nlone\nltwo\nq\nw\n>Q\nr\nw\nd\nw\nsx\nd\nr\nw\nsy\nw\nk"


SEEDS: Final[dict[str, Callable[[], Iterator[Message]]]] = {
    "parse": _frames,
    "hello": _hellos,
    "welcome": _welcomes,
    "peer": _talks,
}
WORDS: Final = (  # of which messages are made, beside single bytes
    *("M", "L", "V", "A", "S", "P", "Q", "G", "H{", "W{", ",", ";", "-", "\n"),
    *("\nm\n", "\nw\n", "\nh\n", "\na\n", "\nr\n", "\nk\n", "\nd\n", "\ns\n", "\nv\n", "\nl\n"),
    *("\n>M1;\n", "\n>S9,9\n", "\n>A1\n", "\n>P\n", "\n>Q\n", '\nH{"v":1}\n'),
    *('"v":1', '"sid":"', '"tok":"', '"n":', '"rx":', '"rc":', '"tx":[1,0]', '"win":[', '"auth":'),
    *('"r":"', "new", "resumed", "gap", "reset", '"lost":[[1,2]]', '"ttl":', '"max":', '"was":{'),
    *('"why":', "null", "true", "1e5", "NaN", "\\ud800", "[[[[", "0", "01", "-1"),
    *("4294967295", "4294967296", "9007199254740991", "9007199254740992"),
)
