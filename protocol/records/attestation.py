"""Attestations: what anybody says of anybody's release (specs/records.md §12).

It says who said it, and nothing of whether to believe them: that is the reader's.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

from samara.protocol.dsse import Signer
from samara.protocol.errors import StatementError
from samara.protocol.ids import ReleaseId, format_record
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
from samara.protocol.records.statement import Opened, Subject, read_digest

__all__ = [
    "ATTESTATION",
    "Attestation",
    "Claim",
    "Results",
    "make_attestation",
    "verify_attestation",
]

_TYPE: Final = "urn:samara:attestation:1"
_FIELDS: Final = ENTRY_FIELDS | {"release", "claim", "suite", "score", "results", "text", "expires"}
_SUBJECT: Final = "release"
_SCORE: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?")


class Claim(enum.Enum):
    """What is said of a release."""

    REVIEWED = "reviewed"
    EVALUATED = "evaluated"
    REPRODUCED = "reproduced"
    HARMFUL = "harmful"


@final
@dataclass(frozen=True, slots=True)
class Results:
    """Digests of a file of results, wherever it is.

    Attributes:
        blake3: BLAKE3-256 of its bytes.
        sha256: SHA-256 of its bytes.
    """

    blake3: bytes
    sha256: bytes


@final
@dataclass(frozen=True, slots=True)
class Attestation:
    """What an attestation says.

    Attributes:
        origin: Who says it, and where in their log.
        release: Of which release, of whatever publisher.
        claim: What.
        suite: What it was evaluated with; there when `claim` is `EVALUATED`.
        score: A decimal number, as text; only with `suite`.
        results: The file of results.
        text: In words; there when `claim` is `HARMFUL`.
        expires: After which time the signer stands for it no more.
    """

    origin: Origin
    release: ReleaseId
    claim: Claim
    suite: str | None = None
    score: str | None = None
    results: Results | None = None
    text: str | None = None
    expires: str | None = None


def make_attestation(
    chain: PublisherChain,
    *,
    place: Place,
    release: Subject,
    claim: Claim,
    issued: str,
    keys: Sequence[Signer],
    suite: str | None = None,
    score: str | None = None,
    results: Results | None = None,
    text: str | None = None,
    expires: str | None = None,
) -> Verified[Attestation]:
    """Sign a claim about a release, and verify the result.

    Args:
        chain: The chain of who attests.
        place: The next place of their log.
        release: Digests of the release's payload: `Subject.of("release", payload)`, or the subject of a head of it.
        claim: What is said.
        issued: `YYYY-MM-DDTHH:MM:SSZ`.
        keys: Enough keys of the current root.
        suite: What it was evaluated with.
        score: A decimal number, as text.
        results: The file of results.
        text: In words, for people.
        expires: `YYYY-MM-DDTHH:MM:SSZ`, or None: for ever.

    Raises:
        RecordError: A field is out of bounds, or the keys may not sign it.
    """
    told = None if results is None else {"blake3": results.blake3.hex(), "sha256": results.sha256.hex()}
    said: dict[str, object] = {
        "release": format_record(release.blake3),
        "claim": claim.value,
        **given(suite=suite, score=score, results=told, text=text, expires=expires),
    }
    sealed = seal_entry(release, _TYPE, origin_of(chain, place, issued), said, keys)
    return verify_attestation(sealed, chain)


def verify_attestation(envelope: bytes, publisher: PublisherChain) -> Verified[Attestation]:
    """Verify an attestation against the chain of who attests.

    Raises:
        RecordError: One of its subclasses; which one for what, is in the spec.

    Source: specs/records.md §12.
    """
    return ATTESTATION.verify(envelope, publisher)


def _read(opened: Opened) -> Attestation:
    fields = opened.fields
    said = Attestation(
        origin=read_origin(fields),
        release=ReleaseId(fields.record_id("release")),
        claim=fields.choice("claim", Claim),
        suite=fields.maybe("suite", fields.text),
        score=fields.maybe("score", lambda name: fields.match(name, _SCORE)),
        results=fields.maybe("results", lambda name: _read_results(fields.group(name))),
        text=fields.maybe("text", fields.text),
        expires=read_expires(fields),
    )
    if opened.subject.name != _SUBJECT or opened.subject.blake3 != said.release:
        raise StatementError("attestation: the subject is not the release that it names")
    if said.suite is None and (said.score is not None or said.claim is Claim.EVALUATED):
        raise StatementError("attestation: a score, or an evaluation, without its suite")
    if said.claim is Claim.HARMFUL and said.text is None:
        raise StatementError("attestation: harmful, without saying why")
    return said


def _read_results(fields: Fields) -> Results:
    return Results(read_digest(fields, "blake3"), read_digest(fields, "sha256"))


ATTESTATION: Final[EntryKind[Attestation]] = EntryKind(_TYPE, "attestation", _FIELDS, _read)
