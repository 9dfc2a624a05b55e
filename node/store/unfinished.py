"""Files on their way into a place: what is written and committed of each, and which of them are open.

Invariant: a file that somebody uses is not closed to make way.

An intake's lock protects all of it; who calls holds it (specs/store.md, "Order of writes").
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, final

from samara.node.store.bits import clear_runs, row, set_run
from samara.node.store.contents import Place
from samara.node.store.files import ensure_folder, has_blocks, open_for_writing, preallocate
from samara.node.store.reader import progress_path
from samara.protocol.chunklist import ChunkList
from samara.protocol.paths import WORK_FOLDER
from samara.protocol.table import FileEntry

__all__ = ["OpenFiles", "Unfinished"]

_MAX_OPEN: Final = 64
"""Files of one intake that are open at once: systems allow 256 to 1,024 a process."""


@final
@dataclass(slots=True)
class Unfinished:
    """One wanted file of several chunks that is not complete.

    Attributes:
        stream: Its number.
        entry: What the table says of it.
        bits: One a chunk: it is committed. Empty until its list is here.
        written: One a chunk: it is written, and not committed.
        listed: Its list is here.
        missing: Chunks that are not committed.
        taken: Bytes that it has of the disk.
        fd: Its descriptor, while it is open.
        users: Threads that are writing to it or syncing it.
    """

    stream: int
    entry: FileEntry
    bits: bytearray = field(default_factory=bytearray)
    written: bytearray = field(default_factory=bytearray)
    listed: bool = False
    missing: int = 0
    taken: int = 0
    fd: int | None = None
    users: int = 0

    @property
    def has_written(self) -> bool:
        """Something of it is to be committed."""
        return any(self.written)

    def begin(self, chunks: int) -> None:
        """Take note of how many chunks it has."""
        if len(self.bits) != len(row(chunks)):
            self.bits = row(chunks)
        self.written = row(chunks)
        self.missing = chunks - int.from_bytes(self.bits, "little").bit_count()
        self.listed = True

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

    def bytes_committed(self, chunks: ChunkList) -> int:
        """Return the bytes of its chunks that are committed."""
        count = min(len(chunks), 8 * len(self.bits))
        absent = sum(chunks.bytes_of(first, length) for first, length in clear_runs(self.bits, 0, count))
        return chunks.bytes_of(0, count) - absent


@final
class OpenFiles:
    """The files of one intake that are open, the last used one last."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._files: OrderedDict[int, Unfinished] = OrderedDict()

    def descriptor(self, file: Unfinished) -> int:
        """Return a file's descriptor; open it, and give it its size, when it is not open.

        Raises:
            StoreError: A link or something else than a file is in the way.
            OSError: As the system says.
        """
        if file.fd is None:
            self._make_way()
            ensure_folder(self._place.root, [WORK_FOLDER])
            file.fd = open_for_writing(progress_path(self._place, file.stream))
            self._files[file.stream] = file
            preallocate(file.fd, file.entry.size)
            if has_blocks(os.fstat(file.fd), file.entry.size):
                file.taken = file.entry.size
        self._files.move_to_end(file.stream)
        return file.fd

    def close(self, files: Iterable[Unfinished] | None = None) -> None:
        """Close some files, or all."""
        for file in list(self._files.values()) if files is None else files:
            if file.fd is not None:
                os.close(file.fd)
                file.fd = None
            self._files.pop(file.stream, None)

    def _make_way(self) -> None:
        """Keep few files open: of small ones thousands may come between two commits."""
        while len(self._files) >= _MAX_OPEN:
            idle = next((file for file in self._files.values() if not file.users), None)
            if idle is None:
                return
            self.close([idle])
