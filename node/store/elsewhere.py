"""Chunks in folders that the user names: an older download, the cache of another tool, a disk of a friend's.

The files there are cut as if they were published, and where each chunk lies is remembered in a database that nobody
else sees and that goes with the object. What is found is a hint: whoever takes bytes from there verifies them.

Invariants: nothing is written there; only plain files are read; a file that cannot be read, or changes meanwhile, is
left out; memory is bounded however much lies there.

Source: specs/store.md, "What lies elsewhere".
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import stat
import struct
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from samara.node.store.copying import MOST_TOGETHER, Lent
from samara.node.store.files import open_for_reading, read_at
from samara.node.store.scan import scan_chunks
from samara.protocol import limits
from samara.protocol.chunklist import ChunkList
from samara.protocol.errors import StoreError

__all__ = ["Elsewhere", "Found"]

_log = logging.getLogger(__name__)

_SHORTS: Final = struct.Struct(">q28x")
_ASKED_AT_ONCE: Final = 900

_SCHEMA: Final = """
CREATE TABLE file (no INTEGER PRIMARY KEY, path BLOB NOT NULL);
CREATE TABLE chunk (hash INTEGER PRIMARY KEY, file INTEGER NOT NULL, offset INTEGER NOT NULL);
"""


@final
@dataclass(frozen=True, slots=True)
class Found:
    """Where chunks in a row may lie.

    Attributes:
        path: In which file.
        offset: Where the first begins there.
        first: Its index in the list that was asked for.
        count: How many chunks.
    """

    path: Path
    offset: int
    first: int
    count: int


@final
class Elsewhere:
    """What lies in some folders.

    Args:
        roots: Folders, or files.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = roots
        self._lock = threading.Lock()
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript(_SCHEMA)
        self.looked = 0
        """Bytes that were read so far."""

    def close(self) -> None:
        """Forget it."""
        with self._lock:
            self._db.close()

    def look(self, sizes: Iterable[int], *, cancelled: Callable[[], bool]) -> Iterator[bool]:
        """Read what lies there, a file a step, and yield True after each. Blocks.

        Args:
            sizes: Of the files that are wanted: those of just these sizes are read first.
            cancelled: Is asked now and then; True ends it.

        Raises:
            StoppedError: `cancelled` said so.
        """
        likely = frozenset(sizes)
        files = sorted(self._files(), key=lambda found: found[1] not in likely)
        for path, size in files:
            try:
                self._read(path, cancelled)
            except (OSError, StoreError) as error:
                _log.info("%s is left out: %s", path, error)
            self.looked += size
            yield True

    def find(self, chunks: ChunkList, indexes: Sequence[int]) -> Iterator[Found]:
        """Yield where chunks of a list may lie: those together that follow each other there as in the list.

        Args:
            chunks: The list.
            indexes: Which of its chunks, ascending.
        """
        run: Found | None = None
        for index, path, offset in self._find(chunks, indexes):
            if run is not None and (path, index) == (run.path, run.first + run.count):
                size = chunks.offset(index) - chunks.offset(run.first)
                if offset == run.offset + size and size + chunks.length(index) <= MOST_TOGETHER:
                    run = Found(path, run.offset, run.first, run.count + 1)
                    continue
            if run is not None:
                yield run
            run = Found(path, offset, index, 1)
        if run is not None:
            yield run

    def lend(self, chunks: ChunkList, indexes: Sequence[int]) -> Generator[Lent, None, None]:
        """Yield what is here of some chunks of a list (`samara.node.store.copying.Source`)."""
        room = memoryview(bytearray(MOST_TOGETHER))
        for found in self.find(chunks, indexes):
            with contextlib.suppress(OSError):
                fd = open_for_reading(found.path)
                try:
                    data = room[: chunks.bytes_of(found.first, found.count)]
                    data = data[: read_at(fd, data, found.offset)]
                    if right := chunks.count_right(data, found.first, found.count):
                        yield Lent(found.first, right, data[: chunks.bytes_of(found.first, right)], fd, found.offset)
                finally:
                    os.close(fd)

    def _find(self, chunks: ChunkList, indexes: Sequence[int]) -> Iterator[tuple[int, Path, int]]:
        for start in range(0, len(indexes), _ASKED_AT_ONCE):
            asked = {index: _short(chunks, index) for index in indexes[start : start + _ASKED_AT_ONCE]}
            marks = ",".join("?" * len(asked))
            query = f"SELECT hash, path, offset FROM chunk JOIN file ON no = file WHERE hash IN ({marks})"  # noqa: S608
            with self._lock:
                rows = self._db.execute(query, [*asked.values()]).fetchall()
            found = {short: (Path(os.fsdecode(path)), offset) for short, path, offset in rows}
            for index, short in asked.items() if found else ():
                if (where := found.get(short)) is not None:
                    yield index, *where

    def _files(self) -> Iterator[tuple[Path, int]]:
        """Yield each plain file once, with its size, also through links to files: caches are made of such."""
        seen: set[tuple[int, int]] = set()
        for root in self._roots:
            walk = os.walk(root) if root.is_dir() else [(str(root.parent), [], [root.name])]
            for folder, _, names in walk:
                for name in sorted(names):
                    path = Path(folder, name)
                    try:
                        status = path.stat()
                    except OSError:
                        continue
                    key = (status.st_dev, status.st_ino)
                    if stat.S_ISREG(status.st_mode) and status.st_size and (key not in seen or not status.st_ino):
                        seen.add(key)
                        yield path, status.st_size
                        if len(seen) >= limits.MAX_FILES:
                            return

    def _read(self, path: Path, cancelled: Callable[[], bool]) -> None:
        fd = open_for_reading(path)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):  # changed since it was listed
                return
            chunks = scan_chunks(fd, status.st_size, cancelled=cancelled)
        finally:
            os.close(fd)
        shorts = [short for (short,) in _SHORTS.iter_unpack(chunks.entries)]
        with self._lock:
            self._db.execute("BEGIN")
            no = self._db.execute("INSERT INTO file (path) VALUES (?)", (os.fsencode(path),)).lastrowid
            self._db.executemany(
                "INSERT OR IGNORE INTO chunk (hash, file, offset) VALUES (?,?,?)",
                ((short, no, chunks.offset(index)) for index, short in enumerate(shorts)),
            )
            self._db.execute("COMMIT")


def _short(chunks: ChunkList, index: int) -> int:
    return int.from_bytes(chunks.hash(index)[:8], "big", signed=True)
