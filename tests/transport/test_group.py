"""How the body of an `async with` is left: its exception comes first."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import anyio
import pytest

import statews
from statews.testing import BACKENDS, FaultProxy, Network, run
from statews.testing.virtual import Backend

Make = Callable[[], AbstractAsyncContextManager[object]]


async def echo(link: statews.Link) -> None:
    async for message in link:
        await link.send(message)


def connection() -> statews.Connection:
    return statews.connect("ws://example.org/", wait=False)


def listener() -> statews.Listener:
    return statews.listen(echo, "example.org", 80)


def proxy() -> FaultProxy:
    return FaultProxy(port=1)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("make", [connection, listener, proxy])
def test_the_bodys_exception_leaves_even_if_a_cancellation_comes_as_well(
    make: Make, backend: Backend
) -> None:
    async def main() -> None:
        with Network():
            async with make():
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await anyio.sleep_forever()
                raise KeyError("mine")

    async def cancelled_meanwhile() -> None:
        with Network(), anyio.CancelScope() as scope:
            async with make():
                scope.cancel()
                raise KeyError("mine")

    for play in (main, cancelled_meanwhile):
        with pytest.raises(KeyError, match="mine"):
            run(play, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("make", [connection, listener, proxy])
def test_a_cancellation_ends_the_body_and_what_it_had(make: Make, backend: Backend) -> None:
    async def main() -> None:
        with Network(), anyio.move_on_after(1) as scope:
            async with make():
                await anyio.sleep_forever()
        assert scope.cancelled_caught

    run(main, backend=backend)
