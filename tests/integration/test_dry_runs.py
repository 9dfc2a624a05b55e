"""What a dry run says that a fetch would move, held against the fetch."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.contents import Source, give_home
from support.nodes import Heard, address, fetch, up
from support.waiting import in_time
from support.weights import draw, tune, write_safetensors

from samara.node.app import Node
from samara.node.operations.fetch import DRY_RUN, DryRun, FetchRequest
from samara.node.operations.limits import LIMITS, LimitsRequest
from samara.protocol.ids import format_record

BASE = draw(1)
MB = 1_000_000


@contextlib.asynccontextmanager
async def seeding(tmp_path: Path, *folders: str, **network: object) -> AsyncIterator[tuple[Node, list[Source]]]:
    """Publish folders, each made from the one before, and run the node that seeds them."""
    made: list[Source] = []
    with give_home(tmp_path / "a") as store:
        for folder in folders:
            made.append(Source.publish(store, tmp_path / folder, bases=[source.release for source in made]))
    async with up(tmp_path / "a", **{"encode": "always", **network}) as node:
        yield node, made


async def cost(node: Node, source: Source, peer: Node, **how: object) -> DryRun:
    request = FetchRequest(format_record(source.release), peers=(address(peer),), patience=10, **how)  # type: ignore[arg-type]
    said: DryRun = await node.run(DRY_RUN, request, Heard())
    return said


def is_about(estimated: int | None, moved: int) -> bool:
    return estimated is not None and abs(estimated - moved) < 0.1 * moved


def write_lines(path: Path, rows: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    words = [format(number, "x") for number in range(1000)]
    choose = random.Random(1).choice
    path.write_text("".join(f'{{"row": {n}, "text": "{choose(words)} {choose(words)}"}}\n' for n in range(rows)))


@in_time
async def test_what_is_said_is_about_what_moves(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "base/model.safetensors", BASE)
    write_safetensors(tmp_path / "tuned/model.safetensors", tune(BASE, 3e-3, 2), "tuned")
    async with seeding(tmp_path, "base", "tuned") as (a, (base, tuned)), up(tmp_path / "b") as b:
        whole = await cost(b, base, a)
        first = await fetch(b, base.release, [a])
        assert whole.needed == first.received
        assert is_about(whole.estimated, first.moved)
        delta = await cost(b, tuned, a)
        second = await fetch(b, tuned.release, [a])
        assert delta.needed == second.received
        assert is_about(delta.estimated, second.moved)
        assert delta.estimated is not None
        assert delta.estimated < 0.25 * delta.needed
        assert [file.estimated for file in delta.files] == [delta.estimated]
        again = await cost(b, tuned, a)  # nobody is asked
        assert (again.needed, again.estimated) == (0, None)


@in_time
async def test_samples_are_few_and_nothing_of_them_is_kept(tmp_path: Path) -> None:
    write_lines(tmp_path / "data/train.jsonl", 200_000)
    (tmp_path / "data/photo.jpg").write_bytes(random.Random(1).randbytes(4 * MB))
    async with seeding(tmp_path, "data") as (a, (made,)), up(tmp_path / "b") as b:
        service = a.network_if_started
        assert service is not None
        said = await cost(b, made, a)
        by_path = {file.path: file for file in said.files}
        text, photo = by_path["train.jsonl"], by_path["photo.jpg"]
        assert text.estimated is not None
        assert text.estimated < 0.5 * text.needed
        assert photo.estimated in {None, photo.needed}
        assert said.estimated == text.estimated + photo.needed
        assert service.upload.passed < said.needed / 20
        assert not b.store.contents.has(made.content)
        assert b.store.home_bytes() == 0
        assert is_about(said.estimated, (await fetch(b, made.release, [a])).moved)


@in_time
async def test_a_sender_that_measures_its_line_first(tmp_path: Path) -> None:
    write_lines(tmp_path / "data/train.jsonl", 800_000)
    async with seeding(tmp_path, "data", encode="auto", upload=300_000) as (a, (made,)), up(tmp_path / "b") as b:
        said = await cost(b, made, a)
        assert said.estimated is not None
        assert said.estimated < 0.5 * said.needed  # what came raw at first does not count


@pytest.mark.parametrize("sender", ["auto", "never"])
@in_time
async def test_where_all_comes_raw_nothing_is_said(tmp_path: Path, sender: str) -> None:
    write_safetensors(tmp_path / "base/model.safetensors", BASE)  # one sample, which an `auto` sender sends raw
    async with seeding(tmp_path, "base", encode=sender) as (a, (made,)), up(tmp_path / "b") as b:
        said = await cost(b, made, a)
        assert (said.needed, said.estimated) == (said.bytes, None)
        assert [file.estimated for file in said.files] == [None]


@in_time
async def test_nothing_is_sampled_where_nothing_would_come_encoded(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "base/model.safetensors", BASE)
    async with seeding(tmp_path, "base") as (a, (made,)), up(tmp_path / "b") as b:
        service = a.network_if_started
        assert service is not None
        never = await cost(b, made, a, encode="never")
        assert (never.needed, never.estimated) == (never.bytes, None)
        await b.run(LIMITS, LimitsRequest(download=0), Heard())
        paused = await cost(b, made, a)
        assert paused.estimated is None
        assert service.upload.passed < MB // 2
    async with up(tmp_path / "c", encode="never") as c, seeding(tmp_path, "base") as (a, (made,)):
        said = await cost(c, made, a)
        assert said.estimated is None


@in_time
async def test_a_seeder_that_has_given_all_that_it_may_is_no_hindrance(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "base/model.safetensors", BASE)
    async with seeding(tmp_path, "base", max_upload=40_000) as (a, (made,)), up(tmp_path / "b") as b:
        said = await cost(b, made, a)
        assert (said.needed, said.estimated) == (said.bytes, None)
