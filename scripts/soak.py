#!/usr/bin/env python3
"""Lets eight real nodes come and go for as long as you like, and checks that nothing is lost, wrong or leaking.

    .venv/bin/python scripts/soak.py [--minutes 30] [--seed 1] [--nodes 8] [--folder DIR] [--json]

Each node is a process with a home of its own, on loopback, in one DHT. What happens next is drawn from the seed: a node
starts, is told to stop, or is killed with SIGKILL, also in the middle of a fetch; something new is published; somebody
fetches it from somebody else; something is removed; something is verified. Two elders are never stopped, so that one
sees what a long life does. Memory (RssAnon) and open files of each node are looked at every second.

It ends with exit code 1 when
- what was published or fetched, and acknowledged with exit code 0, is not there byte for byte, or does not verify;
- a home cannot be read, a node does not start, does not stop, or ends by itself, or anything ends with a traceback;
- a command ends in a way that the weather does not explain (`EXPLAINED`);
- a node grows by more than `MIB_A_MINUTE` or `FILES_A_MINUTE` in the second half of its life, if that is `LONG` enough.
The same seed draws the same acts; what they meet depends on the machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from support.cli import Cli  # noqa: E402 - its path is added above

__all__ = ["Soak", "main"]

ELDERS: Final = 2
HANDS: Final = 3
"""Commands at a time."""
PACE: Final = 0.5
"""Seconds from one act to the next."""
RELEASES: Final = 24
"""Releases at most that live at a time: the disk is not what is tried here."""
WARM_UP: Final = 0.5
"""Share of a life that no slope is fitted to: code is still read, caches fill, and there is ever more to hold."""
LONG: Final = 600.0
"""Seconds after the warm-up from which on a slope is judged. The buffers of a fetch go back to the system or not, as it
falls: a node that fetched 70 releases one after another rose from 31 MiB to some 60 in the first 30, and then swung
between 51 and 73."""
MIB_A_MINUTE: Final = 2.0
FILES_A_MINUTE: Final = 2.0
_WIDTHS: Final = (8, 7, 6, 6, 6, 9, 6, 5, 9)
PATIENCE: Final = 90.0
"""Seconds that any one command may take."""

EXPLAINED: Final = {
    "publish": {0, 1},
    "fetch": {0, 1, 3},
    "rm": {0, 1, 3},
    "verify": {0, 1},
    "ls": {0},
}
"""Exit codes that a command may have: 1 when its node was stopped beneath it, 3 when whoever had it is gone."""

ACTS: Final = {"start": 14, "stop": 4, "kill": 6, "publish": 14, "fetch": 44, "rm": 8, "verify": 10}
"""Acts and how often each is drawn."""


@dataclass(frozen=True, slots=True)
class Thing:
    """A release, and the truth of its files."""

    release: str
    files: dict[str, str]


@dataclass(slots=True)
class Life:
    """One node process: what was seen of it."""

    name: str
    process: subprocess.Popen[str]
    began: float
    log: Path
    addresses: list[str] = field(default_factory=list)
    meant_to_end: bool = False
    samples: list[tuple[float, float, int]] = field(default_factory=list)
    """Seconds of life, MiB of RssAnon, open files."""

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def sample(self) -> None:
        proc = Path(f"/proc/{self.process.pid}")
        try:
            lines = (proc / "status").read_text().splitlines()
            files = sum(1 for _ in (proc / "fd").iterdir())
        except OSError:
            return
        kib = next((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)
        self.samples.append((time.monotonic() - self.began, kib / 1024, files))

    def slopes(self) -> dict[str, float] | None:
        """Fit straight lines to what was seen after the warm-up: growth a minute; None when that is too little."""
        seen = self.samples[int(len(self.samples) * WARM_UP) :]
        if len(seen) < 20:
            return None
        times = [sample[0] for sample in seen]
        return {
            "seconds": round(times[-1] - times[0]),
            "mib_at_half": round(seen[0][1], 1),
            "mib": round(seen[-1][1], 1),
            "mib_most": round(max(sample[1] for sample in seen), 1),
            "mib_a_minute": round(60 * slope(times, [sample[1] for sample in seen]), 3),
            "files": seen[-1][2],
            "files_most": max(sample[2] for sample in seen),
            "files_a_minute": round(60 * slope(times, [float(sample[2]) for sample in seen]), 3),
        }


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Return the slope of the line of least squares."""
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - x_mean) ** 2 for x in xs)
    return sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread if spread else 0.0


class Member:
    """A home, and the node on it when one runs."""

    def __init__(self, name: str, folder: Path, *, elder: bool) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        self.elder = elder
        self.cli = Cli(self.folder / "home").having(SAMARA_NETWORK_DHT="server")
        self.life: Life | None = None
        self.busy = threading.Lock()
        self.command: subprocess.Popen[str] | None = None
        self.held: dict[str, tuple[Thing, Path]] = {}
        """What must be here, by release: it was acknowledged."""

    @property
    def running(self) -> bool:
        return self.life is not None and self.life.alive and bool(self.life.addresses)


Act: TypeAlias = Callable[[Member, str, random.Random], None]


class Soak:
    """The nodes, and what becomes of them.

    Args:
        folder: Is filled.
        seed: All that is drawn is drawn from it.
        nodes: How many.
    """

    def __init__(self, folder: Path, seed: int, nodes: int) -> None:
        self.rng = random.Random(seed)
        self.members = [Member(f"node{n}", folder, elder=n < ELDERS) for n in range(nodes)]
        self.things: dict[str, Thing] = {}
        self.lives: list[Life] = []
        self.violations: list[str] = []
        self.counts: Counter[str] = Counter()
        self._made = 0
        self._over = threading.Event()
        self._lock = threading.Lock()

    # The course of it.

    def run(self, seconds: float) -> None:
        """Let it happen for so long, then stop everything and look at what is left."""
        watcher = threading.Thread(target=self._watch)
        watcher.start()
        try:
            with ThreadPoolExecutor(HANDS) as hands:
                for member in self.members:
                    self._start(member)
                deadline = time.monotonic() + seconds
                while time.monotonic() < deadline:
                    self._act(hands)
                    time.sleep(PACE)
            for member in self.members:
                self._stop(member, signal.SIGTERM)
        finally:
            self._over.set()
            watcher.join()
            for life in self.lives:
                if life.alive:
                    life.process.kill()
                    life.process.wait()
        for member in self.members:
            self._look_at(member)
        for life in self.lives:
            if "Traceback" in (text := life.log.read_text(errors="replace")):
                self._blame(f"{life.name} said: {text[text.index('Traceback') :][:2000]}")
        self._judge_growth()

    def _act(self, hands: ThreadPoolExecutor) -> None:
        """Draw the next act and let it be done."""
        act = self.rng.choices(list(ACTS), list(ACTS.values()))[0]
        member = self.rng.choice(self.members)
        draw = random.Random(self.rng.getrandbits(64))
        if act in ("stop", "kill"):
            if not member.elder:
                # It does not wait for a command that goes on there: that is the point.
                hands.submit(self._guarded, self._end, member, act, draw)
        elif member.busy.acquire(blocking=False):
            hands.submit(self._guarded, self._do, member, act, draw)

    def _guarded(self, do: Act, member: Member, act: str, draw: random.Random) -> None:
        try:
            do(member, act, draw)
        except Exception as error:  # the border of one act: what it did not foresee is a finding
            self._blame(f"{member.name}: {act}: {error!r}")

    def _do(self, member: Member, act: str, draw: random.Random) -> None:
        try:
            {
                "start": lambda: self._start(member),
                "publish": lambda: self._publish(member, draw),
                "fetch": lambda: self._fetch(member, draw),
                "rm": lambda: self._remove(member, draw),
                "verify": lambda: self._verify(member, draw),
            }[act]()
        finally:
            member.busy.release()

    # Nodes.

    def _start(self, member: Member) -> None:
        if member.life is not None and member.life.alive:
            return
        boot = [address for elder in self.members[:ELDERS] if elder.running for address in elder.life.addresses]  # type: ignore[union-attr]
        cli = member.cli.having(SAMARA_NETWORK_BOOTSTRAP=" ".join(boot))
        log = member.folder / f"node.{len(self.lives)}.log"
        with log.open("w") as errors:
            process = subprocess.Popen(
                cli.command("node", "--json"), env=cli.environment(), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip
        life = Life(member.name, process, time.monotonic(), log)
        with self._lock:
            self.lives.append(life)
        member.life = life
        assert process.stdout is not None
        said = first_object(process.stdout)
        if said is not None:
            life.addresses = said["addresses"]
            self._count("start")
        elif not life.meant_to_end:
            self._blame(f"{member.name} did not start: {log.read_text(errors='replace')[-1000:]}")

    def _end(self, member: Member, act: str, draw: random.Random) -> None:
        if act == "kill" and draw.random() < 0.3 and (command := member.command) is not None:
            command.kill()
            self._count("kill of a command")
        else:
            self._stop(member, signal.SIGKILL if act == "kill" else signal.SIGTERM)

    def _stop(self, member: Member, how: signal.Signals) -> None:
        life = member.life
        if life is None or not life.alive:
            return
        life.meant_to_end = True
        life.process.send_signal(how)
        try:
            life.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._blame(f"{member.name} did not stop")
            life.process.kill()
            life.process.wait()
        self._count(how.name)

    # Commands.

    def _publish(self, member: Member, draw: random.Random) -> None:
        if len(self.things) >= RELEASES:
            return
        with self._lock:
            self._made += 1
            root = member.folder / f"model{self._made}"
        root.mkdir()
        for number in range(draw.randint(1, 4)):
            (root / f"part-{number}.bin").write_bytes(draw.randbytes(draw.choice((1, 5_000, 300_000, 2_500_000))))
        truth = digests(root)
        said = self._command(member, "publish", str(root), "--license", "MIT")
        if said is not None:
            thing = Thing(said["release"], truth)
            self.things[thing.release] = thing
            member.held[thing.release] = (thing, root)

    def _fetch(self, member: Member, draw: random.Random) -> None:
        wanted = [thing for thing in list(self.things.values()) if thing.release not in member.held]
        if not wanted:
            return
        thing = draw.choice(sorted(wanted, key=lambda thing: thing.release))
        holders = [other for other in self.members if other.running and thing.release in other.held]
        peers = [address for other in holders if other.life is not None for address in other.life.addresses[:1]]
        asked = draw.sample(peers, min(len(peers), draw.randint(1, 3)))
        options = [word for address in asked for word in ("--peer", address)]
        said = self._command(member, "fetch", thing.release, "--wait", "5", *options)
        if said is not None:
            path = Path(said["path"])
            member.held[thing.release] = (thing, path.parent if path.is_file() else path)  # a file alone is itself

    def _remove(self, member: Member, draw: random.Random) -> None:
        if len(member.held) < 3:
            return
        release = draw.choice(sorted(member.held))
        thing, path = member.held.pop(release)  # whatever becomes of the command, it need not be here any more
        removed = self._command(member, "rm", release) is not None
        if removed and path.is_relative_to(member.folder / "home") and any((path / n).exists() for n in thing.files):
            self._blame(f"{member.name}: {release} was removed, and lies there still")
        if not any(release in other.held for other in self.members):
            self.things.pop(release, None)

    def _verify(self, member: Member, draw: random.Random) -> None:
        if member.held:
            release = draw.choice(sorted(member.held))
            self._compare(member, *member.held[release])
            self._command(member, "verify", release)

    def _command(self, member: Member, *words: str) -> dict[str, Any] | None:
        """Run a command; return what it said when it ended well."""
        process = subprocess.Popen(
            member.cli.command(*words, "--json"), env=member.cli.environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        member.command = process
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            self._blame(f"{member.name}: {' '.join(words)} took more than {PATIENCE:.0f} s: {err[-1000:]}")
        finally:
            member.command = None
        code = process.returncode
        self._count(f"{words[0]} {'ended well' if code == 0 else f'ended with {code}'}")
        if code not in EXPLAINED[words[0]] | {-signal.SIGKILL} or "Traceback" in err:
            self._blame(f"{member.name}: {' '.join(words)} ended with {code}: {out[-1000:]} {err[-2000:]}")
        found: dict[str, Any] | None = json.loads(out) if code == 0 else None
        return found

    # What must be so.

    def _compare(self, member: Member, thing: Thing, path: Path) -> None:
        found = {name: digest(path / name) for name in thing.files}
        if found != thing.files:
            wrong = sorted(name for name in thing.files if found[name] != thing.files[name])
            self._blame(f"{member.name}: of {thing.release} at {path} are gone or wrong: {wrong}")
        self._count("compared")

    def _look_at(self, member: Member) -> None:
        """Look at a home whose node has ended."""
        listed = self._command(member, "ls")
        rows = {row["release"] for row in listed["releases"]} if listed is not None else set()
        for release, (thing, path) in sorted(member.held.items()):
            if release not in rows:
                self._blame(f"{member.name}: {release} was acknowledged, and is not listed")
            self._compare(member, thing, path)
        if member.held and self._command(member, "verify", *sorted(member.held)) is None:
            self._blame(f"{member.name}: what was acknowledged does not verify")

    def _judge_growth(self) -> None:
        for life in self.lives:
            found = life.slopes()
            if found is not None and found["seconds"] >= LONG:
                for what, most in (("mib_a_minute", MIB_A_MINUTE), ("files_a_minute", FILES_A_MINUTE)):
                    if found[what] > most:
                        self._blame(f"{life.name} grows: {what} {found[what]}, at most {most}")

    def _watch(self) -> None:
        while not self._over.wait(1.0):
            for life in list(self.lives):
                if life.alive:
                    life.sample()
                elif not life.meant_to_end:
                    life.meant_to_end = True
                    self._blame(f"{life.name} ended by itself with {life.process.returncode}")

    def _blame(self, what: str) -> None:
        with self._lock:
            self.violations.append(what)
        print(f"VIOLATION: {what}", file=sys.stderr, flush=True)

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    def report(self) -> dict[str, Any]:
        """Return what was done and seen."""
        slopes = [{"node": life.name} | found for life in self.lives if (found := life.slopes()) is not None]
        return {
            "acts": dict(sorted(self.counts.items())),
            "processes": len(self.lives),
            "acknowledged": sum(len(member.held) for member in self.members),
            "slopes": sorted(slopes, key=lambda found: -int(found["seconds"])),
            "violations": self.violations,
        }


def first_object(lines: IO[str]) -> dict[str, Any] | None:
    """Return the first JSON object of some lines; None when they end before."""
    text = ""
    for line in lines:
        text += line
        try:
            found: dict[str, Any] = json.loads(text)
        except ValueError:
            continue
        return found
    return None


def digest(path: Path) -> str:
    """Return a digest of a file, or why there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return str(error)


def digests(root: Path) -> dict[str, str]:
    """Return the digests of the files in a folder, by name."""
    return {path.name: digest(path) for path in sorted(root.iterdir())}


def told(report: dict[str, Any]) -> Iterator[str]:
    """Return the lines of a report for people."""
    for act, count in report["acts"].items():
        yield f"{act:24} {count:5}"
    yield f"{report['processes']} node processes; {report['acknowledged']} acknowledged releases held at the end"
    columns = zip(
        _WIDTHS, ("node", "seconds", "half", "MiB", "most", "a minute", "files", "most", "a minute"), strict=True
    )
    yield " ".join(f"{name:>{width}}" for width, name in columns)
    for row in report["slopes"]:
        yield " ".join(f"{value:>{width}}" for width, value in zip(_WIDTHS, row.values(), strict=True))
    yield f"violations: {len(report['violations'])}"


def main() -> int:
    """Run it, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--folder", type=Path, help="where homes lie, and stay; default: a temporary folder")
    parser.add_argument("--json", action="store_true", help="print JSON")
    said = parser.parse_args()
    folder = said.folder or Path(tempfile.mkdtemp(prefix="samara-soak-"))
    soak = Soak(folder, said.seed, said.nodes)
    soak.run(60 * said.minutes)
    report = {"seed": said.seed, "minutes": said.minutes, "nodes": said.nodes} | soak.report()
    print(json.dumps(report, indent=2) if said.json else "\n".join(told(report)))
    if soak.violations:
        print(f"what it left is in {folder}", file=sys.stderr)
        return 1
    if said.folder is None:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
