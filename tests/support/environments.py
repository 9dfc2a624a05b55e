"""Programs of others that tests need, each in an environment of its own beside the tests, from a lock of its own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.scripts import ROOT, load_script

__all__ = ["environment", "install"]


def environment(name: str, folder: Path, lock_name: str, *, builder: str = "") -> Path:
    """Return the Python of an environment that has what a lock pins; made once, and anew when the lock changes.

    Where it cannot be made, the test is skipped by name.

    Args:
        name: What is installed, for the skip.
        folder: Where its `.venv` lies.
        lock_name: A file in `requirements/`.
        builder: The package of that lock which builds those that come as source; empty when none do.
    """
    lock, place = ROOT / "requirements" / lock_name, folder / ".venv"
    python = place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp = place / "lock"
    wanted = f"{sys.version_info[:2]} {hashlib.sha256(lock.read_bytes()).hexdigest()}"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    locks = load_script("lock")
    uv = locks.find_uv()
    install(name, [uv, "venv", "--clear", "--python", sys.executable, str(place)], folder)
    command = [uv, "pip", "install", "--python", str(python), "--require-hashes", "--no-deps"]
    if builder:
        tools = place / "tools.txt"
        (pin,) = (pin for pin in locks.pins(lock.read_text(encoding="utf-8")) if pin.name == builder)
        tools.write_text(f"{pin.name}=={pin.version} " + " ".join(f"--hash=sha256:{h}" for h in pin.hashes))
        # What comes as source is built with this builder, not with whatever is newest today.
        install(name, [*command, "-r", str(tools)], folder)
        command.append("--no-build-isolation")
    else:
        command += ["--only-binary", ":all:"]
    install(name, [*command, "-r", str(lock)], folder)
    stamp.write_text(wanted)
    return python


def install(name: str, command: Sequence[str], folder: Path) -> None:
    """Run an installer; when it fails, the test is skipped by name."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        told = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()] or ["it said nothing"]
        pytest.skip(f"{name} cannot be installed here: {told[-1]}")
