"""Runs Samara and its peers side by side, on the same data, in one run: figures, ratios, and whether the goals hold.

    python bench/compare.py [--runs 7] [--mib 1024] [--large] [--only ROW]… [--folder DIR] [--json FILE] [--docs DIR]
    python bench/compare.py --redraw FILE [--docs DIR]

scripts/bench_setup.py installs the peers; what is not here is skipped by name. Root is needed for slow links (network
namespaces). All traffic stays on loopback or in namespaces of its own. Every program runs the same number of times, in
turn; figures are medians.

Rows: single, model, large (with --large, or named), swarm, resume, many, item, slow, far, idle. Most are run twice: on
tmpfs, where the programs themselves are seen, and on the disk of --folder, where all have synced when they count as
done.
A whole run at full size writes docs/bench.md and docs/bench.svg; a smaller one only with --docs.

What Samara moves is encrypted and verified; of the others only curl's is encrypted, and libtorrent's where it says so.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from measuring import MIB, congestion, machine  # noqa: E402 - its path is added above
from picture import draw  # noqa: E402
from places import Place, places  # noqa: E402
from rows import ROWS, Found, Row, Scale, run_row, told  # noqa: E402
from tables import render  # noqa: E402


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all that was started is ended
    report = json.loads(arguments.redraw.read_text()) if arguments.redraw else measure(arguments)
    text = render(report)
    print(text)
    folder = arguments.docs or (ROOT / "docs" if _whole(arguments) else None)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bench.md").write_text(text)
        (folder / "bench.svg").write_text(draw(report))
    failed = any(row["failed"] for rows in report["places"].values() for row in rows.values())
    return 1 if failed else 0


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the rows that were asked for at each place, and return everything that was found."""
    scale = Scale(arguments.mib, arguments.runs, arguments.idle_seconds)
    rows = [row for row in ROWS if _asked(row, arguments)]
    report: dict[str, Any] = {
        "machine": f"{machine()}, TCP {congestion()}; load {os.getloadavg()[0]:.1f} at the start",
        "date": time.strftime("%Y-%m-%d"),
        "scale": asdict(scale),
        "titles": {row.name: row.scaled(scale) for row in rows},
        "places": {},
    }
    seen: set[str] = set()
    with places(arguments.folder, arguments.place) as found:
        for place in found:
            results = report["places"].setdefault(place.name, {})
            for row in rows:
                if row.once and row.name in seen:
                    continue
                seen.add(row.name)
                results[row.name] = told(_run(row, place, scale))
                if arguments.json:  # after each row: a long run that is cut off is not lost
                    arguments.json.write_text(json.dumps(report, indent=1))
    return report


def _run(row: Row, place: Place, scale: Scale) -> Found:
    print(f"{place.name}: {row.scaled(scale)}", file=sys.stderr, flush=True)
    if lacking := place.lacks(int((row.room * scale.mib + 256) * MIB)):
        return Found(skipped={peer.name: lacking for peer in row.peers})
    return run_row(row, place.folder / row.name, scale)


def _asked(row: Row, arguments: argparse.Namespace) -> bool:
    if arguments.only:
        return row.name in arguments.only
    return row.name != "large" or bool(arguments.large)


def _whole(arguments: argparse.Namespace) -> bool:
    """Whether this run may stand in the documents: nothing is left out, and it is as large as it says."""
    return not (arguments.only or arguments.place or arguments.redraw) and arguments.mib >= 1024 and arguments.runs >= 5


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--mib", type=int, default=1024, help="MiB of the file that is moved")
    parser.add_argument("--large", action="store_true", help="also four times as much, for the memory")
    parser.add_argument("--only", action="append", choices=[row.name for row in ROWS], metavar="ROW")
    parser.add_argument("--place", choices=("tmpfs", "disk"), help="only there")
    parser.add_argument("--folder", type=Path, help="a folder on the disk to use; default: the temporary folder's")
    parser.add_argument("--idle-seconds", type=float, default=30.0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures, row by row")
    parser.add_argument("--docs", type=Path, metavar="DIR", help="where bench.md and bench.svg go")
    parser.add_argument("--redraw", type=Path, metavar="FILE", help="measure nothing: read such a JSON file")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
