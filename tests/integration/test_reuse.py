"""What lies in folders that the user names is not fetched again, and what is wrong there harms nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio
from support.contents import Source, give_home
from support.mounts import image, mounted
from support.nodes import Heard, address, fetch, same_files, seeding, up
from support.waiting import in_time
from support.weights import draw, write_safetensors

from samara.node.operations.fetch import DRY_RUN, DryRun, FetchRequest
from samara.node.operations.library import REMOVE, RefRequest
from samara.protocol.errors import NotFoundError
from samara.protocol.ids import format_record

SIZES = {"model.bin": 3_000_000, "other.bin": 2_000_000, "notes.txt": 1_000}


@in_time
async def test_an_older_download_saves_what_is_alike(tmp_path: Path) -> None:
    async with seeding(tmp_path / "a", tmp_path / "files", SIZES) as (a, made), up(tmp_path / "b") as b:
        old = tmp_path / "old/cache"
        old.mkdir(parents=True)
        data = (made.root / "model.bin").read_bytes()
        (old / "renamed").write_bytes(data[:1_000_000] + b"a change" + data[1_200_000:])
        (old / "notes").write_bytes((made.root / "notes.txt").read_bytes())
        (old / "unrelated").write_bytes(random.Random(5).randbytes(500_000))
        got = await fetch(b, made.release, [a], reuse=[tmp_path / "old"])
        same_files(made, got.path)
        assert got.reused > 2_000_000
        assert got.received + got.reused == sum(SIZES.values())


@in_time
async def test_all_that_lies_there_needs_nobody_but_the_lists(tmp_path: Path) -> None:
    async with seeding(tmp_path / "a", tmp_path / "files", SIZES) as (a, made), up(tmp_path / "b") as b:
        cost: DryRun = await b.run(
            DRY_RUN,
            FetchRequest(format_record(made.release), peers=(address(a),), reuse=(str(made.root),)),
            Heard(),
        )
        assert (cost.needed, cost.held) == (0, sum(SIZES.values()))
        got = await fetch(b, made.release, [a], reuse=[made.root])
        assert (got.received, got.reused) == (0, sum(SIZES.values()))
        same_files(made, got.path)


@in_time
async def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    async with seeding(tmp_path / "a", tmp_path / "files", {"x": 1000}) as (a, made), up(tmp_path / "b") as b:
        with pytest.raises(NotFoundError, match="nothing"):
            await fetch(b, made.release, [a], reuse=[tmp_path / "nothing"])


@pytest.mark.parametrize("kind", ["btrfs", "xfs", "ext4"])
@in_time
async def test_what_the_filesystem_can_share_takes_no_room(tmp_path: Path, kind: str) -> None:
    size = (320 if kind == "xfs" else 128) << 20
    with mounted(tmp_path / "disk", str(image(tmp_path / "image", kind, size))) as disk:
        async with seeding(tmp_path / "a", tmp_path / "files", SIZES) as (a, made), up(tmp_path / "b") as b:
            old = disk / "old"
            old.mkdir()
            (old / "model.bin").write_bytes((made.root / "model.bin").read_bytes())
            got = await fetch(b, made.release, [a], reuse=[old], to=disk / "new")
            same_files(made, disk / "new")
            assert got.reused == SIZES["model.bin"]
            assert (got.shared > 0.9 * got.reused) == (kind != "ext4")
            (old / "model.bin").write_bytes(b"something else")
            same_files(made, disk / "new")


@pytest.mark.parametrize("kind", ["btrfs", "xfs", "ext4"])
@in_time
async def test_what_another_release_holds_is_shared_with_it(tmp_path: Path, kind: str) -> None:
    size = (320 if kind == "xfs" else 160) << 20
    weights = dict(draw(5, tensors=8, size=1_500_000))
    write_safetensors(tmp_path / "old/model.safetensors", weights, "1")
    weights["layers.3.weight"] = draw(6, tensors=8, size=1_500_000)["layers.3.weight"]
    write_safetensors(tmp_path / "new/model.safetensors", weights, "2")
    with give_home(tmp_path / "a") as store:
        old, new = (Source.publish(store, tmp_path / name) for name in ("old", "new"))
    with mounted(tmp_path / "disk", str(image(tmp_path / "image", kind, size))) as disk:
        async with up(tmp_path / "a") as a, up(disk / "b") as b:
            first = await fetch(b, old.release, [a])
            got = await fetch(b, new.release, [a])
            same_files(new, got.path)
            assert 3_000_000 <= got.received < 4_100_000
            assert got.received + got.reused == (new.root / "model.safetensors").stat().st_size
            assert got.shared > 0.9 * got.reused if kind != "ext4" else got.shared == 0
            await b.run(REMOVE, RefRequest(format_record(old.release)), Heard())
            assert not await trio.Path(first.path).exists()
            same_files(new, got.path)
