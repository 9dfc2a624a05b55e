"""Which chunks are whose, where several fetch the same of one who has it all: all compute it alike, without a word.

A chunk's *block* is a function of its stream and index alone, and so is the block's *slot*, one of 256. The slot is the
member's that has the highest score in it, and scores are drawn from peer ids: rendezvous hashing. So two who know the
same members agree, whatever each has already; who knows one more differs in what is that one's only.

It decides nothing: what is another's is asked for later, not never (specs/scheduler.md, "Division").

Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM Trans. Networking 6 (1998).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, final

from samara.protocol.ids import digest
from samara.protocol.scheduler.ledger import Ledger

__all__ = ["Division"]

_SLOTS: Final = 256

_BLOCKS: Final = ((0, 8), (1024, 32), (4096, 128))
"""From which index of a stream on, how many chunks make a block. A small content, too, has some blocks for each; those
of a large one are long, since no run is longer than its block."""

_STREAMS: Final = 32
"""Streams that are divided alike, so that a run of small files is one block."""


@final
class Division:
    """Whose the wanted chunks are.

    Args:
        ledger: The wanted chunks.

    Attributes:
        own: Our peer id.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.own = ""
        self._ledger = ledger
        self._members: frozenset[str] = frozenset()
        self._patterns = (0,) * len(
            _BLOCKS
        )  # for each size of blocks, what is ours of a round of all slots: a bit a chunk

    @property
    def members(self) -> frozenset[str]:
        """Those who share with us; we are not among them."""
        return self._members

    def share_with(self, members: Iterable[str]) -> None:
        """Divide anew."""
        self._members = frozenset(members)
        theirs = [_scores(name) for name in self._members]
        ours = _scores(self.own)
        owned = [all(ours[slot] >= scores[slot] for scores in theirs) for slot in range(_SLOTS)]
        self._patterns = tuple(_pattern(owned, chunks) for _, chunks in _BLOCKS)

    def ours(self, position: int, count: int) -> int:
        """Return which of `count` positions from `position` on are ours, as bits."""
        mask = offset = 0
        for stream, first, width in self._ledger.spans(position, count):
            mask |= self._of_stream(stream, first, width) << offset
            offset += width
        return mask

    def _of_stream(self, stream: int, first: int, width: int) -> int:
        turn = stream // _STREAMS * 37  # so that the first block of each is not one member's
        mask, end = 0, first + width
        for number, (begin, chunks) in enumerate(_BLOCKS):
            until = _BLOCKS[number + 1][0] if number + 1 < len(_BLOCKS) else end
            start, stop = max(first, begin), min(end, until)
            if start < stop:
                mask |= _cut(self._patterns[number], chunks, turn, start, stop - start) << start - first
        return mask


def _scores(member: str) -> list[tuple[int, str]]:
    """Return what a member scores in each slot; the id decides between equals."""
    scores: list[tuple[int, str]] = []
    number = 0
    while len(scores) < _SLOTS:
        drawn = digest(f"{number} {member}".encode())
        scores += ((int.from_bytes(drawn[at : at + 4], "big"), member) for at in range(0, len(drawn), 4))
        number += 1
    return scores


def _pattern(owned: list[bool], chunks: int) -> int:
    """Return a bit for each chunk of a round of slots: set for those that are owned."""
    block = b"\xff" * (chunks // 8)
    return int.from_bytes(b"".join(block if is_owned else bytes(len(block)) for is_owned in owned), "little")


def _cut(pattern: int, chunks: int, turn: int, first: int, width: int) -> int:
    """Return `width` bits of a pattern that goes on and on, from the chunk `first` of a stream on."""
    period = chunks * _SLOTS
    start = (first + turn * chunks) % period
    cut, have = pattern >> start, period - start
    while have < width:
        cut |= pattern << have
        have += period
    return cut & ((1 << width) - 1)
