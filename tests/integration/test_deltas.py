"""A delta between two releases, made by one node and used by others who have one end of it, or neither."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio
from support.contents import Source, give_home
from support.deltas import split_pack, write_pack
from support.nodes import Heard, fetch, same_files, up
from support.waiting import in_time
from support.weights import draw, tune, write_safetensors

from samara.cli.stick import EXPORT, IMPORT, ExportRequest, ImportRequest
from samara.node.app import Node
from samara.node.operations.delta import DELTA, DeltaMade, DeltaRequest
from samara.node.operations.fetch import DRY_RUN, FetchRequest
from samara.node.operations.publish import PUBLISH, PublishRequest
from samara.protocol.errors import LicenseError, NetworkError, NotFoundError, UsageError
from samara.protocol.ids import ReleaseId, format_record, parse_record

BASE = draw(1)


def publish_pair(tmp_path: Path, visibility: str = "public") -> tuple[Source, Source]:
    """A home `a` with a model, and a fine-tune of it that brings a small file of its own."""
    write_safetensors(tmp_path / "base/model.safetensors", BASE)
    write_safetensors(tmp_path / "tuned/model.safetensors", tune(BASE, 3e-3, 2), "tuned")
    (tmp_path / "tuned/config.json").write_text('{"tuned": true}')
    with give_home(tmp_path / "a") as store:
        base = Source.publish(store, tmp_path / "base", visibility=visibility)
        return base, Source.publish(store, tmp_path / "tuned", bases=[base.release], visibility=visibility)


def spoil(pack: Path) -> None:
    """Change a few bytes of a payload near the end."""
    pack.chmod(0o644)
    with pack.open("r+b") as file:
        file.seek(-100_000, 2)
        file.write(b"rotten" * 3)


def exchange_payloads(pack: Path, to: Path) -> Path:
    """Write a pack whose payloads lead to each other's chunks."""
    head, payloads = split_pack(pack)
    entries = list(head.entries)
    deltas = [number for number, entry in enumerate(entries) if entry.encoding == 2 and entry.length > 50_000]
    order = list(range(len(entries)))
    for number, other in zip(deltas, deltas[1:] + deltas[:1], strict=True):
        order[number] = other
    lies = [
        replace(entries[other], stream=entry.stream, index=entry.index)
        for entry, other in zip(entries, order, strict=True)
    ]
    return write_pack(to, head, lies, [payloads[other] for other in order])


async def make_delta(node: Node, tuned: Source, base: Source, to: Path) -> DeltaMade:
    asked = DeltaRequest(format_record(tuned.release), format_record(base.release), str(to))
    return await node.run(DELTA, asked, Heard())


@in_time
async def test_who_never_held_the_base_passes_a_delta_on(tmp_path: Path) -> None:
    base, tuned = publish_pair(tmp_path)
    async with up(tmp_path / "b") as b, up(tmp_path / "c") as c:
        async with up(tmp_path / "a") as a:
            made = await make_delta(a, tuned, base, tmp_path)
            assert made.bytes < 0.25 * made.needed <= 0.25 * made.whole
            await fetch(b, ReleaseId(parse_record(made.release)), [a])
            await fetch(c, base.release, [a])
        assert not b.store.contents.places(base.content)
        assert not b.store.contents.places(tuned.content)
        got = await fetch(c, tuned.release, [b])  # nobody else is there any more
        same_files(tuned, got.path)
        assert [share.peer for share in got.peers] == [(await b.network()).host.peer]
        assert got.moved < 0.25 * got.received


@in_time
async def test_who_holds_the_delta_and_the_base_asks_nobody(tmp_path: Path) -> None:
    base, tuned = publish_pair(tmp_path)
    async with up(tmp_path / "b") as b:
        async with up(tmp_path / "a") as a:
            made = await make_delta(a, tuned, base, tmp_path)
            await fetch(b, base.release, [a])
            await fetch(b, ReleaseId(parse_record(made.release)), [a])
        cost = await b.run(DRY_RUN, FetchRequest(format_record(tuned.release)), Heard())
        assert (cost.needed, cost.held) == (0, made.whole)
        got = await fetch(b, tuned.release, [])
        same_files(tuned, got.path)
        assert (got.received, got.moved) == (0, 0)
        assert got.reused == made.whole


@in_time
async def test_without_the_base_a_delta_is_of_no_use(tmp_path: Path) -> None:
    base, tuned = publish_pair(tmp_path)
    async with up(tmp_path / "b") as b, up(tmp_path / "c") as c:
        async with up(tmp_path / "a") as a:
            made = await make_delta(a, tuned, base, tmp_path)
            await fetch(b, ReleaseId(parse_record(made.release)), [a])
        with pytest.raises(NetworkError, match="everybody who has it is gone"):
            await fetch(c, tuned.release, [b], patience=2)


@in_time
async def test_a_payload_that_rotted_is_not_passed_on(tmp_path: Path) -> None:
    base, tuned = publish_pair(tmp_path)
    async with up(tmp_path / "a") as a, up(tmp_path / "b") as b, up(tmp_path / "c") as c:
        made = await make_delta(a, tuned, base, tmp_path)
        got = await fetch(b, ReleaseId(parse_record(made.release)), [a])
        await fetch(c, base.release, [a])
        spoil(Path(got.path))
        got = await fetch(c, tuned.release, [b, a])
        same_files(tuned, got.path)
        assert c.store.catalog.wrong_counts() == {}


@in_time
async def test_who_passes_on_what_another_lied_is_not_to_blame(tmp_path: Path) -> None:
    base, tuned = publish_pair(tmp_path)
    async with up(tmp_path / "a") as a, up(tmp_path / "b") as b, up(tmp_path / "c") as c:
        made = await make_delta(a, tuned, base, tmp_path)
        lie = await trio.to_thread.run_sync(exchange_payloads, Path(made.path), tmp_path / "lie.delta")
        asked = PublishRequest(str(lie), name="lie", kind="delta", license="MIT")
        lied = await a.run(PUBLISH, asked, Heard())
        await fetch(b, ReleaseId(parse_record(lied.release)), [a])
        await fetch(c, base.release, [a])
        assert b.store.deltas.targets() == {tuned.content}  # nothing shows that it lies
        got = await fetch(c, tuned.release, [b, a])
        same_files(tuned, got.path)
        assert c.store.catalog.wrong_counts() == {}


@in_time
async def test_it_ends_in_words_that_say_what_to_do(tmp_path: Path) -> None:
    base, tuned = publish_pair(tmp_path)
    async with up(tmp_path / "a") as a, up(tmp_path / "b") as b:
        await make_delta(a, tuned, base, tmp_path)
        with pytest.raises(UsageError, match="exists"):
            await make_delta(a, tuned, base, tmp_path)
        with pytest.raises(UsageError, match="nothing between"):
            await make_delta(a, base, base, tmp_path)
        await fetch(b, base.release, [a])
        with pytest.raises(NotFoundError):
            await make_delta(b, tuned, base, tmp_path / "b")
        assert not await trio.to_thread.run_sync(lambda: list(tmp_path.glob(".*.part")))


@in_time
async def test_a_delta_is_no_more_visible_than_what_it_joins(tmp_path: Path) -> None:
    base, tuned = publish_pair(tmp_path, visibility="unlisted")
    async with up(tmp_path / "a") as a:
        made = await make_delta(a, tuned, base, tmp_path)
        held = a.store.catalog.release(ReleaseId(parse_record(made.release)))
        assert held is not None
        assert held.visibility == "unlisted"


@in_time
async def test_what_may_not_be_passed_on_has_no_delta(tmp_path: Path) -> None:
    base, tuned = publish_pair(tmp_path)
    async with up(tmp_path / "a") as a, up(tmp_path / "b") as b:
        for made in (base, tuned):
            await fetch(b, made.release, [a])
        b.store.catalog.condemn(tuned.content, "it was withdrawn")
        with pytest.raises((LicenseError, NotFoundError)):
            await make_delta(b, tuned, base, tmp_path / "b")


@in_time
async def test_gc_leaves_what_a_delta_says_of_its_target(tmp_path: Path) -> None:
    base, tuned = publish_pair(tmp_path)
    async with up(tmp_path / "b") as b:
        async with up(tmp_path / "a") as a:
            made = await make_delta(a, tuned, base, tmp_path)
            await fetch(b, ReleaseId(parse_record(made.release)), [a])
        b.store.collect()
        assert b.store.catalog.release(tuned.release) is not None
        b.store.remove(ReleaseId(parse_record(made.release)))
        b.store.collect()
        assert b.store.catalog.release(tuned.release) is None


@in_time
async def test_a_delta_on_a_stick_brings_the_new_release(tmp_path: Path) -> None:
    base, tuned = publish_pair(tmp_path)
    stick = tmp_path / "stick"
    stick.mkdir()
    async with up(tmp_path / "b") as b:
        async with up(tmp_path / "a") as a:
            made = await make_delta(a, tuned, base, tmp_path)
            await fetch(b, base.release, [a])
            await a.run(EXPORT, ExportRequest(str(stick), (made.release,)), Heard())
        on_stick = sum(path.stat().st_size for path in stick.rglob("*") if path.is_file())
        assert on_stick < 0.25 * made.whole
        await b.run(IMPORT, ImportRequest(str(stick)), Heard())
        got = await fetch(b, tuned.release, [])
        same_files(tuned, got.path)
        assert got.received == 0
