"""How long to wait for a peer that moves too little.

Patience is time: it starts at a window, is spent by waiting, and is earned back by bytes that move. A peer that moves
nothing has one window; one that moves at the asked rate is waited for without end; in between it runs out later. There
is no grid of windows that an honest peer could fall between.

Source: specs/exchange.md, "Time".
"""

from __future__ import annotations

from typing import final

from samara.protocol.limits import PROGRESS_RATE, PROGRESS_WINDOW

__all__ = ["Patience"]


@final
class Patience:
    """The patience that is left with one peer.

    Args:
        window: Seconds that it starts with, and that it never exceeds.
        rate: Bytes that earn one second.
    """

    def __init__(self, window: float = PROGRESS_WINDOW, rate: float = PROGRESS_RATE) -> None:
        self._window = window
        self._rate = rate
        self._left = window

    def allow(self, pending: int = 0) -> float:
        """Return the seconds to wait from now, for a step in which `pending` bytes must move."""
        return max(self._left, 0.0) + pending / self._rate

    def spend(self, seconds: float, moved: int) -> None:
        """Take note that `moved` bytes took `seconds` of waiting."""
        self._left = min(self._left - seconds + moved / self._rate, self._window)

    def renew(self) -> None:
        """Start again: something was brought to its end."""
        self._left = self._window
