"""seed: releases that are here are passed on, also one that was taken back, when the user names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from samara.node.operations.base import Notice, Operation, Report
from samara.node.operations.judging import check_held, notices
from samara.node.operations.refs import find_release
from samara.node.store.store import Store
from samara.protocol.ids import format_record

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = ["SEED", "SeedRequest", "Seeded"]


@dataclass(frozen=True, slots=True)
class SeedRequest:
    """Releases, by REF, that are to be passed on.

    Attributes:
        refs: Which.
        insist: Names of those that are passed on although they were taken back.
    """

    refs: tuple[str, ...]
    insist: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seeded:
    """The releases that were meant."""

    releases: tuple[str, ...]


async def _seed(node: Node, request: SeedRequest, report: Report) -> Seeded:
    releases, said = await trio.to_thread.run_sync(_checked, node.store, request)
    for notice in said:
        report(Notice(notice))
    node.library_changed()
    return Seeded(tuple(releases))


def _checked(store: Store, request: SeedRequest) -> tuple[list[str], list[str]]:
    """Return the ids of the releases, and what is to be said of them."""
    releases: list[str] = []
    said: list[str] = []
    for ref in request.refs:
        held = find_release(store, ref)
        found = check_held(store, held, request.insist)
        if found.stops:
            store.trust.seed(held.id)
        said += notices(found)
        releases.append(format_record(held.id))
    return releases, said


SEED = Operation("seed", SeedRequest, Seeded, _seed)
