"""Kills fetches at random moments, and counts what they left that is wrong: the aim is nothing, ever.

    python bench/kills.py [--kills N] [--seed S] [--folder DIR] [--json]

Each game has a new home and one to three kills at moments drawn from its seed, half of them on a disk that loses what
was not synced; see tests/support/kills.py. A game that shows something is named by its seed, and its home is kept.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests"), str(ROOT / "bench")]

from measuring import machine  # noqa: E402 - its path is added above
from support.kills import Findings, KillHarness  # noqa: E402


def main() -> int:
    arguments = _arguments()
    folder = Path(arguments.folder or tempfile.mkdtemp(prefix="samara-kills-")) / "yard"
    found = Findings()
    with KillHarness(folder) as harness:
        began = time.monotonic()
        seed = arguments.seed
        while found.kills < arguments.kills:
            game = harness.play(seed)
            found.add(game)
            for what in (*game.lies, *game.unreadable):
                print(what, file=sys.stderr, flush=True)
            seed += 1
        seconds = time.monotonic() - began
    report = {
        "machine": machine(),
        "kills": found.kills,
        "missed": found.missed,
        "games": seed - arguments.seed,
        "seeds": [arguments.seed, seed - 1],
        "lies": len(found.lies),
        "unreadable": len(found.unreadable),
        "kills_per_second": round(found.kills / seconds, 2),
        "lost_bytes_median": statistics.median(found.lost),
        "lost_bytes_most": max(found.lost),
        "moments": dict(found.moments.most_common()),
    }
    print(json.dumps(report, indent=2) if arguments.json else "\n".join(f"{k:18} {v}" for k, v in report.items()))
    return 1 if found.lies or found.unreadable else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="seed of the first game; the others count up from it")
    parser.add_argument("--folder", help="where homes lie; default: a temporary folder")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
