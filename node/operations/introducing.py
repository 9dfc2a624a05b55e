"""trust import: names for those whom a collection introduces, one by one, and each with the person's yes.

The list is a stranger's. A name that is in use here, or looks like one, is never given by the list alone: else whoever
signs it could become anybody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from samara.node.operations.base import Operation, Query, Report
from samara.node.operations.catalogues import CollectionRequest, Names, find_collection, is_expired
from samara.node.store.store import Store
from samara.node.store.trust import OWN
from samara.node.wordlist import word_list
from samara.protocol.errors import ForkError, NotFoundError
from samara.protocol.ids import PublisherId, format_record, parse_record
from samara.protocol.links import check_petname
from samara.protocol.records import Collection, Introduction, Verified
from samara.protocol.trust import lookalikes

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = [
    "CLASH",
    "KEPT",
    "LEFT",
    "NAMED",
    "PROPOSALS",
    "TRUST_IMPORT",
    "Answer",
    "ImportRequest",
    "Imported",
    "ImportedRow",
]

NAMED: Final = "named"
KEPT: Final = "kept"
CLASH: Final = "clash"
LEFT: Final = "left"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the person said to one publisher.

    Attributes:
        publisher: Its id.
        petname: What to call it, as the person typed or took it.
    """

    publisher: str
    petname: str


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """Whom to give names.

    Attributes:
        name: The collection: `WHOSE/NAME`, or the NAME of one of this home's own.
        answers: What the person said to each; who is not named here is left out.
        all: Nobody was asked: take all that clash with nothing.
    """

    name: str
    answers: tuple[Answer, ...] = ()
    all: bool = False


@dataclass(frozen=True, slots=True)
class ImportedRow:
    """What became of one whom a collection introduces; in proposals, what would (specs/cli.md, "Introductions").

    Attributes:
        publisher: Its id.
        petname: What the collector calls it.
        words: Its 8 check words.
        result: named, kept, clash or left.
        name: What it is called here now; may be empty.
        like: Names in use here that the suggested one is, or looks like.
    """

    publisher: str
    petname: str
    words: tuple[str, ...]
    result: str
    name: str
    like: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of each, in the collector's order.

    Attributes:
        collection: The collection.
        collector: Petname or id of who signed it.
        collector_id: Its id.
        expired: The collector does not stand for it any more.
        publishers: Whom it introduces.
    """

    collection: str
    collector: str
    collector_id: str
    expired: bool
    publishers: tuple[ImportedRow, ...]


def _list(store: Store, text: str) -> Verified[Collection]:
    found, frozen = find_collection(store, text)
    if frozen:
        raise ForkError(
            f"whoever signed {text} is frozen: {frozen}",
            hint="Their keys may be stolen. See samara trust; ask them before you take anybody's name from it.",
        )
    if not found.said.publishers:
        raise NotFoundError(f"{text} introduces nobody", hint="See samara collection show.")
    return found


def _proposed(store: Store, request: CollectionRequest) -> Imported:
    found = _list(store, request.name)
    names = dict(store.catalog.petnames())
    rows: list[ImportedRow] = []
    for one in found.said.publishers:
        row = _proposal(store, one, names)
        if row.result == NAMED:
            names[one.publisher] = one.petname  # two in one list may look alike, too
        rows.append(row)
    return _imported(store, found, rows)


def _proposal(store: Store, one: Introduction, names: dict[PublisherId, str]) -> ImportedRow:
    """What becomes of somebody if nobody is asked."""
    words = word_list().of_publisher(one.publisher)
    name = names.get(one.publisher) or (OWN if store.ledgers.is_own(one.publisher) else "")
    if name:
        return ImportedRow(format_record(one.publisher), one.petname, words, KEPT, name, ())
    like = _like(one.petname, names.values())
    result = CLASH if like else NAMED
    return ImportedRow(format_record(one.publisher), one.petname, words, result, "" if like else one.petname, like)


def _like(name: str, used: Iterable[str]) -> tuple[str, ...]:
    """Return the names in use that a name is, or looks like."""
    known = {*used, OWN}
    return tuple(sorted({*lookalikes(name, known), *({name} & known)}))


def _import(store: Store, request: ImportRequest) -> Imported:
    found = _list(store, request.name)
    answers = {parse_record(one.publisher): check_petname(one.petname) for one in request.answers}
    names = dict(store.catalog.petnames())
    rows: list[ImportedRow] = []
    for one in found.said.publishers:
        row = _proposal(store, one, names)
        if row.result != KEPT:
            row = _taken(row, None if request.all else answers.get(one.publisher, ""), names)
        if row.result == NAMED:
            names[one.publisher] = row.name
            store.catalog.set_petname(one.publisher, row.name)
        rows.append(row)
    return _imported(store, found, rows)


def _taken(row: ImportedRow, answer: str | None, names: dict[PublisherId, str]) -> ImportedRow:
    """What becomes of somebody who has no name yet, after what the person said; None: nobody was asked."""
    if answer is None:
        return row
    if not answer:
        return replace(row, result=LEFT, name="", like=())
    if answer in {*names.values(), OWN}:  # a name is taken from nobody; one that looks like it, the person has seen
        return replace(row, result=CLASH, name="", like=(answer,))
    return replace(row, result=NAMED, name=answer)


def _imported(store: Store, found: Verified[Collection], rows: Iterable[ImportedRow]) -> Imported:
    said, collector = found.said, found.said.origin.publisher
    return Imported(
        said.name, Names(store).text(collector), format_record(collector), is_expired(store, said), tuple(rows)
    )


async def _take(node: Node, request: ImportRequest, report: Report) -> Imported:
    import trio  # not with the module, whose query needs no event loop

    return await trio.to_thread.run_sync(_import, node.store, request)


PROPOSALS = Query("trust proposals", CollectionRequest, Imported, _proposed)
TRUST_IMPORT = Operation("trust import", ImportRequest, Imported, _take)
