"""Every cell of the session's machine, and what holds on every walk through it."""

from __future__ import annotations

import gc
import logging
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statews.errors import RefusedEventError
from statews.lifecycle import (
    Activity,
    SessionEvent,
    SessionModel,
    SessionState,
    describe,
    fire_session,
)
from statews.lifecycle.session import EVENTS, MACHINE, REFUSALS, STATES

from .memory import Memory, traced

ATTACHED, DETACHED = SessionState.ATTACHED, SessionState.DETACHED
EXPIRED, ENDED = SessionState.EXPIRED, SessionState.ENDED

# Where each pair leads, and how many links are counted on the way.
OUTCOMES: dict[tuple[SessionState, SessionEvent], tuple[SessionState, int]] = {
    (ATTACHED, "replaced"): (ATTACHED, 1),
    (ATTACHED, "lost"): (DETACHED, 0),
    (ATTACHED, "ended"): (ENDED, 0),
    (DETACHED, "attached"): (ATTACHED, 1),
    (DETACHED, "elapsed"): (EXPIRED, 0),
    (DETACHED, "ended"): (ENDED, 0),
    (ENDED, "ended"): (ENDED, 0),
}
PAIRS = list(product(SessionState, EVENTS))
REFUSED = [pair for pair in PAIRS if pair not in OUTCOMES]


class Session:
    """What the machine needs of a session."""

    __slots__ = ("link", "state")

    def __init__(self, state: SessionState = DETACHED) -> None:
        self.state = state
        self.link = 0

    def count_link(self, _: object) -> None:
        self.link += 1


def declared() -> set[tuple[SessionState, str]]:
    """The pairs that the machine has rows for."""
    return {
        (SessionState[source], event.name)
        for event in MACHINE.events.values()
        for source in event.transitions
    }


def test_the_machine_has_the_declared_states_and_no_others() -> None:
    assert [state.value for state in MACHINE.states.values()] == list(SessionState)


def test_the_machine_has_the_declared_events_and_no_automatic_ones() -> None:
    assert set(MACHINE.events) == set(EVENTS)


def test_a_session_begins_without_a_link() -> None:
    assert MACHINE.initial == DETACHED.name


def test_every_pair_is_a_row_or_a_refusal_and_none_is_both() -> None:
    refusals = [(state, event) for event, reasons in REFUSALS.items() for state in reasons]
    assert declared() | set(refusals) == set(PAIRS)
    assert not declared() & set(refusals)


def test_the_rows_are_those_of_the_table() -> None:
    assert declared() == set(OUTCOMES)


@pytest.mark.parametrize(("state", "event"), OUTCOMES)
def test_a_row_leads_where_the_table_says_and_counts_the_links(
    state: SessionState, event: SessionEvent
) -> None:
    session = Session(state)
    assert fire_session(session, event) is state
    assert (session.state, session.link) == OUTCOMES[state, event]


@pytest.mark.parametrize(("state", "event"), REFUSED)
def test_a_refused_event_says_why_and_changes_nothing(
    state: SessionState, event: SessionEvent
) -> None:
    session = Session(state)
    with pytest.raises(RefusedEventError, match=f"^cannot {event} while {state}: .") as refused:
        fire_session(session, event)
    assert str(refused.value).endswith(REFUSALS[event][state])
    assert (refused.value.state, refused.value.event) == (state, event)
    assert (session.state, session.link) == (state, 0)


@pytest.mark.parametrize(("state", "event"), REFUSED)
def test_a_refusal_is_one_lower_case_clause(state: SessionState, event: SessionEvent) -> None:
    why = REFUSALS[event][state]
    assert why == why.strip().rstrip(".")
    assert why[0].islower()


def test_no_row_has_a_guard() -> None:
    rows = [
        row
        for event in MACHINE.events.values()
        for leaving in event.transitions.values()
        for row in leaving
    ]
    assert len(rows) == len(OUTCOMES)
    assert not [row for row in rows if row.conditions]


def test_the_link_that_took_over_stays_when_the_older_one_is_gone() -> None:
    session = Session()
    fire_session(session, "attached")
    older = session.link
    fire_session(session, "replaced")
    assert session.state is ATTACHED
    assert session.link > older  # so what the older one writes is told apart


def test_nothing_is_registered_with_the_machine() -> None:
    fire_session(Session(), "attached")
    assert MACHINE.models == []


def test_what_transitions_logs_names_the_machine(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="transitions")
    fire_session(Session(), "attached")
    logged = [record.getMessage().partition(": ")[0] for record in caplog.records]
    assert set(logged) == {"statews.session"}


def kept_bytes(sessions: list[SessionModel], memory: Memory) -> int:
    """What it costs to move these sessions all the way round."""
    gc.collect()
    before, _ = memory()
    events: tuple[SessionEvent, ...] = ("attached", "replaced", "lost", "attached", "lost")
    for session in sessions:
        for event in events:
            fire_session(session, event)
        with pytest.raises(RefusedEventError, match="no link is attached"):
            fire_session(session, "lost")
    gc.collect()
    after, _ = memory()
    return after - before


def test_a_session_costs_the_machine_nothing_while_it_lives() -> None:
    sessions: list[SessionModel] = [Session() for _ in range(100)]
    with traced() as memory:
        # The interpreter keeps something now and then; a leak would be there every time.
        kept = min(kept_bytes(sessions, memory) for _ in range(5))
        assert kept < 100 * 8  # not even a pointer each


walks = st.lists(st.sampled_from(EVENTS), max_size=40)


def tried(session: Session, event: SessionEvent) -> None:
    """Fire an event that may be refused."""
    if session.state in REFUSALS[event]:
        with pytest.raises(RefusedEventError, match="cannot"):
            fire_session(session, event)
    else:
        fire_session(session, event)


@given(walk=walks)
def test_a_walk_goes_where_the_table_says(walk: list[SessionEvent]) -> None:
    session = Session()
    for event in walk:
        links = session.link
        expected, counted = OUTCOMES.get((session.state, event), (session.state, 0))
        tried(session, event)
        assert (session.state, session.link - links) == (expected, counted)


@pytest.mark.parametrize("state", [EXPIRED, ENDED])
@given(walk=walks)
def test_expired_and_ended_are_final(state: SessionState, walk: list[SessionEvent]) -> None:
    session = Session(state)
    for event in walk:
        tried(session, event)
        assert (session.state, session.link) == (state, 0)


@pytest.mark.parametrize("state", SessionState)
def test_what_nothing_leaves_is_declared_final(state: SessionState) -> None:
    assert MACHINE.get_state(state).final == (state in {EXPIRED, ENDED})


@pytest.mark.parametrize("state", SessionState)
def test_a_state_is_written_as_its_value(state: SessionState) -> None:
    assert f"{state}" == str(state) == state.value


@pytest.mark.parametrize("state", SessionState)
def test_every_state_is_documented_in_a_line(state: SessionState) -> None:
    doc, _ = describe(STATES, state)
    assert doc
    assert "\n" not in doc


def test_a_session_serves_its_link_or_keeps_what_is_missed() -> None:
    assert {state: describe(STATES, state)[1] for state in SessionState} == {
        ATTACHED: Activity(runs="serve the link"),
        DETACHED: Activity(runs="keep what is missed"),
        EXPIRED: None,
        ENDED: None,
    }
