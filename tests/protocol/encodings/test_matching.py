"""What a chunk is made of, and where its like lies."""

from __future__ import annotations

import pytest

from samara.protocol.encodings.layout import WordLayout, Words
from samara.protocol.encodings.matching import counterpart, layout_of
from samara.protocol.formats.tensors import Tensor, TensorMap


def file(*tensors: tuple[str, str, int, int], container: str = "safetensors") -> TensorMap:
    return TensorMap(container, [Tensor(name, kind, (end - start,), start, end) for name, kind, start, end in tensors])


MODEL = file(("a", "BF16", 100, 2100), ("b", "BF16", 2100, 2200), ("c", "BF16", 2200, 2400), ("d", "F32", 2400, 2800))


@pytest.mark.parametrize(
    ("start", "end", "layout"),
    [
        (100, 1100, WordLayout(Words.FLOAT16)),
        (1101, 2100, WordLayout(Words.FLOAT16, 1)),
        (2100, 2400, WordLayout(Words.FLOAT16)),
        (96, 300, WordLayout(Words.FLOAT16)),
        (95, 300, WordLayout(Words.FLOAT16, 1)),
        (2300, 2500, None),
        (2402, 2800, WordLayout(Words.FLOAT32, 2)),
        (0, 100, None),
        (2800, 2900, None),
    ],
)
def test_the_words_of_a_chunk(start: int, end: int, layout: WordLayout | None) -> None:
    assert layout_of(MODEL, start, end) == layout


def test_tensors_that_share_a_chunk_and_are_out_of_step_have_no_layout() -> None:
    odd = file(("a", "BF16", 0, 10), ("b", "BF16", 11, 21))
    assert layout_of(odd, 0, 21) is None
    assert layout_of(odd, 11, 21) == WordLayout(Words.FLOAT16)


def test_a_type_of_which_nothing_is_known_has_no_layout() -> None:
    assert layout_of(file(("a", "C64", 0, 80)), 0, 80) is None


def test_blocks_are_counted_from_the_begin_of_their_tensor() -> None:
    blocks = file(("a", "Q8_0", 64, 64 + 34 * 100), container="gguf")
    found = layout_of(blocks, 64 + 1024, 64 + 2048)
    assert found is not None
    assert found.start == -1024 % 34


@pytest.mark.parametrize(
    ("start", "end", "offset"),
    [(100, 1100, 5000), (1100, 2100, 6000), (2100, 2400, 300), (90, 200, 4990), (0, 100, None), (2400, 2800, None)],
)
def test_the_like_of_a_chunk_is_at_the_same_place_of_the_same_tensor(start: int, end: int, offset: int | None) -> None:
    base = file(("a", "BF16", 5000, 7000), ("b", "BF16", 300, 400), ("d", "F16", 0, 200))
    assert counterpart(MODEL, start, end, base) == offset


def test_another_container_or_shape_or_a_place_before_the_file_has_no_like() -> None:
    assert counterpart(MODEL, 100, 200, file(("a", "BF16", 100, 2100), container="gguf")) is None
    assert counterpart(MODEL, 100, 200, file(("a", "BF16", 100, 2102))) is None
    assert counterpart(MODEL, 90, 200, file(("a", "BF16", 5, 2005))) is None
