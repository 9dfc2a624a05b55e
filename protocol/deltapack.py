"""Delta packs: the payloads that make one content out of another, with what verifies it, in one file (specs/deltas.md).

    head   ids, and the lengths of what follows; the target's records, table and chunk-list nodes; entries
    rest   the payloads, in the order of their entries

A pack is read from its head: `head_size` says how long that is, `decode` parses it. Payloads stay in the file.

Invariants: what `decode` returns fits together and fits its file; whether its publisher signed what the records say,
and whether payloads lead to the target's chunks, others find out. An entry costs 93 bytes of memory.
"""

from __future__ import annotations

import itertools
import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, final

from samara.protocol.encodings.codec import Encoding
from samara.protocol.errors import DeltaError
from samara.protocol.ids import ContentId, Digest
from samara.protocol.limits import (
    MAX_CHUNK,
    MAX_DELTA_HEAD,
    MAX_ENVELOPE,
    MAX_FILES,
    MAX_RECORDS,
    MAX_ROOT_CHAIN,
    MAX_STREAM_CHUNKS,
)
from samara.protocol.ports import Records

__all__ = ["FIXED", "PackEntries", "PackEntry", "PackHead", "decode", "encode", "entries_of", "head_size"]

_MAGIC: Final = b"samaraDP"
_VERSION: Final = 1
_FIXED: Final = struct.Struct("<8sI32s32sIIII")
_ENTRY: Final = struct.Struct("<IIIB32s32s")
_KEYS: Final = struct.Struct("<II69x")
_LENGTHS: Final = struct.Struct("<8xI65x")
_LENGTH: Final = struct.Struct("<I")
_COUNTS: Final = struct.Struct("<II")
_NONE: Final = bytes(32)
_LEAST_NODE: Final = 60
"""Bytes of the smallest chunk-list node (specs/content.md §6.2)."""

FIXED: Final = _FIXED.size
"""Bytes at the beginning of a pack, by which `head_size` says how long its head is."""


@final
@dataclass(frozen=True, slots=True)
class PackEntry:
    """One payload.

    Attributes:
        stream: Of which file of the target.
        index: Of which chunk of that file.
        length: Bytes of the payload.
        encoding: How it is encoded; 0 is raw.
        base: Hash of the chunk of the base to which it is a delta, or None.
        payload_hash: Its BLAKE3.
    """

    stream: int
    index: int
    length: int
    encoding: int
    base: Digest | None
    payload_hash: Digest


@final
class PackEntries:
    """The entries of a pack, by what they are of, and where their payloads lie.

    Args:
        data: 77 bytes an entry, checked.
        start: Where in the file the first payload begins.
    """

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self._keys = array("Q", (stream << 32 | index for stream, index in _KEYS.iter_unpack(data)))
        lengths = (length for (length,) in _LENGTHS.iter_unpack(data))
        self._offsets = array("Q", itertools.accumulate(lengths, initial=start))

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[PackEntry]:
        return map(self.entry, range(len(self)))

    @property
    def end(self) -> int:
        """Where the last payload ends."""
        end: int = self._offsets[-1]
        return end

    def entry(self, number: int) -> PackEntry:
        """Return an entry by its number in the pack."""
        stream, index, length, encoding, base, payload_hash = _ENTRY.unpack_from(self._data, number * _ENTRY.size)
        return PackEntry(stream, index, length, encoding, None if base == _NONE else base, payload_hash)

    def offset(self, number: int) -> int:
        """Return where in the file the payload of an entry begins."""
        offset: int = self._offsets[number]
        return offset

    def find(self, stream: int, index: int) -> int | None:
        """Return the number of the entry of a chunk, or None."""
        key = stream << 32 | index
        number = bisect_left(self._keys, key)
        return number if number < len(self) and self._keys[number] == key else None

    def of_stream(self, stream: int) -> range:
        """Return the numbers of the entries of a file."""
        return range(bisect_left(self._keys, stream << 32), bisect_left(self._keys, (stream + 1) << 32))

    def index(self, number: int) -> int:
        """Return of which chunk of its file an entry is."""
        key: int = self._keys[number]
        return key & 0xFFFFFFFF

    def counts(self) -> Iterator[tuple[int, int]]:
        """Yield each file that has entries, and how many."""
        for stream, found in itertools.groupby(self._keys, lambda key: key >> 32):
            yield stream, sum(1 for _ in found)


@final
@dataclass(frozen=True, slots=True)
class PackHead:
    """The head of a pack.

    Attributes:
        target: What it leads to.
        base: What it starts from.
        records: The records of the target's release, not verified.
        table: The target's file table, not verified.
        nodes: The nodes of the lists of its files, not verified.
        entries: What the payloads are.
    """

    target: ContentId
    base: ContentId
    records: Records
    table: bytes
    nodes: tuple[bytes, ...]
    entries: PackEntries


def head_size(fixed: bytes) -> int:
    """Return the bytes of the head of which these are the first `FIXED`.

    Raises:
        DeltaError: It is none, or too long.
    """
    if len(fixed) < FIXED or fixed[:8] != _MAGIC:
        raise DeltaError("this is no delta pack")
    _magic, version, _target, _base, records, table, nodes, entries = _FIXED.unpack_from(fixed)
    if version != _VERSION:
        raise DeltaError(f"a delta pack of version {version}", hint="Is this Samara older than the publisher's?")
    size: int = FIXED + records + table + nodes + entries * _ENTRY.size
    if records > MAX_RECORDS or size > MAX_DELTA_HEAD:
        raise DeltaError(f"a delta pack with a head of {size:,} bytes: at most {MAX_DELTA_HEAD:,}")
    return size


def decode(data: bytes, size: int) -> PackHead:
    """Parse the head of a pack.

    Args:
        data: All of the head.
        size: Bytes of the whole file.

    Raises:
        DeltaError: It breaks a rule that can be held against it alone.

    Source: specs/deltas.md §3, §5.
    """
    if len(data) != head_size(data[:FIXED]):
        raise DeltaError(f"the head of a delta pack is cut off after {len(data)} bytes")
    _magic, _version, target, base, records, table, nodes, _count = _FIXED.unpack_from(data)
    if target == base:
        raise DeltaError("a delta pack from a content to itself")
    parts, at = [], FIXED
    for length in (records, table, nodes):
        parts.append(data[at : at + length])
        at += length
    entries = PackEntries(data[at:], len(data))
    _check(entries)
    if entries.end != size:
        raise DeltaError(f"a delta pack of {size:,} bytes whose payloads end at {entries.end:,}")
    found = _records(parts[0])
    return PackHead(ContentId(target), ContentId(base), found, parts[1], tuple(_cut(parts[2], _LEAST_NODE)), entries)


def encode(
    target: ContentId,
    base: ContentId,
    records: Records,
    table: bytes,
    nodes: Sequence[bytes],
    entries: Iterable[PackEntry],
) -> bytes:
    """Return the head of a pack; the payloads follow it in the order of the entries.

    Raises:
        DeltaError: It would be too long: the target has too many files or chunks for a pack.
    """
    told = _COUNTS.pack(len(records.roots), records.head is not None)
    envelopes = [*records.roots, records.release, *([] if records.head is None else [records.head])]
    told += b"".join(_LENGTH.pack(len(envelope)) + envelope for envelope in envelopes)
    listed = b"".join(_LENGTH.pack(len(node)) + node for node in nodes)
    rows = entries_of(entries)
    count = len(rows) // _ENTRY.size
    fixed = _FIXED.pack(_MAGIC, _VERSION, target, base, len(told), len(table), len(listed), count)
    head_size(fixed)
    return b"".join((fixed, told, table, listed, rows))


def entries_of(entries: Iterable[PackEntry]) -> bytes:
    """Return entries as they stand in a pack."""
    return b"".join(
        _ENTRY.pack(each.stream, each.index, each.length, each.encoding, each.base or _NONE, each.payload_hash)
        for each in entries
    )


def _check(entries: PackEntries) -> None:
    before = (0, 0)
    for entry in entries:
        where = entry.stream, entry.index
        if where <= before:
            raise DeltaError("a delta pack with entries out of order, or two of one chunk")
        if not (1 <= entry.stream <= MAX_FILES and entry.index < MAX_STREAM_CHUNKS):
            raise DeltaError(f"a delta pack with an entry of chunk {entry.index} of file {entry.stream}")
        if not 1 <= entry.length <= MAX_CHUNK:
            raise DeltaError(f"a delta pack with a payload of {entry.length} bytes: 1 to {MAX_CHUNK}")
        if entry.encoding not in Encoding.__members__.values():
            raise DeltaError(f"a delta pack with a payload in the encoding {entry.encoding}")
        if (entry.base is not None) != (entry.encoding == Encoding.DELTA):
            raise DeltaError("a delta pack with a payload that has a base and is no delta, or has none and is one")
        before = where


def _records(data: bytes) -> Records:
    if len(data) < _COUNTS.size:
        raise DeltaError("a delta pack without records")
    roots, head = _COUNTS.unpack_from(data)
    envelopes = list(_cut(data[_COUNTS.size :], 1))
    if not 1 <= roots <= MAX_ROOT_CHAIN or head > 1 or len(envelopes) != roots + 1 + head:
        raise DeltaError(f"a delta pack with {len(envelopes)} envelopes that states {roots} roots")
    if max(map(len, envelopes)) > MAX_ENVELOPE:
        raise DeltaError(f"a delta pack with an envelope of more than {MAX_ENVELOPE} bytes")
    return Records(tuple(envelopes[:roots]), envelopes[roots], envelopes[-1] if head else None)


def _cut(data: bytes, least: int) -> Iterator[bytes]:
    """Cut what is written as lengths and bytes, each of at least so many."""
    at = 0
    while at < len(data):
        if at + _LENGTH.size > len(data):
            raise DeltaError("a delta pack with a part that is cut off")
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if not least <= length <= len(data) - at:
            raise DeltaError(f"a delta pack with a piece of {length} bytes where {len(data) - at} are left")
        yield data[at : at + length]
        at += length
