"""Changes of the user's own tables: in one transaction with the position, or not at all."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from statews import UsageError
from statews.errors import StoreCorruptError, StoreError, StoreFullError
from statews.store import Contents, SQLiteStore

from .tools import (
    add,
    connection_of,
    contents_of,
    database_of,
    numbers,
    opened,
    stored,
    transactions,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def insert(value: object, connection: sqlite3.Connection) -> int:
    """An effect, which returns how many rows there are."""
    connection.execute("CREATE TABLE IF NOT EXISTS mine (value UNIQUE)")
    connection.execute("INSERT INTO mine VALUES (?)", (value,))
    (count,) = connection.execute("SELECT count(*) FROM mine").fetchone()
    assert isinstance(count, int)
    return count


def values(path: Path) -> list[object]:
    """What effects inserted into the store, which is closed."""
    with closing(sqlite3.connect(path)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'mine'").fetchone():
            return []
        return [value for (value,) in connection.execute("SELECT value FROM mine ORDER BY value")]


async def state(path: Path) -> tuple[list[object], str | None, list[int]]:
    """What effects inserted, the position "feed", and the numbers of the messages."""
    contents = await contents_of(SQLiteStore(path))
    return values(path), contents.positions.get("feed"), numbers(contents)


async def test_one_transaction_holds_the_effect_the_position_and_what_was_noted(
    path: Path,
) -> None:
    async with opened(path) as store:
        add(store, [1, 2], stream="session")
        store.save_position("feed", "0")
        store.save_position("other", "0")
        ends = transactions(store)
        assert await store.transact(partial(insert, "a"), name="feed", position="1") == 1
        store.save_position("feed", "1.5")
        assert await store.transact(partial(insert, "b"), name="feed", position="2") == 2
        await store.commit()
        assert ends == ["COMMIT", "COMMIT"]
    assert values(path) == ["a", "b"]
    assert await contents_of(store) == Contents(
        messages=[stored(1, stream="session"), stored(2, stream="session")],
        positions={"feed": "2", "other": "0"},
        next_number=1,
    )


async def test_what_is_noted_meanwhile_comes_after(path: Path) -> None:
    async with opened(path) as store:
        async with anyio.create_task_group() as group:
            with database_of(store).turn:
                group.start_soon(
                    partial(store.transact, partial(insert, "a"), name="feed", position="1")
                )
                await wait_all_tasks_blocked()
                store.save_position("feed", "2")
                add(store, [1])
        ends = transactions(store)
        await store.commit()
        assert ends == ["COMMIT"]
    assert await state(path) == (["a"], "2", [1])


class Deliberate(BaseException):
    """What an effect raises."""


@pytest.mark.parametrize(
    "error", [Deliberate(), ValueError("no"), sqlite3.OperationalError("database is locked")]
)
async def test_an_effect_that_raises_leaves_nothing_and_its_exception_comes_as_it_is(
    path: Path, error: BaseException
) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        insert("a", connection)
        raise error

    async with opened(path) as store:
        store.save_position("feed", "0")
        add(store, [1])
        with pytest.raises(type(error)) as caught:
            await store.transact(fail, name="feed", position="1")
        assert caught.value is error
        assert error.__cause__ is None
        ends = transactions(store)
        await store.commit()  # what was noted is still noted
        assert ends == ["COMMIT"]
    assert await state(path) == ([], "0", [1])


@pytest.mark.parametrize(
    "statement",
    ["INSERT INTO mine VALUES ('a')", "INSERT OR ROLLBACK INTO mine VALUES ('a')"],
)
async def test_what_a_constraint_refuses_is_the_user_s_to_know(path: Path, statement: str) -> None:
    def again(connection: sqlite3.Connection) -> None:
        insert("b", connection)
        connection.execute(statement)

    async with opened(path) as store:
        await store.transact(partial(insert, "a"), name="feed", position="1")
        with pytest.raises(sqlite3.IntegrityError, match=r"UNIQUE .* failed: mine\.value"):
            await store.transact(again, name="feed", position="2")
        await store.transact(partial(insert, "c"), name="feed", position="3")
    assert await state(path) == (["a", "c"], "3", [])


def refused_by_sqlite(connection: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        connection.execute("INSERT OR ROLLBACK INTO mine VALUES (1), (1)")


def rollback_and_begin(connection: sqlite3.Connection) -> None:
    connection.rollback()
    connection.execute("BEGIN")


@pytest.mark.parametrize(
    ("end", "stays"),
    [
        (lambda connection: connection.commit(), True),
        (lambda connection: connection.rollback(), False),
        (lambda connection: connection.executescript("SELECT 1"), True),
        (lambda connection: connection.__exit__(None, None, None), True),
        (rollback_and_begin, False),
        (lambda connection: connection.executescript("BEGIN"), True),
        (refused_by_sqlite, False),
    ],
    ids=["commit", "rollback", "script", "with", "rollback-begin", "commit-begin", "conflict"],
)
async def test_an_effect_that_ends_the_transaction_is_told_so(
    path: Path, end: Callable[[sqlite3.Connection], object], stays: bool
) -> None:
    def effect(connection: sqlite3.Connection) -> None:
        insert("a", connection)
        end(connection)
        if connection.in_transaction:
            insert("b", connection)

    async with opened(path) as store:
        add(store, [1])
        with pytest.raises(UsageError, match=r"the effect .* ended the transaction; leave that"):
            await store.transact(effect, name="feed", position="1")
        assert not connection_of(store).in_transaction
        ends = transactions(store)
        await store.transact(partial(insert, "c"), name="feed", position="2")
        assert ends == ["COMMIT"]
    assert await state(path) == (["a", "c"] if stays else ["c"], "2", [1])


async def test_an_effect_may_use_savepoints(path: Path) -> None:
    def effect(connection: sqlite3.Connection) -> None:
        insert("a", connection)
        connection.execute("SAVEPOINT inner")
        insert("b", connection)
        connection.execute("ROLLBACK TO inner")  # and leaves it open

    async with opened(path) as store:
        await store.transact(effect, name="feed", position="1")
    assert await state(path) == (["a"], "1", [])


async def test_what_cannot_be_written_is_undone_with_the_effect(path: Path) -> None:
    async with opened(path) as store:
        await store.transact(partial(insert, "a"), name="feed", position="1")
        connection_of(store).execute("PRAGMA max_page_count = 1")  # or as many as there are
        store.add(stored(1, b"x" * 100_000))
        with pytest.raises(StoreFullError, match=r"could not save messages to .* is full; "):
            await store.transact(partial(insert, "b"), name="feed", position="2")
        connection_of(store).execute("PRAGMA max_page_count = 1000000")
        await store.commit()
    assert await state(path) == (["a"], "1", [1])


async def test_an_effect_that_breaks_the_store_s_tables_is_undone(path: Path) -> None:
    def drop(connection: sqlite3.Connection) -> None:
        connection.execute("DROP TABLE outbox")

    async with opened(path) as store:
        add(store, [1])
        with pytest.raises(StoreCorruptError, match="no such table"):
            await store.transact(drop, name="feed", position="1")
    assert await state(path) == ([], None, [1])


async def test_wrong_calls_are_refused_before_the_effect_runs(path: Path) -> None:
    def never(_: sqlite3.Connection) -> None:
        raise AssertionError

    store = SQLiteStore(path)
    for _ in range(2):
        with pytest.raises(UsageError, match="the store is not open"):
            await store.transact(never, name="feed", position="1")
        await store.open()
        with pytest.raises(UsageError, match="cannot store the name of a position: "):
            await store.transact(never, name="\ud800", position="1")
        with pytest.raises(UsageError, match="cannot store a position: "):
            await store.transact(never, name="feed", position="\ud800")
        await store.close()


async def test_many_at_once_take_turns(path: Path) -> None:
    counts: list[int] = []

    async def run(number: int) -> None:
        add(store, [1], stream=f"{number}")
        counts.append(
            await store.transact(partial(insert, number), name=f"{number}", position="1")
        )

    async with opened(path) as store, anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(run, number)
            group.start_soon(store.commit)
    assert sorted(counts) == list(range(1, 51))
    assert values(path) == list(range(50))
    contents = await contents_of(store)
    assert set(contents.positions) == {each.stream for each in contents.messages}
    assert len(contents.messages) == 50


async def test_one_that_is_cancelled_before_its_turn_did_nothing(path: Path) -> None:
    async with opened(path) as store:
        add(store, [1])
        with anyio.CancelScope() as scope:
            scope.cancel()
            await store.transact(partial(insert, "a"), name="feed", position="1")
        assert scope.cancelled_caught
    assert await state(path) == ([], None, [1])


async def test_one_that_is_cancelled_in_its_turn_is_done_and_told(path: Path) -> None:
    told: list[int] = []

    async def run() -> None:
        told.append(await store.transact(partial(insert, "a"), name="feed", position="1"))

    async with opened(path) as store, anyio.create_task_group() as group:
        with database_of(store).turn:
            group.start_soon(run)
            await wait_all_tasks_blocked()
            group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await wait_all_tasks_blocked()
            assert told == []
    assert told == [1]
    assert await state(path) == (["a"], "1", [])


async def test_closing_waits_for_those_that_were_before_it(path: Path) -> None:
    store = SQLiteStore(path)
    await store.open()
    async with anyio.create_task_group() as group:
        with database_of(store).turn:
            for act in (
                partial(store.transact, partial(insert, "a"), name="feed", position="1"),
                store.close,
            ):
                group.start_soon(act)
                await wait_all_tasks_blocked()
    assert await state(path) == (["a"], "1", [])


class TestCancelledByAsyncio:
    """`Task.cancel` knows no shields: the task leaves, the thread goes on."""

    @pytest.fixture(params=["asyncio"])
    def anyio_backend(self, request: pytest.FixtureRequest) -> str:
        backend: str = request.param
        return backend

    async def leave(self, store: SQLiteStore, act: Callable[[], Awaitable[object]]) -> None:
        """Begin and leave a transaction, and do something else before its thread can go on."""

        async def run() -> None:
            await store.transact(partial(insert, "a"), name="feed", position="1")

        with database_of(store).turn:
            task = asyncio.create_task(run())
            await wait_all_tasks_blocked()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            other = asyncio.ensure_future(act())
            await wait_all_tasks_blocked()
        await other

    async def test_the_transaction_is_done_as_a_whole(self, path: Path) -> None:
        async with opened(path) as store:
            add(store, [1])
            await self.leave(
                store,
                partial(store.transact, partial(insert, "b"), name="other", position="1"),
            )
            await store.commit()
        assert await state(path) == (["a", "b"], "1", [1])

    async def test_or_not_at_all_if_the_store_is_closed_first(self, path: Path) -> None:
        store = SQLiteStore(path)
        await store.open()
        add(store, [1])
        await self.leave(store, store.close)
        assert await state(path) in [(["a"], "1", [1]), ([], None, [1])]
        with pytest.raises(UsageError, match="the store is not open"):
            await store.transact(partial(insert, "b"), name="feed", position="2")


async def test_one_whose_store_was_closed_meanwhile_hears_it(path: Path) -> None:
    async with opened(path) as store:
        database_of(store).close()
        with pytest.raises(StoreError, match=r"could not save .*: it is closed; open"):
            await store.transact(partial(insert, "a"), name="feed", position="1")
    assert await state(path) == ([], None, [])
