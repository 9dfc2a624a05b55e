"""Planes into parts and back: whole, or folded, and each part packed where that pays.

In a delta nearly all bytes of a plane are below 16, or below 4. An entropy coder by bytes spends at least a bit on
each, and where most weights have not moved, that is most of what a delta costs. Folded, two or four of them share a
byte: a fraction of a bit for each, and less to code. What is above the fold travels beside it, as a part that is nearly
all zero.

Source: specs/encodings.md §4.3.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from samara.protocol.encodings.frames import pack_plane, unpack
from samara.protocol.encodings.header import Fold, Part, Plane
from samara.protocol.errors import EncodingError
from samara.protocol.limits import KIB

__all__ = ["Array", "fold_for", "pack", "unfold"]

Array: TypeAlias = npt.NDArray[Any]

_WORTH: Final = 98
"""Per cent of a part that its frame may have at most: to unpack for less costs more than it saves."""

_SAMPLE: Final = 8 * KIB
"""Bytes of a plane on which the folds are tried: enough to tell them apart, and little beside the plane."""


def fold_for(plane: Array) -> Fold:
    """Return the fold that makes a plane of a delta smallest, as far as a stretch in its middle tells."""
    if not plane.any():  # one run, however it is folded
        return Fold.WHOLE
    start = max(0, len(plane) - _SAMPLE) // 2
    sample = plane[start : start + _SAMPLE]
    best, size = Fold.WHOLE, _SAMPLE
    for fold in Fold:
        found = sum(len(part.data) for part in pack(sample, fold).parts)
        if found >= size:  # what does not fit into half a byte, does not fit into a quarter
            break
        best, size = fold, found
    return best


def pack(plane: Array, fold: Fold) -> Plane:
    """Return a plane, contiguous bytes, as it is to lie in a payload."""
    parts = (_folded(plane, fold), plane >> fold.bits) if fold else (plane,)
    return Plane(fold, tuple(map(_part, parts)))


def unfold(plane: Plane) -> Array:
    """Return the bytes of a plane.

    Raises:
        EncodingError: A frame is not one of that length, or bits are set that no plane has.
    """
    low, *above = map(_bytes, plane.parts)
    if not above:
        return low
    (high,), fold = above, plane.fold
    highest = int(high.max())
    if highest >> (8 - fold.bits):
        raise EncodingError(f"more above a fold at {fold.bits} bits than a byte has")
    whole = _spread(low, fold)
    if whole[len(high) :].any():
        raise EncodingError("a plane whose spare bits are set")
    whole = whole[: len(high)]
    if highest:
        whole |= high << fold.bits
    return whole


def _part(data: Array) -> Part:
    frame = pack_plane(data.data)
    worth = len(frame) * 100 <= len(data) * _WORTH
    return Part(frame if worth else data.data, len(data), worth)


def _bytes(part: Part) -> Array:
    return np.frombuffer(unpack(memoryview(part.data), part.length) if part.packed else part.data, "u1")


def _folded(plane: Array, fold: Fold) -> Array:
    """Return the low bits of 2 or 4 bytes in one, the first in the lowest bits."""
    spare = -len(plane) % (1 << fold)
    whole = np.concatenate((plane, np.zeros(spare, "u1"))) if spare else plane
    if fold is Fold.HALVES:
        pairs = whole.view("<u2") & 0x0F0F
        pairs |= pairs >> 4
        return pairs.astype("u1")
    fours = whole.view("<u4") & 0x03030303
    fours |= fours >> 6
    fours |= fours >> 12
    return fours.astype("u1")


def _spread(low: Array, fold: Fold) -> Array:
    """Return the opposite of `_folded`, spare bytes included."""
    if fold is Fold.HALVES:
        pairs = low.astype("<u2")
        pairs |= pairs << 4
        pairs &= 0x0F0F
        return pairs.view("u1")
    fours = low.astype("<u4")
    fours |= fours << 12
    fours &= 0x000F000F
    fours |= fours << 6
    fours &= 0x03030303
    return fours.view("u1")
