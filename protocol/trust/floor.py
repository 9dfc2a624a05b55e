"""The floor of time: what time it is at least, on a machine whose clock may be wrong (specs/trust.md, "Time").

A floor only rises: by the clock, by what trusted publishers have signed, and by the build of the program. It is a
value: whoever holds it stores it, and hands in what the clock says.

The rule for jumps: a clock that is behind the floor, or more than `FLOOR_REACH` beyond it, is not believed, and moves
nothing. A record alone moves the floor to no more than `FLOOR_REACH` beyond its *anchor*, which only a believed clock,
a build and the operator move. So neither a battery that is empty nor a publisher that dates its records to the year
2100 can make all that is here look old.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, final

from samara.protocol.errors import FutureError, StaleError
from samara.protocol.limits import FLOOR_REACH, FUTURE_SLACK
from samara.protocol.records.fields import format_time, parse_time

__all__ = ["Clock", "Floor", "Moment", "age_days", "check_fresh"]

_DAY: Final = 86_400


class Clock(enum.Enum):
    """What is thought of this machine's clock."""

    BELIEVED = "believed"
    """It is at the floor or somewhat beyond."""
    BEHIND = "behind"
    """It shows a time that has passed for certain."""
    FAR_AHEAD = "far ahead"
    """It shows a time so far ahead that it is more likely wrong. The operator can say that it is right."""


@final
@dataclass(frozen=True, slots=True)
class Moment:
    """What time it is, as far as it can be known.

    Attributes:
        now: Seconds since 1970 (UTC): the clock's if it is believed, else the floor.
        clock: What is thought of the clock.
    """

    now: int
    clock: Clock

    @property
    def latest(self) -> int:
        """The latest time, in seconds since 1970, at which a record can have been signed by now."""
        return self.now + (FUTURE_SLACK if self.clock is Clock.BELIEVED else FLOOR_REACH)

    def check_issued(self, issued: str) -> None:
        """Check that a record was not signed later than now.

        Args:
            issued: `YYYY-MM-DDTHH:MM:SSZ`.

        Raises:
            FutureError: It says that it was.
        """
        if parse_time(issued) > self.latest:
            raise FutureError(
                f"signed on {issued[:10]}, and it is {format_time(self.now)[:10]} here",
                hint="see what `samara doctor` says of the clock of this machine",
            )


@final
@dataclass(frozen=True, slots=True)
class Floor:
    """What time it is at least.

    Attributes:
        seconds: Since 1970 (UTC).
        anchor: Up to where the clock, the build or the operator stand for it, not records alone; ≤ `seconds`.
        source: What moved it last, in words, for `samara doctor`.
    """

    seconds: int
    anchor: int
    source: str

    @classmethod
    def of_build(cls, built: int) -> Floor:
        """Return the floor of a new home.

        Args:
            built: When this version of the program was built, in seconds since 1970.
        """
        return cls(built, built, "the build of this version")

    @classmethod
    def reset(cls, seconds: int) -> Floor:
        """Return the floor that the operator sets, lower or higher than it was.

        Args:
            seconds: Since 1970 (UTC).
        """
        return cls(seconds, seconds, "the operator")

    def raised_by_build(self, built: int) -> Floor:
        """Return the floor for a version of the program that was built then."""
        return self if built <= self.anchor else Floor(max(built, self.seconds), built, self._of(built, "the build"))

    def moment(self, clock: int) -> Moment:
        """Return what time it is, given what the clock shows, in seconds since 1970."""
        if clock < self.seconds:
            return Moment(self.seconds, Clock.BEHIND)
        if clock > self.seconds + FLOOR_REACH:
            return Moment(self.seconds, Clock.FAR_AHEAD)
        return Moment(clock, Clock.BELIEVED)

    def raised_by_clock(self, clock: int) -> Floor:
        """Return the floor after the clock was seen; it moves nothing unless it is believed."""
        if self.moment(clock).clock is not Clock.BELIEVED:
            return self
        return Floor(clock, clock, "the clock of this machine")

    def raised_by_record(self, issued: str, clock: int, source: str) -> Floor:
        """Return the floor after a verified record *of a trusted publisher* was seen. Call it for no other.

        Args:
            issued: `YYYY-MM-DDTHH:MM:SSZ`.
            clock: What the clock shows, in seconds since 1970.
            source: Whose record it is, in words.

        Raises:
            FutureError: It says that it was signed later than now; the floor stays.
        """
        moment = self.moment(clock)
        moment.check_issued(issued)
        seconds = parse_time(issued)
        # What a believed clock lets pass, it stands for; else records alone go no further than the anchor lets them.
        most = moment.now if moment.clock is Clock.BELIEVED else self.anchor + FLOOR_REACH
        if seconds <= self.seconds or most <= self.seconds:
            return self
        return Floor(min(seconds, most), self.anchor, source)

    def _of(self, seconds: int, source: str) -> str:
        return source if seconds >= self.seconds else self.source


def age_days(issued: str, now: int) -> int:
    """Return how many whole days ago something was signed, 0 for what seems to come."""
    return max(0, now - parse_time(issued)) // _DAY


def check_fresh(issued: str, expires: str | None, now: int, max_age_days: int | None = None) -> None:
    """Check that something is not older than its signer, or the reader, wants it to be.

    Args:
        issued: When it was signed.
        expires: When its signer expects to have signed something newer, or None.
        now: Seconds since 1970 (UTC).
        max_age_days: How old the reader takes it, or None.

    Raises:
        StaleError: It is older. It may be the newest all the same: nobody here can say.
    """
    age = age_days(issued, now)
    if (expires is not None and now > parse_time(expires)) or (max_age_days is not None and age > max_age_days):
        raise StaleError(
            f"{age} days old: a newer one is to be expected",
            hint="connect to the network, or import the records of somebody who was there",
        )
