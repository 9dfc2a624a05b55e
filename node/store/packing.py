"""Makes a delta pack: what one held content has and another has not, encoded against the other (specs/deltas.md §4).

The payloads are written first, behind room for the head, whose length is known; the head comes last. So memory is a few
chunks and the entries, and a file that was cut short is no pack.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from samara.node.store.contents import Contents
from samara.node.store.encoder import Encoder
from samara.node.store.files import os_errors, remove_file, sync_folder
from samara.node.store.reader import Reader
from samara.protocol import deltapack
from samara.protocol.chunklist import ChunkList
from samara.protocol.deltapack import PackEntry
from samara.protocol.encodings.codec import Encoding
from samara.protocol.errors import StoppedError, StoreError, UsageError
from samara.protocol.ids import ContentId, Digest, digest
from samara.protocol.ports import Accepts, Piece, Records

__all__ = ["Packed", "Packer"]

_AT_ONCE: Final = 64
"""Chunks that are asked of the reader at once; it gives at most 4 MiB of them."""


@final
@dataclass(frozen=True, slots=True)
class Packed:
    """What a pack came to.

    Attributes:
        chunks: Chunks of the target that the base has not.
        raw: Their bytes.
        bytes: Bytes of the pack.
    """

    chunks: int
    raw: int
    bytes: int


@final
class Packer:
    """Makes packs of held contents.

    Args:
        contents: The index's contents.
        reader: For chunks.
        encoder: For payloads.
    """

    def __init__(self, contents: Contents, reader: Reader, encoder: Encoder) -> None:
        self._contents = contents
        self._reader = reader
        self._encoder = encoder

    def pack(
        self,
        records: Records,
        target: ContentId,
        base: ContentId,
        path: Path,
        *,
        on_progress: Callable[[int, int], None],
        cancelled: Callable[[], bool],
    ) -> Packed:
        """Write the pack that leads from one content to another, both of which are held whole. Blocks.

        Args:
            records: Of the target's release.
            target: The content that it leads to.
            base: The content that it starts from.
            path: Where it is to lie; there must be nothing.
            on_progress: Is told the bytes that were encoded, and those that are to be.
            cancelled: Is asked before each chunk; True ends it.

        Raises:
            UsageError: Something lies at `path`, or the base has all that the target has.
            StoreError: A chunk cannot be read, or the pack cannot be written.
            StoppedError: `cancelled` said so.
        """
        wanted = list(self._wanted(target, base))
        total = sum(size for *_, size in wanted)
        if not wanted:
            raise UsageError("the base has every chunk of it: no delta is needed")
        table = self._contents.table_bytes(target)
        nodes = self._nodes(target)
        blank = [PackEntry(1, number, 1, 0, None, Digest(bytes(32))) for number in range(len(wanted))]
        size = len(deltapack.encode(target, base, records, table, nodes, blank))
        part = path.with_name(f".{path.name}.part")
        if os.path.lexists(path):
            raise UsageError(f"{path} exists", hint="Name another file with --to, or take this one away.")
        try:
            with os_errors(f"cannot write {path}"), open(part, "wb") as file:
                file.seek(size)
                entries = []
                done = 0
                for stream, index, raw in wanted:
                    if cancelled():
                        raise StoppedError("making the delta was stopped")
                    piece = self._piece(target, stream, index, base)
                    file.write(piece.data)
                    entries.append(
                        PackEntry(stream, index, len(piece.data), piece.encoding, piece.base, digest(piece.data))
                    )
                    done += raw
                    on_progress(done, total)
                end = file.tell()
                file.seek(0)
                file.write(deltapack.encode(target, base, records, table, nodes, entries))
                file.flush()
                os.fsync(file.fileno())
            with os_errors(f"cannot write {path}"):
                os.replace(part, path)
            sync_folder(path.parent)
        except BaseException:
            remove_file(part)
            raise
        return Packed(len(wanted), total, end)

    def _wanted(self, target: ContentId, base: ContentId) -> Iterator[tuple[int, int, int]]:
        """Yield the chunks of the target that the base has not: stream, index, bytes."""
        there = {chunks.hash(index) for _, chunks in self._lists(base) for index in range(len(chunks))}
        for stream, chunks in self._lists(target):
            for index in range(len(chunks)):
                if chunks.hash(index) not in there:
                    yield stream, index, chunks.length(index)

    def _lists(self, content: ContentId) -> Iterator[tuple[int, ChunkList]]:
        for stream in range(1, len(self._contents.table(content)) + 1):
            chunks = self._contents.chunk_list(content, stream)
            if chunks is None:
                raise StoreError("a chunk list is not here", hint="Fetch it whole first.")
            yield stream, chunks

    def _nodes(self, content: ContentId) -> list[bytes]:
        found: dict[bytes, None] = {}
        for stream, _ in self._lists(content):
            found.update(dict.fromkeys(self._contents.list_nodes(content, stream) or ()))
        return list(found)

    def _piece(self, target: ContentId, stream: int, index: int, base: ContentId) -> Piece:
        found = self._reader.read(target, stream, index, 1)
        chunks = self._contents.chunk_list(target, stream)
        if not found or chunks is None:
            raise StoreError(
                f"chunk {index} of file {stream} is not here, or is not right any more",
                hint="Look with samara verify, and fetch it again.",
            )
        accepts = Accepts(tuple(Encoding), (base,))
        return self._encoder.encode_chunk(target, stream, chunks, index, found[0], accepts) or Piece(found[0], 1)
