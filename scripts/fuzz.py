#!/usr/bin/env python3
"""Fuzzes what takes bytes from strangers, goes on where it stopped, and adds up what was done.

    scripts/fuzz.py                                    what there is to fuzz, and how far it is
    scripts/fuzz.py --target all --minutes 10          in turns, those with the fewest executions first
    scripts/fuzz.py --target yamux --minutes 60 --state FILE
    scripts/fuzz.py --target yamux --input FILE        one input, with its traceback
    scripts/fuzz.py --write-corpus                     the committed inputs anew, from the vectors

atheris (libFuzzer for Python) does it, which sees what each input reaches. It has wheels for Linux on x86-64 alone and
is no part of the development lock, which installs everywhere: the first run installs what `requirements/fuzz.txt` pins
into `.cache/`. Where it is not to be had, mutations without sight are run (`support/fuzz/engine.py`), and it says so.

What is found lies in `.cache/fuzz/found/`. It becomes a test that names it, and an input in `tests/fuzz/corpus/`.
Run it with the project's Python: `.venv/bin/python scripts/fuzz.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

__all__ = ["GOAL", "Progress", "main"]

CACHE: Final = ROOT / ".cache" / "fuzz"
LOCK: Final = ROOT / "requirements" / "fuzz.txt"
GOAL: Final = 100_000_000
"""Executions, of all targets together, that a release is to have behind it."""

SLICE: Final = 60.0
"""Seconds of one turn of a target."""

MEMORY: Final = 2048
"""MiB that a target may take."""

PATIENCE: Final = 10
"""Seconds that one input may take."""

_EXECUTED: Final = re.compile(r"stat::number_of_executed_units:\s+(\d+)")


@dataclass(slots=True)
class Progress:
    """What was done so far, as the state file holds it.

    Attributes:
        executions: Inputs that were run, by target.
        cpu_seconds: Processor time that they took, by target.
        found: Inputs that showed something wrong, by target; of all times.
    """

    executions: dict[str, int] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Progress:
        """Read a state file; none is the beginning."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return cls()

    def add(self, target: str, executions: int, cpu_seconds: float, found: int) -> None:
        """Add what was done."""
        self.executions[target] = self.executions.get(target, 0) + executions
        self.cpu_seconds[target] = round(self.cpu_seconds.get(target, 0.0) + cpu_seconds, 1)
        self.found[target] = self.found.get(target, 0) + found

    def write(self, path: Path) -> None:
        """Write the state file: the old one or the new one, never half of one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".new")
        partial.write_text(json.dumps(asdict(self), indent=1, sort_keys=True) + "\n", encoding="utf-8")
        os.replace(partial, path)

    def told(self, names: list[str]) -> str:
        """Return it as a table."""
        rows = [f"{'target':24} {'executions':>12} {'a second':>9} {'CPU hours':>10} {'found':>6}"]
        for name in names:
            count, seconds = self.executions.get(name, 0), self.cpu_seconds.get(name, 0.0)
            rate = count / seconds if seconds else 0.0
            rows.append(f"{name:24} {count:12,} {rate:9,.0f} {seconds / 3600:10.3f} {self.found.get(name, 0):6}")
        total, hours = sum(self.executions.values()), sum(self.cpu_seconds.values()) / 3600
        rows.append(f"{'all':24} {total:12,} {'':9} {hours:10.3f} {sum(self.found.values()):6}")
        rows.append(f"{100 * total / GOAL:.2f} % of {GOAL:,}")
        return "\n".join(rows)


def find_atheris() -> Path | None:
    """Return the folder in which atheris is, after it was installed if need be; None where it cannot be had."""
    from support.scripts import load_script

    folder = CACHE / f"atheris-{sys.version_info[0]}{sys.version_info[1]}"
    if not (folder / "done").exists():
        command = [
            load_script("lock").find_uv(),
            "pip",
            "install",
            "--python",
            sys.executable,
            "--target",
            str(folder),
            "--no-deps",
        ]
        command += ["--require-hashes", "--only-binary", ":all:", "--quiet", "-r", str(LOCK)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"fuzz: no atheris here: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
            return None
        (folder / "done").touch()
    return folder


def run_turn(target: str, seconds: float, atheris: Path | None) -> tuple[int, float, int]:
    """Run one target for some time; return executions, processor time in seconds, and how many inputs were found."""
    found, work = CACHE / "found", CACHE / "work" / target
    for folder in (found, work):
        folder.mkdir(parents=True, exist_ok=True)
    before, began = len(list(found.glob(f"{target}-*"))), _children_cpu()
    command = [sys.executable, __file__, "--inside", target, "--seconds", str(seconds)]
    if atheris is not None:
        command += ["--atheris", str(atheris)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    executed = _EXECUTED.search(done.stderr + done.stdout)
    if executed is None or done.returncode:
        print(f"── {target}: ended with {done.returncode}\n{done.stderr[-4000:]}", file=sys.stderr)
    new = len(list(found.glob(f"{target}-*"))) - before
    return int(executed[1]) if executed else 0, _children_cpu() - began, new


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def inside(target: str, seconds: float, atheris: Path | None) -> None:
    """Be the process that fuzzes one target."""
    if atheris is None:
        _run_blind(target, seconds)
        return
    sys.path.append(str(atheris))
    engine: Any = importlib.import_module("atheris")
    with engine.instrument_imports(include=["samara"]):
        from support.fuzz import engine as inputs
        from support.fuzz.targets import check
    options = [f"-max_total_time={max(1, int(seconds))}", "-print_final_stats=1", f"-timeout={PATIENCE}"]
    options += [f"-rss_limit_mb={MEMORY}", f"-artifact_prefix={CACHE / 'found' / target}-", "-max_len=8192"]
    engine.Setup(
        [sys.argv[0], str(CACHE / "work" / target), str(inputs.CORPUS / target), *options], _judge(target, check)
    )
    engine.Fuzz()


def _judge(target: str, check: Callable[[str, bytes], None]) -> Callable[[bytes], None]:
    return lambda data: check(target, data)


def _run_blind(target: str, seconds: float) -> None:
    from support.fuzz.engine import corpus, mutations
    from support.fuzz.targets import check

    end, count = time.monotonic() + seconds, 0
    for data in mutations(f"{target} {time.time_ns()}", corpus(target)):
        count += 1
        try:
            check(target, data)
        except Exception as error:
            path = CACHE / "found" / f"{target}-{type(error).__name__}-{len(data)}"
            path.write_bytes(data)
            print(f"{path}: {error!r}", file=sys.stderr)
        if count % 64 == 0 and time.monotonic() >= end:
            break
    print(f"stat::number_of_executed_units: {count}", file=sys.stderr)


def write_corpus() -> None:
    """Write the inputs that are made from the vectors; what fuzzing has found stays."""
    from support.fuzz.engine import CORPUS
    from support.fuzz.seeds import seeds
    from support.fuzz.targets import TARGETS

    for name in TARGETS:
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("seed-*"):
            path.unlink()
        for number, data in enumerate(seeds(name)):
            (folder / f"seed-{number:02}").write_bytes(data)


def fuzz(names: list[str], seconds: float, state: Path) -> int:
    """Run targets in turns until the time is over; return how many inputs were found."""
    progress, atheris = Progress.read(state), find_atheris()
    end, found = time.monotonic() + seconds, 0
    share = min(SLICE, seconds / len(names))
    with contextlib.suppress(KeyboardInterrupt):
        while (left := end - time.monotonic()) > 1:
            target = min(names, key=lambda name: progress.cpu_seconds.get(name, 0.0))
            executions, cpu, new = run_turn(target, min(share, left), atheris)
            progress.add(target, executions, cpu, new)
            progress.write(state)
            found += new
    print(progress.told(names))
    return found


def main() -> int:
    """Do what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", metavar="NAME", help="what to fuzz, or `all`")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--state", type=Path, default=CACHE / "state.json", help="where it is added up")
    parser.add_argument("--input", type=Path, help="run one input alone")
    parser.add_argument("--write-corpus", action="store_true")
    parser.add_argument("--inside", metavar="NAME", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--atheris", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        inside(asked.inside, asked.seconds, asked.atheris)
        return 0
    if asked.write_corpus:
        write_corpus()
        return 0
    from support.fuzz.targets import TARGETS, check

    names = list(TARGETS) if asked.target in (None, "all") else [asked.target]
    if not set(names) <= set(TARGETS):
        parser.error(f"--target {asked.target}: one of {', '.join(TARGETS)}, or all")
    if asked.input:
        check(names[0], asked.input.read_bytes())
        return 0
    if asked.target is None:
        print(Progress.read(asked.state).told(names))
        return 0
    return 1 if fuzz(names, asked.minutes * 60, asked.state) else 0


if __name__ == "__main__":
    sys.exit(main())
