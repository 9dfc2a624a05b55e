"""Rounds of questions about logs: whom to ask, whose logs, and when (specs/network.md, "Logs").

Whose logs are asked for tells who is followed. So those of which a public release is held, or who have a name here, are
asked for of whoever announces them or is nearby; of those of which only unlisted or private releases are held, nobody
is asked but the peers that the user names. Whose collections the user follows is no secret; and of the many whom these
list, some have their turn in each round, after all others.
"""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, final

import trio

from samara.node.fetch.logs import Heard
from samara.node.network.service import NetworkService, announced_log, shared_logs
from samara.node.network.transport import PeerAddress
from samara.node.store.store import Store
from samara.protocol import limits
from samara.protocol.errors import NetworkError, RemoteProtocolError
from samara.protocol.ids import PublisherId
from samara.protocol.routing import routing_key

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = [
    "LogRounds",
    "Round",
    "blame",
    "followed",
    "listed",
    "listed_to_ask_for",
    "may_be_asked_for",
    "share",
    "to_ask_for",
]

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 4
"""Peers that are asked, and keys that are looked up, at a time."""

_NEARBY: Final = 2.0
"""Seconds in which peers nearby are collected: mDNS answers in one and a half."""

_LOOK: Final = 5.0
"""Seconds between two looks whether the network was started, or the line is dear no more."""


@dataclass(slots=True)
class Round:
    """What a round brought.

    Attributes:
        asked: How many peers answered.
        failed: Peers that could not be asked, and why.
        heard: What came.
    """

    asked: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    heard: Heard = field(default_factory=Heard)


def followed(store: Store) -> frozenset[PublisherId]:
    """Return the publishers with whom this home has to do: a name, a release that is held, collections, delegates."""
    held = {release.publisher for release in store.catalog.releases()}
    return frozenset(
        held | store.catalog.petnames().keys() | store.catalogues.collectors() | store.ledgers.delegating()
    )


def may_be_asked_for(store: Store) -> frozenset[PublisherId]:
    """Return those of them that may be named to anybody: no secret of this home hangs on them, or the user said so."""
    public, secret = _of_releases(store)
    said = store.catalogues.collectors() | store.ledgers.delegating()
    return public | (store.catalog.petnames().keys() - secret) | said


def listed_to_ask_for(
    store: Store, rng: random.Random | None = None, *, of: PublisherId | None = None
) -> list[PublisherId]:
    """Return publishers of what collections list, as many as are asked for in one round.

    Args:
        store: The home's.
        rng: Where chance comes from, so that in another round others have their turn.
        of: Whose collections; None: all that are followed, and this home's own.

    Returns:
        At most `MAX_LISTED_ASKED`, and as many of each collector as of any other who has so many.
    """
    rng = rng or random.Random()  # noqa: S311 - whose turn it is
    lists = listed(store, of=of)
    for one in lists:
        rng.shuffle(one)
    rng.shuffle(lists)
    return share(lists, limits.MAX_LISTED_ASKED)


def listed(store: Store, *, of: PublisherId | None = None) -> list[list[PublisherId]]:
    """Return of each collector the publishers of what collections list, but those with whom this home has to do.

    Args:
        store: The home's.
        of: Whose collections; None: all that are followed, and this home's own.
    """
    public, secret = _of_releases(store)
    others = may_be_asked_for(store) | (secret - public)
    return [[one for one in publishers if one not in others] for publishers in store.catalogues.publishers(of)]


def share(lists: Iterable[Sequence[PublisherId]], most: int) -> list[PublisherId]:
    """Return at most `most` of some lists, each once: the first of each list, then the second of each, and so on."""
    turns = itertools.chain.from_iterable(itertools.zip_longest(*lists))
    return list(itertools.islice(dict.fromkeys(one for one in turns if one is not None), most))


def _of_releases(store: Store) -> tuple[frozenset[PublisherId], frozenset[PublisherId]]:
    """Return the publishers of public releases that are held, and those of others."""
    public: set[PublisherId] = set()
    secret: set[PublisherId] = set()
    for release in store.catalog.releases():
        (public if release.visibility == "public" else secret).add(release.publisher)
    return frozenset(public), frozenset(secret)


def to_ask_for(store: Store) -> list[PublisherId]:
    """Return all that are asked for in one round: those with whom this home has to do come first."""
    return [*may_be_asked_for(store), *listed_to_ask_for(store)]


async def blame(store: Store, network: NetworkService, peer: str, why: str) -> None:
    """Count it against a peer that it broke the rules, and disconnect it; ban it when it does so again and again."""
    _log.warning("%s broke the rules: %s", peer, why)
    if await trio.to_thread.run_sync(store.catalog.count_wrong, peer, why) >= limits.BAN_AFTER:
        network.host.set_banned(store.catalog.banned())
    await network.host.disconnect(peer)


@final
class LogRounds:
    """Asks peers for logs.

    Args:
        node: Ours.
    """

    def __init__(self, node: Node) -> None:
        self._node = node

    async def run(self) -> None:
        """Ask now and then, as long as something else needs the network and the line is not dear."""
        while True:
            # Nobody tells when either changes.
            while (network := self._node.network_if_started) is None or self._node.allowance.metered:  # noqa: ASYNC110
                await trio.sleep(_LOOK)
            await trio.sleep(limits.LOGS_FIRST)
            while not self._node.allowance.metered:
                publishers = await trio.to_thread.run_sync(to_ask_for, self._node.store)
                if publishers:
                    found = await self.ask(network, publishers)
                    _log.info("asked %d peers for logs: %d new records", found.asked, found.heard.records)
                await trio.sleep(limits.LOGS_EVERY * random.uniform(0.9, 1.1))  # noqa: S311 - jitter

    async def ask(
        self, network: NetworkService, publishers: Collection[PublisherId], named: Sequence[PeerAddress] = ()
    ) -> Round:
        """Ask once.

        Args:
            network: Ours.
            publishers: Whose logs.
            named: Whom to ask; without, those who announce the logs, and who is nearby.
        """
        found = Round()
        whom = {peer.peer: (peer, list(publishers)) for peer in named} or await self._find(network, publishers, found)
        limiter = trio.CapacityLimiter(_AT_ONCE)
        banned = await trio.to_thread.run_sync(self._node.store.catalog.banned)
        async with trio.open_nursery() as nursery:
            for peer, theirs in list(whom.values())[: limits.MAX_LOGS_PEERS]:
                if peer.peer != network.host.peer and peer.peer not in banned:
                    nursery.start_soon(self._ask_one, network, peer, theirs, found, limiter)
        return found

    async def _ask_one(
        self,
        network: NetworkService,
        peer: PeerAddress,
        publishers: Iterable[PublisherId],
        found: Round,
        limiter: trio.CapacityLimiter,
    ) -> None:
        async with limiter:
            try:
                async with network.connect(peer) as client:
                    found.heard.add(await self._node.logs.hear(client, publishers))
                    await client.opened()  # who said no HELLO was not asked, and why is worth telling
                    found.asked += 1
            except NetworkError as error:
                found.failed[peer.peer] = error.message
            except RemoteProtocolError as error:
                found.failed[peer.peer] = error.message
                await blame(self._node.store, network, peer.peer, error.message)

    async def _find(
        self, network: NetworkService, publishers: Collection[PublisherId], found: Round
    ) -> dict[str, tuple[PeerAddress, list[PublisherId]]]:
        """Return whom to ask, and for whose logs: who is nearby for all, who announces some for these.

        What the DHT has itself is heard on the way, and what it should have, it gets.
        """
        store = self._node.store
        whom: dict[str, tuple[PeerAddress, list[PublisherId]]] = {}
        with trio.move_on_after(_NEARBY):
            async for peer in network.host.found_nearby():
                whom[peer.peer] = (peer, list(publishers))
        nearby = frozenset(whom)
        limiter = trio.CapacityLimiter(_AT_ONCE)
        shared = frozenset[PublisherId]()
        if not self._node.allowance.metered:
            shared = await trio.to_thread.run_sync(shared_logs, store)

        async def look_up(publisher: PublisherId) -> None:
            async with limiter:
                if network.routing is None:
                    return
                ours = await trio.to_thread.run_sync(announced_log, store, publisher) if publisher in shared else None
                found.heard.add(await self._node.logs.look_up(network.routing, publisher, ours=ours))
                try:
                    providers = await network.routing.find_providers(routing_key("log", publisher))
                except NetworkError:
                    return  # nobody to ask yet
                for peer in providers:
                    if peer.peer not in nearby:
                        whom.setdefault(peer.peer, (peer, []))[1].append(publisher)

        async with trio.open_nursery() as nursery:
            for publisher in list(publishers)[: limits.MAX_LOGS_OF_A_PEER]:
                nursery.start_soon(look_up, publisher)
        return whom
