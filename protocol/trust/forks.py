"""Forks: two records of one place, signed by one publisher's keys (specs/trust.md, "Forks").

The two envelopes are the proof: whoever has the publisher's roots can check it, and nobody has to sign anything. A
proof is two items one after another, each a length (u32, little-endian) and an envelope.

Two records contradict each other under one root only. What a newer root has signed outranks what an older one did, and
so a stolen key cannot make a fork of what was signed after it was replaced.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import Final, final

from samara.protocol.errors import EnvelopeError, StatementError
from samara.protocol.ids import digest
from samara.protocol.limits import MAX_ENVELOPE, MAX_FORK_PROOF
from samara.protocol.records.delegation import NO_DELEGATIONS, Delegations
from samara.protocol.records.entry import Place
from samara.protocol.records.head import Head, VerifiedHead
from samara.protocol.records.log import Entry, verify_entry
from samara.protocol.records.root import ROOT_TYPE, PublisherChain
from samara.protocol.records.statement import open_any

__all__ = ["Fork", "ForkKind", "ForkProof", "contradict", "fork_of", "place_of", "root_of", "verify_fork"]

_LENGTH: Final = struct.Struct("<I")


class ForkKind(enum.Enum):
    """What there are two of."""

    ROOT = "root"
    """Two roots of one version: nobody can say which keys speak for the publisher."""
    LOG = "log"
    """Two records of one position, or a record that follows another than the one before it."""
    NAME = "name"
    """Two heads of one name and one sequence, or a head that follows another than the one before it."""


@final
@dataclass(frozen=True, slots=True)
class ForkProof:
    """Two envelopes that contradict each other, in any order. `verify_fork` says whether they do.

    Attributes:
        first: An envelope.
        second: Another.
    """

    first: bytes
    second: bytes

    def encode(self) -> bytes:
        """Return the bytes in which a proof travels."""
        return b"".join(_LENGTH.pack(len(item)) + item for item in (self.first, self.second))

    @classmethod
    def decode(cls, data: bytes) -> ForkProof:
        """Parse what `encode` wrote.

        Raises:
            EnvelopeError: Lengths contradict the size, or are out of bounds.
        """
        if len(data) > MAX_FORK_PROOF:
            raise EnvelopeError(f"a fork proof of {len(data)} bytes: at most {MAX_FORK_PROOF}")
        first, rest = _item(data)
        second, rest = _item(rest)
        if rest:
            raise EnvelopeError("a fork proof with something after it")
        return cls(first, second)


@final
@dataclass(frozen=True, slots=True)
class Fork:
    """A fork that is proven.

    Attributes:
        id: Names it: BLAKE3-256 of both record ids, the smaller one first.
        kind: What there are two of.
        root: Version of the root under which both are signed; of two roots, their version.
        delegation: The delegation whose keys signed both; None: the publisher's own.
        records: Both record ids, the smaller one first.
        proof: The envelopes.
        what: What there are two of, in words.
    """

    id: bytes
    kind: ForkKind
    root: int
    delegation: bytes | None
    records: tuple[bytes, bytes]
    proof: ForkProof
    what: str


def verify_fork(
    proof: ForkProof, publisher: PublisherChain, delegations: Delegations = NO_DELEGATIONS
) -> tuple[Fork, *tuple[Entry, ...]]:
    """Check that two envelopes are a fork of a publisher; return it, and its two records unless they are roots.

    Args:
        proof: The envelopes.
        publisher: The verified chain of the publisher. Of two roots, the one before both must be in it.
        delegations: What is known of that publisher's delegations.

    Raises:
        RecordError: One is wrong by itself, or they do not contradict each other.

    Source: specs/trust.md, "Forks".
    """
    if open_any(proof.first).kind == ROOT_TYPE:
        return (_fork_of_roots(proof, publisher),)
    first, second = (verify_entry(item, publisher, delegations) for item in (proof.first, proof.second))
    kind = contradict(first, second)
    if kind is None:
        raise StatementError("two records that do not contradict each other prove no fork")
    return fork_of(first, second, kind), first, second


def fork_of(first: Entry, second: Entry, kind: ForkKind) -> Fork:
    """Return the fork that two records are, of which `contradict` said so."""
    head = first.said if isinstance(first.said, Head) else None
    place = place_of(first)
    if kind is ForkKind.NAME and head is not None:
        what = f"two heads of {head.name!r} at sequence {head.sequence}, or one after another than the one before it"
    else:
        what = f"two records at or after position {place.position if place else 0} of the log"
    return _fork(
        kind,
        root_of(first),
        head.delegation if head is not None else None,
        (first.id, second.id),
        ForkProof(first.envelope, second.envelope),
        what,
    )


def contradict(a: Entry, b: Entry) -> ForkKind | None:
    """Return in what two verified records of one publisher contradict each other, or None.

    Source: specs/trust.md, "Forks".
    """
    if a.id == b.id or root_of(a) != root_of(b):
        return None
    one, other = place_of(a), place_of(b)
    if one is not None and other is not None and _clash(_link(one), _link(other), a.id, b.id):
        return ForkKind.LOG
    if isinstance(a, VerifiedHead) and isinstance(b, VerifiedHead):
        said, told = a.head, b.head
        if (said.name, said.delegation) == (told.name, told.delegation) and _clash(
            (said.sequence, said.previous), (told.sequence, told.previous), a.id, b.id
        ):
            return ForkKind.NAME
    return None


def place_of(entry: Entry) -> Place | None:
    """Return the place of a record in the log; None for a head outside it."""
    return entry.said.place if isinstance(entry.said, Head) else entry.said.origin.place


def root_of(entry: Entry) -> int:
    """Return the version of the root under which a record is signed."""
    return entry.said.root if isinstance(entry.said, Head) else entry.said.origin.root


def _link(place: Place) -> tuple[int, bytes | None]:
    return place.position, place.after


def _clash(a: tuple[int, bytes | None], b: tuple[int, bytes | None], a_id: bytes, b_id: bytes) -> bool:
    """Whether two links of one chain cannot both be in it: each is its number, and the id of the one before."""
    return a[0] == b[0] or (b[0] == a[0] + 1 and b[1] != a_id) or (a[0] == b[0] + 1 and a[1] != b_id)


def _fork_of_roots(proof: ForkProof, publisher: PublisherChain) -> Fork:
    version = open_any(proof.first).fields.integer("version", 2)
    before = publisher.up_to(version - 1)
    first, second = (before.followed_by(item).roots[-1] for item in (proof.first, proof.second))
    if first.id == second.id:
        raise StatementError("one root twice proves no fork")
    return _fork(
        ForkKind.ROOT, version, None, (first.id, second.id), proof, f"two different roots of version {version}"
    )


def _fork(
    kind: ForkKind, root: int, delegation: bytes | None, records: tuple[bytes, bytes], proof: ForkProof, what: str
) -> Fork:
    low, high = sorted(records)
    return Fork(digest(low + high), kind, root, delegation, (low, high), proof, what)


def _item(data: bytes) -> tuple[bytes, bytes]:
    if len(data) < _LENGTH.size:
        raise EnvelopeError("a fork proof that is cut off")
    (length,) = _LENGTH.unpack_from(data)
    if not 0 < length <= min(MAX_ENVELOPE, len(data) - _LENGTH.size):
        raise EnvelopeError("a fork proof whose lengths contradict its size")
    end = _LENGTH.size + length
    return data[_LENGTH.size : end], data[end:]
