"""Runs of chunks that lie beside each other, so that a stick is read in long strokes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from samara.protocol.chunklist import ChunkList
from samara.protocol.limits import MIB

__all__ = ["runs"]

_RUN: Final = 8 * MIB
"""Bytes of one stroke: enough for a medium to stream, and small beside the memory of a node."""


def runs(chunks: ChunkList, indexes: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, end) of runs of consecutive chunks, of at most 8 MiB or one chunk each.

    Args:
        chunks: The list.
        indexes: Which chunks, ascending.
    """
    first = end = -1
    for index in indexes:
        if index != end or chunks.offset(index) + chunks.length(index) - chunks.offset(first) > _RUN:
            if first >= 0:
                yield first, end
            first = index
        end = index + 1
    if first >= 0:
        yield first, end
