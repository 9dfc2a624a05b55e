"""Two hundred worlds in which much goes wrong; each replays from its number: scripts/simulate.py --seed N."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.scenarios import Library, Plan, play

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def library() -> Iterator[Library]:
    with Library() as library:
        yield library


@pytest.mark.parametrize("seed", range(200))
def test_all_is_well_in_the_end(library: Library, seed: int) -> None:
    found = play(library, Plan.draw(seed))
    assert not found.faults, f"replay it: scripts/simulate.py --seed {seed}"


def test_a_flash_crowd_shares_what_one_seeder_has(library: Library) -> None:
    plan = Plan.crowd(1, 25)
    found = play(library, plan)
    assert not found.faults, "replay it: scripts/simulate.py --seed 1 --crowd 25"
    assert found.seconds < plan.alone / 2, "they do not share"
