#!/usr/bin/env python3
"""The one check: locks, format, lint, types, layers, tests with branch coverage. Begin it with `./check`.

    ./check                    everything; what CI runs
    ./check --fix              let ruff format and mend first
    ./check --fast             leave out the tests that are slow or need a model, root or Node.js
    ./check --tests [ARG…]     the tests alone; ARG… goes to pytest
    ./check --lint             all but the tests
    ./check --setup            set up .venv and stop

Every step runs even when one before it failed, so that one run tells all; the tests come last, and their closing line
is the last one that is printed when all is well.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Step", "main"]

ROOT: Final = Path(__file__).resolve().parent.parent
HERE: Final = Path(sys.executable).parent
FAST: Final = "not slow and not model and not network and not js"
COVERAGE: Final = ("--cov=samara", "--cov-branch", "--cov-report=term:skip-covered")
SIDE_BY_SIDE: Final = (f"--numprocesses={min(os.cpu_count() or 1, 4)}", "--dist=loadgroup")
"""Much of the time of the tests is waiting: for clocks, lines and children. More would wait for processors."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the check.

    Attributes:
        name: What it proves, in a word or two.
        command: The command; the first word is a program beside this Python.
    """

    name: str
    command: tuple[str, ...]

    def run(self) -> bool:
        """Run it in the checkout, and say whether it passed."""
        began = time.monotonic()
        print(f"── {self.name}", flush=True)
        program, *arguments = self.command
        environment = os.environ | {"PATH": f"{HERE}{os.pathsep}{os.environ.get('PATH', '')}"}
        passed = subprocess.run([HERE / program, *arguments], cwd=ROOT, env=environment, check=False).returncode == 0
        if not passed:
            print(f"── {self.name}: FAILED after {time.monotonic() - began:.1f} s", flush=True)
        return passed


def lint_steps(*, fix: bool) -> list[Step]:
    """Return the steps that only look at the source."""
    mending = [Step("mend", ("ruff", "check", "--fix-only", "--quiet", ".")), Step("format", ("ruff", "format", "."))]
    return [
        *(mending if fix else [Step("format", ("ruff", "format", "--check", "."))]),
        Step("lint", ("ruff", "check", ".")),
        Step("locks", (Path(sys.executable).name, "scripts/lock.py", "--check")),
        Step("types", ("mypy",)),
        Step("layers", ("lint-imports", "--no-logo")),
    ]


def test_step(*, fast: bool, arguments: Sequence[str], scratch: str) -> Step:
    """Return the tests. Part of them says nothing about coverage, so it is measured only when all run."""
    whole = () if fast or arguments else COVERAGE
    chosen = ["-m", FAST] if fast else []
    # Sockets lie below it, whose paths may have 108 bytes.
    beside = () if arguments else (*SIDE_BY_SIDE, f"--basetemp={scratch}")
    return Step("tests", (Path(sys.executable).name, "-m", "pytest", *beside, *whole, *chosen, *arguments))


def main() -> int:
    """Run the steps that were asked for."""
    parser = argparse.ArgumentParser(description="Format, lint, type and test this checkout.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--tests", action="store_true", help="the tests alone; what follows goes to pytest")
    which.add_argument("--lint", action="store_true", help="all but the tests")
    which.add_argument("--setup", action="store_true", help="set up .venv and stop")
    parser.add_argument("--fix", action="store_true", help="let ruff format and mend first")
    parser.add_argument("--fast", action="store_true", help="leave out what is slow or needs a model, root or Node.js")
    asked, rest = parser.parse_known_args()
    if rest and not asked.tests:
        parser.error(f"{rest[0]}: only --tests takes arguments for pytest")
    if asked.setup:
        return 0
    steps = [] if asked.tests else lint_steps(fix=asked.fix)
    with tempfile.TemporaryDirectory(prefix="samara-", ignore_cleanup_errors=True) as scratch:
        if not asked.lint:
            steps.append(test_step(fast=asked.fast, arguments=rest, scratch=scratch))
        try:
            failed = [step.name for step in steps if not step.run()]
        except KeyboardInterrupt:
            return 130
    if failed:
        print(f"check: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
