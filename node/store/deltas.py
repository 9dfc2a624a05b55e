"""Delta packs that are held: what they lead to, used by this node and passed on to others (specs/deltas.md).

    a pack that came whole ──► take: verify what it says of its target ──► the index knows the target
    a fetch of the target  ──► make: payloads and held base chunks ──► its chunks
    a peer that has a base ──► run: payloads as they are, although nobody here could decode them

Which packs there are is no state of its own: they are the files of the releases of kind `delta` that lie here whole,
and that bear being looked at, which each process does once.

Invariants: a payload is given out only when it has its entry's hash; memory is bounded; what a pack says of its target
is believed only as far as the target's own records, table and lists bear it out.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, final

from samara.node.store.bits import set_run
from samara.node.store.catalog import Catalog
from samara.node.store.contents import Contents
from samara.node.store.files import open_for_reading, os_errors, read_at
from samara.node.store.reader import Reader
from samara.node.store.recent import Recent
from samara.protocol import limits
from samara.protocol.chunklist import ChunkList, ListVerifier
from samara.protocol.deltapack import FIXED, PackEntries, PackEntry, PackHead, decode, head_size
from samara.protocol.encodings.codec import Encoding
from samara.protocol.errors import (
    ChunkError,
    DeltaError,
    EncodingError,
    NotFoundError,
    SamaraError,
    StoreError,
    VerificationError,
)
from samara.protocol.ids import ContentId, Digest, digest
from samara.protocol.ports import Piece, Records, Run, Span
from samara.protocol.records import Kind, VerifiedRelease
from samara.protocol.table import FileTable, list_table, verify_table

__all__ = ["Decodes", "Deltas", "HeldPack"]

_log = logging.getLogger(__name__)

_KEPT_ENTRIES: Final = 1 << 21
"""Entries of packs in memory, 93 bytes each; a head of more is kept while it is the last one."""

_MAX_RUN: Final = 4 * limits.MIB
"""Bytes of payloads that are read for one run."""


@final
@dataclass(frozen=True, slots=True)
class HeldPack:
    """A pack that lies here.

    Attributes:
        content: The content whose one file it is.
        path: Where it lies.
        target: What it leads to.
        base: What it starts from.
        entries: What its payloads are.
    """

    content: ContentId
    path: Path
    target: ContentId
    base: ContentId
    entries: PackEntries


@final
@dataclass(frozen=True, slots=True)
class _Seen:
    """A pack that was looked at: its head, and what that was found to say of the target."""

    pack: HeldPack
    head: PackHead
    verified: VerifiedRelease
    table: FileTable
    lists: dict[int, Sequence[bytes]]


class Decodes(Protocol):
    """What `make` asks of an intake."""

    @property
    def content(self) -> ContentId:
        """What is coming in."""
        ...

    def missing(self, stream: int) -> Sequence[int]:
        """Return the chunks of a stream that are not here."""
        ...

    def decode(self, span: Span, encoding: int, base: Digest | None, payload: bytes) -> bytes | bytearray | memoryview:
        """Return a chunk that is not verified yet."""
        ...

    def put(self, stream: int, index: int, data: bytes | bytearray | memoryview) -> None:
        """Verify a chunk and write it."""
        ...


@final
class Deltas:
    """The packs of one store.

    Args:
        catalog: Its releases.
        contents: Its contents.
        reader: Where their files lie.
        verify: Verifies records against what is known of their publisher here.
        add: Keeps a release that was verified, and its records.
    """

    def __init__(
        self,
        catalog: Catalog,
        contents: Contents,
        reader: Reader,
        verify: Callable[[Records], VerifiedRelease],
        add: Callable[[VerifiedRelease, Records], None],
    ) -> None:
        self._catalog = catalog
        self._contents = contents
        self._reader = reader
        self._verify = verify
        self._add = add
        self._useless: set[ContentId] = set()
        self._known: Recent[ContentId, HeldPack] = Recent(_KEPT_ENTRIES, lambda pack: len(pack.entries) + 64)

    # What there is

    def of(self, target: ContentId) -> list[HeldPack]:
        """Return the packs here that lead to a content."""
        return [pack for pack in self._all() if pack.target == target]

    def pack(self, content: ContentId) -> HeldPack | None:
        """Return the pack that is a content's one file, if it lies here and can be used."""
        return next((pack for pack in self._all() if pack.content == content), None)

    def targets(self) -> frozenset[ContentId]:
        """Return the contents to which packs here lead."""
        return frozenset(pack.target for pack in self._all())

    def _all(self) -> Iterator[HeldPack]:
        for content in {held.content for held in self._catalog.releases(kind=Kind.DELTA.value)} - self._useless:
            pack = self._known.get(content)
            if pack is None or not pack.path.exists():
                try:
                    pack = self._look_at(content).pack
                except VerificationError as error:
                    _log.warning("a delta release that is of no use: %s", error)
                    self._useless.add(content)
                    continue
                except SamaraError as error:  # it may come back
                    _log.debug("a delta release is not here: %s", error)
                    continue
            yield pack

    def _open(self, content: ContentId) -> tuple[HeldPack, PackHead]:
        """Read the head of a pack.

        Raises:
            NotFoundError: It does not lie here whole.
            DeltaError: It is none.
            StoreError: It cannot be read.
        """
        found = [held for held in self._reader.held(content, 1) if held.state == "complete"]
        if not found or len(self._contents.table(content)) != 1:
            raise NotFoundError("the pack is not here", hint="Fetch it.")
        path = self._reader.path(found[0])
        with os_errors(f"cannot read {path}"):
            fd = open_for_reading(path)
            try:
                size = os.fstat(fd).st_size
                head = decode(_read(fd, 0, head_size(_read(fd, 0, FIXED))), size)
            finally:
                os.close(fd)
        return HeldPack(content, path, head.target, head.base, head.entries), head

    # What comes

    def take(self, content: ContentId) -> VerifiedRelease:
        """Keep what a pack says of its target; return the release of that.

        Args:
            content: The content whose one file it is; it lies here whole.

        Raises:
            NotFoundError: It is not here.
            DeltaError: It breaks a rule.
            VerificationError: Records, table or lists do.

        Source: specs/deltas.md §5.
        """
        seen = self._look_at(content)
        target = seen.pack.target
        self._add(seen.verified, seen.head.records)
        self._contents.add(target, seen.table, list_table(seen.head.table).nodes)
        self._contents.add_lists(target, seen.lists)
        return seen.verified

    def _look_at(self, content: ContentId) -> _Seen:
        """Verify all that a pack says but its payloads."""
        pack, head = self._open(content)
        verified = self._verify(head.records)
        if verified.release.content != head.target:
            raise DeltaError("a delta pack whose records are of another content than its target")
        verified.check_table(head.table)
        table = verify_table(head.table, head.target)
        verified.check_facts(content=head.target, total=table.size, files=len(table))
        seen = _Seen(pack, head, verified, table, _lists(table, head.nodes, pack.entries))
        self._known.put(content, pack)
        return seen

    # What is made of it

    def makes(self, target: ContentId, stream: int) -> Iterator[int]:
        """Yield the chunks of a file for which packs whose base is here have payloads; nothing of it is tried."""
        for pack in self.of(target):
            places = self._contents.places(pack.base) if self._contents.has(pack.base) else ()
            if any(place.state == "online" for place in places):
                yield from map(pack.entries.index, pack.entries.of_stream(stream))

    def make(self, intake: Decodes, streams: Sequence[int]) -> Iterator[int]:
        """Decode what an intake lacks of some listed streams, and yield the bytes of each chunk that was right.

        Raises:
            DiskFullError: No room.
        """
        for pack in self.of(intake.content):
            for stream in streams:
                numbers = pack.entries.of_stream(stream)
                missing = set(intake.missing(stream)) if numbers else ()
                for number in numbers:
                    if pack.entries.index(number) in missing and (size := self._make(intake, pack, number)):
                        yield size

    def _make(self, intake: Decodes, pack: HeldPack, number: int) -> int:
        entry = pack.entries.entry(number)
        if (payload := self._payload(pack, number)) is None:
            return 0
        try:
            raw = intake.decode(Span(entry.stream, entry.index, 1), entry.encoding, entry.base, payload)
            intake.put(entry.stream, entry.index, raw)
        except (EncodingError, NotFoundError, ChunkError) as error:
            _log.debug("%s, chunk %d of file %d: %s", pack.path, entry.index, entry.stream, error)
            return 0
        return len(raw)

    # What is passed on

    def bits(self, packs: Sequence[HeldPack], stream: int, chunks: int) -> int:
        """Return which of the chunks of a file some packs have, as a number with one bit a chunk."""
        row = bytearray((chunks + 7) // 8)
        for pack in packs:
            for number in pack.entries.of_stream(stream):
                if (index := pack.entries.index(number)) < chunks:
                    set_run(row, index)
        return int.from_bytes(row, "little")

    def whole_files(self, packs: Sequence[HeldPack]) -> Iterator[int]:
        """Yield the streams of files all of whose chunks one of some packs has."""
        for pack in packs:
            for stream, count in pack.entries.counts():
                chunks = self._contents.chunk_list(pack.target, stream)
                if chunks is not None and len(chunks) == count:
                    yield stream

    def run(self, packs: Sequence[HeldPack], content: ContentId, stream: int, first: int, count: int) -> Run | None:
        """Return payloads of chunks in a row, from chunk `first` of a stream on; None when the packs lack that one."""
        pieces: list[Piece] = []
        raw = size = 0
        while len(pieces) < count and (chunks := self._list(content, stream)) is not None:
            if first >= len(chunks):
                if first and not pieces:
                    break  # there is no such chunk
                stream, first = stream + 1, 0
                continue
            piece = next((found for pack in packs if (found := self.piece(pack, stream, first)) is not None), None)
            if piece is None or size + len(piece.data) > _MAX_RUN:
                break
            pieces.append(piece)
            size += len(piece.data)
            raw += chunks.length(first)
            first += 1
            if first == len(chunks):
                stream, first = stream + 1, 0
        return Run(pieces, stream, first, raw) if pieces else None

    def piece(self, pack: HeldPack, stream: int, index: int) -> Piece | None:
        """Return the payload of a chunk as it is sent; None when the pack has none, or a wrong one."""
        number = pack.entries.find(stream, index)
        payload = self._payload(pack, number) if number is not None else None
        if number is None or payload is None:
            return None
        entry = pack.entries.entry(number)
        return Piece(payload, 1, entry.encoding, entry.base, passed_on=entry.encoding != Encoding.RAW)

    def _list(self, content: ContentId, stream: int) -> ChunkList | None:
        return self._contents.chunk_list(content, stream) if stream <= len(self._contents.table(content)) else None

    def _payload(self, pack: HeldPack, number: int) -> bytes | None:
        entry = pack.entries.entry(number)
        with contextlib.suppress(OSError, StoreError):
            fd = open_for_reading(pack.path)
            try:
                payload = _read(fd, pack.entries.offset(number), entry.length)
            finally:
                os.close(fd)
            if digest(payload) == entry.payload_hash:
                return payload
        _log.warning("%s: the payload of chunk %d of file %d is wrong", pack.path, entry.index, entry.stream)
        return None


def _lists(table: FileTable, nodes: Sequence[bytes], entries: PackEntries) -> dict[int, Sequence[bytes]]:
    """Return the nodes of each file's list.

    Raises:
        DeltaError: They are not all, or not all theirs; or an entry is of a chunk that there is not.
        NodeError: A list is none.
    """
    given = {digest(node): node for node in nodes}
    used: set[Digest] = set()
    lists: dict[int, Sequence[bytes]] = {}
    for stream in range(1, len(table) + 1):
        size, whole, root = table.facts(stream - 1)
        verifier = ListVerifier.for_file(root, size, whole)
        while wanted := verifier.wanted():
            for name in wanted:
                if name not in given:
                    raise DeltaError("a delta pack without all nodes of its target's lists")
                verifier.add(given[name])
                used.add(name)
        if found := verifier.nodes():
            lists[stream] = found
        chunks = verifier.chunks()
        for number in entries.of_stream(stream):
            _check_entry(entries.entry(number), chunks)
    if len(used) != len(nodes):
        raise DeltaError("a delta pack with nodes that belong to none of its target's lists, or one twice")
    if any(stream > len(table) for stream, _ in entries.counts()):
        raise DeltaError("a delta pack with an entry of a file that its target does not have")
    return lists


def _check_entry(entry: PackEntry, chunks: ChunkList) -> None:
    if entry.index >= len(chunks):
        raise DeltaError(f"a delta pack with an entry of chunk {entry.index} of a file of {len(chunks)} chunks")
    length = chunks.length(entry.index)
    if entry.encoding == Encoding.RAW:
        if (entry.length, entry.payload_hash) != (length, chunks.hash(entry.index)):
            raise DeltaError("a delta pack with a raw payload that is not the chunk")
    elif entry.length >= length:
        raise DeltaError(f"a delta pack with a payload of {entry.length} bytes for a chunk of {length}")


def _read(fd: int, offset: int, length: int) -> bytes:
    data = bytearray(length)
    return bytes(memoryview(data)[: read_at(fd, memoryview(data), offset)])
