"""What must hold whatever happens."""

from __future__ import annotations

from enum import Enum

from typing_extensions import override

from .bounds import Bounds
from .state import State

__all__ = [
    "Broken",
    "Violation",
    "check_all_arrived",
    "check_client_may_give_up",
    "check_client_may_handle",
    "check_server_may_handle",
    "check_token_is_live",
]


class Broken(Enum):
    """Which promise a counter-example breaks."""

    LOST_TO_SERVER = "the server handled a message after one that it never saw"
    REPEATED_TO_SERVER = "the server handled a message twice, and no handler was cut off"
    LOST_TO_CLIENT = "the client handled a message after one that it never saw nor was told of"
    REPEATED_TO_CLIENT = "the client handled a message twice"
    REFUSED = "the server refused its session, although nobody went back in time"
    GIVEN_UP = "the client gave up its session, although nobody went back in time"
    RETIRED_TOKEN = "the server accepted a retired token"
    NOT_ARRIVED = "without further faults, a message did not arrive and was not told lost"
    RESTLESS = "without further faults, the peers went on for ever"


class Violation(Exception):
    """A promise is broken.

    Attributes:
        broken: which one.
        detail: the values that show it.
        trace: the steps that lead to it, as far as they are known where it is caught.
    """

    def __init__(self, broken: Broken, detail: str) -> None:
        super().__init__(broken, detail)
        self.broken = broken
        self.detail = detail
        self.trace: tuple[str, ...] = ()

    @override
    def __str__(self) -> str:
        return f"{self.broken.value}: {self.detail}"


def check_server_may_handle(state: State, content: int) -> None:
    """In order, and once; a handler that was cut off by a fault may be run again.

    A repetition may come late, from an older link in another process that goes on for a while.
    """
    seen = state.facts.handled_by_server
    highest = max(seen, default=0)
    if content > highest + 1:
        raise Violation(Broken.LOST_TO_SERVER, f"{content} after {seen}")
    if content <= highest and not state.facts.may_repeat:
        raise Violation(Broken.REPEATED_TO_SERVER, f"{content} after {seen}")


def check_client_may_handle(state: State, content: int) -> None:
    """In order, and once; what is missing was told lost."""
    seen, told_lost = state.facts.handled_by_client, state.client.told_lost
    highest = max(seen, default=0)
    if content > highest + 1 and told_lost < content - 1:
        raise Violation(Broken.LOST_TO_CLIENT, f"{content} after {seen}, told lost: {told_lost}")
    if content <= highest:
        raise Violation(Broken.REPEATED_TO_CLIENT, f"{content} after {seen}")


def check_client_may_give_up(state: State, broken: Broken) -> None:
    """A session ends against its peers' will only where a store or an outbox went back."""
    if not (state.spent.store_regressions or state.spent.outbox_restores):
        raise Violation(broken, f"attempt {state.client.record.attempt}")


def check_token_is_live(state: State, token: int) -> None:
    """A retired token opens nothing; an outbox that went back may hold one, and is found out."""
    if token in state.facts.retired and not state.spent.outbox_restores:
        raise Violation(Broken.RETIRED_TOKEN, f"{token} of {state.facts.retired}")


def check_all_arrived(state: State, bounds: Bounds) -> None:
    """At rest, every message is with the peer's application or told lost."""
    to_server = set(range(1, bounds.client_messages + 1))
    if to_server != set(state.facts.handled_by_server):
        raise Violation(Broken.NOT_ARRIVED, f"server has {state.facts.handled_by_server}")
    to_client = set(range(state.client.told_lost + 1, bounds.server_messages + 1))
    if not to_client <= set(state.facts.handled_by_client):
        raise Violation(Broken.NOT_ARRIVED, f"client has {state.facts.handled_by_client}")
