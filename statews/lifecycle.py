"""How a connection lives: the machine that runs, and that the diagrams are drawn from.

One flat machine, declared here once. Connections are never registered with it: an
object with a `state`, the guards and the effects named below is driven by `fire`.
What a state does is its activity, run by the driver (`statews.client.driver`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, cast, get_args

from transitions import EventData, Machine, MachineError
from transitions import State as MachineState

from .errors import RefusedEventError

if TYPE_CHECKING:
    from transitions.core import TransitionConfig

__all__ = ["EVENTS", "MACHINE", "REFUSALS", "Activity", "Event", "Lifecycle", "Phase", "State"]

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
    RESTORING = "restoring"
    SYNCHRONISING = "synchronising"
    LIVE = "live"
    DRAINING = "draining"

    __str__ = str.__str__


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What a state runs, how long at most, and the phases it goes through.

    Attributes:
        runs: what is done while the state lasts.
        within: the setting that bounds it, as `Class.field` of `statews.policy`; None: no bound.
        phases: in order, as far as the attempt needs them.
        on_exit: what is done last, however the state is left; None: nothing.
        exit_within: the setting that bounds that.
    """

    runs: str
    within: str | None = None
    phases: tuple[Phase, ...] = ()
    on_exit: str | None = None
    exit_within: str | None = None


class _State(MachineState):
    """A state of the machine, with what the picture and the driver need to know of it."""

    def __init__(
        self, state: State, doc: str, *, activity: Activity | None = None, final: bool = False
    ) -> None:
        super().__init__(state, final=final)
        self.doc = doc
        self.activity = activity


STATES: Final = [
    _State(State.IDLE, "made, not started"),
    _State(
        State.CONNECTING,
        "an attempt is under way",
        activity=Activity(
            runs="dial, upgrade, run the on_open hooks",
            within="Timeouts.opening",
            phases=(
                Phase.RESOLVING,
                Phase.DIALING,
                Phase.SECURING,
                Phase.UPGRADING,
                Phase.RESTORING,
            ),
        ),
    ),
    _State(
        State.OPEN,
        "ready: the link is up and the hooks are done",
        activity=Activity(
            runs="serve the link",
            phases=(Phase.SYNCHRONISING, Phase.LIVE, Phase.DRAINING),
            on_exit="the closing handshake",
            exit_within="Timeouts.closing",
        ),
    ),
    _State(
        State.BACKING_OFF,
        "waiting for the next attempt",
        activity=Activity(runs="sleep for the drawn delay, and for what the server asked"),
    ),
    _State(State.FAILED, "gave up; connect starts over"),
    _State(State.CLOSED, "over; all is released", final=True),
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

MACHINE: Final = Machine(
    name="statews.lifecycle",
    model=None,
    states=STATES,
    transitions=ROWS,
    initial=State.IDLE,
    auto_transitions=False,
    send_event=True,
)


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
        left = self.state
        try:
            MACHINE.events[event].trigger(self)
        except MachineError:
            raise RefusedEventError(left, event, REFUSALS[event][left]) from None
        return left

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


def describe(state: State) -> tuple[str, Activity | None]:
    """The one-line documentation of a state, and its activity if it has one."""
    declared = cast("_State", MACHINE.get_state(state))
    return declared.doc, declared.activity
