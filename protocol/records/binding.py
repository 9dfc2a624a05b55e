"""Key bindings: a key of another kind that a publisher uses elsewhere (specs/records.md §15).

It leads from a publisher to a key and never back: a publisher may name any key as its own, so what a key has signed is
a publisher's only where the reader began with the publisher.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

from samara.protocol.base64text import decode_base64, encode_base64
from samara.protocol.dsse import Signer
from samara.protocol.errors import EnvelopeError, StatementError
from samara.protocol.limits import MAX_BOUND_KEY
from samara.protocol.records.entry import (
    ENTRY_FIELDS,
    EntryKind,
    Origin,
    Place,
    Verified,
    given,
    origin_of,
    read_expires,
    read_origin,
    seal_entry,
)
from samara.protocol.records.fields import Fields
from samara.protocol.records.root import PublisherChain
from samara.protocol.records.statement import Opened, Subject, open_record

__all__ = ["KEY_BINDING", "OMS", "KeyBinding", "bound_key", "make_key_binding", "verify_key_binding"]

OMS: Final = "oms"
"""The purpose of a key that signs OpenSSF Model Signing bundles."""

_TYPE: Final = "urn:samara:key-binding:1"
_FIELDS: Final = ENTRY_FIELDS | {"key", "purpose", "expires", "revoked"}
_SUBJECT: Final = "key"
_PURPOSE: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
# SubjectPublicKeyInfo of id-ecPublicKey on prime256v1 (RFC 5480), up to the uncompressed point: one form, no ASN.1.
_P256: Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")


@final
@dataclass(frozen=True, slots=True)
class KeyBinding:
    """What a key binding says.

    Attributes:
        origin: Whose it is, and where in the log. Of one purpose, the last in the log counts.
        key: A P-256 public key: SubjectPublicKeyInfo in DER, 91 bytes.
        purpose: What the key is for: `oms`, or what a later version knows.
        expires: After which time the publisher stands for it no more.
        revoked: The key is the publisher's no more.
    """

    origin: Origin
    key: bytes
    purpose: str
    expires: str | None = None
    revoked: bool = False


def make_key_binding(
    chain: PublisherChain,
    *,
    place: Place,
    key: bytes,
    issued: str,
    keys: Sequence[Signer],
    purpose: str = OMS,
    expires: str | None = None,
    revoked: bool = False,
) -> Verified[KeyBinding]:
    """Sign that a key is the publisher's, and verify the result.

    Args:
        chain: The publisher's chain.
        place: The next place of its log.
        key: A P-256 public key: SubjectPublicKeyInfo in DER.
        issued: `YYYY-MM-DDTHH:MM:SSZ`.
        keys: Enough keys of the current root.
        purpose: What the key is for.
        expires: `YYYY-MM-DDTHH:MM:SSZ`, or None: until another takes its place.
        revoked: The key is the publisher's no more.

    Raises:
        RecordError: A field is out of bounds, or the keys may not sign it.
    """
    said: dict[str, object] = {
        "key": encode_base64(key),
        "purpose": purpose,
        **given(expires=expires, revoked=revoked or None),
    }
    sealed = seal_entry(Subject.of(_SUBJECT, key), _TYPE, origin_of(chain, place, issued), said, keys)
    return verify_key_binding(sealed, chain)


def verify_key_binding(envelope: bytes, publisher: PublisherChain) -> Verified[KeyBinding]:
    """Verify a key binding against its publisher's chain.

    Raises:
        RecordError: One of its subclasses; which one for what, is in the spec.

    Source: specs/records.md §15.
    """
    return KEY_BINDING.verify(envelope, publisher)


def bound_key(envelope: bytes) -> bytes:
    """Return the key that a key binding is of, whosever record it is, and whether or not it counts.

    Raises:
        RecordError: It is none.
    """
    return _read_key(open_record(envelope, _TYPE, _FIELDS).fields)


def _read(opened: Opened) -> KeyBinding:
    fields = opened.fields
    said = KeyBinding(
        origin=read_origin(fields),
        key=_read_key(fields),
        purpose=fields.match("purpose", _PURPOSE),
        expires=read_expires(fields),
        revoked=fields.maybe("revoked", fields.true) or False,
    )
    if opened.subject != Subject.of(_SUBJECT, said.key):
        raise StatementError("key-binding: the subject is not the key that it names")
    return said


def _read_key(fields: Fields) -> bytes:
    try:
        key = decode_base64(fields.get("key"), "key-binding: key", MAX_BOUND_KEY)
        if not key.startswith(_P256):
            raise ValueError
        EllipticCurvePublicKey.from_encoded_point(SECP256R1(), key[len(_P256) :])
        if len(key) != MAX_BOUND_KEY:  # a compressed point would be a second form of one key
            raise ValueError
    except (EnvelopeError, ValueError):
        raise StatementError("key-binding: key: expected a P-256 public key, SubjectPublicKeyInfo in DER") from None
    return key


KEY_BINDING: Final[EntryKind[KeyBinding]] = EntryKind(_TYPE, "key binding", _FIELDS, _read)
