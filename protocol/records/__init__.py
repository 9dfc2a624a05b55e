"""Signed records: who a publisher is, what it releases, and what is newest (specs/records.md)."""

from samara.protocol.records.fields import NAME, VERSION, format_time, is_displayable, parse_time
from samara.protocol.records.head import Head, VerifiedHead, make_head, newer_head, verify_head
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
from samara.protocol.records.root import PublisherChain, Root, VerifiedRoot, make_genesis, make_next_root
from samara.protocol.records.signers import Signers, Standing
from samara.protocol.records.verify import attach_head, verify_release

__all__ = [
    "NAME",
    "NO_LICENSE",
    "VERSION",
    "Format",
    "Head",
    "Kind",
    "Lineage",
    "PublisherChain",
    "Release",
    "Root",
    "Signers",
    "Standing",
    "VerifiedHead",
    "VerifiedRelease",
    "VerifiedRoot",
    "Visibility",
    "attach_head",
    "format_time",
    "is_displayable",
    "make_genesis",
    "make_head",
    "make_next_root",
    "make_release",
    "newer_head",
    "parse_time",
    "verify_head",
    "verify_release",
    "verify_release_envelope",
]
