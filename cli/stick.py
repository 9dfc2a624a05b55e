"""export and import as operations: the node's store handed to `samara.sneakernet`, since neither room knows the other.

One release that cannot be carried does not stop the others: it is in `skipped`, with its error. When nothing came
through and only one thing failed, that error is the operation's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from samara.node.operations.base import Notice, Operation, Progress, Report
from samara.node.operations.judging import check_held, judge_held
from samara.node.operations.records import RecordIntake
from samara.node.operations.refs import find_release, publisher_text, use_of_delta
from samara.node.store.catalog import HeldRelease
from samara.node.store.store import Store
from samara.protocol.errors import (
    NotFoundError,
    SamaraError,
    StoppedError,
    StoreError,
    VerificationError,
    name_of,
)
from samara.protocol.ids import PublisherId, format_record
from samara.protocol.ports import Intake, LogPage, Records
from samara.protocol.table import FileTable
from samara.protocol.trust.passing import whole_log
from samara.sneakernet.exporting import export_release
from samara.sneakernet.importing import Entry, import_release, list_releases
from samara.sneakernet.logs import Damage, export_logs, read_logs
from samara.sneakernet.steps import Cancelled, Step, Watch

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = [
    "EXPORT",
    "IMPORT",
    "Carried",
    "CarriedRow",
    "ExportRequest",
    "ImportRequest",
    "SkippedRow",
    "export_all",
    "import_all",
    "take_logs",
]

_TELL_EVERY: Final = 0.1
"""Seconds between two progress events: a hundred thousand small files need no event each."""

_RECORDS: Final = "records"
"""Stands for a release's name where what publishers said could not be carried."""

Done = TypeVar("Done")


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to write to a stick.

    Attributes:
        folder: Absolute path of the stick: where `samara/` lies or is made.
        refs: REFs of releases that are held here.
        yes: The user may hand them on, whatever their publishers said.
        insist: Names of releases that are carried although they were taken back, or are not believed.
    """

    folder: str
    refs: tuple[str, ...]
    yes: bool = False
    insist: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What to take from a stick: all that is on it.

    Attributes:
        folder: Absolute path of the stick.
        to: Absolute path below which each release gets a folder; empty puts them into the home.
        insist: Names of releases that come in although they were taken back, or are not believed.
    """

    folder: str
    to: str = ""
    insist: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CarriedRow:
    """A release that was carried (specs/cli.md).

    Attributes:
        release: Release id.
        name: Its name.
        version: Its version.
        path: Where its files lie now.
        bytes: Bytes of its files.
        moved: Bytes that were written to the stick, or read from it; the others were there already.
        publisher: Petname or id of who signed it.
        trusted: The publisher has a petname here, or is this home.
        verdict: What to think of it: GOOD, STALE, REVOKED, UNTRUSTED or DAMAGED.
    """

    release: str
    name: str
    version: str
    path: str
    bytes: int
    moved: int
    publisher: str
    trusted: bool
    verdict: str


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A release that could not be carried.

    Attributes:
        name: Its name, or its label on the stick.
        error: Class of the error.
        message: What happened.
        hint: What to do next.
    """

    name: str
    error: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Carried:
    """What an export or an import did (specs/cli.md).

    Attributes:
        releases: What was carried.
        skipped: What could not be.
        records: Records of their publishers that lie on the stick now, or that came from it and were not known.
    """

    releases: tuple[CarriedRow, ...]
    skipped: tuple[SkippedRow, ...]
    records: int = 0


def export_all(
    store: Store, request: ExportRequest, *, watch: Watch | None = None, cancelled: Cancelled | None = None
) -> Carried:
    """Write releases to a stick. Blocks.

    Raises:
        LinkError: A REF is malformed.
        NotFoundError: A REF names nothing that is known here.
        StoppedError: `cancelled` said so.
    """
    found = {held.id: held for held in (find_release(store, ref) for ref in request.refs)}

    def carry(held: HeldRelease) -> CarriedRow:
        if held.condemned:
            raise VerificationError(f"{held.name} is condemned: {held.condemned}", hint="Do not hand it on.")
        check_held(store, held, request.insist)
        if store.complete_place(held.content) is None:
            raise StoreError(
                f"{held.name} is not whole here, or its files were changed",
                hint="samara verify finds what is wrong; samara fetch brings what is missing.",
            )
        yes = request.yes or held.own
        done = export_release(store, held.id, Path(request.folder), yes=yes, on_progress=watch, cancelled=cancelled)
        return _row(store, held, str(done.path), done.written)

    done = _all(((held.name, held) for held in found.values()), carry, [])
    carried = {format_record(held.id): held.publisher for held in found.values()}
    publishers = {carried[row.release] for row in done.releases}
    try:
        records = export_logs(Path(request.folder), _logs(store, publishers), cancelled=cancelled)
    except StoppedError:
        raise
    except SamaraError as error:
        return replace(done, skipped=(*done.skipped, _skipped(_RECORDS, error)))
    return replace(done, records=records)


def import_all(
    store: Store, request: ImportRequest, *, watch: Watch | None = None, cancelled: Cancelled | None = None
) -> Carried:
    """Take all that is on a stick, and pin it. Blocks.

    Raises:
        NotFoundError: There is no stick, or nothing on it.
        VerificationError: The stick as a whole is not what it must be.
        StoppedError: `cancelled` said so.
    """
    # Records first: what was taken back since is known before it comes in, and so is to whom names are delegated. What
    # they say of publishers of whom nothing is held is kept as far as strangers' is; so they are taken once more when
    # the releases are here.
    before = take_logs(store, Path(request.folder), cancelled)
    listing = list_releases(Path(request.folder), library=store, cancelled=cancelled)
    if not listing.entries and not listing.skipped:
        raise NotFoundError(f"there is no release on the stick at {request.folder}", hint="samara export puts some.")

    def carry(entry: Entry) -> CarriedRow:
        known = store.catalog.release(entry.release)
        if known is not None:
            check_held(store, known, request.insist)
        here = None if request.to else _whole_here(store, entry)
        moved = 0
        if here is None:
            to = Path(request.to) / entry.label if request.to else None
            library = _Taking(store, to, insisted=entry.name in request.insist)
            done = import_release(library, Path(request.folder), entry, on_progress=watch, cancelled=cancelled)
            here, moved = done.path, done.read
        store.catalog.pin(entry.release, pinned=True)
        held = store.catalog.release(entry.release)
        if held is None:
            raise StoreError(f"{entry.name} went away while it came in", hint="Run the same command again.")
        return _row(store, held, here, moved)

    skipped = [(skip.label, skip.error) for skip in listing.skipped]
    done = _all(((entry.name, entry) for entry in listing.entries), carry, skipped)
    after = take_logs(store, Path(request.folder), cancelled)
    lost = tuple(SkippedRow(_RECORDS, skip.error, skip.message, skip.hint) for skip in after.skipped)
    return replace(done, records=before.new + after.new, skipped=(*done.skipped, *lost))


def _logs(store: Store, publishers: Iterable[PublisherId]) -> Iterator[tuple[PublisherId, LogPage]]:
    for publisher in sorted(publishers):
        with store.ledgers.asking(publisher) as ledger:
            log = None if ledger is None else whole_log(ledger)
        if log is not None:
            yield publisher, log


def take_logs(store: Store, folder: Path, cancelled: Cancelled | None = None) -> RecordIntake:
    """Take what publishers have said from a stick, as far as it is right; return what came of it. Blocks.

    Raises:
        StoppedError: `cancelled` said so.
    """
    intake = RecordIntake(store.ledgers)
    try:
        for found in read_logs(folder, cancelled=cancelled):
            if isinstance(found, Damage):
                intake.end()
                intake.skip(found.publisher, found.error)
            else:
                intake.add([found])
    except StoppedError:
        raise
    except SamaraError as error:
        intake.skip(None, error)
    intake.end()
    return intake


def _all(
    items: Iterable[tuple[str, Done]], carry: Callable[[Done], CarriedRow], skipped: list[tuple[str, SamaraError]]
) -> Carried:
    rows: list[CarriedRow] = []
    for name, item in items:
        try:
            rows.append(carry(item))
        except StoppedError:
            raise
        except SamaraError as error:
            skipped.append((name, error))
    if not rows and len(skipped) == 1:
        raise skipped[0][1]
    return Carried(tuple(rows), tuple(_skipped(name, error) for name, error in skipped))


def _skipped(name: str, error: SamaraError) -> SkippedRow:
    return SkippedRow(name, name_of(error), error.message, error.hint)


def _whole_here(store: Store, entry: Entry) -> str | None:
    """Where a release lies that is known and whole here already, so that no second copy is made."""
    held = store.catalog.release(entry.release)
    if held is None or held.condemned or not store.contents.has(held.content):
        return None
    place = store.complete_place(held.content)
    table = store.contents.table(held.content)
    if place is None:
        return None
    return str(place.root / table[0].path if len(table) == 1 else place.root)


def _row(store: Store, held: HeldRelease, path: str, moved: int) -> CarriedRow:
    trusted = held.own or held.publisher in store.catalog.petnames()
    publisher = publisher_text(store, held.publisher)
    verdict = judge_held(store, held).verdict.value
    return CarriedRow(
        format_record(held.id), held.name, held.version, path, held.bytes, moved, publisher, trusted, verdict
    )


class _Taking:
    """A store as one import needs it (implements `samara.protocol.ports.Library`).

    Args:
        store: The store.
        to: A folder of the user's to put the content into; None is the home.
        insisted: It comes in although it was taken back, or is not believed.
    """

    def __init__(self, store: Store, to: Path | None, *, insisted: bool) -> None:
        self._store = store
        self._to = to
        self._insisted = insisted
        self.records = store.records
        self.verify_records = store.verify_records
        self.nodes = store.nodes
        self.read = store.read
        self.close_intake = store.close_intake

    def open_intake(
        self, records: Records, table_nodes: Sequence[bytes], table: FileTable, wanted: Sequence[int] | None
    ) -> Intake:
        return self._store.open_intake(records, table_nodes, table, wanted, self._to, insisted=self._insisted)


async def _in_thread(report: Report, work: Callable[[Watch, Cancelled], Carried]) -> Carried:
    """Do blocking work in a thread that ends at its next step when its caller is cancelled."""
    told = 0.0
    phase = ""

    def watch(step: Step) -> None:
        nonlocal told, phase
        now = time.monotonic()
        if step.phase != phase or step.done >= step.total or now >= told + _TELL_EVERY:
            told, phase = now, step.phase
            trio.from_thread.run_sync(report, Progress(step.phase, step.done, step.total, note=step.note))

    def cancelled() -> bool:
        trio.from_thread.check_cancelled()  # raises `trio.Cancelled` through the work, which cleans up
        return False

    return await trio.to_thread.run_sync(work, watch, cancelled)


async def _export(node: Node, request: ExportRequest, report: Report) -> Carried:
    return await _in_thread(
        report, lambda watch, cancelled: export_all(node.store, request, watch=watch, cancelled=cancelled)
    )


async def _import(node: Node, request: ImportRequest, report: Report) -> Carried:
    try:
        done = await _in_thread(
            report, lambda watch, cancelled: import_all(node.store, request, watch=watch, cancelled=cancelled)
        )
    finally:
        node.library_changed()
    for row in done.releases:
        if use := await trio.to_thread.run_sync(use_of_delta, node.store, find_release(node.store, row.release)):
            report(Notice(use))
    return done


EXPORT = Operation("export", ExportRequest, Carried, _export, looks=True)
IMPORT = Operation("import", ImportRequest, Carried, _import)
