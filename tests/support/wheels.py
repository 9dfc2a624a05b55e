"""Packages that tests make, and a pip that knows no others: real installs without a network."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

__all__ = ["only_index", "pin", "write_wheel"]


def write_wheel(folder: Path, name: str, version: str, members: Mapping[str, bytes]) -> Path:
    """Write a pure-Python wheel.

    Args:
        folder: Where to.
        name: Of the package, with dashes.
        version: Of the package.
        members: Content by path in the wheel.
    """
    stem = f"{name.replace('-', '_')}-{version}"
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in members.items():
            archive.writestr(path, data)
        archive.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return wheel


def pin(wheel: Path) -> str:
    """Return the line of a lock that pins a wheel."""
    name, version, *_ = wheel.name.split("-")
    return (
        f"{name.replace('_', '-')}=={version} \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    )


def only_index(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let pip find packages in one folder and nowhere else, whatever this machine's settings say."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
