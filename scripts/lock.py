#!/usr/bin/env python3
"""Writes and checks the locks in `requirements/`: every package, its version, its hashes; no addresses.

`pyproject.toml` is the only place where direct dependencies are named; this derives from it

- `dev.txt`: all that a checkout needs to be checked and tested (it contains the next),
- `run.txt`: what `samara` needs to run,
- `interop.txt`: stock py-libp2p, a peer of some tests, which install it into an environment of its own,
- `judges.txt`: tools of others that judge what Samara writes, in tests, in an environment of their own,
- `fuzz.txt`: atheris, which scripts/fuzz.py installs on demand.

The first two agree on every version. Each lock begins with a digest of what it was made from, so that `--check` can
tell, without a network, that a lock and `pyproject.toml` have drifted apart. Versions move only with `--upgrade`.

Run it with the project's Python (`.venv/bin/python scripts/lock.py`), where uv and packaging are.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["LOCKS", "Lock", "Pin", "main", "pins", "problems"]

ROOT: Final = Path(__file__).resolve().parent.parent
HEADER: Final = re.compile(r"# Made from pyproject\.toml by scripts/lock\.py; inputs sha256:([0-9a-f]{64})\n")
PIN: Final = re.compile(
    r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^ ;\\]+)(?: ; (?P<marker>[^\\]+?))? ?\\?$"
)

PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS: Final = (
    "x86_64-manylinux_2_28",
    "aarch64-manylinux_2_28",
    "aarch64-apple-darwin",
    "x86_64-pc-windows-msvc",
)
"""Where the locks must install without a compiler (glibc ≥ 2.28 is Debian 10, Ubuntu 18.10, RHEL 8)."""


@dataclass(frozen=True, slots=True)
class Lock:
    """One lock file.

    Attributes:
        name: Its file in `requirements/`.
        groups: The dependency groups that it contains beside the project's own dependencies.
        alone: It contains its groups alone, of whatever versions: it is never installed beside the project.
    """

    name: str
    groups: tuple[str, ...]
    alone: bool = False

    @property
    def path(self) -> Path:
        """Where it lies."""
        return ROOT / "requirements" / self.name


# The first decides the versions; the second is held to it.
LOCKS: Final = (
    Lock("dev.txt", groups=("dev",)),
    Lock("run.txt", groups=()),
    Lock("interop.txt", groups=("interop",), alone=True),
    Lock("judges.txt", groups=("judges",), alone=True),
    Lock("fuzz.txt", groups=("fuzz",), alone=True),
)


@dataclass(frozen=True, slots=True)
class Pin:
    """One entry of a lock.

    Attributes:
        name: Canonical name of the package.
        version: Its one version.
        marker: Where it is installed (PEP 508), or empty for everywhere.
        hashes: SHA-256 of each of its files, hex.
    """

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


def read_project() -> dict[str, Any]:
    """Return `pyproject.toml`."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def direct(lock: Lock, project: Mapping[str, Any]) -> list[str]:
    """Return the requirements that `pyproject.toml` names for a lock, sorted."""
    named = [] if lock.alone else list(project["project"]["dependencies"])
    for group in lock.groups:
        named += project["dependency-groups"][group]
    return sorted(named)


def overrides(lock: Lock, project: Mapping[str, Any]) -> list[str]:
    """Return the requirements that replace what a dependency asks for, sorted."""
    return sorted(project["tool"]["uv"]["override-dependencies"]) if "interop" in lock.groups else []


def inputs_digest(lock: Lock, project: Mapping[str, Any]) -> str:
    """Return SHA-256, in hex, over all that decides what a lock contains."""
    inputs = [project["project"]["requires-python"], direct(lock, project)]
    inputs += [replaced] if (replaced := overrides(lock, project)) else []
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def pins(text: str) -> Iterator[Pin]:
    """Yield the entries of a lock.

    Raises:
        ValueError: A line is neither a pin, nor a hash, nor a comment: an address or an option has got in.
    """
    for entry in re.split(r"(?<!\\)\n", text):
        if not entry or entry.startswith("#"):
            continue
        first, *rest = entry.split("\n")
        match = PIN.match(first)
        hashes = [re.fullmatch(r"    --hash=sha256:([0-9a-f]{64})(?: \\)?", line) for line in rest]
        if match is None or not hashes or None in hashes:
            raise ValueError(f"not a pin with hashes: {first!r}")
        found = tuple(h.group(1) for h in hashes if h is not None)
        yield Pin(canonicalize_name(match["name"]), match["version"], match["marker"] or "", found)


def problems(project: Mapping[str, Any], texts: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the locks; empty when they are what `pyproject.toml` asks for.

    Args:
        project: `pyproject.toml`.
        texts: The text of each lock, by file name.
    """
    found: list[str] = []
    everything = set(pins(texts[LOCKS[0].name]))
    for lock in LOCKS:
        header = HEADER.match(texts[lock.name])
        if header is None or header.group(1) != inputs_digest(lock, project):
            found.append(f"{lock.name} was not made from this pyproject.toml: run scripts/lock.py")
        entries = list(pins(texts[lock.name]))
        strange = set() if lock.alone else set(entries) - everything
        found += [f"{lock.name}: {p.name}=={p.version} is not in {LOCKS[0].name}" for p in strange]
        for named in map(Requirement, [*direct(lock, project), *overrides(lock, project)]):
            versions = [p.version for p in entries if p.name == canonicalize_name(named.name)]
            fit = any if named.marker else all  # one that is for some machines alone has siblings
            if not versions or not fit(named.specifier.contains(v, prereleases=True) for v in versions):
                found.append(f"{lock.name}: {named} is not met by {versions or 'any pin'}")
    return found


def find_uv() -> str:
    """Return the path of uv: the project's own, else one on the path."""
    beside = str(Path(sys.executable).parent)
    uv = shutil.which("uv", path=beside) or shutil.which("uv")
    if uv is None:
        sys.exit("lock: uv is not here; run `./check --setup` first, which installs it with the development packages")
    return uv


def compile_lock(lock: Lock, project: Mapping[str, Any], *, upgrade: Sequence[str]) -> None:
    """Resolve one lock with uv and write it."""
    text = lock.path.read_text(encoding="utf-8") if lock.path.exists() else ""
    with tempfile.TemporaryDirectory() as folder:
        wanted, override, held = (Path(folder) / name for name in ("wanted.in", "override.in", "held.in"))
        result = Path(folder) / lock.name
        wanted.write_text("\n".join(direct(lock, project)))
        override.write_text("\n".join(overrides(lock, project)))
        held.write_text("" if lock is LOCKS[0] or lock.alone else LOCKS[0].path.read_text(encoding="utf-8"))
        result.write_text(text)  # uv keeps the versions that it finds here, unless told to upgrade
        options = ["--universal", "--python-version", PYTHONS[0], "--generate-hashes", "--no-header", "--no-annotate"]
        options += ["--no-emit-index-url", "--no-emit-find-links", "--quiet", "--no-config"]
        options += ["--override", str(override), "--constraint", str(held), "--output-file", str(result)]
        subprocess.run([find_uv(), "pip", "compile", str(wanted), *options, *upgrade], check=True)
        body = result.read_text(encoding="utf-8")
    digest = inputs_digest(lock, project)
    new = f"# Made from pyproject.toml by scripts/lock.py; inputs sha256:{digest}\n{body}"
    partial = lock.path.with_suffix(".new")
    partial.write_text(new, encoding="utf-8")
    os.replace(partial, lock.path)


def prove_platforms() -> bool:
    """Ask the package index whether every pin has a wheel on every platform; print the answers."""
    good = True
    for platform in PLATFORMS:
        for python in PYTHONS:
            with tempfile.TemporaryDirectory() as target:
                command = [find_uv(), "pip", "install", "--dry-run", "--no-config", "--target", target, "--no-deps"]
                command += ["--require-hashes", "--only-binary", ":all:"]
                command += ["--python-platform", platform, "--python-version", python, "-r", str(LOCKS[0].path)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            print(f"{platform} {python}: {'ok' if done.returncode == 0 else done.stderr.strip()}")
            good = good and done.returncode == 0
    return good


def main() -> int:
    """Write, check or prove the locks."""
    parser = argparse.ArgumentParser(description="Write requirements/*.txt from pyproject.toml.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="say whether the locks fit pyproject.toml; no network")
    what.add_argument("--platforms", action="store_true", help="say whether every pin has a wheel on every platform")
    what.add_argument("--upgrade", action="store_true", help="move every version to the newest that fits")
    what.add_argument("--upgrade-package", metavar="NAME", help="move the version of one package")
    asked = parser.parse_args()
    if asked.platforms:
        return 0 if prove_platforms() else 1
    project = read_project()
    if not asked.check:
        one = ["--upgrade-package", asked.upgrade_package] if asked.upgrade_package else []
        for lock in LOCKS:
            compile_lock(lock, project, upgrade=["--upgrade"] if asked.upgrade else one)
    wrong = problems(project, {lock.name: lock.path.read_text(encoding="utf-8") for lock in LOCKS})
    for line in wrong:
        print(f"lock: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
