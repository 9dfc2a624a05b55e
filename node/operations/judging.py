"""What is thought of a release that is here, before it is used and wherever it is shown."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from samara.node.operations.delegating import DelegateRow, delegate_row
from samara.node.operations.refs import publisher_text
from samara.node.store.catalog import HeldRelease
from samara.node.store.store import Store
from samara.protocol.errors import UntrustedError
from samara.protocol.ids import PublisherId, format_record
from samara.protocol.trust import Judgement, Verdict, saw, seen_by

__all__ = [
    "JudgedRow",
    "SeenRow",
    "check_held",
    "check_path",
    "delegate_of",
    "judge_held",
    "judged_row",
    "notices",
    "seen_rows",
]


@dataclass(frozen=True, slots=True)
class SeenRow:
    """How far a witness has seen a publisher's log.

    Attributes:
        witness: Its petname, publisher id or did:key; "me" is this home.
        position: The position up to which it has.
        record: Id of the record at it, which it co-signed.
    """

    witness: str
    position: int
    record: str


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """A verdict, as doors show it.

    Attributes:
        verdict: GOOD, STALE, REVOKED, UNTRUSTED or DAMAGED.
        reasons: Why, the word's first; empty when all is well.
        notes: What else a person should know.
        publisher: Petname or id.
        publisher_id: Id.
        issued: When the release was signed.
        age_days: How old the newest is that is known here of this name.
        rule: The rule that decided, in words.
        ground: Why it is believed, or not.
        newer: The release that the name stands for now, when it is another; else empty.
        replacement: What its publisher says to use in its place; may be empty.
        seen: Which witnesses have seen in its publisher's log that it was published.
        delegate: Which delegates have signed it; None when the publisher's own keys have.
    """

    verdict: str
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    publisher: str
    publisher_id: str
    issued: str
    age_days: int
    rule: str
    ground: str
    newer: str
    replacement: str
    seen: tuple[SeenRow, ...]
    delegate: DelegateRow | None = None


def judge_held(store: Store, held: HeldRelease, damaged: Sequence[str] = ()) -> Judgement:
    """Return the verdict on a release that is known here.

    Args:
        store: The home's.
        held: The release.
        damaged: Paths whose bytes are wrong.
    """
    lies = (held.condemned,) if held.condemned else ()
    return store.trust.judge(store.verified(held.id), damaged=(*damaged, *lies))


def judged_row(store: Store, held: HeldRelease, found: Judgement) -> JudgedRow:
    """Return a verdict as doors show it."""
    return JudgedRow(
        found.verdict.value,
        found.reasons,
        found.notes,
        publisher_text(store, held.publisher) if held.publisher in store.catalog.petnames() else _whose(store, held),
        format_record(held.publisher),
        found.issued,
        found.age_days,
        str(found.decision.rule),
        found.decision.ground.value,
        format_record(found.newer) if found.newer is not None else "",
        format_record(found.replacement) if found.replacement is not None else "",
        seen_rows(store, held.publisher, held),
        delegate_of(store, held),
    )


def seen_rows(store: Store, publisher: PublisherId, held: HeldRelease | None = None) -> tuple[SeenRow, ...]:
    """Return how far witnesses have seen a publisher's log: those who have a name here, or whom a rule names.

    Args:
        store: The home's.
        publisher: Whose log.
        held: Only of those who have seen in it that this release was published.
    """
    with store.ledgers.asking(publisher) as ledger:
        if ledger is None or not any(entry.signers.cosigners for entry in ledger.log()):
            return ()
        witnesses = store.trust.all_witnesses()
        seen = seen_by(ledger, witnesses) if held is None else saw(ledger, held.name, held.id, witnesses)
    rows = (SeenRow(one.witness.name, one.position, format_record(one.record)) for one in seen)
    return tuple(sorted(rows, key=lambda row: (-row.position, row.witness)))


def delegate_of(store: Store, held: HeldRelease) -> DelegateRow | None:
    """Return which delegates have signed a release; None when its publisher's own keys have."""
    release = store.verified(held.id)
    return delegate_row(store, held.publisher, release.release.delegation, release.signers.keys)


def check_held(store: Store, held: HeldRelease, insist: Sequence[str]) -> Judgement:
    """Judge a release that is about to be used; return the verdict.

    Raises:
        RevokedError: It was taken back, and is not in `insist` by its name.
        UntrustedError: A rule that is enforced does not believe it, and it is not in `insist`.
    """
    return store.trust.check(store.verified(held.id), insisted=held.name in insist)


def check_path(store: Store, path: Path, insist: Sequence[str]) -> Judgement | None:
    """Judge the release of which a file is, if it lies where one does; None when it is nobody's.

    Of several releases of the same bytes one that may be used is enough.

    Raises:
        UntrustedError: As `check_held`.
    """
    refused: UntrustedError | None = None
    for place in store.contents.places():
        inside = _inside(path, place.root)
        if not inside or not store.contents.has(place.content):
            continue
        table = store.contents.table(place.content)
        if all(table.find(one) is None for one in inside):
            continue
        for held in store.catalog.releases(content=place.content):
            try:
                return check_held(store, held, insist)
            except UntrustedError as error:
                refused = error
    if refused is not None:
        raise refused
    return None


def notices(found: Judgement | None) -> list[str]:
    """Return what is to be said of a release that is used all the same; nothing when all is well."""
    if found is None or found.verdict is Verdict.GOOD:
        return []
    return [f"{found.verdict.value}: {reason}" for reason in found.reasons]


def _inside(path: Path, root: Path) -> set[str]:
    """Where in a folder a path leads, as it is written and as its links go; empty when it leads elsewhere."""
    paths = {Path(os.path.normpath(path)), Path(os.path.realpath(path))}
    roots = {root, Path(os.path.realpath(root))}
    return {one.relative_to(base).as_posix() for one in paths for base in roots if one.is_relative_to(base)}


def _whose(store: Store, held: HeldRelease) -> str:
    return store.trust.name(held.publisher) or format_record(held.publisher)
