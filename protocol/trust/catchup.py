"""What to ask one peer of one log, until it can tell nothing more (specs/exchange.md, "GET_LOG").

    catchup = CatchUp()
    while (first := catchup.first(newest, gaps)) is not None:
        page = ask(root, first); take(page); catchup.heard(page)  # and `newest` and `gaps` are what is known now

First what is beyond the newest record that is known here, which also shows the peer's checkpoint; then the gaps. No
position is asked from twice, so a peer that brings nothing, or a little each time, is soon done with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from samara.protocol.limits import MAX_LOG_PAGES, MAX_POSITION
from samara.protocol.ports import LogPage

__all__ = ["CatchUp"]


@final
class CatchUp:
    """The questions to one peer about one publisher."""

    def __init__(self) -> None:
        self._asked: set[int] = set()
        self._theirs: int | None = None

    def first(self, newest: int, gaps: Sequence[tuple[int, int]]) -> int | None:
        """Return the position from which to ask next; None when there is nothing more to ask.

        Args:
            newest: The position of the newest record that is known here; 0 when there is none.
            gaps: The first and last position of each gap below it.
        """
        if len(self._asked) >= MAX_LOG_PAGES:
            return None
        wanted = [start for start, _ in gaps]
        if self._theirs is None or self._theirs > newest:
            wanted.insert(0, min(newest + 1, MAX_POSITION))
        first = next((position for position in wanted if position not in self._asked), None)
        if first is not None:
            self._asked.add(first)
        return first

    def heard(self, page: LogPage) -> None:
        """Take note of an answer."""
        self._theirs = page.newest
