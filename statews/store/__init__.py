"""Where outboxes and positions live, a client's or all of a server's: in memory, or in a file."""

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
