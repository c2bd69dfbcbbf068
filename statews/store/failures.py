"""What SQLite and the operating system complain of, said in our words.

SQLite's result codes reach Python only since 3.11, so its messages are read: they stand in
`sqlite3ErrStr`, in its main.c.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from ..errors import (
    StoreBusyError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
)

__all__ = ["BUSY", "CLOSED", "CORRUPT", "NO_FILE", "Kind", "failure", "translated"]

Kind = tuple[type[StoreError], str]

BUSY: Final[Kind] = (StoreBusyError, "close it there first, or use another path")
CLOSED: Final[Kind] = (StoreError, "open it again")
CORRUPT: Final[Kind] = (StoreCorruptError, "move the file away to begin anew, or use another path")
FULL: Final[Kind] = (StoreFullError, "make room, and commit or open again")
READ_ONLY: Final[Kind] = (StoreReadOnlyError, "let this user write the file and its directory")
NO_FILE: Final[Kind] = (StoreError, "use another path")
NO_DIRECTORY: Final[Kind] = (StoreError, "make its directory first")
OTHER: Final[Kind] = (StoreError, "look at the disk and at the limits of this process")

SQLITE: Final[tuple[tuple[str, Kind], ...]] = (
    ("is full", FULL),  # SQLITE_FULL
    ("readonly", READ_ONLY),  # SQLITE_READONLY
    ("is locked", BUSY),  # SQLITE_BUSY
    ("not a database", CORRUPT),  # SQLITE_NOTADB
    ("malformed", CORRUPT),  # SQLITE_CORRUPT, also of a schema
    ("no such", CORRUPT),  # a table or a column: SQLITE_ERROR
    ("decode to UTF-8", CORRUPT),  # the sqlite3 module, reading text
)

OS: Final[dict[int, Kind]] = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EACCES: READ_ONLY,
    errno.EPERM: READ_ONLY,
    errno.EROFS: READ_ONLY,
    errno.ENOENT: NO_DIRECTORY,
    errno.ENOTDIR: NO_DIRECTORY,
}


def failure(kind: Kind, path: str, tried: str, why: str) -> StoreError:
    """The error that says what was tried with `path`, why it failed and what would work."""
    error, advice = kind
    return error(path, f"could not {tried} {path}: {why}; {advice}")


@contextmanager
def translated(path: str, tried: str) -> Generator[None]:
    """Let what goes wrong in the body leave it as a `StoreError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise failure(_sqlite_kind(error), path, tried, str(error)) from error
    except OSError as error:
        kind = OS.get(error.errno or 0, OTHER)
        raise failure(kind, path, tried, (error.strerror or str(error)).lower()) from error


def _sqlite_kind(error: sqlite3.Error) -> Kind:
    message = str(error)
    return next((kind for fragment, kind in SQLITE if fragment in message), OTHER)
