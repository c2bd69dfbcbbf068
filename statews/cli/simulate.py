"""`statews simulate`: days of bad network in seconds, until something does not hold."""

from __future__ import annotations

import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import dataclass
from typing import Final

from ..testing.simulation import Outcome, Simulation, SimulationError
from ..testing.virtual import BACKENDS
from .backend import require
from .command import Command

__all__ = ["SIMULATE"]

HOUR: Final = 3600.0
EVERY: Final = 2.0  # real seconds between two lines about progress
SHOWN: Final = 40  # lines of the trace of what failed


@dataclass(slots=True)
class Total:
    """All stretches so far."""

    stretches: int = 0
    seconds: float = 0.0
    dials: int = 0
    sent: int = 0
    delivered: int = 0
    longest_outage: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count one more."""
        self.stretches += 1
        self.seconds += outcome.seconds
        self.dials += outcome.dials
        self.sent += outcome.sent
        self.delivered += outcome.delivered
        self.longest_outage = max(self.longest_outage, outcome.longest_outage)

    def __str__(self) -> str:
        return (
            f"{self.seconds / HOUR:.1f} h in {self.stretches} stretches: {self.dials} dials,"
            f" {self.delivered} of {self.sent} messages delivered,"
            f" {self.longest_outage:.0f} s the longest outage"
        )


def run(arguments: Namespace) -> int:
    """Simulate, and return 1 as soon as an invariant does not hold."""
    require(arguments.backend)
    total, seed = Total(), arguments.seed
    said = began = time.monotonic()
    while total.seconds < arguments.hours * HOUR:
        simulation = Simulation(seed, clients=arguments.clients, seconds=arguments.seconds)
        try:
            total.add(simulation.run(arguments.backend))
        except SimulationError as error:
            _tell(error)
            return 1
        seed += 1
        if time.monotonic() - said >= EVERY:
            said = time.monotonic()
            print(total, flush=True)
    print(f"{total}; all invariants hold; took {time.monotonic() - began:.0f} s")
    return 0


def _tell(error: SimulationError) -> None:
    print("\n".join(error.trace.splitlines()[-SHOWN:]))
    print(f"\n{error}")
    print(f"again: statews simulate --backend {error.backend} --seed {error.seed}")


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def _add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--seed", type=int, default=0, help="of the first stretch (default: 0)")
    add("--hours", type=_positive, default=24.0, help="of virtual time (default: 24)")
    add("--clients", type=_count, default=2, help="in each stretch (default: 2)")
    add("--seconds", type=_positive, default=60.0, help="of faults a stretch (default: 60)")
    add("--backend", choices=BACKENDS, default=BACKENDS[0])


SIMULATE: Final = Command(
    name="simulate",
    help="simulate days of bad network in seconds",
    description=(
        "Run clients and a server in virtual time through faults drawn from a seed, stretch after"
        " stretch, and stop at the first invariant that does not hold."
    ),
    examples="example:\n  statews simulate --hours 240 --seed 7 --backend trio",
    add_arguments=_add_arguments,
    run=run,
)
