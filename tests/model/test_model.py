"""Every behaviour within the bounds keeps the promises, and each mechanism is needed for it.

`make model` searches further.
"""

from __future__ import annotations

from typing import Final

import pytest

from .bounds import SMALL
from .mutations import CAUGHT, Mutation, Rules, mutated
from .search import search

# How many states there are at least: a step that can no longer happen shows here.
AT_LEAST: Final = {
    "to-server": 4_900,
    "server-crash": 3_800,
    "server-crash-transactional": 2_900,
    "client-crash": 6_100,
    "processes": 41_000,
    "processes-transactional": 1_600,
    "to-client": 2_900,
    "to-client-crashes": 2_200,
    "gaps": 4_200,
    "both-ways-crashes": 5_200,
    "both-ways-processes": 2_700,
    "store-back-to-server": 5_000,
    "store-back-to-client": 8_500,
    "outbox-back": 14_900,
}


@pytest.mark.no_cover
@pytest.mark.once
@pytest.mark.parametrize("name", SMALL)
def test_no_behaviour_within_the_bounds_breaks_a_promise(name: str) -> None:
    bounds = SMALL[name]
    report = search(Rules(bounds))
    assert report.violation is None, report.violation.trace
    assert report.is_exhausted
    assert report.states >= AT_LEAST[name]
    goes_back = bounds.store_regressions + bounds.outbox_restores > 0
    assert (report.resets > 0) == goes_back  # and it is found out


@pytest.mark.no_cover
@pytest.mark.once
@pytest.mark.parametrize("mutation", Mutation, ids=lambda mutation: mutation.name.lower())
def test_each_mechanism_is_needed(mutation: Mutation) -> None:
    report = search(mutated(mutation))
    assert report.violation is not None
    assert report.violation.broken is CAUGHT[mutation][1], report.violation.trace
