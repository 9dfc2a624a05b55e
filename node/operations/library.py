"""What the user does with what is here: verify, pin, unpin, rm, gc, key name."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from samara.node.operations.base import Notice, Operation, Progress, Report
from samara.node.operations.judging import JudgedRow, judge_held, judged_row
from samara.node.operations.oms import SIGNATURE_FILE, OmsFound, judge, take_out
from samara.node.operations.refs import best_place, find_release, publisher_named
from samara.node.store.catalog import HeldRelease
from samara.node.store.files import os_errors
from samara.node.store.publish import find_files
from samara.node.store.scan import ScannedFile, scan_file
from samara.node.store.stamps import Stamp, stamp
from samara.node.store.store import Store
from samara.node.threads import is_cancelled
from samara.protocol.errors import (
    LinkError,
    NotFoundError,
    StoppedError,
    StoreError,
    UntrustedError,
)
from samara.protocol.ids import format_content, format_record, parse_content
from samara.protocol.links import check_petname
from samara.protocol.oms import ByCertificateError
from samara.protocol.table import FileEntry, FileTable, content_id
from samara.protocol.trust import lookalikes

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = ["GC", "KEY_NAME", "PIN", "REMOVE", "UNPIN", "VERIFY", "RefRequest", "Signer", "Verified", "VerifyRequest"]

_log = logging.getLogger(__name__)

Watch = Callable[[int, str], None]


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """What to verify.

    Attributes:
        target: A REF, or an absolute path.
        is_path: `target` is a path.
        oms_key: Absolute path of the public key by which an OMS signature must be; empty takes those known here.
        signature: Absolute path of the OMS signature; empty takes `model.sig` in the folder, if there is one.
    """

    target: str
    is_path: bool = False
    oms_key: str = ""
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed a release.

    Attributes:
        key: did:key.
        name: The publisher's petname here, or empty.
        trusted: The publisher has a petname here, or is this home.
    """

    key: str
    name: str
    trusted: bool


@dataclass(frozen=True, slots=True)
class Verified:
    """What verification found (specs/cli.md).

    Attributes:
        release: Release id.
        content: Content id.
        name: Its name.
        ok: Every byte is right and all files are there.
        files: How many files were hashed.
        bytes: Their bytes.
        bad: Paths that are wrong or missing.
        signers: Who signed.
        standing: Whether the keys still speak for the publisher: current, vouched or retired.
        oms: What an OMS signature says of the files; None when there is none that was checked. With one, release and
            standing may be empty: no release with these files need be known.
        version: Its version.
        verdict: GOOD, STALE, REVOKED, UNTRUSTED or DAMAGED; empty without a release.
        judged: What the verdict rests on.
    """

    release: str
    content: str
    name: str
    ok: bool
    files: int
    bytes: int
    bad: tuple[str, ...]
    signers: tuple[Signer, ...]
    standing: str
    oms: OmsFound | None = None
    version: str = ""
    verdict: str = ""
    judged: JudgedRow | None = None


@dataclass(frozen=True, slots=True)
class RefRequest:
    """One release."""

    ref: str


@dataclass(frozen=True, slots=True)
class RefResult:
    """The release that was meant."""

    release: str


@dataclass(frozen=True, slots=True)
class CollectRequest:
    """Delete what is not pinned."""


@dataclass(frozen=True, slots=True)
class CollectResult:
    """What was deleted: how many contents, and bytes below the home."""

    contents: int
    bytes: int


@dataclass(frozen=True, slots=True)
class NameRequest:
    """Call a publisher (its id, its petname so far, or "me") by a name; an empty name forgets it."""

    publisher: str
    name: str


@dataclass(frozen=True, slots=True)
class NameResult:
    """The publisher that was named."""

    publisher: str
    name: str


async def _verify(node: Node, request: VerifyRequest, report: Report) -> Verified:
    done = 0
    total: int | None = None

    def watch(count: int, path: str) -> None:
        nonlocal done
        done += count
        trio.from_thread.run_sync(report, Progress("verifying", done, total, note=path))

    def say(notice: str) -> None:
        trio.from_thread.run_sync(report, Notice(notice))

    def work() -> Verified:
        nonlocal total
        total = None if request.is_path else find_release(node.store, request.target).bytes
        if request.is_path:
            return verify_path(node.store, request, watch, is_cancelled, say)
        return verify_held(node.store, request.target, watch, is_cancelled)

    found = await trio.to_thread.run_sync(work)
    if not node.store.writable and not request.is_path:
        report(Notice(f"{node.home.root} cannot be written: what was found is not recorded there"))
    if not found.ok:
        node.library_changed()
    return found


def verify_held(store: Store, ref: str, watch: Watch, cancelled: Callable[[], bool]) -> Verified:
    """Hash every file of a held release where it lies, and say who signed it.

    Raises:
        NotFoundError: It is not known here, or none of its files are.
        StoreError: It lies on a medium that is away.
    """
    held = find_release(store, ref)
    place = best_place(store, held)
    table = store.contents.table(held.content)
    bad, done, hashed = [], 0, 0
    for stream in store.contents.complete_streams(place):  # of a fetch with --include only what it brought
        entry = table[stream - 1]
        path = place.root.joinpath(*entry.path.split("/"))
        found = _scan_held(path, entry, watch, cancelled)
        if found is None:
            bad.append(entry.path)
        elif store.writable:
            store.contents.set_complete(place, {stream: found}, checked=True)
        done += entry.size
        hashed += 1
    if store.writable:
        store.contents.set_place_state(place, "edited" if bad else "online")
    return _verdict(store, held, hashed, done, bad)


def verify_path(
    store: Store, request: VerifyRequest, watch: Watch, cancelled: Callable[[], bool], say: Callable[[str], None]
) -> Verified:
    """Hash a file or folder and say which known release it is, who signed that, and what an OMS signature says.

    Raises:
        NotFoundError: No release that is known here has these bytes, and no OMS signature was checked.
        PathError: A name cannot be in any release.
        RecordError: An OMS signature is malformed or wrong.
    """
    root, files = find_files(Path(request.target))
    entries = []
    done = 0
    for file in files:
        looked = _scan(file.real, file.size, watch, cancelled)
        if looked is None:
            raise NotFoundError(f"{file.real} went away or changed while it was read", hint="Try again.")
        scanned, _ = looked
        entries.append(FileEntry(file.path, scanned.size, scanned.blake3, scanned.sha256, scanned.root))
        done += file.size
    signature = Path(request.signature) if request.signature else root / SIGNATURE_FILE
    model = take_out(entries, root, signature)
    if not model:
        raise NotFoundError(f"{request.target} is a signature, and no model", hint="Name the folder of the model.")
    try:
        found, unknown = _identify(store, entries, model, done, request.target), None
    except NotFoundError as error:
        content = content_id(FileTable.of(model))
        found = Verified("", format_content(content), root.name, True, len(model), done, (), (), "")
        unknown = error
    named = bool(request.oms_key or request.signature)
    oms = None
    if named or not _is_content(store, found, entries, model):
        oms = _judge(store, request, signature, model, say, named=named)
    if unknown is not None and oms is None:
        raise unknown
    return dataclasses.replace(found, ok=found.ok and (oms is None or oms.ok), oms=oms)


def _is_content(store: Store, found: Verified, entries: list[FileEntry], model: list[FileEntry]) -> bool:
    """Whether what is called like a signature is a file of the release: content, and nobody's signature of it."""
    if not found.release:
        return False
    table = store.contents.table(parse_content(found.content))
    return any(table.find(entry.path) is not None for entry in set(entries).difference(model))


def _judge(
    store: Store,
    request: VerifyRequest,
    signature: Path,
    model: list[FileEntry],
    say: Callable[[str], None],
    *,
    named: bool,
) -> OmsFound | None:
    """What the OMS signature says, when one was named or lies here."""
    if not named and (Path(request.target).is_file() or not signature.is_file()):
        return None
    try:
        return judge(store, signature, model, request.oms_key)
    except (UntrustedError, ByCertificateError) as error:
        if named:
            raise
        say(f"{error.message}: it was not checked. {error.hint}")
        return None


def _identify(store: Store, entries: list[FileEntry], model: list[FileEntry], done: int, target: str) -> Verified:
    """The release that has these files, or should; what is called like a signature may belong to it or not."""
    for files in (entries, model):
        for held in store.catalog.releases(content=content_id(FileTable.of(files))):
            return _verdict(store, held, len(files), done, [])
    if len(model) == 1 and (found := _holding(store, model[0])) is not None:
        return _verdict(store, found, 1, done, [])
    return _closest(store, entries, model, done, target)


def _holding(store: Store, wanted: FileEntry) -> HeldRelease | None:
    """A release that has a file of these bytes."""
    for held in store.catalog.releases():
        if store.contents.has(held.content) and any(
            e.blake3 == wanted.blake3 for e in store.contents.table(held.content)
        ):
            return held
    return None


def _closest(store: Store, entries: list[FileEntry], model: list[FileEntry], done: int, target: str) -> Verified:
    """The release that should lie here, by its place or its names: what of it is wrong."""
    here = {entry.path: entry for entry in entries}
    expected = [set(here), {entry.path for entry in model}]
    for held in store.catalog.releases():
        if not store.contents.has(held.content):
            continue
        table = store.contents.table(held.content)
        lies = any(Path(target) in {p.root, p.root / table[0].path} for p in store.contents.places(held.content))
        if lies or {entry.path for entry in table} in expected:
            bad = [e.path for e in table if e.path not in here or here[e.path].blake3 != e.blake3]
            return _verdict(store, held, len(entries), done, bad)
    raise NotFoundError(f"no release that is known here has the bytes of {target}", hint="See samara ls.")


def _scan(path: Path, size: int, watch: Watch, cancelled: Callable[[], bool]) -> tuple[ScannedFile, Stamp] | None:
    """Hash one file, and say what it looked like then; None when it is not there, or of another size.

    Raises:
        StoreError: It cannot be read, or somebody writes to it.
    """
    with os_errors(f"cannot read {path}"):
        if not path.is_file() or path.stat().st_size != size:
            return None
        with open(path, "rb", buffering=0) as file:
            fd = file.fileno()
            now = stamp(fd)
            return scan_file(fd, size, on_progress=lambda count: watch(count, path.name), cancelled=cancelled), now


def _scan_held(path: Path, entry: FileEntry, watch: Watch, cancelled: Callable[[], bool]) -> Stamp | None:
    """Hash one file of a release; None when it is not what its table says: one bad sector hides no other file."""
    try:
        found = _scan(path, entry.size, watch, cancelled)
    except StoppedError:
        raise
    except StoreError as error:
        _log.warning("%s: %s", path, error.message)
        return None
    if found is None or (found[0].blake3, found[0].sha256) != (entry.blake3, entry.sha256):
        return None
    return found[1]


def _verdict(store: Store, held: HeldRelease, files: int, total: int, bad: list[str]) -> Verified:
    release = store.verified(held.id)
    with store.ledgers.asking(held.publisher) as ledger:
        standing = ledger.standing(release) if ledger is not None else release.signers.standing
    name = store.trust.name(held.publisher) or ""
    judged = judge_held(store, held, bad)
    signers = tuple(Signer(key, name, bool(name)) for key in release.signers.keys)
    return Verified(
        format_record(held.id),
        format_content(held.content),
        held.name,
        not bad and not held.condemned,
        files,
        total,
        tuple(bad),
        signers,
        standing.value,
        version=held.version,
        verdict=judged.verdict.value,
        judged=judged_row(store, held, judged),
    )


async def _pin(node: Node, request: RefRequest, report: Report) -> RefResult:
    return _set_pin(node.store, request.ref, pinned=True)


async def _unpin(node: Node, request: RefRequest, report: Report) -> RefResult:
    return _set_pin(node.store, request.ref, pinned=False)


def _set_pin(store: Store, ref: str, *, pinned: bool) -> RefResult:
    held = find_release(store, ref)
    store.catalog.pin(held.id, pinned=pinned)
    return RefResult(format_record(held.id))


async def _remove(node: Node, request: RefRequest, report: Report) -> CollectResult:
    held = find_release(node.store, request.ref)
    gone = await trio.to_thread.run_sync(node.store.remove, held.id)
    node.library_changed()
    return CollectResult(gone.contents, gone.bytes)


async def _collect(node: Node, request: CollectRequest, report: Report) -> CollectResult:
    gone = await trio.to_thread.run_sync(node.store.collect)
    node.library_changed()
    return CollectResult(gone.contents, gone.bytes)


async def _name(node: Node, request: NameRequest, report: Report) -> NameResult:
    publisher = publisher_named(node.store, request.publisher)
    if request.name == "me":
        raise LinkError("'me' always means this home's own publisher", hint="Choose another name.")
    name = check_petname(request.name) if request.name else ""
    known = {other for whose, other in node.store.catalog.petnames().items() if whose != publisher}
    for other in lookalikes(name, known | {"me"}) if name else ():
        report(Notice(f"{name} looks like {other}, which is another publisher here: take care which of them you mean"))
    node.store.catalog.set_petname(publisher, name)
    return NameResult(format_record(publisher), request.name)


VERIFY = Operation("verify", VerifyRequest, Verified, _verify, looks=True)
PIN = Operation("pin", RefRequest, RefResult, _pin)
UNPIN = Operation("unpin", RefRequest, RefResult, _unpin)
REMOVE = Operation("rm", RefRequest, CollectResult, _remove)
GC = Operation("gc", CollectRequest, CollectResult, _collect)
KEY_NAME = Operation("key name", NameRequest, NameResult, _name)
