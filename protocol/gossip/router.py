"""A router of gossipsub: RPCs in, RPCs out, and messages that somebody must check in between.

    router.receive(peer, rpc, now)
    while (unchecked := router.next_unchecked()) is not None:
        router.judge(unchecked, verdict, now)      # ACCEPT forwards it
    router.publish(topic, data, now, everyone=True)
    if router.busy(now): router.tick(now)          # once a heartbeat
    for peer, rpcs in router.drain(): ...          # after each of these

It has no clock and no randomness: `now` is seconds on any clock that does not go back, and chance is handed in. It
knows nothing of what is said.

Invariants: what one peer can make it remember is bounded, and so is what all can; nothing is forwarded that was not
accepted; with nothing to maintain it needs no heartbeats.

Source: gossipsub v1.0 and v1.1; specs/gossip.md.
"""

from __future__ import annotations

import enum
import itertools
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar, final

from samara.protocol import limits
from samara.protocol.gossip.cache import MessageCache, Seen
from samara.protocol.gossip.messages import Rpc, encode_rpc, message_id
from samara.protocol.gossip.standing import Standing, Standings

__all__ = ["Chance", "Router", "Unchecked", "Verdict"]

_UNSUBSCRIBED: Final = 10.0
"""Seconds of backoff that a peer gets when we follow a topic no more: we may come back sooner."""

_HASTY: Final = 10.0
"""Seconds after a PRUNE in which a GRAFT counts twice."""

_SLACK: Final = 2 * limits.GOSSIP_HEARTBEAT
"""Seconds beyond a backoff until we ask again: the other end began to count a little later."""

_LAZY_SHARE: Final = 4
"""One in so many of those outside a mesh is told ids."""

T = TypeVar("T")


class Chance(Protocol):
    """Where choices come from: `random.Random` is one."""

    def sample(self, population: Sequence[T], k: int) -> list[T]:
        """Return `k` different elements in any order."""
        ...


class Verdict(enum.Enum):
    """What becomes of a message."""

    ACCEPT = "accept"
    """It is forwarded."""
    IGNORE = "ignore"
    """It is not."""
    LATER = "later"
    """It is not, nor is it remembered: what must be known first is asked for, and it may be told then."""
    REJECT = "reject"
    """Nobody who checks forwards it: it counts against who did."""


@final
@dataclass(frozen=True, slots=True)
class Unchecked:
    """A message that is to be checked.

    Attributes:
        id: Its id.
        topic: Its topic.
        data: What it says.
        peer: Who brought it first.
    """

    id: bytes
    topic: str
    data: bytes
    peer: str


@dataclass(slots=True)
class _Out:
    """What is to be said to a peer."""

    subscriptions: dict[str, bool] = field(default_factory=dict)
    graft: dict[str, None] = field(default_factory=dict)
    prune: dict[str, float] = field(default_factory=dict)
    ihave: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    iwant: list[bytes] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)

    def rpcs(self, *, backoffs: bool) -> Iterator[bytes]:
        """Return the RPCs: the small things together, and each message by itself."""
        said = Rpc(self.subscriptions, (), tuple(self.ihave.items()), tuple(self.iwant), tuple(self.graft), self.prune)
        small = encode_rpc(said, backoffs=backoffs)
        if small:
            yield small
        yield from self.messages


@dataclass(slots=True)
class _Topic:
    """A topic that is followed.

    Attributes:
        openly: Everybody is told so.
        followers: The peers that follow it.
        mesh: Those of them in its mesh.
        level: How many messages may be accepted at once.
        at: When that was reckoned.
    """

    openly: bool
    followers: set[str]
    mesh: set[str] = field(default_factory=set)
    level: float = limits.MAX_GOSSIP_BURST
    at: float = float("-inf")

    def has_room(self, now: float) -> bool:
        """Return whether one more may be accepted."""
        self.level = min(limits.MAX_GOSSIP_BURST, self.level + (now - self.at) / limits.GOSSIP_SPACING)
        self.at = now
        return self.level >= 1


@dataclass(slots=True)
class _Peer:
    """A peer.

    Attributes:
        outbound: We have dialled it.
        backoffs: It knows backoffs.
        topics: Those of our form that it follows.
        waiting: Its messages that are to be checked, and their bytes.
        beat: When the counts below were begun.
        lists: IHAVEs that were looked at.
        listed: Ids in them.
        asked: Messages that it was asked for.
        given: Messages that it got because it asked.
    """

    outbound: bool
    backoffs: bool
    topics: set[str] = field(default_factory=set)
    waiting: deque[Unchecked] = field(default_factory=deque)
    waiting_bytes: int = 0
    beat: float = float("-inf")
    lists: int = 0
    listed: int = 0
    asked: int = 0
    given: int = 0

    def count_anew(self, now: float) -> None:
        """Begin the counts of a heartbeat when the last one is over."""
        if now - self.beat >= limits.GOSSIP_HEARTBEAT:
            self.beat = now
            self.lists = self.listed = self.asked = self.given = 0


@final
class Router:
    """Who follows what, who is in which mesh, and what is said to whom.

    Args:
        chance: Makes the choices.
        ours: Whether a topic is of a form that is worth remembering.

    Attributes:
        counts: How often what was dropped, by reason.
        standings: What is held against peers.
    """

    def __init__(self, chance: Chance, ours: Callable[[str], bool]) -> None:
        self.counts: Final[Counter[str]] = Counter()
        self.standings: Final = Standings()
        self._chance = chance
        self._ours = ours
        self._peers: dict[str, _Peer] = {}
        self._topics: dict[str, _Topic] = {}
        self._backoffs: OrderedDict[tuple[str, str], float] = OrderedDict()  # topic, peer: until when
        self._seen = Seen()
        self._cache = MessageCache()
        self._open: dict[bytes, set[str]] = {}  # what is not checked yet: who has it besides who brought it
        self._turns: deque[str] = deque()  # peers with messages that are to be checked
        self._promises: dict[bytes, dict[str, float]] = {}  # of each id: who brings it until when
        self._out: dict[str, _Out] = {}
        self._outcasts: list[str] = []

    # What is known.

    @property
    def topics(self) -> Collection[str]:
        """The topics that we follow."""
        return self._topics.keys()

    @property
    def peers(self) -> Collection[str]:
        """The peers that are there."""
        return self._peers.keys()

    def mesh(self, topic: str) -> frozenset[str]:
        """Return the peers in the mesh of a topic."""
        return frozenset(self._topics[topic].mesh if topic in self._topics else ())

    def followers(self, topic: str) -> frozenset[str]:
        """Return the peers that follow a topic which we follow."""
        return frozenset(self._topics[topic].followers if topic in self._topics else ())

    @property
    def held(self) -> int:
        """How many things are remembered, of all kinds: for those who hold the bounds against it."""
        of_peers = sum(len(peer.topics) + len(peer.waiting) for peer in self._peers.values())
        promised = sum(map(len, self._promises.values()))
        messages = len(self._seen) + len(self._cache) + len(self._open)
        return of_peers + promised + messages + len(self._backoffs) + len(self.standings) + len(self._out)

    # Peers come and go.

    def meet(self, peer: str, now: float, *, outbound: bool, backoffs: bool = True) -> None:
        """Take note of a peer that speaks the protocol; it is told what we follow openly.

        Args:
            peer: Who.
            now: The time.
            outbound: We have dialled it.
            backoffs: It speaks 1.1.
        """
        if peer in self._peers:
            self._peers[peer].outbound, self._peers[peer].backoffs = outbound, backoffs
            return
        self._peers[peer] = _Peer(outbound, backoffs)
        for name, topic in self._topics.items():
            if topic.openly:
                self._to(peer).subscriptions[name] = True

    def part(self, peer: str) -> None:
        """Forget a peer that is gone, but for what is held against it."""
        gone = self._peers.pop(peer, None)
        if gone is None:
            return
        self._out.pop(peer, None)
        for topic in self._topics.values():
            topic.followers.discard(peer)
            topic.mesh.discard(peer)
        for one in [one for one, promised in self._promises.items() if promised.pop(peer, None) and not promised]:
            del self._promises[one]
        if gone.waiting:
            self._turns.remove(peer)
        for unchecked in gone.waiting:  # another's copy is to be looked at
            del self._open[unchecked.id]
            self._seen.forget(unchecked.id)

    def breach(self, peer: str, now: float, weight: float = 1.0) -> None:
        """Take note that a peer broke the rules in a way that shows elsewhere."""
        self.standings.breach(peer, now, weight)

    def outcasts(self) -> list[str]:
        """Return who became an outcast for what was rejected since this was asked last."""
        found, self._outcasts = self._outcasts, []
        return found

    # Topics.

    def follow(self, topics: Mapping[str, bool], now: float) -> None:
        """Follow these topics from now on, and no others; at most `MAX_GOSSIP_TOPICS` of them.

        Args:
            topics: Each with whether it is followed openly. Of the others only those are told who say that they follow
                them, too.
            now: The time.
        """
        wanted = dict(itertools.islice(topics.items(), limits.MAX_GOSSIP_TOPICS))
        for topic in [topic for topic in self._topics if topic not in wanted]:
            self._unfollow(topic, now)
        for topic, openly in wanted.items():
            known = self._topics.get(topic)
            if known is None:
                followers = {name for name, peer in self._peers.items() if topic in peer.topics}
                self._topics[topic] = _Topic(openly, followers)
                self._announce(topic, self._peers if openly else followers, follows=True)
                self._fill(topic, limits.GOSSIP_D, now)
            elif openly and not known.openly:
                known.openly = True
                self._announce(topic, self._peers, follows=True)

    def _announce(self, topic: str, names: Iterable[str], *, follows: bool) -> None:
        for name in names:
            self._to(name).subscriptions[topic] = follows

    def _unfollow(self, topic: str, now: float) -> None:
        gone = self._topics[topic]
        for name in list(gone.mesh):
            self._prune(topic, name, now, _UNSUBSCRIBED)
        self._announce(topic, self._peers if gone.openly else gone.followers, follows=False)
        del self._topics[topic]

    # Messages.

    def publish(self, topic: str, data: bytes, now: float, *, everyone: bool) -> bool:
        """Tell something that did not come from a peer; return whether it is news.

        Args:
            topic: One that we follow: of others nothing is told.
            data: What.
            now: The time.
            everyone: Tell all that follow the topic, and not only the mesh.
        """
        one = message_id(topic, data)
        if topic not in self._topics or self._seen.has(one, now):
            return False
        self._seen.add(one, now)
        rpc = self._cache.put(one, topic, data).rpc
        followers = sorted(name for name in self._topics[topic].followers if self._stands(name, now) > Standing.OUTCAST)
        whom: Collection[str] = followers if everyone else self._topics[topic].mesh
        if not whom:
            whom = self._chance.sample(followers, min(len(followers), limits.GOSSIP_D))
        for name in whom:
            self._to(name).messages.append(rpc)
        return True

    def next_unchecked(self) -> Unchecked | None:
        """Return a message that is to be checked, of each peer in turn; None when there is none."""
        if not self._turns:
            return None
        name = self._turns.popleft()
        peer = self._peers[name]
        found = peer.waiting.popleft()
        peer.waiting_bytes -= len(found.data)
        if peer.waiting:
            self._turns.append(name)
        return found

    def judge(self, checked: Unchecked, verdict: Verdict, now: float) -> None:
        """Take note of what became of a message that `next_unchecked` returned."""
        also = self._open.pop(checked.id, set())
        if verdict is Verdict.LATER:
            self._seen.forget(checked.id)
        elif verdict is Verdict.REJECT:
            for name in (checked.peer, *sorted(also)):
                self._reject(name, now)
        elif verdict is Verdict.ACCEPT and checked.topic in self._topics and self._cache.get(checked.id) is None:
            self._topics[checked.topic].level -= 1
            rpc = self._cache.put(checked.id, checked.topic, checked.data).rpc
            for name in self._topics[checked.topic].mesh - also - {checked.peer}:
                self._to(name).messages.append(rpc)

    def _reject(self, name: str, now: float) -> None:
        self.counts["rejected"] += 1
        if self.standings.rejected(name, now):
            self._outcasts.append(name)

    # RPCs.

    def receive(self, name: str, rpc: Rpc, now: float) -> None:
        """Take what a peer says; it must have been met."""
        peer = self._peers[name]
        if self._stands(name, now) is Standing.OUTCAST:
            self.counts["outcast"] += 1
            return
        peer.count_anew(now)
        self.counts["named"] += rpc.named
        self._take_subscriptions(name, peer, rpc, now)
        for message in rpc.messages:
            self._take_message(name, peer, message.topic, message.data, now)
        for topic in rpc.graft:
            self._take_graft(name, peer, topic, now)
        for topic, seconds in rpc.prune.items():
            if topic in self._topics:
                self._topics[topic].mesh.discard(name)
                self._back_off(topic, name, now + seconds)
        if self._stands(name, now) is Standing.GOOD:
            self._take_ihave(name, peer, rpc, now)
            self._take_iwant(name, peer, rpc)

    def _take_subscriptions(self, name: str, peer: _Peer, rpc: Rpc, now: float) -> None:
        beyond = False
        for topic, follows in rpc.subscriptions.items():
            if not self._ours(topic):
                continue
            if not follows:
                peer.topics.discard(topic)
                if topic in self._topics:
                    self._topics[topic].followers.discard(name)
                    self._topics[topic].mesh.discard(name)
            elif not self._follows(name, peer, topic):
                beyond = True
        if beyond:
            self.counts["topics"] += 1
            self.standings.breach(name, now)

    def _follows(self, name: str, peer: _Peer, topic: str) -> bool:
        """Remember that a peer follows a topic; return whether there was room for it."""
        if topic not in peer.topics and len(peer.topics) >= limits.MAX_GOSSIP_PEER_TOPICS:
            return False
        peer.topics.add(topic)
        known = self._topics.get(topic)
        if known is not None and name not in known.followers:
            known.followers.add(name)
            if not known.openly:
                self._announce(topic, [name], follows=True)
        return True

    def _take_message(self, name: str, peer: _Peer, topic: str, data: bytes, now: float) -> None:
        if topic not in self._topics:
            self.counts["not followed"] += 1
            return
        if len(data) > limits.MAX_GOSSIP_DATA:
            self._reject(name, now)
            return
        one = message_id(topic, data)
        self._promises.pop(one, None)  # whoever brings it
        if one in self._open:
            self._open[one].add(name)
        if self._seen.has(one, now):
            return
        if not self._topics[topic].has_room(now):
            self.counts["topic is full"] += 1
            return
        full = len(peer.waiting) >= limits.MAX_GOSSIP_UNCHECKED
        if full or peer.waiting_bytes + len(data) > limits.MAX_GOSSIP_UNCHECKED_BYTES:
            self.counts["too many"] += 1
            return
        self._seen.add(one, now)
        self._open[one] = set()
        if not peer.waiting:
            self._turns.append(name)
        peer.waiting.append(Unchecked(one, topic, data, name))
        peer.waiting_bytes += len(data)

    def _take_graft(self, name: str, peer: _Peer, topic: str, now: float) -> None:
        if topic not in self._topics or name in self._topics[topic].mesh:
            return
        until = self._backoffs.get((topic, name), now)
        if until > now:
            since = now - (until - limits.GOSSIP_BACKOFF)
            self.counts["graft"] += 1
            self.standings.breach(name, now, 2.0 if since < _HASTY else 1.0)
            self._prune(topic, name, now)
            return
        full = len(self._topics[topic].mesh) >= limits.GOSSIP_D_HIGH and not peer.outbound
        if full or self._stands(name, now) is not Standing.GOOD or not self._follows(name, peer, topic):
            self._prune(topic, name, now)
            return
        self._topics[topic].mesh.add(name)

    def _take_ihave(self, name: str, peer: _Peer, rpc: Rpc, now: float) -> None:
        for topic, ids in rpc.ihave:
            if topic not in self._topics:
                continue
            peer.lists += 1
            room = limits.MAX_GOSSIP_IHAVE_IDS - peer.listed
            if peer.lists > limits.MAX_GOSSIP_IHAVE or room <= 0:
                self.counts["ihave"] += 1
                return
            peer.listed += min(len(ids), room)
            new = sorted({one for one in ids[:room] if not self._seen.has(one, now)})
            wanted = self._chance.sample(new, min(len(new), limits.MAX_GOSSIP_ASKED - peer.asked))
            if wanted:
                peer.asked += len(wanted)
                self._to(name).iwant += wanted
                self._promises.setdefault(wanted[0], {}).setdefault(name, now + limits.GOSSIP_PROMISE)

    def _take_iwant(self, name: str, peer: _Peer, rpc: Rpc) -> None:
        for one in dict.fromkeys(rpc.iwant):
            kept = self._cache.get(one)
            if kept is None or kept.topic not in peer.topics:
                continue
            if peer.given >= limits.MAX_GOSSIP_ANSWERED or kept.given[name] >= limits.MAX_GOSSIP_RETRIES:
                self.counts["iwant"] += 1
                continue
            peer.given += 1
            kept.given[name] += 1
            self._to(name).messages.append(kept.rpc)

    # The heartbeat.

    def busy(self, now: float) -> bool:
        """Return whether there is something that a heartbeat would do, or that is to be forgotten."""
        if len(self._cache) or self._promises:
            return True
        return any(self._is_off_balance(topic, now) for topic in self._topics)

    def tick(self, now: float) -> None:
        """Keep the meshes as they should be, tell ids, and forget what is over."""
        self._hold_to_promises(now)
        for key in [key for key, until in self._backoffs.items() if until + _SLACK <= now]:
            del self._backoffs[key]
        told = self._cache.told()
        for topic in self._topics:
            self._balance(topic, now)
            if topic in told:
                self._tell_ids(topic, told[topic], now)
        self._cache.shift()

    def _hold_to_promises(self, now: float) -> None:
        for one, promised in list(self._promises.items()):
            for name in [name for name, until in promised.items() if until <= now]:
                del promised[name]
                self.counts["promise"] += 1
                self.standings.breach(name, now)
            if not promised:
                del self._promises[one]

    def _is_off_balance(self, topic: str, now: float) -> bool:
        mesh = self._topics[topic].mesh
        if len(mesh) > limits.GOSSIP_D_HIGH or any(self._stands(name, now) is not Standing.GOOD for name in mesh):
            return True
        outside = self._topics[topic].followers - mesh
        if len(mesh) < limits.GOSSIP_D_LOW:
            return bool(outside)
        return self._outbound(mesh) < limits.GOSSIP_D_OUT and self._outbound(outside) > 0

    def _balance(self, topic: str, now: float) -> None:
        mesh = self._topics[topic].mesh
        for name in [name for name in mesh if self._stands(name, now) is not Standing.GOOD]:
            self._prune(topic, name, now)
        if len(mesh) < limits.GOSSIP_D_LOW:
            self._fill(topic, limits.GOSSIP_D, now)
        elif len(mesh) > limits.GOSSIP_D_HIGH:
            kept = self._keep_some(mesh)
            for name in mesh - kept:
                self._prune(topic, name, now)
        missing = limits.GOSSIP_D_OUT - self._outbound(mesh)
        if missing > 0 and len(mesh) >= limits.GOSSIP_D_LOW:
            dialled = [name for name in self._candidates(topic, now) if self._peers[name].outbound]
            self._graft(topic, self._chance.sample(dialled, min(len(dialled), missing)))

    def _keep_some(self, mesh: set[str]) -> set[str]:
        """Return who stays of a mesh that is too large: some that we dialled, and others by chance."""
        order = self._chance.sample(sorted(mesh), len(mesh))
        dialled = [name for name in order if self._peers[name].outbound][: limits.GOSSIP_D_OUT]
        rest = [name for name in order if name not in dialled]
        return {*dialled, *rest[: limits.GOSSIP_D - len(dialled)]}

    def _fill(self, topic: str, size: int, now: float) -> None:
        candidates = self._candidates(topic, now)
        missing = min(size - len(self._topics[topic].mesh), len(candidates))
        self._graft(topic, self._chance.sample(candidates, max(missing, 0)))

    def _candidates(self, topic: str, now: float) -> list[str]:
        return sorted(
            name
            for name in self._topics[topic].followers - self._topics[topic].mesh
            if self._backoffs.get((topic, name), float("-inf")) + _SLACK <= now
            and self._stands(name, now) is Standing.GOOD
        )

    def _tell_ids(self, topic: str, ids: list[bytes], now: float) -> None:
        outside = sorted(
            name
            for name in self._topics[topic].followers - self._topics[topic].mesh
            if self._stands(name, now) is Standing.GOOD
        )
        count = min(len(outside), max(limits.GOSSIP_D_LAZY, len(outside) // _LAZY_SHARE))
        for name in self._chance.sample(outside, count):
            out = self._to(name)
            room = limits.MAX_GOSSIP_IHAVE_IDS - sum(map(len, out.ihave.values()))
            if room > 0:
                out.ihave[topic] = tuple(self._chance.sample(ids, min(len(ids), room)))

    # Pieces.

    def _graft(self, topic: str, names: Iterable[str]) -> None:
        for name in names:
            self._topics[topic].mesh.add(name)
            out = self._to(name)
            out.prune.pop(topic, None)
            out.graft[topic] = None

    def _prune(self, topic: str, name: str, now: float, seconds: float = limits.GOSSIP_BACKOFF) -> None:
        self._topics[topic].mesh.discard(name)
        self._back_off(topic, name, now + seconds)
        out = self._to(name)
        out.graft.pop(topic, None)
        out.prune[topic] = seconds

    def _back_off(self, topic: str, name: str, until: float) -> None:
        self._backoffs[topic, name] = max(until, self._backoffs.get((topic, name), until))
        self._backoffs.move_to_end((topic, name))
        if len(self._backoffs) > limits.MAX_GOSSIP_BACKOFFS:
            self._backoffs.popitem(last=False)

    def _outbound(self, names: Iterable[str]) -> int:
        return sum(self._peers[name].outbound for name in names)

    def _stands(self, name: str, now: float) -> Standing:
        return self.standings.of(name, now)

    def _to(self, name: str) -> _Out:
        return self._out.setdefault(name, _Out())

    def drain(self) -> list[tuple[str, list[bytes]]]:
        """Return the RPCs that are to be sent now, by peer, in the order in which they are to be sent."""
        said, self._out = self._out, {}
        return [(name, list(out.rpcs(backoffs=self._peers[name].backoffs))) for name, out in said.items()]
