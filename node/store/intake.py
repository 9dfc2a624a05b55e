"""A content on its way into one place (implements `samara.protocol.ports.Intake`; specs/store.md, "Order of writes").

Invariants:
- Bytes are verified before they are written, and synced before their bits are recorded.
- A file appears at its path only when all of it is committed, and never over another file.
- After an error of a sync nothing of that sync is believed, and it is not tried again.

`put` may be called from several threads at once; `commit`, `add_list` and `finish` exclude each other.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from samara.node.store.contents import Contents, Place
from samara.node.store.files import (
    Stamp,
    ensure_folder,
    free_bytes,
    make_read_only,
    move_into_place,
    open_for_writing,
    os_errors,
    preallocate,
    remove_file,
    stamp,
    sync_data,
    sync_folder,
    write_at,
)
from samara.node.store.reader import Reader, progress_path
from samara.node.store.scan import scan_file
from samara.protocol.chunklist import ChunkList, verify_list
from samara.protocol.errors import ChunkError, DiskFullError, StoreError
from samara.protocol.ids import ContentId, Digest, digest
from samara.protocol.ports import StreamNeed
from samara.protocol.table import FileEntry

__all__ = ["Room", "StoreIntake"]

_MAX_OPEN: Final = 64
"""Files of one intake that are open at once: systems allow 256 to 1,024 a process."""


@dataclass(frozen=True, slots=True)
class Room:
    """What an intake may take.

    Attributes:
        floor: Bytes that stay free on the place's filesystem.
        quota: Bytes that all home places may still grow by; None is no quota.
    """

    floor: int
    quota: int | None


@dataclass(slots=True)
class _File:
    """One wanted file that is not complete."""

    stream: int
    entry: FileEntry
    bits: bytearray
    fd: int | None = None
    missing: int = 0
    pending: set[int] = field(default_factory=set)
    writers: int = 0  # threads that are writing to `fd`: it must not be closed


class StoreIntake:
    """Takes the wanted files of a content into a place.

    Args:
        contents: The index's contents; the table and its nodes are there already.
        reader: For chunks that are already held.
        place: Where to.
        wanted: Streams, ≥ 1.
        room: How much may be taken.

    Raises:
        DiskFullError: There is no room for what is missing.
        StoreError: A different file is in the way.
    """

    def __init__(self, contents: Contents, reader: Reader, place: Place, wanted: Iterable[int], room: Room) -> None:
        self._contents = contents
        self._reader = reader
        self._place = place
        self._wanted = sorted(wanted)
        self._lock = threading.RLock()
        self._written = threading.Condition(self._lock)  # a writer is done with its file
        self._writing = threading.Lock()
        self._files: dict[int, _File] = {}
        self.pending_bytes = 0
        """Bytes that were put and not committed."""
        with os_errors(f"cannot write to {place.root}"):
            ensure_folder(place.root, [".samara"])
        self._open(room)

    @property
    def content(self) -> ContentId:
        """What is coming in."""
        return self._place.content

    @property
    def place(self) -> Place:
        """Where it goes."""
        return self._place

    def _open(self, room: Room) -> None:
        known = self._contents.files(self._place)
        table = self._contents.table(self.content)
        for stream in self._wanted:
            held = known.get(stream)
            if held is not None and held.state == "complete" and self._is_there(stream, held.stamp):
                continue
            entry = table[stream - 1]
            if self._adopt(stream, entry):
                continue
            bits = held.bits if held and held.bits and progress_path(self._place.root, stream).exists() else None
            self._files[stream] = _File(stream, entry, bytearray(bits or b""))
        self._check_room(room)
        self._finish_files([file for file in self._files.values() if file.entry.size == 0])
        for file in list(self._files.values()):
            if (chunks := self._contents.chunk_list(self.content, file.stream)) is not None:
                self._begin(file, chunks)
        self._finish_files([file for file in self._files.values() if file.bits and not file.missing])

    def _is_there(self, stream: int, known: Stamp) -> bool:
        try:
            status = os.lstat(self._target(stream))
        except OSError:
            return False
        return (status.st_size, status.st_mtime_ns, status.st_ino) == (known.size, known.mtime_ns, known.inode)

    def _adopt(self, stream: int, entry: FileEntry) -> bool:
        """Take a file that is at its path already, if it is the right one."""
        target = self._target(stream)
        if not os.path.lexists(target):
            return False
        different = StoreError(
            f"{target} exists and is a different file", hint="Move it away, or choose another folder with --to."
        )
        if target.is_symlink() or not target.is_file() or target.stat().st_size != entry.size:
            raise different
        with os_errors(f"cannot read {target}"), open(target, "rb", buffering=0) as file:
            scanned = scan_file(file.fileno(), entry.size)
            if scanned.blake3 != entry.blake3:
                raise different
            now = stamp(file.fileno())
        if scanned.nodes and scanned.root == entry.root:
            self._contents.add_nodes(self.content, stream, scanned.nodes)
        self._contents.set_complete(self._place, {stream: now}, checked=True)
        self._contents.index_chunks(self.content, [stream])
        remove_file(progress_path(self._place.root, stream))
        return True

    def _check_room(self, room: Room) -> None:
        needed = sum(
            file.entry.size
            for file in self._files.values()
            if not progress_path(self._place.root, file.stream).exists()
        )
        free = free_bytes(self._place.root) - room.floor
        if needed > free:
            raise DiskFullError(
                f"{needed:,} bytes are needed on the disk of {self._place.root}, {max(free, 0):,} may be used"
                f" (a floor of {room.floor:,} stays free)",
                hint="Free some room, choose another disk with --to, or lower store.floor in config.toml.",
            )
        if self._place.kind == "home" and room.quota is not None and needed > room.quota:
            raise DiskFullError(
                f"{needed:,} bytes are needed, and the quota leaves {max(room.quota, 0):,}",
                hint="Run samara gc, or raise store.quota in config.toml.",
            )

    # What is asked for

    def needs(self) -> list[StreamNeed]:
        """Return the wanted files that are not complete, by stream."""
        with self._lock:
            return [self._need(file) for file in self._files.values()]

    def missing(self, stream: int) -> list[int]:
        """Return the chunks of a listed stream that are neither committed nor put, ascending."""
        with self._lock:
            file = self._files.get(stream)
            return [] if file is None else self._missing(file)

    def _missing(self, file: _File) -> list[int]:
        chunks = self._contents.chunk_list(self.content, file.stream)
        count = len(chunks) if chunks is not None else 0
        return [i for i in range(count) if not file.bits[i >> 3] >> (i & 7) & 1 and i not in file.pending]

    def _need(self, file: _File) -> StreamNeed:
        chunks = self._contents.chunk_list(self.content, file.stream)
        count = len(chunks) if chunks is not None else 0
        entry = file.entry
        return StreamNeed(
            file.stream, entry.path, entry.size, entry.root, chunks is not None, count, self._missing(file)
        )

    def node(self, node: Digest) -> bytes | None:
        """Return a chunk-list node that is already held here, from this or any other content."""
        return self._contents.any_node(node)

    def add_list(self, stream: int, nodes: Sequence[bytes]) -> StreamNeed:
        """Take the nodes of a file's chunk list.

        Raises:
            NodeError: They are not the list that the table names.
        """
        with self._lock:
            file = self._files[stream]
            verify_list(self._contents.verifier(self.content, stream), nodes)
            self._contents.add_nodes(self.content, stream, nodes)
            chunks = self._contents.chunk_list(self.content, stream)
            if chunks is None:
                raise StoreError(f"the chunk list of {file.entry.path} was not kept")
            self._contents.index_chunks(self.content, [stream])
            self._begin(file, chunks)
            return self._need(file)

    def _begin(self, file: _File, chunks: ChunkList) -> None:
        length = (len(chunks) + 7) // 8
        if len(file.bits) != length:
            file.bits = bytearray(length)
        done = int.from_bytes(file.bits, "little").bit_count()
        file.missing = len(chunks) - done
        if not done:
            self._contents.set_partial(self._place, {file.stream: bytes(file.bits)})

    def reuse(self, stream: int, budget: int) -> int:
        """Copy chunks of a listed stream that are held anywhere, up to about `budget` bytes.

        Returns:
            Bytes copied; 0 when nothing more of it is held.
        """
        file = self._files.get(stream)
        missing = self.missing(stream)
        chunks = self._contents.chunk_list(self.content, stream)
        if file is None or chunks is None:
            return 0
        copied = 0
        for index in missing:
            if copied >= budget:
                break
            for where in self._contents.find_chunk(chunks.hash(index)):
                found = self._reader.read(*where, 1)
                if found and digest(found[0]) == chunks.hash(index):
                    self.put(stream, index, found[0])
                    copied += len(found[0])
                    break
        return copied

    # What comes in

    def put(self, stream: int, index: int, data: bytes | bytearray | memoryview) -> None:
        """Verify one chunk and write it in its place; it is believed after the next `commit`.

        Raises:
            ChunkError: The bytes are wrong; nothing was written.
            DiskFullError: No room; what is committed stays.
        """
        chunks = self._contents.chunk_list(self.content, stream)
        file = self._files.get(stream)
        if chunks is None or stream not in self._wanted or not 0 <= index < len(chunks):
            raise StoreError(f"chunk {index} of stream {stream} is not wanted")
        if len(data) != chunks.length(index) or digest(data) != chunks.hash(index):
            raise ChunkError(f"chunk {index} of {self._target(stream)} is not what its list says")
        if file is None:  # in the end two peers may send the same chunk: the file is whole already
            return
        with self._writer(file, index) as fd:
            if fd is not None:
                write_at(fd, data, chunks.offset(index))

    @contextlib.contextmanager
    def _writer(self, file: _File, index: int) -> Iterator[int | None]:
        """Yield a descriptor that stays open for the block, then let the chunk be committed.

        None when the chunk is there already: a file that is whole must not be touched, nor a descriptor that is
        another file's by now.
        """
        with os_errors(f"cannot write {file.entry.path}"):
            with self._lock:
                if self._files.get(file.stream) is not file or self._has(file, index):
                    yield None
                    return
                fd = self._descriptor(file)
                file.writers += 1
            try:
                yield fd
            except BaseException:
                self._end_write(file)
                raise
            self._end_write(file, index)

    def _end_write(self, file: _File, index: int | None = None) -> None:
        with self._lock:
            file.writers -= 1
            if index is not None and not self._has(file, index):
                chunks = self._contents.chunk_list(self.content, file.stream)
                file.pending.add(index)
                self.pending_bytes += chunks.length(index) if chunks is not None else 0
            self._written.notify_all()

    def _has(self, file: _File, index: int) -> bool:
        return index in file.pending or bool(file.bits[index >> 3] >> (index & 7) & 1)

    def _descriptor(self, file: _File) -> int:
        with self._lock:
            if file.fd is None:
                path = progress_path(self._place.root, file.stream)
                ensure_folder(self._place.root, [".samara"])
                file.fd = open_for_writing(path)
                preallocate(file.fd, file.entry.size)
            return file.fd

    def commit(self) -> None:
        """Sync what was put, then record it; files that are whole move to their paths.

        Raises:
            StoreError: The disk failed; what was not recorded is missing again.
        """
        with self._writing:
            with self._lock:
                taken = {f.stream: (f, f.pending) for f in self._files.values() if f.pending}
                for file, _ in taken.values():
                    file.pending = set()
                self.pending_bytes = 0
            if not taken:
                return
            with os_errors(f"cannot sync to {self._place.root}"):
                for file, _ in taken.values():
                    if file.fd is not None:
                        sync_data(file.fd)
            with self._lock:
                for file, indexes in taken.values():
                    self._drop_spoilt(file)
                    for index in indexes:
                        file.missing -= not file.bits[index >> 3] >> (index & 7) & 1
                        file.bits[index >> 3] |= 1 << (index & 7)
                self._contents.set_partial(self._place, {s: bytes(f.bits) for s, (f, _) in taken.items()})
                whole = [file for file, _ in taken.values() if not file.missing]
                self._written.wait_for(lambda: not any(file.writers for file in whole))
                self._finish_files(whole)
                self._close_some()

    def _drop_spoilt(self, file: _File) -> None:
        """A reader may have found a committed chunk wrong, and taken its bit away: then it is missing here too."""
        held = self._contents.file(self._place, file.stream)
        if held is None or held.bits is None or len(held.bits) != len(file.bits):
            return
        lost = int.from_bytes(file.bits, "little") & ~int.from_bytes(held.bits, "little")
        if lost:
            file.bits[:] = (int.from_bytes(file.bits, "little") & ~lost).to_bytes(len(file.bits), "little")
            file.missing += lost.bit_count()

    def _finish_files(self, whole: Sequence[_File]) -> None:
        stamps: dict[int, Stamp] = {}
        folders: set[Path] = set()
        with os_errors(f"cannot finish files in {self._place.root}"):
            for file in whole:
                fd = self._descriptor(file)
                *parts, _name = file.entry.path.split("/")
                folders.add(ensure_folder(self._place.root, parts))
                target = self._target(file.stream)
                make_read_only(fd, progress_path(self._place.root, file.stream))
                move_into_place(progress_path(self._place.root, file.stream), target)
                stamps[file.stream] = stamp(fd)
                os.close(fd)
                file.fd = None
            for folder in folders:
                sync_folder(folder)
        if stamps:
            self._contents.set_complete(self._place, stamps, checked=False)
            self._contents.index_chunks(self.content, [f.stream for f in whole if f.entry.root == f.entry.blake3])
        for file in whole:
            del self._files[file.stream]

    def _close_some(self) -> None:
        files = self._files.values()
        still = [file for file in files if file.fd is not None and not file.pending and not file.writers]
        for file in still[: max(0, len(still) - _MAX_OPEN)]:
            os.close(file.fd or 0)
            file.fd = None

    def finish(self) -> str:
        """Return the absolute path of the content, once every wanted file lies at its path.

        Raises:
            StoreError: Something wanted is still missing.
        """
        self.commit()
        with self._lock:
            if self._files:
                raise StoreError(f"{len(self._files)} files are not complete yet")
        with contextlib.suppress(OSError):
            (self._place.root / ".samara").rmdir()
        single = len(self._contents.table(self.content)) == 1
        return str(self._target(1) if single else self._place.root)

    def close(self) -> None:
        """Commit what was put and let the files go; the intake can be opened again later."""
        try:
            self.commit()
        finally:
            with self._lock:
                self._written.wait_for(lambda: not any(file.writers for file in self._files.values()))
                for file in self._files.values():
                    if file.fd is not None:
                        os.close(file.fd)
                        file.fd = None

    def _target(self, stream: int) -> Path:
        entry = self._contents.table(self.content)[stream - 1]
        return self._place.root.joinpath(*entry.path.split("/"))
