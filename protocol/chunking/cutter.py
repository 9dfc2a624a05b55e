"""Chunk boundaries from one sequential pass over a file, in blocks of any size.

Invariants: the boundaries depend on the bytes and the layout, never on how the bytes were split into blocks; at most
`fastcdc.MAX` bytes of earlier blocks are kept. The data region needs no bytes at all, so there feeding is only
counting.
"""

from __future__ import annotations

from typing import final

from samara.protocol.chunking import fastcdc
from samara.protocol.chunking.layout import Layout

__all__ = ["Cutter"]


@final
class Cutter:
    """Feed it a file from its first byte to its last; it says where chunks end, at most `fastcdc.MAX` bytes later."""

    def __init__(self, plan: Layout) -> None:
        self._plan = plan
        self._fed = 0
        self._cut = 0  # end of the last chunk of the header region
        self._pending = bytearray()  # bytes of the header region from `_cut` on that came in earlier blocks
        self._data_ends = plan.data_ends()
        self._next = next(self._data_ends, None)

    def feed(self, block: memoryview) -> list[int]:
        """Take the next bytes.

        Args:
            block: At least one byte, or none; it is not kept.

        Returns:
            The offsets in the file at which further chunks end, ascending; all of them when the file is fed whole.

        Raises:
            ValueError: More bytes than the layout's size: the caller's bug, or a file that grew.
        """
        if self._fed + len(block) > self._plan.size:
            raise ValueError(f"more than {self._plan.size} bytes")
        ends: list[int] = []
        inside = self._plan.header - self._fed
        if inside > 0:
            self._feed_header(block[:inside], ends, last=len(block) >= inside)
        self._fed += len(block)
        while self._next is not None and self._next <= self._fed:
            ends.append(self._next)
            self._next = next(self._data_ends, None)
        return ends

    def finish(self) -> list[int]:
        """Say that the file has ended; nothing is left to be decided then.

        Raises:
            ValueError: Fewer bytes than the layout's size were fed: the caller's bug, or a file that shrank.
        """
        if self._fed != self._plan.size:
            raise ValueError(f"{self._fed} of {self._plan.size} bytes")
        return []

    def _feed_header(self, block: memoryview, ends: list[int], *, last: bool) -> None:
        """Cut the part of the header region that `block` brings; `last` when the region ends with it."""
        start = 0  # in `block`: where the undecided chunk begins
        if self._pending:
            start = self._settle_pending(block, ends, last=last)
            if self._pending:
                return
        for length in fastcdc.cut(block[start:], last=last):
            start += length
            self._cut += length
            ends.append(self._cut)
        self._pending += block[start:]

    def _settle_pending(self, block: memoryview, ends: list[int], *, last: bool) -> int:
        """Cut what waits, with as much of `block` as that can take; return where `block` goes on.

        Only a chunk's worth is copied: the big rest of a block is cut in place. Small blocks are gathered until any
        chunk can be decided, else each of them would cost a scan from the start of the chunk.
        """
        held = len(self._pending)
        lent = min(len(block), fastcdc.MAX)
        self._pending += block[:lent]
        if len(self._pending) < fastcdc.MAX and not last:
            return 0
        done = 0
        with memoryview(self._pending) as view:
            for length in fastcdc.cut(view, last=last and lent == len(block)):
                # A chunk that begins in `block` is cut there, with all that follows in sight.
                if done >= held:
                    break
                done += length
                self._cut += length
                ends.append(self._cut)
        if done >= held:
            self._pending.clear()
            return done - held
        del self._pending[:done]
        return 0
