"""Backends, how much is drawn at random, and what keeps a run short.

Hypothesis has no deadline for an example: this machine has other work as well. In CI the
examples are the same for the same code; elsewhere each run looks for new ones. With
`STATEWS_TESTS=brief` there are fewer, and several Pythons are tested side by side: without uvloop,
and without what is marked `once`. They take long and say the same of our code on each of them.

A search that runs the same lines a thousand times over is marked `no_cover`: traced, it takes
three times as long, and lighter tests reach those lines. So is a test of speed or of memory.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from collections.abc import Generator

import pytest
from hypothesis import settings

pytest_plugins = ("pytester", "statews.testing.plugin")

IS_BRIEF = os.environ.get("STATEWS_TESTS") == "brief"
settings.register_profile(
    "statews",
    deadline=None,
    derandomize="CI" in os.environ,
    max_examples=5 if IS_BRIEF else 100,
)
settings.load_profile("statews")

Backend = tuple[str, dict[str, bool]]

BACKENDS: dict[str, Backend] = {"asyncio": ("asyncio", {}), "trio": ("trio", {})}
if importlib.util.find_spec("uvloop") and not IS_BRIEF:  # not made for Windows and for PyPy
    BACKENDS["uvloop"] = ("asyncio", {"use_uvloop": True})


@pytest.fixture(params=sorted(BACKENDS))
def anyio_backend(request: pytest.FixtureRequest) -> Backend:
    """Every event loop that there is."""
    return BACKENDS[request.param]


def pytest_xdist_auto_num_workers() -> int:
    """Twice the cores: many tests wait for real seconds on real sockets."""
    cores = os.cpu_count() or 1
    return cores if IS_BRIEF else 2 * cores


def pytest_configure(config: pytest.Config) -> None:
    """Name what is used as a mark."""
    config.addinivalue_line("markers", "once: says the same on each Python, and is run on one")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what another Python has shown."""
    if IS_BRIEF:
        config.hook.pytest_deselected(items=[item for item in items if is_once(item)])
        items[:] = [item for item in items if not is_once(item)]


def is_once(item: pytest.Item) -> bool:
    """Whether it is run on one Python only."""
    return item.get_closest_marker("once") is not None


def pytest_collection_finish() -> None:
    """Leave what is here by now, which stays, out of every collection of garbage to come."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Trace no test that is marked `no_cover`, in xdist's workers either.

    There pytest-cov has two tracers: where it stops one, the other goes on.
    """
    tracer = sys.gettrace()
    if tracer is None or pyfuncitem.get_closest_marker("no_cover") is None:
        return (yield)
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)
