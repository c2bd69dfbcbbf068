"""In which order tasks that are ready get their turn: what a scheduler leaves to chance.

trio promises no order within one batch of ready tasks, and asyncio's order is one of many
that a slightly other program would have. A bug that needs another order is found by trying
orders: at random from a seed, or, under trio, every one.
"""

from __future__ import annotations

import random
from collections.abc import Generator, MutableSequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Protocol

__all__ = ["Order", "Sampled", "Tape", "ordered"]


class Order(Protocol):
    """Decides who comes first."""

    def shuffle(self, batch: MutableSequence[Any]) -> None:
        """Put the tasks of a batch, which come in the order of their birth, into an order."""


class Sampled:
    """An order at random: the same seed, the same order."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - chance that can be repeated

    def shuffle(self, batch: MutableSequence[Any]) -> None:
        """See `Order`."""
        self._random.shuffle(batch)


class Tape:
    """An order of which the first decisions are given; after those, birth decides.

    Args:
        given: for each decision, which of the remaining tasks comes next.

    Attributes:
        was_started: whether orders counted at all.
        decisions: those that were taken, and how many choices there were for each.
    """

    def __init__(self, given: tuple[int, ...] = ()) -> None:
        self._given = given
        self._is_running = False
        self.was_started: bool = False
        self.decisions: list[tuple[int, int]] = []

    def start(self) -> None:
        """From here on, orders count."""
        self._is_running = self.was_started = True

    def stop(self) -> None:
        """From here on, birth decides again."""
        self._is_running = False

    def shuffle(self, batch: MutableSequence[Any]) -> None:
        """See `Order`."""
        if not self._is_running:
            return
        for place in range(len(batch) - 1):
            count = len(batch) - place
            taken = len(self.decisions)
            choice = self._given[taken] if taken < len(self._given) else 0
            self.decisions.append((choice, count))
            batch.insert(place, batch.pop(place + choice))

    def next(self) -> tuple[int, ...] | None:
        """The tape of the run after this one, depth first; None if this was the last."""
        decisions = list(self.decisions)
        while decisions:
            choice, count = decisions.pop()
            if choice + 1 < count:
                return (*(each for each, _ in decisions), choice + 1)
        return None


@contextmanager
def ordered(order: Order) -> Generator[None]:
    """Have trio's scheduler ask `order`, for runs that are started in the block.

    trio's own tests and pytest-trio do it in this way; there is no public one.
    """
    scheduler = import_module("trio._core._run")
    names = ("_r", "_ALLOW_DETERMINISTIC_SCHEDULING")
    before = [getattr(scheduler, name) for name in names]
    for name, value in zip(names, (order, True), strict=True):
        setattr(scheduler, name, value)
    try:
        yield
    finally:
        for name, value in zip(names, before, strict=True):
            setattr(scheduler, name, value)
