"""Logs of publishers, signed for tests: real records by keys of committed seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from samara.protocol.dsse import SigningKey
from samara.protocol.records import (
    Claim,
    Entry,
    Place,
    PublisherChain,
    Reason,
    Subject,
    make_attestation,
    make_genesis,
    make_head,
    make_key_revocation,
    make_next_root,
    make_release_revocation,
)

__all__ = ["WHEN", "Signer", "key_of"]

WHEN = "2026-05-06T07:08:09Z"


def key_of(seed: int) -> SigningKey:
    """Return a key that is always the same."""
    return SigningKey(seed.to_bytes(32, "big"))


@dataclass
class Signer:
    """A publisher that signs one record after another.

    Attributes:
        keys: Its keys.
        chain: Its roots.
        log: What it signed.
    """

    keys: list[SigningKey]
    chain: PublisherChain
    log: list[Entry] = field(default_factory=list)

    @classmethod
    def of(cls, seed: int) -> Signer:
        """Return a publisher with one key."""
        key = key_of(seed)
        return cls([key], PublisherChain.verify([make_genesis([key])]))

    def copy(self) -> Signer:
        """Return the same publisher, whose log may go on otherwise."""
        return Signer(list(self.keys), self.chain, list(self.log))

    @property
    def place(self) -> Place:
        """The next place of the log."""
        if not self.log:
            return Place.first()
        last = self.log[-1]
        return Place(len(self.log) + 1, last.id)

    @property
    def roots(self) -> Sequence[bytes]:
        """The envelopes of its roots."""
        return self.chain.envelopes

    @property
    def envelopes(self) -> list[bytes]:
        """The envelopes of its log."""
        return [entry.envelope for entry in self.log]

    def rotate(self, seed: int) -> None:
        """Replace its keys by one new key."""
        new = key_of(seed)
        root = make_next_root(self.chain, [new.did], [*self.keys, new])
        self.chain = PublisherChain.verify([*self.chain.envelopes, root])
        self.keys = [new]

    def head(self, name: str, payload: bytes, *, issued: str = WHEN, expires: str | None = None) -> bytes:
        """Sign a head; return its envelope."""
        before = [e for e in self.log if getattr(getattr(e, "head", None), "name", None) == name]
        made = make_head(
            self.chain, name=name, release=payload, previous=before[-1] if before else None,  # type: ignore[arg-type]
            issued=issued, keys=self.keys, place=self.place, expires=expires,
        )  # fmt: skip
        self.log.append(made)
        return made.envelope

    def revoke(self, payload: bytes, *, text: str | None = None) -> bytes:
        """Sign that a release is taken back; return the envelope."""
        made = make_release_revocation(
            self.chain, place=self.place, release=Subject.of("release", payload), reason=Reason.SECURITY,
            issued=WHEN, keys=self.keys, text=text,
        )  # fmt: skip
        self.log.append(made)
        return made.envelope

    def revoke_key(self, key: str, last: Place) -> bytes:
        """Sign that a key is taken back; return the envelope."""
        made = make_key_revocation(self.chain, place=self.place, key=key, last=last, issued=WHEN, keys=self.keys)
        self.log.append(made)
        return made.envelope

    def attest(self, payload: bytes, *, text: str | None = None) -> bytes:
        """Sign that a release was reviewed; return the envelope."""
        made = make_attestation(
            self.chain, place=self.place, release=Subject.of("release", payload), claim=Claim.REVIEWED,
            issued=WHEN, keys=self.keys, text=text,
        )  # fmt: skip
        self.log.append(made)
        return made.envelope
