"""Verified reads of chunks from wherever a content lies.

Every chunk is hashed before it is given out. A file that another program changed makes its place `edited`; a wrong
chunk in a file that Samara wrote loses its bit, so that it is fetched anew. Nothing wrong is ever returned.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from samara.node.store.contents import Contents, HeldFile, Place
from samara.node.store.files import open_for_reading, read_exactly
from samara.node.store.stamps import Likeness
from samara.protocol import limits
from samara.protocol.chunklist import ChunkList
from samara.protocol.errors import StoreError
from samara.protocol.ids import ContentId, digest
from samara.protocol.paths import WORK_FOLDER
from samara.protocol.ports import Availability

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

    def read(self, content: ContentId, stream: int, first: int, count: int) -> Sequence[memoryview] | None:
        """Return verified chunks from `first` on.

        Returns:
            At least one, at most `count`, at most about 4 MiB; None when `first` is not held or went bad.
        """
        chunks = self._contents.chunk_list(content, stream)
        if chunks is None or not 0 <= first < len(chunks):
            return None
        if stream == 0:
            table = memoryview(self._contents.table_bytes(content))
            return _slices(table, chunks, first, _run(chunks, first, count), 0)
        for held in self.held(content, stream):
            if held.holds(first) and (found := self._read_file(held, chunks, first, count)):
                return found
        return None

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
        entry = self._contents.table(held.place.content)[held.stream - 1]
        return held.place.root.joinpath(*entry.path.split("/"))

    def held(self, content: ContentId, stream: int) -> list[HeldFile]:
        """Return a stream's file as it is recorded in each place that is online."""
        places = [place for place in self._contents.places(content) if place.state == "online"]
        return [held for place in places if (held := self._contents.file(place, stream)) is not None]

    def _read_file(self, held: HeldFile, chunks: ChunkList, first: int, count: int) -> Sequence[memoryview] | None:
        count = _run(chunks, first, count)
        count = next((n for n in range(1, count) if not held.holds(first + n)), count)
        offset = chunks.offset(first)
        length = chunks.offset(first + count - 1) + chunks.length(first + count - 1) - offset
        try:
            fd = open_for_reading(self.path(held))
        except OSError as error:
            self._gone(held, error)
            return None
        try:
            # One that is only doubtful is read: each chunk is hashed anyway.
            if held.state == "complete" and held.stamp.compare(os.fstat(fd)) is Likeness.CHANGED:
                raise StoreError("it was changed")
            data = read_exactly(fd, length, offset)
        except (OSError, StoreError) as error:
            self._spoilt(held, first, str(error))
            return None
        finally:
            os.close(fd)
        found = _slices(memoryview(data), chunks, first, count, offset)
        if len(found) < count:
            self._spoilt(held, first + len(found), "its bytes are wrong")
        return found

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


def _run(chunks: ChunkList, first: int, count: int) -> int:
    """How many chunks from `first` on fit into one read; at least one."""
    count = min(count, len(chunks) - first)
    total = 0
    for n in range(count):
        total += chunks.length(first + n)
        if total > _MAX_READ and n:
            return n
    return count


def _slices(data: memoryview, chunks: ChunkList, first: int, count: int, offset: int) -> list[memoryview]:
    """Cut `data`, which begins at `offset` of the stream, into verified chunks; stops before the first wrong one."""
    found = []
    for index in range(first, first + count):
        start = chunks.offset(index) - offset
        piece = data[start : start + chunks.length(index)]
        if digest(piece) != chunks.hash(index):
            break
        found.append(piece)
    return found
