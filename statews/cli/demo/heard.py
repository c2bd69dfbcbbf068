"""What the server of the demo has heard: a table in the file of its store."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["read_heard", "write_heard"]

TABLE: Final = "CREATE TABLE IF NOT EXISTS heard (client TEXT, message)"


def write_heard(client: str, message: object, connection: sqlite3.Connection) -> int | None:
    """The effect of a message: a row, whose number is returned."""
    connection.execute(TABLE)
    return connection.execute("INSERT INTO heard VALUES (?, ?)", (client, message)).lastrowid


def read_heard(path: Path) -> Sequence[tuple[int, str, object]]:
    """The number of each row, from whom it was, and what; nobody may have the file open."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as connection:
        made = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'heard'")
        if made.fetchone() is None:
            return []
        return connection.execute("SELECT rowid, * FROM heard ORDER BY rowid").fetchall()
