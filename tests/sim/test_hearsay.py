"""What publishers say gets about by asking alone, whatever goes wrong; each country replays from its number:

scripts/simulate.py --scene revocation --seed N
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support.hearsay import Country, Scene, Told, hear
from support.scenarios import quick_folder
from support.scripts import ROOT

from samara.node.store.ledgers import Ledgers
from samara.protocol import limits
from samara.protocol.trust import passing

HOUR = 3600.0


@pytest.fixture
def yard() -> Iterator[Path]:
    with TemporaryDirectory(prefix="samara-sim-", dir=quick_folder()) as folder:
        yield Path(folder)


def well(told: Told) -> Told:
    assert not told.faults
    assert told.lies, "nobody held anything back"
    assert told.seconds <= told.bound
    return told


@pytest.mark.slow
def test_a_revocation_reaches_all_thirty_within_hours_of_the_day_on_which_they_can_meet(yard: Path) -> None:
    country = Country.draw(1, 30)
    told = well(hear(country, "revocation", yard))
    assert 0 < told.knew <= 15, "only those on the publisher's side can know before"
    assert told.bound - country.mended < 6 * HOUR


@pytest.mark.slow
def test_a_split_view_is_found_when_two_halves_meet_and_all_thirty_are_frozen_for_it(yard: Path) -> None:
    country = Country.draw(2, 30)
    told = well(hear(country, "split", yard))
    assert told.knew == 0, "nobody can know before they meet"
    assert told.seconds > country.heals
    assert told.bound - country.mended < 6 * HOUR


def test_who_was_away_for_a_year_catches_up_in_one_round(yard: Path) -> None:
    country = Country.draw(3, 7)
    told = well(hear(country, "year", yard))
    peers = len(country.friends[country.names[-1]]) + len(country.liars)
    assert told.asked == peers, "one answer has all of it, and the others are asked what they have beyond it"
    assert told.asked <= peers * limits.MAX_LOG_PAGES
    assert told.missed < told.received < 1.1 * told.missed, "it came twice"
    assert told.received < limits.MAX_LOGS_BYTES


def test_who_was_away_for_a_year_asks_page_by_page(yard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing, "MAX_LOG_ENTRIES", 100)
    country = Country.draw(3, 7)
    told = well(hear(country, "year", yard))
    peers = len(country.friends[country.names[-1]]) + len(country.liars)
    pages = -(-(365 + 53 + 8) // 100)
    assert peers + pages - 1 == told.asked
    assert told.missed < told.received < 1.2 * told.missed, "it came twice"


@pytest.mark.parametrize("scene", ["revocation", "split"])
def test_a_seed_replays_in_any_process(scene: Scene, yard: Path) -> None:
    here = hear(Country.draw(4, 6), scene, yard)
    assert not here.faults
    command = [sys.executable, str(ROOT / "scripts/simulate.py"), "--scene", scene, "--seed", "4", "--nodes", "6"]
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    there = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert f"digest {here.digest}, {here.events} events" in there.stdout


def test_nodes_that_do_not_ask_are_found(yard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOGS_FIRST", 1e9)
    told = hear(Country.draw(4, 6), "revocation", yard)
    assert any("does not know" in fault for fault in told.faults)


def test_a_node_that_forgets_is_found(yard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Ledgers.revocation
    calls = iter(range(10**9))
    monkeypatch.setattr(
        Ledgers, "revocation", lambda self, *which: None if next(calls) % 999 == 998 else known(self, *which)
    )
    told = hear(Country.draw(4, 6), "revocation", yard)
    assert any("has forgotten" in fault for fault in told.faults)


def test_plans_are_drawn_with_all_that_goes_wrong() -> None:
    countries = [Country.draw(seed, 30) for seed in range(5)]
    assert {absence.killed for country in countries for absence in country.absences} == {True, False}
    for country in countries:
        assert country.publisher not in country.far
        assert country.other in country.far
        assert country.bound(country.publisher) > country.mended >= country.heals > country.speaks
