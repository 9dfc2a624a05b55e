"""Where the bytes of a comparison lie: in memory (tmpfs), and on a disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from measuring import MIB

__all__ = ["Place", "places"]


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of a kind.

    Attributes:
        name: `tmpfs` or `disk`.
        folder: A new one, which is removed in the end.
    """

    name: str
    folder: Path

    def lacks(self, size: int) -> str:
        """Return what is lacking for so many bytes, in words, or nothing."""
        free = shutil.disk_usage(self.folder).free
        if self.name == "tmpfs":
            free = min(free, _available())
        return f"{size // MIB} MiB are needed, {free // MIB} MiB are free" if free < size else ""


@contextlib.contextmanager
def places(disk: Path | None, only: str | None) -> Iterator[list[Place]]:
    """Give the places there are here; what they hold is removed when the block ends.

    Args:
        disk: A folder on the disk; None for the temporary folder, or /var/tmp where that one is in memory.
        only: The name of the only one that is wanted.
    """
    with contextlib.ExitStack() as stack:
        found = []
        if only != "disk" and (memory := _memory(stack)):
            _touch_memory(memory)
            found.append(Place("tmpfs", memory))
        on_disk = [disk] if disk else [Path(tempfile.gettempdir()), Path("/var/tmp")]
        if only != "tmpfs":
            for path in on_disk:
                if _filesystem(path) not in ("tmpfs", "ramfs"):
                    found.append(Place("disk", _folder(stack, path)))
                    break
            else:
                print(f"skipped: disk: {on_disk[0]} is in memory; name another with --folder")
        yield found


def _memory(stack: contextlib.ExitStack) -> Path | None:
    """Return a folder on a tmpfs that is there and large, or on one of our own."""
    shared = Path("/dev/shm")
    if shared.is_dir() and _filesystem(shared) == "tmpfs" and shutil.disk_usage(shared).free > 8 << 30:
        return _folder(stack, shared)
    if os.geteuid() == 0:
        folder = _folder(stack, Path(tempfile.gettempdir()))
        mount = ["mount", "-t", "tmpfs", "-o", "size=90%,mode=700", "samara-bench", str(folder)]
        if subprocess.run(mount, check=False, capture_output=True, timeout=30).returncode == 0:
            unmount = ["umount", "--lazy", str(folder)]
            stack.callback(lambda: subprocess.run(unmount, check=False, capture_output=True, timeout=30))
            return folder
    print("skipped: tmpfs: there is none that is large enough, and none can be mounted")
    return None


def _touch_memory(folder: Path) -> None:
    """Use half of the memory once: a virtual machine may get it from its host only then, at a tenth of its speed."""
    left = min(_available() // 2, shutil.disk_usage(folder).free // 2)
    piece = bytes(16 * MIB)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        while left > 0:
            left -= file.write(piece)


def _folder(stack: contextlib.ExitStack, parent: Path) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="samara-", dir=parent)))


def _filesystem(path: Path) -> str:
    """Return the kind of filesystem that a path is on, as /proc/mounts names it."""
    path, best, kind = path.resolve(), -1, ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text().splitlines():
            _, point, name, *_ = line.split(" ")
            if path.is_relative_to(point) and len(point) >= best:
                best, kind = len(point), name
    return kind


def _available() -> int:
    """Return the bytes of memory that are to be had."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0
