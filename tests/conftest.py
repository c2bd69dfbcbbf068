"""Backends, and how much is drawn at random.

Hypothesis has no deadline for an example: this machine has other work as well. In CI the
examples are the same for the same code; elsewhere each run looks for new ones. With
`STATEWS_TESTS=brief` there are fewer.
"""

from __future__ import annotations

import importlib.util
import os

import pytest
from hypothesis import settings

pytest_plugins = ("pytester", "statews.testing.plugin")

IS_BRIEF = os.environ.get("STATEWS_TESTS") == "brief"
settings.register_profile(
    "statews",
    deadline=None,
    derandomize="CI" in os.environ,
    max_examples=25 if IS_BRIEF else 100,
)
settings.load_profile("statews")

Backend = tuple[str, dict[str, bool]]

BACKENDS: dict[str, Backend] = {"asyncio": ("asyncio", {}), "trio": ("trio", {})}
if importlib.util.find_spec("uvloop"):  # not made for Windows and for PyPy
    BACKENDS["uvloop"] = ("asyncio", {"use_uvloop": True})


@pytest.fixture(params=sorted(BACKENDS))
def anyio_backend(request: pytest.FixtureRequest) -> Backend:
    """Every event loop that there is."""
    return BACKENDS[request.param]


def pytest_xdist_auto_num_workers() -> int:
    """Twice the cores: many tests wait for real seconds on real sockets."""
    return 2 * (os.cpu_count() or 1)
