"""log: what a name stood for, as its publisher signed it."""

from __future__ import annotations

from dataclasses import dataclass

from samara.node.operations.base import Query
from samara.node.operations.delegating import DelegateRow, delegate_row
from samara.node.operations.judging import SeenRow, seen_rows
from samara.node.operations.refs import publisher_of, publisher_text
from samara.node.store.store import Store
from samara.protocol.errors import NotFoundError
from samara.protocol.ids import ReleaseId, format_record
from samara.protocol.links import NameRef, check_name, parse_ref
from samara.protocol.records import VerifiedHead
from samara.protocol.trust import Ledger
from samara.protocol.trust.forks import place_of

__all__ = ["LOG", "HeadRow", "LogRequest", "Logged"]


@dataclass(frozen=True, slots=True)
class LogRequest:
    """Which name: `publisher/name`, or a name alone for one of this home's own."""

    name: str


@dataclass(frozen=True, slots=True)
class HeadRow:
    """A head, as its publisher signed it.

    Attributes:
        record: Its id.
        position: Its place in the publisher's log; 0 for one outside.
        sequence: Of this name the how-manieth it is.
        root: Version of the root under which it is signed.
        issued: When, as it says.
        expires: When something newer is to be expected; empty: never.
        release: What the name stood for from then on.
        version: Its version, if it is known here.
        keys: Who signed.
        newest: The name stands for it now.
        counts: It is part of the log as it holds now.
        retag: It gave the name back to an earlier release, or an earlier version to other bytes.
        revoked: Why its release was taken back; empty when it was not.
        delegate: Which delegates have signed it; None when the publisher's own keys have.
    """

    record: str
    position: int
    sequence: int
    root: int
    issued: str
    expires: str
    release: str
    version: str
    keys: tuple[str, ...]
    newest: bool
    counts: bool
    retag: bool
    revoked: str
    delegate: DelegateRow | None = None


@dataclass(frozen=True, slots=True)
class Logged:
    """The signed history of a name (specs/cli.md).

    Attributes:
        publisher: Petname or id.
        publisher_id: Its id.
        name: The name.
        heads: Oldest first.
        missing: Gaps of the publisher's log: first and last position of each. What was said there is not known here.
        frozen: Why the publisher is frozen; empty when it is not.
        newest: Position of the newest record of the publisher's log; 0 when there is none.
        seen: How far witnesses have seen that log.
    """

    publisher: str
    publisher_id: str
    name: str
    heads: tuple[HeadRow, ...]
    missing: tuple[tuple[int, int], ...]
    frozen: str
    newest: int
    seen: tuple[SeenRow, ...]


def _log(store: Store, request: LogRequest) -> Logged:
    ref = parse_ref(request.name) if "/" in request.name else NameRef("me", check_name(request.name), None)
    if not isinstance(ref, NameRef):
        raise NotFoundError(f"{request.name} is no name", hint="Write publisher/name, as in: samara log alice/tiny")
    publisher = publisher_of(store, ref)
    with store.ledgers.asking(publisher) as ledger:
        heads = ledger.history(ref.name) if ledger is not None else ()
        if ledger is None or not heads:
            raise NotFoundError(f"no head of {ref.name!r} of that publisher is known here", hint="See samara ls.")
        return Logged(
            publisher_text(store, publisher),
            format_record(publisher),
            ref.name,
            _rows(store, ledger, heads),
            ledger.missing(),
            ledger.fork.what if ledger.fork is not None else "",
            place.position if ledger.newest is not None and (place := place_of(ledger.newest)) is not None else 0,
            seen_rows(store, publisher),
        )


def _rows(store: Store, ledger: Ledger, heads: tuple[VerifiedHead, ...]) -> tuple[HeadRow, ...]:
    rows: list[HeadRow] = []
    tagged: dict[str, ReleaseId] = {}  # what each version stood for
    before: set[ReleaseId] = set()
    last: ReleaseId | None = None  # a head that was signed anew, as under a new root, tags nothing
    for head in heads:
        said = head.head
        held = store.catalog.release(said.release)
        version = held.version if held is not None else ""
        moved = bool(version) and tagged.setdefault(version, said.release) != said.release
        newest = ledger.head(said.name)
        revocation = ledger.revocation(said.release)
        rows.append(
            HeadRow(
                record=format_record(head.id),
                position=said.place.position if said.place is not None else 0,
                sequence=said.sequence,
                root=said.root,
                issued=said.issued,
                expires=said.expires or "",
                release=format_record(said.release),
                version=version,
                keys=head.signers.keys,
                newest=newest is not None and newest.id == head.id,
                counts=_counts(ledger, head),
                retag=said.release != last and (moved or said.release in before),
                revoked=revocation.said.reason.value if revocation is not None else "",
                delegate=delegate_row(store, ledger.publisher, said.delegation, head.signers.keys),
            )
        )
        before.add(said.release)
        last = said.release
    return tuple(rows)


def _counts(ledger: Ledger, head: VerifiedHead) -> bool:
    """Whether a head is part of what holds now: of the log, or by a delegate who may still sign."""
    if head.head.delegation is not None:
        return ledger.believes(head)
    return head.head.place is None or ledger.counts(head.id)


LOG = Query("log", LogRequest, Logged, _log)
