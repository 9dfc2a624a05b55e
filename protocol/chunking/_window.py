"""A bounded view that moves forward over a header, for the two structural rules.

Invariants: it holds at most `_STEP` plus one token's bytes, whatever the header claims; what is skipped is never read;
a header that ends too early, for whatever reason, is `BrokenRuleError`. No one outside of this package sees that error.
"""

from __future__ import annotations

from typing import Final, final

from samara.protocol.chunking.layout import ReadAt
from samara.protocol.limits import KIB

__all__ = ["BrokenRuleError", "Window"]

_STEP: Final = 256 * KIB


class BrokenRuleError(Exception):
    """The file is not of the form that the rule describes; it is cut as generic."""


@final
class Window:
    """Bytes `[start, end)` of a file, read forward.

    `data` is what is held now and `pos` is where the reader stands in it. Both may be used directly by a tight loop,
    which must leave `pos` at or below `len(data)`.
    """

    __slots__ = ("_base", "_end", "_read_at", "data", "pos")

    def __init__(self, read_at: ReadAt, start: int, end: int) -> None:
        self._read_at = read_at
        self._base = start
        self._end = end
        self.data = b""
        self.pos = 0

    @property
    def offset(self) -> int:
        """Where the reader stands, as an offset in the file."""
        return self._base + self.pos

    @property
    def left(self) -> int:
        """Bytes from the reader to the end of the range, held or not."""
        return self._end - self.offset

    def fill(self, wanted: int) -> int:
        """Hold `wanted` bytes from `pos` on, or all that is left; return how many are held.

        Raises:
            BrokenRuleError: The file is shorter than it was said to be.
        """
        held = len(self.data) - self.pos
        missing = min(wanted, self.left) - held
        if missing <= 0:
            return held
        length = min(max(missing, _STEP), self.left - held)
        piece = self._read_at(self.offset + held, length)
        if len(piece) != length:
            raise BrokenRuleError("the file ends before its size")
        self._base += self.pos
        self.data = self.data[self.pos :] + piece
        self.pos = 0
        return held + length

    def take(self, length: int) -> bytes:
        """Return the next `length` bytes; the caller has bounded `length`.

        Raises:
            BrokenRuleError: Fewer are left.
        """
        if self.fill(length) < length:
            raise BrokenRuleError(f"{length} bytes wanted, {self.left} left")
        self.pos += length
        return self.data[self.pos - length : self.pos]

    def skip(self, length: int) -> None:
        """Go on by `length` bytes, which may be any number at all.

        Raises:
            BrokenRuleError: Fewer are left.
        """
        if length > self.left:
            raise BrokenRuleError(f"{length} bytes to skip, {self.left} left")
        self.pos += length
        if self.pos > len(self.data):
            self._base += self.pos
            self.data, self.pos = b"", 0

    def uint(self, width: int) -> int:
        """Return the next little-endian unsigned integer of `width` bytes.

        Raises:
            BrokenRuleError: Fewer bytes are left.
        """
        if len(self.data) - self.pos < width:
            return int.from_bytes(self.take(width), "little")
        self.pos += width
        return int.from_bytes(self.data[self.pos - width : self.pos], "little")
