"""System calls on files, on the filesystems that differ in them."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.contents import give_home, make_source
from support.mounts import image, mounted

from samara.node.store import files, linux, room
from samara.node.store.files import has_blocks, preallocate
from samara.protocol.errors import DiskFullError
from samara.protocol.limits import MIB


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def without_allocation(fd: int, size: int) -> None:
    raise OSError(errno.EOPNOTSUPP, "Operation not supported")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere systems differ in what they promise")
@pytest.mark.parametrize("before", [0, MIB, 9 * MIB])
def test_a_file_gets_its_size_and_its_blocks(fd: int, before: int) -> None:
    if linux.filesystem_type(fd) == linux.TMPFS:
        pytest.skip("the folder of tests lies in memory")
    os.ftruncate(fd, before)
    preallocate(fd, 8 * MIB + 1)
    assert os.fstat(fd).st_size == 8 * MIB + 1
    assert has_blocks(os.fstat(fd), 8 * MIB + 1)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a filesystem in memory")
def test_memory_is_not_made_before_it_is_written() -> None:
    with tempfile.TemporaryFile(dir="/dev/shm") as file:
        preallocate(file.fileno(), 8 * MIB)
        assert os.fstat(file.fileno()).st_size == 8 * MIB
        assert not has_blocks(os.fstat(file.fileno()), 8 * MIB)


@pytest.mark.skipif(not hasattr(os.stat_result, "st_blocks"), reason="needs files with holes")
def test_a_filesystem_that_has_no_allocation_is_not_made_to_write_each_block(tmp_path: Path) -> None:
    with mounted(tmp_path / "old", str(image(tmp_path / "image", "ext2", 16 * MIB))) as old:
        fd = os.open(old / "file", os.O_RDWR | os.O_CREAT)
        try:
            preallocate(fd, 8 * MIB)
            assert os.fstat(fd).st_size == 8 * MIB
            assert os.fstat(fd).st_blocks * 512 < MIB
            assert not has_blocks(os.fstat(fd), 8 * MIB)
        finally:
            os.close(fd)


def test_a_size_is_given_also_where_nothing_can_be_promised(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_allocate", without_allocation)
    preallocate(fd, MIB)
    assert os.fstat(fd).st_size == MIB


def test_a_disk_that_is_full_says_so(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "_allocate", full)
    with pytest.raises(OSError, match="No space"):
        preallocate(fd, MIB)


@pytest.mark.skipif(sys.platform != "linux", reason="the call is Linux's")
def test_an_allocation_that_a_signal_interrupts_is_made_again(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [errno.EINTR, errno.EINTR, errno.EFBIG]

    def fallocate(fd: int, mode: int, offset: ctypes.c_int64, size: ctypes.c_int64) -> int:
        ctypes.set_errno(answers.pop(0))
        return -1

    monkeypatch.setattr(linux, "_LIBC", SimpleNamespace(fallocate64=fallocate, fstatfs=lambda fd, answer: -1))
    with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        preallocate(fd, MIB)
    assert not answers


def test_holes_that_are_still_to_be_filled_are_no_free_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_allocate", without_allocation)
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        one = make_source(source, tmp_path / "one", {"one.bin": 2 * MIB})
        two = make_source(source, tmp_path / "two", {"two.bin": 2 * MIB})
        monkeypatch.setattr(room, "free_bytes", lambda folder: 3 * MIB)
        first = target.open_intake(*one.opening(source), None)
        need = first.add_list(1, one.nodes(source, 1))
        first.put(1, 0, one.chunk(source, 1, 0))
        with pytest.raises(DiskFullError, match="floor"):
            target.open_intake(*two.opening(source), None)
        put = [0]
        for index in need.missing[1:-1]:
            first.put(1, index, one.chunk(source, 1, index))
            put.append(index)
        chunks = source.contents.chunk_list(one.content, 1)
        assert chunks is not None
        assert first.unallocated == 2 * MIB - sum(map(chunks.length, put))
        target.close_intake(first)
        again = target.open_intake(*one.opening(source), None)
        assert again.unallocated == first.unallocated
        target.close_intake(again)
