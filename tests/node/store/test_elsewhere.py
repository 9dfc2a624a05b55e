"""What lies in folders that the user names, and what of it is a chunk of something else."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from support.mounts import image, mounted

from samara.node.store import linux
from samara.node.store.elsewhere import Elsewhere
from samara.node.store.scan import scan_chunks, scan_file
from samara.protocol.chunklist import ChunkList
from samara.protocol.errors import StoppedError
from samara.protocol.limits import MIB


def chunks_of(path: Path) -> ChunkList:
    with path.open("rb") as file:
        return scan_chunks(file.fileno(), path.stat().st_size)


def look(*roots: Path, sizes: tuple[int, ...] = ()) -> Elsewhere:
    elsewhere = Elsewhere(roots)
    assert all(elsewhere.look(sizes, cancelled=lambda: False))
    return elsewhere


@pytest.fixture
def data() -> bytes:
    return random.Random(1).randbytes(3 * MIB)


@pytest.mark.parametrize("size", [0, 1, 70_000, 3 * MIB, 9 * MIB + 1])
def test_chunks_alone_are_those_of_a_whole_scan(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(random.Random(size).randbytes(size))
    with path.open("rb") as file:
        assert scan_chunks(file.fileno(), size) == scan_file(file.fileno(), size).chunks


def test_chunks_are_found_in_an_older_version_of_a_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "old/deep").mkdir(parents=True)
    old, new = tmp_path / "old/deep/file.bin", tmp_path / "new.bin"
    old.write_bytes(data)
    new.write_bytes(data[:MIB] + b"something else" + data[MIB + 100_000 :])
    wanted = chunks_of(new)
    elsewhere = look(tmp_path / "old")
    found = list(elsewhere.find(wanted, range(len(wanted))))
    assert len(found) == 2  # before and behind what was changed
    for where in found:
        with where.path.open("rb") as file:
            file.seek(where.offset)
            there = memoryview(file.read(wanted.bytes_of(where.first, where.count)))
        assert wanted.count_right(there, where.first, where.count) == where.count
    assert len(wanted) // 2 < sum(where.count for where in found) < len(wanted)
    some = [where.first + 1 for where in found]
    assert [(where.first, where.count) for where in elsewhere.find(wanted, some)] == [(index, 1) for index in some]
    elsewhere.close()


def test_what_is_told_of_together_is_read_in_one_go(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(random.Random(2).randbytes(9 * MIB))
    elsewhere = look(tmp_path)
    wanted = chunks_of(tmp_path / "big")
    found = list(elsewhere.find(wanted, range(len(wanted))))
    assert [where.first for where in found[1:]] == [where.first + where.count for where in found[:-1]]
    assert all(wanted.bytes_of(where.first, where.count) <= 4 * MIB for where in found)
    assert len(found) == 3
    elsewhere.close()


def test_links_to_files_are_followed_and_each_file_is_read_once(tmp_path: Path, data: bytes) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    (blobs / "abc").write_bytes(data)
    (snapshot / "model.bin").symlink_to("../blobs/abc")
    (snapshot / "again.bin").symlink_to("../blobs/abc")
    (snapshot / "loop").symlink_to(snapshot)
    (snapshot / "nothing").symlink_to("nowhere")
    elsewhere = look(snapshot, blobs)
    assert elsewhere.looked == len(data)
    wanted = chunks_of(blobs / "abc")
    assert sum(where.count for where in elsewhere.find(wanted, range(len(wanted)))) == len(wanted)
    elsewhere.close()


def test_pipes_and_what_cannot_be_read_are_left_out(tmp_path: Path, data: bytes) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs named pipes")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    (tmp_path / "file").write_bytes(data)
    elsewhere = look(tmp_path, tmp_path / "not there", tmp_path / "file")
    assert elsewhere.looked == len(data)
    elsewhere.close()


def test_files_of_the_sizes_that_are_wanted_come_first_and_looking_can_be_stopped(tmp_path: Path, data: bytes) -> None:
    for name, size in (("a", 1000), ("b", 2000), ("c", 3000)):
        (tmp_path / name).write_bytes(data[:size])
    elsewhere = Elsewhere([tmp_path])
    looking = elsewhere.look([3000], cancelled=lambda: elsewhere.looked >= 4000)
    assert next(looking)
    assert elsewhere.looked == 3000
    assert next(looking)
    assert elsewhere.looked == 4000
    with pytest.raises(StoppedError):
        next(looking)
    elsewhere.close()


@pytest.mark.parametrize("kind", ["btrfs", "xfs", "ext4"])
def test_a_range_is_cloned_where_the_filesystem_can(tmp_path: Path, data: bytes, kind: str) -> None:
    size = 320 * MIB if kind == "xfs" else 128 * MIB
    with mounted(tmp_path / "disk", str(image(tmp_path / "image", kind, size))) as disk:
        (disk / "source").write_bytes(data)
        with (disk / "source").open("rb") as source, (disk / "target").open("w+b") as target:
            target.truncate(len(data))
            done = linux.clone_range(source.fileno(), MIB, target.fileno(), 0, MIB)
            assert done == (kind != "ext4")
            assert not linux.clone_range(source.fileno(), 1, target.fileno(), 0, MIB)
            assert target.read() == (data[MIB : 2 * MIB] if done else bytes(MIB)) + bytes(2 * MIB)
