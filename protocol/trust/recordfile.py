"""Files of records: bytes in, records out, and back (specs/records.md §16).

    writer = RecordFileWriter()
    data = writer.begin() + writer.publisher(publisher, whole_log(ledger)) + writer.end()

    reader = RecordFileReader()
    for piece in pieces:
        for item in reader.receive(piece): ...
    reader.finish()

Invariants: nothing is buffered but one item, whose length was judged before; what comes out is in the order of the
spec. Nothing is verified here but the layout: items are handed on as soon as they are whole, since what is intact
counts, whatever becomes of the rest of the file.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, final

from blake3 import blake3

from samara.protocol.errors import RecordFileError
from samara.protocol.ids import PublisherId
from samara.protocol.limits import (
    MAX_ENVELOPE,
    MAX_FILE_PUBLISHERS,
    MAX_FORK_PROOF,
    MAX_RECORD_FILE,
    MAX_RECORDS,
    MAX_ROOT_CHAIN,
)
from samara.protocol.ports import LogPage
from samara.protocol.trust.forks import ForkProof

__all__ = ["Item", "Kind", "RecordFileReader", "RecordFileWriter", "decode_item", "encode_item"]

_MAGIC: Final = b"samaraRF"
_VERSION: Final = 1
_FIXED: Final = struct.Struct("<8sI")
_ITEM: Final = struct.Struct("<BI")
_HINT: Final = "what came before was taken; copy the file anew for the rest"


class Kind(enum.IntEnum):
    """What an item is. A publisher's items ascend by it."""

    END = 0
    PUBLISHER = 1
    ROOT = 2
    FORK = 3
    RECORD = 4


_LENGTHS: Final[Mapping[Kind, tuple[int, int]]] = {
    Kind.END: (32, 32),
    Kind.PUBLISHER: (32, 32),
    Kind.ROOT: (1, MAX_ENVELOPE),
    Kind.FORK: (10, MAX_FORK_PROOF),
    Kind.RECORD: (1, MAX_ENVELOPE),
}
"""The least and the most bytes of each kind."""


@final
@dataclass(frozen=True, slots=True)
class Item:
    """A record, or a proof, of a file; not verified.

    Attributes:
        publisher: Of whom it is said to be.
        kind: ROOT, FORK or RECORD.
        data: The envelope, or the proof as `ForkProof.encode` wrote it.
    """

    publisher: PublisherId
    kind: Kind
    data: bytes


@final
class RecordFileWriter:
    """Makes the bytes of a file, one publisher after another."""

    def __init__(self) -> None:
        self._hash = blake3()
        self._size = 0
        self._last = b""
        self._publishers = 0
        self._begin = self._counted(_FIXED.pack(_MAGIC, _VERSION))

    def begin(self) -> bytes:
        """Return the first bytes."""
        return self._begin

    def publisher(self, publisher: PublisherId, log: LogPage) -> bytes:
        """Return the bytes of one publisher.

        Raises:
            ValueError: Its id is not greater than those before, or it has no roots.
            RecordFileError: The file would have more publishers, or bytes, than a reader takes.
        """
        if publisher <= self._last or not log.roots:
            raise ValueError("publishers ascend, and each has its roots")
        self._last, self._publishers = publisher, self._publishers + 1
        parts = [encode_item(Kind.PUBLISHER, publisher)]
        parts += [encode_item(Kind.ROOT, root) for root in log.roots]
        parts += [encode_item(Kind.FORK, ForkProof(*pair).encode()) for pair in log.forks]
        parts += [encode_item(Kind.RECORD, record) for record in (*log.revocations, *log.entries)]
        whole = b"".join(parts)
        room = MAX_RECORD_FILE - self._size - _ITEM.size - 32
        if self._publishers > MAX_FILE_PUBLISHERS or len(whole) > room:
            raise RecordFileError("more records than fit into one file", hint="name the publishers, and write several")
        return self._counted(whole)

    def end(self) -> bytes:
        """Return the last bytes."""
        return encode_item(Kind.END, self._hash.digest())

    def _counted(self, data: bytes) -> bytes:
        self._hash.update(data)
        self._size += len(data)
        return data


@final
class RecordFileReader:
    """Takes the bytes of a file in pieces of any size."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._hash = blake3()
        self._size = 0
        self._begun = False
        self._ended = False
        self._publisher: PublisherId | None = None
        self._kind = Kind.END  # of the last item
        self._publishers = 0
        self._roots = 0
        self._root_bytes = 0

    def receive(self, data: bytes | memoryview) -> Iterator[Item]:
        """Take bytes; yield the records and proofs that they complete. All of it must be iterated over.

        Raises:
            RecordFileError: The file is not laid out as it must be. What was yielded before stands.
        """
        self._size += len(data)
        if self._size > MAX_RECORD_FILE:
            raise RecordFileError(f"a file of records of more than {MAX_RECORD_FILE:,} bytes")
        rest = memoryview(data)
        while rest:
            if self._ended:
                raise RecordFileError("a file of records with something after its end")
            # Only as much as the item needs, so that what lies in the buffer never moves.
            take = min(len(rest), self._due() - len(self._buffer))
            self._buffer += rest[:take]
            rest = rest[take:]
            if len(self._buffer) == self._due():
                item = self._complete()
                if item is not None:
                    yield item

    def finish(self) -> None:
        """Take note that the file ends here.

        Raises:
            RecordFileError: It is cut off.
        """
        if not self._ended:
            raise RecordFileError("the file of records is cut off", hint=_HINT)

    def _due(self) -> int:
        """How long the buffer must be until something can be said: the fixed part, an item's head, or the item."""
        if not self._begun:
            return _FIXED.size
        if len(self._buffer) < _ITEM.size:
            return _ITEM.size
        _, length = self._head()
        return _ITEM.size + length

    def _head(self) -> tuple[Kind, int]:
        number, length = _ITEM.unpack_from(self._buffer)
        try:
            kind = Kind(number)
        except ValueError:
            raise RecordFileError(f"an item of kind {number}, which is none", hint=_HINT) from None
        low, high = _LENGTHS[kind]
        if not low <= length <= high:
            raise RecordFileError(f"a {kind.name.lower()} of {length} bytes: has {low} to {high}", hint=_HINT)
        self._check_order(kind)
        return kind, length

    def _check_order(self, kind: Kind) -> None:
        after_roots = self._kind >= Kind.ROOT
        if kind is Kind.ROOT:
            fits = self._kind in (Kind.PUBLISHER, Kind.ROOT)
        elif kind in (Kind.FORK, Kind.RECORD):
            fits = after_roots and kind >= self._kind
        else:
            fits = after_roots or self._publisher is None
        if not fits:
            raise RecordFileError(f"a {kind.name.lower()} where none may be", hint=_HINT)

    def _complete(self) -> Item | None:
        if not self._begun:
            self._begin()
            return None
        kind, _ = self._head()
        data = bytes(memoryview(self._buffer)[_ITEM.size :])
        if kind is Kind.END:
            if data != self._hash.digest():
                raise RecordFileError("the file of records is damaged", hint=_HINT)
            self._ended = True
            return None
        self._hash.update(self._buffer)
        self._buffer.clear()
        self._kind = kind
        if kind is Kind.PUBLISHER:
            self._next_publisher(data)
            return None
        if kind is Kind.ROOT:
            self._count_root(len(data))
        assert self._publisher is not None  # noqa: S101 - the order has seen to it
        return Item(self._publisher, kind, data)

    def _begin(self) -> None:
        magic, version = _FIXED.unpack(self._buffer)
        if magic != _MAGIC:
            raise RecordFileError("this is no file of records")
        if version != _VERSION:
            raise RecordFileError(f"a file of records of version {version}", hint="it needs a newer Samara")
        self._hash.update(self._buffer)
        self._buffer.clear()
        self._begun = True

    def _next_publisher(self, data: bytes) -> None:
        if self._publisher is not None and data <= self._publisher:
            raise RecordFileError("publishers out of order: only strictly ascending is canonical", hint=_HINT)
        self._publishers += 1
        if self._publishers > MAX_FILE_PUBLISHERS:
            raise RecordFileError(f"a file of records of more than {MAX_FILE_PUBLISHERS:,} publishers")
        self._publisher = PublisherId(data)
        self._roots = self._root_bytes = 0

    def _count_root(self, size: int) -> None:
        self._roots += 1
        self._root_bytes += size
        if self._roots > MAX_ROOT_CHAIN or self._root_bytes > MAX_RECORDS:
            raise RecordFileError("a publisher with more roots, or longer ones, than a chain may have", hint=_HINT)


def encode_item(kind: Kind, data: bytes) -> bytes:
    """Return the bytes of one item, as they stand in a file and in a message of gossip."""
    return _ITEM.pack(kind, len(data)) + data


def decode_item(publisher: PublisherId, data: bytes) -> Item:
    """Return the one record, root or proof that stands alone without a file around it; not verified.

    Args:
        publisher: Of whom it is said to be.
        data: What `encode_item` has written.

    Raises:
        RecordFileError: It is not exactly one of these.

    Source: specs/gossip.md, "Data".
    """
    if len(data) < _ITEM.size:
        raise RecordFileError("an item that is cut off")
    number, length = _ITEM.unpack_from(data)
    if number not in (Kind.ROOT, Kind.FORK, Kind.RECORD):
        raise RecordFileError(f"an item of kind {number}, which cannot stand alone")
    kind = Kind(number)
    low, high = _LENGTHS[kind]
    if not low <= length <= high or length != len(data) - _ITEM.size:
        raise RecordFileError(f"a {kind.name.lower()} of {length} bytes in {len(data)}")
    return Item(publisher, kind, data[_ITEM.size :])
