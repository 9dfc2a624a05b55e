"""The network of a node: its host, the exchange on it, and what keeps the library findable.

    run_network
    ├─ open_network         host, mDNS, DHT, reachability (node/network/opening.py)
    ├─ exchange, mates      a task a stream, on the host
    ├─ gossip               streams on the host; what is told and heard on them, others say (node/fetch/news.py)
    └─ publish              follows the library: which keys are announced, which values are kept in the DHT

What is announced: the contents and releases that are public and that this node passes on, the heads of its own names,
and its own log. Never a chunk, and nothing that is unlisted or private.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

import trio

from samara import __version__
from samara.node.network.allowance import Allowance
from samara.node.network.dht import ValueRule
from samara.node.network.exchange.client import ExchangeClient
from samara.node.network.exchange.server import Service, serve_stream
from samara.node.network.exchange.slots import Credit
from samara.node.network.exchange.worth import Encode
from samara.node.network.gossip import Gossip
from samara.node.network.mates import Mates
from samara.node.network.opening import NetworkConfig, OpenNetwork, open_network
from samara.node.network.transport import Network, PeerAddress, Reachability, Routing, Stream
from samara.node.store.home import Home
from samara.node.store.store import Store
from samara.node.supervise import supervise
from samara.protocol.errors import NetworkError, RemoteProtocolError, StatementError, VerificationError
from samara.protocol.exchange.frames import Allocate
from samara.protocol.exchange.messages import PROTOCOL
from samara.protocol.gossip.records import is_topic
from samara.protocol.ids import PublisherId
from samara.protocol.limits import HANDSHAKE_TIMEOUT, PROGRESS_WINDOW
from samara.protocol.records import VerifiedHead
from samara.protocol.records.announced import decode_announced_head, encode_announced_head, newest_announced
from samara.protocol.routing import head_key, log_key, routing_key
from samara.protocol.trust.announced import best_announced_log, decode_announced_log, encode_announced_log

__all__ = ["NetworkService", "announced_log", "run_network", "shared_logs"]

_log = logging.getLogger(__name__)

_AGENT: Final = f"samara/{__version__}"
_PUT_AGAIN: Final = 6 * 3600.0
"""Seconds between two puts of the same value: a fourth of what others keep it for."""
_LOOK_AGAIN: Final = 30.0
"""Seconds between two looks at what is shared: a file that turns out to be edited when it is read tells nobody."""
_SETTLE: Final = 3.0
"""Seconds in which a freshly opened network hears from the LAN and is dialled back."""


class NetworkService:
    """What the rest of a node does with its network.

    Attributes:
        mates: Who takes part in the contents that go through here.
        gossip: Tells peers what publishers say, and hears it.
        credit: Who gave us how much lately.
        upload: The cap on what goes up.
        download: The cap on what comes down.
    """

    def __init__(self, network: OpenNetwork, allowance: Allowance, store: Store) -> None:
        self._network = network
        self._allowance = allowance
        self._store = store
        self._changed = trio.Event()
        self.upload = network.caps.upload
        self.download = network.caps.download
        self.mates = Mates(network.host, store.shelf.shows)
        self.gossip = Gossip(network.host, is_topic)
        self.credit = Credit()
        self._service = Service(
            upload=self.upload,
            giving=allowance.giving,
            agent=_AGENT,
            gave=self.mates.note,
            credit=self.credit,
            encode=Encode(allowance.settings.encode),
        )

    @property
    def host(self) -> Network:
        """Listens, dials, multiplexes."""
        return self._network.host

    @property
    def routing(self) -> Routing | None:
        """The DHT; None when it is off."""
        return self._network.routing

    def library_changed(self) -> None:
        """Follow the library: it shares something else now."""
        self._changed.set()

    def link_addresses(self) -> tuple[str, ...]:
        """Multiaddrs with `/p2p/…` to put into a link: where others reached us, else where we listen."""
        addresses = self.host.reachability().reachable or self.host.listening()
        farther = [address for address in addresses if not address.startswith(("/ip4/127.", "/ip6/::1/"))]
        return tuple(f"{address}/p2p/{self.host.peer}" for address in farther or addresses)

    @contextlib.asynccontextmanager
    async def connect(
        self,
        peer: PeerAddress,
        *,
        patience: float = PROGRESS_WINDOW,
        timeout: float = HANDSHAKE_TIMEOUT,
        allocate: Allocate = bytearray,
    ) -> AsyncIterator[ExchangeClient]:
        """Open a session of the exchange to a peer.

        Args:
            peer: Whom to ask.
            patience: Seconds that it may move nothing while it owes an answer.
            timeout: Seconds for connecting, and again for HELLO.
            allocate: Makes the buffers of payloads.

        Raises:
            NetworkError: It cannot be reached.
        """
        async with ExchangeClient.connect(
            self.host, peer, agent=_AGENT, patience=patience, timeout=timeout, allocate=allocate
        ) as client:
            yield client

    async def probe_reachability(self) -> Reachability:
        """Return who can reach this node, after a while in which others could be asked."""
        with trio.move_on_after(_SETTLE):
            while not self.host.reachability().reachable:  # noqa: ASYNC110 - the host tells nobody of a new one
                await trio.sleep(0.1)
        return self.host.reachability()

    async def serve(self, stream: Stream) -> None:
        """Serve one inbound stream of the exchange; a peer that breaks the rules is remembered."""
        try:
            await serve_stream(stream, self._store.shelf, self._service)
        except RemoteProtocolError as error:
            _log.warning("%s broke the rules: %s", stream.peer, error.message)
            await trio.to_thread.run_sync(self._store.catalog.count_wrong, stream.peer, error.message)
            self.host.set_banned(self._store.catalog.banned())
            raise

    async def publish(self) -> None:
        """Keep what is shared announced, and our own heads and log in the DHT, until cancelled."""
        put: dict[str, tuple[bytes, float]] = {}
        while True:
            self._changed = trio.Event()
            keys, values = await trio.to_thread.run_sync(_shared, self._store)
            if self._allowance.metered:
                keys, values = set(), {}
            if self._network.announcer is not None:
                self._network.announcer.set_keys(keys)
            for key, value in values.items():
                await self._put(key, value, put)
            with trio.move_on_after(_LOOK_AGAIN):
                await self._changed.wait()

    async def _put(self, key: str, value: bytes, put: dict[str, tuple[bytes, float]]) -> None:
        """Put a value unless it was put lately; one that nobody took is tried again at the next look."""
        before = put.get(key)
        now = trio.current_time()
        if self.routing is None or (before and before[0] == value and now - before[1] < _PUT_AGAIN):
            return
        try:
            await self.routing.put_value(key, value)
        except (NetworkError, VerificationError) as error:
            _log.info("%s could not be put into the DHT: %s", key[:16], error.message)
        else:
            put[key] = (value, now)


def shared_logs(store: Store) -> frozenset[PublisherId]:
    """Return the publishers whose logs are announced.

    Those of whom a public release is passed on, or was; collectors; this home's own that has delegates; and those that
    were witnessed here, with our own, since our signatures tell everybody of these.
    """
    released = frozenset(  # also of what was taken back: that must get about
        held.publisher
        for held in store.catalog.releases()
        if held.visibility == "public" and (held.redistribute or held.own)
    )
    collectors = store.catalogues.collectors() & store.ledgers.known().keys()
    witnessed = store.witnessed.publishers()
    ours = frozenset(filter(store.ledgers.is_own, store.ledgers.named())) if witnessed else frozenset[PublisherId]()
    return released | collectors | witnessed | ours | store.ledgers.delegating()


def announced_log(store: Store, publisher: PublisherId) -> bytes | None:
    """Return the DHT's value of a log, as it is known here; None when there is nothing to tell."""
    with store.ledgers.asking(publisher) as ledger:
        return None if ledger is None else encode_announced_log(ledger)


def _shared(store: Store) -> tuple[set[bytes], dict[str, bytes]]:
    """Return the DHT keys of what is shared, and the values of our own heads and log by key."""
    logs = shared_logs(store)
    keys = {routing_key("log", publisher) for publisher in logs}
    values = {
        log_key(own): value
        for own in filter(store.ledgers.is_own, logs)
        if (value := announced_log(store, own)) is not None
    }
    packed = store.deltas.targets()
    for held in store.catalog.releases():
        online = any(place.state == "online" for place in store.contents.places(held.content)) or held.content in packed
        if not store.serves(held) or held.visibility != "public" or not online:
            continue
        keys |= {routing_key("release", held.id), routing_key("content", held.content)}
        if not held.own:
            continue
        head = store.ledgers.head(held.publisher, held.name)
        if head is not None and head.head.release == held.id:  # it may name one that was removed
            values[head_key(held.publisher, held.name)] = _announced(store, head)
    return keys, values


def _announced(store: Store, head: VerifiedHead) -> bytes:
    """The value of a head in the DHT, with all that its signatures rest on."""
    said = head.head
    with store.ledgers.asking(said.publisher) as ledger:
        given = None if ledger is None or said.delegation is None else ledger.delegations.get(said.delegation)
    delegation = None if given is None else given.envelope
    return encode_announced_head(store.catalog.roots(said.publisher), head.envelope, delegation)


def _validate_head(store: Store, key: str, value: bytes) -> None:
    """Check a head that is announced, also against what is known here of its delegation.

    Raises:
        VerificationError: It is wrong, or by a delegate who may not sign any more.
    """
    if store.ledgers.refutes(decode_announced_head(key, value)):
        raise StatementError("the head is by a delegate who may not sign any more")


def _validate_log(key: str, value: bytes) -> None:
    decode_announced_log(key, value)


async def run_network(
    home: Home,
    allowance: Allowance,
    store: Store,
    *,
    task_status: trio.TaskStatus[NetworkService] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the network of a node until cancelled.

    Raises:
        NetworkError: It cannot listen.
    """
    settings = allowance.settings
    config = NetworkConfig(
        seed=home.key("node"),
        listen=settings.listen,
        bootstrap=settings.bootstrap,
        dht="client" if settings.metered and settings.dht == "server" else settings.dht,
        mdns=settings.mdns,
        agent=_AGENT,
        connections=settings.connections,
        caps=allowance.caps,
        quiet=lambda: allowance.metered,
    )
    rules = {
        "head": ValueRule(partial(_validate_head, store), newest_announced),
        "log": ValueRule(_validate_log, best_announced_log),
    }
    async with open_network(config, rules=rules) as network, trio.open_nursery() as nursery:
        service = NetworkService(network, allowance, store)
        network.host.set_banned(store.catalog.banned())
        network.host.serve(PROTOCOL, service.serve)
        nursery.start_soon(supervise, "publish", service.publish)
        task_status.started(service)
