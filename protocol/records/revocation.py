"""Revocations: what a publisher takes back, a release or a key (specs/records.md §11).

A revocation never expires and is never taken back. Whether it counts, in the log and beside other revocations, is
judged by `samara.protocol.trust`.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, final

from samara.protocol.dsse import Signer
from samara.protocol.errors import StatementError
from samara.protocol.ids import ReleaseId, format_record, parse_did_key
from samara.protocol.records.entry import (
    ENTRY_FIELDS,
    EntryKind,
    Origin,
    Place,
    Verified,
    formatted,
    given,
    origin_of,
    read_origin,
    seal_entry,
)
from samara.protocol.records.fields import Fields
from samara.protocol.records.root import PublisherChain
from samara.protocol.records.statement import Opened, Subject

__all__ = [
    "REVOCATION",
    "KeyRevocation",
    "Reason",
    "ReleaseRevocation",
    "Revocation",
    "make_key_revocation",
    "make_release_revocation",
    "verify_revocation",
]

_TYPE: Final = "urn:samara:revocation:1"
_ABOUT_RELEASE: Final = frozenset({"release", "reason", "text", "replacement"})
_ABOUT_KEY: Final = frozenset({"key", "through", "last", "text"})
_FIELDS: Final = ENTRY_FIELDS | {"of"} | _ABOUT_RELEASE | _ABOUT_KEY
_SUBJECT: Final = "release"


class _Of(enum.Enum):
    RELEASE = "release"
    KEY = "key"


class Reason(enum.Enum):
    """Why a release is taken back."""

    SECURITY = "security"
    BROKEN = "broken"
    LICENCE = "licence"
    WITHDRAWN = "withdrawn"
    OTHER = "other"


@final
@dataclass(frozen=True, slots=True)
class ReleaseRevocation:
    """What the revocation of a release says.

    Attributes:
        origin: Whose it is, and where in the log.
        release: What is taken back. It counts for releases of this publisher only.
        reason: Why.
        text: Why, in words.
        replacement: What to use in its place.
    """

    origin: Origin
    release: ReleaseId
    reason: Reason
    text: str | None = None
    replacement: ReleaseId | None = None


@final
@dataclass(frozen=True, slots=True)
class KeyRevocation:
    """What the revocation of a key says: what the key signed after a place of the log is void.

    Attributes:
        origin: Whose it is, and where in the log.
        key: did:key of the key.
        through: The last position at which its signature counts; 0 when it never counts.
        last: Record id of the record at that position; None exactly when `through` is 0.
        text: Why, in words.
    """

    origin: Origin
    key: str
    through: int
    last: bytes | None
    text: str | None = None


Revocation: TypeAlias = ReleaseRevocation | KeyRevocation


def make_release_revocation(
    chain: PublisherChain,
    *,
    place: Place,
    release: Subject,
    reason: Reason,
    issued: str,
    keys: Sequence[Signer],
    text: str | None = None,
    replacement: ReleaseId | None = None,
) -> Verified[Revocation]:
    """Sign that a release is taken back, and verify the result.

    Args:
        chain: The publisher's chain.
        place: The next place of its log.
        release: Digests of the release's payload: `Subject.of("release", payload)`, or the subject of a head of it.
        reason: Why.
        issued: `YYYY-MM-DDTHH:MM:SSZ`.
        keys: Enough keys of the current root.
        text: Why, in words, for people.
        replacement: What to use in its place.

    Raises:
        RecordError: A field is out of bounds, or the keys may not sign it.
    """
    said: dict[str, object] = {
        "of": _Of.RELEASE.value,
        "release": format_record(release.blake3),
        "reason": reason.value,
        **given(text=text, replacement=formatted(replacement)),
    }
    return verify_revocation(seal_entry(release, _TYPE, origin_of(chain, place, issued), said, keys), chain)


def make_key_revocation(
    chain: PublisherChain,
    *,
    place: Place,
    key: str,
    last: Place,
    issued: str,
    keys: Sequence[Signer],
    text: str | None = None,
) -> Verified[Revocation]:
    """Sign that a key is taken back, and verify the result.

    Args:
        chain: The publisher's chain.
        place: The next place of its log.
        key: did:key of the key that is taken back.
        last: The place after the last record that the key rightly signed; `Place.first()` when it signed none.
        issued: `YYYY-MM-DDTHH:MM:SSZ`.
        keys: Enough keys of the current root.
        text: Why, in words, for people.

    Raises:
        RecordError: A field is out of bounds, or the keys may not sign it.
        LinkError: `key` is no did:key.
    """
    said: dict[str, object] = {
        "of": _Of.KEY.value,
        "key": key,
        "through": last.position - 1,
        "last": formatted(last.after),
        **given(text=text),
    }
    subject = Subject.of(key, parse_did_key(key))
    return verify_revocation(seal_entry(subject, _TYPE, origin_of(chain, place, issued), said, keys), chain)


def verify_revocation(envelope: bytes, publisher: PublisherChain) -> Verified[Revocation]:
    """Verify a revocation against its publisher's chain.

    Raises:
        RecordError: One of its subclasses; which one for what, is in the spec.

    Source: specs/records.md §11.
    """
    return REVOCATION.verify(envelope, publisher)


def _read(opened: Opened) -> Revocation:
    origin = read_origin(opened.fields)
    if opened.fields.choice("of", _Of) is _Of.RELEASE:
        return _read_release(opened, origin)
    return _read_key(opened, origin)


def _read_release(opened: Opened, origin: Origin) -> ReleaseRevocation:
    fields = opened.fields
    said = ReleaseRevocation(
        origin=origin,
        release=ReleaseId(fields.record_id("release")),
        reason=fields.choice("reason", Reason),
        text=fields.maybe("text", fields.text),
        replacement=_replacement(fields),
    )
    if opened.subject.name != _SUBJECT or opened.subject.blake3 != said.release:
        raise StatementError("revocation: the subject is not the release that it names")
    if said.replacement == said.release:
        raise StatementError("revocation: a release that replaces itself")
    return said


def _replacement(fields: Fields) -> ReleaseId | None:
    found = fields.maybe("replacement", fields.record_id)
    return None if found is None else ReleaseId(found)


def _read_key(opened: Opened, origin: Origin) -> KeyRevocation:
    fields = opened.fields
    said = KeyRevocation(
        origin=origin,
        key=fields.did_key("key"),
        through=fields.integer("through", 0),
        last=None if fields.get("last") is None else fields.record_id("last"),
        text=fields.maybe("text", fields.text),
    )
    if opened.subject != Subject.of(said.key, parse_did_key(said.key)):
        raise StatementError("revocation: the subject is not the key that it names")
    if (said.last is None) != (said.through == 0):
        raise StatementError("revocation: last is null exactly when through is 0")
    if said.through >= origin.place.position:
        raise StatementError("revocation: it says what holds through a place that comes after it")
    return said


REVOCATION: Final[EntryKind[Revocation]] = EntryKind(_TYPE, "revocation", _FIELDS, _read)
