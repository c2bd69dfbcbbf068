"""The real cores keep what the model promises, whatever happens to links, processes and disks.

`STATEWS_SCHEDULES=20000` in the environment has so many of each kind played.
"""

from __future__ import annotations

import os
from typing import Final

import pytest

from .core_mutations import MUTATIONS
from .schedules import KINDS, explore, shortened

SCHEDULES: Final = int(os.environ.get("STATEWS_SCHEDULES", "100"))
ENOUGH: Final = 8000  # schedules, for any mutation


@pytest.mark.once
@pytest.mark.no_cover
@pytest.mark.parametrize("kind", KINDS)
def test_no_schedule_breaks_a_promise(kind: str) -> None:
    failure = explore(KINDS[kind], range(SCHEDULES))
    assert failure is None, str(shortened(failure))


@pytest.mark.no_cover
@pytest.mark.once
@pytest.mark.parametrize("name", MUTATIONS)
def test_each_mechanism_of_the_cores_is_needed(name: str) -> None:
    mutation = MUTATIONS[name]
    with mutation.applied():
        failure = explore(KINDS[mutation.kind], range(mutation.since, ENOUGH))
        assert failure is not None
        assert failure.breach.promise is mutation.breaks, str(shortened(failure))
