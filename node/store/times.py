"""What time it is at least, kept in the index: a clock may be wrong, and a machine may wake after years.

The rules are `samara.protocol.trust.floor`'s; here is what they need of a machine: its clock, and a place to keep the
floor. A home that cannot be written has the floor that it was left with.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from samara.node.store.index import Index
from samara.protocol.records import parse_time
from samara.protocol.trust import Floor, Moment

__all__ = ["Times"]

_BUILT: Final = parse_time("2026-11-01T00:00:00Z")
"""This version was made after that day; each release moves it (CONTRIBUTING, "Before a release")."""

_KEPT_EVERY: Final = 3600
"""Seconds that the clock goes on until the floor is written again: each time is a sync of the disk."""


def _now() -> int:
    return int(time.time())


class Times:
    """The floor of time of one home. Thread-safe.

    Args:
        index: Where it is kept.
        clock: Returns what the machine's clock shows, in seconds since 1970.
    """

    def __init__(self, index: Index, clock: Callable[[], int] = _now) -> None:
        self._index = index
        self._clock = clock

    @property
    def floor(self) -> Floor:
        """What time it is at least."""
        row = None
        if self._index.has("floor"):
            row = self._index.read.execute("SELECT seconds, anchor, source FROM floor").fetchone()
        return Floor(*row).raised_by_build(_BUILT) if row else Floor.of_build(_BUILT)

    @property
    def clock(self) -> int:
        """What the machine's clock shows, in seconds since 1970."""
        return self._clock()

    def moment(self) -> Moment:
        """Return what time it is, as far as it can be known."""
        return self.floor.moment(self._clock())

    def see_clock(self) -> None:
        """Let the clock raise the floor, if it is believed."""
        floor = self.floor
        raised = floor.raised_by_clock(self._clock())
        if raised.seconds >= floor.seconds + _KEPT_EVERY or (raised.anchor != floor.anchor and raised is not floor):
            self._keep(raised)

    def see_record(self, issued: str, source: str) -> None:
        """Let a verified record of a trusted publisher raise the floor. Call it for no other.

        A home that cannot be written keeps its floor.

        Args:
            issued: `YYYY-MM-DDTHH:MM:SSZ`.
            source: Whose record it is, in words.

        Raises:
            FutureError: It says that it was signed later than now.
        """
        if not self._index.writable:
            return
        with self._index.write():
            floor = self.floor
            raised = floor.raised_by_record(issued, self._clock(), source)
            if raised is not floor:
                self._keep(raised)

    def reset(self, seconds: int | None = None) -> Floor:
        """Set the floor, lower or higher than it was, as the operator says; return it.

        Args:
            seconds: Since 1970; None believes the clock.
        """
        floor = Floor.reset(self._clock() if seconds is None else seconds)
        self._keep(floor)
        return floor

    def _keep(self, floor: Floor) -> None:
        with self._index.write() as db:
            db.execute(
                "INSERT OR REPLACE INTO floor (no, seconds, anchor, source) VALUES (1,?,?,?)",
                (floor.seconds, floor.anchor, floor.source),
            )
