"""records export, import and sync: what publishers have said, by file where no network reaches, and by asking.

However they come, records go through one ledger into one store (specs/trust.md, "Admission"). What is intact counts,
whatever becomes of the rest of a file or of a session.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from samara.node.fetch.finder import parse_peer
from samara.node.fetch.logs import take_fork
from samara.node.fetch.rounds import LogRounds, followed, listed, listed_to_ask_for, may_be_asked_for, to_ask_for
from samara.node.operations.base import Operation, Progress, Report
from samara.node.operations.refs import find_release, publisher_of, publisher_text
from samara.node.store.files import os_errors, sync_folder
from samara.node.store.ledgers import Ledgers
from samara.node.store.store import Store
from samara.node.threads import is_cancelled
from samara.protocol import limits
from samara.protocol.errors import (
    LinkError,
    NotFoundError,
    RecordFileError,
    SamaraError,
    StoppedError,
    StoreError,
    name_of,
)
from samara.protocol.ids import PublisherId, ReleaseId, format_record, parse_record
from samara.protocol.links import NameRef, parse_ref
from samara.protocol.trust import ForkProof
from samara.protocol.trust.passing import whole_log
from samara.protocol.trust.recordfile import Item, Kind, RecordFileReader, RecordFileWriter

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = [
    "RECORDS_EXPORT",
    "RECORDS_IMPORT",
    "RECORDS_SYNC",
    "ExportedRecords",
    "ImportedRecords",
    "PeerFailed",
    "RecordIntake",
    "RecordsExportRequest",
    "RecordsImportRequest",
    "RecordsRow",
    "RecordsSkipped",
    "RecordsSyncRequest",
    "SyncedRecords",
    "export_records",
    "import_records",
]

_READ: Final = limits.MIB
"""Bytes of a file that are read at a time."""

_BATCH: Final = limits.MAX_RECORDS
"""Bytes of records that are taken in one transaction, as many as come in one answer of a peer."""

_MAGIC: Final = RecordFileWriter().begin()


@dataclass(frozen=True, slots=True)
class RecordsExportRequest:
    """What to write into a file of records.

    Attributes:
        path: Absolute path of the file.
        of: Publishers (petname or id), or REFs of releases, whose publishers are meant; empty: all those with whom this
            home has to do and of whom that is no secret, and those of whom collections list something.
    """

    path: str
    of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExportedRecords:
    """The file that was written (specs/cli.md).

    Attributes:
        path: Where.
        bytes: Its size.
        publishers: Petname or id of each publisher in it.
        records: Records in it, besides roots and proofs of forks.
    """

    path: str
    bytes: int
    publishers: tuple[str, ...]
    records: int


@dataclass(frozen=True, slots=True)
class RecordsImportRequest:
    """The file of records to take, by its absolute path."""

    path: str


@dataclass(frozen=True, slots=True)
class RecordsRow:
    """What came of one publisher.

    Attributes:
        publisher: Petname or id.
        publisher_id: Its id.
        roots: Roots that were not known.
        records: Records that were not known.
        known: Records that were known already.
        forks: Forks that were not known.
        refused: How many records were refused, by the error's class.
    """

    publisher: str
    publisher_id: str
    roots: int
    records: int
    known: int
    forks: int
    refused: dict[str, int]


@dataclass(frozen=True, slots=True)
class RecordsSkipped:
    """A publisher whose records could not be taken at all, or the rest of the file.

    Attributes:
        publisher: Its id; empty: the rest of the file.
        error: Class of the error.
        message: What happened.
        hint: What to do next.
    """

    publisher: str
    error: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class ImportedRecords:
    """What an import of records did."""

    publishers: tuple[RecordsRow, ...]
    skipped: tuple[RecordsSkipped, ...]


@dataclass(frozen=True, slots=True)
class RecordsSyncRequest:
    """Whom to ask for records.

    Attributes:
        of: Publishers or REFs; empty: all that may be asked for (specs/network.md, "Logs").
        peers: Multiaddrs of the peers to ask; empty: those who announce the logs, and who is nearby.
    """

    of: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerFailed:
    """A peer that could not be asked, and why."""

    peer: str
    message: str


@dataclass(frozen=True, slots=True)
class SyncedRecords:
    """What asking brought.

    Attributes:
        asked: How many peers answered.
        roots: Roots that were not known.
        records: Records that were not known.
        forks: Forks that were not known.
        bytes: Bytes of all records that came.
        refused: How many records were refused, by the error's class.
        failed: Peers that could not be asked.
    """

    asked: int
    roots: int
    records: int
    forks: int
    bytes: int
    refused: dict[str, int]
    failed: tuple[PeerFailed, ...]


# Whose.


def publishers_of(store: Store, texts: Sequence[str]) -> frozenset[PublisherId]:
    """Return the publishers that texts name: by petname, by id, or by a REF of a release.

    Raises:
        LinkError: One is neither.
        NotFoundError: Nobody has this petname, or nothing of it is known here.
    """
    return frozenset(_publisher(store, text) for text in texts)


def _publisher(store: Store, text: str) -> PublisherId:
    names = {name: publisher for publisher, name in store.catalog.petnames().items()}
    if text in names:
        return names[text]
    if "/" in text or text.startswith("samara:"):
        ref = parse_ref(text)
        return publisher_of(store, ref) if isinstance(ref, NameRef) else find_release(store, text).publisher
    if text == "me":
        return publisher_of(store, NameRef("me", "any"))
    try:
        found = parse_record(text)
    except LinkError:
        raise NotFoundError(
            f"nobody is called {text!r} here", hint="Give a petname, a publisher's id, or a REF of a release."
        ) from None
    held = store.catalog.release(ReleaseId(found))
    return held.publisher if held is not None else PublisherId(found)


# By file.


def export_records(store: Store, request: RecordsExportRequest) -> ExportedRecords:
    """Write what is known of publishers into a file. Blocks.

    Raises:
        NotFoundError: Nothing is known of one of them, or of nobody.
        RecordFileError: It is more than a reader takes.
        StoreError: Something else lies there, or it cannot be written.
    """
    path = Path(request.path)
    _refuse_what_is_there(path)
    wanted = publishers_of(store, request.of) if request.of else {*may_be_asked_for(store), *_listed(store)}
    records = 0
    written: list[PublisherId] = []
    draft = path.with_name(path.name + ".part")
    with os_errors(f"cannot write {path}"):
        try:
            with open(draft, "wb") as file:
                writer = RecordFileWriter()
                file.write(writer.begin())
                for publisher in sorted(wanted):
                    with store.ledgers.asking(publisher) as ledger:
                        log = None if ledger is None else whole_log(ledger)
                    if log is None:
                        if request.of:
                            raise NotFoundError(f"nothing is known here of {format_record(publisher)}")
                        continue
                    file.write(writer.publisher(publisher, log))
                    records += len(log.revocations) + len(log.entries)
                    written.append(publisher)
                if not written:
                    raise NotFoundError("no publisher is known here", hint="Name one: samara records export FILE ID")
                file.write(writer.end())
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    return ExportedRecords(str(path), size, tuple(publisher_text(store, one) for one in written), records)


def _listed(store: Store) -> frozenset[PublisherId]:
    """Those of whom collections list something: whoever follows the same wants to know what they took back."""
    return frozenset(one for publishers in listed(store) for one in publishers) & store.ledgers.known().keys()


def _refuse_what_is_there(path: Path) -> None:
    with os_errors(f"cannot write {path}"):
        try:
            with open(path, "rb") as file:
                theirs = file.read(len(_MAGIC))
        except FileNotFoundError:
            return
    if theirs[:8] != _MAGIC[:8]:
        raise StoreError(f"{path} is there, and no file of records", hint="Choose another name.")


def import_records(
    store: Store,
    request: RecordsImportRequest,
    *,
    watch: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ImportedRecords:
    """Take all records of a file, as far as it is intact. Blocks.

    Args:
        store: Where to.
        request: The file.
        watch: Is told how many bytes of how many were read.
        cancelled: Says whether to stop.

    Raises:
        NotFoundError: There is no such file.
        RecordFileError: It is no file of records.
        DiskFullError: The disk is full; what was taken stays.
        StoppedError: `cancelled` said so; what was taken stays.
    """
    path, intake, reader = Path(request.path), RecordIntake(store.ledgers), RecordFileReader()
    if not path.exists():
        raise NotFoundError(f"there is no file {path}")
    try:
        with os_errors(f"cannot read {path}"):
            for piece in _pieces(path, watch):
                if cancelled is not None and cancelled():
                    raise StoppedError("stopped; what was taken stays")
                intake.add(reader.receive(piece))
            reader.finish()
    except RecordFileError as error:
        intake.end()
        if not intake.rows:
            raise
        intake.skip(None, error)
    else:
        intake.end()
    rows = tuple(row.told(store) for row in intake.rows.values())
    return ImportedRecords(rows, tuple(intake.skipped))


def _pieces(path: Path, watch: Callable[[int, int], None] | None) -> Iterator[bytes]:
    done = 0
    with open(path, "rb") as file:
        total = os.fstat(file.fileno()).st_size
        while piece := file.read(_READ):
            yield piece
            done += len(piece)
            if watch is not None:
                watch(done, max(done, total))


@dataclass(slots=True)
class _Row:
    """What came of one publisher so far."""

    publisher: PublisherId
    roots: int = 0
    records: int = 0
    known: int = 0
    forks: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def told(self, store: Store) -> RecordsRow:
        return RecordsRow(
            publisher_text(store, self.publisher),
            format_record(self.publisher),
            self.roots,
            self.records,
            self.known,
            self.forks,
            dict(self.refused),
        )


class RecordIntake:
    """Takes items of files, one after another, in batches of one publisher's.

    Args:
        ledgers: Where they are kept.

    Attributes:
        rows: What came of each publisher.
        skipped: What could not be taken.
    """

    def __init__(self, ledgers: Ledgers) -> None:
        self.rows: dict[PublisherId, _Row] = {}
        self.skipped: list[RecordsSkipped] = []
        self._ledgers = ledgers
        self._publisher: PublisherId | None = None
        self._roots: list[bytes] = []
        self._forks: list[bytes] = []
        self._records: list[bytes] = []
        self._bytes = 0
        self._refused = False  # the publisher whose items come: nothing more of it can be taken

    @property
    def new(self) -> int:
        """Records that were not known."""
        return sum(row.records for row in self.rows.values())

    def add(self, items: Iterable[Item]) -> None:
        """Take items as they come; `end` takes the last of them."""
        for item in items:
            if item.publisher != self._publisher:
                self.end()
                self._publisher = item.publisher
            if item.kind is Kind.FORK:
                self._forks += [item.data] if len(self._forks) < limits.MAX_LOG_FORKS else []
                continue
            (self._roots if item.kind is Kind.ROOT else self._records).append(item.data)
            self._bytes += len(item.data)
            if self._bytes >= _BATCH and item.kind is Kind.RECORD:
                self._take()

    def end(self) -> None:
        """Take what is left of the publisher whose items came last."""
        self._take()
        self._take_forks()
        self._publisher, self._refused = None, False

    def skip(self, publisher: PublisherId | None, error: SamaraError) -> None:
        """Take note that the rest of a publisher's items, or of a file, cannot be taken."""
        name = "" if publisher is None else format_record(publisher)
        self.skipped.append(RecordsSkipped(name, name_of(error), error.message, error.hint))

    def _take(self) -> None:
        """Take the records that came; the proofs come after all of them, since nothing is taken of who is frozen."""
        publisher, roots, records = self._publisher, self._roots, self._records
        self._roots, self._records, self._bytes = [], [], 0
        if publisher is None or self._refused or not (roots or records):
            return
        try:
            taken = self._ledgers.take(roots, records, publisher=publisher)
        except SamaraError as error:
            self._refused = True
            self.skip(publisher, error)
            return
        row = self.rows.setdefault(publisher, _Row(publisher))
        row.roots += taken.roots
        row.records += len(taken.new)
        row.known += taken.known
        row.forks += len(taken.forks)
        row.refused.update(taken.refused)

    def _take_forks(self) -> None:
        publisher, forks = self._publisher, self._forks
        self._forks = []
        if publisher is None or self._refused or publisher not in self.rows:
            return
        for data in forks:
            row = self.rows[publisher]
            try:
                row.forks += take_fork(self._ledgers, publisher, ForkProof.decode(data))
            except SamaraError as error:
                row.refused[name_of(error)] += 1


# The operations.


async def _export(node: Node, request: RecordsExportRequest, report: Report) -> ExportedRecords:
    return await trio.to_thread.run_sync(export_records, node.store, request)


async def _import(node: Node, request: RecordsImportRequest, report: Report) -> ImportedRecords:
    def watch(done: int, total: int) -> None:
        trio.from_thread.run_sync(report, Progress("reading", done, total))

    def work() -> ImportedRecords:
        return import_records(node.store, request, watch=watch, cancelled=is_cancelled)

    return await trio.to_thread.run_sync(work)


async def _sync(node: Node, request: RecordsSyncRequest, report: Report) -> SyncedRecords:
    named = [parse_peer(peer) for peer in request.peers]
    publishers = await trio.to_thread.run_sync(_to_ask_for, node.store, request)
    if not publishers:
        raise NotFoundError("there is nobody whose records could be asked for", hint="Name a publisher, or fetch.")
    report(Progress("asking", 0, None, unit="peers"))
    found = await LogRounds(node).ask(await node.network(), publishers, named)
    if not found.asked and not found.failed and not found.heard.bytes:
        raise NotFoundError("there is nobody to ask", hint="Is a peer nearby, or the DHT on? Name one with --peer.")
    heard = found.heard
    failed = tuple(PeerFailed(peer, message) for peer, message in sorted(found.failed.items()))
    return SyncedRecords(found.asked, heard.roots, heard.records, heard.forks, heard.bytes, dict(heard.refused), failed)


def _to_ask_for(store: Store, request: RecordsSyncRequest) -> Collection[PublisherId]:
    if request.of:
        return publishers_of(store, request.of)
    return [*followed(store), *listed_to_ask_for(store)] if request.peers else to_ask_for(store)


RECORDS_EXPORT = Operation("records export", RecordsExportRequest, ExportedRecords, _export, looks=True)
RECORDS_IMPORT = Operation("records import", RecordsImportRequest, ImportedRecords, _import)
RECORDS_SYNC = Operation("records sync", RecordsSyncRequest, SyncedRecords, _sync)
