"""The DHT `/samara/kad/1`: finds who has a key and what its value is, announces ours, keeps its routing table alive.

The messages are those of libp2p's Kademlia, so other implementations can speak to it under this name.

Invariants:
1. A peer gets into the routing table when it has answered us, or when it told on our connection that it serves the DHT.
2. A value is returned only when the rule of its namespace accepts it.
3. We announce only addresses at which a host has reached us, and to one peer `ANNOUNCES_PER_WINDOW` in a window.

Source: libp2p kad-dht specification; specs/network.md, "DHT".
"""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Literal, final

import trio

from samara.node.network.dht_rules import Rules, ValueRule
from samara.node.network.dht_server import DhtServer, Pace, remote_of
from samara.node.network.messages import MessageStream
from samara.node.network.transport import PeerAddress
from samara.node.network.watch import MeetingNetwork
from samara.protocol.addresses import Address, Scope, meant_for
from samara.protocol.contacts import Contact
from samara.protocol.errors import NetworkError, ProtocolError, RemoteProtocolError, VerificationError
from samara.protocol.kad.lookup import Lookup
from samara.protocol.kad.messages import KAD, Kind, Message, decode, encode, position
from samara.protocol.kad.table import RoutingTable
from samara.protocol.limits import (
    ANNOUNCES_PER_WINDOW,
    KAD_ALPHA,
    KAD_BUCKET,
    KAD_REQUEST_TIMEOUT,
    MAX_KAD_MESSAGE,
)
from samara.protocol.peers import parse_peer_id

__all__ = ["Dht", "ValueRule"]

_log = logging.getLogger(__name__)

_REFRESH: Final = 600.0
_JOIN: Final = 15.0
"""Seconds between two tries to join, while the table is nearly empty."""
_FEW: Final = 3
_RANDOM_WALKS: Final = 2

_OnAnswer = Callable[[Contact, Message], Awaitable[bool]]
"""Takes the answer of a peer; returns whether the lookup may end."""


@final
class Dht:
    """A node of the DHT; implements `transport.Routing`.

    Args:
        network: Ours.
        mode: `server` answers others and keeps records for them; `client` only asks.
        rules: The values that are understood, by namespace.
        bootstrap: Peers to begin with.
        reachable: Returns the addresses at which a host has reached us.
    """

    def __init__(
        self,
        network: MeetingNetwork,
        *,
        mode: Literal["client", "server"],
        rules: Mapping[str, ValueRule],
        bootstrap: Sequence[Contact],
        reachable: Callable[[], tuple[Address, ...]],
    ) -> None:
        self.table = RoutingTable(network.peer)
        self._network = network
        self._rules = Rules(rules)
        self._bootstrap = tuple(contact for contact in bootstrap if contact.peer != network.peer)
        self._reachable = reachable
        self._own_key = parse_peer_id(network.peer)
        self._pace = Pace(ANNOUNCES_PER_WINDOW)
        self._server = DhtServer(network, self.table, self._rules, reachable)
        if mode == "server":
            self._server.start()

    async def run(self) -> None:
        """Join, and keep the routing table alive, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._meet)
            while True:
                await self._refresh()
                pause = _JOIN if len(self.table) < _FEW else _REFRESH
                await trio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter

    # What `transport.Routing` asks.

    async def provide(self, key: bytes) -> None:
        """Announce that we have `key`, at the addresses at which we are reachable.

        Raises:
            NetworkError: We are not reachable, or no peer took the announcement.
        """
        if not self._reachable():
            raise NetworkError("no host has reached this node yet, so nobody is told to come here")
        self._server.own_keys.add(key)
        near = await self._walk(Message(Kind.FIND_NODE, key))
        if not await self._each(near, lambda contact: self._announce(contact, key)):
            raise NetworkError("no peer took the announcement")

    def withdraw(self, key: bytes) -> None:
        """Stop saying that we have `key`; what others keep of it expires."""
        self._server.own_keys.discard(key)

    async def find_providers(self, key: bytes, *, limit: int = 20) -> Sequence[PeerAddress]:
        """Return peers that announced `key`; empty when none is found."""
        found: dict[str, dict[Address, None]] = {}

        def take(contacts: Sequence[Contact]) -> bool:
            for contact in contacts:
                if contact.peer != self._network.peer:
                    found.setdefault(contact.peer, {}).update(dict.fromkeys(contact.addresses))
            return len(found) >= limit

        async def on_answer(teller: Contact, answer: Message) -> bool:
            return take(self._credible(teller, answer.providers))

        take(self._server.providers.get(key, trio.current_time()))
        await self._walk(Message(Kind.GET_PROVIDERS, key), on_answer)
        return [PeerAddress(peer, tuple(map(str, addresses))) for peer, addresses in found.items()][:limit]

    async def put_value(self, key: str, value: bytes) -> None:
        """Store `value` under `/namespace/name`; the namespace's rule must accept it.

        Raises:
            NetworkError: No peer took it.
            VerificationError: Our own rule refuses it.
        """
        raw = key.encode()
        await self._rules.check(raw, value)
        self._server.values.put(raw, value, trio.current_time())
        near = await self._walk(Message(Kind.FIND_NODE, raw))
        if not await self._each(near, lambda contact: self._put(contact, raw, value)):
            raise NetworkError("no peer took the value")

    async def get_value(self, key: str) -> bytes | None:
        """Return the best valid value under `key`, or None."""
        return next(iter(await self.get_values(key)), None)

    async def get_values(self, key: str, ours: bytes | None = None) -> Sequence[bytes]:
        """Return all valid values under `key` that anybody gave, each once, the best first.

        All peers near the key are asked, so that neither one who keeps a new value back nor an old one of ours wins.
        Those that had a worse one, or none, are sent the best.

        Args:
            key: `/namespace/name`.
            ours: A valid value of our own that is held against the others.
        """
        raw = key.encode()
        answers: dict[Contact, bytes | None] = {}

        async def on_answer(teller: Contact, answer: Message) -> bool:
            answers[teller] = await self._valid(teller, raw, answer.value)
            return False

        near = await self._walk(Message(Kind.GET_VALUE, raw), on_answer)
        own = self._server.values.get(raw, trio.current_time())
        values = list(dict.fromkeys(value for value in (*answers.values(), own, ours) if value is not None))
        if not values:
            return []
        best = values[await self._rules.best(raw, values)]
        if own is not None:
            self._server.values.put(raw, best, trio.current_time())
        behind = [teller for teller in near if answers.get(teller) != best]
        await self._each(behind, lambda contact: self._put(contact, raw, best))
        return sorted(values, key=lambda value: value != best)

    # Asking.

    async def _walk(self, question: Message, on_answer: _OnAnswer | None = None) -> list[Contact]:
        """Ask ever closer peers the same; return the closest that answered."""
        seeds = self.table.closest(position(question.key)) or self._bootstrap
        lookup = Lookup(self._network.peer, position(question.key), seeds)
        progress = trio.Event()
        async with trio.open_nursery() as nursery:

            async def ask(contact: Contact) -> None:
                try:
                    answer = await self._ask(contact, question)
                    if on_answer is not None and await on_answer(contact, answer):
                        nursery.cancel_scope.cancel()
                    lookup.answered(contact.peer, self._credible(contact, answer.closer))
                except (NetworkError, ProtocolError) as error:
                    _log.debug("asked %s for %s: %s", contact.peer, question.kind.name, error)
                    lookup.failed(contact.peer)
                progress.set()

            while not lookup.done:
                while (contact := lookup.next()) is not None:
                    nursery.start_soon(ask, contact)
                await progress.wait()
                progress = trio.Event()
        return lookup.closest()

    async def _ask(self, contact: Contact, question: Message) -> Message:
        """Send one message and return its answer; the peer's place in the table follows from that.

        Raises:
            NetworkError: It does not answer.
            RemoteProtocolError: Its answer is malformed.
        """
        try:
            with trio.move_on_after(KAD_REQUEST_TIMEOUT):
                answer = await self._exchange(contact, question)
                self.table.add(contact, trio.current_time())
                return answer
            raise NetworkError(f"{contact.peer} did not answer in time")
        except (NetworkError, ProtocolError):
            self.table.failed(contact.peer)
            raise

    async def _exchange(self, contact: Contact, question: Message) -> Message:
        address = PeerAddress(contact.peer, tuple(map(str, contact.addresses)))
        stream = await self._network.open_stream(address, KAD, timeout=KAD_REQUEST_TIMEOUT)
        try:
            messages = MessageStream(stream, MAX_KAD_MESSAGE)
            await messages.send(encode(question))
            data = await messages.receive()
            if data is None:
                raise NetworkError(f"{contact.peer} refused {question.kind.name}")
            answer = decode(data)
            if answer.kind is not question.kind:
                raise RemoteProtocolError(f"{contact.peer} answered {answer.kind.name} to {question.kind.name}")
        except BaseException:
            await stream.reset()
            raise
        await stream.aclose()
        return answer

    async def _each(self, contacts: Sequence[Contact], send: Callable[[Contact], Awaitable[object]]) -> int:
        """Send something to peers, a few at a time; return how many took it."""
        limiter = trio.CapacityLimiter(KAD_ALPHA)
        taken: list[str] = []

        async def one(contact: Contact) -> None:
            async with limiter:
                try:
                    await send(contact)
                except (NetworkError, ProtocolError) as error:
                    _log.debug("sent to %s: %s", contact.peer, error)
                else:
                    taken.append(contact.peer)

        async with trio.open_nursery() as nursery:
            for contact in contacts[:KAD_BUCKET]:
                nursery.start_soon(one, contact)
        return len(taken)

    async def _announce(self, contact: Contact, key: bytes) -> None:
        addresses = meant_for(self._reachable(), self._scope_of(contact))
        if not addresses:
            raise NetworkError("none of our addresses means anything to that peer")
        await trio.sleep(self._pace.delay(contact.peer))
        own = Contact(self._network.peer, addresses)
        await self._ask(contact, Message(Kind.ADD_PROVIDER, key, providers=(own,)))

    async def _put(self, contact: Contact, key: bytes, value: bytes) -> None:
        await self._ask(contact, Message(Kind.PUT_VALUE, key, value))

    async def _valid(self, teller: Contact, key: bytes, value: bytes | None) -> bytes | None:
        """Return a value that a peer sent, or None when there is none or its rule refuses it."""
        if value is not None:
            try:
                await self._rules.check(key, value)
            except VerificationError as error:
                _log.debug("%s sent a wrong value: %s", teller.peer, error)
                return None
        return value

    def _credible(self, teller: Contact, contacts: Sequence[Contact]) -> list[Contact]:
        """Return what a peer tells of others, without addresses that mean nothing here."""
        scope = self._scope_of(teller)
        kept = (Contact(contact.peer, meant_for(contact.addresses, scope)) for contact in contacts)
        return [contact for contact in kept if contact.addresses]

    def _scope_of(self, contact: Contact) -> Scope:
        remote = remote_of(self._network, contact.peer)
        return Scope.PUBLIC if remote is None else remote.scope

    # The routing table.

    async def _meet(self) -> None:
        """Take peers that say that they serve the DHT into the table."""
        async for met in self._network.met():
            if KAD in met.identify.protocols:
                addresses = dict.fromkeys(() if met.inbound else (met.remote,))
                addresses.update(dict.fromkeys(meant_for(met.identify.addresses, met.remote.scope)))
                self.table.add(Contact(met.peer, tuple(addresses)), trio.current_time())

    async def _refresh(self) -> None:
        """Look for ourselves and for random places, which fills and checks the table."""
        oldest = self.table.oldest()
        checked = self._bootstrap if len(self.table) < _FEW or oldest is None else (oldest,)
        await self._each(checked, lambda contact: self._ask(contact, Message(Kind.FIND_NODE, self._own_key)))
        for place in (self._own_key, *(secrets.token_bytes(32) for _ in range(_RANDOM_WALKS))):
            await self._walk(Message(Kind.FIND_NODE, place))
