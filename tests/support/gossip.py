"""Nodes that follow a publisher, and a peer that speaks gossipsub by hand: it says what it is told to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
from support.contents import Source, give_home, take_all
from support.hosts import HERE, until
from support.nodes import address, published, up
from support.publishers import Publisher
from support.speaking import publisher_of, tell

from samara.node.app import Node
from samara.node.fetch.finder import parse_peer
from samara.node.network.gossip import Gossip
from samara.node.network.host import Host, open_host
from samara.node.network.messages import MessageStream
from samara.node.network.transport import PeerAddress, Stream
from samara.node.store.store import Store
from samara.protocol.errors import NetworkError
from samara.protocol.gossip import MESHSUB, Message, Rpc, decode_rpc, encode_rpc
from samara.protocol.gossip.records import topic_of
from samara.protocol.ids import PublisherId, ReleaseId
from samara.protocol.trust.recordfile import Kind, encode_item
from samara.protocol.wire import varint

__all__ = [
    "Talker",
    "World",
    "following",
    "gossip_of",
    "is_revoked",
    "make_world",
    "meet",
    "newest",
    "record",
    "talking",
]

_MOST = 64 << 20


@dataclass(frozen=True)
class World:
    """A publisher's home that nobody holds now, with one release, and what its publisher has said so far."""

    home: Path
    made: Source
    publisher: Publisher

    @property
    def id(self) -> PublisherId:
        return self.publisher.chain.publisher

    @property
    def topic(self) -> str:
        return topic_of(self.id)


class Talker:
    """Who speaks by hand.

    Attributes:
        host: Its host.
        heard: What it heard.
        reads: Whether it reads what it is told.
    """

    def __init__(self, host: Host, node: Node) -> None:
        self.host = host
        self.heard: list[Rpc] = []
        self.reads = True
        self._node = node
        self._stream: Stream | None = None
        for protocol in MESHSUB:
            host.serve(protocol, self._hear)

    @property
    def peer(self) -> str:
        return self.host.peer

    @property
    def told(self) -> list[Message]:
        """All messages that it heard."""
        return [message for rpc in self.heard for message in rpc.messages]

    async def _hear(self, stream: Stream) -> None:
        if not self.reads:
            await trio.sleep_forever()
        messages = MessageStream(stream, _MOST)
        while (data := await messages.receive()) is not None:
            self.heard.append(decode_rpc(data))

    async def open(self) -> Stream:
        """Open a new stream to the node; it counts from now on."""
        self._stream = await self.host.open_stream(parse_peer(address(self._node)), MESHSUB[0], timeout=10)
        return self._stream

    async def say(self, *rpcs: Rpc) -> None:
        """Say something, each in an RPC of its own."""
        await self.say_raw(b"".join(varint(len(data)) + data for data in map(encode_rpc, rpcs)))

    async def say_raw(self, data: bytes) -> None:
        stream = self._stream or await self.open()
        await stream.send_all(data)

    async def tell(self, topic: str, *datas: bytes) -> None:
        """Tell messages."""
        await self.say(*(Rpc(messages=(Message(topic, data),)) for data in datas))

    async def until_refused(self, say: Callable[[], Rpc]) -> int:
        """Say something again and again until the stream is reset; return how often."""
        times = 0
        with trio.fail_after(30), contextlib.suppress(NetworkError):
            while True:
                await self.say(say())
                times += 1
        return times


@contextlib.asynccontextmanager
async def talking(node: Node, *topics: str, reads: bool = True) -> AsyncIterator[Talker]:
    """Connect to a node, and follow some topics."""
    async with open_host(seed=os.urandom(32), listen=[HERE]) as mine:
        talker = Talker(mine, node)
        talker.reads = reads
        await talker.say(Rpc(subscriptions=dict.fromkeys(topics, True)))
        router = gossip_of(node).router
        await until(lambda: talker.peer in router.peers and all(talker.peer in router.followers(t) for t in topics))
        yield talker


def make_world(folder: Path) -> World:
    """Publish a release from a home below a folder, have two others, `b` and `c`, hold it, and let all of them go."""
    home = folder / "publisher"
    with published(home, folder / "files", {"model.bin": 20_000}) as made:
        pass
    with give_home(home) as store:
        for name in ("b", "c"):
            with give_home(folder / name) as other:
                take_all(made, store, other)
        return World(home, made, publisher_of(store))


def gossip_of(node: Node) -> Gossip:
    """The gossip of a node whose network is open."""
    service = node.network_if_started
    assert service is not None
    return service.gossip


def record(envelope: bytes) -> bytes:
    """Return the data of a message that has a record."""
    return encode_item(Kind.RECORD, envelope)


async def meet(one: Node, other: Node, *topics: str) -> None:
    """Connect two nodes, and wait until each knows that the other follows some topics."""
    service, theirs = await one.network(), await other.network()
    where = parse_peer(address(other))
    stream = await service.host.open_stream(PeerAddress(where.peer, where.addresses), "/ipfs/ping/1.0.0", timeout=10)
    await stream.aclose()

    def meshed() -> bool:
        ends = ((service, theirs.host.peer), (theirs, service.host.peer))
        return all(peer in mine.gossip.router.mesh(topic) for mine, peer in ends for topic in topics)

    await until(meshed, 15)


def is_revoked(node: Node, publisher: PublisherId, release: ReleaseId) -> bool:
    with node.store.ledgers.asking(publisher) as ledger:
        return ledger is not None and ledger.revocation(release) is not None


def newest(store: Store, publisher: PublisherId) -> bytes | None:
    with store.ledgers.asking(publisher) as ledger:
        return None if ledger is None or ledger.newest is None else ledger.newest.id


@contextlib.asynccontextmanager
async def following(world: World, home: Path, **network: Any) -> AsyncIterator[Node]:
    """A node that heard all that the publisher said so far, and holds its release or has a name for it."""
    async with up(home, **network) as node:
        tell(node.store, world.publisher)
        if not node.store.catalog.releases():
            node.store.catalog.set_petname(world.id, "anna")
        node.news.look()
        if not network.get("metered"):
            await until(lambda: world.topic in gossip_of(node).router.topics)
        yield node
