"""Who could be asked for what: free chunks, and their copies among the known peers, 4096 positions at a time.

A set of positions is a Python integer with one bit each, so that one operation of the interpreter works on 4096 chunks.
The number of copies of every chunk is kept *bit-sliced*: plane k holds bit k of all 4096 counts. Adding a peer's claims
is a ripple carry over the planes, and the rarest of any set are found by going down them: both cost a handful of
operations, whatever the counts are. Rejected: a heap of chunks for each peer, 50 million entries for 50 peers
and a million chunks.

Source: bit-sliced indexes, O'Neil and Quass, "Improved query performance with variant indexes", SIGMOD 1997.
"""

from __future__ import annotations

from typing import Final, final

__all__ = ["FULL", "PAGE", "SHIFT", "Page", "lowest"]

SHIFT: Final = 12
PAGE: Final = 1 << SHIFT
"""Positions of a page: an operation on 512 bytes costs little more than the interpreter's step around it."""

FULL: Final = (1 << PAGE) - 1


@final
class Page:
    """4096 consecutive positions.

    Attributes:
        known: Positions that exist.
        free: Chunks that are missing and asked of nobody.
        starts: First positions of segments that do not follow the one before: no run goes across one.
    """

    __slots__ = ("_planes", "free", "known", "starts")

    def __init__(self) -> None:
        self.known = 0
        self.free = 0
        self.starts = 0
        self._planes: list[int] = []

    def add(self, mask: int) -> None:
        """Count one more copy of the chunks in `mask`."""
        planes = self._planes
        for k, plane in enumerate(planes):
            if not mask:
                return
            planes[k] = plane ^ mask
            mask &= plane
        if mask:
            planes.append(mask)

    def subtract(self, mask: int) -> None:
        """Count one copy less of the chunks in `mask`, each of which has one."""
        planes = self._planes
        for k, plane in enumerate(planes):
            if not mask:
                break
            planes[k] = plane ^ mask
            mask &= planes[k]
        while planes and not planes[-1]:
            planes.pop()

    def begin(self, mask: int, copies: int) -> None:
        """Make the chunks in `mask` known and free, each with so many copies; they had none."""
        self.known |= mask
        self.free |= mask
        planes = self._planes
        while copies >> len(planes):
            planes.append(0)
        for k in range(copies.bit_length()):
            if copies >> k & 1:
                planes[k] |= mask

    def claimed(self) -> int:
        """Return the chunks that have at least one copy."""
        mask = 0
        for plane in self._planes:
            mask |= plane
        return mask

    def rarest(self, mask: int) -> tuple[int, int]:
        """Return those of `mask` (not empty) that have the fewest copies, and how many these are."""
        copies = 0
        planes = self._planes
        for k in range(len(planes) - 1, -1, -1):
            common = mask & planes[k]
            if common == mask:
                copies |= 1 << k
            else:
                mask ^= common
        return mask, copies

    def at_most(self, offset: int, mask: int, copies: int) -> int:
        """Return those of a small `mask`, whose bit 0 is the position `offset`, that have at most so many copies."""
        fewer, equal = 0, mask
        planes = self._planes
        if copies >> len(planes):
            return mask
        for k in range(len(planes) - 1, -1, -1):
            common = equal & (planes[k] >> offset)
            if copies >> k & 1:
                fewer |= equal ^ common
                equal = common
            else:
                equal ^= common
        return fewer | equal


def lowest(mask: int) -> int:
    """Return the position of the lowest bit of `mask`, which is not 0."""
    return (mask & -mask).bit_length() - 1
