"""An application that is stuck holds up nobody but itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statews import AtLimit
from statews.testing.virtual import BACKENDS, Backend

from ..client.delivering import plays, weathers
from .plans import Listening, Plan, limits, outboxes, plans
from .verdicts import check_all_arrived, check_no_gaps, check_no_resets, check_receipts
from .world import World

pytestmark = pytest.mark.no_cover
backends = pytest.mark.parametrize("backend", BACKENDS)
good = weathers.map(lambda weather: replace(weather, faults="", restarts=(), is_watchful=True))
wide = good.map(lambda weather: replace(weather, capacity=65536))
quick = Listening()
stuck = st.builds(Listening, stuck=st.tuples(st.integers(1, 10), st.sampled_from([20.0, 60.0])))


def check_one_link(world: World) -> None:
    """No heartbeat was missed, and nobody took too much for the other's window."""
    if len(world.network.dials) > 1:
        world.client.up.complain(f"there were {len(world.network.dials)} links")
    check_no_resets(world)
    check_no_gaps(world)
    check_all_arrived(world)
    check_receipts(world)
    world.check()


calm = {
    "weather": good,
    "outbox": outboxes(at_limit=st.just(AtLimit.WAIT)),
    "limits": limits(hibernate_after=st.just(1e9)),
    "closes_at": st.none(),
}


@backends
@plays(0.1)
@given(plan=plans(**calm, client=stuck, host=stuck))
def test_no_link_is_lost_while_applications_are_stuck(backend: Backend, plan: Plan) -> None:
    check_one_link(World(plan).on(backend))


@backends
@plays(0.1)
@given(plan=plans(**{**calm, "weather": wide}, client=stuck, host=st.just(quick)))
def test_what_a_stuck_client_sends_is_acknowledged_meanwhile(backend: Backend, plan: Plan) -> None:
    world = World(plan).on(backend)
    check_one_link(world)
    sent_in = sum(pause for pause, _, _ in plan.up)
    for_each = 0.5 + 8 * plan.weather.latency
    assert world.client.flushed_at < sent_in + for_each * plan.up.count + 1.0
