"""What the node takes of the line: settings and schedule hold at once. The clocks are ours."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import trio
from trio.testing import MockClock

from samara.node.network import allowance as allowance_module
from samara.node.network.allowance import Allowance
from samara.node.network.caps import TokenBucket
from samara.node.network.exchange.giving import Giving
from samara.node.network.timetable import parse_window
from samara.node.settings import NetworkSettings

HOUR = 3600.0


class Wall:
    """A clock on the wall that goes with trio's, and that somebody may set."""

    def __init__(self, begin: datetime) -> None:
        self._begin = begin
        self._since = trio.current_time()

    def __call__(self) -> datetime:
        return self._begin + timedelta(seconds=trio.current_time() - self._since)

    def put(self, by: timedelta) -> None:
        self._begin += by


def settings(*windows: str, **others: object) -> NetworkSettings:
    return NetworkSettings(schedule=tuple(map(parse_window, windows)), **others)  # type: ignore[arg-type]


async def test_windows_begin_and_end_by_themselves(autojump_clock: MockClock) -> None:
    wall = Wall(datetime(2026, 6, 1, 7))
    found = Allowance(settings("mon 08:00-09:00 upload=100 download=0", upload=5000), wall)
    seen = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.run)
        for _ in range(3):
            seen.append((found.caps.upload.rate, found.caps.download.rate, found.giving.open, found.until()))
            await found.wait_changed()
            assert wall().minute == 0  # not a minute late
            if len(seen) == 2:
                nursery.cancel_scope.cancel()
                break
    assert seen == [
        (5000, None, True, datetime(2026, 6, 1, 8)),
        (100, 0, True, datetime(2026, 6, 1, 9)),
    ]
    found.set(found.settings)
    assert (found.caps.upload.rate, found.caps.download.rate) == (5000, None)


async def test_a_clock_that_is_set_is_noticed_within_a_minute(autojump_clock: MockClock) -> None:
    wall = Wall(datetime(2026, 6, 1, 7))
    found = Allowance(settings("08:00-09:00 upload=100"), wall)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.run)
        await trio.sleep(10)
        wall.put(timedelta(hours=1, minutes=5))
        began = trio.current_time()
        await found.wait_changed()
        assert trio.current_time() - began <= allowance_module._LOOK_AGAIN
        assert found.caps.upload.rate == 100
        nursery.cancel_scope.cancel()


async def test_without_a_schedule_nothing_wakes_up() -> None:
    class Steps(trio.abc.Instrument):
        count = 0

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.count += task.name.endswith("Allowance.run")

    steps = Steps()
    found = Allowance(settings(upload=5))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.run)
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(steps)
        await trio.sleep(0.1)
        assert steps.count == 0
        found.set(settings(upload=6))
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(steps)
        assert steps.count == 1
        nursery.cancel_scope.cancel()
    assert found.caps.upload.rate == 6


async def test_settings_hold_at_once_for_connections_that_stand(autojump_clock: MockClock) -> None:
    found = Allowance(settings(upload=1000, peer_upload=500))
    peer = found.caps.of_peer("a")
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.upload.acquire, 5000)
        await trio.sleep(2)
        found.set(settings())
    assert trio.current_time() - began == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("windows", "others", "asked", "why"),
    [
        ((), {}, False, ""),
        ((), {"download": 5}, False, ""),
        ((), {"download": 0}, True, "download is 0"),
        (("mon 08:00-18:00 download=0",), {}, True, "download is 0 until Mon 18:00"),
        (("mon 08:00-18:00 upload=0",), {}, True, ""),
        ((), {"metered": True}, True, ""),
        ((), {"metered": True}, False, "the line is metered, and nobody waits for it"),
    ],
)
async def test_why_a_fetch_may_not_run(
    windows: tuple[str, ...], others: dict[str, object], asked: bool, why: str
) -> None:
    found = Allowance(settings(*windows, **others), lambda: datetime(2026, 6, 1, 9))
    assert found.why_no_fetch(asked=asked) == why


@pytest.mark.parametrize(
    ("windows", "others", "retry"),
    [
        ((), {}, None),
        ((), {"upload": 0}, 600.0),
        ((), {"metered": True}, 600.0),
        ((), {"max_upload": 0}, HOUR),
        (("mon 08:00-09:20 upload=0",), {}, 1200.0),
        (("mon 08:00-18:00 upload=0",), {}, HOUR),
        (("mon 08:00-09:20 upload=0",), {"metered": True}, 600.0),
    ],
)
async def test_when_peers_are_to_ask_again(
    windows: tuple[str, ...], others: dict[str, object], retry: float | None
) -> None:
    found = Allowance(settings(*windows, **others), lambda: datetime(2026, 6, 1, 9))
    left = found.giving.retry_after(trio.current_time())
    assert left == (None if retry is None else pytest.approx(retry, abs=1.0))
    assert found.giving.open == (retry is None)


def test_promises_are_never_more_than_may_be_given() -> None:
    upload = TokenBucket()
    giving = Giving(upload)
    assert giving.promise([10**9] * 3) == 3
    giving.let_go(3 * 10**9)
    giving.most = 100
    assert giving.promise([30, 30]) == 2
    assert giving.promise([30, 20, 5]) == 1  # 90: another session has 60 of it
    giving.let_go(60)
    upload.charge(60)  # they went out
    assert giving.promise([11]) == 0
    assert giving.promise([10]) == 1
    giving.let_go(40)  # the others did not
    assert giving.promise([40]) == 1
    giving.let_go(40)
    upload.charge(40)
    assert not giving.open
    assert giving.promise([1]) == 0
    assert giving.retry_after(0) == HOUR
    giving.most = 200
    assert giving.open


def test_sessions_are_stopped_once_when_nothing_is_given_any_more() -> None:
    giving = Giving()
    stopped: list[str] = []
    giving.begin("a", lambda: stopped.append("a"))
    giving.begin("b", lambda: stopped.append("b"))
    giving.end("b")
    giving.set_closed(True, 5.0)
    giving.set_closed(True, 7.0)
    assert stopped == ["a"]
    assert giving.retry_after(3.0) == 4.0
    assert giving.retry_after(6.9) == 1.0
    giving.set_closed(False)
    assert giving.retry_after(3.0) is None
