"""Files of several chunks on their way into a place: what is written and committed of each, and which are open.

Invariants: a file that somebody uses is not closed to make way; nothing is written through a link, or over a file at
its path.

Source: specs/store.md, "Order of writes".
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

from samara.node.store.bits import clear_runs, row, set_run
from samara.node.store.contents import Place
from samara.node.store.files import (
    ensure_folder,
    has_blocks,
    make_read_only,
    move_into_place,
    open_for_writing,
    os_errors,
    preallocate,
    set_size,
    share_or_write_at,
    sync_data,
    sync_folder,
    write_at,
)
from samara.node.store.reader import progress_path
from samara.node.store.stamps import Stamp, stamp
from samara.protocol.chunklist import ChunkList
from samara.protocol.paths import WORK_FOLDER
from samara.protocol.ports import Span
from samara.protocol.table import FileEntry

__all__ = ["LargeFiles", "Unfinished"]

_MAX_OPEN: Final = 64
"""Files of one intake that are open at once: systems allow 256 to 1,024 a process."""


@final
@dataclass(slots=True)
class Unfinished:
    """One wanted file of several chunks that is not complete.

    Attributes:
        stream: Its number.
        entry: What the table says of it.
        wanted: One a chunk: it is wanted. Empty until its list is here; None when all of it is.
        bits: One a chunk: it is committed. Empty until its list is here.
        written: One a chunk: it is written, and not committed.
        listed: Its list is here.
        missing: Chunks that are not committed.
        needs: Bytes that it is to have of the disk.
        taken: Bytes that it has: all where blocks could be promised, else what was written for good.
        fd: Its descriptor, while it is open.
        users: Threads that are writing to it or syncing it.
    """

    stream: int
    entry: FileEntry
    wanted: bytearray | None = None
    bits: bytearray = field(default_factory=bytearray)
    written: bytearray = field(default_factory=bytearray)
    listed: bool = False
    missing: int = 0
    needs: int = 0
    taken: int = 0
    fd: int | None = None
    users: int = 0

    @property
    def has_written(self) -> bool:
        """Something of it is to be committed."""
        return any(self.written)

    @property
    def lacks(self) -> bool:
        """Something that is wanted of it is not committed."""
        if self.wanted is None or not self.listed:
            return bool(self.missing) or not self.listed
        return bool(int.from_bytes(self.wanted, "little") & ~int.from_bytes(self.bits, "little"))

    def begin(self, chunks: ChunkList, wanted: Sequence[range] | None) -> None:
        """Take note of its list, and of which chunks are wanted; None for all."""
        count = len(chunks)
        if len(self.bits) != len(row(count)):
            self.bits = row(count)
        self.written = row(count)
        self.missing = count - int.from_bytes(self.bits, "little").bit_count()
        self.needs = self.entry.size
        self.taken = max(self.taken, _bytes_of(chunks, self.bits))
        if wanted is not None:
            self.wanted = row(count)
            for run in wanted:
                set_run(self.wanted, run.start, len(run))
            self.needs = _bytes_of(chunks, bytes(a | b for a, b in zip(self.bits, self.wanted, strict=True)))
        self.listed = True

    def lacking(self, count: int) -> Iterator[tuple[int, int]]:
        """Yield the runs of its `count` chunks that are wanted, and neither committed nor written."""
        if self.wanted is None:
            yield from self.absent(0, count)
            return
        there = bytearray(a | b | ~c & 255 for a, b, c in zip(self.bits, self.written, self.wanted, strict=True))
        yield from clear_runs(there, 0, count)

    def absent(self, first: int, count: int) -> Iterator[tuple[int, int]]:
        """Yield the runs that are neither committed nor written, of `count` chunks from `first` on."""
        if not any(self.written):
            yield from clear_runs(self.bits, first, count)
            return
        for start, length in clear_runs(self.bits, first, count):
            yield from clear_runs(self.written, start, length)

    def wrote(self, first: int, count: int, size: int) -> None:
        """Take note of chunks of `size` bytes that were written."""
        set_run(self.written, first, count)
        self.taken = min(self.taken + size, self.entry.size)

    def take_written(self) -> int:
        """Return the chunks that are to be committed now, as a number; they are not written any more."""
        found = int.from_bytes(self.written, "little")
        self.written = bytearray(len(self.written))
        return found

    def commit(self, chunks: int) -> None:
        """Take note of chunks, as `take_written` gave them, that are committed."""
        self._set(int.from_bytes(self.bits, "little") | chunks)

    def lose(self, chunks: int) -> None:
        """Take note of committed chunks that are gone."""
        self._set(int.from_bytes(self.bits, "little") & ~chunks)

    def _set(self, bits: int) -> None:
        self.missing += int.from_bytes(self.bits, "little").bit_count() - bits.bit_count()
        self.bits[:] = bits.to_bytes(len(self.bits), "little")


def _bytes_of(chunks: ChunkList, bits: bytes | bytearray) -> int:
    """Return the bytes of the chunks whose bits are set."""
    return chunks.size - sum(chunks.bytes_of(*run) for run in clear_runs(bits, 0, len(chunks)))


@final
class LargeFiles:
    """The wanted files of several chunks of one place that are not complete, by stream.

    Args:
        place: Where.
        lock: Protects what is known of them. Several threads may write, and one may commit.

    Attributes:
        pending: Bytes of chunks that are written and to be committed.
        shared: Bytes that took no room on the disk: they are another file's, too.
    """

    def __init__(self, place: Place, lock: threading.RLock) -> None:
        self.pending = 0
        self.shared = 0
        self._place = place
        self._lock = lock
        self._files: dict[int, Unfinished] = {}
        self._open: OrderedDict[int, Unfinished] = OrderedDict()  # the last used one last

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, stream: int) -> bool:
        return stream in self._files

    def __iter__(self) -> Iterator[Unfinished]:
        return iter(self._files.values())

    def get(self, stream: int) -> Unfinished | None:
        """Return a file, unless it is complete or not wanted."""
        return self._files.get(stream)

    def want(self, file: Unfinished) -> None:
        """Let a file be wanted."""
        self._files[file.stream] = file

    def measure(self) -> None:
        """Look which files have all of their blocks already."""
        for file in self._files.values():
            with contextlib.suppress(OSError):
                if has_blocks(os.lstat(progress_path(self._place, file.stream)), file.entry.size):
                    file.taken = file.entry.size

    def write(self, span: Span, chunks: ChunkList, data: memoryview, source: tuple[int, int] | None = None) -> None:
        """Write verified chunks, and let them be committed.

        What is there already is left alone: a file that is whole must not be touched, nor a descriptor that is another
        file's by now.

        Args:
            span: Which chunks.
            chunks: The list of their file.
            data: Their bytes.
            source: A file that is open, and where they lie in it: they are shared with it where that can be.

        Raises:
            DiskFullError: No room.
            StoreError: The disk.
        """
        file = self._files.get(span.stream)
        if file is None:
            return
        with os_errors(f"cannot write {file.entry.path}"):
            with self._lock:
                todo = list(file.absent(span.first, span.width))
                if self._files.get(span.stream) is not file or not todo:
                    return
                fd = self._descriptor(file)
                file.users += 1
            written = 0
            try:
                for first, count in todo:
                    start, size = chunks.bytes_of(span.first, first - span.first), chunks.bytes_of(first, count)
                    part, offset = data[start : start + size], chunks.offset(first)
                    if source is None:
                        write_at(fd, part, offset)
                    else:
                        self.shared += share_or_write_at(source[0], source[1] + start, fd, part, offset)
                    written += 1
            finally:
                with self._lock:
                    for first, count in todo[:written]:
                        size = chunks.bytes_of(first, count)
                        file.wrote(first, count, size)
                        self.pending += size
                    file.users -= 1

    def take_written(self) -> list[tuple[Unfinished, int]]:
        """Return the files of which something is to be committed now, with the chunks, as a number."""
        with self._lock:
            self.pending = 0
            return [(file, file.take_written()) for file in self._files.values() if file.has_written]

    def sync(self, files: Iterable[Unfinished]) -> None:
        """Bring what was written of files to the disk.

        Raises:
            StoreError: The disk; nothing of them may be believed then.
        """
        with os_errors(f"cannot sync to {self._place.root}"):
            for file in files:
                self._sync(file)

    def _sync(self, file: Unfinished) -> None:
        with self._lock:  # it may have been closed to make way, and must not be while it is synced
            fd = self._descriptor(file)
            file.users += 1
        try:
            sync_data(fd)
        finally:
            with self._lock:
                file.users -= 1

    def move(self, whole: Iterable[Unfinished]) -> dict[int, Stamp]:
        """Move files that are committed whole to their paths, and return their stamps by stream.

        Raises:
            StoreError: Something is in the way.
        """
        stamps: dict[int, Stamp] = {}
        folders: set[Path] = set()
        with os_errors(f"cannot finish files in {self._place.root}"):
            for file in whole:
                fd = self._descriptor(file)
                *parts, name = file.entry.path.split("/")
                folder = ensure_folder(self._place.root, parts)
                folders |= {folder, *folder.parents[: len(parts)]}
                progress = progress_path(self._place, file.stream)
                make_read_only(fd, progress)
                move_into_place(progress, folder / name)
                stamps[file.stream] = stamp(fd)
                self._close(file)
            for folder in folders:
                sync_folder(folder)
        return stamps

    def finish(self, streams: Iterable[int]) -> None:
        """Let go of files that are recorded as complete."""
        for stream in streams:
            del self._files[stream]

    def close(self) -> None:
        """Close those that are open."""
        for file in list(self._open.values()):
            self._close(file)

    def _descriptor(self, file: Unfinished) -> int:
        """Return a file's descriptor; open it, and give it its size, when it is not open."""
        if file.fd is None:
            self._make_way()
            ensure_folder(self._place.root, [WORK_FOLDER])
            file.fd = open_for_writing(progress_path(self._place, file.stream))
            self._open[file.stream] = file
            if file.wanted is None:
                preallocate(file.fd, file.entry.size)
            else:  # of what is wanted in part the rest are holes
                set_size(file.fd, file.entry.size)
            if has_blocks(os.fstat(file.fd), file.entry.size):
                file.taken = file.entry.size
        self._open.move_to_end(file.stream)
        return file.fd

    def _close(self, file: Unfinished) -> None:
        if file.fd is not None:
            os.close(file.fd)
            file.fd = None
        self._open.pop(file.stream, None)

    def _make_way(self) -> None:
        """Keep few files open: of small ones thousands may come between two commits."""
        while len(self._open) >= _MAX_OPEN:
            idle = next((file for file in self._open.values() if not file.users), None)
            if idle is None:
                return
            self._close(idle)
