"""Breadth-first search of all states, and from each of them the way to rest without faults."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from .invariants import Broken, Violation, check_all_arrived
from .mutations import Rules
from .state import State
from .steps import successors

__all__ = ["Report", "search"]

MOST_STATES: Final = 1_000_000
MOST_CALM_STEPS: Final = 400  # far more than are needed
MANY_LINKS: Final = 1_000

START: Final = State()

# From which state, and by which step, a state was first reached.
Origins = dict[State, tuple[State, str] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a search found.

    Attributes:
        states: how many were visited.
        resets: in how many of them the client had to give up its session.
        is_exhausted: whether these are all the states within the bounds.
        violation: the promise that is broken, with a trace that leads to it.
    """

    states: int
    resets: int
    is_exhausted: bool
    violation: Violation | None = None


class Calm:
    """What comes of a state when nothing fails any more."""

    def __init__(self, rules: Rules) -> None:
        bounds = replace(
            rules.bounds,
            links=MANY_LINKS,
            drops=0,
            server_crashes=0,
            client_crashes=0,
            store_regressions=0,
            outbox_restores=0,
        )
        self._bounds = bounds
        self._rules = replace(rules, bounds=bounds)
        self._known: set[State] = set()

    def check(self, state: State | None) -> None:
        """Everything arrives, unless the session is reset.

        Of the steps that can happen the first one does, until none can or the rest is known.

        Raises:
            Violation: something does not arrive, or a step breaks a promise.
        """
        way: list[State] = []
        trace: list[str] = []
        try:
            while state is not None and state not in self._known and not state.client.is_reset:
                way.append(state)
                state = self._next(way, trace)
        except Violation as violation:
            violation.trace = (*trace, *violation.trace)
            raise
        self._known.update(way)

    def _next(self, way: list[State], trace: list[str]) -> State | None:
        state = way[-1]
        if len(way) > MOST_CALM_STEPS:
            raise Violation(Broken.RESTLESS, f"after {MOST_CALM_STEPS} steps")
        for name, after in successors(state, self._rules):
            trace.append(name)
            return after
        check_all_arrived(state, self._bounds)
        return None


def search(rules: Rules) -> Report:
    """Visit every state within the bounds, until one breaks a promise."""
    origins: Origins = {START: None}
    waiting = deque([START])
    calm = Calm(rules)
    states = resets = 0
    while waiting and len(origins) <= MOST_STATES:
        state = waiting.popleft()
        states += 1
        resets += state.client.is_reset
        try:
            calm.check(state)
            for name, after in successors(state, rules):
                if after not in origins:
                    origins[after] = (state, name)
                    waiting.append(after)
        except Violation as violation:
            violation.trace = (*_trace(origins, state), *violation.trace)
            return Report(states=states, resets=resets, is_exhausted=False, violation=violation)
    return Report(states=states, resets=resets, is_exhausted=not waiting)


def _trace(origins: Origins, state: State) -> list[str]:
    """The steps that lead to a state."""
    steps: list[str] = []
    origin = origins[state]
    while origin is not None:
        state, step = origin
        steps.append(step)
        origin = origins[state]
    return steps[::-1]
