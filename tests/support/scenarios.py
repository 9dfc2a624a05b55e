"""Worlds drawn from one integer, and what must be true of every one of them.

A `Plan` says who is there and what goes wrong when; `play` lives through it and returns what it found. Everything that
goes wrong is mended in the end, so every honest fetcher must finish, and soon.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, final
from unittest import mock

import trio
from support import hostile
from support.contents import Source, give_home
from support.memory_network import MemoryNetwork
from support.simulation import LogWatch, RoundWatch, SimulatedNode, draw_key, simulate
from support.wiretap import Wiretap

from samara.node.fetch.goal import FetchRequest
from samara.node.network.transport import Stream
from samara.node.operations import publish
from samara.node.operations.base import Event
from samara.node.settings import StoreSettings
from samara.node.store.home import Home
from samara.node.store.store import Store
from samara.protocol import limits
from samara.protocol.errors import NetworkError, SamaraError
from samara.protocol.exchange.messages import PROTOCOL
from samara.protocol.ids import format_content, format_record
from samara.protocol.ports import Records

__all__ = ["BLAMED", "KINDS", "Found", "Library", "Plan", "play", "quick_folder"]

Kind = Literal["swarm", "lone", "crowd"]

KINDS: Final[Mapping[Kind, int]] = {"swarm": 7, "lone": 2, "crowd": 1}
"""How often each kind of world is drawn."""

BLAMED: Final[tuple[type[hostile.Plain], ...]] = (
    hostile.WrongBytes, hostile.WrongTable, hostile.WrongNode, hostile.LongChunk, hostile.Overlong, hostile.HugePayload,
    hostile.EndlessHeader, hostile.Unasked, hostile.EarlyBird, hostile.ChangedRecord, hostile.ForeignSignature,
    hostile.ShortEnd,
)  # fmt: skip
"""Vices that are proof of bad will: who has one is left out after it has shown once."""

_BORNE: Final[tuple[type[hostile.Plain], ...]] = (
    hostile.Dropper, hostile.Mute, hostile.MuteAfterHello, hostile.MuteAtTable, hostile.MuteAtLists,
    hostile.MuteAtChunks, hostile.Forgetful, hostile.Busier, hostile.BusyWithChunks,
)  # fmt: skip
"""Vices that an honest peer on a bad line may show, too: nobody is blamed for them."""

_SHAPES: Final[tuple[dict[str, int], ...]] = (
    {"model.bin": 1_200_000},
    {"weights.bin": 700_000, "config.json": 700, "tokenizer.txt": 40_000},
    {f"shard-{n}.bin": 120_000 + 1000 * n for n in range(5)},
    {f"many/{n:02}.txt": 3000 + 997 * n for n in range(24)},
    {"a.bin": 900_000, "empty": 0, "b/c.bin": 300_000},
    {"large.bin": 40_000_000},
)
"""Contents, as paths and sizes: some 12 to 24 chunks, of 3 to 256 KiB; the last one is not drawn, and has 600."""

_DRAWN: Final = len(_SHAPES) - 1

_PUBLISHED: Final = "2026-01-01T00:00:00Z"

_SETTLE: Final = 8.0
"""Seconds after the last fetch in which sessions end and digests are checked."""


@final
@dataclass(frozen=True, slots=True)
class Member:
    """An honest node.

    Attributes:
        name: Its peer id.
        role: A seeder has all of it; a leech fetches and serves nobody.
        up: Bytes a second that it can send.
        down: Bytes a second that it can receive.
        cap: Its setting `network.upload`.
        joins: Seconds until it comes.
    """

    name: str
    role: Literal["seeder", "fetcher", "leech"]
    up: float
    down: float
    cap: int | None = None
    joins: float = 0.0


@final
@dataclass(frozen=True, slots=True)
class Mishap:
    """Something that goes wrong, and when it is mended.

    Attributes:
        kind: What: a node leaves, or is killed; a line is cut, stands still, or loses connections; a fetch is dropped
            from the queue and asked for again, or is asked for in another way, too.
        who: The node, or the first end of a line.
        other: The other end of a line.
        begins: Seconds.
        ends: Seconds.
        strength: Breaks a MiB, for loss.
    """

    kind: Literal["leave", "kill", "cut", "still", "loss", "drop", "twice"]
    who: str
    other: str
    begins: float
    ends: float
    strength: float = 0.0


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """A world to be.

    Attributes:
        seed: What it was drawn from.
        kind: What it is about.
        shape: Which content.
        members: The honest nodes.
        liars: The vice of each liar, by name.
        lines: Latency and jitter between two, seconds.
        mishaps: What goes wrong.
        named: Fetchers are told the seeders' addresses; else they find whom they find.
        slowest_call: Seconds that a disk takes at most.
        friends: How many others each finds.
    """

    seed: int
    kind: Kind
    shape: int
    members: tuple[Member, ...]
    liars: dict[str, type[hostile.Plain]]
    lines: tuple[float, float]
    mishaps: tuple[Mishap, ...]
    named: bool
    slowest_call: float
    friends: int

    @classmethod
    def draw(cls, seed: int) -> Plan:
        """Draw a world from an integer."""
        rng = random.Random(f"{seed}/plan")
        (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
        return {"swarm": _draw_swarm, "lone": _draw_lone, "crowd": _draw_crowd}[kind](seed, rng)

    @classmethod
    def crowd(cls, seed: int, count: int) -> Plan:
        """Draw a world in which so many come at once for what one has."""
        return _draw_crowd(seed, random.Random(f"{seed}/crowd"), count, friends=5)

    @classmethod
    def behind(cls, seed: int, count: int, rate: float) -> Plan:
        """Return a plan in which some fetch much at once, behind one seeder that sends `rate` bytes a second."""
        members = [Member("s1", "seeder", rate, 1e7)]
        members += [Member(f"f{n}", "fetcher", 1e7, 1e7) for n in range(1, count + 1)]
        return cls(seed, "crowd", _DRAWN, tuple(members), {}, (0.02, 0.005), (), False, 0.05, 20)

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return sum(_SHAPES[self.shape].values())

    @property
    def fetchers(self) -> list[Member]:
        """All who want the content."""
        return [member for member in self.members if member.role != "seeder"]

    @property
    def mended(self) -> float:
        """Seconds until nothing is wrong any more, and all are there."""
        return max([0.0, *(m.ends for m in self.mishaps), *(m.joins for m in self.members)])

    @property
    def ideal(self) -> float:
        """Seconds that the whole must take at least, were it fluid and every member perfect: the slowest of what the
        seeders send once, what the slowest fetcher receives, and what all send together."""
        copies = len(self.fetchers) * self.size
        seeded = sum(_sends(m) for m in self.members if m.role == "seeder")
        shared = sum(_sends(m) for m in self.members if m.role == "fetcher")
        return max(self.size / seeded, self.size / min(m.down for m in self.fetchers), copies / (seeded + shared))

    @property
    def alone(self) -> float:
        """Seconds that it takes when nobody but the seeders sends, and nobody but the slowest receives."""
        seeded = sum(_sends(m) for m in self.members if m.role == "seeder")
        return len(self.fetchers) * self.size / seeded + self.size / min(m.down for m in self.fetchers)

    @property
    def bound(self) -> float:
        """Seconds within which all must be done.

        A swarm may take twice what it takes alone, from when all is well again, and the pauses of whoever has been let
        down: five tries take a minute. A crowd must not be slower than it were if nobody shared, but for the seconds in
        which they find out what others have.
        """
        if self.kind == "swarm":
            return self.mended + 2 * self.alone + 60.0
        return (2 if self.kind == "lone" else 1) * self.alone + 15.0

    @property
    def seeded_at_most(self) -> float:
        """Copies of the content that the seeders may send.

        Few that come at once may be served before they learn what the others have, which takes seconds; of more than
        ten most must be served by the others.
        """
        count = len(self.fetchers)
        if self.kind == "crowd" and count > 10:
            return 10 + (count - 10) / 4
        return count * (1 + self.wasted_at_most)

    @property
    def wasted_at_most(self) -> float:
        """Bytes that fetchers may be sent in vain, as a part of what they need.

        In the end a chunk is asked of a second peer, which counts where there are few; each mishap may cost what was
        under way, and each liar a chunk of the greatest length that it may claim.
        """
        if self.kind != "swarm":
            return 1.0
        lost = len(self.mishaps) * 2 * limits.MAX_CHUNK + len(self.liars) * len(self.fetchers) * 1.5 * limits.MAX_CHUNK
        return 1.0 + lost / (len(self.fetchers) * self.size)

    def __str__(self) -> str:
        lines = [
            f"seed {self.seed}: {self.kind}, {self.size:,} bytes in {len(_SHAPES[self.shape])} files, mended at"
            f" {self.mended:.1f} s, ideal {self.ideal:.1f} s, alone {self.alone:.1f} s, calls up to"
            f" {self.slowest_call * 1000:.0f} ms, latency {self.lines[0] * 1000:.0f} ms, jitter"
            f" {self.lines[1] * 1000:.0f} ms, {'named' if self.named else 'found'}, {self.friends} friends"
        ]
        lines += [f"  {m.name}: {m.role}, up {m.up:,.0f}, down {m.down:,.0f}, cap {m.cap}, joins {m.joins:.1f}"
                  for m in self.members]  # fmt: skip
        lines += [f"  {name}: {vice.__name__}" for name, vice in self.liars.items()]
        lines += [f"  {m.begins:.1f}–{m.ends:.1f} s: {m.kind} {m.who} {m.other} {m.strength or ''}".rstrip()
                  for m in self.mishaps]  # fmt: skip
        return "\n".join(lines)


def _sends(member: Member) -> float:
    return min(member.up, member.cap or math.inf)


def _rate(rng: random.Random, least: float, most: float) -> float:
    """Draw a rate so that each order of magnitude is as likely as the next."""
    return float(round(math.exp(rng.uniform(math.log(least), math.log(most)))))


def _lines(rng: random.Random) -> tuple[float, float]:
    return round(rng.choice((0.0005, 0.02, 0.15)) * rng.uniform(0.5, 1.5), 4), rng.choice((0.0, 0.005, 0.05))


def _draw_swarm(seed: int, rng: random.Random) -> Plan:
    seeders = [Member(f"s{n}", "seeder", _rate(rng, 6e4, 2e6), 1e6) for n in range(1, rng.choice((1, 1, 2)) + 1)]
    fetchers = [
        Member(
            f"f{n}",
            "leech" if rng.random() < 0.15 else "fetcher",
            _rate(rng, 3e4, 2e6),
            _rate(rng, 8e4, 4e6),
            joins=round(rng.choice((0.0, rng.uniform(0.0, 10.0))), 2),
        )
        for n in range(1, rng.choice((1, 2, 2, 3, 4)) + 1)
    ]
    members = (*seeders, *fetchers)
    liars = {f"x{n}": rng.choice(BLAMED + _BORNE) for n in range(1, rng.choice((0, 0, 1, 1, 2)) + 1)}
    mishaps = tuple(_draw_mishap(rng, members) for _ in range(rng.choice((0, 1, 2, 4, 6))))
    slow = rng.choice((0.0, 0.0, 0.004, 0.1))
    named = rng.random() < 0.5
    return Plan(seed, "swarm", rng.randrange(_DRAWN), members, liars, _lines(rng), mishaps, named, slow, 99)


def _draw_mishap(rng: random.Random, members: tuple[Member, ...]) -> Mishap:
    kind: Any = rng.choice(("leave", "kill", "kill", "cut", "cut", "still", "still", "loss", "loss", "drop", "twice"))
    who, other = rng.sample(members, 2)
    if kind in {"drop", "twice"} and who.role == "seeder":
        kind = "kill"
    begins = round(who.joins + other.joins + rng.expovariate(1 / 3.0), 2)
    ends = round(begins + rng.choice((0.3, 3.0, 3.0, 10.0, 10.0, 30.0, 100.0)) * rng.uniform(0.5, 1.0), 2)
    if kind in {"leave", "kill", "drop", "twice"}:
        return Mishap(kind, who.name, "", begins, ends)
    return Mishap(kind, who.name, other.name, begins, ends, rng.choice((0.5, 2.0, 8.0)) if kind == "loss" else 0.0)


def _draw_lone(seed: int, rng: random.Random) -> Plan:
    """A lone seeder goes for ever when it has sent everything once."""
    seeder = Member("s1", "seeder", _rate(rng, 1e5, 6e5), 1e6)
    fetchers = [Member(f"f{n}", "fetcher", _rate(rng, 1e5, 1e6), _rate(rng, 3e5, 2e6))
                for n in range(1, rng.randint(2, 5) + 1)]  # fmt: skip
    return Plan(seed, "lone", rng.randrange(_DRAWN), (seeder, *fetchers), {}, _lines(rng), (), False,
                rng.choice((0.0, 0.004)), 99)  # fmt: skip


def _draw_crowd(seed: int, rng: random.Random, count: int | None = None, friends: int = 20) -> Plan:
    """Many come at once for what one has."""
    count = count or rng.randint(5, 9)
    cap = rng.random() < 0.5
    rate = _rate(rng, 1e5, 6e5)
    seeder = Member("s1", "seeder", 5e6 if cap else rate, 1e6, int(rate) if cap else None)
    fetchers = [
        Member(
            f"f{n:0{len(str(count))}}",
            "leech" if rng.random() < 0.1 else "fetcher",
            _rate(rng, 1.5e5, 1e6),
            _rate(rng, 5e5, 4e6),
            joins=round(rng.uniform(0.0, 3.0), 2),
        )
        for n in range(1, count + 1)
    ]
    return Plan(seed, "crowd", rng.randrange(_DRAWN), (seeder, *fetchers), {}, _lines(rng), (),
                rng.random() < 0.5, 0.0, friends)  # fmt: skip


@final
class Library:
    """The contents of all worlds, published once, in a folder that goes when the block ends.

    Args:
        parent: Where the folder is made.
    """

    def __init__(self, parent: str | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="samara-sim-", dir=parent or quick_folder())
        self.root = Path(self._folder.name)
        self._made: dict[int, Source] = {}
        self._worlds = 0

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def get(self, shape: int) -> Source:
        """Return a content, published in a home of its own."""
        if shape not in self._made:
            home = self._home(shape)
            home.mkdir(mode=0o700)
            (home / "publisher.key").touch(0o600)
            (home / "publisher.key").write_bytes(draw_key(shape, "publisher"))
            source = self.root / f"source-{shape}"
            for name, size in _SHAPES[shape].items():
                path = source / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(random.Random(f"{shape}/{name}").randbytes(size))
            with mock.patch.object(publish, "now_text", return_value=_PUBLISHED), give_home(home) as store:
                self._made[shape] = Source.publish(store, source)
        return self._made[shape]

    def copy_home(self, shape: int, home: Path) -> None:
        """Let a home seed the content."""
        home.mkdir(mode=0o700, parents=True)
        shutil.copyfile(self._home(shape) / "index.sqlite", home / "index.sqlite")

    @contextlib.contextmanager
    def shelf(self, shape: int) -> Iterator[Any]:
        """Open what liars lie about."""
        with contextlib.closing(Store(Home(self._home(shape)), StoreSettings(), writable=False)) as store:
            yield store.shelf

    @contextlib.contextmanager
    def yard(self) -> Iterator[Path]:
        """A folder for the homes of one world."""
        self._worlds += 1
        yard = self.root / f"world-{self._worlds}"
        yard.mkdir()
        try:
            yield yard
        finally:
            shutil.rmtree(yard)

    def _home(self, shape: int) -> Path:
        return self.root / f"home-{shape}"


def quick_folder() -> str | None:
    """Where a sync costs nothing, if there is such a place: a world syncs a thousand times."""
    memory = "/dev/shm"
    return memory if os.access(memory, os.W_OK) else None


@final
@dataclass(slots=True)
class Found:
    """What was found in a world.

    Attributes:
        plan: The world.
        faults: What must not be.
        digest: Of all events.
        events: How many there were.
        seconds: Simulated seconds until the last fetcher was done.
        seeded: Bytes that the seeders sent, as a multiple of the content.
        wasted: Bytes that fetchers were sent beyond one copy for each, as a part of what they needed.
        blamed: How often somebody was blamed.
    """

    plan: Plan
    faults: list[str] = field(default_factory=list)
    digest: str = ""
    events: int = 0
    seconds: float = 0.0
    seeded: float = 0.0
    wasted: float = 0.0
    blamed: int = 0


def play(library: Library, plan: Plan, tell: Callable[[str], None] | None = None) -> Found:
    """Live through a world, and return what was found.

    Args:
        library: Where the contents are.
        plan: The world.
        tell: Is given a line for each event.
    """
    made = library.get(plan.shape)
    open_before = _open_files()
    with library.yard() as yard, library.shelf(plan.shape) as shelf:
        world = _World(plan, made, yard, shelf, library, tell)
        simulate(plan.seed, world.live, slowest_call=plan.slowest_call)
        found = world.found
    if (still := _open_files()) != open_before:
        found.faults.append(f"{still - open_before} files were left open")
    return found


def _open_files() -> int:
    with contextlib.suppress(OSError):
        return len(os.listdir("/proc/self/fd"))
    return 0


@final
@dataclass(slots=True)
class _Life:
    """A member of a running world."""

    member: Member
    node: SimulatedNode
    up: trio.Event = field(default_factory=trio.Event)
    tasks: int = 0
    restarts: int = 0
    dropped: trio.Event | None = None
    done: float | None = None


class _World:
    def __init__(
        self, plan: Plan, made: Source, yard: Path, shelf: Any, library: Library, tell: Callable[[str], None] | None
    ) -> None:
        self.plan = plan
        self.made = made
        self.found = Found(plan)
        self.tap = Wiretap(tell)
        self.network = MemoryNetwork(window=256 << 10, rng=random.Random(f"{plan.seed}/network"), watcher=self.tap)
        self.shelf = shelf
        self.yard = yard
        self.lives = {m.name: _Life(m, self._node(m)) for m in plan.members}
        self.lied: Counter[tuple[str, str]] = Counter()
        self.logs = LogWatch(lambda: any(life.node.is_dying for life in self.lives.values()))
        self.rounds = RoundWatch()
        for life in self.lives.values():
            if life.member.role == "seeder":
                library.copy_home(plan.shape, life.node.home)
        self._all_done = trio.Event()

    def _node(self, member: Member) -> SimulatedNode:
        key = draw_key(self.plan.seed, member.name)
        return SimulatedNode(
            self.network, member.name, self.yard / member.name, key, member.up, member.down, member.cap
        )

    @property
    def names(self) -> list[str]:
        return [*self.lives, *self.plan.liars]

    def fault(self, what: str) -> None:
        self.found.faults.append(f"{trio.current_time():.2f} s: {what}")
        self.tap.note(f"FAULT: {what}")

    # The run

    async def live(self) -> None:
        self._draw_lines()
        with self.logs.listening(), self.rounds.watching():
            async with trio.open_nursery() as nursery:
                for name, vice in self.plan.liars.items():
                    await nursery.start(self._lie, name, vice)
                for life in self.lives.values():
                    nursery.start_soon(self._join, life, nursery)
                for mishap in self.plan.mishaps:
                    nursery.start_soon(self._mishap, mishap, nursery)
                if self.plan.kind == "lone":
                    nursery.start_soon(self._leave_when_all_was_sent)
                with trio.move_on_after(self.plan.bound) as scope:
                    await self._all_done.wait()
                self.found.seconds = trio.current_time()
                if scope.cancelled_caught:
                    late = [life.member.name for life in self._unfinished()]
                    self.fault(f"not done after {self.plan.bound:.0f} s: {', '.join(late)}")
                await trio.sleep_until(max(self.plan.mended, trio.current_time()) + _SETTLE)
                await self.rounds.wait_for_none(_SETTLE)
                self._look_for_leaks()
                self._look_at_blame()
                for life in self.lives.values():
                    if life.node.node is not None:
                        await life.node.leave()
                    self._look_at_files(life)
                nursery.cancel_scope.cancel()
            for line in self.logs.broken:
                self.fault(f"the log says: {line}")
            self._add_up()

    def _draw_lines(self) -> None:
        rng = random.Random(f"{self.plan.seed}/lines")
        latency, jitter = self.plan.lines
        names = self.names
        for n, one in enumerate(names):
            for other in names[n + 1 :]:
                line = self.network.line(one, other)
                line.latency, line.jitter = latency * rng.uniform(0.5, 2.0), jitter
        for name in names:
            others = [other for other in names if other != name]
            self.network.acquaint(name, rng.sample(others, min(self.plan.friends, len(others))))

    async def _join(self, life: _Life, nursery: trio.Nursery) -> None:
        await trio.sleep(life.member.joins)
        await self._open(life, nursery)
        if life.member.role != "seeder":
            await self._fetch(life)

    async def _open(self, life: _Life, nursery: trio.Nursery) -> None:
        node = await life.node.start(nursery)
        if life.member.role == "leech":
            assert life.node.host is not None
            life.node.host.serve(PROTOCOL, _refuse)
        await trio.testing.wait_all_tasks_blocked()  # what begins with the network has begun
        life.tasks = life.node.tasks()
        assert node is life.node.node
        self.tap.note(f"{life.member.name} is up")
        life.up.set()

    def _request(self, *, named: bool) -> FetchRequest:
        seeders = [m.name for m in self.plan.members if m.role == "seeder"] if named else []
        peers = tuple(f"/memory/{name}/p2p/{name}" for name in seeders)
        return FetchRequest(format_record(self.made.release), peers=peers, patience=0)

    async def _fetch(self, life: _Life) -> None:
        request = self._request(named=self.plan.named)
        while life.done is None:
            await life.up.wait()
            node = life.node.node
            assert node is not None
            try:
                await node.fetches.fetch(request, _ignore)
                life.done = trio.current_time()
                self.tap.note(f"{life.member.name} is done")
            except SamaraError as error:
                if life.up.is_set() and life.dropped is None:
                    self.fault(f"the fetch of {life.member.name} failed: {error.message}")
                    return
                if life.dropped is not None:
                    await life.dropped.wait()
                    life.dropped = None
        if not self._unfinished():
            self._all_done.set()

    def _unfinished(self) -> list[_Life]:
        return [life for life in self.lives.values() if life.member.role != "seeder" and life.done is None]

    async def _lie(self, name: str, vice: type[hostile.Plain], *, task_status: trio.TaskStatus[None]) -> None:
        stranger: Records | None = None

        async def serve(stream: Stream) -> None:
            lied = trio.Event()
            try:
                with contextlib.suppress(NetworkError):
                    await vice(stream, self.shelf, lied, stranger).run()
            finally:
                self.lied[stream.peer, name] += lied.is_set()

        async with self.network.join(name) as host:
            host.serve(PROTOCOL, serve)
            task_status.started()
            await trio.sleep_forever()

    # What goes wrong

    async def _mishap(self, mishap: Mishap, nursery: trio.Nursery) -> None:
        await trio.sleep_until(mishap.begins)
        line = self.network.line(mishap.who, mishap.other) if mishap.other else None
        self.tap.note(f"{mishap.kind} {mishap.who} {mishap.other}")
        if mishap.kind in {"drop", "twice"}:
            await (self._drop(mishap) if mishap.kind == "drop" else self._fetch_in_another_way(mishap))
            return
        if line is None:
            await self._go(mishap, nursery)
            return
        if mishap.kind == "cut":
            self.network.cut(mishap.who, mishap.other)
        elif mishap.kind == "still":
            line.still_until = max(line.still_until, mishap.ends)
        else:
            line.loss = max(line.loss, mishap.strength)
        await trio.sleep_until(mishap.ends)
        self.tap.note(f"{mishap.kind} {mishap.who} {mishap.other} mended")
        if mishap.kind == "cut":
            self.network.mend(mishap.who, mishap.other)
        elif mishap.kind == "loss":
            line.loss = 0.0

    async def _drop(self, mishap: Mishap) -> None:
        """Take a fetch out of the queue, and ask for it again later."""
        life = self.lives[mishap.who]
        if life.done is not None or not life.up.is_set() or life.dropped is not None or life.node.node is None:
            return
        fetches = life.node.node.fetches
        life.dropped = again = trio.Event()
        for queued in life.node.node.store.catalog.queue():
            fetches.drop(queued.no)
        await trio.sleep_until(mishap.ends)
        self.tap.note(f"{mishap.who} asks again")
        again.set()

    async def _fetch_in_another_way(self, mishap: Mishap) -> None:
        """Ask for what is being fetched, by another request."""
        life = self.lives[mishap.who]
        if not life.up.is_set() or life.node.node is None:
            return
        try:
            await life.node.node.fetches.fetch(self._request(named=not self.plan.named), _ignore)
            self.tap.note(f"{mishap.who} has it in another way, too")
        except SamaraError as error:
            self.tap.note(f"{mishap.who} has it in no other way: {error.message}")

    async def _go(self, mishap: Mishap, nursery: trio.Nursery) -> None:
        life = self.lives[mishap.who]
        if not life.up.is_set():
            return  # it is away for another reason
        life.up = trio.Event()
        await (life.node.kill() if mishap.kind == "kill" else life.node.leave())
        self._look_at_files(life, whole=False)
        await trio.sleep_until(mishap.ends)
        life.restarts += 1
        await self._open(life, nursery)
        if life.node.node is not None:
            await life.node.node.fetches.take_up()  # as `samara node` does

    async def _leave_when_all_was_sent(self) -> None:
        (seeder,) = (life for life in self.lives.values() if life.member.role == "seeder")
        while not self._held_outside(seeder):  # noqa: ASYNC110 - commits tell nobody
            await trio.sleep(0.25)
        self.tap.note("everything was sent once: the seeder leaves for ever")
        seeder.up = trio.Event()
        await seeder.node.leave()

    def _held_outside(self, seeder: _Life) -> bool:
        """Whether the fetchers together have committed everything."""
        bits: dict[int, int] = {}
        whole: set[int] = set()
        streams = range(1, len(self.made.files) + 1)
        for life in self.lives.values():
            node = life.node.node
            if life is seeder or node is None or not node.store.contents.has(self.made.content):
                continue
            for place in node.store.contents.places(self.made.content):
                for stream, held in node.store.contents.files(place).items():
                    if held.state == "complete":
                        whole.add(stream)
                    elif held.bits:
                        bits[stream] = bits.get(stream, 0) | int.from_bytes(held.bits, "little")
        store = self.shelf
        for stream in streams:
            count = store.availability(self.made.content, stream, "").chunks
            if stream not in whole and bits.get(stream, 0) != (1 << count) - 1:
                return False
        return True

    # What must be true

    def _look_for_leaks(self) -> None:
        if streams := self.network.open_streams():
            self.fault(f"streams are open though nobody fetches: {streams}")
        for name, life in self.lives.items():
            node = life.node.node
            if node is None:
                continue
            service: Any = node.network_if_started
            if life.done is not None or life.member.role == "seeder":
                if (tasks := life.node.tasks()) != life.tasks:
                    self.fault(f"{name} has {tasks} tasks, and began with {life.tasks}")
                if node.fetches.running() or node.store._intakes or node.store._opening:
                    self.fault(f"{name} has something under way")
                if node.store.catalog.queue():
                    self.fault(f"{name} has something in its queue")
            if held := service._service.slots.held:
                self.fault(f"{name} has given {held} places for uploads to nobody")
            assert life.node.host is not None
            if failures := life.node.host.failures.keys() - {"NetworkError", "RemoteProtocolError"}:
                self.fault(f"handlers of {name} failed: {sorted(failures)}")

    def _look_at_blame(self) -> None:
        guilty = {name for name, vice in self.plan.liars.items() if vice in BLAMED}
        for name, life in self.lives.items():
            if life.node.node is None:
                continue
            counts = life.node.node.store.catalog.wrong_counts()
            self.found.blamed += sum(counts.values())
            if innocent := counts.keys() - guilty:
                self.fault(f"{name} blames {sorted(innocent)} without cause")
            for liar in sorted(guilty):
                # Each turn in the queue may ask it once more, and a lie that a mishap swallows is not heard.
                if self.lied[name, liar] > limits.BAN_AFTER + len(self.plan.mishaps):
                    self.fault(f"{name} was lied to {self.lied[name, liar]} times by {liar}, and asked again")

    def _look_at_files(self, life: _Life, *, whole: bool = True) -> None:
        """Compare what lies at its final path with what was published."""
        if life.member.role == "seeder":
            return
        place = life.node.home / "content" / format_content(self.made.content)
        for name in self.made.files:
            path = place / name
            if path.exists() and path.read_bytes() != (self.made.root / name).read_bytes():
                self.fault(f"{life.member.name} has wrong bytes in {name}")
            if not path.exists() and whole and life.done is not None:
                self.fault(f"{life.member.name} is done and has no {name}")

    def _add_up(self) -> None:
        found, plan, tap = self.found, self.plan, self.tap
        seeders = [m.name for m in plan.members if m.role == "seeder"]
        found.seeded = sum(tap.sent[name] for name in seeders) / plan.size
        needed = len(plan.fetchers) * plan.size
        found.wasted = sum(tap.received[m.name] for m in plan.fetchers) / needed - 1
        if found.seeded > plan.seeded_at_most:
            self.fault(f"the seeders sent {found.seeded:.2f} copies, and {plan.seeded_at_most:.2f} were enough")
        if found.wasted > plan.wasted_at_most:
            self.fault(f"{found.wasted:.0%} more than needed was sent, and {plan.wasted_at_most:.0%} may be")
        found.digest, found.events = tap.digest, tap.events


async def _refuse(stream: Stream) -> None:
    await stream.reset()


def _ignore(event: Event) -> None:
    pass
