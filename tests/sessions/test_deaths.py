"""Stores on both sides: processes die and begin again at any moment, and nothing is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statews import AtLimit, Delivery
from statews.testing.virtual import BACKENDS, Backend

from ..client.delivering import plays
from .disk import Disk
from .plans import Plan, ends, outboxes, plans
from .processes import Death
from .verdicts import check_all_arrived, check_no_gaps, check_no_resets
from .world import World

pytestmark = pytest.mark.no_cover
backends = pytest.mark.parametrize("backend", BACKENDS)
outbox = outboxes(at_limit=st.just(AtLimit.WAIT), delivery=st.just(Delivery.AT_LEAST_ONCE))


def stored_world(plan: Plan) -> World:
    disks = [Disk(takes=plan.takes, fails=plan.fails) for _ in range(2)]
    return World(plan, server_disk=disks[0], client_disk=disks[1])


@backends
@plays(0.4)
@given(
    plan=plans(
        outbox=outbox,
        takes=st.sampled_from([0.0, 0.01, 0.3]),
        server_ends=ends(*Death),
        client_ends=ends(*Death),
        closes_at=st.none(),
    )
)
def test_after_a_death_at_most_what_was_being_handled_comes_again(
    backend: Backend, plan: Plan
) -> None:
    world = stored_world(plan).on(backend)
    check_no_resets(world)
    check_no_gaps(world)
    check_all_arrived(world)
    client = world.client
    if client.down.again > len(plan.client_ends):
        client.down.complain(f"{client.down.again} messages came again")
    most = len(plan.server_ends) * (len(plan.host.fails_at) + 1) + len(plan.host.fails_at)
    if plan.limits.hibernate_after > 10 and client.up.again > most:
        client.up.complain(f"{client.up.again} messages came again")
    world.check()


@backends
@plays(0.15)
@given(
    plan=plans(
        outbox=outbox,
        takes=st.sampled_from([0.0, 0.01]),
        fails=st.frozensets(st.integers(1, 40), max_size=20),
        server_ends=ends(*Death, most=1),
        client_ends=ends(*Death, most=1),
        closes_at=st.none(),
    )
)
def test_a_store_that_fails_now_and_then_loses_nothing_either(
    backend: Backend, plan: Plan
) -> None:
    world = stored_world(plan).on(backend)
    check_no_resets(world)
    check_no_gaps(world)
    check_all_arrived(world)
    world.check()
