"""Whom a fetch meets: how many at once, who makes way, and who is not asked at all."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
import trio.lowlevel
import trio.testing

from samara.node.fetch.goal import FetchRequest, Goal, goal_of
from samara.node.fetch.meeting import Meeting
from samara.node.network.exchange.slots import Credit
from samara.node.network.transport import PeerAddress
from samara.node.settings import StoreSettings
from samara.node.store.home import Home
from samara.node.store.store import Store
from samara.protocol import limits
from samara.protocol.errors import NotFoundError, PeerRefusedError, RemoteProtocolError
from samara.protocol.ids import ContentId, ReleaseId
from samara.protocol.links import Address, Link
from samara.protocol.records import Visibility

RELEASE = ReleaseId(bytes(range(32)))
PEER = "12D3KooWGjx1vT7dAnL1bXDvR2vK9wYcVZ6wUuBJj6gq5o8bX7Wq"


class Hearsay:
    """What each peer tells of its mates, and when it was asked; and who came to us for the content."""

    def __init__(self) -> None:
        self.tell: dict[str, list[PeerAddress]] = {}
        self.askers: list[PeerAddress] = []
        self.asked: list[tuple[float, str]] = []
        self.noted: set[str] = set()

    def known(self, content: ContentId) -> list[PeerAddress]:
        return self.askers

    def note(self, content: ContentId, peer: str) -> None:
        self.noted.add(peer)

    async def ask(self, peer: str, content: ContentId) -> list[PeerAddress]:
        await trio.lowlevel.checkpoint()
        self.asked.append((trio.current_time(), peer))
        if peer.startswith("mute"):
            raise RemoteProtocolError("nonsense")
        return self.tell.get(peer, [])


class Neighbours:
    """A network in which mDNS finds these peers at once; counts who is asked."""

    routing = None

    def __init__(self, *peers: str) -> None:
        self.host = self
        self.mates = Hearsay()
        self.credit = Credit()
        self.peer = "me"
        self.asked: list[str] = []
        self.where: dict[str, tuple[str, ...]] = {}
        self._peers = peers

    async def found_nearby(self) -> AsyncIterator[PeerAddress]:
        for peer in self._peers:
            yield PeerAddress(peer)
        await trio.sleep_forever()

    @contextlib.asynccontextmanager
    async def connect(self, address: PeerAddress, **times: float) -> AsyncIterator[Any]:
        self.asked.append(address.peer)
        self.where[address.peer] = address.addresses
        yield SimpleNamespace(peer=address.peer, opened=trio.lowlevel.checkpoint)


class Work:
    """Peers whose names begin with "good" give a byte a second, the others hold the line and give nothing."""

    def __init__(self) -> None:
        self.now: set[str] = set()
        self.most = 0
        self.bytes: Counter[str] = Counter()

    async def share_in(self, client: Any) -> None:
        self.now.add(client.peer)
        self.most = max(self.most, len(self.now))
        try:
            while True:
                await trio.sleep(1)
                self.bytes[client.peer] += client.peer.startswith("good")
        finally:
            self.now.remove(client.peer)

    def given(self, peer: str) -> int:
        return self.bytes[peer]

    def is_hopeful(self) -> bool:
        return True


@contextlib.contextmanager
def a_meeting(folder: Path, network: Neighbours, goal: Goal, work: Work, visibility: Visibility) -> Any:
    store = Store(made_home(folder), StoreSettings(floor=0), writable=True)

    async def open_network() -> Neighbours:
        await trio.lowlevel.checkpoint()
        return network

    try:
        node = cast(Any, SimpleNamespace(store=store, network=open_network))
        meeting = Meeting(node, goal, work, lambda event: None, patience=30)
        release = SimpleNamespace(visibility=visibility, content=bytes(32))
        meeting.learning.verified = cast(Any, SimpleNamespace(release=release))
        yield meeting
    finally:
        store.close()


def made_home(folder: Path) -> Home:
    home = Home(folder)
    home.create()
    return home


def goal(*peers: str, discreet: bool = False) -> Goal:
    return Goal(RELEASE, None, None, None, tuple(PeerAddress(peer) for peer in peers), (), None, discreet)


async def test_idle_peers_do_not_shut_out_the_one_that_gives(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    idle = [f"idle{number}" for number in range(limits.MAX_FETCH_PEERS + 3)]
    network, work = Neighbours(*idle, "good"), Work()
    with a_meeting(tmp_path / "home", network, goal(), work, Visibility.PUBLIC) as meeting:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(meeting.run)
            await trio.sleep(50)
            assert "good" not in work.now
            assert meeting.asked == limits.MAX_FETCH_PEERS
            await trio.sleep(300)
            assert "good" in work.now
            await trio.sleep(3600)
            assert "good" in work.now  # who gives stays
            assert work.bytes["good"] > 3600
            assert set(network.asked) == {*idle, "good"}  # and the others take turns
            meeting.end()
    assert work.most == limits.MAX_FETCH_PEERS


async def test_who_begins_when_we_do_is_asked_again_soon_and_then_ever_more_seldom(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    class Beginning(Work):
        """It has nothing; from a moment on one of them gives."""

        def __init__(self) -> None:
            super().__init__()
            self.asked: dict[str, list[float]] = {"good": [], "poor": []}

        async def share_in(self, client: Any) -> None:
            self.asked[client.peer].append(trio.current_time() - began)
            if client.peer == "poor" or trio.current_time() - began < 0.5:
                await trio.lowlevel.checkpoint()
                raise NotFoundError("not here")
            await super().share_in(client)

    network, work = Neighbours("good", "poor"), Beginning()
    began = trio.current_time()
    with a_meeting(tmp_path / "home", network, goal(), work, Visibility.PUBLIC) as meeting:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(meeting.run)
            await trio.sleep(100)
            meeting.end()
    assert work.asked["good"] == pytest.approx([0, 0.1, 0.3, 0.7], abs=0.01)
    assert work.bytes["good"] > 90
    pauses = [after - before for before, after in itertools.pairwise(work.asked["poor"])]
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2, 4, 8, 16], abs=0.01)


async def test_a_crowd_is_not_remembered_without_bound(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    crowd = [f"idle{number}" for number in range(2 * limits.MAX_FETCH_WAITING)]
    with a_meeting(tmp_path / "home", Neighbours(*crowd), goal(), Work(), Visibility.PUBLIC) as meeting:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(meeting.run)
            await trio.sleep(500)
            assert len(meeting._addresses) <= limits.MAX_FETCH_PEERS + limits.MAX_FETCH_WAITING
            meeting.end()


@pytest.mark.parametrize("visibility", [Visibility.UNLISTED, Visibility.PRIVATE])
async def test_of_what_is_not_public_only_the_named_are_asked(
    tmp_path: Path, visibility: Visibility, autojump_clock: trio.testing.MockClock
) -> None:
    network = Neighbours("stranger")
    with a_meeting(tmp_path / "home", network, goal("good"), Work(), visibility) as meeting:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(meeting.run)
            await trio.sleep(600)
            meeting.end()
    assert set(network.asked) == {"good"}


async def test_an_unlisted_link_is_not_looked_for_though_its_peer_is_silent(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    class Silent(Neighbours):
        @contextlib.asynccontextmanager
        async def connect(self, address: PeerAddress, **times: float) -> AsyncIterator[Any]:
            self.asked.append(address.peer)
            await trio.sleep(1000)
            yield None

    network = Silent("stranger")
    with a_meeting(tmp_path / "home", network, goal("silent", discreet=True), Work(), Visibility.PUBLIC) as meeting:
        meeting.learning.verified = None  # nothing is known of it but the link
        with pytest.raises(NotFoundError, match="not found"):
            await meeting.run()
    assert set(network.asked) == {"silent"}


async def test_an_unlisted_link_without_peers_says_what_is_missing(tmp_path: Path) -> None:
    with a_meeting(
        tmp_path / "home", Neighbours("stranger"), goal(discreet=True), Work(), Visibility.PUBLIC
    ) as meeting:
        meeting.learning.verified = None
        with pytest.raises(NotFoundError, match="nobody is named") as caught:
            await meeting.run()
    assert caught.value.hint is not None
    assert "--peer" in caught.value.hint


def test_a_link_says_that_it_is_unlisted(tmp_path: Path) -> None:
    peers = (Address.parse(f"/ip4/192.0.2.1/tcp/1/p2p/{PEER}"),)
    store = Store(made_home(tmp_path / "home"), StoreSettings(floor=0), writable=True)
    try:
        for public in (True, False):
            found = goal_of(store, FetchRequest(Link(RELEASE, peers=peers, public=public).encode()))
            assert found.discreet is not public
    finally:
        store.close()


# Mates


async def test_peers_in_session_are_asked_for_mates_soon_and_then_ever_more_seldom(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    network = Neighbours("good", "mute")
    network.mates.tell["good"] = [PeerAddress("good mate", ("/ip4/127.0.0.1/tcp/4001",))]
    with a_meeting(tmp_path / "home", network, goal(), Work(), Visibility.PUBLIC) as meeting:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(meeting.run)
            began = trio.current_time()
            await trio.sleep(10)
            assert network.where["good mate"] == ("/ip4/127.0.0.1/tcp/4001",)
            await trio.sleep(300)
            meeting.end()
    assert network.mates.noted == {"good", "good mate"}
    for peer in ("good", "mute", "good mate"):
        times = [time - began for time, asked in network.mates.asked if asked == peer]
        pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert times[0] <= 6
        assert pauses[0] >= limits.MATES_SPACING
        assert pauses == sorted(pauses)
        assert set(pauses[5:]) == {limits.MATES_AGAIN}


@pytest.mark.parametrize("visibility", [Visibility.UNLISTED, Visibility.PRIVATE])
async def test_of_what_is_not_public_nobody_is_asked_for_mates(
    tmp_path: Path, visibility: Visibility, autojump_clock: trio.testing.MockClock
) -> None:
    network = Neighbours()
    network.mates.askers = [PeerAddress("asker")]
    with a_meeting(tmp_path / "home", network, goal("good"), Work(), visibility) as meeting:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(meeting.run)
            await trio.sleep(300)
            meeting.end()
    assert network.asked == ["good"]
    assert network.mates.asked == []
    assert network.mates.noted == set()


async def test_who_asks_us_is_asked_too(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    network = Neighbours()
    network.mates.askers = [PeerAddress("good asker")]
    with a_meeting(tmp_path / "home", network, goal(), Work(), Visibility.PUBLIC) as meeting:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(meeting.run)
            await trio.sleep(10)
            assert network.where == {"good asker": ()}
            meeting.end()


async def test_hearsay_takes_no_place_from_the_addresses_of_who_is_known(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    network = Neighbours("good liar")
    wrong = tuple(f"/ip4/203.0.113.{n}/tcp/4001" for n in range(limits.MAX_PEER_ADDRESSES))
    network.mates.tell["good liar"] = [PeerAddress("good", wrong)]
    right = PeerAddress("good", ("/ip4/127.0.0.1/tcp/4001",))
    named = Goal(RELEASE, None, None, None, (right,), (), None)
    with a_meeting(tmp_path / "home", network, named, Work(), Visibility.PUBLIC) as meeting:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(meeting.run)
            await trio.sleep(100)
            assert len(network.mates.asked) > 5
            assert meeting._addresses["good"] == right
            meeting.end()


async def test_a_peer_that_is_let_go_is_not_met_again_at_once_since_it_asks_us(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    class Refusing(Neighbours):
        @contextlib.asynccontextmanager
        async def connect(self, address: PeerAddress, **times: float) -> AsyncIterator[Any]:
            self.asked.append(address.peer)
            raise PeerRefusedError("no", code=0)
            yield None

    network = Refusing()
    network.mates.askers = [PeerAddress("asker")]
    with a_meeting(tmp_path / "home", network, goal("good"), Work(), Visibility.PUBLIC) as meeting:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(meeting.run)
            await trio.sleep(29)
            meeting.end()
    assert network.asked.count("asker") == 2
