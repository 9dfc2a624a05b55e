"""Roots: which keys speak for a publisher, and the chain in which they replace each other (specs/records.md §4).

A `PublisherChain` exists only verified: from the genesis, whose hash is the publisher's id, each root is signed by
enough keys of the one before it and by enough of its own. It knows nothing of trust and nothing of time: a root does
not expire.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

from samara.protocol.dsse import Signer, require
from samara.protocol.errors import ForkError, StatementError
from samara.protocol.ids import PublisherId, format_record, parse_did_key
from samara.protocol.limits import MAX_KEYS, MAX_ROOT_CHAIN
from samara.protocol.records.fields import Fields
from samara.protocol.records.statement import Opened, Subject, open_record, seal

__all__ = ["ROOT_TYPE", "PublisherChain", "Root", "VerifiedRoot", "make_genesis", "make_next_root"]

ROOT_TYPE: Final = "urn:samara:root:1"
_KNOWN: Final = frozenset({"critical", "version", "threshold", "keys"})
_SUBJECT: Final = "root"


@final
@dataclass(frozen=True, slots=True)
class Root:
    """What a root says.

    Attributes:
        version: Position in the chain, 1 for the genesis.
        threshold: How many of `keys` must sign, ≥ 1.
        keys: did:keys, ascending.
    """

    version: int
    threshold: int
    keys: tuple[str, ...]


@final
@dataclass(frozen=True, slots=True)
class VerifiedRoot:
    """A root in its place in a verified chain.

    Attributes:
        id: Its record id.
        payload: The exact bytes that were signed.
        root: What it says.
        envelope: The envelope as received.
    """

    id: bytes
    payload: bytes
    root: Root
    envelope: bytes


@final
@dataclass(frozen=True, slots=True)
class PublisherChain:
    """A publisher: its id and its roots, genesis first. Made by `verify` and `join` only.

    Attributes:
        publisher: Record id of the genesis.
        roots: At least one.
    """

    publisher: PublisherId
    roots: tuple[VerifiedRoot, ...]

    @classmethod
    def verify(cls, envelopes: Sequence[bytes], *, expected: PublisherId | None = None) -> PublisherChain:
        """Verify a root chain.

        Args:
            envelopes: Genesis first.
            expected: The publisher whose chain was asked for, when that is known.

        Raises:
            RecordError: One of its subclasses; which one for what, is in the spec.

        Source: specs/records.md §4.
        """
        if not 1 <= len(envelopes) <= MAX_ROOT_CHAIN:
            raise StatementError(f"a chain of {len(envelopes)} roots: expected 1 to {MAX_ROOT_CHAIN}")
        roots: list[VerifiedRoot] = []
        for envelope in envelopes:
            roots.append(_verify_root(envelope, roots[-1] if roots else None))
            # Judged at once: a long chain with a wrong beginning costs one verification.
            if expected is not None and roots[0].id != expected:
                raise StatementError(f"the chain of {format_record(roots[0].id)}, not of {format_record(expected)}")
        return cls(PublisherId(roots[0].id), tuple(roots))

    @property
    def current(self) -> Root:
        """The newest root of this chain."""
        return self.roots[-1].root

    @property
    def envelopes(self) -> tuple[bytes, ...]:
        """The envelopes as received, genesis first."""
        return tuple(root.envelope for root in self.roots)

    def at(self, version: int) -> Root:
        """Return the root of a version.

        Raises:
            StatementError: The chain does not reach so far.
        """
        if not 1 <= version <= len(self.roots):
            raise StatementError(
                f"signed under root {version}, but only roots 1 to {len(self.roots)} came with it",
                hint="ask for the record from a peer with a newer root chain",
            )
        return self.roots[version - 1].root

    def followed_by(self, envelope: bytes) -> PublisherChain:
        """Verify a root that comes next, and return the longer chain; the roots before it are not verified again.

        Raises:
            RecordError: One of its subclasses; which one for what, is in the spec.

        Source: specs/records.md §4, 3 and 4.
        """
        if len(self.roots) >= MAX_ROOT_CHAIN:
            raise StatementError(f"a chain of more than {MAX_ROOT_CHAIN} roots")
        return PublisherChain(self.publisher, (*self.roots, _verify_root(envelope, self.roots[-1])))

    def up_to(self, version: int) -> PublisherChain:
        """Return the beginning of this chain.

        Raises:
            StatementError: The chain does not reach so far.
        """
        self.at(version)
        return PublisherChain(self.publisher, self.roots[:version])

    def join(self, other: PublisherChain) -> PublisherChain:
        """Return the longer of two chains of one publisher.

        Raises:
            StatementError: Another publisher.
            ForkError: Both chains go on differently.
        """
        if other.publisher != self.publisher:
            raise StatementError("root chains of two publishers cannot be joined")
        for mine, theirs in zip(self.roots, other.roots, strict=False):
            if mine.id != theirs.id:
                raise ForkError(
                    f"two different roots of version {mine.root.version} are signed by this publisher's keys",
                    pair=(mine.envelope, theirs.envelope),
                    hint="the publisher's keys may be stolen: ask the publisher, and trust neither until then",
                )
        return max(self, other, key=lambda chain: len(chain.roots))


def make_genesis(keys: Sequence[Signer], threshold: int = 1) -> bytes:
    """Return the envelope of a publisher's first root: it states `keys`, and all of them sign.

    The same keys and threshold always give the same publisher id.

    Raises:
        StatementError: No key, or a threshold that cannot be met.
        EnvelopeError: More keys than may sign one envelope, or one twice.
    """
    ordered = sorted(keys, key=lambda key: key.did)
    if not ordered:
        raise StatementError("a publisher needs at least one key")
    root = Root(1, threshold, tuple(key.did for key in ordered))
    envelope = seal(Subject.of(ordered[0].did, parse_did_key(ordered[0].did)), ROOT_TYPE, _predicate(root), ordered)
    PublisherChain.verify([envelope])  # what others would refuse is never given out
    return envelope


def make_next_root(chain: PublisherChain, keys: Sequence[str], signing: Sequence[Signer], threshold: int = 1) -> bytes:
    """Return the envelope of the root that follows `chain`.

    Args:
        chain: The publisher's chain so far.
        keys: did:keys that shall speak for the publisher from now on, in any order.
        signing: Enough keys of the current root, and enough of `keys`.
        threshold: How many of `keys` must sign from now on.

    Raises:
        SignatureError: Too few of the old or of the new keys sign.
        StatementError: The keys or the threshold are out of bounds.
    """
    root = Root(chain.current.version + 1, threshold, tuple(sorted(keys)))
    envelope = seal(Subject.of(_SUBJECT, chain.roots[-1].payload), ROOT_TYPE, _predicate(root), signing)
    PublisherChain.verify([*chain.envelopes, envelope])
    return envelope


def _predicate(root: Root) -> dict[str, object]:
    return {"critical": [], "version": root.version, "threshold": root.threshold, "keys": list(root.keys)}


def _read(fields: Fields) -> Root:
    keys = fields.did_keys("keys", MAX_KEYS)
    return Root(fields.integer("version", 1), fields.integer("threshold", 1, len(keys)), keys)


def _verify_root(envelope: bytes, previous: VerifiedRoot | None) -> VerifiedRoot:
    opened = open_record(envelope, ROOT_TYPE, _KNOWN)
    root = _read(opened.fields)
    if previous is None:
        _check_genesis(opened, root)
    else:
        _check_next(previous, opened, root)
    return VerifiedRoot(opened.id, opened.payload, root, envelope)


def _check_genesis(opened: Opened, root: Root) -> None:
    if root.version != 1:
        raise StatementError(f"a root chain begins with version {root.version}: expected 1")
    first = root.keys[0]
    if opened.subject != Subject.of(first, parse_did_key(first)):
        raise StatementError("genesis: the subject is not its first key")
    require(opened.signed, root.keys, root.threshold, what="the genesis root")


def _check_next(previous: VerifiedRoot, opened: Opened, root: Root) -> None:
    version = previous.root.version + 1
    if root.version != version:
        raise StatementError(f"a root of version {root.version} follows version {version - 1}")
    if opened.subject != Subject.of(_SUBJECT, previous.payload):
        raise StatementError(f"root {version}: the subject is not the previous root")
    require(opened.signed, previous.root.keys, previous.root.threshold, what=f"root {version}, by the keys before it,")
    require(opened.signed, root.keys, root.threshold, what=f"root {version}, by its own keys,")
