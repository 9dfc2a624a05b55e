"""Gossipsub over the streams of the host: what the router says goes out, what comes in goes to the router.

    run
    ├─ meet        each connected peer that speaks it
    │  └─ say      a task a peer that something is said to: opens our stream, and writes
    ├─ beat        a heartbeat a second, while there is something to maintain
    └─ check       one message after another, by whoever knows what they mean
    (on the host) hear: a task a peer that says something, paced

Invariants:
1. What a peer makes us hold, do or send is bounded (protocol/gossip/router.py, and the queue and the pace here).
2. Only over connections that stand; a stream of this keeps none, a mesh keeps few (specs/gossip.md, "Driver").
3. With nothing followed, or nobody who follows the same, nothing here wakes up.

Source: specs/gossip.md.
"""

from __future__ import annotations

import functools
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias, final

import trio

from samara.node.network.caps import TokenBucket
from samara.node.network.messages import MessageStream
from samara.node.network.transport import PeerAddress, Stream
from samara.node.network.watch import MeetingNetwork, MetPeer
from samara.protocol import limits
from samara.protocol.errors import NetworkError, RemoteProtocolError
from samara.protocol.gossip import MESHSUB, Router, Unchecked, Verdict, decode_rpc
from samara.protocol.gossip.standing import Standing
from samara.protocol.wire import varint

__all__ = ["Blame", "Check", "Gossip"]

_log = logging.getLogger(__name__)

Check: TypeAlias = Callable[[Unchecked], Awaitable[Verdict]]
"""Says what becomes of a message."""

Blame: TypeAlias = Callable[[str], Awaitable[None]]
"""Is told who passed on what nobody has signed, again and again."""

_BAD_RPC = 4.0
"""Breaches that an RPC is worth which resets the stream."""

_AGAIN = 5.0
"""Seconds after which a stream that broke is opened anew, if its peer is still, or again, connected."""

_KIB = 1 << 10


@dataclass(slots=True)
class _Mouth:
    """What waits to be said to a peer.

    Attributes:
        protocol: What it speaks.
        scope: Ends its task.
        parts: The RPCs, each after its length; several peers are said the same bytes.
        size: How many bytes these are.
        more: Is set when there are some.
    """

    protocol: str
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    more: trio.Event = field(default_factory=trio.Event)

    def put(self, rpc: bytes) -> bool:
        """Let an RPC wait; return whether there was room for it."""
        if self.size + len(rpc) > limits.MAX_GOSSIP_QUEUE:
            return False
        self.parts += (varint(len(rpc)), rpc)
        self.size += len(rpc)
        self.more.set()
        return True

    def take(self) -> list[bytes]:
        """Return all that waits."""
        parts, self.parts, self.size = self.parts, [], 0
        self.more = trio.Event()
        return parts


@final
class Gossip:
    """Tells and hears.

    Args:
        network: Ours; it must not serve the protocols already.
        ours: Whether a topic is worth remembering.
    """

    def __init__(self, network: MeetingNetwork, ours: Callable[[str], bool]) -> None:
        self.router = Router(random.SystemRandom(), ours)
        self._network = network
        self._nursery: trio.Nursery | None = None
        self._protocols: dict[str, str] = {}  # what each peer speaks
        self._mouths: dict[str, _Mouth] = {}
        self._ears: dict[str, trio.CancelScope] = {}
        self._stirred = trio.Event()
        network.keep_for(self._is_needed)
        for protocol in MESHSUB:
            network.let_idle(protocol)
            network.serve(protocol, functools.partial(self._hear, protocol=protocol))

    async def run(self, check: Check, blame: Blame) -> None:
        """Tell and hear until cancelled.

        Args:
            check: Checks messages, one at a time.
            blame: Is told of outcasts.
        """
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._beat)
                nursery.start_soon(self._check, check, blame)
                async for met in self._network.met():
                    self._meet(met)
        finally:
            self._nursery = None
            for peer in list(self.router.peers):
                self._part(peer)

    def follow(self, topics: Mapping[str, bool]) -> None:
        """Follow these topics, and no others: each with whether everybody is told so."""
        self.router.follow(topics, trio.current_time())
        self._stir()

    def tell(self, topic: str, data: bytes, *, everyone: bool) -> bool:
        """Tell something in a topic that is followed; return whether it was not told before.

        Args:
            topic: Which.
            data: What; of more than `MAX_GOSSIP_DATA` bytes nothing is told.
            everyone: All that follow the topic, and not only its mesh.
        """
        if len(data) > limits.MAX_GOSSIP_DATA:
            return False
        told = self.router.publish(topic, data, trio.current_time(), everyone=everyone)
        self._stir()
        return told

    def _is_needed(self, peer: str) -> bool:
        """Whether the connection to a peer is kept for the sake of a mesh."""
        meshes = (self.router.mesh(topic) for topic in self.router.topics)
        mates = dict.fromkeys(mate for mesh in meshes for mate in sorted(mesh))
        return peer in islice(mates, limits.MAX_GOSSIP_KEPT)

    # Peers.

    def _meet(self, met: MetPeer) -> None:
        protocol = next((one for one in MESHSUB if one in met.identify.protocols), None)
        if protocol is not None:
            self._greet(met.peer, protocol, outbound=not met.inbound)
        for peer in [peer for peer in self.router.peers if peer not in self._mouths and peer not in self._ears]:
            if self._network.whereabouts(peer) is None:
                self._part(peer)

    def _greet(self, peer: str, protocol: str, *, outbound: bool) -> None:
        now = trio.current_time()
        if self._nursery is None or self.router.standings.of(peer, now) is Standing.OUTCAST:
            return
        self._protocols[peer] = protocol
        self.router.meet(peer, now, outbound=outbound, backoffs=protocol == MESHSUB[0])
        self._stir()

    def _part(self, peer: str) -> None:
        self.router.part(peer)
        self._protocols.pop(peer, None)
        ear, mouth = self._ears.pop(peer, None), self._mouths.pop(peer, None)
        if ear is not None:
            ear.cancel()
        if mouth is not None:
            mouth.scope.cancel()
        self._stir()

    # What is said.

    def _stir(self) -> None:
        """Let what the router has to say go out, and wake who may have something to do."""
        self._stirred.set()
        self._stirred = trio.Event()
        if self._nursery is None or self._nursery.cancel_scope.cancel_called:
            return
        for peer, rpcs in self.router.drain():
            mouth = self._mouths.get(peer)
            if mouth is None:
                mouth = self._mouths[peer] = _Mouth(self._protocols[peer])
                self._nursery.start_soon(self._say, peer, mouth)
            if not all(mouth.put(rpc) for rpc in rpcs):
                self.router.counts["queue"] += 1
                mouth.scope.cancel()

    async def _say(self, peer: str, mouth: _Mouth) -> None:
        """Open our stream to a peer, and say what there is to say, until it breaks; then begin anew if it is there."""
        try:
            with mouth.scope:
                stream = await self._network.open_stream(
                    PeerAddress(peer), mouth.protocol, timeout=limits.UPGRADE_TIMEOUT
                )
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._notice_end, stream)
                        await self._write(stream, mouth)
                finally:
                    await stream.reset()
        except* NetworkError as error:
            _log.debug("nothing more is told to %s: %s", peer, error)
        finally:
            if self._mouths.get(peer) is mouth:
                self._part(peer)
        await trio.sleep(_AGAIN)
        met = self._network.whereabouts(peer)
        if met is not None:
            self._meet(met)

    async def _write(self, stream: Stream, mouth: _Mouth) -> None:
        while True:
            await mouth.more.wait()
            with trio.move_on_after(limits.GOSSIP_STALL) as patience:
                await stream.send_parts(mouth.take())
            if patience.cancelled_caught:
                raise NetworkError("it takes nothing")

    async def _notice_end(self, stream: Stream) -> None:
        """Read a stream that the peer has nothing to say on, so that it is noticed when the connection is gone.

        Raises:
            NetworkError: It is, or the peer says something.
        """
        # Some clients close the direction that they do not use; a read shows what becomes of the other.
        while not await stream.receive_some(_KIB):  # noqa: ASYNC110 - there is nothing else to wait for
            await trio.sleep(_AGAIN)
        raise NetworkError("it answers where there is nothing to answer")

    # What is heard.

    async def _hear(self, stream: Stream, *, protocol: str) -> None:
        """Take what a peer says on its stream; the newest of its streams counts."""
        peer = stream.peer
        if peer in self._ears:
            self._ears.pop(peer).cancel()
        with trio.CancelScope() as scope:
            self._ears[peer] = scope
            try:
                if peer not in self.router.peers:
                    met = self._network.whereabouts(peer)
                    self._greet(peer, protocol, outbound=met is not None and not met.inbound)
                await self._take_all(stream)
            except RemoteProtocolError:
                self.router.breach(peer, trio.current_time(), _BAD_RPC)
                raise
            finally:
                if self._ears.get(peer) is scope:
                    del self._ears[peer]
                    if peer not in self._mouths:
                        self._part(peer)
        await stream.reset()

    async def _take_all(self, stream: Stream) -> None:
        peer = stream.peer
        messages = MessageStream(stream, limits.MAX_GOSSIP_RPC)
        pace = TokenBucket(limits.GOSSIP_UNITS_A_SECOND)
        while peer in self.router.peers and self._stands(peer) and (data := await messages.receive()) is not None:
            rpc = decode_rpc(data)
            if peer in self.router.peers:
                self.router.receive(peer, rpc, trio.current_time())
                self._stir()
            await pace.acquire(1 + rpc.parts + len(data) // _KIB)

    def _stands(self, peer: str) -> bool:
        return self.router.standings.of(peer, trio.current_time()) is not Standing.OUTCAST

    # What is maintained.

    async def _beat(self) -> None:
        while True:
            stirred = self._stirred
            if not self.router.busy(trio.current_time()):
                await stirred.wait()
            await trio.sleep(limits.GOSSIP_HEARTBEAT)
            self.router.tick(trio.current_time())
            self._stir()

    async def _check(self, check: Check, blame: Blame) -> None:
        pace = TokenBucket(limits.GOSSIP_CHECKS_A_SECOND)
        while True:
            stirred = self._stirred
            unchecked = self.router.next_unchecked()
            if unchecked is not None:
                await pace.acquire(1)
                verdict = await check(unchecked)
                self.router.judge(unchecked, verdict, trio.current_time())
                self._stir()
            for peer in self.router.outcasts():
                await blame(peer)
            if unchecked is None:
                await stirred.wait()
