"""The numbers of the demo: quicker than a program's, so that there is something to see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...policy import Backoff, Delivery, Heartbeat, Jitter, Outbox, Policy, Timeouts

__all__ = ["PACES", "QUICK", "USUAL", "Pace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long everything takes, in seconds.

    Attributes:
        name: in `PACES`.
        policy: of the clients, and of the server.
        every: between two messages, in each direction.
        calm: between two steps.
        refuse: how long connections are refused.
        freeze: how long nothing passes.
        slow: how long the network is slow.
        latency: of the slow network, each way.
        bandwidth: of the slow network, in bytes per second.
        down: how long a process is away that was stopped or killed.
        drop: how long connections are accepted and dropped.
        unsent: how many messages have to wait in the outbox of a client before it is killed.
        patience: how long a step may take at most.
        tolerance: by how much a busy machine may be late.
    """

    name: str
    policy: Policy
    every: float
    calm: float
    refuse: float
    freeze: float
    slow: float
    latency: float
    bandwidth: float
    down: float
    drop: float
    unsent: int
    patience: float = 20.0
    tolerance: float = 1.5


OUTBOX: Final = Outbox(delivery=Delivery.AT_LEAST_ONCE)

USUAL: Final = Pace(
    name="usual",
    policy=Policy(
        backoff=Backoff(
            first=0.25, maximum=2.0, jitter=Jitter.EQUAL, max_attempts=None, stable_after=1.0
        ),
        heartbeat=Heartbeat(interval=1.0, timeout=1.0),
        timeouts=Timeouts(opening=4.0, closing=2.0),
        outbox=OUTBOX,
    ),
    every=0.1,
    calm=0.6,
    refuse=3.0,
    freeze=3.5,
    slow=4.0,
    latency=0.2,
    bandwidth=1000.0,
    down=0.5,
    drop=5.0,
    unsent=10,
)
QUICK: Final = Pace(
    name="quick",
    policy=Policy(
        backoff=Backoff(
            first=0.05, maximum=0.4, jitter=Jitter.EQUAL, max_attempts=None, stable_after=0.3
        ),
        heartbeat=Heartbeat(interval=0.3, timeout=0.3),
        timeouts=Timeouts(opening=4.0, closing=2.0),
        outbox=OUTBOX,
    ),
    every=0.05,
    calm=0.0,
    refuse=0.6,
    freeze=1.0,
    slow=0.8,
    latency=0.1,
    bandwidth=2000.0,
    down=0.2,
    drop=1.5,
    unsent=5,
)
PACES: Final = {pace.name: pace for pace in (QUICK, USUAL)}
