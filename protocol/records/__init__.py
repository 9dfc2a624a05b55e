"""Signed records: who a publisher is, what it releases, what is newest, and what it says besides (specs/records.md)."""

from samara.protocol.records.attestation import Attestation, Claim, Results, make_attestation, verify_attestation
from samara.protocol.records.binding import OMS, KeyBinding, make_key_binding, verify_key_binding
from samara.protocol.records.collection import Collection, Introduction, Listed, make_collection, verify_collection
from samara.protocol.records.delegation import (
    NO_DELEGATIONS,
    Delegation,
    Delegations,
    make_delegation,
    verify_delegation,
)
from samara.protocol.records.entry import Origin, Place, Verified
from samara.protocol.records.fields import NAME, PETNAME, VERSION, format_time, is_displayable, parse_time
from samara.protocol.records.head import Head, VerifiedHead, make_head, newer_head, verify_head
from samara.protocol.records.log import Entry, Unread, verify_entry
from samara.protocol.records.release import (
    NO_LICENSE,
    Format,
    Kind,
    Lineage,
    Release,
    VerifiedRelease,
    Visibility,
    make_release,
    verify_release_envelope,
)
from samara.protocol.records.revocation import (
    KeyRevocation,
    Reason,
    ReleaseRevocation,
    Revocation,
    make_key_revocation,
    make_release_revocation,
    verify_revocation,
)
from samara.protocol.records.root import PublisherChain, Root, VerifiedRoot, make_genesis, make_next_root
from samara.protocol.records.signers import Signers, Standing
from samara.protocol.records.statement import Subject
from samara.protocol.records.verify import attach_head, verify_release

__all__ = [
    "NAME",
    "NO_DELEGATIONS",
    "NO_LICENSE",
    "OMS",
    "PETNAME",
    "VERSION",
    "Attestation",
    "Claim",
    "Collection",
    "Delegation",
    "Delegations",
    "Entry",
    "Format",
    "Head",
    "Introduction",
    "KeyBinding",
    "KeyRevocation",
    "Kind",
    "Lineage",
    "Listed",
    "Origin",
    "Place",
    "PublisherChain",
    "Reason",
    "Release",
    "ReleaseRevocation",
    "Results",
    "Revocation",
    "Root",
    "Signers",
    "Standing",
    "Subject",
    "Unread",
    "Verified",
    "VerifiedHead",
    "VerifiedRelease",
    "VerifiedRoot",
    "Visibility",
    "attach_head",
    "format_time",
    "is_displayable",
    "make_attestation",
    "make_collection",
    "make_delegation",
    "make_genesis",
    "make_head",
    "make_key_binding",
    "make_key_revocation",
    "make_next_root",
    "make_release",
    "make_release_revocation",
    "newer_head",
    "parse_time",
    "verify_attestation",
    "verify_collection",
    "verify_delegation",
    "verify_entry",
    "verify_head",
    "verify_key_binding",
    "verify_release",
    "verify_release_envelope",
    "verify_revocation",
]
