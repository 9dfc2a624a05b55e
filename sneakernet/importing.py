"""Import: releases from a stick into a store, every byte verified (specs/stick.md §5).

Order: commit record, records, table, the nodes of each file, chunks; each is verified before anything of the next is
used. A wrong chunk does not stop the others: what is right stays committed, and in the end the damaged files are named.

It believes nothing on the stick: names come from the verified table, lengths from verified lists, and links are not
followed.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from samara.protocol import limits
from samara.protocol.chunklist import ChunkList, ListVerifier
from samara.protocol.errors import (
    ChunkError,
    NodeError,
    NotFoundError,
    SamaraError,
    StickError,
    StoppedError,
    StoreError,
    TableError,
    VerificationError,
)
from samara.protocol.ids import ContentId, ReleaseId
from samara.protocol.ports import Intake, Library, Records, StreamNeed
from samara.protocol.records import VerifiedRelease, verify_release
from samara.protocol.table import FileTable, verify_table
from samara.sneakernet.layout import (
    MARK,
    RELEASES,
    TOP,
    Commit,
    FileNames,
    Part,
    ReleaseNames,
    is_label,
    is_mark,
    split,
)
from samara.sneakernet.media import Stick, StickFile
from samara.sneakernet.runs import runs
from samara.sneakernet.steps import Cancelled, Steps, Watch

__all__ = ["Entry", "Imported", "Listing", "Skipped", "import_release", "list_releases"]

_LENGTH: Final = struct.Struct("<I")
_COMMIT_BYTES: Final = 64 * limits.MIB
_COMMIT_SECONDS: Final = 1.0
"""How much may be lost by a power cut (specs/store.md, "Order of writes")."""

_NAMED: Final = 5
"""Damaged files that an error names; it counts the others."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A release on a stick. Its records are verified; of its bytes nothing is known yet.

    Attributes:
        label: Its label there.
        release: Its id.
        content: Its content.
        name: Its name.
        version: Its version.
        bytes: Bytes of its files, as its publisher says.
    """

    label: str
    release: ReleaseId
    content: ContentId
    name: str
    version: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """A release on a stick that cannot come in.

    Attributes:
        label: Its label there; only for showing.
        error: Why.
    """

    label: str
    error: SamaraError


@dataclass(frozen=True, slots=True)
class Listing:
    """What is on a stick.

    Attributes:
        entries: What may come in, by label.
        skipped: What is cut off or wrong, by label.
    """

    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import brought.

    Attributes:
        release: The release.
        path: Where its content lies now, absolute.
        bytes: Bytes of its files.
        read: Bytes that came from the stick.
        reused: Bytes that were copied from what the store held.
    """

    release: ReleaseId
    path: str
    bytes: int
    read: int
    reused: int


def list_releases(folder: Path, *, library: Library | None = None, cancelled: Cancelled | None = None) -> Listing:
    """Look at what is on a stick, and verify the records. Blocks.

    Args:
        folder: The stick.
        library: The store, which knows what publishers have delegated; without one, all that delegates signed is
            skipped.
        cancelled: Says whether to stop.

    Raises:
        NotFoundError: It is no stick.
        StickError: It is one, but of a newer version, or not laid out as it must be.
        StoppedError: `cancelled` said so.
    """
    stick = Stick(folder, forgiving=True)
    mark = stick.read(MARK, most=limits.MAX_STICK_MARK) if folder.is_dir() else None
    if mark is None or not is_mark(mark):
        raise NotFoundError(
            f"there is no stick of Samara at {folder}", hint=f"Name the folder in which the folder {TOP!r} lies."
        )
    entries: list[Entry] = []
    skipped: list[Skipped] = []
    for label in stick.names(RELEASES, most=limits.MAX_STICK_RELEASES) or ():
        if cancelled is not None and cancelled():
            raise StoppedError("looking at the stick was stopped")
        try:
            _commit, _records, verified = _read_records(stick, label, library)
        except (VerificationError, StoreError, NotFoundError) as error:
            skipped.append(Skipped(ascii(label)[1:-1][:120], error))
        else:
            said = verified.release
            entries.append(Entry(label, verified.id, said.content, said.name, said.version, said.bytes))
    return Listing(tuple(entries), tuple(skipped))


def import_release(
    library: Library,
    folder: Path,
    entry: Entry,
    *,
    on_progress: Watch | None = None,
    cancelled: Cancelled | None = None,
) -> Imported:
    """Take a release from a stick into a store, or go on with it. Blocks.

    Args:
        library: The store.
        folder: The stick.
        entry: Which, from `list_releases`.
        on_progress: Is told how far it is, in this thread.
        cancelled: Says whether to stop.

    Raises:
        VerificationError: One of its subclasses: records, table, nodes or bytes are wrong. Right chunks stay committed.
        StoreError: The stick was pulled out, or the store cannot take it.
        StoppedError: `cancelled` said so.

    Source: specs/stick.md §5.
    """
    stick = Stick(folder, forgiving=True)
    commit, records, verified = _read_records(stick, entry.label, library)
    if verified.id != entry.release:
        raise StickError(f"the stick holds another release at {entry.label} than a moment ago")
    names = ReleaseNames(entry.label)
    with stick.open(split(names.nodes, commit.nodes, commit.part_size)) as file:
        nodes = _NodeReader(file, commit.nodes)
        table_nodes = nodes.fill(table_list := ListVerifier.for_table(verified.release.content), "the file table")
        table = _read_table(stick, names, verified, table_list.chunks())
        intake = library.open_intake(records, table_nodes, table, None)
        try:
            files = FileNames(names, table, commit.part_size)
            return _Import(stick, intake, verified, table, files, nodes, Steps(on_progress, cancelled)).run()
        finally:
            library.close_intake(intake)


def _read_records(stick: Stick, label: str, library: Library | None) -> tuple[Commit, Records, VerifiedRelease]:
    """Read and verify what a label says it holds.

    Raises:
        NotFoundError: It holds nothing complete.
        VerificationError: It is wrong.
    """
    if not is_label(label):
        raise StickError(f"{label[:120]!a} is no label", hint="This is not from Samara.")
    names = ReleaseNames(label)
    data = stick.read(names.commit, most=limits.MAX_STICK_MARK)
    commit = Commit.decode(data) if data is not None else None
    if commit is None:
        raise NotFoundError(f"{label} was not exported to its end", hint="Export it again: it goes on where it was.")
    budget = limits.MAX_RECORDS
    found: list[bytes] = []
    for path in [
        *(names.root(number + 1) for number in range(commit.roots)),
        names.release,
        *[names.head] * commit.head,
    ]:
        envelope = stick.read(path, most=min(limits.MAX_ENVELOPE, budget))
        if envelope is None:
            raise StickError(f"{stick.where(path)} is missing", hint="Export the release again.")
        budget -= len(envelope)
        found.append(envelope)
    roots, rest = tuple(found[: commit.roots]), found[commit.roots :]
    records = Records(roots, rest[0], rest[1] if commit.head else None)
    verify = verify_release if library is None else library.verify_records
    return commit, records, verify(records, expected=commit.release)


def _read_table(stick: Stick, names: ReleaseNames, verified: VerifiedRelease, chunks: ChunkList) -> FileTable:
    size = stick.size(names.table)
    if size != chunks.size:
        raise TableError(f"{stick.where(names.table)} has {size} bytes, {chunks.size} are due")
    with stick.open([Part(names.table, size)]) as file:
        data = file.read(0, size)
    table = verify_table(data, verified.release.content)
    verified.check_table(data)
    verified.check_facts(content=verified.release.content, total=table.size, files=len(table))
    return table


class _NodeReader:
    """Reads the nodes of one stream after the other, as far as verified nodes ask for more.

    Args:
        file: All nodes of the release, each with its length before it.
        size: Their bytes, as the commit record says.
    """

    def __init__(self, file: StickFile, size: int) -> None:
        self._file = file
        self._size = size
        self._at = 0

    def fill(self, verifier: ListVerifier, what: str) -> tuple[bytes, ...]:
        """Read what a list lacks, and return its nodes.

        Raises:
            NodeError: A node is wrong or missing.
        """
        while not verifier.complete:
            try:
                verifier.add(self._next())
            except NodeError as error:
                raise NodeError(f"the chunk list of {what} is damaged on the stick: {error.message}") from error
        return verifier.nodes()

    def _next(self) -> bytes:
        head = self._file.read(self._at, _LENGTH.size)
        (length,) = _LENGTH.unpack(head) if len(head) == _LENGTH.size else (0,)
        if not 0 < length <= min(limits.MAX_PAYLOAD, self._size - self._at - _LENGTH.size):
            raise NodeError("a node is missing, or has an impossible length")
        node = self._file.read(self._at + _LENGTH.size, length)
        self._at += _LENGTH.size + length
        return node


class _Import:
    """One run of an import."""

    def __init__(
        self,
        stick: Stick,
        intake: Intake,
        verified: VerifiedRelease,
        table: FileTable,
        files: FileNames,
        nodes: _NodeReader,
        steps: Steps,
    ) -> None:
        self._stick = stick
        self._intake = intake
        self._verified = verified
        self._table = table
        self._files = files
        self._nodes = nodes
        self._steps = steps
        self._bad: dict[str, str] = {}
        self._read = self._reused = 0
        self._uncommitted = 0
        self._committed_at = time.monotonic()

    def run(self) -> Imported:
        said = self._verified.release
        needs = {need.stream: need for need in self._intake.needs()}
        self._steps.begin("importing", said.bytes, said.bytes - sum(need.size for need in needs.values()))
        for stream, entry in enumerate(self._table, 1):
            if not needs:
                break
            verifier = ListVerifier.for_file(entry.root, entry.size, entry.blake3)
            nodes = self._nodes.fill(verifier, entry.path)
            if (need := needs.pop(stream, None)) is not None:
                self._take(need, nodes, verifier.chunks())
        self._intake.commit()
        if self._bad:
            raise _damaged(self._verified, self._bad)
        return Imported(self._verified.id, self._intake.finish(), said.bytes, self._read, self._reused)

    def _take(self, need: StreamNeed, nodes: Sequence[bytes], chunks: ChunkList) -> None:
        if not need.listed:
            need = self._intake.add_list(need.stream, nodes)
        missing = sum(chunks.length(index) for index in need.missing)
        self._steps.add(need.size - missing, need.path)
        for copied in self._intake.reuse([need.stream]):
            self._reused += copied
            self._count(copied, need.path)
        entry = self._table[need.stream - 1]
        with self._stick.open(self._files.parts(need.stream, entry)) as file:
            for first, end in runs(chunks, self._intake.missing(need.stream)):
                if not self._take_run(file, need, chunks, first, end):
                    for index in range(first, end):  # find out which of them it is
                        self._take_run(file, need, chunks, index, index + 1)

    def _take_run(self, file: StickFile, need: StreamNeed, chunks: ChunkList, first: int, end: int) -> bool:
        """Put chunks that lie beside each other; False when they could not be read at once."""
        at = chunks.offset(first)
        try:
            data = memoryview(file.read(at, chunks.offset(end - 1) + chunks.length(end - 1) - at))
        except (StickError, StoreError) as error:
            self._check_stick(error)
            if end - first == 1:
                self._bad.setdefault(need.path, error.message)
            return end - first == 1
        taken = 0
        for index in range(first, end):
            begin = chunks.offset(index) - at
            piece = data[begin : begin + chunks.length(index)]
            try:
                self._intake.put(need.stream, index, piece)
                taken += len(piece)
            except ChunkError:
                what = "wrong" if len(piece) == chunks.length(index) else "missing, or cut short"
                self._bad.setdefault(need.path, f"chunk {index} is {what}")
        self._read += taken
        self._count(taken, need.path)
        return True

    def _count(self, count: int, note: str) -> None:
        self._uncommitted += count
        now = time.monotonic()
        if self._uncommitted >= _COMMIT_BYTES or now >= self._committed_at + _COMMIT_SECONDS:
            self._intake.commit()
            self._uncommitted, self._committed_at = 0, time.monotonic()
        self._steps.add(count, note)

    def _check_stick(self, error: SamaraError) -> None:
        """Tell a bad place on a stick from a stick that is gone."""
        if not self._stick.is_there():
            raise StoreError(
                f"the stick at {self._stick.folder} does not answer any more: {error.message}",
                hint="Put it in again and run the same command: it goes on where it was.",
            ) from error


def _damaged(verified: VerifiedRelease, bad: dict[str, str]) -> ChunkError:
    named = "; ".join(f"{path}: {why}" for path, why in list(bad.items())[:_NAMED])
    more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    many = "1 file is" if len(bad) == 1 else f"{len(bad)} files are"
    return ChunkError(
        f"{many} damaged on the stick, of {verified.release.name}: {named}{more}",
        hint="What is right came in. Import it from another copy, or fetch the rest: samara fetch REF",
    )
