"""The environment of packages that Samara is compared with: apart from Samara's, made by scripts/bench_setup.py."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

__all__ = ["PYTHON", "lacking"]

PYTHON = Path(__file__).resolve().parents[2] / ".cache" / "bench" / "bin" / "python"


@functools.cache
def lacking(module: str) -> str:
    """Return that a module is not there, in words, or nothing."""
    if PYTHON.exists():
        look = f"from importlib.util import find_spec; raise SystemExit(find_spec({module!r}) is None)"
        if subprocess.run([PYTHON, "-I", "-c", look], check=False, timeout=60).returncode == 0:
            return ""
    return f"{module} (scripts/bench_setup.py)"
