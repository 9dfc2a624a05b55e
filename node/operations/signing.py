"""revoke and attest: what this home's publisher signs into its log besides releases."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from samara.node.operations.base import Operation, Report
from samara.node.operations.refs import (
    OwnPublisher,
    check_place,
    enough_keys,
    find_release,
    next_place,
    now_text,
    own_publisher,
    publisher_text,
    signing,
    signing_keys,
)
from samara.node.store.catalog import HeldRelease
from samara.node.store.files import os_errors
from samara.node.store.scan import scan_file
from samara.node.store.store import Store
from samara.protocol.dsse import Signer, SigningKey
from samara.protocol.errors import LinkError, NotFoundError, StatementError, UsageError
from samara.protocol.ids import ReleaseId, format_record, parse_did_key, parse_record
from samara.protocol.records import (
    Attestation,
    Claim,
    Entry,
    Place,
    PublisherChain,
    Reason,
    Results,
    Revocation,
    Subject,
    Verified,
    Visibility,
    make_attestation,
    make_key_revocation,
    make_release_revocation,
    parse_time,
)
from samara.protocol.trust import Ledger

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = [
    "ATTEST",
    "REVOKE",
    "AttestRequest",
    "Attested",
    "RevokeRequest",
    "Revoked",
    "sign_record",
]

_SUBJECT: Final = "release"
_SCORE: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?")

_STAYS: Final = "To pass it on no more, without telling anybody, forget it: samara rm. "

Maker = Callable[[PublisherChain, Ledger, Place, Sequence[Signer]], Entry]


@dataclass(frozen=True, slots=True)
class RevokeRequest:
    """What to take back: a release or a key.

    Attributes:
        ref: REF of a release of this home's own; empty for a key.
        key: did:key of a key of this home's publisher or of its delegates; empty for a release.
        reason: Why a release is taken back: security, broken, licence, withdrawn or other.
        text: Why, in words; may be empty.
        replacement: REF of what to use instead; may be empty.
        through: The last position of the log up to which the key is believed; None: up to now.
        tell_its_id: Also when it is unlisted or private: its id goes into the public log.
    """

    ref: str = ""
    key: str = ""
    reason: str = ""
    text: str = ""
    replacement: str = ""
    through: int | None = None
    tell_its_id: bool = False


@dataclass(frozen=True, slots=True)
class Revoked:
    """What was taken back (specs/cli.md).

    Attributes:
        record: Id of the revocation.
        position: Its place in the publisher's log.
        release: The release; empty for a key.
        name: Its name and version, as far as it is known here.
        key: The key; empty for a release.
        reason: Why.
        replacement: What to use instead; may be empty.
        through: The last position up to which the key is believed; None for a release.
    """

    record: str
    position: int
    release: str
    name: str
    key: str
    reason: str
    replacement: str
    through: int | None


@dataclass(frozen=True, slots=True)
class AttestRequest:
    """What to say of a release.

    Attributes:
        ref: REF of a release of whatever publisher that is known here.
        claim: reviewed, evaluated, reproduced or harmful.
        suite: What it was evaluated with; may be empty.
        score: A decimal number; may be empty.
        results: Absolute path of a file of results, whose digests are signed; may be empty.
        text: In words; may be empty.
        expires: `YYYY-MM-DDTHH:MM:SSZ`; empty: never.
        tell_its_id: Also when it is unlisted or private: its id goes into the public log.
    """

    ref: str
    claim: str
    suite: str = ""
    score: str = ""
    results: str = ""
    text: str = ""
    expires: str = ""
    tell_its_id: bool = False


@dataclass(frozen=True, slots=True)
class Attested:
    """What was said (specs/cli.md).

    Attributes:
        record: Id of the attestation.
        position: Its place in the log of this home's publisher.
        release: The release.
        name: Its name.
        publisher: Petname or id of who published it.
        claim: What was said.
    """

    record: str
    position: int
    release: str
    name: str
    publisher: str
    claim: str


def sign_record(store: Store, make: Maker, passphrase: str = "") -> Entry:
    """Sign a record into the log of this home's publisher, and keep it.

    Args:
        store: The home's.
        make: Makes the record, of the chain, the ledger, the place in the log and the keys.
        passphrase: Opens the keys for this alone, where they are sealed; empty takes those that were unlocked.

    Raises:
        ForkError: The publisher is frozen.
        SamaraError: What `make` raises.
    """
    with signing:
        own = own_publisher(store)
        if passphrase:
            keys = enough_keys(own, store.keys.open(own.chain.current.keys, passphrase))
        else:
            keys = signing_keys(store, own)
        if not all(isinstance(key, SigningKey) for key in keys):
            return _sign_apart(store, own, make, keys)
        with store.ledgers.asking(own.publisher) as ledger:
            known = ledger if ledger is not None else Ledger(own.chain)
            entry = make(own.chain, known, next_place(known), keys)
            return store.ledgers.take_own(own.chain.envelopes, entry.envelope)


def _sign_apart(store: Store, own: OwnPublisher, make: Maker, keys: Sequence[Signer]) -> Entry:
    """Sign a record with keys that may wait for a person: nobody who asks the ledger waits with them."""
    known = store.ledgers.copy(own.publisher) or Ledger(own.chain)
    place = next_place(known)
    entry = make(own.chain, known, place, keys)
    with store.ledgers.asking(own.publisher) as ledger:
        check_place(ledger, place)
        return store.ledgers.take_own(own.chain.envelopes, entry.envelope)


def revoke(store: Store, request: RevokeRequest) -> Revoked:
    """Take back a release or a key. Blocks.

    Raises:
        UsageError: Not exactly one of both, or it is not this publisher's.
        NotFoundError: It is not known here.
    """
    if bool(request.ref) == bool(request.key):
        raise UsageError("what is to be taken back?", hint="Name a release, or a key with --key.")
    return _revoke_key(store, request) if request.key else _revoke_release(store, request)


def _revoke_release(store: Store, request: RevokeRequest) -> Revoked:
    try:
        reason = Reason(request.reason)
    except ValueError:
        words = ", ".join(one.value for one in Reason)
        raise UsageError(f"why is it taken back? Not {request.reason!r}", hint=f"--reason takes {words}.") from None
    replacement = _replacement(store, request)

    def make(chain: PublisherChain, ledger: Ledger, place: Place, keys: Sequence[Signer]) -> Verified[Revocation]:
        return make_release_revocation(
            chain,
            place=place,
            release=_own_subject(store, ledger, request),
            reason=reason,
            issued=now_text(),
            keys=keys,
            text=request.text or None,
            replacement=replacement,
        )

    entry = sign_record(store, make)
    release = ReleaseId(entry.subject.blake3)
    held = store.catalog.release(release)
    return Revoked(
        record=format_record(entry.id),
        position=_position(entry),
        release=format_record(release),
        name=f"{held.name} {held.version}" if held is not None else "",
        key="",
        reason=reason.value,
        replacement=format_record(replacement) if replacement is not None else "",
        through=None,
    )


def _replacement(store: Store, request: RevokeRequest) -> ReleaseId | None:
    if not request.replacement:
        return None
    held = find_release(store, request.replacement)
    if not request.tell_its_id:
        _refuse_secret(store, held, _STAYS)
    return held.id


def _own_subject(store: Store, ledger: Ledger, request: RevokeRequest) -> Subject:
    """Digests of a release of this home's: of one that is here, or that was, as its head tells."""
    try:
        held = find_release(store, request.ref)
    except NotFoundError:
        for subject in _of_heads(ledger, request.ref):
            return subject
        raise
    if held.publisher != ledger.publisher and held.own:
        whose = publisher_text(store, held.publisher)
        raise UsageError(
            f"{held.name} is {whose}'s: this home signed it as a delegate, and a delegate takes nothing back",
            hint=f"Ask {whose} to revoke it. A better one in its place is published with --as {whose}.",
        )
    if held.publisher != ledger.publisher:
        raise UsageError(
            f"{held.name} is {publisher_text(store, held.publisher)}'s, and only they can take it back",
            hint='To warn others of it: samara attest REF --claim harmful --text "why".',
        )
    if not request.tell_its_id:
        _refuse_secret(store, held, _STAYS)
    return _subject_of(store, held.id)


def _refuse_secret(store: Store, held: HeldRelease, hint: str) -> None:
    """A log is public, and so is each id in it: who signs one into it must know what that tells.

    Raises:
        UsageError: The release is unlisted or private, as its publisher signed it.
    """
    visibility = store.verified(held.id).release.visibility
    if visibility is Visibility.PUBLIC:
        return
    means = "whoever reads it could fetch the release" if visibility is Visibility.UNLISTED else "it names the release"
    raise UsageError(
        f"{held.name} {held.version} is {visibility.value}, and your log, which is public, would have its id: {means}",
        hint=f"{hint}To say it all the same: --tell-its-id.",
    )


def _of_heads(ledger: Ledger, text: str) -> list[Subject]:
    try:
        wanted = parse_record(text)
    except LinkError:
        return []
    heads = [head for name in ledger.heads for head in ledger.history(name)]
    return [head.subject for head in heads if head.head.release == wanted]


def _subject_of(store: Store, release: ReleaseId) -> Subject:
    records = store.catalog.records(release)
    if records is None:
        raise NotFoundError("the records of this release are gone", hint="Fetch it again.")
    return Subject.of(_SUBJECT, store.verify_records(records, expected=release).payload)


def _revoke_key(store: Store, request: RevokeRequest) -> Revoked:
    if request.reason or request.replacement:
        raise UsageError("--reason and --replace are for releases", hint="Say why with --text.")
    parse_did_key(request.key)

    def make(chain: PublisherChain, ledger: Ledger, place: Place, keys: Sequence[Signer]) -> Verified[Revocation]:
        _check_key(chain, ledger, request.key)
        through = place.position - 1 if request.through is None else request.through
        if not 0 <= through < place.position:
            raise UsageError(f"--through {through}: the log has {place.position - 1} records")
        return make_key_revocation(
            chain,
            place=place,
            key=request.key,
            last=ledger.place_after(through),
            issued=now_text(),
            keys=keys,
            text=request.text or None,
        )

    entry = sign_record(store, make)
    through = _position(entry) - 1 if request.through is None else request.through
    return Revoked(
        record=format_record(entry.id),
        position=_position(entry),
        release="",
        name="",
        key=request.key,
        reason="",
        replacement="",
        through=through,
    )


def _check_key(chain: PublisherChain, ledger: Ledger, key: str) -> None:
    roots = {one for root in chain.roots for one in root.root.keys}
    delegates = {one for delegation in ledger.delegations.values() for one in delegation.said.keys}
    if key not in roots | delegates:
        raise UsageError("this key never spoke for this home's publisher", hint="See samara key show.")
    left = [one for one in chain.current.keys if one != key and ledger.key_revocation(one) is None]
    if len(left) < chain.current.threshold:
        raise UsageError(
            "without this key nobody could sign for this publisher any more",
            hint="Replace it first, then take the old one back: samara key rotate.",
        )


def attest(store: Store, request: AttestRequest) -> Attested:
    """Sign a claim about a release. Blocks.

    Raises:
        UsageError: What is said is not whole.
        NotFoundError: The release is not known here.
    """
    claim = _checked(request)
    held = find_release(store, request.ref)
    if not request.tell_its_id:
        _refuse_secret(store, held, "")
    subject = _subject_of(store, held.id)
    results = _digests(Path(request.results)) if request.results else None

    def make(chain: PublisherChain, ledger: Ledger, place: Place, keys: Sequence[Signer]) -> Verified[Attestation]:
        return make_attestation(
            chain,
            place=place,
            release=subject,
            claim=claim,
            issued=now_text(),
            keys=keys,
            suite=request.suite or None,
            score=request.score or None,
            results=results,
            text=request.text or None,
            expires=request.expires or None,
        )

    entry = sign_record(store, make)
    return Attested(
        format_record(entry.id),
        _position(entry),
        format_record(held.id),
        held.name,
        publisher_text(store, held.publisher),
        claim.value,
    )


def _checked(request: AttestRequest) -> Claim:
    try:
        claim = Claim(request.claim)
        if request.expires:
            parse_time(request.expires)
    except (ValueError, StatementError) as error:
        raise UsageError(str(error), hint="See samara attest --help.") from error
    if request.score and not _SCORE.fullmatch(request.score):
        raise UsageError(f"{request.score!r} is not a score", hint="A decimal number: --score 71.4")
    if not request.suite and (request.score or claim is Claim.EVALUATED):
        raise UsageError("evaluated with what?", hint="Name it: --suite mmlu")
    if claim is Claim.HARMFUL and not request.text:
        raise UsageError("harmful in what?", hint='Say it: --text "…"')
    return claim


def _digests(path: Path) -> Results:
    with os_errors(f"cannot read {path}"), open(path, "rb", buffering=0) as file:
        size = path.stat().st_size
        scanned = scan_file(file.fileno(), size)
    return Results(scanned.blake3, scanned.sha256)


def _position(entry: Entry) -> int:
    return entry.said.origin.place.position


async def _revoke(node: Node, request: RevokeRequest, report: Report) -> Revoked:
    done = await trio.to_thread.run_sync(revoke, node.store, request)
    node.library_changed()
    return done


async def _attest(node: Node, request: AttestRequest, report: Report) -> Attested:
    return await trio.to_thread.run_sync(attest, node.store, request)


REVOKE = Operation("revoke", RevokeRequest, Revoked, _revoke, signs=True)
ATTEST = Operation("attest", AttestRequest, Attested, _attest, signs=True)
