"""The ports of the store: what the exchange and the stick ask of whoever keeps contents.

`samara.node.store` implements them and `samara.cli` hands them over, so that `samara.sneakernet` never imports
`samara.node`. All calls block (they read and write files): an async caller runs them in a worker thread.

A *stream* of a content is counted so: 0 is the file table, n ≥ 1 is the n-th file of the table, 1-based.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from samara.protocol.ids import ContentId, Digest, PublisherId, ReleaseId
from samara.protocol.table import FileTable

if TYPE_CHECKING:
    from samara.protocol.records.release import VerifiedRelease

__all__ = [
    "RAW_ALONE",
    "Accepts",
    "Availability",
    "Beginning",
    "Intake",
    "Library",
    "LogPage",
    "Piece",
    "Records",
    "Run",
    "Shelf",
    "Span",
    "StreamNeed",
]


@dataclass(frozen=True, slots=True)
class Records:
    """A release with all that is needed to verify it.

    Attributes:
        roots: Envelopes of the publisher's root chain, genesis first.
        release: Envelope of the release.
        head: Envelope of a head that names it, or None.
    """

    roots: tuple[bytes, ...]
    release: bytes
    head: bytes | None = None


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a fetch asks for before its first chunk of a file.

    Attributes:
        objects: The nodes of the table's list, the chunks of the table, all or none, and the nodes of the files' lists
            in the order of the table, up to the first that does not fit.
        whole: All files are held.
    """

    objects: Sequence[bytes | memoryview]
    whole: bool


@dataclass(frozen=True, slots=True)
class LogPage:
    """What is passed on of a publisher: envelopes, of which nothing is believed because of where they stand.

    Attributes:
        roots: Roots beyond those that are known already, in order.
        forks: Proofs of forks: two envelopes each.
        revocations: What is not among the entries: revocations, which travel before all else, and heads outside it.
        entries: Records of the log by ascending position; where all is told at once, then the heads outside it.
        newest: Position of the newest record that whoever passes them on has; 0 when there is none.
    """

    roots: tuple[bytes, ...] = ()
    forks: tuple[tuple[bytes, bytes], ...] = ()
    revocations: tuple[bytes, ...] = ()
    entries: tuple[bytes, ...] = ()
    newest: int = 0

    @property
    def envelopes(self) -> tuple[bytes, ...]:
        """All of them, in the order in which they travel."""
        return (*self.roots, *(side for pair in self.forks for side in pair), *self.revocations, *self.entries)


@dataclass(frozen=True, slots=True)
class Availability:
    """Which chunks of one stream are held and committed.

    Attributes:
        chunks: How many chunks the stream has.
        bits: One bit a chunk, the lowest bit of byte 0 first; None when the stream is held whole.
    """

    chunks: int
    bits: bytes | None


@dataclass(frozen=True, slots=True)
class Piece:
    """A payload: chunks one after another, or one that is encoded.

    Attributes:
        data: The bytes, at most `MAX_PAYLOAD`.
        count: How many chunks; 1 unless they are raw.
        encoding: How it is encoded; 0 is raw.
        base: Hash of the chunk that it is a delta to, or None.
        passed_on: Another made it, and nobody here can tell whether it leads to the chunk.
    """

    data: bytes | memoryview
    count: int
    encoding: int = 0
    base: Digest | None = None
    passed_on: bool = False


@dataclass(frozen=True, slots=True)
class Accepts:
    """What whoever asks for chunks can take.

    Attributes:
        encodings: The encodings, raw (0) among them.
        bases: Contents of which it holds chunks that deltas may refer to.
    """

    encodings: tuple[int, ...] = (0,)
    bases: tuple[ContentId, ...] = ()


RAW_ALONE: Final = Accepts()


@dataclass(frozen=True, slots=True)
class Run:
    """Chunks in a row, ready to be sent: they were verified, but for those that are passed on.

    Attributes:
        pieces: The payloads.
        stream: The stream of the chunk after the last one.
        index: Its number in that stream.
        bytes: Bytes of the chunks, before they were encoded.
    """

    pieces: Sequence[Piece]
    stream: int
    index: int
    bytes: int

    @property
    def count(self) -> int:
        """How many chunks there are in all."""
        return sum(piece.count for piece in self.pieces)


class Shelf(Protocol):
    """What the exchange's server asks. Each answer is None when there is nothing that *this peer* may have.

    What is private, unlisted or unknown looks the same from outside: None.
    """

    def records(self, release: ReleaseId, peer: str) -> Records | None:
        """Return the records of a release that this peer may know."""
        ...

    def latest(self, publisher: PublisherId, name: str, peer: str) -> Records | None:
        """Return the records of the publisher's head for `name`, or of its newest release of that name."""
        ...

    def log(self, publisher: PublisherId, root: int, first: int, peer: str) -> LogPage | None:
        """Return a page of a publisher's log, if this peer may know that it is here.

        Args:
            publisher: Whose.
            root: The version of the newest root that the peer knows.
            first: The first position that it wants.
            peer: Who asks.
        """
        ...

    def ahead(self, records: Records, most: int, peer: str) -> Beginning | None:
        """Return what a fetch of a release asks for before its first chunk of a file, as far as there is room.

        None when the content is not shared.

        Args:
            records: What `records` or `latest` returned to this peer.
            most: Bytes of them together; there are at most `MAX_AHEAD_OBJECTS`.
            peer: Who asks.
        """
        ...

    def node(self, content: ContentId, node: Digest, peer: str) -> bytes | None:
        """Return a chunk-list node that belongs to a shared content."""
        ...

    def files(self, content: ContentId, peer: str, bases: Sequence[ContentId] = ()) -> bytes | None:
        """Return one bit a file of the table (lowest bit of byte 0 first): set when the file is held whole.

        Who holds one of `bases` can be given more: what packs lead to from there counts as held.
        """
        ...

    def availability(
        self, content: ContentId, stream: int, peer: str, bases: Sequence[ContentId] = ()
    ) -> Availability | None:
        """Return which chunks of a stream are held; None also when the stream's lists are not complete here.

        Who holds one of `bases` can be given more, as in `files`.
        """
        ...

    def read(
        self,
        content: ContentId,
        stream: int,
        first: int,
        count: int,
        peer: str,
        room: memoryview | None = None,
        accepts: Accepts = RAW_ALONE,
        *,
        least: int | None = 0,
    ) -> Run | None:
        """Return a run of `count` chunks that begins at chunk `first` of a stream, each verified before it was encoded.

        What is not held and can be given as a payload that another made is given so.

        A run that goes beyond the end of a file goes on in the next one that has chunks. It may be cut short at any
        chunk but the first; None when that one is not held or went bad.

        Args:
            content: Which content.
            stream: Which stream.
            first: Which chunk of it.
            count: How many, at least 1.
            peer: Who asks.
            room: Where the bytes may be put, at least `MAX_PAYLOAD`; without it memory is taken.
            accepts: How they may be encoded.
            least: Bytes of a chunk from which on encoding it is worth its time; None encodes none.
        """
        ...


class Span(NamedTuple):
    """Consecutive chunks of one file.

    Attributes:
        stream: Which file.
        first: The index of the first chunk.
        width: How many, ≥ 1.
    """

    stream: int
    first: int
    width: int


@dataclass(frozen=True, slots=True)
class StreamNeed:
    """A file that an intake still needs something of.

    Attributes:
        stream: Its number, ≥ 1.
        path: Its path in the table.
        size: Bytes.
        root: Root of its chunk list.
        listed: Its chunk list is complete here.
        chunks: How many chunks it has; 0 until `listed`.
        missing: Indexes of the chunks that are not committed, ascending; empty until `listed`.
    """

    stream: int
    path: str
    size: int
    root: Digest
    listed: bool
    chunks: int
    missing: Sequence[int]


class Intake(Protocol):
    """A content on its way in: chunks are verified, written in place, synced, and only then believed."""

    @property
    def content(self) -> ContentId:
        """What is coming in."""
        ...

    def needs(self) -> Sequence[StreamNeed]:
        """Return the wanted files that are not complete, by stream."""
        ...

    def node(self, node: Digest) -> bytes | None:
        """Return a chunk-list node that is already held here, from this or any other content."""
        ...

    def add_list(self, stream: int, nodes: Sequence[bytes]) -> StreamNeed:
        """Take the nodes of a file's chunk list (any order, none twice; none for a file of one chunk).

        Raises:
            NodeError: They are not the list that the table names.
        """
        ...

    def missing(self, stream: int) -> Sequence[int]:
        """Return the chunks of a listed stream that are neither committed nor put, ascending."""
        ...

    def reuse(self, streams: Sequence[int]) -> Iterator[int]:
        """Copy chunks of listed streams that are held anywhere in the store, and yield the bytes of each few.

        What was copied is believed after the next `commit`.

        Raises:
            DiskFullError: No room; what is committed stays.
        """
        ...

    def put(self, stream: int, index: int, data: bytes | bytearray | memoryview) -> None:
        """Verify one chunk and write it in its place; it is believed after the next `commit`.

        Raises:
            ChunkError: The bytes are wrong; nothing was written.
            DiskFullError: No room; what is committed stays.
        """
        ...

    def commit(self) -> None:
        """Sync what was put, then record it. What is not recorded is not believed after a crash."""
        ...

    def finish(self) -> str:
        """Move what is complete into place, and return the absolute path where the content now lies.

        Raises:
            StoreError: Something wanted is still missing.
        """
        ...


class Library(Protocol):
    """What the stick asks of the store."""

    def records(self, release: ReleaseId) -> Records | None:
        """Return the records of a held release."""
        ...

    def verify_records(self, records: Records, *, expected: ReleaseId | None = None) -> VerifiedRelease:
        """Verify a release by all that is known of its publisher.

        Raises:
            RecordError: It is wrong.
        """
        ...

    def nodes(self, content: ContentId, stream: int) -> Sequence[bytes] | None:
        """Return all chunk-list nodes of a stream, root first; None when they are not complete."""
        ...

    def read(self, content: ContentId, stream: int, first: int, count: int) -> Sequence[bytes | memoryview] | None:
        """Return verified raw bytes of chunks, as `Shelf.read` does, for the owner of the store."""
        ...

    def open_intake(
        self, records: Records, table_nodes: Sequence[bytes], table: FileTable, wanted: Sequence[int] | None
    ) -> Intake:
        """Begin, or go on with, the intake of a release.

        Args:
            records: Its records; they are verified here.
            table_nodes: The nodes of the file table's chunk list, in any order.
            table: The file table.
            wanted: Streams that are wanted, or None for all.

        Raises:
            VerificationError: Records or table are wrong.
        """
        ...

    def close_intake(self, intake: Intake) -> None:
        """Commit what an intake took and let its place go; the same release can be opened again later."""
        ...
