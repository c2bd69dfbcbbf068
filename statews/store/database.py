"""The SQLite file: how it is made, recognised, locked, read and written.

All of it may wait for the disk, so it runs in a worker thread. The file is in WAL mode
and locked exclusively as long as it is open; the operating system ends the lock with the
process, however that ends.

POSIX has a trap here (https://www.sqlite.org/howtocorrupt.html, section 2.2): to close any
descriptor of a file ends all locks that the process has on it. So this module opens a file
itself only when it knows that no `Database` of this process holds it: see `_claim`.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from ..errors import StoreError, UsageError
from .base import FIRST_NUMBER, Contents, Stored
from .failures import BUSY, CLOSED, CORRUPT, NO_FILE, failure, translated
from .pending import Batch

__all__ = ["APPLICATION_ID", "SCHEMA_VERSION", "Database", "Synchronous", "finish_alone"]

APPLICATION_ID: Final = int.from_bytes(b"stws", "big")
SCHEMA_VERSION: Final = 2
MAGIC: Final = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html, section 1.3
HEADER_SIZE: Final = 100
WAL_BYTES: Final = 4 * 1024 * 1024  # what a log that grew may keep of the disk

SCHEMA: Final = (
    # A column without a type keeps TEXT and BLOB apart. Messages have rowids: so they are appended
    # whatever their streams, and the tree of the key is small. Without, those of 1,500 bytes took
    # three times as long.
    """CREATE TABLE outbox (
        stream TEXT NOT NULL, number INTEGER NOT NULL, message NOT NULL, key TEXT, expires_at,
        PRIMARY KEY (stream, number)
    )""",
    "CREATE TABLE position (name TEXT PRIMARY KEY, position TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

SAVE: Final = "save messages to"

Result = TypeVar("Result")


class Synchronous(str, Enum):
    """What a commit outlives. Both outlive the process."""

    NORMAL = "normal"  # a power failure may take the last commits, but nothing of older ones
    FULL = "full"  # a power failure as well: each commit waits for the disk to sync

    __str__ = str.__str__


class _State(Enum):
    """Where a database is in its life."""

    NEW = "new"
    OPEN = "open"
    CLOSED = "closed"


# The databases that are open in this process, by device and inode. One that is forgotten
# without being closed is not in the way.
_open_here: WeakValueDictionary[tuple[int, int], Database] = WeakValueDictionary()
_claiming = threading.Lock()


def finish_alone(call: Callable[[], None]) -> None:
    """Have a thread do what a cancelled task cannot wait for; its turn comes after the others'."""

    def run() -> None:
        with suppress(StoreError):  # nobody is left to hear it
            call()

    threading.Thread(target=run, name="statews finishes alone").start()


class Database:
    """One file, opened once and closed once, from any thread.

    Args:
        path: absolute.
        synchronous: what a commit outlives.
        lock_timeout: seconds to wait for another process that has the file open.

    Attributes:
        turn: held by each method; hold it to do several things in one turn.

    All methods raise `StoreError`. After one, what was to be written may be on the disk all the
    same; it is no harm to write it again.
    """

    __slots__ = (
        "__weakref__",
        "_connection",
        "_state",
        "_synchronous",
        "_timeout",
        "path",
        "turn",
    )

    _connection: sqlite3.Connection  # while it is open

    def __init__(self, path: Path, *, synchronous: Synchronous, lock_timeout: float) -> None:
        self.path: str = str(path)
        self.turn: threading.RLock = threading.RLock()
        self._synchronous = synchronous
        self._timeout = lock_timeout
        self._state = _State.NEW

    @property
    def is_open(self) -> bool:
        """Whether it may be read and written."""
        return self._state is _State.OPEN

    def open(self) -> Contents:
        """What is in the file, which is made, readable for its owner alone, if there is none."""
        with self.turn, translated(self.path, "open"):
            self._check(_State.NEW, "open")
            _claim(self)
            try:
                _check_header(self.path)
                self._connection = self._connect()
                try:
                    contents = self._begin()
                except BaseException:
                    self._connection.close()
                    raise
            except BaseException:
                _release(self)
                raise
            self._state = _State.OPEN
            return contents

    def apply(self, batch: Batch) -> None:
        """Do all of it in one transaction, or nothing."""
        self.transact(lambda _: None, batch)

    def transact(self, effect: Callable[[sqlite3.Connection], Result], batch: Batch) -> Result:
        """Have the effect do its part of the same transaction, before the batch.

        Raises:
            UsageError: the effect ended the transaction.
            Exception: what the effect raises, even if it is SQLite's.
        """
        with self.turn:
            self._check(_State.OPEN, SAVE)
            try:
                self._execute("BEGIN IMMEDIATE", "SAVEPOINT statews_effect")
                result = effect(self._connection)
                self._check_transaction()
                with translated(self.path, SAVE):
                    _write(self._connection, batch)
                self._execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite may have ended it itself
                    self._execute("ROLLBACK")
                raise
            return result

    def _execute(self, *statements: str) -> None:
        with translated(self.path, SAVE):
            for statement in statements:
                self._connection.execute(statement)

    def _check_transaction(self) -> None:
        """That it is the same one: the savepoint also tells it from one that was begun since."""
        try:
            self._connection.execute("RELEASE statews_effect")
        except sqlite3.OperationalError as error:
            raise UsageError(
                "cannot commit what the effect did: it ended the transaction; leave that to the "
                "store, without commit(), rollback(), executescript() and the connection's `with`"
            ) from error

    def close(self) -> None:
        """Release the file. One that is closed, or was never opened, cannot be opened any more."""
        with self.turn:
            state, self._state = self._state, _State.CLOSED
            if state is _State.OPEN:
                try:
                    with translated(self.path, "close"):
                        self._connection.close()
                finally:
                    _release(self)

    def _check(self, state: _State, tried: str) -> None:
        if self._state is not state:
            raise failure(CLOSED, self.path, tried, f"it is {self._state.value}")

    def _connect(self) -> sqlite3.Connection:
        # As a URI: a plain path would be made again if it vanished meanwhile, for all to read.
        return sqlite3.connect(
            f"{Path(self.path).as_uri()}?mode=rw",
            uri=True,
            timeout=self._timeout,
            isolation_level=None,
            check_same_thread=False,
        )

    def _begin(self) -> Contents:
        # In this order: locked before WAL is first used, there is no -shm file, and the lock
        # lasts (https://www.sqlite.org/wal.html, section 8). The schema is written before
        # WAL, so that the header of the file itself tells whose it is.
        execute = self._connection.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("BEGIN EXCLUSIVE")
        self._make_or_recognise()
        execute("COMMIT")
        execute("PRAGMA journal_mode = WAL")
        execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        execute(f"PRAGMA synchronous = {self._synchronous}")
        return _read(self._connection)

    def _make_or_recognise(self) -> None:
        execute = self._connection.execute
        (application,) = execute("PRAGMA application_id").fetchone()
        (version,) = execute("PRAGMA user_version").fetchone()
        (tables,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
        if (application, version, tables) != (0, 0, 0):
            _check_identity(self.path, application, version)
            return
        for statement in SCHEMA:
            execute(statement)


def _claim(database: Database) -> None:
    """Make the file if there is none, and make sure that nobody in this process has it open."""
    with _claiming:  # also closes what it made before another one can lock it
        with suppress(FileExistsError):
            os.close(os.open(database.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        status = Path(database.path).stat()
        if not stat.S_ISREG(status.st_mode):
            raise failure(NO_FILE, database.path, "open", "it is not a regular file")
        identity = status.st_dev, status.st_ino
        if identity in _open_here:
            raise failure(BUSY, database.path, "open", "it is open in this process")
        _open_here[identity] = database


def _release(database: Database) -> None:
    with _claiming:
        for identity in [key for key, value in _open_here.items() if value is database]:
            del _open_here[identity]


def _check_header(path: str) -> None:
    """Refuse what is not ours before SQLite opens it, which might recover and so change it."""
    with Path(path).open("rb") as file:
        header = file.read(HEADER_SIZE)
    if not header:
        return
    if len(header) < HEADER_SIZE or not header.startswith(MAGIC):
        raise failure(CORRUPT, path, "open", "it is not an SQLite database")
    version, application = header[60:64], header[68:72]
    _check_identity(path, int.from_bytes(application, "big"), int.from_bytes(version, "big"))


def _check_identity(path: str, application: int, version: int) -> None:
    if application != APPLICATION_ID:
        raise failure(CORRUPT, path, "open", "it is a database of another application")
    if version != SCHEMA_VERSION:
        why = f"its schema has version {version}, and this statews reads version {SCHEMA_VERSION}"
        raise failure(CORRUPT, path, "open", why)


def _read(connection: sqlite3.Connection) -> Contents:
    messages = [
        Stored(stream=stream, number=number, message=message, key=key, expires_at=expires_at)
        for stream, number, message, key, expires_at in connection.execute(
            "SELECT stream, number, message, key, expires_at FROM outbox ORDER BY stream, number"
        )
    ]
    positions = dict(connection.execute("SELECT name, position FROM position"))
    meta: dict[str, int] = dict(connection.execute("SELECT name, value FROM meta"))
    return Contents(
        messages=messages,
        positions=positions,
        next_number=meta.get("next_number", FIRST_NUMBER),
    )


def _write(connection: sqlite3.Connection, batch: Batch) -> None:
    # OR REPLACE: a transaction whose end was reported as failed is tried again, and may
    # have reached the disk. Streams other than "" may also number a second message alike.
    for ended in ("DELETE FROM outbox WHERE stream = ?", "DELETE FROM position WHERE name = ?"):
        connection.executemany(ended, ((stream,) for stream in batch.ended))
    connection.executemany(
        "DELETE FROM outbox WHERE stream = ? AND number BETWEEN ? AND ?",
        ((stream, *span) for stream, spans in batch.removed.items() for span in spans),
    )
    connection.executemany(
        "INSERT OR REPLACE INTO outbox VALUES (?, ?, ?, ?, ?)",
        (
            (each.stream, each.number, each.message, each.key, each.expires_at)
            for messages in batch.added.values()
            for each in messages.values()
        ),
    )
    connection.executemany(
        "INSERT OR REPLACE INTO position VALUES (?, ?)", batch.positions.items()
    )
    if batch.next_number:
        connection.execute(
            "INSERT OR REPLACE INTO meta VALUES ('next_number', ?)", (batch.next_number,)
        )
