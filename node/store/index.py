"""The SQLite index: its schema, one connection that writes, and readers of their own for each thread.

Nothing here knows what the rows mean; `catalog`, `contents` and `intake` do. A write is a transaction (`with
index.write() as db`), serialised by a lock, so any thread may write. A home that cannot be written is opened
read-only.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from samara.node.store.files import free_bytes
from samara.protocol.errors import DiskFullError, NotFoundError, ReadOnlyError, StoreError
from samara.protocol.limits import KIB

__all__ = ["Index"]

_VERSION: Final = 1

_ROOM_OF_SQLITE: Final = 256 * KIB
"""Bytes that must be free for SQLite to work: its shared memory takes 32 KiB, its log some pages."""

_WITHOUT_LOCKS: Final = f"&vfs={'win32' if os.name == 'nt' else 'unix'}-none"
"""With exclusive locking this lets SQLite read a log without shared memory, and lock nothing."""

_SCHEMA: Final = """
CREATE TABLE root (publisher BLOB, version INTEGER, envelope BLOB NOT NULL, PRIMARY KEY (publisher, version));
CREATE TABLE release (
    id BLOB PRIMARY KEY, publisher BLOB NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, issued TEXT NOT NULL,
    kind TEXT NOT NULL, license TEXT NOT NULL, content BLOB NOT NULL, bytes INTEGER NOT NULL, files INTEGER NOT NULL,
    visibility TEXT NOT NULL, redistribute INTEGER NOT NULL, own INTEGER NOT NULL, condemned TEXT NOT NULL DEFAULT '',
    added REAL NOT NULL, envelope BLOB NOT NULL);
CREATE INDEX release_content ON release (content);
CREATE INDEX release_name ON release (publisher, name);
CREATE TABLE head (
    id BLOB PRIMARY KEY, publisher BLOB NOT NULL, name TEXT NOT NULL, sequence INTEGER NOT NULL, release BLOB NOT NULL,
    envelope BLOB NOT NULL);
CREATE INDEX head_name ON head (publisher, name, sequence);
CREATE TABLE content (
    no INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, bytes INTEGER NOT NULL, files INTEGER NOT NULL, "table" BLOB NOT
    NULL);
CREATE TABLE node (content INTEGER, hash BLOB, stream INTEGER, data BLOB NOT NULL, PRIMARY KEY (content, stream, hash));
CREATE INDEX node_hash ON node (hash);
CREATE TABLE place (
    no INTEGER PRIMARY KEY, content INTEGER NOT NULL, kind TEXT NOT NULL, root TEXT NOT NULL, state TEXT NOT NULL,
    UNIQUE (content, root));
CREATE TABLE file (
    place INTEGER, stream INTEGER, state TEXT NOT NULL, bits BLOB, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
    inode INTEGER NOT NULL, checked INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (place, stream)) WITHOUT ROWID;
CREATE TABLE chunk (
    hash INTEGER, content INTEGER, stream INTEGER, "index" INTEGER, PRIMARY KEY (hash, content, stream, "index"))
    WITHOUT ROWID;
CREATE TABLE fetch (
    no INTEGER PRIMARY KEY, request BLOB NOT NULL, state TEXT NOT NULL, release BLOB, error TEXT NOT NULL DEFAULT '',
    added REAL NOT NULL);
CREATE TABLE pin (release BLOB PRIMARY KEY);
CREATE TABLE petname (name TEXT PRIMARY KEY, publisher BLOB NOT NULL);
CREATE TABLE peer (id TEXT PRIMARY KEY, wrong INTEGER NOT NULL, why TEXT NOT NULL, seen REAL NOT NULL);
CREATE TABLE allow (release BLOB, peer TEXT, PRIMARY KEY (release, peer)) WITHOUT ROWID;
"""


_LATER: Final = """
CREATE INDEX IF NOT EXISTS file_unchecked ON file (place, stream) WHERE state = 'complete' AND NOT checked;
CREATE TABLE IF NOT EXISTS entry (
    no INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, publisher BLOB NOT NULL, kind TEXT NOT NULL, position INTEGER NOT
    NULL, about BLOB, envelope BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS entry_publisher ON entry (publisher, no);
CREATE INDEX IF NOT EXISTS entry_about ON entry (about) WHERE about IS NOT NULL;
CREATE TABLE IF NOT EXISTS log (
    publisher BLOB PRIMARY KEY, own INTEGER NOT NULL, position INTEGER NOT NULL, records INTEGER NOT NULL, bytes INTEGER
    NOT NULL, trimmed INTEGER NOT NULL, seen REAL NOT NULL);
CREATE TABLE IF NOT EXISTS fork (
    id BLOB PRIMARY KEY, publisher BLOB NOT NULL, proof BLOB NOT NULL, added REAL NOT NULL, lifted INTEGER NOT NULL
    DEFAULT 0);
CREATE INDEX IF NOT EXISTS fork_publisher ON fork (publisher);
CREATE TABLE IF NOT EXISTS witnessed (
    publisher BLOB PRIMARY KEY, root INTEGER NOT NULL, position INTEGER NOT NULL, record BLOB NOT NULL, envelope BLOB
    NOT NULL);
CREATE TABLE IF NOT EXISTS floor (
    no INTEGER PRIMARY KEY CHECK (no = 1), seconds INTEGER NOT NULL, anchor INTEGER NOT NULL, source TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS follow (
    publisher BLOB, name TEXT, since REAL NOT NULL, PRIMARY KEY (publisher, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS catalogue (
    no INTEGER PRIMARY KEY, publisher BLOB NOT NULL, name TEXT NOT NULL, title TEXT NOT NULL, record BLOB NOT NULL,
    searched INTEGER NOT NULL, UNIQUE (publisher, name));
CREATE TABLE IF NOT EXISTS listed (
    catalogue INTEGER, no INTEGER, release BLOB NOT NULL, publisher BLOB NOT NULL, name TEXT NOT NULL, version TEXT NOT
    NULL, note TEXT NOT NULL, PRIMARY KEY (catalogue, no)) WITHOUT ROWID;
"""
"""What came after the first indexes were made, which grow it when they are opened.

`file_unchecked` lets who looks every few seconds find at once that there is none.
"""


class Index:
    """An open index.

    Args:
        path: The database file; it is created when `writable`.
        writable: False opens what is there for reading only.

    Raises:
        NotFoundError: Nothing is there, and it may not be created.
        ReadOnlyError: It was to be writable, and cannot be written.
        StoreError: It is damaged, or of a newer Samara.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.writable = writable
        self._path = path
        self._lock = threading.RLock()
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []  # the writer's, unless it could not be opened
        self._readers: list[_Reader] = []
        self._closed = False
        try:
            self._writer = self._connect()
            self._open.append(self._writer)
            if writable:
                self._prepare()
            self._check_version()
            if writable:
                self._check_writable()
                self._grow()
        except sqlite3.Error as error:
            self.close()
            if isinstance(typed := _typed(error, path), DiskFullError | ReadOnlyError):
                raise typed from error
            raise StoreError(
                f"the index {path} cannot be opened: {error}",
                hint="Move index.sqlite away and publish or fetch again: the files themselves are not touched.",
            ) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close every connection, each when its thread is between two queries; later ones raise `StoreError`."""
        with self._lock:
            self._closed = True
            for reader in self._readers:
                reader.close()
            for connection in self._open:
                connection.close()
            self._readers.clear()
            self._open.clear()

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: committed when the block ends, rolled back when it raises.

        Raises:
            ReadOnlyError: The home was opened for reading only.
            StoreError: SQLite failed; nothing of the block was kept.
        """
        if not self.writable:
            raise ReadOnlyError(f"{self._path.parent} is open for reading only")
        with self._lock:
            if self._closed:
                raise StoreError("the index was closed")
            if self._writer.in_transaction:  # the caller's block is the transaction
                yield self._writer
                return
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
            except sqlite3.Error as error:
                self._rollback()
                raise _typed(error, self._path) from error
            except BaseException:
                self._rollback()
                raise

    @property
    def read(self) -> _Reader:
        """This thread's connection for reading.

        Raises:
            StoreError: It cannot be opened.
        """
        own: _ThreadsOwn | None = getattr(self._local, "own", None)
        if own is None:
            with self._lock, _reading():
                if self._closed:
                    raise StoreError("the index was closed")
                reader = _Reader(self._connect())
                self._readers.append(reader)
                own = _ThreadsOwn(reader, self._let_go)
            self._local.own = own
        return own.reader

    def has(self, table: str) -> bool:
        """Whether a table is there that came after the first indexes: one that is only read may be as it was."""
        query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
        return self.writable or self.read.execute(query, (table,)).fetchone() is not None

    def _let_go(self, reader: _Reader) -> None:
        with self._lock:
            if reader in self._readers:
                self._readers.remove(reader)
                reader.close()

    def _rollback(self) -> None:
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")

    def _connect(self) -> sqlite3.Connection:
        uri = self._path.absolute().as_uri()
        if not self.writable:
            if not self._path.exists():
                raise NotFoundError(f"there is no Samara home at {self._path.parent}", hint="Fetch or seed something.")
            uri += f"?mode=ro{_way_to_look(self._path)}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
        connection.execute("PRAGMA busy_timeout = 30000")
        if uri.endswith(_WITHOUT_LOCKS):
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        return connection

    def _prepare(self) -> None:
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.execute("PRAGMA synchronous = FULL")
        if self._version() == 0:
            with self.write() as db:
                if self._version() != 0:  # another process was faster
                    return
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {_VERSION}")

    def _grow(self) -> None:
        with self.write() as db:  # at the same time another process may be doing the same
            for statement in _LATER.split(";"):
                db.execute(statement)

    def _version(self) -> int:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        return int(version)

    def _check_version(self) -> None:
        version = self._version()
        if version == 0:  # whoever made the file died before it made the tables
            raise NotFoundError(f"there is no Samara home at {self._path.parent}", hint="Fetch or seed something.")
        if version != _VERSION:
            raise StoreError(f"the index is of version {version}, this Samara knows {_VERSION}", hint="Update Samara.")

    def _check_writable(self) -> None:
        """Let a file that cannot be written be an error now, and not in the middle of something."""
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            self._writer.execute(f"PRAGMA user_version = {_VERSION}")
        finally:
            self._rollback()


class _ThreadsOwn:
    """A thread's connection. The thread's locals are dropped when it ends, and with them this: worker threads come and
    go all day, and each would leave two open files behind.
    """

    def __init__(self, reader: _Reader, let_go: Callable[[_Reader], None]) -> None:
        self.reader = reader
        self._let_go = let_go

    def __del__(self) -> None:
        self._let_go(self.reader)


class _Rows(list[Any]):
    """The rows of a query, all of them: no cursor stays open behind a caller's back."""

    def fetchone(self) -> Any:  # noqa: ANN401 - as sqlite3 has it
        """Return the first row, or None."""
        return self[0] if self else None

    def fetchall(self) -> list[Any]:
        """Return all rows."""
        return self


class _Reader:
    """A connection that only reads.

    A node that stops leaves threads behind that are still reading for peers: closing a connection under a query is a
    segmentation fault, so each query holds a lock.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection: sqlite3.Connection | None = connection
        self._lock = threading.Lock()

    def execute(self, query: str, parameters: Sequence[object] = ()) -> _Rows:
        """Return the rows of a query.

        Raises:
            StoreError: The index is damaged, or was closed.
        """
        with self._lock, _reading():
            if self._connection is None:
                raise StoreError("the index was closed")
            return _Rows(self._connection.execute(query, parameters).fetchall())

    def close(self) -> None:
        """Close it, after the query that is under way."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"the index could not be read: {error}") from error


def _is_full(error: sqlite3.Error, path: Path) -> bool:
    """Whether the disk is full: of what goes beside the database SQLite says only that the disk failed."""
    code = _code(error)
    if code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}:
        return free_bytes(path.parent) < _ROOM_OF_SQLITE
    return code == sqlite3.SQLITE_FULL


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest of an extended code says where


def _typed(error: sqlite3.Error, path: Path) -> StoreError:
    what = f"the index {path} cannot be written: {error}"
    if _is_full(error, path):
        return DiskFullError(what, hint="Free some room and run the same command again: it goes on where it stopped.")
    if _code(error) == sqlite3.SQLITE_READONLY or (
        _code(error) == sqlite3.SQLITE_CANTOPEN and not _writable_folder(path.parent)
    ):
        return ReadOnlyError(what, hint="Choose a home that you may write, with $SAMARA_HOME.")
    return StoreError(what)


def _way_to_look(path: Path) -> str:
    """Return how SQLite is told to open the index for reading only, as parameters of its URI.

    SQLite wants to make its shared memory and its log where they are missing, also to look. Where it cannot:
    without a log nobody has the index open, and what is in the file is all; a log must be read with it, and is, by a
    connection that has nobody to share its memory with.
    """
    wal, shared = (path.with_name(path.name + end) for end in ("-wal", "-shm"))
    if (wal.exists() and shared.exists()) or _writable_folder(path.parent):
        return ""
    return _WITHOUT_LOCKS if wal.exists() else "&immutable=1"


def _writable_folder(folder: Path) -> bool:
    """Whether SQLite can put its files beside the database, which it does also to look at it."""
    probe = folder / f".write-probe-{os.getpid()}"
    try:
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return free_bytes(folder) >= _ROOM_OF_SQLITE
