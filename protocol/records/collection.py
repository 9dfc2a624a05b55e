"""Collections: a list of releases with notes, by a person or a community (specs/records.md §13).

A collection recommends. It vouches for nothing: each release in it is verified against its own publisher, and a petname
in it is a suggestion to the reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

from samara.protocol.dsse import Signer
from samara.protocol.errors import StatementError
from samara.protocol.ids import PublisherId, ReleaseId, format_record
from samara.protocol.limits import MAX_COLLECTION, MAX_COLLECTION_PUBLISHERS
from samara.protocol.records.entry import (
    ENTRY_FIELDS,
    EntryKind,
    Origin,
    Place,
    Verified,
    about_publisher,
    given,
    origin_of,
    read_expires,
    read_origin,
    seal_entry,
)
from samara.protocol.records.fields import NAME, PETNAME, VERSION, Fields
from samara.protocol.records.root import PublisherChain
from samara.protocol.records.statement import Opened

__all__ = [
    "COLLECTION",
    "Collection",
    "Introduction",
    "Listed",
    "make_collection",
    "verify_collection",
]

_TYPE: Final = "urn:samara:collection:1"
_FIELDS: Final = ENTRY_FIELDS | {"name", "title", "entries", "publishers", "expires"}


@final
@dataclass(frozen=True, slots=True)
class Listed:
    """A release in a collection. All but `release` is what the collector says of it.

    Attributes:
        release: The release.
        publisher: Whose it is.
        name: Its name.
        version: Its version.
        note: Why it is here.
    """

    release: ReleaseId
    publisher: PublisherId
    name: str
    version: str
    note: str | None = None


@final
@dataclass(frozen=True, slots=True)
class Introduction:
    """A publisher whom the collector introduces; its id is the hash of its genesis, so its roots need not be here.

    Attributes:
        publisher: The publisher.
        petname: How the collector calls them.
    """

    publisher: PublisherId
    petname: str


@final
@dataclass(frozen=True, slots=True)
class Collection:
    """What a collection says.

    Attributes:
        origin: Whose it is, and where in the log. Of one name, the one that is last in the log counts.
        name: Its name, among this publisher's collections.
        title: Its title, for people.
        entries: The releases, in the order in which to show them.
        publishers: Publishers that the collector introduces.
        expires: After which time the collector stands for it no more.
    """

    origin: Origin
    name: str
    title: str
    entries: tuple[Listed, ...]
    publishers: tuple[Introduction, ...] = ()
    expires: str | None = None


def make_collection(
    chain: PublisherChain,
    *,
    place: Place,
    name: str,
    title: str,
    entries: Sequence[Listed],
    issued: str,
    keys: Sequence[Signer],
    publishers: Sequence[Introduction] = (),
    expires: str | None = None,
) -> Verified[Collection]:
    """Sign a collection, and verify the result.

    Args:
        chain: The collector's chain.
        place: The next place of its log.
        name: Name of the collection.
        title: Its title, for people.
        entries: The releases, in the order in which to show them.
        issued: `YYYY-MM-DDTHH:MM:SSZ`.
        keys: Enough keys of the current root.
        publishers: Publishers that the collector introduces.
        expires: `YYYY-MM-DDTHH:MM:SSZ`, or None: for ever.

    Raises:
        RecordError: A field is out of bounds, or the keys may not sign it.
    """
    introduced = [{"publisher": format_record(one.publisher), "petname": one.petname} for one in publishers]
    said: dict[str, object] = {
        "name": name,
        "title": title,
        "entries": [_entry(listed) for listed in entries],
        **given(publishers=introduced or None, expires=expires),
    }
    sealed = seal_entry(about_publisher(chain), _TYPE, origin_of(chain, place, issued), said, keys)
    return verify_collection(sealed, chain)


def verify_collection(envelope: bytes, publisher: PublisherChain) -> Verified[Collection]:
    """Verify a collection against its collector's chain.

    Raises:
        RecordError: One of its subclasses; which one for what, is in the spec.

    Source: specs/records.md §13.
    """
    return COLLECTION.verify(envelope, publisher)


def _read(opened: Opened) -> Collection:
    fields = opened.fields
    entries = tuple(_read_listed(Fields(item, "an entry")) for item in fields.items("entries", MAX_COLLECTION))
    if len({listed.release for listed in entries}) != len(entries):
        raise StatementError("collection: a release is listed twice")
    return Collection(
        origin=read_origin(fields),
        name=fields.match("name", NAME),
        title=fields.text("title"),
        entries=entries,
        publishers=fields.maybe("publishers", lambda name: _read_publishers(fields, name)) or (),
        expires=read_expires(fields),
    )


def _read_listed(fields: Fields) -> Listed:
    return Listed(
        release=ReleaseId(fields.record_id("release")),
        publisher=PublisherId(fields.record_id("publisher")),
        name=fields.match("name", NAME),
        version=fields.match("version", VERSION),
        note=fields.maybe("note", fields.text),
    )


def _read_publishers(fields: Fields, name: str) -> tuple[Introduction, ...]:
    read = [Fields(item, "a publisher") for item in fields.items(name, MAX_COLLECTION_PUBLISHERS)]
    found = tuple(Introduction(PublisherId(one.record_id("publisher")), one.match("petname", PETNAME)) for one in read)
    if len({one.publisher for one in found}) != len(found) or len({one.petname for one in found}) != len(found):
        raise StatementError("collection: a publisher, or a petname, is introduced twice")
    return found


def _entry(listed: Listed) -> dict[str, object]:
    return {
        "release": format_record(listed.release),
        "publisher": format_record(listed.publisher),
        "name": listed.name,
        "version": listed.version,
        **given(note=listed.note),
    }


COLLECTION: Final[EntryKind[Collection]] = EntryKind(_TYPE, "collection", _FIELDS, _read, about_publisher=True)
