"""Encoding 1: the words of weights in byte planes, each packed alone.

The exponents of weights are few and their mantissas are noise. In a float the exponent shares its bytes with the sign
and the mantissa; with the sign moved to the low end, the high byte of bfloat16 and of single precision is the exponent
and nothing else. Nothing is searched for: an entropy coder over each plane is all that helps.

Source: specs/encodings.md §5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np

from samara.protocol.encodings import folds, header
from samara.protocol.encodings.folds import Array
from samara.protocol.encodings.frames import Buffer
from samara.protocol.encodings.header import Fold, Plane
from samara.protocol.encodings.layout import WordLayout, Words

__all__ = ["decode", "encode", "join", "pack", "words_of"]

_DTYPES: Final[Mapping[Words, np.dtype[Any]]] = {
    Words.INT8: np.dtype("u1"),
    Words.FLOAT8: np.dtype("u1"),
    Words.FLOAT16: np.dtype("<u2"),
    Words.FLOAT32: np.dtype("<u4"),
    Words.BLOCKS: np.dtype("u1"),
}


def encode(raw: Buffer, layout: WordLayout) -> bytes | None:
    """Return the payload of a chunk, however long it is; None when the chunk has no whole word."""
    count = layout.count(len(raw))
    if count < 1:
        return None
    words = words_of(raw, layout, count)
    return pack(raw, layout, _rotated(words, 1) if words.itemsize > 1 else words, lambda _: Fold.WHOLE)


def decode(payload: memoryview, length: int) -> bytearray:
    """Return the chunk.

    Args:
        payload: All of it.
        length: Bytes of the chunk.

    Raises:
        EncodingError: The payload is not that of any chunk of that length.
    """
    out, _, words = join(payload, length)
    if words.itemsize > 1:
        words[:] = _rotated(words, 8 * words.itemsize - 1)
    return out


def words_of(buffer: Buffer, layout: WordLayout, count: int) -> Array:
    """Return the words of a chunk where they lie, unsigned; the bytes of blocks one by one."""
    dtype = _DTYPES[layout.words]
    return np.frombuffer(buffer, dtype, count * layout.size // dtype.itemsize, layout.start)


def pack(raw: Buffer, layout: WordLayout, words: Array, fold: Callable[[Array], Fold]) -> bytes:
    """Return a payload of words that stand for those of a chunk.

    Args:
        raw: The chunk: of its bytes only those that are in no whole word are taken.
        layout: Where its words lie.
        words: What `words_of` gives, of the same length.
        fold: Says of a plane how it is folded.
    """
    planes = [folds.pack(plane, fold(plane)) for plane in _split(words, layout)]
    outside, end = memoryview(raw), layout.start + words.nbytes
    parts = (part.data for plane in planes for part in plane.parts)
    return b"".join((header.write(layout, planes), outside[: layout.start], outside[end:], *parts))


def join(payload: memoryview, length: int) -> tuple[bytearray, WordLayout, Array]:
    """Put what is in a payload to its places in a chunk: the opposite of `pack`.

    Returns:
        The chunk, its layout, and the words in it, which the caller has still to turn into those of the chunk.

    Raises:
        EncodingError: The payload is not that of any chunk of that length.
    """
    told = header.read(payload, length)
    layout, out = told.layout, bytearray(length)
    out[: layout.start] = told.head
    out[length - len(told.tail) :] = told.tail
    words = words_of(out, layout, told.count)
    if words.itemsize > 1:
        _join_words(words, told.planes)
    else:
        _join_fields(words.reshape(told.count, layout.size), told.planes, layout.widths)
    return out, layout, words


def _rotated(words: Array, left: int) -> Array:
    """Return words whose bits are turned towards the high end."""
    turned = words << left
    turned |= words >> (8 * words.itemsize - left)
    return turned


def _split(words: Array, layout: WordLayout) -> Iterator[Array]:
    """Yield the planes, that of the lowest byte or the first field first."""
    if words.itemsize > 1:
        for place in range(words.itemsize):
            plane = np.empty(len(words), "u1")
            np.right_shift(words, 8 * place, out=plane, casting="same_kind")
            yield plane
        return
    rows, at = words.reshape(-1, layout.size), 0
    for width in layout.widths:
        yield np.ascontiguousarray(rows[:, at : at + width]).reshape(-1)
        at += width


def _join_words(words: Array, planes: tuple[Plane, ...]) -> None:
    """Make words of their bytes, the highest first."""
    words[:] = folds.unfold(planes[-1])
    for plane in planes[-2::-1]:
        words <<= 8
        words |= folds.unfold(plane)


def _join_fields(rows: Array, planes: tuple[Plane, ...], widths: tuple[int, ...]) -> None:
    at = 0
    for plane, width in zip(planes, widths, strict=True):
        rows[:, at : at + width] = folds.unfold(plane).reshape(-1, width)
        at += width
