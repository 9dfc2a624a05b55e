"""Peers on the same LAN, by multicast DNS: we say where we listen, and hear where others do. No server, no internet.

Invariants:
1. What is heard is a claim of anybody on the LAN: bounded, parsed, never more than an address to dial. Noise tells
   later who answers there.
2. We announce concrete addresses of this machine, never loopback unless told so, under a random name.
3. Multicast goes out at each interface by itself, so no route for it is needed. When the interfaces change, all begins
   anew.

Source: libp2p mDNS specification, with a service name of our own; RFC 6762, RFC 6763; specs/network.md, "Nearby".
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import trio

from samara.node.network.transport import PeerAddress
from samara.node.network.watch import Board
from samara.protocol.addresses import Address, Scope, parse_peer_address
from samara.protocol.errors import AddressError
from samara.protocol.limits import MAX_ADDRESS, MAX_PEER_ADDRESSES

if TYPE_CHECKING:
    from zeroconf import ServiceInfo, ServiceStateChange, Zeroconf

__all__ = ["Nearby"]

_log = logging.getLogger(__name__)

_SERVICE: Final = "_samara._tcp.local."
_KEY: Final = b"dnsaddr="
_LOOK: Final = 15.0
"""Seconds between two looks whether the interfaces are still the same."""
_ANSWER_MS: Final = 1500


@final
@dataclass(frozen=True, slots=True)
class Nearby:
    """Announces us on the LAN, and posts who else is there.

    Attributes:
        peer: Our own peer id.
        bound: Returns the concrete addresses that sockets are bound to, now.
        board: Where peers are posted.
        loopback: Announce and hear on loopback too: for tests, and for two nodes on one machine without a network.
        quiet: Whether to hear only, and say nothing of us, now.
    """

    peer: str
    bound: Callable[[], tuple[Address, ...]]
    board: Board[PeerAddress]
    loopback: bool = False
    quiet: Callable[[], bool] = lambda: False

    async def run(self) -> None:
        """Announce and listen until cancelled."""
        while True:
            addresses = self._addresses()
            if addresses:
                quiet = self.quiet()
                async with _Responder(self, addresses, quiet).running():
                    await self._until_other(addresses, quiet)
            else:
                await trio.sleep(_LOOK)

    @property
    def narrowest(self) -> Scope:
        """The narrowest scope of addresses that are told and believed."""
        return Scope.LOOPBACK if self.loopback else Scope.PRIVATE

    def _addresses(self) -> tuple[Address, ...]:
        return tuple(address for address in self.bound() if address.scope >= self.narrowest and address.kind == "ip4")

    async def _until_other(self, addresses: tuple[Address, ...], quiet: bool) -> None:
        while True:  # interfaces have no event that all systems know
            await trio.sleep(_LOOK)
            if self._addresses() != addresses or self.quiet() != quiet:
                return


@final
class _Responder:
    """One run of the multicast engine, which has threads of its own."""

    def __init__(self, nearby: Nearby, addresses: tuple[Address, ...], quiet: bool) -> None:
        self._nearby = nearby
        self._quiet = quiet
        self._addresses = addresses
        self._token = trio.lowlevel.current_trio_token()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        engine = await trio.to_thread.run_sync(self._start)
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):  # it says goodbye in a quarter of a second, and gives up after three
                await trio.to_thread.run_sync(engine.close)

    def _start(self) -> Zeroconf:
        from zeroconf import IPVersion, ServiceBrowser, Zeroconf

        hosts = sorted({address.host for address in self._addresses})
        engine = Zeroconf(interfaces=list(hosts), ip_version=IPVersion.V4Only)
        if not self._quiet:
            self._announce(engine, hosts)
        ServiceBrowser(engine, _SERVICE, handlers=[self._heard])
        return engine

    def _announce(self, engine: Zeroconf, hosts: list[str]) -> None:
        from zeroconf import ServiceInfo

        name = secrets.token_hex(16)
        info = ServiceInfo(
            _SERVICE,
            f"{name}.{_SERVICE}",
            port=self._addresses[0].port,
            properties=_text(self._nearby.peer, self._addresses),
            server=f"{name}.local.",
            addresses=[socket.inet_aton(host) for host in hosts],
        )
        # The name is random, so nobody is asked first whether it is taken.
        engine.register_service(info, cooperating_responders=True)

    def _heard(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        """Take an announcement; runs in a thread of the engine."""
        from zeroconf import ServiceInfo, ServiceStateChange

        if state_change is ServiceStateChange.Removed:
            return
        try:
            info = ServiceInfo(service_type, name)
            if info.load_from_cache(zeroconf) or info.request(zeroconf, _ANSWER_MS):
                for found in _peers(info, self._nearby.narrowest):
                    self._post(found)
        except Exception as error:  # the border of the engine's thread: a strange record, or a stop, must not end it
            _log.debug("a record of %r: %s", name[:80], error)

    def _post(self, found: PeerAddress) -> None:
        if found.peer == self._nearby.peer:
            return
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._nearby.board.post, found.peer, found)


def _text(peer: str, addresses: tuple[Address, ...]) -> bytes:
    """Return the TXT record: an entry `dnsaddr=<multiaddr>/p2p/<id>` for each address."""
    entries = (_KEY + f"{address}/p2p/{peer}".encode() for address in addresses[:MAX_PEER_ADDRESSES])
    return b"".join(bytes((len(entry),)) + entry for entry in entries)


def _peers(info: ServiceInfo, narrowest: Scope) -> Iterator[PeerAddress]:
    """Return what a TXT record says of peers, as far as it can be used."""
    found: dict[str, list[str]] = {}
    for entry in _entries(info.text or b""):
        with contextlib.suppress(AddressError, UnicodeDecodeError):
            peer, address = parse_peer_address(entry.decode("ascii"))
            if address.port and address.scope >= narrowest and len(found.get(peer, ())) < MAX_PEER_ADDRESSES:
                found.setdefault(peer, []).append(str(address))
    return (PeerAddress(peer, tuple(addresses)) for peer, addresses in found.items())


def _entries(text: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(text):
        length = text[place]
        entry = text[place + 1 : place + 1 + length]
        if entry.lower().startswith(_KEY) and len(entry) <= MAX_ADDRESS:
            yield entry[len(_KEY) :]
        place += 1 + length
