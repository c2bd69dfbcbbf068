from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Generator
from inspect import iscoroutinefunction

import anyio
import pytest

DEADLINE = 60  # seconds, for a whole test


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Give every test that waits a deadline."""
    if iscoroutinefunction(pyfuncitem.obj):
        pyfuncitem.obj = in_time(pyfuncitem.obj)
    return (yield)


def in_time(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def run(**fixtures: object) -> None:
        with anyio.fail_after(DEADLINE):
            await test(**fixtures)

    return run
