"""Where the peers of a fetch come from: the link and `--peer` first, then the LAN, then the DHT, again and again.

What came by a link with addresses may be unlisted; once a record says so, `stay_private` stops asking anybody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from samara.node.network.service import NetworkService
from samara.node.network.transport import PeerAddress
from samara.protocol.errors import LinkError, NetworkError
from samara.protocol.limits import HANDSHAKE_TIMEOUT

__all__ = ["Finder", "parse_peer"]

_ASK_AGAIN: Final = 20.0
"""Seconds until the DHT, and those who were named, are asked again: peers come and go in minutes."""


def parse_peer(multiaddr: str) -> PeerAddress:
    """Split a multiaddr with `/p2p/…` into who and where.

    Raises:
        LinkError: It names no peer.
    """
    address, mark, peer = multiaddr.rpartition("/p2p/")
    if not mark or not peer or "/" in peer:
        raise LinkError(
            f"{multiaddr!r} names no peer", hint="It ends in /p2p/ and the peer's id, as `samara seed` prints it."
        )
    return PeerAddress(peer, (address,) if address else ())


_HEAD_START: Final = HANDSHAKE_TIMEOUT
"""Seconds in which nobody but the named peers is asked; as soon as the release is known to be public, it ends."""


class Finder:
    """Finds peers that may have a release.

    Args:
        network: Ours.
        static: Peers that the user or the link named.
        keys: DHT keys of what is looked for; may grow while it runs.
    """

    def __init__(self, network: NetworkService, static: Sequence[PeerAddress], keys: Sequence[bytes]) -> None:
        self._network = network
        self._static = tuple(static)
        self._keys = list(keys)
        self._open = trio.CancelScope()
        self._public = trio.Event()
        self._again = trio.Event()

    def look_for(self, key: bytes) -> None:
        """Look for one more DHT key from now on: what it stands for is public."""
        self._public.set()
        if key not in self._keys:
            self._keys.append(key)
            self._again.set()

    def stay_private(self) -> None:
        """Ask nobody but the peers that were named."""
        self._open.cancel()

    async def run(self, found: trio.MemorySendChannel[PeerAddress]) -> None:
        """Send peers as they are found, also the same again: the receiver knows whom it has."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._named, found)
            with self._open:
                # Who is asked for an unlisted release learns of it: those who were named come first.
                if self._static:
                    with trio.move_on_after(_HEAD_START):
                        await self._public.wait()
                async with trio.open_nursery() as open_to_all:
                    open_to_all.start_soon(self._nearby, found)
                    open_to_all.start_soon(self._dht, found)

    async def _named(self, found: trio.MemorySendChannel[PeerAddress]) -> None:
        while self._static:
            for peer in self._static:
                await found.send(peer)
            await trio.sleep(_ASK_AGAIN)  # who was let go may be back

    async def _nearby(self, found: trio.MemorySendChannel[PeerAddress]) -> None:
        async for peer in self._network.host.found_nearby():
            await found.send(peer)

    async def _dht(self, found: trio.MemorySendChannel[PeerAddress]) -> None:
        routing = self._network.routing
        while routing is not None:
            for key in list(self._keys):
                try:
                    for peer in await routing.find_providers(key):
                        await found.send(peer)
                except NetworkError:
                    pass  # nobody to ask yet
            self._again = trio.Event()
            with trio.move_on_after(_ASK_AGAIN):
                await self._again.wait()
