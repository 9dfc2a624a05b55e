"""Delta packs: heads that say what was put in, and heads with one fault each."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.vectors import FOLDER, generator, vectors

from samara.protocol import errors
from samara.protocol.deltapack import FIXED, PackEntry, decode, encode, head_size
from samara.protocol.errors import DeltaError
from samara.protocol.ids import ContentId, Digest, digest
from samara.protocol.limits import MAX_DELTA_HEAD, MAX_ENVELOPE
from samara.protocol.ports import Records

TARGET, BASE = ContentId(b"t" * 32), ContentId(b"b" * 32)
NODE = b"n" * 60
ROWS = vectors("deltas.json")["vectors"]


def entry(stream: int, index: int, payload: bytes = b"payload", encoding: int = 2) -> PackEntry:
    base = Digest(b"c" * 32) if encoding == 2 else None
    return PackEntry(stream, index, len(payload), encoding, base, digest(payload))


def pack(*entries: PackEntry, head: bytes | None = b"head", nodes: tuple[bytes, ...] = (NODE,)) -> bytes:
    records = Records((b"root", b"another"), b"release", head)
    return encode(TARGET, BASE, records, b"table", nodes, entries)


def whole(head: bytes) -> int:
    count: int = struct.unpack_from("<I", head, FIXED - 4)[0]
    lengths: list[int] = [struct.unpack_from("<I", head, len(head) - 77 * n + 8)[0] for n in range(count, 0, -1)]
    return len(head) + sum(lengths)


places = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 1 << 20)), max_size=30, unique=True).map(sorted)


@given(places, st.booleans())
def test_a_head_says_what_was_put_in(where: list[tuple[int, int]], headed: bool) -> None:
    entries = [entry(*place, bytes([n % 7]) * (n + 1), n % 4) for n, place in enumerate(where)]
    data = pack(*entries, head=b"head" if headed else None)
    assert head_size(data[:FIXED]) == len(data)
    found = decode(data, whole(data))
    assert (found.target, found.base, found.table, found.nodes) == (TARGET, BASE, b"table", (NODE,))
    assert found.records == Records((b"root", b"another"), b"release", b"head" if headed else None)
    assert list(found.entries) == entries
    at = len(data)
    for number, each in enumerate(entries):
        assert found.entries.offset(number) == at
        assert found.entries.find(each.stream, each.index) == number
        at += each.length
    assert found.entries.find(41, 0) is None
    streams = {stream for stream, _ in where}
    assert dict(found.entries.counts()) == {stream: sum(s == stream for s, _ in where) for stream in streams}
    for stream in streams:
        assert [found.entries.index(n) for n in found.entries.of_stream(stream)] == [i for s, i in where if s == stream]


@pytest.mark.parametrize("row", [row for row in ROWS if "says" in row], ids=lambda row: row["name"])
def test_what_a_head_says(row: dict[str, Any]) -> None:
    data, says = bytes.fromhex(row["head"]), row["says"]
    assert head_size(data[:FIXED]) == len(data)
    found = decode(data, row["size"])
    records = found.records
    assert (len(records.roots), records.head is not None, len(found.nodes)) == (
        says["roots"],
        says["head"],
        says["nodes"],
    )
    assert [[e.stream, e.index, e.length, e.encoding] for e in found.entries] == says["entries"]
    assert encode(found.target, found.base, records, found.table, found.nodes, found.entries) == data


@pytest.mark.parametrize("row", [row for row in ROWS if "error" in row], ids=lambda row: row["name"])
def test_what_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(errors.class_named(row["error"])):
        decode(bytes.fromhex(row["head"]), row["size"])


def test_the_generator_writes_what_is_committed() -> None:
    assert generator("deltas").make() == (FOLDER / "deltas.json").read_text("utf-8")


def test_a_head_of_more_than_the_limit_is_refused_before_it_is_read() -> None:
    data = bytearray(pack(entry(1, 0)))
    struct.pack_into("<I", data, FIXED - 4, MAX_DELTA_HEAD // 77 + 1)
    with pytest.raises(DeltaError, match="at most"):
        head_size(bytes(data[:FIXED]))


def test_an_envelope_of_more_than_the_limit_is_refused() -> None:
    records = Records((b"root",), b"r" * (MAX_ENVELOPE + 1))
    data = encode(TARGET, BASE, records, b"table", (), ())
    with pytest.raises(DeltaError, match="envelope"):
        decode(data, len(data))
