"""How fast a file is scanned for publishing, against `openssl dgst -sha256` on the same warm file.

    python bench/publish.py [--size MIB] [--runs N] [--json]

Makes its files in a temporary folder, interleaves the runs, and prints medians, ratios and the machine. The ratio is
the speed of a scan (SHA-256, BLAKE3, chunks and chunk list) over the speed of SHA-256 alone: 0.85 is the aim.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from contents import FILES
from measuring import MIB, machine

from samara.node.store.scan import scan_file

TARGET = 0.85


def main() -> int:
    arguments = _arguments()
    if shutil.which("openssl") is None:
        print("openssl is not installed: nothing to compare with", file=sys.stderr)
        return 2
    report: dict[str, object] = {"machine": machine(), "size": arguments.size * MIB, "runs": arguments.runs}
    with tempfile.TemporaryDirectory(prefix="samara-bench-") as folder:
        for kind, write in FILES.items():
            path = Path(folder) / kind
            write(path, arguments.size * MIB)
            report[kind] = compare(path, kind, arguments.runs)
            path.unlink()
    print(json.dumps(report, indent=2) if arguments.json else _text(report))
    return 0


def compare(path: Path, kind: str, runs: int) -> dict[str, float]:
    """Interleave both on one file, after a round that warms the page cache; return medians."""
    ours: list[float] = []
    theirs: list[float] = []
    for number in range(runs + 1):
        theirs.append(_timed(lambda: _openssl(path)))
        ours.append(_timed(lambda: _scan(path, kind)))
        if number == 0:
            ours.clear()
            theirs.clear()
    size = path.stat().st_size / MIB
    scan, openssl = statistics.median(ours), statistics.median(theirs)
    return {
        "scan_mib_s": round(size / scan, 1),
        "openssl_mib_s": round(size / openssl, 1),
        "ratio": round(openssl / scan, 3),
    }


def _openssl(path: Path) -> None:
    subprocess.run(["openssl", "dgst", "-sha256", str(path)], check=True, stdout=subprocess.DEVNULL)


def _scan(path: Path, kind: str) -> None:
    with path.open("rb", buffering=0) as file:
        found = scan_file(file.fileno(), path.stat().st_size)
    if found.kind != kind:
        raise SystemExit(f"{kind} was taken for {found.kind}")


def _timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _text(report: dict[str, object]) -> str:
    lines = [f"{report['machine']}; {report['size']} bytes, median of {report['runs']}; aim: ratio >= {TARGET}"]
    lines += [f"{kind:12} {report[kind]}" for kind in FILES]
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="MiB of each file")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
