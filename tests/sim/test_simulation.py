"""The simulation itself: the same number gives the same events, and what is wrong is found."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import hostile
from support.scenarios import KINDS, Library, Member, Mishap, Plan, play
from support.simulation import SimulatedNode

from samara.node.fetch import job, meeting
from samara.node.network.exchange.slots import UploadSlots
from samara.node.store import intake
from samara.protocol.chunklist import ChunkList

SCRIPT = Path(__file__).parents[2] / "scripts/simulate.py"


@pytest.fixture(scope="module")
def library() -> Iterator[Library]:
    with Library() as library:
        yield library


def small(*mishaps: Mishap, liars: dict[str, type[hostile.Plain]] | None = None) -> Plan:
    """A seeder and two fetchers; one more takes part who lies."""
    members = (
        Member("s1", "seeder", 1e5, 1e6),
        Member("f1", "fetcher", 1e6, 1e6),
        Member("f2", "fetcher", 1e6, 1e6),
    )
    return Plan(1, "swarm", 1, members, liars or {}, (0.02, 0.005), mishaps, True, 0.004, 99)


def test_a_seed_replays_to_the_last_byte_in_any_process(library: Library) -> None:
    seeds = range(7, 11)
    here = [f"{seed} {play(library, Plan.draw(seed)).digest}" for seed in seeds]
    assert here == [f"{seed} {play(library, Plan.draw(seed)).digest}" for seed in seeds]
    for hash_seed in ("1", "2"):
        command = [sys.executable, str(SCRIPT), "--digests", "--first", str(seeds[0]), "--seeds", str(len(seeds))]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        there = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
        assert there.stdout.splitlines() == here
    assert len({line.split()[1] for line in here}) == len(seeds)


def test_plans_are_of_every_kind_and_hold_every_vice() -> None:
    plans = [Plan.draw(seed) for seed in range(200)]
    assert {plan.kind for plan in plans} == set(KINDS)
    assert {mishap.kind for plan in plans for mishap in plan.mishaps} == {
        "leave", "kill", "cut", "still", "loss", "drop", "twice",
    }  # fmt: skip
    assert {member.role for plan in plans for member in plan.members} == {"seeder", "fetcher", "leech"}
    assert len({vice for plan in plans for vice in plan.liars.values()}) == 21


def test_nothing_is_wrong_in_a_small_world(library: Library) -> None:
    found = play(library, small(liars={"x1": hostile.WrongBytes}))
    assert not found.faults
    assert found.blamed == 2
    assert 0.9 < found.seeded < 2.5
    assert found.seconds > found.plan.ideal


def test_bytes_that_are_not_verified_are_found(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ChunkList, "count_right", lambda self, data, first, count: count)
    found = play(library, small(liars={"x1": hostile.WrongBytes}))
    assert any("has wrong bytes" in fault for fault in found.faults)


def test_a_fetch_that_gives_up_is_found(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "_MAX_TRIES", 0)
    found = play(library, small())
    assert "not done after" in found.faults[0]
    assert found.faults[0].endswith("f1, f2")


def test_a_place_that_is_not_given_back_is_found(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UploadSlots, "give_back", lambda self, session: None)
    assert any("places for uploads to nobody" in fault for fault in play(library, small()).faults)


def test_blame_for_the_innocent_is_found(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    put_runs = intake.StoreIntake.put_runs
    calls = iter(range(10**9))

    def slandering(self: intake.StoreIntake, runs: Any) -> list[int]:
        right = put_runs(self, runs)
        return [0] * len(right) if next(calls) == 2 else right

    monkeypatch.setattr(intake.StoreIntake, "put_runs", slandering)
    assert any("without cause" in fault for fault in play(library, small()).faults)


def test_a_killed_node_loses_what_it_did_not_commit(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    kill: Callable[..., Any] = SimulatedNode.kill
    pending: list[int] = []

    async def looking(self: SimulatedNode) -> None:
        assert self.node is not None
        (taking,) = self.node.store._intakes.values()
        pending.append(taking.pending_bytes)
        await kill(self)

    monkeypatch.setattr(job, "_COMMIT_EVERY", 1000.0)
    whole = play(library, small())
    monkeypatch.setattr(SimulatedNode, "kill", looking)
    found = play(library, small(Mishap("kill", "f1", "", 4.0, 6.0)))
    assert not found.faults
    (lost,) = pending
    assert lost > 0
    assert found.wasted - whole.wasted > lost / (2 * found.plan.size) / 2, "it did not come again"
