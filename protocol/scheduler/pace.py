"""How fast one peer is, how much it may owe, and how long its silence is borne.

Numbers only: no chunk is known here. The clock is an argument (`now`, seconds, any origin, never backwards).

Invariants: the window lies between `least` and `MAX_WINDOW`; standing moves only along `TRANSITIONS`.

Source: specs/scheduler.md, "Window" and "Stalls, failures and wrong chunks".
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final, final

from samara.protocol.limits import (
    MAX_CHUNK,
    MAX_RUN_BYTES,
    MAX_WINDOW,
    PROGRESS_RATE,
    PROGRESS_WINDOW,
    STALL_PATIENCE,
    UNPROVEN_CHUNKS,
)

__all__ = ["PATIENCE", "REST", "START_WINDOW", "TRANSITIONS", "Pace", "Standing", "Step", "least_window"]

START_WINDOW: Final = UNPROVEN_CHUNKS * MAX_CHUNK
"""Bytes: one chunk on the line while the next is asked for, whatever their size."""

REST: Final = 5.0
"""Seconds in which a peer that stalled is not asked; its work goes to others first."""

_SHORT: Final = MAX_CHUNK // 4
"""Bytes of a short chunk: where none is longer, a window that is counted in chunks is no smaller than for these."""

_SLACK: Final = 0.5
"""Seconds of work that lie ready at the peer beyond the round trip: a disk that seeks, a loop that is late."""

_SAMPLE: Final = 0.25
"""Seconds of the shortest sample of a rate."""

_SMOOTH: Final = 0.3
"""Weight of a new sample of the rate: four samples, about a second, make three quarters of it."""

_FADE: Final = 0.1
"""Weight of a sample that is below the peak rate. A window that follows the mean grows slowly on a long line, where
what it lets through comes in bursts with silence between them: a burst shows what the line can do."""

_DRIFT: Final = 0.05
"""Weight of a round trip that is longer than the one believed: a route may change, a queue must not count."""


@final
class Standing(enum.Enum):
    """How far a peer is relied on."""

    UNPROVEN = enum.auto()
    PROVEN = enum.auto()
    DEMOTED = enum.auto()
    DOUBTED = enum.auto()
    DROPPED = enum.auto()


@final
class Step(enum.Enum):
    """What changes a standing."""

    CHUNK = enum.auto()
    STALL = enum.auto()


# The whole machine. Nothing leaves DROPPED.
TRANSITIONS: Final[Mapping[tuple[Standing, Step], Standing]] = {
    (Standing.UNPROVEN, Step.CHUNK): Standing.PROVEN,
    (Standing.PROVEN, Step.CHUNK): Standing.PROVEN,
    (Standing.DEMOTED, Step.CHUNK): Standing.PROVEN,
    (Standing.DOUBTED, Step.CHUNK): Standing.DEMOTED,
    (Standing.UNPROVEN, Step.STALL): Standing.DEMOTED,
    (Standing.PROVEN, Step.STALL): Standing.DEMOTED,
    (Standing.DEMOTED, Step.STALL): Standing.DOUBTED,
    (Standing.DOUBTED, Step.STALL): Standing.DROPPED,
}

PATIENCE: Final[Mapping[Standing, float]] = {
    Standing.UNPROVEN: STALL_PATIENCE,
    Standing.PROVEN: STALL_PATIENCE,
    Standing.DEMOTED: 2 * STALL_PATIENCE,
    Standing.DOUBTED: 4 * STALL_PATIENCE,
}


@final
class Pace:
    """The pace of one peer.

    Attributes:
        standing: How far it is relied on.
        window: Bytes that it may owe.
        rate: Bytes a second; None until one sample was taken.
        least: Bytes below which the window does not fall.
        round_trip: Seconds from a want to its first byte; None until one was seen.
    """

    __slots__ = (
        "_credit",
        "_credit_at",
        "_heard",
        "_last",
        "_marked",
        "_moved",
        "_peak",
        "_sent",
        "least",
        "rate",
        "round_trip",
        "standing",
        "window",
    )

    def __init__(self, now: float) -> None:
        self.least = START_WINDOW
        self.standing = Standing.UNPROVEN
        self.window = START_WINDOW
        self.rate: float | None = None
        self.round_trip: float | None = None
        self._last = now  # the last sign of life, or when there was first something to wait for
        self._credit = PROGRESS_WINDOW
        self._credit_at = now
        self._marked = now  # begin of the sample of the rate
        self._moved = 0  # bytes in it
        self._heard = 0  # bytes of chunks that are not whole yet
        self._peak = 0.0  # the highest sample of the rate, fading; 0 without one
        self._sent: float | None = None  # a want went to an idle peer, and no byte has come since

    @property
    def is_proven(self) -> bool:
        """It may owe a whole window."""
        return self.standing is Standing.PROVEN

    @property
    def run_bytes(self) -> int:
        """Bytes of one run: a second's worth, and no more than half the window."""
        second = self.window if self.rate is None else int(self.rate)
        return min(second, self.window // 2, MAX_RUN_BYTES)

    def asked(self, now: float) -> None:
        """Take note that the peer owed nothing, and now does: its clocks start."""
        self._last = self._credit_at = self._marked = self._sent = now
        self._credit = PROGRESS_WINDOW
        self._moved = self._heard = 0

    def heard(self, size: int, now: float) -> None:
        """Take note of `size` bytes of a chunk that is not whole yet."""
        self._heard += size
        self._move(size, now)

    def delivered(self, size: int, now: float) -> None:
        """Take note of a whole right chunk, of which `heard` may have told some or all bytes."""
        fresh = max(0, size - self._heard)
        self._heard = max(0, self._heard - size)
        self._move(fresh, now)
        was_proven = self.is_proven
        self.standing = TRANSITIONS[self.standing, Step.CHUNK]
        if was_proven:
            self.window = min(self.window + size, self._target())

    def stalled(self, now: float) -> Standing:
        """Take note of a stall; the peer owes nothing any more."""
        self.standing = TRANSITIONS[self.standing, Step.STALL]
        self.window = START_WINDOW
        self.excuse(now)
        return self.standing

    def excuse(self, until: float) -> None:
        """Let the silence before `until` (seconds, may lie ahead) not count."""
        self._last = max(self._last, until)
        self._credit_at = max(self._credit_at, until)

    def deadline(self) -> float:
        """Return when a peer that owes something, and sends nothing more, has stalled."""
        return min(self._last + PATIENCE[self.standing], self._credit_at + self._credit)

    def silence(self, now: float) -> float:
        """Return the seconds since its last sign of life."""
        return max(0.0, now - self._last)

    def seconds_for(self, size: int) -> float:
        """Return how long `size` bytes more will take; a peer of unknown rate is given a second."""
        return 1.0 if self.rate is None else size / max(self.rate, 1.0) + (self.round_trip or 0.0)

    def _move(self, size: int, now: float) -> None:
        self._credit = min(PROGRESS_WINDOW, self._credit - max(0.0, now - self._credit_at) + size / PROGRESS_RATE)
        self._credit_at = max(self._credit_at, now)
        self._last = max(self._last, now)
        if self._sent is not None:
            self._see_round_trip(max(0.0, now - self._sent))
            self._sent = None
        self._moved += size
        elapsed = now - self._marked
        if elapsed >= _SAMPLE:
            sample = self._moved / elapsed
            self.rate = sample if self.rate is None else self.rate + _SMOOTH * (sample - self.rate)
            self._peak = max(sample, self._peak + _FADE * (sample - self._peak))
            self._marked, self._moved = now, 0

    def _see_round_trip(self, sample: float) -> None:
        if self.round_trip is None or sample < self.round_trip:
            self.round_trip = sample
        else:
            self.round_trip += _DRIFT * (sample - self.round_trip)

    def _target(self) -> int:
        """Return the bandwidth-delay product with some slack; without a rate, slow start goes on."""
        if self.rate is None:
            return MAX_WINDOW
        return max(self.least, min(MAX_WINDOW, int(self._peak * ((self.round_trip or 0.0) + _SLACK))))


def least_window(longest: int) -> int:
    """Return the bytes that even a slow peer may owe, where no chunk is longer than `longest` bytes; 0: unknown."""
    return min(START_WINDOW, UNPROVEN_CHUNKS * max(longest, _SHORT)) if longest else START_WINDOW
