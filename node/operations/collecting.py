"""collection add, remove and publishers: this home's own collections, signed into its log.

A collection is one record: each change signs all of it anew. What would change nothing is not signed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from samara.node.operations.base import Event, Notice, Operation, Report
from samara.node.operations.judging import check_held
from samara.node.operations.refs import (
    find_release,
    no_release,
    now_text,
    own_publisher,
    publisher_named,
    publisher_text,
)
from samara.node.operations.signing import sign_record
from samara.node.store.catalog import HeldRelease
from samara.node.store.store import Store
from samara.protocol import limits
from samara.protocol.dsse import Signer
from samara.protocol.errors import EnvelopeError, NotFoundError, UsageError
from samara.protocol.ids import PublisherId, ReleaseId, format_record
from samara.protocol.links import LinkRef, NameRef, check_name, check_petname, parse_ref
from samara.protocol.records import (
    Collection,
    Introduction,
    Listed,
    Place,
    PublisherChain,
    Verified,
    is_displayable,
    make_collection,
)
from samara.protocol.trust import Ledger, lookalikes

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = [
    "COLLECTION_ADD",
    "COLLECTION_PUBLISHERS",
    "COLLECTION_REMOVE",
    "AddToCollectionRequest",
    "Changed",
    "IntroduceRequest",
    "RemoveFromCollectionRequest",
    "add_to_collection",
    "introduce",
    "remove_from_collection",
]

_SHORT_ID: Final = 12
"""Characters of a release id that are enough to name an entry, as they are to name a release that is here."""


@dataclass(frozen=True, slots=True)
class AddToCollectionRequest:
    """What to list.

    Attributes:
        name: The collection; it begins with the first entry.
        refs: REFs of public releases of whatever publisher that are known here.
        note: Why they are listed; empty: as it was, or nothing.
        title: The collection's title; empty: as it was, or its name.
        insist: Names of releases that are to be listed although they were taken back, or are not believed.
    """

    name: str
    refs: tuple[str, ...]
    note: str = ""
    title: str = ""
    insist: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RemoveFromCollectionRequest:
    """What to strike out.

    Attributes:
        name: The collection.
        refs: REFs of entries, which need not be known here any more, or beginnings of their ids.
    """

    name: str
    refs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IntroduceRequest:
    """Whom to introduce.

    Attributes:
        name: The collection; it begins with the first publisher.
        publishers: Petnames or ids.
        petname: What to call the only one of them; empty: as they are called here.
        remove: Strike them out.
    """

    name: str
    publishers: tuple[str, ...]
    petname: str = ""
    remove: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """A collection of this home's own, as it is now (specs/cli.md).

    Attributes:
        publisher: Id of this home's publisher.
        name: The collection.
        title: Its title.
        record: Id of the record that counts now.
        position: Its place in the log.
        entries: Releases in it.
        publishers: Publishers whom it introduces.
        changed: How many of them came, went or are described otherwise.
    """

    publisher: str
    name: str
    title: str
    record: str
    position: int
    entries: int
    publishers: int
    changed: int


@dataclass(frozen=True, slots=True)
class _Said:
    """What a collection says, as far as its collector decides."""

    title: str
    entries: tuple[Listed, ...] = ()
    publishers: tuple[Introduction, ...] = ()


def add_to_collection(store: Store, request: AddToCollectionRequest) -> Changed:
    """List releases. Blocks.

    Raises:
        UsageError: A release is not public, a text cannot be shown, or there are too many.
        NotFoundError: A release is not known here.
        UntrustedError: It was taken back, or a rule that is enforced does not believe it.
    """
    _check_text("--note", request.note)
    _check_text("--title", request.title)
    found = [_to_be_listed(store, ref, request.insist) for ref in request.refs]

    def change(said: _Said) -> _Said:
        entries = {entry.release: entry for entry in said.entries}
        for held in found:
            known = entries.get(held.id)
            note = request.note or (known.note if known is not None else None)
            entries[held.id] = Listed(held.id, held.publisher, held.name, held.version, note)
        return _Said(request.title or said.title, tuple(entries.values()), said.publishers)

    return _change(store, request.name, change, begins=True)


def _to_be_listed(store: Store, ref: str, insist: Sequence[str]) -> HeldRelease:
    held = find_release(store, ref)
    if held.visibility != "public":
        raise UsageError(
            f"{held.name} {held.version} is {held.visibility}: a collection would tell its id to everybody",
            hint="Only public releases can be listed. If it is yours and may be known, publish it again as public.",
        )
    check_held(store, held, insist)
    return held


def remove_from_collection(store: Store, request: RemoveFromCollectionRequest) -> Changed:
    """Strike releases out. Blocks.

    Raises:
        NotFoundError: There is no such collection, or it does not list them.
        UsageError: The beginning of an id is that of several.
    """

    def change(said: _Said) -> _Said:
        gone = {_listed(store, said.entries, ref) for ref in request.refs}
        return _Said(said.title, tuple(entry for entry in said.entries if entry.release not in gone), said.publishers)

    return _change(store, request.name, change, begins=False)


def _listed(store: Store, entries: Sequence[Listed], text: str) -> ReleaseId:
    """Which entry a REF means: by what the entry says, or by what is known here."""
    found = [entry.release for entry in entries if _is_named(store, entry, text)]
    if len(found) > 1:
        raise UsageError(f"{len(found)} entries are {text!r}", hint="Give more of the id: samara collection show NAME")
    if found:
        return found[0]
    with contextlib.suppress(NotFoundError):
        held = find_release(store, text).id
        if held in {entry.release for entry in entries}:
            return held
    raise NotFoundError(f"{text!r} is not in this collection", hint="See samara collection show NAME.")


def _is_named(store: Store, entry: Listed, text: str) -> bool:
    if "/" not in text and not text.startswith("samara:"):
        return len(text) >= _SHORT_ID and format_record(entry.release).startswith(text)
    ref = parse_ref(text)
    if isinstance(ref, LinkRef):
        return entry.release == ref.link.release
    if not isinstance(ref, NameRef):
        return False
    whose = ref.publisher if not isinstance(ref.publisher, str) else publisher_named(store, ref.publisher)
    return (entry.publisher, entry.name) == (whose, ref.name) and ref.version in {None, entry.version}


def introduce(store: Store, request: IntroduceRequest, report: Report) -> Changed:
    """Introduce publishers, or do so no more. Blocks.

    Raises:
        UsageError: One has no name to be introduced by, or its name is another's in this collection.
        NotFoundError: Nobody has this petname here, or it is not in the collection.
    """
    whom = [no_release(store, publisher_named(store, text)) for text in request.publishers]
    if request.petname and (request.remove or len(whom) != 1):
        raise UsageError("--as goes with one publisher", hint="Introduce them one after the other.")
    if request.remove:
        return _change(store, request.name, lambda said: _without(store, said, whom), begins=False)
    new = [Introduction(one, _name_for(store, one, request.petname)) for one in whom]

    def change(said: _Said) -> _Said:
        introduced = {one.publisher: one for one in said.publishers} | {one.publisher: one for one in new}
        _check_names(introduced.values(), new)
        return _Said(said.title, said.entries, tuple(introduced.values()))

    done = _change(store, request.name, change, begins=True)
    _warn_of_lookalikes(store, request.name, new, report)
    return done


def _without(store: Store, said: _Said, whom: Sequence[PublisherId]) -> _Said:
    missing = set(whom) - {one.publisher for one in said.publishers}
    for one in missing:
        raise NotFoundError(f"{publisher_text(store, one)} is not introduced in this collection")
    return _Said(said.title, said.entries, tuple(one for one in said.publishers if one.publisher not in whom))


def _name_for(store: Store, publisher: PublisherId, petname: str) -> str:
    name = check_petname(petname) if petname else store.catalog.petnames().get(publisher, "")
    if not name or name == "me":
        raise UsageError(
            f"what is {format_record(publisher)} to be called by those who read this?", hint="Say it: --as PETNAME"
        )
    return name


def _check_names(all_of_them: Iterable[Introduction], new: Sequence[Introduction]) -> None:
    taken = {one.petname: one.publisher for one in all_of_them if one not in new}
    for one in new:
        if taken.setdefault(one.petname, one.publisher) != one.publisher:
            raise UsageError(
                f"this collection calls another publisher {one.petname}", hint="Choose another name: --as PETNAME"
            )


def _warn_of_lookalikes(store: Store, name: str, new: Sequence[Introduction], report: Report) -> None:
    said = _said(_own(store, name), name)
    for one in new:
        others = {other.petname for other in said.publishers if other.publisher != one.publisher}
        for other in lookalikes(one.petname, others):
            report(Notice(f"{one.petname} looks like {other}, whom this collection introduces, too"))


def _change(store: Store, name: str, change: Callable[[_Said], _Said], *, begins: bool) -> Changed:
    """Sign a collection anew, unless that would say the same.

    Args:
        store: The home's.
        name: The collection.
        change: Returns what it is to say instead, or raises an error if it may not.
        begins: It may be a new one.
    """
    name = check_name(name)
    before = _own(store, name)
    if before is None and not begins:
        raise NotFoundError(f"this home has no collection {name!r}", hint="See samara collection ls.")
    if before is not None and _within_bounds(change(_said(before, name))) == _said(before, name):
        return _changed(before, before)

    def make(chain: PublisherChain, ledger: Ledger, place: Place, keys: Sequence[Signer]) -> Verified[Collection]:
        said = _within_bounds(change(_said(ledger.collections.get(name), name)))  # another may have been faster
        try:
            return make_collection(
                chain, place=place, name=name, title=said.title, entries=said.entries, publishers=said.publishers,
                issued=now_text(), keys=keys,
            )  # fmt: skip
        except EnvelopeError as error:
            raise UsageError(
                f"the collection {name} is longer than a record can be", hint="Shorten the notes, or begin another one."
            ) from error

    sign_record(store, make)
    after = _own(store, name)
    if after is None:
        raise NotFoundError(f"the collection {name} was signed, and does not count", hint="See samara key show.")
    return _changed(before, after)


def _own(store: Store, name: str) -> Verified[Collection] | None:
    with store.ledgers.asking(own_publisher(store).publisher) as ledger:
        return ledger.collections.get(name) if ledger is not None else None


def _said(collection: Verified[Collection] | None, name: str) -> _Said:
    if collection is None:
        return _Said(name)
    return _Said(collection.said.title, collection.said.entries, collection.said.publishers)


def _within_bounds(said: _Said) -> _Said:
    for what, many, most in (
        ("releases", said.entries, limits.MAX_COLLECTION),
        ("publishers", said.publishers, limits.MAX_COLLECTION_PUBLISHERS),
    ):
        if len(many) > most:
            raise UsageError(f"{len(many)} {what}: a collection has at most {most}", hint="Begin another one.")
    return said


def _check_text(option: str, text: str) -> None:
    if text and not is_displayable(text):
        raise UsageError(
            f"{option}: this text cannot be shown to everybody as it is",
            hint=f"One line of at most {limits.MAX_TEXT} characters, without control characters or blanks around it.",
        )


def _changed(before: Verified[Collection] | None, after: Verified[Collection]) -> Changed:
    old, new = _said(before, after.said.name), _said(after, after.said.name)
    entries = {entry.release for entry in {*old.entries} ^ {*new.entries}}
    publishers = {one.publisher for one in {*old.publishers} ^ {*new.publishers}}
    return Changed(
        publisher=format_record(after.said.origin.publisher),
        name=after.said.name,
        title=after.said.title,
        record=format_record(after.id),
        position=after.said.origin.place.position,
        entries=len(new.entries),
        publishers=len(new.publishers),
        changed=len(entries) + len(publishers),
    )


async def _add(node: Node, request: AddToCollectionRequest, report: Report) -> Changed:
    return _told(node, await trio.to_thread.run_sync(add_to_collection, node.store, request))


async def _remove(node: Node, request: RemoveFromCollectionRequest, report: Report) -> Changed:
    return _told(node, await trio.to_thread.run_sync(remove_from_collection, node.store, request))


async def _introduce(node: Node, request: IntroduceRequest, report: Report) -> Changed:
    def say(event: Event) -> None:
        trio.from_thread.run_sync(report, event)

    return _told(node, await trio.to_thread.run_sync(introduce, node.store, request, say))


def _told(node: Node, done: Changed) -> Changed:
    node.library_changed()  # who signs a collection announces its log
    return done


COLLECTION_ADD = Operation("collection add", AddToCollectionRequest, Changed, _add, signs=True)
COLLECTION_REMOVE = Operation("collection remove", RemoveFromCollectionRequest, Changed, _remove, signs=True)
COLLECTION_PUBLISHERS = Operation("collection publishers", IntroduceRequest, Changed, _introduce, signs=True)
