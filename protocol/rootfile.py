"""The root file: a publisher's root chain as lines of text, and a root behind it that not enough keys have signed yet.

It is what devices of one publisher hand to each other. A proposal is taken only when it is, byte by byte, what is
written here for its keys and threshold: nobody signs what he cannot see (specs/keys.md §4 and §5).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, final

from samara.protocol.dsse import Envelope, Signer, is_weak_key, sign, signers
from samara.protocol.errors import JsonError, LinkError, SignatureError, StatementError
from samara.protocol.ids import PublisherId, digest, parse_did_key
from samara.protocol.limits import MAX_KEYS, MAX_ROOT_CHAIN, MAX_ROOT_FILE
from samara.protocol.records import PublisherChain, Root
from samara.protocol.records.root import ROOT_TYPE
from samara.protocol.records.statement import Subject, open_record, seal

__all__ = ["Proposal", "RootFile", "countersign", "genesis_id", "propose"]

_KNOWN: Final = frozenset({"critical", "version", "threshold", "keys"})


@final
@dataclass(frozen=True, slots=True)
class Proposal:
    """A root that follows a chain and is not signed by enough keys.

    Attributes:
        root: What it says.
        envelope: With the signatures that it has, each of them right.
        old: How many keys of the root before it must sign yet.
        new: How many of its own keys must sign yet. One signature may count for both.
    """

    root: Root
    envelope: Envelope
    old: int
    new: int


@final
@dataclass(frozen=True, slots=True)
class RootFile:
    """A verified chain, and perhaps what shall follow it.

    Attributes:
        chain: The publisher's chain.
        proposal: What is not complete yet; None when there is nothing.
    """

    chain: PublisherChain
    proposal: Proposal | None = None

    @classmethod
    def decode(cls, data: bytes) -> RootFile:
        """Parse and verify a root file.

        Raises:
            RecordError: One of its subclasses; which one for what, is in the spec.

        Source: specs/keys.md §4.
        """
        if len(data) > MAX_ROOT_FILE:
            raise JsonError(f"a root file of {len(data)} bytes: at most {MAX_ROOT_FILE}")
        *lines, rest = data.split(b"\n")
        if rest or not 1 <= len(lines) <= MAX_ROOT_CHAIN:
            raise StatementError(f"a root file is 1 to {MAX_ROOT_CHAIN} lines, each of them ended")
        try:
            return cls(PublisherChain.verify(lines))
        except SignatureError:
            if len(lines) == 1:
                raise
        chain = PublisherChain.verify(lines[:-1])
        return cls(chain, _read_proposal(chain, lines[-1]))

    def encode(self) -> bytes:
        """Return the bytes of the file."""
        lines = [envelope if b"\n" not in envelope else _rewritten(envelope) for envelope in self.chain.envelopes]
        if self.proposal is not None:
            lines.append(self.proposal.envelope.encode())
        return b"".join(line + b"\n" for line in lines)


def propose(chain: PublisherChain, keys: Collection[str], threshold: int, signing: Sequence[Signer]) -> RootFile:
    """Return a chain with a new root, signed by what is at hand; complete when that is enough.

    Args:
        chain: The chain so far.
        keys: did:keys that shall speak for the publisher from now on.
        threshold: How many of them must sign from now on.
        signing: At least one key of the current root or of `keys`.

    Raises:
        StatementError: The keys or the threshold are out of bounds, or nothing changes.
        SignatureError: None of `signing` may sign this.
    """
    root = Root(chain.current.version + 1, threshold, tuple(sorted(keys)))
    if (root.threshold, root.keys) == (chain.current.threshold, chain.current.keys):
        raise StatementError("a new root needs another threshold or other keys than the one before")
    return _signed(chain, root, Envelope(_payload(chain, root), ()), signing)


def countersign(file: RootFile, signing: Sequence[Signer]) -> RootFile:
    """Return a root file whose proposal is signed by these keys, too; without a proposal there is nothing to sign.

    Raises:
        SignatureError: None of `signing` may sign it.
    """
    if file.proposal is None:
        return file
    return _signed(file.chain, file.proposal.root, file.proposal.envelope, signing)


def genesis_id(key: str) -> PublisherId:
    """Return the id of the publisher that begins with one key (did:key) alone; nothing has to be signed for that.

    Raises:
        LinkError: It is no did:key of Ed25519.
    """
    return PublisherId(digest(_sealed_payload(Subject.of(key, parse_did_key(key)), Root(1, 1, (key,)))))


def _signed(chain: PublisherChain, root: Root, envelope: Envelope, signing: Sequence[Signer]) -> RootFile:
    wanted = {*chain.current.keys, *root.keys}
    ours = sorted((key for key in signing if key.did in wanted), key=lambda key: key.did)
    if not ours:
        raise SignatureError("no key of this home is in the current root or in the new one, so it cannot sign it")
    there = [signature for signature in envelope.signatures if signature.keyid in wanted]  # others only take room
    missing = [key for key in ours if key.did not in {signature.keyid for signature in there}]
    signed = Envelope(envelope.payload, (*there, *sign(envelope.payload, missing).signatures))
    proposal = _judged(chain, root, signed)
    if proposal.old or proposal.new:
        return RootFile(chain, proposal)
    return RootFile(PublisherChain.verify([*chain.envelopes, signed.encode()]))


def _judged(chain: PublisherChain, root: Root, envelope: Envelope) -> Proposal:
    signed = signers(envelope)
    old = max(0, chain.current.threshold - len(signed & set(chain.current.keys)))
    new = max(0, root.threshold - len(signed & set(root.keys)))
    return Proposal(root, envelope, old, new)


def _read_proposal(chain: PublisherChain, line: bytes) -> Proposal:
    opened = open_record(line, ROOT_TYPE, _KNOWN)
    keys = tuple(str(key) for key in opened.fields.items("keys", MAX_KEYS, least=1))
    root = Root(chain.current.version + 1, opened.fields.integer("threshold", 1, len(keys)), keys)
    if opened.payload != _payload(chain, root):
        raise StatementError(
            "the proposed root is not what would be written for its keys and threshold after this chain",
            hint="It may say more than can be shown. Do not sign it; ask who sent it to make it again.",
        )
    return _judged(chain, root, Envelope.decode(line))


def _payload(chain: PublisherChain, root: Root) -> bytes:
    """The one payload that says `root` after `chain`."""
    _check(root)
    return _sealed_payload(Subject.of("root", chain.roots[-1].payload), root)


def _sealed_payload(subject: Subject, root: Root) -> bytes:
    predicate = {"critical": [], "version": root.version, "threshold": root.threshold, "keys": list(root.keys)}
    return Envelope.decode(seal(subject, ROOT_TYPE, predicate, [])).payload


def _check(root: Root) -> None:
    if root.version > MAX_ROOT_CHAIN:
        raise StatementError(f"a publisher has at most {MAX_ROOT_CHAIN} roots")
    if not 1 <= len(root.keys) <= MAX_KEYS:
        raise StatementError(f"a root of {len(root.keys)} keys: expected 1 to {MAX_KEYS}")
    if list(root.keys) != sorted(set(root.keys)):
        raise StatementError("the keys of a root are in ascending order, none of them twice")
    if not 1 <= root.threshold <= len(root.keys):
        raise StatementError(f"{root.threshold} of {len(root.keys)} keys cannot be what must sign")
    for key in root.keys:
        try:
            weak = is_weak_key(parse_did_key(key))
        except LinkError as error:
            raise StatementError(f"a key of the root is {error.message}") from None
        if weak:
            raise StatementError(f"{key} is a weak key: anybody can sign with it")


def _rewritten(envelope: bytes) -> bytes:
    """The same envelope on one line: payload and signatures stay."""
    return Envelope.decode(envelope).encode()
