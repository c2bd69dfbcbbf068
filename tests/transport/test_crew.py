"""Tasks that end by themselves: all of them run, and leaving waits for each."""

from __future__ import annotations

import asyncio

import anyio
import anyio.lowlevel
import pytest

from statews.transport.crew import make_crew

pytestmark = pytest.mark.anyio
DEADLINE = 20.0  # seconds for what takes milliseconds


class Work:
    """What tasks do, and what came of it."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.told = anyio.Event()

    async def do(self, name: str, turns: int) -> None:
        self.begun.append(name)
        await self.told.wait()
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        self.ended.append(name)


async def test_to_leave_is_to_wait_for_all() -> None:
    work, crew = Work(), make_crew()
    with anyio.fail_after(DEADLINE):
        await crew.enter()
        for name in "abc":
            crew.start(work.do, name, len(work.begun))
        await anyio.wait_all_tasks_blocked()
        assert sorted(work.begun) == ["a", "b", "c"]
        assert work.ended == []
        work.told.set()
        await crew.leave()
    assert sorted(work.ended) == ["a", "b", "c"]


async def test_a_crew_without_a_task_is_left_at_once() -> None:
    crew = make_crew()
    with anyio.fail_after(DEADLINE):
        await crew.enter()
        await crew.leave()


async def test_a_task_may_start_another_while_the_crew_is_being_left() -> None:
    work, crew = Work(), make_crew()

    async def start_one() -> None:
        await work.told.wait()
        crew.start(work.do, "late", 3)

    with anyio.fail_after(DEADLINE):
        await crew.enter()
        crew.start(start_one)
        await anyio.wait_all_tasks_blocked()
        work.told.set()
        await crew.leave()
    assert work.ended == ["late"]


async def test_whoever_leaves_waits_even_if_it_is_cancelled() -> None:
    work, crew = Work(), make_crew()
    with anyio.fail_after(DEADLINE), anyio.CancelScope() as scope:
        await crew.enter()
        crew.start(work.do, "a", 5)
        await anyio.wait_all_tasks_blocked()
        work.told.set()
        scope.cancel()
        await crew.leave()
        assert work.ended == ["a"]


async def test_a_task_may_be_cancelled_in_a_scope_of_its_own() -> None:
    crew, scope = make_crew(), anyio.CancelScope()
    ended: list[bool] = []

    async def wait() -> None:
        with scope:
            await anyio.sleep_forever()
        ended.append(scope.cancelled_caught)

    with anyio.fail_after(DEADLINE):
        await crew.enter()
        crew.start(wait)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        await crew.leave()
    assert ended == [True]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio cancels scopes, not tasks
async def test_whoever_leaves_waits_even_if_its_task_is_cancelled_again_and_again() -> None:
    work, crew, left = Work(), make_crew(), anyio.Event()

    async def leave() -> None:
        try:
            await crew.leave()
        finally:
            left.set()

    with anyio.fail_after(DEADLINE):
        await crew.enter()
        crew.start(work.do, "a", 3)
        await anyio.wait_all_tasks_blocked()
        leaving = asyncio.ensure_future(leave())
        for _ in range(3):
            await anyio.wait_all_tasks_blocked()
            leaving.cancel()
        await anyio.wait_all_tasks_blocked()
        assert not left.is_set()
        work.told.set()
        await left.wait()
    assert work.ended == ["a"]
    with pytest.raises(asyncio.CancelledError):
        leaving.result()
