"""Every cell of the connection's machine, and what holds on every walk through it."""

from __future__ import annotations

import gc
import logging
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statews.errors import RefusedEventError
from statews.lifecycle import (
    EVENTS,
    MACHINE,
    REFUSALS,
    STATES,
    Event,
    Lifecycle,
    Phase,
    State,
    describe,
)

from .memory import Memory, traced

IDLE, CONNECTING, OPEN = State.IDLE, State.CONNECTING, State.OPEN
BACKING_OFF, FAILED, CLOSED = State.BACKING_OFF, State.FAILED, State.CLOSED

# Where each pair leads while attempts are left, and where when none is.
OUTCOMES: dict[tuple[State, Event], tuple[State, State]] = {
    (IDLE, "connect"): (CONNECTING, CONNECTING),
    (IDLE, "close"): (CLOSED, CLOSED),
    (CONNECTING, "opened"): (OPEN, OPEN),
    (CONNECTING, "lost"): (BACKING_OFF, FAILED),
    (CONNECTING, "refused"): (FAILED, FAILED),
    (CONNECTING, "close"): (CLOSED, CLOSED),
    (OPEN, "lost"): (BACKING_OFF, FAILED),
    (OPEN, "refused"): (FAILED, FAILED),
    (OPEN, "settled"): (OPEN, OPEN),
    (OPEN, "ended"): (CLOSED, CLOSED),
    (OPEN, "close"): (CLOSED, CLOSED),
    (BACKING_OFF, "elapsed"): (CONNECTING, CONNECTING),
    (BACKING_OFF, "nudge"): (CONNECTING, CONNECTING),
    (BACKING_OFF, "close"): (CLOSED, CLOSED),
    (FAILED, "connect"): (CONNECTING, CONNECTING),
    (FAILED, "close"): (CLOSED, CLOSED),
    (CLOSED, "close"): (CLOSED, CLOSED),
}
PAIRS = list(product(State, EVENTS))
REFUSED = [pair for pair in PAIRS if pair not in OUTCOMES]


def lifecycle(state: State, *, attempts: int = 0, max_attempts: int | None = None) -> Lifecycle:
    made = Lifecycle(max_attempts)
    made.state = state
    made.attempts = attempts
    return made


def declared() -> set[tuple[State, str]]:
    """The pairs that the machine has rows for."""
    return {
        (State[source], event.name)
        for event in MACHINE.events.values()
        for source in event.transitions
    }


def test_the_machine_has_the_declared_states_and_no_others() -> None:
    assert [state.value for state in MACHINE.states.values()] == list(State)


def test_the_machine_has_the_declared_events_and_no_automatic_ones() -> None:
    assert set(MACHINE.events) == set(EVENTS)


def test_every_pair_is_a_row_or_a_refusal() -> None:
    refusals = {(state, event) for event, reasons in REFUSALS.items() for state in reasons}
    assert declared() | refusals == set(PAIRS)


def test_no_pair_is_a_row_and_a_refusal() -> None:
    assert not [
        (event, state)
        for event, reasons in REFUSALS.items()
        for state in reasons
        if (state, event) in declared()
    ]


def test_the_rows_are_those_of_the_table() -> None:
    assert declared() == set(OUTCOMES)


@pytest.mark.parametrize(("state", "event"), OUTCOMES)
def test_a_row_leads_where_the_table_says(state: State, event: Event) -> None:
    with_attempts, without = OUTCOMES[state, event]
    some = lifecycle(state, attempts=2, max_attempts=3)
    none = lifecycle(state, attempts=3, max_attempts=3)
    assert (some.fire(event), some.state) == (state, with_attempts)
    assert (none.fire(event), none.state) == (state, without)


@pytest.mark.parametrize(("state", "event"), REFUSED)
def test_a_refused_event_says_why_and_changes_nothing(state: State, event: Event) -> None:
    refusing = lifecycle(state, attempts=2, max_attempts=3)
    with pytest.raises(RefusedEventError, match=f"^cannot {event} while {state}: .") as refused:
        refusing.fire(event)
    assert str(refused.value).endswith(REFUSALS[event][state])
    assert (refused.value.state, refused.value.event) == (state, event)
    assert (refusing.state, refusing.attempts, refusing.max_attempts) == (state, 2, 3)


@pytest.mark.parametrize(("state", "event"), REFUSED)
def test_a_refusal_is_one_lower_case_clause(state: State, event: Event) -> None:
    why = REFUSALS[event][state]
    assert why == why.strip().rstrip(".")
    assert why[0].islower()


def test_where_a_row_has_a_guard_another_row_has_its_opposite() -> None:
    for event in MACHINE.events.values():
        for rows in event.transitions.values():
            guards = [(guard.func, guard.target) for row in rows for guard in row.conditions]
            assert len(rows) == max(1, len(guards))
            assert {(name, not holds) for name, holds in guards} == set(guards)


@pytest.mark.parametrize(("state", "event"), OUTCOMES)
def test_an_effect_counts_or_resets_and_nothing_else_touches_the_attempts(
    state: State, event: Event
) -> None:
    effects = {"connect": 0, "lost": 3, "settled": 0}
    moved = lifecycle(state, attempts=2, max_attempts=3)
    moved.fire(event)
    assert moved.attempts == effects.get(event, 2)
    assert moved.max_attempts == 3


@pytest.mark.parametrize("state", [CONNECTING, OPEN])
def test_the_loss_that_fails_is_not_counted(state: State) -> None:
    moved = lifecycle(state, attempts=3, max_attempts=3)
    moved.fire("lost")
    assert moved.attempts == 3


def reconnects(connection: Lifecycle) -> int:
    """Lose every attempt until the connection fails, and count how often it came back."""
    count = 0
    connection.fire("lost")
    while connection.state is BACKING_OFF:
        connection.fire("elapsed")
        connection.fire("lost")
        count += 1
    assert connection.state is FAILED
    return count


@pytest.mark.parametrize("max_attempts", [0, 1, 5])
def test_max_attempts_counts_reconnects_and_not_the_first_attempt(max_attempts: int) -> None:
    connection = Lifecycle(max_attempts)
    connection.fire("connect")
    assert reconnects(connection) == max_attempts


@pytest.mark.parametrize("max_attempts", [0, 1, 5])
def test_a_lost_link_has_all_reconnects_once_it_settled(max_attempts: int) -> None:
    connection = lifecycle(OPEN, attempts=max_attempts, max_attempts=max_attempts)
    connection.fire("settled")
    assert reconnects(connection) == max_attempts


def test_a_link_that_opens_but_does_not_last_uses_up_reconnects() -> None:
    connection = Lifecycle(2)
    connection.fire("connect")
    for _ in range(2):
        connection.fire("opened")
        connection.fire("lost")
        connection.fire("elapsed")
    connection.fire("opened")
    connection.fire("lost")
    assert connection.state is FAILED


def test_a_nudge_does_not_give_an_attempt_back() -> None:
    connection = lifecycle(BACKING_OFF, attempts=1, max_attempts=1)
    connection.fire("nudge")
    connection.fire("lost")
    assert connection.state is FAILED


def test_connect_after_failed_has_all_reconnects_again() -> None:
    connection = lifecycle(FAILED, attempts=3, max_attempts=3)
    connection.fire("connect")
    assert reconnects(connection) == 3


def test_without_max_attempts_it_never_fails_by_loss() -> None:
    connection = Lifecycle(None)
    connection.fire("connect")
    for _ in range(100):
        connection.fire("lost")
        assert connection.state is BACKING_OFF
        connection.fire("elapsed")
    assert connection.attempts == 100


def test_nothing_is_registered_with_the_machine() -> None:
    connection = Lifecycle(None)
    connection.fire("connect")
    connection.fire("close")
    assert MACHINE.models == []


def test_what_transitions_logs_names_the_machine(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="transitions")
    Lifecycle(None).fire("connect")
    logged = [record.getMessage().partition(": ")[0] for record in caplog.records]
    assert set(logged) == {"statews.lifecycle"}


def test_a_connection_has_no_room_for_flags() -> None:
    assert not hasattr(Lifecycle(None), "__dict__")


def kept_bytes(connections: int, memory: Memory) -> int:
    """What this many connections leave behind, each having gone all the way round."""
    gc.collect()
    before, _ = memory()
    events: tuple[Event, ...] = ("connect", "opened", "settled", "lost", "elapsed", "close")
    for _ in range(connections):
        connection = Lifecycle(None)
        for event in events:
            connection.fire(event)
        with pytest.raises(RefusedEventError, match="stays closed"):
            connection.fire("connect")
    gc.collect()
    after, _ = memory()
    return after - before


def test_connections_that_are_gone_leave_nothing_behind() -> None:
    with traced() as memory:
        # The interpreter keeps something now and then; a leak would be there every time.
        kept = min(kept_bytes(100, memory) for _ in range(5))
        assert kept < 100 * 8  # not even a pointer each


walks = st.lists(st.sampled_from(EVENTS), max_size=40)
limits = st.none() | st.integers(min_value=0, max_value=4)


def tried(connection: Lifecycle, event: Event) -> None:
    """Fire an event that may be refused."""
    if connection.state in REFUSALS[event]:
        with pytest.raises(RefusedEventError, match="cannot"):
            connection.fire(event)
    else:
        connection.fire(event)


@given(walk=walks, max_attempts=limits)
def test_a_walk_goes_where_the_table_says(walk: list[Event], max_attempts: int | None) -> None:
    connection = Lifecycle(max_attempts)
    for event in walk:
        expected = OUTCOMES.get((connection.state, event), (connection.state, connection.state))
        exhausted = max_attempts is not None and connection.attempts >= max_attempts
        tried(connection, event)
        assert connection.state is expected[exhausted]


@given(walk=walks, max_attempts=limits)
def test_closed_is_final(walk: list[Event], max_attempts: int | None) -> None:
    connection = Lifecycle(max_attempts)
    connection.fire("close")
    for event in walk:
        tried(connection, event)
        assert connection.state is CLOSED


@given(walk=walks, max_attempts=limits)
def test_close_works_wherever_a_walk_ends(walk: list[Event], max_attempts: int | None) -> None:
    connection = Lifecycle(max_attempts)
    for event in walk:
        tried(connection, event)
    connection.fire("close")
    assert connection.state is CLOSED


@given(walk=walks, max_attempts=st.integers(min_value=0, max_value=4))
def test_attempts_stay_within_their_limit(walk: list[Event], max_attempts: int) -> None:
    connection = Lifecycle(max_attempts)
    for event in walk:
        tried(connection, event)
        assert 0 <= connection.attempts <= max_attempts


@pytest.mark.parametrize("state", State)
def test_a_state_is_written_as_its_value(state: State) -> None:
    assert f"{state}" == str(state) == state.value


@pytest.mark.parametrize("phase", Phase)
def test_a_phase_is_written_as_its_value(phase: Phase) -> None:
    assert f"{phase}" == str(phase) == phase.value


@pytest.mark.parametrize("state", State)
def test_every_state_is_documented_in_a_line(state: State) -> None:
    doc, _ = describe(STATES, state)
    assert doc
    assert "\n" not in doc


def test_a_state_has_an_activity_if_something_happens_in_it() -> None:
    busy = {state for state in State if describe(STATES, state)[1] is not None}
    assert busy == {CONNECTING, OPEN, BACKING_OFF}


def test_every_phase_belongs_to_one_activity() -> None:
    activities = [describe(STATES, state)[1] for state in State]
    phases = [phase for activity in activities if activity for phase in activity.phases]
    assert sorted(phases) == sorted(Phase)
