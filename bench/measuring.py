"""What the benchmarks share: the machine's name, and a meter for CPU and memory of processes.

CPU seconds and memory are those of whole process trees: a server's workers count as the server does.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

__all__ = ["GIB", "MIB", "ROUNDS", "Meter", "congestion", "cpu", "cpu_seconds", "machine", "rss_anon", "tree"]

MIB = 1 << 20
GIB = 1 << 30
ROUNDS = 3
"""Rounds of which the best counts, where something short is measured in this process."""
_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_EVERY = 0.05
"""Seconds between two looks at the memory: often enough for what lasts, and cheap beside what is measured."""
_LOOKS_A_TREE = 10
"""Looks between two searches for new children, which costs a look at every process of the machine."""


def machine() -> str:
    """Name the machine, so that a figure can be compared with itself."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    system = f"{platform.system()} {platform.release()}"
    return f"{model}, {os.cpu_count()} cores, {system}, Python {platform.python_version()}"


def cpu(what: Callable[[], object]) -> float:
    """Return the CPU seconds of the best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        what()
        best = min(best, time.process_time() - began)
    return best


def congestion() -> str:
    """Name TCP's way with congestion on this machine."""
    path = Path("/proc/sys/net/ipv4/tcp_congestion_control")
    return path.read_text().strip() if path.exists() else "unknown"


def tree(pids: Iterable[int]) -> list[int]:
    """Return processes and all that descend from them and live."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):  # it ended meanwhile
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.parent.name))
    found = list(pids)
    for each in found:
        found += children.get(each, ())
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU seconds that processes, their children and those that they waited for have used."""
    return sum(map(_cpu, tree(pids)))


def rss_anon(pids: Iterable[int]) -> int:
    """Return the anonymous memory of processes, in bytes: mapped files do not count."""
    return sum(map(_rss_anon, pids))


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(ticks) for ticks in fields[11:15]) / _TICK


def _rss_anon(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def _waited_for() -> float:
    """Return the CPU seconds of all processes that this one has started and waited for."""
    import resource  # not on Windows, where the rest of this module works

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Meter:
    """CPU, memory and time of both sides of a transfer, while a block runs.

    Processes that are started and waited for inside the block count as fetchers, from their first moment to their last.

    Args:
        seeders: Processes of the seeder; they live longer than the block.
        fetchers: Those of the fetchers that do so, too.
    """

    def __init__(self, seeders: Iterable[int], fetchers: Iterable[int] = ()) -> None:
        self._seeders = tuple(seeders)
        self._lasting = tuple(fetchers)
        self._fetchers = list(self._lasting)
        self._peaks = {"rss_fetch": 0, "rss_seed": 0}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._figures: dict[str, float] = {}

    def watch(self, pid: int) -> None:
        """Look at the memory of one more fetcher."""
        self._fetchers.append(pid)

    def figures(self) -> dict[str, float]:
        """Return wall time and CPU in seconds, and the peak of anonymous memory in bytes, of one side or the other."""
        return dict(self._figures)

    def __enter__(self) -> Meter:
        self._before = self._spent()
        self._began = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wall = time.perf_counter() - self._began
        self._over.set()
        self._thread.join()
        after = self._spent()
        cpu = {name: after[name] - self._before[name] for name in after}
        self._figures = {"wall": wall, **cpu, **self._peaks}

    def _spent(self) -> dict[str, float]:
        return {"cpu_fetch": _waited_for() + cpu_seconds(self._lasting), "cpu_seed": cpu_seconds(self._seeders)}

    def _look(self) -> None:
        looks = 0
        while True:
            if looks % _LOOKS_A_TREE == 0:
                trees = {"rss_fetch": tree(self._fetchers), "rss_seed": tree(self._seeders)}
            trees["rss_fetch"] = list({*trees["rss_fetch"], *self._fetchers})
            for name, pids in trees.items():
                self._peaks[name] = max(self._peaks[name], rss_anon(pids))
            looks += 1
            if self._over.wait(_EVERY):
                return
