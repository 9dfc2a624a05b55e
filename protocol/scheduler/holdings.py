"""What one peer says that it holds, by stream, and how that becomes claims on the board.

What it says is kept as it said it (bits), because streams are added later than that. A claim that says the same again
changes nothing: it does not revive what the peer has meanwhile not found.

Source: specs/scheduler.md, "Claims".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import final

from samara.protocol.scheduler.board import Board, Claims, split
from samara.protocol.scheduler.ledger import Ledger
from samara.protocol.scheduler.pages import FULL

__all__ = ["Holdings"]


@final
class Holdings:
    """What one peer holds.

    Args:
        ledger: The wanted chunks.
        board: Where it claims them.

    Attributes:
        claims: Its claims on the board.
    """

    def __init__(self, ledger: Ledger, board: Board) -> None:
        self.claims: Claims = board.join()
        self._ledger = ledger
        self._board = board
        self._everything = False
        self._files: bytes | None = None  # None: it never said
        self._parts: dict[int, bytes | None] = {}  # None: all of that stream

    @property
    def everything(self) -> bool:
        """It said that it holds everything."""
        return self._everything

    @property
    def is_partial(self) -> bool:
        """It said what it holds, and it is not everything."""
        return not self._everything and (self._files is not None or bool(self._parts))

    def set_files(self, bits: bytes | None) -> None:
        """Take which files it holds whole: bit n − 1 is stream n; None: everything."""
        if bits is None:
            if not self._everything:
                self._everything = True
                self._board.claim_rest(self.claims, everything=True)
                self._claim_all(-1)
            return
        if self._everything:
            parts = self._parts
            self.clear()
            self._parts = parts
            self._files = bits
            self._reclaim(_streams(bits))
            self._reclaim(parts)
            self._reclaim([0])
            return
        before, self._files = self._files, bits
        self._reclaim(_streams(_difference(before or b"", bits)))
        if before is None:
            self._reclaim([0])

    def set_part(self, stream: int, bits: bytes | None) -> None:
        """Take which chunks of a stream it holds; None: all."""
        if stream in self._parts and self._parts[stream] == bits:
            return
        self._parts[stream] = bits
        if not self._everything:
            self._reclaim([stream])

    def added(self, stream: int) -> None:
        """Claim what it holds of a stream that was added just now."""
        if self._everything:
            return
        if self._holds_whole(stream) or self._parts.get(stream, b"") is None:
            for number, offset, width in split(*self._ledger.extent(stream)):
                mask = ((1 << width) - 1) << offset
                self._board.claim(self.claims, number, mask, mask)
        elif stream in self._parts:
            self._reclaim([stream])

    def lacks(self, position: int, mask: int) -> None:
        """Void the claims on positions in one page; bit 0 of `mask` is `position`."""
        for number, offset, _ in split(position, 1):
            self._board.claim(self.claims, number, mask << offset, 0)

    def clear(self) -> None:
        """Void all that it said."""
        self._board.claim_rest(self.claims, everything=False)
        self._claim_all(0)
        self._everything = False
        self._files = None
        self._parts = {}

    def leave(self) -> None:
        """Take the claims off the board."""
        self._board.leave(self.claims)

    def _claim_all(self, mask: int) -> None:
        for number in range(len(self.claims.have)):
            self._board.claim(self.claims, number, FULL, mask)

    def _holds_whole(self, stream: int) -> bool:
        if self._files is None:
            return False
        if stream == 0:
            return True  # who can say which files it holds, has the table
        number, bit = divmod(stream - 1, 8)
        return number < len(self._files) and bool(self._files[number] >> bit & 1)

    def _reclaim(self, streams: Iterable[int]) -> None:
        """Bring the board's claims on these streams in line with what was said."""
        within: dict[int, int] = {}
        masks: dict[int, int] = {}
        for position, count, raw, index in self._pieces(streams):
            for number, offset, width in split(position, count):
                ones = (1 << width) - 1
                within[number] = within.get(number, 0) | ones << offset
                if (held := ones if raw is None else _slice(raw, index, width)) != 0:
                    masks[number] = masks.get(number, 0) | held << offset
                index += width
        for number, mask in within.items():
            self._board.claim(self.claims, number, mask, masks.get(number, 0))

    def _pieces(self, streams: Iterable[int]) -> Iterator[tuple[int, int, bytes | None, int]]:
        """Yield (position, count, bits or None for all, index of the first); whole neighbours are one piece."""
        position = count = 0
        for stream in streams:
            raw = None if self._holds_whole(stream) else self._parts.get(stream, b"")
            if raw is not None:
                for segment in self._ledger.segments(stream):
                    yield segment.position, segment.width, raw, segment.first
                continue
            first, width = self._ledger.extent(stream)
            if first == position + count:
                count += width
            else:
                yield position, count, None, 0
                position, count = first, width
        yield position, count, None, 0


def _streams(bits: bytes) -> Iterator[int]:
    for number, byte in enumerate(bits):
        if byte:
            first = 8 * number + 1
            yield from (first + bit for bit in range(8) if byte >> bit & 1)


def _difference(before: bytes, after: bytes) -> bytes:
    size = max(len(before), len(after))
    return (int.from_bytes(before, "little") ^ int.from_bytes(after, "little")).to_bytes(size, "little")


def _slice(raw: bytes, first: int, count: int) -> int:
    part = int.from_bytes(raw[first >> 3 : (first + count + 7) >> 3], "little")
    return part >> (first & 7) & ((1 << count) - 1)
