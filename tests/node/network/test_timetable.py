"""Which caps hold when: tables of local times, over midnight, over the week's end, and over summer time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samara.node.network.timetable import Timetable, Window, parse_rate, parse_window, seconds_until
from samara.protocol.errors import UsageError

MONDAY = datetime(2026, 6, 1)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

WORK = "mon-fri 08:00-18:00 upload=200kB download=0"
NIGHT = "22:00-07:00 upload=off"
WEEKEND = "fri-mon 20:00-06:00 upload=5"


def at(text: str) -> datetime:
    """Return a moment of a week from "wed 12:00"."""
    day, _, clock = text.partition(" ")
    hour, _, minute = clock.partition(":")
    return MONDAY + timedelta(days=DAYS.index(day), hours=int(hour), minutes=int(minute))


def table(*windows: str) -> Timetable:
    return Timetable(1_000_000, 2_000_000, tuple(map(parse_window, windows)))


@pytest.mark.parametrize(
    ("windows", "when", "rates"),
    [
        ((), "mon 12:00", (1_000_000, 2_000_000)),
        ((WORK,), "mon 07:59", (1_000_000, 2_000_000)),
        ((WORK,), "mon 08:00", (200_000, 0)),
        ((WORK,), "fri 17:59", (200_000, 0)),
        ((WORK,), "fri 18:00", (1_000_000, 2_000_000)),
        ((WORK,), "sat 12:00", (1_000_000, 2_000_000)),
        ((NIGHT,), "wed 22:00", (None, 2_000_000)),
        ((NIGHT,), "wed 00:00", (None, 2_000_000)),
        ((NIGHT,), "wed 06:59", (None, 2_000_000)),
        ((NIGHT,), "wed 07:00", (1_000_000, 2_000_000)),
        ((WEEKEND,), "fri 05:00", (1_000_000, 2_000_000)),
        ((WEEKEND,), "fri 20:00", (5, 2_000_000)),
        ((WEEKEND,), "tue 05:59", (5, 2_000_000)),
        ((WEEKEND,), "tue 20:00", (1_000_000, 2_000_000)),
        (("sun 23:00-01:00 upload=7",), "mon 00:59", (7, 2_000_000)),
        (("sun 23:00-01:00 upload=7",), "sun 00:30", (1_000_000, 2_000_000)),
        (("12:00-24:00 download=9",), "mon 23:59", (1_000_000, 9)),
        (("12:00-24:00 download=9",), "mon 00:00", (1_000_000, 2_000_000)),
        (("mon,wed,sat-sun 00:00-24:00 upload=3",), "sat 00:00", (3, 2_000_000)),
        (("mon,wed,sat-sun 00:00-24:00 upload=3",), "thu 10:00", (1_000_000, 2_000_000)),
        (("09:00-10:00 upload=1", WORK), "mon 09:30", (1, 2_000_000)),
        ((WORK, "09:00-10:00 upload=1"), "mon 09:30", (200_000, 0)),
    ],
)
def test_the_first_window_that_has_the_moment_decides(
    windows: tuple[str, ...], when: str, rates: tuple[int | None, int | None]
) -> None:
    found = table(*windows).at(at(when))
    assert (found.upload, found.download) == rates


@pytest.mark.parametrize(
    ("windows", "now", "then"),
    [
        ((), "mon 12:00", None),
        (("00:00-24:00 upload=1",), "mon 12:00", None),
        ((WORK,), "mon 07:00", "mon 08:00"),
        ((WORK,), "mon 08:00", "mon 18:00"),
        ((WORK,), "fri 18:00", "next mon 08:00"),
        ((NIGHT,), "sun 23:00", "next mon 07:00"),
        ((NIGHT,), "wed 06:00", "wed 07:00"),
        ((WORK, NIGHT), "mon 07:30", "mon 08:00"),
        (("09:00-10:00 upload=1", WORK), "mon 08:30", "mon 09:00"),
        (("sat 00:00-24:00 upload=1",), "sat 10:00", "sun 00:00"),
        (("mon 10:00-11:00 upload=1",), "mon 11:00", "next mon 10:00"),
        (("sat-sun 00:00-24:00 upload=1",), "tue 10:00", "sat 00:00"),
    ],
)
def test_when_it_changes_next(windows: tuple[str, ...], now: str, then: str | None) -> None:
    week = timedelta(days=7 if then is not None and then.startswith("next") else 0)
    expected = None if then is None else at(then.removeprefix("next ")) + week
    assert table(*windows).next_change(at(now)) == expected


def test_when_a_direction_moves_again() -> None:
    found = table(WORK, "sat 10:00-12:00 download=0")
    assert found.next_rate(at("wed 09:00"), "download") == at("wed 18:00")
    assert table("mon 08:00-12:00 upload=0", "mon 12:00-14:00 upload=0").next_rate(at("mon 9:00"), "upload") == at(
        "mon 14:00"
    )
    assert Timetable(0, None).next_rate(at("mon 9:00"), "upload") is None
    assert Timetable(0, None, (parse_window("20:00-21:00 upload=5"),)).next_rate(at("mon 9:00"), "upload") == at(
        "mon 20:00"
    )


windows = st.builds(
    lambda begin, length, first, last, rate: Window(
        f"{begin // 60:02}:{begin % 60:02}",
        f"{(begin + length) % 1440 // 60:02}:{(begin + length) % 60:02}",
        f"{DAYS[first]}-{DAYS[last]}",
        rate,
    ),
    st.integers(0, 1439), st.integers(1, 1439), st.integers(0, 6), st.integers(0, 6),
    st.sampled_from([0, 5, "off"]),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(several=st.lists(windows, min_size=1, max_size=3), start=st.integers(0, 7 * 1440 - 1))
def test_between_now_and_the_next_change_nothing_changes(several: list[Window], start: int) -> None:
    """Beside it the naive way: a look at each minute of a week."""
    found = Timetable(1, None, several)
    now = MONDAY + timedelta(minutes=start)
    minutes = (now + timedelta(minutes=n) for n in range(1, 7 * 1440 + 1))
    naive = next((moment for moment in minutes if found.at(moment).window is not found.at(now).window), None)
    assert found.next_change(now) == naive


@pytest.mark.parametrize(
    "text", [WORK, NIGHT, WEEKEND, "sat,sun 00:00-24:00 download=off", "  08:00-09:00  upload = 2 MB "]
)
def test_a_window_is_written_as_it_is_read(text: str) -> None:
    assert parse_window(str(parse_window(text))) == parse_window(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mon",
        "mon 08:00-09:00",
        "08:00-08:00 upload=1",
        "24:00-08:00 upload=1",
        "8:00-09:00 upload=1",
        "08:00-25:00 upload=1",
        "08:60-09:00 upload=1",
        "08:00-24:01 upload=1",
        "monday 08:00-09:00 upload=1",
        "mon- 08:00-09:00 upload=1",
        "mon,,tue 08:00-09:00 upload=1",
        "mon tue 08:00-09:00 upload=1",
        "08:00-09:00 10:00-11:00 upload=1",
        "08:00-09:00 upload=1 upload=2",
        "08:00-09:00 upload=fast",
        "08:00-09:00 upload=-1",
        "08:00-09:00 connections=1",
        "08:00-09:00 upload=１",
    ],
)
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a"):
        parse_window(text)


@pytest.mark.parametrize(("text", "rate"), [("2 MB", 2_000_000), ("20 Mbit/s", 2_500_000), ("0", 0), (" OFF ", "off")])
def test_rates(text: str, rate: int | str) -> None:
    assert parse_rate(text) == rate


@pytest.fixture
def _central_europe(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not hasattr(time, "tzset"):
        pytest.skip("the zone of this process cannot be set here")
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_central_europe")
@pytest.mark.parametrize(
    ("now", "then", "hours"),
    [
        (datetime(2026, 6, 1, 7), datetime(2026, 6, 1, 8), 1.0),
        (datetime(2026, 3, 29, 0), datetime(2026, 3, 29, 8), 7.0),  # an hour is skipped
        (datetime(2026, 10, 25, 0), datetime(2026, 10, 25, 8), 9.0),  # an hour comes twice
        (datetime(2026, 3, 29, 1, 30), datetime(2026, 3, 29, 3), 0.5),
        (datetime(2026, 10, 25, 2, 15), datetime(2026, 10, 25, 2, 30), 0.25),
        (datetime(2026, 10, 25, 2, 15, fold=1), datetime(2026, 10, 25, 2, 30), 0.25),
        (datetime(2026, 6, 1, 9), datetime(2026, 6, 1, 8), 0.0),
    ],
)
def test_summer_time_does_not_shift_the_next_change(now: datetime, then: datetime, hours: float) -> None:
    assert seconds_until(then, now) == pytest.approx(hours * 3600)


@pytest.mark.usefixtures("_central_europe")
@pytest.mark.parametrize(("day", "minutes"), [(datetime(2026, 3, 29), 0), (datetime(2026, 10, 25), 60)])
def test_a_window_in_the_hour_of_the_change(day: datetime, minutes: int) -> None:
    """It is skipped with its hour, or holds twice: what the clock on the wall says, counts."""
    found = Timetable(1, None, (parse_window("02:00-02:30 upload=5"),))
    start = day.timestamp()
    moments = (datetime.fromtimestamp(start + 60 * n) for n in range(24 * 60))
    assert sum(found.at(moment).upload == 5 for moment in moments) == minutes
