"""The answering side of the DHT: one stream at a time of a peer, a limited number in all, each message judged.

Invariants:
1. A provider record is taken from the provider itself only, and only with addresses that mean something to others.
2. A value is kept only when the rule of its namespace accepts it, and it is not worse than the one that is held.
3. A silent stream is closed: nobody can hold the places of others.

Source: libp2p kad-dht specification; specs/network.md, "DHT".
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Final, final

import trio

from samara.node.network.dht_rules import Rules
from samara.node.network.messages import MessageStream
from samara.node.network.transport import Network, Stream
from samara.protocol.addresses import Address, Scope, meant_for, parse_address
from samara.protocol.contacts import Contact
from samara.protocol.errors import NetworkError, RemoteProtocolError
from samara.protocol.kad.messages import KAD, Kind, Message, decode, encode, position
from samara.protocol.kad.store import ProviderStore, ValueStore
from samara.protocol.kad.table import RoutingTable
from samara.protocol.limits import (
    ANNOUNCE_WINDOW,
    ANNOUNCES_TAKEN,
    KAD_BUCKET,
    KAD_IDLE,
    MAX_KAD_MESSAGE,
    MAX_KAD_STREAMS,
    MAX_KAD_STREAMS_PER_PEER,
)

__all__ = ["DhtServer", "Pace", "remote_of"]

_MOST_PACED: Final = 4096


@final
class Pace:
    """Lets a number of things through in `ANNOUNCE_WINDOW` seconds, for each peer.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._moments: dict[str, deque[float]] = {}

    def delay(self, peer: str) -> float:
        """Take a place, and return the seconds to wait for it."""
        now = trio.current_time()
        if len(self._moments) > _MOST_PACED:
            self._moments = {peer: m for peer, m in self._moments.items() if m[-1] > now - ANNOUNCE_WINDOW}
        moments = self._moments.setdefault(peer, deque(maxlen=self._count))
        turn = now if len(moments) < self._count else max(now, moments[0] + ANNOUNCE_WINDOW)
        moments.append(turn)
        return turn - now

    def exceeded(self, peer: str) -> bool:
        """Whether there is no place now; takes it when there is."""
        moments = self._moments.get(peer)
        if moments and len(moments) == self._count and moments[0] > trio.current_time() - ANNOUNCE_WINDOW:
            return True
        self.delay(peer)
        return False


def remote_of(network: Network, peer: str) -> Address | None:
    """Return the other end of the connection to a peer, or None when there is none."""
    text = next((state.address for state in network.peers() if state.peer == peer), "")
    return parse_address(text) if text else None


@final
class DhtServer:
    """Serves `/samara/kad/1`.

    Args:
        network: Ours.
        table: The peers that we know.
        rules: What values are.
        reachable: Returns the addresses at which a host has reached us.
    """

    def __init__(
        self, network: Network, table: RoutingTable, rules: Rules, reachable: Callable[[], tuple[Address, ...]]
    ) -> None:
        self.own_keys: set[bytes] = set()
        self.providers = ProviderStore()
        self.values = ValueStore(network.peer)
        self._network = network
        self._table = table
        self._rules = rules
        self._reachable = reachable
        self._streams: Counter[str] = Counter()
        self._incoming = Pace(ANNOUNCES_TAKEN)

    def start(self) -> None:
        """Serve from now on."""
        self._network.serve(KAD, self._serve)

    async def _serve(self, stream: Stream) -> None:
        peer = stream.peer
        if self._streams.total() >= MAX_KAD_STREAMS or self._streams[peer] >= MAX_KAD_STREAMS_PER_PEER:
            raise NetworkError("too many DHT streams")
        self._streams[peer] += 1
        try:
            await self._converse(MessageStream(stream, MAX_KAD_MESSAGE), peer)
        finally:
            self._streams[peer] -= 1
            if not self._streams[peer]:
                del self._streams[peer]

    async def _converse(self, messages: MessageStream, peer: str) -> None:
        while True:
            data = None
            with trio.move_on_after(KAD_IDLE):
                data = await messages.receive()
            if data is None:
                return
            answer = encode(await self._answer(peer, decode(data)))
            with trio.move_on_after(KAD_IDLE) as sending:
                await messages.send(answer)
            if sending.cancelled_caught:
                raise NetworkError("does not take its answer")

    async def _answer(self, peer: str, question: Message) -> Message:
        """Answer one message.

        Raises:
            RemoteProtocolError: It asks for nothing that could be answered.
            VerificationError: It carries a value that its rule refuses.
        """
        if question.kind is Kind.PING:
            return Message(Kind.PING)
        if not question.key:
            raise RemoteProtocolError(f"{question.kind.name} without a key")
        if question.kind is Kind.ADD_PROVIDER:
            self._take_provider(peer, question)
            return Message(question.kind, question.key)
        if question.kind is Kind.PUT_VALUE:
            await self._take_value(question)
            return Message(question.kind, question.key)
        now = trio.current_time()
        remote = remote_of(self._network, peer)
        closest = self._table.closest(position(question.key))
        closer = _for_scope(remote, (contact for contact in closest if contact.peer != peer))
        value, providers = None, tuple[Contact, ...]()
        if question.kind is Kind.GET_VALUE:
            value = self.values.get(question.key, now)
        elif question.kind is Kind.GET_PROVIDERS:
            own = (Contact(self._network.peer, self._reachable()),) if question.key in self.own_keys else ()
            providers = _for_scope(remote, (*own, *self.providers.get(question.key, now)))[:KAD_BUCKET]
        return Message(question.kind, question.key, value, closer, providers)

    def _take_provider(self, peer: str, question: Message) -> None:
        if self._incoming.exceeded(peer):
            raise RemoteProtocolError("too many announcements at once")
        remote = remote_of(self._network, peer)
        said = next((contact for contact in question.providers if contact.peer == peer), None)
        if said is None or remote is None:
            raise RemoteProtocolError("an announcement for somebody else")
        addresses = meant_for(said.addresses, remote.scope)
        if not addresses:
            raise RemoteProtocolError("an announcement without an address that others could use")
        if not self.providers.add(question.key, Contact(peer, addresses), trio.current_time()):
            raise RemoteProtocolError("more announcements than are kept of one peer")

    async def _take_value(self, question: Message) -> None:
        if question.value is None:
            raise RemoteProtocolError("PUT_VALUE without a value")
        await self._rules.check(question.key, question.value)
        now = trio.current_time()
        held = self.values.get(question.key, now)
        while held is not None and held != question.value:
            if await self._rules.best(question.key, [held, question.value]) == 0:
                raise RemoteProtocolError("an older value than the one that is held")
            before, held = held, self.values.get(question.key, now)
            if held == before:
                break  # nobody put another one meanwhile
        if not self.values.put(question.key, question.value, now):
            raise RemoteProtocolError("no room for this value")


def _for_scope(remote: Address | None, contacts: Iterable[Contact]) -> tuple[Contact, ...]:
    """Return contacts with those of their addresses that mean something to a remote host."""
    scope = Scope.PUBLIC if remote is None else remote.scope
    kept = (Contact(contact.peer, meant_for(contact.addresses, scope)) for contact in contacts)
    return tuple(contact for contact in kept if contact.addresses)
