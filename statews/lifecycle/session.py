"""How a session lives on the server, across the links of its client.

Sessions are many, so a session is the model itself: `fire_session` moves it.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, Protocol, get_args

from transitions import EventData

from .declared import Activity, DeclaredState, Model, declare, fire

if TYPE_CHECKING:
    from transitions.core import TransitionConfig

__all__ = [
    "EVENTS",
    "MACHINE",
    "REFUSALS",
    "ROWS",
    "STATES",
    "SessionEvent",
    "SessionModel",
    "SessionState",
    "fire_session",
]

SessionEvent = Literal["attached", "replaced", "lost", "elapsed", "ended"]
EVENTS: Final[tuple[SessionEvent, ...]] = get_args(SessionEvent)


class SessionState(str, Enum):
    """Where in its life a session is."""

    DETACHED = "detached"
    ATTACHED = "attached"
    EXPIRED = "expired"
    ENDED = "ended"

    __str__ = str.__str__


STATES: Final = [
    DeclaredState(
        SessionState.DETACHED,
        "known, and without a link",
        activity=Activity(runs="keep what is missed"),
    ),
    DeclaredState(
        SessionState.ATTACHED,
        "a link of its client is up",
        activity=Activity(runs="serve the link"),
    ),
    DeclaredState(
        SessionState.EXPIRED, "its client stayed away for too long; all is released", final=True
    ),
    DeclaredState(SessionState.ENDED, "over, as one side wanted; all is released", final=True),
]

ROWS: Final[list[TransitionConfig]] = [
    {
        "trigger": "attached",
        "source": SessionState.DETACHED,
        "dest": SessionState.ATTACHED,
        "before": "count_link",
    },
    # A newer link of the same client took over: what the older one writes is fenced off.
    {
        "trigger": "replaced",
        "source": SessionState.ATTACHED,
        "dest": None,
        "before": "count_link",
    },
    {"trigger": "lost", "source": SessionState.ATTACHED, "dest": SessionState.DETACHED},
    {"trigger": "elapsed", "source": SessionState.DETACHED, "dest": SessionState.EXPIRED},
    {
        "trigger": "ended",
        "source": [SessionState.DETACHED, SessionState.ATTACHED],
        "dest": SessionState.ENDED,
    },
    {"trigger": "ended", "source": SessionState.ENDED, "dest": None},
]

# Every pair that is not a row above, and why: `ROWS` and this cover all pairs, once.
_ONLY_A_LINK = "no link is attached"
REFUSALS: Final[dict[SessionEvent, dict[SessionState, str]]] = {
    "attached": {
        SessionState.ATTACHED: "a link is attached; a newer one replaces it",
        SessionState.EXPIRED: "an expired session stays expired; make a new one",
        SessionState.ENDED: "an ended session stays ended; make a new one",
    },
    "replaced": dict.fromkeys(
        (SessionState.DETACHED, SessionState.EXPIRED, SessionState.ENDED), _ONLY_A_LINK
    ),
    "lost": dict.fromkeys(
        (SessionState.DETACHED, SessionState.EXPIRED, SessionState.ENDED), _ONLY_A_LINK
    ),
    "elapsed": dict.fromkeys(
        (SessionState.ATTACHED, SessionState.EXPIRED, SessionState.ENDED),
        "the time to live runs only without a link",
    ),
    "ended": {SessionState.EXPIRED: "an expired session is over already"},
}

MACHINE: Final = declare(
    "statews.session", states=STATES, rows=ROWS, initial=SessionState.DETACHED
)


class SessionModel(Model[SessionState], Protocol):
    """A session, as far as the machine knows it.

    Attributes:
        state: of the machine; `SessionState.DETACHED` to begin with, restored or new.
    """

    def count_link(self, _: EventData, /) -> None:
        """Raise the generation of the session's link: older links may not write any more."""


def fire_session(model: SessionModel, event: SessionEvent) -> SessionState:
    """Move a session along the row for `event` and return the state that was left.

    Args:
        model: the session.
        event: what happened to it.

    Raises:
        RefusedEventError: no row for this event in this state; nothing was changed.
    """
    return fire(MACHINE, REFUSALS, model, event)
