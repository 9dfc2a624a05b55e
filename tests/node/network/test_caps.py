"""Caps: exact on average, shared in order, changed and cancelled while they run. The clock jumps."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from samara.node.network.caps import TokenBucket


def jumping() -> MockClock:
    return MockClock(autojump_threshold=0)


@settings(max_examples=50, deadline=None)
@given(rate=st.integers(1_000, 10**9), amounts=st.lists(st.integers(1, 1 << 20), min_size=1, max_size=30))
def test_the_average_is_exact(rate: int, amounts: list[int]) -> None:
    async def main() -> float:
        bucket = TokenBucket(rate)
        began = trio.current_time()
        for amount in amounts:
            await bucket.acquire(amount)
        return trio.current_time() - began

    assert trio.run(main, clock=jumping()) == pytest.approx(sum(amounts) / rate, rel=1e-6, abs=1e-5)


async def test_an_idle_bucket_saves_a_tenth_of_a_second(autojump_clock: MockClock) -> None:
    bucket = TokenBucket(1000)
    await bucket.acquire(0)
    await trio.sleep(100)
    began = trio.current_time()
    await bucket.acquire(1100)
    assert trio.current_time() - began == pytest.approx(1.0)


async def test_no_cap_never_waits(autojump_clock: MockClock) -> None:
    bucket = TokenBucket()
    began = trio.current_time()
    await bucket.acquire(1 << 60)
    assert trio.current_time() == began
    assert bucket.piece is None


async def test_who_comes_first_is_served_first(autojump_clock: MockClock) -> None:
    bucket = TokenBucket(1000)
    order: list[tuple[int, float]] = []

    async def take(number: int, amount: int) -> None:
        await trio.sleep(number / 1000)
        await bucket.acquire(amount)
        order.append((number, round(trio.current_time() - began, 2)))

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number, amount in enumerate([5000, 1, 2000]):
            nursery.start_soon(take, number, amount)
    assert order == [(0, 5.0), (1, 5.0), (2, 7.0)]


@pytest.mark.parametrize(("rate", "done_at"), [(10_000, 1.9), (500, 19.0), (None, 1.0)])
async def test_a_new_rate_holds_at_once(rate: float | None, done_at: float, autojump_clock: MockClock) -> None:
    bucket = TokenBucket(1000)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bucket.acquire, 10_000)
        await trio.sleep(1)
        bucket.set_rate(rate)
        assert bucket.rate == rate
    assert trio.current_time() - began == pytest.approx(done_at)


async def test_a_cap_that_comes_later_counts_from_then(autojump_clock: MockClock) -> None:
    bucket = TokenBucket()
    await bucket.acquire(10**9)
    bucket.set_rate(1000)
    began = trio.current_time()
    await bucket.acquire(3000)
    assert trio.current_time() - began == pytest.approx(3.0)


async def test_what_was_cancelled_is_given_back(autojump_clock: MockClock) -> None:
    bucket = TokenBucket(1000)
    began = trio.current_time()
    with trio.move_on_after(1) as scope:
        await bucket.acquire(1_000_000)
    assert scope.cancelled_caught
    await bucket.acquire(1000)
    assert trio.current_time() - began <= 2.0


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_cap_must_be_above_zero(rate: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        TokenBucket(rate)


@pytest.mark.parametrize(("rate", "piece"), [(1, 2048), (100_000, 10_000), (10**12, 1 << 20)])
def test_pieces_flow_evenly(rate: float, piece: int) -> None:
    assert TokenBucket(rate).piece == piece
