"""Who can reach this node: others are asked to dial back, and are dialled back when they ask.

Invariants:
1. An address counts as reachable when a peer said that it worked *and* that peer was seen dialling us meanwhile: a peer
   cannot talk us into announcing an address that nobody reached.
2. Only the IP that a peer's connection comes from is dialled back, one request at a time, and one of a peer in
   `REACH_SPACING` seconds.
3. What was proven is asked about anew before `REACH_AGE` is over, and forgotten when the interface is gone.

Source: specs/network.md, "Reachability".
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Final, Protocol, final

import trio

from samara.node.network.messages import MessageStream
from samara.node.network.transport import Network, PeerAddress, Reachability, Stream
from samara.node.network.watch import MetPeer
from samara.protocol.addresses import Address, Scope, meant_for, parse_address
from samara.protocol.errors import NetworkError, ProtocolError
from samara.protocol.limits import MAX_PEER_ADDRESSES, MAX_REACH_MESSAGE, REACH_AGE, REACH_DIALS, REACH_SPACING
from samara.protocol.reach import (
    REACH,
    Answer,
    Verdict,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
    to_dial,
)

__all__ = ["Reach", "ReachNetwork"]

_log = logging.getLogger(__name__)

_DIAL_TIMEOUT: Final = 4.0
_PATIENCE: Final = REACH_DIALS * _DIAL_TIMEOUT + 4.0
_ASK_AGAIN: Final = 600.0
"""Seconds until the same peer is asked again."""
_LOOK: Final = 60.0
_MOST_REMEMBERED: Final = 1024


class ReachNetwork(Network, Protocol):
    """A network that can dial back, and that notes who dialled it."""

    def met(self) -> AsyncIterator[MetPeer]:
        """Iterate over the peers that told what they serve."""
        ...

    def bound(self) -> tuple[Address, ...]:
        """The concrete addresses that sockets are bound to."""
        ...

    async def probe(self, address: Address, peer: str, *, timeout: float) -> None:
        """Dial an address anew and see that `peer` answers."""
        ...

    def knocked_since(self, peer: str, moment: float) -> bool:
        """Whether this peer has dialled us and proved its id since a moment on trio's clock."""
        ...


@final
class Reach:
    """Asks and serves `/samara/reach/1`.

    Args:
        network: Ours; it must not serve the protocol already.
    """

    def __init__(self, network: ReachNetwork) -> None:
        self._network = network
        self._proven: dict[Address, float] = {}
        self._asked: dict[str, float] = {}
        self._met: dict[str, MetPeer] = {}
        self._hosts: set[str] = set()
        self._served: dict[str, float] = {}
        self._dialling = trio.CapacityLimiter(1)
        self._asking = trio.CapacityLimiter(1)
        self.changed = trio.Event()
        network.serve(REACH, self._serve)

    def reachable(self) -> tuple[Address, ...]:
        """Return the addresses at which another host has reached this one, those that reach farthest first."""
        now = trio.current_time()
        fresh = [address for address, moment in self._proven.items() if now - moment < REACH_AGE]
        return tuple(sorted(fresh, key=lambda address: -address.scope))

    def reachability(self) -> Reachability:
        """What is known so far of who can reach us."""
        reachable = tuple(str(address) for address in self.reachable())
        return Reachability(self._network.listening(), reachable, len(self._hosts))

    async def run(self) -> None:
        """Ask each peer that we meet, while something is to be learned from it."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._renew)
            async for met in self._network.met():
                if REACH in met.identify.protocols:
                    self._met[met.peer] = met
                    nursery.start_soon(self._consult, met)

    async def ask(self, peer: str, addresses: tuple[Address, ...]) -> Answer:
        """Ask a connected peer to dial us at one of these addresses.

        Raises:
            NetworkError: It does not answer, or says what is not so.
            RemoteProtocolError: Its answer is malformed.
        """
        began = trio.current_time()
        stream = await self._network.open_stream(PeerAddress(peer), REACH, timeout=_DIAL_TIMEOUT)
        try:
            messages = MessageStream(stream, MAX_REACH_MESSAGE)
            await messages.send(encode_request(addresses))
            data = None
            with trio.move_on_after(_PATIENCE):
                data = await messages.receive()
            if data is None:
                raise NetworkError(f"{peer} did not say whether it reached us")
            answer = decode_answer(data, addresses)
        except BaseException:
            await stream.reset()
            raise
        await stream.aclose()
        if answer.verdict is Verdict.REACHED and not self._network.knocked_since(peer, began):
            raise NetworkError(f"{peer} says that it reached us, but nobody knocked")
        return answer

    async def _consult(self, met: MetPeer) -> None:
        """Ask a peer what it can tell us that nobody has told yet."""
        async with self._asking:  # one after the other: the first good answer spares the rest
            await self._consult_now(met)

    async def _consult_now(self, met: MetPeer) -> None:
        now = trio.current_time()
        candidates = self._candidates(met)
        unproven = [address for address in candidates if now - self._proven.get(address, -REACH_AGE) > REACH_AGE / 2]
        if not unproven or now - self._asked.get(met.peer, -_ASK_AGAIN) < _ASK_AGAIN:
            return
        self._asked[met.peer] = now
        self._hosts.add(met.peer)
        try:
            answer = await self.ask(met.peer, candidates)
        except (NetworkError, ProtocolError) as error:
            _log.debug("asked %s to dial back: %s", met.peer, error)
            return
        if answer.address is not None:
            news = answer.address not in self._proven
            self._proven[answer.address] = trio.current_time()
            if news:
                _log.info("reachable at %s", answer.address)
                self.changed.set()
                self.changed = trio.Event()

    def _candidates(self, met: MetPeer) -> tuple[Address, ...]:
        """Return where this peer might reach us: our sockets, and our ports at the address that it saw us come from."""
        found: dict[Address, None] = {}
        seen = met.identify.observed
        if seen is not None and not seen.is_name and seen.scope is not Scope.NOWHERE:
            for bound in self._network.bound():
                if bound.kind == seen.kind:
                    found[Address(seen.kind, seen.host, bound.port)] = None
        found.update(dict.fromkeys(meant_for(self._network.bound(), met.remote.scope)))
        return tuple(found)[:MAX_PEER_ADDRESSES]

    async def _renew(self) -> None:
        """Forget what is old, and ask those who are still connected about what will be."""
        while True:
            await trio.sleep(_LOOK)
            self._forget_stale(trio.current_time())
            connected = {state.peer for state in self._network.peers()}
            self._met = {peer: met for peer, met in self._met.items() if peer in connected}
            for met in list(self._met.values()):
                await self._consult(met)

    def _forget_stale(self, now: float) -> None:
        hosts = {address.host for address in self._network.bound()}
        self._proven = {
            address: moment
            for address, moment in self._proven.items()
            if now - moment < REACH_AGE and (address.scope is Scope.PUBLIC or address.host in hosts)
        }
        self._asked = {peer: moment for peer, moment in self._asked.items() if now - moment < _ASK_AGAIN}
        self._served = {peer: moment for peer, moment in self._served.items() if now - moment < REACH_SPACING}
        if len(self._hosts) > _MOST_REMEMBERED:
            self._hosts = set(self._asked)

    # The other side.

    async def _serve(self, stream: Stream) -> None:
        messages = MessageStream(stream, MAX_REACH_MESSAGE)
        data = None
        with trio.move_on_after(_DIAL_TIMEOUT):
            data = await messages.receive()
        if data is not None:
            await messages.send(encode_answer(await self._answer(stream.peer, decode_request(data))))

    async def _answer(self, peer: str, addresses: tuple[Address, ...]) -> Answer:
        now = trio.current_time()
        if now - self._served.get(peer, -REACH_SPACING) < REACH_SPACING or len(self._served) >= _MOST_REMEMBERED:
            return Answer(Verdict.BUSY)
        remote = next((state.address for state in self._network.peers() if state.peer == peer), "")
        allowed = to_dial(addresses, parse_address(remote)) if remote else ()
        if not allowed:
            return Answer(Verdict.REFUSED)
        try:
            self._dialling.acquire_nowait()
        except trio.WouldBlock:
            return Answer(Verdict.BUSY)
        self._served[peer] = now
        try:
            return await self._dial_back(peer, allowed)
        finally:
            self._dialling.release()

    async def _dial_back(self, peer: str, addresses: tuple[Address, ...]) -> Answer:
        for address in addresses:
            try:
                await self._network.probe(address, peer, timeout=_DIAL_TIMEOUT)
            except NetworkError as error:
                _log.debug("dialled %s back: %s", peer, error)
            else:
                return Answer(Verdict.REACHED, address)
        return Answer(Verdict.NOT_REACHED)
