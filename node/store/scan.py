"""One pass over a file: size, BLAKE3, SHA-256, chunks and chunk list, as fast as SHA-256 alone.

The calling thread reads into a few reused buffers. Three workers take each buffer in order: one for SHA-256, which is
the slowest and sets the pace, one for BLAKE3 of the whole, one that cuts and hashes chunks. All of it releases the GIL.

Invariants: memory is `_BUFFERS` buffers and the growing list, whatever the file; the file is read, never mapped (a
mapping of a file that shrinks kills the process); a file that changes under the scan is an error and never a wrong
result; no worker outlives the call.
"""

from __future__ import annotations

import hashlib
import os
import queue
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from blake3 import blake3

from samara.node.store.files import read_at
from samara.protocol.chunking.profile import PROFILE, Cutter, Kind, Layout, layout
from samara.protocol.chunklist import ChunkList, build_list
from samara.protocol.errors import StoppedError, StoreError
from samara.protocol.ids import Digest
from samara.protocol.limits import MAX_FILE, MIB

__all__ = ["ScannedFile", "scan_chunks", "scan_file"]

_BLOCK: Final = 4 * MIB
"""Bytes of one buffer: large enough that handing it over costs nothing, small enough to stay in a cache."""

_BUFFERS: Final = 6
"""Buffers in flight: the workers may be apart by this much before the reader waits."""

_ENTRY: Final = struct.Struct("<32sI")


@final
@dataclass(frozen=True, slots=True)
class ScannedFile:
    """All that a file table says of a file, and its chunk list.

    Attributes:
        size: Bytes.
        blake3: BLAKE3-256 of the whole file.
        sha256: SHA-256 of the whole file.
        chunks: The chunks, in order.
        nodes: The nodes of the chunk list, the root first; none for a file of at most one chunk.
        root: Root of the chunk list.
        kind: What the chunking rule took the file for.
    """

    size: int
    blake3: Digest
    sha256: bytes
    chunks: ChunkList
    nodes: tuple[bytes, ...]
    root: Digest
    kind: Kind


def scan_file(
    fd: int,
    size: int,
    *,
    on_progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ScannedFile:
    """Read a file once and say all that publishing needs to know of it. Blocks.

    Args:
        fd: A descriptor that is open for reading and stays so; its position may be moved.
        size: Bytes of the file, as it was found.
        on_progress: Called from this thread with the bytes read since the last call, some hundred times a second.
        cancelled: Asked as often; True ends the scan.

    Raises:
        StoreError: The file changed while it was read, or has too many chunks or bytes.
        StoppedError: `cancelled` said so.
        OSError: The file cannot be read.
    """
    if size > MAX_FILE:
        raise StoreError(f"a file of {size} bytes: at most {MAX_FILE}")
    before = _stamp(fd)
    plan = layout(size, lambda offset, length: _pread(fd, offset, length))
    hasher = _Hasher(plan)
    if size <= _BLOCK:
        _scan_here(fd, size, hasher, on_progress or _ignore, cancelled or _never)
    else:
        _Pipeline(fd, size, hasher).run(on_progress or _ignore, cancelled or _never)
    if before != _stamp(fd) or before[0] != size:
        raise _changed()
    return hasher.result(size, plan)


def scan_chunks(fd: int, size: int, *, cancelled: Callable[[], bool] | None = None) -> ChunkList:
    """Read a file once and say which chunks it consists of, in the calling thread: about twice as fast as `scan_file`.

    Args:
        fd: A descriptor that is open for reading; its position may be moved.
        size: Bytes of the file, as it was found.
        cancelled: Asked some hundred times a second; True ends the scan.

    Raises:
        StoreError: The file changed while it was read, or has too many bytes.
        StoppedError: `cancelled` said so.
        OSError: The file cannot be read.
    """
    if size > MAX_FILE:
        raise StoreError(f"a file of {size} bytes: at most {MAX_FILE}")
    before = _stamp(fd)
    hasher = _ChunkHasher(layout(size, lambda offset, length: _pread(fd, offset, length)))
    block = memoryview(bytearray(min(size, _BLOCK)))
    for offset in range(0, size, _BLOCK):
        if cancelled is not None and cancelled():
            raise _stopped()
        part = block[: min(_BLOCK, size - offset)]
        if read_at(fd, part, offset) != len(part):
            raise _changed()
        hasher.feed(part)
    if before != _stamp(fd) or before[0] != size:
        raise _changed()
    return ChunkList(bytes(hasher.entries))


@final
class _Hasher:
    """The three sums of a pass. Each is fed blocks in order; different ones may be fed from different threads."""

    def __init__(self, plan: Layout) -> None:
        self._sha256 = hashlib.sha256()
        self._whole = blake3()
        self._chunks = _ChunkHasher(plan)
        self.feeds: tuple[Callable[[memoryview], object], ...] = (
            self._sha256.update,
            self._whole.update,
            self._chunks.feed,
        )

    def result(self, size: int, plan: Layout) -> ScannedFile:
        chunks = ChunkList(bytes(self._chunks.entries))
        built = build_list(chunks, profile=PROFILE)
        whole = Digest(self._whole.digest())
        return ScannedFile(size, whole, self._sha256.digest(), chunks, built.nodes, built.root, plan.kind)


@final
class _ChunkHasher:
    """Cuts blocks into chunks and hashes each.

    What is not cut yet at the end of a block (less than a chunk) is carried over to the next by copying.
    """

    def __init__(self, plan: Layout) -> None:
        self._cutter = Cutter(plan)
        self._carry = bytearray()
        self._at = 0  # end of the last chunk, in the file
        self.entries = bytearray()

    def feed(self, block: memoryview) -> None:
        start = 0
        for end in self._cutter.feed(block):
            length = end - self._at
            hasher = blake3()
            if self._carry:
                hasher.update(self._carry[:length])
                length -= min(length, len(self._carry))
                del self._carry[: end - self._at]
            hasher.update(block[start : start + length])
            start += length
            self.entries += _ENTRY.pack(hasher.digest(), end - self._at)
            self._at = end
        self._carry += block[start:]


@final
class _Worker(threading.Thread):
    """Feeds one sum, block by block. Says None for each block that it is done with, or what went wrong, once."""

    def __init__(self, feed: Callable[[memoryview], object]) -> None:
        super().__init__(name="samara-scan", daemon=True)
        self._feed = feed
        self.blocks: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        self.done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def run(self) -> None:
        """Work until a None is found in `blocks`."""
        try:
            while (block := self.blocks.get()) is not None:
                self._feed(block)
                self.done.put(None)
        except BaseException as error:  # handed over: the reader raises it
            self.done.put(error)


@final
class _Pipeline:
    """Reads a file in the calling thread, a few buffers ahead of the workers."""

    def __init__(self, fd: int, size: int, hasher: _Hasher) -> None:
        self._fd = fd
        self._size = size
        self._buffers = [memoryview(bytearray(_BLOCK)) for _ in range(_BUFFERS)]
        self._workers = [_Worker(feed) for feed in hasher.feeds]

    def run(self, on_progress: Callable[[int], None], cancelled: Callable[[], bool]) -> None:
        for worker in self._workers:
            worker.start()
        try:
            for number, offset in enumerate(range(0, self._size, _BLOCK)):
                if cancelled():
                    raise _stopped()
                if number >= _BUFFERS:
                    self._await_block()
                self._read(self._buffers[number % _BUFFERS], offset)
                on_progress(min(_BLOCK, self._size - offset))
            for _ in range(min(_BUFFERS, -(-self._size // _BLOCK))):
                self._await_block()
        finally:
            for worker in self._workers:
                worker.blocks.put(None)
            for worker in self._workers:
                worker.join()

    def _read(self, buffer: memoryview, offset: int) -> None:
        block = buffer[: min(_BLOCK, self._size - offset)]
        if read_at(self._fd, block, offset) != len(block):
            raise _changed()
        for worker in self._workers:
            worker.blocks.put(block)

    def _await_block(self) -> None:
        """Wait until every worker is done with the oldest block that is in flight."""
        for worker in self._workers:
            if (error := worker.done.get()) is not None:
                raise error


def _scan_here(
    fd: int, size: int, hasher: _Hasher, on_progress: Callable[[int], None], cancelled: Callable[[], bool]
) -> None:
    """Scan a small file without threads: they cost more than they bring."""
    if cancelled():
        raise _stopped()
    block = memoryview(bytearray(size))
    if read_at(fd, block, 0) != size:
        raise _changed()
    for feed in hasher.feeds:
        feed(block)
    on_progress(size)


def _pread(fd: int, offset: int, length: int) -> bytes:
    data = bytearray(length)
    count = read_at(fd, memoryview(data), offset)
    return bytes(memoryview(data)[:count])


def _stamp(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_size, status.st_mtime_ns


def _changed() -> StoreError:
    return StoreError("a file changed while it was read", hint="Publish it again when nothing writes to it.")


def _stopped() -> StoppedError:
    return StoppedError("reading a file was stopped")


def _ignore(_: int) -> None:
    pass


def _never() -> bool:
    return False
