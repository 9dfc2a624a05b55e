"""The in-toto statement that every record is: how it is sealed in an envelope and opened again (specs/records.md §3).

What is opened has been verified in this order: shape of the envelope, every signature in it, strict JSON, the
statement's own fields, `critical`. Who was allowed to sign, and what the predicate says, is for each kind of record:
root, release, head. A new kind calls `open_record` with its `predicateType` and the names of its fields: that is all.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

from samara.protocol import dsse, strictjson
from samara.protocol.errors import CriticalError, StatementError
from samara.protocol.ids import digest, sha256
from samara.protocol.limits import MAX_CRITICAL, MAX_RECORD_PAYLOAD
from samara.protocol.records.fields import Fields

__all__ = [
    "STATEMENT_TYPE",
    "Opened",
    "Subject",
    "of_kind",
    "open_any",
    "open_record",
    "read_digest",
    "seal",
    "understood",
]

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"

_CRITICAL_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PREDICATE_TYPE: Final = re.compile(r"[!-~]{1,256}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@final
@dataclass(frozen=True, slots=True)
class Subject:
    """What a statement is about.

    Attributes:
        name: What it is in this statement: `file-table`, `release`, `root`, or a did:key.
        blake3: BLAKE3-256 of its bytes.
        sha256: SHA-256 of its bytes.
    """

    name: str
    blake3: bytes
    sha256: bytes

    @classmethod
    def of(cls, name: str, data: bytes) -> Subject:
        """Return the subject that `data` is."""
        return cls(name, digest(data), sha256(data))

    def matches(self, data: bytes) -> bool:
        """Return whether `data` are the bytes that this is about; both digests count."""
        return digest(data) == self.blake3 and sha256(data) == self.sha256


@final
@dataclass(frozen=True, slots=True)
class Opened:
    """A statement out of an envelope whose signatures are right. Whether the signers may say so is not checked yet.

    Attributes:
        id: BLAKE3-256 of the payload: the record id.
        payload: The exact bytes that were signed.
        subject: What it is about.
        fields: The predicate.
        signed: The did:keys that signed, whosever they are.
        kind: Its `predicateType`.
        critical: The fields that must be understood, none of them unknown here.
    """

    id: bytes
    payload: bytes
    subject: Subject
    fields: Fields
    signed: frozenset[str]
    kind: str
    critical: frozenset[str]


def open_record(envelope: bytes, predicate_type: str, known: Collection[str]) -> Opened:
    """Verify an envelope and open the statement in it.

    Args:
        envelope: The bytes as received.
        predicate_type: The kind of record that is asked for.
        known: Names of the predicate's fields that this version understands.

    Raises:
        JsonError: Envelope or payload is not strict JSON.
        EnvelopeError: The envelope is malformed or of a foreign type.
        SignatureError: A signature is missing or wrong.
        StatementError: Another kind of record, or malformed.
        CriticalError: A critical field is not among `known`.

    Source: specs/records.md §2 and §3.
    """
    return understood(of_kind(open_any(envelope), predicate_type), known)


def open_any(envelope: bytes) -> Opened:
    """Verify an envelope and open the statement in it, of whatever kind it is.

    Nobody says yet that its critical fields are understood: `understood` does.

    Raises:
        RecordError: As `open_record`, but for `CriticalError`.
    """
    decoded = dsse.Envelope.decode(envelope)
    signed = dsse.signers(decoded)  # §2, 8: nothing unsigned is parsed
    statement = Fields(strictjson.loads(decoded.payload, max_bytes=MAX_RECORD_PAYLOAD), "statement")
    statement.exactly("_type", STATEMENT_TYPE)
    kind = statement.match("predicateType", _PREDICATE_TYPE)
    (subject,) = statement.items("subject", most=1, least=1)
    fields = Fields(statement.get("predicate"), kind)
    return Opened(
        id=digest(decoded.payload),
        payload=decoded.payload,
        subject=_subject(Fields(subject, "subject")),
        fields=fields,
        signed=signed,
        kind=kind,
        critical=_read_critical(fields),
    )


def of_kind(opened: Opened, predicate_type: str) -> Opened:
    """Return `opened` if it is of that kind.

    Raises:
        StatementError: It is of another.
    """
    if opened.kind != predicate_type:
        raise StatementError(f"a record of predicateType {opened.kind[:80]!r}: expected {predicate_type!r}")
    return opened


def understood(opened: Opened, known: Collection[str]) -> Opened:
    """Return `opened` if all its critical fields are among `known`.

    Raises:
        CriticalError: One is not.
    """
    for name in sorted(opened.critical):
        if name not in known:
            raise CriticalError(
                f"the record says that {name!r} must be understood, and this version does not",
                hint="a newer version of Samara may read it",
            )
    return opened


def seal(subject: Subject, predicate_type: str, predicate: Mapping[str, object], keys: Sequence[dsse.Signer]) -> bytes:
    """Return the envelope of a statement, signed by `keys`.

    Raises:
        JsonError: Something in the predicate is outside strict JSON.
        EnvelopeError: It would be too long.
    """
    digests = {"blake3": subject.blake3.hex(), "sha256": subject.sha256.hex()}
    payload = strictjson.dumps(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": subject.name, "digest": digests}],
            "predicateType": predicate_type,
            "predicate": dict(predicate),
        }
    )
    return dsse.sign(payload, keys).encode()


def _subject(found: Fields) -> Subject:
    digests = found.group("digest")
    return Subject(found.text("name"), read_digest(digests, "blake3"), read_digest(digests, "sha256"))


def read_digest(fields: Fields, name: str) -> bytes:
    """Return the 32 bytes of a digest in lower-case hexadecimal."""
    return bytes.fromhex(fields.match(name, _DIGEST))


def _read_critical(fields: Fields) -> frozenset[str]:
    names = fields.items("critical", MAX_CRITICAL)
    if not all(isinstance(name, str) and _CRITICAL_NAME.fullmatch(name) for name in names):
        raise StatementError("critical: expected names of fields")
    texts = [str(name) for name in names]
    if len(set(texts)) != len(texts):
        raise StatementError("critical: a name occurs twice")
    for name in texts:
        if name not in fields:
            raise StatementError(f"critical: {name!r} is named, but is not there")
    return frozenset(texts)
