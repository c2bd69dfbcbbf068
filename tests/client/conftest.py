from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
import trio.testing

from statews.testing.virtual import VirtualLoop
from statews.transport.network import NETWORK

from .world import World, echo

DEADLINE = 100_000  # virtual seconds: a test that hangs gets there at once


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Both backends, each with a clock that jumps: an hour takes no time."""
    if request.param == "asyncio":
        return "asyncio", {"loop_factory": VirtualLoop}
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


@pytest.fixture
def world() -> World:
    """A network with an echo server."""
    return World(scripts=[echo])


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Let the network of a test live in the test's own task, and end with it."""
    world = pyfuncitem.funcargs.get("world")
    if isinstance(world, World):
        pyfuncitem.obj = _within(world, pyfuncitem.obj)


def _within(world: World, test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def run(**fixtures: object) -> None:
        with anyio.fail_after(DEADLINE):
            NETWORK.set(world)
            async with anyio.create_task_group() as world.group:
                await test(**fixtures)
                world.group.cancel_scope.cancel()

    return run
