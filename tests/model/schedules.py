"""Schedules of steps: drawn, played, and shortened to what breaks a promise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from typing_extensions import override

from statews.errors import SessionError

from .core_settings import Settings
from .core_steps import CALM, DOES, FAULTS, Step
from .observer import Breach, Promise
from .world import World

__all__ = ["KINDS", "Failure", "Kind", "explore", "play", "shortened"]

MOST_ROUNDS: Final = 500
LONGEST: Final = 160  # steps, before the faults end

# How often a step is drawn; what is not named is drawn once.
OFTEN: Final = {
    Step.CLIENT_SENDS: 6,
    Step.SERVER_SENDS: 6,
    Step.CLIENT_READS: 14,
    Step.SERVER_READS: 14,
    Step.CLIENT_READS_ALL: 3,
    Step.SERVER_READS_ALL: 3,
    Step.SERVER_READS_OLD: 3,
    Step.SERVER_WELCOMES: 6,
    Step.CLIENT_CALLS: 5,
    Step.CLIENT_TAKES: 8,
    Step.CLIENT_HANDLES: 8,
    Step.CLIENT_STORES: 6,
    Step.SERVER_TAKES: 8,
    Step.SERVER_HANDLES: 8,
    Step.SERVER_STORES: 6,
    Step.CLIENT_ASKS: 2,
    Step.SERVER_ASKS: 2,
    Step.TIME_PASSES: 3,
    Step.CLIENT_DIES: 3,
    Step.CLIENT_IS_COPIED: 3,
    Step.CLIENT_GOES_BACK: 2,
    Step.STORE_IS_COPIED: 3,
    Step.STORE_GOES_BACK: 2,
}
LINK_FAULTS: Final = frozenset({Step.CLIENT_LOSES_LINK, Step.SERVER_LOSES_LINK, Step.LINK_BREAKS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a schedule is about.

    Attributes:
        faults: those that happen, beside the losses of links.
        is_client_durable: whether the client has a disk.
        is_server_durable: whether the server has one.
        is_tight: whether there is next to no room for anything.
    """

    faults: frozenset[Step] = frozenset()
    is_client_durable: bool = False
    is_server_durable: bool = False
    is_tight: bool = False

    def draw(self, random: Random) -> tuple[Settings, list[Step]]:
        """One schedule, and the settings for it."""
        settings = Settings.draw(
            random,
            is_client_durable=self.is_client_durable,
            is_server_durable=self.is_server_durable,
            is_tight=self.is_tight,
        )
        steps = [step for step in Step if step not in FAULTS - LINK_FAULTS - self.faults]
        weights = [OFTEN.get(step, 1) for step in steps]
        return settings, random.choices(steps, weights, k=random.randrange(LONGEST))


def _kind(*faults: Step, client: bool = False, server: bool = False, tight: bool = False) -> Kind:
    return Kind(
        faults=frozenset(faults),
        is_client_durable=client,
        is_server_durable=server,
        is_tight=tight,
    )


KINDS: Final = {
    "links": _kind(),
    "tight": _kind(tight=True),
    "disks": _kind(client=True, server=True),
    "client-dies": _kind(Step.CLIENT_DIES, client=True),
    "server-dies": _kind(Step.SERVER_DIES, server=True),
    "both-die": _kind(Step.CLIENT_DIES, Step.SERVER_DIES, client=True, server=True),
    "both-die-tight": _kind(
        Step.CLIENT_DIES, Step.SERVER_DIES, client=True, server=True, tight=True
    ),
    "server-forgets": _kind(Step.CLIENT_DIES, Step.SERVER_DIES, client=True),
    "client-goes-back": _kind(Step.CLIENT_IS_COPIED, Step.CLIENT_GOES_BACK, client=True),
    "store-goes-back": _kind(Step.STORE_IS_COPIED, Step.STORE_GOES_BACK, server=True),
}


@dataclass(frozen=True, slots=True)
class Failure:
    """A schedule that breaks a promise."""

    settings: Settings
    steps: list[Step]
    breach: Breach
    seed: int

    @override
    def __str__(self) -> str:
        steps = ", ".join(step.value for step in self.steps)
        return f"{self.breach}\n    seed {self.seed}: {self.settings}\n    {steps}"


def play(settings: Settings, steps: Sequence[Step]) -> Breach | None:
    """What it breaks, if anything, before or after the faults end."""
    world = World(settings)
    try:
        for step in steps:
            _do(world, step)
        _heal(world)
    except Breach as breach:
        return breach
    return None


def _do(world: World, step: Step) -> object:
    try:
        has_done = DOES[step](world)
    except SessionError as error:
        raise Breach(Promise.PEACE, str(error)) from error
    world.look()
    return has_done


def _heal(world: World) -> None:
    """No fault happens any more: everything arrives."""
    for _ in range(MOST_ROUNDS):
        has_done = [_do(world, Step.TIME_PASSES), *(_do_all(world, step) for step in CALM)]
        if not any(has_done):
            world.check_rest()
            return
    raise Breach(Promise.REST, f"after {MOST_ROUNDS} rounds")


def _do_all(world: World, step: Step) -> bool:
    """Do a step as often as it can be done; whether it could."""
    for count in range(MOST_ROUNDS):
        if not _do(world, step):
            return count > 0
    raise Breach(Promise.REST, step.value)


def explore(kind: Kind, seeds: Iterable[int]) -> Failure | None:
    """Play the schedules of these seeds, until one breaks a promise."""
    for seed in seeds:
        settings, steps = kind.draw(Random(seed))  # noqa: S311 - to be drawn again
        breach = play(settings, steps)
        if breach is not None:
            return Failure(settings, steps, breach, seed)
    return None


def shortened(failure: Failure) -> Failure:
    """The same without whatever is not needed to break the promise."""
    settings, steps, breach = failure.settings, failure.steps, failure.breach
    size = len(steps)
    while size:
        at = 0
        while at < len(steps):
            fewer = steps[:at] + steps[at + size :]
            other = play(settings, fewer)
            if other is not None and other.promise is breach.promise:
                steps, breach = fewer, other
            else:
                at += size
        size //= 2
    return Failure(settings, steps, breach, failure.seed)
