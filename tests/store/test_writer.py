"""Group commit: who waits for which flush, whoever of them is cancelled or fails."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from statews.errors import StoreBusyError, StoreError, StoreFullError, StoreReadOnlyError
from statews.store import SQLiteStore
from statews.store import database as database_module

from ..memory import traced
from .tools import (
    add,
    connection_of,
    contents_of,
    database_of,
    numbers,
    opened,
    stored,
    transactions,
    wait_for_lone_threads,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


async def add_and_commit(store: SQLiteStore, name: int, done: list[int]) -> None:
    assert store._writer is not None
    store.add(stored(store._writer.pending._next_number))  # trio starts tasks in any order
    await store.commit()
    done.append(name)


async def test_those_who_commit_during_a_flush_share_the_next_one(path: Path) -> None:
    done: list[int] = []
    async with opened(path) as store:
        ends = transactions(store)
        async with anyio.create_task_group() as group:
            with database_of(store).turn:  # nothing gets on the disk meanwhile
                for number in range(1, 101):
                    group.start_soon(add_and_commit, store, number, done)
                    if number == 1:
                        await wait_all_tasks_blocked()
                await wait_all_tasks_blocked()
                assert done == []
        assert sorted(done) == list(range(1, 101))
        assert ends == ["COMMIT", "COMMIT"]
    assert numbers(await contents_of(store)) == list(range(1, 101))


async def test_a_flush_goes_on_though_its_task_is_cancelled(path: Path) -> None:
    done: list[int] = []
    async with opened(path) as store:
        ends = transactions(store)
        async with anyio.create_task_group() as group:
            with database_of(store).turn:
                async with anyio.create_task_group() as first:
                    first.start_soon(add_and_commit, store, 1, done)
                    await wait_all_tasks_blocked()
                    group.start_soon(add_and_commit, store, 2, done)
                    await wait_all_tasks_blocked()
                    first.cancel_scope.cancel()
                    with anyio.CancelScope(shield=True):
                        await wait_all_tasks_blocked()
                    assert done == []
                    database_of(store).turn.release()
                database_of(store).turn.acquire()
        assert sorted(done) == [1, 2]  # the first as well: it is told what came of it
        assert ends == ["COMMIT", "COMMIT"]
    assert numbers(await contents_of(store)) == [1, 2]


async def test_one_that_is_cancelled_before_its_flush_leaves_it_to_the_others(path: Path) -> None:
    done: list[int] = []
    async with opened(path) as store:
        async with anyio.create_task_group() as group, anyio.create_task_group() as first:
            first.start_soon(add_and_commit, store, 1, done)
            first.start_soon(add_and_commit, store, 2, done)
            group.start_soon(add_and_commit, store, 3, done)
            await checkpoint()
            first.cancel_scope.cancel()
        assert 3 in done
        with anyio.CancelScope() as scope:
            scope.cancel()
            await add_and_commit(store, 4, done)
        assert 4 not in done
        await store.commit()  # what was noted is still noted
        assert store._writer is not None
        assert store._writer.pending.done == store._writer.pending.asked == 4
    assert numbers(await contents_of(store)) == [1, 2, 3, 4]


async def test_one_that_waits_for_a_flush_may_leave(path: Path) -> None:
    done: list[int] = []
    async with opened(path) as store:
        async with anyio.create_task_group() as group:
            with database_of(store).turn:
                group.start_soon(add_and_commit, store, 1, done)
                await wait_all_tasks_blocked()
                async with anyio.create_task_group() as leaving:
                    leaving.start_soon(add_and_commit, store, 2, done)
                    await wait_all_tasks_blocked()
                    leaving.cancel_scope.cancel()
        assert done == [1]
    assert numbers(await contents_of(store)) == [1, 2]  # `close` took it along


async def test_every_waiter_of_a_failed_flush_hears_it_and_the_next_commit_tries_again(
    path: Path,
) -> None:
    heard: list[StoreError] = []

    async def fail(number: int) -> None:
        with pytest.raises(
            StoreFullError, match=r"could not save messages to .* is full; "
        ) as why:
            await add_and_commit(store, number, [])
        heard.append(why.value)

    async with opened(path) as store:
        connection = connection_of(store)
        connection.execute("PRAGMA max_page_count = 1")  # or as many as there are
        store.add(stored(1, b"x" * 100_000))
        async with anyio.create_task_group() as group:
            with database_of(store).turn:
                for number in (2, 3, 4):
                    group.start_soon(fail, number)
                await wait_all_tasks_blocked()
        assert len(set(map(id, heard))) == 3
        assert {error.path for error in heard} == {str(path)}
        assert all(error.__cause__ is not None for error in heard)
        assert not connection.in_transaction
        connection.execute("PRAGMA max_page_count = 1000000")
        ends = transactions(store)
        await store.commit()
        assert ends == ["COMMIT"]
    assert numbers(await contents_of(store)) == [1, 2, 3, 4]


async def test_what_cannot_be_written_takes_no_more_than_what_is_kept(path: Path) -> None:
    async with opened(path) as store:
        connection_of(store).execute("PRAGMA max_page_count = 1")
        with traced() as memory:
            for number in range(1, 101):
                store.add(stored(number, bytes(100_000), stream="a"))
                store.remove([number - 2], stream="a")
                store.save_position("a", f"{number:100000}")
                with pytest.raises(StoreFullError):
                    await store.commit()
            gc.collect()  # tracebacks, and what their frames hold
            assert memory()[0] < 1_000_000
        connection_of(store).execute("PRAGMA max_page_count = 1000000")
    contents = await contents_of(store)
    assert numbers(contents, "a") == [99, 100]
    assert contents.positions["a"].strip() == "100"


async def test_one_that_waits_for_a_flush_without_its_own_does_not_hear_that_it_failed(
    path: Path,
) -> None:
    done: list[int] = []

    async def fail() -> None:
        with pytest.raises(StoreReadOnlyError, match="readonly"):
            await add_and_commit(store, 1, done)
        connection_of(store).execute("PRAGMA query_only = OFF")

    async with opened(path) as store:
        connection_of(store).execute("PRAGMA query_only = ON")
        async with anyio.create_task_group() as group:
            with database_of(store).turn:
                group.start_soon(fail)
                await wait_all_tasks_blocked()
                group.start_soon(add_and_commit, store, 2, done)
                await wait_all_tasks_blocked()
        assert done == [2]
    assert numbers(await contents_of(store)) == [1, 2]


async def test_a_store_that_cannot_be_written_is_closed_all_the_same(path: Path) -> None:
    store = SQLiteStore(path)
    await store.open()
    connection_of(store).execute("PRAGMA query_only = ON")
    add(store, [1])
    with pytest.raises(StoreReadOnlyError, match="could not save messages"):
        await store.close()
    await store.close()
    assert numbers(await contents_of(store)) == []


async def test_one_whose_rest_was_lost_in_close_hears_it(path: Path) -> None:
    heard: list[str] = []

    async def fail(act: Callable[[], Awaitable[None]]) -> None:
        with pytest.raises(StoreError, match="could not save messages") as caught:
            await act()
        heard.append(str(caught.value).split(": ", 1)[1].split(";")[0])

    store = SQLiteStore(path)
    await store.open()
    connection_of(store).execute("PRAGMA query_only = ON")
    async with anyio.create_task_group() as group:
        with database_of(store).turn:
            for act in (
                partial(add_and_commit, store, 1, []),
                partial(add_and_commit, store, 2, []),
            ):
                group.start_soon(fail, act)
                await wait_all_tasks_blocked()
            group.start_soon(fail, store.close)
            await wait_all_tasks_blocked()
    assert sorted(heard) == ["attempt to write a readonly database"] * 2 + ["it is closed"]


async def test_those_who_wait_when_the_store_is_closed_get_their_flush(path: Path) -> None:
    done: list[int] = []
    store = SQLiteStore(path)
    await store.open()
    async with anyio.create_task_group() as group:
        with database_of(store).turn:
            for name in (1, 2):
                group.start_soon(add_and_commit, store, name, done)
                await wait_all_tasks_blocked()
            group.start_soon(store.close)
            await wait_all_tasks_blocked()
    assert sorted(done) == [1, 2]
    assert numbers(await contents_of(store)) == [1, 2]


async def test_closing_twice_at_once_is_closing_once(path: Path) -> None:
    store = SQLiteStore(path)
    await store.open()
    add(store, [1])
    async with anyio.create_task_group() as group:
        with database_of(store).turn:
            group.start_soon(store.close)
            group.start_soon(store.close)
            await wait_all_tasks_blocked()
            with pytest.raises(StoreBusyError, match="it is open in this process"):
                await store.open()
    assert numbers(await contents_of(store)) == [1]


class TestCancelledByAsyncio:
    """`Task.cancel` knows no shields: the task leaves, the thread goes on."""

    @pytest.fixture(params=["asyncio"])
    def anyio_backend(self, request: pytest.FixtureRequest) -> str:
        backend: str = request.param
        return backend

    async def test_the_others_get_their_flush(self, path: Path) -> None:
        done: list[int] = []
        async with opened(path) as store:
            ends = transactions(store)
            async with anyio.create_task_group() as group:
                with database_of(store).turn:
                    task = asyncio.create_task(add_and_commit(store, 1, done))
                    await wait_all_tasks_blocked()
                    group.start_soon(add_and_commit, store, 2, done)
                    await wait_all_tasks_blocked()
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
                    assert done == []
            assert done == [2]
            # The threads take turns in any order; the second finds less to do, or nothing.
            assert ends in (["COMMIT"], ["COMMIT", "COMMIT"])
        assert numbers(await contents_of(store)) == [1, 2]

    async def test_a_store_that_opens_too_late_is_closed_again(self, path: Path) -> None:
        store = SQLiteStore(path)
        with database_module._claiming:
            task = asyncio.create_task(store.open())
            await wait_all_tasks_blocked()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        wait_for_lone_threads()
        assert numbers(await contents_of(store)) == []

    async def test_a_store_is_not_opened_after_it_was_left(self, path: Path) -> None:
        store = SQLiteStore(path)
        task = asyncio.create_task(store.open())
        await checkpoint()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        wait_for_lone_threads()
        assert list(path.parent.iterdir()) == []

    @pytest.mark.parametrize("begins", [False, True])
    async def test_a_store_is_closed_with_all_that_was_noted(
        self, path: Path, begins: bool
    ) -> None:
        store = SQLiteStore(path)
        await store.open()
        add(store, [1])
        with database_of(store).turn:
            task = asyncio.create_task(store.close())
            await (wait_all_tasks_blocked() if begins else checkpoint())
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        wait_for_lone_threads()
        assert numbers(await contents_of(store)) == [1]
