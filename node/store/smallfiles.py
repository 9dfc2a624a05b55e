"""Files of at most one chunk on their way into a place: each is written whole, and many are synced and moved together.

A directory of 100,000 small files costs what its files cost the system, and little more: none is opened twice, has
blocks promised or is recorded before it is complete; one sync of the filesystem serves all where the system has that.
In memory each costs a byte.

Invariants: nothing is moved that was not synced; nothing is written through a link, or over a file at its path.

Source: specs/store.md, "Order of writes".
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, final

from samara.node.store.contents import Place
from samara.node.store.files import (
    create_for_writing,
    ensure_folder,
    move_into_place,
    sync_closed,
    sync_folders,
    write_at,
)
from samara.node.store.reader import progress_path
from samara.node.store.stamps import Stamp, StampTaker
from samara.protocol.ids import digest, sha256
from samara.protocol.paths import WORK_FOLDER
from samara.protocol.table import FileTable

__all__ = ["SmallFiles"]

_MISSING: Final = 1
_WRITTEN: Final = 2


@final
class SmallFiles:
    """The wanted small files of one place that are not complete.

    Args:
        place: Where.
        table: What they are.
        lock: Protects what is known of them. One thread at a time may write, and one may commit.

    Attributes:
        left: How many there are.
        bytes_missing: Bytes of those that are not written.
        bytes_pending: Bytes of those that are written and to be committed.
    """

    def __init__(self, place: Place, table: FileTable, lock: threading.RLock) -> None:
        self.left = 0
        self.bytes_missing = 0
        self.bytes_pending = 0
        self._place = place
        self._table = table
        self._lock = lock
        self._stamps = StampTaker()
        self._states = bytearray(len(table) + 1)  # of each stream; 0: it is none of them, or is complete
        self._written: list[int] = []
        self._lies: set[int] = set()
        path = str(progress_path(place, 0))
        self._progress = path.removesuffix("0")  # with a stream's number it is that one's path

    def __contains__(self, stream: int) -> bool:
        return self._states[stream] != 0

    def __iter__(self) -> Iterator[int]:
        return (stream for stream, state in enumerate(self._states) if state)

    def want(self, stream: int) -> None:
        """Let a file be wanted."""
        with self._lock:
            self.left += 1
            self._lack(stream)

    def is_missing(self, stream: int) -> bool:
        """Say whether a file is wanted and not written."""
        return self._states[stream] == _MISSING

    def check(self, stream: int, data: memoryview) -> int | None:
        """Compare what came of a file with the table.

        Args:
            stream: Which file.
            data: Its bytes, and perhaps what follows them.

        Returns:
            How many bytes are its own, 0 when they are wrong; None when it is no small file.
        """
        size, whole, root = self._table.facts(stream - 1)
        if whole != root or not size:
            return None
        data = data[:size]
        if digest(data) != root:
            return 0
        if sha256(data) != self._table.sha256(stream - 1):
            with self._lock:
                self._lies.add(stream)
        return size

    def write(self, files: Iterable[tuple[int, memoryview]]) -> None:
        """Write files whole, those that are missing.

        Raises:
            StoreError: A link or something else than a file is in the way.
            OSError: As the system says.
        """
        todo = {stream: data for stream, data in files if self.is_missing(stream)}
        written: list[int] = []
        try:
            for stream, data in todo.items():
                self._write(f"{self._progress}{stream}", data)
                written.append(stream)
        finally:
            self._wrote(written)

    def lies(self, streams: Iterable[int]) -> set[int]:
        """Return those of some files that are right, and whose SHA-256 is not what the table states."""
        return self._lies.intersection(streams)

    def take_written(self) -> list[int]:
        """Return the files that are to be committed now, ascending, so that those of a folder are together."""
        with self._lock:
            written, self._written = self._written, []
            self.bytes_pending = 0
        return sorted(written)

    def lose(self, streams: Iterable[int]) -> None:
        """Take note of files that were written and could not be committed."""
        with self._lock:
            for stream in streams:
                self._lack(stream)

    def sync(self, streams: Sequence[int]) -> None:
        """Bring what was written of files to the disk.

        Raises:
            OSError: As the system says; nothing of them may be believed then.
        """
        sync_closed(self._place.root, [f"{self._progress}{stream}" for stream in streams])

    def move(self, streams: Iterable[int], folders: set[str]) -> dict[int, Stamp]:
        """Move synced files to their paths, and return their stamps by stream.

        Args:
            streams: Which files.
            folders: Gets the folders that are to be synced then.

        Raises:
            StoreError: Something is in the way.
            OSError: As the system says.
        """
        stamps: dict[int, Stamp] = {}
        made: dict[str, str] = {}
        for stream in streams:
            parent, _, name = self._table.path(stream - 1).rpartition("/")
            if (folder := made.get(parent)) is None:
                folder = made[parent] = str(ensure_folder(self._place.root, parent.split("/") if parent else ()))
            target = f"{folder}{os.sep}{name}"
            move_into_place(f"{self._progress}{stream}", target)
            stamps[stream] = self._stamps.take(target)
        folders.update(above for path, folder in made.items() for above in _up_to_root(folder, path))
        return stamps

    def sync_folders(self, folders: Collection[str]) -> None:
        """Bring to the disk that files were moved into folders.

        Raises:
            OSError: As the system says.
        """
        sync_folders(self._place.root, folders)

    def finish(self, streams: Iterable[int]) -> None:
        """Let go of files that are recorded as complete."""
        with self._lock:
            for stream in streams:
                self._states[stream] = 0
                self._lies.discard(stream)
                self.left -= 1

    def _lack(self, stream: int) -> None:
        self._states[stream] = _MISSING
        self.bytes_missing += self._table.facts(stream - 1)[0]

    def _wrote(self, streams: list[int]) -> None:
        size = sum(self._table.facts(stream - 1)[0] for stream in streams)
        with self._lock:
            for stream in streams:
                self._states[stream] = _WRITTEN
            self._written += streams
            self.bytes_missing -= size
            self.bytes_pending += size

    def _write(self, path: str, data: memoryview) -> None:
        try:
            fd = create_for_writing(path)
        except FileNotFoundError:  # somebody tidied up
            ensure_folder(self._place.root, [WORK_FOLDER])
            fd = create_for_writing(path)
        try:
            write_at(fd, data, 0)
        finally:
            os.close(fd)


def _up_to_root(folder: str, path: str) -> list[str]:
    """The folder and those above it, as far as the root of the place, `path` being its path from there."""
    depth = path.count("/") + 1 if path else 0
    return [folder, *map(str, Path(folder).parents[:depth])]
