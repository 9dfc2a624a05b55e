"""Disks that are full: a typed error that says so, nothing lost, and it goes on afterwards."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli, eventually
from support.mounts import mount, mounted

MIB = 1 << 20
pytestmark = pytest.mark.slow

FILES = {f"w{n}.bin": MIB for n in range(6)}
TOTAL = sum(FILES.values())


@dataclass(frozen=True, slots=True)
class Disk:
    """A small filesystem of its own, in memory."""

    path: Path

    def resize(self, size: int) -> None:
        mount("-o", f"remount,size={size}", str(self.path))

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Fill it to the last byte for a while."""
        filler = self.path / "filler"
        fd = os.open(filler, os.O_CREAT | os.O_WRONLY)
        try:
            for size in (64 << 10, 4 << 10, 1):
                with contextlib.suppress(OSError):
                    while True:
                        os.write(fd, bytes(size))
            yield
        finally:
            os.close(fd)
            filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", f"size={TOTAL}", "none") as path:
        yield Disk(path)


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("seeder")
    (folder / "model").mkdir()
    for name, size in FILES.items():
        (folder / "model" / name).write_bytes(random.Random(name).randbytes(size))
    with Cli(folder / "home").running("seed", str(folder / "model"), "--license", "MIT") as (_, said):
        yield said["published"][0]


def arrived(path: str) -> bool:
    return all((Path(path) / name).read_bytes() == random.Random(name).randbytes(size) for name, size in FILES.items())


def held_of(cli: Cli) -> int:
    return sum(row["held"] for row in cli.json("ls")["releases"])


def bob(home: Path, beside: Path, **settings: str) -> Cli:
    """Bob, whose runtime folder is not on the small disk."""
    beside.mkdir(mode=0o700, exist_ok=True)
    return Cli(home).having(XDG_RUNTIME_DIR=str(beside), **settings)


@pytest.mark.parametrize("where", ["home", "to"])
def test_what_cannot_fit_is_refused_and_fetched_when_there_is_room(
    tmp_path: Path, disk: Disk, seeded: dict[str, Any], where: str
) -> None:
    cli = bob(disk.path / "home" if where == "home" else tmp_path / "home", tmp_path / "run")
    to = ("--to", str(disk.path / "to")) if where == "to" else ()
    # The home's index is on the small disk in one case, and in the other not.
    disk.resize(TOTAL - MIB // 2)
    done = cli.run("fetch", seeded["link"], *to, "--json")
    assert (done.code, done.json["error"]) == (1, "DiskFullError")
    assert done.json["hint"]
    assert not [path for path in disk.path.rglob("w*.bin") if path.is_file()]
    disk.resize(2 * TOTAL)
    assert arrived(cli.json("fetch", seeded["link"], *to)["path"])


def test_a_disk_that_fills_up_in_the_middle_loses_nothing(tmp_path: Path, disk: Disk, seeded: dict[str, Any]) -> None:
    disk.resize(2 * TOTAL)
    cli = bob(tmp_path / "home", tmp_path / "run", SAMARA_NETWORK_DOWNLOAD="1500 kB")
    to = ("--to", str(disk.path / "to"))
    fetch = cli.start("fetch", seeded["link"], *to, "--json")
    eventually(lambda: (cli.home / "index.sqlite").exists() and held_of(cli) > 0)
    with disk.full():
        done = fetch.wait(60)
        assert (done.code, done.json["error"]) == (1, "DiskFullError")
        held = held_of(cli)
        assert 0 < held < TOTAL
        again = cli.run("fetch", seeded["link"], *to, "--json")
        assert (again.code, again.json["error"]) == (1, "DiskFullError")
        assert held_of(cli) == held
    fetched = bob(tmp_path / "home", tmp_path / "run").json("fetch", seeded["link"], *to)
    assert fetched["received"] == TOTAL - held
    assert arrived(fetched["path"])


def test_a_home_on_a_full_disk_can_be_looked_at_and_works_afterwards(
    tmp_path: Path, disk: Disk, seeded: dict[str, Any]
) -> None:
    disk.resize(2 * TOTAL)
    cli = bob(disk.path / "home", tmp_path / "run")
    path = cli.json("fetch", seeded["link"])["path"]
    release = seeded["release"]
    with disk.full():
        assert [row["state"] for row in cli.json("ls")["releases"]] == ["complete"]
        assert cli.json("show", release)["path"] == path
        for command in (("unpin", release), ("verify", release), ("key", "show"), ("status",), ("node",)):
            done = cli.run(*command, "--json")
            assert (done.code, done.json["error"]) == (1, "DiskFullError"), command
    assert cli.json("verify", release)["ok"] is True
    assert cli.json("key", "show")["key"].startswith("did:key:")
    assert cli.json("unpin", release)["release"] == release
    assert cli.json("gc")["bytes"] >= TOTAL
