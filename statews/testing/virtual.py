"""Virtual time: a clock that jumps to the next deadline when every task waits.

`run` is `anyio.run` for tests: an hour passes in no time, the order of ready tasks comes
from a seed, and a test that would hang fails with the tasks that hang. It is for code that
waits for clocks, events and a `Network` of memory. Sockets, threads and subprocesses live in
real time: whoever waits for one of them finds that the clock has jumped.
"""

from __future__ import annotations

import asyncio
import gc
import math
import random
import selectors
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Generic, Literal, TypeVar, cast

import anyio

from ..errors import UsageError
from .hanging import HangError, asyncio_tasks, trio_tasks
from .orders import Order, Sampled, Tape, ordered

__all__ = ["BACKENDS", "Backend", "VirtualLoop", "explore", "run"]

Backend = Literal["asyncio", "trio"]
BACKENDS: Final[tuple[Backend, ...]] = ("asyncio", "trio")
Result = TypeVar("Result")

RESOLUTION: Final = 1e-6  # seconds; asyncio's own 1e-9 is lost in the floats of some months
LIMIT: Final = 86_400.0  # virtual seconds, a day: its heartbeats alone take a while to simulate


def run(
    main: Callable[[], Awaitable[Result]],
    *,
    backend: Backend = "asyncio",
    seed: int = 0,
    limit: float = LIMIT,
) -> Result:
    """The result of `main`, run in virtual time that begins at 0.

    Args:
        main: an async function.
        backend: the event loop to run it on.
        seed: decides the order of tasks that are ready at once, and what the `random` module
            draws. The exception of a `main` that fails has a note that names it.
        limit: virtual seconds after which `main` counts as hung.

    Raises:
        HangError: it did not end; the error tells where each task is.
        UsageError: there is no such backend, or it is not installed.
    """
    with _seeded(seed):
        try:
            return _run(main, backend, Sampled(seed), limit)
        except BaseException as error:
            add_note(error, f"on {backend}, with seed {seed}")
            raise


@contextmanager
def _seeded(seed: int) -> Generator[None]:
    """Have the `random` module draw from a seed, and go on afterwards as if it had not."""
    chance = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(chance)


def explore(
    main: Callable[[Tape], Awaitable[object]],
    *,
    first: str = "",
    most: int = 10_000,
    limit: float = LIMIT,
) -> int:
    """Run `main` on trio once for each order in which its ready tasks can get their turns.

    The orders are tried depth first, each a fresh run in virtual time. So `main` has to make
    all it needs anew, and leave nothing to chance.

    Args:
        main: an async function, whose orders count from where it calls `Tape.start`, which its
            argument has, up to `Tape.stop`. The shorter that is, the fewer they are.
        first: the order to begin with, as a note of a failure names it.
        most: orders tried at the most.
        limit: virtual seconds after which a run counts as hung.

    Returns:
        How many orders were tried: fewer than `most`, if those were all.

    Raises:
        Exception: what `main` raised, with a note that names the order.
        UsageError: `main` never called `Tape.start`.
    """
    given: tuple[int, ...] | None = tuple(map(int, first.split("-"))) if first else ()
    tried = 0
    while given is not None and tried < most:
        tape = Tape(given)
        with _seeded(0):
            try:
                _run(partial(main, tape), "trio", tape, limit)
            except BaseException as error:
                order = "-".join(str(choice) for choice, _ in tape.decisions)
                add_note(error, f"in order {order}")
                raise
        if not tape.was_started:
            raise UsageError("expected main to call start() of the Tape that it is given")
        tried += 1
        given = tape.next()
    return tried


def _run(
    main: Callable[[], Awaitable[Result]], backend: Backend, order: Order, limit: float
) -> Result:
    if backend == "asyncio":
        guard = _Guard(main, limit, asyncio_tasks)
        options: dict[str, Any] = {"loop_factory": partial(VirtualLoop, order)}
        return anyio.run(guard.run, backend="asyncio", backend_options=options)
    if backend == "trio":
        return _run_on_trio(_Guard(main, limit, trio_tasks), order)
    raise UsageError(f"expected backend to be 'asyncio' or 'trio', got {backend!r}")


def _run_on_trio(guard: _Guard[Result], order: Order) -> Result:
    try:
        import trio.testing  # noqa: PLC0415 - an extra
    except ImportError:
        raise UsageError("trio is not installed: pip install 'statews[trio]'") from None
    clock = trio.testing.MockClock(autojump_threshold=0)
    jump: Callable[[], None] = getattr(clock, "_autojump")  # noqa: B009 - which is no API

    def jump_or_fail() -> None:
        """Trio itself would look at the clock again and again, for ever."""
        if trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf:
            raise HangError("every task waits, and nothing will ever wake one", trio_tasks())
        jump()

    vars(clock)["_autojump"] = jump_or_fail
    try:
        with ordered(order):
            return anyio.run(guard.run, backend="trio", backend_options={"clock": clock})
    except trio.TrioInternalError as error:
        hang = error.__cause__
        if not isinstance(hang, HangError):
            raise
    with _silenced():  # what is left of the run complains of how it was left
        hang.__traceback__ = None
        gc.collect()
    raise hang


@contextmanager
def _silenced() -> Generator[None]:
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = hook


class _Guard(Generic[Result]):
    """Runs `main`, and ends it if it does not end by itself."""

    def __init__(
        self,
        main: Callable[[], Awaitable[Result]],
        limit: float,
        tasks: Callable[[], list[str]],
    ) -> None:
        self._main = main
        self._limit = limit
        self._tasks = tasks
        self._failure: BaseException | None = None

    async def run(self) -> Result:
        result: list[Result] = []
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch, group.cancel_scope, name="statews.testing.watch")
            try:
                result.append(await self._main())
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # noqa: BLE001 - raised below, in no group
                self._failure = self._failure or error
            group.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure
        return result[0]

    async def _watch(self, scope: anyio.CancelScope) -> None:
        await anyio.sleep(self._limit)
        what = f"still running after {self._limit:g} virtual seconds"
        self._failure = HangError(what, self._tasks())
        scope.cancel()


def add_note(error: BaseException, note: str) -> None:
    """`BaseException.add_note`, which Python 3.10 has not; pytest shows it there as well."""
    notes = cast("list[str]", getattr(error, "__notes__", []))
    vars(error)["__notes__"] = [*notes, note]


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's loop in virtual time.

    Args:
        order: of tasks that are ready at once; None: the one they became ready in.
    """

    def __init__(self, order: Order | None = None) -> None:
        self._now = 0.0
        self._order = order
        self._births: dict[int, int] = {}  # by the identity of a living task
        self._born = 0
        super().__init__(_JumpingSelector(self))
        vars(self)["_clock_resolution"] = RESOLUTION
        self.set_task_factory(cast("Any", VirtualLoop._make_task))

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def jump(self, seconds: float) -> None:
        """Nothing happens before that."""
        self._now += seconds

    def _make_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:  # noqa: ANN401
        task = asyncio.Task(coro, loop=self, **options)
        self._births[id(task)] = self._born
        self._born += 1
        task.add_done_callback(self._bury)
        return task

    def _bury(self, task: asyncio.Task[Any]) -> None:
        del self._births[id(task)]

    def mix(self) -> None:
        """Put the tasks that are ready into the order; callbacks keep their places."""
        if self._order is None:
            return
        ready = cast("deque[asyncio.Handle]", vars(self)["_ready"])
        places = [place for place, handle in enumerate(ready) if self._birth(handle) >= 0]
        if len(places) > 1:
            batch = sorted((ready[place] for place in places), key=self._birth)
            self._order.shuffle(batch)
            for place, handle in zip(places, batch, strict=True):
                ready[place] = handle

    def _birth(self, handle: asyncio.Handle) -> int:
        """When the task was born that a handle steps; -1 if it steps none."""
        owner: object = getattr(getattr(handle, "_callback", None), "__self__", None)
        return self._births.get(id(owner), -1)


class _JumpingSelector(selectors.DefaultSelector):
    """Looks whether something is ready, and lets the clock jump if not."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if not ready and timeout is None:
            raise HangError("every task waits, and nothing will ever wake one", asyncio_tasks())
        if not ready and timeout is not None and timeout > 0:
            self._loop.jump(timeout)
        self._loop.mix()
        return ready
