"""Peers of one content tell each other of others, so that a swarm grows together without a tracker or the DHT.

Who takes part is noted here by those who see it: the exchange's server whom it gave chunks, a fetch who gave it some.
What is told of them is looked up when it is told: only those who are connected, and where they are now.

Invariants:
1. Told is only of what is shown to the asker, and a peer only at the IP that it is connected from (protocol/mates.py).
2. What is remembered is bounded; an answer looks at those of its content only, and waits for one look at the store.

Source: specs/network.md, "Mates".
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias, final

import trio

from samara.node.network.messages import MessageStream
from samara.node.network.transport import PeerAddress, Stream
from samara.node.network.watch import MeetingNetwork, MetPeer
from samara.protocol.addresses import Address, Scope
from samara.protocol.contacts import Contact
from samara.protocol.errors import NetworkError
from samara.protocol.ids import ContentId
from samara.protocol.limits import (
    MATES_AGE,
    MATES_SPACING,
    MAX_MATES,
    MAX_MATES_KEPT,
    MAX_MATES_MESSAGE,
    UPGRADE_TIMEOUT,
)
from samara.protocol.mates import (
    MATES,
    decode_mates,
    decode_mates_request,
    encode_mates,
    encode_mates_request,
    to_believe,
    to_tell,
)

__all__ = ["Mates", "Shown"]

Shown: TypeAlias = Callable[[ContentId, str], bool]
"""Whether a content is public here and passed on to a peer; it may block."""

_LOOKS: Final = 1
"""Looks at the store at a time: who asks much waits, and takes no thread from others."""


@final
class Mates:
    """Asks and serves `/samara/mates/1`.

    Args:
        network: Ours; it must not serve the protocol already.
        shown: What may be spoken of, and to whom.
    """

    def __init__(self, network: MeetingNetwork, shown: Shown) -> None:
        self._network = network
        self._shown = shown
        self._seen: OrderedDict[ContentId, OrderedDict[str, float]] = OrderedDict()
        self._count = 0
        self._answered: OrderedDict[tuple[ContentId, str], float] = OrderedDict()
        self._looks = trio.CapacityLimiter(_LOOKS)
        network.serve(MATES, self._serve)

    def note(self, content: ContentId, peer: str) -> None:
        """Take note that a peer takes part in a content."""
        mates = self._seen.setdefault(content, OrderedDict())
        self._count += peer not in mates
        mates[peer] = trio.current_time()
        mates.move_to_end(peer)
        self._seen.move_to_end(content)
        while self._count > MAX_MATES_KEPT:
            stalest = next(iter(self._seen))
            self._forget(stalest, next(iter(self._seen[stalest])))

    def known(self, content: ContentId) -> list[PeerAddress]:
        """Return who takes part in a content and is connected, with where else it may be found."""
        return [
            PeerAddress(met.peer, tuple(map(str, _where(met, Scope.LOOPBACK)))) for met in self._taking_part(content)
        ]

    async def ask(self, peer: str, content: ContentId) -> list[PeerAddress]:
        """Ask a connected peer who else takes part in a content, which must be public; where they are is a claim.

        Raises:
            NetworkError: It is not connected, or does not tell.
            RemoteProtocolError: Its answer is malformed.
        """
        with trio.move_on_after(UPGRADE_TIMEOUT):
            # Without an address: a connection that stands is used, none is made.
            stream = await self._network.open_stream(PeerAddress(peer), MATES, timeout=UPGRADE_TIMEOUT)
            try:
                messages = MessageStream(stream, MAX_MATES_MESSAGE)
                await messages.send(encode_mates_request(content))
                told = decode_mates(await messages.receive() or b"")
            except BaseException:
                await stream.reset()
                raise
            await stream.aclose()
            return self._believed(peer, told)
        raise NetworkError(f"{peer} did not tell of its mates within {UPGRADE_TIMEOUT:.0f} s")

    def _believed(self, peer: str, told: tuple[Contact, ...]) -> list[PeerAddress]:
        teller = self._network.whereabouts(peer)
        if teller is None:
            return []
        return [
            PeerAddress(mate.peer, tuple(map(str, usable)))
            for mate in told
            if mate.peer not in {peer, self._network.peer}
            and (usable := to_believe(mate.addresses, teller.remote.scope))
        ]

    # The other side.

    async def _serve(self, stream: Stream) -> None:
        messages = MessageStream(stream, MAX_MATES_MESSAGE)
        data = None
        with trio.move_on_after(UPGRADE_TIMEOUT):
            data = await messages.receive()
        if data is not None:
            await messages.send(encode_mates(await self._answer(decode_mates_request(data), stream.peer)))

    async def _answer(self, content: ContentId, asker: str) -> list[Contact]:
        if content not in self._seen or not self._takes_its_turn(content, asker):
            return []
        if not await trio.to_thread.run_sync(self._shown, content, asker, limiter=self._looks):
            return []
        there = self._network.whereabouts(asker)
        if there is None:
            return []
        mates = [
            Contact(met.peer, where)
            for met in self._taking_part(content)
            if met.peer != asker and (where := _where(met, there.remote.scope))
        ]
        return random.sample(mates, min(len(mates), MAX_MATES))

    def _takes_its_turn(self, content: ContentId, asker: str) -> bool:
        now = trio.current_time()
        if now - self._answered.get((content, asker), -MATES_SPACING) < MATES_SPACING:
            return False
        self._answered[content, asker] = now
        self._answered.move_to_end((content, asker))
        if len(self._answered) > MAX_MATES_KEPT:
            self._answered.popitem(last=False)
        return True

    def _taking_part(self, content: ContentId) -> list[MetPeer]:
        """Return who takes part and is connected; the others are forgotten, so no more than are connected stay."""
        oldest = trio.current_time() - MATES_AGE
        found = []
        for peer, seen in list(self._seen.get(content, {}).items()):
            met = self._network.whereabouts(peer)
            if met is None or seen < oldest:
                self._forget(content, peer)
            else:
                found.append(met)
        return found

    def _forget(self, content: ContentId, peer: str) -> None:
        del self._seen[content][peer]
        self._count -= 1
        if not self._seen[content]:
            del self._seen[content]


def _where(met: MetPeer, asker: Scope) -> tuple[Address, ...]:
    return to_tell(met.identify.addresses, met.remote, asker, dialled=not met.inbound)
