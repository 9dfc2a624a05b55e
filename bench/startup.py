"""How long a command takes that hardly does anything: the medians of `samara --help` and `samara ls`, wall time.

    python bench/startup.py [--runs N] [--json]

The bare interpreter runs in between, on the same machine at the same time: the ratio is to it. The aims are 0.2 s for
the help and 0.35 s for the list of a home that holds one release.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests"), str(ROOT / "bench")]

from measuring import machine  # noqa: E402 - its path is added above
from support.cli import Cli  # noqa: E402

AIMS = {"--help": 0.2, "ls": 0.35}


def main() -> int:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="samara-startup-") as folder:
        cli = Cli(Path(folder) / "home")
        (Path(folder) / "model.bin").write_bytes(bytes(1000))
        cli.json("publish", str(Path(folder) / "model.bin"), "--license", "MIT")
        commands = {"python": [sys.executable, "-c", "pass"], **{name: cli.command(name) for name in AIMS}}
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(arguments.runs + 1):
            for name, command in commands.items():
                began = time.perf_counter()
                subprocess.run(command, env=cli.environment(), check=True, stdout=subprocess.DEVNULL)
                seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    report = {
        name: {
            "seconds": round(median, 3),
            "ratio_to_python": round(median / medians["python"], 1),
            **({"aim": AIMS[name], "met": median <= AIMS[name]} if name in AIMS else {}),
        }
        for name, median in medians.items()
    }
    said = {"machine": machine(), "runs": arguments.runs, **report}
    print(json.dumps(said, indent=2) if arguments.json else "\n".join(f"{k:10} {v}" for k, v in said.items()))
    return 0 if all(medians[name] <= aim for name, aim in AIMS.items()) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
