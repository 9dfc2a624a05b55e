"""Questions about collections: collection show, collection ls, and who is followed.

What an entry says of a release is its collector's word. So beside it stands what is known of the release here, and
where the two differ, that is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from samara.node.operations.base import Query
from samara.node.operations.judging import judge_held
from samara.node.operations.queries import release_rows, why_taken_back
from samara.node.operations.refs import collection_named
from samara.node.store.catalog import HeldRelease
from samara.node.store.catalogues import Follow
from samara.node.store.store import Store
from samara.node.store.trust import OWN
from samara.protocol.errors import NotFoundError
from samara.protocol.ids import PublisherId, ReleaseId, format_record
from samara.protocol.links import Link
from samara.protocol.records import Collection, Listed, Verified, format_time, parse_time

__all__ = [
    "COLLECTION_LS",
    "COLLECTION_SHOW",
    "FOLLOWS",
    "KNOWN",
    "CollectionRequest",
    "CollectionRow",
    "CollectionShown",
    "CollectionsListed",
    "CollectionsRequest",
    "EntryRow",
    "FollowRow",
    "FollowsListed",
    "FollowsRequest",
    "IntroducedRow",
    "Names",
    "find_collection",
    "is_expired",
    "link_to",
    "wrong_in",
]

KNOWN = "known"
"""The state of a release of which nothing is here but that it is known of."""


@dataclass(frozen=True, slots=True)
class CollectionRequest:
    """One collection: `WHOSE/NAME`, or the NAME of one of this home's own."""

    name: str


@dataclass(frozen=True, slots=True)
class EntryRow:
    """A release in a collection.

    Attributes:
        release: Its id.
        name: Its name, as the collector says.
        version: Its version, as the collector says.
        publisher: Petname or id of the publisher, as the collector says.
        publisher_id: Id of the publisher, as the collector says.
        note: Why it is listed; may be empty.
        state: As in lists of releases; `known` when nothing of it is here.
        held: Bytes that are here.
        verdict: What to think of it, without hashing; empty when its records are not here.
        revoked: Why its publisher took it back; empty when that is not known.
        newer: The release that its name stands for now, as its publisher says, when it is another; else empty.
        wrong: Which of `publisher`, `name` and `version` the collector says otherwise than the release.
        ref: What `fetch` takes.
    """

    release: str
    name: str
    version: str
    publisher: str
    publisher_id: str
    note: str
    state: str
    held: int
    verdict: str
    revoked: str
    newer: str
    wrong: tuple[str, ...]
    ref: str


@dataclass(frozen=True, slots=True)
class IntroducedRow:
    """A publisher whom a collection introduces.

    Attributes:
        publisher: Its id.
        petname: What the collector calls it.
        name: What it is called here; may be empty.
    """

    publisher: str
    petname: str
    name: str


@dataclass(frozen=True, slots=True)
class CollectionShown:
    """What a collection lists (specs/cli.md).

    Attributes:
        publisher: Petname or id of the collector.
        publisher_id: Its id.
        name: The collection's name.
        title: Its title.
        record: Id of the record.
        issued: When it was signed, as it says.
        expires: Until when the collector stands for it; may be empty.
        expired: That time has come.
        frozen: Why the collector is frozen; empty when it is not.
        own: It is this home's own.
        followed: It is followed.
        entries: The releases, in the collector's order.
        publishers: Whom it introduces.
    """

    publisher: str
    publisher_id: str
    name: str
    title: str
    record: str
    issued: str
    expires: str
    expired: bool
    frozen: str
    own: bool
    followed: bool
    entries: tuple[EntryRow, ...]
    publishers: tuple[IntroducedRow, ...]


@dataclass(frozen=True, slots=True)
class CollectionsRequest:
    """This home's own collections, and those of whom it follows."""


@dataclass(frozen=True, slots=True)
class CollectionRow:
    """A collection, in a list of them.

    Attributes:
        publisher: Petname or id of the collector.
        publisher_id: Its id.
        name: Its name.
        title: Its title.
        entries: How many releases are in it.
        publishers: How many publishers it introduces.
        issued: When it was signed, as it says.
        own: It is this home's own.
        searched: `search` looks through it; of a collector with very many entries it does not.
    """

    publisher: str
    publisher_id: str
    name: str
    title: str
    entries: int
    publishers: int
    issued: str
    own: bool
    searched: bool


@dataclass(frozen=True, slots=True)
class CollectionsListed:
    """Collections, one's own first."""

    collections: tuple[CollectionRow, ...]


@dataclass(frozen=True, slots=True)
class FollowsRequest:
    """Who is followed."""


@dataclass(frozen=True, slots=True)
class FollowRow:
    """Somebody who is followed.

    Attributes:
        publisher: Petname or id.
        publisher_id: Its id.
        collection: The collection that is followed; empty: all of them.
        since: When that began, by the clock of then.
        collections: How many of those collections are known here.
        entries: How many releases they list.
        issued: When the newest was signed, as it says; empty when none is known.
        frozen: Why the publisher is frozen; empty when it is not.
    """

    publisher: str
    publisher_id: str
    collection: str
    since: str
    collections: int
    entries: int
    issued: str
    frozen: str


@dataclass(frozen=True, slots=True)
class FollowsListed:
    """Who is followed, in the order in which that began."""

    follows: tuple[FollowRow, ...]


class Names:
    """What publishers are called here; one asks for many of them."""

    def __init__(self, store: Store) -> None:
        self._names = dict.fromkeys(store.ledgers.own(), OWN) | store.catalog.petnames()

    def name(self, publisher: PublisherId) -> str:
        """Return a publisher's petname, "me" for this home's own, or nothing."""
        return self._names.get(publisher, "")

    def text(self, publisher: PublisherId) -> str:
        """Return a publisher's name here, or its id."""
        return self.name(publisher) or format_record(publisher)


def find_collection(store: Store, text: str) -> tuple[Verified[Collection], str]:
    """Return a collection that is known here, and why its collector is frozen, if so.

    Args:
        store: The home's.
        text: `WHOSE/NAME`, or the NAME of one of this home's own.

    Raises:
        NotFoundError: It is not known here.
        LinkError: It names none.
    """
    publisher, name = collection_named(store, text)
    with store.ledgers.asking(publisher) as ledger:
        found = ledger.collections.get(name) if ledger is not None else None
        frozen = ledger.fork.what if ledger is not None and ledger.fork is not None else ""
        others = ", ".join(sorted(ledger.collections)) if ledger is not None else ""
    if found is None:
        unknown = "Ask for it: samara follow WHOSE/NAME" if "/" in text else "Another's is WHOSE/NAME."
        hint = f"There is {others}." if others else unknown
        raise NotFoundError(f"no collection {text!r} is known here", hint=hint)
    return found, frozen


def is_expired(store: Store, said: Collection) -> bool:
    """Return whether a collector does not stand for a collection any more."""
    return said.expires is not None and store.times.moment().now > parse_time(said.expires)


def wrong_in(entry: Listed, held: HeldRelease) -> tuple[str, ...]:
    """Return what an entry says otherwise than the release itself."""
    said = {"publisher": entry.publisher, "name": entry.name, "version": entry.version}
    true = {"publisher": held.publisher, "name": held.name, "version": held.version}
    return tuple(what for what in said if said[what] != true[what])


def link_to(release: ReleaseId, name: str, publisher: PublisherId) -> str:
    """Return a link to a release that is only known of: it is refused if it turns out to be another publisher's."""
    return Link(release, name, publisher).encode()


def _show(store: Store, request: CollectionRequest) -> CollectionShown:
    found, frozen = find_collection(store, request.name)
    said, publisher = found.said, found.said.origin.publisher
    names = Names(store)
    return CollectionShown(
        publisher=names.text(publisher),
        publisher_id=format_record(publisher),
        name=said.name,
        title=said.title,
        record=format_record(found.id),
        issued=said.origin.issued,
        expires=said.expires or "",
        expired=is_expired(store, said),
        frozen=frozen,
        own=store.ledgers.is_own(publisher),
        followed=any((one.publisher, one.name) in {(publisher, ""), (publisher, said.name)} for one in _follows(store)),
        entries=tuple(_entry(store, entry, names) for entry in said.entries),
        publishers=tuple(
            IntroducedRow(format_record(one.publisher), one.petname, names.name(one.publisher))
            for one in said.publishers
        ),
    )


def _entry(store: Store, entry: Listed, names: Names) -> EntryRow:
    held = store.catalog.release(entry.release)
    wrong: tuple[str, ...] = ()
    state, here, verdict = KNOWN, 0, ""
    publisher, name, ref = entry.publisher, entry.name, link_to(entry.release, entry.name, entry.publisher)
    if held is not None:  # then its own word counts
        (row,) = release_rows(store, [held])
        state, here, verdict, wrong = row.state, row.held, judge_held(store, held).verdict.value, wrong_in(entry, held)
        publisher, name, ref = held.publisher, held.name, row.release
    head = store.ledgers.head(publisher, name)
    return EntryRow(
        release=format_record(entry.release),
        name=entry.name,
        version=entry.version,
        publisher=names.text(entry.publisher),
        publisher_id=format_record(entry.publisher),
        note=entry.note or "",
        state=state,
        held=here,
        verdict=verdict,
        revoked=why_taken_back(store, publisher, entry.release),
        newer=format_record(head.head.release) if head is not None and head.head.release != entry.release else "",
        wrong=wrong,
        ref=ref,
    )


def _follows(store: Store) -> Sequence[Follow]:
    return store.catalogues.follows()


def _list(store: Store, request: CollectionsRequest) -> CollectionsListed:
    names = Names(store)
    rows: list[CollectionRow] = []
    for one in store.catalogues.collections():
        with store.ledgers.asking(one.collector) as ledger:
            found = ledger.collections.get(one.name) if ledger is not None else None
        if found is not None:
            rows.append(
                CollectionRow(
                    publisher=names.text(one.collector),
                    publisher_id=format_record(one.collector),
                    name=one.name,
                    title=found.said.title,
                    entries=len(found.said.entries),
                    publishers=len(found.said.publishers),
                    issued=found.said.origin.issued,
                    own=store.ledgers.is_own(one.collector),
                    searched=one.searched,
                )
            )
    return CollectionsListed(tuple(sorted(rows, key=lambda row: (not row.own, row.publisher, row.name))))


def _list_follows(store: Store, request: FollowsRequest) -> FollowsListed:
    names = Names(store)
    return FollowsListed(tuple(_follow(store, one, names) for one in _follows(store)))


def _follow(store: Store, one: Follow, names: Names) -> FollowRow:
    with store.ledgers.asking(one.publisher) as ledger:
        known = ledger.collections.values() if ledger is not None else ()
        found = [each.said for each in known if one.name in {"", each.said.name}]
        frozen = ledger.fork.what if ledger is not None and ledger.fork is not None else ""
    return FollowRow(
        publisher=names.text(one.publisher),
        publisher_id=format_record(one.publisher),
        collection=one.name,
        since=format_time(max(0, int(one.since))),
        collections=len(found),
        entries=sum(len(said.entries) for said in found),
        issued=max((said.origin.issued for said in found), default=""),
        frozen=frozen,
    )


COLLECTION_SHOW = Query("collection show", CollectionRequest, CollectionShown, _show)
COLLECTION_LS = Query("collection ls", CollectionsRequest, CollectionsListed, _list)
FOLLOWS = Query("follows", FollowsRequest, FollowsListed, _list_follows)
