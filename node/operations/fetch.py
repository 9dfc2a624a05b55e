"""fetch: by the queue, or as a dry run that says what it would cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from samara.node.fetch.cost import CostJob, FileCost
from samara.node.fetch.goal import FetchRequest, goal_of
from samara.node.operations.base import Notice, Operation, Report
from samara.node.operations.judging import judge_held, notices
from samara.node.operations.refs import use_of_delta
from samara.node.store.store import Store
from samara.protocol.errors import UsageError
from samara.protocol.ids import ReleaseId, format_record

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = [
    "DROP",
    "DRY_RUN",
    "FETCH",
    "DropRequest",
    "Dropped",
    "DryRun",
    "FetchRequest",
    "Fetched",
    "PeerShare",
    "estimated",
]


@dataclass(frozen=True, slots=True)
class PeerShare:
    """What one peer gave.

    Attributes:
        peer: Its id.
        bytes: Bytes of chunks that were kept.
    """

    peer: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch brought (specs/cli.md).

    Attributes:
        release: Release id.
        name: Its name.
        path: Where it lies.
        bytes: Bytes of all its files.
        received: Bytes of chunks that came from peers.
        moved: Bytes that they took on the way, encoded.
        reused: Bytes that were here already and copied.
        shared: Those of them that take no room of their own.
        seconds: How long it took.
        peers: Who gave how much, most first.
        seeded: This node passes it on.
        partial: Not all of the release is here.
    """

    release: str
    name: str
    path: str
    bytes: int
    received: int
    moved: int
    reused: int
    shared: int
    seconds: float
    peers: tuple[PeerShare, ...]
    seeded: bool
    partial: bool


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a fetch would cost (specs/cli.md).

    Attributes:
        release: Release id.
        name: Its name.
        bytes: Bytes of the files that are wanted.
        needed: Bytes that would be fetched.
        held: Bytes that are here already.
        files: The same, file by file.
        estimated: About how many bytes that would take on the line, encoded; what is not known counts as it is. None
            when nothing is known.
    """

    release: str
    name: str
    bytes: int
    needed: int
    held: int
    files: tuple[FileCost, ...]
    estimated: int | None = None


async def _fetch(node: Node, request: FetchRequest, report: Report) -> Fetched:
    outcome = await node.fetches.fetch(request, report)
    held = node.store.catalog.release(outcome.release)
    if held is not None and (use := await trio.to_thread.run_sync(use_of_delta, node.store, held)):
        report(Notice(use))
    whole = await trio.to_thread.run_sync(node.store.complete_place, held.content) if held else None
    for notice in await trio.to_thread.run_sync(_notices, node.store, outcome.release):
        report(Notice(notice))
    shares = sorted((PeerShare(peer, count) for peer, count in outcome.peers.items()), key=lambda s: -s.bytes)
    return Fetched(
        format_record(outcome.release),
        held.name if held else "",
        outcome.path,
        held.bytes if held else 0,
        outcome.received,
        outcome.moved,
        outcome.reused,
        outcome.shared,
        round(outcome.seconds, 3),
        tuple(shares),
        node.store.serves(held) if held else False,
        whole is None,
    )


def _notices(store: Store, release: ReleaseId) -> list[str]:
    """What a person should know of what came: also what does not keep it from being used."""
    held = store.catalog.release(release)
    return notices(judge_held(store, held)) if held is not None else []


async def _dry_run(node: Node, request: FetchRequest, report: Report) -> DryRun:
    goal = goal_of(node.store, request)
    if goal.tensors is not None:  # only the headers, which a dry run does not fetch, say what they would cost
        raise UsageError("a dry run cannot tell what single tensors cost", hint="See their sizes: samara tensors REF")
    job = CostJob(node, goal, report, patience=request.patience or None)
    verified = await job.measure()
    needed = sum(cost.needed for cost in job.costs)
    total = sum(cost.bytes for cost in job.costs)
    name = verified.release.name
    return DryRun(format_record(verified.id), name, total, needed, total - needed, job.costs, estimated(job.costs))


def estimated(costs: Sequence[FileCost]) -> int | None:
    """Return about how many bytes files would take on the line; None when nothing is known of any that is missing."""
    if all(cost.estimated is None for cost in costs if cost.needed):
        return None
    return sum(cost.needed if cost.estimated is None else cost.estimated for cost in costs)


@dataclass(frozen=True, slots=True)
class DropRequest:
    """Take a fetch out of the queue, by its number."""

    number: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """The fetch that was taken out."""

    number: int


async def _drop(node: Node, request: DropRequest, report: Report) -> Dropped:
    node.fetches.drop(request.number)
    return Dropped(request.number)


DROP = Operation("queue --drop", DropRequest, Dropped, _drop)
DRY_RUN = Operation("fetch --dry-run", FetchRequest, DryRun, _dry_run)
FETCH = Operation("fetch", FetchRequest, Fetched, _fetch, detaches=True)
