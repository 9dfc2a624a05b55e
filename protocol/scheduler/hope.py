"""How long a fetch still waits for what mates are to bring, instead of asking who holds everything for it.

Waiting spends hope. It comes with the time that the fetch takes, and with what mates bring: as many seconds as the
seeder would have taken for it. So whatever mates say and then do not do, it costs `_MOST` seconds at most, and less of
a fetch that is soon over.

Source: specs/scheduler.md, "Division".
"""

from __future__ import annotations

from typing import Final, final

__all__ = ["Hope"]

_MOST: Final = 3.0
"""Seconds of waiting in vain over a whole fetch: whoever got a chunk has committed it by then, and was asked for it."""

_PART: Final = 0.25
"""Seconds of waiting in vain for each second that a fetch takes, where that is less."""


_BACK: Final = 1.0
"""Seconds that must be left until mates are relied on again: what is lost is not lost again at once."""


@final
class Hope:
    """The seconds that are left for waiting."""

    __slots__ = ("_began", "_brought", "_rate", "_spent", "_waits_since")

    def __init__(self) -> None:
        self._began: float | None = None
        self._spent = 0.0  # seconds of waiting, less those that were earned
        self._brought = 0  # bytes, not counted yet
        self._rate = 0.0  # bytes a second of the seeder that was not asked last
        self._waits_since: float | None = None

    def is_lost(self, now: float) -> bool:
        """Say whether no second is left."""
        return self._left(now) <= 0

    def is_back(self, now: float) -> bool:
        """Say whether, after it was lost, there is enough again to rely on mates."""
        return self._left(now) >= _BACK

    def wait(self, now: float, rate: float) -> None:
        """Take note that a seeder of this rate (bytes a second; 0: unknown) is not asked now."""
        since = now if self._waits_since is None else self._waits_since
        self._rate = rate
        self._spent = max(0.0, self._spent - self._earned()) + max(0.0, now - since)
        self._brought = 0
        self._waits_since = now

    def go_on(self, now: float) -> None:
        """Take note that a seeder is asked, or spared for what mates have: nothing is waited for that they have not."""
        if self._began is None:
            self._began = now
        self._waits_since = None

    def brought(self, size: int) -> None:
        """Take note of so many bytes that a mate brought."""
        self._brought += size

    def _left(self, now: float) -> float:
        elapsed = 0.0 if self._began is None else now - self._began
        return min(_MOST, _PART * elapsed) - max(0.0, self._spent - self._earned())

    def _earned(self) -> float:
        return self._brought / self._rate if self._rate else 0.0
