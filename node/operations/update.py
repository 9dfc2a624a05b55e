"""update: fetch the newest release of what is held, by difference; the old one is kept until the new one is here.

    what is followed ──► its newest head (Following) ──► a fetch like any other ──► the pin goes from the old to the new

The fetch itself passes the pin on (`FetchRequest.replaces`), so it does so too when it ends after its caller has left.
"""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from samara.node.fetch.cost import CostJob
from samara.node.fetch.finder import parse_peer
from samara.node.fetch.following import Following, Newest
from samara.node.fetch.goal import FetchRequest, goal_of
from samara.node.operations.base import Notice, Operation, Progress, Report
from samara.node.operations.fetch import estimated
from samara.node.operations.refs import find_release, publisher_of, publisher_text
from samara.node.store.catalog import HeldRelease
from samara.node.store.contents import Place
from samara.node.store.store import Store
from samara.protocol import limits
from samara.protocol.errors import ForkError, LinkError, NotFoundError, OperationError, SamaraError, UsageError, name_of
from samara.protocol.ids import ReleaseId, format_record
from samara.protocol.links import Link, LinkRef, NameRef, parse_ref
from samara.protocol.records.head import newer_head

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = ["UPDATE", "UPDATE_DRY_RUN", "UpdateRequest", "UpdateRow", "Updated"]

_ASKED_AT_ONCE: Final = 8
"""Names whose newest heads are looked for at a time: each is a few peers that are dialled, and a walk in the DHT."""

_MOST_NAMES: Final = 1000
"""Files that are asked for by their names, of a release that is held in part: each is a pattern in the request."""


@dataclass(frozen=True, slots=True)
class UpdateRequest:
    """What to update.

    Attributes:
        refs: REFs of releases that are held here; empty for all that are pinned and were not published here.
        to: Absolute path of the folder to put the one that is named into; empty takes the home's own.
        peers: Multiaddrs with `/p2p/…` of peers to ask first.
        patience: Seconds with nobody who knows or has it until it is given up.
        encode: As for a fetch.
    """

    refs: tuple[str, ...] = ()
    to: str = ""
    peers: tuple[str, ...] = ()
    patience: float = 30.0
    encode: str = ""


@dataclass(frozen=True, slots=True)
class UpdateRow:
    """What became of one release (specs/cli.md).

    Attributes:
        name: Its name.
        publisher: The publisher's petname, or id.
        state: updated, current, newer (a dry run found one), failed, or unreachable (nobody knows what is newest).
        previous: Id of the release that was held.
        previous_version: Its version.
        release: Id of the newest one; empty when that was not found out.
        version: Its version; empty while it is not known here.
        path: Where the new one lies.
        bytes: Bytes of all its files.
        received: Bytes of chunks that came from peers; in a dry run those that would come.
        moved: Bytes that they took on the way, encoded; in a dry run about those that they would take.
        reused: Bytes that were here already.
        shared: Those of them that take no room of their own.
        error: Class of the error when it failed or is unreachable.
        message: What happened.
        hint: What to do next.
    """

    name: str
    publisher: str
    state: str
    previous: str
    previous_version: str
    release: str = ""
    version: str = ""
    path: str = ""
    bytes: int = 0
    received: int = 0
    moved: int = 0
    reused: int = 0
    shared: int = 0
    error: str = ""
    message: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Updated:
    """What became of each release that was followed."""

    updates: tuple[UpdateRow, ...]


async def _update(node: Node, request: UpdateRequest, report: Report) -> Updated:
    return await _each(node, request, report, dry_run=False)


async def _dry_run(node: Node, request: UpdateRequest, report: Report) -> Updated:
    return await _each(node, request, report, dry_run=True)


async def _each(node: Node, request: UpdateRequest, report: Report, *, dry_run: bool) -> Updated:
    followed = _followed(node.store, request.refs, report)
    if request.to and len(followed) > 1:
        raise UsageError("--to is for one release, and several are updated", hint="Name the one: samara update REF.")
    if not request.patience > 0:
        raise UsageError("an update does not wait for ever", hint="Say for how many seconds: --wait 30.")
    for peer in request.peers:
        parse_peer(peer)
    found: dict[ReleaseId, Newest | SamaraError] = {}
    limiter = trio.CapacityLimiter(_ASKED_AT_ONCE)

    async def look(held: HeldRelease) -> None:
        async with limiter:
            found[held.id] = await _newest(node, held, request, report, hears=not dry_run)
            report(Progress("looking", 0, None, note=f"for what is newer: {len(found)} of {len(followed)}"))

    async with trio.open_nursery() as nursery:
        for held in followed:
            nursery.start_soon(look, held)
    rows = [await _one(node, held, found[held.id], request, report, dry_run=dry_run) for held in followed]
    return Updated(tuple(rows))


async def _newest(
    node: Node, held: HeldRelease, request: UpdateRequest, report: Report, *, hears: bool
) -> Newest | SamaraError:
    """Return the newest head of a name, or why it is not known."""
    peers = [parse_peer(peer) for peer in _peers(node.store, held, request)]
    try:
        return await Following(node, held, peers, report, patience=request.patience, hears=hears).newest()
    except SamaraError as error:
        return error


async def _one(
    node: Node, held: HeldRelease, found: Newest | SamaraError, request: UpdateRequest, report: Report, *, dry_run: bool
) -> UpdateRow:
    """Do with one release what its newest head says."""
    store = node.store
    row = UpdateRow(
        held.name, publisher_text(store, held.publisher), "current", format_record(held.id), held.version,
        release=format_record(held.id), version=held.version,
    )  # fmt: skip
    if isinstance(found, SamaraError):
        return _failed(replace(row, release="", version=""), found)
    if not _is_newer(store, held, found):
        return row
    row = replace(row, release=format_record(found.head.head.release), version="")
    try:
        if dry_run:
            return await _cost(node, row, _fetch_of(store, held, found, request), report)
        # What was seen once is never older again.
        taken = await trio.to_thread.run_sync(store.ledgers.take, found.chain.envelopes, [found.head.envelope])
        if taken.errors:
            raise taken.errors[0]
        return await _fetch(node, row, held, _fetch_of(store, held, found, request), report)
    except SamaraError as error:
        return _failed(replace(row, version=_version(store, found.head.head.release)), error)


async def _fetch(node: Node, row: UpdateRow, held: HeldRelease, fetch: FetchRequest, report: Report) -> UpdateRow:
    if not fetch.to and (place := _outside(node.store, held)) is not None:
        report(Notice(f"{held.name} {held.version} lies in {place.root}; its update goes into the home, or --to DIR."))
    outcome = await node.fetches.fetch(fetch, report)
    new = node.store.catalog.release(outcome.release)
    return replace(
        row,
        state="updated",
        version=new.version if new else "",
        path=outcome.path,
        bytes=new.bytes if new else 0,
        received=outcome.received,
        moved=outcome.moved,
        reused=outcome.reused,
        shared=outcome.shared,
    )


async def _cost(node: Node, row: UpdateRow, fetch: FetchRequest, report: Report) -> UpdateRow:
    job = CostJob(node, goal_of(node.store, fetch), report, patience=fetch.patience or None)
    release = (await job.measure()).release
    needed = sum(cost.needed for cost in job.costs)
    moved = estimated(job.costs)
    return replace(
        row,
        state="newer",
        version=release.version,
        bytes=release.bytes,
        received=needed,
        moved=needed if moved is None else moved,
        reused=sum(cost.bytes for cost in job.costs) - needed,
    )


def _failed(row: UpdateRow, error: SamaraError) -> UpdateRow:
    state = "unreachable" if isinstance(error, NotFoundError) else "failed"
    return replace(row, state=state, error=name_of(error), message=error.message, hint=error.hint)


def _version(store: Store, release: ReleaseId) -> str:
    held = store.catalog.release(release)
    return held.version if held is not None else ""


# What is followed


def _followed(store: Store, refs: Sequence[str], report: Report) -> list[HeldRelease]:
    """Return the releases to follow: those that are named, else the newest one of each name that is pinned.

    Raises:
        LinkError: A REF is malformed.
        NotFoundError: A REF names nothing that is held here.
        UsageError: It names what was published here, or what is not public and has no head.
    """
    if refs:
        return list({held.id: held for held in (_named(store, ref) for ref in refs)}.values())
    pins = store.catalog.pins()
    newest: dict[tuple[bytes, str], HeldRelease] = {}
    for held in store.catalog.releases():
        if held.id in pins and not held.own and _is_here(store, held):
            newest.setdefault((held.publisher, held.name), held)
    hidden = [held.name for held in newest.values() if held.visibility != "public"]
    if hidden:
        report(Notice(f"Not public, so there is no head to follow: {', '.join(hidden)}."))
    return [held for held in newest.values() if held.visibility == "public"]


def _named(store: Store, text: str) -> HeldRelease:
    held = _found(store, text)
    if held.own and store.ledgers.is_own(held.publisher):  # what a delegate signed, another may have moved on
        raise UsageError(f"{held.name} was published here", hint="samara publish makes its next version.")
    if held.visibility != "public":
        raise UsageError(
            f"{held.name} is not public, so there is no head to follow", hint="Ask its publisher for the new link."
        )
    return held


def _found(store: Store, text: str) -> HeldRelease:
    """Return what a REF names of what is held; of a name the newest one that is pinned, else the newest."""
    if "/" in text and isinstance(ref := parse_ref(text), NameRef):
        pins = store.catalog.pins()
        known = store.catalog.releases(publisher=publisher_of(store, ref), name=ref.name)
        here = [held for held in known if ref.version in {None, held.version} and _is_here(store, held)]
        found = min(here, key=lambda held: held.id not in pins, default=None)  # the first of the best
    else:
        found = find_release(store, text)
    if found is None or not _is_here(store, found):
        raise NotFoundError(f"{text} is not held here, so there is nothing to update", hint="samara fetch REF gets it.")
    return found


def _is_here(store: Store, held: HeldRelease) -> bool:
    return store.contents.has(held.content) and bool(store.contents.places(held.content))


def _outside(store: Store, held: HeldRelease) -> Place | None:
    """Return where a release lies, if that is not the home."""
    places = store.contents.places(held.content)
    return None if any(place.kind == "home" for place in places) else next(iter(places), None)


def _is_newer(store: Store, held: HeldRelease, newest: Newest) -> bool:
    """Whether the head that counts names something newer than what is held."""
    head = newest.head.head
    if head.release == held.id:
        return False
    known = store.ledgers.head(held.publisher, held.name)
    if known is not None and known.head.release == held.id:  # what is held is what others told of meanwhile
        with contextlib.suppress(ForkError):
            return newer_head(known, newest.head).id != known.id
    records = store.catalog.records(held.id)
    # Without a head of its own its place in the row is not known: what was signed before it is not newer.
    return (records is not None and records.head is not None) or head.issued > held.issued


# How it is fetched


def _fetch_of(store: Store, held: HeldRelease, newest: Newest, request: UpdateRequest) -> FetchRequest:
    """Return the fetch that brings the newest release: of its files those that were chosen of the old one.

    Raises:
        OperationError: What was chosen is not known.
    """
    include, quantization = _choice(store, held)
    return FetchRequest(
        Link(newest.head.head.release, held.name, held.publisher).encode(),  # of that publisher, or it is refused
        to=request.to,
        include=include,
        peers=tuple(_peers(store, held, request)),
        patience=request.patience,
        quantization=quantization,
        encode=request.encode,
        replaces=format_record(held.id),
    )


def _choice(store: Store, held: HeldRelease) -> tuple[tuple[str, ...], str]:
    """Return a fetch's patterns and quantization: as the old one was fetched, else for the files of it that are here.

    Raises:
        OperationError: It is held in part, of too many files.
    """
    chosen = {(fetch.include, fetch.quantization) for fetch in _fetches(store, held)}
    if len(chosen) == 1:
        return chosen.pop()
    if ((), "") in chosen:
        return (), ""
    table = store.contents.table(held.content)
    here = {n for place in store.contents.places(held.content) for n in store.contents.complete_streams(place)}
    if len(here) == len(table):
        return (), ""
    if not 0 < len(here) <= _MOST_NAMES:
        raise OperationError(
            f"{held.name} is held in part, {len(here)} of {len(table)} files, and it is not known how they were chosen",
            hint="Fetch what you want of the new release: samara fetch PUBLISHER/NAME --include GLOB.",
        )
    return tuple(glob.escape(table[n - 1].path) for n in sorted(here)), ""


def _peers(store: Store, held: HeldRelease, request: UpdateRequest) -> list[str]:
    """Return whom to ask first: who is named now, and who was named when it was fetched."""
    before = (peer for fetch in _fetches(store, held) for peer in (*fetch.peers, *_in_link(fetch.ref)))
    return list(dict.fromkeys((*request.peers, *before)))[: limits.MAX_LINK_PEERS]


def _in_link(text: str) -> Iterator[str]:
    try:
        ref = parse_ref(text)
    except LinkError:  # the beginning of an id
        return
    if isinstance(ref, LinkRef):
        yield from (address.text for address in ref.link.peers if address.dialable)


def _fetches(store: Store, held: HeldRelease) -> Iterator[FetchRequest]:
    for request in store.catalog.done_fetches(held.id):
        yield msgspec.json.decode(request, type=FetchRequest)


UPDATE = Operation("update", UpdateRequest, Updated, _update)
UPDATE_DRY_RUN = Operation("update --dry-run", UpdateRequest, Updated, _dry_run)
