"""The records of a publisher's log, of whatever kind (specs/records.md §10).

A kind that this version does not know, or a record with a critical field that it does not know, is still a link of the
chain: `Unread` is what is understood of it. It says nothing, and is kept and passed on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias, final

from samara.protocol.errors import CriticalError
from samara.protocol.records.attestation import ATTESTATION, Attestation
from samara.protocol.records.binding import KEY_BINDING, KeyBinding
from samara.protocol.records.collection import COLLECTION, Collection
from samara.protocol.records.delegation import DELEGATION, NO_DELEGATIONS, Delegation, Delegations
from samara.protocol.records.entry import EntryKind, Origin, Verified, read_origin
from samara.protocol.records.head import HEAD_TYPE, VerifiedHead, check_head
from samara.protocol.records.release import RELEASE_TYPE
from samara.protocol.records.revocation import REVOCATION, Revocation
from samara.protocol.records.root import ROOT_TYPE, PublisherChain
from samara.protocol.records.signers import check_signers
from samara.protocol.records.statement import Opened, of_kind, open_any

__all__ = ["ENTRY_KINDS", "Entry", "Unread", "verify_entry"]

ENTRY_KINDS: Final[Mapping[str, EntryKind[Any]]] = MappingProxyType(
    {kind.type: kind for kind in (REVOCATION, ATTESTATION, COLLECTION, DELEGATION, KEY_BINDING)}
)
"""All kinds but heads, by `predicateType`."""


@final
@dataclass(frozen=True, slots=True)
class Unread:
    """What is understood of a record that this version cannot read.

    Attributes:
        origin: Whose it is, and where in the log.
        kind: Its `predicateType`.
    """

    origin: Origin
    kind: str


Entry: TypeAlias = (
    VerifiedHead
    | Verified[Revocation]
    | Verified[Attestation]
    | Verified[Collection]
    | Verified[Delegation]
    | Verified[KeyBinding]
    | Verified[Unread]
)
"""A verified record of a log; of heads also one that has no place in it."""


def verify_entry(envelope: bytes, publisher: PublisherChain, delegations: Delegations = NO_DELEGATIONS) -> Entry:
    """Verify a record of a log against its publisher's chain, of whatever kind it is.

    Args:
        envelope: The bytes as received.
        publisher: The verified chain of the publisher.
        delegations: What is known of that publisher's delegations.

    Raises:
        RecordError: One of its subclasses; which one for what, is in the spec.

    Source: specs/records.md §10.
    """
    opened = open_any(envelope)
    try:
        if opened.kind == HEAD_TYPE:
            return check_head(opened, envelope, publisher, delegations)
        if opened.kind in ENTRY_KINDS:
            found: Entry = ENTRY_KINDS[opened.kind].check(opened, envelope, publisher)
            return found
    except CriticalError:
        # A head outside the log is no link of it: there is nothing to keep.
        if "position" not in opened.fields:
            raise
    return _unread(opened, envelope, publisher)


def _unread(opened: Opened, envelope: bytes, publisher: PublisherChain) -> Verified[Unread]:
    if opened.kind in (ROOT_TYPE, RELEASE_TYPE):
        of_kind(opened, "a record of a log")  # says what came instead
    said = Unread(read_origin(opened.fields), opened.kind)
    origin = said.origin
    signers = check_signers(opened.signed, origin.publisher, origin.root, publisher, what="the record")
    return Verified(opened.id, said, opened.subject, signers, envelope)
