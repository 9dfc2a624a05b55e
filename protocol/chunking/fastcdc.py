"""FastCDC (2020) with the frozen parameters of profile 1: cuts where the content says so.

`pyfastcdc` does the work at memory speed and releases the GIL; a slow reference in the tests and the vectors hold it to
specs/content.md §5, whichever of its two implementations is installed. It cannot be resumed within a chunk, so a chunk
that is not decided yet is scanned again from its start: at most `MAX` bytes.
"""

from __future__ import annotations

from typing import Final

from pyfastcdc import FastCDC

from samara.protocol.limits import KIB

__all__ = ["AVERAGE", "MAX", "MIN", "cut"]

MIN: Final = 16 * KIB
"""Bytes below which no chunk ends, but at the end of its region."""

AVERAGE: Final = 64 * KIB
"""Bytes at which the mask becomes easier to meet."""

MAX: Final = 256 * KIB
"""Bytes of the longest chunk, and so the longest look ahead that a decision needs."""

# Level 1 gives the masks 0xd90703537000 (below AVERAGE) and 0xd90f03530000 (from there on). It holds no state of a cut.
_CUTTER: Final = FastCDC(AVERAGE, min_size=MIN, max_size=MAX, normalized_chunking=1)


def cut(data: memoryview, *, last: bool) -> list[int]:
    """Return the lengths of the chunks that `data` begins with.

    Args:
        data: Contiguous bytes of a region, from the start of a chunk.
        last: The region ends where `data` ends. If not, a chunk whose end is not decided by `data` is left out.

    Source: specs/content.md §5.
    """
    lengths: list[int] = []
    left = len(data)
    for chunk in _CUTTER.cut_buf(data):
        length = chunk.length
        # A cut before the end of what is there is a match, and stays one whatever follows; so is the longest chunk.
        if length == left and length < MAX and not last:
            break
        lengths.append(length)
        left -= length
    return lengths
