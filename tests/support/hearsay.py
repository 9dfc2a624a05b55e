"""Countries in which what a publisher says gets about: who hears it, by whom, and by when. Drawn from one integer.

Everybody holds a release of the publisher. Nobody fetches: all that passes is what nodes ask those nearby by
themselves, hour after hour (specs/network.md, "Logs"). The country is cut in two, nodes come and go, liars hold back
what they know; in the end all is mended, and then every honest node must know, within a time that follows from who asks
whom.
"""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, final
from unittest import mock

import trio
from support.contents import Source, give_home, take_all
from support.hostile_logs import Withholding
from support.memory_network import MemoryNetwork
from support.publishers import Publisher
from support.simulation import LogWatch, SimulatedNode, draw_key, simulate
from support.speaking import publisher_of, tell
from support.wiretap import Wiretap

from samara.node import app, digests
from samara.node.network import service
from samara.node.network.transport import Stream
from samara.node.operations import publish
from samara.node.store.store import Store
from samara.protocol import limits
from samara.protocol.errors import NetworkError
from samara.protocol.exchange.messages import PROTOCOL
from samara.protocol.ids import PublisherId, ReleaseId

__all__ = ["SCENES", "Absence", "Country", "Told", "hear"]

_PUBLISHED: Final = "2026-01-01T00:00:00Z"

_ROUND: Final = 60.0
"""Seconds that a round takes at most where the slowest line takes a second: collecting who is nearby, and asking."""

_LOOK: Final = 30.0
"""Seconds between two looks at who knows."""

_QUIET: Final = 600.0
"""Seconds in which there must be a moment when nobody asks anybody."""

_DAYS: Final = 365

Scene = Literal["revocation", "split", "year"]


@final
@dataclass(frozen=True, slots=True)
class Absence:
    """Somebody is away for a while.

    Attributes:
        who: A node.
        begins: Seconds.
        ends: Seconds.
        killed: It did not expect it.
    """

    who: str
    begins: float
    ends: float
    killed: bool


@final
@dataclass(frozen=True, slots=True)
class Country:
    """Who is there, who asks whom, and what goes wrong.

    Attributes:
        seed: What it was drawn from.
        friends: Whom each honest node finds nearby; the first node is the publisher's.
        liars: Names of those who hold back what they know; everybody finds them.
        far: The honest nodes beyond the border.
        absences: Who is away when.
        speaks: Seconds until the publisher says something.
        heals: Seconds until the border is open.
        latency: Seconds from end to end of a line, on average.
    """

    seed: int
    friends: dict[str, tuple[str, ...]]
    liars: tuple[str, ...]
    far: tuple[str, ...]
    absences: tuple[Absence, ...]
    speaks: float
    heals: float
    latency: float

    @classmethod
    def draw(cls, seed: int, count: int, *, liars: int = 2, friends: int = 3) -> Country:
        """Draw a country of so many honest nodes, each of whom finds so many others."""
        rng = random.Random(f"{seed}/country")
        names = [f"n{number:02}" for number in range(1, count + 1)]
        found = {}
        for number, name in enumerate(names):
            neighbour = names[(number + 1) % count]  # so that what one knows can reach all
            others = [other for other in names if other not in (name, neighbour)]
            found[name] = (neighbour, *rng.sample(others, min(friends, count) - 1))
        heals = round(rng.uniform(2.0, 4.0) * limits.LOGS_EVERY)
        far = tuple(sorted(rng.sample(names[1:], count // 2)))
        absences = tuple(_absence(rng, name, heals) for name in names[1:] if name != far[0] and rng.random() < 0.5)
        liars_ = tuple(f"x{number}" for number in range(1, liars + 1))
        return cls(seed, found, liars_, far, absences, round(rng.uniform(60.0, 3600.0)), heals,
                   rng.choice((0.001, 0.02, 0.15)))  # fmt: skip

    @property
    def names(self) -> tuple[str, ...]:
        """The honest nodes."""
        return tuple(self.friends)

    @property
    def publisher(self) -> str:
        """The node of the publisher."""
        return self.names[0]

    @property
    def other(self) -> str:
        """Who hears, beyond the border, what somebody else says with the publisher's keys."""
        return self.far[0]

    @property
    def mended(self) -> float:
        """Seconds until nothing is wrong any more, and all are there."""
        return max([self.heals, *(absence.ends for absence in self.absences)])

    def bound(self, *sources: str) -> float:
        """Seconds until all must have heard what these know when all is mended.

        Whoever asks somebody who knows, knows: so it goes on by one step in each round of all.
        """
        steps = max(max(self._steps(source).values()) for source in sources)
        return self.mended + steps * (1.1 * limits.LOGS_EVERY + _ROUND)

    def _steps(self, source: str) -> dict[str, int]:
        """How many askers what one knows passes on its way to each other."""
        steps, front = {source: 0}, [source]
        while front:
            reached = [name for name in self.names if name not in steps and set(self.friends[name]) & set(front)]
            steps |= dict.fromkeys(reached, steps[front[0]] + 1)
            front = reached
        assert steps.keys() == set(self.names)
        return steps

    def __str__(self) -> str:
        lines = [f"seed {self.seed}: {len(self.names)} nodes, {len(self.liars)} liars, spoken at {self.speaks:.0f} s,"
                 f" open at {self.heals:.0f} s, mended at {self.mended:.0f} s, latency {self.latency * 1000:.0f} ms",
                 f"  beyond the border: {' '.join(self.far)}"]  # fmt: skip
        lines += [f"  {name} asks {' '.join(others)}" for name, others in self.friends.items()]
        lines += [f"  {a.begins:.0f}–{a.ends:.0f} s: {a.who} {'is killed' if a.killed else 'leaves'}"
                  for a in self.absences]  # fmt: skip
        return "\n".join(lines)


def _absence(rng: random.Random, who: str, heals: float) -> Absence:
    begins = round(rng.uniform(60.0, heals))
    return Absence(who, begins, begins + round(rng.choice((60.0, 1800.0, 7200.0)) * rng.uniform(0.5, 1.0)),
                   rng.random() < 0.5)  # fmt: skip


@final
@dataclass(slots=True)
class Told:
    """What was found in a country.

    Attributes:
        faults: What must not be.
        digest: Of all events.
        events: How many there were.
        seconds: Simulated seconds until all knew.
        bound: Until when all had to know.
        knew: How many knew when the border was opened.
        lies: How often a liar held something back.
        asked: Questions of the one who was away for a year.
        received: Bytes that were sent to this one.
        missed: Bytes of the records that this one had missed.
    """

    faults: list[str] = field(default_factory=list)
    digest: str = ""
    events: int = 0
    seconds: float = 0.0
    bound: float = 0.0
    knew: int = 0
    lies: int = 0
    asked: int = 0
    received: int = 0
    missed: int = 0


def hear(country: Country, scene: Scene, yard: Path, tell_line: Callable[[str], None] | None = None) -> Told:
    """Live through a country, and return what was found.

    Args:
        country: Which.
        scene: What is said in it.
        yard: An empty folder for its homes.
        tell_line: Is given a line for each event.
    """
    with _nobody_looks_at_disks():
        world = _World(country, yard, *_make_homes(country, yard), tell_line)
        simulate(country.seed, lambda: world.live(SCENES[scene]), slowest_call=0.004)
    return world.told


@contextlib.contextmanager
def _nobody_looks_at_disks() -> Iterator[None]:
    """Files do not change here: the looks at them, every few seconds, would be most of what a simulated day costs."""
    with (
        mock.patch.object(app, "_LOOK_EVERY", limits.LOGS_EVERY),
        mock.patch.object(digests, "_PAUSE", limits.LOGS_EVERY),
        mock.patch.object(service, "_LOOK_AGAIN", limits.LOGS_EVERY),
    ):
        yield


def _make_homes(country: Country, yard: Path) -> tuple[ReleaseId, Publisher]:
    """Make the home of everybody: the publisher's, and those of all others who hold its release."""
    home = yard / country.publisher
    home.mkdir(mode=0o700)
    (home / "publisher.key").touch(0o600)
    (home / "publisher.key").write_bytes(draw_key(country.seed, "publisher"))
    source = yard / "source"
    source.mkdir()
    (source / "model.bin").write_bytes(random.Random(f"{country.seed}/model").randbytes(3000))
    with mock.patch.object(publish, "now_text", return_value=_PUBLISHED), give_home(home) as store:
        made = Source.publish(store, source)
        publisher = publisher_of(store)
        with give_home(yard / "template") as other:
            take_all(made, store, other)
            tell(other, publisher)
    for name in (*country.names[1:], *country.liars):
        shutil.copytree(yard / "template", yard / name)
    return made.release, publisher


@final
class _World:
    """A country while it lives.

    Args:
        country: Which.
        yard: Where the homes are.
        release: What all hold.
        publisher: Whose it is.
        tell_line: Is given a line for each event.
    """

    def __init__(
        self,
        country: Country,
        yard: Path,
        release: ReleaseId,
        publisher: Publisher,
        tell_line: Callable[[str], None] | None,
    ) -> None:
        self.country = country
        self.yard = yard
        self.release = release
        self.publisher = publisher
        self.told = Told()
        self.tap = Wiretap(tell_line)
        self.network = MemoryNetwork(rng=random.Random(f"{country.seed}/network"), watcher=self.tap)
        self.nodes = {name: self._node(name) for name in country.names}
        self.logs = LogWatch(lambda: any(node.is_dying for node in self.nodes.values()))
        self._nursery: trio.Nursery

    def _node(self, name: str) -> SimulatedNode:
        return SimulatedNode(self.network, name, self.yard / name, draw_key(self.country.seed, name))

    @property
    def id(self) -> PublisherId:
        """The publisher's."""
        return self.publisher.chain.publisher

    def fault(self, what: str) -> None:
        """Take note of what must not be."""
        self.told.faults.append(f"{trio.current_time():.2f} s: {what}")
        self.tap.note(f"FAULT: {what}")

    def store(self, name: str) -> Store:
        """The store of a node that is there."""
        node = self.nodes[name].node
        assert node is not None
        return node.store

    def there(self) -> list[str]:
        """The honest nodes that are there."""
        return [name for name, node in self.nodes.items() if node.node is not None]

    # The run

    async def live(self, scene: Callable[[_World], Awaitable[None]]) -> None:
        """Live through a scene."""
        self._draw_lines()
        with self.logs.listening():
            async with trio.open_nursery() as self._nursery:
                await scene(self)
                await self._look_for_leaks()
                for name in self.there():
                    await self.nodes[name].leave()
                self._nursery.cancel_scope.cancel()
        for line in self.logs.broken:
            self.told.faults.append(f"the log says: {line}")
        self.told.digest, self.told.events = self.tap.digest, self.tap.events

    def _draw_lines(self) -> None:
        rng = random.Random(f"{self.country.seed}/lines")
        everybody = (*self.country.names, *self.country.liars)
        for number, one in enumerate(everybody):
            for other in everybody[number + 1 :]:
                line = self.network.line(one, other)
                line.latency, line.jitter = self.country.latency * rng.uniform(0.5, 2.0), self.country.latency / 4
        for name, others in self.country.friends.items():
            self.network.acquaint(name, (*self.country.liars, *others))

    async def open(self, names: Collection[str]) -> None:
        """Let nodes come."""
        for name in names:
            await self.nodes[name].start(self._nursery)
            self.tap.note(f"{name} is up")

    async def open_liars(self, *publishers: Publisher) -> None:
        """Let those come who know all that is said, and tell nothing of it."""
        for name in self.country.liars:
            await self._nursery.start(self._lie, name, publishers)

    async def _lie(self, name: str, publishers: Collection[Publisher], *, task_status: trio.TaskStatus[None]) -> None:
        with give_home(self.yard / name) as store:
            for publisher in publishers:
                tell(store, publisher)

            async def serve(stream: Stream) -> None:
                lied = trio.Event()
                with contextlib.suppress(NetworkError):
                    await Withholding(stream, store.shelf, lied, None).run()
                self.told.lies += lied.is_set()

            async with self.network.join(name) as host:
                host.serve(PROTOCOL, serve)
                task_status.started()
                await trio.sleep_forever()

    def go_wrong(self) -> None:
        """Let what goes wrong take its course."""
        self._nursery.start_soon(self._close_the_border)
        for absence in self.country.absences:
            self._nursery.start_soon(self._be_away, absence)

    async def _close_the_border(self) -> None:
        far = self.country.far
        pairs = [(one, other) for one in self.country.names if one not in far for other in far]
        for pair in pairs:
            self.network.cut(*pair)
        await trio.sleep_until(self.country.heals)
        self.tap.note("the border is open")
        for pair in pairs:
            self.network.mend(*pair)

    async def _be_away(self, absence: Absence) -> None:
        await trio.sleep_until(absence.begins)
        node = self.nodes[absence.who]
        self.tap.note(f"{absence.who} {'is killed' if absence.killed else 'leaves'}")
        await (node.kill() if absence.killed else node.leave())
        await trio.sleep_until(absence.ends)
        await self.open([absence.who])

    async def get_about(self, knows: Callable[[Store], bool], cut_off: Collection[str], *sources: str) -> None:
        """Wait until all know, and see to it that none of those who are cut off knows before the border is open, that
        nobody forgets, and that it does not take too long.
        """
        country, told = self.country, self.told
        told.bound = country.bound(*sources)
        knew: set[str] = set()
        while not (trio.current_time() >= country.mended and knew == set(country.names)):
            if trio.current_time() > told.bound:
                self.fault(f"does not know: {', '.join(sorted(set(country.names) - knew))}")
                return
            await trio.sleep(_LOOK)
            is_open = trio.current_time() >= country.heals
            for name in self.there():
                if knows(self.store(name)):
                    knew.add(name)
                    if not is_open and name in cut_off:
                        self.fault(f"{name} knows what nobody can have told")
                elif name in knew:
                    self.fault(f"{name} has forgotten")
            if not is_open:
                told.knew = len(knew)
        told.seconds = trio.current_time()

    # What must be true in the end

    async def _look_for_leaks(self) -> None:
        with trio.move_on_after(_QUIET) as scope:
            while self.network.open_streams():  # noqa: ASYNC110 - streams tell nobody
                await trio.sleep(1.0)
        if scope.cancelled_caught:
            self.fault(f"streams are open though nobody asks: {self.network.open_streams()}")
        for name in self.there():
            if wrong := self.store(name).catalog.wrong_counts():
                self.fault(f"{name} blames {sorted(wrong)} without cause")
            host = self.nodes[name].host
            assert host is not None
            if failures := host.failures.keys() - {"NetworkError"}:
                self.fault(f"handlers of {name} failed: {sorted(failures)}")


# The scenes.


async def _revocation(world: _World) -> None:
    """A publisher takes a release back while the country is cut in two, and liars say nothing of it."""
    country, publisher = world.country, world.publisher
    gone = publisher.release("0", "gone")
    publisher.revoke(gone)

    def knows(store: Store) -> bool:
        return store.ledgers.revocation(world.id, gone.id) is not None

    await world.open(country.names)
    await world.open_liars(publisher)
    world.go_wrong()
    await trio.sleep_until(country.speaks)
    tell(world.store(country.publisher), publisher, own=True)
    await world.get_about(knows, country.far, country.publisher)


async def _split(world: _World) -> None:
    """Somebody with the publisher's keys shows those beyond the border another log: in the end all can prove it."""
    country, mine = world.country, world.publisher
    theirs = mine.copy()
    mine.publish("2", "mine")
    theirs.publish("2", "theirs")

    def knows(store: Store) -> bool:
        with store.ledgers.asking(world.id) as ledger:
            return ledger is not None and ledger.fork is not None

    await world.open(country.names)
    await world.open_liars(mine)
    world.go_wrong()
    await trio.sleep_until(country.speaks)
    tell(world.store(country.publisher), mine, own=True)
    tell(world.store(country.other), theirs)
    await world.get_about(knows, country.names, country.publisher, country.other)
    for publisher in (mine, theirs):
        publisher.publish("3", "more")
        for name in world.there():
            if tell(world.store(name), publisher).new:
                world.fault(f"{name} believes more of a publisher who has forked")


async def _year(world: _World) -> None:
    """Somebody comes back after a year, in which much was said; the others have heard it up to here or there."""
    country, publisher = world.country, world.publisher
    traveller, others = country.names[-1], country.names[:-1]
    await world.open(country.names)
    await trio.sleep(limits.LOGS_FIRST + _ROUND)
    for name in country.names:
        await world.nodes[name].leave()
    await trio.sleep(_DAYS * 86400.0)
    before = len(publisher.said)
    _write_a_year(publisher)
    world.told.missed = sum(map(len, (*publisher.chain.envelopes, *publisher.said[before:])))
    rng = random.Random(f"{country.seed}/heard")
    for name in others:
        heard = len(publisher.said) if name == country.publisher else rng.randint(before, len(publisher.said))
        with give_home(world.yard / name) as store:
            store.ledgers.take(publisher.chain.envelopes, publisher.said[:heard])
    await world.open(others)
    await world.open_liars(publisher)
    await trio.sleep(limits.LOGS_FIRST + len(others) * _ROUND)
    tap = world.tap
    asked, received = tap.questions[traveller], tap.received[traveller]
    await world.open([traveller])
    world.told.bound = trio.current_time() + limits.LOGS_FIRST + _ROUND
    while not _knows_all(world.store(traveller), publisher):
        if trio.current_time() > world.told.bound:
            world.fault(f"{traveller} does not know all that was said")
            break
        await trio.sleep(1.0)
    world.told.seconds = trio.current_time()
    await trio.sleep_until(world.told.bound)  # who has all of it is asked, too
    world.told.asked = tap.questions[traveller] - asked
    world.told.received = tap.received[traveller] - received


def _write_a_year(publisher: Publisher) -> None:
    """A head a day, a new key a month, a word about it a week, and now and then something is taken back."""
    for day in range(_DAYS):
        if day % 30 == 29:
            publisher.rotate(f"key {day}")
        release = publisher.release(str(day), f"model-{day % 7}")
        publisher.head(release)
        if day % 7 == 0:
            publisher.attest(release)
        if day % 50 == 0:
            publisher.revoke(release)


def _knows_all(store: Store, publisher: Publisher) -> bool:
    with store.ledgers.asking(publisher.chain.publisher) as ledger:
        return ledger is not None and [entry.envelope for entry in ledger.log()] == publisher.said


SCENES: Final[dict[Scene, Callable[[_World], Awaitable[None]]]] = {
    "revocation": _revocation,
    "split": _split,
    "year": _year,
}
"""What may be said in a country."""
