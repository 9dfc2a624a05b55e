"""Where words lie in a chunk."""

from __future__ import annotations

import pytest

from samara.protocol.encodings.layout import BLOCK_FIELDS, WordLayout, Words
from samara.protocol.formats.ggml_types import TENSOR_TYPES


def test_the_fields_of_a_block_are_the_block() -> None:
    sizes = {kind.name: kind.size for kind in TENSOR_TYPES.values()}
    assert {name: sum(fields) for name, fields in BLOCK_FIELDS.items()} == {name: sizes[name] for name in BLOCK_FIELDS}


def test_a_chunk_begins_with_what_is_left_of_a_word() -> None:
    q8 = WordLayout.of("Q8_0", 3 << 20)
    assert q8 == WordLayout(Words.BLOCKS, -(3 << 20) % 34, (1, 1, 32))
    assert (3 * (1 << 20) + q8.start) % 34 == 0
    assert WordLayout.of("BF16", 5) == WordLayout(Words.FLOAT16, 1)
    assert WordLayout.of("F32", 1 << 20) == WordLayout(Words.FLOAT32, 0)
    assert WordLayout.of("F8_E4M3", 7) == WordLayout(Words.FLOAT8, 0)


def test_a_type_of_which_nothing_is_known_has_none() -> None:
    assert WordLayout.of("I64") is None
    assert WordLayout.of("") is None


def test_words_are_counted_whole() -> None:
    layout = WordLayout(Words.FLOAT32, 3)
    assert [layout.count(length) for length in (0, 3, 6, 7, 10, 11)] == [-1, 0, 0, 1, 1, 2]


@pytest.mark.parametrize(
    ("words", "start", "fields"),
    [
        (Words.FLOAT16, -1, ()),
        (Words.FLOAT16, 0, (1, 1)),
        (Words.BLOCKS, 0, ()),
        (Words.BLOCKS, 0, (1,) * 17),
        (Words.BLOCKS, 0, (1, 0)),
        (Words.BLOCKS, 0, (256,)),
        (Words.BLOCKS, 0, (-1, 3)),
    ],
)
def test_a_layout_that_is_none(words: Words, start: int, fields: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"words|fields"):
        WordLayout(words, start, fields)
