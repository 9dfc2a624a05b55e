"""Over real sockets: a fetch that asks for nothing before its first chunk, and peers of whom none comes, or rubbish."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from support.contents import give_home
from support.hostile import Plain, lying
from support.nodes import Heard, address, fetch, published, same_files, seeding, up
from support.waiting import in_time

from samara.node.network.transport import PeerAddress
from samara.node.operations.fetch import DRY_RUN, FetchRequest
from samara.node.store.shelf import PeerShelf
from samara.protocol.exchange.messages import Ahead, GetNodes, GetRecords, RecordsPart, Want
from samara.protocol.ids import format_record
from samara.protocol.limits import KIB, MAX_AHEAD
from samara.protocol.ports import Records

SIZES = {"model.bin": 3_000_000, "notes.txt": 1_000, "sub/other.bin": 2_500_000}


class Asked:
    """What peers were asked for by way of all shelves."""

    def __init__(self) -> None:
        self.nodes = 0
        self.tables = 0
        self.ahead: list[int] = []
        self.order: list[str] = []


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Counts what shelves are asked, and lets them answer."""
    counted = Asked()
    node, read, files, ahead = PeerShelf.node, PeerShelf.read, PeerShelf.files, PeerShelf.ahead

    def count_nodes(self: PeerShelf, *args: Any) -> Any:
        counted.nodes += 1
        return node(self, *args)

    def count_tables(self: PeerShelf, content: Any, stream: int, *args: Any, **more: Any) -> Any:
        counted.tables += not stream
        counted.order.append("chunks")
        return read(self, content, stream, *args, **more)

    def note_files(self: PeerShelf, *args: Any) -> Any:
        counted.order.append("files")
        return files(self, *args)

    def count_ahead(self: PeerShelf, records: Records, most: int, peer: str) -> Any:
        counted.ahead.append(most)
        return ahead(self, records, most, peer)

    monkeypatch.setattr(PeerShelf, "node", count_nodes)
    monkeypatch.setattr(PeerShelf, "read", count_tables)
    monkeypatch.setattr(PeerShelf, "files", note_files)
    monkeypatch.setattr(PeerShelf, "ahead", count_ahead)
    return counted


@pytest.mark.parametrize("by", ["id", "name"])
@in_time
async def test_a_fetch_asks_for_nothing_before_its_first_chunk(by: str, tmp_path: Path, asked: Asked) -> None:
    async with seeding(tmp_path / "a", tmp_path / "files", SIZES) as (a, made), up(tmp_path / "b") as b:
        (held,) = a.store.catalog.releases()
        ref = format_record(made.release) if by == "id" else f"{format_record(held.publisher)}/{held.name}"
        same_files(made, (await fetch(b, ref, [a])).path)
        assert (asked.nodes, asked.tables, asked.ahead) == (0, 0, [MAX_AHEAD])
        assert asked.order[0] == "chunks"  # nor what it holds, which it has said


@in_time
async def test_who_does_not_hold_all_is_asked_what_it_holds(tmp_path: Path, asked: Asked) -> None:
    async with seeding(tmp_path / "a", tmp_path / "files", SIZES) as (a, made), up(tmp_path / "b") as b:
        await fetch(b, made.release, [a], include=["*.txt", "sub/*"])
        asked.order.clear()
        async with up(tmp_path / "c") as c:
            got = await fetch(c, made.release, [b], include=["*.txt", "sub/*"])
            same_files(made, got.path, ["notes.txt", "sub/other.bin"])
        assert asked.order[0] == "files"
        assert asked.tables == 0


@in_time
async def test_of_several_who_have_it_one_is_asked_for_it(tmp_path: Path, asked: Asked) -> None:
    async with seeding(tmp_path / "a", tmp_path / "files", SIZES) as (a, made), up(tmp_path / "b") as b:
        same_files(made, (await fetch(b, made.release, [a])).path)
        async with up(tmp_path / "c") as c:
            same_files(made, (await fetch(c, made.release, [a, b])).path)
        assert asked.ahead == [MAX_AHEAD] * 2


@in_time
async def test_where_some_files_are_wanted_as_much_is_asked_for_as_a_table_has(tmp_path: Path, asked: Asked) -> None:
    async with seeding(tmp_path / "a", tmp_path / "files", SIZES) as (a, made), up(tmp_path / "b") as b:
        got = await fetch(b, made.release, [a], include=["sub/*"])
        same_files(made, got.path, ["sub/other.bin"])
        assert (asked.nodes, asked.tables, asked.ahead) == (0, 0, [64 * KIB])


@in_time
async def test_a_dry_run_asks_for_nothing_else_either(tmp_path: Path, asked: Asked) -> None:
    async with seeding(tmp_path / "a", tmp_path / "files", SIZES) as (a, made), up(tmp_path / "b") as b:
        request = FetchRequest(format_record(made.release), peers=(address(a),), patience=10, encode="never")
        said = await b.run(DRY_RUN, request, Heard())
        assert said.needed == sum(SIZES.values())
        assert (asked.nodes, asked.tables, asked.ahead) == (0, 0, [MAX_AHEAD])


@in_time
async def test_what_does_not_fit_is_asked_for(tmp_path: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = PeerShelf.ahead
    async with seeding(tmp_path / "a", tmp_path / "files", SIZES) as (a, made), up(tmp_path / "b") as b:
        fits = sum(map(len, [*made.nodes(a.store, 0), a.store.contents.table_bytes(made.content)]))
        monkeypatch.setattr(PeerShelf, "ahead", lambda self, records, most, peer: ahead(self, records, fits, peer))
        same_files(made, (await fetch(b, made.release, [a])).path)
        assert (asked.nodes, asked.tables) == (2, 0)


@pytest.mark.parametrize("metered", [False, True])
@in_time
async def test_a_seeder_that_gives_no_chunks_now_gives_the_records_alone(metered: bool, tmp_path: Path) -> None:
    home, files = tmp_path / "a", tmp_path / "files"
    async with seeding(home, files, SIZES, metered=metered) as (a, made), up(tmp_path / "b") as b:
        came: list[bytes] = []
        where, _, peer = address(a).rpartition("/p2p/")
        async with (await b.network()).connect(PeerAddress(peer, (where,))) as client:
            found = await client.records(made.release, MAX_AHEAD, lambda data: came.append(bytes(data)))
        assert found == a.store.catalog.records(made.release)
        (node,), lists = made.nodes(a.store, 0), [*made.nodes(a.store, 1), *made.nodes(a.store, 3)]
        assert came == ([] if metered else [node, a.store.contents.table_bytes(made.content), *lists])


# Peers by hand


class Backwards(Plain):
    """Sends all that it should ahead, the last thing first, and wants to be asked for nothing of it."""

    async def tell(self, asked: GetRecords, found: Records) -> None:
        await self.send(asked, found, self.right(found, asked.ahead)[::-1])

    def right(self, found: Records, most: int) -> list[bytes]:
        beginning = self.shelf.ahead(found, most, self.stream.peer)
        assert beginning is not None
        return list(map(bytes, beginning.objects))

    async def send(self, asked: GetRecords, found: Records, objects: list[bytes]) -> None:
        envelopes = (*found.roots, found.release)
        part = RecordsPart(asked.id, 0, len(found.roots), False, tuple(map(len, envelopes)), bool(objects))
        await self.say(part, b"".join(envelopes))
        if objects:
            await self.say(Ahead(asked.id, tuple(map(len, objects)), whole=True), b"".join(objects))

    async def nodes(self, asked: GetNodes) -> None:
        self.lied.set()
        await super().nodes(asked)

    async def want(self, asked: Want) -> None:
        if not asked.stream:
            self.lied.set()
        await super().want(asked)


class Rubbish(Backwards):
    """Sends as many random bytes as were asked for."""

    def objects(self, found: Records, most: int) -> list[bytes]:
        return [random.Random(0).randbytes(most // 4)] * 4

    async def tell(self, asked: GetRecords, found: Records) -> None:
        await self.send(asked, found, self.objects(found, asked.ahead))


class NearlyRight(Rubbish):
    """Sends all that it should, with one bit wrong in each."""

    def objects(self, found: Records, most: int) -> list[bytes]:
        return [bytes([*part[:-1], part[-1] ^ 1]) for part in self.right(found, most)]


class OtherContent(Rubbish):
    """Sends what belongs to another release."""

    def objects(self, found: Records, most: int) -> list[bytes]:
        assert self.stranger is not None
        return self.right(self.stranger, most)


class Joined(Rubbish):
    """Sends all that it should, as one object."""

    def objects(self, found: Records, most: int) -> list[bytes]:
        return [b"".join(self.right(found, most))]


class Splinters(Rubbish):
    """Sends as many objects as may be sent, of a byte each."""

    def objects(self, found: Records, most: int) -> list[bytes]:
        return [bytes([number % 256]) for number in range(4096)]


@pytest.mark.parametrize("peer", [Plain, Backwards, Rubbish, NearlyRight, OtherContent, Joined, Splinters])
@in_time
async def test_whatever_comes_ahead_the_fetch_is_right_and_nobody_is_blamed(peer: type[Plain], tmp_path: Path) -> None:
    heard = Heard()
    with published(tmp_path / "a", tmp_path / "files", SIZES) as made:
        pass
    with published(tmp_path / "a", tmp_path / "others", {"other.bin": 2_000_000}) as other:
        pass
    with give_home(tmp_path / "a") as store:
        stranger = store.catalog.records(other.release)
    async with lying(peer, tmp_path / "a", stranger) as seeder, up(tmp_path / "b") as b:
        same_files(made, (await fetch(b, made.release, [seeder.address], heard=heard)).path)
        assert seeder.lied.is_set() is (peer not in (Plain, Backwards))  # asked for what came wrong
        assert heard.notices == []
        assert b.store.catalog.wrong_counts() == {}
