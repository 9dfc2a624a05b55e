"""The host: it listens, dials, knows its connections, and gives each inbound stream to who serves its protocol.

    run
    ├─ listeners                 a task each; and one a socket that was let in: handshake, then its connection
    └─ connections               two nurseries each
       └─ streams                a task each for negotiation, then the handler; it outlives the connection for a moment
          └─ connection
             ├─ bytes            reader, writer and keeper (connection.py)
             ├─ identify         once: what the peer serves
             └─ idle             closes it when nobody uses it

Invariants:
1. What fails in a handler, a handshake or a connection ends that stream or connection, is counted, and nothing else.
2. A peer id is authenticated before anything of the peer is looked at; a banned peer gets no stream either way.
3. Every socket has a place in `Admission` and a task that closes it, and then gives back the place: at once when the
   connection ends, whatever its handlers still do.

`upgrade` makes the connections of sockets, `connection` moves their bytes.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, final

import trio

from samara.node.network.admission import Admission, Place
from samara.node.network.background import open_background
from samara.node.network.caps import Caps, TokenBucket
from samara.node.network.dialler import dial
from samara.node.network.interfaces import expand
from samara.node.network.listener import listen_tcp
from samara.node.network.messages import MessageStream
from samara.node.network.streams import HostStream, accept_protocol, open_protocol
from samara.node.network.tcp import TcpStream, dial_tcp
from samara.node.network.transport import PeerAddress, PeerState, Reachability, Stream, StreamHandler
from samara.node.network.upgrade import Upgrader
from samara.node.network.watch import Board, MetPeer
from samara.protocol.addresses import Address, meant_for, parse_address
from samara.protocol.errors import AddressError, NetworkError, ProtocolError, RemoteProtocolError, SamaraError
from samara.protocol.identify import IDENTIFY, Identify, decode_identify, encode_identify
from samara.protocol.limits import (
    HANDSHAKES_A_SECOND,
    HEARD_LATELY,
    IDLE_CONNECTION,
    IDLE_CONNECTION_FULL,
    MAX_CONNECTIONS,
    MAX_CONNECTIONS_PER_IP,
    MAX_IDENTIFY,
    MAX_NEARBY,
    MAX_PEER_ADDRESSES,
    MAX_STREAMS_PER_PEER,
    PINGS_A_SECOND,
    UPGRADE_TIMEOUT,
)

if TYPE_CHECKING:
    from samara.node.network.connection import MuxedConnection
    from samara.node.network.muxed_stream import MuxedStream

__all__ = ["Host", "open_host"]

_log = logging.getLogger(__name__)

_PING: Final = "/ipfs/ping/1.0.0"
_PING_BYTES: Final = 32
_LINGER: Final = 5.0
"""Seconds that handlers have to notice that their connection ended, and a peer to close its end of a served stream."""

_LINGERING: Final = MAX_CONNECTIONS
"""Ended connections whose handlers linger at a time. Without a bound, who connects and hangs up again and again would
leave more handlers behind than the places for connections allow."""


@dataclass(slots=True, eq=False)
class _Link:
    """One connection."""

    muxed: MuxedConnection
    inbound: bool
    nursery: trio.Nursery
    streams: set[MuxedStream] = field(default_factory=set)
    quiet: set[MuxedStream] = field(default_factory=set)
    closed: dict[MuxedStream, int] = field(default_factory=dict)
    used: float = 0.0
    identify: Identify | None = None

    @property
    def peer(self) -> str:
        return self.muxed.peer

    @property
    def remote(self) -> Address:
        return self.muxed.tcp.remote


@final
class Host:
    """A libp2p host over TCP. Made by `open_host`; implements `transport.Network`.

    Attributes:
        failures: Streams that ended because their handler failed, by protocol.
    """

    def __init__(
        self,
        upgrader: Upgrader,
        admission: Admission,
        nursery: trio.Nursery,
        agent: str,
        streams_per_peer: int = MAX_STREAMS_PER_PEER,
    ) -> None:
        self.failures: Counter[str] = Counter()
        self.nearby: Board[PeerAddress] = Board(MAX_NEARBY)
        self._upgrader = upgrader
        self._admission = admission
        self._handshakes = TokenBucket(HANDSHAKES_A_SECOND)
        self._pings = TokenBucket(PINGS_A_SECOND)
        self._nursery = nursery
        self._agent = agent
        self._streams_per_peer = streams_per_peer
        self._bound: list[Address] = []
        self._links: dict[str, list[_Link]] = {}
        self._lingering: deque[trio.CancelScope] = deque()
        self._dialling: dict[str, trio.Lock] = {}
        self._handlers: dict[str, StreamHandler] = {IDENTIFY: self._tell, _PING: self._pong}
        self._quiet: set[str] = set()
        self._needed: Callable[[str], bool] = lambda peer: False
        self._banned: frozenset[str] = frozenset()
        self._served: Counter[str] = Counter()
        self._met: Board[MetPeer] = Board(2 * MAX_CONNECTIONS)
        self._knocked: dict[str, float] = {}
        self._reachability: Callable[[], Reachability] = lambda: Reachability(self.listening(), (), 0)

    # What `transport.Network` asks.

    @property
    def peer(self) -> str:
        """Our own peer id."""
        return self._upgrader.peer

    def listening(self) -> tuple[str, ...]:
        """Concrete multiaddrs that sockets are bound to, those that reach farthest first, loopback last."""
        return tuple(str(address) for address in expand(self._bound))

    def reachability(self) -> Reachability:
        """What is known so far of who can reach us."""
        return self._reachability()

    def peers(self) -> Sequence[PeerState]:
        """The peers that are connected now, each once."""
        links = [links[0] for links in self._links.values()]
        return [
            PeerState(link.peer, str(link.remote), link.inbound, link.identify.agent if link.identify else "")
            for link in links
        ]

    def serve(self, protocol: str, handler: StreamHandler) -> None:
        """Let `handler` have each inbound stream of `protocol`."""
        self._handlers[protocol] = handler

    async def open_stream(self, peer: PeerAddress, protocol: str, *, timeout: float) -> Stream:
        """Connect where needed, and open a stream, which need not be agreed on yet.

        Raises:
            NetworkError: It cannot be reached, or is not who it should be.
        """
        with trio.move_on_after(timeout):
            link, fresh = await self._link_to(peer)
            try:
                return await self._open(link, protocol)
            except NetworkError:
                # A connection that stood for long may be dead without our knowing: one new one is worth a try.
                if fresh or not link.muxed.closed or not peer.addresses:
                    raise
            link, fresh = await self._link_to(peer)
            return await self._open(link, protocol)
        raise NetworkError(f"{peer.peer} did not answer within {timeout:.0f} s")

    async def disconnect(self, peer: str) -> None:
        """Close the connections to a peer."""
        for link in list(self._links.get(peer, ())):
            link.nursery.cancel_scope.cancel()
        await trio.lowlevel.checkpoint()

    def set_banned(self, peers: frozenset[str]) -> None:
        """Refuse connections from and to these peers from now on, and end those that stand."""
        self._banned = peers
        for peer in peers & self._links.keys():
            for link in self._links[peer]:
                link.nursery.cancel_scope.cancel()

    def found_nearby(self) -> AsyncIterator[PeerAddress]:
        """Iterate over peers as mDNS finds them, those already found first; never ends by itself."""
        return self.nearby.read()

    # What the services beside it ask.

    def met(self) -> AsyncIterator[MetPeer]:
        """Iterate over the peers that told what they serve: those connected now first, then each new one."""
        return self._met.read()

    def bound(self) -> tuple[Address, ...]:
        """The concrete addresses that sockets are bound to."""
        return expand(self._bound)

    def whereabouts(self, peer: str) -> MetPeer | None:
        """Return what is known of a peer over a connection that stands now; None before it told what it serves."""
        for link in self._links.get(peer, ()):
            if link.identify is not None and not link.muxed.closed:
                return MetPeer(peer, link.remote, link.inbound, link.identify)
        return None

    def let_idle(self, protocol: str) -> None:
        """Let streams of a protocol keep no connection from being closed as idle."""
        self._quiet.add(protocol)

    def keep_for(self, needed: Callable[[str], bool]) -> None:
        """Keep idle connections to the peers of which `needed` says so, as long as places are not scarce."""
        self._needed = needed

    def report_reachability(self, reachability: Callable[[], Reachability]) -> None:
        """Let somebody else tell what is known of who can reach us."""
        self._reachability = reachability

    async def probe(self, address: Address, peer: str, *, timeout: float) -> None:
        """Dial an address anew, whatever connections there are, see that `peer` answers, and hang up.

        Raises:
            NetworkError: It does not.
        """
        with trio.move_on_after(timeout), self._admission.outbound():
            tcp = await dial_tcp(address)
            try:
                await self._upgrader.authenticate(tcp, peer)
            finally:
                await tcp.close()
            return
        raise NetworkError(f"{address} did not answer within {timeout:.0f} s")

    def knocked_since(self, peer: str, moment: float) -> bool:
        """Whether this peer has dialled us and proved its id since a moment on trio's clock."""
        return self._knocked.get(peer, float("-inf")) >= moment

    async def listen(self, addresses: Sequence[Address]) -> None:
        """Listen at addresses.

        Raises:
            NetworkError: One of them cannot be had.
        """
        listeners = []
        try:
            for address in addresses:
                listeners.append(listen_tcp(address))
        except NetworkError:
            for listener in listeners:
                listener.close()
            raise
        for listener in listeners:
            self._bound.append(listener.address)
            self._nursery.start_soon(listener.serve, self._let_in)

    # Connections.

    def _let_in(self, sock: socket.socket, remote: Address) -> None:
        """Give an accepted socket a place and a task.

        Raises:
            NetworkError: There is no place for it.
        """
        handshake = trio.CancelScope()
        place = self._admission.inbound(remote, handshake.cancel)
        self._nursery.start_soon(self._serve_socket, sock, remote, place, handshake)

    async def _serve_socket(
        self, sock: socket.socket, remote: Address, taken: Place, handshake: trio.CancelScope
    ) -> None:
        """Serve one accepted socket until its connection ends."""
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        try:
            with contextlib.ExitStack() as place:
                place.enter_context(taken)
                muxed = await self._shake_hands(TcpStream(stream), taken, handshake)
                place.callback(lambda: setattr(taken, "broke_rules", muxed.broke_rules))
                await self._run_link(muxed, place, inbound=True)
        except (NetworkError, OSError) as error:
            _log.debug("a connection came to nothing: %s", error)
        except Exception:  # the border of one socket: a bug in a handshake ends it, and not the node
            _log.exception("a handshake failed")
        finally:
            await trio.aclose_forcefully(stream)

    async def _shake_hands(self, tcp: TcpStream, place: Place, handshake: trio.CancelScope) -> MuxedConnection:
        """Do the handshake with who dialled, and let it keep its place then.

        Raises:
            NetworkError: It failed, took too long, or made way for another.
        """
        handshake.deadline = trio.current_time() + UPGRADE_TIMEOUT
        try:
            with handshake:
                await self._handshakes.acquire(1)
                muxed = await self._upgrader.upgrade(tcp, None, self._admit_inbound)
                place.settle()
                return muxed
        except NetworkError as error:
            place.broke_rules = isinstance(error.__cause__, RemoteProtocolError)
            raise
        raise NetworkError(f"{tcp.remote} took too long for its handshake, or made way for another")

    def _admit(self, peer: str) -> None:
        if peer in self._banned:
            raise NetworkError(f"{peer} is banned")
        if peer == self.peer:
            raise NetworkError("that is this node itself")

    def _admit_inbound(self, peer: str) -> None:
        self._admit(peer)
        self._knocked[peer] = trio.current_time()
        if len(self._knocked) > 2 * MAX_CONNECTIONS:
            del self._knocked[min(self._knocked, key=lambda peer: self._knocked[peer])]

    async def _link_to(self, peer: PeerAddress) -> tuple[_Link, bool]:
        """Return a connection to a peer, and whether it was made for this."""
        self._admit(peer.peer)
        lock = self._dialling.setdefault(peer.peer, trio.Lock())
        try:
            async with lock:
                link = self._living(peer.peer)
                if link is not None:
                    return link, False
                addresses = _usable(peer.addresses, self.bound())
                place = contextlib.ExitStack()
                place.enter_context(self._admission.outbound())
                with place:
                    muxed = await dial(self._upgrader, peer.peer, addresses)
                    held = place.pop_all()
                try:
                    return await self._nursery.start(self._run_outbound, muxed, held), True
                except BaseException:
                    await muxed.tcp.close()
                    held.close()
                    raise
        finally:
            if not lock.locked():
                self._dialling.pop(peer.peer, None)

    async def _run_outbound(
        self, muxed: MuxedConnection, place: contextlib.ExitStack, *, task_status: trio.TaskStatus[_Link]
    ) -> None:
        with place:
            await self._run_link(muxed, place, inbound=False, task_status=task_status)

    async def _run_link(
        self,
        muxed: MuxedConnection,
        place: contextlib.ExitStack,
        *,
        inbound: bool,
        task_status: trio.TaskStatus[_Link] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run one connection until it ends or is cancelled, then close it and give back its place; never raises.

        Handlers see their streams break, and have a moment more to end in their own way.
        """
        try:
            async with trio.open_nursery() as handlers:
                try:
                    await self._carry(muxed, handlers, inbound=inbound, task_status=task_status)
                finally:
                    await muxed.close()
                    place.close()
                self._let_linger(handlers.cancel_scope)
        except Exception:  # the border of one connection: it ends, the host goes on
            _log.exception("the connection to %s failed", muxed.peer)

    async def _carry(
        self, muxed: MuxedConnection, handlers: trio.Nursery, *, inbound: bool, task_status: trio.TaskStatus[_Link]
    ) -> None:
        """Move the bytes of a connection, and give the streams that the peer opens to handlers, until it ends."""
        async with trio.open_nursery() as nursery:
            await nursery.start(muxed.run)
            link = _Link(muxed, inbound, nursery, used=trio.current_time())
            self._links.setdefault(link.peer, []).append(link)
            try:
                task_status.started(link)
                nursery.start_soon(self._ask_who, link)
                nursery.start_soon(self._end_idle, link)
                while (stream := await muxed.accept()) is not None:
                    handlers.start_soon(self._serve, link, stream)
            finally:
                self._forget(link)
            nursery.cancel_scope.cancel()

    def _let_linger(self, handlers: trio.CancelScope) -> None:
        handlers.deadline = trio.current_time() + _LINGER
        self._lingering.append(handlers)
        if len(self._lingering) > _LINGERING:
            self._lingering.popleft().cancel()

    def _living(self, peer: str) -> _Link | None:
        return next((link for link in self._links.get(peer, ()) if not link.muxed.closed), None)

    def _forget(self, link: _Link) -> None:
        self._links[link.peer].remove(link)
        if not self._links[link.peer]:
            del self._links[link.peer]
            self._met.remove(link.peer)

    async def _end_idle(self, link: _Link) -> None:
        """Wait until nobody has used a connection for long, and end it."""
        while True:
            patience = IDLE_CONNECTION_FULL if self._admission.crowded else IDLE_CONNECTION
            await self._drop_unread(link)
            link.streams -= {stream for stream in link.streams if stream.ended}
            link.quiet &= link.streams
            if link.streams - link.quiet or (self._needed(link.peer) and not self._admission.crowded):
                link.used = trio.current_time()
            if trio.current_time() - link.used >= patience:
                link.nursery.cancel_scope.cancel()
                return
            await trio.sleep(IDLE_CONNECTION_FULL / 3)

    async def _drop_unread(self, link: _Link) -> None:
        """Reset the streams that we closed and nobody read since the last look: their peers do not close them."""
        closed = {stream: reads for stream in link.streams if (reads := stream.reads) is not None}
        for stream, reads in closed.items():
            if link.closed.get(stream) == reads:
                await stream.reset()
        link.closed = closed

    # Streams.

    async def _open(self, link: _Link, protocol: str) -> HostStream:
        if protocol not in self._quiet:
            link.used = trio.current_time()
        lively = link.muxed.silence <= HEARD_LATELY
        muxed = await link.muxed.open()
        self._note_stream(link, muxed, protocol)
        return await open_protocol(link.peer, muxed, protocol, early=lively)

    def _note_stream(self, link: _Link, muxed: MuxedStream, protocol: str) -> None:
        link.streams.add(muxed)
        if protocol in self._quiet:
            link.quiet.add(muxed)

    async def _serve(self, link: _Link, muxed: MuxedStream) -> None:
        """Serve one inbound stream: agree on a protocol, then let its handler have it."""
        if self._served[link.peer] >= self._streams_per_peer:
            await muxed.reset()
            return
        self._served[link.peer] += 1
        link.streams.add(muxed)
        try:
            with trio.move_on_after(UPGRADE_TIMEOUT) as negotiation:
                stream, protocol = await accept_protocol(link.peer, muxed, self._handlers.__contains__)
            if negotiation.cancelled_caught:
                await muxed.reset()
                return
            self._note_stream(link, muxed, protocol)
            await self._handle(stream, protocol)
            await self._linger(muxed)
        except (NetworkError, ProtocolError) as error:
            _log.debug("a stream of %s: %s", link.peer, error)
            await muxed.reset()
        finally:
            if muxed not in link.quiet:
                link.used = trio.current_time()
            link.streams.discard(muxed)
            self._served[link.peer] -= 1
            if not self._served[link.peer]:
                del self._served[link.peer]

    async def _handle(self, stream: HostStream, protocol: str) -> None:
        try:
            await self._handlers[protocol](stream)
        except SamaraError as error:
            self.failures[protocol] += 1
            _log.debug("%s with %s ended: %s", protocol, stream.peer, error)
            await stream.reset()
        except Exception:  # the border where a peer's task ends
            self.failures[protocol] += 1
            _log.exception("%s with %s failed", protocol, stream.peer)
            await stream.reset()
        else:
            await stream.aclose()

    async def _linger(self, muxed: MuxedStream) -> None:
        """Let the peer close its end too, then end the stream: nobody reads it any more."""
        with trio.move_on_after(_LINGER):
            await muxed.wait_ended()
        if not muxed.ended:
            await muxed.reset()

    # Identify.

    async def _tell(self, stream: Stream) -> None:
        """Serve identify: what we serve, and where we see the peer come from."""
        link = self._living(stream.peer)
        if link is None:
            return
        own = dict.fromkeys((*map(parse_address, self.reachability().reachable), *self.bound()))
        addresses = meant_for(own, link.remote.scope)[:MAX_PEER_ADDRESSES]
        message = Identify(self._agent, frozenset(self._handlers), addresses, link.remote)
        await MessageStream(stream, MAX_IDENTIFY).send(encode_identify(message, self._upgrader.public_key))

    async def _pong(self, stream: Stream) -> None:
        """Serve libp2p's ping: 32 bytes come back, again and again."""
        held = b""
        while True:
            with trio.move_on_after(IDLE_CONNECTION_FULL) as waiting:
                data = await stream.receive_some(_PING_BYTES - len(held))
            if waiting.cancelled_caught or not data:
                return
            held += data
            if len(held) == _PING_BYTES:
                await self._pings.acquire(1)
                await stream.send_all(held)
                held = b""

    async def _ask_who(self, link: _Link) -> None:
        """Ask a new peer what it serves; it may be of a kind that does not answer."""
        try:
            with trio.move_on_after(UPGRADE_TIMEOUT):
                stream = await self._open(link, IDENTIFY)
                try:
                    data = await MessageStream(stream, MAX_IDENTIFY).receive()
                except BaseException:
                    await stream.reset()
                    raise
                await stream.aclose()
                if data is not None:
                    link.identify = decode_identify(data)
                    self._met.post(link.peer, MetPeer(link.peer, link.remote, link.inbound, link.identify))
        except (NetworkError, ProtocolError) as error:
            _log.debug("%s does not tell who it is: %s", link.peer, error)


@contextlib.asynccontextmanager
async def open_host(
    *,
    seed: bytes,
    listen: Sequence[Address] = (),
    agent: str = "samara",
    connections: int = MAX_CONNECTIONS,
    connections_per_ip: int = MAX_CONNECTIONS_PER_IP,
    streams_per_peer: int = MAX_STREAMS_PER_PEER,
    caps: Caps | None = None,
) -> AsyncIterator[Host]:
    """Open a host, and close its sockets and connections when the block ends.

    Args:
        seed: The Ed25519 seed of the node's key, 32 bytes.
        listen: Where to listen; a port of 0 takes a free one. None to listen nowhere.
        agent: What others are told that we run.
        connections: Connections at most.
        connections_per_ip: Inbound connections of one IP address at most.
        streams_per_peer: Inbound streams of one peer at most.
        caps: What may pass; None for no caps.

    Raises:
        NetworkError: It cannot listen.
    """
    upgrader = Upgrader(seed, caps or Caps())
    async with open_background() as nursery:
        host = Host(upgrader, Admission(connections, connections_per_ip), nursery, agent, streams_per_peer)
        await host.listen(listen)
        yield host


def _usable(addresses: Sequence[str], own: Sequence[Address]) -> list[Address]:
    """Return the addresses that can be dialled: well-formed, and not one of our own sockets."""
    usable: dict[Address, None] = {}
    for text in addresses:
        with contextlib.suppress(AddressError):
            address = parse_address(text)
            if address.port and address not in own:
                usable[address] = None
    return list(usable)[:MAX_PEER_ADDRESSES]
