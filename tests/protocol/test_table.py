"""Tables are canonical or refused; the same files have one content id."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reference

from samara.protocol import errors
from samara.protocol.chunklist import EMPTY_DIGEST, ListVerifier, build_list, verify_list
from samara.protocol.errors import ContentError, PathError, TableError
from samara.protocol.ids import ContentId, Digest, digest, sha256
from samara.protocol.limits import MAX_CHUNK, MAX_FILE
from samara.protocol.table import FileEntry, FileTable, content_id, list_table, verify_table

VECTORS: dict[str, Any] = json.loads((reference.VECTORS / "tables.json").read_text())


def entry(path: str, size: int = 5) -> FileEntry:
    if size == 0:
        return FileEntry(path, 0, EMPTY_DIGEST, sha256(b""), EMPTY_DIGEST)
    whole = digest(path.encode())
    return FileEntry(path, size, whole, sha256(path.encode()), whole if size <= MAX_CHUNK else digest(b"root"))


def of_vector(file: dict[str, Any]) -> FileEntry:
    return FileEntry(
        file["path"],
        file["size"],
        Digest(bytes.fromhex(file["blake3"])),
        bytes.fromhex(file["sha256"]),
        Digest(bytes.fromhex(file["root"])),
    )


def shards(count: int) -> FileTable:
    first = of_vector(VECTORS["positive"][-1]["first"])
    return FileTable.of(
        FileEntry(f"shard-{i:05}.parquet", first.size, first.blake3, first.sha256, first.root) for i in range(count)
    )


@pytest.mark.parametrize("vector", VECTORS["positive"], ids=[vector["name"] for vector in VECTORS["positive"]])
def test_positive_vectors(vector: dict[str, Any]) -> None:
    files = [of_vector(file) for file in vector["files"]] if "files" in vector else None
    table = FileTable.of(reversed(files)) if files else shards(vector["shards"])
    assert blake3(table.encode()).hexdigest() == vector["table_blake3"]
    assert content_id(table).hex() == vector["content"]
    assert verify_table(table.encode(), ContentId(bytes.fromhex(vector["content"]))) == table


@pytest.mark.parametrize("vector", VECTORS["negative"], ids=[vector["name"] for vector in VECTORS["negative"]])
def test_negative_vectors(vector: dict[str, Any]) -> None:
    with pytest.raises(getattr(errors, vector["error"])) as caught:
        FileTable.decode(bytes.fromhex(vector["table"]))
    assert type(caught.value).__name__ == vector["error"]


NAMES = st.text("abcdé-_ Ω模", min_size=1, max_size=8).map(lambda name: name.strip() or "x")
ENTRIES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.integers(0, 3 * MAX_CHUNK), min_size=1, max_size=9
)


@given(ENTRIES)
@settings(max_examples=100, deadline=None)
def test_what_is_encoded_is_decoded(sizes: dict[str, int]) -> None:
    try:
        table = FileTable.of(entry(path, size) for path, size in sizes.items())
    except PathError:
        return
    decoded = FileTable.decode(table.encode())
    assert decoded == table
    assert list(decoded) == sorted((entry(*item) for item in sizes.items()), key=lambda e: e.path.encode())
    assert (len(decoded), decoded.size) == (len(sizes), sum(sizes.values()))
    assert list(decoded.sizes()) == [found.size for found in decoded]
    for outside in (-1, len(decoded)):
        for look in (decoded.path, decoded.facts, decoded.sha256):
            with pytest.raises(IndexError):
                look(outside)
    for index, found in enumerate(decoded):
        assert decoded[index] == found
        assert decoded.path(index) == found.path
        assert decoded.facts(index) == (found.size, found.blake3, found.root)
        assert decoded.sha256(index) == found.sha256
        assert decoded.find(found.path) == index
        assert decoded.find(found.path + "x") in (None, index + 1)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_changed_byte_is_refused_or_is_another_content(data: st.DataObject) -> None:
    table = FileTable.of([entry("a"), entry("b/c", 0), entry("b/d", MAX_CHUNK + 1)])
    changed = bytearray(table.encode())
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ContentError):
        verify_table(bytes(changed), content_id(table))


@given(st.binary(max_size=300), st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_a_table_or_a_content_error(tail: bytes, count: int) -> None:
    for data in (tail, b"samaraFT\x01\0\0\0" + count.to_bytes(4, "little") + tail):
        with contextlib.suppress(ContentError):
            assert FileTable.decode(data).encode() == data


def test_the_list_of_a_table_is_verified_from_its_content_id() -> None:
    table = shards(2000)
    built = list_table(table.encode())
    assert len(built.chunks) > 1
    assert verify_list(ListVerifier.for_table(content_id(table)), built.nodes) == built.chunks


def test_a_table_that_was_cut_otherwise_has_no_second_id() -> None:
    table = shards(2000)
    data = table.encode()
    halves = [(digest(data[:1000]), 1000), (digest(data[1000:]), len(data) - 1000)]
    other = ContentId(build_list(halves, profile=1, table=True).root)
    with pytest.raises(TableError, match="content id"):
        verify_table(data, other)


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [entry("a"), entry("a")],
        [entry("a", MAX_FILE), entry("b", MAX_FILE)],
        [FileEntry("a", -1, digest(b"a"), sha256(b"a"), digest(b"a"))],
        [FileEntry("a", 1, Digest(b"short"), sha256(b"a"), digest(b"a"))],
        [FileEntry("a", 0, digest(b"a"), sha256(b"a"), digest(b"a"))],
    ],
)
def test_what_cannot_be_a_table(entries: list[FileEntry]) -> None:
    with pytest.raises(TableError):
        FileTable.of(entries)


@pytest.mark.parametrize("path", ["../a", "a\ud800", "", "a" * 70_000])
def test_a_path_that_cannot_be_in_a_table(path: str) -> None:
    with pytest.raises(PathError):
        FileTable.of([FileEntry(path, 1, digest(b"a"), sha256(b"a"), digest(b"a"))])


@pytest.mark.parametrize("index", [-1, 1])
def test_no_file_beyond_the_ends(index: int) -> None:
    table = FileTable.of([entry("a")])
    with pytest.raises(IndexError):
        table[index]
    assert table.find("b") is None
    assert table[0].is_single
    assert not entry("a", MAX_CHUNK + 1).is_single
