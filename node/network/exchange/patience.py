"""How long to wait for a peer that moves too little.

Patience is time: it starts at a window, is spent by waiting, and is earned back by bytes that move. A peer that moves
nothing has one window; one that moves at the asked rate is waited for without end; in between it runs out later. There
is no grid of windows that an honest peer could fall between.

Source: specs/exchange.md, "Time".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import trio

from samara.protocol.limits import PROGRESS_RATE, PROGRESS_WINDOW

__all__ = ["Patience", "StallClock"]


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


@final
class StallClock:
    """Runs while a peer owes us something, less the time in which we held it back ourselves.

    Args:
        patience: With that peer.
        held_back: Returns the seconds so far that were our own doing.
    """

    def __init__(self, patience: Patience, held_back: Callable[[], float]) -> None:
        self._patience = patience
        self._held_back = held_back
        self._since: float | None = None
        self._held_before = 0.0
        self._pending = 0
        self._started = trio.Event()

    def start(self, pending: int = 0) -> None:
        """Let it run from now on, for a step in which `pending` bytes must move; without effect when it runs."""
        if self._since is None:
            self._since, self._held_before = trio.current_time(), self._held_back()
            self._pending = pending
            self._started.set()

    def moved(self, count: int) -> None:
        """Take note that bytes moved."""
        if self._since is not None:
            now, held = trio.current_time(), self._held_back()
            self._patience.spend(now - self._since - (held - self._held_before), count)
            self._since, self._held_before = now, held

    def stop(self) -> None:
        """Let it stand: nothing is owed."""
        self.moved(0)
        self._since = None

    async def run_out(self) -> None:
        """Wait until patience is at its end."""
        while True:
            if self._since is None:
                self._started = trio.Event()
                await self._started.wait()
                continue
            held = self._held_back() - self._held_before
            left = self._since + held + self._patience.allow(self._pending) - trio.current_time()
            if left <= 0:
                return
            await trio.sleep(left)
