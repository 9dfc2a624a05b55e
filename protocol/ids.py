"""Identifiers: raw 32-byte BLAKE3 digests inside, CIDv1 and did:key strings outside.

Inside the program an id is 32 bytes under a `NewType`, so that a content id cannot be passed for a release id. Text
forms are made and parsed here and nowhere else; only the canonical form is accepted: lower-case base32 without padding.

Source: specs/content.md, specs/records.md.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from typing import Final, NewType

from blake3 import blake3

from samara.protocol.errors import LinkError

__all__ = [
    "ContentId",
    "Digest",
    "PublisherId",
    "ReleaseId",
    "did_key",
    "digest",
    "format_content",
    "format_record",
    "parse_content",
    "parse_did_key",
    "parse_record",
    "sha256",
]

Digest = NewType("Digest", bytes)
"""BLAKE3-256 of a chunk or of a chunk-list node."""

ContentId = NewType("ContentId", bytes)
"""Digest of the root node of a file table."""

ReleaseId = NewType("ReleaseId", bytes)
"""BLAKE3-256 of a release's payload bytes. Heads are named the same way."""

PublisherId = NewType("PublisherId", bytes)
"""BLAKE3-256 of the payload bytes of a publisher's genesis root."""

_RAW: Final = b"\x55"
_JSON: Final = b"\x80\x04"  # varint of 0x0200
_MULTIHASH: Final = b"\x1e\x20"  # blake3, 32 bytes
_ED25519: Final = b"\xed\x01"  # varint of 0xed
_BASE32: Final = re.compile("b[a-z2-7]*")
_DIGITS: Final = str.maketrans("abcdefghijklmnopqrstuvwxyz234567", "0123456789abcdefghijklmnopqrstuv")
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def digest(data: bytes | bytearray | memoryview) -> Digest:
    """Return the BLAKE3-256 of `data`, 32 bytes."""
    return Digest(blake3(data).digest())


def sha256(data: bytes | bytearray | memoryview) -> bytes:
    """Return the SHA-256 of `data`, 32 bytes."""
    return hashlib.sha256(data).digest()


def format_content(value: bytes) -> str:
    """Return the CIDv1 of a content, node or chunk (codec raw, BLAKE3), as base32 text.

    Source: specs/content.md §2; the CIDv1 and multihash specifications.
    """
    return _format(_RAW, value)


def format_record(value: bytes) -> str:
    """Return the CIDv1 of a record: a release, head or publisher (codec json, BLAKE3), as base32 text."""
    return _format(_JSON, value)


def parse_content(text: str) -> ContentId:
    """Parse what `format_content` wrote.

    Raises:
        LinkError: Not the canonical CIDv1 of raw bytes under BLAKE3-256.
    """
    return ContentId(_parse(_RAW, text, "content id"))


def parse_record(text: str) -> bytes:
    """Parse what `format_record` wrote; the caller says which kind of record it is.

    Raises:
        LinkError: Not the canonical CIDv1 of a JSON record under BLAKE3-256.
    """
    return _parse(_JSON, text, "record id")


def did_key(public_key: bytes) -> str:
    """Return the did:key of a raw Ed25519 public key (32 bytes): `did:key:z6Mk…`.

    Source: did:key method, §3.1; multicodec ed25519-pub.
    """
    number = int.from_bytes(_ED25519 + public_key, "big")
    text = ""
    while number:
        number, rest = divmod(number, 58)
        text = _BASE58[rest] + text
    return "did:key:z" + text


@functools.lru_cache(maxsize=1024)  # a publisher's records name the same few keys
def parse_did_key(text: str) -> bytes:
    """Return the raw Ed25519 public key (32 bytes) of a did:key.

    Raises:
        LinkError: Not the canonical did:key of an Ed25519 key.
    """
    number = 0
    for letter in text.removeprefix("did:key:z")[:64]:
        number = number * 58 + max(_BASE58.find(letter), 0)
    raw = number.to_bytes(64, "big").lstrip(b"\0")[len(_ED25519) :]
    if len(raw) != 32 or did_key(raw) != text:
        raise LinkError(f"not the did:key of an Ed25519 key: {text[:80]!r}")
    return raw


def _format(codec: bytes, value: bytes) -> str:
    cid = b"\x01" + codec + _MULTIHASH + value
    return "b" + base64.b32encode(cid).decode().lower().rstrip("=")


def _parse(codec: bytes, text: str, what: str) -> bytes:
    prefix = b"\x01" + codec + _MULTIHASH
    bits = 8 * (len(prefix) + 32)
    letters = -(-bits // 5)
    spare = 5 * letters - bits
    # Tens of thousands of ids are read when a store of records is verified, and `base64` is slow in base32. One length,
    # one alphabet and no stray bits: so one text, and one only, is the canonical form.
    if len(text) == 1 + letters and _BASE32.fullmatch(text):
        number = int(text[1:].translate(_DIGITS), 32)
        raw = (number >> spare).to_bytes(bits // 8, "big")
        if number % (1 << spare) == 0 and raw.startswith(prefix):
            return raw[len(prefix) :]
    raise LinkError(f"not a {what}: {text[:80]!r}")
