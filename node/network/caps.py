"""Caps on bandwidth: one bucket for all that goes up, one for all that comes down.

A bucket fills at its rate and holds a tenth of a second of it. Who moves n bytes takes n out first and waits until the
bucket is no longer in debt, first come first served. So the average is exact from the first byte on, a burst is small,
and an amount larger than the bucket is no special case.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, final

import trio

__all__ = ["Caps", "Pauses", "TokenBucket"]

_BURST_SECONDS: Final = 0.1
_SHORTEST_WAIT: Final = 1e-6
"""Seconds: a debt so small that the clock cannot tell it from now would be waited for forever. What is overslept is
saved, so the average stays exact."""

_SMALLEST_PIECE: Final = 2 << 10
_LARGEST_PIECE: Final = 1 << 20


@final
class TokenBucket:
    """Lets bytes through at a rate that may change while it runs.

    Args:
        rate: Bytes a second, above 0, or None for no cap.
        clock: Returns the time in seconds; by default trio's.
    """

    def __init__(self, rate: float | None = None, clock: Callable[[], float] = trio.current_time) -> None:
        _check(rate)
        self._rate = rate
        self._clock = clock
        self._level = 0.0
        self._filled_at: float | None = None  # None until first used: the clock may not run yet
        self._turn = trio.Lock()
        self._changed = trio.Event()
        self.passed = 0
        """Bytes that were let through so far."""

    @property
    def rate(self) -> float | None:
        """Bytes a second, or None for no cap."""
        return self._rate

    @property
    def piece(self) -> int | None:
        """How many bytes to move at a time so that they flow evenly; None without a cap."""
        if self._rate is None:
            return None
        return max(_SMALLEST_PIECE, min(int(self._rate * _BURST_SECONDS), _LARGEST_PIECE))

    def set_rate(self, rate: float | None) -> None:
        """Change the cap, from the loop's own thread; whoever waits is served at the new rate from now on.

        Args:
            rate: Bytes a second, above 0, or None for no cap.

        Raises:
            ValueError: The rate is not above 0.
        """
        _check(rate)
        self._fill()
        self._rate = rate
        self._changed.set()
        self._changed = trio.Event()

    async def acquire(self, count: int) -> None:
        """Wait until `count` bytes may move. When cancelled, they count as not moved."""
        if self._rate is None and not self._turn.locked():
            await trio.lowlevel.checkpoint_if_cancelled()
            self.passed += count
            return
        async with self._turn:
            self._fill()
            self._level -= count
            try:
                await self._out_of_debt()
            except BaseException:
                self._level += count
                raise
        self.passed += count

    async def _out_of_debt(self) -> None:
        while self._rate is not None:
            self._fill()
            if self._level >= 0:
                return
            changed = self._changed
            with trio.move_on_after(max(-self._level / self._rate, _SHORTEST_WAIT)):
                await changed.wait()
        self._level = 0.0

    def _fill(self) -> None:
        if self._rate is None:
            self._filled_at = None
            return
        now = self._clock()
        if self._filled_at is not None:
            earned = (now - self._filled_at) * self._rate
            self._level = min(self._level + earned, self._rate * _BURST_SECONDS)
        self._filled_at = now


@final
@dataclass(frozen=True, slots=True)
class Caps:
    """The caps of a node, which all its connections share.

    Attributes:
        upload: On what goes up.
        download: On what comes down.
    """

    upload: TokenBucket = field(default_factory=TokenBucket)
    download: TokenBucket = field(default_factory=TokenBucket)


@final
class Pauses:
    """Counts the time in which something was held back on purpose."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """All of it so far, with the pause that lasts."""
        return self._seconds + (trio.current_time() - self._since if self._since is not None else 0.0)

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Count the time that the block takes; blocks do not overlap."""
        self._since = trio.current_time()
        try:
            yield
        finally:
            self._seconds, self._since = self.seconds, None


def _check(rate: float | None) -> None:
    if rate is not None and not rate > 0:
        raise ValueError(f"a cap of {rate} bytes a second: it must be above 0, or None")
