"""One pass gives what many plain passes would give; a file that changes, or a caller that has enough, ends it."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3
from support import reference
from support.recipes import build, gguf, gguf_tensor, safetensors, xof

from samara.node.store import scan
from samara.node.store.scan import ScannedFile, scan_file
from samara.protocol.chunking.profile import Kind
from samara.protocol.errors import StoppedError, StoreError
from samara.protocol.limits import MAX_FILE, MIB

FILES = {
    "empty": b"",
    "one byte": b"x",
    "generic": build([xof("scan", 700_001)]),
    "safetensors": build(
        safetensors(
            {f"t{i}": {"data_offsets": [a, b]} for i, (a, b) in enumerate([(0, 90_000), (90_000, 3_000_000)])},
            [xof("scan", 3_000_000)],
        )
    ),
    "gguf": build(gguf([], [gguf_tensor(b"t", [1], i * 640_000) for i in range(6)], [xof("scan", 4_000_000)])),
}


@pytest.fixture(params=[64 * 1024, MIB + 1, 4 * MIB], ids=["small blocks", "odd blocks", "one block"])
def _blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_BLOCK", request.param)


def scan_path(path: Path, size: int | None = None, **options: Callable[..., object]) -> ScannedFile:
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        return scan_file(fd, path.stat().st_size if size is None else size, **options)  # type: ignore[arg-type]
    finally:
        os.close(fd)


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("name", FILES)
def test_one_pass_is_many_passes(tmp_path: Path, name: str) -> None:
    data = FILES[name]
    (tmp_path / "file").write_bytes(data)
    progress: list[int] = []
    found = scan_path(tmp_path / "file", on_progress=progress.append)
    ends = reference.ends(data)
    chunks = [(blake3(data[a:b]).digest(), b - a) for a, b in zip([0, *ends], ends, strict=False)]
    assert (found.size, sum(progress)) == (len(data), len(data))
    assert found.blake3 == blake3(data).digest()
    assert found.sha256 == hashlib.sha256(data).digest()
    assert found.kind is Kind(name if name in ("safetensors", "gguf") else "generic")
    assert [(found.chunks.hash(i), found.chunks.length(i)) for i in range(len(found.chunks))] == chunks
    assert (found.root, list(found.nodes)) == reference.tree(chunks)


@pytest.mark.parametrize("name", FILES)
def test_without_preadv_it_is_the_same(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(FILES[name])
    found = scan_path(tmp_path / "file")
    monkeypatch.delattr(os, "preadv", raising=False)
    assert scan_path(tmp_path / "file") == found


@pytest.mark.parametrize("block", [64 * 1024, 4 * MIB])
@pytest.mark.parametrize("difference", [-1, 1])
def test_a_size_that_is_not_the_files(
    tmp_path: Path, difference: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "_BLOCK", block)
    (tmp_path / "file").write_bytes(FILES["generic"])
    with pytest.raises(StoreError, match="changed"):
        scan_path(tmp_path / "file", len(FILES["generic"]) + difference)


@pytest.mark.parametrize("change", ["shrink", "grow", "edit"])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_BLOCK", 64 * 1024)
    path = tmp_path / "file"
    path.write_bytes(FILES["generic"])
    os.utime(path, ns=(1, 1))

    def meddle(_: int) -> None:
        with path.open("r+b") as file:
            if change == "shrink":
                file.truncate(100_000)
            else:
                file.seek(0, os.SEEK_SET if change == "edit" else os.SEEK_END)
                file.write(b"changed")

    with pytest.raises(StoreError, match="changed"):
        scan_path(path, on_progress=meddle)


@pytest.mark.parametrize("block", [64 * 1024, 4 * MIB])
def test_it_can_be_stopped(tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_BLOCK", block)
    (tmp_path / "file").write_bytes(FILES["generic"])
    asked: list[None] = []

    def cancelled() -> bool:
        asked.append(None)
        return len(asked) == 4 or block > len(FILES["generic"])

    before = threading.active_count()
    with pytest.raises(StoppedError):
        scan_path(tmp_path / "file", cancelled=cancelled)
    assert threading.active_count() == before


def test_an_error_in_a_worker_is_raised_and_leaves_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, block: memoryview) -> None:
        raise MemoryError("none left")

    monkeypatch.setattr(scan, "_BLOCK", 64 * 1024)
    monkeypatch.setattr(scan._ChunkHasher, "feed", fail)
    (tmp_path / "file").write_bytes(FILES["generic"])
    before = threading.active_count()
    with pytest.raises(MemoryError, match="none left"):
        scan_path(tmp_path / "file")
    assert threading.active_count() == before


def test_an_error_of_reading_is_raised(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    try:
        with pytest.raises(OSError, match="Bad file descriptor"):
            scan_file(fd, 5)
    finally:
        os.close(fd)


def test_a_size_beyond_all_files(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="at most"):
        scan_path(tmp_path / "file", MAX_FILE + 1)


def test_memory_is_bounded(tmp_path: Path) -> None:
    """A large sparse file with a header that claims much takes the buffers, and little more."""
    header = json.dumps({"t": {"data_offsets": [0, 150 * MIB]}}).encode()
    with (tmp_path / "file").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 150 * MIB)
    tracemalloc.start()
    try:
        found = scan_path(tmp_path / "file")
        assert tracemalloc.get_traced_memory()[1] < 40 * MIB
    finally:
        tracemalloc.stop()
    assert (found.kind, len(found.chunks)) == (Kind.SAFETENSORS, 151)
    assert len(found.nodes) == 1
