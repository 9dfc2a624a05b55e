"""Opening a network: the host, and the services that live as long as it does.

    open_network
    ├─ host            connections and streams (host)
    ├─ reach           who can reach us
    ├─ nearby          mDNS, when it is enabled
    ├─ dht             joins, refreshes, answers
    └─ announcer       keeps keys announced

Importing this costs nothing; opening imports what the network needs.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from samara.node.network.announcer import Announcer
from samara.node.network.background import open_background
from samara.node.network.caps import Caps
from samara.node.network.dht import Dht, ValueRule
from samara.node.network.mdns import Nearby
from samara.node.network.reachability import Reach
from samara.node.network.watch import MeetingNetwork
from samara.node.supervise import supervise
from samara.protocol import limits
from samara.protocol.addresses import parse_address, parse_peer_address
from samara.protocol.contacts import Contact

__all__ = ["NetworkConfig", "OpenNetwork", "open_network"]


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """How a network is opened.

    Attributes:
        seed: The Ed25519 seed of the node's key, 32 bytes.
        listen: Multiaddrs to listen at; port 0 takes a free one. Empty to only dial.
        bootstrap: Multiaddrs with `/p2p/…` of peers that know the DHT.
        dht: `server` keeps records for others, `client` only asks, `off` does neither.
        mdns: Announce and look on the LAN.
        agent: What others are told that we run.
        connections: Connections at most.
        connections_per_ip: Inbound connections of one IP address at most.
        streams_per_peer: Inbound streams of one peer at most.
        announce_every: Seconds between two announcements of one key.
        nearby_on_loopback: Let mDNS use loopback too; for tests.
        caps: What may pass.
        quiet: Whether mDNS is to listen only, now; it is asked now and then.
    """

    seed: bytes = field(repr=False)
    listen: tuple[str, ...] = ("/ip4/0.0.0.0/tcp/0",)
    bootstrap: tuple[str, ...] = ()
    dht: Literal["server", "client", "off"] = "server"
    mdns: bool = False
    agent: str = "samara"
    connections: int = limits.MAX_CONNECTIONS
    connections_per_ip: int = limits.MAX_CONNECTIONS_PER_IP
    streams_per_peer: int = limits.MAX_STREAMS_PER_PEER
    announce_every: float = 6 * 3600.0
    nearby_on_loopback: bool = False
    caps: Caps = field(default_factory=Caps)
    quiet: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class OpenNetwork:
    """An open network.

    Attributes:
        host: Listens, dials, multiplexes.
        routing: The DHT; None when it is off.
        announcer: Keeps keys announced in it; None when it is off.
        caps: What may pass.
    """

    host: MeetingNetwork
    routing: Dht | None
    announcer: Announcer | None
    caps: Caps


@contextlib.asynccontextmanager
async def open_network(
    config: NetworkConfig, *, rules: Mapping[str, ValueRule] | None = None
) -> AsyncIterator[OpenNetwork]:
    """Open a network, and close it cleanly when the block ends or is cancelled.

    Args:
        config: How.
        rules: What values the DHT may hold, by namespace; none are held without one.

    Raises:
        NetworkError: It cannot listen.
        AddressError: An address in `config` is malformed.
    """
    from samara.node.network.host import open_host

    bootstrap = [Contact(peer, (address,)) for peer, address in map(parse_peer_address, config.bootstrap)]
    async with (
        open_host(
            seed=config.seed,
            listen=[parse_address(text) for text in config.listen],
            agent=config.agent,
            connections=config.connections,
            connections_per_ip=config.connections_per_ip,
            streams_per_peer=config.streams_per_peer,
            caps=config.caps,
        ) as host,
        open_background() as nursery,
    ):
        reach = Reach(host)
        host.report_reachability(reach.reachability)
        nursery.start_soon(supervise, "reach", reach.run)
        if config.mdns:
            nearby = Nearby(host.peer, host.bound, host.nearby, config.nearby_on_loopback, config.quiet)
            nursery.start_soon(supervise, "nearby", nearby.run)
        dht = announcer = None
        if config.dht != "off":
            dht = Dht(host, mode=config.dht, rules=rules or {}, bootstrap=bootstrap, reachable=reach.reachable)
            announcer = Announcer(dht, interval=config.announce_every)
            nursery.start_soon(supervise, "dht", dht.run)
            nursery.start_soon(supervise, "announcer", announcer.run)
            nursery.start_soon(supervise, "addresses", _Follower(reach, announcer).run)
        yield OpenNetwork(host, dht, announcer, config.caps)


@dataclass(frozen=True, slots=True)
class _Follower:
    """Announces everything again when we turn out to be reachable at another address."""

    reach: Reach
    announcer: Announcer

    async def run(self) -> None:
        while True:
            await self.reach.changed.wait()
            self.announcer.announce_again()
