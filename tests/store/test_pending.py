"""What operations come to, in whatever portions they are done."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statews.store import Contents, MemoryStore, Stored
from statews.store.database import Database, Synchronous
from statews.store.pending import Batch, Pending, net

from .tools import stored

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
            noted = pending.first(pending.asked)
            database.apply(net(noted))
            if operation == ("flush",):
                pending.finish(len(noted))
    assert (pending.asked, list(pending.first(pending.asked))) == (pending.done, [])
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
    assert net(pending.first(5)) == Batch(
        ended=["a"], removed=[("", 1)], added=[], positions={}, next_number=2
    )


def test_any_number_of_streams_leaves_nothing_behind() -> None:
    pending = Pending(1)
    for stream in map(str, range(10_000)):
        pending.add(stored(1, stream=stream))
        pending.remove([1], stream=stream)
        pending.forget(stream)
    assert net(pending.first(30_000)).added == []
    pending.finish(30_000)
    assert (pending._operations, pending._next_number) == ([], 1)


def test_a_portion_ends_where_it_was_asked_to() -> None:
    pending = Pending(1)
    for number in (1, 2, 3):
        pending.add(stored(number))
    assert pending.first(2) == [stored(1), stored(2)]
    pending.finish(2)
    assert (pending.first(1), pending.first(3)) == ([], [stored(3)])
