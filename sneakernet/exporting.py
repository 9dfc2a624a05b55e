"""Export: a release from a store to a stick, read back before it counts (specs/stick.md §4).

What lies on the stick already and is right is not written again, so a cut-off export goes on where it was. The commit
record is deleted before the first byte that changes and written after the last byte was read back.

Invariants: nothing is written before everything is known to be allowed and to fit; bytes come verified from the store,
and are compared with their chunk's hash again when they come back from the stick.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from samara.protocol import limits
from samara.protocol.chunklist import ChunkList, ListVerifier, verify_list
from samara.protocol.errors import (
    DiskFullError,
    LicenseError,
    NotFoundError,
    SamaraError,
    StickError,
    StoreError,
    UsageError,
)
from samara.protocol.ids import ReleaseId, digest, format_record
from samara.protocol.ports import Library
from samara.protocol.records import VerifiedRelease
from samara.protocol.table import FileEntry, FileTable, verify_table
from samara.sneakernet.layout import (
    MARK,
    README,
    README_TEXT,
    TOP,
    Commit,
    FileNames,
    Part,
    ReleaseNames,
    encode_mark,
    is_mark,
    label_of,
    split,
    sums_of,
)
from samara.sneakernet.media import Stick, StickFile
from samara.sneakernet.runs import runs
from samara.sneakernet.steps import Cancelled, Steps, Watch

__all__ = ["Exported", "export_release"]

_LENGTH: Final = struct.Struct("<I")
_SLACK: Final = limits.MIB
"""Bytes beyond the files that a filesystem needs for its own tables."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export did.

    Attributes:
        release: The release.
        label: Its label on the stick.
        path: The folder of its files there.
        bytes: Bytes of its files.
        written: Bytes of them that were written; the others were there and right.
    """

    release: ReleaseId
    label: str
    path: Path
    bytes: int
    written: int


def export_release(
    library: Library,
    release: ReleaseId,
    folder: Path,
    *,
    yes: bool = False,
    part_size: int = limits.STICK_PART,
    on_progress: Watch | None = None,
    cancelled: Cancelled | None = None,
) -> Exported:
    """Write a release to a stick, or go on with it. Blocks.

    Args:
        library: The store that holds it whole.
        release: Which.
        folder: The stick: the folder in which `samara/` lies or is made. It must exist.
        yes: The user may hand it on, although the publisher did not say that others may.
        part_size: Bytes above which a file is split, 64 KiB to 4 GiB less one.
        on_progress: Is told how far it is, in this thread.
        cancelled: Says whether to stop.

    Raises:
        NotFoundError: The store does not know the release, or there is no such folder.
        LicenseError: It may not be handed on, and `yes` is not given.
        StoreError: The store lacks something of it; `samara/` is something else; the stick failed.
        DiskFullError: No room.
        ReadOnlyError: The stick cannot be written.
        StickError: Something is in the way, or bytes do not come back as they were written.
        StoppedError: `cancelled` said so.
        UsageError: `part_size` is out of bounds.

    Source: specs/stick.md §4.
    """
    if not limits.MIN_STICK_PART <= part_size <= limits.MAX_STICK_PART:
        raise UsageError(f"parts of {part_size} bytes: {limits.MIN_STICK_PART} to {limits.MAX_STICK_PART} are possible")
    source = _Source.of(library, release)
    if not source.verified.release.redistribute and not yes:
        raise LicenseError(
            f"{source.verified.release.name} may not be passed on: its publisher said no",
            hint="If you have the right to hand it on, say so with --yes.",
        )
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}", hint="Is the stick in, and mounted?")
    return _Export(source, Stick(folder), part_size, Steps(on_progress, cancelled)).run()


@dataclass(frozen=True, slots=True)
class _Source:
    """A release in the store, with what all of the export needs of it."""

    library: Library
    verified: VerifiedRelease
    envelopes: tuple[bytes, ...]
    release: bytes
    head: bytes | None
    table_bytes: bytes
    table: FileTable

    @classmethod
    def of(cls, library: Library, release: ReleaseId) -> _Source:
        records = library.records(release)
        if records is None:
            raise NotFoundError(f"release {format_record(release)} is not known here", hint="See samara ls.")
        verified = library.verify_records(records, expected=release)
        content = verified.release.content
        nodes = library.nodes(content, 0)
        if nodes is None:
            raise _lacking(verified, "its file table")
        chunks = verify_list(ListVerifier.for_table(content), nodes)
        data = bytearray()
        first = 0
        while first < len(chunks):
            found = library.read(content, 0, first, limits.MAX_RUN)
            if not found:
                raise _lacking(verified, "its file table")
            data += b"".join(found)
            first += len(found)
        table = verify_table(bytes(data), content)
        return cls(library, verified, records.roots, records.release, records.head, bytes(data), table)

    def nodes(self, stream: int) -> tuple[bytes, ...]:
        """The nodes of a stream, root first."""
        found = self.library.nodes(self.verified.release.content, stream)
        if found is None:
            raise _lacking(self.verified, self.table[stream - 1].path if stream else "its file table")
        return tuple(found)

    def chunks(self, stream: int) -> ChunkList:
        """The chunk list of a file."""
        entry = self.table[stream - 1]
        return verify_list(ListVerifier.for_file(entry.root, entry.size, entry.blake3), self.nodes(stream))

    def all_nodes(self) -> Iterator[bytes]:
        """What `nodes` holds on the stick, node by node."""
        for stream in range(len(self.table) + 1):
            for node in self.nodes(stream):
                yield _LENGTH.pack(len(node)) + node


def _lacking(verified: VerifiedRelease, what: str) -> SamaraError:
    return StoreError(
        f"{what} of {verified.release.name} is not whole here, or was changed",
        hint="See samara verify; samara fetch brings what is missing.",
    )


class _Export:
    """One run of an export."""

    def __init__(self, source: _Source, stick: Stick, part_size: int, steps: Steps) -> None:
        self._source = source
        self._stick = stick
        self._steps = steps
        self._names = ReleaseNames(label_of(source.verified))
        self._before = self._look_at_stick()
        self._commit = Commit(
            source.verified.id,
            roots=len(source.envelopes),
            head=source.head is not None,
            nodes=sum(map(len, source.all_nodes())),
            part_size=self._before.part_size if self._before is not None else part_size,
        )
        self._files = FileNames(self._names, source.table, self._commit.part_size)
        self._written: list[str] = []
        self._written_bytes = 0
        self._touched = False

    def run(self) -> Exported:
        said = self._source.verified.release
        self._check_room()
        self._steps.begin("writing", said.bytes)
        self._make_top()
        self._visit(write=True)
        if self._touched or self._before != self._commit:
            self._stick.sync(self._written)
            self._steps.begin("reading back", said.bytes)
            self._visit(write=False)
            self._write_commit()
        return Exported(
            self._source.verified.id,
            self._names.label,
            self._stick.where(self._names.files),
            said.bytes,
            self._written_bytes,
        )

    # Before anything is written

    def _look_at_stick(self) -> Commit | None:
        """Return the commit record that is there; None when there is none, or one that was cut short."""
        mark = self._stick.read(MARK, most=limits.MAX_STICK_MARK)
        if mark is None or not is_mark(mark):
            names = self._stick.names(TOP, most=limits.MAX_STICK_RELEASES)
            if set(names or ()) - {MARK.partition("/")[2], README.partition("/")[2]}:
                raise StoreError(
                    f"{self._stick.where(TOP)} is there already, and no stick of Samara",
                    hint="Move it away, or export to another folder.",
                )
            return None
        data = self._stick.read(self._names.commit, most=limits.MAX_STICK_MARK)
        found = Commit.decode(data) if data is not None else None
        if found is not None and found.release != self._source.verified.id:
            raise StoreError(f"another release lies at {self._stick.where(self._names.folder)}", hint="Move it away.")
        return found

    def _check_room(self) -> None:
        free, block = self._stick.room()
        needed = _SLACK + self._commit.nodes + len(self._source.table_bytes)
        for stream, entry in enumerate(self._source.table, 1):
            for part in self._files.parts(stream, entry):
                needed += -(-part.size // block) * block
        if needed > free:
            needed -= self._there(block)
        if needed > free:
            raise DiskFullError(
                f"{needed:,} bytes are needed on {self._stick.folder}, {free:,} are free",
                hint="Free some room there, or use a larger stick.",
            )

    def _there(self, block: int) -> int:
        """Bytes that an earlier export has taken already; looked at only when it matters."""
        total = 0
        for stream, entry in enumerate(self._source.table, 1):
            for part in self._files.parts(stream, entry):
                total += -(-min(self._size(part.path), part.size) // block) * block
        return total

    def _size(self, path: str) -> int:
        try:
            return self._stick.size(path) or 0
        except StickError:
            return 0

    # Writing, and reading back: the same walk

    def _make_top(self) -> None:
        for path, data in ((MARK, encode_mark()), (README, README_TEXT.encode())):
            if self._size(path) != len(data) or self._stick.read(path, most=len(data)) != data:
                self._write_small(path, data)

    def _visit(self, *, write: bool) -> None:
        for parts, blocks in self._blobs():
            self._blob(parts, blocks, write=write)
        for stream, entry in enumerate(self._source.table, 1):
            self._file(stream, entry, write=write)

    def _blobs(self) -> Iterator[tuple[list[Part], Iterable[bytes]]]:
        source, names = self._source, self._names
        small = {names.root(number): root for number, root in enumerate(source.envelopes, 1)}
        small[names.release] = source.release
        small[names.table] = source.table_bytes
        if source.head is not None:
            small[names.head] = source.head
        for path, data in small.items():
            yield [Part(path, len(data))], [data]
        yield split(names.nodes, self._commit.nodes, self._commit.part_size), source.all_nodes()
        size = sum(map(len, sums_of(source.table, self._files)))
        yield [Part(names.sums, size)], sums_of(source.table, self._files)

    def _blob(self, parts: list[Part], blocks: Iterable[bytes], *, write: bool) -> None:
        offset = 0
        with self._stick.open(parts) as file:
            for block in blocks:
                if _read(file, offset, len(block)) != block:
                    self._must_write(file.path_at(offset), write=write)
                    file.write(block, offset)
                offset += len(block)
            self._fit(file, write=write)

    def _file(self, stream: int, entry: FileEntry, *, write: bool) -> None:
        chunks = self._source.chunks(stream)
        with self._stick.open(self._files.parts(stream, entry)) as file:
            for first, end in runs(chunks, range(len(chunks))):
                wrong = self._wrong(file, chunks, first, end, entry.path)
                for start, stop in runs(chunks, wrong):
                    self._must_write(file.path_at(chunks.offset(start)), write=write)
                    self._copy(file, stream, chunks, start, stop)
            self._fit(file, write=write)

    def _wrong(self, file: StickFile, chunks: ChunkList, first: int, end: int, note: str) -> list[int]:
        """Return which chunks of a run are not right on the stick, and count the others as done."""
        at = chunks.offset(first)
        data = memoryview(_read(file, at, chunks.offset(end - 1) + chunks.length(end - 1) - at))
        wrong: list[int] = []
        right = 0
        for index in range(first, end):
            begin = chunks.offset(index) - at
            piece = data[begin : begin + chunks.length(index)]
            if len(piece) == chunks.length(index) and digest(piece) == chunks.hash(index):
                right += len(piece)
            else:
                wrong.append(index)
        self._steps.add(right, note)
        return wrong

    def _copy(self, file: StickFile, stream: int, chunks: ChunkList, first: int, end: int) -> None:
        """Write chunks that lie beside each other, as the store gives them: verified."""
        entry = self._source.table[stream - 1]
        while first < end:
            found = self._source.library.read(self._source.verified.release.content, stream, first, end - first)
            if not found:
                raise _lacking(self._source.verified, entry.path)
            for data in found:
                file.write(data, chunks.offset(first))
                self._written_bytes += len(data)
                self._steps.add(len(data), entry.path)
                first += 1

    def _fit(self, file: StickFile, *, write: bool) -> None:
        if (unfit := file.unfit()) is not None:
            self._must_write(unfit, write=write)
            file.fit()
        self._written += file.written

    def _must_write(self, path: str, *, write: bool) -> None:
        """Something is not right: while writing, the commit record goes before it is; afterwards, the stick is bad."""
        if not write:
            raise StickError(
                f"{self._stick.where(path)}: what comes back is not what was written",
                hint="This stick is failing, or smaller than it says. Do not trust it: use another.",
            )
        if not self._touched:
            self._touched = True
            if self._before is not None:
                self._stick.remove(self._names.commit)
                self._stick.sync([self._names.commit])

    def _write_commit(self) -> None:
        data = self._commit.encode()
        self._write_small(self._names.commit, data)
        self._stick.sync([self._names.commit])
        if self._stick.read(self._names.commit, most=limits.MAX_STICK_MARK) != data:
            self._must_write(self._names.commit, write=False)

    def _write_small(self, path: str, data: bytes) -> None:
        with self._stick.open([Part(path, len(data))]) as file:
            file.write(data, 0)
            file.fit()
        self._written += file.written


def _read(file: StickFile, offset: int, length: int) -> bytes:
    """Read what is there for comparing; what cannot be read is not right, and is written anew."""
    try:
        return file.read(offset, length)
    except (StickError, StoreError):
        return b""
