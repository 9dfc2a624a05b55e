"""Verified reads of chunks from wherever a content lies.

Every chunk is hashed before it is given out. A file that another program changed makes its place `edited`; a wrong
chunk in a file that Samara wrote loses its bit, so that it is fetched anew. Nothing wrong is ever returned.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, final

from samara.node.store.bits import clear_runs
from samara.node.store.contents import Contents, HeldFile, Place
from samara.node.store.files import open_for_reading, read_at
from samara.node.store.stamps import Likeness
from samara.protocol import limits
from samara.protocol.chunklist import ChunkList
from samara.protocol.ids import ContentId, Digest, digest
from samara.protocol.paths import WORK_FOLDER
from samara.protocol.ports import Availability, Piece, Run

__all__ = ["Reader", "progress_path"]

_log = logging.getLogger(__name__)

_MAX_READ: Final = 4 * limits.MIB
"""Bytes of one read: enough for a disk to stream, many times what a worker thread costs, and little memory."""


def progress_path(place: Place, stream: int) -> Path:
    """Return where a file in progress lies (specs/store.md, "Layout of a home")."""
    # A folder of the user's may take several contents, also from several homes: none may write into another's file.
    name = str(stream) if place.kind == "home" else f"{place.content.hex()[:16]}-{stream}"
    return place.root / WORK_FOLDER / name


class Reader:
    """Reads chunks of held contents."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents

    def read(
        self,
        content: ContentId,
        stream: int,
        first: int,
        count: int,
        *,
        among: Sequence[HeldFile] | None = None,
    ) -> Sequence[memoryview] | None:
        """Return verified chunks from `first` on.

        Args:
            content: Of which content.
            stream: Of which stream.
            first: The first chunk.
            count: How many, at most.
            among: What `held` says, if it was asked before.

        Returns:
            At least one, at most `count`, at most about 4 MiB; None when `first` is not held or went bad.
        """
        chunks = self._contents.chunk_list(content, stream)
        if chunks is None or not 0 <= first < len(chunks):
            return None
        if stream == 0:
            table = memoryview(self._contents.table_bytes(content))[chunks.offset(first) :]
            count = chunks.fitting(first, count, _MAX_READ)
            return _cut(table, chunks, first, chunks.count_right(table, first, count))
        for held in self.held(content, stream) if among is None else among:
            if held.holds(first) and (found := self._read_file(held, chunks, first, count)):
                return found
        return None

    def find(self, chunk: Digest) -> memoryview | None:
        """Return a chunk by its hash, verified, from wherever it is held; None when it is not."""
        for content, stream, index in self._contents.find_chunk(chunk):
            found = self.read(content, stream, index, 1)
            if found and digest(found[0]) == chunk:
                return found[0]
        return None

    def ahead(self, content: ContentId, most: int) -> list[bytes | memoryview]:
        """Return the nodes of the table's list, the table's chunks, and nodes of files' lists, as far as there is room.

        Nothing is read that does not fit (`samara.protocol.ports.Shelf.ahead`).
        """
        contents, places = self._contents, limits.MAX_AHEAD_OBJECTS
        found: list[bytes | memoryview] = [*contents.first_nodes(content, range(1), most, places)]
        chunks = contents.chunk_list(content, 0)
        left, places = most - sum(map(len, found)), places - len(found)
        if chunks is None or chunks.size > left or len(chunks) > places:
            return found
        found += self.read(content, 0, 0, len(chunks)) or ()
        files = range(1, limits.MAX_FILES + 1)
        return found + contents.first_nodes(content, files, left - chunks.size, places - len(chunks))

    def run(self, content: ContentId, stream: int, first: int, count: int, room: memoryview | None) -> Run | None:
        """Return a verified run that begins at chunk `first` of a stream (`samara.protocol.ports.Shelf.read`)."""
        if stream == 0:
            found = self.read(content, stream, first, count)
            return (
                Run([Piece(chunk, 1) for chunk in found], 0, first + len(found), sum(map(len, found)))
                if found
                else None
            )
        room = memoryview(bytearray(_MAX_READ)) if room is None else room
        lengths: list[int] = []
        used = 0
        table = self._contents.table(content)
        files = _Files(self._contents, content, stream, count)
        while len(lengths) < count and stream <= len(table):
            size, whole, root = table.facts(stream - 1)
            if whole == root and not first:  # a list of its own would cost as much as the file
                if size:
                    if used + size > len(room) or not self._read_file_any(files.held(stream), root, room[used:][:size]):
                        break
                    lengths.append(size)
                    used += size
                stream += 1
                continue
            chunks = self._contents.chunk_list(content, stream)
            if chunks is None or (len(chunks) and first >= len(chunks)):
                break
            wanted = chunks.fitting(first, count - len(lengths), len(room) - used) if len(chunks) else 0
            good = self._read_any(files.held(stream), chunks, first, wanted, room[used:]) if wanted else 0
            lengths += chunks.lengths(first, good)
            used += chunks.bytes_of(first, good)
            first += good
            if first < len(chunks):
                break
            stream, first = stream + 1, 0
        return Run(_pieces(room, lengths), stream, first, used) if lengths else None

    def _read_any(self, found: Sequence[HeldFile], chunks: ChunkList, first: int, count: int, room: memoryview) -> int:
        """Read from the first place that has it; return how many chunks are there and right."""
        for held in found:
            if held.holds(first) and (good := self._read_into(held, chunks, first, count, room)):
                return good
        return 0

    def _read_file_any(self, found: Sequence[HeldFile], root: Digest, room: memoryview) -> bool:
        """Read a file of one chunk from the first place that has it; return whether it is there and right."""
        return any(held.holds(0) and self._read_small(held, root, room) for held in found)

    @contextlib.contextmanager
    def lend(
        self, held: HeldFile, chunks: ChunkList, first: int, count: int, room: memoryview
    ) -> Iterator[tuple[int, int]]:
        """Read chunks of one file, and keep it open in the block.

        Args:
            held: The file.
            chunks: Its list.
            first: The first chunk.
            count: How many, at most.
            room: Gets their bytes, from its beginning on.

        Yields:
            Its descriptor, -1 when it cannot be read, and how many from `first` on are committed and right.
        """
        fd = self._open(held, first)
        if fd is None:
            yield -1, 0
            return
        try:
            yield fd, self._count_right(fd, held, chunks, first, held.holds_from(first, count), room)
        finally:
            os.close(fd)

    def availability(self, content: ContentId, stream: int) -> Availability | None:
        """Return which chunks of a stream are committed here; None when its list is not complete here."""
        chunks = self._contents.chunk_list(content, stream)
        if chunks is None:
            return None
        if stream == 0:
            return Availability(len(chunks), None)
        bits = 0
        for held in self.held(content, stream):
            if held.bits is None:
                return Availability(len(chunks), None)
            bits |= int.from_bytes(held.bits, "little")
        return Availability(len(chunks), bits.to_bytes((len(chunks) + 7) // 8, "little"))

    def holds(self, content: ContentId, stream: int, chunk: int) -> bool:
        """Whether a chunk is committed here, by the index alone: nothing is read."""
        return any(held.holds(chunk) for held in self.held(content, stream))

    def holds_all(self, content: ContentId, stream: int, run: range) -> bool:
        """Whether some chunks are all committed here, by the index alone."""
        held = self.availability(content, stream)
        if held is None or held.bits is None:
            return held is not None
        return not any(clear_runs(held.bits, run.start, len(run)))

    def is_right(self, held: HeldFile) -> bool:
        """Read a complete file itself, whatever other places hold; whether all its chunks are what its list says."""
        chunks = self._contents.chunk_list(held.place.content, held.stream)
        at = 0
        while chunks is not None and at < len(chunks):
            found = self._read_file(held, chunks, at, len(chunks) - at)
            if not found:
                return False
            at += len(found)
        return chunks is not None

    def path(self, held: HeldFile) -> Path:
        """Return where the bytes of a held file lie now."""
        if held.state == "partial":
            return progress_path(held.place, held.stream)
        return held.place.root.joinpath(self._contents.table(held.place.content).path(held.stream - 1))

    def held(self, content: ContentId, stream: int) -> list[HeldFile]:
        """Return a stream's file as it is recorded in each place that is online."""
        places = [place for place in self._contents.places(content) if place.state == "online"]
        return [held for place in places if (held := self._contents.file(place, stream)) is not None]

    def _read_file(self, held: HeldFile, chunks: ChunkList, first: int, count: int) -> Sequence[memoryview] | None:
        count = chunks.fitting(first, count, _MAX_READ)
        room = memoryview(bytearray(chunks.bytes_of(first, count)))
        return _cut(room, chunks, first, self._read_into(held, chunks, first, count, room))

    def _read_into(self, held: HeldFile, chunks: ChunkList, first: int, count: int, room: memoryview) -> int:
        """Read chunks into the beginning of `room`; return how many from `first` on are committed and right."""
        with self.lend(held, chunks, first, count, room) as (_, good):
            return good

    def _count_right(self, fd: int, held: HeldFile, chunks: ChunkList, first: int, count: int, room: memoryview) -> int:
        if not self._fill_from(fd, held, first, chunks.offset(first), room[: chunks.bytes_of(first, count)]):
            return 0
        good = chunks.count_right(room, first, count)
        if good < count:
            self._spoilt(held, first + good, "its bytes are wrong")
        return good

    def _read_small(self, held: HeldFile, root: Digest, room: memoryview) -> bool:
        """Read a file of one chunk, which fills `room`; return whether it is right."""
        if not self._fill(held, 0, 0, room):
            return False
        if digest(room) != root:
            self._spoilt(held, 0, "its bytes are wrong")
            return False
        return True

    def _fill(self, held: HeldFile, chunk: int, offset: int, room: memoryview) -> bool:
        """Fill `room` with the bytes from `offset` on, where a chunk begins; return whether they are there."""
        fd = self._open(held, chunk)
        if fd is None:
            return False
        try:
            return self._fill_from(fd, held, chunk, offset, room)
        finally:
            os.close(fd)

    def _open(self, held: HeldFile, chunk: int) -> int | None:
        """Open a file to read a chunk; None when it is gone, or was changed."""
        try:
            fd = open_for_reading(self._where(held))
        except OSError as error:
            self._gone(held, error)
            return None
        # One that is only doubtful is read: each chunk is hashed anyway.
        if held.state == "complete" and held.stamp.compare(os.fstat(fd)) is Likeness.CHANGED:
            os.close(fd)
            self._spoilt(held, chunk, "it was changed")
            return None
        return fd

    def _fill_from(self, fd: int, held: HeldFile, chunk: int, offset: int, room: memoryview) -> bool:
        try:
            if (got := read_at(fd, room, offset)) == len(room):
                return True
            why = f"file ends {len(room) - got} bytes early"
        except OSError as error:
            why = str(error)
        self._spoilt(held, chunk, why)
        return False

    def _where(self, held: HeldFile) -> str:
        """Return `path` as text: making a path costs as much as opening it."""
        if held.state == "partial":
            return str(progress_path(held.place, held.stream))
        return f"{held.place.root}{os.sep}{self._contents.table(held.place.content).path(held.stream - 1)}"

    def _gone(self, held: HeldFile, error: OSError) -> None:
        now = self._contents.file(held.place, held.stream)
        if now != held:  # finished or taken away while we looked
            return
        state = "edited" if held.place.is_there() else "away"
        _log.warning("%s: %s; its place is %s", self.path(held), error.strerror, state)
        if self._contents.writable:
            self._contents.set_place_state(held.place, state)

    def _spoilt(self, held: HeldFile, chunk: int, why: str) -> None:
        _log.warning("%s, chunk %d: %s", self.path(held), chunk, why)
        if not self._contents.writable:
            return
        if held.state == "partial":
            self._contents.lose_chunk(held.place, held.stream, chunk)
        else:
            self._contents.set_place_state(held.place, "edited")


@final
class _Files:
    """The files of a run as they are recorded in each place that is online: asked for once, not file by file."""

    def __init__(self, contents: Contents, content: ContentId, stream: int, count: int) -> None:
        self._contents = contents
        self._places = [place for place in contents.places(content) if place.state == "online"]
        self._first = stream
        self._last = min(stream + count - 1, len(contents.table(content)))
        self._rows: list[dict[int, HeldFile]] | None = None

    def held(self, stream: int) -> list[HeldFile]:
        """Return a stream's file in each place that has it."""
        if stream == self._first:
            found = [self._contents.file(place, stream) for place in self._places]
            return [held for held in found if held is not None]
        if self._rows is None:  # most runs end in the file in which they begin
            self._rows = [self._contents.files(place, self._first, self._last) for place in self._places]
        return [rows[stream] for rows in self._rows if stream in rows]


def _pieces(room: memoryview, lengths: Sequence[int]) -> list[Piece]:
    """Cut what lies at the beginning of `room` into payloads, as few as can be."""
    pieces: list[Piece] = []
    start = end = count = 0
    for length in lengths:
        if end + length - start > limits.MAX_PAYLOAD:
            pieces.append(Piece(room[start:end], count))
            start, count = end, 0
        end += length
        count += 1
    return [*pieces, Piece(room[start:end], count)]


def _cut(data: memoryview, chunks: ChunkList, first: int, count: int) -> list[memoryview]:
    """Cut the chunks at the beginning of `data` from each other."""
    ends = list(itertools.accumulate(chunks.lengths(first, count)))
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
