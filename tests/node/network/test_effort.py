"""What a connection may make a node do: the first of it at once, bulk for nothing, and the rest in turn."""

from __future__ import annotations

import pytest
import trio

from samara.node.network.caps import TokenBucket
from samara.node.network.effort import Effort
from samara.protocol.limits import (
    EFFORT_A_SECOND,
    EFFORT_BYTES,
    EFFORT_FREE,
    EFFORT_FREE_A_SECOND,
    EFFORT_OF_A_FEW_BYTES,
    EFFORT_OF_A_STREAM,
)


def effort() -> Effort:
    return Effort(TokenBucket(EFFORT_A_SECOND))


async def rested(effort: Effort) -> float:
    """Return the seconds for which it rests."""
    began = trio.current_time()
    await effort.rest()
    assert not effort.in_debt
    return trio.current_time() - began


async def test_the_first_of_it_costs_no_time(autojump_clock: trio.abc.Clock) -> None:
    one = effort()
    one.frames(EFFORT_FREE)
    assert await rested(one) == 0
    one.frames(1)
    assert one.in_debt


@pytest.mark.parametrize(
    ("cost", "units"),
    [
        (lambda one: one.frames(5000), 5000),
        (lambda one: [one.stream() for _ in range(50)], 50 * EFFORT_OF_A_STREAM),
        (lambda one: [one.moved(1) for _ in range(1000)], 1000 * (EFFORT_OF_A_FEW_BYTES - 1 / EFFORT_BYTES)),
    ],
    ids=["frames", "streams", "a byte at a time"],
)
async def test_what_is_more_than_that_is_rested_for(cost: object, units: float, autojump_clock: trio.abc.Clock) -> None:
    one = effort()
    one.frames(EFFORT_FREE)
    cost(one)  # type: ignore[operator]
    assert await rested(one) == pytest.approx(units / EFFORT_A_SECOND, abs=0.01)


async def test_time_allows_some_of_it(autojump_clock: trio.abc.Clock) -> None:
    one = effort()
    for _ in range(100):
        one.frames(EFFORT_FREE_A_SECOND)
        await trio.sleep(1)
        assert await rested(one) == 0
    await trio.sleep(1000)
    one.frames(EFFORT_FREE + 1)
    assert one.in_debt, "no more is saved than there is at first"


@pytest.mark.parametrize("piece", [EFFORT_BYTES, 64 * EFFORT_BYTES])
async def test_bulk_pays_for_its_frames(piece: int, autojump_clock: trio.abc.Clock) -> None:
    one = effort()
    one.frames(EFFORT_FREE)
    for _ in range(10_000):
        one.frames(1)
        one.moved(piece)
    assert not one.in_debt


async def test_a_read_of_few_bytes_that_somebody_waits_for_costs_nothing(autojump_clock: trio.abc.Clock) -> None:
    one = effort()
    for _ in range(10_000):
        one.moved(1448, bulk=True)
    assert await rested(one) == 0


async def test_who_asks_for_little_waits_for_little_while_others_ask_for_much(autojump_clock: trio.abc.Clock) -> None:
    shared = TokenBucket(EFFORT_A_SECOND)
    greedy = [Effort(shared) for _ in range(32)]
    modest = Effort(shared)
    async with trio.open_nursery() as nursery:
        for one in greedy:
            one.frames(EFFORT_FREE + 100_000)
            nursery.start_soon(one.rest)
        await trio.sleep(1)
        modest.frames(EFFORT_FREE + 200)
        assert await rested(modest) < 33 * 250 / EFFORT_A_SECOND + 0.01
        nursery.cancel_scope.cancel()


async def test_who_leaves_while_it_rests_leaves_the_others_their_turns(autojump_clock: trio.abc.Clock) -> None:
    shared = TokenBucket(EFFORT_A_SECOND)
    left, stays = Effort(shared), Effort(shared)
    left.frames(EFFORT_FREE + 1_000_000)
    stays.frames(EFFORT_FREE + EFFORT_A_SECOND)
    with trio.move_on_after(0.1):
        await left.rest()
    assert await rested(stays) == pytest.approx(1, abs=0.05)
