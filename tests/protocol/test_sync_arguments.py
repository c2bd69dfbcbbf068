"""What the strategies are made with: the arguments, what is wrong with them, and the defaults."""

from __future__ import annotations

import json
import re
from inspect import signature
from typing import Any, Final

import pytest

from statews import After, Latest, Since, UsageError
from statews.protocol.sync import Reset, Strategy


def number_of(parsed: dict[str, int]) -> int | None:
    return parsed.get("n")


def epoch_of(parsed: dict[str, str]) -> str | None:
    return parsed.get("e")


MAKE: Final[dict[type[Strategy], dict[str, Any]]] = {
    After: {"request": str, "seq": number_of},
    Since: {"request": str, "stamp": number_of},
    Latest: {"request": "all", "version": number_of},
}
NEEDED: Final = [
    *[(After, name) for name in ("request", "seq", "parse")],
    *[(Since, name) for name in ("request", "stamp", "parse")],
    (Latest, "parse"),
]
OPTIONAL: Final = [
    *[(After, name) for name in ("epoch", "key", "page")],
    *[(Since, name) for name in ("id", "page")],
    *[(Latest, name) for name in ("version", "key")],
]
DEFAULTS: Final[dict[type[Strategy], dict[str, object]]] = {
    After: {"start": None, "timeout": 10.0, "retries": 2, "hold": 10_000, "keys": 10_000},
    Since: {"overlap": 2.0, "timeout": 10.0, "retries": 2, "hold": 10_000},
    Latest: {"keys": 100_000},
}
POSITIONS: Final[dict[type[Strategy], str]] = {
    After: '{"cursors": a list of [key, [epoch, number]]}',
    Since: '{"stamp": a number or null, "ids": a list of strings}',
    Latest: "a list of pairs of key and version",
}


def make(kind: type[Strategy], **changes: object) -> Strategy:
    arguments: dict[str, Any] = MAKE[kind] | changes
    construct: Any = kind
    made: Strategy = construct(arguments.pop("request"), **arguments)
    return made


@pytest.mark.parametrize(("kind", "name"), NEEDED)
def test_what_is_needed_is_callable(kind: type[Strategy], name: str) -> None:
    for wrong in (None, 5):
        wanted = re.escape(f"{kind.__name__}.{name} must be callable, got {wrong!r}")
        with pytest.raises(UsageError, match=f"^{wanted}$"):
            make(kind, **{name: wrong})


@pytest.mark.parametrize(("kind", "name"), OPTIONAL)
def test_what_may_be_left_out_is_callable_otherwise(kind: type[Strategy], name: str) -> None:
    make(kind, **{name: None})
    wanted = re.escape(f"{kind.__name__}.{name} must be callable, or None for none, got 5")
    with pytest.raises(UsageError, match=f"^{wanted}$"):
        make(kind, **{name: 5})


@pytest.mark.parametrize("kind", MAKE)
def test_a_stream_is_named_by_its_kind_unless_it_is_given_a_name(kind: type[Strategy]) -> None:
    assert make(kind).name == kind.__name__.lower()
    assert make(kind, name="mine").name == "mine"


@pytest.mark.parametrize("kind", MAKE)
def test_the_defaults_are_those_that_are_told(kind: type[Strategy]) -> None:
    parameters = signature(kind.__init__).parameters
    told = DEFAULTS[kind]
    assert {name: parameters[name].default for name in told} == told
    assert parameters["parse"].default is json.loads


@pytest.mark.parametrize("kind", MAKE)
def test_a_wrong_position_is_told_with_the_right_one(kind: type[Strategy]) -> None:
    wanted = f"a position of {kind.__name__.lower()!r} must be {POSITIONS[kind]}, got "
    with pytest.raises(UsageError, match=f"^{re.escape(wanted)}"):
        make(kind).restore({} if kind is not Latest else 5)


@pytest.mark.parametrize(("now", "is_reset"), [("one", False), ("two", True)])
def test_the_epoch_of_a_position_is_that_of_the_next_message(now: str, is_reset: bool) -> None:
    stream = make(After, epoch=epoch_of)
    stream.restore({"cursors": [[None, ["one", 5]]]})
    stream.begin(0.0)
    stream.take(json.dumps({"n": 6, "e": now}), 0.0)
    _, outputs = stream.drain()
    assert isinstance(outputs[0], Reset) == is_reset


def test_a_message_without_an_id_is_known_by_128_bits_of_its_content() -> None:
    stream = make(Since)
    stream.begin(0.0)
    stream.take(json.dumps({"n": 1}), 0.0)
    _, (delivery,) = stream.drain()
    assert not isinstance(delivery, Reset)
    stream.handled(getattr(delivery, "mark", None))
    position = stream.position
    assert isinstance(position, dict)
    (name,) = position["ids"]
    assert re.fullmatch("[0-9a-f]{32}", name)


def test_what_the_latest_values_are_asked_for_with_is_a_message() -> None:
    wanted = "Latest.request must be a message, a callable that makes one, or None, got 5"
    with pytest.raises(UsageError, match=f"^{re.escape(wanted)}$"):
        make(Latest, request=5)


@pytest.mark.parametrize("kind", MAKE)
def test_what_is_delivered_is_the_message_that_came(kind: type[Strategy]) -> None:
    stream = make(kind)
    stream.begin(0.0)
    message = json.dumps({"n": 1})
    assert stream.take(message, 0.0)
    _, (delivery,) = stream.drain()
    assert getattr(delivery, "message", None) is message
