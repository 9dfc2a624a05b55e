"""The file table: what a content consists of, and the id that the same bytes always have (specs/content.md §7).

A table is kept as its bytes, and entries are read when asked for: a million files cost their table and 8 bytes each.

Invariants: a `FileTable` is canonical, because nothing else can be made: names are checked, sorted and free of clashes,
sizes add up, and digests do not contradict sizes. Whether a file really has its digests, only its chunks can prove.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, final

from samara.protocol.chunking.profile import PROFILE, cut_bytes, generic
from samara.protocol.chunklist import EMPTY_DIGEST, BuiltList, build_list
from samara.protocol.errors import PathError, TableError
from samara.protocol.ids import ContentId, Digest, digest, sha256
from samara.protocol.limits import MAX_CHUNK, MAX_FILE, MAX_FILES, MAX_PATH, MAX_TABLE
from samara.protocol.paths import check_path, check_set

__all__ = ["FileEntry", "FileTable", "check_table", "content_id", "list_table", "verify_table"]

_MAGIC: Final = b"samaraFT"
_VERSION: Final = 1
_HEAD: Final = struct.Struct("<8sHHIQ")
_NAME: Final = struct.Struct("<H")
_FACTS: Final = struct.Struct("<Q32s32s32s")
_EMPTY_SHA256: Final = sha256(b"")


@final
@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a content.

    Attributes:
        path: Its path, relative to the content's folder, parts separated by `/`.
        size: Bytes.
        blake3: BLAKE3-256 of the whole file.
        sha256: SHA-256 of the whole file.
        root: Root of its chunk list; equal to `blake3` when the file is one chunk.
    """

    path: str
    size: int
    blake3: Digest
    sha256: bytes
    root: Digest

    @property
    def is_single(self) -> bool:
        """It is one chunk, or empty: its root is its own hash, and it has no chunk-list node."""
        return self.root == self.blake3


@final
class FileTable:
    """The files of one content, in the order of their paths' bytes. Make one by `of` or `decode`.

    Files are counted from 0 here; as a stream of the content, file `i` is number `i + 1`.
    """

    __slots__ = ("_data", "_size", "_starts")

    def __init__(self, data: bytes, starts: array[int], size: int) -> None:
        self._data = data
        self._starts = starts
        self._size = size

    @classmethod
    def of(cls, entries: Iterable[FileEntry]) -> FileTable:
        """Make the table of some files, given in any order.

        Raises:
            PathError: A path is unsafe, or two clash.
            TableError: No file, too many, or an entry that cannot be true.
        """
        ordered = sorted(entries, key=lambda entry: entry.path.encode("utf-8", "surrogatepass"))
        for entry in ordered:
            check_path(entry.path)
        total = sum(entry.size for entry in ordered)
        if any(entry.size < 0 for entry in ordered) or total > MAX_FILE or len(ordered) > MAX_FILES:
            raise TableError(f"a content of {len(ordered)} files and {total} bytes")
        if any((len(e.blake3), len(e.sha256), len(e.root)) != (32, 32, 32) for e in ordered):
            raise TableError("a digest that does not have 32 bytes")
        head = _HEAD.pack(_MAGIC, _VERSION, 0, len(ordered), total)
        # Decoding is the one place that knows what a table must be.
        return cls.decode(head + b"".join(_encode(entry) for entry in ordered))

    @classmethod
    def decode(cls, data: bytes) -> FileTable:
        """Parse a table; only the canonical form is accepted.

        Raises:
            TableError: Malformed, not canonical, or with entries that cannot be true.
            PathError: A path is unsafe, or two clash.

        Source: specs/content.md §7.
        """
        if not _HEAD.size <= len(data) <= MAX_TABLE:
            raise TableError(f"a file table of {len(data)} bytes: {_HEAD.size} to {MAX_TABLE}")
        magic, version, reserved, count, total = _HEAD.unpack_from(data)
        if magic != _MAGIC or version != _VERSION:
            raise TableError("not a file table of version 1", hint="Is this Samara older than the publisher's?")
        if reserved != 0 or not 1 <= count <= MAX_FILES or total > MAX_FILE:
            raise TableError(f"a file table of {count} files and {total} bytes, reserved {reserved}")
        starts, size = _walk(data, count)
        if size != total:
            raise TableError(f"a file table that states {total} bytes and whose files add up to {size}")
        table = cls(data, starts, total)
        check_set(_name_at(data, start).decode() for start in starts)
        return table

    def encode(self) -> bytes:
        """Return the bytes of the table."""
        return self._data

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return self._size

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> FileEntry:
        """Return file `index`, counted from 0.

        Raises:
            IndexError: There is no such file.
        """
        return _entry_at(self._data, self._start(index))

    def path(self, index: int) -> str:
        """Return the path of file `index`, counted from 0.

        Raises:
            IndexError: There is no such file.
        """
        return _name_at(self._data, self._start(index)).decode()

    def facts(self, index: int) -> tuple[int, Digest, Digest]:
        """Return size, BLAKE3 and root of file `index`, counted from 0: what an entry says, at a fifth of its cost.

        Raises:
            IndexError: There is no such file.
        """
        end = self._starts[index + 1] if 0 <= index < len(self._starts) - 1 else self._end(index)
        size, blake3, _sha256, root = _FACTS.unpack_from(self._data, end - _FACTS.size)
        return size, blake3, root

    def sha256(self, index: int) -> bytes:
        """Return the SHA-256 of file `index`, counted from 0.

        Raises:
            IndexError: There is no such file.
        """
        end = self._end(index)
        return self._data[end - 64 : end - 32]

    def sizes(self) -> array[int]:
        """Return the bytes of each file."""
        return array("Q", (self.facts(index)[0] for index in range(len(self))))

    def _end(self, index: int) -> int:
        return _end_of(self._data, self._start(index))

    def _start(self, index: int) -> int:
        if not 0 <= index < len(self._starts):
            raise IndexError(f"file {index} of {len(self._starts)}")
        return self._starts[index]

    def __iter__(self) -> Iterator[FileEntry]:
        return (_entry_at(self._data, start) for start in self._starts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileTable) and self._data == other._data

    def __hash__(self) -> int:
        return hash(self._data)

    def find(self, path: str) -> int | None:
        """Return the index of the file with exactly this path, or None."""
        wanted = path.encode("utf-8", "surrogatepass")
        low, high = 0, len(self._starts)
        while low < high:
            middle = (low + high) // 2
            name = _name_at(self._data, self._starts[middle])
            if name == wanted:
                return middle
            low, high = (middle + 1, high) if name < wanted else (low, middle)
        return None


def list_table(data: bytes) -> BuiltList:
    """Return the chunk list of a file table's bytes; its root is the content id.

    Source: specs/content.md §7.3.
    """
    start = 0
    chunks: list[tuple[bytes, int]] = []
    for end in cut_bytes(data, generic(len(data))):
        chunks.append((digest(memoryview(data)[start:end]), end - start))
        start = end
    return build_list(chunks, profile=PROFILE, table=True)


def content_id(table: FileTable) -> ContentId:
    """Return the id of a content: the same for the same files under the same names, whoever asks."""
    return ContentId(list_table(table.encode()).root)


def check_table(table: FileTable, content: ContentId) -> None:
    """Check that a table is the one that a content id names.

    Raises:
        TableError: It is another one, or not cut into chunks by profile 1, so that the same bytes had two ids.
    """
    if content_id(table) != content:
        raise TableError("a file table that is not the one its content id names")


def verify_table(data: bytes, content: ContentId) -> FileTable:
    """Parse the table of a content, as it came from outside.

    Raises:
        TableError: Not a canonical table, or not the one of this content (`check_table`).
        PathError: A path is unsafe, or two clash.
    """
    table = FileTable.decode(data)
    check_table(table, content)
    return table


def _walk(data: bytes, count: int) -> tuple[array[int], int]:
    """Check the entries one by one; return where each begins, and what their sizes add up to."""
    starts: array[int] = array("Q")
    at, total, before = _HEAD.size, 0, b""
    for _ in range(count):
        end = _end_of(data, at)
        name = data[at + _NAME.size : end - _FACTS.size]
        if name <= before:
            raise TableError("a file table that is not sorted by path, or with a path twice")
        starts.append(at)
        total += _check_entry(name, *_FACTS.unpack_from(data, end - _FACTS.size))
        at, before = end, name
    if at != len(data):
        raise TableError(f"a file table with {len(data) - at} bytes after its last entry")
    return starts, total


def _end_of(data: bytes, at: int) -> int:
    if at + _NAME.size > len(data):
        raise TableError("a file table that ends before its last entry")
    (length,) = _NAME.unpack_from(data, at)
    if not 1 <= length <= MAX_PATH:
        raise PathError(f"a path of {length} bytes: 1 to {MAX_PATH}")
    end: int = at + _NAME.size + length + _FACTS.size
    if end > len(data):
        raise TableError("a file table that ends in the middle of an entry")
    return end


def _check_entry(name: bytes, size: int, blake3: bytes, sha: bytes, root: bytes) -> int:
    """Check that an entry's path is safe and its facts can be true; return its size."""
    try:
        path = name.decode()
    except UnicodeDecodeError:
        raise PathError("a path that is not UTF-8") from None
    check_path(path)
    if size > MAX_FILE:
        raise TableError(f"a file of {size} bytes: at most {MAX_FILE}")
    empty = (blake3 == EMPTY_DIGEST, sha == _EMPTY_SHA256, root == EMPTY_DIGEST)
    if empty != (size == 0,) * 3:
        raise TableError(f"the size and the hashes of {path!a} contradict each other")
    if size > MAX_CHUNK and root == blake3:
        raise TableError(f"{path!a} is too large to be one chunk, as its root says")
    return size


def _encode(entry: FileEntry) -> bytes:
    name = entry.path.encode()
    return _NAME.pack(len(name)) + name + _FACTS.pack(entry.size, entry.blake3, entry.sha256, entry.root)


def _name_at(data: bytes, at: int) -> bytes:
    (length,) = _NAME.unpack_from(data, at)
    return data[at + _NAME.size : at + _NAME.size + length]


def _entry_at(data: bytes, at: int) -> FileEntry:
    name = _name_at(data, at)
    size, blake3, sha, root = _FACTS.unpack_from(data, at + _NAME.size + len(name))
    return FileEntry(name.decode(), size, Digest(blake3), sha, Digest(root))
