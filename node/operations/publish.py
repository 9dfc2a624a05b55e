"""publish: hash, sign and record a file or a folder where it lies."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from samara.node.inference.fit import estimate
from samara.node.inference.run import DEFAULT_CONTEXT
from samara.node.operations.advice import parquet_advice
from samara.node.operations.base import Notice, Operation, Progress, Report
from samara.node.operations.delegating import Author, author_keys, author_of, previous_head
from samara.node.operations.refs import check_place, find_release, link_of, next_place, now_text, signing
from samara.node.store.files import os_errors, read_some
from samara.node.store.publish import Published, SourceFile, find_files, publish_files
from samara.node.store.store import Store
from samara.node.threads import is_cancelled
from samara.protocol import limits
from samara.protocol.errors import LicenseError, ModelHeaderError, OperationError, UsageError
from samara.protocol.formats.facts import read_facts
from samara.protocol.formats.header import ModelFacts
from samara.protocol.ids import format_content, format_record
from samara.protocol.licenses import Redistribution, judge, license_of_card, license_of_text, normalise
from samara.protocol.links import check_name
from samara.protocol.ports import Records
from samara.protocol.records import (
    NO_DELEGATIONS,
    NO_LICENSE,
    VERSION,
    Format,
    Kind,
    Lineage,
    Release,
    Standing,
    VerifiedRelease,
    Visibility,
    format_time,
    make_head,
    make_release,
    parse_time,
)

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = ["PUBLISH", "PublishRequest", "PublishedRow"]

_CARD: Final = re.compile(r"README(\.md)?", re.IGNORECASE)
_LICENSE_FILE: Final = re.compile(r"(LICEN[CS]E|COPYING)(\.(md|txt))?", re.IGNORECASE)
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_TEXT: Final = 64 * limits.KIB


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """What to publish.

    Attributes:
        path: Absolute path of a file or folder.
        name: Name of the release; empty takes the path's.
        version: Its version; empty takes "1", or the newest one's when the facts are the same.
        kind: model, dataset, adapter, collection; empty guesses from the files.
        license: SPDX expression; empty reads it from the files.
        yes: The publisher says that it may be passed on, whatever the licence.
        visibility: public, unlisted or private.
        allow: Peer ids that may have a private release.
        bases: REFs of what it was made from.
        insist: Names of releases that are passed on although they were taken back.
        tell_its_id: Also the ids of bases that are less public than this release.
        publisher: Petname or id of the publisher whose release it shall be, who delegated its name to this home; empty:
            this home's own.
    """

    path: str
    name: str = ""
    version: str = ""
    kind: str = ""
    license: str = ""
    yes: bool = False
    visibility: str = "public"
    allow: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()
    insist: tuple[str, ...] = ()
    tell_its_id: bool = False
    publisher: str = ""


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """What was published (specs/cli.md).

    Attributes:
        release: Release id.
        link: Its link.
        content: Content id.
        name: Its name.
        version: Its version.
        license: Its licence, as signed.
        files: How many files.
        bytes: Their size.
        chunks: Their chunks.
        path: Where it lies.
        new: It was signed now, not found again.
        warnings: What a person should know of the files.
    """

    release: str
    link: str
    content: str
    name: str
    version: str
    license: str
    files: int
    bytes: int
    chunks: int
    path: str
    new: bool
    warnings: tuple[str, ...]


async def _publish(node: Node, request: PublishRequest, report: Report) -> PublishedRow:
    def on_progress(done: int, path: str) -> None:
        trio.from_thread.run_sync(report, Progress("hashing", done, total, note=path))

    def work() -> PublishedRow:
        return publish(node.store, request, files, root, report=on_progress, cancelled=is_cancelled)

    root, files = await trio.to_thread.run_sync(find_files, Path(request.path))
    total = sum(file.size for file in files)
    row = await trio.to_thread.run_sync(work)
    node.library_changed()
    service = node.network_if_started
    if service is not None:
        row = replace(row, link=link_of(find_release(node.store, row.release), service.link_addresses()))
    for warning in row.warnings:
        report(Notice(warning))
    if row.license == NO_LICENSE:
        report(Notice("The licence is not known; it is passed on because you said so (--yes)."))
    return row


def publish(
    store: Store,
    request: PublishRequest,
    files: list[SourceFile],
    root: Path,
    *,
    report: Callable[[int, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> PublishedRow:
    """Hash, sign and record. Blocks; `_publish` is the operation around it.

    Raises:
        LicenseError: Nobody said that it may be passed on.
        LockedKeyError: It has to be signed, and the key is sealed and was not unlocked.
        OperationError: It has to be signed, and too few keys are here.
        UsageError: A name, version, kind or visibility is malformed.
        StoreError: A file changed while it was read.
        RevokedError: These bytes were published before, and taken back.
        NotFoundError: As `author_of`, where another publisher is named.
    """
    name, kind, visibility = _checked(request, files)
    _refuse_the_home(store, files)
    bases = tuple(_base(store, base, None if request.tell_its_id else visibility) for base in request.bases)
    facts, warnings = _facts(files)
    warnings += parquet_advice(files)
    license_, redistribute = _license(request, files, facts)
    author = author_of(store, request.publisher, name)
    _ask_early(store, author, root)
    with store.publishing():
        published = publish_files(store.contents, root, files, on_progress=report, cancelled=cancelled)
        wanted = Release(
            kind=kind,
            publisher=author.publisher,
            root=author.chain.current.version,
            name=name,
            version=request.version or "1",
            issued=now_text(),
            content=published.content,
            bytes=published.table.size,
            files=len(published.table),
            license=license_,
            redistribute=redistribute,
            visibility=visibility,
            format=_format(facts),
            lineage=Lineage(bases=bases),
            delegation=author.delegation.id if author.delegation is not None else None,
        )
        with signing:
            found = _earlier(store, wanted, any_version=not request.version)
            if found is not None and store.trust.check(found, insisted=name in request.insist).stops:
                store.trust.seed(found.id)
            version = _version(store, wanted, request.version)
            release = found or _sign(store, request.publisher, replace(wanted, version=version), published)
        store.catalog.pin(release.id, pinned=True)
    store.catalog.allow(release.id, request.allow)
    broken = "its header breaks the chunking rule, so it is cut like any file"
    warnings += [f"{path}: {broken}" for path in published.generic]
    path = root if len(files) > 1 or Path(request.path).is_dir() else root / files[0].path
    return PublishedRow(
        release=format_record(release.id),
        link=link_of(find_release(store, format_record(release.id))),
        content=format_content(published.content),
        name=name,
        version=release.release.version,
        license=release.release.license,
        files=len(published.table),
        bytes=published.table.size,
        chunks=published.chunks,
        path=str(path),
        new=found is None,
        warnings=tuple(warnings),
    )


def _checked(request: PublishRequest, files: Sequence[SourceFile]) -> tuple[str, Kind, Visibility]:
    if request.version and not VERSION.fullmatch(request.version):
        raise UsageError(f"{request.version!r} is not a version", hint="Letters, digits and . _ + - make a version.")
    name = request.name or _NOT_IN_NAMES.sub("-", Path(request.path).name.removesuffix(".gguf")).strip("-._")[:96]
    try:
        kind = Kind(request.kind) if request.kind else _guess_kind(files)
        visibility = Visibility(request.visibility)
    except ValueError as error:
        raise UsageError(str(error), hint="See samara publish --help.") from error
    return check_name(name or "unnamed"), kind, visibility


def _base(store: Store, ref: str, visibility: Visibility | None) -> str:
    """The id of what a release was made from: whoever sees the release learns it.

    Raises:
        UsageError: It is less public than a release of this visibility; None is as little as any.
    """
    held = find_release(store, ref)
    shown = [Visibility.PUBLIC, Visibility.UNLISTED, Visibility.PRIVATE]
    theirs = store.verified(held.id).release.visibility
    if visibility is not None and shown.index(theirs) > shown.index(visibility):
        raise UsageError(
            f"{held.name} {held.version} is {theirs.value}: a {visibility.value} release that names it tells its id",
            hint="Leave out --base; or, to tell it all the same: --tell-its-id.",
        )
    return format_record(held.id)


def _ask_early(store: Store, author: Author, root: Path) -> None:
    """Say before hours of hashing that nothing can be signed; what was published before may need no signature."""
    try:
        author_keys(store, author)
    except OperationError:
        here = [place.content for place in store.contents.places() if place.root == root]
        if not any(store.catalog.releases(content=content, publisher=author.publisher) for content in here):
            raise


def _refuse_the_home(store: Store, files: Sequence[SourceFile]) -> None:
    """A folder that holds the home holds its private keys: who publishes those gives himself away."""
    keys = store.home.root.resolve()
    for file in files:
        if file.real.parent == keys and file.real.suffix in {".key", ".sqlite"}:
            raise UsageError(
                f"{file.real} belongs to the Samara home, which holds your private keys",
                hint="Publish a folder without it, or move the home with $SAMARA_HOME.",
            )


def _guess_kind(files: Sequence[SourceFile]) -> Kind:
    names = [file.path.lower() for file in files]
    if any(name.endswith("adapter_config.json") for name in names):
        return Kind.ADAPTER
    if any(name.endswith((".gguf", ".safetensors", ".bin", ".onnx", ".pt")) for name in names):
        return Kind.MODEL
    if any(name.endswith((".parquet", ".jsonl", ".csv", ".arrow", ".txt")) for name in names):
        return Kind.DATASET
    return Kind.COLLECTION


def _facts(files: Sequence[SourceFile]) -> tuple[ModelFacts | None, list[str]]:
    """Facts of the first model file whose header can be believed, and what is wrong with those before it."""
    warnings: list[str] = []
    for file in files:
        with os_errors(f"cannot read {file.real}"), open(file.real, "rb", buffering=0) as opened:
            fd = opened.fileno()
            try:
                facts = read_facts(functools.partial(read_some, fd), file.size)
            except ModelHeaderError as error:
                warnings.append(f"{file.path}: {error.message}; samara run will refuse it")
                continue
        if facts is not None:
            return facts, warnings
    return None, warnings


def _format(facts: ModelFacts | None) -> Format:
    if facts is None:
        return Format()
    return Format(
        container=facts.container,
        architecture=facts.architecture or None,
        parameters=facts.parameters or None,
        quantization=facts.quantization or None,
        context_length=facts.context_length or None,
        memory_bytes=estimate(facts, min(facts.context_length or DEFAULT_CONTEXT, DEFAULT_CONTEXT)).needed,
    )


def _license(request: PublishRequest, files: Sequence[SourceFile], facts: ModelFacts | None) -> tuple[str, bool]:
    license_ = normalise(request.license or _read_license(files, facts))
    verdict = judge(license_)
    stated = bool(request.license) and verdict is Redistribution.UNCLEAR and license_ != NO_LICENSE
    if request.yes or stated or verdict is Redistribution.ALLOWED:
        return license_, True
    if license_ == NO_LICENSE:
        raise LicenseError(
            "no licence was found in the files",
            hint="Say which it is with --license SPDX-ID (Apache-2.0, MIT, …), or --yes if you may pass it on anyway.",
        )
    what = "forbids passing it on" if verdict is Redistribution.FORBIDDEN else "is not one that Samara knows"
    raise LicenseError(f"the licence {license_} {what}", hint="If you have the right to pass it on, say so with --yes.")


def _read_license(files: Sequence[SourceFile], facts: ModelFacts | None) -> str | None:
    if facts is not None and facts.license:
        return facts.license
    top = [file for file in files if "/" not in file.path and file.size <= 16 * _MAX_TEXT]
    for file in top:
        if _CARD.fullmatch(file.path) and (found := license_of_card(_head_of(file))):
            return found
    for file in top:
        if _LICENSE_FILE.fullmatch(file.path) and (found := license_of_text(_head_of(file))):
            return found
    return None


def _head_of(file: SourceFile) -> bytes:
    with os_errors(f"cannot read {file.real}"), open(file.real, "rb") as opened:
        return opened.read(_MAX_TEXT)


def _earlier(store: Store, wanted: Release, *, any_version: bool) -> VerifiedRelease | None:
    """An earlier release of the same bytes that says the same."""
    for held in store.catalog.releases(content=wanted.content, publisher=wanted.publisher, name=wanted.name):
        records = store.catalog.records(held.id)
        if records is None:
            continue
        release = store.verify_records(records, expected=held.id)
        same = replace(wanted, version=release.release.version) if any_version else wanted
        if same.says_the_same(release.release) and not _is_lapsed(store, release):
            return release
    return None


def _is_lapsed(store: Store, release: VerifiedRelease) -> bool:
    """Whether a delegate has signed a release who may no more, and nobody who may has named it since."""
    with store.ledgers.asking(release.release.publisher) as ledger:
        delegated = release.release.delegation is not None
        return delegated and ledger is not None and ledger.standing(release) is Standing.RETIRED


def _version(store: Store, wanted: Release, asked: str) -> str:
    """The version to sign: what was asked, or one more than there was of that name, also of what was removed since."""
    if asked:
        return asked
    held = store.catalog.releases(publisher=wanted.publisher, name=wanted.name)
    with store.ledgers.asking(wanted.publisher) as ledger:
        heads = len(ledger.history(wanted.name)) if ledger is not None else 0
    numbers = [int(release.version) for release in held if re.fullmatch(r"[0-9]{1,9}", release.version)]
    return str(1 + max(len(held), heads, *numbers))


def _sign(store: Store, whose: str, wanted: Release, published: Published) -> VerifiedRelease:
    author = author_of(store, whose, wanted.name)  # while it was hashed, more may have become known of the publisher
    delegation = author.delegation.id if author.delegation is not None else None
    wanted = replace(wanted, root=author.chain.current.version, delegation=delegation)
    keys = author_keys(store, author)
    public = wanted.visibility is Visibility.PUBLIC
    with store.ledgers.asking(author.publisher) as ledger:
        delegations = dict(ledger.delegations) if ledger is not None else NO_DELEGATIONS
        place = next_place(ledger) if public and delegation is None else None
        previous = previous_head(ledger, wanted.name, delegation) if ledger is not None else None
    release = make_release(wanted, published.encoded, author.chain, keys, delegations)
    head = None
    if public:
        head = make_head(
            author.chain,
            name=wanted.name,
            release=release.payload,
            previous=previous,
            issued=wanted.issued,
            keys=keys,
            place=place,
            expires=format_time(parse_time(wanted.issued) + limits.HEAD_LIFETIME),
            delegation=delegation,
            delegations=delegations,
        ).envelope
    with store.ledgers.asking(author.publisher) as ledger:
        if place is not None:
            check_place(ledger, place)
        store.add_release(release, Records(author.chain.envelopes, release.envelope, head), own=True)
    return release


PUBLISH = Operation("publish", PublishRequest, PublishedRow, _publish, signs=True)
