"""Filesystems of a test's own; a test that needs one is skipped where this user may not mount."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["image", "mount", "mounted"]


def mount(*arguments: str) -> None:
    """Call mount(8)."""
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


@contextlib.contextmanager
def mounted(path: Path, *arguments: str) -> Iterator[Path]:
    """Mount something at `path`, or skip the test."""
    path.mkdir(exist_ok=True)
    try:
        mount(*arguments, str(path))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs to mount a filesystem: root on Linux")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def image(path: Path, kind: str, size: int) -> Path:
    """Make a file that holds an empty filesystem, or skip the test."""
    if shutil.which(f"mkfs.{kind}") is None:
        pytest.skip(f"needs mkfs.{kind}")
    with open(path, "wb") as file:
        file.truncate(size)
    subprocess.run([f"mkfs.{kind}", str(path)], check=True, capture_output=True)
    return path
