"""Cuts depend on the bytes and the page that defines them: not on how bytes arrive, nor on who implements FastCDC."""

from __future__ import annotations

import struct
from array import array

import pyfastcdc.py
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reference

from samara.protocol.chunking import fastcdc
from samara.protocol.chunking.cutter import Cutter
from samara.protocol.chunking.layout import Kind, Layout, generic
from samara.protocol.chunking.profile import cut_bytes
from samara.protocol.limits import MAX_CHUNK

KIB = 1 << 10
BYTES = blake3(b"cutter").digest(length=1_200_000)


def pieces(data: bytes, sizes: list[int]) -> list[memoryview]:
    """Cut `data` into blocks of these sizes, over and over."""
    view, at, blocks = memoryview(data), 0, []
    while at < len(data):
        for size in sizes:
            blocks.append(view[at : at + size])
            at += size
    return blocks


def streamed(data: bytes, plan: Layout, sizes: list[int]) -> list[int]:
    cutter = Cutter(plan)
    ends = [end for block in pieces(data, sizes) for end in cutter.feed(block)]
    return ends + cutter.finish()


def test_the_gear_table_is_the_one_of_the_specification() -> None:
    packed = struct.pack("<256Q", *reference.GEAR)
    assert blake3(packed).hexdigest() in (reference.VECTORS.parents[1] / "content.md").read_text()


@given(st.integers(0, 500_000), st.integers(0, 600_000), st.integers(1, 64))
@settings(max_examples=12, deadline=None)
def test_fastcdc_is_the_slow_reference(start: int, length: int, repeats: int) -> None:
    data = (BYTES[start : start + length] * repeats)[:length]
    assert cut_bytes(data, generic(length)) == reference.cut_header(data)


@pytest.mark.parametrize("odd", [0, 1])
def test_a_last_odd_byte_is_not_looked_at(odd: int) -> None:
    """A match at the last byte of a region counts only if that byte is at an even distance from the end."""
    ends = reference.cut_header(BYTES[:400_000])
    for end in ends[:3]:
        data = BYTES[: end + 1 + odd]
        assert cut_bytes(data, generic(len(data))) == reference.cut_header(data)


# At least one block of some size among tiny ones, so that a megabyte is not a million blocks.
SIZES = st.lists(st.integers(1, 400_000), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) >= 20_000)


@given(st.integers(0, len(BYTES)), SIZES)
@settings(max_examples=50, deadline=None)
def test_any_split_of_a_generic_stream_is_cut_alike(length: int, sizes: list[int]) -> None:
    data = BYTES[:length]
    assert streamed(data, generic(length), sizes) == cut_bytes(data, generic(length))


@pytest.mark.parametrize(("step", "length"), [(1, 300_001), (2, 300_000), (3, 300_001)])
def test_tiny_blocks_are_cut_alike_and_in_time(step: int, length: int) -> None:
    data = BYTES[:length]
    assert streamed(data, generic(length), [step]) == cut_bytes(data, generic(length))


def test_blocks_that_end_at_a_cut() -> None:
    ends = cut_bytes(BYTES, generic(len(BYTES)))
    for shift in (-2, -1, 0, 1, 2):
        cutter, found, at = Cutter(generic(len(BYTES))), [], 0
        for end in [*(end + shift for end in ends[:-1]), len(BYTES)]:
            found += cutter.feed(memoryview(BYTES)[at:end])
            at = end
        assert found + cutter.finish() == ends


STARTS = st.lists(st.sampled_from([1, 5, 65_535, 65_536, 65_537, 100_000, 262_144, 1_048_576, 1_100_000]), max_size=12)


@given(st.integers(0, 200_000), STARTS, SIZES)
@settings(max_examples=40, deadline=None)
def test_any_split_of_a_structured_stream_is_cut_alike(header: int, segments: list[int], sizes: list[int]) -> None:
    starts, at = array("Q"), header
    for segment in segments:
        starts.append(at)
        at += segment
    plan = Layout(Kind.GGUF, at, header, starts)
    data = (BYTES * (at // len(BYTES) + 1))[:at]
    ends = cut_bytes(data, plan)
    assert streamed(data, plan, sizes) == ends
    lengths = [b - a for a, b in zip([0, *ends], ends, strict=False)]
    assert sum(lengths) == at
    assert all(1 <= length <= MAX_CHUNK for length in lengths)


def test_the_pure_python_fallback_is_cut_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    data = BYTES[:700_001]
    ends = cut_bytes(data, generic(len(data)))
    slow = pyfastcdc.py.FastCDC(fastcdc.AVERAGE, min_size=fastcdc.MIN, max_size=fastcdc.MAX, normalized_chunking=1)
    monkeypatch.setattr(fastcdc, "_CUTTER", slow)
    assert cut_bytes(data, generic(len(data))) == ends
    assert streamed(data, generic(len(data)), [100_000]) == ends


def test_a_decision_waits_for_no_more_than_a_longest_chunk() -> None:
    cutter = Cutter(generic(1 << 20))
    zeros = memoryview(bytes(fastcdc.MAX))
    assert cutter.feed(zeros[:-1]) == []
    assert cutter.feed(zeros[:1]) == [fastcdc.MAX]


@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_too_many_bytes_and_too_few_are_refused(size: int) -> None:
    cutter = Cutter(generic(size))
    with pytest.raises(ValueError, match=f"more than {size} bytes"):
        cutter.feed(memoryview(bytes(size + 1)))
    if size:
        with pytest.raises(ValueError, match=f"0 of {size} bytes"):
            Cutter(generic(size)).finish()
