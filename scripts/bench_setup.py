#!/usr/bin/env python3
"""Installs what `bench/compare.py` compares Samara with: programs from Debian, and libtorrent apart from Samara.

    scripts/bench_setup.py

As root on Debian and Ubuntu the missing programs are installed; elsewhere they are named. None of this ever becomes a
dependency of Samara: the comparison skips by name what is not there.
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

__all__ = ["LIBTORRENT", "PROGRAMS", "main", "missing"]

ROOT: Final = Path(__file__).resolve().parent.parent
PROGRAMS: Final = {
    "nginx": "nginx-light",
    "curl": "curl",
    "b3sum": "b3sum",
    "aria2c": "aria2",
    "rsync": "rsync",
    "openssl": "openssl",
    "ip": "iproute2",
    "tc": "iproute2",
}
"""Program → Debian package that brings it."""

LIBTORRENT: Final = "libtorrent==2.1.1"
_IS_HERE: Final = "import libtorrent as lt, sys; sys.exit(not lt.__version__.startswith(sys.argv[1].split('==')[1]))"
ENVIRONMENT: Final = ROOT / ".cache" / "bench"
"""Where `bench/peers/torrent.py` looks for it."""


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


def install_libtorrent() -> bool:
    """Make the environment with libtorrent, when it is not there; return whether it is now."""
    python = ENVIRONMENT / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if python.exists() and subprocess.run([python, "-c", _IS_HERE, LIBTORRENT], check=False).returncode == 0:
        return True
    print(f"Installing {LIBTORRENT} …", flush=True)
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    options = ["--disable-pip-version-check", "--quiet", "--only-binary", ":all:"]
    return subprocess.run([python, "-m", "pip", "install", *options, LIBTORRENT], check=False).returncode == 0


def main() -> int:
    """Install both; the exit code says whether all is here."""
    programs, libtorrent = install_programs(missing()), install_libtorrent()
    if programs and libtorrent:
        print("All that bench/compare.py compares with is here.")
    return 0 if programs and libtorrent else 1


if __name__ == "__main__":
    sys.exit(main())
