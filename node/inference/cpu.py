"""What the CPU can do, told before the engine is started: llama.cpp's wheel has AVX2 compiled in and asks nobody.

On an older CPU the engine's process dies of an illegal instruction (SIGILL) at its first step. Where the answer cannot
be found here, the engine is tried all the same: the node then names that death for what it is.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import platform
import sys
from pathlib import Path
from typing import Final

__all__ = ["REQUIRED", "features_of_cpuinfo", "missing_features", "usable_threads"]

REQUIRED: Final = frozenset(["avx2", "bmi2", "f16c", "fma"])
"""What the engine's x86-64 wheel uses without asking, by its names in /proc/cpuinfo."""

_X86: Final = frozenset(["x86_64", "amd64"])
_SYSCTL: Final = {
    "avx2": "hw.optional.avx2_0",
    "bmi2": "hw.optional.bmi2",
    "f16c": "hw.optional.f16c",
    "fma": "hw.optional.fma",
}


def missing_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str] | None:
    """Return what the engine needs and this CPU lacks; empty when it has all, None when it cannot be told."""
    if platform.machine().lower() not in _X86:
        return frozenset()  # the aarch64 wheel is built for the baseline of its architecture
    if sys.platform == "darwin":
        return _missing_on_macos()
    try:
        found = features_of_cpuinfo(cpuinfo.read_text(encoding="ascii", errors="replace"))
    except OSError:
        return None
    return None if found is None else REQUIRED - found


def features_of_cpuinfo(text: str) -> frozenset[str] | None:
    """Return the features that every CPU in a /proc/cpuinfo has, or None when it names none."""
    lines = [line.partition(":")[2].split() for line in text.splitlines() if line.startswith("flags")]
    return frozenset.intersection(*map(frozenset, lines)) if lines else None


def usable_threads(cpu_max: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return how many threads this process may keep busy: its CPUs, or fewer where a cgroup's quota says so."""
    affinity = getattr(os, "sched_getaffinity", None)
    cpus = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    try:
        quota, period = cpu_max.read_text(encoding="ascii").split()
        return max(1, min(cpus, -(-int(quota) // int(period))))
    except (OSError, ValueError, ZeroDivisionError):  # no cgroup, or "max": no quota
        return cpus


def _missing_on_macos() -> frozenset[str] | None:
    library = ctypes.util.find_library("c")
    if library is None:
        return None
    sysctl = ctypes.CDLL(library).sysctlbyname
    missing = set()
    for feature, name in _SYSCTL.items():
        value, size = ctypes.c_int(0), ctypes.c_size_t(ctypes.sizeof(ctypes.c_int))
        if sysctl(name.encode(), ctypes.byref(value), ctypes.byref(size), None, 0) != 0 or not value.value:
            missing.add(feature)
    return frozenset(missing)
