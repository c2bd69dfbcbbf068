"""Several clients: each has its own messages, and what is for all comes to each, once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statews import AtLimit
from statews.testing.virtual import BACKENDS, Backend

from ..client.delivering import plays
from .plans import Plan, outboxes, plans, talks
from .verdicts import check_all_arrived, check_no_gaps, check_no_resets, check_receipts
from .world import World

pytestmark = pytest.mark.no_cover
backends = pytest.mark.parametrize("backend", BACKENDS)
# A broadcast waits for nobody: where another message is waiting it would come before.
putting = talks.map(lambda talk: replace(talk, count=1 + talk.count // 2, puts=(True,)))


@backends
@plays(0.15)
@given(
    plan=plans(outbox=outboxes(at_limit=st.just(AtLimit.WAIT)), down=putting, news=putting),
    clients=st.integers(2, 3),
)
def test_each_client_gets_its_own_messages_and_each_broadcast_once(
    backend: Backend, plan: Plan, clients: int
) -> None:
    world = World(plan, clients=clients).on(backend)
    check_no_resets(world)
    check_no_gaps(world)
    check_all_arrived(world)
    check_receipts(world)
    world.check()
