from __future__ import annotations

import pytest

from statews.testing.faults import Ending, Way

from .worlds import PARAMS, Play, playing


@pytest.fixture(params=PARAMS)
def play(request: pytest.FixtureRequest) -> Play:
    """Plays a scene in each world, on each event loop."""
    return playing(request.param)


@pytest.fixture(params=[Way.UP, Way.DOWN])
def way(request: pytest.FixtureRequest) -> Way:
    chosen: Way = request.param
    return chosen


@pytest.fixture(params=Ending)
def how(request: pytest.FixtureRequest) -> Ending:
    chosen: Ending = request.param
    return chosen
