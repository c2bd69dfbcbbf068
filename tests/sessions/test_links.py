"""Both sides in memory, both processes alive: exactly once, in order, both ways.

`STATEWS_DELIVERIES=2000` in the environment has each test try so many plans on each backend.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statews import AtLimit
from statews.testing.virtual import BACKENDS, Backend

from ..client.delivering import plays
from .plans import Plan, outboxes, plans, small_limits
from .verdicts import check_all_arrived, check_no_gaps, check_no_resets, check_receipts
from .world import World

pytestmark = pytest.mark.no_cover
backends = pytest.mark.parametrize("backend", BACKENDS)


@backends
@plays(0.4)
@given(plan=plans(outbox=outboxes(at_limit=st.just(AtLimit.WAIT))))
def test_everything_arrives_once_and_in_order_through_any_faults(
    backend: Backend, plan: Plan
) -> None:
    world = World(plan).on(backend)
    check_no_resets(world)
    check_no_gaps(world)
    check_all_arrived(world)
    check_receipts(world)
    world.check()


@backends
@plays(0.4)
@given(plan=plans(outbox=outboxes(at_limit=st.sampled_from(AtLimit)), limits=small_limits))
def test_at_a_limit_the_reported_gap_is_exactly_what_is_missing(
    backend: Backend, plan: Plan
) -> None:
    world = World(plan).on(backend)
    check_no_resets(world)
    check_receipts(world)
    world.check()
