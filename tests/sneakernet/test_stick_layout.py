"""Names and small formats on a stick."""

from __future__ import annotations

import hashlib

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from samara.protocol import limits, strictjson
from samara.protocol.errors import CriticalError, StickError
from samara.protocol.ids import Digest, ReleaseId, format_record
from samara.protocol.paths import check_path, check_set
from samara.protocol.table import FileEntry, FileTable
from samara.sneakernet.layout import Commit, FileNames, ReleaseNames, encode_mark, is_label, is_mark, split

NAMES = ReleaseNames("tiny-1-aaaaaaaaaaaaaaaa")
COMMIT = Commit(ReleaseId(bytes(range(32))), roots=2, head=True, nodes=1460, part_size=limits.STICK_PART)


def entry(path: str, size: int) -> FileEntry:
    """A file of which only path and size matter."""
    data = path.encode() if size else b""
    digest = Digest(blake3(data).digest())
    root = digest if size <= limits.MAX_CHUNK else Digest(blake3(digest).digest())
    return FileEntry(path, size, digest, hashlib.sha256(data).digest(), root)


def part_paths(*files: tuple[str, int], part_size: int = limits.MIN_STICK_PART) -> dict[str, list[str]]:
    table = FileTable.of(entry(*file) for file in files)
    names = FileNames(NAMES, table, part_size)
    return {e.path: [part.path for part in names.parts(n, e)] for n, e in enumerate(table, 1)}


def test_parts_of_a_real_model_are_below_what_fat32_takes() -> None:
    size = 10 * 1024**3
    names = FileNames(NAMES, FileTable.of([entry("w.gguf", size)]), limits.STICK_PART)
    parts = names.parts(1, entry("w.gguf", size))
    assert [part.path.rpartition("/")[2] for part in parts] == ["w.gguf.000", "w.gguf.001", "w.gguf.002"]
    assert sum(part.size for part in parts) == size
    assert {part.size for part in parts[:-1]} == {4_293_918_720}
    assert all(0 < part.size < 1 << 32 for part in parts)


@pytest.mark.parametrize("size", [limits.MIN_STICK_PART - 1, limits.MIN_STICK_PART])
def test_a_file_that_fits_is_not_split(size: int) -> None:
    assert part_paths(("w", size)) == {"w": ["samara/files/tiny-1-aaaaaaaaaaaaaaaa/w"]}


@given(st.integers(0, 50 * 65_536), st.integers(65_536, 10 * 65_536))
def test_parts_cover_a_file_exactly(size: int, part_size: int) -> None:
    parts = split("w", size, part_size)
    assert sum(part.size for part in parts) == size
    assert all(part.size == part_size for part in parts[:-1])
    assert len(parts) == 1 or 0 < parts[-1].size <= part_size
    assert len({part.path for part in parts}) == len(parts)


@pytest.mark.parametrize("other", ["w.bin.001", "W.BIN.001", "w.bin.000/inside"])
def test_parts_that_would_meet_another_file_lie_elsewhere(other: str) -> None:
    found = part_paths(("w.bin", 2 * limits.MIN_STICK_PART), (other, 5))
    stream = sorted(["w.bin", other]).index("w.bin") + 1
    folder = "samara/releases/tiny-1-aaaaaaaaaaaaaaaa/parts"
    assert found["w.bin"] == [f"{folder}/{stream}.000", f"{folder}/{stream}.001"]
    assert found[other] == [f"samara/files/tiny-1-aaaaaaaaaaaaaaaa/{other}"]


def test_parts_whose_names_would_be_too_long_lie_elsewhere() -> None:
    name = "n" * 253
    (paths,) = part_paths((name, 2 * limits.MIN_STICK_PART)).values()
    assert paths[0] == "samara/releases/tiny-1-aaaaaaaaaaaaaaaa/parts/1.000"


def test_all_names_of_a_release_can_lie_beside_each_other() -> None:
    found = part_paths(("a", 3 * 65_536), ("a.000", 3 * 65_536), ("A.001.d/x", 1), ("b.000", 0), ("b", 65_537))
    paths = [path for parts in found.values() for path in parts]
    check_set(paths)
    for path in paths:
        check_path(path)


def test_a_claim_of_more_parts_than_can_be_is_refused_before_they_are_counted() -> None:
    with pytest.raises(StickError, match="parts"):
        split("w", limits.MAX_FILE, limits.MIN_STICK_PART)
    with pytest.raises(StickError, match="parts"):
        part_paths(("w", limits.MAX_FILE))


def test_a_commit_record_says_what_it_was_made_of() -> None:
    assert Commit.decode(COMMIT.encode()) == COMMIT
    assert len(COMMIT.encode()) < limits.MAX_STICK_MARK


def altered(**fields: object) -> bytes:
    value = strictjson.loads(COMMIT.encode(), max_bytes=4096)
    assert isinstance(value, dict)
    return strictjson.dumps({**value, **fields})


def test_a_commit_record_that_is_cut_short_is_none() -> None:
    whole = COMMIT.encode()
    for length in range(len(whole)):
        assert Commit.decode(whole[:length]) is None
        assert Commit.decode(whole[:length] + bytes(len(whole) - length)) is None


@pytest.mark.parametrize(
    "data",
    [b"[]", b"{}", b'"x"', altered(format="samara-stick"), altered(version=0), altered(version=True), b" " * 5000],
)
def test_what_is_no_commit_record_is_none(data: bytes) -> None:
    assert Commit.decode(data) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 2},
        {"critical": "release"},
        {"critical": [1]},
        {"release": 1},
        {"release": "b" + "a" * 58},
        {"release": format_record(bytes(32)).upper()},
        {"head": 1},
        {"roots": 0},
        {"roots": limits.MAX_ROOT_CHAIN + 1},
        {"roots": True},
        {"nodes": 0},
        {"nodes": -1},
        {"part_size": limits.MIN_STICK_PART - 1},
        {"part_size": 1 << 32},
        {"part_size": "4095"},
    ],
    ids=str,
)
def test_a_wrong_commit_record_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(StickError):
        Commit.decode(altered(**fields))


def test_unknown_fields_are_ignored_and_unknown_critical_ones_refused() -> None:
    assert Commit.decode(altered(parity="rs-16-20")) == COMMIT
    assert Commit.decode(altered(critical=["nodes"])) == COMMIT
    with pytest.raises(CriticalError, match="parity"):
        Commit.decode(altered(parity="rs-16-20", critical=["parity"]))


def test_a_mark_is_known_again() -> None:
    assert is_mark(encode_mark())
    assert not is_mark(encode_mark()[:-1])
    assert not is_mark(COMMIT.encode())
    with pytest.raises(StickError, match="version 2"):
        is_mark(encode_mark().replace(b'"version":1', b'"version":2'))


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "a\\b", "nul", "NUL.x", "a.", " a", ".hidden", "é", "a" * 256])
def test_what_is_no_label(text: str) -> None:
    assert not is_label(text)


@pytest.mark.parametrize("text", ["tiny-1-abc", "A.b_c+d-1", "a" * 255])
def test_what_is_a_label(text: str) -> None:
    assert is_label(text)
