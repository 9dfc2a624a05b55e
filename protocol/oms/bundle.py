"""The signature file of OMS: a Sigstore bundle around a signed statement (specs/oms.md §2).

Decoding checks shapes, not signatures, and does not look into the statement: `open` does both, in the order in which
nothing unsigned is parsed. All fields are closed, so that every byte of a file that Samara wrote counts.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, final

from samara.protocol import strictjson
from samara.protocol.base64text import decode_base64, encode_base64
from samara.protocol.dsse import PAYLOAD_TYPE, pae
from samara.protocol.errors import EnvelopeError, SignatureError
from samara.protocol.limits import MAX_KEYID, MAX_OMS_PAYLOAD, MAX_OMS_SIG, MAX_OMS_SIGNATURE
from samara.protocol.oms.keys import OmsKey, OmsPublicKey
from samara.protocol.oms.manifest import Manifest

__all__ = ["MEDIA_TYPE", "Bundle", "ByCertificateError", "sign_manifest"]

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"

_HEX: Final = re.compile(r"[0-9a-f]{64}")
_CERTIFICATES: Final = frozenset({"certificate", "x509CertificateChain"})


@final
class ByCertificateError(EnvelopeError):
    """A signature file that was made with a certificate: not malformed, and not ours to judge."""


@final
@dataclass(frozen=True, slots=True)
class Bundle:
    """A signature file.

    Attributes:
        payload: The statement's bytes.
        signature: ECDSA, in DER.
        hint: Which key made it, by the SHA-256 of its PEM in hexadecimal; None when it does not say.
    """

    payload: bytes
    signature: bytes
    hint: str | None

    @classmethod
    def decode(cls, data: bytes) -> Bundle:
        """Parse a signature file.

        Raises:
            JsonError: Not strict JSON, or longer than `MAX_OMS_SIGNATURE`.
            ByCertificateError: It was made with a certificate.
            EnvelopeError: A field is missing, unknown, of a wrong type or not canonical.

        Source: specs/oms.md §2, 1–4.
        """
        bundle = _fields(strictjson.loads(data, max_bytes=MAX_OMS_SIGNATURE), "a signature file")
        _exactly(bundle, "mediaType", MEDIA_TYPE)
        _only(bundle, {"mediaType", "verificationMaterial", "dsseEnvelope"})
        hint = _hint(_fields(bundle.get("verificationMaterial"), "verificationMaterial"))
        envelope = _fields(bundle.get("dsseEnvelope"), "dsseEnvelope")
        _exactly(envelope, "payloadType", PAYLOAD_TYPE)
        _only(envelope, {"payload", "payloadType", "signatures"})
        payload = decode_base64(envelope.get("payload"), "payload", MAX_OMS_PAYLOAD)
        listed = envelope.get("signatures")
        if not isinstance(listed, list) or len(listed) != 1:
            raise EnvelopeError("signatures: expected exactly one")
        signature = _fields(listed[0], "a signature")
        _only(signature, {"keyid", "sig"})
        keyid = signature.get("keyid", "")
        if not isinstance(keyid, str) or len(keyid) > MAX_KEYID:
            raise EnvelopeError(f"keyid: expected a text of at most {MAX_KEYID} characters")
        return cls(payload, decode_base64(signature.get("sig"), "sig", MAX_OMS_SIG), hint)

    def encode(self) -> bytes:
        """Return the signature file, as Samara writes it.

        Raises:
            EnvelopeError: It would be longer than `MAX_OMS_SIGNATURE`.
        """
        found = strictjson.dumps(
            {
                "mediaType": MEDIA_TYPE,
                "verificationMaterial": {"publicKey": {"hint": self.hint or ""}, "tlogEntries": []},
                "dsseEnvelope": {
                    "payload": encode_base64(self.payload),
                    "payloadType": PAYLOAD_TYPE,
                    "signatures": [{"keyid": "", "sig": encode_base64(self.signature)}],
                },
            }
        )
        if len(self.payload) > MAX_OMS_PAYLOAD or len(found) > MAX_OMS_SIGNATURE:
            raise EnvelopeError(f"too many files for one OMS signature: {len(self.payload)} bytes of names and digests")
        return found

    def made_by(self, key: OmsPublicKey) -> bool:
        """Return whether this key made the signature, whatever the hint says."""
        return key.made(self.signature, pae(PAYLOAD_TYPE, self.payload))

    def open(self, key: OmsPublicKey) -> Manifest:
        """Verify the signature, and return what was signed.

        Raises:
            SignatureError: It was made with another key, or something was changed.
            JsonError: The statement is not strict JSON.
            StatementError: It is malformed, or of another kind.
            PathError: It names a file that no release can hold.

        Source: specs/oms.md §2, 5 and 6.
        """
        if self.hint is not None and self.hint != key.hint:
            raise SignatureError(
                f"the OMS signature is by another key: {self.hint[:16]}…, not {key.hint[:16]}…",
                hint="Ask whom you have the model from for the key.",
            )
        if not self.made_by(key):
            raise SignatureError(
                "the OMS signature is wrong: it was changed, or this key never made it",
                hint="Ask whom you have the model from for the signature and the key.",
            )
        return Manifest.decode(self.payload)


def sign_manifest(manifest: Manifest, key: OmsKey) -> bytes:
    """Sign a manifest, and open the result as others will, so that nothing is given out that they would refuse.

    Returns:
        The bytes of the signature file; the same each time.

    Raises:
        RecordError: The manifest cannot be signed: it is too long, for one.
    """
    payload = manifest.encode()
    data = Bundle(payload, key.sign(pae(PAYLOAD_TYPE, payload)), key.public.hint).encode()
    Bundle.decode(data).open(key.public)
    return data


def _hint(material: dict[str, object]) -> str | None:
    if not _CERTIFICATES.isdisjoint(material):
        raise ByCertificateError(
            "the OMS signature was made with a certificate, which is not judged here",
            hint="See model_signing verify certificate, and verify sigstore.",
        )
    _only(material, {"publicKey", "tlogEntries"})
    if material.get("tlogEntries", []) != []:
        raise EnvelopeError("tlogEntries: a signature by a key has none")
    public = _fields(material.get("publicKey"), "publicKey")
    _only(public, {"hint", "rawBytes", "keyDetails"})
    hint = public.get("hint")
    if hint in (None, ""):
        return None
    if not isinstance(hint, str) or not _HEX.fullmatch(hint):
        raise EnvelopeError("hint: expected 64 hexadecimal digits")
    return hint


def _fields(value: object, what: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise EnvelopeError(f"{what} is not a JSON object")
    return value


def _only(fields: dict[str, object], known: Collection[str]) -> None:
    for name in fields:
        if name not in known:
            raise EnvelopeError(f"the field {name[:40]!r} is not known here")


def _exactly(fields: dict[str, object], name: str, expected: str) -> None:
    found = fields.get(name)
    if found != expected:
        said = repr(found[:80]) if isinstance(found, str) else "no text"
        raise EnvelopeError(f"{name} is {said}: expected {expected!r}")
