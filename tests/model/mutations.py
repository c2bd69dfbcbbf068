"""What can be taken out of the protocol; each time the search must find what then breaks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from .bounds import FULL, Bounds
from .invariants import Broken

__all__ = ["CAUGHT", "Mutation", "Rules", "mutated"]


class Mutation(Enum):
    """One mechanism of the protocol, removed."""

    NO_GAP_NOTICE = auto()
    """The sender does not tell what it dropped: no `S` comes before the message after a hole."""

    ONE_TOKEN = auto()
    """A resume retires the old token at once, not at the first frame on the new link."""

    LATE_PERSIST = auto()
    """The client stores a new token some time after its first frame, not before it."""

    NO_ATTEMPT = auto()
    """The server does not compare attempt numbers: a late hello is served like any other."""

    NO_JOIN = auto()
    """A newer link takes over at once: the older link's handler is not joined first."""

    NO_FENCE = auto()
    """Owners carry no fence: the older link of a session stays, and its writes are accepted."""

    NO_CHAIN = auto()
    """Nobody compares positions and chains: a peer that went back in time is believed."""

    NO_DATASET = auto()
    """The server does not compare the store's data-set id: one that went back is believed."""

    ACK_ON_RECEIPT = auto()
    """The server acknowledges what it received, not what its application handled."""

    VOLATILE_OUTBOX = auto()
    """The client's outbox dies with its process instead of standing on disk."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the steps are played by: bounds, and the protocol whole or without one mechanism."""

    bounds: Bounds
    mutation: Mutation | None = None


# By which bounds of FULL a mutation is caught, and what it breaks.
CAUGHT: Final = {
    Mutation.NO_GAP_NOTICE: ("gaps", Broken.LOST_TO_CLIENT),
    Mutation.ONE_TOKEN: ("to-server", Broken.REFUSED),
    Mutation.LATE_PERSIST: ("client-crash", Broken.REFUSED),
    Mutation.NO_ATTEMPT: ("to-server", Broken.REFUSED),
    Mutation.NO_JOIN: ("to-server", Broken.REPEATED_TO_SERVER),
    Mutation.NO_FENCE: ("to-server", Broken.REPEATED_TO_SERVER),
    Mutation.NO_CHAIN: ("outbox-back", Broken.LOST_TO_SERVER),
    Mutation.NO_DATASET: ("store-back-to-client", Broken.LOST_TO_CLIENT),
    Mutation.ACK_ON_RECEIPT: ("server-crash", Broken.LOST_TO_SERVER),
    Mutation.VOLATILE_OUTBOX: ("client-crash", Broken.GIVEN_UP),
}


def mutated(mutation: Mutation) -> Rules:
    """The rules without one mechanism, in the bounds that show what it is for."""
    return Rules(FULL[CAUGHT[mutation][0]], mutation)
