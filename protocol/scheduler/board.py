"""All pages, all claims, and the search for the next run that one peer can be asked for.

For each peer and page a *bound* is kept: no free chunk of the page that the peer claims has fewer copies than it says.
What is given out, or claimed by more, only raises the truth, so bounds are corrected when a search meets them, and not
before; what lowers the truth (work given back, a peer that leaves) lowers the bounds at once. A search is then a `find`
of the lowest bound in a bytearray, and a look at one page.

A board may be *divided*: of whom that claims everything, only those chunks are found then that are ours, or that a peer
in part claims too. The others are *reserved*: for fetchers who are to get them and to pass them on.

It knows positions, not streams; and claims, not peers.

Source: specs/scheduler.md, "Choice".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias, final

from samara.protocol.limits import MAX_RUN
from samara.protocol.scheduler.pages import FULL, PAGE, SHIFT, Page, lowest

__all__ = ["Board", "Claims", "Ours"]

Ours: TypeAlias = Callable[[int, int], int]
"""Says which of so many positions, from one on, are ours, as bits."""

_NOTHING: Final = 255
"""Bound of a page in which there is nothing free for a peer."""

_MOST: Final = 254
"""Bound for this many copies and more: they are all alike."""

_FEWER: Final = bytes([0, *range(254), _NOTHING])
"""Translates bounds after one copy was lost: one lower, and nothing stays nothing."""

_DRAWS: Final = 8
"""Draws until the next one in order is taken: where one in four is as rare, nine of ten jumps go to one of these."""

_32_BITS: Final = (1 << 32) - 1
_RUN: Final = (1 << MAX_RUN) - 1
_OFFSET: Final = PAGE - 1


@final
class Claims:
    """What one peer claims, by page. It belongs to a board; -1, which has all bits, stands for everything."""

    __slots__ = ("bound", "cursor", "have", "level", "rest")

    def __init__(self, cursor: int) -> None:
        self.cursor = cursor  # where its next run begins, if it can
        self.have: list[int] = []
        self.rest = 0  # what it claims of pages to come: 0 or -1
        self.bound = bytearray()
        self.level = 0  # no bound is below this


@final
class Board:
    """The free chunks of a content and who claims them.

    Args:
        rotate: Where, as a part of 2³² of what is known, runs begin among equally rare chunks; and what else is drawn.
    """

    def __init__(self, rotate: int = 0) -> None:
        self._rotate = self._random = rotate & _32_BITS
        self._pages: list[Page] = []
        self._is_open = bytearray()  # 1 for each page that has something free
        self._claims: list[Claims] = []
        self._everything = 0  # how many claims have `rest`
        self._has_holes = False  # one that has `rest` lacks something all the same
        self._ours: Ours | None = None
        self._our_masks: dict[int, int] = {}  # by page, as far as they were needed
        self._start = 0
        self._drawn = 0  # how many positions were known when the start was drawn
        self._size = 0

    # Claims

    def join(self) -> Claims:
        """Return the claims of one more peer: nothing yet."""
        claims = Claims(self._start)
        claims.have = [0] * len(self._pages)
        claims.bound = bytearray([_NOTHING]) * len(self._pages)
        claims.level = _NOTHING
        self._claims.append(claims)
        return claims

    def leave(self, claims: Claims) -> None:
        """Forget a peer's claims."""
        self.claim_rest(claims, everything=False)
        for number in range(len(self._pages)):
            self.claim(claims, number, FULL, 0)
        self._claims.remove(claims)

    def claim_rest(self, claims: Claims, *, everything: bool) -> None:
        """Say whether a peer claims all positions that are not known yet."""
        self._everything += everything - (claims.rest != 0)
        claims.rest = -1 if everything else 0
        for number, page in enumerate(self._pages[-1:], start=len(self._pages) - 1):
            claims.have[number] = (claims.have[number] & page.known) | (claims.rest & ~page.known)

    def claim(self, claims: Claims, number: int, within: int, mask: int) -> None:
        """Let the claims of page `number`, as far as they lie in `within`, be `mask`."""
        page = self._pages[number]
        old = claims.have[number]
        new = (old & ~within) | (mask & within)
        if new == old:
            return
        changed = (old ^ new) & page.known
        claims.have[number] = -1 if new & FULL == FULL else new
        if gained := changed & new:
            page.add(gained)
            self._lower(claims, number)
            if self._ours is not None:  # what was reserved may be so no more
                self._lower_all(number, 0 if self._has_holes else self._everything + 1)
        if lost := changed & old:
            page.subtract(lost)
            self._has_holes = self._has_holes or claims.rest != 0
            for other in self._claims:
                other.bound[number] = _FEWER[other.bound[number]]
                other.level = min(other.level, other.bound[number])

    def holds(self, claims: Claims, position: int, width: int) -> int:
        """Return which of `width` positions from `position` on, all in one page, are claimed, as bits."""
        return (claims.have[position >> SHIFT] >> (position & _OFFSET)) & ((1 << width) - 1)

    def count(self, claims: Claims) -> int:
        """Return how many of the known positions are claimed."""
        return sum((have & page.known).bit_count() for have, page in zip(claims.have, self._pages, strict=True))

    # Division

    def divide(self, ours: Ours | None) -> None:
        """Reserve what is not ours, and what nobody in part claims; or nothing any more, without `ours`."""
        self._ours = ours
        self._our_masks = {}
        for number in range(len(self._pages)):
            self._lower_all(number, 0 if self._has_holes else self._everything)

    @property
    def is_divided(self) -> bool:
        """Something may be reserved."""
        return self._ours is not None

    def _ours_of(self, number: int) -> int:
        if self._ours is None:
            return FULL
        if (mask := self._our_masks.get(number)) is None:
            mask = self._our_masks[number] = self._ours(number << SHIFT, self._pages[number].known.bit_length())
        return mask

    def _askable(self, claims: Claims, number: int) -> int:
        """Return the free chunks of a page that a peer claims, without those that are reserved."""
        page = self._pages[number]
        mask = page.free & claims.have[number]
        if self._ours is None or not claims.rest or not mask:
            return mask
        ours = self._ours_of(number)
        return mask & ~(page.at_most(0, mask & ~ours, self._everything))

    # Chunks

    def grow(self, position: int, count: int, *, joined: bool = False) -> None:
        """Add a segment: `count` free chunks from `position` on, which follows the last one known.

        Args:
            position: Its first position.
            count: How many.
            joined: A run may go over from the one before into this one.
        """
        self._size = position + count
        is_start = not joined
        for number, offset, width in split(position, count):
            if number == len(self._pages):
                self._add_page()
            mask = ((1 << width) - 1) << offset
            page = self._pages[number]
            page.begin(mask, self._everything)
            page.starts |= is_start << offset
            is_start = False
            self._our_masks.pop(number, None)
            self._reopen(number)

    def take(self, position: int, count: int) -> None:
        """Let chunks, all in one page, not be free any more."""
        number, offset = position >> SHIFT, position & _OFFSET
        page = self._pages[number]
        page.free &= ~(((1 << count) - 1) << offset)
        if not page.free:
            self._is_open[number] = 0

    def give_back(self, position: int, mask: int) -> None:
        """Free chunks again; bit 0 of `mask` is `position`, and all are in one page."""
        if mask:
            number = position >> SHIFT
            self._pages[number].free |= mask << (position & _OFFSET)
            self._reopen(number)

    def is_free(self, position: int) -> bool:
        """Say whether a chunk is free."""
        return bool(self._pages[position >> SHIFT].free >> (position & _OFFSET) & 1)

    @property
    def wholes(self) -> int:
        """How many peers claim everything."""
        return self._everything

    def is_free_somewhere(self) -> bool:
        """Say whether any peer claims any free chunk."""
        number = self._is_open.find(1)
        while number >= 0:
            page = self._pages[number]
            if page.free & page.claimed():
                return True
            number = self._is_open.find(1, number + 1)
        return False

    # Search

    def find(self, claims: Claims) -> tuple[int, int] | None:
        """Return the next run that a peer could be asked for.

        Returns:
            Its first position and its count, at most `MAX_RUN` and in one page; None when nothing is free for it.
        """
        if self._size >= 2 * self._drawn and self._size:
            self._drawn = self._size
            self._start = self._rotate * self._size >> 32
            for each in self._claims:
                each.cursor = self._start
        while claims.level < _NOTHING:
            number = self._next_page(claims)
            if number < 0:
                claims.level = min(claims.bound, default=_NOTHING)
                continue
            page = self._pages[number]
            mask = self._askable(claims, number)
            if not mask:
                claims.bound[number] = _NOTHING
                continue
            rarest, copies = page.rarest(mask)
            bound = claims.bound[number] = min(copies, _MOST)
            if bound <= claims.level:
                if self._ours is not None and claims.rest:  # none of it is another's: it is read forwards
                    return self._run(claims, number, mask, rarest, max(copies, self._everything))
                if (number, rarest >> (claims.cursor & _OFFSET) & 1) != (claims.cursor >> SHIFT, 1):
                    number = self._jump(claims, number, copies)
                    mask = self._pages[number].free & claims.have[number]
                    rarest, _ = self._pages[number].rarest(mask)
                return self._run(claims, number, mask, rarest, 2 * copies)
        return None

    def move_on(self, claims: Claims, position: int) -> None:
        """Say where the last run that a peer was given ended: its next one begins there, if it can."""
        claims.cursor = position if position < self._size else 0

    def _jump(self, claims: Claims, number: int, copies: int) -> int:
        """Draw where a peer's runs go on among those that are as rare, and return the page.

        The next one in order would be just behind what another fetcher has and says that it has: at what it is about to
        get, so that two fetchers would go on side by side and get the same.
        """
        for _ in range(_DRAWS):
            self._random = (self._random * 1664525 + 1013904223) & _32_BITS
            position = self._random * self._size >> 32
            drawn, bit = position >> SHIFT, 1 << (position & _OFFSET)
            page = self._pages[drawn]
            if page.free & claims.have[drawn] & bit and page.rarest(bit)[1] == copies:
                claims.cursor = position
                return drawn
        return number

    def _next_page(self, claims: Claims) -> int:
        start = claims.cursor >> SHIFT
        number = claims.bound.find(claims.level, start)
        return number if number >= 0 else claims.bound.find(claims.level, 0, start)

    def _run(self, claims: Claims, number: int, mask: int, rarest: int, most: int) -> tuple[int, int]:
        page = self._pages[number]
        offset = claims.cursor & _OFFSET if number == claims.cursor >> SHIFT else 0
        ahead = rarest >> offset
        offset = offset + lowest(ahead) if ahead else lowest(rarest)
        run = page.at_most(offset, (mask >> offset) & _RUN, most)
        run &= ~((page.starts >> (offset + 1)) << 1)
        return (number << SHIFT) + offset, lowest(~run)

    def _add_page(self) -> None:
        self._pages.append(Page())
        self._is_open.append(0)
        for claims in self._claims:
            claims.have.append(claims.rest)
            claims.bound.append(_NOTHING)

    def _reopen(self, number: int) -> None:
        self._is_open[number] = 1
        for claims in self._claims:
            self._lower(claims, number)

    def _lower_all(self, number: int, copies: int) -> None:
        """Let those who claim everything look again at a page, where nothing has fewer copies than this."""
        for claims in self._claims:
            if claims.rest:
                claims.bound[number] = min(claims.bound[number], copies, _MOST)
                claims.level = min(claims.level, claims.bound[number])

    @staticmethod
    def _lower(claims: Claims, number: int) -> None:
        claims.bound[number] = claims.level = 0


def split(position: int, count: int) -> list[tuple[int, int, int]]:
    """Return (page, offset, width) for each page that `count` positions from `position` on lie in."""
    parts = []
    while count:
        width = min(count, PAGE - (position & _OFFSET))
        parts.append((position >> SHIFT, position & _OFFSET, width))
        position += width
        count -= width
    return parts
