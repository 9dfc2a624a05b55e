"""What time it is at least, by a clock that may be wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samara.protocol.errors import FutureError, StaleError, StatementError
from samara.protocol.limits import FLOOR_REACH, FUTURE_SLACK
from samara.protocol.records import format_time, parse_time
from samara.protocol.trust import Clock, Floor, age_days, check_fresh

BUILT = parse_time("2026-02-01T00:00:00Z")
DAY = 86_400
NEW = Floor.of_build(BUILT)


@pytest.mark.parametrize(
    ("clock", "thought", "now"),
    [
        (0, Clock.BEHIND, BUILT),
        (BUILT - 1, Clock.BEHIND, BUILT),
        (BUILT, Clock.BELIEVED, BUILT),
        (BUILT + FLOOR_REACH, Clock.BELIEVED, BUILT + FLOOR_REACH),
        (BUILT + FLOOR_REACH + 1, Clock.FAR_AHEAD, BUILT),
    ],
)
def test_what_is_thought_of_a_clock(clock: int, thought: Clock, now: int) -> None:
    moment = NEW.moment(clock)
    assert (moment.clock, moment.now) == (thought, now)
    raised = NEW.raised_by_clock(clock)
    assert raised.seconds == now
    assert raised.anchor == now


def test_a_floor_says_what_moved_it() -> None:
    assert "build" in NEW.source
    assert "clock" in NEW.raised_by_clock(BUILT + DAY).source
    assert NEW.raised_by_record(format_time(BUILT + DAY), BUILT + 2 * DAY, "alice").source == "alice"
    assert "operator" in Floor.reset(0).source


def test_a_record_of_tomorrow_is_taken_and_one_of_the_day_after_is_not() -> None:
    now = BUILT + 10 * DAY
    floor = NEW.raised_by_record(format_time(now + FUTURE_SLACK), now, "alice")
    assert floor.seconds == now  # no further than the clock that stands for it
    with pytest.raises(FutureError, match="signed on") as caught:
        NEW.raised_by_record(format_time(now + FUTURE_SLACK + 1), now, "alice")
    assert caught.value.exit_code == 5
    assert "doctor" in caught.value.hint


def test_without_a_clock_records_carry_the_floor_on() -> None:
    floor = NEW
    for month in (3, 6, 9):
        floor = floor.raised_by_record(f"2026-{month:02}-01T00:00:00Z", 0, "alice")
        assert floor.seconds == parse_time(f"2026-{month:02}-01T00:00:00Z")
    assert floor.anchor == BUILT
    assert floor.raised_by_record("2026-04-01T00:00:00Z", 0, "alice") == floor


def test_records_alone_never_carry_it_beyond_the_reach_of_its_anchor() -> None:
    """However many steps a thief of a trusted key makes."""
    floor = NEW
    for step in range(20):
        issued = format_time(min(floor.seconds + FLOOR_REACH, BUILT + (step + 1) * FLOOR_REACH))
        floor = floor.raised_by_record(issued, 0, "thief")
    assert floor.seconds == BUILT + FLOOR_REACH
    # And a clock that is right is believed all the same, once it is there, or the operator says so.
    assert floor.moment(BUILT + DAY).clock is Clock.BEHIND
    assert Floor.reset(BUILT + DAY).moment(BUILT + 2 * DAY).clock is Clock.BELIEVED


def test_a_new_build_raises_a_floor_and_an_old_one_does_not() -> None:
    later = NEW.raised_by_build(BUILT + DAY)
    assert later.seconds == later.anchor == BUILT + DAY
    assert later.raised_by_build(BUILT) == later
    carried = NEW.raised_by_record(format_time(BUILT + 30 * DAY), 0, "alice")
    anchored = carried.raised_by_build(BUILT + DAY)
    assert (anchored.seconds, anchored.anchor, anchored.source) == (BUILT + 30 * DAY, BUILT + DAY, "alice")


@given(
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 4_000_000_000), st.integers(0, 4_000_000_000)), max_size=30)
)
def test_a_floor_never_falls_and_its_anchor_is_never_above_it(steps: list[tuple[bool, int, int]]) -> None:
    floor = NEW
    for by_clock, clock, issued in steps:
        before = floor
        try:
            floor = (
                floor.raised_by_clock(clock)
                if by_clock
                else floor.raised_by_record(format_time(issued), clock, "somebody")
            )
        except FutureError:
            floor = before
        assert floor.seconds >= before.seconds
        assert floor.anchor >= before.anchor
        assert floor.anchor <= floor.seconds <= floor.anchor + FLOOR_REACH


def test_age_is_counted_in_whole_days() -> None:
    assert age_days("2026-02-01T00:00:00Z", BUILT) == 0
    assert age_days("2026-02-01T00:00:00Z", BUILT + DAY - 1) == 0
    assert age_days("2026-02-01T00:00:00Z", BUILT + DAY) == 1
    assert age_days("2030-02-01T00:00:00Z", BUILT) == 0


def test_fresh_is_what_has_not_expired_and_is_not_too_old() -> None:
    issued, expires = format_time(BUILT), format_time(BUILT + 10 * DAY)
    check_fresh(issued, expires, BUILT + 10 * DAY)
    check_fresh(issued, None, BUILT + 1000 * DAY)
    check_fresh(issued, None, BUILT + 9 * DAY, max_age_days=9)
    with pytest.raises(StaleError, match="10 days old"):
        check_fresh(issued, expires, BUILT + 10 * DAY + 1)
    with pytest.raises(StaleError, match="10 days old"):
        check_fresh(issued, None, BUILT + 10 * DAY, max_age_days=9)
    with pytest.raises(StatementError):
        check_fresh("yesterday", None, BUILT)
