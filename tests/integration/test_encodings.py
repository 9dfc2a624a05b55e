"""Weights and text on their way between two nodes: fewer bytes, and the same bytes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import trio
import trio.lowlevel
from support.contents import Source, give_home
from support.nodes import Heard, fetch, same_files, up
from support.waiting import in_time
from support.weights import draw, tune, write_safetensors

from samara.node.app import Node
from samara.node.operations.base import Event, Progress

BASE = draw(1)


@contextlib.asynccontextmanager
async def model_and_tune(
    tmp_path: Path, *, encode: str = "always", relative: float = 3e-3
) -> AsyncIterator[tuple[Node, Source, Source]]:
    """A node that seeds a model and a fine-tune of it."""
    write_safetensors(tmp_path / "base/model.safetensors", BASE)
    write_safetensors(tmp_path / "tuned/model.safetensors", tune(BASE, relative, 2), "tuned")
    with give_home(tmp_path / "a") as store:
        base = Source.publish(store, tmp_path / "base")
        tuned = Source.publish(store, tmp_path / "tuned", bases=[base.release])
    async with up(tmp_path / "a", encode=encode) as node:
        yield node, base, tuned


@in_time
async def test_weights_come_in_planes(tmp_path: Path) -> None:
    async with model_and_tune(tmp_path) as (a, base, _), up(tmp_path / "b") as b:
        got = await fetch(b, base.release, [a])
        same_files(base, got.path)
        assert got.moved < 0.7 * got.received
        assert got.received > 8_000_000


@in_time
async def test_a_fine_tune_of_what_is_held_comes_as_a_delta(tmp_path: Path) -> None:
    async with model_and_tune(tmp_path) as (a, base, tuned), up(tmp_path / "b") as b:
        await fetch(b, base.release, [a])
        got = await fetch(b, tuned.release, [a])
        same_files(tuned, got.path)
        assert got.moved < 0.25 * got.received
        assert got.received > 8_000_000


@in_time
async def test_whoever_says_never_gets_them_as_they_are(tmp_path: Path) -> None:
    async with model_and_tune(tmp_path) as (a, base, tuned):
        async with up(tmp_path / "b", encode="never") as b:
            got = await fetch(b, base.release, [a])
            assert got.moved == got.received
        async with up(tmp_path / "c") as c:
            got = await fetch(c, tuned.release, [a], encode="never")
            assert got.moved == got.received
    async with model_and_tune(tmp_path, encode="never") as (a, base, _), up(tmp_path / "d") as d:
        got = await fetch(d, base.release, [a])
        assert got.moved == got.received
        same_files(base, got.path)


@in_time
async def test_a_base_that_goes_in_the_middle_of_a_fetch(tmp_path: Path) -> None:
    async with model_and_tune(tmp_path) as (a, base, tuned):
        async with up(tmp_path / "b") as b:
            held = Path((await fetch(b, base.release, [a])).path)

        class Deleting(Heard):
            def __call__(self, event: Event) -> None:
                super().__call__(event)
                if isinstance(event, Progress) and event.total and event.done > event.total // 8:
                    held.unlink(missing_ok=True)

        async with up(tmp_path / "b", download=1_000_000) as b:
            got = await fetch(b, tuned.release, [a], heard=Deleting(), patience=60)
        assert not await trio.Path(held).exists()
        same_files(tuned, got.path)
        assert 0.15 * got.received < got.moved < 0.7 * got.received
        assert len(got.peers) == 1


@in_time
async def test_text_is_packed_and_what_cannot_be_is_left_alone(tmp_path: Path) -> None:
    import random

    (tmp_path / "data").mkdir()
    lines = [f'{{"question": "what is {n} plus {n}?", "answer": {2 * n}}}\n' for n in range(60_000)]
    (tmp_path / "data/train.jsonl").write_text("".join(lines))
    (tmp_path / "data/photo.jpg").write_bytes(random.Random(1).randbytes(3_000_000))
    with give_home(tmp_path / "a") as store:
        made = Source.publish(store, tmp_path / "data")
    async with up(tmp_path / "a", encode="always") as a, up(tmp_path / "b") as b:
        got = await fetch(b, made.release, [a])
        same_files(made, got.path)
        text = (tmp_path / "data/train.jsonl").stat().st_size
        assert got.moved < 3_000_000 + text / 4


@in_time
async def test_what_one_is_sent_is_kept_for_the_next(tmp_path: Path) -> None:
    async with model_and_tune(tmp_path) as (a, base, tuned), up(tmp_path / "b") as b, up(tmp_path / "c") as c:
        await trio.lowlevel.checkpoint()
        for node in (b, c):
            await fetch(node, base.release, [a])
        for node in (b, c):
            got = await fetch(node, tuned.release, [a])
            same_files(tuned, got.path)
            assert got.moved < 0.25 * got.received
