"""The map of encoding 2 loses nothing, and makes small steps small."""

from __future__ import annotations

import numpy as np
import pytest

from samara.protocol.encodings.delta import differences, restore
from samara.protocol.encodings.layout import Words

HALF = np.arange(1 << 16, dtype="<u2")
EDGES = (0, 1, 0x7F7F, 0x7F80, 0x7FFF, 0x8000, 0x8001, 0xBF80, 0xFF80, 0xFFFF, 0x1234)


@pytest.mark.parametrize("held", EDGES)
def test_all_words_of_16_bits(held: int) -> None:
    base = np.full(1 << 16, held, "<u2")
    told = differences(HALF, base, Words.FLOAT16)
    assert np.array_equal(np.sort(told), HALF)
    restore(told, base, Words.FLOAT16)
    assert np.array_equal(told, HALF)


@pytest.mark.parametrize("kind", [Words.FLOAT8, Words.INT8, Words.BLOCKS])
def test_all_pairs_of_bytes(kind: Words) -> None:
    words, base = (axis.ravel() for axis in np.meshgrid(np.arange(256, dtype="u1"), np.arange(256, dtype="u1")))
    told = differences(words, base, kind)
    for held in range(256):
        assert len(np.unique(told[base == held])) == 256
    restore(told, base, kind)
    assert np.array_equal(told, words)


def test_words_of_32_bits() -> None:
    edges = np.array([a ^ b << 16 for a in EDGES for b in EDGES], "<u4")
    words = np.concatenate((edges, np.random.default_rng(1).integers(0, 1 << 32, 100_000, dtype="<u4")))
    for held in edges:
        base = np.full(len(words), held, "<u4")
        told = differences(words, base, Words.FLOAT32)
        restore(told, base, Words.FLOAT32)
        assert np.array_equal(told, words)


def test_a_step_to_the_next_float_is_the_smallest_difference() -> None:
    floats = HALF.view("<f2")
    floats = floats[(abs(floats) < np.finfo("f2").max) & (floats != 0)]  # there are two zeros
    for towards, told in ((np.inf, 2), (-np.inf, 1)):
        there = np.nextafter(floats, np.float16(towards))
        found = differences(there.view("<u2"), floats.view("<u2"), Words.FLOAT16)
        assert set(found[there != 0]) == {told}


def test_the_map_leaves_its_words_alone() -> None:
    words, base = HALF.copy(), HALF[::-1].copy()
    differences(words, base, Words.FLOAT16)
    assert np.array_equal(words, HALF)
    assert np.array_equal(base, HALF[::-1])
