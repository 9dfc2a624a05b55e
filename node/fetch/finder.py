"""Where the peers of a fetch come from: the link and `--peer` first, then the LAN, the DHT and mates, again and again.

What came by a link with addresses may be unlisted; once a record says so, `stay_private` stops asking anybody else.
Mates are asked for only when a record said that the release is public, and only of those who are in session.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from samara.node.network.service import NetworkService
from samara.node.network.transport import PeerAddress
from samara.protocol.errors import LinkError, NetworkError, ProtocolError
from samara.protocol.ids import ContentId
from samara.protocol.limits import HANDSHAKE_TIMEOUT, MATES_AGAIN, MATES_SPACING

__all__ = ["Finder", "parse_peer"]

_log = logging.getLogger(__name__)

_ASK_AGAIN: Final = 20.0
"""Seconds until the DHT, and those who were named, are asked again: peers come and go in minutes."""

_SETTLE: Final = 0.5
"""Seconds in a session until the first question for mates: its other end knows by then who began at the same time."""

_FIRST_PAUSE: Final = 1.25 * MATES_SPACING
"""Seconds from the first question for mates to the second."""

_LOOK: Final = 0.25
"""Seconds between two looks at who asks us for the content, and at whose turn it is to be asked for mates."""


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


@dataclass(slots=True)
class _Turn:
    """When a peer is asked for mates next, and for how long it is left alone then."""

    at: float
    pause: float = _FIRST_PAUSE


class Finder:
    """Finds peers that may have a release.

    Args:
        network: Ours.
        static: Peers that the user or the link named.
        keys: DHT keys of what is looked for; may grow while it runs.
        present: Peers in session, who may know others; changes while it runs.
        known: Peers of whom no other's word is taken, since it could replace what is right; changes while it runs.
    """

    def __init__(
        self,
        network: NetworkService,
        static: Sequence[PeerAddress],
        keys: Sequence[bytes],
        *,
        present: Collection[str] = (),
        known: Container[str] = (),
    ) -> None:
        self._network = network
        self._static = tuple(static)
        self._keys = list(keys)
        self._present = present
        self._known = known
        self._turns: dict[str, _Turn] = {}
        self._content: ContentId | None = None
        self._has_content = trio.Event()
        self._open = trio.CancelScope()
        self._public = trio.Event()
        self._again = trio.Event()

    def look_for(self, key: bytes) -> None:
        """Look for one more DHT key from now on: what it stands for is public."""
        self._public.set()
        if key not in self._keys:
            self._keys.append(key)
            self._again.set()

    def look_for_mates(self, content: ContentId) -> None:
        """Ask those who are present who else takes part in this content, from now on: it is public."""
        self._content = content
        self._has_content.set()

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
                    open_to_all.start_soon(self._mates, found, open_to_all)

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

    async def _mates(self, found: trio.MemorySendChannel[PeerAddress], nursery: trio.Nursery) -> None:
        """Take those who ask us for the content, and have those who are present asked who else does, each in turn."""
        await self._has_content.wait()
        offered: dict[str, float] = {}
        while self._content is not None:
            now = trio.current_time()
            offered = {peer: at for peer, at in offered.items() if now - at < _ASK_AGAIN}
            askers = [mate for mate in self._network.mates.known(self._content) if mate.peer not in offered]
            offered.update((mate.peer, now) for mate in askers)
            await self._offer(askers, found)
            self._turns = {p: turn for p, turn in self._turns.items() if p in self._present or turn.at > now}
            for peer in self._present:
                turn = self._turns.setdefault(peer, _Turn(now + _SETTLE))
                if turn.at <= now:
                    turn.at, turn.pause = now + turn.pause, min(2 * turn.pause, MATES_AGAIN)
                    nursery.start_soon(self._ask_for_mates, peer, self._content, found)
            await trio.sleep(_LOOK)

    async def _ask_for_mates(self, peer: str, content: ContentId, found: trio.MemorySendChannel[PeerAddress]) -> None:
        try:
            await self._offer(await self._network.mates.ask(peer, content), found)
        except (NetworkError, ProtocolError) as error:
            _log.debug("asked %s for mates: %s", peer, error)

    async def _offer(self, mates: Sequence[PeerAddress], found: trio.MemorySendChannel[PeerAddress]) -> None:
        for mate in mates:
            if mate.peer not in self._known:
                await found.send(mate)
