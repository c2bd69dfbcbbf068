"""The test kit: a network that fails on request."""

from .faults import Ending, Entry, Faults, Line, Way
from .proxy import FaultProxy

__all__ = ["Ending", "Entry", "FaultProxy", "Faults", "Line", "Way"]
