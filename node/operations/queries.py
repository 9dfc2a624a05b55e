"""Questions that the store alone answers: ls, show, queue, key show."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

from samara.node.operations.base import Query
from samara.node.operations.delegating import DelegateRow
from samara.node.operations.judging import SeenRow, delegate_of, judge_held, seen_rows
from samara.node.operations.keys import is_protected, where_key_is
from samara.node.operations.refs import find_release, link_of, own_publisher
from samara.node.operations.roots import old_heads, old_releases
from samara.node.store.catalog import HeldRelease
from samara.node.store.store import Store
from samara.protocol.ids import PublisherId, ReleaseId, format_content, format_record
from samara.protocol.records import parse_time

__all__ = [
    "KEY_SHOW",
    "LIST",
    "QUEUE",
    "SHOW",
    "AttestationRow",
    "KeyShown",
    "Listed",
    "Queued",
    "ReleaseRow",
    "Shown",
    "release_rows",
    "why_taken_back",
]


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """A release, as lists show it.

    Attributes:
        release: Its id.
        name: Its name.
        version: Its version.
        publisher: The publisher's petname, or id.
        kind: model, dataset, adapter or collection.
        license: SPDX expression or NOASSERTION.
        bytes: Size of all files.
        files: How many.
        held: Bytes that are here, verified.
        visibility: public, unlisted or private.
        pinned: gc leaves it.
        state: complete, partial, away, edited or condemned.
        path: Where it lies, or empty.
        revoked: Why its publisher took it back, or the key that signed it; empty when that is not known.
    """

    release: str
    name: str
    version: str
    publisher: str
    kind: str
    license: str
    bytes: int
    files: int
    held: int
    visibility: str
    pinned: bool
    state: str
    path: str
    revoked: str


@dataclass(frozen=True, slots=True)
class ListRequest:
    """All releases known here."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Releases, newest first."""

    releases: tuple[ReleaseRow, ...]


@dataclass(frozen=True, slots=True)
class ShowRequest:
    """One release.

    Attributes:
        ref: Which.
        said_by: Petnames or ids: attestations of nobody else are shown; empty: of all.
        trusted: Only attestations of those who have a name here, and of this home.
    """

    ref: str
    said_by: tuple[str, ...] = ()
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class AttestationRow:
    """What somebody says of a release.

    Attributes:
        record: Its id.
        publisher: Who says it: petname or id.
        publisher_id: Who says it.
        trusted: They have a name here, or are this home.
        claim: reviewed, evaluated, reproduced or harmful.
        suite: What it was evaluated with; may be empty.
        score: What came out; may be empty.
        results: BLAKE3 of a file of results; may be empty.
        text: In words; may be empty.
        issued: When it was signed.
        expires: After which time they stand for it no more; empty: never.
        expired: That time has come.
    """

    record: str
    publisher: str
    publisher_id: str
    trusted: bool
    claim: str
    suite: str
    score: str
    results: str
    text: str
    issued: str
    expires: str
    expired: bool


@dataclass(frozen=True, slots=True)
class ShownFile:
    """A file of a release: what `b3sum` and `sha256sum` print of it, and how it stands here."""

    path: str
    bytes: int
    blake3: str
    sha256: str
    root: str
    state: str


@dataclass(frozen=True, slots=True)
class Shown(ReleaseRow):
    """All that is known of a release.

    Attributes:
        publisher_id: Who published it.
        content: Its content id.
        issued: When, as the publisher says.
        redistribute: The publisher answered that it may be passed on.
        link: Its link.
        file_list: Its files; empty when only the records are here.
        format: Facts about the model's format, as the publisher states them.
        places: Folders in which it lies.
        verdict: GOOD, STALE, REVOKED, UNTRUSTED or DAMAGED; its bytes were not hashed for that.
        reasons: Why; empty when all is well.
        notes: What else a person should know.
        newer: The release that the name stands for now, when it is another; else empty.
        replacement: What its publisher says to use in its place; may be empty.
        delegate: Which delegates have signed it; None when the publisher's own keys have.
        attestations: What is said of it.
        seen: Which witnesses have seen in its publisher's log that it was published.
    """

    publisher_id: str
    content: str
    issued: str
    redistribute: bool
    link: str
    file_list: tuple[ShownFile, ...]
    format: dict[str, str | int]
    places: tuple[str, ...]
    verdict: str
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    newer: str
    replacement: str
    delegate: DelegateRow | None
    attestations: tuple[AttestationRow, ...]
    seen: tuple[SeenRow, ...]


@dataclass(frozen=True, slots=True)
class QueueRequest:
    """What is under way."""


@dataclass(frozen=True, slots=True)
class QueuedRow:
    """A fetch that is not done.

    Attributes:
        number: By which it can be dropped.
        ref: What was asked for.
        state: running; queued: it goes on when `samara node` runs, or the same command; failed.
        release: Its release id, once known.
        error: Why it failed, or why it makes way for others.
    """

    number: int
    ref: str
    state: str
    release: str
    error: str


@dataclass(frozen=True, slots=True)
class Queued:
    """Fetches that are not done, oldest first."""

    fetches: tuple[QueuedRow, ...]


@dataclass(frozen=True, slots=True)
class KeyShowRequest:
    """This home's keys, and the names it gave."""


@dataclass(frozen=True, slots=True)
class KeyShown:
    """The public halves of this home's keys.

    Attributes:
        publisher: Publisher id.
        key: The publisher's key as did:key.
        names: Petnames: name → publisher id.
        protected: The key is sealed with a passphrase; of a key in an agent, what else is here is.
        root: Version of the publisher's current root.
        threshold: How many keys must sign.
        keys: All did:keys of the current root.
        old_heads: Names whose newest head is not signed under the current root.
        old_releases: Names and versions of unlisted and private releases that the current root's keys have not signed.
        where: "file", or "agent" for a key whose seed is not here.
    """

    publisher: str
    key: str
    names: dict[str, str]
    protected: bool
    root: int
    threshold: int
    keys: tuple[str, ...]
    old_heads: tuple[str, ...]
    old_releases: tuple[str, ...]
    where: str


def release_rows(store: Store, releases: Iterable[HeldRelease]) -> Iterator[ReleaseRow]:
    """Yield releases as lists show them."""
    pins, names = store.catalog.pins(), store.catalog.petnames()
    return (_row(store, held, pins, names) for held in releases)


def _row(store: Store, held: HeldRelease, pins: Container[ReleaseId], names: Mapping[PublisherId, str]) -> ReleaseRow:
    state, here, path = _standing(store, held)
    return ReleaseRow(
        format_record(held.id),
        held.name,
        held.version,
        names.get(held.publisher) or format_record(held.publisher),
        held.kind,
        held.license,
        held.bytes,
        held.files,
        here,
        held.visibility,
        held.id in pins,
        "condemned" if held.condemned else state,
        path,
        store.trust.taken_back(held),
    )


def why_taken_back(store: Store, publisher: PublisherId, release: ReleaseId) -> str:
    """Return why a publisher took back a release of its own, which need not be here; or nothing."""
    found = store.ledgers.revocation(publisher, release)
    if found is None:
        return ""
    return found.said.reason.value + (f": {found.said.text}" if found.said.text else "")


def _attestations(store: Store, held: HeldRelease, request: ShowRequest) -> tuple[AttestationRow, ...]:
    now = store.times.moment().now
    rows: list[AttestationRow] = []
    for entry in store.ledgers.attestations(held.id):
        said, publisher = entry.said, entry.said.origin.publisher
        name = store.trust.name(publisher)
        if (request.trusted and name is None) or (
            request.said_by and not {name, format_record(publisher)} & set(request.said_by)
        ):
            continue
        rows.append(
            AttestationRow(
                record=format_record(entry.id),
                publisher=name or format_record(publisher),
                publisher_id=format_record(publisher),
                trusted=name is not None,
                claim=said.claim.value,
                suite=said.suite or "",
                score=said.score or "",
                results=said.results.blake3.hex() if said.results is not None else "",
                text=said.text or "",
                issued=said.origin.issued,
                expires=said.expires or "",
                expired=said.expires is not None and now > parse_time(said.expires),
            )
        )
    # Those whom one trusts first, and of them what was said last.
    return tuple(sorted(sorted(rows, key=lambda row: row.issued, reverse=True), key=lambda row: not row.trusted))


def _standing(store: Store, held: HeldRelease) -> tuple[str, int, str]:
    """How a content stands here: state, bytes, and the best place's path."""
    best = ("absent", 0, "")
    if not store.contents.has(held.content):
        return best
    table = store.contents.table(held.content)
    for place in store.contents.places(held.content):
        here = 0
        for stream, file in store.contents.files(place).items():
            if file.bits is None:
                here += table[stream - 1].size
            elif (chunks := store.contents.chunk_list(held.content, stream)) is not None:
                here += sum(chunks.length(i) for i in range(len(chunks)) if file.holds(i))
        state = place.state if place.state != "online" else "complete" if here == held.bytes else "partial"
        path = place.root.joinpath(*table[0].path.split("/")) if len(table) == 1 else place.root
        if not best[2] or here > best[1] or (state == "complete" != best[0]):
            best = (state, here, str(path))
    return best


def _show(store: Store, request: ShowRequest) -> Shown:
    held = find_release(store, request.ref)
    places = store.contents.places(held.content)
    files: list[ShownFile] = []
    if store.contents.has(held.content):
        best = {stream: file for place in places for stream, file in store.contents.files(place).items()}
        for stream, entry in enumerate(store.contents.table(held.content), 1):
            file = best.get(stream)
            state = "absent" if file is None else file.state
            files.append(
                ShownFile(
                    entry.path, entry.size, entry.blake3.hex(), entry.sha256.hex(), format_content(entry.root), state
                )
            )
    judged = judge_held(store, held)
    return Shown(
        **asdict(next(release_rows(store, [held]))),
        publisher_id=format_record(held.publisher),
        content=format_content(held.content),
        issued=held.issued,
        redistribute=held.redistribute,
        link=link_of(held),
        file_list=tuple(files),
        format=_format_facts(store, held),
        places=tuple(str(place.root) for place in places),
        verdict=judged.verdict.value,
        reasons=judged.reasons,
        notes=judged.notes,
        newer=format_record(judged.newer) if judged.newer is not None else "",
        replacement=format_record(judged.replacement) if judged.replacement is not None else "",
        delegate=delegate_of(store, held),
        attestations=_attestations(store, held, request),
        seen=seen_rows(store, held.publisher, held),
    )


def _format_facts(store: Store, held: HeldRelease) -> dict[str, str | int]:
    facts = asdict(store.verified(held.id).release.format)
    return {name: value for name, value in facts.items() if value is not None}


def _queue(store: Store, request: QueueRequest) -> Queued:
    held = store.home.is_held()
    return Queued(
        tuple(
            QueuedRow(
                fetch.no,
                str(json.loads(fetch.request).get("ref", "")),
                fetch.state if held or fetch.state != "running" else "queued",  # whoever ran it was killed
                format_record(fetch.release) if fetch.release else "",
                fetch.error,
            )
            for fetch in store.catalog.queue()
        )
    )


def _key_show(store: Store, request: KeyShowRequest) -> KeyShown:
    own = own_publisher(store)
    names = {name: format_record(publisher) for publisher, name in store.catalog.petnames().items()}
    current = own.chain.current
    return KeyShown(
        publisher=format_record(own.publisher),
        key=own.key,
        names=names,
        protected=is_protected(store, own),
        root=current.version,
        threshold=current.threshold,
        keys=current.keys,
        old_heads=tuple(head.head.name for head in old_heads(store, own)),
        old_releases=tuple(f"{held.name} {held.version}" for held, _ in old_releases(store, own)),
        where=where_key_is(store),
    )


def _list(store: Store, request: ListRequest) -> Listed:
    return Listed(tuple(release_rows(store, store.catalog.releases())))


LIST = Query("ls", ListRequest, Listed, _list)
SHOW = Query("show", ShowRequest, Shown, _show)
QUEUE = Query("queue", QueueRequest, Queued, _queue)
KEY_SHOW = Query("key show", KeyShowRequest, KeyShown, _key_show)
