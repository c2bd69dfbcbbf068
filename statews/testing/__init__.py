"""The test kit: networks that fail on request, virtual time, peers that say what they are told."""

from .faults import Cut, Ending, Entry, Faults, Line, Way
from .grammar import Fault
from .hanging import HangError
from .history import BreachKind, Guarantee, History, HistoryError, Summary, Verdict, WayHistory
from .memory import MemoryLink, MemoryStream
from .network import Dial, Network
from .orders import Tape
from .peer import PeerFrame, PeerLink, PeerRequest, PeerTimeout, ScriptedPeer
from .proxy import FaultProxy
from .schedule import Schedule
from .simulation import INVARIANTS, Invariant, Outcome, Simulated, Simulation, SimulationError
from .trace import Trace
from .virtual import BACKENDS, explore, run

__all__ = [
    "BACKENDS",
    "INVARIANTS",
    "BreachKind",
    "Cut",
    "Dial",
    "Ending",
    "Entry",
    "Fault",
    "FaultProxy",
    "Faults",
    "Guarantee",
    "HangError",
    "History",
    "HistoryError",
    "Invariant",
    "Line",
    "MemoryLink",
    "MemoryStream",
    "Network",
    "Outcome",
    "PeerFrame",
    "PeerLink",
    "PeerRequest",
    "PeerTimeout",
    "Schedule",
    "ScriptedPeer",
    "Simulated",
    "Simulation",
    "SimulationError",
    "Summary",
    "Tape",
    "Trace",
    "Verdict",
    "Way",
    "WayHistory",
    "explore",
    "run",
]
