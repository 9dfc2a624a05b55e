"""Delegations: names that other keys may release under, so that a publisher's own keys can stay away from the network
(specs/records.md §14).

What is signed by delegated keys names its delegation, and lists that field in `critical`: who does not know delegations
refuses it. A delegate never writes the publisher's log: its heads have no place in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, final

from samara.protocol.dsse import Signer, require
from samara.protocol.errors import SignatureError, StatementError
from samara.protocol.ids import PublisherId
from samara.protocol.limits import MAX_KEYS, MAX_PATTERNS
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
from samara.protocol.records.root import PublisherChain
from samara.protocol.records.signers import Signers, Standing, check_publisher, check_signers
from samara.protocol.records.statement import Opened, open_any

__all__ = [
    "DELEGATION",
    "NO_DELEGATIONS",
    "PATTERN",
    "Delegation",
    "Delegations",
    "check_authority",
    "make_delegation",
    "named_delegation",
    "read_delegated",
    "verify_delegation",
]

_TYPE: Final = "urn:samara:delegation:1"
_FIELDS: Final = ENTRY_FIELDS | {"names", "keys", "threshold", "expires", "revoked"}
PATTERN: Final = re.compile(r"\*|[A-Za-z0-9][A-Za-z0-9._-]{0,94}\*|[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
"""What may be delegated: a name, the beginning of names and `*`, or `*`."""


@final
@dataclass(frozen=True, slots=True)
class Delegation:
    """What a delegation says.

    Attributes:
        origin: Whose it is, and where in the log. Of those with the same `names`, the last in the log counts.
        names: Patterns: a name, or the beginning of names and `*`. Ascending.
        keys: did:keys that may sign, ascending.
        threshold: How many of them must.
        expires: After which time nothing new may be signed.
        revoked: These names are delegated no more.
    """

    origin: Origin
    names: tuple[str, ...]
    keys: tuple[str, ...]
    threshold: int
    expires: str | None = None
    revoked: bool = False

    def covers(self, name: str) -> bool:
        """Return whether a name is delegated."""
        return any(
            name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern for pattern in self.names
        )


Delegations: TypeAlias = Mapping[bytes, Verified[Delegation]]
"""Verified delegations by their record id."""

NO_DELEGATIONS: Final[Delegations] = {}


def make_delegation(
    chain: PublisherChain,
    *,
    place: Place,
    names: Sequence[str],
    delegates: Sequence[str],
    issued: str,
    keys: Sequence[Signer],
    threshold: int = 1,
    expires: str | None = None,
    revoked: bool = False,
) -> Verified[Delegation]:
    """Sign that other keys may release under some names, or no more, and verify the result.

    Args:
        chain: The publisher's chain.
        place: The next place of its log.
        names: Patterns, in any order.
        delegates: did:keys that may sign, in any order.
        issued: `YYYY-MM-DDTHH:MM:SSZ`.
        keys: Enough keys of the current root.
        threshold: How many of `delegates` must sign.
        expires: `YYYY-MM-DDTHH:MM:SSZ`, or None: until it is revoked.
        revoked: The names are delegated no more, to nobody.

    Raises:
        RecordError: A field is out of bounds, or the keys may not sign it.
    """
    said: dict[str, object] = {
        "names": sorted(names),
        "keys": sorted(delegates),
        "threshold": threshold,
        **given(expires=expires, revoked=revoked or None),
    }
    return verify_delegation(
        seal_entry(about_publisher(chain), _TYPE, origin_of(chain, place, issued), said, keys), chain
    )


def verify_delegation(envelope: bytes, publisher: PublisherChain) -> Verified[Delegation]:
    """Verify a delegation against its publisher's chain.

    Raises:
        RecordError: One of its subclasses; which one for what, is in the spec.

    Source: specs/records.md §14.
    """
    return DELEGATION.verify(envelope, publisher)


def read_delegated(opened: Opened) -> bytes | None:
    """Return the delegation under which a release or a head is signed, or None: by the publisher's own keys.

    Raises:
        StatementError: It names one, and does not say in `critical` that this must be understood.
    """
    found = opened.fields.maybe("delegation", opened.fields.record_id)
    if found is not None and "delegation" not in opened.critical:
        raise StatementError("delegation is there, and not in critical: older readers would ignore it")
    return found


def named_delegation(envelope: bytes) -> bytes | None:
    """Return the delegation that a release or a head is signed under, as it says, or None.

    Raises:
        RecordError: It is no record, or what it names is no id.
    """
    opened = open_any(envelope)
    return read_delegated(opened) if "delegation" in opened.critical else None


def check_authority(
    opened: Opened,
    chain: PublisherChain,
    delegations: Delegations,
    *,
    publisher: PublisherId,
    root: int,
    name: str,
    issued: str,
    delegation: bytes | None,
    what: str,
) -> Signers:
    """Check that a release or a head is signed by who may sign it: the publisher's keys, or those it delegated to.

    Args:
        opened: The record.
        chain: The verified chain of its publisher.
        delegations: What is known of that publisher's delegations.
        publisher: The publisher that it names.
        root: The root version that it names.
        name: Its name.
        issued: When it was issued.
        delegation: The delegation that it names, or None.
        what: The record, in messages.

    Raises:
        StatementError: Another publisher's, under a root that the chain does not have, or under a delegation that is
            not known, or not for this name.
        SignatureError: Too few of the right keys signed, or after the delegation had expired.

    Source: specs/records.md §5, 3 and §14.
    """
    if delegation is None:
        return check_signers(opened.signed, publisher, root, chain, what=what)
    check_publisher(publisher, chain, what=what)
    chain.at(root)
    found = delegations.get(delegation)
    if found is None or found.said.origin.publisher != publisher:
        raise StatementError(
            f"{what} is signed under a delegation that is not known here",
            hint="ask for the publisher's log, which has it",
        )
    said = found.said
    if said.revoked or not said.covers(name):
        raise StatementError(f"{what} is signed under a delegation that does not cover {name!r}")
    require(opened.signed, said.keys, said.threshold, what=what)
    if said.expires is not None and issued > said.expires:
        raise SignatureError(f"{what} is signed under a delegation that had expired by then")
    ours = opened.signed & set(said.keys)
    return Signers(
        root,
        tuple(sorted(ours)),
        tuple(sorted(opened.signed - ours)),
        # Whether it is still in force, is in the log.
        Standing.CURRENT if found.signers.standing is Standing.CURRENT else Standing.RETIRED,
        delegation,
    )


def _read(opened: Opened) -> Delegation:
    fields = opened.fields
    names = tuple(_pattern(item) for item in fields.items("names", MAX_PATTERNS, least=1))
    if list(names) != sorted(set(names)):
        raise StatementError("delegation: names are not in ascending order, or one occurs twice")
    keys = fields.did_keys("keys", MAX_KEYS)
    return Delegation(
        origin=read_origin(fields),
        names=names,
        keys=keys,
        threshold=fields.integer("threshold", 1, len(keys)),
        expires=read_expires(fields),
        revoked=fields.maybe("revoked", fields.true) or False,
    )


def _pattern(value: object) -> str:
    if not isinstance(value, str) or not PATTERN.fullmatch(value):
        raise StatementError("delegation: names: expected names, of which a * may be the end")
    return value


DELEGATION: Final[EntryKind[Delegation]] = EntryKind(_TYPE, "delegation", _FIELDS, _read, about_publisher=True)
