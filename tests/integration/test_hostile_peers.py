"""Every lie that a peer can tell, by name: beside an honest seeder it costs nothing but the liar; alone it is a typed
error in bounded time, and nothing is left behind that the next fetch would trip over.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from support import hostile
from support.contents import Source, give_home, make_source
from support.hostile import Lying, Plain, lying
from support.nodes import Heard, fetch, same_files, up

from samara.node.app import Node
from samara.node.network.transport import PeerAddress, Stream
from samara.node.operations.network import PEERS, PeersRequest, PeersResult
from samara.protocol.errors import NetworkError, NotFoundError, SamaraError
from samara.protocol.exchange.messages import PROTOCOL
from samara.protocol.ports import Records

SIZES = {"model.bin": 3_000_000, "notes.txt": 1_000}

WRONG = (
    hostile.WrongBytes,
    hostile.WrongTable,
    hostile.ShortEnd,
    hostile.LongChunk,
    hostile.Overlong,
    hostile.HugePayload,
    hostile.EndlessHeader,
    hostile.Unasked,
    hostile.EarlyBird,
    hostile.WrongNode,
    hostile.OtherRelease,
    hostile.ChangedRecord,
    hostile.ForeignSignature,
)
"""Who does these is to blame: nothing but malice or a broken program sends them."""

USELESS = (
    hostile.Mute,
    hostile.MuteAfterHello,
    hostile.MuteAtTable,
    hostile.MuteAtLists,
    hostile.MuteAtChunks,
    hostile.Dropper,
    hostile.Forgetful,
    hostile.BusyWithChunks,
    hostile.Busier,
)
"""These may happen to anybody: nobody is blamed, and nobody is kept waiting."""


@dataclass(frozen=True)
class World:
    """A publisher's home with the release that is fetched, and another one."""

    home: Path
    made: Source
    stranger: Records


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    base = tmp_path_factory.mktemp("hostile")
    with give_home(base / "publisher") as store:
        made = make_source(store, base / "files", SIZES)
        other = make_source(store, base / "other", {"other.bin": 5_000})
        records = store.catalog.records(other.release)
    assert records is not None
    yield World(base / "publisher", made, records)


@contextlib.asynccontextmanager
async def honest_after(world: World, lied: trio.Event) -> AsyncIterator[Node]:
    """An honest seeder that opens its mouth only when the liar has lied."""
    async with up(world.home) as node:
        service = await node.network()

        async def serve(stream: Stream) -> None:
            await lied.wait()
            await service.serve(stream)

        service.host.serve(PROTOCOL, serve)
        yield node


def is_clean(world: World, root: Path) -> None:
    """Check that nothing half-written lies at a final path, and that no wrong byte lies anywhere."""
    for path in root.rglob("*"):
        if path.is_dir():
            continue
        if path.parent.name != ".samara":
            assert path.read_bytes() == (world.made.root / path.relative_to(root)).read_bytes()
            continue
        truth = (world.made.root / world.made.files[int(path.name) - 1]).read_bytes()
        held = path.read_bytes()
        assert len(held) == len(truth)
        assert all(a in (0, b) for a, b in zip(held, truth, strict=True))


def place(node: Node, world: World) -> Path:
    places = node.store.contents.places(world.made.content)
    return places[0].root if places else node.home.content


async def banned(node: Node) -> tuple[str, ...]:
    result: PeersResult = await node.run(PEERS, PeersRequest(), Heard())
    return result.banned


@pytest.mark.parametrize("vice", WRONG, ids=lambda vice: vice.__name__)
async def test_a_lie_costs_the_liar_and_nobody_else(vice: type[Plain], world: World, tmp_path: Path) -> None:
    heard = Heard()
    with trio.fail_after(20):
        async with (
            lying(vice, world.home, world.stranger) as liar,
            honest_after(world, liar.lied) as honest,
            up(tmp_path / "fetcher") as fetcher,
        ):
            for _ in range(2):  # it lied twice before: this time is the third
                fetcher.store.catalog.count_wrong(liar.peer, "an earlier lie")
            got = await fetch(fetcher, world.made.release, [liar.address, honest], heard=heard)
            same_files(world.made, got.path)
            assert liar.lied.is_set()
            assert sum(share.bytes for share in got.peers) == sum(SIZES.values())
            assert [notice for notice in heard.notices if liar.peer in notice and "banned" in notice]
            assert fetcher.store.catalog.wrong_counts() == {liar.peer: 3}
            await no_stream_either_way(fetcher, liar)
    with give_home(tmp_path / "fetcher") as store:
        assert store.catalog.banned() == {liar.peer}


async def no_stream_either_way(fetcher: Node, liar: Lying) -> None:
    service = await fetcher.network()
    assert await banned(fetcher) == (liar.peer,)
    with pytest.raises(NetworkError, match="banned"):
        await service.host.open_stream(PeerAddress(liar.peer, (liar.address.split("/p2p/")[0],)), PROTOCOL, timeout=2)
    with pytest.raises(NetworkError):
        here = PeerAddress(service.host.peer, service.host.listening())
        stream = await liar.host.open_stream(here, PROTOCOL, timeout=2)
        await stream.receive_some(1)  # the connection may seem to stand until the other end says no
        pytest.fail("a banned peer got a stream")


@pytest.mark.parametrize("vice", USELESS, ids=lambda vice: vice.__name__)
async def test_who_is_of_no_use_holds_up_nobody(vice: type[Plain], world: World, tmp_path: Path) -> None:
    heard = Heard()
    with trio.fail_after(20):
        async with (
            lying(vice, world.home) as liar,
            honest_after(world, liar.lied) as honest,
            up(tmp_path / "fetcher") as fetcher,
        ):
            got = await fetch(fetcher, world.made.release, [liar.address, honest], heard=heard)
            same_files(world.made, got.path)
            assert liar.lied.is_set()
            assert heard.notices == []
            assert fetcher.store.catalog.wrong_counts() == {}


@pytest.mark.parametrize("vice", WRONG + USELESS, ids=lambda vice: vice.__name__)
async def test_alone_it_is_a_typed_error_and_an_honest_peer_goes_on(
    vice: type[Plain], world: World, tmp_path: Path
) -> None:
    with trio.fail_after(20):
        async with lying(vice, world.home, world.stranger) as liar, up(tmp_path / "fetcher") as fetcher:
            with pytest.raises(SamaraError) as caught:
                await fetch(fetcher, world.made.release, [liar.address], patience=1.0)
            assert type(caught.value) in (NotFoundError, NetworkError)
            assert liar.lied.is_set()
            is_clean(world, place(fetcher, world))
            assert fetcher.store.catalog.wrong_counts() == ({liar.peer: 1} if vice in WRONG else {})
            async with up(world.home) as honest:
                got = await fetch(fetcher, world.made.release, [honest])
            same_files(world.made, got.path)


def test_every_vice_is_tried() -> None:
    assert set(WRONG + USELESS) == set(hostile.every_vice()) - {Plain}
