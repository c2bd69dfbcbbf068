"""The page on the protocol, for those who implement it elsewhere: its examples are true."""

from __future__ import annotations

import ast
import re
from itertools import groupby
from pathlib import Path

from statews.protocol.envelope import Reliable, Skip, parse
from statews.protocol.plain import Message
from statews.protocol.session import Hello, Result, Welcome, read_hello, read_welcome
from statews.protocol.session.chain import advance, start

PAGE = (Path(__file__).parent.parent / "docs" / "protocol.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
LOST = ["missed 0", "missed 1"]  # what the server of the exchange has dropped


def exchange() -> list[tuple[str, Message]]:
    """Who sends, and what."""
    text = re.sub(r"\n +", "", BLOCKS[-1][1])
    lines = [line.split(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return [(who, ast.literal_eval(what) if what[:2] == "b'" else what) for who, what in lines]


def links() -> list[tuple[Hello, Welcome, list[tuple[str, Message]]]]:
    """The greetings of each link, and what follows them."""
    said = iter(exchange())
    result = []
    for is_greeting, group in groupby(said, lambda each: each[1][:1] in {"H", "W"}):
        if is_greeting:
            (asks, hello), (answers, welcome) = group
            assert (asks, answers) == ("C", "S")
            result.append((read_hello(hello), read_welcome(welcome), list[tuple[str, Message]]()))
        else:
            result[-1][2].extend(group)
    return result


def test_the_example_in_python_runs() -> None:
    (source,) = [text for language, text in BLOCKS if language == "python"]
    exec(source, {})  # noqa: S102


def test_the_exchange_goes_through_three_links() -> None:
    results = [welcome.result for _, welcome, _ in links()]
    assert results == [Result.NEW, Result.RESUMED, Result.GAP]
    (first, *_, last) = links()
    assert (first[0].sid, last[0].sid, last[0].attempt) == (None, last[1].sid, 3)
    assert last[1].lost == ((7, 8),)


def test_the_numbers_and_the_check_values_of_the_exchange_are_right() -> None:
    sent: dict[str, list[Message]] = {"C": [], "S": []}
    for number, (hello, welcome, frames) in enumerate(links()):
        sid = welcome.sid
        expected = {"C": welcome.position.rx + 1, "S": hello.position.rx + 1}
        for who, position in (("S", hello.position), ("C", welcome.position)):
            if number or who == "C":
                handled = sent[who][: position.rx]
                assert position.chain == advance(start(sid), handled)
        for who, text in frames:
            frame = parse(text)
            assert frame is not None
            if isinstance(frame, Skip):
                sent[who] += LOST
                assert frame == Skip(len(sent[who]), advance(start(sid), sent[who]))
                expected[who] = frame.upto + 1
            if isinstance(frame, Reliable):
                assert frame.seq == expected[who]
                expected[who] += 1
                sent[who][frame.seq - 1 :] = [frame.payload]
    assert [len(sent[who]) for who in "CS"] == [5, 10]
