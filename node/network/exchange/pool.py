"""Buffers for payloads, used again: fresh memory costs more than the bytes that are put there.

Whoever is done with a payload may give it back; what nobody gives back is freed like anything else.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final, final

from samara.protocol import limits

__all__ = ["BufferPool"]

_LEAST: Final = 16 * limits.KIB
_MOST_KEPT: Final = 16 * limits.MIB


@final
class BufferPool:
    """Buffers by size, the one that was given back last first: it is in the processor's cache."""

    def __init__(self) -> None:
        self._free: defaultdict[int, list[bytearray]] = defaultdict(list)
        self._kept = 0

    def take(self, size: int) -> memoryview:
        """Return a buffer of `size` bytes, whatever they are."""
        room = max(_LEAST, 1 << (size - 1).bit_length()) if size > 1 else _LEAST
        if self._free[room]:
            self._kept -= room
            return memoryview(self._free[room].pop())[:size]
        return memoryview(bytearray(room))[:size]

    def give(self, buffer: memoryview | bytearray) -> None:
        """Take back what `take` gave; nobody may use it any more. Anything else is ignored."""
        whole = buffer.obj if isinstance(buffer, memoryview) else buffer
        if not isinstance(whole, bytearray) or len(whole) & (len(whole) - 1) or len(whole) < _LEAST:
            return
        if self._kept + len(whole) <= _MOST_KEPT:
            self._kept += len(whole)
            self._free[len(whole)].append(whole)
