"""Rows of bits, against lists of booleans."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from samara.node.store.bits import clear_runs, is_set, row, set_run

runs = st.lists(st.tuples(st.integers(0, 9000), st.integers(1, 300)), max_size=20)


@given(runs, st.integers(0, 9300), st.integers(0, 9400))
def test_runs_are_what_a_look_at_each_bit_finds(filled: list[tuple[int, int]], first: int, count: int) -> None:
    bits, plain = row(20_000), [False] * 20_000
    for start, length in filled:
        set_run(bits, start, length)
        plain[start : start + length] = [True] * length
    assert [is_set(bits, index) for index in range(len(plain))] == plain
    found = list(clear_runs(bits, first, count))
    assert [index for start, length in found for index in range(start, start + length)] == [
        index for index in range(first, first + count) if not plain[index]
    ]
    assert all(start + length < after for (start, length), (after, _) in itertools.pairwise(found))


def test_what_lies_beyond_a_row_is_clear() -> None:
    bits = row(8)
    set_run(bits, 0, 8)
    assert list(clear_runs(bits, 0, 20)) == [(8, 12)]
    assert list(clear_runs(b"", 3, 5)) == [(3, 5)]
    assert not list(clear_runs(b"", 3, 0))
