"""A head as the DHT keeps it: with its publisher's root chain, since who validates it there cannot fetch.

A value is items one after another, each a length (u32, little-endian) and an envelope: the roots, genesis first; the
delegation, where the head is a delegate's; and then the head. That the delegation is still in force, is more than a
value can say.

Source: specs/network.md, "Values".
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from samara.protocol.errors import EnvelopeError, StatementError, VerificationError
from samara.protocol.limits import MAX_ENVELOPE, MAX_KAD_VALUE, MAX_ROOT_CHAIN
from samara.protocol.records.delegation import named_delegation, verify_delegation
from samara.protocol.records.head import VerifiedHead, newer_head, verify_head
from samara.protocol.records.root import PublisherChain
from samara.protocol.records.signers import Standing
from samara.protocol.routing import head_key

__all__ = ["decode_announced", "decode_announced_head", "encode_announced_head", "newest_announced"]

_LENGTH: Final = struct.Struct("<I")


def encode_announced_head(roots: Sequence[bytes], head: bytes, delegation: bytes | None = None) -> bytes:
    """Return the value under which a head is kept.

    Args:
        roots: Envelopes of the root chain, genesis first.
        head: Envelope of the head.
        delegation: Envelope of the delegation that the head names; None where it names none.
    """
    given = () if delegation is None else (delegation,)
    return b"".join(_LENGTH.pack(len(item)) + item for item in (*roots, *given, head))


def decode_announced_head(key: str, value: bytes) -> VerifiedHead:
    """Verify a value as the DHT gave it, and return its head.

    Raises:
        VerificationError: As `decode_announced`.
    """
    return decode_announced(key, value)[1]


def decode_announced(key: str, value: bytes) -> tuple[PublisherChain, VerifiedHead]:
    """Verify a value as the DHT gave it, and return its root chain and its head.

    Args:
        key: The key that it was found under.
        value: Its bytes.

    Raises:
        VerificationError: Malformed, wrongly signed, or another name's head.
    """
    *before, envelope = _items(value) or [b""]
    delegated = bool(before) and named_delegation(envelope) is not None
    roots = before[:-1] if delegated else before
    if not roots:
        raise EnvelopeError("an announced head without its roots, or its delegation")
    chain = PublisherChain.verify(roots)
    given = [verify_delegation(before[-1], chain)] if delegated else []
    head = verify_head(envelope, chain, {entry.id: entry for entry in given})
    if head_key(head.head.publisher, head.head.name) != key:
        raise StatementError("a head under the key of another name")
    return chain, head


def newest_announced(key: str, values: Sequence[bytes]) -> int:
    """Return the index of the newest of valid values; of a fork, the one that came first."""
    best = 0
    for index, value in enumerate(values):
        known, offered = decode_announced_head(key, values[best]), decode_announced_head(key, value)
        try:
            if _newer(known, offered).id != known.id:
                best = index
        except VerificationError:
            continue
    return best


def _newer(known: VerifiedHead, offered: VerifiedHead) -> VerifiedHead:
    """Of two delegates' heads whose publisher has replaced its keys since, the newer one counts all the same."""
    if known.signers.standing is offered.signers.standing is Standing.RETIRED:
        known, offered = (
            replace(head, signers=replace(head.signers, standing=Standing.CURRENT)) for head in (known, offered)
        )
    return newer_head(known, offered)


def _items(value: bytes) -> list[bytes]:
    if len(value) > MAX_KAD_VALUE:
        raise EnvelopeError(f"an announced head of {len(value)} bytes: at most {MAX_KAD_VALUE}")
    items: list[bytes] = []
    at = 0
    while at < len(value):
        if at + _LENGTH.size > len(value) or len(items) > MAX_ROOT_CHAIN + 1:
            raise EnvelopeError("an announced head that is cut off, or of too many roots")
        (length,) = _LENGTH.unpack_from(value, at)
        at += _LENGTH.size
        if not 0 < length <= min(MAX_ENVELOPE, len(value) - at):
            raise EnvelopeError("an announced head whose lengths contradict its size")
        items.append(value[at : at + length])
        at += length
    return items
