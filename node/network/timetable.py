"""Which caps hold at what time of the week: a pure decision over local wall-clock time.

    mon-fri 08:00-18:00 upload=200kB download=0
    daily 22:00-07:00 upload=off

The first window that has the moment decides; a direction that it does not name keeps the node's own cap, as does any
moment in no window. A window that ends before it begins goes over midnight, and belongs to the day on which it begins.

Wall-clock time is what people mean by "at eight". So a window that lies in the hour that summer time skips is never
seen, and one in the hour that comes twice holds twice. No clock is read here.

Source: specs/cli.md, "Limits".
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

import msgspec

from samara.node.units import parse_bytes
from samara.protocol.errors import UsageError

__all__ = ["Rate", "Rates", "Timetable", "Window", "parse_rate", "parse_window", "seconds_until"]

Rate = Annotated[int, msgspec.Meta(ge=0)] | Literal["off"]
"""Bytes a second, 0 to move nothing, or "off" for no cap."""

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY: Final = 24 * 60
_SPACED_UNIT: Final = re.compile(r"(?<=[0-9])\s+(?=[kmgt]?i?b(?:it)?\b)")
_WINDOW_HINT: Final = "Write it like 'mon-fri 08:00-18:00 upload=200kB download=0'."


def parse_rate(text: str | int) -> Rate:
    """Return a rate from "2 MB", "20 Mbit", "0" or "off".

    Raises:
        UsageError: It is none of these.
    """
    if str(text).strip().lower() == "off":
        return "off"
    return parse_bytes(text)


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"begin": "from", "end": "to"}):
    """A part of the week with caps of its own.

    Attributes:
        begin: Local time "HH:MM" from which it holds.
        end: Local time until which it holds; "24:00" is the end of the day.
        days: Days on which it begins: "mon-fri", "sat,sun", "daily".
        upload: The cap on what goes up; None for the node's own.
        download: The cap on what comes down; None for the node's own.
    """

    begin: str
    end: str
    days: str = "daily"
    upload: Rate | None = None
    download: Rate | None = None

    def __post_init__(self) -> None:
        """Refuse what is no window.

        Raises:
            ValueError: A time or a day is none, it is empty, or it says nothing.
        """
        _weekdays(self.days)
        if _minute(self.begin) == _minute(self.end) or self.begin == "24:00":
            raise ValueError(f"a window from {self.begin} to {self.end} is empty")
        if self.upload is None and self.download is None:
            raise ValueError("a window names an upload, a download, or both")

    def __str__(self) -> str:
        """Return it as `parse_window` takes it."""
        ways = (("upload", self.upload), ("download", self.download))
        return " ".join((self.days, f"{self.begin}-{self.end}", *(f"{n}={r}" for n, r in ways if r is not None)))

    def has(self, local: datetime) -> bool:
        """Whether a local wall-clock time lies in it."""
        begin, end = _minute(self.begin), _minute(self.end)
        minute, today = local.hour * 60 + local.minute, local.weekday()
        days = _weekdays(self.days)
        if begin < end:
            return today in days and begin <= minute < end
        return (today in days and minute >= begin) or ((today - 1) % 7 in days and minute < end)


def parse_window(text: str) -> Window:
    """Return a window from "mon-fri 08:00-18:00 upload=200kB download=0"; the days may be left out.

    Raises:
        UsageError: It is none.
    """
    words = re.sub(r"\s*=\s*", "=", _SPACED_UNIT.sub("", text.strip().lower())).split()
    said: dict[str, str] = {}
    for word in words:
        times = re.fullmatch(r"([0-9:]+)-([0-9:]+)", word)
        name, mark, value = word.partition("=")
        found = {"from": times[1], "to": times[2]} if times else {name: value} if mark else {"days": word}
        if found.keys() & said.keys() or found.keys() - {"days", "from", "to", "upload", "download"}:
            raise UsageError(f"{text!r} is not a window: {word!r}", hint=_WINDOW_HINT)
        said |= found
    fields = {name: parse_rate(value) if name in {"upload", "download"} else value for name, value in said.items()}
    try:
        return msgspec.convert(fields, Window)
    except msgspec.ValidationError as error:
        raise UsageError(f"{text!r} is not a window: {error}", hint=_WINDOW_HINT) from error


@dataclass(frozen=True, slots=True)
class Rates:
    """The caps that hold at a moment.

    Attributes:
        upload: Bytes a second, 0 for none, or None for no cap.
        download: The same of what comes down.
        window: Which window decided; None for the node's own caps.
    """

    upload: int | None
    download: int | None
    window: Window | None = None


@dataclass(frozen=True, slots=True)
class Timetable:
    """The caps of a week.

    Attributes:
        upload: The node's own cap on what goes up, in bytes a second, or None.
        download: Its own cap on what comes down.
        windows: Parts of the week with other caps; the first that has a moment decides.
    """

    upload: int | None = None
    download: int | None = None
    windows: Sequence[Window] = ()

    def at(self, local: datetime) -> Rates:
        """Return the caps that hold at a local wall-clock time."""
        for window in self.windows:
            if window.has(local):
                return Rates(_or(window.upload, self.upload), _or(window.download, self.download), window)
        return Rates(self.upload, self.download)

    def next_change(self, local: datetime) -> datetime | None:
        """Return the next wall-clock time after `local` at which another window, or none, decides; None if never."""
        now = self.at(local).window
        return next((moment for moment in self._edges(local) if self.at(moment).window is not now), None)

    def next_rate(self, local: datetime, way: Literal["upload", "download"]) -> datetime | None:
        """Return the next wall-clock time after `local` at which the cap of one direction is above 0; None if never."""
        return next((moment for moment in self._edges(local) if getattr(self.at(moment), way) != 0), None)

    def _edges(self, local: datetime) -> Iterator[datetime]:
        """Times at which a window may begin or end, those after `local`, in order, for a week and a day."""
        minutes = sorted({_minute(time) % _DAY for window in self.windows for time in (window.begin, window.end)})
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        for day in range(9):
            for minute in (0, *minutes):  # at midnight it is another weekday
                moment = midnight + timedelta(days=day, minutes=minute)
                if moment > local.replace(fold=0):
                    yield moment


def seconds_until(moment: datetime, now: datetime) -> float:
    """Return the seconds until a wall-clock time comes, whatever summer time does between; 0 when it has come.

    Args:
        moment: A time with the zone of `now`, or without one as `now`, which is then the system's.
        now: The time now.
    """
    ahead = moment.timestamp() - now.timestamp()
    if ahead <= 0:  # of an hour that comes twice, the second
        ahead = moment.replace(fold=1).timestamp() - now.timestamp()
    return max(ahead, 0.0)


def _or(rate: Rate | None, own: int | None) -> int | None:
    if rate is None:
        return own
    return None if rate == "off" else rate


@functools.lru_cache(256)
def _minute(time: str) -> int:
    """Return the minute of the day of "HH:MM", 0 to 1440.

    Raises:
        ValueError: It is none.
    """
    match = re.fullmatch(r"([01][0-9]|2[0-4]):([0-5][0-9])", time)
    minute = int(match[1]) * 60 + int(match[2]) if match else _DAY + 1
    if minute > _DAY:
        raise ValueError(f"{time!r} is not a time of the day: write it like 08:00")
    return minute


@functools.lru_cache(256)
def _weekdays(days: str) -> frozenset[int]:
    """Return the days, Monday being 0, of "mon-fri", "sat,sun", "fri-mon" or "daily".

    Raises:
        ValueError: It is none of these.
    """
    if days == "daily":
        return frozenset(range(7))
    found: set[int] = set()
    for part in days.split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last or first) not in _DAYS or part.endswith("-"):
            raise ValueError(f"{days!r} are no days of the week: write them like mon-fri or sat,sun, or daily")
        begin = _DAYS.index(first)
        found.update((begin + i) % 7 for i in range((_DAYS.index(last or first) - begin) % 7 + 1))
    return frozenset(found)
