"""Whole nodes on loopback, several in one process: real homes, real hosts, real files."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from support.contents import Source, give_home, make_source

from samara.cli.operations import Operations
from samara.node.app import Node, open_node
from samara.node.operations.base import Event, Notice, Progress
from samara.node.operations.fetch import FETCH, Fetched, FetchRequest
from samara.node.settings import NetworkSettings, Settings, StoreSettings
from samara.node.store.home import Home
from samara.protocol.ids import ReleaseId, format_record

__all__ = ["LOOPBACK", "Heard", "address", "fetch", "published", "same_files", "seeding", "up"]

LOOPBACK = ("/ip4/127.0.0.1/tcp/0",)

_QUIET = NetworkSettings(listen=LOOPBACK, mdns=False, dht="off")


@dataclass
class Heard:
    """What a fetch reported."""

    notices: list[str] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.notices.append(event.notice)
        elif isinstance(event, Progress):
            self.progress.append(event)


@contextlib.asynccontextmanager
async def up(home: Path, **network: Any) -> AsyncIterator[Node]:
    """Run a node on a home, its network open; keywords are network settings."""
    folder = Home(home)
    folder.create()
    settings = Settings(replace(_QUIET, **network), StoreSettings(floor=0))
    async with open_node(folder, settings, Operations()) as node:
        await node.network()
        yield node


@contextlib.contextmanager
def published(home: Path, root: Path, sizes: dict[str, int], **how: Any) -> Iterator[Source]:
    """Publish files of random bytes from a home that nobody holds."""
    with give_home(home) as store:
        made = make_source(store, root, sizes, **how)
    yield made


@contextlib.asynccontextmanager
async def seeding(
    home: Path, root: Path, sizes: dict[str, int], *, how: Mapping[str, Any] | None = None, **network: Any
) -> AsyncIterator[tuple[Node, Source]]:
    """Publish files of random bytes in some way, and run the node that seeds them."""
    with published(home, root, sizes, **how or {}) as made:
        async with up(home, **network) as node:
            yield node, made


def address(node: Node) -> str:
    """Where a node listens, with its peer id."""
    service = node.network_if_started
    assert service is not None
    return f"{service.host.listening()[0]}/p2p/{service.host.peer}"


async def fetch(
    node: Node,
    ref: str | ReleaseId,
    peers: Sequence[Node | str],
    *,
    heard: Heard | None = None,
    to: Path | None = None,
    include: Sequence[str] = (),
    quantization: str = "",
    encode: str = "",
    reuse: Sequence[Path] = (),
    tensors: Sequence[str] = (),
    headers: bool = False,
    patience: float = 10.0,
) -> Fetched:
    """Fetch by the operation that every door calls."""
    request = FetchRequest(
        ref if isinstance(ref, str) else format_record(ref),
        to=str(to) if to else "",
        include=tuple(include),
        peers=tuple(peer if isinstance(peer, str) else address(peer) for peer in peers),
        patience=patience,
        quantization=quantization,
        encode=encode,
        reuse=tuple(map(str, reuse)),
        tensors=tuple(tensors),
        headers=headers,
    )
    fetched: Fetched = await node.run(FETCH, request, heard or Heard())
    return fetched


def same_files(made: Source, path: Path | str, only: Sequence[str] | None = None) -> None:
    """Check that what lies at a path is what was published, byte for byte, and nothing else."""
    place = Path(path)
    if len(made.files) == 1:
        assert place.read_bytes() == (made.root / made.files[0]).read_bytes()
        return
    found = {str(f.relative_to(place)) for f in place.rglob("*") if f.is_file() and ".samara" not in f.parts}
    assert found == set(made.files if only is None else only)
    for name in found:
        assert (place / name).read_bytes() == (made.root / name).read_bytes(), name
