"""Lists are built as the page says and believed only from the root down; each lie is refused by name."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reference

from samara.protocol import errors
from samara.protocol.chunklist import EMPTY_DIGEST, ChunkList, ListVerifier, Node, build_list, verify_list
from samara.protocol.errors import NodeError
from samara.protocol.ids import ContentId, Digest, digest
from samara.protocol.limits import MAX_CHUNK, MAX_NODE_ENTRIES, MAX_STREAM_CHUNKS, MAX_TABLE, MIB

VECTORS: dict[str, Any] = json.loads((reference.VECTORS / "lists.json").read_text())
WHOLE = digest(b"the whole file")


def chunk(number: int, length: int = MIB) -> tuple[bytes, int]:
    return blake3(b"chunk %d" % number).digest(), length


def chunks(count: int) -> list[tuple[bytes, int]]:
    return [chunk(number) for number in range(count)]


def leaf(entries: list[tuple[bytes, int]], profile: int = 1) -> Node:
    packed = b"".join(struct.pack("<32sI", *entry) for entry in entries)
    return Node(0, profile, sum(length for _, length in entries), packed)


def inner(children: list[Node], level: int = 1, profile: int = 1) -> Node:
    packed = b"".join(struct.pack("<32sQ", digest(child.encode()), child.length) for child in children)
    return Node(level, profile, sum(child.length for child in children), packed)


def of_root(root: Node, size: int | None = None) -> ListVerifier:
    return ListVerifier.for_file(digest(root.encode()), root.length if size is None else size, WHOLE)


FULL = leaf(chunks(MAX_NODE_ENTRIES))
LAST = leaf([chunk(-1), chunk(-2, 5)])
ROOT = inner([FULL, LAST])


@pytest.mark.parametrize("vector", VECTORS["positive"], ids=[vector["name"] for vector in VECTORS["positive"]])
def test_positive_vectors(vector: dict[str, Any]) -> None:
    entries = chunks(vector["count"])
    built = build_list(entries, profile=1, table=vector["table"])
    assert built.root.hex() == vector["root"]
    assert [digest(node).hex() for node in built.nodes] == vector["nodes"]
    assert [(built.chunks.hash(i), built.chunks.length(i)) for i in range(len(built.chunks))] == entries


@pytest.mark.parametrize(
    "vector", VECTORS["negative_nodes"], ids=[vector["name"] for vector in VECTORS["negative_nodes"]]
)
def test_negative_vectors(vector: dict[str, Any]) -> None:
    with pytest.raises(getattr(errors, vector["error"])):
        Node.decode(bytes.fromhex(vector["node"]))


LENGTHS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, MAX_CHUNK)), max_size=40)


@given(LENGTHS, st.booleans(), st.integers(1, 65_535))
@settings(max_examples=60, deadline=None)
def test_building_is_the_slow_reference(entries: list[tuple[int, int]], table: bool, profile: int) -> None:
    named = [(digest(bytes([number])), length) for number, length in entries]
    built = build_list(named, profile=profile, table=table)
    assert (built.root, list(built.nodes)) == reference.tree(named, table=table, profile=profile)


@given(st.integers(1, 3 * MAX_NODE_ENTRIES), st.randoms(use_true_random=False))
@settings(max_examples=8, deadline=None)
def test_what_is_built_is_verified_in_any_order(count: int, random: Any) -> None:
    built = build_list(chunks(count), profile=1)
    nodes = list(built.nodes)
    random.shuffle(nodes)
    whole = built.root if count == 1 else WHOLE
    verifier = ListVerifier.for_file(built.root, count * MIB, whole)
    assert verify_list(verifier, nodes) == built.chunks
    assert verifier.complete
    assert verifier.nodes() == built.nodes


def test_the_list_of_a_table_states_its_size() -> None:
    for count in (1, 2):
        built = build_list([chunk(i, 7) for i in range(count)], profile=1, table=True)
        assert verify_list(ListVerifier.for_table(ContentId(built.root)), built.nodes).size == 7 * count


def test_nodes_are_wanted_top_down_and_once() -> None:
    third = inner([FULL, FULL, FULL, LAST])
    verifier = of_root(third)
    assert verifier.wanted() == [digest(third.encode())]
    with pytest.raises(NodeError, match="1 nodes missing"):
        verifier.chunks()
    verifier.add(third.encode())
    assert verifier.wanted() == [digest(FULL.encode()), digest(LAST.encode())]
    verifier.add(LAST.encode())
    verifier.add(FULL.encode())
    assert verifier.wanted() == []
    found = verifier.chunks()
    assert len(found) == 3 * MAX_NODE_ENTRIES + 2
    assert found.size == third.length
    assert verifier.nodes() == (third.encode(), FULL.encode(), LAST.encode())


def test_an_empty_file_and_a_single_chunk_need_no_node() -> None:
    empty = ListVerifier.for_file(EMPTY_DIGEST, 0, EMPTY_DIGEST)
    assert (empty.complete, len(empty.chunks()), empty.nodes()) == (True, 0, ())
    single = ListVerifier.for_file(WHOLE, MAX_CHUNK, WHOLE)
    assert (single.complete, single.nodes()) == (True, ())
    assert (single.chunks().hash(0), single.chunks().length(0)) == (WHOLE, MAX_CHUNK)


@pytest.mark.parametrize(
    ("root", "size", "whole"),
    [
        (WHOLE, MAX_CHUNK + 1, WHOLE),
        (WHOLE, 0, WHOLE),
        (WHOLE, -1, WHOLE),
        (EMPTY_DIGEST, 1, EMPTY_DIGEST),
        (WHOLE, 0, EMPTY_DIGEST),
        (EMPTY_DIGEST, 0, WHOLE),
    ],
)
def test_a_root_that_contradicts_size_or_hash(root: Digest, size: int, whole: Digest) -> None:
    with pytest.raises(NodeError, match="contradicts"):
        ListVerifier.for_file(root, size, whole)


SMALL = leaf(chunks(2))
SHORT = leaf(chunks(MAX_NODE_ENTRIES - 1))
WRONG_ROOTS = {
    "a length that is not the file's": (of_root(ROOT, ROOT.length - 1), ROOT, "bytes for a stream"),
    "one chunk in a node": (of_root(leaf([chunk(1)])), leaf([chunk(1)]), "one chunk"),
    "too many chunks": (
        of_root(inner([FULL] * (MAX_STREAM_CHUNKS // MAX_NODE_ENTRIES + 1))),
        inner([FULL] * (MAX_STREAM_CHUNKS // MAX_NODE_ENTRIES + 1)),
        "at least 4194305",
    ),
}


@pytest.mark.parametrize("name", WRONG_ROOTS)
def test_a_wrong_root_is_refused_and_changes_nothing(name: str) -> None:
    verifier, root, match = WRONG_ROOTS[name]
    wanted = verifier.wanted()
    with pytest.raises(NodeError, match=match):
        verifier.add(root.encode())
    assert verifier.wanted() == wanted


def test_one_node_with_two_lengths() -> None:
    name = digest(LAST.encode())
    root = Node(1, 1, 30, struct.pack("<32sQ32sQ", name, 10, name, 20))
    with pytest.raises(NodeError, match="two lengths"):
        of_root(root).add(root.encode())


def test_a_table_beyond_its_limit() -> None:
    count = MAX_TABLE // MIB + 1
    built = build_list(chunks(count), profile=1, table=True)
    with pytest.raises(NodeError, match="bytes for a stream"):
        ListVerifier.for_table(ContentId(built.root)).add(built.nodes[0])


def promised(child: Node, length: int) -> bytes:
    return struct.pack("<32sQ", digest(child.encode()), length)


WRONG_LEAVES = {
    "not full": (inner([SHORT, LAST]), SHORT, "not the last of its level"),
    "another profile": (inner([FULL, LAST], profile=2), FULL, "profiles 2 and 1"),
    "another level": (inner([FULL, inner([LAST, SMALL])]), inner([LAST, SMALL]), "level 1 where a leaf"),
    "another length": (
        Node(1, 1, FULL.length + 1, promised(FULL, FULL.length - 1) + promised(LAST, 2)),
        FULL,
        "bytes where",
    ),
}


@pytest.mark.parametrize("name", WRONG_LEAVES)
def test_a_wrong_leaf_is_refused_and_changes_nothing(name: str) -> None:
    root, child, match = WRONG_LEAVES[name]
    verifier = of_root(root)
    verifier.add(root.encode())
    wanted = verifier.wanted()
    with pytest.raises(NodeError, match=match):
        verifier.add(child.encode())
    assert verifier.wanted() == wanted


def test_a_node_twice_or_unasked_for() -> None:
    verifier = of_root(ROOT)
    with pytest.raises(NodeError, match="nobody asked"):
        verifier.add(FULL.encode())
    verifier.add(ROOT.encode())
    with pytest.raises(NodeError, match="nobody asked"):
        verifier.add(ROOT.encode())
    verifier.add(LAST.encode())
    with pytest.raises(NodeError, match="nobody asked"):
        verifier.add(LAST.encode())


@pytest.mark.parametrize(
    ("nodes", "match"),
    [
        ([ROOT, FULL], "1 nodes missing"),
        ([FULL, LAST], "do not belong"),
        ([ROOT, FULL, LAST, LAST], "twice"),
        ([ROOT, FULL, LAST, SHORT], "do not belong"),
        ([], "1 nodes missing"),
    ],
)
def test_a_list_with_wrong_nodes(nodes: list[Node], match: str) -> None:
    with pytest.raises(NodeError, match=match):
        verify_list(of_root(ROOT), [node.encode() for node in nodes])


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_changed_byte_is_never_believed(data: st.DataObject) -> None:
    node = bytearray(LAST.encode())
    at = data.draw(st.integers(0, len(node) - 1))
    node[at] ^= data.draw(st.integers(1, 255))
    verifier = of_root(LAST)
    with pytest.raises(NodeError):
        verifier.add(bytes(node))
    assert not verifier.complete


@given(st.binary(max_size=120))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_a_node_or_a_node_error(tail: bytes) -> None:
    for data in (tail, b"samaraCL\x01\x00\x01\x00" + tail):
        try:
            node = Node.decode(data)
        except NodeError:
            continue
        assert node.encode() == data


def test_too_many_chunks_cannot_be_built() -> None:
    flat = ChunkList(struct.pack("<32sI", *chunk(0, 1)) * (MAX_STREAM_CHUNKS + 1))
    with pytest.raises(NodeError, match="at most 4194304"):
        build_list(flat, profile=1)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30))
def test_a_flat_list_knows_where_each_chunk_is(lengths: list[int]) -> None:
    flat = build_list([chunk(i, length) for i, length in enumerate(lengths)], profile=1).chunks
    assert (len(flat), flat.size) == (len(lengths), sum(lengths))
    for index, length in enumerate(lengths):
        assert (flat.hash(index), flat.length(index)) == chunk(index, length)
        assert flat.offset(index) == sum(lengths[:index])
        assert {flat.at(flat.offset(index)), flat.at(flat.offset(index) + length - 1)} == {index}


@pytest.mark.parametrize("index", [-1, 2])
def test_a_flat_list_has_no_chunk_beyond_its_ends(index: int) -> None:
    flat = build_list(chunks(2), profile=1).chunks
    for ask in (flat.hash, flat.length, flat.offset):
        with pytest.raises(IndexError):
            ask(index)
    with pytest.raises(IndexError):
        flat.at(index * MIB)


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=30),
    st.data(),
)
def test_runs_of_a_flat_list_are_what_its_chunks_are(lengths: list[int], data: st.DataObject) -> None:
    pieces = [bytes([number]) * length for number, length in enumerate(lengths)]
    chunks = ChunkList(b"".join(digest(piece) + len(piece).to_bytes(4, "little") for piece in pieces))
    first = data.draw(st.integers(0, len(pieces) - 1))
    count = data.draw(st.integers(1, len(pieces) - first))
    run = pieces[first : first + count]
    assert chunks.lengths(first, count) == [len(piece) for piece in run]
    assert chunks.lengths(first, 100) == [len(piece) for piece in pieces[first:]]
    assert chunks.bytes_of(first, count) == sum(map(len, run))
    assert chunks.bytes_of(first, 100) == sum(map(len, pieces[first:]))
    most = data.draw(st.integers(0, 400))
    assert chunks.fitting(first, count, most) == sum(1 for n in range(count) if sum(map(len, run[: n + 1])) <= most)

    whole = bytearray(b"".join(run))
    assert chunks.count_right(memoryview(whole), first, count) == count
    assert chunks.count_right(memoryview(whole + b"more"), first, count) == count
    place = data.draw(st.integers(0, len(whole) - 1))
    before = sum(1 for n in range(count) if sum(map(len, run[: n + 1])) <= place)
    assert chunks.count_right(memoryview(whole)[:place], first, count) == before
    whole[place] ^= 1
    assert chunks.count_right(memoryview(whole), first, count) == before
    with pytest.raises(IndexError):
        chunks.count_right(memoryview(whole), first, len(pieces) + 1)
