"""What holds for every store: the one in memory, and the one in a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from statews import UsageError
from statews.store import Contents, MemoryStore, OutboxStore, SQLiteStore, Stored

from .tools import add, contents_of, numbers, places, stored

pytestmark = pytest.mark.anyio

EMPTY = Contents(messages=[], positions={}, next_number=1)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> OutboxStore:
    return MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "outbox.db")


async def test_a_new_store_is_empty(store: OutboxStore) -> None:
    assert await contents_of(store) == EMPTY
    assert await contents_of(store) == EMPTY


async def test_what_was_committed_is_there_after_opening_again(store: OutboxStore) -> None:
    soon = time.time() + 3600
    messages = [
        Stored(number=1, message="text", key="k", expires_at=soon),
        Stored(number=5, message=b"binary", expires_at=float("inf")),
    ]
    await store.open()
    for message in messages:
        store.add(message)
    store.save_position("feed", '{"at": 1}')
    store.save_position("other", "[]")
    store.save_position("feed", '{"at": 2}')
    await store.commit()
    await store.close()
    assert await contents_of(store) == Contents(
        messages=messages, positions={"feed": '{"at": 2}', "other": "[]"}, next_number=6
    )


@pytest.mark.parametrize(
    "message",
    ["", b"", "1", b"1", "1.5", "\0", "a\0b", b"\0\xff", "ä€😀", "x" * 100_000, b"x" * 100_000],
    ids=lambda message: f"{type(message).__name__}-{len(message)}-{message[:1]!r}",
)
async def test_text_and_binary_come_back_as_they_were(
    store: OutboxStore, message: str | bytes
) -> None:
    await store.open()
    store.add(stored(1, message))
    await store.close()
    (back,) = (await contents_of(store)).messages
    assert (type(back.message), back.message) == (type(message), message)


async def test_close_commits_what_was_noted(store: OutboxStore) -> None:
    await store.open()
    add(store, [1, 2])
    store.remove([1])
    store.save_position("feed", "1")
    await store.close()
    assert await contents_of(store) == Contents(
        messages=[stored(2)], positions={"feed": "1"}, next_number=3
    )


async def test_close_under_cancellation_commits_as_well(store: OutboxStore) -> None:
    await store.open()
    add(store, [1])
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.close()
    assert numbers(await contents_of(store)) == [1]


@pytest.mark.parametrize("commits", [False, True])
async def test_removed_messages_are_gone_but_their_numbers_are_not_used_again(
    store: OutboxStore, commits: bool
) -> None:
    await store.open()
    add(store, [1, 2, 3])
    if commits:
        await store.commit()
    store.remove([1, 2])
    store.remove(number for number in (3, 99))
    await store.close()
    assert await contents_of(store) == Contents(messages=[], positions={}, next_number=4)


async def test_a_removal_counts_for_what_came_before_it(store: OutboxStore) -> None:
    await store.open()
    store.remove([1])
    add(store, [1])
    await store.close()
    assert numbers(await contents_of(store)) == [1]


async def test_numbers_rise(store: OutboxStore) -> None:
    await store.open()
    add(store, [3])
    with pytest.raises(UsageError, match=r"cannot add message 3: .* next one is 4 or more"):
        add(store, [3])
    await store.close()
    assert (await store.open()).next_number == 4
    with pytest.raises(UsageError, match="cannot add message 2"):
        add(store, [2])
    add(store, [4])
    await store.close()
    assert numbers(await contents_of(store)) == [3, 4]


async def test_messages_come_back_by_stream_and_number(store: OutboxStore) -> None:
    order = ["", "\0", "A", "B", "a", "a\0b", "ab", "ä", "\ufffd", "😀"]
    await store.open()
    for stream in reversed(order):
        add(store, [1, 3, 10], stream=stream)
    add(store, [2], stream="a")
    await store.close()
    expected = [(stream, number) for stream in order for number in (1, 3, 10)]
    assert places(await contents_of(store)) == sorted([*expected, ("a", 2)])


@pytest.mark.parametrize("commits", [False, True])
async def test_each_stream_has_numbers_of_its_own(store: OutboxStore, commits: bool) -> None:
    await store.open()
    for stream in ("a", "", "b"):
        add(store, [1, 2, 3], stream=stream)
        if commits:
            await store.commit()
    store.remove([1, 99], stream="a")
    store.remove([2])
    store.remove([1, 2, 3], stream="b")
    store.remove([1], stream="unheard of")
    await store.close()
    assert places(await contents_of(store)) == [("", 1), ("", 3), ("a", 2), ("a", 3)]


async def test_only_the_client_s_stream_moves_the_next_number(store: OutboxStore) -> None:
    await store.open()
    add(store, [7], stream="a")
    add(store, [2])
    add(store, [9], stream="a")
    await store.close()
    assert (await store.open()).next_number == 3
    with pytest.raises(UsageError, match=r"cannot add message 2: .* next one is 3 or more"):
        add(store, [2])
    await store.close()


@pytest.mark.parametrize("commits", [False, True])
async def test_in_other_streams_the_newer_of_two_messages_with_a_number_stays(
    store: OutboxStore, commits: bool
) -> None:
    await store.open()
    add(store, [1, 5], stream="a")
    if commits:
        await store.commit()
    store.add(stored(1, "newer", stream="a"))
    add(store, [3, 5], stream="a")
    store.remove([5], stream="a")
    await store.close()
    expected = [stored(1, "newer", stream="a"), stored(3, stream="a")]
    assert (await contents_of(store)).messages == expected


@pytest.mark.parametrize("commits", [False, True])
async def test_a_stream_is_forgotten_with_the_position_of_its_name(
    store: OutboxStore, commits: bool
) -> None:
    await store.open()
    for stream in ("", "a", "b"):
        add(store, [1, 2], stream=stream)
        store.save_position(stream, "1")
    if commits:
        await store.commit()
    store.forget("a")
    store.forget("unheard of")
    await store.close()
    contents = await contents_of(store)
    assert places(contents) == [("", 1), ("", 2), ("b", 1), ("b", 2)]
    assert contents.positions == {"": "1", "b": "1"}


async def test_what_is_forgotten_is_what_came_before(store: OutboxStore) -> None:
    await store.open()
    add(store, [4, 5], stream="a")
    store.save_position("a", "1")
    store.remove([4], stream="a")
    store.forget("a")
    add(store, [1], stream="a")
    store.save_position("a", "2")
    await store.close()
    assert await contents_of(store) == Contents(
        messages=[stored(1, stream="a")], positions={"a": "2"}, next_number=1
    )


async def test_numbers_of_a_forgotten_outbox_are_not_used_again(store: OutboxStore) -> None:
    await store.open()
    add(store, [1, 2])
    add(store, [1], stream="a")
    store.forget("")
    await store.close()
    assert await contents_of(store) == Contents(
        messages=[stored(1, stream="a")], positions={}, next_number=3
    )


@pytest.mark.parametrize(
    ("what", "act"),
    [
        ("the name of a stream", lambda store: store.add(stored(1, stream="\ud800"))),
        ("the name of a stream", lambda store: store.remove([1], stream="\ud800")),
        ("the name of a stream", lambda store: store.forget("\ud800")),
        ("the message", lambda store: store.add(stored(1, "\ud800", stream="a"))),
        ("the message", lambda store: store.add(stored(1, "\ud800"))),
        ("the key", lambda store: store.add(Stored(number=1, message="m", key="\ud800"))),
        ("the name of a position", lambda store: store.save_position("\ud800", "1")),
        ("a position", lambda store: store.save_position("feed", "\ud800")),
    ],
)
async def test_text_without_utf8_is_refused_before_it_is_in_the_way(
    store: OutboxStore, what: str, act: Callable[[OutboxStore], None]
) -> None:
    await store.open()
    with pytest.raises(UsageError, match=f"cannot store {what}: .* lone surrogates"):
        act(store)
    await store.close()
    assert await contents_of(store) == EMPTY


async def test_a_store_that_is_not_open_takes_nothing(store: OutboxStore) -> None:
    async def refuses() -> None:
        with pytest.raises(UsageError, match="the store is not open"):
            store.add(stored(1))
        with pytest.raises(UsageError, match="the store is not open"):
            store.remove([1])
        with pytest.raises(UsageError, match="the store is not open"):
            store.forget("a")
        with pytest.raises(UsageError, match="the store is not open"):
            store.save_position("feed", "1")
        with pytest.raises(UsageError, match="the store is not open"):
            await store.commit()

    await refuses()
    await store.close()  # nothing to do
    await store.open()
    await store.close()
    await store.close()
    await refuses()


async def test_a_store_is_opened_once(store: OutboxStore) -> None:
    await store.open()
    with pytest.raises(UsageError, match=r"cannot open .* is open; close"):
        await store.open()
    add(store, [1])  # it is still open
    await store.close()
    assert numbers(await contents_of(store)) == [1]


async def test_a_commit_of_nothing_is_nothing(store: OutboxStore) -> None:
    await store.open()
    await store.commit()
    add(store, [1])
    await store.commit()
    await store.commit()
    await store.close()
    assert numbers(await contents_of(store)) == [1]
