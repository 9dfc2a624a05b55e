#!/usr/bin/env python3
"""Lives through simulated worlds, and prints those in which something is wrong, as the number that replays them.

    scripts/simulate.py --seeds 10000 --jobs 2     worlds 0 … 9999
    scripts/simulate.py --seed 4711                one world, with a line for each event
    scripts/simulate.py --crowd 100 --seed 1       a hundred fetchers come at once
    scripts/simulate.py --scene split --seed 1     a publisher shows two halves of a country two logs

It ends with 1 when something was wrong. See tests/sim/README.md.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(_ROOT / "src"), str(_ROOT / "tests")]

# The tests' folder is no package.
from support.hearsay import SCENES, Country, Scene, hear  # noqa: E402
from support.scenarios import Found, Library, Plan, play, quick_folder  # noqa: E402

__all__ = ["main"]

_HANGS: Final = 300
"""Real seconds after which a world has hung: in one that spins the simulated clock stands still."""

_library: Library | None = None


def _open_library(folder: str) -> None:
    global _library
    _library = Library(folder)


def live(plan: Plan, *, aloud: bool = False) -> Found:
    """Live through one world in this process."""
    assert _library is not None
    try:
        with _Alarm():
            return play(_library, plan, print if aloud else None)
    except Exception as error:
        if aloud:
            traceback.print_exc()
        return Found(plan, faults=[f"it broke: {error!r}"])


def _draw_and_live(seed: int) -> Found:
    return live(Plan.draw(seed))


class _Alarm:
    """Ends what takes too long, where the system can."""

    def __enter__(self) -> None:
        if hasattr(signal, "SIGALRM"):
            signal.signal(signal.SIGALRM, self._ring)
            signal.alarm(_HANGS)

    def __exit__(self, *_: object) -> None:
        if hasattr(signal, "SIGALRM"):
            signal.alarm(0)

    @staticmethod
    def _ring(number: int, frame: object) -> None:
        raise TimeoutError(f"it took more than {_HANGS} s, and was at {frame}")


def _all(seeds: Iterable[int], jobs: int, folder: str) -> Iterator[Found]:
    if jobs == 1:
        yield from map(_draw_and_live, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs, _open_library, (folder,)) as pool:
        yield from pool.imap_unordered(_draw_and_live, seeds)


def _tell_digests(seeds: Iterable[int]) -> int:
    for seed in seeds:
        print(seed, _draw_and_live(seed).digest)
    return 0


def _replay(plan: Plan) -> int:
    print(plan)
    found = live(plan, aloud=True)
    print(f"digest {found.digest}, {found.events} events, {found.seconds:.1f} s, the seeders sent {found.seeded:.2f}"
          f" copies, {found.wasted:.0%} was wasted, blamed {found.blamed} times")  # fmt: skip
    for fault in found.faults:
        print(f"FAULT {fault}")
    return 1 if found.faults else 0


def _replay_scene(country: Country, scene: Scene, folder: str) -> int:
    print(country)
    with _Alarm():
        told = hear(country, scene, Path(folder), print)
    print(f"digest {told.digest}, {told.events} events, {told.knew} knew when the border was opened, all at"
          f" {told.seconds:.0f} s of {told.bound:.0f} s, {told.lies} lies")  # fmt: skip
    for fault in told.faults:
        print(f"FAULT {fault}")
    return 1 if told.faults else 0


def _add_up(seeds: range, jobs: int, folder: str) -> int:
    began = time.monotonic()
    kinds: Counter[str] = Counter()
    events, seconds, failed = 0, 0.0, []
    for found in _all(seeds, jobs, folder):
        kinds[found.plan.kind] += 1
        events += found.events
        seconds += found.seconds
        if found.faults:
            failed.append(found.plan.seed)
            print(f"seed {found.plan.seed}: {found.faults[0]}", flush=True)
    print(f"{sum(kinds.values())} worlds ({', '.join(f'{n} {kind}' for kind, n in sorted(kinds.items()))}), {events:,}"
          f" events, {seconds / 3600:.1f} simulated hours in {time.monotonic() - began:.0f} s")  # fmt: skip
    print(f"{len(failed)} failed: {' '.join(map(str, sorted(failed)))}".rstrip(": "))
    return 1 if failed else 0


def main() -> int:
    """Do what was asked."""
    parser = argparse.ArgumentParser(description="Live through simulated worlds.")
    parser.add_argument("--seeds", type=int, default=200, help="how many worlds (200)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first (0)")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time (1)")
    parser.add_argument("--seed", type=int, help="live through this one alone, and print what happens")
    parser.add_argument("--crowd", type=int, help="with --seed: so many fetchers come at once for what one seeder has")
    parser.add_argument("--scene", choices=SCENES, help="with --seed: what publishers say gets about in a country")
    parser.add_argument("--nodes", type=int, default=30, help="with --scene: its honest nodes (30)")
    parser.add_argument("--digests", action="store_true", help="print the digest of each world instead")
    asked = parser.parse_args()
    seeds = range(asked.first, asked.first + asked.seeds)
    # The folder is this process's, whatever becomes of the others.
    with tempfile.TemporaryDirectory(prefix="samara-sim-", dir=quick_folder()) as folder:
        if asked.scene is not None:
            return _replay_scene(Country.draw(asked.seed or 0, asked.nodes), asked.scene, folder)
        _open_library(folder)
        if asked.seed is not None:
            return _replay(Plan.draw(asked.seed) if asked.crowd is None else Plan.crowd(asked.seed, asked.crowd))
        return _tell_digests(seeds) if asked.digests else _add_up(seeds, asked.jobs, folder)


if __name__ == "__main__":
    sys.exit(main())
