"""The kill harness: fetches that are killed at moments drawn from one integer, and a look at what they left.

    with KillHarness(folder) as harness:
        findings = harness.play(seed)        a new home: one to three kills, then a fetch that must end well

After each kill the home is looked at from outside, with the bytes of the truth beside it (`look_at`):

- the index opens, for reading and for writing, and SQLite finds it sound;
- every set bit stands for a chunk that is there, every file that the index calls complete is there and right;
- no file at a final path is wrong, nothing outside the place was touched, nothing of the sources changed.

The next fetch goes on, fetches exactly what was not committed, and ends with all bytes right. What breaks this is
counted as a lie or as unreadable. The same seed plays the same game; kills by the clock alone depend on the machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import random
import shutil
import sqlite3
import stat
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Final

import msgspec
from blake3 import blake3
from support.contents import Source, give_home
from support.kill_child import MOMENTS, Ended, Kill, Order

from samara.node.settings import StoreSettings
from samara.node.store.contents import HeldFile, Place
from samara.node.store.home import Home
from samara.node.store.reader import progress_path
from samara.node.store.stamps import Likeness
from samara.node.store.store import Store
from samara.protocol.errors import NotFoundError, SamaraError
from samara.protocol.ids import format_record
from samara.protocol.limits import KIB, MIB

__all__ = ["Findings", "KillHarness", "Looked", "as_a_user", "fingerprint", "look_at", "write_files"]

_RATES: Final = (None, 24e6, 8e6)

_CALLS: Final[Mapping[str, int]] = {
    "mkdir": 120, "create": 33, "allocate": 29, "write": 89, "sync": 30, "chmod": 30, "link": 31, "unlink": 35,
    "folder": 9, "begin": 56, "commit": 56,
}  # fmt: skip
"""How often a fetch that nobody kills makes each call, about: what draws are made from, so that a seed says it all."""

_TESTS: Final = Path(__file__).resolve().parents[1]


@dataclass(slots=True)
class Findings:
    """What some games showed.

    Attributes:
        kills: Processes that died of SIGKILL.
        missed: Kills that came too late: the fetch had ended.
        lies: What was claimed and is not so.
        unreadable: Homes that could not be opened, or fetches that did not go on.
        lost: Bytes put and not committed, of each kill.
        moments: Kills by moment.
    """

    kills: int = 0
    missed: int = 0
    lies: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    moments: Counter[str] = field(default_factory=Counter)

    def add(self, other: Findings) -> None:
        """Take in the findings of another game."""
        self.kills += other.kills
        self.missed += other.missed
        self.lies += other.lies
        self.unreadable += other.unreadable
        self.lost += other.lost
        self.moments += other.moments


@dataclass(slots=True)
class Looked:
    """What a look at a home found.

    Attributes:
        lies: What is claimed and is not so.
        unreadable: Why the home cannot be opened; empty when it can.
        committed: Bytes of chunks that are believed.
        complete: Every file lies at its path, and is known to.
    """

    lies: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    committed: int = 0
    complete: bool = False


@dataclass(frozen=True, slots=True)
class _Game:
    """A home to be, all drawn from one seed."""

    to: bool
    lossy: bool
    rate: float | None
    commit_every: float
    kills: tuple[Kill, ...]

    @classmethod
    def draw(cls, seed: int, seconds: float) -> _Game:
        """Draw a game; `seconds` is how long a fetch that nobody kills takes on this machine."""
        rng = random.Random(seed)
        kills = tuple(_draw_kill(rng, seconds) for _ in range(rng.randint(1, 3)))
        return cls(rng.random() < 0.3, rng.random() < 0.5, rng.choice(_RATES), rng.choice((0.0, 0.1)), kills)


def _draw_kill(rng: random.Random, seconds: float) -> Kill:
    if rng.random() < 0.4:
        return Kill("time", after=rng.random() * seconds)
    moment = rng.choice(MOMENTS)
    when = rng.choice(("before", "after", "torn") if moment in {"write", "allocate"} else ("before", "after"))
    # Half of them early: what happens once, at the beginning, would hardly ever be hit otherwise.
    most = _CALLS[moment] if rng.random() < 0.5 else 8
    return Kill(moment, rng.randint(1, most), when)


class KillHarness:
    """Plays games in a folder of its own.

    Args:
        folder: Is made, and filled.
        sabotage: Breaks the order of writes on purpose, to see that it is found out; see `Order`.
    """

    def __init__(self, folder: Path, *, sabotage: str = "") -> None:
        self._folder = folder
        self._sabotage = sabotage
        self._child: _ChildServer | None = None
        folder.mkdir(parents=True)
        write_files(folder / "model", random.Random(0))
        with give_home(folder / "source") as store:
            self.made = Source.publish(store, folder / "model")
        self._sources = fingerprint(folder / "model")
        self._whole: Ended | None = None

    def __enter__(self) -> KillHarness:
        self._child = _ChildServer(self._folder / "notes")
        self._whole = self._fetch(self._folder / "whole", to=None, rate=_RATES[1], commit_every=0.0)
        if self._whole.status:
            self._child.close()
            raise AssertionError(f"a fetch that nobody kills fails: {self._whole.error}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            self._child.close()

    def play(self, seed: int) -> Findings:
        """Kill a fetch one to three times, look at the home each time, and let it end at last."""
        assert self._whole is not None
        return self._play(f"seed {seed}", _Game.draw(seed, self._whole.seconds))

    def play_kills(self, *kills: Kill) -> Findings:
        """Kill a fetch at these moments, on a disk that loses what was not synced."""
        name = "-".join(f"{kill.moment}.{kill.count}.{kill.when}" for kill in kills)
        return self._play(name, _Game(to=False, lossy=True, rate=None, commit_every=0.0, kills=kills))

    def _play(self, name: str, game: _Game) -> Findings:
        yard = self._folder / name.replace(" ", "-")
        to = yard / "to" if game.to else None
        (yard / "outside").mkdir(parents=True)
        (yard / "outside/mine").write_text("not yours")
        if to is not None:
            to.mkdir()
            (to / "mine.txt").write_text("not yours either")
        findings = Findings()
        before = fingerprint(yard, without=(yard / "home", *self._own_paths(to)))
        looked = Looked()
        for kill in game.kills:
            committed = looked.committed
            ended = self._fetch(yard / "home", to, game.rate, game.commit_every, kill, lossy=game.lossy)
            looked = self._look(yard, to, before)
            findings.lies += looked.lies
            findings.unreadable += looked.unreadable
            if ended.status == -9:
                findings.kills += 1
                findings.moments[kill.moment] += 1
                findings.lost.append(max(0, ended.put - (looked.committed - committed)))
            elif ended.status == 0:
                findings.missed += 1
            else:
                findings.unreadable.append(f"a fetch after a kill failed: {ended.error}")
        self._end_well(yard, to, before, looked, findings)
        findings.lies = [f"{name}: {lie}" for lie in findings.lies]
        findings.unreadable = [f"{name}: {why}" for why in findings.unreadable]
        if not findings.lies and not findings.unreadable:
            shutil.rmtree(yard)
        return findings

    def _end_well(
        self, yard: Path, to: Path | None, before: Mapping[str, str], looked: Looked, findings: Findings
    ) -> None:
        total = sum(path.stat().st_size for path in self.made.root.rglob("*") if path.is_file())
        ended = self._fetch(yard / "home", to)
        if ended.status:
            findings.unreadable.append(f"the last fetch ended with {ended.status}: {ended.error}")
            return
        if ended.kept != total - looked.committed:
            findings.lies.append(f"{looked.committed} of {total} bytes were committed, and {ended.kept} came again")
        last = self._look(yard, to, before)
        findings.lies += last.lies
        findings.unreadable += last.unreadable
        if not last.complete:
            findings.lies.append("the fetch says that it is done, and is not")

    def _fetch(
        self,
        home: Path,
        to: Path | None,
        rate: float | None = None,
        commit_every: float = 0.1,
        kill: Kill | None = None,
        *,
        lossy: bool = False,
    ) -> Ended:
        assert self._child is not None
        return self._child.do(
            Order(
                home=str(home),
                source=str(self._folder / "source"),
                ref=format_record(self.made.release),
                notes=str(self._folder / "notes"),
                to=str(to or ""),
                kill=kill,
                rate=rate,
                lossy=lossy,
                commit_every=commit_every,
                sabotage=self._sabotage if kill is not None else "",
            )
        )

    def _own_paths(self, to: Path | None) -> tuple[Path, ...]:
        return () if to is None else (to / ".samara", *(to / name for name in self.made.files))

    def _look(self, yard: Path, to: Path | None, before: Mapping[str, str]) -> Looked:
        looked = look_at(yard / "home", self.made)
        now = fingerprint(yard, without=(yard / "home", *self._own_paths(to)), dirs=False)
        strange = {name for name, print_ in before.items() if now.get(name) != print_} | (now.keys() - before.keys())
        looked.lies += [f"{name} was touched, and is none of ours" for name in sorted(strange)]
        if fingerprint(self.made.root) != self._sources:
            looked.lies.append("the seeder's files were touched")
        return looked


def as_a_user() -> list[str]:
    """Return what to put before a command so that permissions of files bind it also when root runs it."""
    if os.geteuid() or shutil.which("setpriv") is None:
        return []
    gone = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={gone}", f"--inh-caps={gone}"]


class _ChildServer:
    """The process that forks the children; see `support.kill_child`."""

    def __init__(self, log: Path) -> None:
        path = os.pathsep.join((str(_TESTS.parent / "src"), str(_TESTS)))
        self._log: IO[bytes] = open(f"{log}.stderr", "wb")  # noqa: SIM115 - open as long as the process lives
        self._process = subprocess.Popen(
            [*as_a_user(), sys.executable, "-m", "support.kill_child"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip

    def do(self, order: Order) -> Ended:
        """Let a child do an order, to its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self._process.stdout.readline(), type=Ended)

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()
        self._log.close()


def look_at(home: Path, made: Source) -> Looked:
    """Look at the home of a fetcher that is not running.

    Args:
        home: Its home; may not exist yet.
        made: What it fetches; its files are the truth.
    """
    looked = Looked()
    if not (home / "index.sqlite").exists():
        return looked
    for writable in (False, True):  # what `samara ls` does, then what the next fetch does
        try:
            with contextlib.closing(Store(Home(home), StoreSettings(), writable=writable)) as store:
                if writable:
                    _look_at_store(store, made, looked)
        except NotFoundError:
            pass  # nothing was made yet
        except (SamaraError, sqlite3.Error) as error:
            looked.unreadable.append(f"the store does not open ({'for writing' if writable else 'to look'}): {error!r}")
    with contextlib.closing(sqlite3.connect(home / "index.sqlite")) as db:
        try:
            if (sound := db.execute("PRAGMA integrity_check").fetchall()) != [("ok",)]:
                looked.unreadable.append(f"SQLite finds {sound}")
        except sqlite3.Error as error:
            looked.unreadable.append(f"SQLite finds {error!r}")
    looked.lies += _strangers(home)
    return looked


def _look_at_store(store: Store, made: Source, looked: Looked) -> None:
    believed = 0
    for place in store.contents.places(made.content):
        files = store.contents.files(place)
        for held in files.values():
            looked.committed += _look_at_file(store, made, held, looked)
            believed += held.state == "complete"
        looked.committed += _bytes_unrecorded(place, made, files)
        looked.lies += _wrong_files(place.root, made, store.home.content)
    looked.complete = believed == len(made.files)
    done = store.catalog.release(made.release) is not None and made.release in store.catalog.pins()
    if done and not looked.complete:
        looked.lies.append("the release is pinned as fetched, and is not whole")


def _look_at_file(store: Store, made: Source, held: HeldFile, looked: Looked) -> int:
    """Compare one file with the truth; return the bytes that are believed of it."""
    name = made.files[held.stream - 1]
    truth = (made.root / name).read_bytes()
    final = held.place.root / name
    if held.state == "complete":
        status = final.stat() if final.is_file() else None
        if status is None or final.read_bytes() != truth:
            looked.lies.append(f"{name} is called complete, and is {'gone' if status is None else 'wrong'}")
        elif held.stamp.compare(status) is not Likeness.SAME:
            looked.lies.append(f"{name} was changed after it was called complete")
        return len(truth)
    if final.is_file() and final.read_bytes() == truth:  # moved and not recorded: the next fetch hashes and adopts it
        return len(truth)
    chunks = store.contents.chunk_list(made.content, held.stream)
    believed = 0
    # Between the rename and its record the file lies at its path already.
    path = next((p for p in (progress_path(held.place, held.stream), final) if p.exists()), None)
    data = path.read_bytes() if path is not None else b""
    for index in range(len(chunks)) if chunks is not None else ():
        if chunks is None or not held.holds(index):
            continue
        start, end = chunks.offset(index), chunks.offset(index) + chunks.length(index)
        believed += end - start
        if blake3(data[start:end]).digest() != chunks.hash(index) or data[start:end] != truth[start:end]:
            looked.lies.append(f"chunk {index} of {name} has its bit, and is not there")
    return believed


def _bytes_unrecorded(place: Place, made: Source, recorded: Collection[int]) -> int:
    """Bytes of small files that were moved and are not recorded yet: the next fetch hashes and adopts them."""
    found = 0
    for stream, name in enumerate(made.files, 1):
        final, truth = place.root / name, (made.root / name).read_bytes()
        if stream not in recorded and final.is_file() and final.read_bytes() == truth:
            found += len(truth)
    return found


def _wrong_files(root: Path, made: Source, content: Path) -> Iterator[str]:
    """Files at a final path that are wrong; a home's place must hold nothing else at all."""
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if name.split("/")[0] == ".samara" or path.is_dir():
            continue
        if name in made.files:
            if path.is_symlink() or path.read_bytes() != (made.root / name).read_bytes():
                yield f"{name} lies at its path, and is wrong"
        elif root.parent == content:
            yield f"{name} is not in the table"


def _strangers(home: Path) -> Iterator[str]:
    """What lies in a home and does not belong there (specs/store.md, "Layout of a home")."""
    known = {"lock", "config.toml", "node.key", "publisher.key", "index.sqlite", "index.sqlite-wal",
             "index.sqlite-shm", "content"}  # fmt: skip
    for path in home.iterdir():
        if path.name not in known and not path.name.startswith("."):
            yield f"{path.name} in the home is unknown"


def fingerprint(root: Path, without: tuple[Path, ...] = (), *, dirs: bool = True) -> dict[str, str]:
    """Return what lies below a folder: by path, its kind, and the hash of a file's bytes."""
    found = {}
    for folder, names, files in os.walk(root):
        here = Path(folder)
        names[:] = [name for name in names if here / name not in without]
        for name in files:
            path = here / name
            if path in without:
                continue
            status = path.lstat()
            data = path.read_bytes() if stat.S_ISREG(status.st_mode) else os.readlink(path).encode()
            found[str(path.relative_to(root))] = f"{stat.S_IFMT(status.st_mode)} {hashlib.sha256(data).hexdigest()}"
    return found


def write_files(root: Path, rng: random.Random) -> None:
    """Write a model's folder: large, small and empty files, equal chunks in several places, a format with tensors."""
    large = rng.randbytes(3 * MIB + 17)
    files = {
        "weights.safetensors": _safetensors(rng, 2 * MIB + 3 * KIB),
        "large.bin": large,
        "again/part-of-large.bin": large[: MIB + 5],
        "one-chunk.bin": rng.randbytes(9 * KIB),
        "empty": b"",
        "README.md": b"---\nlicense: mit\n---\n# A model\n",
        **{f"many/{n:03}.txt": rng.randbytes(rng.randint(1, 20 * KIB)) for n in range(24)},
    }
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def _safetensors(rng: random.Random, size: int) -> bytes:
    cuts = [0, size // 2, size // 2 + 70 * KIB, size]
    header = {
        f"t{n}": {"dtype": "U8", "shape": [b - a], "data_offsets": [a, b]}
        for n, (a, b) in enumerate(itertools.pairwise(cuts))
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + rng.randbytes(size)
