"""Contents in the index: file tables, chunk lists, and the places where their files lie.

A stream of a content is 0 for its file table and n for the n-th file. Lists and tables are kept as the bytes that were
verified, and parsed anew when they are needed; the last few stay in memory: a list never changes, so one that was found
is right for as long as its content is held.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, final

from samara.node.store.bits import clear_runs, is_set
from samara.node.store.files import is_empty
from samara.node.store.index import Index
from samara.node.store.recent import Recent
from samara.node.store.stamps import Stamp
from samara.protocol import limits
from samara.protocol.chunklist import ChunkList, ListVerifier
from samara.protocol.errors import NotFoundError, StoreError
from samara.protocol.ids import ContentId, Digest, digest, format_content
from samara.protocol.table import FileTable

__all__ = ["Contents", "HeldFile", "Place"]

_CACHED_TABLES: Final = 8
_CACHED_CHUNKS: Final = 1 << 21
"""Chunks of all lists in memory, about 90 MB. A file of a few megabytes may claim 4 million chunks by repeating one
small node: 256 such lists would be 47 GB. A list of more is kept while it is the last one."""

_ROWS_AT_ONCE: Final = 100_000
"""Chunks that are indexed in one transaction: less than a second in which nobody else can write."""

_SHORTS: Final = struct.Struct(">q28x")
"""Of each entry of a list the first 8 bytes of the hash."""

_FILE: Final = "stream, state, bits, size, mtime, inode, checked"
"""The columns of a file; its stamp's mark is where the inode alone once was."""

_HINTS: Final = 16
"""Places of one chunk that are looked at: a chunk of zeros, or a licence, may lie in 100,000 files."""

_FIND: Final = (
    'SELECT hash, content.id, stream, "index" FROM chunk JOIN content ON content.no = chunk.content'
    " WHERE hash IN ({}) AND NOT (content = ? AND stream = ?) LIMIT ?"
)
"""Where chunks may be; as many question marks are put in as chunks are looked for."""

_ASKED_AT_ONCE: Final = 900
"""Chunks that are looked for in one query: each query takes a lock, and old ones of SQLite take 999 parameters."""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder in which files of a content lie.

    Attributes:
        no: Its number in the index.
        content: The content.
        kind: home, to or inplace.
        root: The folder, absolute.
        state: online, away or edited.
    """

    no: int
    content: ContentId
    kind: str
    root: Path
    state: str

    def is_there(self) -> bool:
        """Whether its medium is: a folder of the user's that is empty is where one was mounted."""
        return os.path.isdir(self.root) and (self.kind == "home" or not is_empty(self.root))


@final
class HeldFile(NamedTuple):
    """A file of a place.

    Attributes:
        place: Where.
        stream: Which.
        state: partial or complete.
        bits: One bit a chunk while partial, else None.
        stamp: As it was when its bytes were last known; zeros while partial.
        checked: Its whole-file digests were found right.
    """

    place: Place
    stream: int
    state: str
    bits: bytes | None
    stamp: Stamp
    checked: bool

    def holds(self, chunk: int) -> bool:
        """Whether a chunk is committed."""
        return self.bits is None or is_set(self.bits, chunk)

    def holds_from(self, first: int, count: int) -> int:
        """How many of `count` chunks from `first` on are committed, up to the first that is not."""
        if self.bits is None:
            return count
        return next((start - first for start, _ in clear_runs(self.bits, first, count)), count)


class Contents:
    """Queries and writes on the index's content tables.

    Args:
        index: The index.
        homes: The folder of home places: they are found below it wherever the home is now.
    """

    def __init__(self, index: Index, homes: Path) -> None:
        self._index = index
        self._homes = homes.absolute()
        self._tables: Recent[ContentId, FileTable] = Recent(_CACHED_TABLES)
        self._lists: Recent[tuple[ContentId, int], ChunkList] = Recent(_CACHED_CHUNKS, _weight)

    @property
    def writable(self) -> bool:
        """What is found out may be recorded."""
        return self._index.writable

    # Tables and lists

    def add(self, content: ContentId, table: FileTable, nodes: Sequence[bytes]) -> int:
        """Keep a content's file table and the nodes of its list; return the content's number in the index."""
        with self._index.write() as db:
            db.execute(
                'INSERT OR IGNORE INTO content (id, bytes, files, "table") VALUES (?,?,?,?)',
                (content, table.size, len(table), table.encode()),
            )
            (no,) = db.execute("SELECT no FROM content WHERE id = ?", (content,)).fetchone()
            self._insert_nodes(int(no), 0, nodes)
        self._tables.put(content, table)
        return int(no)

    def has(self, content: ContentId) -> bool:
        """Whether the content's table is held."""
        return self._index.read.execute("SELECT 1 FROM content WHERE id = ?", (content,)).fetchone() is not None

    def number(self, content: ContentId) -> int:
        """Return the number of a content in the index.

        Raises:
            NotFoundError: Its table is not held.
        """
        row = self._index.read.execute("SELECT no FROM content WHERE id = ?", (content,)).fetchone()
        if row is None:
            raise NotFoundError("the content is not held here", hint="Fetch it first.")
        return int(row[0])

    def table_bytes(self, content: ContentId) -> bytes:
        """Return the bytes of the file table."""
        query = 'SELECT "table" FROM content WHERE no = ?'
        return bytes(self._index.read.execute(query, (self.number(content),)).fetchone()[0])

    def table(self, content: ContentId) -> FileTable:
        """Return the file table."""
        found = self._tables.get(content)
        if found is None:
            found = FileTable.decode(self.table_bytes(content))
            self._tables.put(content, found)
        return found

    def add_nodes(self, content: ContentId, stream: int, nodes: Sequence[bytes]) -> None:
        """Keep the verified nodes of a stream's list."""
        self.add_lists(content, {stream: nodes})

    def add_lists(self, content: ContentId, lists: Mapping[int, Sequence[bytes]]) -> None:
        """Keep the verified nodes of several lists, by stream, in one transaction: each costs a sync."""
        no = self.number(content)
        with self._index.write():
            for stream, nodes in lists.items():
                self._insert_nodes(no, stream, nodes)

    def take_list(self, place: Place, stream: int, nodes: Sequence[bytes], chunks: ChunkList, bits: bytes) -> None:
        """Keep a verified list, let its chunks be found, and record the file as begun."""
        with self._index.write():
            self.add_lists(place.content, {stream: nodes})
            self._lists.put((place.content, stream), chunks)
            self.set_partial(place, {stream: bits})
            if len(chunks) <= _ROWS_AT_ONCE:
                self.index_chunks(place.content, [stream])
        if len(chunks) > _ROWS_AT_ONCE:
            self.index_chunks(place.content, [stream])

    def _insert_nodes(self, no: int, stream: int, nodes: Iterable[bytes]) -> None:
        with self._index.write() as db:
            db.executemany(
                "INSERT OR IGNORE INTO node (content, hash, stream, data) VALUES (?,?,?,?)",
                [(no, digest(node), stream, node) for node in nodes],
            )

    def node(self, content: ContentId, node: Digest) -> bytes | None:
        """Return a chunk-list node of this content."""
        query = "SELECT data FROM node JOIN content ON content.no = node.content WHERE content.id = ? AND hash = ?"
        row = self._index.read.execute(query, (content, node)).fetchone()
        return bytes(row[0]) if row else None

    def any_node(self, node: Digest) -> bytes | None:
        """Return a chunk-list node by its hash, from any content: the same file has the same list everywhere."""
        row = self._index.read.execute("SELECT data FROM node WHERE hash = ? LIMIT 1", (node,)).fetchone()
        return bytes(row[0]) if row else None

    def nodes(self, content: ContentId, stream: int) -> list[bytes]:
        """Return the held nodes of a stream's list, in no order."""
        query = "SELECT data FROM node WHERE content = ? AND stream = ?"
        return [bytes(row[0]) for row in self._index.read.execute(query, (self.number(content), stream))]

    def first_nodes(self, content: ContentId, streams: range, most: int, count: int) -> list[bytes]:
        """Return the held nodes of some streams' lists, by stream, up to the first that does not fit.

        Args:
            content: Of which content.
            streams: Of which streams in a row.
            most: Bytes that they may have together.
            count: How many there may be.
        """
        where = (self.number(content), streams[0], streams[-1])
        query = "SELECT {} FROM node WHERE content = ? AND stream BETWEEN ? AND ? ORDER BY stream, hash LIMIT ?"
        sizes = [row[0] for row in self._index.read.execute(query.format("length(data)"), (*where, count))]
        rows = self._index.read.execute(query.format("data"), (*where, _fitting(sizes, most)))
        nodes = [bytes(row[0]) for row in rows]
        return nodes[: _fitting(map(len, nodes), most)]  # other lists may have come in between

    def chunk_list(self, content: ContentId, stream: int) -> ChunkList | None:
        """Return the chunk list of a stream, or None when its nodes are not all held."""
        found = self._lists.get((content, stream))
        if found is None and (found := self._list(content, stream)) is not None:
            self._lists.put((content, stream), found)
        return found

    def list_nodes(self, content: ContentId, stream: int) -> tuple[bytes, ...] | None:
        """Return the nodes of a stream's list, root first; None when they are not all held."""
        filled = self._filled(content, stream)
        return None if filled is None else filled.nodes()

    def _list(self, content: ContentId, stream: int) -> ChunkList | None:
        filled = self._filled(content, stream)
        return None if filled is None else filled.chunks()

    def _filled(self, content: ContentId, stream: int) -> ListVerifier | None:
        verifier = self.verifier(content, stream)
        while wanted := verifier.wanted():
            for name in wanted:
                if (node := self.any_node(name)) is None:
                    return None
                verifier.add(node)
        return verifier

    def verifier(self, content: ContentId, stream: int) -> ListVerifier:
        """Return a verifier that has seen no node yet, for a stream of a held content."""
        if stream == 0:
            return ListVerifier.for_table(content)
        entry = self.table(content)[stream - 1]
        return ListVerifier.for_file(entry.root, entry.size, entry.blake3)

    # Places and files

    def add_place(self, content: ContentId, kind: str, root: Path) -> Place:
        """Record a place, or find it again; it is online from now on."""
        with self._index.write() as db:
            if kind == "home":  # the home may have been moved since
                query = "UPDATE OR IGNORE place SET root = ? WHERE content = ? AND kind = 'home'"
                db.execute(query, (str(root), self.number(content)))
            db.execute(
                "INSERT INTO place (content, kind, root, state) VALUES (?,?,?,'online')"
                " ON CONFLICT (content, root) DO UPDATE SET state = 'online'",
                (self.number(content), kind, str(root)),
            )
        return next(place for place in self.places(content) if place.root == root)

    def places(self, content: ContentId | None = None) -> list[Place]:
        """Return the places of a content, or all."""
        query = "SELECT place.no, content.id, kind, root, state FROM place JOIN content ON content.no = place.content"
        where = ("", ()) if content is None else (" WHERE content.id = ?", (content,))
        rows = self._index.read.execute(query + where[0] + " ORDER BY place.no", where[1])
        return [self._place(*row) for row in rows]

    def _place(self, no: int, content: bytes, kind: str, recorded: str, state: str) -> Place:
        cid = ContentId(content)
        return Place(no, cid, kind, self._homes / format_content(cid) if kind == "home" else Path(recorded), state)

    def set_place_state(self, place: Place, state: str) -> None:
        """Record that a place is online, away or edited."""
        with self._index.write() as db:
            db.execute("UPDATE place SET state = ? WHERE no = ?", (state, place.no))

    def forget_place(self, place: Place) -> None:
        """Forget a place; its files are the caller's affair."""
        with self._index.write() as db:
            db.execute("DELETE FROM file WHERE place = ?", (place.no,))
            db.execute("DELETE FROM place WHERE no = ?", (place.no,))

    def forget(self, content: ContentId) -> None:
        """Forget a content, its lists and its chunks; its places must be forgotten before."""
        if self.places(content):
            raise StoreError("a content with places cannot be forgotten")
        no = self.number(content)
        with self._index.write() as db:
            for table in ("node", "chunk"):
                db.execute(f"DELETE FROM {table} WHERE content = ?", (no,))  # noqa: S608
            db.execute("DELETE FROM content WHERE no = ?", (no,))
        self._tables.forget(lambda key: key == content)
        self._lists.forget(lambda key: key[0] == content)

    def files(self, place: Place, first: int = 1, last: int = limits.MAX_FILES) -> dict[int, HeldFile]:
        """Return the recorded files of a place by stream, from one stream to another."""
        rows = self._index.read.execute(
            f"SELECT {_FILE} FROM file WHERE place = ? AND stream BETWEEN ? AND ? ORDER BY stream",  # noqa: S608
            (place.no, first, last),
        )
        return {row[0]: _held_file(place, row) for row in rows}

    def file(self, place: Place, stream: int) -> HeldFile | None:
        """Return one recorded file of a place."""
        row = self._index.read.execute(
            f"SELECT {_FILE} FROM file WHERE place = ? AND stream = ?",  # noqa: S608
            (place.no, stream),
        ).fetchone()
        return _held_file(place, row) if row else None

    def set_partial(self, place: Place, bits: dict[int, bytes]) -> None:
        """Record the bits of files in progress, by stream, in one transaction."""
        with self._index.write() as db:
            db.executemany(
                "INSERT INTO file (place, stream, state, bits, size, mtime, inode) VALUES (?,?,'partial',?,0,0,0)"
                " ON CONFLICT (place, stream) DO UPDATE SET state = 'partial', bits = excluded.bits, checked = 0",
                [(place.no, stream, data) for stream, data in bits.items()],
            )

    def set_complete(self, place: Place, stamps: dict[int, Stamp], *, checked: bool) -> None:
        """Record files as complete, by stream, in one transaction."""
        if not stamps:
            return
        with self._index.write() as db:
            db.executemany(
                "INSERT INTO file (place, stream, state, bits, size, mtime, inode, checked)"
                " VALUES (?,?,'complete',NULL,?,?,?,?) ON CONFLICT (place, stream) DO UPDATE SET state = 'complete',"
                " bits = NULL, size = excluded.size, mtime = excluded.mtime, inode = excluded.inode,"
                " checked = max(checked, excluded.checked)",
                [(place.no, stream, *_columns(now), checked) for stream, now in stamps.items()],
            )

    def ids(self) -> list[ContentId]:
        """Return the contents whose tables are held."""
        return [ContentId(row[0]) for row in self._index.read.execute("SELECT id FROM content")]

    def place_bytes(self, place: Place) -> tuple[int, list[int]]:
        """Return the bytes of the complete files of a place, and which files are recorded and not complete."""
        db = self._index.read
        query = "SELECT coalesce(sum(size), 0) FROM file WHERE place = ? AND state = 'complete'"
        (total,) = db.execute(query, (place.no,)).fetchone()
        begun = db.execute("SELECT stream FROM file WHERE place = ? AND state != 'complete'", (place.no,)).fetchall()
        return int(total), [stream for (stream,) in begun]

    def forget_file(self, place: Place, stream: int) -> None:
        """Forget one file of a place."""
        with self._index.write() as db:
            db.execute("DELETE FROM file WHERE place = ? AND stream = ?", (place.no, stream))

    def confirm(self, found: Sequence[tuple[HeldFile, Stamp]]) -> None:
        """Record files whose whole digests were found right, with what they look like, in one transaction.

        One that somebody wrote to, or took back, since it was looked at stays as it is recorded now.
        """
        with self._index.write() as db:
            db.executemany(
                "UPDATE file SET checked = 1, size = ?, mtime = ?, inode = ? WHERE place = ? AND stream = ?"
                " AND state = 'complete' AND size = ? AND mtime = ? AND inode = ?",
                [(*_columns(now), held.place.no, held.stream, *_columns(held.stamp)) for held, now in found],
            )

    def doubt(self, place: Place, streams: Sequence[int]) -> None:
        """Let whole digests be checked again, in one transaction: files look like others than those that were known."""
        with self._index.write() as db:
            query = "UPDATE file SET checked = 0 WHERE place = ? AND stream = ?"
            db.executemany(query, [(place.no, stream) for stream in streams])

    def unchecked(self) -> list[tuple[Place, int]]:
        """Return the complete files of places that are online whose whole digests were not checked yet."""
        rows = self._index.read.execute(
            "SELECT place, stream FROM file JOIN place ON place.no = file.place"
            " WHERE file.state = 'complete' AND NOT checked AND place.state = 'online'"
        )
        places = {place.no: place for place in self.places()} if rows else {}
        return [(places[no], stream) for no, stream in rows if no in places]

    def complete_streams(self, place: Place) -> list[int]:
        """Return which files of a place are complete: what `files` tells, at a tenth of the cost."""
        query = "SELECT stream FROM file WHERE place = ? AND state = 'complete'"
        return [row[0] for row in self._index.read.execute(query, (place.no,))]

    def complete_place(self, content: ContentId) -> Place | None:
        """Return a place where a content lies whole and online."""
        files = len(self.table(content))
        places = (place for place in self.places(content) if place.state == "online")
        return next((place for place in places if len(self.complete_streams(place)) == files), None)

    def lose_chunk(self, place: Place, stream: int, chunk: int) -> None:
        """Take the bit of one chunk of a file in progress away; what others recorded meanwhile stays."""
        with self._index.write() as db:
            query = "SELECT bits FROM file WHERE place = ? AND stream = ? AND state = 'partial'"
            row = db.execute(query, (place.no, stream)).fetchone()
            if row is None or row[0] is None or chunk >> 3 >= len(row[0]):
                return
            bits = bytearray(row[0])
            bits[chunk >> 3] &= ~(1 << (chunk & 7))
            db.execute("UPDATE file SET bits = ? WHERE place = ? AND stream = ?", (bytes(bits), place.no, stream))

    # Chunks held anywhere

    def index_chunks(self, content: ContentId, streams: Iterable[int]) -> None:
        """Let the chunks of these streams be found by hash; of equal chunks of one stream few, the first among them."""
        # Few transactions, since each is a sync and there may be 100,000 small files; none so long that others wait.
        batch: list[tuple[int, int, int, int]] = []
        for rows in self._chunk_rows(content, streams):
            batch += rows
            if len(batch) >= _ROWS_AT_ONCE:
                self._insert_chunks(batch)
                batch = []
        if batch:
            self._insert_chunks(batch)

    def _insert_chunks(self, rows: list[tuple[int, int, int, int]]) -> None:
        rows.sort()  # each page of the index is met once
        with self._index.write() as db:
            db.executemany('INSERT OR IGNORE INTO chunk (hash, content, stream, "index") VALUES (?,?,?,?)', rows)

    def _chunk_rows(self, content: ContentId, streams: Iterable[int]) -> Iterator[list[tuple[int, int, int, int]]]:
        no, table = self.number(content), self.table(content)
        for stream in streams:
            size, whole, root = table.facts(stream - 1)
            if whole == root:  # a list of its own would cost as much as the file
                if size:
                    yield [(_short(root), no, stream, 0)]
                continue
            chunks = self.chunk_list(content, stream)
            shorts = [] if chunks is None else _shorts(chunks)
            for start in range(0, len(shorts), _ROWS_AT_ONCE):
                some = shorts[start : start + _ROWS_AT_ONCE]
                first = dict(zip(reversed(some), range(start + len(some) - 1, start - 1, -1), strict=True))
                yield [(short, no, stream, index) for short, index in first.items()]

    def find_chunk(self, chunk: Digest) -> list[tuple[ContentId, int, int]]:
        """Return where a chunk may be held: content, stream, index; a hint, as of `find_chunks`."""
        short = int.from_bytes(chunk[:8], "big", signed=True)
        rows = self._index.read.execute(_FIND.format("?"), (short, 0, 0, _HINTS))
        return [(ContentId(content), stream, index) for _, content, stream, index in rows]

    def find_chunks(
        self, chunks: ChunkList, indexes: Iterable[int], *, besides: tuple[ContentId, int] | None = None
    ) -> Iterator[tuple[int, list[tuple[ContentId, int, int]]]]:
        """Yield those of some chunks of a list that may be held, and where: (content, stream, index).

        It is a hint: the bytes are verified by the reader.

        Args:
            chunks: The list.
            indexes: Which of its chunks; they are taken some hundred at a time, when these are looked for.
            besides: A stream in which they are not looked for.
        """
        wanted = ((index, _short(chunks.hash(index))) for index in indexes)
        no, stream = (self.number(besides[0]), besides[1]) if besides else (0, 0)
        while part := list(itertools.islice(wanted, _ASKED_AT_ONCE)):
            asked = {short for _, short in part}
            query = _FIND.format(",".join("?" * len(asked)))
            rows = self._index.read.execute(query, (*asked, no, stream, _HINTS * len(asked)))
            places: dict[int, list[tuple[ContentId, int, int]]] = {}
            for short, content, found, index in rows:
                places.setdefault(short, []).append((ContentId(content), found, index))
            for number, short in part if places else ():
                if where := places.get(short):
                    yield number, where[:_HINTS]


def _fitting(sizes: Iterable[int], most: int) -> int:
    """Return how many of the first have at most `most` bytes together."""
    return sum(end <= most for end in itertools.accumulate(sizes))


def _weight(chunks: ChunkList) -> int:
    return len(chunks) + 8  # what a list costs that has hardly any chunk


def _shorts(chunks: ChunkList) -> list[int]:
    """Return the first 8 bytes of the hash of each chunk, as the index has them."""
    return [short for (short,) in _SHORTS.iter_unpack(chunks.entries)]


def _short(name: Digest) -> int:
    return int.from_bytes(name[:8], "big", signed=True)


def _held_file(place: Place, row: Sequence[object]) -> HeldFile:
    stream, state, bits, size, mtime, mark, checked = row
    return HeldFile(place, stream, state, bits, Stamp(size, mtime, mark), bool(checked))  # type: ignore[arg-type]


def _columns(known: Stamp) -> tuple[int, int, int]:
    return known.size, known.mtime_ns, known.mark
