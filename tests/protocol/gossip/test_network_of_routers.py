"""Fifty routers and the lines between them, on a clock of their own: what is told reaches all who are honest.

Lines lose RPCs, routers come and go, and some of them are hostile. All of it comes from one seed.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samara.protocol import limits
from samara.protocol.gossip import Message, Router, Rpc, Verdict, decode_rpc, encode_rpc, message_id

TOPIC = "/samara/records/1/one"
FALSE = b"false "

Bad = Callable[["World", str, str, Rpc], Iterable[Rpc]]
"""What a hostile peer says to another one when it hears something of it."""


class World:
    """Routers, and what is under way between them.

    Args:
        seed: Where all chance comes from.
        count: How many routers.
        degree: How many others each dials.
        loss: The share of RPCs that are lost.
        hostile: Those that are hostile, and how.
    """

    def __init__(
        self, seed: int, count: int = 50, degree: int = 5, loss: float = 0.0, hostile: dict[str, Bad] | None = None
    ) -> None:
        self.chance = random.Random(seed)
        self.now = 0.0
        self.loss = loss
        self.hostile = hostile or {}
        self.names = [f"r{number:02}" for number in range(count)]
        self.routers = {name: self.fresh() for name in self.names}
        self.links: set[tuple[str, str]] = set()
        self.got: dict[str, set[bytes]] = {name: set() for name in self.names}
        self.left: set[str] = set()  # those who have been away, and remember nothing
        self.rpcs = Counter[str]()
        self.bytes = 0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        for place, name in enumerate(self.names):
            self.link(name, self.names[place - 1])  # a ring, so that nobody is apart
            for other in self.chance.sample(self.names, degree - 1):
                self.link(name, other)
        for name in self.names:
            self.at(self.chance.random(), partial(self.beat, name))

    def fresh(self) -> Router:
        made = Router(random.Random(self.chance.random()), lambda topic: topic == TOPIC)
        made.follow({TOPIC: True}, self.now)
        return made

    @property
    def honest(self) -> list[str]:
        return [name for name in self.names if name not in self.hostile]

    def link(self, one: str, other: str) -> None:
        if one == other or {(one, other), (other, one)} & self.links:
            return
        self.links.add((one, other))
        for here, there, outbound in ((one, other, True), (other, one, False)):
            self.routers[here].meet(there, self.now, outbound=outbound)
            self.send(here)

    def leave(self, name: str) -> None:
        """Go, and come back with an empty memory a moment later."""
        self.left.add(name)
        mine = sorted(link for link in self.links if name in link)
        for link in mine:
            self.links.discard(link)
            self.routers[link[0] if link[1] == name else link[1]].part(name)
        self.routers[name] = self.fresh()
        for link in mine:
            self.at(self.now + 1.0, partial(self.link, *link))

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (when, next(self._number), what))

    def run(self, until: float) -> None:
        while self._queue and self._queue[0][0] <= until:
            self.now, _, what = heapq.heappop(self._queue)
            what()
        self.now = until

    def beat(self, name: str) -> None:
        router = self.routers[name]
        if router.busy(self.now):
            router.tick(self.now)
            self.send(name)
        self.at(self.now + limits.GOSSIP_HEARTBEAT, lambda: self.beat(name))

    def tell(self, name: str, data: bytes) -> None:
        assert self.routers[name].publish(TOPIC, data, self.now, everyone=True)
        self.got[name].add(data)
        self.send(name)

    def send(self, name: str) -> None:
        for other, rpcs in self.routers[name].drain():
            for data in rpcs:
                self.carry(name, other, data)

    def carry(self, name: str, other: str, data: bytes) -> None:
        first = not self.rpcs[name]
        self.rpcs[name] += 1
        self.bytes += len(data)
        # Subscriptions are said once, on a stream that loses nothing: what is lost is lost by full queues.
        if not first and data[:1] != b"\x0a" and self.chance.random() < self.loss:
            return
        self.at(self.now + self.chance.uniform(0.01, 0.1), lambda: self.deliver(name, other, data))

    def deliver(self, name: str, other: str, data: bytes) -> None:
        router = self.routers[other]
        if name not in router.peers:
            return
        rpc = decode_rpc(data)
        if other in self.hostile:
            router.receive(name, Rpc(subscriptions=rpc.subscriptions, graft=rpc.graft, prune=rpc.prune), self.now)
            for said in self.hostile[other](self, other, name, rpc):
                self.carry(other, name, encode_rpc(said))
            self.send(other)
            return
        router.receive(name, rpc, self.now)
        while (unchecked := router.next_unchecked()) is not None:
            wrong = unchecked.data.startswith(FALSE)
            if not wrong:
                assert unchecked.data not in self.got[other] or other in self.left, "nothing is checked twice"
                self.got[other].add(unchecked.data)
            router.judge(unchecked, Verdict.REJECT if wrong else Verdict.ACCEPT, self.now)
        self.send(other)

    def missing(self, *told: bytes) -> dict[str, set[bytes]]:
        return {name: left for name in self.honest if (left := set(told) - self.got[name])}


def silent(world: World, me: str, peer: str, rpc: Rpc) -> Iterable[Rpc]:
    """Is in every mesh, and forwards nothing."""
    return ()


def lying(world: World, me: str, peer: str, rpc: Rpc) -> Iterable[Rpc]:
    """Answers each message by one that nobody signed, and each id by an id that nobody has."""
    for number, _ in enumerate(rpc.messages[:3]):
        yield Rpc(messages=(Message(TOPIC, FALSE + f"{me} {peer} {world.now} {number}".encode()),))
    yield Rpc(ihave=((TOPIC, tuple(world.chance.randbytes(32) for _ in range(50))),))


def grabbing(world: World, me: str, peer: str, rpc: Rpc) -> Iterable[Rpc]:
    """Wants to be in the mesh at any time, and everything that there is."""
    yield Rpc(graft=(TOPIC,) * 10, iwant=tuple(message_id(TOPIC, m.data) for m in rpc.messages) * 5)


def mixed(count: int, kinds: list[Bad]) -> dict[str, Bad]:
    return {f"r{number * 3:02}": kinds[number % len(kinds)] for number in range(count)}


def test_all_hear_within_two_seconds_and_most_by_few_copies() -> None:
    world = World(1)
    world.run(10.0)
    sizes = [len(router.mesh(TOPIC)) for router in world.routers.values()]
    assert max(sizes) <= limits.GOSSIP_D_HIGH
    before = world.bytes
    told = bytes(2000)
    world.tell("r07", told)
    world.run(12.0)
    assert world.missing(told) == {}
    copies = (world.bytes - before) / len(told) / len(world.names)
    assert copies < 1.5 * limits.GOSSIP_D


def test_with_nothing_told_nothing_is_said_and_nobody_is_busy() -> None:
    world = World(2)
    world.run(130.0)
    before = world.rpcs.total()
    world.run(300.0)
    assert world.rpcs.total() == before
    assert not any(router.busy(300.0) for router in world.routers.values())


@pytest.mark.parametrize("seed", range(5))
def test_all_hear_though_lines_lose_a_fifth_and_routers_come_and_go(seed: int) -> None:
    world = World(seed, loss=0.2)
    world.run(5.0)
    told = []
    for number in range(20):
        teller, leaver = world.chance.sample(world.names, 2)
        told.append(b"news %d" % number)
        world.tell(teller, told[-1])
        world.leave(leaver)
        world.got[leaver] |= set(told)  # who was away asks when it comes back (network.md, "Logs")
        world.run(world.now + 3.0)
    world.run(world.now + 10.0)
    assert world.missing(*told) == {}


def test_every_honest_router_hears_in_spite_of_those_that_forward_nothing() -> None:
    """A third of all are in the meshes and hold back: the others are told ids, and own news go to everybody."""
    world = World(3, degree=6, hostile=mixed(16, [silent]))
    world.run(10.0)
    told = [b"news %d" % number for number in range(10)]
    for number, data in enumerate(told):
        world.tell(world.honest[number], data)
        world.run(world.now + 2.0)
    world.run(world.now + 8.0)
    assert world.missing(*told) == {}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.0, 0.15), st.integers(0, 12))
def test_hostile_routers_stop_nothing_and_are_not_listened_to(seed: int, loss: float, hostile: int) -> None:
    world = World(seed, degree=6, loss=loss, hostile=mixed(hostile, [lying, grabbing, silent]))
    world.run(5.0)
    told = [b"news %d" % number for number in range(12)]
    for data in told:
        world.tell(world.chance.choice(world.honest), data)
        world.run(world.now + 1.5)
    world.run(world.now + 8.0)
    assert world.missing(*told) == {}
    for name in world.honest:
        router = world.routers[name]
        assert set(router.outcasts()) <= world.hostile.keys(), "no honest router forwards what is false"
        assert router.held < 5000
        liars = {peer for peer in router.mesh(TOPIC) if world.hostile.get(peer) is lying}
        assert not liars, "who lies is in no mesh"


def test_what_a_router_remembers_is_bounded_whatever_others_say() -> None:
    """One router, thirty peers that say anything, ten minutes."""
    chance = random.Random(4)
    router = Router(random.Random(5), lambda topic: topic.startswith("/samara/"))
    topics = [f"/samara/records/1/{number}" for number in range(2000)]
    router.follow(dict.fromkeys(topics[:50], True), 0.0)
    peers = [f"p{number}" for number in range(30)]
    most = 0
    for step in range(6000):
        now = step / 10
        peer = chance.choice(peers)
        router.meet(peer, now, outbound=chance.random() < 0.5)
        some = tuple(chance.sample(topics, 20))
        router.receive(
            peer,
            Rpc(
                subscriptions={topic: chance.random() < 0.7 for topic in some},
                messages=tuple(Message(topic, chance.randbytes(100)) for topic in some),
                ihave=tuple((topic, tuple(chance.randbytes(32) for _ in range(20))) for topic in some),
                iwant=tuple(chance.randbytes(32) for _ in range(20)),
                graft=some,
                prune=dict.fromkeys(some, 3600.0),
            ),
            now,
        )
        if step % 3 == 0 and (unchecked := router.next_unchecked()) is not None:
            router.judge(unchecked, chance.choice([Verdict.ACCEPT, Verdict.IGNORE, Verdict.LATER]), now)
        if chance.random() < 0.02:
            router.part(chance.choice(peers))
        router.drain()
        if step % 10 == 0:
            router.tick(now)
            router.drain()
        most = max(most, router.held)
    bound = len(peers) * (limits.MAX_GOSSIP_PEER_TOPICS + 2 * limits.MAX_GOSSIP_UNCHECKED + 40 + 50)
    assert most < bound + limits.MAX_GOSSIP_IDS
