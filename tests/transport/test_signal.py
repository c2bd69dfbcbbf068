"""A signal lets go the one task that waits for it, whoever comes first."""

from __future__ import annotations

import anyio
import pytest

from statews.transport.eventloop import make_signal

pytestmark = pytest.mark.anyio
DEADLINE = 20.0  # seconds for what takes milliseconds


async def test_whoever_waits_goes_on_when_it_is_set() -> None:
    signal, went_on = make_signal(), anyio.Event()

    async def wait() -> None:
        await signal.wait()
        went_on.set()

    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert not went_on.is_set()
            signal.set()
            signal.set()
            await went_on.wait()


async def test_of_one_that_is_set_nobody_waits() -> None:
    signal = make_signal()
    signal.set()
    with anyio.fail_after(DEADLINE):
        await signal.wait()
        await signal.wait()


async def test_whoever_is_cancelled_waits_no_longer_and_may_be_set_all_the_same() -> None:
    signal = make_signal()
    with anyio.move_on_after(0.01) as scope:
        await signal.wait()
    assert scope.cancelled_caught
    signal.set()


async def test_set_and_cancelled_at_once_it_ends_either_way() -> None:
    signal, ended = make_signal(), anyio.Event()
    scope = anyio.CancelScope()

    async def wait() -> None:
        with scope:
            await signal.wait()
        ended.set()

    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            signal.set()
            scope.cancel()
            await ended.wait()
