"""The keys of OMS: ECDSA on the curves of NIST, since OMS has no Ed25519 (specs/oms.md §1).

A key that signs is made of a seed that is handed in, and its nonces of the key and the message: nothing here is random.
"""

from __future__ import annotations

import hashlib
from typing import Final, final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from samara.protocol.errors import KeyFileError, SignatureError, UsageError
from samara.protocol.keyfile import KeyKind
from samara.protocol.limits import MAX_OMS_KEY

__all__ = ["OMS_KEY", "OmsKey", "OmsPublicKey", "oms_seed"]

_SEED_BYTES: Final = 32
_DOMAIN: Final = b"samara oms p-256 1"
_SEED_DOMAIN: Final = b"samara oms seed 1"
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}


@final
class OmsPublicKey:
    """A key that OMS signatures verify under. Make one by `from_pem` or `from_spki`.

    Attributes:
        pem: Its PEM text, as everybody writes it.
        hint: SHA-256 of that text, in hexadecimal: what a signature file names it by.
    """

    __slots__ = ("_hash", "_key", "hint", "pem")

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self._key = key
        self._hash = _HASHES[key.curve.name]
        self.pem: Final = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.hint: Final = hashlib.sha256(self.pem).hexdigest()

    def __repr__(self) -> str:
        return f"OmsPublicKey({self.hint})"

    @classmethod
    def from_pem(cls, data: bytes) -> OmsPublicKey:
        """Read a PEM file, as a person names it.

        Raises:
            UsageError: It holds no public key on P-256, P-384 or P-521.
        """
        if len(data) > MAX_OMS_KEY:
            raise UsageError(f"a key file of {len(data)} bytes: at most {MAX_OMS_KEY}", hint=_HINT)
        try:
            return cls._of(load_pem_public_key(data))
        except (ValueError, UnsupportedAlgorithm):
            raise UsageError("the key file holds no public key that OMS knows", hint=_HINT) from None

    @classmethod
    def from_spki(cls, der: bytes) -> OmsPublicKey:
        """Read a SubjectPublicKeyInfo in DER, as a record that binds a key to a publisher holds it.

        Raises:
            SignatureError: It is none of a key on P-256, P-384 or P-521.
        """
        try:
            if len(der) > MAX_OMS_KEY:
                raise ValueError
            return cls._of(load_der_public_key(der))
        except (ValueError, UnsupportedAlgorithm):
            raise SignatureError("not the SubjectPublicKeyInfo of a key that OMS knows") from None

    @classmethod
    def from_point(cls, point: bytes) -> OmsPublicKey:
        """Read a compressed point of P-256, as a sealed key file states it.

        Raises:
            KeyFileError: It is none.
        """
        try:
            return cls(ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point))
        except ValueError:
            raise KeyFileError("the key file states a public key that is none of an OMS key", hint=_RESTORE) from None

    @classmethod
    def _of(cls, key: object) -> OmsPublicKey:
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
            raise ValueError
        return cls(key)

    @property
    def spki(self) -> bytes:
        """Its SubjectPublicKeyInfo in DER: what a record binds to a publisher."""
        return self._key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def point(self) -> bytes:
        """The compressed point; of a key on P-256 it has 33 bytes."""
        return self._key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)

    def made(self, signature: bytes, message: bytes) -> bool:
        """Return whether this key made the signature (DER) of a message."""
        try:
            self._key.verify(signature, message, ec.ECDSA(self._hash))
        except InvalidSignature:
            return False
        return True


@final
class OmsKey:
    """A P-256 key that can sign. It shows its public half and never its seed.

    Args:
        seed: 32 secret random bytes.

    Raises:
        ValueError: Not 32 bytes.

    Source: specs/oms.md §1, 2 and 3; FIPS 186-5, A.2.1; RFC 6979.
    """

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != _SEED_BYTES:
            raise ValueError(f"a seed of {len(seed)} bytes: {_SEED_BYTES}")
        wide = int.from_bytes(hashlib.sha512(_DOMAIN + seed).digest(), "big")
        self._key = ec.derive_private_key(1 + wide % (_P256_ORDER - 1), ec.SECP256R1())
        self.public: Final = OmsPublicKey(self._key.public_key())

    def __repr__(self) -> str:
        return f"OmsKey({self.public.hint})"

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message, in DER; the same each time."""
        return self._key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


_HINT: Final = "It is a PEM file that begins with BEGIN PUBLIC KEY; samara key show --oms --to FILE writes one."
_RESTORE: Final = "Restore it from its words: samara key restore --oms."


def oms_seed(publisher: bytes) -> bytes:
    """Return the seed of the OMS key that goes with a publisher's key, unless the home keeps another.

    Args:
        publisher: Seed of the publisher's key, 32 bytes.

    Source: specs/oms.md §1; RFC 5869.
    """
    return HKDF(hashes.SHA256(), length=_SEED_BYTES, salt=None, info=_SEED_DOMAIN).derive(publisher)


def _point(seed: bytes) -> bytes:
    return OmsKey(seed).public.point


def _hint(point: bytes) -> str:
    return OmsPublicKey.from_point(point).hint


OMS_KEY: Final = KeyKind(b"samaraKO", 33, _point, _hint)
"""The key file of an OMS key, which states its compressed point, and is named by its hint."""
