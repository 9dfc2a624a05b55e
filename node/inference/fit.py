"""Whether a model fits into memory: told before it is fetched or loaded, from its header and a few lines of /proc.

The estimate is weights + key-value cache + compute buffers + 60 MiB for the process, and is meant to be a little too
high: SmolLM2-135M with 2,048 tokens of context is estimated at 207 MiB and takes 202. Weights are mapped from the file,
so what does not fit is read again and again rather than killed; it is refused all the same, because it would crawl.
"""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from samara.protocol.errors import EngineError
from samara.protocol.formats.facts import ModelFacts
from samara.protocol.limits import MIB

__all__ = ["BATCH", "Fit", "available_memory", "cgroup_memory", "estimate"]

BATCH: Final = 256
"""Tokens of a prompt that are computed at once: 512 needs twice the buffers, and is hardly faster on a CPU."""

PROCESS: Final = 60 * MIB
"""Bytes of the interpreter, the engine's code and its small change."""

_CACHE_BYTES: Final = 2  # of an element of the key-value cache: 16-bit floats
_REPACK_PERCENT: Final = 60  # of the weights, at most, that a faster second form of them takes


@final
@dataclass(frozen=True, slots=True)
class Fit:
    """What a model needs at one length of context; all in bytes.

    Attributes:
        weights: Its tensors.
        cache: Keys and values of the whole context.
        compute: Buffers of one batch.
        repack: What the engine takes on top when it may keep a faster form of the weights.
    """

    weights: int
    cache: int
    compute: int
    repack: int

    @property
    def needed(self) -> int:
        """Bytes without the faster form."""
        return self.weights + self.cache + self.compute + PROCESS

    def require(self, available: int | None) -> None:
        """Refuse when it does not fit.

        Raises:
            EngineError: More is needed than `available` bytes.
        """
        if available is not None and self.needed > available:
            raise EngineError(
                f"the model needs {self.needed // MIB} MiB ({self.weights // MIB} of weights, {self.cache // MIB} of "
                f"context, {(self.compute + PROCESS) // MIB} of buffers), and {available // MIB} MiB are available",
                hint="use a shorter context or a smaller quantization, close other programs, or force it",
            )

    def may_repack(self, available: int | None) -> bool:
        """Tell whether there is room for the faster form too."""
        return available is not None and self.needed + self.repack <= available


def estimate(facts: ModelFacts, context: int) -> Fit:
    """Estimate what a model needs.

    Args:
        facts: From its header.
        context: Tokens.
    """
    embedding = facts.embedding_length or 0
    feed_forward = facts.feed_forward_length or 4 * embedding
    # Per token of a batch: some vectors as wide as the embedding, some as wide as the feed-forward layer (4-byte
    # floats), and a row of the attention mask (2 bytes). One row of the vocabulary's scores at the end.
    row = 4 * (8 * embedding + 3 * feed_forward) + 2 * context
    return Fit(
        weights=facts.tensor_bytes,
        cache=(facts.kv_elements or 0) * context * _CACHE_BYTES,
        compute=BATCH * row + 4 * (facts.vocab_size or 0),
        repack=facts.tensor_bytes * _REPACK_PERCENT // 100,
    )


def available_memory(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return how many bytes a new process may take without pushing anything out; None when it cannot be told."""
    if sys.platform == "win32":
        return _available_on_windows()
    free = _mem_available(proc / "meminfo")
    if free is None:
        free = _physical_memory()  # macOS gives no such number cheaply: then only what can never fit is refused
    limit = cgroup_memory(proc / "self" / "cgroup", cgroups)
    return min((n for n in (free, limit) if n is not None), default=None)


def cgroup_memory(membership: Path, cgroups: Path) -> int | None:
    """Return the bytes that the tightest of this process's cgroups still has room for, or None without a limit.

    Args:
        membership: /proc/self/cgroup.
        cgroups: Where cgroups are mounted.
    """
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    rooms: list[int] = []
    for line in lines:
        _number, controllers, name = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            rooms += _rooms(cgroups, name, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            rooms += _rooms(
                cgroups / "memory", name, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            )
    return min(rooms, default=None)


def _rooms(root: Path, name: str, limit_file: str, usage_file: str, cache_line: str) -> list[int]:
    """Return what is left in a cgroup and in each one above it; in a container only its root may be there."""
    rooms = []
    parts = [part for part in name.split("/") if part not in ("", "..")]
    for depth in range(len(parts), -1, -1):
        group = root.joinpath(*parts[:depth])
        limit, used = _integer(group / limit_file), _integer(group / usage_file)
        if limit is not None and used is not None and limit < 1 << 60:
            # Files that nobody uses now are given up before anybody is killed.
            rooms.append(max(0, limit - used + _stat_line(group / "memory.stat", cache_line)))
    return rooms


def _integer(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # missing, or "max"
        return None


def _stat_line(path: Path, name: str) -> int:
    try:
        for line in path.read_text(encoding="ascii").splitlines():
            key, _space, value = line.partition(" ")
            if key == name:
                return int(value)
    except (OSError, ValueError):
        pass
    return 0


def _mem_available(meminfo: Path) -> int | None:
    try:
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _physical_memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


if sys.platform == "win32":

    class _MemoryStatus(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *(
                (name, ctypes.c_ulonglong)
                for name in ("total", "available", "pages", "free_pages", "virtual", "free", "x")
            ),
        )

    def _available_on_windows() -> int | None:
        status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
        return status.available if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else None

else:

    def _available_on_windows() -> int | None:
        return None
