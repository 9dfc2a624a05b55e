"""A fetch in a simulated world: rates, round trips, churn, liars, leeches. Time jumps, and one integer replays it."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from samara.protocol.limits import MAX_CHUNK
from samara.protocol.scheduler import Failure, Outcome, Scheduler, Stalled, Want

Chunk = tuple[int, int]


@dataclass
class SimPeer:
    """A holder at the other end of a line.

    Attributes:
        name: Its peer id.
        rate: Bytes a second of its line.
        round_trip: Seconds.
        holds: What it has; None: everything.
        lies: Probability that a chunk is wrong.
        leaves: When its connection is lost (seconds).
        sleeps: When it falls silent without a word (seconds).
        claims_all: It says that it has everything, whatever it has.
    """

    name: str
    rate: float
    round_trip: float = 0.05
    holds: set[Chunk] | None = None
    lies: float = 0.0
    leaves: float | None = None
    sleeps: float | None = None
    claims_all: bool = False
    queue: deque[tuple[Want, int]] = field(default_factory=deque)
    is_sending: bool = False


class World:
    """Drives one scheduler and the peers around it, in the order of time."""

    def __init__(self, streams: dict[int, list[int]], peers: list[SimPeer], *, seed: int, rotate: int = 0) -> None:
        self.random = random.Random(seed)
        self.lengths = streams
        self.scheduler = Scheduler(rotate=rotate)
        self.scheduler.know_as("us")
        self.peers = {peer.name: peer for peer in peers}
        self.now = 0.0
        self.order: list[Chunk] = []
        self.by_peer: Counter[str] = Counter()
        self.log: list[tuple[float, str, Chunk]] = []
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        for stream, lengths in streams.items():
            self.scheduler.add_stream(stream, range(len(lengths)), lengths.__getitem__)
        for peer in peers:
            self.join(peer)

    def at(self, time: float, call: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._agenda, (time, self._number, call))

    def join(self, peer: SimPeer) -> None:
        if not self.scheduler.add_peer(peer.name, self.now):
            return
        self.peers[peer.name] = peer
        self.tell(peer)
        if peer.leaves is not None:
            self.at(peer.leaves, lambda: self.leave(peer))

    def tell(self, peer: SimPeer) -> None:
        """Let a peer say what it has by now."""
        if peer.holds is None or peer.claims_all:
            self.scheduler.set_files(peer.name, None)
            return
        for stream, lengths in self.lengths.items():
            bits = bytearray((len(lengths) + 7) // 8)
            for index in range(len(lengths)):
                bits[index // 8] |= ((stream, index) in peer.holds) << index % 8
            self.scheduler.set_availability(peer.name, stream, bytes(bits))

    def leave(self, peer: SimPeer) -> None:
        self.peers.pop(peer.name, None)
        self.scheduler.remove_peer(peer.name)

    def run(self, until: float = 1e5) -> None:
        """Go on until all is kept, or nothing more can happen."""
        self._give()
        while not self.scheduler.done:
            due = self.scheduler.timer()
            next_call = self._agenda[0][0] if self._agenda else None
            if (time := min((t for t in (due, next_call) if t is not None), default=until)) >= until:
                return
            assert time >= self.now
            self.now = time
            if next_call == time:
                heapq.heappop(self._agenda)[2]()
            for event in self.scheduler.tick(self.now):
                if isinstance(event, Stalled):
                    for want in event.wants:
                        self._cancel(event.peer, want)
                    if event.dropped:
                        self.peers.pop(event.peer)
            self._give()

    def _give(self) -> None:
        for name, want in self.scheduler.cancelled():
            self._cancel(name, want)
        for name in self.scheduler.ready(self.now):
            for want in self.scheduler.next_requests(name, self.now):
                peer = self.peers[name]
                self.at(self.now + peer.round_trip, lambda p=peer, w=want: self._asked(p, w))  # type: ignore[misc]

    def _cancel(self, name: str, want: Want) -> None:
        if (peer := self.peers.get(name)) is not None:
            peer.queue = deque(entry for entry in peer.queue if entry[0] != want)

    def _asked(self, peer: SimPeer, want: Want) -> None:
        peer.queue.extend((want, want.first + n) for n in range(want.count))
        if not peer.is_sending:
            self._send_next(peer)

    def _send_next(self, peer: SimPeer) -> None:
        peer.is_sending = False
        if self.peers.get(peer.name) is not peer or (peer.sleeps is not None and self.now >= peer.sleeps):
            return
        while peer.queue:
            want, index = peer.queue.popleft()
            chunk = (want.stream, index)
            if peer.holds is not None and chunk not in peer.holds:
                peer.queue = deque(entry for entry in peer.queue if entry[0] != want)
                self.scheduler.failed(peer.name, want, Failure.NOT_FOUND, self.now)
                continue
            peer.is_sending = True
            self._send(peer, chunk, self.lengths[want.stream][index])
            return

    def _send(self, peer: SimPeer, chunk: Chunk, left: int) -> None:
        """Send a chunk in parts of two seconds."""
        part = min(left, max(1, int(2 * peer.rate)))

        def came() -> None:
            if self.peers.get(peer.name) is not peer:
                return
            self.scheduler.progress(peer.name, part, self.now)
            if left > part:
                self._send(peer, chunk, left - part)
            else:
                self._came(peer, chunk)
                self._send_next(peer)

        self.at(self.now + part / peer.rate, came)

    def _came(self, peer: SimPeer, chunk: Chunk) -> None:
        if self.random.random() < peer.lies:
            self.scheduler.wrong(peer.name, *chunk, self.now)
            del self.peers[peer.name]
            return
        size = self.lengths[chunk[0]][chunk[1]]
        if self.scheduler.received(peer.name, *chunk, size, self.now) is Outcome.ACCEPTED:
            self.order.append(chunk)
            self.by_peer[peer.name] += size
            self.log.append((self.now, peer.name, chunk))


def content(seed: int, files: int = 12, most: int = 60) -> dict[int, list[int]]:
    """Return the chunk lengths of some files: tensors of 1 MiB, text of 16 to 256 KiB."""
    rng = random.Random(seed)

    def length() -> int:
        return rng.choice([MAX_CHUNK, rng.randint(16 << 10, 256 << 10)])

    return {n: [length() for _ in range(rng.randint(1, most))] for n in range(1, files + 1)}


def chunks_of(streams: dict[int, list[int]]) -> list[Chunk]:
    return [(stream, index) for stream, lengths in streams.items() for index in range(len(lengths))]


def size_of(streams: dict[int, list[int]]) -> int:
    return sum(map(sum, streams.values()))


def assert_complete(world: World) -> None:
    """All came, and none was accepted twice."""
    assert world.scheduler.done, f"{world.scheduler.look().chunks_missing} chunks are missing at {world.now:.0f} s"
    assert sorted(world.order) == chunks_of(world.lengths)
    look = world.scheduler.look()
    assert sum(world.by_peer.values()) == look.bytes_received == size_of(world.lengths)
    assert all(peer.owed == 0 for peer in look.peers.values())


def rough_world(seed: int) -> World:
    """Return a world in which most that can go wrong does, drawn from one integer. One peer is honest and stays."""
    rng = random.Random(seed)
    streams = content(seed)
    chunks = chunks_of(streams)
    peers = [SimPeer("honest", rng.uniform(0.3e6, 3e6), rng.uniform(0.001, 0.6))]
    for number in range(rng.randint(3, 9)):
        peer = SimPeer(f"peer {number}", 10 ** rng.uniform(4.2, 7.2), rng.uniform(0.001, 0.6))
        match rng.choice(["seeder", "leech", "liar", "boaster", "leaver", "sleeper"]):
            case "leech":
                peer.holds = set(rng.sample(chunks, len(chunks) // 3))
            case "liar":
                peer.lies = rng.uniform(0.02, 1.0)
            case "boaster":
                peer.holds, peer.claims_all = set(rng.sample(chunks, len(chunks) // 2)), True
            case "leaver":
                peer.leaves = rng.uniform(0.1, 30.0)
            case "sleeper":
                peer.sleeps = rng.uniform(0.1, 30.0)
        peers.append(peer)
    world = World(streams, peers, seed=seed, rotate=rng.getrandbits(32))
    for number in range(rng.randint(0, 3)):
        late = SimPeer(f"late {number}", 10 ** rng.uniform(5, 7), leaves=rng.choice([None, 60.0]))
        world.at(rng.uniform(0.5, 20.0), lambda peer=late: world.join(peer))  # type: ignore[misc]
    return world


@pytest.mark.parametrize("seed", range(40))
def test_a_rough_world_is_survived(seed: int) -> None:
    world = rough_world(seed)
    honest = world.peers["honest"]
    world.run()
    assert_complete(world)
    # Never much worse than the honest peer alone: what others spoil is patience, and what is asked anew.
    assert world.now < 2 * size_of(world.lengths) / honest.rate + 40.0


def test_a_seed_replays_to_the_last_event() -> None:
    logs = []
    for _ in range(2):
        world = rough_world(7)
        world.run()
        logs.append((world.log, world.scheduler.look()))
    assert logs[0] == logs[1]


def test_load_is_spread_as_the_rates_are() -> None:
    streams = {1: [MAX_CHUNK] * 400, 2: [64 << 10] * 2000}
    rates = {"a": 1e6, "b": 1e6, "c": 2e6, "d": 4e6}
    world = World(streams, [SimPeer(name, rate) for name, rate in rates.items()], seed=1)
    world.run()
    assert_complete(world)
    total = size_of(streams)
    for name, rate in rates.items():
        assert world.by_peer[name] / total == pytest.approx(rate / sum(rates.values()), rel=0.15)
    assert world.now < 1.1 * total / sum(rates.values())
    assert world.scheduler.look().bytes_wasted < 0.01 * total


@pytest.mark.parametrize("round_trip", [0.001, 0.2, 0.8])
def test_a_lone_line_is_kept_full(round_trip: float) -> None:
    streams = {1: [MAX_CHUNK] * 300}
    world = World(streams, [SimPeer("a", 20e6, round_trip)], seed=1)
    world.run()
    assert_complete(world)
    assert world.now < size_of(streams) / 20e6 * 1.1 + 8 * round_trip


def test_a_slow_peer_does_not_hold_up_the_end() -> None:
    streams = {1: [MAX_CHUNK] * 100}
    world = World(streams, [SimPeer("fast", 10e6), SimPeer("slow", 20e3)], seed=1)
    world.run()
    assert_complete(world)
    assert world.now < 12.0, "the slow one alone needs 52 s for a chunk"
    assert world.scheduler.look().bytes_wasted <= 2 * MAX_CHUNK


@pytest.mark.parametrize("apart", [1, 2, 4])
def test_where_all_are_awake_no_chunk_is_asked_of_a_third(apart: int) -> None:
    asked: Counter[Chunk] = Counter()

    class Counting(World):
        def _asked(self, peer: SimPeer, want: Want) -> None:
            asked.update((want.stream, want.first + n) for n in range(want.count))
            super()._asked(peer, want)

    streams = {1: [MAX_CHUNK] * 400, 2: [64 << 10] * 2000}
    world = Counting(streams, [SimPeer(f"peer {n}", 1e6 * (1 + n % apart)) for n in range(16)], seed=1)
    world.run()
    assert_complete(world)
    copies = Counter(asked.values())
    assert copies[1] > 0.95 * len(asked)
    assert max(copies) <= 2


def test_what_is_rare_comes_early() -> None:
    streams = {1: [256 << 10] * 1000}
    rare = {(1, index) for index in (17, 503, 504, 998)}
    peers = [SimPeer("seeder", 2e6)]
    peers += [SimPeer(f"leech {n}", 2e6, holds=set(chunks_of(streams)) - rare) for n in range(4)]
    world = World(streams, peers, seed=1)
    world.run()
    assert_complete(world)
    # All but one of them are left to the leeches, until it is seen that these get nothing more.
    assert max(world.order.index(chunk) for chunk in rare) < 200


def test_a_leech_alone_gives_what_it_has_and_the_rest_when_it_has_got_it() -> None:
    streams = content(3)
    chunks = chunks_of(streams)
    leech = SimPeer("leech", 5e6, holds=set(chunks[::3]))
    world = World(streams, [leech], seed=1)
    world.run()
    assert set(world.order) == leech.holds
    assert world.scheduler.stuck
    leech.holds = set(chunks)
    world.tell(leech)
    assert not world.scheduler.stuck
    world.run()
    assert_complete(world)


def test_fetchers_of_one_seeder_begin_at_different_places() -> None:
    streams = {1: [MAX_CHUNK] * 400}
    begun = []
    for rotate in (0, 1 << 30, 1 << 31, 3 << 30):
        world = World(streams, [SimPeer("seeder", 10e6)], seed=1, rotate=rotate)
        world.run(until=8.0)
        begun.append(set(world.order))
    assert all(len(order) > 60 for order in begun)
    assert len(set.union(*begun)) == sum(map(len, begun)), "in the first 8 of 42 s no two got the same chunk"


class Together:
    """Fetchers of one seeder that ask each other now and then what they have; the seeder serves them in turn.

    Attributes:
        sent: Chunks that the seeder sent.
    """

    SIZE = 256 << 10
    STEP = 0.05
    COMMIT = 1.0
    LOOK = 1.0
    LINE = 50e6

    def __init__(self, fetchers: int, chunks: int, rate: float) -> None:
        self.sent = 0
        self._chunks = chunks
        self._rate = rate
        self._fetchers = [Scheduler(rotate=n * 0x9E37_79B9) for n in range(fetchers)]
        self._have: list[set[int]] = [set() for _ in self._fetchers]
        self._committed = [b""] * fetchers
        self._queues: dict[tuple[int, str], deque[tuple[Want, int]]] = {}
        for n, scheduler in enumerate(self._fetchers):
            scheduler.know_as(str(n))
            scheduler.add_stream(1, range(chunks), lambda _: self.SIZE)
            for giver in ("seeder", *(str(other) for other in range(fetchers) if other != n)):
                scheduler.add_peer(giver, 0.0)
                scheduler.set_files(giver, None if giver == "seeder" else b"")
                self._queues[n, giver] = deque()

    def run(self) -> None:
        """Go on until all have all."""
        for step in range(100_000):
            if all(scheduler.done for scheduler in self._fetchers):
                return
            now = step * self.STEP
            if step % round(self.LOOK / self.STEP) == 0:
                self._tell()
            if step % round(self.COMMIT / self.STEP) == 0:
                self._committed = [
                    sum(1 << index for index in have).to_bytes(self._chunks // 8 + 1, "little") for have in self._have
                ]
            for n, scheduler in enumerate(self._fetchers):
                self._ask(n, scheduler, now)
            self._seed(int((step + 1) * self.STEP * self._rate / self.SIZE), now)
            for (n, giver), queue in self._queues.items():
                if giver != "seeder":
                    for _ in range(min(len(queue), int(self.LINE * self.STEP / self.SIZE))):
                        self._deliver(n, giver, now)
        raise AssertionError("it does not end")

    def _tell(self) -> None:
        for n, scheduler in enumerate(self._fetchers):
            for other in set(range(len(self._fetchers))) - {n}:
                scheduler.set_availability(str(other), 1, self._committed[other])

    def _ask(self, n: int, scheduler: Scheduler, now: float) -> None:
        scheduler.tick(now)
        for giver, want in scheduler.cancelled():
            queue = self._queues[n, giver]
            self._queues[n, giver] = deque(item for item in queue if item[0] is not want)
        for giver in scheduler.ready(now):
            for want in scheduler.next_requests(giver, now):
                self._queues[n, giver] += ((want, want.first + k) for k in range(want.count))

    def _seed(self, allowed: int, now: float) -> None:
        while self.sent < allowed and (waiting := [n for n in range(len(self._have)) if self._queues[n, "seeder"]]):
            for n in waiting:
                if self.sent < allowed:
                    self._deliver(n, "seeder", now)
                    self.sent += 1

    def _deliver(self, n: int, giver: str, now: float) -> None:
        _, index = self._queues[n, giver].popleft()
        self._fetchers[n].progress(giver, self.SIZE, now)
        self._fetchers[n].received(giver, 1, index, self.SIZE, now)
        self._have[n].add(index)


@pytest.mark.parametrize("fetchers", [1, 2, 3, 8])
def test_a_seeder_sends_little_more_than_once_what_several_fetch(fetchers: int) -> None:
    together = Together(fetchers, chunks=2000, rate=10e6)
    together.run()
    assert 2000 <= together.sent < 1.1 * 2000


def lone(streams: dict[int, list[int]], rate: float) -> float:
    """Return the seconds that the seeder takes alone."""
    world = World(streams, [SimPeer("seeder", rate)], seed=1)
    world.run()
    return world.now


def say_more(world: World, mates: list[SimPeer], every: float) -> None:
    """Let mates say, again and again, that they got some more."""
    chunks = chunks_of(world.lengths)

    def more() -> None:
        for mate in mates:
            assert mate.holds is not None
            mate.holds |= set(chunks[len(mate.holds) : len(mate.holds) + 20])
            if mate.name in world.peers:
                world.tell(mate)
        world.at(world.now + every, more)

    world.at(every, more)


@pytest.mark.parametrize("mates", [1, 4, 31])
@pytest.mark.parametrize("vice", ["says nothing", "never answers", "boasts", "stalls", "is slow"])
def test_no_mate_holds_up_what_a_seeder_would_send(vice: str, mates: int) -> None:
    streams = {1: [64 << 10] * 800}
    rate = 4e6
    peers = [SimPeer(f"mate {n}", 4e6, holds=set()) for n in range(mates)]
    world = World(streams, [SimPeer("seeder", rate), *peers], seed=1)
    match vice:
        case "never answers":
            for peer in peers:
                peer.holds, peer.sleeps = set(chunks_of(streams)[:600]), 0.0
                world.tell(peer)
        case "boasts":
            for peer in peers:
                peer.sleeps = 0.0
            say_more(world, peers, 0.5)
        case "stalls":
            for peer in peers:
                peer.sleeps = 5.0
            say_more(world, peers, 0.5)
        case "is slow":
            for peer in peers:
                peer.rate = 50e3
            say_more(world, peers, 0.5)
    world.run()
    assert_complete(world)
    assert world.now < 1.1 * lone(streams, rate) + 5.0


def test_a_seeder_that_is_far_quicker_than_a_mate_is_asked_for_all_that_it_has_not() -> None:
    streams = {1: [256 << 10] * 800}
    mate = SimPeer("mate", 1e6, holds=set())
    world = World(streams, [SimPeer("seeder", 50e6), mate], seed=1)
    say_more(world, [mate], 1.0)
    world.run()
    assert_complete(world)
    assert world.now < 1.3 * lone(streams, 50e6) + 0.5


def test_two_seeders_are_each_read_forwards() -> None:
    scheduler = Scheduler()
    scheduler.add_stream(1, range(4000), lambda _: 256 << 10)
    asked: dict[str, list[Want]] = {"ann": [], "bob": []}
    for peer in asked:
        scheduler.add_peer(peer, 0.0)
        scheduler.set_files(peer, None)
    for step in itertools.takewhile(lambda _: not scheduler.done, itertools.count()):
        for peer, wants in asked.items():
            wants += (fresh := scheduler.next_requests(peer, float(step)))
            for want in fresh:
                for index in range(want.first, want.first + want.count):
                    scheduler.received(peer, 1, index, 256 << 10, float(step))
    for wants in asked.values():
        jumps = sum(one.first + one.count != other.first for one, other in itertools.pairwise(wants))
        assert jumps <= 3
        assert sum(want.count for want in wants) > 1000


def test_liars_cost_one_chunk_each() -> None:
    streams = {1: [256 << 10] * 400}
    liars = [SimPeer(f"liar {n}", 20e6, 0.001, lies=1.0) for n in range(10)]
    world = World(streams, [SimPeer("honest", 5e6), *liars], seed=1)
    world.run()
    assert_complete(world)
    assert world.by_peer.keys() == {"honest"}
    assert list(world.scheduler.look().peers) == ["honest"]
