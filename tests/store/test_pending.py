"""What operations come to, in whatever portions they are done."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statews.store import Contents, MemoryStore, Stored
from statews.store.database import Database, Synchronous
from statews.store.pending import Batch, Pending

from .tools import batch, stored

streams = st.sampled_from(["", "a", "b"])
few_numbers = st.lists(st.integers(0, 12), max_size=4)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 2), st.text() | st.binary()),
        st.tuples(st.just("put"), st.sampled_from("ab"), st.integers(0, 6), st.text()),
        st.tuples(st.just("remove"), few_numbers, streams),
        st.tuples(st.just("forget"), streams),
        st.tuples(st.just("position"), streams, st.text()),
        st.tuples(st.just("flush")),
        st.tuples(st.just("flush, which is reported as failed")),
    ),
    max_size=20,
)


def note(pending: Pending | MemoryStore, operation: tuple[object, ...], next_number: int) -> int:
    match operation:
        case ("add", int() as skipped, str() | bytes() as message):
            pending.add(Stored(number=next_number + skipped, message=message))
            return next_number + skipped + 1
        case ("put", str() as stream, int() as number, str() as message):
            pending.add(Stored(number=number, message=message, stream=stream))
        case ("remove", list() as numbers, str() as stream):
            pending.remove(numbers, stream=stream)
        case ("forget", str() as stream):
            pending.forget(stream)
        case ("position", str() as name, str() as text):
            pending.save_position(name, text)
        case _:
            pass
    return next_number


async def expected(script: list[tuple[object, ...]]) -> Contents:
    model = MemoryStore()
    next_number = (await model.open()).next_number
    for operation in script:
        next_number = note(model, operation, next_number)
    await model.close()
    return await model.open()


@pytest.mark.once
@given(script=operations)
def test_a_file_written_in_portions_holds_what_memory_holds(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[object, ...]]
) -> None:
    path = tmp_path_factory.mktemp("store") / "outbox.db"
    database = Database(path, synchronous=Synchronous.NORMAL, lock_timeout=0)
    next_number = database.open().next_number
    pending = Pending(next_number)
    for operation in [*script, ("flush",)]:
        next_number = note(pending, operation, next_number)
        if str(operation[0]).startswith("flush"):
            database.apply(pending.take(pending.close_portion()))
            if operation == ("flush",):
                pending.finish()
    assert (pending.asked, pending.take(pending.asked)) == (pending.done, Batch())
    database.close()
    again = Database(path, synchronous=Synchronous.FULL, lock_timeout=0)
    assert again.open() == anyio.run(expected, script)
    again.close()


def test_what_is_added_and_taken_away_at_once_is_only_counted() -> None:
    pending = Pending(1)
    pending.add(stored(1))
    pending.remove([1], stream="")
    pending.add(stored(5, stream="a"))
    pending.save_position("a", "1")
    pending.forget("a")
    expected = Batch(ended={"a": None}, removed={"": [(1, 1)]}, next_number=2)
    assert pending.take(pending.close_portion()) == expected


def test_any_number_of_streams_leaves_nothing_behind() -> None:
    pending = Pending(1)
    for stream in map(str, range(10_000)):
        pending.add(stored(1, stream=stream))
        pending.remove([1], stream=stream)
        pending.forget(stream)
    assert pending.take(pending.close_portion()) == Batch(
        ended=dict.fromkeys(map(str, range(10_000)))
    )
    pending.finish()
    assert pending.take(pending.close_portion()) == Batch()
    assert (pending.done, pending._next_number) == (30_000, 1)


def test_a_portion_ends_where_it_was_asked_to() -> None:
    pending = Pending(1)
    for number in (1, 2):
        pending.add(stored(number))
    assert pending.close_portion() == 2
    pending.add(stored(3))
    assert pending.take(1) == Batch()
    assert pending.take(2) == batch(stored(1), stored(2))
    pending.finish()
    assert (pending.done, pending.asked) == (2, 3)
    assert pending.take(pending.close_portion()) == batch(stored(3))


def test_what_failed_and_what_comes_later_are_done_as_one() -> None:
    pending = Pending(1)
    for number in range(1, 101):
        pending.add(stored(number, stream="a"))
        pending.remove([number - 2], stream="a")
        pending.save_position("a", str(number))
        pending.take(pending.close_portion())
    assert pending.take(pending.asked) == Batch(
        removed={"a": [(-1, 98)]},
        added={"a": {99: stored(99, stream="a"), 100: stored(100, stream="a")}},
        positions={"a": "100"},
    )
    assert pending.done == 0


def test_spans_end_where_something_is_kept() -> None:
    kept = Batch()
    kept.remove("a", [(7, 7), (3, 3), (4, 4)])
    kept.remove("a", [(1, 1), (8, 8), (4, 4)])
    kept.remove("a", [])
    assert kept.removed == {"a": [(1, 1), (3, 4), (7, 8)]}


def test_what_was_done_by_another_is_not_done_again() -> None:
    pending = Pending(1)
    pending.add(stored(1))
    first = pending.close_portion()
    pending.add(stored(2))
    pending.take(pending.close_portion())
    pending.finish()
    assert pending.take(first) == Batch()
    assert not pending.has_taken
