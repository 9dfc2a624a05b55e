"""Caps: exact on average, shared in order, changed and cancelled while they run. The clock jumps."""

from __future__ import annotations

import gc
import random
from collections.abc import Awaitable, Callable, Sequence

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from samara.node.network.caps import Caps, Passage, TokenBucket
from samara.protocol.limits import TRICKLE


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


@pytest.mark.parametrize("rate", [-1, float("nan")])
def test_a_cap_is_not_below_zero(rate: float) -> None:
    with pytest.raises(ValueError, match="below 0"):
        TokenBucket(rate)


@pytest.mark.parametrize(("rate", "piece"), [(1, 2048), (100_000, 10_000), (10**12, 1 << 20)])
def test_pieces_flow_evenly(rate: float, piece: int) -> None:
    assert TokenBucket(rate).piece == piece


# --- never above the cap ----------------------------------------------------------------------------------------------

WINDOW = 10.0
Move = Callable[[Passage, list[tuple[float, int]]], Awaitable[None]]


def most_in_a_window(moved: Sequence[tuple[float, int]]) -> int:
    """Return the most bytes that moved within any `WINDOW` seconds."""
    most = total = first = 0
    for moment, count in moved:
        total += count
        while moved[first][0] <= moment - WINDOW:
            total -= moved[first][1]
            first += 1
        most = max(most, total)
    return most


async def write(passage: Passage, moved: list[tuple[float, int]]) -> None:
    """Move bytes as the writer of a connection does, with more to send than may pass."""
    while True:
        count = passage.piece or 1 << 20
        await passage.acquire(count)
        moved.append((trio.current_time(), count))
        await trio.sleep(random.uniform(0, 0.02))


async def read(passage: Passage, moved: list[tuple[float, int]]) -> None:
    """Move bytes as the reader of a connection does: it asks for a piece, and often there is less."""
    while True:
        piece = passage.piece or 1 << 20
        await passage.acquire(piece)
        await trio.sleep(random.uniform(0, 0.001))
        count = random.choice([12, piece // 3, piece, piece])
        passage.give_back(piece - count)
        moved.append((trio.current_time(), count))


@pytest.mark.parametrize("move", [write, read])
@pytest.mark.parametrize(
    ("rate", "peer_rate", "peers", "each"),
    [(1_000_000, None, 1, 1), (1_000_000, None, 100, 1), (200_000, 50_000, 3, 4), (2_000_000, 100_000, 40, 2)],
)
async def test_no_ten_seconds_have_more_than_the_cap(
    move: Move, rate: int, peer_rate: int | None, peers: int, each: int, autojump_clock: MockClock
) -> None:
    """Many connections at once, from the first byte on, of the node and of each peer."""
    caps = Caps(TokenBucket(rate), peer_upload=peer_rate)
    all_moved: list[list[tuple[float, int]]] = [[] for _ in range(peers)]
    with trio.move_on_after(40):
        async with trio.open_nursery() as nursery:
            of_peers = [caps.of_peer(f"peer {number}") for number in range(peers)]
            for of_peer, moved in zip(of_peers, all_moved, strict=True):
                for _ in range(each):
                    nursery.start_soon(move, of_peer.upload, moved)
    together = sorted(entry for moved in all_moved for entry in moved)
    assert most_in_a_window(together) <= rate * WINDOW * 1.05
    full = min(rate, peers * (peer_rate or rate))
    assert sum(count for moment, count in together if moment >= together[-1][0] - WINDOW) >= full * WINDOW * 0.95
    if peer_rate is not None:
        assert max(map(most_in_a_window, all_moved)) <= peer_rate * WINDOW * 1.05


async def test_a_new_cap_is_kept_from_the_moment_on_at_which_it_is_set(autojump_clock: MockClock) -> None:
    bucket = TokenBucket(5_000_000)
    moved: list[tuple[float, int]] = []
    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(write, Passage(bucket), moved)
        await trio.sleep(5)
        bucket.set_rate(2_000_000)
        before = len(moved)
        await trio.sleep(30)
        nursery.cancel_scope.cancel()
    assert most_in_a_window(moved[before:]) <= 2_000_000 * WINDOW * 1.05


# --- peers ------------------------------------------------------------------------------------------------------------


async def test_who_waits_for_a_peer_holds_up_no_other(autojump_clock: MockClock) -> None:
    caps = Caps(TokenBucket(1_000_000), peer_upload=1000)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caps.of_peer("slow").upload.acquire, 100_000)
        await trio.sleep(0.01)
        with trio.CancelScope() as scope:
            await caps.of_peer("quick").upload.acquire(1000)
        assert trio.current_time() - began < 1.1
        assert not scope.cancelled_caught
        nursery.cancel_scope.cancel()


async def test_a_cancelled_wait_is_given_back_to_every_bucket(autojump_clock: MockClock) -> None:
    caps = Caps(TokenBucket(1000), peer_upload=1_000_000)
    with trio.move_on_after(1) as scope:
        await caps.of_peer("a").upload.acquire(50_000)
    assert scope.cancelled_caught
    assert caps.upload.passed == 0
    began = trio.current_time()
    await caps.of_peer("a").upload.acquire(1000)
    assert trio.current_time() - began <= 1.0


async def test_all_connections_of_a_peer_share_its_caps_and_they_go_with_the_last(autojump_clock: MockClock) -> None:
    caps = Caps(peer_download=1000)
    one, other = caps.of_peer("a"), caps.of_peer("a")
    assert one is other
    assert caps.of_peer("b") is not one
    caps.set_peer_rates(None, 500)
    assert one.download.piece is not None
    began = trio.current_time()
    await other.download.acquire(5000)
    assert trio.current_time() - began == pytest.approx(10.0)
    caps.set_peer_rates(None, None)
    assert one.download.piece is None
    del one, other
    gc.collect()
    assert not list(caps._peers)


# --- nothing, and what moved already ----------------------------------------------------------------------------------


async def test_at_zero_a_trickle_passes(autojump_clock: MockClock) -> None:
    bucket = TokenBucket(0)
    began = trio.current_time()
    await bucket.acquire(3 * TRICKLE)
    assert trio.current_time() - began == pytest.approx(3.0)
    bucket.set_rate(10 * TRICKLE)
    await bucket.acquire(10 * TRICKLE)
    assert trio.current_time() - began == pytest.approx(4.0)


async def test_what_is_sealed_when_it_becomes_zero_goes_out_at_once(autojump_clock: MockClock) -> None:
    """Three connections wait with a megabyte each; then a ping must not wait for minutes behind them."""
    bucket = TokenBucket(10_000_000)
    await bucket.acquire(10_000_000)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(bucket.acquire, 1_000_000)
        await trio.sleep(0.05)
        bucket.set_rate(0)
        began = trio.current_time()
    assert trio.current_time() == began
    await bucket.acquire(TRICKLE)
    assert trio.current_time() - began == pytest.approx(1.0)
    assert bucket.passed == 13_000_000 + TRICKLE


async def test_who_comes_next_waits_for_what_moved_already(autojump_clock: MockClock) -> None:
    bucket = TokenBucket(1000)
    bucket.charge(3000)
    began = trio.current_time()
    await bucket.acquire(1000)
    assert trio.current_time() - began == pytest.approx(4.0)
    assert bucket.passed == 4000
    free = TokenBucket()
    free.charge(10**9)
    await free.acquire(1)
    assert trio.current_time() - began == pytest.approx(4.0)
