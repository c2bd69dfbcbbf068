"""Virtual time: clocks that jump, orders from seeds, and what is said of tests that hang."""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Awaitable, Callable

import anyio
import pytest
import trio
from anyio import current_time
from anyio.lowlevel import checkpoint

from statews import UsageError
from statews.testing.hanging import HangError
from statews.testing.orders import Tape
from statews.testing.virtual import BACKENDS, Backend, VirtualLoop, explore, run

backends = pytest.mark.parametrize("backend", BACKENDS)


@backends
def test_a_year_takes_no_time_and_begins_at_nought(backend: Backend) -> None:
    async def main() -> tuple[float, float]:
        began = current_time()
        await anyio.sleep_until(began + 31_536_000)
        return began, current_time()

    began, ended = run(main, backend=backend, limit=1e9)
    assert (round(began), round(ended)) == (0, 31_536_000)


@backends
def test_deadlines_come_in_their_order(backend: Backend) -> None:
    seen: list[int] = []

    async def note(number: int) -> None:
        await anyio.sleep(number)
        seen.append(number)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for number in (3, 1, 2):
                group.start_soon(note, number)

    run(main, backend=backend)
    assert seen == [1, 2, 3]


async def order_of(count: int, before: Callable[[], None] = lambda: None) -> tuple[int, ...]:
    """In which order tasks come that become ready at once."""
    order: list[int] = []

    async def note(number: int) -> None:
        await event.wait()
        order.append(number)

    event = anyio.Event()
    async with anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(note, number)
        await anyio.wait_all_tasks_blocked()
        before()
        event.set()
    return tuple(order)


@backends
def test_a_seed_decides_the_order_of_ready_tasks(backend: Backend) -> None:
    def order(seed: int) -> tuple[int, ...]:
        return run(lambda: order_of(5), backend=backend, seed=seed)

    orders = [order(seed) for seed in range(20)]
    assert orders == [order(seed) for seed in range(20)]
    assert len(set(orders)) > 10


def test_asyncio_without_an_order_has_its_own() -> None:
    orders = {anyio.run(order_of, 5, backend_options={"loop_factory": VirtualLoop})}
    assert orders == {(0, 1, 2, 3, 4)}


def test_every_order_is_tried_once() -> None:
    orders: list[tuple[int, ...]] = []

    async def main(tape: Tape) -> None:
        orders.append(await order_of(3, tape.start))
        tape.stop()

    assert explore(main) == len(orders)
    assert set(orders) == set(itertools.permutations(range(3)))


def test_orders_that_never_count_are_no_success() -> None:
    async def main(_: Tape) -> None:
        await order_of(4)

    with pytest.raises(UsageError, match="call start"):
        explore(main)


@backends
def test_chance_comes_from_the_seed_and_goes_on_as_if_nothing_had_been(backend: Backend) -> None:
    async def main() -> float:
        await checkpoint()
        return random.random()  # noqa: S311

    state = random.getstate()
    drawn = [run(main, backend=backend, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert random.getstate() == state


def test_no_more_orders_are_tried_than_asked_for() -> None:
    async def main(tape: Tape) -> None:
        tape.start()
        await order_of(4)

    assert explore(main, most=10) == 10


def test_trio_has_its_own_order_again_afterwards() -> None:
    scheduler = vars(trio._core._run)
    before = scheduler["_r"], scheduler["_ALLOW_DETERMINISTIC_SCHEDULING"]
    with pytest.raises(ZeroDivisionError):
        run(fail, backend="trio")
    assert (scheduler["_r"], scheduler["_ALLOW_DETERMINISTIC_SCHEDULING"]) == before


async def fail() -> None:
    raise ZeroDivisionError("on purpose")


async def fail_a_test() -> None:
    await checkpoint()
    pytest.fail("on purpose")


@backends
@pytest.mark.parametrize("main", [fail, fail_a_test])
def test_a_failure_leaves_as_it_is_and_names_its_seed(
    backend: Backend, main: Callable[[], Awaitable[None]]
) -> None:
    with pytest.raises((ZeroDivisionError, pytest.fail.Exception), match="on purpose") as caught:
        run(main, backend=backend, seed=17)
    assert vars(caught.value)["__notes__"] == [f"on {backend}, with seed 17"]


def test_a_failure_names_its_order_and_that_repeats_it() -> None:
    runs = 0

    async def main(tape: Tape) -> None:
        nonlocal runs
        runs += 1
        order = await order_of(3, tape.start)
        tape.stop()
        assert order != (2, 0, 1), "the wrong one"

    with pytest.raises(AssertionError, match="the wrong one") as caught:
        explore(main)
    assert runs > 1
    (note,) = vars(caught.value)["__notes__"]
    with pytest.raises(AssertionError, match="the wrong one"):
        explore(main, first=note.removeprefix("in order "), most=1)


async def wait_for_nothing() -> None:
    await anyio.Event().wait()


async def wait_in_a_child() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(wait_for_nothing)


@backends
def test_a_test_that_hangs_tells_where_each_task_waits(backend: Backend) -> None:
    with pytest.raises(HangError, match="still running after 86400 virtual seconds") as caught:
        run(wait_in_a_child, backend=backend)
    text = "\n".join(caught.value.tasks)
    assert len(caught.value.tasks) == 2
    assert "in wait_for_nothing: await anyio.Event().wait()" in text
    assert "in wait_in_a_child: async with anyio.create_task_group() as group:" in text
    assert "site-packages" not in text


@backends
def test_a_busy_wait_ends_at_the_limit(backend: Backend) -> None:
    async def main() -> None:
        for seconds in itertools.repeat(1):
            await anyio.sleep(seconds)

    with pytest.raises(HangError, match="after 50 virtual seconds"):
        run(main, backend=backend, limit=50)


@backends
def test_a_hang_behind_a_shield_ends_as_well(backend: Backend) -> None:
    async def main() -> None:
        with anyio.CancelScope(shield=True):
            await wait_for_nothing()

    with pytest.raises(HangError, match="nothing will ever wake one"):
        run(main, backend=backend)


def test_a_backend_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="'asyncio' or 'trio', got 'curio'"):
        run(fail, backend="curio")  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "trio.testing", None)
    with pytest.raises(UsageError, match="pip install 'statews\\[trio\\]'"):
        run(fail, backend="trio")
