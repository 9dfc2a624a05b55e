"""Which chunks are asked for to see how small they come, and what is made of the answers."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samara.node.fetch.estimate import MOST, SHARE, Gauge, Part, choose, part_of
from samara.protocol.chunklist import ChunkList, build_list
from samara.protocol.ids import digest

KIB = 1024


def chunks_of(*lengths: int) -> ChunkList:
    return build_list([(digest(bytes([n % 256])), length) for n, length in enumerate(lengths)], profile=1).chunks


def whole(path: str, stream: int, *lengths: int) -> Part:
    return part_of(path, stream, chunks_of(*lengths), range(len(lengths)))


def test_the_kind_is_the_ending_of_the_name() -> None:
    names = {"a/model.SafeTensors": "safetensors", "v1.2/LICENSE": "license", "data.tar.gz": "gz"}
    assert {path: whole(path, 1, 10).kind for path in names} == names


def test_what_is_missing_counts_and_nothing_else() -> None:
    part = part_of("x.bin", 3, chunks_of(*range(1, 101)), [4, 50, 99])
    assert part.needed == 5 + 51 + 100
    assert [(sample.stream, sample.index, sample.length) for sample in part.samples] == [
        (3, 4, 5),
        (3, 50, 51),
        (3, 99, 100),
    ]
    assert part_of("x.bin", 3, chunks_of(10), []).samples == []
    assert choose([part_of("x.bin", 3, chunks_of(10), [])]) == []
    assert choose([]) == []


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c", "txt", "gguf"]), st.lists(st.integers(1, 1024 * KIB), max_size=120)),
        max_size=12,
    )
)
def test_it_is_bounded_whatever_is_missing(files: Sequence[tuple[str, list[int]]]) -> None:
    parts = [whole(f"x.{kind}", n, *lengths) for n, (kind, lengths) in enumerate(files, 1) if lengths]
    chosen = choose(parts)
    total = sum(part.needed for part in parts)
    assert len(chosen) <= MOST
    assert len({(sample.stream, sample.index) for sample in chosen}) == len(chosen)
    assert len(chosen) == 1 or sum(sample.length for sample in chosen) <= total // SHARE
    assert bool(chosen) == bool(parts)


def test_each_kind_has_its_turn_the_largest_first_and_spread() -> None:
    parts = [
        whole("a.txt", 1, *[64 * KIB] * 200),
        whole("b.gguf", 2, *[64 * KIB] * 600),
        whole("c.gguf", 3, *[64 * KIB] * 600),
        whole("d.png", 4, *[64 * KIB] * 100),
    ]
    chosen = choose(parts)
    assert [sample.kind for sample in chosen] == ["gguf"] * 6 + ["txt", "png"]
    weights = [(sample.stream, sample.index) for sample in chosen[:6]]
    assert {stream for stream, _ in weights} == {2, 3}
    assert weights == sorted(weights)
    gaps = [index for stream, index in weights if stream == 2]
    assert all(100 < b - a < 300 for a, b in itertools.pairwise(gaps))


def test_one_chunk_is_asked_for_however_little_is_missing() -> None:
    assert len(choose([whole("a.txt", 1, 10, 20, 30), whole("b.md", 2, 5)])) == 1


@pytest.mark.parametrize("kinds", [9, 40])
def test_of_many_kinds_those_of_which_most_is_missing(kinds: int) -> None:
    parts = [whole(f"x.{n}", n, *[1000] * (10 * n)) for n in range(1, kinds + 1)]
    random.Random(1).shuffle(parts)
    assert [int(sample.kind) for sample in choose(parts)] == list(range(kinds, kinds - MOST, -1))


def test_a_kind_shrinks_as_its_samples_do() -> None:
    weights, text, unknown, none = (
        whole("a.gguf", 1, *[1000] * 10),
        whole("b.txt", 2, *[100] * 10),
        whole("c.png", 3, 7),
        part_of("d.gguf", 4, chunks_of(7), []),
    )
    gauge = Gauge()
    assert [gauge.estimate(part) for part in (weights, text, unknown, none)] == [None, None, None, 0]
    gauge.add(weights.samples[0], 500, encoded=True)
    gauge.add(weights.samples[1], 700, encoded=True)
    gauge.add(text.samples[0], 100, encoded=False)
    assert [gauge.estimate(part) for part in (weights, text, unknown, none)] == [6000, 1000, None, 0]


def test_what_came_raw_before_anything_came_encoded_says_nothing() -> None:
    weights = whole("a.gguf", 1, *[1000] * 10)
    gauge = Gauge()
    gauge.add(weights.samples[0], 1000, encoded=False)
    assert gauge.estimate(weights) is None
    gauge.add(weights.samples[1], 500, encoded=True)
    assert gauge.estimate(weights) == 5000
    gauge.add(weights.samples[2], 1000, encoded=False)
    assert gauge.estimate(weights) == 7500


def test_a_payload_that_is_longer_than_its_chunk_is_a_lie_and_makes_nothing_dearer() -> None:
    weights = whole("a.gguf", 1, *[1000] * 10)
    gauge = Gauge()
    gauge.add(weights.samples[0], 1_000_000, encoded=True)
    assert gauge.estimate(weights) == weights.needed
