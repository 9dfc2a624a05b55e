"""What a change of a model or data set costs that is held already: bytes and time, of Samara and of its peers.

    python bench/fewer_bytes.py [--runs 3] [--mib 1024] [--only ROW]… [--folder DIR] [--json FILE] [--docs DIR]
    python bench/fewer_bytes.py --redraw FILE [--docs DIR]

scripts/bench_setup.py installs the peers; what is not here is skipped by name. Samara, rsync and zsync update a
receiver over a line of 100 Mbit/s between two network namespaces, for which root is needed; casync, restic, borg and
hf_xet (in its local mode) tell how much their stores grow. changes.py has the changes and says what stands for a
fine-tune where none is real. Some rows are run `--runs` times, in turn, and figures are medians; bytes hardly vary,
and the others are run once.

A whole run at full size writes docs/bytes.md; a smaller one only with --docs. The exit code is 1 when a program failed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from byte_tables import render_bytes  # noqa: E402 - its path is added above
from changes import CHANGES, Change, Source  # noqa: E402
from chunk_lists import list_shares  # noqa: E402
from links import shaped  # noqa: E402
from measuring import congestion, machine  # noqa: E402
from peers.base import LOOPBACK, TIMEOUT, Content, Figures, Skipped, Wire, Yard  # noqa: E402
from peers.storing import STORES, Store  # noqa: E402
from peers.updating import RsyncUpdate, SamaraUpdate, Updater, ZsyncUpdate  # noqa: E402
from rows import Found, deadline, failing, run_once, told  # noqa: E402

MBIT = 100.0
PROGRAMS: tuple[Updater, ...] = (
    SamaraUpdate(),
    SamaraUpdate(always=True),
    RsyncUpdate(),
    RsyncUpdate(packed=True),
    ZsyncUpdate(),
    *STORES,
)


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all that was started is ended
    report = json.loads(arguments.redraw.read_text()) if arguments.redraw else measure(arguments)
    text = render_bytes(report)
    print(text)
    folder = arguments.docs or (ROOT / "docs" if _whole(arguments) else None)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bytes.md").write_text(text)
    return 1 if any(row["failed"] for row in report["rows"].values()) else 0


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the changes that were asked for, and return everything that was found."""
    source = Source(arguments.mib)
    changes = [change for change in CHANGES if not arguments.only or change.name in arguments.only]
    report: dict[str, Any] = {
        "machine": f"{machine()}, TCP {congestion()}; load {os.getloadavg()[0]:.1f} at the start",
        "date": time.strftime("%Y-%m-%d"),
        "runs": arguments.runs,
        "mbit": MBIT,
        "timed": [change.name for change in changes if change.timed],
        "rows": {},
        "lists": {} if arguments.only else list_shares(),
    }
    named = report["machine"]
    with tempfile.TemporaryDirectory(prefix="samara-", dir=arguments.folder) as folder:
        for change in changes:
            print(change.title, file=sys.stderr, flush=True)
            found, note = _run(change, source, Path(folder) / change.name, arguments.runs)
            facts = {"title": change.title, "programs": [each.name for each in PROGRAMS], "note": note}
            report["rows"][change.name] = facts | told(found)
            report["machine"] = f"{named}, {os.getloadavg()[2]:.1f} over the last 15 minutes at the end"
            if arguments.json:  # after each row: a long run that is cut off is not lost
                arguments.json.write_text(json.dumps(report, indent=1))
    return report


def _run(change: Change, source: Source, folder: Path, runs: int) -> tuple[Found, str]:
    """Run all programs on one change, in turn, below a new folder that is removed."""
    found, note = Found(), ""
    folder.mkdir()
    try:
        with failing(found, "all"):
            change.make(source, folder)
            note = change.note(source)
            _update(found, folder, runs if change.timed else 1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if why := found.skipped.pop("all", ""):
        found.skipped = dict.fromkeys((program.name for program in PROGRAMS), why)
    # As they are listed, not as they were drawn.
    names = [program.name for program in PROGRAMS]
    found.figures = {name: found.figures[name] for name in names if name in found.figures}
    return found, note


def _update(found: Found, folder: Path, runs: int) -> None:
    base = folder / "base" if (folder / "base").is_dir() else None
    content = Content.of(folder / "new")
    facts = {"bytes": float(content.size), "mbit": MBIT}
    with ExitStack() as stack:
        wire, gone = _line(stack)
        ready: dict[str, Callable[[], Figures]] = {}
        for number, program in enumerate(PROGRAMS):
            if why := program.missing():
                found.skipped[program.name] = f"not installed: {why}"
            elif gone and not isinstance(program, Store):
                found.skipped[program.name] = gone
            else:
                with failing(found, program.name), deadline(TIMEOUT):
                    yard = Yard(folder / f"peer-{number}", content, wire)
                    ready[program.name] = stack.enter_context(program.updating(yard, base))
        for run in range(runs):
            for name in random.Random(run).sample(sorted(ready), len(ready)):
                os.sync()  # nobody pays for what another has left to write
                if not run_once(found, name, partial(_with, facts, ready[name])):
                    del ready[name]


def _with(facts: Figures, once: Callable[[], Figures]) -> Figures:
    return facts | once()


def _line(stack: ExitStack) -> tuple[Wire, str]:
    """Make the line; else say why there is none."""
    try:
        return stack.enter_context(shaped(MBIT)), ""
    except Skipped as why:
        return LOOPBACK, str(why)


def _whole(arguments: argparse.Namespace) -> bool:
    """Whether this run may stand in the documents: nothing is left out, and it is as large as it says."""
    return not (arguments.only or arguments.redraw) and arguments.mib >= 1024 and arguments.runs >= 3


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--mib", type=int, default=1024, help="MiB of the file without structure")
    parser.add_argument("--only", action="append", choices=[change.name for change in CHANGES], metavar="ROW")
    parser.add_argument("--folder", type=Path, help="where files lie; default: the temporary folder")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures, row by row")
    parser.add_argument("--docs", type=Path, metavar="DIR", help="where bytes.md goes")
    parser.add_argument("--redraw", type=Path, metavar="FILE", help="measure nothing: read such a JSON file")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
