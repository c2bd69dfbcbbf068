"""Every step that can happen in a state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from . import client, faults, server
from .invariants import Violation
from .mutations import Rules
from .state import Greeting, Serving, State

__all__ = ["successors"]

Step = Callable[[State, Rules], State | None]
LinkStep = Callable[[State, Rules, Greeting | Serving], State | None]

# What is under way comes first, and new messages after it: the first step that can happen brings
# the peers to rest, for without faults in the bounds no fault can.
LINK_STEPS: Final[tuple[LinkStep, ...]] = (
    server.server_commits,
    server.server_receives,
    server.server_sends,
)
STEPS: Final[tuple[Step, ...]] = (
    client.client_receives,
    client.client_sees_close,
    client.client_saves_token,
    client.client_sends,
    client.client_acks,
    client.client_connects,
    client.client_produces,
    server.server_produces,
    faults.link_drops,
    faults.link_drops_frames,
    faults.client_crashes,
    faults.client_backs_up,
    faults.client_restores,
    faults.server_crashes,
    faults.store_is_copied,
    faults.store_goes_back,
)


def successors(state: State, rules: Rules) -> Iterator[tuple[str, State]]:
    """Each step that can happen, by its name in a trace, and the state after it.

    Raises:
        Violation: the next step breaks a promise; it is named in `Violation.trace`.
    """
    name = ""
    try:
        for end in state.ends:
            for link_step in LINK_STEPS:
                name = f"{link_step.__name__}({end.number})"
                after = link_step(state, rules, end)
                if after is not None:
                    yield name, after
        for step in STEPS:
            name = step.__name__
            after = step(state, rules)
            if after is not None:
                yield name, after
    except Violation as violation:
        violation.trace = (name,)
        raise
