"""A server without a store dies: its sessions are over, and the clients are told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statews import AtLimit, Delivery, ReceiptState
from statews.testing.virtual import BACKENDS, Backend

from ..client.delivering import SECONDS, hundredths, plays
from .disk import Disk
from .plans import Plan, ends, limits, outboxes, plans
from .processes import Death
from .verdicts import check_no_gaps, check_receipts, check_up_arrived
from .world import World

pytestmark = pytest.mark.no_cover
backends = pytest.mark.parametrize("backend", BACKENDS)


def dying(delivery: Delivery) -> st.SearchStrategy[Plan]:
    return plans(
        outbox=outboxes(at_limit=st.just(AtLimit.WAIT), delivery=st.just(delivery)),
        server_ends=ends(*Death),
        closes_at=st.none(),
    )


def check_resets(world: World) -> None:
    """There are as many as there were sessions that ended."""
    client = world.client
    if client.resets > len(world.plan.server_ends):
        client.down.complain(f"{client.resets} resets")
    check_no_gaps(world)
    check_receipts(world)


@backends
@plays(0.15)
@given(plan=dying(Delivery.AT_LEAST_ONCE))
def test_at_least_once_what_was_not_acknowledged_is_sent_again(
    backend: Backend, plan: Plan
) -> None:
    world = World(plan).on(backend)
    check_resets(world)
    check_up_arrived(world)
    world.check()


@backends
@plays(0.15)
@given(
    plan=plans(
        outbox=outboxes(at_limit=st.just(AtLimit.WAIT), delivery=st.just(Delivery.AT_LEAST_ONCE)),
        server_ends=ends(*Death),
        client_ends=ends(*Death),
        closes_at=st.none(),
        takes=st.sampled_from([0.0, 0.01, 0.3]),
    )
)
def test_what_the_client_has_stored_is_sent_again_by_its_next_process(
    backend: Backend, plan: Plan
) -> None:
    world = World(plan, client_disk=Disk(takes=plan.takes)).on(backend)
    check_no_gaps(world)
    check_up_arrived(world)
    world.check()


@backends
@plays(0.15)
@given(plan=dying(Delivery.AT_MOST_ONCE))
def test_at_most_once_it_is_in_doubt_and_nothing_else_is_missing(
    backend: Backend, plan: Plan
) -> None:
    world = World(plan).on(backend)
    check_resets(world)
    up, receipts = world.client.up, world.client.receipts
    for number in up.accepted - up.seen:
        if receipts[number].state is not ReceiptState.IN_DOUBT:
            up.complain(f"message {number} did not come: {receipts[number]}")
    check_no_doubles(world)
    world.check()


@backends
@plays(0.15)
@given(
    plan=plans(
        outbox=outboxes(at_limit=st.just(AtLimit.WAIT)), is_ended_at=hundredths(0, SECONDS + 2)
    )
)
def test_a_session_that_the_server_ends_leaves_no_receipt_open(
    backend: Backend, plan: Plan
) -> None:
    world = World(plan).on(backend)
    check_no_gaps(world)
    check_receipts(world)
    check_no_doubles(world)
    world.check()


def check_no_doubles(world: World) -> None:
    """At most once, no message comes in two sessions; in one, a handler may have failed."""
    up = world.client.up
    sessions = {(each.number, each.sid) for each in up.taken}
    if world.plan.outbox.delivery is Delivery.AT_MOST_ONCE and len(sessions) > len(up.seen):
        up.complain("a message came in two sessions")


@backends
@plays(0.15)
@given(
    plan=plans(
        outbox=outboxes(at_limit=st.just(AtLimit.WAIT)),
        limits=limits(time_to_live=st.sampled_from([0.1, 1.0, 3.0])),
    )
)
def test_a_client_that_was_away_for_too_long_is_told_so(backend: Backend, plan: Plan) -> None:
    world = World(plan).on(backend)
    check_no_gaps(world)
    check_receipts(world)
    check_no_doubles(world)
    if plan.outbox.delivery is Delivery.AT_LEAST_ONCE:
        check_up_arrived(world)
    world.check()
