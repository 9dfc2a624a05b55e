"""Encodes chunks on their way to a peer: which encoding, against which base, and what was encoded lately.

    a verified run ──► chunk by chunk: a delta, else planes, else text, else as it is ──► the run's pieces

Layouts come from the headers of the model files that lie here, also of those that are still coming in. Where a file's
chunks save nothing, few of the next are tried. Payloads are kept for a while, since several peers of a swarm want the
same.

Threads may share it. Source: specs/exchange.md, "WANT → CHUNK"; specs/encodings.md.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias, final

from samara.node.store.contents import Contents
from samara.node.store.reader import Reader
from samara.node.store.recent import Recent
from samara.node.store.tensors import TensorMaps
from samara.protocol import limits
from samara.protocol.chunklist import ChunkList
from samara.protocol.encodings.codec import Encoding, encode
from samara.protocol.encodings.matching import counterpart, layout_of
from samara.protocol.formats.tensors import TensorMap
from samara.protocol.ids import ContentId, Digest
from samara.protocol.ports import Accepts, Piece, Run

__all__ = ["Encoder", "Ready"]

Ready: TypeAlias = Callable[[int, int], Piece | None]

_KEPT_BYTES: Final = 32 * limits.MIB
"""Bytes of payloads that are kept: what a few peers that fetch side by side want within the same seconds."""

_FAILURES: Final = 4
"""Chunks of a file in a row that saved nothing, until few are tried."""

_MOST_SHARDS: Final = 1024
"""Files of a base that are looked at: the largest models have some hundred."""

_TRY_EVERY: Final = 16
"""Of so many chunks one is tried then."""


@final
class Encoder:
    """Encodes runs of held contents.

    Args:
        contents: The index's contents.
        reader: For bases.
        maps: Where the tensors of files lie.
    """

    def __init__(self, contents: Contents, reader: Reader, maps: TensorMaps) -> None:
        self._contents = contents
        self._reader = reader
        self._maps = maps
        self._homes: Recent[ContentId, _Homes] = Recent(limits.MAX_BASES)
        self._payloads: Recent[tuple[Digest, Accepts], Piece] = Recent(_KEPT_BYTES, lambda piece: len(piece.data))
        self._failures: Recent[tuple[ContentId, int, Accepts], int] = Recent(1024)
        self._lock = threading.Lock()
        self.saved = 0
        """Bytes that did not have to be sent."""

    def encode(
        self,
        content: ContentId,
        stream: int,
        first: int,
        run: Run,
        accepts: Accepts,
        ready: Ready | None = None,
        least: int = 0,
    ) -> Run:
        """Return a run with its chunks encoded where that saves enough.

        Args:
            content: Of which content.
            stream: Where its first chunk is.
            first: Which that is.
            run: The run.
            accepts: How chunks may be encoded.
            ready: Returns a payload that was made before, if there is one, by stream and index.
            least: Bytes of the smallest chunk that is tried.
        """
        pieces: list[Piece] = []
        saved = 0
        for piece in run.pieces:
            data = memoryview(piece.data)
            begin = end = count = 0  # of the chunks that go raw together
            for _ in range(piece.count):
                stream, first, chunks = self._place(content, stream, first)
                length = chunks.length(first)
                chunk = data[end : end + length]
                encoded = ready(stream, first) if ready is not None else None
                if encoded is None and length >= least:
                    encoded = self._encoded(content, stream, chunks, first, chunk, accepts)
                first += 1
                if encoded is None:
                    end, count = end + length, count + 1
                    continue
                if count:
                    pieces.append(Piece(data[begin:end], count))
                pieces.append(encoded)
                saved += length - len(encoded.data)
                begin = end = end + length
                count = 0
            if count:
                pieces.append(Piece(data[begin:end], count))
        with self._lock:
            self.saved += saved
        return Run(pieces, run.stream, run.index, run.bytes)

    def _place(self, content: ContentId, stream: int, first: int) -> tuple[int, int, ChunkList]:
        """Return the place of a chunk that may lie beyond the end of its file, in a later one."""
        while True:
            chunks = self._contents.chunk_list(content, stream)
            assert chunks is not None  # noqa: S101 - the run was read by it
            if first < len(chunks):
                return stream, first, chunks
            stream, first = stream + 1, 0

    def _encoded(
        self, content: ContentId, stream: int, chunks: ChunkList, index: int, chunk: memoryview, accepts: Accepts
    ) -> Piece | None:
        key = chunks.hash(index), accepts
        if (known := self._payloads.get(key)) is not None:
            return known
        subject = content, stream, accepts
        failures = self._failures.get(subject) or 0
        if failures >= _FAILURES and index % _TRY_EVERY:
            return None
        piece = self.encode_chunk(content, stream, chunks, index, chunk, accepts)
        self._failures.put(subject, 0 if piece is not None else failures + 1)
        if piece is not None and self._maps.get(content, stream) is not None:  # else there may be a better one soon
            self._payloads.put(key, piece)
        return piece

    def encode_chunk(
        self, content: ContentId, stream: int, chunks: ChunkList, index: int, chunk: memoryview, accepts: Accepts
    ) -> Piece | None:
        """Return the payload of one chunk of a held file, or None when nothing that is accepted saves enough."""
        start = chunks.offset(index)
        tensors = self._maps.get(content, stream)
        layout = layout_of(tensors, start, start + len(chunk)) if tensors is not None else None
        if layout is None:
            return _piece(Encoding.TEXT, encode(Encoding.TEXT, chunk)) if Encoding.TEXT in accepts.encodings else None
        if tensors is not None and Encoding.DELTA in accepts.encodings:
            for base in accepts.bases:
                if (found := self._base(base, tensors, start, len(chunk))) is not None:
                    name, raw = found
                    return _piece(Encoding.DELTA, encode(Encoding.DELTA, chunk, layout, raw), name)
        if Encoding.PLANES in accepts.encodings:
            return _piece(Encoding.PLANES, encode(Encoding.PLANES, chunk, layout))
        return None

    def _base(self, base: ContentId, tensors: TensorMap, start: int, length: int) -> tuple[Digest, memoryview] | None:
        """Return the chunk of a base content that corresponds to some bytes of a file, and its hash."""
        homes = self._homes_of(base)
        streams = {homes[tensor.name] for tensor in tensors.within(start, start + length)[:1] if tensor.name in homes}
        for stream in streams:
            there, chunks = self._maps.get(base, stream), self._contents.chunk_list(base, stream)
            offset = counterpart(tensors, start, start + length, there) if there is not None else None
            if offset is None or chunks is None or offset >= chunks.size:
                continue
            index = chunks.at(offset)
            if (chunks.offset(index), chunks.length(index)) != (offset, length):
                continue
            if found := self._reader.read(base, stream, index, 1):
                return chunks.hash(index), found[0]
        return None

    def _homes_of(self, base: ContentId) -> dict[str, int]:
        """Return in which file of a content each tensor lies, as far as that is known."""
        homes = self._homes.get(base)
        if homes is None:
            if not self._contents.has(base):
                return {}
            homes = _Homes(deque(range(1, min(len(self._contents.table(base)), _MOST_SHARDS) + 1)))
            for _ in range(len(homes.unknown)):
                self._look(base, homes)
            self._homes.put(base, homes)
        else:
            self._look(base, homes)  # of those that may come, one each time
        return homes.streams

    def _look(self, base: ContentId, homes: _Homes) -> None:
        """Look into one file of a content of which it is not known what tensors it has."""
        try:
            stream = homes.unknown.popleft()
        except IndexError:
            return
        tensors = self._maps.get(base, stream)
        if tensors is None:
            homes.unknown.append(stream)
        for tensor in tensors if tensors is not None else ():
            homes.streams.setdefault(tensor.name, stream)


@final
@dataclass(slots=True)
class _Homes:
    """Where the tensors of a content lie.

    Attributes:
        unknown: Files whose headers are not here, or were not looked at.
        streams: In which file each tensor of the others lies, by its name.
    """

    unknown: deque[int]
    streams: dict[str, int] = field(default_factory=dict)


def _piece(encoding: Encoding, payload: bytes | None, base: Digest | None = None) -> Piece | None:
    return None if payload is None else Piece(payload, 1, encoding, base)
