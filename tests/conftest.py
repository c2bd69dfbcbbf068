from __future__ import annotations

import importlib.util

import pytest

pytest_plugins = ("pytester", "statews.testing.plugin")

Backend = tuple[str, dict[str, bool]]

BACKENDS: dict[str, Backend] = {"asyncio": ("asyncio", {}), "trio": ("trio", {})}
if importlib.util.find_spec("uvloop"):  # not made for Windows and for PyPy
    BACKENDS["uvloop"] = ("asyncio", {"use_uvloop": True})


@pytest.fixture(params=sorted(BACKENDS))
def anyio_backend(request: pytest.FixtureRequest) -> Backend:
    """Every event loop that there is."""
    return BACKENDS[request.param]
