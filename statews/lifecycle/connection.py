"""How a connection lives.

What a state does is its activity, run by the driver (`statews.client.driver`).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, get_args

from transitions import EventData

from .declared import Activity, DeclaredState, declare, fire

if TYPE_CHECKING:
    from transitions.core import TransitionConfig

__all__ = [
    "EVENTS",
    "MACHINE",
    "REFUSALS",
    "ROWS",
    "STATES",
    "Event",
    "Lifecycle",
    "Phase",
    "State",
]

Event = Literal[
    "connect", "opened", "lost", "refused", "settled", "ended", "elapsed", "nudge", "close"
]
EVENTS: Final[tuple[Event, ...]] = get_args(Event)


class State(str, Enum):
    """Where in its life a connection is."""

    IDLE = "idle"
    CONNECTING = "connecting"
    OPEN = "open"
    BACKING_OFF = "backing-off"
    FAILED = "failed"
    CLOSED = "closed"

    __str__ = str.__str__


class Phase(str, Enum):
    """What a connection is busy with inside its state; it moves no row."""

    RESOLVING = "resolving"
    DIALING = "dialing"
    SECURING = "securing"
    UPGRADING = "upgrading"
    RESUMING = "resuming"
    RESTORING = "restoring"
    SYNCHRONISING = "synchronising"
    LIVE = "live"
    DRAINING = "draining"

    __str__ = str.__str__


STATES: Final = [
    DeclaredState(State.IDLE, "made, not started"),
    DeclaredState(
        State.CONNECTING,
        "an attempt is under way",
        activity=Activity(
            runs="dial, upgrade, resume the session or run the on_open hooks",
            within="Timeouts.opening",
            phases=(
                Phase.RESOLVING,
                Phase.DIALING,
                Phase.SECURING,
                Phase.UPGRADING,
                Phase.RESUMING,
                Phase.RESTORING,
            ),
        ),
    ),
    DeclaredState(
        State.OPEN,
        "ready: the link is up and the hooks are done",
        activity=Activity(
            runs="serve the link",
            phases=(Phase.SYNCHRONISING, Phase.LIVE, Phase.DRAINING),
            on_exit="the closing handshake",
            exit_within="Timeouts.closing",
        ),
    ),
    DeclaredState(
        State.BACKING_OFF,
        "waiting for the next attempt",
        activity=Activity(runs="sleep for the drawn delay, and for what the server asked"),
    ),
    DeclaredState(State.FAILED, "gave up; connect starts over"),
    DeclaredState(State.CLOSED, "over; all is released", final=True),
]

ROWS: Final[list[TransitionConfig]] = [
    {
        "trigger": "connect",
        "source": [State.IDLE, State.FAILED],
        "dest": State.CONNECTING,
        "before": "start_over",
    },
    {"trigger": "opened", "source": State.CONNECTING, "dest": State.OPEN},
    {
        "trigger": "lost",
        "source": [State.CONNECTING, State.OPEN],
        "dest": State.BACKING_OFF,
        "conditions": "has_attempts_left",
        "before": "count_attempt",
    },
    {
        "trigger": "lost",
        "source": [State.CONNECTING, State.OPEN],
        "dest": State.FAILED,
        "unless": "has_attempts_left",
    },
    {"trigger": "refused", "source": [State.CONNECTING, State.OPEN], "dest": State.FAILED},
    {"trigger": "settled", "source": State.OPEN, "dest": None, "before": "forget_attempts"},
    {"trigger": "ended", "source": State.OPEN, "dest": State.CLOSED},
    {"trigger": "elapsed", "source": State.BACKING_OFF, "dest": State.CONNECTING},
    {"trigger": "nudge", "source": State.BACKING_OFF, "dest": State.CONNECTING},
    {
        "trigger": "close",
        "source": [state for state in State if state is not State.CLOSED],
        "dest": State.CLOSED,
    },
    {"trigger": "close", "source": State.CLOSED, "dest": None},
]

# Every pair that is not a row above, and why: `ROWS` and this cover all pairs, once.
_ONLY_AN_ATTEMPT = "only an attempt opens a link"
_ONLY_A_LINK = "there is no attempt and no link to lose"
_ONLY_OPEN = "only an open link settles or ends"
_ONLY_A_WAIT = "no delay is running"
REFUSALS: Final[dict[Event, dict[State, str]]] = {
    "connect": {
        State.CONNECTING: "an attempt is under way",
        State.OPEN: "the link is up",
        State.BACKING_OFF: "an attempt is due; nudge() makes it now",
        State.CLOSED: "a closed connection stays closed; make a new one",
    },
    "opened": dict.fromkeys(
        (State.IDLE, State.OPEN, State.BACKING_OFF, State.FAILED, State.CLOSED), _ONLY_AN_ATTEMPT
    ),
    "lost": dict.fromkeys(
        (State.IDLE, State.BACKING_OFF, State.FAILED, State.CLOSED), _ONLY_A_LINK
    ),
    "refused": dict.fromkeys(
        (State.IDLE, State.BACKING_OFF, State.FAILED, State.CLOSED), _ONLY_A_LINK
    ),
    "settled": dict.fromkeys([state for state in State if state is not State.OPEN], _ONLY_OPEN),
    "ended": dict.fromkeys([state for state in State if state is not State.OPEN], _ONLY_OPEN),
    "elapsed": dict.fromkeys(
        [state for state in State if state is not State.BACKING_OFF], _ONLY_A_WAIT
    ),
    "nudge": dict.fromkeys(
        [state for state in State if state is not State.BACKING_OFF], _ONLY_A_WAIT
    ),
    "close": {},
}

MACHINE: Final = declare("statews.lifecycle", states=STATES, rows=ROWS, initial=State.IDLE)


class Lifecycle:
    """One connection's place in the machine: its state, and the attempts that the guards count.

    Args:
        max_attempts: reconnects in a row before `failed`; None for no limit.
    """

    __slots__ = ("attempts", "max_attempts", "state")

    def __init__(self, max_attempts: int | None) -> None:
        self.state: State = State.IDLE
        self.attempts: int = 0
        self.max_attempts: int | None = max_attempts

    def fire(self, event: Event) -> State:
        """Move along the row for `event` and return the state that was left.

        Raises:
            RefusedEventError: no row for this event in this state; nothing was changed.
        """
        return fire(MACHINE, REFUSALS, self, event)

    @property
    def has_attempts_left(self) -> bool:
        """Whether another reconnect may follow this loss."""
        return self.max_attempts is None or self.attempts < self.max_attempts

    def start_over(self, _: EventData) -> None:
        """Forget what came before: somebody asked for a new start."""
        self.attempts = 0

    def count_attempt(self, _: EventData) -> None:
        """Count the reconnect that this loss makes necessary."""
        self.attempts += 1

    def forget_attempts(self, _: EventData) -> None:
        """The link has lasted: the next loss is a first one."""
        self.attempts = 0
