"""Where the tensors of held model files lie, also of files in progress as far as their headers are here.

Headers are read as chunks are: verified, and of a file in progress only what is committed. What is known of a file for
good is remembered; of one whose header is not all here, which chunk it waits for. Which chunks hold what of a file
follows from both: so single tensors can be fetched.

Threads may share it. Source: specs/encodings.md §6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from samara.node.store.contents import Contents
from samara.node.store.reader import Reader
from samara.node.store.recent import Recent
from samara.protocol.chunking import fastcdc
from samara.protocol.chunklist import ChunkList
from samara.protocol.errors import NotFoundError
from samara.protocol.formats.tensors import TensorMap, read_tensors
from samara.protocol.ids import ContentId

__all__ = ["TensorMaps"]

_MAPS: Final = 16
"""Maps in memory: of a model in many shards some, each a few hundred bytes a tensor."""

_WAITING: Final = 1024
"""Files that are remembered because a chunk of their header is not here."""


@final
class TensorMaps:
    """The tensor maps of held files.

    Args:
        contents: The index's contents.
        reader: For their headers.
    """

    def __init__(self, contents: Contents, reader: Reader) -> None:
        self._contents = contents
        self._reader = reader
        self._maps: Recent[tuple[ContentId, int], TensorMap] = Recent(_MAPS)
        self._waiting: Recent[tuple[ContentId, int], int] = Recent(_WAITING)

    def get(self, content: ContentId, stream: int) -> TensorMap | None:
        """Return the tensors of a file: none when it is no model; None while that is not known, without its header."""
        chunks = self._contents.chunk_list(content, stream)
        found = self._look(content, stream, chunks) if chunks is not None else None
        return found if isinstance(found, TensorMap) else None

    def chunks_of(
        self, content: ContentId, stream: int, chunks: ChunkList, wants: Callable[[str], bool]
    ) -> list[range]:
        """Return the chunks of a file that hold its header and some of its tensors, in order.

        As long as its header is not here, these are the header's chunks that are next, about as many as are here.

        Args:
            content: Which content.
            stream: Which file.
            chunks: Its list.
            wants: Says of a tensor's name whether it is wanted.
        """
        found = self._look(content, stream, chunks)
        if isinstance(found, int):
            end = found + 1
            while end < min(2 * found, len(chunks)) and chunks.length(end) <= fastcdc.MAX:  # a header has no others
                end += 1
            return [range(end)]
        tensors = [(tensor.start, tensor.end) for tensor in found if wants(tensor.name)]
        merged: list[range] = []
        for start, stop in [(0, found.data), *tensors] if found.container else []:
            run = range(chunks.at(start), chunks.at(stop - 1) + 1)
            if merged and run.start <= merged[-1].stop:
                run = range(merged.pop().start, run.stop)
            merged.append(run)
        return merged

    def read(self, content: ContentId, stream: int, start: int, end: int) -> bytearray:
        """Return the bytes from `start` to `end` of a file.

        Raises:
            NotFoundError: Some of them are not here.
        """
        chunks = self._contents.chunk_list(content, stream)
        data = bytearray(end - start)
        at = start
        while at < end and chunks is not None:
            index = chunks.at(at)
            found = self._reader.read(content, stream, index, chunks.at(end - 1) + 1 - index)
            if not found:
                raise NotFoundError("not all of this tensor is here", hint="Fetch it first.")
            skip = at - chunks.offset(index)
            for chunk in found:
                piece = chunk[skip : skip + end - at]
                data[at - start : at - start + len(piece)] = piece
                at, skip = at + len(piece), 0
        return data

    def _look(self, content: ContentId, stream: int, chunks: ChunkList) -> TensorMap | int:
        """Return the tensors of a file, or the first chunk of its header that is not here."""
        key = content, stream
        if (known := self._maps.get(key)) is not None:
            return known
        missing = self._waiting.get(key)
        if missing is not None and not self._reader.holds(content, stream, missing):
            return missing
        header = _Header(self._reader, content, stream, chunks)
        found = read_tensors(header.read_at, chunks.size)
        # Zeros stood where nothing is: what was read of them tells nothing, unless all of it lies behind the header.
        if header.missing is not None and (found is None or found.data > chunks.offset(header.missing)):
            self._waiting.put(key, header.missing)
            return header.missing
        found = found or TensorMap("", ())
        self._maps.put(key, found)
        return found


@final
class _Header:
    """The bytes at the beginning of a file, with zeros where they are not here.

    Attributes:
        missing: The first chunk that was wanted and is not here.
    """

    def __init__(self, reader: Reader, content: ContentId, stream: int, chunks: ChunkList) -> None:
        self.missing: int | None = None
        self._reader = reader
        self._content = content
        self._stream = stream
        self._chunks = chunks

    def read_at(self, offset: int, length: int) -> bytes:
        """Return bytes of the file; fewer only when it ends."""
        end = min(offset + length, self._chunks.size)
        if offset >= end:
            return b""
        first, last = self._chunks.at(offset), self._chunks.at(end - 1)
        begin = self._chunks.offset(first)
        parts: list[bytes | memoryview] = []
        while first <= last:
            found = self._reader.read(self._content, self._stream, first, last + 1 - first)
            if not found:
                self.missing = first if self.missing is None else min(first, self.missing)
                found = [memoryview(bytes(self._chunks.length(first)))]
            parts += found
            first += len(found)
        return b"".join(parts)[offset - begin : end - begin]
