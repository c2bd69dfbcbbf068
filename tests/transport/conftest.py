from __future__ import annotations

import functools
import os
import stat
from collections.abc import Awaitable, Callable, Generator
from inspect import iscoroutinefunction
from pathlib import Path

import anyio
import pytest
import trustme

from .peers import TLS

DEADLINE = 30  # seconds, for a whole test


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


def is_socket(descriptor: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:  # what listed them has been closed since
        return False


def open_sockets() -> set[int]:
    descriptors = [int(each.name) for each in Path("/dev/fd").iterdir()]
    return {each for each in descriptors if is_socket(each)}


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Generator[None]:
    """No test may leave a socket open, whatever it has gone through."""
    before = open_sockets()
    yield
    assert open_sockets() == before


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine's environment says about proxies is not for the tests."""
    for name in os.environ:
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def tls() -> TLS:
    """Certificates that only the tests trust."""
    return TLS(trustme.CA())
