"""What lies in folders that the user names is not fetched again, and what is wrong there harms nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from support.mounts import image, mounted
from support.nodes import Heard, address, fetch, same_files, seeding, up
from support.waiting import in_time

from samara.node.operations.fetch import DRY_RUN, DryRun, FetchRequest
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
