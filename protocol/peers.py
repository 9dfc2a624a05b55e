"""Peer ids of libp2p: the multihash of a node's public key, as bytes on the wire and base58 text everywhere else.

Three forms exist: an Ed25519 key itself under the identity multihash (`12D3KooW…`), which Samara nodes have; and, which
other libp2p nodes may have, a secp256k1 key itself (`16Uiu2H…`), and the SHA-256 of a longer key (`Qm…`). Anything else
is refused.

Source: libp2p peer ids specification; specs/network.md, "Identity".
"""

from __future__ import annotations

from typing import Final

from samara.protocol.errors import AddressError

__all__ = ["format_peer_id", "parse_peer_id", "peer_id_of", "public_key_bytes"]

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS: Final = {letter: digit for digit, letter in enumerate(_ALPHABET)}
_IDENTITY: Final = b"\x00\x24"
_SHA256: Final = b"\x12\x20"
_ED25519: Final = b"\x08\x01\x12\x20"  # protobuf: type Ed25519, 32 bytes of data
_SECP256K1: Final = b"\x00\x25\x08\x02\x12\x21"  # the identity multihash; protobuf: type secp256k1, 33 bytes of data
_LONGEST: Final = 64


def public_key_bytes(public_key: bytes) -> bytes:
    """Return the protobuf form of a raw Ed25519 public key (32 bytes) that libp2p signs and hashes."""
    return _ED25519 + public_key


def peer_id_of(public_key: bytes) -> str:
    """Return the peer id of a raw Ed25519 public key (32 bytes)."""
    return format_peer_id(_IDENTITY + public_key_bytes(public_key))


def format_peer_id(raw: bytes) -> str:
    """Return a peer id as text.

    Raises:
        AddressError: The bytes are no peer id.
    """
    if not _is_peer_id(raw):
        raise AddressError(f"{raw[:40].hex()} is not a peer id")
    number = int.from_bytes(raw, "big")
    text = ""
    while number:
        number, rest = divmod(number, 58)
        text = _ALPHABET[rest] + text
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + text


def parse_peer_id(text: str) -> bytes:
    """Return the bytes of a peer id.

    Raises:
        AddressError: The text is no peer id in base58.
    """
    number = 0
    for letter in text[:_LONGEST]:
        number = number * 58 + _DIGITS.get(letter, 0)
    raw = b"\0" * (len(text) - len(text.lstrip("1"))) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    # Formatting again is the check: foreign letters, a tail beyond `_LONGEST` and other forms all differ.
    if not _is_peer_id(raw) or format_peer_id(raw) != text:
        raise AddressError(f"{text[:80]!r} is not a peer id", hint="It begins with 12D3KooW.")
    return raw


def _is_peer_id(raw: bytes) -> bool:
    forms = ((_IDENTITY + _ED25519, 38), (_SECP256K1, 39), (_SHA256, 34))
    return any(raw.startswith(prefix) and len(raw) == length for prefix, length in forms)
