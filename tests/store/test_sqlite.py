"""The file: who may read it, what is refused, and that what is refused stays as it was."""

# ruff: noqa: ASYNC240 - the files of a test are small

from __future__ import annotations

import errno
import gc
import os
import sqlite3
import stat
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import pytest

from statews import UsageError
from statews.errors import (
    StoreBusyError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
)
from statews.store import SQLiteStore, Stored, Synchronous
from statews.store import database as database_module
from statews.store.database import APPLICATION_ID, Database
from statews.store.failures import translated

from .tools import add, batch, child, connection_of, contents_of, numbers, opened, stored

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.fixture
def any_umask() -> Generator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def all_files(directory: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in directory.iterdir()}


def foreign(path: Path, *statements: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in ("CREATE TABLE theirs (x)", "INSERT INTO theirs VALUES (1)", *statements):
        connection.execute(statement)
    return connection


async def refused(path: Path, kind: type[StoreError], why: str) -> None:
    """Opening fails like this, and changes nothing."""
    before = all_files(path.parent)
    with pytest.raises(kind, match=f"could not open .*{why}.*; ") as caught:
        await SQLiteStore(path, lock_timeout=0).open()
    assert type(caught.value) is kind
    assert caught.value.path == str(path)
    assert all_files(path.parent) == before


@pytest.mark.usefixtures("any_umask")
async def test_the_files_are_for_their_owner_alone(path: Path) -> None:
    async with opened(path) as store:
        add(store, [1])
        await store.commit()
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
        assert modes == {"outbox.db": 0o600, "outbox.db-wal": 0o600}
    assert [each.name for each in path.parent.iterdir()] == ["outbox.db"]


@pytest.mark.parametrize(("synchronous", "number"), [("normal", 1), ("full", 2)])
async def test_a_commit_is_as_safe_as_was_asked_for(
    path: Path, synchronous: str, number: int
) -> None:
    store = SQLiteStore(path, synchronous=Synchronous(synchronous))
    await store.open()
    assert connection_of(store).execute("PRAGMA synchronous").fetchone() == (number,)
    assert connection_of(store).execute("PRAGMA journal_mode").fetchone() == ("wal",)
    await store.close()


def test_wrong_arguments_are_refused_at_once(path: Path) -> None:
    with pytest.raises(UsageError, match=r"synchronous must be Synchronous.NORMAL or .*'off'"):
        SQLiteStore(path, synchronous="off")  # type: ignore[arg-type]
    for timeout in (-1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="lock_timeout must be finite and 0 seconds or more"):
            SQLiteStore(path, lock_timeout=timeout)


@pytest.mark.parametrize("name", [":memory:", "a?mode=memory", "100%41 ä#", "file:x"])
async def test_any_name_is_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    store = SQLiteStore(name)
    monkeypatch.chdir("/")
    await store.open()
    add(store, [1])
    await store.close()
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert numbers(await contents_of(SQLiteStore(tmp_path / name))) == [1]


async def test_an_empty_file_is_a_new_store(path: Path) -> None:
    path.touch(0o640)
    assert numbers(await contents_of(SQLiteStore(path))) == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o640  # whoever made it chose it


async def test_a_missing_directory_is_told(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "none" / "outbox.db")
    with pytest.raises(StoreError, match="no such file or directory; make its directory first"):
        await store.open()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
async def test_what_is_no_file_is_refused(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    with pytest.raises(StoreError, match="it is not a regular file; use another path"):
        await SQLiteStore(path).open()


@pytest.mark.parametrize("size", [1, 99, 100, 5000])
async def test_other_bytes_are_refused(path: Path, size: int) -> None:
    path.write_bytes(bytes(range(256)) * 20)
    os.truncate(path, size)
    await refused(path, StoreCorruptError, "not an SQLite database")


@pytest.mark.parametrize("size", [50, 4096, 9000])
async def test_a_truncated_file_is_refused(path: Path, size: int) -> None:
    async with opened(path) as store:
        for number in range(1, 100):
            store.add(stored(number, b"x" * 1000))
    os.truncate(path, size)
    why = "not an SQLite database" if size < 100 else "malformed"
    await refused(path, StoreCorruptError, why)


async def test_a_file_with_garbage_inside_is_refused_and_released(path: Path) -> None:
    async with opened(path) as store:
        for number in range(1, 100):
            store.add(stored(number, b"x" * 1000))
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\x55" * 8192 + whole[4096 + 8192 :])
    with pytest.raises(StoreCorruptError, match=r"could not open .* malformed"):
        await SQLiteStore(path).open()
    path.write_bytes(whole)  # the same inode, which nobody claims any more
    assert len((await contents_of(SQLiteStore(path))).messages) == 99


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("DROP TABLE meta", "no such table"),
        ("INSERT INTO position VALUES ('a', CAST(x'ff' AS TEXT))", "decode to UTF-8"),
    ],
)
async def test_a_file_that_somebody_meddled_with_is_refused(
    path: Path, statement: str, why: str
) -> None:
    await contents_of(SQLiteStore(path))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)
    with pytest.raises(StoreCorruptError, match=f"could not open .*{why}"):
        await SQLiteStore(path).open()


@pytest.mark.parametrize("statement", ["", "PRAGMA application_id = 5", "PRAGMA user_version = 1"])
async def test_a_database_of_others_is_refused(path: Path, statement: str) -> None:
    foreign(path, statement).close()
    await refused(path, StoreCorruptError, "a database of another application")


@pytest.mark.parametrize("mode", ["wal", "delete"])
async def test_a_database_that_others_use_is_refused_and_not_disturbed(
    path: Path, mode: str
) -> None:
    with closing(foreign(path, f"PRAGMA journal_mode = {mode}")) as theirs:
        theirs.execute("BEGIN IMMEDIATE")
        theirs.execute("INSERT INTO theirs VALUES (2)")
        await refused(path, StoreCorruptError, "a database of another application")
        theirs.execute("COMMIT")
        assert theirs.execute("SELECT count(*) FROM theirs").fetchone() == (2,)


async def test_a_database_that_others_left_unfinished_is_not_recovered(tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    (tmp_path / "left").mkdir()
    with closing(foreign(tmp_path / "live" / "x", "PRAGMA journal_mode = wal")) as theirs:
        theirs.execute("INSERT INTO theirs VALUES (2)")
        for name in ("x", "x-wal"):
            (tmp_path / "left" / name).write_bytes((tmp_path / "live" / name).read_bytes())
    await refused(tmp_path / "left" / "x", StoreCorruptError, "of another application")


async def test_a_database_that_others_make_in_the_same_moment_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign(path).close()
    monkeypatch.setattr(database_module, "_check_header", lambda _: None)
    await refused(path, StoreCorruptError, "a database of another application")


@pytest.mark.parametrize("version", [1, 3])
async def test_another_version_is_refused(path: Path, version: int) -> None:
    await contents_of(SQLiteStore(path))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        connection.execute(f"PRAGMA user_version = {version}")
    why = f"version {version}, and this statews reads version 2"
    await refused(path, StoreCorruptError, why)


async def test_a_second_opener_is_refused_whoever_it_is(path: Path) -> None:
    async with opened(path) as store:
        link = path.with_name("link")
        link.symlink_to(path)
        for name in (path, link):
            with pytest.raises(StoreBusyError, match="it is open in this process; close it there"):
                await SQLiteStore(name).open()
        # That was found out without the lock: to open and close the file here would end it.
        said = child("open", path, cwd=path.parent).stdout
        assert said.startswith("StoreBusyError could not open")
        assert "database is locked; close it there first" in said
        add(store, [1])
    assert child("open", path, cwd=path.parent).stdout == "opened 1\ncommitted\n"


async def test_a_file_that_another_connection_holds_is_waited_for_as_long_as_told(
    path: Path,
) -> None:
    await contents_of(SQLiteStore(path))
    with closing(sqlite3.connect(path, isolation_level=None)) as theirs:
        theirs.execute("BEGIN IMMEDIATE")
        for timeout in (0, 0.05):
            with pytest.raises(StoreBusyError, match="database is locked; close it there first"):
                await SQLiteStore(path, lock_timeout=timeout).open()
    assert numbers(await contents_of(SQLiteStore(path))) == []


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_database_that_was_forgotten_is_not_in_the_way(path: Path) -> None:
    # No store: the thread that it used may hold the database for another moment.
    database = Database(path, synchronous=Synchronous.NORMAL, lock_timeout=0)
    database.open()
    database.apply(batch(stored(1)))
    del database
    gc.collect()
    again = Database(path, synchronous=Synchronous.NORMAL, lock_timeout=0)
    assert numbers(again.open()) == [1]
    again.close()


@pytest.mark.parametrize("exists", [False, True])
async def test_a_directory_that_may_not_be_written_is_told(tmp_path: Path, exists: bool) -> None:
    directory = tmp_path / "directory"
    directory.mkdir()
    if exists:
        await contents_of(SQLiteStore(directory / "outbox.db"))
        (directory / "outbox.db").chmod(0o444)
    directory.chmod(0o555)
    said = child("unprivileged", "outbox.db", cwd=directory).stdout
    directory.chmod(0o700)
    assert said.startswith("StoreReadOnlyError could not open")
    assert said.endswith("; let this user write the file and its directory\n")


async def test_a_disk_that_fails_is_told(path: Path) -> None:
    said = child("limited", path, cwd=path.parent).stdout
    assert said.startswith("opened 0\nStoreError could not save messages to")
    assert "disk I/O error; look at the disk and at the limits of this process" in said
    assert numbers(await contents_of(SQLiteStore(path))) == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, StoreFullError),
        (errno.EDQUOT, StoreFullError),
        (errno.EACCES, StoreReadOnlyError),
        (errno.EPERM, StoreReadOnlyError),
        (errno.EROFS, StoreReadOnlyError),
        (errno.ENOTDIR, StoreError),
        (errno.EIO, StoreError),
    ],
)
def test_what_the_system_complains_of_is_told(code: int, kind: type[StoreError]) -> None:
    with pytest.raises(StoreError, match=r"^could not open x: [a-z].*; [a-z]") as caught:  # noqa: SIM117
        with translated("x", "open"):
            raise OSError(code, os.strerror(code))
    assert type(caught.value) is kind
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(StoreError, match="could not open x: no words; "), translated("x", "open"):
        raise OSError("no words")


def test_a_database_whose_connection_does_not_close_is_released(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(sqlite3.Connection):
        def close(self) -> None:
            super().close()
            raise sqlite3.OperationalError("disk I/O error")

    def connect(database: Database) -> sqlite3.Connection:
        return sqlite3.connect(database.path, factory=Failing, isolation_level=None)

    with monkeypatch.context() as patch:
        patch.setattr(Database, "_connect", connect)
        database = Database(path, synchronous=Synchronous.NORMAL, lock_timeout=0)
        database.open()
        with pytest.raises(StoreError, match=r"could not close .* disk I/O error; "):
            database.close()
    again = Database(path, synchronous=Synchronous.NORMAL, lock_timeout=0)
    again.open()
    again.close()


def test_a_transaction_is_done_whole_or_not_at_all(path: Path) -> None:
    database = Database(path, synchronous=Synchronous.NORMAL, lock_timeout=0)
    database.open()
    good = batch(stored(1))
    bad = batch(stored(2), Stored(number=3, message=object()))  # type: ignore[arg-type]
    database.apply(good)
    with pytest.raises(StoreError, match="could not save messages"):
        database.apply(bad)
    database.apply(batch(stored(4)))
    database.close()
    again = Database(path, synchronous=Synchronous.NORMAL, lock_timeout=0)
    assert numbers(again.open()) == [1, 4]
    again.close()
