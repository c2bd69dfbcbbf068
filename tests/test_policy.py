"""Settings: what is right is taken, what is wrong is refused with what would be right."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any, TypeVar

import pytest

from statews.errors import UsageError
from statews.policy import (
    Acknowledged,
    AtLimit,
    Backoff,
    Deflate,
    Delivery,
    Heartbeat,
    Jitter,
    Limits,
    OnStoreError,
    Outbox,
    Policy,
    Timeouts,
)

T = TypeVar("T")
SETTINGS = (Backoff, Heartbeat, Timeouts, Limits, Deflate, Acknowledged, Outbox, Policy)
NAMED = Acknowledged(id=hash, acked=len)
REQUIRED: dict[Callable[..., Any], dict[str, Any]] = {Acknowledged: {"id": hash, "acked": len}}
TOGETHER: dict[tuple[type, str], dict[str, Any]] = {  # what a value is right with
    (Backoff, "first"): {"maximum": 1e9},
    (Heartbeat, "is_answer"): {"message": "ping"},
    (Outbox, "acknowledged"): {"delivery": Delivery.AT_LEAST_ONCE},
}
NAN, INF = math.nan, math.inf

FINITE = "finite and above 0 seconds"
DURATION = "above 0 seconds"
SIZE = "a whole number above 0"
COUNT = "a whole number of 0 or more"

RIGHT: dict[tuple[type, str], tuple[Any, ...]] = {
    (Backoff, "first"): (1e-9, 1, 30.0),
    (Backoff, "factor"): (1, 1.5, 1e308),
    (Backoff, "maximum"): (1, 1e9),
    (Backoff, "jitter"): tuple(Jitter),
    (Backoff, "max_attempts"): (None, 0, 10**9),
    (Backoff, "stable_after"): (0.001, INF),
    (Backoff, "longest_hint"): (0, 1e9),
    (Heartbeat, "interval"): (0.01, 60, INF),
    (Heartbeat, "timeout"): (0.01, 60, INF),
    (Heartbeat, "clock_check"): (0.01, 60, INF),
    (Heartbeat, "message"): (None, "", "ping", b"ping", lambda: "ping"),
    (Heartbeat, "is_answer"): (None, lambda _: True),
    (Timeouts, "opening"): (0.01, 60),
    (Timeouts, "closing"): (0.01, 60),
    (Timeouts, "happy_eyeballs"): (0.01, 60, INF),
    (Limits, "message_bytes"): (1, 2**40),
    (Limits, "header_bytes"): (1, 2**40),
    (Limits, "inbox_bytes"): (1, 2**40),
    (Limits, "outgoing_bytes"): (1, 2**40),
    (Limits, "redirects"): (0, 20),
    (Deflate, "level"): (1, 9),
    (Deflate, "window_bits"): (9, 15),
    (Deflate, "context_takeover"): (True, False),
    (Deflate, "threshold_bytes"): (0, 10**6),
    (Acknowledged, "id"): (str, lambda _: None),
    (Acknowledged, "acked"): (str, lambda _: None),
    (Acknowledged, "is_cumulative"): (True, False),
    (Outbox, "messages"): (1, 10**9),
    (Outbox, "size_bytes"): (1, 2**40),
    (Outbox, "at_limit"): tuple(AtLimit),
    (Outbox, "time_to_live"): (None, 1e-9, 1, INF),
    (Outbox, "delivery"): tuple(Delivery),
    (Outbox, "fence_after"): (0.001, 1, INF),
    (Outbox, "acknowledged"): (None, NAMED),
    (Outbox, "on_store_error"): tuple(OnStoreError),
    (Policy, "backoff"): (Backoff(first=2),),
    (Policy, "heartbeat"): (None, Heartbeat(interval=2)),
    (Policy, "timeouts"): (Timeouts(opening=2),),
    (Policy, "limits"): (Limits(redirects=2),),
    (Policy, "outbox"): (Outbox(messages=2),),
    (Policy, "deflate"): (None, Deflate(level=2)),
}

NO_NUMBER = ("5", None, b"5", [5], True, 5j, object())
NOT_WHOLE = (*NO_NUMBER, 5.0, 1.5, NAN, INF)
WRONG: dict[tuple[type, str], tuple[str, tuple[Any, ...]]] = {
    (Backoff, "first"): (FINITE, (*NO_NUMBER, 0, -1, NAN, INF)),
    (Backoff, "factor"): ("finite and at least 1", (*NO_NUMBER, 0.99, -1, NAN, INF)),
    (Backoff, "maximum"): (
        r"finite and at least Backoff.first \(1 seconds\)",
        (*NO_NUMBER, 0.99, NAN, INF),
    ),
    (Backoff, "jitter"): ("one of Jitter.FULL, Jitter.EQUAL and Jitter.NONE", ("full", 1, None)),
    (Backoff, "max_attempts"): (
        "a whole number of 0 or more, or None for no limit",
        (*[wrong for wrong in NOT_WHOLE if wrong is not None], -1),
    ),
    (Backoff, "stable_after"): (DURATION, (*NO_NUMBER, 0, -1, NAN)),
    (Backoff, "longest_hint"): ("finite and 0 seconds or more", (*NO_NUMBER, -1, NAN, INF)),
    (Heartbeat, "interval"): (DURATION, (*NO_NUMBER, 0, -1, NAN)),
    (Heartbeat, "timeout"): (DURATION, (*NO_NUMBER, 0, -1, NAN)),
    (Heartbeat, "clock_check"): (DURATION, (*NO_NUMBER, 0, -1, NAN)),
    (Heartbeat, "message"): ("str, bytes, a function or None", (5, True, ["ping"])),
    (Heartbeat, "is_answer"): ("a function of a message, or None", ("pong", 5, True)),
    (Timeouts, "opening"): (FINITE, (*NO_NUMBER, 0, -1, NAN, INF)),
    (Timeouts, "closing"): (FINITE, (*NO_NUMBER, 0, -1, NAN, INF)),
    (Timeouts, "happy_eyeballs"): (DURATION, (*NO_NUMBER, 0, -1, NAN)),
    (Limits, "message_bytes"): (SIZE, (*NOT_WHOLE, 0, -1)),
    (Limits, "header_bytes"): (SIZE, (*NOT_WHOLE, 0, -1)),
    (Limits, "inbox_bytes"): (SIZE, (*NOT_WHOLE, 0, -1)),
    (Limits, "outgoing_bytes"): (SIZE, (*NOT_WHOLE, 0, -1)),
    (Limits, "redirects"): (COUNT, (*NOT_WHOLE, -1)),
    (Deflate, "level"): ("a whole number from 1 to 9", (*NOT_WHOLE, 0, 10)),
    (Deflate, "window_bits"): (r"a whole number from 9 to 15 \(zlib", (*NOT_WHOLE, 8, 16)),
    (Deflate, "context_takeover"): ("True or False", (1, 0, None, "yes")),
    (Deflate, "threshold_bytes"): (COUNT, (*NOT_WHOLE, -1)),
    (Acknowledged, "id"): ("a function of a message", (None, "id", 5)),
    (Acknowledged, "acked"): ("a function of a message", (None, "id", 5)),
    (Acknowledged, "is_cumulative"): ("True or False", (1, 0, None, "yes")),
    (Outbox, "messages"): (SIZE, (*NOT_WHOLE, 0, -1)),
    (Outbox, "size_bytes"): (SIZE, (*NOT_WHOLE, 0, -1)),
    (Outbox, "at_limit"): ("one of AtLimit", ("wait", 1, None, AtLimit)),
    (Outbox, "time_to_live"): (
        "above 0 seconds, or None",
        (*[wrong for wrong in NO_NUMBER if wrong is not None], 0, -1, NAN),
    ),
    (Outbox, "delivery"): ("one of Delivery", ("at-most-once", 1, None, Delivery)),
    (Outbox, "fence_after"): (DURATION, (*NO_NUMBER, 0, -1, NAN)),
    (Outbox, "acknowledged"): ("an Acknowledged, or None", (True, hash, Acknowledged)),
    (Outbox, "on_store_error"): ("one of OnStoreError", ("raise", 1, None, OnStoreError)),
    (Policy, "backoff"): ("a Backoff", (None, 5, Timeouts(), Backoff)),
    (Policy, "heartbeat"): ("a Heartbeat, or None for none", (30, "on", True, Heartbeat)),
    (Policy, "timeouts"): ("a Timeouts", (None, 5, Backoff())),
    (Policy, "limits"): ("a Limits", (None, 5, Backoff())),
    (Policy, "outbox"): ("an Outbox", (None, 5, Backoff(), Outbox)),
    (Policy, "deflate"): ("a Deflate, or None for none", (True, False, 6, Deflate)),
}


def label(key: tuple[type[Any], str]) -> str:
    kind, name = key
    return f"{kind.__name__}.{name}"


def make(kind: Callable[..., T], **changes: object) -> T:
    return kind(**{**REQUIRED.get(kind, {}), **changes})


def test_every_field_is_in_both_tables() -> None:
    every = {(kind, declared.name) for kind in SETTINGS for declared in fields(kind)}
    assert set(RIGHT) == set(WRONG) == every


@pytest.mark.parametrize("key", RIGHT, ids=label)
def test_a_right_value_is_taken_as_it_is(key: tuple[type[Any], str]) -> None:
    kind, name = key
    for value in RIGHT[key]:
        changes = {**TOGETHER.get(key, {}), name: value}
        made = replace(make(kind), **changes)
        assert getattr(made, name) is value
        assert made == make(kind, **changes)


@pytest.mark.parametrize("key", WRONG, ids=label)
def test_a_wrong_value_is_refused_with_what_would_be_right(key: tuple[type[Any], str]) -> None:
    kind, name = key
    right, values = WRONG[key]
    for value in values:
        changes = {**TOGETHER.get(key, {}), name: value}
        with pytest.raises(UsageError, match=f"^{label(key)} must be {right}") as caught:
            make(kind, **changes)
        assert str(caught.value).endswith(f", got {value!r}")
        with pytest.raises(UsageError, match=right):
            replace(make(kind), **changes)


@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_are_frozen(kind: type[Any]) -> None:
    made = make(kind)
    name = fields(kind)[0].name
    with pytest.raises(FrozenInstanceError, match=name):
        setattr(made, name, getattr(made, name))


@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_have_names_only(kind: type[Any]) -> None:
    with pytest.raises(TypeError, match="positional"):
        kind(1)


@pytest.mark.parametrize("kind", SETTINGS)
def test_equal_settings_are_equal_and_may_be_keys(kind: type[Any]) -> None:
    assert {make(kind): "here"}[make(kind)] == "here"


def test_the_first_wait_cannot_be_longer_than_the_longest() -> None:
    with pytest.raises(UsageError, match=r"Backoff.maximum must be .* \(40 seconds\), got 30"):
        Backoff(first=40)


def test_there_is_no_answer_without_a_message() -> None:
    right = "^Heartbeat.message must be given where is_answer is, got None$"
    with pytest.raises(UsageError, match=right):
        Heartbeat(is_answer=bool)


def test_what_the_application_acknowledges_is_sent_at_least_once() -> None:
    right = "Outbox.delivery must be Delivery.AT_LEAST_ONCE where the application acknowledges"
    with pytest.raises(UsageError, match=f"^{right}, got .*AT_MOST_ONCE"):
        Outbox(acknowledged=NAMED)
    with pytest.raises(UsageError, match=right):
        Outbox(acknowledged=NAMED, delivery=Delivery.AT_MOST_ONCE)


def test_a_choice_is_its_own_text_on_every_python() -> None:
    assert [f"{choice}" for choice in Jitter] == ["full", "equal", "none"]
    limits = ["wait", "raise", "drop-oldest", "drop-newest", "conflate"]
    assert [f"{choice}" for choice in AtLimit] == limits
    assert [f"{choice}" for choice in Delivery] == ["at-most-once", "at-least-once"]
    assert [f"{choice}" for choice in OnStoreError] == ["raise", "go-on"]


def test_the_defaults_suit_a_long_lived_client() -> None:
    assert Policy() == Policy(
        backoff=Backoff(
            first=1,
            factor=2,
            maximum=30,
            jitter=Jitter.FULL,
            max_attempts=5,
            stable_after=10,
            longest_hint=3600,
        ),
        heartbeat=Heartbeat(interval=30, timeout=10, clock_check=5, message=None, is_answer=None),
        timeouts=Timeouts(opening=15, closing=5, happy_eyeballs=0.25),
        limits=Limits(
            message_bytes=4_194_304,
            header_bytes=65_536,
            inbox_bytes=1_048_576,
            outgoing_bytes=65_536,
            redirects=5,
        ),
        outbox=Outbox(
            messages=10_000,
            size_bytes=16_777_216,
            at_limit=AtLimit.WAIT,
            time_to_live=None,
            delivery=Delivery.AT_MOST_ONCE,
            fence_after=0.2,
            acknowledged=None,
            on_store_error=OnStoreError.RAISE,
        ),
        deflate=None,
    )
    assert Deflate() == Deflate(level=6, window_bits=15, context_takeover=True, threshold_bytes=64)
    assert Acknowledged(id=hash, acked=len, is_cumulative=False) == NAMED
