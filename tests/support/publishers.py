"""Publishers for tests of trust: each has keys, a log, and says what it is told to; also what no honest one would."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from samara.protocol.dsse import Signer, SigningKey
from samara.protocol.ids import ContentId, PublisherId, digest, sha256
from samara.protocol.limits import MAX_POSITION
from samara.protocol.records import (
    Claim,
    Collection,
    Delegation,
    Introduction,
    Kind,
    Listed,
    Place,
    PublisherChain,
    Reason,
    Release,
    Revocation,
    Standing,
    Subject,
    Verified,
    VerifiedHead,
    VerifiedRelease,
    make_attestation,
    make_collection,
    make_delegation,
    make_genesis,
    make_head,
    make_key_revocation,
    make_next_root,
    make_release,
    make_release_revocation,
)
from samara.protocol.trust import Ledger

__all__ = ["TABLE", "WHEN", "Publisher", "key", "released"]

TABLE = b"the bytes of a file table"
WHEN = "2026-05-06T07:08:09Z"
NOBODY: Final[Mapping[str, PublisherId]] = {}


def key(name: str) -> SigningKey:
    """Return the key of that name: always the same one."""
    return SigningKey(sha256(b"a key of the tests of trust: " + name.encode()))


def released(
    chain: PublisherChain, keys: Sequence[Signer], name: str = "tiny", version: str = "1", **changes: Any
) -> VerifiedRelease:
    """Return a release, signed."""
    said: dict[str, Any] = {
        "kind": Kind.MODEL,
        "publisher": chain.publisher,
        "root": chain.current.version,
        "name": name,
        "version": version,
        "issued": WHEN,
        "content": ContentId(digest(b"the root node of its list")),
        "bytes": 1000,
        "files": 2,
    }
    delegations = changes.pop("delegations", {})
    return make_release(Release(**(said | changes)), TABLE, chain, keys, delegations)


@dataclass
class Publisher:
    """Somebody who publishes. `tip` and `heads` are its own memory: copy it, and there are two of them.

    Attributes:
        chain: Its roots.
        keys: What it signs with.
        place: The next place of its log.
        heads: The newest head of each name.
        said: The envelope of each record of its log, in order.
    """

    chain: PublisherChain
    keys: Sequence[Signer]
    place: Place = field(default_factory=Place.first)
    heads: dict[str, VerifiedHead] = field(default_factory=dict)
    said: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, *names: str, threshold: int = 1) -> Publisher:
        """Return a new publisher with keys of these names, of which the first `threshold` sign."""
        keys = [key(name) for name in names]
        return cls(PublisherChain.verify([make_genesis(keys, threshold)]), keys[:threshold])

    def copy(self) -> Publisher:
        """Return another one with the same memory: an old backup, or a thief with all that the publisher has."""
        return Publisher(self.chain, list(self.keys), self.place, dict(self.heads), list(self.said))

    def release(self, version: str, name: str = "tiny", **changes: Any) -> VerifiedRelease:
        """Sign a release, and nothing that names it."""
        return released(self.chain, self.keys, name, version, **changes)

    def head(self, release: VerifiedRelease, **changes: Any) -> VerifiedHead:
        """Sign the next head of a release's name, at the next place."""
        name = release.release.name
        said: dict[str, Any] = {"issued": WHEN, "place": self.place} | changes
        before = self.heads.get(name)
        # After a rotation that took the key which signed the last head, names begin anew.
        if before is not None and before.signers.standing is not Standing.CURRENT:
            before = None
        found = make_head(self.chain, name=name, release=release.payload, previous=before, keys=self.keys, **said)
        self.heads[name] = found
        if found.head.place is not None:
            self._went_on(found.id, found.envelope)
        return found

    def publish(self, version: str, name: str = "tiny", **changes: Any) -> VerifiedHead:
        """Sign a release and its head."""
        return self.head(self.release(version, name), **changes)

    def revoke(self, release: VerifiedRelease | VerifiedHead, **changes: Any) -> Verified[Revocation]:
        """Take back a release."""
        about = release.subject if isinstance(release, VerifiedHead) else Subject.of("release", release.payload)
        said: dict[str, Any] = {"reason": Reason.SECURITY, "issued": WHEN} | changes
        found = make_release_revocation(self.chain, place=self.place, release=about, keys=self.keys, **said)
        self._went_on(found.id, found.envelope)
        return found

    def revoke_key(self, name: str, last: Place, **changes: Any) -> Verified[Revocation]:
        """Take back a key: what it signed from the place `last` on."""
        said: dict[str, Any] = {"issued": WHEN} | changes
        found = make_key_revocation(self.chain, place=self.place, key=key(name).did, last=last, keys=self.keys, **said)
        self._went_on(found.id, found.envelope)
        return found

    def attest(self, release: VerifiedRelease, **changes: Any) -> bytes:
        """Say something of a release."""
        said: dict[str, Any] = {"claim": Claim.REVIEWED, "issued": WHEN} | changes
        about = Subject.of("release", release.payload)
        found = make_attestation(self.chain, place=self.place, release=about, keys=self.keys, **said)
        self._went_on(found.id, found.envelope)
        return found.envelope

    def delegate(self, *delegates: str, names: Sequence[str] = ("tiny*",), **changes: Any) -> Verified[Delegation]:
        """Let others release under some names."""
        said: dict[str, Any] = {"issued": WHEN} | changes
        found = make_delegation(
            self.chain,
            place=self.place,
            names=names,
            delegates=[key(name).did for name in delegates],
            keys=self.keys,
            **said,
        )
        self._went_on(found.id, found.envelope)
        return found

    def collect(
        self, name: str, entries: Iterable[Listed], introduced: Mapping[str, PublisherId] = NOBODY, **changes: Any
    ) -> Verified[Collection]:
        """List releases, and introduce publishers by petnames."""
        said: dict[str, Any] = {"issued": WHEN, "title": f"The {name}"} | changes
        found = make_collection(
            self.chain,
            place=self.place,
            name=name,
            entries=list(entries),
            publishers=[Introduction(publisher, petname) for petname, publisher in introduced.items()],
            keys=self.keys,
            **said,
        )
        self._went_on(found.id, found.envelope)
        return found

    def rotate(self, *names: str, threshold: int = 1, place: Place | None = None) -> PublisherChain:
        """Replace the keys; the log goes on at `place`, by default where it is."""
        new = [key(name) for name in names]
        signing = {one.did: one for one in (*self.keys, *new[:threshold])}
        envelope = make_next_root(self.chain, [one.did for one in new], list(signing.values()), threshold)
        self.chain = PublisherChain.verify([*self.chain.envelopes, envelope])
        self.keys = new[:threshold]
        self.place = self.place if place is None else place
        return self.chain

    def ledger(self) -> Ledger:
        """Return what somebody knows who heard all of it."""
        ledger = Ledger(self.chain)
        for envelope in self.said:
            ledger.admit(envelope)
        return ledger

    def _went_on(self, record: bytes, envelope: bytes) -> None:
        if self.place.position < MAX_POSITION:
            self.place = self.place.next(record)
        self.said.append(envelope)
