"""Several whole nodes at once: who gets what from whom, who gets nothing, and what is true of it in the end."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import trio
from support.contents import Source, give_home, take_all
from support.hostile import Plain, lying
from support.lying_publisher import TRUTH, publish_lie
from support.nodes import LOOPBACK, Heard, address, fetch, published, same_files, seeding, up

from samara.node.app import Node
from samara.node.network import service as network_service
from samara.node.network.announcer import Announcer
from samara.node.network.transport import PeerAddress
from samara.node.operations.library import VERIFY, Verified, VerifyRequest
from samara.node.operations.refs import find_release, link_of
from samara.protocol.errors import NetworkError, NotFoundError, SamaraError, UsageError, VerificationError
from samara.protocol.exchange.messages import PROTOCOL
from samara.protocol.ids import ContentId, PublisherId, ReleaseId, digest, format_record
from samara.protocol.limits import KIB, MAX_AHEAD
from samara.protocol.links import Link
from samara.protocol.routing import routing_key
from samara.protocol.scheduler import pace

MB = 1_000_000
ENOUGH = 90.0
"""Seconds: what takes two or three on a free machine."""


Test = Callable[..., Awaitable[None]]


def in_time(test: Test) -> Test:
    """No test here may hang."""

    @functools.wraps(test)
    async def bounded(*args: object, **kwargs: object) -> None:
        with trio.fail_after(ENOUGH):
            await test(*args, **kwargs)

    return bounded


async def until(true: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    with trio.move_on_after(ENOUGH):
        while not true():  # noqa: ASYNC110 - many things tell nobody
            await trio.sleep(0.01)
        return
    pytest.fail(f"it did not come about that {what}")


def peer_of(node: Node) -> str:
    return address(node).rpartition("/")[2]


def held_bytes(node: Node, content: ContentId) -> int:
    """Bytes of a content that are committed here."""
    total = 0
    for place in node.store.contents.places(content):
        for stream, held in node.store.contents.files(place).items():
            chunks = node.store.contents.chunk_list(content, stream)
            total += sum(chunks.length(i) for i in range(len(chunks)) if held.holds(i)) if chunks else 0
    return total


def copies(made: Source, source: Path, homes: Iterable[Path]) -> None:
    """Put a release into other homes, without a network."""
    with give_home(source) as store:
        for home in homes:
            with give_home(home) as other:
                take_all(made, store, other)


# Sharing the work


@in_time
async def test_three_seeders_each_serve_a_share(tmp_path: Path) -> None:
    homes = [tmp_path / name for name in ("one", "two", "three")]
    with published(homes[0], tmp_path / "files", {"model.bin": 6 * MB, "card.md": 100}) as made:
        copies(made, homes[0], homes[1:])
    async with contextlib.AsyncExitStack() as stack:
        seeders = [await stack.enter_async_context(up(home, upload=3 * MB)) for home in homes]
        fetcher = await stack.enter_async_context(up(tmp_path / "fetcher"))
        got = await fetch(fetcher, made.release, seeders)
    same_files(made, got.path)
    assert {share.peer for share in got.peers} == {peer_of(seeder) for seeder in seeders}
    assert sum(share.bytes for share in got.peers) == got.received == 6 * MB + 100
    assert min(share.bytes for share in got.peers) > 0.1 * got.received


@in_time
async def test_who_holds_a_part_serves_it_when_the_seeder_is_gone(tmp_path: Path) -> None:
    port = 0
    with published(tmp_path / "a", tmp_path / "files", {"model.bin": 8 * MB, "card.md": 100}) as made:
        pass
    async with contextlib.AsyncExitStack() as stack:
        b = await stack.enter_async_context(up(tmp_path / "b"))
        c = await stack.enter_async_context(up(tmp_path / "c"))
        nursery = await stack.enter_async_context(trio.open_nursery())
        results = {}

        async def get(name: str, node: Node, peers: list[str]) -> None:
            results[name] = await fetch(node, made.release, peers, patience=60)

        async with up(tmp_path / "a", upload=2 * MB) as a:
            at = address(a)
            port = int(at.split("/")[4])
            nursery.start_soon(get, "b", b, [at])
            await until(lambda: held_bytes(b, made.content) > MB, "b has a quarter")
        had = held_bytes(b, made.content)
        assert 0 < had < 8 * MB
        nursery.start_soon(get, "c", c, [at, address(b)])
        await until(lambda: held_bytes(c, made.content) == held_bytes(b, made.content), "c has what b has")
        assert results == {}
        async with up(tmp_path / "a", listen=(f"/ip4/127.0.0.1/tcp/{port}",)):
            await until(lambda: len(results) == 2, "both are done")
        for got in results.values():
            same_files(made, got.path)
        given = {share.peer: share.bytes for share in results["c"].peers}
        assert given[peer_of(b)] >= had


@in_time
async def test_a_peer_that_lacks_some_lists_is_of_use_all_the_same(tmp_path: Path) -> None:
    """Who fetched a part of a release has the lists of that part only."""
    sizes = {f"part-{n}.bin": 300_000 for n in range(6)}
    async with seeding(tmp_path / "a", tmp_path / "files", sizes) as (a, made), up(tmp_path / "b") as b:
        await fetch(b, made.release, [a], include=["part-4.bin"])
        async with up(tmp_path / "c") as c:
            with pytest.raises(NetworkError):
                await fetch(c, made.release, [b], patience=1.0)
            assert held_bytes(c, made.content) == 300_000
            got = await fetch(c, made.release, [b, a])
            assert got.received == 5 * 300_000
            same_files(made, got.path)


@in_time
async def test_a_file_table_of_many_chunks(tmp_path: Path) -> None:
    folder = f"{'a' * 200}/{'b' * 200}"
    sizes = {f"{folder}/{n:03}-{random.Random(n).randbytes(120).hex()}": 1 + n for n in range(1000)}
    async with seeding(tmp_path / "a", tmp_path / "files", sizes) as (a, made), up(tmp_path / "b") as b:
        chunks = a.store.contents.chunk_list(made.content, 0)
        assert chunks is not None
        assert len(chunks) > 4
        got = await fetch(b, made.release, [a], include=["*/123-*"])
        assert got.received == 124
        assert b.store.contents.table_bytes(made.content) == a.store.contents.table_bytes(made.content)


@in_time
async def test_two_fetches_at_once(tmp_path: Path) -> None:
    async with (
        seeding(tmp_path / "a", tmp_path / "first", {"one.bin": 2 * MB}) as (a, one),
        seeding(tmp_path / "b", tmp_path / "second", {"two.bin": 2 * MB, "x/y": 5}) as (b, two),
        up(tmp_path / "fetcher") as fetcher,
        trio.open_nursery() as nursery,
    ):

        async def get(made: Source, seeder: Node) -> None:
            same_files(made, (await fetch(fetcher, made.release, [seeder])).path)

        nursery.start_soon(get, one, a)
        nursery.start_soon(get, two, b)


@in_time
async def test_the_same_fetch_twice_at_once_is_one(tmp_path: Path) -> None:
    async with (
        seeding(tmp_path / "a", tmp_path / "files", {"one.bin": 2 * MB}) as (a, made),
        up(tmp_path / "fetcher") as fetcher,
    ):
        results = []

        async def get() -> None:
            results.append(await fetch(fetcher, made.release, [a]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(get)
            nursery.start_soon(get)
        assert results[0] == results[1]
        same_files(made, results[0].path)


# Not fetching what is here


@in_time
async def test_a_second_release_fetches_only_the_difference(tmp_path: Path) -> None:
    async with seeding(tmp_path / "a", tmp_path / "v1", {"model.bin": 4 * MB, "card.md": 50}) as (a, first):
        data = bytearray((tmp_path / "v1" / "model.bin").read_bytes())
        data[2 * MB : 2 * MB + 1000] = random.Random(2).randbytes(1000)
        (tmp_path / "v2").mkdir()
        (tmp_path / "v2" / "model.bin").write_bytes(data)
        (tmp_path / "v2" / "new.bin").write_bytes(random.Random(3).randbytes(70_000))
        second = Source.publish(a.store, tmp_path / "v2")
        async with up(tmp_path / "fetcher") as fetcher:
            await fetch(fetcher, first.release, [a])
            got = await fetch(fetcher, second.release, [a])
            same_files(second, got.path)
            assert got.received + got.reused == len(data) + 70_000
            assert 70_000 < got.received < 70_000 + 3 * 256 * KIB


@in_time
async def test_what_is_all_here_needs_nobody(tmp_path: Path) -> None:
    async with (
        seeding(tmp_path / "a", tmp_path / "files", {"model.bin": MB, "card.md": 50}) as (a, made),
        up(tmp_path / "fetcher") as fetcher,
    ):
        await fetch(fetcher, made.release, [a])
        nobody: list[str] = []
        got = await fetch(fetcher, made.release, nobody, to=tmp_path / "elsewhere")
        assert (got.received, got.reused) == (0, MB + 50)
        same_files(made, tmp_path / "elsewhere")


@in_time
async def test_a_part_is_completed_later(tmp_path: Path) -> None:
    sizes = {"q4/model.gguf": MB, "q8/model.gguf": 2 * MB, "card.md": 100}
    async with seeding(tmp_path / "a", tmp_path / "files", sizes) as (a, made), up(tmp_path / "b") as b:
        got = await fetch(b, made.release, [a], include=["q4/*", "*.md"])
        assert got.received == MB + 100
        same_files(made, got.path, only=["q4/model.gguf", "card.md"])
        got = await fetch(b, made.release, [a])
        assert got.received == 2 * MB
        same_files(made, got.path)


@in_time
async def test_one_quantization_comes_with_what_belongs_to_it(tmp_path: Path) -> None:
    sizes = {"m-Q4_K_M.gguf": MB, "m-Q8_0.gguf": 2 * MB, "card.md": 100}
    async with seeding(tmp_path / "a", tmp_path / "files", sizes) as (a, made), up(tmp_path / "b") as b:
        with pytest.raises(UsageError, match="Q5_K_M") as refused:
            await fetch(b, made.release, [a], quantization="Q5_K_M")
        assert "Q4_K_M, Q8_0" in (refused.value.hint or "")
        got = await fetch(b, made.release, [a], quantization="q4_k_m")
        assert got.received == MB + 100
        same_files(made, got.path, only=["m-Q4_K_M.gguf", "card.md"])
        got = await fetch(b, made.release, [a], quantization="Q8_0")
        assert got.received == 2 * MB
        same_files(made, got.path)


@pytest.mark.slow
@in_time
async def test_many_small_files(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    sizes = {f"d{n % 20}/f{n:04}.txt": 1024 for n in range(1000)}
    async with seeding(tmp_path / "a", tmp_path / "files", sizes) as (a, made), up(tmp_path / "b") as b:
        got = await fetch(b, made.release, [a])
        same_files(made, got.path)
        record_property("seconds", got.seconds)
        assert got.received == 1000 * 1024


# Who may have it


async def all_say_no(node: Node, seeder: Node, release: ReleaseId, made: Source) -> None:
    """Check that a peer gets the answer, to any question about a release, that it gets about what was never there."""
    service = await node.network()
    where, _, peer = address(seeder).rpartition("/p2p/")
    list_root = seeder.store.contents.table(made.content)[0].root
    came: list[memoryview] = []
    async with service.connect(PeerAddress(peer, (where,))) as client:
        for asked in (release, ReleaseId(b"r" * 32)):
            with pytest.raises(NotFoundError):
                await client.records(asked, MAX_AHEAD, came.append)
        for content in (made.content, ContentId(b"c" * 32)):
            with pytest.raises(NotFoundError):
                await client.nodes(content, [digest(b"") if content != made.content else list_root])
            with pytest.raises(NotFoundError):
                await client.files_bits(content)
            for stream in (0, 1):
                with pytest.raises(NotFoundError):
                    await client.availability(content, stream)
                with pytest.raises(NotFoundError):
                    await client.chunks(content, stream, 0, 1, lambda chunk, data: None)
    assert came == []


@in_time
async def test_a_private_release_goes_to_who_is_allowed(tmp_path: Path) -> None:
    sizes = {"model.bin": MB}
    async with up(tmp_path / "friend") as friend, up(tmp_path / "stranger") as stranger:
        how = {"visibility": "private", "allow": [peer_of(friend)]}
        async with seeding(tmp_path / "a", tmp_path / "files", sizes, how=how) as (a, made):
            same_files(made, (await fetch(friend, made.release, [a])).path)
            with pytest.raises(NotFoundError):
                await fetch(stranger, made.release, [a, friend], patience=1.0)
            await all_say_no(stranger, a, made.release, made)
            await all_say_no(stranger, friend, made.release, made)  # a holder never loosens it
            assert stranger.store.catalog.releases() == []


@dataclass
class Announced:
    """What the nodes of a test announce: now, by announcer, and ever."""

    by: dict[int, set[bytes]] = field(default_factory=dict)
    ever: set[bytes] = field(default_factory=set)

    @property
    def now(self) -> set[bytes]:
        return set().union(*self.by.values())


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> Announced:
    seen = Announced()
    set_keys = Announcer.set_keys

    def noting(self: Announcer, keys: Iterable[bytes]) -> None:
        seen.by[id(self)] = set(keys)
        seen.ever |= seen.by[id(self)]
        set_keys(self, seen.by[id(self)])

    monkeypatch.setattr(Announcer, "set_keys", noting)
    return seen


@in_time
async def test_an_unlisted_release_goes_to_who_has_the_link(tmp_path: Path, announced: Announced) -> None:
    how = {"visibility": "unlisted"}
    async with (
        seeding(tmp_path / "a", tmp_path / "files", {"model.bin": MB}, how=how, dht="server") as (a, made),
        up(tmp_path / "b", dht="server") as b,
    ):
        publisher = a.store.catalog.releases()[0].publisher
        with pytest.raises(NotFoundError):
            await fetch(b, f"{format_record(publisher)}/files", [a], patience=1.0)
        link = link_of(find_release(a.store, format_record(made.release)), (await a.network()).link_addresses())
        assert "v=unlisted" in link
        same_files(made, (await fetch(b, link, [])).path)
        listed = Source.publish(a.store, tmp_path / "files")  # the same bytes, said to be public this time
        a.library_changed()
        await until(lambda: announced.now, "something is announced")
        assert announced.ever == {
            routing_key("release", listed.release),
            routing_key("content", listed.content),
            routing_key("log", publisher),
        }
        got = await fetch(b, f"{format_record(publisher)}/files", [a])
        assert got.release == format_record(listed.release)


@in_time
async def test_what_may_not_be_passed_on_is_not(tmp_path: Path) -> None:
    shelf, release = publish_lie(TRUTH, redistribute=False)
    async with lying(Plain, shelf) as publisher, up(tmp_path / "b") as b, up(tmp_path / "c") as c:
        got = await fetch(b, release, [publisher.address])
        assert not got.seeded
        with pytest.raises(NotFoundError):
            await fetch(c, release, [b], patience=1.0)
        again = await fetch(c, release, [publisher.address])
        assert await trio.Path(again.path).read_bytes() == b"".join(shelf.streams[1])


@in_time
async def test_its_publisher_may_give_it_whatever_others_may(tmp_path: Path) -> None:
    async with seeding(tmp_path / "a", tmp_path / "files", {"model.bin": MB}) as (a, made), up(tmp_path / "b") as b:
        held = a.store.catalog.release(made.release)
        assert held is not None
        assert replace(held, redistribute=False).shared
        assert not replace(held, redistribute=False, own=False).shared
        assert not replace(held, condemned="it lies").shared
        assert (await fetch(b, made.release, [a])).seeded


# Caps and limits


@pytest.mark.parametrize("capped", ["upload", "download"])
@in_time
async def test_a_cap_holds(capped: str, tmp_path: Path) -> None:
    rate, size = 2 * MB, 6 * MB
    upload, download = (rate, None) if capped == "upload" else (None, rate)
    async with (
        seeding(tmp_path / "a", tmp_path / "files", {"model.bin": size}, upload=upload) as (a, made),
        up(tmp_path / "b", download=download) as b,
    ):
        began = trio.current_time()
        got = await fetch(b, made.release, [a])
        seconds = trio.current_time() - began
        same_files(made, got.path)
    assert size / seconds <= 1.1 * rate  # how much slower is the affair of the machine


@in_time
async def test_an_upload_cap_is_for_all_peers_together(tmp_path: Path) -> None:
    rate, size = 2 * MB, 2 * MB
    async with (
        seeding(tmp_path / "a", tmp_path / "files", {"model.bin": size}, upload=rate) as (a, made),
        up(tmp_path / "b") as b,
        up(tmp_path / "c") as c,
    ):
        given = 0
        giver = (await a.network()).host.peer

        async def get(node: Node) -> None:
            nonlocal given
            got = await fetch(node, made.release, [a])  # a part of it comes from the other
            given += sum(share.bytes for share in got.peers if share.peer == giver)

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for node in (b, c):
                nursery.start_soon(get, node)
        assert size <= given <= 1.1 * rate * (trio.current_time() - began)


@in_time
async def test_a_slow_line_is_no_stall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk of 1 MiB takes longer than a silence is borne: the bytes that come count, not only whole chunks."""
    for standing in pace.PATIENCE:
        monkeypatch.setitem(pace.PATIENCE, standing, 0.8)
    heard = Heard()
    files = tmp_path / "files"
    files.mkdir()
    write_tensor(files / "model.safetensors", 2 * 1024 * KIB)
    with give_home(tmp_path / "a") as store:
        made = Source.publish(store, files)
    async with up(tmp_path / "a", upload=600_000) as a, up(tmp_path / "b") as b:
        got = await fetch(b, made.release, [a], heard=heard)
        same_files(made, got.path)
        assert got.received == (files / "model.safetensors").stat().st_size


def write_tensor(path: Path, size: int) -> None:
    """Write one tensor: its chunks have 1 MiB."""
    header = b'{"t":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (size, size)
    path.write_bytes(len(header).to_bytes(8, "little") + header + random.Random(1).randbytes(size))


@in_time
async def test_more_connections_than_allowed_are_refused(tmp_path: Path) -> None:
    async with (
        seeding(tmp_path / "a", tmp_path / "files", {"model.bin": MB}, connections=2) as (a, made),
        up(tmp_path / "b") as b,
        up(tmp_path / "c") as c,
    ):
        where, _, peer = address(a).rpartition("/p2p/")
        there = PeerAddress(peer, (where,))
        first, second = (await b.network()).host, (await c.network()).host
        await first.open_stream(there, PROTOCOL, timeout=5)
        with pytest.raises(NetworkError):
            await second.open_stream(there, PROTOCOL, timeout=5)
        assert len((await a.network()).host.peers()) == 1
        await first.disconnect(peer)
        await until(lambda: not a.network_if_started or not a.network_if_started.host.peers(), "the place is free")
        same_files(made, (await fetch(c, made.release, [a])).path)


# Files that change while they are seeded


@pytest.mark.parametrize("change", ["edited", pytest.param("deleted", marks=pytest.mark.slow), "cut short"])
@in_time
async def test_a_file_that_changes_while_it_is_seeded(
    change: str, tmp_path: Path, announced: Announced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_service, "_LOOK_AGAIN", 0.1)
    files = tmp_path / "files"
    async with (
        # Up to 8 MB are read ahead of the line.
        seeding(tmp_path / "a", files, {"model.bin": 20 * MB, "card.md": 9}, upload=8 * MB, dht="server") as (a, made),
        up(tmp_path / "b") as b,
    ):
        truth = (files / "model.bin").read_bytes()
        await until(lambda: announced.now, "it is announced")
        errors = []

        async def get() -> None:
            with pytest.raises(NetworkError) as caught:
                await fetch(b, made.release, [a], patience=0.6)
            errors.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(get)
            await until(lambda: held_bytes(b, made.content) > 200_000, "some of it came")
            spoil(files / "model.bin", change)
        assert errors
        assert a.store.contents.places(made.content)[0].state == "edited"
        logs = {routing_key("log", held.publisher) for held in a.store.catalog.releases()}
        await until(lambda: announced.now <= logs, "it is announced no more")
        verified: Verified = await a.run(VERIFY, VerifyRequest(format_record(made.release)), Heard())
        assert (verified.ok, verified.bad) == (False, ("model.bin",))
        # What came before is right, and all that is believed.
        (place,) = b.store.contents.places(made.content)
        held = b.store.contents.file(place, made.files.index("model.bin") + 1)
        chunks = b.store.contents.chunk_list(made.content, made.files.index("model.bin") + 1)
        assert held is not None
        assert chunks is not None
        came = b.store.reader.path(held).read_bytes()
        for index in filter(held.holds, range(len(chunks))):
            span = slice(chunks.offset(index), chunks.offset(index) + chunks.length(index))
            assert came[span] == truth[span]
        assert b.store.catalog.wrong_counts() == {}
        (files / "model.bin").unlink(missing_ok=True)
        (files / "model.bin").write_bytes(truth)  # as it was, but for its date
        verified = await a.run(VERIFY, VerifyRequest(format_record(made.release)), Heard())
        assert verified.ok
        same_files(made, (await fetch(b, made.release, [a])).path)


def spoil(path: Path, change: str) -> None:
    if change == "deleted":
        path.unlink()
    elif change == "cut short":
        os.truncate(path, MB // 2)
    else:
        with path.open("r+b") as file:
            for at in range(0, 20 * MB, 1000):
                file.seek(at)
                file.write(b"edited")


# What was asked for


@in_time
async def test_nobody_has_it(tmp_path: Path) -> None:
    async with (
        seeding(tmp_path / "a", tmp_path / "files", {"model.bin": 9}) as (a, _),
        up(tmp_path / "b") as b,
    ):
        for peers in ([], [a], ["/ip4/127.0.0.1/tcp/9/p2p/12D3KooWH6WJMT6EaAc6tomACKEfpAxmBTVizKHhtUc1xqTxZzAS"]):
            began = trio.current_time()
            with pytest.raises(NotFoundError, match="was not found") as caught:
                await fetch(b, ReleaseId(b"?" * 32), peers, patience=0.6)
            assert caught.value.exit_code == 3
            assert trio.current_time() - began < 30


@in_time
async def test_a_link_with_another_publisher_is_refused(tmp_path: Path) -> None:
    async with seeding(tmp_path / "a", tmp_path / "files", {"model.bin": MB}) as (a, made), up(tmp_path / "b") as b:
        for _ in range(2):  # also when it is known here by now
            link = Link(made.release, "model", PublisherId(b"k" * 32), ()).encode()
            with pytest.raises(VerificationError, match="another publisher") as caught:
                await fetch(b, link, [a])
            assert caught.value.exit_code == 4
            assert b.store.catalog.wrong_counts() == {}
            assert held_bytes(b, made.content) in (0, MB)
            await fetch(b, made.release, [a])


@pytest.mark.parametrize(
    "text",
    ["samara:", "samara:bagaaihra", "samara:nonsense?n=x", "bagaaihra", "no/such/name", "%", "x" * 5000],
)
@in_time
async def test_a_malformed_ref_is_bad_usage(text: str, tmp_path: Path) -> None:
    async with up(tmp_path / "b") as b:
        with pytest.raises(SamaraError) as caught:
            await fetch(b, text, [])
        assert caught.value.exit_code == 2
        assert b.store.catalog.queue() == []


@pytest.mark.slow
@in_time
async def test_the_exit_codes_of_fetch(tmp_path: Path) -> None:
    """The same, as a script sees it."""
    codes = {}
    async with seeding(tmp_path / "a", tmp_path / "files", {"model.bin": MB}) as (a, made):
        wrong = Link(made.release, "model", PublisherId(b"k" * 32), ()).encode()
        unknown = format_record(ReleaseId(b"?" * 32))

        async def run(ref: str, code: int) -> None:
            home = tmp_path / f"home-{code}"
            environ = os.environ | {
                "SAMARA_HOME": str(home), "SAMARA_NETWORK_LISTEN": LOOPBACK[0], "SAMARA_NETWORK_MDNS": "no",
                "SAMARA_NETWORK_DHT": "off", "SAMARA_STORE_FLOOR": "0",
            }  # fmt: skip
            command = [sys.executable, "-m", "samara.cli.main", "fetch", ref, "--peer", address(a), "--wait", "2"]
            done = await trio.run_process(command, env=environ, check=False, capture_stdout=True, capture_stderr=True)
            codes[code] = done.returncode
            assert done.stdout == b"" or code == 0

        async with trio.open_nursery() as nursery:
            for code, ref in {0: format_record(made.release), 2: "samara:no", 3: unknown, 4: wrong}.items():
                nursery.start_soon(run, ref, code)
    assert codes == {0: 0, 2: 2, 3: 3, 4: 4}
