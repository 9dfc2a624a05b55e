"""Encoding 2: how the words of a chunk differ from those of a chunk that the receiver holds, in byte planes.

A fine-tune moves most weights by a few units of their last place. Mapped so that their order as numbers is that of the
values they stand for, a small step is a small difference, also across zero and across a power of two; and zigzag puts
small differences of both signs into the low byte. All of it is modulo the word's size, and so a bijection: no word is
beyond it, be it NaN, infinity or minus zero.

Source: specs/encodings.md §6.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from samara.protocol.encodings.folds import Array, fold_for
from samara.protocol.encodings.frames import Buffer
from samara.protocol.encodings.layout import WordLayout, Words
from samara.protocol.encodings.planes import join, pack, words_of
from samara.protocol.errors import EncodingError

__all__ = ["decode", "differences", "encode", "restore"]

_FLOATS: Final = frozenset({Words.FLOAT8, Words.FLOAT16, Words.FLOAT32})


def encode(raw: Buffer, layout: WordLayout, base: Buffer) -> bytes | None:
    """Return the payload of a chunk, however long it is; None when the chunk has no whole word.

    Raises:
        EncodingError: The base has another length.
    """
    _fits(base, len(raw))
    count = layout.count(len(raw))
    if count < 1:
        return None
    told = differences(words_of(raw, layout, count), words_of(base, layout, count), layout.words)
    return pack(raw, layout, told, fold_for)


def decode(payload: memoryview, length: int, base: Buffer) -> bytearray:
    """Return the chunk.

    Args:
        payload: All of it.
        length: Bytes of the chunk.
        base: The chunk that it is a delta to; its bytes are those of the hash that was named.

    Raises:
        EncodingError: The payload is not that of any chunk of that length, or the base has another length.
    """
    _fits(base, length)
    out, layout, words = join(payload, length)
    restore(words, words_of(base, layout, len(words) * words.itemsize // layout.size), layout.words)
    return out


def differences(words: Array, base: Array, kind: Words) -> Array:
    """Return the zigzag of how unsigned words differ from those of the base, modulo their size."""
    if kind in _FLOATS:
        told = _ordered(words)
        told -= _ordered(base)
    else:
        told = words - base
    signed = _signed(told)
    sign = signed >> _top(told)
    signed <<= 1
    signed ^= sign
    return told


def restore(told: Array, base: Array, kind: Words) -> None:
    """Turn such differences into the words that they were made of, where they lie."""
    sign = told & 1
    np.negative(sign, out=sign)
    told >>= 1
    told ^= sign
    if kind not in _FLOATS:
        told += base
        return
    told += _ordered(base)
    signed = _signed(told)
    flip = signed >> _top(told)
    flip ^= -1
    flip |= _lowest(told)
    signed ^= flip


def _ordered(words: Array) -> Array:
    """Return words whose order as unsigned numbers is that of the floats: all bits of negative ones are turned, and the
    sign of the others.
    """
    signed = _signed(words)
    flip = signed >> _top(words)
    flip |= _lowest(words)
    flip ^= signed
    return flip.view(words.dtype)


def _signed(words: Array) -> Array:
    return words.view(words.dtype.str.replace("u", "i"))


def _top(words: Array) -> int:
    """Return the place of the highest bit."""
    return 8 * words.itemsize - 1


def _lowest(words: Array) -> int:
    """Return the signed number of which only the highest bit is set."""
    return -1 << _top(words)


def _fits(base: Buffer, length: int) -> None:
    if len(base) != length:
        raise EncodingError(
            f"a delta to a chunk of {len(base)} bytes, for one of {length}: only the same length is one"
        )
