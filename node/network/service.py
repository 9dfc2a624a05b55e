"""The network of a node: its host, the exchange on it, discovery, announcements, and the caps that all sessions share."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator

import trio

from samara import __version__
from samara.node.network.caps import TokenBucket
from samara.node.network.exchange.client import ExchangeClient
from samara.node.network.exchange.server import Service, serve_stream
from samara.node.network.transport import Network, PeerAddress, Reachability, Routing, Stream
from samara.node.settings import NetworkSettings
from samara.node.store.home import Home
from samara.node.store.store import Store
from samara.protocol.errors import RemoteProtocolError
from samara.protocol.exchange.messages import PROTOCOL

__all__ = ["NetworkService", "run_network"]

_log = logging.getLogger(__name__)
_AGENT = f"samara/{__version__}"


class NetworkService:
    """What the rest of a node does with its network."""

    def __init__(self, host: Network, routing: Routing | None, settings: NetworkSettings, store: Store) -> None:
        self.host = host
        self.routing = routing
        self._store = store
        self.upload = TokenBucket(settings.upload)
        self.download = TokenBucket(settings.download)
        self._service = Service(upload=self.upload, agent=_AGENT)
        self.changed = trio.Event()
        self.sent = 0
        self.received = 0

    def library_changed(self) -> None:
        """Announce what is shared now."""
        self.changed.set()
        self.changed = trio.Event()

    def link_addresses(self) -> tuple[str, ...]:
        """Multiaddrs with `/p2p/…` to put into a link."""
        return tuple(f"{address}/p2p/{self.host.peer}" for address in self.host.listening())

    @contextlib.asynccontextmanager
    async def connect(self, peer: PeerAddress) -> AsyncIterator[ExchangeClient]:
        """Open a session of the exchange to a peer."""
        async with ExchangeClient.connect(self.host, peer, agent=_AGENT, download=self.download) as client:
            yield client

    async def probe_reachability(self) -> Reachability:
        """Return who can reach this node."""
        return self.host.reachability()

    async def serve(self, stream: Stream) -> None:
        """Serve one inbound stream of the exchange."""
        try:
            await serve_stream(stream, self._store.shelf, self._service)
        except RemoteProtocolError as error:
            _log.warning("%s broke the rules: %s", stream.peer, error.message)


async def run_network(
    home: Home,
    settings: NetworkSettings,
    store: Store,
    *,
    task_status: trio.TaskStatus[NetworkService] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the network until cancelled."""
    from samara.node.network.plain_host import open_plain

    async with open_plain(home.key("node"), settings.listen) as host:
        service = NetworkService(host, None, settings, store)
        host.serve(PROTOCOL, service.serve)
        task_status.started(service)
        await trio.sleep_forever()
