"""What publishers say now, by gossip: what is followed, what is checked, what is told, and whom to ask for the rest.

    told by a peer ──► look at it ──► the store's ledger ──► forwarded, when it is news
                                  └─► something is missing: GET_LOG to who told it
    news in the store, however it came ──► told

Who may not be named to anybody is not followed, and nothing is told of it (rounds.py). On a metered line nothing is.

Source: specs/gossip.md.
"""

from __future__ import annotations

import itertools
import logging
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import trio

from samara.node.fetch.logs import take_fork
from samara.node.fetch.rounds import blame, may_be_asked_for
from samara.node.network.service import NetworkService, shared_logs
from samara.node.network.transport import PeerAddress
from samara.node.store.ledgers import Ledgers, Taken
from samara.node.store.store import Store
from samara.protocol import limits
from samara.protocol.errors import (
    NetworkError,
    NotFoundError,
    RecordError,
    RemoteProtocolError,
    SignatureError,
    StoreError,
    name_of,
)
from samara.protocol.gossip import Unchecked, Verdict
from samara.protocol.gossip.records import Look, look_at, publisher_of, topic_of
from samara.protocol.ids import PublisherId
from samara.protocol.records import Entry, KeyRevocation, PublisherChain, ReleaseRevocation
from samara.protocol.trust import ForkProof
from samara.protocol.trust.forks import place_of
from samara.protocol.trust.recordfile import Item, Kind, encode_item

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = ["News", "checked", "followed_topics", "worth_telling"]

_log = logging.getLogger(__name__)

_LOOK_AGAIN: Final = 30.0
"""Seconds between two looks at whom we follow; news wait for two until their publisher is followed."""

_WAITING: Final = 64
"""News that wait to be told: who hears a later one asks for those before."""

_ASKS_AT_ONCE: Final = 4
"""Peers that are asked for logs at a time because of what they told."""

_REVOCATIONS: Final = (ReleaseRevocation, KeyRevocation)

_ASKED_KEPT: Final = 1024
"""Questions that are remembered, so that they are not asked again too soon."""


@dataclass(frozen=True, slots=True)
class _ToTell:
    """News that were not told yet.

    Attributes:
        publisher: Whose.
        items: Data of messages.
        since: When they came, on trio's clock; None before anybody looked.
    """

    publisher: PublisherId
    items: tuple[bytes, ...]
    since: float | None = None


@final
class News:
    """Follows publishers by gossip.

    Args:
        node: Ours.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._store: Store = node.store
        self._changed = trio.Event()
        self._to_tell: deque[_ToTell] = deque(maxlen=_WAITING)
        self._waiting: set[tuple[str, PublisherId]] = set()
        self._asked: OrderedDict[tuple[str, PublisherId], float] = OrderedDict()
        self._limiter = trio.CapacityLimiter(_ASKS_AT_ONCE)

    def look(self) -> None:
        """Look whether others are followed now, and whether there is something to tell."""
        self._changed.set()

    async def run(self) -> None:
        """Hear and tell from when the network was started, until cancelled."""
        await self._node.network_started.wait()
        network = await self._node.network()
        token = trio.lowlevel.current_trio_token()

        def spread(taken: Taken) -> None:
            self._to_tell.append(_ToTell(taken.publisher, tuple(worth_telling(self._store.ledgers, taken))))
            token.run_sync_soon(self.look, idempotent=True)

        self._store.ledgers.spread = spread
        try:
            async with trio.open_nursery() as nursery:

                async def check(unchecked: Unchecked) -> Verdict:
                    publisher = publisher_of(unchecked.topic)
                    verdict, lacking = await trio.to_thread.run_sync(
                        checked, self._store.ledgers, publisher, unchecked.data
                    )
                    if lacking and self._may_ask(unchecked.peer, publisher):
                        nursery.start_soon(self._ask, network, unchecked.peer, publisher)
                    return verdict

                async def cast_out(peer: str) -> None:
                    await blame(self._store, network, peer, "it passes on what nobody has signed")

                nursery.start_soon(network.gossip.run, check, cast_out)
                await self._follow(network)
        finally:
            self._store.ledgers.spread = None

    # What is followed and told.

    async def _follow(self, network: NetworkService) -> None:
        while True:
            self._changed = trio.Event()
            topics: dict[str, bool] = {}
            if not self._node.allowance.metered:
                topics = await trio.to_thread.run_sync(followed_topics, self._store)
            network.gossip.follow(topics)
            await self._tell(network)
            with trio.move_on_after(_LOOK_AGAIN):
                await self._changed.wait()

    async def _tell(self, network: NetworkService) -> None:
        """Tell what is new of those that are followed; what else is new waits a while until its publisher is."""
        now = trio.current_time()
        for news in [self._to_tell.popleft() for _ in range(len(self._to_tell))]:
            topic = topic_of(news.publisher)
            if self._node.allowance.metered:
                continue
            if topic in network.gossip.router.topics:
                own = await trio.to_thread.run_sync(self._store.ledgers.is_own, news.publisher)
                for item in news.items:
                    network.gossip.tell(topic, item, everyone=own)
            elif news.since is None or now - news.since < 2 * _LOOK_AGAIN:
                self._to_tell.append(_ToTell(news.publisher, news.items, now if news.since is None else news.since))

    # What is asked for.

    def _may_ask(self, peer: str, publisher: PublisherId) -> bool:
        """Whether a peer is asked for a log now; it counts as asked then."""
        key, now = (peer, publisher), trio.current_time()
        if key in self._waiting or len(self._waiting) >= limits.MAX_GOSSIP_ASKS:
            return False
        if now - self._asked.get(key, float("-inf")) < limits.GOSSIP_ASK_SPACING:
            return False
        self._waiting.add(key)
        self._asked[key] = now
        self._asked.move_to_end(key)
        if len(self._asked) > _ASKED_KEPT:
            self._asked.popitem(last=False)
        return True

    async def _ask(self, network: NetworkService, peer: str, publisher: PublisherId) -> None:
        try:
            async with self._limiter, network.connect(PeerAddress(peer)) as client:
                await self._node.logs.hear(
                    client, [publisher], most_bytes=limits.MAX_GOSSIP_ASK_BYTES, seconds=limits.GOSSIP_ASK_TIME
                )
        except NetworkError as error:
            _log.debug("%s is not asked for more: %s", peer, error.message)
        except RemoteProtocolError as error:
            await blame(self._store, network, peer, error.message)
        finally:
            self._waiting.discard((peer, publisher))


def followed_topics(store: Store) -> dict[str, bool]:
    """Return the topics that are followed, each with whether openly; those who have a name here come first.

    Openly those whose logs the DHT is told of, too (specs/network.md, "Logs").
    """
    named, announced = store.catalog.petnames().keys(), shared_logs(store)
    followed = sorted(may_be_asked_for(store), key=lambda one: (one not in named, one))
    return {topic_of(one): one in announced for one in followed}


def worth_telling(ledgers: Ledgers, taken: Taken) -> Iterator[bytes]:
    """Return the data of messages that tell what is new; who hears them asks for what else is missing.

    Args:
        ledgers: Where it was taken, in the thread that has.
        taken: What was not known.
    """
    items = [(Kind.FORK, fork.proof.encode()) for fork in taken.forks[:1]]
    with ledgers.asking(taken.publisher) as ledger:
        if ledger is not None and taken.roots and ledger.chain.current.version > 1:
            items.append((Kind.ROOT, ledger.chain.envelopes[-1]))
    entries = sorted(taken.new, key=_position)
    # What is not in the log leaves no gap by which it would be missed.
    ahead = [entry for entry in entries[:-1] if not _position(entry) or isinstance(entry.said, _REVOCATIONS)]
    room = limits.MAX_GOSSIP_TOLD - len(items) - 1
    chosen = [*ahead[-room:], *entries[-1:]]
    items += [(Kind.RECORD, entry.envelope) for entry in chosen]
    return (encode_item(kind, data) for kind, data in itertools.islice(items, limits.MAX_GOSSIP_TOLD))


def _position(entry: Entry) -> int:
    place = place_of(entry)
    return 0 if place is None else place.position


def checked(ledgers: Ledgers, publisher: PublisherId, data: bytes) -> tuple[Verdict, bool]:
    """Check what a peer told, and keep it when it is new.

    Args:
        ledgers: Where it is kept.
        publisher: In whose topic it came.
        data: The data of the message.

    Returns:
        What becomes of it, and whether something is missing that the peer must have.

    Source: specs/gossip.md, "Checking".
    """
    look = look_at(publisher, data)
    if look.item is None:
        return Verdict.REJECT, False
    try:
        with ledgers.asking(publisher) as ledger:
            if ledger is None or look.root > len(ledger.chain.roots) + (look.item.kind is Kind.ROOT):
                return Verdict.LATER, True
            verdict = _take(ledgers, look, look.item, ledger.chain)
            return verdict, verdict is Verdict.ACCEPT and bool(ledgers.missing(publisher))
    except SignatureError:
        return Verdict.REJECT if look.of_genesis else Verdict.IGNORE, False
    except (RecordError, StoreError, NotFoundError) as error:
        _log.debug("what a peer told is of no use: %s", error.message)
        return Verdict.IGNORE, False


def _take(ledgers: Ledgers, look: Look, item: Item, known: PublisherChain) -> Verdict:
    if item.kind is Kind.FORK:
        new = take_fork(ledgers, item.publisher, ForkProof.decode(item.data))
        return Verdict.ACCEPT if new else Verdict.IGNORE
    if item.kind is Kind.ROOT:
        return _take_root(ledgers, look.root, item, known)
    taken = ledgers.take((), [item.data], publisher=item.publisher)
    if look.of_genesis and name_of(SignatureError("")) in taken.refused:
        return Verdict.REJECT
    return Verdict.ACCEPT if taken.new else Verdict.IGNORE


def _take_root(ledgers: Ledgers, version: int, item: Item, known: PublisherChain) -> Verdict:
    if version <= 1:
        return Verdict.IGNORE  # the genesis that is known, since it is the publisher's
    chain = known.up_to(version - 1).followed_by(item.data)
    if any(root.id == chain.roots[-1].id for root in known.roots):
        return Verdict.IGNORE
    taken = ledgers.take(chain.envelopes, (), publisher=item.publisher)
    return Verdict.ACCEPT if taken.roots else Verdict.IGNORE
