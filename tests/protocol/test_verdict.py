"""Every cell of the default decision, and what a server's hints ask for."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from statews.errors import (
    CertificateError,
    DialError,
    FrameError,
    HandshakeError,
    HookError,
    LinkClosed,
    LinkDropped,
    OpeningTimeout,
    PeerSilent,
    StatewsError,
    UpgradeRefused,
    UsageError,
)
from statews.lifecycle import Phase
from statews.policy import Backoff
from statews.protocol.backoff import delay
from statews.protocol.verdict import (
    End,
    Fail,
    Failure,
    NextEndpoint,
    Refresh,
    Retry,
    Verdict,
    decide,
)

NOON = datetime(2025, 6, 1, 12, tzinfo=timezone.utc)
NOT_LIVE = [phase for phase in Phase if phase is not Phase.LIVE]
every_phase = pytest.mark.parametrize("phase", Phase)


def refused(status: int, headers: dict[str, str] | None = None) -> UpgradeRefused:
    return UpgradeRefused(status, headers or {}, b"", f"the server answered {status}")


def judge(
    error: Exception,
    phase: Phase = Phase.LIVE,
    *,
    attempt: int = 0,
    has_refreshed: bool = False,
    unix_time: float = 0.0,
) -> Verdict:
    return decide(
        Failure(
            error=error,
            phase=phase,
            attempt=attempt,
            has_refreshed=has_refreshed,
            unix_time=unix_time,
        )
    )


# The table: statuses.

PASSING = {408, 425, 429, *range(500, 600)}


@pytest.mark.parametrize("status", range(200, 600))
def test_a_status_that_time_may_change_is_retried_and_any_other_is_final(status: int) -> None:
    for phase, has_refreshed in product(Phase, (False, True)):
        verdict = judge(refused(status), phase, has_refreshed=has_refreshed)
        if status in PASSING:
            assert verdict == NextEndpoint()
        elif status == 401 and not has_refreshed:
            assert verdict == Refresh()
        else:
            assert verdict == Fail()


# The table: close codes.


@pytest.mark.parametrize(
    "code", [1001, 1002, 1003, 1005, 1007, 1009, 1011, 1012, 1013, 1014, 3000, 4000, 4999]
)
@every_phase
def test_most_close_codes_are_retried_in_every_phase(code: int, phase: Phase) -> None:
    for has_refreshed in (False, True):
        assert judge(LinkClosed(code), phase, has_refreshed=has_refreshed) == Retry()


@pytest.mark.parametrize("code", [1008, 1010, 4403, 4409])
@every_phase
def test_close_codes_that_will_not_change_are_final(code: int, phase: Phase) -> None:
    for has_refreshed in (False, True):
        assert judge(LinkClosed(code, "retry=1-2"), phase, has_refreshed=has_refreshed) == Fail()


def test_a_normal_close_of_a_live_link_is_the_end() -> None:
    assert judge(LinkClosed(1000), Phase.LIVE) == End()


@pytest.mark.parametrize("phase", NOT_LIVE)
def test_a_normal_close_before_the_link_is_ready_is_a_failed_attempt(phase: Phase) -> None:
    assert judge(LinkClosed(1000), phase) == Retry()


@every_phase
def test_credentials_are_refreshed_once_and_a_second_no_is_final(phase: Phase) -> None:
    for error in (LinkClosed(4401), refused(401)):
        assert judge(error, phase) == Refresh()
        assert judge(error, phase, has_refreshed=True) == Fail()


# The table: everything else.


@pytest.mark.parametrize(
    "error",
    [
        LinkDropped("the peer closed the TCP connection"),
        PeerSilent("the peer was silent"),
        FrameError(1002, "a reserved bit"),
        DialError("no answer"),
        OpeningTimeout("too long"),
        HandshakeError("no HTTP"),
        HookError("the hook failed"),
        StatewsError("something else"),
        ValueError("not even ours"),
    ],
    ids=lambda error: type(error).__name__,
)
@every_phase
def test_a_lost_live_link_is_dialled_again_and_a_failed_attempt_goes_elsewhere(
    error: Exception, phase: Phase
) -> None:
    for has_refreshed in (False, True):
        wanted = Retry() if phase is Phase.LIVE else NextEndpoint()
        assert judge(error, phase, has_refreshed=has_refreshed) == wanted


@pytest.mark.parametrize("error", [CertificateError("self-signed"), UsageError("no URL")])
@every_phase
def test_what_trying_again_cannot_mend_is_final(error: Exception, phase: Phase) -> None:
    assert judge(error, phase) == Fail()


# `Retry-After`.


def at_least(headers: dict[str, str], *, status: int = 503, unix_time: float = 0.0) -> float:
    verdict = judge(refused(status, headers), Phase.UPGRADING, unix_time=unix_time)
    assert isinstance(verdict, NextEndpoint)
    return verdict.at_least


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_retry_after_in_seconds_is_a_lower_bound(status: int) -> None:
    assert at_least({"retry-after": "120"}, status=status) == 120


def test_retry_after_as_a_date_is_measured_by_the_servers_own_clock() -> None:
    until = NOON + timedelta(seconds=90)
    headers = {
        "retry-after": format_datetime(until, usegmt=True),
        "date": format_datetime(NOON, usegmt=True),
    }
    assert at_least(headers, unix_time=12345.0) == 90


def test_retry_after_as_a_date_is_measured_by_our_clock_if_the_server_shows_none() -> None:
    headers = {"retry-after": format_datetime(NOON, usegmt=True)}
    assert at_least(headers, unix_time=NOON.timestamp() - 30) == 30
    assert at_least({**headers, "date": "soon"}, unix_time=NOON.timestamp() - 30) == 30


def test_a_date_that_has_passed_asks_for_nothing() -> None:
    headers = {"retry-after": format_datetime(NOON, usegmt=True)}
    assert at_least(headers, unix_time=NOON.timestamp() + 30) == 0


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Here is 9 hours ahead of GMT."""
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone cannot be set here")
@pytest.mark.parametrize("zone", ["GMT", "-0000", "+0000", ""])
@pytest.mark.usefixtures("in_tokyo")
def test_a_date_without_a_time_zone_is_in_gmt(zone: str) -> None:
    headers = {"retry-after": f"Sun, 01 Jun 2025 12:00:00 {zone}".strip()}
    assert at_least(headers, unix_time=NOON.timestamp() - 30) == 30


@pytest.mark.parametrize(
    "value",
    ["", "soon", "-5", "1.5", "0x10", "٣", "Wed, 99 Foo 2025", "Wed, 21 Oct " + "9" * 20 + " 0:0"],
)
def test_what_cannot_be_read_asks_for_nothing(value: str) -> None:
    assert at_least({"retry-after": value}) == 0


@given(value=st.text(max_size=40), date=st.text(max_size=40))
@example(value="Wed, 21 Oct 2015 07:28:00 +99999999999999999999", date="")
@example(value="Wed, 21 Oct 99999999999999999999 07:28:00 GMT", date="")
def test_no_header_is_an_exception_or_a_negative_wait(value: str, date: str) -> None:
    assert at_least({"retry-after": value, "date": date}) >= 0


def test_absurd_seconds_stay_a_number() -> None:
    assert 1e8 <= at_least({"retry-after": "9" * 5000}) < 1e9


# `retry=`.


def hint(reason: str, *, code: int = 1012, attempt: int = 0) -> Retry:
    verdict = judge(LinkClosed(code, reason), attempt=attempt)
    assert isinstance(verdict, Retry)
    return verdict


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013, 4000])
@pytest.mark.parametrize("reason", ["retry=500-2000", "restarting; retry=500-2000 (soon)"])
def test_a_close_reason_may_name_a_window_in_milliseconds(code: int, reason: str) -> None:
    assert hint(reason, code=code) == Retry(at_least=0.5, spread=1.5)


def test_a_reversed_window_is_turned_around() -> None:
    assert hint("retry=2000-500") == Retry(at_least=0.5, spread=1.5)


@pytest.mark.parametrize(
    "reason",
    ["", "retry", "retry=5", "retry=-5-9", "retry=a-b", "noretry=1-2", "retry=1-9999999999"],
)
def test_what_is_no_window_asks_for_nothing(reason: str) -> None:
    assert hint(reason) == Retry()


def test_an_absurd_window_is_cut_by_the_policy() -> None:
    verdict = hint("retry=999999999-999999999")
    backoff = Backoff(longest_hint=60)
    wait = delay(backoff, 1, 0.5, at_least=verdict.at_least, spread=verdict.spread)
    assert 60 <= wait <= 120


def test_a_server_that_accepts_and_drops_cannot_set_a_hot_pace() -> None:
    waits = [hint("retry=0-0", attempt=attempt).spread for attempt in range(5)]
    assert waits == [0, 1, 2, 3, 4]
    assert hint("retry=0-60000", attempt=3) == Retry(at_least=0, spread=60)


# What a decision of the user's is told.


def test_a_failure_names_the_facts_of_its_error() -> None:
    answer = Failure(error=refused(503, {"retry-after": "1"}), phase=Phase.UPGRADING)
    assert (answer.attempt, answer.uptime, answer.has_refreshed) == (0, None, False)
    assert (answer.status, answer.headers) == (503, {"retry-after": "1"})
    assert (answer.close_code, answer.close_reason) == (None, "")
    closed = Failure(error=LinkClosed(4000, "why"), phase=Phase.LIVE)
    assert (closed.close_code, closed.close_reason) == (4000, "why")
    assert (closed.status, closed.headers) == (None, {})


@pytest.mark.parametrize("kind", [Retry, NextEndpoint])
@pytest.mark.parametrize("seconds", ["5", None, float("nan"), True, 1j])
def test_a_hint_is_a_number_of_seconds(kind: type[Retry | NextEndpoint], seconds: object) -> None:
    name = f"{kind.__name__}.at_least must be a number of seconds, got"
    with pytest.raises(UsageError, match=re.escape(f"{name} {seconds!r}")):
        kind(at_least=seconds)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", ["5", float("nan"), True, -0.1])
def test_a_spread_is_a_number_of_seconds_that_is_not_negative(seconds: object) -> None:
    name = "Retry.spread must be 0 seconds or more, or None, got"
    with pytest.raises(UsageError, match=re.escape(f"{name} {seconds!r}")):
        Retry(spread=seconds)  # type: ignore[arg-type]


def test_a_hint_may_be_past_and_either_may_be_without_end() -> None:
    assert Retry(at_least=-1, spread=math.inf).at_least == -1
    assert NextEndpoint(at_least=math.inf).at_least == math.inf
