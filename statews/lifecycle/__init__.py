"""How connections and sessions live: the machines that run, and that the diagrams are drawn from.

Each is one flat machine, declared once. Nothing is registered with it: an object with a
`state`, the guards and the effects that its rows name is driven by `fire` or `fire_session`.
The plain names are the connection's; the session's tables are those of `session`.
"""

from __future__ import annotations

from .connection import EVENTS, MACHINE, REFUSALS, ROWS, STATES, Event, Lifecycle, Phase, State
from .declared import Activity, describe
from .session import SessionEvent, SessionModel, SessionState, fire_session

__all__ = [
    "EVENTS",
    "MACHINE",
    "REFUSALS",
    "ROWS",
    "STATES",
    "Activity",
    "Event",
    "Lifecycle",
    "Phase",
    "SessionEvent",
    "SessionModel",
    "SessionState",
    "State",
    "describe",
    "fire_session",
]
