"""How long a wait may be, and that no herd comes back at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statews.policy import Backoff, Jitter
from statews.protocol.backoff import delay

seconds = st.floats(0.001, 1e6)
draws = st.floats(0, 1, exclude_max=True)
attempts = st.integers(1, 10**6)
hints = st.floats(0, 1e12)
JUST_UNDER_1 = 1 - 2**-53


@st.composite
def backoffs(draw: st.DrawFn, jitter: Jitter | None = None) -> Backoff:
    first = draw(seconds)
    return Backoff(
        first=first,
        factor=draw(st.floats(1, 1e3)),
        maximum=first + draw(st.floats(0, 1e6)),
        jitter=jitter or draw(st.sampled_from(Jitter)),
        longest_hint=draw(st.floats(0, 1e5)),
    )


def plain(*, first: float = 1.0, factor: float = 2.0, maximum: float = 30.0) -> Backoff:
    return Backoff(first=first, factor=factor, maximum=maximum, jitter=Jitter.NONE)


def test_the_delay_grows_by_the_factor_up_to_the_maximum() -> None:
    backoff = plain(first=1, factor=2, maximum=30)
    delays = [delay(backoff, attempt, 0.5) for attempt in range(1, 8)]
    assert delays == [1, 2, 4, 8, 16, 30, 30]


def test_a_factor_of_1_waits_the_same_each_time() -> None:
    backoff = plain(first=3, factor=1, maximum=30)
    assert {delay(backoff, attempt, 0.5) for attempt in (1, 2, 1000, 10**6)} == {3}


@given(backoff=backoffs(), attempt=attempts, draw=draws)
def test_no_delay_is_longer_than_the_maximum_or_negative(
    backoff: Backoff, attempt: int, draw: float
) -> None:
    assert 0 <= delay(backoff, attempt, draw) <= backoff.maximum


@given(backoff=backoffs(Jitter.NONE), attempt=attempts)
def test_no_attempt_waits_for_less_than_the_one_before(backoff: Backoff, attempt: int) -> None:
    assert delay(backoff, attempt, 0) <= delay(backoff, attempt + 1, 0)


@pytest.mark.parametrize("attempt", [2000, 10**6, 10**400])
@pytest.mark.parametrize("factor", [2, 2.0, 1.000001, 1e300])
def test_no_number_of_attempts_overflows(attempt: int, factor: float) -> None:
    assert delay(plain(factor=factor), attempt, 0.5) <= 30


def test_settings_at_the_ends_of_what_a_float_holds_do_not_overflow() -> None:
    widest = plain(first=5e-324, factor=1e308, maximum=1.7e308)
    assert [delay(widest, attempt, 0.5) for attempt in (1, 9)] == [5e-324, 1.7e308]


@given(backoff=backoffs(Jitter.FULL), attempt=attempts, draw=draws)
def test_full_jitter_is_drawn_from_all_of_the_capped_delay(
    backoff: Backoff, attempt: int, draw: float
) -> None:
    whole = delay(replace(backoff, jitter=Jitter.NONE), attempt, 0)
    assert delay(backoff, attempt, draw) == draw * whole


@given(backoff=backoffs(Jitter.EQUAL), attempt=attempts, draw=draws)
def test_half_of_an_equal_jitter_is_sure(backoff: Backoff, attempt: int, draw: float) -> None:
    whole = delay(replace(backoff, jitter=Jitter.NONE), attempt, 0)
    assert whole / 2 <= delay(backoff, attempt, draw) <= whole


def test_the_jitter_is_drawn_after_the_cap_so_late_attempts_spread_as_well() -> None:
    waits = [delay(Backoff(maximum=30), 50, draw) for draw in (0.0, 0.5, JUST_UNDER_1)]
    assert waits[:2] == [0, 15]
    assert 29.9 < waits[2] < 30


# Hints.


@given(backoff=backoffs(), attempt=attempts, draw=draws, hint=hints)
def test_a_hint_is_a_lower_bound_up_to_the_longest_one_and_the_jitter_comes_on_top(
    backoff: Backoff, attempt: int, draw: float, hint: float
) -> None:
    obeyed = min(hint, backoff.longest_hint)
    waited = delay(backoff, attempt, draw, at_least=hint)
    assert waited == pytest.approx(obeyed + delay(backoff, attempt, draw))
    assert waited >= obeyed


@given(backoff=backoffs(), attempt=attempts, draw=draws, hint=hints, spread=hints)
def test_hints_are_bounded_however_absurd(
    backoff: Backoff, attempt: int, draw: float, hint: float, spread: float
) -> None:
    waited = delay(backoff, attempt, draw, at_least=hint, spread=spread)
    widest = max(backoff.longest_hint, backoff.maximum)
    assert min(hint, backoff.longest_hint) <= waited <= backoff.longest_hint + widest


def test_a_spread_replaces_the_jitter() -> None:
    waits = [delay(plain(), 3, draw, at_least=10, spread=4) for draw in (0, 0.5)]
    assert waits == [10, 12]


def test_no_spread_is_no_delay() -> None:
    assert delay(Backoff(), 3, 0.9, spread=0.0) == 0


@pytest.mark.parametrize("spread", [None, 0.5, 50_000])
def test_clients_with_one_absurd_hint_do_not_come_back_at_once(spread: float | None) -> None:
    first, second = (
        delay(Backoff(longest_hint=60), 1, draw, at_least=1e9, spread=spread)
        for draw in (0.25, 0.75)
    )
    assert 60 <= first < second <= 120


def test_where_no_hint_is_obeyed_a_spread_does_not_make_the_wait_shorter_than_ours() -> None:
    backoff = Backoff(first=2, maximum=10, longest_hint=0)
    assert delay(backoff, 2, 0.5, at_least=7, spread=7) == delay(backoff, 2, 0.5) == 2


@pytest.mark.parametrize("hint", [-5.0, float("nan"), float("-inf")])
def test_a_hint_that_is_no_duration_asks_for_nothing(hint: float) -> None:
    assert delay(plain(), 1, 0.5, at_least=hint) == 1
