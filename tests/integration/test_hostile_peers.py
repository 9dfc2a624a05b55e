"""Every lie that a peer can tell, by name: beside an honest seeder it costs nothing but the liar; alone it is a typed
error in bounded time, and nothing is left behind that the next fetch would trip over.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio
from support import hostile
from support.contents import Source, give_home, make_source
from support.hostile import Lying, Plain, lying
from support.lying_publisher import LIES, TRUTH, WRONG_DIGEST, publish_lie
from support.nodes import Heard, fetch, same_files, up

from samara.node.app import Node
from samara.node.digests import check_files
from samara.node.fetch.waits import Waits
from samara.node.network.transport import PeerAddress, Stream
from samara.node.operations.network import PEERS, PeersRequest, PeersResult
from samara.protocol.errors import NetworkError, NotFoundError, SamaraError, VerificationError
from samara.protocol.exchange import exchange_pb2 as pb
from samara.protocol.exchange.frames import frame
from samara.protocol.exchange.headers import encode
from samara.protocol.exchange.messages import PROTOCOL, Hello, Want
from samara.protocol.ids import ContentId, PublisherId, format_record
from samara.protocol.ports import Records
from samara.protocol.scheduler import pace

SIZES = {"model.bin": 1_200_000, "notes.txt": 1_000}
IMPATIENT = Waits(gain=4.0, pause=0.1, help=0.2)
ENOUGH = 60.0
"""Seconds: what is bounded by less on a free machine, and would hang for a minute or for ever if it went wrong."""

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
    hostile.MoreAhead,
    hostile.Garbage,
    hostile.OtherBytes,
    hostile.Bomb,
    hostile.OtherPayload,
    hostile.UnaskedDelta,
    hostile.UnknownEncoding,
)
"""Who does these is to blame: nothing but malice or a broken program sends them."""

USELESS = (
    hostile.Mute,
    hostile.MuteAfterHello,
    hostile.MuteAhead,
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
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    base = tmp_path_factory.mktemp("hostile")
    with give_home(base / "publisher") as store:
        made = make_source(store, base / "files", SIZES)
        other = make_source(store, base / "other", {"other.bin": 5_000})
        records = store.catalog.records(other.release)
    assert records is not None
    return World(base / "publisher", made, records)


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
    with trio.fail_after(ENOUGH):
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
        await knock(liar, PeerAddress(service.host.peer, service.host.listening()))


async def knock(liar: Lying, at: PeerAddress) -> bytes:
    """Open a stream, and hear something on it: a connection may seem to stand until the other end says no."""
    stream = await liar.host.open_stream(at, PROTOCOL, timeout=2)
    return await stream.receive_some(1)


@pytest.mark.parametrize("vice", USELESS, ids=lambda vice: vice.__name__)
async def test_who_is_of_no_use_holds_up_nobody(vice: type[Plain], world: World, tmp_path: Path) -> None:
    heard = Heard()
    with trio.fail_after(ENOUGH):
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


Outcomes = dict[type[Plain], Exception | None]


@pytest.fixture(scope="module")
def alone(world: World, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """What came of each vice alone: of all at the same time, since each one waits until patience is used up."""
    base = tmp_path_factory.mktemp("alone")
    outcomes: Outcomes = {}

    async def note(vice: type[Plain], honest: Lying) -> None:
        try:
            await fetch_alone(vice, world, base / vice.__name__, honest)
            outcomes[vice] = None
        except Exception as error:  # told by the test of that name
            outcomes[vice] = error

    async def main() -> None:
        async with lying(Plain, world.home) as honest, trio.open_nursery() as nursery:
            for vice in WRONG + USELESS:
                nursery.start_soon(note, vice, honest)

    trio.run(main)
    return outcomes


async def fetch_alone(vice: type[Plain], world: World, home: Path, honest: Lying) -> None:
    """Fetch from a liar, see that it fails as it must, and go on with an honest peer."""
    async with contextlib.AsyncExitStack() as stack:
        liar = await stack.enter_async_context(lying(vice, world.home, world.stranger))
        fetcher = await stack.enter_async_context(up(home))
        fetcher.fetches.waits = IMPATIENT
        with trio.fail_after(2 * ENOUGH), pytest.raises(SamaraError) as caught:
            await fetch(fetcher, world.made.release, [liar.address], patience=4)
        assert type(caught.value) in (NotFoundError, NetworkError)
        assert liar.lied.is_set()
        is_clean(world, place(fetcher, world))
        assert fetcher.store.catalog.wrong_counts() == ({liar.peer: 1} if vice in WRONG else {})
        with trio.fail_after(ENOUGH):
            got = await fetch(fetcher, world.made.release, [honest.address])
        same_files(world.made, got.path)


@pytest.mark.parametrize("vice", WRONG + USELESS, ids=lambda vice: vice.__name__)
def test_alone_it_is_a_typed_error_and_an_honest_peer_goes_on(vice: type[Plain], alone: Outcomes) -> None:
    if (error := alone[vice]) is not None:
        raise error


@pytest.mark.parametrize("vice", [hostile.MuteAtTable, hostile.MuteAtLists, hostile.MuteAtChunks])
async def test_many_silent_peers_hold_up_nobody(
    vice: type[Plain], world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In the end a chunk is asked of two peers at a time, and both may be silent ones: only a stall ends that.
    for standing in pace.PATIENCE:
        monkeypatch.setitem(pace.PATIENCE, standing, 2.0)
    async with contextlib.AsyncExitStack() as stack:
        liars = [await stack.enter_async_context(lying(vice, world.home)) for _ in range(5)]
        fetcher = await stack.enter_async_context(up(tmp_path / "fetcher"))
        honest = await stack.enter_async_context(honest_after(world, liars[-1].lied))
        fetcher.fetches.waits = Waits(help=0.2)
        with trio.fail_after(2 * ENOUGH):
            got = await fetch(fetcher, world.made.release, [*(liar.address for liar in liars), honest], patience=3)
        same_files(world.made, got.path)


async def test_liars_among_honest_seeders(world: World, tmp_path: Path) -> None:
    """Everybody at once: what comes from liars is thrown away, chunk by chunk, while the others serve."""
    vices = [hostile.WrongBytes, hostile.LongChunk, hostile.Unasked, hostile.Dropper, hostile.Forgetful, Plain, Plain]
    heard = Heard()
    async with contextlib.AsyncExitStack() as stack:
        liars = [await stack.enter_async_context(lying(vice, world.home)) for vice in vices]
        fetcher = await stack.enter_async_context(up(tmp_path / "fetcher"))
        with trio.fail_after(ENOUGH):
            got = await fetch(fetcher, world.made.release, [liar.address for liar in liars], heard=heard)
        same_files(world.made, got.path)
        blamed = {liar.peer for liar in liars[:3] if liar.lied.is_set()}
        assert set(fetcher.store.catalog.wrong_counts()) == blamed
        assert len(heard.notices) == len(blamed)


async def test_a_banned_peer_is_not_even_asked(world: World, tmp_path: Path) -> None:
    async with lying(hostile.WrongBytes, world.home) as liar, up(tmp_path / "fetcher") as fetcher:
        fetcher.fetches.waits = IMPATIENT
        for count in (1, 2, 3):
            with pytest.raises(NetworkError):
                await fetch(fetcher, world.made.release, [liar.address], patience=1.5)
            assert fetcher.store.catalog.wrong_counts() == {liar.peer: count}
        assert await banned(fetcher) == (liar.peer,)
        sessions = liar.sessions
        with pytest.raises(SamaraError):
            await fetch(fetcher, world.made.release, [liar.address], patience=0.6)
        assert liar.sessions == sessions


async def test_a_name_is_not_answered_by_another(world: World, tmp_path: Path) -> None:
    """The same publisher's release of another name is as wrong as any other."""
    ref = f"{format_record(publisher_of(world))}/files"
    with trio.fail_after(ENOUGH):
        async with (
            lying(hostile.OtherRelease, world.home, world.stranger) as liar,
            honest_after(world, liar.lied) as honest,
            up(tmp_path / "fetcher") as fetcher,
        ):
            got = await fetch(fetcher, ref, [liar.address, honest])
            assert got.release == format_record(world.made.release)
            assert fetcher.store.catalog.wrong_counts() == {liar.peer: 1}


@pytest.mark.parametrize("head", ["with its old head", "without a head"])
async def test_an_old_release_is_not_taken_for_the_newest(head: str, tmp_path: Path) -> None:
    """Who saw the second release does not go back to the first: whoever offers that is behind, or lies."""
    with give_home(tmp_path / "publisher") as store:
        first = make_source(store, tmp_path / "files", {"model.bin": 5_000})
        old = store.catalog.records(first.release)
        make_source(store, tmp_path / "files", {"more.bin": 5_000})
        publisher = store.catalog.releases()[0].publisher
    assert old is not None
    assert old.head is not None
    behind = old if head == "with its old head" else replace(old, head=None)
    ref = f"{format_record(publisher)}/files"
    async with (
        up(tmp_path / "publisher") as honest,
        lying(hostile.OtherRelease, tmp_path / "publisher", behind) as liar,
        up(tmp_path / "fetcher") as fetcher,
    ):
        newest = await fetch(fetcher, ref, [honest])
        assert newest.release != format_record(first.release)
        with pytest.raises(NotFoundError):
            await fetch(fetcher, ref, [liar.address], patience=0.6)
        assert fetcher.store.catalog.wrong_counts() == {}
        # Asked for by its version, or by its id, it may be old.
        got = await fetch(fetcher, f"{ref}@1", [liar.address])
        assert got.release == format_record(first.release)


def publisher_of(world: World) -> PublisherId:
    with give_home(world.home) as store:
        return store.catalog.releases()[0].publisher


@pytest.mark.parametrize("lie", LIES)
async def test_a_publisher_that_lies_is_refused(lie: str, tmp_path: Path) -> None:
    shelf, release = publish_lie(lie)
    async with lying(Plain, shelf) as liar, up(tmp_path / "fetcher") as fetcher:
        with trio.fail_after(ENOUGH), pytest.raises(SamaraError) as caught:
            await fetch(fetcher, release, [liar.address])
        assert isinstance(caught.value, VerificationError)
        assert caught.value.exit_code == 4
        assert caught.value.message
        assert fetcher.store.catalog.wrong_counts() == {}  # whoever passes it on is not to blame
        files = [path for path in fetcher.home.content.rglob("*") if path.is_file()]
        assert [path for path in files if path.parent.name != ".samara"] == []


async def test_the_same_publisher_is_believed_when_it_tells_the_truth(tmp_path: Path) -> None:
    shelf, release = publish_lie(TRUTH)
    async with lying(Plain, shelf) as honest, up(tmp_path / "fetcher") as fetcher:
        got = await fetch(fetcher, release, [honest.address])
        assert await trio.Path(got.path).read_bytes() == b"".join(shelf.streams[1])


async def test_wrong_whole_file_digests_condemn_the_release(tmp_path: Path) -> None:
    shelf, release = publish_lie(WRONG_DIGEST)
    async with lying(Plain, shelf) as liar, up(tmp_path / "fetcher") as fetcher:
        await fetch(fetcher, release, [liar.address])
        held = fetcher.store.catalog.release(release)
        assert held is not None
        (place_,) = fetcher.store.contents.places(held.content)
        check_files(fetcher.store, deque([(place_, 1)]), set())
        held = fetcher.store.catalog.release(release)
        assert held is not None
        assert "digests" in held.condemned
        assert fetcher.store.shelf.records(release, liar.peer) is None  # it is not passed on
        with pytest.raises(VerificationError, match="condemned"):
            await fetch(fetcher, release, [liar.address])


GARBAGE = {
    "no protobuf": b"\x03\xff\xff\xff",
    "endless header": b"\x80" * 9 + b"\x01",
    "request before HELLO": frame(encode(Want(1, ContentId(bytes(32)), 1, 0, 1))),
    "second HELLO": frame(encode(Hello())) * 2,
    "payload of a request": frame(encode(Hello())) + frame(pb.Header(id=1, payload_length=1 << 63).SerializeToString()),
    "cut off in a frame": frame(encode(Hello()))[:-1],
}


@pytest.mark.parametrize("garbage", sorted(GARBAGE))
async def test_an_opener_that_breaks_the_rules_is_remembered(garbage: str, world: World) -> None:
    async with up(world.home) as seeder, lying(Plain, world.home) as liar:
        service = await seeder.network()
        here = PeerAddress(service.host.peer, service.host.listening())
        before = seeder.store.catalog.wrong_counts().get(liar.peer, 0)
        stream = await liar.host.open_stream(here, PROTOCOL, timeout=5)
        await stream.send_all(GARBAGE[garbage])
        await stream.aclose()
        with trio.fail_after(ENOUGH):
            while seeder.store.catalog.wrong_counts().get(liar.peer, 0) == before:  # noqa: ASYNC110
                await trio.sleep(0.02)
        assert seeder.store.catalog.wrong_counts()[liar.peer] == before + 1


def test_every_vice_is_tried() -> None:
    assert set(WRONG + USELESS) == set(hostile.every_vice()) - {Plain}
