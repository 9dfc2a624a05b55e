"""A content on its way into one place (implements `samara.protocol.ports.Intake`; specs/store.md, "Order of writes").

Invariants:
- Bytes are verified before they are written, and synced before their bits are recorded.
- A file appears at its path only when all of it is committed, and never over another file.
- After an error of a sync nothing of that sync is believed, and it is not tried again.

`put` may be called from several threads at once; `commit`, `add_list` and `finish` exclude each other.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import threading
from array import array
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from samara.node.store.adopting import Adopter
from samara.node.store.contents import Contents, HeldFile, Place
from samara.node.store.copying import HeldChunks, Lent, Source
from samara.node.store.files import ensure_folder, os_errors
from samara.node.store.reader import Reader, progress_path
from samara.node.store.room import Room
from samara.node.store.smallfiles import SmallFiles
from samara.node.store.stamps import Likeness, Stamp
from samara.node.store.unfinished import LargeFiles, Unfinished
from samara.protocol.chunklist import ChunkList, verify_list
from samara.protocol.encodings import codec
from samara.protocol.errors import ChunkError, NotFoundError, StoreError
from samara.protocol.ids import ContentId, Digest
from samara.protocol.paths import WORK_FOLDER
from samara.protocol.ports import Span, StreamNeed

__all__ = ["Parts", "StoreIntake"]

Buffer: TypeAlias = bytes | bytearray | memoryview
Parts: TypeAlias = Callable[[int, ChunkList], Sequence[range]]
"""Says which chunks of a stream are wanted, by its list."""

_MOVED_AT_ONCE: Final = 256
"""Small files that are moved while nobody may write: a few milliseconds."""


class StoreIntake:
    """Takes the wanted files of a content into a place.

    Args:
        contents: The index's contents; the table and its nodes are there already.
        reader: For chunks that are already held.
        place: Where to.
        wanted: Streams, ≥ 1.
        room: How much may be taken.
        parts: Which chunks of files of several are wanted; None for all. A file of which not all is wanted stays one in
            progress.
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
        parts: Parts | None = None,
        doubted: bool = False,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        self._contents = contents
        self._reader = reader
        self._place = place
        self._wanted = frozenset(wanted)
        self._parts = parts
        self._doubted = doubted
        self._lock = threading.RLock()
        self._committing = threading.Lock()
        # Who writes to one file, or to one folder, waits for others in the system, spinning: here they sleep.
        self._disk = threading.Lock()
        self._table = contents.table(place.content)
        self._large = LargeFiles(place, self._lock)
        self._small = SmallFiles(place, self._table, self._lock)
        self.planned = 0
        """Bytes that the place will have when all that is wanted is there."""
        with os_errors(f"cannot write to {place.root}"):
            ensure_folder(place.root, [WORK_FOLDER])
        try:
            self._begin_all(room, Adopter(contents, place, cancelled))
        except BaseException:
            self._large.close()
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
    def shared(self) -> int:
        """Bytes that took no room on the disk: they are another file's, too."""
        return self._large.shared

    @property
    def unallocated(self) -> int:
        """Bytes that it will still take from the disk."""
        with self._lock:
            return self._small.bytes_missing + sum(max(file.needs - file.taken, 0) for file in self._large)

    @property
    def pending_bytes(self) -> int:
        """Bytes that were put and not committed."""
        with self._lock:
            return self._large.pending + self._small.bytes_pending

    @property
    def bytes_left(self) -> int:
        """Bytes of the wanted files that are not complete, or of what is wanted of them as far as that is known."""
        with self._lock:
            small = sum(self._table.facts(stream - 1)[0] for stream in self._small)
            return small + sum(file.needs for file in self._large)

    def _begin_all(self, room: Room, adopter: Adopter) -> None:
        known = self._contents.files(self._place)
        for stream in sorted(self._wanted):
            self._begin(stream, known.get(stream), adopter)
        begun: dict[int, bytes] = {}
        for file in self._large:
            if (chunks := self._contents.chunk_list(self.content, file.stream)) is not None:
                file.begin(chunks, self._wanted_of(file.stream, chunks))
                begun[file.stream] = bytes(file.bits)
        wanted = {*self._small, *(file.stream for file in self._large)}
        held = sum(file.stamp.size for file in known.values() if file.stream not in wanted)
        self._check_room(room, held)
        empty = [stream for stream in self._small if not self._table.facts(stream - 1)[0]]
        self._write_small([(stream, memoryview(b"")) for stream in empty])
        self._finish_small(self._small.take_written())  # there is nothing to sync
        if begun:
            self._contents.set_partial(self._place, begun)
        self._finish_large([file for file in self._large if file.bits and not file.missing])

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
        entry = self._table[stream - 1]
        if self._parts is None:
            self._large.want(Unfinished(stream, entry, None, bits, needs=entry.size))
        else:
            self._large.want(Unfinished(stream, entry, bytearray(), bits))

    def _wanted_of(self, stream: int, chunks: ChunkList) -> Sequence[range] | None:
        return None if self._parts is None else self._parts(stream, chunks)

    def _is_there(self, stream: int, known: Stamp) -> bool:
        try:
            status = os.lstat(self._target(stream))
        except OSError:
            return False
        return known.compare(status) is Likeness.SAME

    def _check_room(self, room: Room, complete: int) -> None:
        self._large.measure()
        self.planned = complete + self.bytes_left
        room.check(self._place, self.unallocated, self.planned)

    # What is asked for

    def needs(self) -> list[StreamNeed]:
        """Return the wanted files that are not complete, by stream."""
        with self._lock:
            return [self._need(stream) for stream in sorted([*self._small, *(file.stream for file in self._large)])]

    def listed(self) -> Sequence[int]:
        """Return the streams of those whose chunk lists are here, ascending: of small files all."""
        with self._lock:
            return array("I", sorted([*self._small, *(file.stream for file in self._large if file.listed)]))

    def unlisted(self) -> list[StreamNeed]:
        """Return those whose chunk lists are not here, by stream."""
        with self._lock:
            return [self._need(file.stream) for file in self._large if not file.listed]

    def missing(self, stream: int) -> Sequence[int]:
        """Return the chunks of a listed stream that are neither committed nor put, ascending."""
        with self._lock:
            if self._small.is_missing(stream):
                return range(1)
            file = self._large.get(stream)
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
        runs = [range(first, first + count) for first, count in file.lacking(self._count(file))]
        return runs[0] if len(runs) == 1 else [*itertools.chain(*runs)]

    def _count(self, file: Unfinished) -> int:
        chunks = self._contents.chunk_list(self.content, file.stream) if file.listed else None
        return len(chunks) if chunks is not None else 0

    def _need(self, stream: int) -> StreamNeed:
        entry, file = self._table[stream - 1], self._large.get(stream)
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
            file = self._large.get(stream)
            if file is None:  # it is small, or was listed before and is whole by now
                entry = self._table[stream - 1]
                missing = self.missing(stream)
                return StreamNeed(stream, entry.path, entry.size, entry.root, True, len(chunks), missing)
            file.begin(chunks, self._wanted_of(stream, chunks))
            self._contents.take_list(self._place, stream, nodes, chunks, bytes(file.bits))
            return self._need(stream)

    def reuse(self, streams: Sequence[int], elsewhere: Source | None = None) -> Generator[int, None, None]:
        """Copy chunks of listed streams that lie on this machine, and yield the bytes of each few.

        Args:
            streams: The streams.
            elsewhere: Where else than in the store they may lie.

        Raises:
            DiskFullError: No room; what is committed stays.
        """
        for source in self._sources(elsewhere, None):
            small = self.missing_files(streams)
            facts = (self._table.facts(stream - 1) for stream in small)
            together = ChunkList.of((root, size) for size, _, root in facts)
            yield from _copy(source, together, range(len(small)), functools.partial(self._take_small, small))
        several = len(self._contents.places(self.content)) > 1
        for stream in streams:
            if stream not in self._large or (chunks := self._contents.chunk_list(self.content, stream)) is None:
                continue
            besides = None if several else (self.content, stream)  # what nobody has needs no looking
            for source in self._sources(elsewhere, besides):
                take = functools.partial(self._take, stream, chunks)
                yield from _copy(source, chunks, self.missing(stream), take)

    def _sources(self, elsewhere: Source | None, besides: tuple[ContentId, int] | None) -> list[Source]:
        held = HeldChunks(self._contents, self._reader, besides)
        return [held] if elsewhere is None else [held, elsewhere]

    def _take_small(self, small: Sequence[int], lent: Lent) -> None:
        spans = [Span(stream, 0, 1) for stream in small[lent.first : lent.first + lent.count]]
        self.put_runs([(spans, lent.data)])

    def _take(self, stream: int, chunks: ChunkList, lent: Lent) -> None:
        with self._disk:
            span = Span(stream, lent.first, lent.count)
            self._large.write(span, chunks, lent.data, (lent.fd, lent.offset))

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
                if span.stream in self._large:  # in the end two peers may send the same chunk: it may be whole already
                    self._large.write(span, self._list(span.stream), data)
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

    def commit(self) -> None:
        """Sync what was put, then record it; files that are whole move to their paths.

        Raises:
            StoreError: The disk failed; what was not recorded is missing again.
        """
        with self._committing:
            with self._lock:
                large, small = self._large.take_written(), self._small.take_written()
            try:
                self._commit_large(large)
                self._commit_small(small)
            except BaseException:
                self._small.lose(stream for stream in small if stream in self._small)
                raise

    def _commit_large(self, taken: Sequence[tuple[Unfinished, int]]) -> None:
        if not taken:
            return
        self._large.sync(file for file, _ in taken)
        with self._lock:
            for file, chunks in taken:
                self._drop_spoilt(file)
                file.commit(chunks)
            self._contents.set_partial(self._place, {file.stream: bytes(file.bits) for file, _ in taken})
            self._finish_large([file for file, _ in taken if not file.missing])

    def _commit_small(self, streams: Sequence[int]) -> None:
        if streams:
            with os_errors(f"cannot sync to {self._place.root}"):
                self._small.sync(streams)
            self._finish_small(streams)

    def _drop_spoilt(self, file: Unfinished) -> None:
        """A reader may have found a committed chunk wrong, and taken its bit away: then it is missing here too."""
        held = self._contents.file(self._place, file.stream)
        if held is None or held.bits is None or len(held.bits) != len(file.bits):
            return
        if lost := int.from_bytes(file.bits, "little") & ~int.from_bytes(held.bits, "little"):
            file.lose(lost)

    def _finish_large(self, whole: Sequence[Unfinished]) -> None:
        if whole:
            stamps = self._large.move(whole)
            self._contents.set_complete(self._place, stamps, checked=False)
            self._large.finish(stamps)

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
        """Return the absolute path of the content, once every wanted file lies at its path, or in part where it grows.

        Raises:
            StoreError: Something wanted is still missing.
        """
        self.commit()
        with self._lock:
            if left := sum(file.lacks for file in self._large) + self._small.left:
                raise StoreError(f"{left} files are not complete yet")
        with contextlib.suppress(OSError):
            (self._place.root / WORK_FOLDER).rmdir()
        single = len(self._table) == 1 and not self._large
        return str(self._target(1) if single else self._place.root)

    def close(self) -> None:
        """Commit what was put and let the files go; the intake can be opened again later."""
        try:
            self.commit()
        finally:
            with self._disk, self._lock:
                self._large.close()

    def _target(self, stream: int) -> Path:
        return self._place.root.joinpath(*self._table.path(stream - 1).split("/"))


def _copy(
    source: Source, chunks: ChunkList, indexes: Sequence[int], take: Callable[[Lent], None]
) -> Generator[int, None, None]:
    """Let chunks be taken from a source, and yield the bytes of each few."""
    with contextlib.closing(source.lend(chunks, indexes)) as runs:
        for lent in runs:
            take(lent)
            yield len(lent.data)
