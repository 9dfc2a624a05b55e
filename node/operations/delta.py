"""delta: make what one release needs beyond another, as a release of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from samara.node.operations.base import Operation, Progress, Report
from samara.node.operations.publish import PublishRequest, publish
from samara.node.operations.refs import find_release, link_of, own_publisher, signing_keys
from samara.node.store.catalog import HeldRelease
from samara.node.store.packing import Packed, Packer
from samara.node.store.publish import find_files
from samara.node.store.store import Store
from samara.node.threads import is_cancelled
from samara.protocol.errors import LicenseError, NotFoundError, UsageError
from samara.protocol.ids import format_record
from samara.protocol.records import Kind, Visibility

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = ["DELTA", "DeltaMade", "DeltaRequest"]

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]+")
_MOST_OF_NAME: Final = 96


@dataclass(frozen=True, slots=True)
class DeltaRequest:
    """What to make.

    Attributes:
        target: REF of the release that the delta leads to.
        base: REF of the release that it starts from.
        to: Absolute path of a file that does not exist, or of the folder to put it into.
        name: Name of the delta's release; empty makes one of the names of both.
    """

    target: str
    base: str
    to: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class DeltaMade:
    """What was made (specs/cli.md).

    Attributes:
        release: Release id of the delta.
        link: Its link.
        name: Its name.
        path: Where it lies.
        bytes: Its size.
        target: Release id of what it leads to.
        base: Release id of what it starts from.
        needed: Bytes of the target's chunks that the base has not.
        whole: Bytes of the target.
        chunks: How many chunks it brings.
    """

    release: str
    link: str
    name: str
    path: str
    bytes: int
    target: str
    base: str
    needed: int
    whole: int
    chunks: int


async def _delta(node: Node, request: DeltaRequest, report: Report) -> DeltaMade:
    def on_progress(done: int, total: int) -> None:
        trio.from_thread.run_sync(report, Progress("encoding", done, total))

    made = await trio.to_thread.run_sync(lambda: _make(node.store, request, on_progress))
    node.library_changed()
    service = node.network_if_started
    if service is not None:
        made = replace(made, link=link_of(find_release(node.store, made.release), service.link_addresses()))
    return made


def _make(store: Store, request: DeltaRequest, on_progress: Callable[[int, int], None]) -> DeltaMade:
    target, base = _whole(store, request.target), _whole(store, request.base)
    if target.content == base.content:
        raise UsageError("both are the same content: there is nothing between them")
    if not store.serves(target):
        raise LicenseError(f"{target.name} may not be passed on, so its delta may not either")
    visibility = max(target.visibility, base.visibility, key=[each.value for each in Visibility].index)
    records = store.records(target.id)
    if records is None:  # it was removed since
        raise NotFoundError("there is no such release here", hint="See samara ls.")
    signing_keys(store, own_publisher(store))  # a locked key is told before the work
    name = request.name or _name_of(target, base)
    path = Path(request.to)
    if path.is_dir():
        path = path / f"{name}.delta"
    packer = Packer(store.contents, store.reader, store.encoder)
    packed = packer.pack(records, target.content, base.content, path, on_progress=on_progress, cancelled=is_cancelled)
    return _publish(store, name, path, packed, target, base, visibility)


def _publish(
    store: Store, name: str, path: Path, packed: Packed, target: HeldRelease, base: HeldRelease, visibility: str
) -> DeltaMade:
    ids = format_record(target.id), format_record(base.id)
    private = [held for held in (target, base) if held.visibility == Visibility.PRIVATE.value]
    allowed = [store.catalog.allowed_peers(held.id) for held in private]
    root, files = find_files(path)
    asked = PublishRequest(
        str(path), name, kind=Kind.DELTA.value, license=target.license, yes=True,
        visibility=visibility, allow=tuple(frozenset.intersection(*allowed)) if allowed else (), bases=ids,
    )  # fmt: skip
    row = publish(store, asked, files, root, cancelled=is_cancelled)
    store.deltas.take(find_release(store, row.release).content)
    return DeltaMade(
        row.release, row.link, name, os.fspath(path), packed.bytes, *ids, packed.raw, target.bytes, packed.chunks
    )


def _whole(store: Store, ref: str) -> HeldRelease:
    """Return a release that lies here whole.

    Raises:
        NotFoundError: It does not.
    """
    held = find_release(store, ref)
    if not store.contents.has(held.content) or store.complete_place(held.content) is None:
        raise NotFoundError(f"{held.name} {held.version} is not here whole", hint="Fetch it first: samara fetch REF")
    return held


def _name_of(target: HeldRelease, base: HeldRelease) -> str:
    since = base.version if base.name == target.name else f"{base.name}-{base.version}"
    name = _NOT_IN_NAMES.sub("-", f"{target.name}-{target.version}-from-{since}")
    return name[:_MOST_OF_NAME].rstrip("-._")


DELTA = Operation("delta", DeltaRequest, DeltaMade, _delta, signs=True)
