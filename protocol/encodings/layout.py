"""Where the words of a chunk lie: what an encoder is told, and what a payload states.

A chunk restarts at each tensor, but it may begin and end inside a word of one: a block of Q8_0 has 34 bytes, and 34
does not divide 1 MiB. So a layout says where the first whole word is; what comes before it, and the rest after the last
whole word, are no words and travel as they are.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from samara.protocol.limits import MAX_PLANES

__all__ = ["BLOCK_FIELDS", "WordLayout", "Words"]


@final
class Words(enum.IntEnum):
    """What kind of words; the number is the one in a payload (specs/encodings.md §4)."""

    INT8 = 1
    FLOAT8 = 2
    FLOAT16 = 3
    """IEEE half precision and bfloat16 alike: sign above exponent above mantissa is all that matters here."""
    FLOAT32 = 4
    BLOCKS = 5
    """Quantized weights: a word is a block of several fields, each of some bytes."""


_SIZES: Final[Mapping[Words, int]] = {Words.INT8: 1, Words.FLOAT8: 1, Words.FLOAT16: 2, Words.FLOAT32: 4}

_DTYPES: Final[Mapping[str, Words]] = {
    "I8": Words.INT8,
    "U8": Words.INT8,
    "F8_E4M3": Words.FLOAT8,
    "F8_E5M2": Words.FLOAT8,
    "F16": Words.FLOAT16,
    "BF16": Words.FLOAT16,
    "F32": Words.FLOAT32,
}

BLOCK_FIELDS: Final[Mapping[str, tuple[int, ...]]] = {
    "Q4_0": (1, 1, 16),
    "Q4_1": (1, 1, 1, 1, 16),
    "Q5_0": (1, 1, 4, 16),
    "Q5_1": (1, 1, 1, 1, 4, 16),
    "Q8_0": (1, 1, 32),
    "Q2_K": (16, 64, 1, 1, 1, 1),
    "Q3_K": (32, 64, 12, 1, 1),
    "Q4_K": (1, 1, 1, 1, 12, 128),
    "Q5_K": (1, 1, 1, 1, 12, 32, 128),
    "Q6_K": (128, 64, 16, 1, 1),
    "IQ4_NL": (1, 1, 16),
    "MXFP4": (1, 16),
}
"""Bytes of each field of a block, by the name of its tensor type: scales (their low and their high byte), then quants.

Source: ggml's `ggml-common.h`.
"""


@final
@dataclass(frozen=True, slots=True)
class WordLayout:
    """Words of one kind, one after another, from some byte of a chunk to its end.

    Args:
        words: Their kind.
        start: Bytes before the first whole word.
        fields: Bytes of each field of a block, 1 to 255; empty unless the words are blocks.

    Raises:
        ValueError: It is none (specs/encodings.md §4).
    """

    words: Words
    start: int = 0
    fields: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.start < 0:
            raise ValueError(f"words that begin at {self.start}")
        if (self.words is Words.BLOCKS) != bool(self.fields):
            raise ValueError(f"{self.words.name} with {len(self.fields)} fields")
        if len(self.fields) > MAX_PLANES or not all(0 < width < 256 for width in self.fields):
            raise ValueError(f"{len(self.fields)} fields: at most {MAX_PLANES}, each of 1 to 255 bytes")

    @classmethod
    def of(cls, dtype: str, offset: int = 0) -> WordLayout | None:
        """Return the layout of a chunk of a tensor; None for a type of which nothing is known here.

        Args:
            dtype: The type's name, as safetensors or GGUF write it.
            offset: Bytes of the tensor before the chunk.
        """
        words, fields = _DTYPES.get(dtype, Words.BLOCKS), BLOCK_FIELDS.get(dtype, ())
        if words is Words.BLOCKS and not fields:
            return None
        layout = cls(words, 0, fields)
        return cls(words, -offset % layout.size, fields)

    @property
    def widths(self) -> tuple[int, ...]:
        """Bytes that one word gives to each plane."""
        return self.fields or (1,) * _SIZES[self.words]

    @property
    def size(self) -> int:
        """Bytes of one word."""
        return sum(self.widths)

    def count(self, length: int) -> int:
        """Return how many whole words a chunk of `length` bytes has; 0 or less when it has none."""
        return (length - self.start) // self.size
