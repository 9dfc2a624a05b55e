"""Two hundred worlds in which much goes wrong; each replays from its number: scripts/simulate.py --seed N."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from support.scenarios import Library, Plan, play
from support.scripts import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def library() -> Iterator[Library]:
    with Library() as library:
        yield library


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_all_is_well_in_the_end(first: int) -> None:
    """Fifty worlds at a time, in processes of their own: on all cores, and not slowed by what measures coverage."""
    script = [sys.executable, str(ROOT / "scripts/simulate.py"), "--first", str(first), "--seeds", "50", "--jobs", "2"]
    done = subprocess.run(script, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_flash_crowd_shares_what_one_seeder_has(library: Library) -> None:
    plan = Plan.crowd(1, 25)
    found = play(library, plan)
    assert not found.faults, "replay it: scripts/simulate.py --seed 1 --crowd 25"
    assert found.seconds < plan.alone / 2, "they do not share"


@pytest.mark.parametrize("rate", [4e6, 16e6])
def test_a_seeder_sends_little_more_than_one_copy(library: Library, rate: float) -> None:
    """On the faster line all is there within seconds: who meets its mates late takes all of it from the seeder."""
    plan = Plan.behind(1, 4, rate)
    found = play(library, plan)
    assert not found.faults
    assert found.seeded < 1.2
    assert found.seconds < 1.5 * max(plan.size / rate, plan.ideal)
