"""Whose static Noise key it is: a payload in which a node's key signs it.

Nodes of Samara have Ed25519 keys; other libp2p nodes may have any of four kinds, which are verified too.

Source: libp2p-noise specification, "The libp2p Handshake Payload"; libp2p peer ids specification, "Keys".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from samara.protocol.errors import RemoteProtocolError
from samara.protocol.limits import MAX_NEGOTIATIONS, MAX_RSA_BITS, MIN_RSA_BITS
from samara.protocol.peers import format_peer_id, peer_id_of, public_key_bytes
from samara.protocol.wire import bytes_field, fields

__all__ = ["Identity", "Peer", "verify_payload"]

_PREFIX: Final = b"noise-libp2p-static-key:"
_KEY, _SIGNATURE, _EXTENSIONS, _MUXERS = 1, 2, 4, 2
_RSA, _ED25519, _SECP256K1, _ECDSA = 0, 1, 2, 3
_SHORT: Final = 42
"""Bytes up to which a public key is its own peer id; a longer one is hashed."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A node's key.

    Attributes:
        seed: Its Ed25519 seed, 32 bytes.
        muxers: What it can speak once the channel stands, the preferred one first; said in the handshake.
    """

    seed: bytes
    muxers: tuple[str, ...] = ()

    @property
    def public_key(self) -> bytes:
        """The protobuf form of the public key."""
        return public_key_bytes(self._key().public_key().public_bytes_raw())

    @property
    def peer(self) -> str:
        """The peer id."""
        return peer_id_of(self._key().public_key().public_bytes_raw())

    def payload(self, static: bytes) -> bytes:
        """Return the payload that binds a static Noise key (32 bytes) to this node."""
        out = bytes_field(_KEY, self.public_key) + bytes_field(_SIGNATURE, self._key().sign(_PREFIX + static))
        muxers = b"".join(bytes_field(_MUXERS, muxer.encode()) for muxer in self.muxers)
        return out + (bytes_field(_EXTENSIONS, muxers) if muxers else b"")

    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end.

    Attributes:
        id: Its peer id.
        muxers: What it says that it can speak; empty when it does not say.
    """

    id: str
    muxers: tuple[str, ...]


def verify_payload(payload: bytes, static: bytes) -> Peer:
    """Return whoever has signed a static Noise key (32 bytes) in a payload.

    Raises:
        RemoteProtocolError: The payload is malformed, its key is of no kind in use, or the signature is wrong.
    """
    found = {number: value for number, value in fields(payload) if isinstance(value, bytes)}
    key, signature = found.get(_KEY), found.get(_SIGNATURE)
    if key is None or signature is None:
        raise RemoteProtocolError("a handshake payload without a key or a signature")
    parts = dict(fields(key))
    kind, data = parts.get(1), parts.get(2)
    if not isinstance(kind, int) or not isinstance(data, bytes) or kind not in _VERIFY:
        raise RemoteProtocolError("a node key of a kind that is not in use")
    if key != bytes([1 << 3, kind]) + bytes_field(2, data):  # it is hashed as it stands: one key, one peer id
        raise RemoteProtocolError("a node key that is not in its shortest form")
    try:
        _VERIFY[kind](data, signature, _PREFIX + static)
    except InvalidSignature:
        raise RemoteProtocolError("the peer's node key did not sign its handshake") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RemoteProtocolError(f"a node key that is none: {error}") from None
    hashed = b"\x00" + bytes([len(key)]) + key if len(key) <= _SHORT else b"\x12\x20" + hashlib.sha256(key).digest()
    extensions = fields(found.get(_EXTENSIONS, b""))
    muxers = [value for number, value in extensions if number == _MUXERS and isinstance(value, bytes)]
    return Peer(format_peer_id(hashed), tuple(muxer.decode("utf-8", "replace") for muxer in muxers[:MAX_NEGOTIATIONS]))


def _verify_ed25519(key: bytes, signature: bytes, message: bytes) -> None:
    Ed25519PublicKey.from_public_bytes(key).verify(signature, message)


def _verify_secp256k1(key: bytes, signature: bytes, message: bytes) -> None:
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), key)
    public.verify(signature, message, ec.ECDSA(hashes.SHA256()))


def _verify_ecdsa(key: bytes, signature: bytes, message: bytes) -> None:
    public = load_der_public_key(key)
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise ValueError("not an ECDSA key")
    public.verify(signature, message, ec.ECDSA(hashes.SHA256()))


def _verify_rsa(key: bytes, signature: bytes, message: bytes) -> None:
    public = load_der_public_key(key)
    if not isinstance(public, RSAPublicKey) or not MIN_RSA_BITS <= public.key_size <= MAX_RSA_BITS:
        raise ValueError(f"not an RSA key of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")
    public.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())


_VERIFY: Final[dict[int, Callable[[bytes, bytes, bytes], None]]] = {
    _RSA: _verify_rsa,
    _ED25519: _verify_ed25519,
    _SECP256K1: _verify_secp256k1,
    _ECDSA: _verify_ecdsa,
}
