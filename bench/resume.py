"""Kills a fetch in its middle, and counts the bytes that come again: at most 64 MiB, or one second of data, may.

    python bench/resume.py [--size MIB] [--runs N] [--folder DIR] [--json]

Real processes over loopback: a seeder, a fetch that gets SIGKILL about half way, and the
same command again. What came again is what the seeder sent in both, less the size of the file; it counts what was
under way too. The ratio is that over what is allowed: below 1 is the aim.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests"), str(ROOT / "bench")]

from contents import write_random  # noqa: E402 - its path is added above
from measuring import MIB, machine  # noqa: E402
from support.cli import Cli  # noqa: E402

ALLOWED = 64 * MIB


def main() -> int:
    arguments = _arguments()
    folder = Path(arguments.folder or tempfile.mkdtemp(prefix="samara-resume-"))
    size = arguments.size * MIB
    file = folder / "model.bin"
    write_random(file, size)
    alice = Cli(folder / "alice")
    runs = []
    with alice.running("seed", str(file), "--license", "MIT") as (_, said):
        row = said["published"][0]
        for number in range(arguments.runs):
            runs.append(measure(alice, folder / f"bob-{number}", row["link"], size, random.Random(number)))
            shutil.rmtree(folder / f"bob-{number}")
    if not arguments.folder:
        shutil.rmtree(folder)
    report = {
        "machine": machine(),
        "bytes": size,
        "runs": runs,
        "again_median": statistics.median(run["again"] for run in runs),
        "again_most": max(run["again"] for run in runs),
        "ratio_most": max(run["ratio"] for run in runs),
    }
    print(json.dumps(report, indent=2) if arguments.json else "\n".join(f"{k:14} {v}" for k, v in report.items()))
    return 0 if report["ratio_most"] <= 1 else 1


def measure(alice: Cli, home: Path, link: str, size: int, rng: random.Random) -> dict[str, float]:
    """Kill one fetch, and let it go on."""
    before = _sent(alice)
    bob = Cli(home)
    started = time.monotonic()
    fetch = bob.start("fetch", link, "--json")
    kill_at = rng.uniform(0.4, 0.5) * size
    began = 0.0
    while (held := _committed(home, size)) < kill_at and fetch.process.poll() is None:
        began = began or (time.monotonic() if held else 0.0)
        time.sleep(0.01)
    if fetch.process.poll() is None:
        # A moment between two commits, not the one right after one, which is the best there is.
        time.sleep(rng.uniform(0.0, 0.5))
    seconds = time.monotonic() - (began or started)  # a small file may be half there when its first bytes are
    done = fetch.stop(signal.SIGKILL)
    if done.code != -signal.SIGKILL:
        raise RuntimeError(f"the fetch ended before it was killed; take a larger --size: {done}")
    time.sleep(0.5)  # the seeder notices
    first = _sent(alice) - before
    committed = _committed(home, size)
    bob.json("fetch", link)
    again = _sent(alice) - before - size
    rate = first / max(seconds, 1e-9)
    allowed = max(ALLOWED, rate)
    return {
        "killed_at": round(first / size, 3),
        "committed": committed,
        "again": again,
        "rate": round(rate),
        "allowed": round(allowed),
        "ratio": round(again / allowed, 3),
    }


def _sent(alice: Cli) -> int:
    return int(alice.json("status")["sent"])


def _committed(home: Path, size: int) -> float:
    """About how many bytes are committed, read from the index beside the process that writes it."""
    with (
        contextlib.suppress(sqlite3.Error, TypeError),
        contextlib.closing(sqlite3.connect(f"file:{home}/index.sqlite?mode=ro", uri=True)) as db,
    ):
        state, bits = db.execute("SELECT state, bits FROM file WHERE stream = 1").fetchone()
        (chunks,) = db.execute("SELECT count(*) FROM chunk").fetchone()
        if state == "complete":
            return size
        return float(int.from_bytes(bits, "little").bit_count() / max(chunks, 1) * size)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, help="MiB of the file")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", help="where homes lie; default: a temporary folder")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
