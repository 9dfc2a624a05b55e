"""Rows of bits, one a chunk or a file, the lowest of each byte first (specs/exchange.md, "Availability")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

__all__ = ["clear_runs", "is_set", "row", "set_run"]

_AT_ONCE: Final = 4096
"""Bits that are looked at as one number: shifting a row of millions for each of its runs would take minutes."""


def row(count: int) -> bytearray:
    """Return `count` bits, all clear."""
    return bytearray((count + 7) // 8)


def is_set(bits: bytes | bytearray, index: int) -> bool:
    """Whether a bit is set."""
    return bool(bits[index >> 3] >> (index & 7) & 1)


def set_run(bits: bytearray, first: int, count: int = 1) -> None:
    """Set `count` bits from `first` on."""
    start, end = first >> 3, (first + count + 7) >> 3
    part = int.from_bytes(bits[start:end], "little") | ((1 << count) - 1) << (first & 7)
    bits[start:end] = part.to_bytes(end - start, "little")


def clear_runs(bits: bytes | bytearray, first: int, count: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of bits that are clear among `count` from `first` on: the first of each, and how many."""
    start = length = 0
    for at in range(first, first + count, _AT_ONCE):
        for begin, more in _clear_runs(bits, at, min(_AT_ONCE, first + count - at)):
            if length and begin == start + length:
                length += more
                continue
            if length:
                yield start, length
            start, length = begin, more
    if length:
        yield start, length


def _clear_runs(bits: bytes | bytearray, first: int, count: int) -> Iterator[tuple[int, int]]:
    part = int.from_bytes(bits[first >> 3 : (first + count + 7) >> 3], "little") >> (first & 7)
    free = ~part & ((1 << count) - 1)
    while free:
        skip = (free & -free).bit_length() - 1
        length = ((free >> skip) ^ ((free >> skip) + 1)).bit_length() - 1
        yield first + skip, length
        free >>= skip + length
        first += skip + length
