"""DSSE envelopes and the Ed25519 signatures in them (specs/records.md §2).

An envelope is decoded strictly, and its payload is kept exactly as received: what is hashed, verified, stored and
passed on are the same bytes. A key id is a `did:key`, so each signature can be checked without knowing whose key it is;
`signers` does so, and the records decide who may sign what.

It never makes a key or any randomness: seeds are handed in. It never parses a payload.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from samara.protocol import strictjson
from samara.protocol.base64text import decode_base64, encode_base64
from samara.protocol.errors import EnvelopeError, LinkError, SignatureError
from samara.protocol.ids import did_key, parse_did_key
from samara.protocol.limits import MAX_ENVELOPE, MAX_KEYID, MAX_RECORD_PAYLOAD, MAX_SIGNATURE, MAX_SIGNATURES

__all__ = [
    "PAYLOAD_TYPE",
    "Envelope",
    "Signature",
    "Signer",
    "SigningKey",
    "cosign",
    "is_weak_key",
    "join",
    "pae",
    "require",
    "sign",
    "signers",
    "verify",
]

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
"""The one payload type of Samara's records: an in-toto statement."""

_ED25519_DID: Final = "did:key:z6Mk"
_KEYID: Final = re.compile(r"[!-~]+")
_P: Final = (1 << 255) - 19
# y of the points of order 1, 2, 4 (0 with either x) and 8, on edwards25519. A signature under such a key says nothing.
_SMALL_ORDER: Final = frozenset(
    {
        0,
        1,
        _P - 1,
        int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"),
        int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"),
    }
)


class Signer(Protocol):
    """An Ed25519 key that can sign: its seed is here (`SigningKey`), or with somebody else who is asked."""

    @property
    def did(self) -> str:
        """The public key as did:key."""

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of `message`."""


@final
class SigningKey:
    """An Ed25519 key that can sign, of its seed. It shows its public half and never its seed.

    Args:
        seed: 32 secret random bytes (RFC 8032 §5.1.5).

    Raises:
        ValueError: Not 32 bytes.
    """

    __slots__ = ("_key", "did", "public")

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public: Final = self._key.public_key().public_bytes_raw()
        self.did: Final = did_key(self.public)

    def __repr__(self) -> str:
        return f"SigningKey({self.did})"

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of `message`; for envelopes use `sign` of this module."""
        return self._key.sign(message)


@final
@dataclass(frozen=True, slots=True)
class Signature:
    """One signature of an envelope.

    Attributes:
        keyid: The signer's did:key, or an id of a kind that is not known here.
        sig: The signature; 64 bytes when `keyid` is an Ed25519 did:key.
    """

    keyid: str
    sig: bytes


@final
@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload and the signatures that came with it. Decoding checks shapes, not signatures: see `signers`."""

    payload: bytes
    signatures: tuple[Signature, ...]
    payload_type: str = PAYLOAD_TYPE

    def encode(self) -> bytes:
        """Return the JSON form.

        Raises:
            EnvelopeError: It would be longer than `MAX_ENVELOPE`.
        """
        found = strictjson.dumps(
            {
                "payload": encode_base64(self.payload),
                "payloadType": self.payload_type,
                "signatures": [{"keyid": s.keyid, "sig": encode_base64(s.sig)} for s in self.signatures],
            }
        )
        if len(found) > MAX_ENVELOPE:
            raise EnvelopeError(f"an envelope of {len(found)} bytes: at most {MAX_ENVELOPE}")
        return found

    @classmethod
    def decode(cls, data: bytes) -> Envelope:
        """Parse the JSON form.

        Raises:
            JsonError: Not strict JSON, or longer than `MAX_ENVELOPE`.
            EnvelopeError: A field is missing, of a wrong type, not canonical or out of bounds; or the payload type is
                foreign.
        """
        found = _mapping(strictjson.loads(data, max_bytes=MAX_ENVELOPE), "an envelope")
        # The type first: of a foreign envelope nothing else is ours to judge.
        if found.get("payloadType") != PAYLOAD_TYPE:
            raise EnvelopeError(f"payload type {str(found.get('payloadType'))[:80]!r}: expected {PAYLOAD_TYPE!r}")
        payload = decode_base64(found.get("payload"), "payload", MAX_RECORD_PAYLOAD)
        listed = found.get("signatures")
        if not isinstance(listed, list) or len(listed) > MAX_SIGNATURES:
            raise EnvelopeError(f"signatures: expected a list of at most {MAX_SIGNATURES}")
        signatures = tuple(_signature(_mapping(item, "a signature")) for item in listed)
        if len({s.keyid for s in signatures}) != len(signatures):
            raise EnvelopeError("a key signs twice: each key id may occur once")
        return cls(payload, signatures)


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding: the bytes that a signature is over.

    Source: DSSE v1, "Signature Definition".
    """
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, keys: Sequence[Signer], *, payload_type: str = PAYLOAD_TYPE) -> Envelope:
    """Return an envelope of `payload`, signed by each of `keys` in this order."""
    message = pae(payload_type, payload)
    return Envelope(payload, tuple(Signature(key.did, key.sign(message)) for key in keys), payload_type)


def cosign(envelope: bytes, keys: Sequence[Signer]) -> bytes:
    """Return an envelope with further signatures, as a witness adds them; the record keeps its id.

    Args:
        envelope: The JSON form. Whoever signs has verified it.
        keys: Who signs; a key that has signed it already is passed over.

    Raises:
        JsonError: Not strict JSON.
        EnvelopeError: Malformed, or it would have more than `MAX_SIGNATURES`.
    """
    found = Envelope.decode(envelope)
    there = {signature.keyid for signature in found.signatures}
    added = sign(found.payload, [key for key in keys if key.did not in there]).signatures
    if len(found.signatures) + len(added) > MAX_SIGNATURES:
        raise EnvelopeError(f"an envelope with more than {MAX_SIGNATURES} signatures")
    return Envelope(found.payload, found.signatures + added).encode()


def join(first: bytes, second: bytes, keep: Collection[str]) -> bytes:
    """Return one envelope of two with the same payload: the first one's signatures, and of the second those by `keep`.

    Where they are too many, signatures of the first that are not by `keep` make way, and then the last.

    Args:
        first: The JSON form. Whoever joins has verified both.
        second: The JSON form.
        keep: Key ids whose signatures are worth keeping.

    Raises:
        JsonError: One is not strict JSON.
        EnvelopeError: One is malformed, they have different payloads, or both together are too long.
    """
    one, other = Envelope.decode(first), Envelope.decode(second)
    if one.payload != other.payload:
        raise EnvelopeError("two envelopes with different payloads cannot be joined")
    there = {signature.keyid for signature in one.signatures}
    added = [each for each in other.signatures if each.keyid in keep and each.keyid not in there]
    found = [*one.signatures, *added]
    if len(found) > MAX_SIGNATURES:
        found = [each for each in found if each.keyid in keep][:MAX_SIGNATURES]
    return Envelope(one.payload, tuple(found)).encode()


def signers(envelope: Envelope) -> frozenset[str]:
    """Verify every signature of a kind that is known, and return the did:keys that signed.

    Raises:
        SignatureError: There is none, one is wrong, or one is by a weak key.

    Source: specs/records.md §2, 8 and 9.
    """
    message = pae(envelope.payload_type, envelope.payload)
    found: set[str] = set()
    for signature in envelope.signatures:
        if signature.keyid.startswith(_ED25519_DID):
            _check(signature, message)
            found.add(signature.keyid)
    if not found:
        raise SignatureError("no signature by an Ed25519 key", hint="ask for the record from another peer")
    return frozenset(found)


def require(signed: Collection[str], keys: Collection[str], threshold: int, *, what: str) -> None:
    """Require that enough distinct keys of `keys` are among those that `signed`.

    Raises:
        SignatureError: Fewer than `threshold` are; `what` names the record.
    """
    count = len(set(signed) & set(keys))
    if count < threshold:
        raise SignatureError(f"{what} is signed by {count} of the keys that may sign it: {threshold} must")


def verify(envelope: Envelope, keys: Collection[str], threshold: int) -> frozenset[str]:
    """Verify an envelope against the keys that may sign it.

    Args:
        envelope: What was decoded.
        keys: The did:keys that may sign.
        threshold: How many of them must, ≥ 1.

    Returns:
        All did:keys that signed, also those that are not among `keys`.

    Raises:
        SignatureError: A signature is missing, wrong, or too few are by `keys`.
    """
    signed = signers(envelope)
    require(signed, keys, threshold, what="the record")
    return signed


def is_weak_key(public: bytes) -> bool:
    """Return whether a raw Ed25519 public key is not canonical or of small order.

    Source: specs/records.md §2, 9; RFC 8032 §5.1.3.
    """
    y = int.from_bytes(public, "little") & ((1 << 255) - 1)
    return y >= _P or y in _SMALL_ORDER


def _check(signature: Signature, message: bytes) -> None:
    public = parse_did_key(signature.keyid)
    if is_weak_key(public):
        raise SignatureError(f"{signature.keyid} is a weak key: anybody can sign with it")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature.sig, message)
    except InvalidSignature:
        raise SignatureError(
            f"the signature of {signature.keyid} is wrong: the record was changed, or that key never signed it",
            hint="ask for the record from another peer",
        ) from None


def _signature(found: dict[str, object]) -> Signature:
    keyid = found.get("keyid")
    if not isinstance(keyid, str) or len(keyid) > MAX_KEYID or not _KEYID.fullmatch(keyid):
        raise EnvelopeError(f"keyid: expected 1 to {MAX_KEYID} printable ASCII characters")
    sig = decode_base64(found.get("sig"), "sig", MAX_SIGNATURE)
    if keyid.startswith(_ED25519_DID):
        try:
            parse_did_key(keyid)
        except LinkError as error:
            raise EnvelopeError(f"keyid: {error.message}") from None
        if len(sig) != 64:
            raise EnvelopeError(f"sig: an Ed25519 signature has 64 bytes, this one {len(sig)}")
    return Signature(keyid, sig)


def _mapping(value: object, what: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise EnvelopeError(f"{what} is not a JSON object")
    return value
