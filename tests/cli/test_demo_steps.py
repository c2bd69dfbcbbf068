"""How the demo judges a step."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest

from statews import (
    Change,
    DialError,
    LinkClosed,
    LinkDropped,
    PeerSilent,
    Snapshot,
    State,
)
from statews.cli.demo.names import FIRST, SECOND
from statews.cli.demo.observed import Observed, shorten
from statews.cli.demo.pace import USUAL
from statews.cli.demo.steps import STEPS
from statews.lifecycle import Event

IDLE, CONNECTING, OPEN = State.IDLE, State.CONNECTING, State.OPEN
BACKING_OFF, CLOSED = State.BACKING_OFF, State.CLOSED
BY_NAME = {step.name: step for step in STEPS}


def change(
    left: State,
    event: Event,
    entered: State,
    at: float,
    error: Exception | None = None,
    *,
    retry_at: float | None = None,
) -> Change:
    now = Snapshot(
        state=entered,
        phase=None,
        attempt=0,
        since=at,
        retry_at=retry_at,
        last_error=error,
        round_trip=None,
        endpoint=None,
    )
    return Change(left=left, event=event, now=now)


def lost(error: Exception, *, at: float = 0.1, wait: float = 0.25) -> list[Change]:
    """A link that was lost, and replaced at the first attempt."""
    back = at + wait
    return [
        change(OPEN, "lost", BACKING_OFF, at, error, retry_at=back),
        change(BACKING_OFF, "elapsed", CONNECTING, back, error),
        change(CONNECTING, "opened", OPEN, back, error),
    ]


def observe(
    changes: Sequence[Change],
    *,
    began: float = 0.0,
    accepted: int = 2,
    arrived: int = 10,
    slowest: float = 1.0,
    ended: Collection[str] = (FIRST, SECOND),
) -> Observed:
    return Observed(
        pace=USUAL,
        began=began,
        ended=6.0,
        changes=changes,
        accepted=accepted,
        arrived=arrived,
        slowest=slowest,
        facts=(),
        ended_sessions=frozenset(ended),
    )


CUT = LinkDropped("cut")
REFUSED = DialError("refused")
OPENED = [
    change(IDLE, "connect", CONNECTING, 0.0),
    change(CONNECTING, "opened", OPEN, 0.0),
]
RETRIED = [
    *lost(CUT)[:2],
    change(CONNECTING, "lost", BACKING_OFF, 0.4, REFUSED, retry_at=0.8),
    change(BACKING_OFF, "elapsed", CONNECTING, 0.8, REFUSED),
    change(CONNECTING, "opened", OPEN, 0.8, REFUSED),
]
FLAPPED = [*lost(CUT), *lost(CUT, at=1.0, wait=0.5), *lost(CUT, at=2.0, wait=1.0)]
HOT = [*lost(CUT), *lost(CUT, at=1.0, wait=0.01)]


@pytest.mark.parametrize(
    ("name", "observed", "complaint"),
    [
        ("connect", observe(OPENED), ""),
        ("connect", observe([]), "expected connecting → open, got "),
        ("cut", observe(lost(CUT)), ""),
        ("cut", observe([]), "the loss was not noticed"),
        ("cut", observe(lost(CUT)[:1]), "not open again, but backing-off"),
        ("cut", observe(lost(PeerSilent("?"))), "expected LinkDropped, got PeerSilent"),
        ("reset", observe(lost(CUT)), ""),
        ("refuse", observe(RETRIED), ""),
        ("refuse", observe(lost(CUT)), "no attempt was made while connections were refused"),
        ("refuse", observe(FLAPPED), "an attempt failed in another way than with DialError"),
        ("freeze", observe(lost(PeerSilent("?"), at=1.9)), ""),
        ("freeze", observe(lost(PeerSilent("?"), at=9.0)), "found after 9.0 s instead of 2 s"),
        ("freeze", observe(lost(CUT)), "expected PeerSilent, got LinkDropped"),
        ("slow", observe([]), ""),
        ("slow", observe([], slowest=0.19), "the network was not slow"),
        ("slow", observe([], arrived=0), "nothing arrived"),
        (
            "slow",
            observe(lost(PeerSilent("?"))),
            "nothing was lost, but it went through backing-off → connecting → open",
        ),
        ("restart", observe(lost(LinkClosed(1001))), ""),
        ("restart", observe(lost(LinkClosed(1012))), ""),
        (
            "restart",
            observe(lost(LinkClosed(1006))),
            "expected the close code 1001 or 1012, got 1006",
        ),
        ("restart", observe(lost(CUT)), "expected LinkClosed, got LinkDropped"),
        ("drop", observe(FLAPPED), ""),
        ("drop", observe(HOT), "the backoff does not grow: only 0.01 s before attempt 2"),
        ("drop", observe(FLAPPED, accepted=1), "expected 2 to 8 connections, got 1"),
        ("drop", observe(FLAPPED, accepted=9), "expected 2 to 8 connections, got 9"),
        ("kill-server", observe(lost(CUT)), ""),
        ("kill-server", observe([]), "the loss was not noticed"),
        ("kill-client", observe([]), ""),
        ("kill-client", observe([], arrived=0), "nothing arrived"),
        (
            "kill-client",
            observe(lost(CUT)),
            "nothing was lost, but it went through backing-off → connecting → open",
        ),
        ("close", observe([change(OPEN, "close", CLOSED, 0.0)]), ""),
        ("close", observe([]), "expected closed, got nothing"),
        (
            "close",
            observe([change(OPEN, "close", CLOSED, 0.0)], ended=[FIRST]),
            "the server still has the session of client 2",
        ),
    ],
)
def test_a_step_is_judged_by_what_was_seen(name: str, observed: Observed, complaint: str) -> None:
    assert BY_NAME[name].complain(observed) == complaint


def test_the_numbers_of_a_step_come_from_its_changes() -> None:
    observed = observe(RETRIED, began=0.05)
    assert observed.noticed_after == pytest.approx(0.05)
    assert observed.away == pytest.approx(0.7)
    assert observed.waits == pytest.approx([0.25, 0.4])
    assert observed.errors == [CUT, REFUSED]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ([], ""),
        ([CLOSED], "closed"),
        ([BACKING_OFF, CONNECTING, OPEN], "backing-off → connecting → open"),
        ([BACKING_OFF, CONNECTING] * 3 + [OPEN], "(backing-off → connecting) x 3 → open"),
        ([BACKING_OFF, CONNECTING, OPEN] * 2, "(backing-off → connecting → open) x 2"),
    ],
)
def test_what_repeats_itself_is_said_once(path: list[State], text: str) -> None:
    assert shorten(path) == text
