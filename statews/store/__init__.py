"""Where a client's outbox and its sync positions live: in memory, or in a file."""

from .base import Contents, OutboxStore, Stored
from .memory import MemoryStore
from .sqlite import SQLiteStore, Synchronous

__all__ = [
    "Contents",
    "MemoryStore",
    "OutboxStore",
    "SQLiteStore",
    "Stored",
    "Synchronous",
]
