"""Chunk lists: which chunks a stream of bytes consists of, as a tree of content-addressed nodes (specs/content.md §6).

Building goes from chunks to nodes and a root; `ListVerifier` goes from a trusted root to chunks, top-down, and believes
nothing that the root does not reach. The flat result, `ChunkList`, is 44 bytes a chunk however large the file.

Invariants: only the canonical tree is accepted, so a list of chunks has exactly one root; equal nodes are held, sent
and asked for once, wherever they stand; counts are checked before anything is multiplied out, so two nodes that repeat
each other cannot become a terabyte.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final, final

from samara.protocol.errors import NodeError
from samara.protocol.ids import ContentId, Digest, digest
from samara.protocol.limits import (
    MAX_CHUNK,
    MAX_NODE_ENTRIES,
    MAX_NODE_LEVEL,
    MAX_STREAM_CHUNKS,
    MAX_TABLE,
)

__all__ = ["EMPTY_DIGEST", "BuiltList", "ChunkList", "ListVerifier", "Node", "build_list", "verify_list"]

EMPTY_DIGEST: Final = digest(b"")
"""Root of an empty file: it has no chunk and no node."""

_MAGIC: Final = b"samaraCL"
_VERSION: Final = 1
_HEAD: Final = struct.Struct("<8sBBHIQ")
_LEAF: Final = struct.Struct("<32sI")
_INNER: Final = struct.Struct("<32sQ")
_LEAF_LENGTHS: Final = struct.Struct("<32xI")
_INNER_LENGTHS: Final = struct.Struct("<32xQ")


@final
class ChunkList:
    """The chunks of one stream, in order: hash, length and offset of each.

    Args:
        entries: 36 bytes a chunk, as in a leaf: hash (32), length (u32, little-endian). Lengths are 1 to `MAX_CHUNK`;
            who built or verified the list has made sure of that.
    """

    __slots__ = ("_entries", "_offsets")

    def __init__(self, entries: bytes) -> None:
        self._entries = entries
        lengths = (length for (length,) in _LEAF_LENGTHS.iter_unpack(entries))
        self._offsets: array[int] = array("Q", accumulate(lengths, initial=0))

    @classmethod
    def of(cls, chunks: Iterable[tuple[bytes, int]]) -> ChunkList:
        """Make a list of hashes and lengths (1 to `MAX_CHUNK` bytes)."""
        return cls(b"".join(_LEAF.pack(*chunk) for chunk in chunks))

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChunkList) and self._entries == other._entries

    def __hash__(self) -> int:
        return hash(self._entries)

    @property
    def size(self) -> int:
        """Bytes of the stream."""
        return self._offsets[-1]

    @property
    def entries(self) -> bytes:
        """The entries as they were given, 36 bytes each."""
        return self._entries

    def hash(self, index: int) -> Digest:
        """Return the id of a chunk.

        Raises:
            IndexError: There is no such chunk.
        """
        at = self._check(index) * _LEAF.size
        return Digest(self._entries[at : at + 32])

    def length(self, index: int) -> int:
        """Return the bytes of a chunk.

        Raises:
            IndexError: There is no such chunk.
        """
        return self._offsets[self._check(index) + 1] - self._offsets[index]

    def offset(self, index: int) -> int:
        """Return where in the stream a chunk begins, in bytes.

        Raises:
            IndexError: There is no such chunk.
        """
        return self._offsets[self._check(index)]

    def lengths(self, first: int, count: int) -> list[int]:
        """Return the bytes of each of `count` chunks from `first` on; fewer where the list ends."""
        offsets = self._offsets[first : first + count + 1]
        return [end - start for start, end in pairwise(offsets)]

    def bytes_of(self, first: int, count: int) -> int:
        """Return the bytes of `count` chunks from `first` on; fewer where the list ends."""
        return self._offsets[min(first + count, len(self))] - self._offsets[first]

    def fitting(self, first: int, count: int, most: int) -> int:
        """Return how many of `count` chunks from `first` on have at most `most` bytes together."""
        last = min(first + count, len(self))
        return max(0, bisect_right(self._offsets, self._offsets[first] + most, first, last + 1) - 1 - first)

    def count_right(self, data: memoryview, first: int, count: int) -> int:
        """Return how many of `count` chunks from `first` on are right, up to the first that is not.

        Args:
            data: Their bytes, one after another; where it ends early, what is missing is not right.
            first: The first of them.
            count: How many.

        Raises:
            IndexError: There are not so many.
        """
        self._check(first)
        self._check(first + count - 1)
        base, size = self._offsets[first], _LEAF.size
        entries = self._entries
        start = 0
        for index, offset in enumerate(self._offsets[first + 1 : first + count + 1], first):
            end = offset - base
            if digest(data[start:end]) != entries[index * size : index * size + 32]:
                return index - first
            start = end
        return count

    def alike(self, first: int, other: ChunkList, there: int, count: int) -> int:
        """Return how many chunks from `first` on, at most `count`, are those of another list from `there` on."""
        size = _LEAF.size
        ours = self._entries[first * size : (first + count) * size]
        theirs = other._entries[there * size : (there + count) * size]
        if ours == theirs:
            return len(ours) // size
        same, most = 0, min(len(ours), len(theirs)) // size
        while same < most:
            middle = (same + most + 1) // 2
            if ours[same * size : middle * size] == theirs[same * size : middle * size]:
                same = middle
            else:
                most = middle - 1
        return same

    def at(self, offset: int) -> int:
        """Return the index of the chunk that holds the byte at `offset`.

        Raises:
            IndexError: The stream has no such byte.
        """
        if not 0 <= offset < self.size:
            raise IndexError(f"byte {offset} of a stream of {self.size}")
        return bisect_right(self._offsets, offset) - 1

    def _check(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"chunk {index} of {len(self)}")
        return index


@final
@dataclass(frozen=True, slots=True)
class Node:
    """One node of a chunk list, parsed and in itself sound.

    Attributes:
        level: 0 for a leaf, else levels above the leaves.
        profile: Number of the chunking profile, ≥ 1.
        length: Bytes of the stream below it: the sum of its entries.
        entries: Its entries, as they stand in the node.
    """

    level: int
    profile: int
    length: int
    entries: bytes

    @property
    def count(self) -> int:
        """How many entries it has."""
        return len(self.entries) // _entry(self.level).size

    def children(self) -> Iterator[tuple[Digest, int]]:
        """Yield hash and length of each entry: a chunk's of a leaf, a subtree's of an inner node."""
        for child, length in _entry(self.level).iter_unpack(self.entries):
            yield Digest(child), length

    def encode(self) -> bytes:
        """Return the bytes of the node; their hash is its name."""
        return _HEAD.pack(_MAGIC, _VERSION, self.level, self.profile, self.count, self.length) + self.entries

    @classmethod
    def decode(cls, data: bytes) -> Node:
        """Parse a node by itself; whether it belongs where it is used, `ListVerifier` says.

        Raises:
            NodeError: Not the encoding of any canonical node.

        Source: specs/content.md §6.2.
        """
        if len(data) < _HEAD.size:
            raise NodeError(f"a chunk-list node of {len(data)} bytes: its head alone has {_HEAD.size}")
        magic, version, level, profile, count, length = _HEAD.unpack_from(data)
        if magic != _MAGIC or version != _VERSION:
            raise NodeError("not a chunk-list node of version 1", hint="Is this Samara older than the publisher's?")
        if level > MAX_NODE_LEVEL or profile == 0:
            raise NodeError(f"a chunk-list node of level {level} and profile {profile}")
        if not 1 + (level > 0) <= count <= MAX_NODE_ENTRIES:
            raise NodeError(f"a chunk-list node of level {level} with {count} entries")
        if len(data) != _HEAD.size + count * _entry(level).size:
            raise NodeError(f"a chunk-list node of {len(data)} bytes that states {count} entries")
        entries = data[_HEAD.size :]
        _check_lengths(level, length, entries)
        return cls(level, profile, length, entries)


@final
@dataclass(frozen=True, slots=True)
class BuiltList:
    """A chunk list that was made here.

    Attributes:
        root: Its root; by this the file table names it.
        nodes: Encoded nodes, the root first, equal ones once; none for a file of at most one chunk.
        chunks: The chunks.
    """

    root: Digest
    nodes: tuple[bytes, ...]
    chunks: ChunkList


def build_list(chunks: Iterable[tuple[bytes, int]] | ChunkList, *, profile: int, table: bool = False) -> BuiltList:
    """Build the canonical list of a stream.

    Args:
        chunks: Hash and length (1 to `MAX_CHUNK` bytes) of each chunk, in order.
        profile: The chunking profile by which they were cut.
        table: The stream is a file table, whose root is a node even when it has one chunk.

    Raises:
        NodeError: More chunks than a list may have.

    Source: specs/content.md §6.
    """
    flat = chunks if isinstance(chunks, ChunkList) else ChunkList.of(chunks)
    if len(flat) > MAX_STREAM_CHUNKS:
        raise NodeError(f"a file of {len(flat)} chunks: at most {MAX_STREAM_CHUNKS}", hint="Split the file.")
    if len(flat) == 0:
        return BuiltList(EMPTY_DIGEST, (), flat)
    if len(flat) == 1 and not table:
        return BuiltList(flat.hash(0), (), flat)
    levels = [_level(0, profile, flat.entries)]
    while len(levels[-1]) > 1:
        entries = b"".join(_INNER.pack(digest(node.encode()), node.length) for node in levels[-1])
        levels.append(_level(len(levels), profile, entries))
    nodes = tuple(dict.fromkeys(node.encode() for level in reversed(levels) for node in level))
    return BuiltList(digest(nodes[0]), nodes, flat)


@dataclass(frozen=True, slots=True)
class _Promise:
    """What the root says of a leaf before it is seen.

    Attributes:
        length: Bytes below it.
        full: It is not the last leaf (or not only the last), so it has all the entries that fit.
    """

    length: int
    full: bool


@final
class ListVerifier:
    """Takes the nodes of a list as they arrive, and says which are wanted next.

    Make one by `for_file` or `for_table`. A refused node changes nothing: another peer may be asked for the right one.
    """

    def __init__(self, root: Digest, size: int | None, chunks: ChunkList | None = None) -> None:
        self._root = root
        self._size = size  # None for a file table, whose root node states it
        self._flat = chunks
        self._nodes: dict[Digest, tuple[bytes, Node]] = {}
        self._order: list[Digest] = []  # the leaves in the order of the stream, equal ones as often as they stand
        self._promises: dict[Digest, _Promise] = {}  # of the leaves that are wanted
        self._wants_root = chunks is None

    @classmethod
    def for_file(cls, root: Digest, size: int, whole: Digest) -> ListVerifier:
        """Begin with what the file table says of a file.

        Args:
            root: Its root.
            size: Its bytes.
            whole: BLAKE3 of the whole file: equal to the root when the file is one chunk, or empty.

        Raises:
            NodeError: Root, size and hash contradict each other.
        """
        if root != whole and size > 0:
            return cls(root, size)
        if root != whole or (size == 0) != (root == EMPTY_DIGEST) or not 0 <= size <= MAX_CHUNK:
            raise NodeError(f"a file of {size} bytes cannot have this root: it contradicts its size or its hash")
        return cls(root, size, ChunkList.of([(root, size)] if size else []))

    @classmethod
    def for_table(cls, content: ContentId) -> ListVerifier:
        """Begin with a content id: the list of a file table, which always has a node and states its own length."""
        return cls(Digest(content), None)

    def wanted(self) -> list[Digest]:
        """Return the nodes that are needed and not here, each once, in the order of the stream; empty when complete."""
        return [self._root] if self._wants_root else list(self._promises)

    @property
    def complete(self) -> bool:
        """Every node is here."""
        return not self._wants_root and not self._promises

    def add(self, data: bytes) -> None:
        """Take a wanted node.

        Raises:
            NodeError: It is not wanted (unknown, or here already), malformed, or not what its place asks for.

        Source: specs/content.md §6.3.
        """
        name = digest(data)
        if self._wants_root and name == self._root:
            node = Node.decode(data)
            self._take_root(node)
        elif name in self._promises:
            node = Node.decode(data)
            self._check_leaf(node, self._promises[name])
            del self._promises[name]
        else:
            raise NodeError("a chunk-list node that nobody asked for", hint="It is wrong, or it came twice.")
        self._nodes[name] = (data, node)

    def nodes(self) -> tuple[bytes, ...]:
        """Return the nodes that are here, the root first and then in the order of the stream, equal ones once."""
        names = dict.fromkeys([self._root, *self._order])
        return tuple(self._nodes[name][0] for name in names if name in self._nodes)

    def chunks(self) -> ChunkList:
        """Return the flat list.

        Raises:
            NodeError: Nodes are missing.
        """
        if not self.complete:
            raise NodeError(f"a chunk list with {len(self.wanted())} nodes missing")
        if self._flat is None:
            leaves = self._order or [self._root]
            self._flat = ChunkList(b"".join(self._nodes[leaf][1].entries for leaf in leaves))
        return self._flat

    def _take_root(self, node: Node) -> None:
        table = self._size is None
        if node.length > MAX_TABLE if table else node.length != self._size:
            raise NodeError(f"a chunk list of {node.length} bytes for a stream of {self._size or MAX_TABLE} bytes")
        if node.level == 0 and node.count == 1 and not table:
            raise NodeError("a chunk list of one chunk: that chunk's hash would be the root")
        if node.level > 0:
            self._promises = _promises(node)
            self._order = [child for child, _ in node.children()]
        self._wants_root = False

    def _check_leaf(self, node: Node, promise: _Promise) -> None:
        root = self._nodes[self._root][1]
        if node.level != 0:
            raise NodeError(f"a chunk-list node of level {node.level} where a leaf is due")
        if node.profile != root.profile:
            raise NodeError(f"a chunk list of profiles {root.profile} and {node.profile}")
        if node.length != promise.length:
            raise NodeError(f"a chunk-list node for {node.length} bytes where {promise.length} are due")
        if promise.full and node.count != MAX_NODE_ENTRIES:
            raise NodeError(f"a chunk-list node with {node.count} entries that is not the last of its level")


def verify_list(verifier: ListVerifier, nodes: Sequence[bytes]) -> ChunkList:
    """Verify a whole list at once, its nodes in any order.

    Args:
        verifier: A fresh one, or one that was partly filled.
        nodes: All the nodes that it lacks, each once.

    Raises:
        NodeError: A node is wrong, missing, unasked for or repeated.
    """
    waiting = {digest(node): node for node in nodes}
    if len(waiting) != len(nodes):
        raise NodeError("a chunk list with a node twice")
    while waiting and (known := [name for name in verifier.wanted() if name in waiting]):
        for name in known:
            verifier.add(waiting.pop(name))
    if waiting:
        raise NodeError(f"a chunk list with {len(waiting)} nodes that do not belong to it")
    return verifier.chunks()


def _promises(root: Node) -> dict[Digest, _Promise]:
    """Return what an inner root says of its leaves, by leaf."""
    # All leaves but the last are full, so the root alone bounds the chunks from below, before any leaf is fetched.
    least = (root.count - 1) * MAX_NODE_ENTRIES + 1
    if least > MAX_STREAM_CHUNKS:
        raise NodeError(f"a chunk list of at least {least} chunks: at most {MAX_STREAM_CHUNKS}")
    promises: dict[Digest, _Promise] = {}
    for index, (child, length) in enumerate(root.children()):
        full = index + 1 < root.count
        before = promises.setdefault(child, _Promise(length, full))
        if before.length != length:
            raise NodeError("a chunk list that gives one node two lengths")
    return promises


def _level(level: int, profile: int, entries: bytes) -> list[Node]:
    """Cut the entries of one level into nodes, left to right."""
    step = MAX_NODE_ENTRIES * _entry(level).size
    pieces = (entries[at : at + step] for at in range(0, len(entries), step))
    return [Node(level, profile, sum(_lengths(level, piece)), piece) for piece in pieces]


def _check_lengths(level: int, length: int, entries: bytes) -> None:
    """Check that each length is possible and that they add up; a chunk's length is known before it is fetched."""
    most = MAX_CHUNK if level == 0 else MAX_CHUNK * MAX_NODE_ENTRIES**level
    lengths = _lengths(level, entries)
    if min(lengths) < 1 or max(lengths) > most:
        raise NodeError(f"a chunk-list node with an entry of {min(lengths)} or {max(lengths)} bytes: 1 to {most}")
    if sum(lengths) != length:
        raise NodeError(f"a chunk-list node that states {length} bytes and whose entries add up to {sum(lengths)}")


def _lengths(level: int, entries: bytes) -> list[int]:
    form = _INNER_LENGTHS if level else _LEAF_LENGTHS
    return [length for (length,) in form.iter_unpack(entries)]


def _entry(level: int) -> struct.Struct:
    return _INNER if level else _LEAF
