"""The rows of the comparison: what is moved, by which programs, over what; and the running of one row."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from contents import write_random, write_safetensors
from goals import OURS
from links import delayed, shaped
from measuring import MIB
from peers.base import LOOPBACK, TIMEOUT, Content, Figures, Peer, Seeder, Skipped, Wire, Yard
from peers.http import Aria2, Curl
from peers.ours import Samara, idle
from peers.rsync import Rsync
from peers.torrent import Torrent

__all__ = ["ROWS", "Found", "Row", "Scale", "deadline", "failing", "run_once", "run_row", "told"]


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done.

    Attributes:
        mib: MiB of the large file.
        runs: How often everything is done.
        idle: Seconds for which the idle node is watched.
    """

    mib: int
    runs: int
    idle: float


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison.

    Attributes:
        name: What `--only` calls it.
        title: What it is, in words.
        peers: The programs; none for the idle node.
        make: Makes the content in a folder, and returns its path.
        room: How many times `Scale.mib` it needs.
        count: Fetchers at once.
        killed: A fetch is killed at half, and done again.
        wire: The link; loopback when None is given.
        mbit: Its bandwidth, if it has one.
        once: It hardly depends on where the files are, and is run at one place only.
        most_runs: It varies so little, or takes so long, that so many runs are enough.
    """

    name: str
    title: str
    peers: tuple[Peer, ...]
    make: Callable[[Path, Scale], Path]
    room: float = 0.1
    count: int = 1
    killed: bool = False
    wire: Callable[[], AbstractContextManager[Wire]] = lambda: nullcontext(LOOPBACK)
    mbit: float = 0.0
    once: bool = False
    most_runs: int = 99

    def runs(self, scale: Scale) -> int:
        """Return how often it is run."""
        return min(scale.runs, self.most_runs)

    def scaled(self, scale: Scale) -> str:
        """Return its title with the size that is really moved."""
        return self.title.format(mib=_size(scale.mib), large=_size(4 * scale.mib))


@dataclass(slots=True)
class Found:
    """What a row found.

    Attributes:
        figures: Program → figures of each run.
        skipped: Program → why it did not run.
        failed: Program → how it failed.
    """

    figures: dict[str, list[Figures]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def told(found: Found) -> dict[str, Any]:
    """Return what a row found as reports keep it, with the medians of its figures."""
    medians = {}
    for name, runs in found.figures.items():
        keys = [key for key in runs[0] if all(key in run for run in runs)]
        medians[name] = {key: statistics.median(run[key] for run in runs) for key in keys}
    return {"medians": medians, "runs": found.figures, "skipped": found.skipped, "failed": found.failed}


def run_row(row: Row, folder: Path, scale: Scale) -> Found:
    """Run all programs of a row in turn, as often as asked, below a new folder that is removed."""
    found = Found()
    folder.mkdir(parents=True)
    try:
        with failing(found, "all"):
            _compare(found, row, folder, scale) if row.peers else _watch_idle(found, row, folder, scale)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if why := found.skipped.pop("all", ""):
        found.skipped = dict.fromkeys((peer.name for peer in row.peers), why)
    # As the row names them, not as they were drawn.
    order = [OURS, *(peer.name for peer in row.peers)]
    found.figures = {name: found.figures[name] for name in dict.fromkeys(order) if name in found.figures}
    return found


def _watch_idle(found: Found, row: Row, folder: Path, scale: Scale) -> None:
    for _ in range(row.runs(scale)):
        run_once(found, OURS, lambda: idle(folder, 20, scale.idle))
        shutil.rmtree(folder, ignore_errors=True)


def _compare(found: Found, row: Row, folder: Path, scale: Scale) -> None:
    with contextlib.ExitStack() as stack:
        content = Content.of(row.make(folder, scale))
        wire = stack.enter_context(row.wire())
        seeders = _seeders(stack, found, row, folder, content, wire)
        facts = {"bytes": float(content.size), **({"mbit": row.mbit} if row.mbit else {})}
        for run in range(row.runs(scale)):
            for name in random.Random(run).sample(sorted(seeders), len(seeders)):
                os.sync()  # nobody pays for what another has left to write
                if not run_once(found, name, partial(_measured, row, seeders[name], facts)):
                    del seeders[name]


def _seeders(
    stack: contextlib.ExitStack, found: Found, row: Row, folder: Path, content: Content, wire: Wire
) -> dict[str, Seeder]:
    """Start the seeder of each program that is here."""
    seeders = {}
    for number, peer in enumerate(row.peers):
        if gone := peer.missing():
            found.skipped[peer.name] = f"not installed: {gone}"
            continue
        with failing(found, peer.name), deadline(TIMEOUT):
            yard = Yard(folder / f"peer-{number}", content, wire)
            seeders[peer.name] = stack.enter_context(peer.seeding(yard))
    return seeders


def _measured(row: Row, seeder: Seeder, facts: Figures) -> Figures:
    return facts | (seeder.interrupted() if row.killed else seeder.fetch(row.count))


def run_once(found: Found, name: str, work: Callable[[], Figures]) -> bool:
    """Keep the figures of one run, or how it failed; return whether it can be run again."""
    with failing(found, name), deadline(TIMEOUT + 60):
        figures = work()
        found.figures.setdefault(name, []).append(figures)
        said = " ".join(f"{key}={value:.4g}" for key, value in figures.items())
        print(f"  {name:23} {said}", file=sys.stderr, flush=True)
        return True
    return False


@contextlib.contextmanager
def failing(found: Found, name: str) -> Iterator[None]:
    """One program's failure ends that program, and is told."""
    try:
        yield
    except Skipped as why:
        found.skipped[name] = str(why)
    except Exception as error:
        found.failed[name] = f"{type(error).__name__}: {error}"
        print(f"  {name}: FAILED: {found.failed[name]}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Nothing may hang: what still waits then is interrupted, and cleans up."""

    def late(signum: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not done within {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _size(mib: int) -> str:
    return f"{mib // 1024} GiB" if mib % 1024 == 0 else f"{mib} MiB"


def _file(times: float = 1.0, most: float = float("inf")) -> Callable[[Path, Scale], Path]:
    """Make a file of so many times `Scale.mib`, or of `most` MiB."""

    def make(folder: Path, scale: Scale) -> Path:
        path = folder / "data.bin"
        write_random(path, int(min(scale.mib * times, most) * MIB))
        return path

    return make


def _model(folder: Path, scale: Scale) -> Path:
    path = folder / "model.safetensors"
    write_safetensors(path, scale.mib * MIB)
    return path


def _item(folder: Path, scale: Scale) -> Path:
    path = folder / "item.bin"
    path.write_bytes(os.urandom(1000))
    return path


def _many(folder: Path, scale: Scale) -> Path:
    """Make 10,000 files of 1 KB, a hundred in each folder."""
    path = folder / "many"
    for number in range(10_000):
        inside = path / f"{number // 100:02}"
        inside.mkdir(parents=True, exist_ok=True)
        (inside / f"{number % 100:02}.bin").write_bytes(os.urandom(1000))
    return path


_V1, _V2, _SECRET = Torrent(1), Torrent(2), Torrent(1, encrypted=True)

ROWS = (
    Row(
        "single", "{mib} from one to one", (Samara(), _V1, _V2, _SECRET, Curl(), Aria2(), Rsync()), _file(), room=2.3
    ),
    Row("model", "a model of {mib} from one to one", (Samara(), _V1, Curl()), _model, room=2.3),
    Row("large", "{large} from one to one", (Samara(), _V1, Curl()), _file(4), room=8.3),
    Row("swarm", "{mib} from one to four", (Samara(running=True), _V1, _V2, Curl(), Rsync()), _file(), 5.3, count=4),
    Row("resume", "{mib}, killed at half and done again", (Samara(), _V1, Curl()), _file(), room=2.3, killed=True),
    Row("many", "10,000 files of 1 KB", (Samara(running=True), _V1, _V2, Rsync()), _many),
    Row("item", "an item of 1 KB", (Samara(running=True), _V1, Curl()), _item),
    Row(
        "slow", "a link of 20 Mbit/s", (Samara(), _V1, Curl()), _file(1, most=32), room=0.3,
        wire=lambda: shaped(20), mbit=20, once=True, most_runs=3,
    ),
    Row(
        "far", "a link of 100 Mbit/s, 200 ms round trip", (Samara(), _V1, Curl()), _file(1, most=512), room=1.2,
        wire=lambda: delayed(100, 0.2), mbit=100, once=True, most_runs=3,
    ),
    Row("idle", "an idle node with 20 peers", (), _item, once=True, most_runs=3),
)  # fmt: skip
