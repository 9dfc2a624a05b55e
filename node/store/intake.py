"""A content on its way into one place (implements `samara.protocol.ports.Intake`; specs/store.md, "Order of writes").

Invariants:
- Bytes are verified before they are written, and synced before their bits are recorded.
- A file appears at its path only when all of it is committed, and never over another file.
- After an error of a sync nothing of that sync is believed, and it is not tried again.

`put` may be called from several threads at once; `commit`, `add_list` and `finish` exclude each other.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from samara.node.store.contents import Contents, HeldFile, Place
from samara.node.store.files import (
    ensure_folder,
    free_bytes,
    has_blocks,
    make_read_only,
    move_into_place,
    open_for_writing,
    os_errors,
    preallocate,
    read_at,
    remove_file,
    sync_data,
    sync_folder,
    write_parts_at,
)
from samara.node.store.reader import Reader, progress_path
from samara.node.store.scan import scan_file
from samara.node.store.smallfiles import SmallFiles
from samara.node.store.stamps import Likeness, Stamp, stamp
from samara.protocol.chunklist import ChunkList, verify_list
from samara.protocol.errors import ChunkError, DiskFullError, StoppedError, StoreError
from samara.protocol.ids import ContentId, Digest, digest
from samara.protocol.paths import WORK_FOLDER
from samara.protocol.ports import StreamNeed
from samara.protocol.table import FileEntry

__all__ = ["Room", "StoreIntake"]

_MAX_OPEN: Final = 64
"""Files of one intake that are open at once: systems allow 256 to 1,024 a process."""


@dataclass(frozen=True, slots=True)
class Room:
    """What an intake may take.

    Attributes:
        floor: Bytes that stay free on the place's filesystem.
        quota: Bytes that the place may have in all when it is in the home; None is no quota.
    """

    floor: int
    quota: int | None


@dataclass(slots=True)
class _File:
    """One wanted file that is not complete."""

    stream: int
    entry: FileEntry
    bits: bytearray
    listed: bool = False
    fd: int | None = None
    missing: int = 0
    taken: int = 0  # bytes that it has of the disk
    pending: set[int] = field(default_factory=set)
    writers: int = 0  # threads that are writing to `fd`: it must not be closed

    @property
    def small(self) -> bool:
        """It has one chunk: it is written whole, and never open between two calls."""
        return self.entry.is_single and self.entry.size > 0


class StoreIntake:
    """Takes the wanted files of a content into a place.

    Args:
        contents: The index's contents; the table and its nodes are there already.
        reader: For chunks that are already held.
        place: Where to.
        wanted: Streams, ≥ 1.
        room: How much may be taken.
        doubted: Bytes of this place were found wrong: no file is believed to be complete unless it is hashed.
        cancelled: Is asked now and then while files are hashed.

    Raises:
        DiskFullError: There is no room for what is missing.
        StoreError: A different file is in the way.
        StoppedError: `cancelled` said so.
    """

    def __init__(
        self,
        contents: Contents,
        reader: Reader,
        place: Place,
        wanted: Iterable[int],
        room: Room,
        *,
        doubted: bool = False,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        self._contents = contents
        self._reader = reader
        self._place = place
        self._wanted = frozenset(wanted)
        self._doubted = doubted
        self._cancelled = cancelled
        self._lock = threading.RLock()
        self._written = threading.Condition(self._lock)  # a writer is done with its file
        self._writing = threading.Lock()
        self._files: dict[int, _File] = {}
        self._small = SmallFiles(place)
        self._opened: OrderedDict[int, _File] = OrderedDict()  # those with a descriptor, the last used one last
        self.pending_bytes = 0
        """Bytes that were put and not committed."""
        self.planned = 0
        """Bytes that the place will have when all that is wanted is there."""
        with os_errors(f"cannot write to {place.root}"):
            ensure_folder(place.root, [WORK_FOLDER])
        try:
            self._open(room)
        except BaseException:
            self._shut_all()
            raise

    @property
    def content(self) -> ContentId:
        """What is coming in."""
        return self._place.content

    @property
    def place(self) -> Place:
        """Where it goes."""
        return self._place

    @property
    def unallocated(self) -> int:
        """Bytes that it will still take from the disk."""
        with self._lock:
            return sum(file.entry.size - file.taken for file in self._files.values())

    def _open(self, room: Room) -> None:
        known = self._contents.files(self._place)
        table = self._contents.table(self.content)
        for stream in sorted(self._wanted):
            held = known.get(stream)
            complete = held is not None and held.state == "complete"
            if held is not None and complete and not self._doubted and self._is_there(stream, held.stamp):
                continue
            entry = table[stream - 1]
            if self._adopt(stream, entry, held if complete else None):
                continue
            bits = held.bits if held and held.bits and progress_path(self._place, stream).exists() else None
            self._files[stream] = _File(stream, entry, bytearray(bits or b""))
        self._check_room(room, sum(held.stamp.size for held in known.values() if held.stream not in self._files))
        self._finish_files([file for file in self._files.values() if file.entry.size == 0])
        begun: dict[int, bytes] = {}
        for file in self._files.values():
            if (chunks := self._contents.chunk_list(self.content, file.stream)) is not None:
                self._begin(file, chunks)
                begun[file.stream] = bytes(file.bits)
        if begun:
            self._contents.set_partial(self._place, begun)
        self._finish_files([file for file in self._files.values() if file.bits and not file.missing])

    def _is_there(self, stream: int, known: Stamp) -> bool:
        try:
            status = os.lstat(self._target(stream))
        except OSError:
            return False
        return known.compare(status) is Likeness.SAME

    def _adopt(self, stream: int, entry: FileEntry, known: HeldFile | None) -> bool:
        """Take a file that is at its path already, if it is the right one; one of ours that is wrong is mended."""
        target = self._target(stream)
        if not os.path.lexists(target):
            return False
        different = StoreError(
            f"{target} exists and is a different file", hint="Move it away, or choose another folder with --to."
        )
        if target.is_symlink() or not target.is_file():
            raise different
        progress = progress_path(self._place, stream)
        with os_errors(f"cannot read {target}"), open(target, "rb", buffering=0) as file:
            if progress.exists() and progress.samefile(target):  # a process died in the middle of its rename
                remove_file(progress)  # before its stamp is taken: a link that goes changes the ctime
            untouched = known is not None and known.stamp.compare(os.fstat(file.fileno())) is Likeness.SAME
            now = stamp(file.fileno())
            scanned = None
            if now.size == entry.size:
                scanned = scan_file(file.fileno(), entry.size, cancelled=self._cancelled)
        if scanned is None or scanned.blake3 != entry.blake3:
            # What a person changed in a folder of his own is his; what only rotted, or lies in the home, is ours.
            if known is None or not (self._place.kind == "home" or (self._place.kind == "to" and untouched)):
                raise different
            self._files[stream] = self._take_back(stream, entry)
            return True
        if scanned.nodes and scanned.root == entry.root:
            self._contents.add_nodes(self.content, stream, scanned.nodes)
        self._contents.set_complete(self._place, {stream: now}, checked=True)
        self._contents.index_chunks(self.content, [stream])
        remove_file(progress)
        return True

    def _take_back(self, stream: int, entry: FileEntry) -> _File:
        """Make a complete file one in progress again, and keep of it what is right."""
        path = progress_path(self._place, stream)
        file = _File(stream, entry, bytearray())
        with os_errors(f"cannot mend {self._target(stream)}"):
            ensure_folder(self._place.root, [WORK_FOLDER])
            os.replace(self._target(stream), path)
            chunks = self._contents.chunk_list(self.content, stream)
            if chunks is not None:
                file.bits = self._right_chunks(self._descriptor(file), chunks)
        self._contents.set_partial(self._place, {stream: bytes(file.bits)})
        return file

    def _right_chunks(self, fd: int, chunks: ChunkList) -> bytearray:
        bits = bytearray((len(chunks) + 7) // 8)
        for index in range(len(chunks)):
            if self._cancelled is not None and self._cancelled():
                raise StoppedError("looking for what is right of a file was stopped")
            data = memoryview(bytearray(chunks.length(index)))
            if read_at(fd, data, chunks.offset(index)) == len(data) and digest(data) == chunks.hash(index):
                bits[index >> 3] |= 1 << (index & 7)
        return bits

    def _check_room(self, room: Room, complete: int) -> None:
        for file in self._files.values():
            file.taken = self._taken(file)
        needed = self.unallocated
        self.planned = complete + sum(file.entry.size for file in self._files.values())
        free = free_bytes(self._place.root) - room.floor
        if needed > free:
            raise DiskFullError(
                f"{needed:,} bytes are needed on the disk of {self._place.root}, {max(free, 0):,} may be used"
                f" (a floor of {room.floor:,} stays free)",
                hint="Free some room, choose another disk with --to, or lower store.floor in config.toml.",
            )
        if self._place.kind == "home" and room.quota is not None and self.planned > room.quota:
            raise DiskFullError(
                f"{self.planned:,} bytes are needed, and the quota leaves {max(room.quota, 0):,}",
                hint="Run samara gc, or raise store.quota in config.toml.",
            )

    def _taken(self, file: _File) -> int:
        """What a file has of the disk: all where blocks could be promised, else what was written for good."""
        with contextlib.suppress(OSError):
            if has_blocks(os.lstat(progress_path(self._place, file.stream)), file.entry.size):
                return file.entry.size
        chunks = self._contents.chunk_list(self.content, file.stream) if file.bits else None
        count = min(len(chunks), 8 * len(file.bits)) if chunks is not None else 0
        return sum(chunks.length(i) for i in range(count) if chunks is not None and _is_set(file.bits, i))

    # What is asked for

    def needs(self) -> list[StreamNeed]:
        """Return the wanted files that are not complete, by stream."""
        with self._lock:
            return [self._need(file) for file in self._files.values()]

    def missing(self, stream: int) -> list[int]:
        """Return the chunks of a listed stream that are neither committed nor put, ascending."""
        with self._lock:
            file = self._files.get(stream)
            return [] if file is None else self._missing(file)

    def _missing(self, file: _File) -> list[int]:
        chunks = self._chunks(file)
        count = len(chunks) if chunks is not None else 0
        return [i for i in range(count) if not _is_set(file.bits, i) and i not in file.pending]

    def _chunks(self, file: _File) -> ChunkList | None:
        return self._contents.chunk_list(self.content, file.stream) if file.listed else None

    def _need(self, file: _File) -> StreamNeed:
        chunks = self._chunks(file)
        count = len(chunks) if chunks is not None else 0
        entry = file.entry
        return StreamNeed(
            file.stream, entry.path, entry.size, entry.root, chunks is not None, count, self._missing(file)
        )

    def node(self, node: Digest) -> bytes | None:
        """Return a chunk-list node that is already held here, from this or any other content."""
        return self._contents.any_node(node)

    def add_list(self, stream: int, nodes: Sequence[bytes]) -> StreamNeed:
        """Take the nodes of a file's chunk list.

        Raises:
            NodeError: They are not the list that the table names.
        """
        chunks = verify_list(self._contents.verifier(self.content, stream), nodes)
        with self._lock:
            file = self._files.get(stream)
            if file is None:  # it was listed before, and is whole by now
                entry = self._contents.table(self.content)[stream - 1]
                return StreamNeed(stream, entry.path, entry.size, entry.root, True, len(chunks), [])
            self._begin(file, chunks)
            self._contents.take_list(self._place, stream, nodes, chunks, bytes(file.bits))
            return self._need(file)

    def _begin(self, file: _File, chunks: ChunkList) -> None:
        length = (len(chunks) + 7) // 8
        if len(file.bits) != length:
            file.bits = bytearray(length)
        file.missing = len(chunks) - int.from_bytes(file.bits, "little").bit_count()
        file.listed = True

    def reuse(self, stream: int, budget: int) -> int:
        """Copy chunks of a listed stream that are held anywhere, up to about `budget` bytes.

        Returns:
            Bytes copied; 0 when nothing more of it is held.
        """
        file = self._files.get(stream)
        missing = self.missing(stream)
        chunks = self._contents.chunk_list(self.content, stream)
        if file is None or chunks is None:
            return 0
        copied = 0
        holders: dict[tuple[ContentId, int], list[HeldFile]] = {}
        for index, places in self._contents.find_chunks(chunks, missing):
            if copied >= budget:
                break
            for where in places:
                if where[:2] not in holders:
                    holders[where[:2]] = self._reader.held(*where[:2])
                if not any(held.holds(where[2]) for held in holders[where[:2]]):
                    continue  # this very file, for one
                found = self._reader.read(*where, 1)
                if found and digest(found[0]) == chunks.hash(index):
                    self.put(stream, index, found[0])
                    copied += len(found[0])
                    break
        return copied

    # What comes in

    def put(self, stream: int, index: int, data: bytes | bytearray | memoryview) -> None:
        """Verify one chunk and write it in its place; it is believed after the next `commit`.

        Raises:
            ChunkError: The bytes are wrong; nothing was written.
            DiskFullError: No room; what is committed stays.
        """
        if not self.put_runs([([(stream, index)], memoryview(data))])[0]:
            raise ChunkError(f"chunk {index} of {self._target(stream)} is not what its list says")

    def put_runs(self, runs: Sequence[tuple[Sequence[tuple[int, int]], memoryview]]) -> list[int]:
        """Verify chunks, and write those that are right in their places, neighbours together.

        Args:
            runs: Stream and index of chunks in a row, and their bytes, one after another.

        Returns:
            Of each run how many chunks, from its first on, were right; what follows them was not looked at.

        Raises:
            DiskFullError: No room; what is committed stays.
            StoreError: One of them is not wanted.
        """
        right: list[int] = []
        parts: dict[int, dict[int, memoryview]] = {}
        for places, data in runs:
            chunks = self._verified(places, data)
            for stream, index, part in chunks:
                parts.setdefault(stream, {})[index] = part
            right.append(len(chunks))
        for stream, found in parts.items():
            file = self._files.get(stream)
            if file is None:  # in the end two peers may send the same chunk: the file is whole already
                continue
            if file.small:
                self._write_small(file, found[0])
            else:
                self._write(file, self._list(stream), found)
        return right

    def _verified(self, places: Sequence[tuple[int, int]], data: memoryview) -> list[tuple[int, int, memoryview]]:
        """Return stream, index and bytes of the chunks of a run that are right, up to the first that is not."""
        found: list[tuple[int, int, memoryview]] = []
        start = 0
        for stream, index in places:
            chunks = self._list(stream)
            if not 0 <= index < len(chunks):
                raise StoreError(f"chunk {index} of stream {stream} came that is not wanted")
            part = data[start : start + chunks.length(index)]
            if digest(part) != chunks.hash(index):
                return found
            found.append((stream, index, part))
            start += len(part)
        return found if start == len(data) else found[:-1]  # more than was asked for is wrong, too

    def _list(self, stream: int) -> ChunkList:
        chunks = self._contents.chunk_list(self.content, stream) if stream in self._wanted else None
        if chunks is None:
            raise StoreError(f"a chunk of stream {stream} came that is not wanted")
        return chunks

    def _write(self, file: _File, chunks: ChunkList, parts: dict[int, memoryview]) -> None:
        """Write verified chunks, and let them be committed.

        What is there already is left alone: a file that is whole must not be touched, nor a descriptor that is another
        file's by now.
        """
        with os_errors(f"cannot write {file.entry.path}"):
            with self._lock:
                todo = sorted(index for index in parts if not self._has(file, index))
                if self._files.get(file.stream) is not file or not todo:
                    return
                fd = self._descriptor(file)
                file.writers += 1
            try:
                for run in _runs(todo):
                    write_parts_at(fd, [parts[index] for index in run], chunks.offset(run[0]))
            except BaseException:
                self._end_write(file, None, ())
                raise
            self._end_write(file, chunks, todo)

    def _write_small(self, file: _File, data: memoryview) -> None:
        """Write a verified file of one chunk, as `_write` does."""
        with os_errors(f"cannot write {file.entry.path}"):
            with self._lock:
                if self._files.get(file.stream) is not file or file.writers or self._has(file, 0):
                    return
                file.writers += 1
            try:
                self._small.write(file.stream, data)
            except BaseException:
                self._end_write(file, None, ())
                raise
            with self._lock:
                file.writers -= 1
                file.pending.add(0)
                file.taken = file.entry.size
                self.pending_bytes += file.entry.size
                self._written.notify_all()

    def _end_write(self, file: _File, chunks: ChunkList | None, written: Sequence[int]) -> None:
        with self._lock:
            file.writers -= 1
            for index in written:
                if chunks is not None and not self._has(file, index):
                    length = chunks.length(index)
                    file.pending.add(index)
                    file.taken = min(file.taken + length, file.entry.size)
                    self.pending_bytes += length
            self._written.notify_all()

    def _has(self, file: _File, index: int) -> bool:
        return index in file.pending or _is_set(file.bits, index)

    def _descriptor(self, file: _File) -> int:
        with self._lock:
            if file.fd is None:
                self._make_way()
                ensure_folder(self._place.root, [WORK_FOLDER])
                file.fd = open_for_writing(progress_path(self._place, file.stream))
                self._opened[file.stream] = file
                preallocate(file.fd, file.entry.size)
                if has_blocks(os.fstat(file.fd), file.entry.size):
                    file.taken = file.entry.size
            self._opened.move_to_end(file.stream)
            return file.fd

    def _make_way(self) -> None:
        """Keep few files open: of small ones thousands may come between two commits."""
        while len(self._opened) >= _MAX_OPEN:
            idle = next((file for file in self._opened.values() if not file.writers), None)
            if idle is None:
                return
            self._shut(idle)

    def _shut(self, file: _File) -> None:
        if file.fd is not None:
            os.close(file.fd)
            file.fd = None
        self._opened.pop(file.stream, None)

    def _shut_all(self) -> None:
        for file in list(self._opened.values()):
            self._shut(file)

    def commit(self) -> None:
        """Sync what was put, then record it; files that are whole move to their paths.

        Raises:
            StoreError: The disk failed; what was not recorded is missing again.
        """
        with self._writing:
            with self._lock:
                taken = {f.stream: (f, f.pending) for f in self._files.values() if f.pending}
                for file, _ in taken.values():
                    file.pending = set()
                self.pending_bytes = 0
            if not taken:
                return
            small = [file for file, _ in taken.values() if file.small]
            large = [(file, indexes) for file, indexes in taken.values() if not file.small]
            with os_errors(f"cannot sync to {self._place.root}"):
                for file, _ in large:
                    self._sync(file)
                self._small.sync([file.stream for file in small])
            with self._lock:
                for file, indexes in large:
                    self._drop_spoilt(file)
                    for index in indexes:
                        file.missing -= not _is_set(file.bits, index)
                        file.bits[index >> 3] |= 1 << (index & 7)
                if large:
                    self._contents.set_partial(self._place, {f.stream: bytes(f.bits) for f, _ in large})
                whole = [file for file, _ in large if not file.missing]
                self._written.wait_for(lambda: not any(file.writers for file in whole))
                self._finish_files(whole)
                self._finish_small(small)

    def _sync(self, file: _File) -> None:
        with self._lock:  # it may have been closed to make way, and must not be while it is synced
            fd = self._descriptor(file)
            file.writers += 1
        try:
            sync_data(fd)
        finally:
            self._end_write(file, None, ())

    def _drop_spoilt(self, file: _File) -> None:
        """A reader may have found a committed chunk wrong, and taken its bit away: then it is missing here too."""
        held = self._contents.file(self._place, file.stream)
        if held is None or held.bits is None or len(held.bits) != len(file.bits):
            return
        lost = int.from_bytes(file.bits, "little") & ~int.from_bytes(held.bits, "little")
        if lost:
            file.bits[:] = (int.from_bytes(file.bits, "little") & ~lost).to_bytes(len(file.bits), "little")
            file.missing += lost.bit_count()

    def _finish_files(self, whole: Sequence[_File]) -> None:
        stamps: dict[int, Stamp] = {}
        folders: set[Path] = set()
        with os_errors(f"cannot finish files in {self._place.root}"):
            for file in whole:
                fd = self._descriptor(file)
                *parts, _name = file.entry.path.split("/")
                folder = ensure_folder(self._place.root, parts)
                folders |= {folder, *folder.parents[: len(parts)]}
                progress = progress_path(self._place, file.stream)
                make_read_only(fd, progress)
                move_into_place(progress, self._target(file.stream))
                stamps[file.stream] = stamp(fd)
                self._shut(file)
            for folder in folders:
                sync_folder(folder)
        self._record(whole, stamps)

    def _finish_small(self, whole: Sequence[_File]) -> None:
        with os_errors(f"cannot finish files in {self._place.root}"):
            stamps = self._small.finish((file.stream, file.entry) for file in whole)
        self._record(whole, stamps)

    def _record(self, whole: Sequence[_File], stamps: dict[int, Stamp]) -> None:
        if stamps:
            self._contents.set_complete(self._place, stamps, checked=False)
            self._contents.index_chunks(self.content, [f.stream for f in whole if f.entry.is_single])
        for file in whole:
            del self._files[file.stream]

    def finish(self) -> str:
        """Return the absolute path of the content, once every wanted file lies at its path.

        Raises:
            StoreError: Something wanted is still missing.
        """
        self.commit()
        with self._lock:
            if self._files:
                raise StoreError(f"{len(self._files)} files are not complete yet")
        with contextlib.suppress(OSError):
            (self._place.root / WORK_FOLDER).rmdir()
        single = len(self._contents.table(self.content)) == 1
        return str(self._target(1) if single else self._place.root)

    def close(self) -> None:
        """Commit what was put and let the files go; the intake can be opened again later."""
        try:
            self.commit()
        finally:
            with self._lock:
                self._written.wait_for(lambda: not any(file.writers for file in self._opened.values()))
                self._shut_all()

    def _target(self, stream: int) -> Path:
        entry = self._contents.table(self.content)[stream - 1]
        return self._place.root.joinpath(*entry.path.split("/"))


def _runs(indexes: Sequence[int]) -> Iterator[list[int]]:
    """Cut ascending indexes into runs of neighbours."""
    run: list[int] = []
    for index in indexes:
        if run and index != run[-1] + 1:
            yield run
            run = []
        run.append(index)
    if run:
        yield run


def _is_set(bits: bytearray, index: int) -> bool:
    return bool(bits[index >> 3] >> (index & 7) & 1)
