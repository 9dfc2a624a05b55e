#!/usr/bin/env python3
"""Installs what programs in `bench/` compare Samara with: programs from Debian, and packages apart from Samara.

    scripts/bench_setup.py

As root on Debian and Ubuntu the missing programs are installed; elsewhere they are named. None of this ever becomes a
dependency of Samara: the comparisons skip by name what is not there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["PACKAGES", "PROGRAMS", "main", "missing"]

ROOT: Final = Path(__file__).resolve().parent.parent
PROGRAMS: Final = {
    "nginx": "nginx-light",
    "curl": "curl",
    "b3sum": "b3sum",
    "aria2c": "aria2",
    "rsync": "rsync",
    "zsync": "zsync",
    "casync": "casync",
    "restic": "restic",
    "borg": "borgbackup",
    "openssl": "openssl",
    "ip": "iproute2",
    "tc": "iproute2",
}
"""Program → Debian package that brings it."""

PACKAGES: Final = ("libtorrent==2.1.1", "hf-xet==1.8.0", "pyarrow==26.0.1")
"""From the Python package index, with what the programs in `bench/` run as children."""

_ARE_HERE: Final = """
import sys
from importlib.metadata import PackageNotFoundError, version
try:
    sys.exit(any(version(name) != pin for name, pin in (each.split("==") for each in sys.argv[1:])))
except PackageNotFoundError:
    sys.exit(1)
"""
ENVIRONMENT: Final = ROOT / ".cache" / "bench"
"""Where `bench/peers/apart.py` looks for them."""


def missing(programs: Mapping[str, str] = PROGRAMS) -> list[str]:
    """Return the packages of the programs that are not here, sorted."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    return sorted({package for program, package in programs.items() if shutil.which(program, path=path) is None})


def install_programs(packages: list[str]) -> bool:
    """Install Debian packages, or say which are not here; return whether all are here now."""
    if not packages:
        return True
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        print(f"Not here: {', '.join(packages)}. What needs them will be skipped.")
        return False
    print(f"Installing {', '.join(packages)} …", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    # nginx must not begin to serve this machine: the comparison starts one of its own.
    policy = Path("/usr/sbin/policy-rc.d")
    guard = not policy.exists()
    if guard:
        policy.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
        policy.chmod(0o755)
    try:
        subprocess.run(["apt-get", "update", "-qq"], env=environment, check=False)
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
        return subprocess.run(install, env=environment, stdout=subprocess.DEVNULL, check=False).returncode == 0
    finally:
        if guard:
            policy.unlink()


def install_packages() -> bool:
    """Make the environment with the packages, when they are not all there; return whether they are now."""
    python = ENVIRONMENT / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if python.exists() and subprocess.run([python, "-c", _ARE_HERE, *PACKAGES], check=False).returncode == 0:
        return True
    print(f"Installing {', '.join(PACKAGES)} …", flush=True)
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    options = ["--disable-pip-version-check", "--quiet", "--only-binary", ":all:"]
    # Each by itself: what has no wheel for this machine keeps none of the others away.
    install = [str(python), "-m", "pip", "install", *options]
    return all([subprocess.run([*install, each], check=False).returncode == 0 for each in PACKAGES])  # noqa: C419


def main() -> int:
    """Install both; the exit code says whether all is here."""
    programs, packages = install_programs(missing()), install_packages()
    if programs and packages:
        print("All that bench/compare.py and bench/fewer_bytes.py compare with is here.")
    return 0 if programs and packages else 1


if __name__ == "__main__":
    sys.exit(main())
