"""A content on its way into one place (implements `samara.protocol.ports.Intake`; specs/store.md, "Order of writes").

Invariants:
- Bytes are verified before they are written, and synced before their bits are recorded.
- A file appears at its path only when all of it is committed, and never over another file.
- After an error of a sync nothing of that sync is believed, and it is not tried again.

`put` may be called from several threads at once; `commit`, `add_list` and `finish` exclude each other.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from samara.node.store.adopting import Adopter
from samara.node.store.contents import Contents, HeldFile, Place
from samara.node.store.elsewhere import Elsewhere, Found
from samara.node.store.files import (
    ensure_folder,
    free_bytes,
    has_blocks,
    make_read_only,
    move_into_place,
    open_for_reading,
    os_errors,
    read_at,
    share_or_write_at,
    sync_data,
    sync_folder,
    write_at,
)
from samara.node.store.reader import Reader, progress_path
from samara.node.store.smallfiles import SmallFiles
from samara.node.store.stamps import Likeness, Stamp, stamp
from samara.node.store.unfinished import OpenFiles, Unfinished
from samara.protocol.chunklist import ChunkList, verify_list
from samara.protocol.encodings import codec
from samara.protocol.errors import ChunkError, DiskFullError, NotFoundError, StoreError
from samara.protocol.ids import ContentId, Digest
from samara.protocol.paths import WORK_FOLDER
from samara.protocol.ports import Span, StreamNeed

__all__ = ["Room", "StoreIntake"]

Buffer: TypeAlias = bytes | bytearray | memoryview

_MOVED_AT_ONCE: Final = 256
"""Small files that are moved while nobody may write: a few milliseconds."""


@dataclass(frozen=True, slots=True)
class Room:
    """What an intake may take.

    Attributes:
        floor: Bytes that stay free on the place's filesystem.
        quota: Bytes that the place may have in all when it is in the home; None is no quota.
    """

    floor: int
    quota: int | None


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
        self._lock = threading.RLock()
        self._committing = threading.Lock()
        # Who writes to one file, or to one folder, waits for others in the system, spinning: here they sleep.
        self._disk = threading.Lock()
        self._table = contents.table(place.content)
        self._files: dict[int, Unfinished] = {}
        self._small = SmallFiles(place, self._table, self._lock)
        self._open = OpenFiles(place)
        self.shared = 0
        """Bytes that took no room on the disk: they are another file's, too."""
        self._pending = 0  # of large files
        self.planned = 0
        """Bytes that the place will have when all that is wanted is there."""
        with os_errors(f"cannot write to {place.root}"):
            ensure_folder(place.root, [WORK_FOLDER])
        try:
            self._begin_all(room, Adopter(contents, place, cancelled))
        except BaseException:
            self._open.close()
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
            return self._small.bytes_missing + sum(file.entry.size - file.taken for file in self._files.values())

    @property
    def pending_bytes(self) -> int:
        """Bytes that were put and not committed."""
        with self._lock:
            return self._pending + self._small.bytes_pending

    @property
    def bytes_left(self) -> int:
        """Bytes of the wanted files that are not complete."""
        with self._lock:
            small = sum(self._table.facts(stream - 1)[0] for stream in self._small)
            return small + sum(file.entry.size for file in self._files.values())

    def _begin_all(self, room: Room, adopter: Adopter) -> None:
        known = self._contents.files(self._place)
        for stream in sorted(self._wanted):
            self._begin(stream, known.get(stream), adopter)
        held = sum(file.stamp.size for file in known.values() if not self._is_wanted(file.stream))
        self._check_room(room, held)
        empty = [stream for stream in self._small if not self._table.facts(stream - 1)[0]]
        self._write_small([(stream, memoryview(b"")) for stream in empty])
        self._finish_small(self._small.take_written())  # there is nothing to sync
        begun: dict[int, bytes] = {}
        for file in self._files.values():
            if (chunks := self._contents.chunk_list(self.content, file.stream)) is not None:
                file.begin(len(chunks))
                begun[file.stream] = bytes(file.bits)
        if begun:
            self._contents.set_partial(self._place, begun)
        self._finish_files([file for file in self._files.values() if file.bits and not file.missing])

    def _begin(self, stream: int, held: HeldFile | None, adopter: Adopter) -> None:
        """Want a file, unless it is complete."""
        complete = held if held is not None and held.state == "complete" else None
        if complete is not None and not self._doubted and self._is_there(stream, complete.stamp):
            return
        bits: bytearray | None = bytearray()
        if not adopter.is_free(self._table.path(stream - 1)):
            bits = adopter.adopt(stream, self._table[stream - 1], complete)
        if bits is None:
            return
        _size, whole, root = self._table.facts(stream - 1)
        if whole == root:
            self._small.want(stream)
            return
        if held is not None and held.bits and not bits and progress_path(self._place, stream).exists():
            bits = bytearray(held.bits)
        self._files[stream] = Unfinished(stream, self._table[stream - 1], bits)

    def _is_wanted(self, stream: int) -> bool:
        """Say whether a file is wanted and not complete."""
        return stream in self._files or stream in self._small

    def _is_there(self, stream: int, known: Stamp) -> bool:
        try:
            status = os.lstat(self._target(stream))
        except OSError:
            return False
        return known.compare(status) is Likeness.SAME

    def _check_room(self, room: Room, complete: int) -> None:
        for file in self._files.values():
            file.taken = self._taken(file)
        needed = self.unallocated
        self.planned = complete + self.bytes_left
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

    def _taken(self, file: Unfinished) -> int:
        """What a file has of the disk: all where blocks could be promised, else what was written for good."""
        with contextlib.suppress(OSError):
            if has_blocks(os.lstat(progress_path(self._place, file.stream)), file.entry.size):
                return file.entry.size
        chunks = self._contents.chunk_list(self.content, file.stream) if file.bits else None
        return 0 if chunks is None else file.bytes_committed(chunks)

    # What is asked for

    def needs(self) -> list[StreamNeed]:
        """Return the wanted files that are not complete, by stream."""
        with self._lock:
            return [self._need(stream) for stream in sorted([*self._small, *self._files])]

    def listed(self) -> Sequence[int]:
        """Return the streams of those whose chunk lists are here, ascending: of small files all."""
        with self._lock:
            return array("I", sorted([*self._small, *(n for n, file in self._files.items() if file.listed)]))

    def unlisted(self) -> list[StreamNeed]:
        """Return those whose chunk lists are not here, by stream."""
        with self._lock:
            return [self._need(stream) for stream, file in self._files.items() if not file.listed]

    def missing(self, stream: int) -> Sequence[int]:
        """Return the chunks of a listed stream that are neither committed nor put, ascending."""
        with self._lock:
            if self._small.is_missing(stream):
                return range(1)
            file = self._files.get(stream)
            return [] if file is None else self._missing(file)

    def small(self, streams: Iterable[int]) -> list[int]:
        """Return those of some streams that are small files and not complete."""
        with self._lock:
            return [stream for stream in streams if stream in self._small]

    def size(self, stream: int) -> int:
        """Return the bytes of a file."""
        return self._table.facts(stream - 1)[0]

    def missing_files(self, streams: Iterable[int]) -> list[int]:
        """Return those of some streams that are small files and were not put."""
        with self._lock:
            return [stream for stream in streams if self._small.is_missing(stream)]

    def _missing(self, file: Unfinished) -> Sequence[int]:
        runs = [range(first, first + count) for first, count in file.absent(0, self._count(file))]
        return runs[0] if len(runs) == 1 else [*itertools.chain(*runs)]

    def _count(self, file: Unfinished) -> int:
        chunks = self._contents.chunk_list(self.content, file.stream) if file.listed else None
        return len(chunks) if chunks is not None else 0

    def _need(self, stream: int) -> StreamNeed:
        entry, file = self._table[stream - 1], self._files.get(stream)
        count = self._count(file) if file is not None else 1
        return StreamNeed(stream, entry.path, entry.size, entry.root, count > 0, count, self.missing(stream))

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
            if file is None:  # it is small, or was listed before and is whole by now
                entry = self._table[stream - 1]
                missing = self.missing(stream)
                return StreamNeed(stream, entry.path, entry.size, entry.root, True, len(chunks), missing)
            file.begin(len(chunks))
            self._contents.take_list(self._place, stream, nodes, chunks, bytes(file.bits))
            return self._need(stream)

    def reuse(self, streams: Sequence[int], budget: int) -> int:
        """Copy chunks of listed streams that are held anywhere, up to about `budget` bytes.

        Returns:
            Bytes copied; 0 when nothing more of them is held.
        """
        small = self.missing_files(streams)
        found = self._contents.find_files(self.content, small)
        copied = self._copy(((stream, 0, places) for stream, places in found), budget)
        large = [stream for stream in streams if stream in self._files]
        elsewhere = bool(large) and len(self._contents.places(self.content)) > 1
        for stream in large:
            chunks = self._contents.chunk_list(self.content, stream)
            if chunks is not None and copied < budget:
                besides = None if elsewhere else (self.content, stream)  # what nobody has needs no looking
                held = self._contents.find_chunks(chunks, self.missing(stream), besides=besides)
                copied += self._copy(((stream, index, places) for index, places in held), budget - copied)
        return copied

    def take_from(self, elsewhere: Elsewhere, streams: Sequence[int]) -> Iterator[int]:
        """Copy chunks of listed streams that lie elsewhere, and yield the bytes of each few that were right.

        Raises:
            DiskFullError: No room; what is committed stays.
        """
        for stream in streams:
            chunks = self._contents.chunk_list(self.content, stream)
            if chunks is None:
                continue
            for found in elsewhere.find(chunks, self.missing(stream)):
                if size := self._take(stream, chunks, found):
                    yield size

    def _take(self, stream: int, chunks: ChunkList, found: Found) -> int:
        """Copy chunks from where they may lie, up to the first that is not right; return their bytes."""
        data = memoryview(bytearray(chunks.bytes_of(found.first, found.count)))
        try:
            fd = open_for_reading(found.path)
        except OSError:
            return 0
        try:
            with contextlib.suppress(OSError):
                data = data[: read_at(fd, data, found.offset)]
                width = chunks.count_right(data, found.first, found.count)
                data = data[: chunks.bytes_of(found.first, width)]
                if width and stream in self._small:
                    self.put_runs([([Span(stream, 0, 1)], data)])
                elif width:
                    with self._disk:
                        self._write(Span(stream, found.first, width), data, (fd, found.offset))
                return len(data)
            return 0
        finally:
            os.close(fd)

    def _copy(self, found: Iterable[tuple[int, int, Sequence[tuple[ContentId, int, int]]]], budget: int) -> int:
        """Copy chunks, given by stream and index and where each may be, up to about `budget` bytes."""
        copied = 0
        holders: dict[tuple[ContentId, int], list[HeldFile]] = {}
        for stream, index, places in found:
            if copied >= budget:
                break
            for where in places:
                if where[:2] not in holders:
                    holders[where[:2]] = self._reader.held(*where[:2])
                if not any(held.holds(where[2]) for held in holders[where[:2]]):
                    continue  # this very file, for one
                data = self._reader.read(*where, 1, among=holders[where[:2]])
                if data and self.put_runs([([Span(stream, index, 1)], data[0])])[0]:
                    copied += len(data[0])
                    break
        return copied

    # What comes in

    def put(self, stream: int, index: int, data: bytes | bytearray | memoryview) -> None:
        """Verify one chunk and write it in its place; it is believed after the next `commit`.

        Raises:
            ChunkError: The bytes are wrong; nothing was written.
            DiskFullError: No room; what is committed stays.
        """
        if not self.put_runs([([Span(stream, index, 1)], memoryview(data))])[0]:
            raise ChunkError(f"chunk {index} of {self._target(stream)} is not what its list says")

    def decode(self, span: Span, encoding: int, base: Digest | None, payload: Buffer) -> Buffer:
        """Return the bytes of an encoded chunk, which are not verified yet.

        Args:
            span: Which chunk.
            encoding: How it is encoded.
            base: Hash of the chunk that it is a delta to, or None.
            payload: What came.

        Raises:
            EncodingError: It is no payload of a chunk of that length.
            NotFoundError: The base is not held here, or not any more.
            StoreError: The chunk is not wanted.
        """
        raw = self._reader.find(base) if base is not None else None
        if base is not None and raw is None:
            raise NotFoundError("a chunk that a delta refers to is not here")
        return codec.decode(encoding, payload, self._list(span.stream).length(span.first), raw)

    def put_runs(self, runs: Sequence[tuple[Sequence[Span], memoryview]]) -> list[int]:
        """Verify chunks, and write those that are right in their places.

        Args:
            runs: Chunks in a row, and their bytes, one after another.

        Returns:
            Of each run how many chunks, from its first on, were right; what follows them was not looked at.

        Raises:
            DiskFullError: No room; what is committed stays.
            StoreError: One of them is not wanted.
        """
        right: list[int] = []
        found: list[tuple[Span, memoryview]] = []
        for spans, data in runs:
            verified = self._verified(spans, data)
            found += verified
            right.append(sum(span.width for span, _ in verified))
        with self._disk:
            self._write_small([(span.stream, data) for span, data in found if span.stream in self._small])
            for span, data in found:
                if span.stream in self._files:  # in the end two peers may send the same chunk: it may be whole already
                    self._write(span, data)
        return right

    def _verified(self, spans: Sequence[Span], data: memoryview) -> list[tuple[Span, memoryview]]:
        """Return the chunks of a run that are right, up to the first that is not, with their bytes."""
        found: list[tuple[Span, memoryview]] = []
        for span in spans:
            count, size = self._right(span, data)
            if count:
                found.append((Span(span.stream, span.first, count), data[:size]))
            if count < span.width:
                return found
            data = data[size:]
        if data and found:  # more than was asked for is wrong, too
            (stream, first, count), last = found.pop()
            if count > 1:
                size = self._list(stream).bytes_of(first, count - 1)
                found.append((Span(stream, first, count - 1), last[:size]))
        return found

    def _right(self, span: Span, data: memoryview) -> tuple[int, int]:
        """Return how many of the chunks at the beginning of `data` are right, and how many bytes they have."""
        if span.stream in self._wanted and span[1:] == (0, 1):
            size = self._small.check(span.stream, data)
            if size is not None:
                return int(size > 0), size
        chunks = self._list(span.stream)
        if not 0 <= span.first < span.first + span.width <= len(chunks):
            raise StoreError(f"chunks from {span.first} on of stream {span.stream} came that are not wanted")
        count = chunks.count_right(data, span.first, span.width)
        return count, chunks.bytes_of(span.first, count)

    def _list(self, stream: int) -> ChunkList:
        chunks = self._contents.chunk_list(self.content, stream) if stream in self._wanted else None
        if chunks is None:
            raise StoreError(f"a chunk of stream {stream} came that is not wanted")
        return chunks

    def _write_small(self, files: Sequence[tuple[int, memoryview]]) -> None:
        with os_errors(f"cannot write to {self._place.root}"):
            self._small.write(files)

    def _write(self, span: Span, data: memoryview, source: tuple[int, int] | None = None) -> None:
        """Write verified chunks, and let them be committed; from a file and its offset, without a copy where it can be.

        What is there already is left alone: a file that is whole must not be touched, nor a descriptor that is another
        file's by now.
        """
        file = self._files.get(span.stream)
        if file is None:
            return
        chunks = self._list(span.stream)
        with os_errors(f"cannot write {file.entry.path}"):
            with self._lock:
                todo = list(file.absent(span.first, span.width))
                if self._files.get(span.stream) is not file or not todo:
                    return
                fd = self._open.descriptor(file)
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
                        self._pending += size
                    file.users -= 1

    def commit(self) -> None:
        """Sync what was put, then record it; files that are whole move to their paths.

        Raises:
            StoreError: The disk failed; what was not recorded is missing again.
        """
        with self._committing:
            with self._lock:
                large = [(file, file.take_written()) for file in self._files.values() if file.has_written]
                small = self._small.take_written()
                self._pending = 0
            try:
                self._commit_large(large)
                self._commit_small(small)
            except BaseException:
                self._small.lose(stream for stream in small if stream in self._small)
                raise

    def _commit_large(self, taken: Sequence[tuple[Unfinished, int]]) -> None:
        if not taken:
            return
        with os_errors(f"cannot sync to {self._place.root}"):
            for file, _ in taken:
                self._sync(file)
        with self._lock:
            for file, chunks in taken:
                self._drop_spoilt(file)
                file.commit(chunks)
            self._contents.set_partial(self._place, {file.stream: bytes(file.bits) for file, _ in taken})
            self._finish_files([file for file, _ in taken if not file.missing])

    def _commit_small(self, streams: Sequence[int]) -> None:
        if streams:
            with os_errors(f"cannot sync to {self._place.root}"):
                self._small.sync(streams)
            self._finish_small(streams)

    def _sync(self, file: Unfinished) -> None:
        with self._lock:  # it may have been closed to make way, and must not be while it is synced
            fd = self._open.descriptor(file)
            file.users += 1
        try:
            sync_data(fd)
        finally:
            with self._lock:
                file.users -= 1

    def _drop_spoilt(self, file: Unfinished) -> None:
        """A reader may have found a committed chunk wrong, and taken its bit away: then it is missing here too."""
        held = self._contents.file(self._place, file.stream)
        if held is None or held.bits is None or len(held.bits) != len(file.bits):
            return
        if lost := int.from_bytes(file.bits, "little") & ~int.from_bytes(held.bits, "little"):
            file.lose(lost)

    def _finish_files(self, whole: Sequence[Unfinished]) -> None:
        stamps: dict[int, Stamp] = {}
        folders: set[Path] = set()
        with os_errors(f"cannot finish files in {self._place.root}"):
            for file in whole:
                fd = self._open.descriptor(file)
                *parts, _name = file.entry.path.split("/")
                folder = ensure_folder(self._place.root, parts)
                folders |= {folder, *folder.parents[: len(parts)]}
                progress = progress_path(self._place, file.stream)
                make_read_only(fd, progress)
                move_into_place(progress, self._target(file.stream))
                stamps[file.stream] = stamp(fd)
                self._open.close([file])
            for folder in folders:
                sync_folder(folder)
        if stamps:
            self._contents.set_complete(self._place, stamps, checked=False)
        for file in whole:
            del self._files[file.stream]

    def _finish_small(self, streams: Sequence[int]) -> None:
        """Move small files that were synced, and record them; others may be written meanwhile."""
        if streams:
            stamps: dict[int, Stamp] = {}
            folders: set[str] = set()
            with os_errors(f"cannot finish files in {self._place.root}"):
                for start in range(0, len(streams), _MOVED_AT_ONCE):
                    with self._disk:
                        stamps |= self._small.move(streams[start : start + _MOVED_AT_ONCE], folders)
                self._small.sync_folders(folders)
            # A chunk that is right has the right BLAKE3. Where the table lies about the SHA-256, `digests` finds it.
            lies = {stream: stamps.pop(stream) for stream in self._small.lies(streams)}
            self._contents.set_complete(self._place, lies, checked=False)
            self._contents.set_complete(self._place, stamps, checked=True)
            self._contents.index_chunks(self.content, streams)
            self._small.finish(streams)

    def finish(self) -> str:
        """Return the absolute path of the content, once every wanted file lies at its path.

        Raises:
            StoreError: Something wanted is still missing.
        """
        self.commit()
        with self._lock:
            if left := len(self._files) + self._small.left:
                raise StoreError(f"{left} files are not complete yet")
        with contextlib.suppress(OSError):
            (self._place.root / WORK_FOLDER).rmdir()
        single = len(self._table) == 1
        return str(self._target(1) if single else self._place.root)

    def close(self) -> None:
        """Commit what was put and let the files go; the intake can be opened again later."""
        try:
            self.commit()
        finally:
            with self._disk, self._lock:
                self._open.close()

    def _target(self, stream: int) -> Path:
        return self._place.root.joinpath(*self._table.path(stream - 1).split("/"))
