"""What the rest of the node knows of a network: peers by id, streams by protocol, and two ways of finding peers.

The implementation that talks to the world is `samara.node.network.host`; tests have one in memory. Addresses are
multiaddr strings; peer ids are libp2p's base58 strings, and the transport has authenticated them: a `Stream.peer` is
proof, a peer id in a message is a claim.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

__all__ = [
    "Buffer",
    "Network",
    "PeerAddress",
    "PeerState",
    "Reachability",
    "Routing",
    "Sink",
    "Stream",
    "StreamHandler",
]

Buffer: TypeAlias = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Where a peer may be found.

    Attributes:
        peer: Its peer id.
        addresses: Multiaddrs without the `/p2p/…` part; may be empty when only the id is known.
    """

    peer: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerState:
    """A connected peer, for `samara peers`.

    Attributes:
        peer: Its peer id.
        address: The multiaddr of the connection, or empty.
        inbound: It dialled us.
        agent: What it says it runs (identify); a claim.
    """

    peer: str
    address: str
    inbound: bool
    agent: str


@dataclass(frozen=True, slots=True)
class Reachability:
    """Who can reach this node, as found by other hosts that dialled back.

    Attributes:
        listening: Addresses that sockets are bound to.
        reachable: Those at which another host has reached this one.
        asked: Hosts that were asked to dial back.
    """

    listening: tuple[str, ...]
    reachable: tuple[str, ...]
    asked: int


class Sink(Protocol):
    """Takes the bytes of a stream as they come, within the task that reads the socket: it must not wait.

    A `RemoteProtocolError` that it raises resets the stream.
    """

    def room(self, count: int) -> memoryview | None:
        """Return where the next `count` bytes belong, to be filled in place; None to be fed them."""
        ...

    def filled(self, count: int) -> None:
        """Take note that `count` bytes were put where `room` said."""
        ...

    def feed(self, data: memoryview) -> None:
        """Take bytes; they are valid during the call only."""
        ...


class Stream(Protocol):
    """One ordered, authenticated, encrypted stream of bytes to one peer."""

    @property
    def peer(self) -> str:
        """The authenticated peer id of the other end."""
        ...

    async def receive_some(self, max_bytes: int) -> bytes:
        """Return 1 to `max_bytes` bytes, or b"" at the end of the stream.

        Raises:
            NetworkError: The stream was reset, the connection is gone, or the peer does not speak the protocol.
        """
        ...

    async def receive_to(self, sink: Sink) -> None:
        """Give all that comes to a sink, as fast as it comes, until the peer closes its end.

        Raises:
            NetworkError: As `receive_some`.
            RemoteProtocolError: The sink raised it.
        """
        ...

    async def send_all(self, data: Buffer) -> None:
        """Send all of `data`.

        Raises:
            NetworkError: The stream was reset or closed, or the connection is gone.
        """
        ...

    async def send_parts(self, parts: Sequence[Buffer]) -> None:
        """Send buffers one after another, uncopied; they must not change before it returns.

        Raises:
            NetworkError: As `send_all`.
        """
        ...

    @property
    def near(self) -> bool:
        """Both ends are on one machine."""
        ...

    @property
    def held_back(self) -> float:
        """Seconds so far in which nothing moved for our own sake (a cap, a full memory), not the peer's."""
        ...

    async def aclose(self) -> None:
        """Say that nothing more will be sent; what the peer still sends can be read. Never raises NetworkError."""
        ...

    async def reset(self) -> None:
        """End it at once, both ways; never raises NetworkError."""
        ...


StreamHandler = Callable[[Stream], Awaitable[None]]
"""Serves one inbound stream. May raise: the transport resets the stream, counts it, and goes on."""


class Network(Protocol):
    """A host: it listens, dials, and multiplexes streams."""

    @property
    def peer(self) -> str:
        """Our own peer id."""
        ...

    def listening(self) -> tuple[str, ...]:
        """Concrete multiaddrs (never 0.0.0.0) that sockets are bound to, without `/p2p/…`."""
        ...

    def reachability(self) -> Reachability:
        """What is known so far of who can reach us."""
        ...

    def peers(self) -> Sequence[PeerState]:
        """The peers that are connected now."""
        ...

    def serve(self, protocol: str, handler: StreamHandler) -> None:
        """Let `handler` have each inbound stream of `protocol`."""
        ...

    async def open_stream(self, peer: PeerAddress, protocol: str, *, timeout: float) -> Stream:
        """Connect where needed, and open a stream; `timeout` in seconds covers both.

        Whether the peer speaks the protocol, whoever reads the stream learns: only what it answers shows that it has
        taken what it was sent. It may never answer, so whoever reads bounds the time of that, too.

        Raises:
            NetworkError: It cannot be reached, or is not who it should be.
        """
        ...

    async def disconnect(self, peer: str) -> None:
        """Close the connections to a peer."""
        ...

    def set_banned(self, peers: frozenset[str]) -> None:
        """Refuse connections from and to these peers from now on."""
        ...

    def found_nearby(self) -> AsyncIterator[PeerAddress]:
        """Iterate over peers as mDNS finds them on the LAN, those already found first; never ends by itself."""
        ...


class Routing(Protocol):
    """The DHT `/samara/kad/1`: who has a key, and small validated values under a key."""

    async def provide(self, key: bytes) -> None:
        """Announce that we have `key` (32 bytes), at the addresses at which we are reachable.

        Raises:
            NetworkError: No peer took the announcement.
        """
        ...

    async def find_providers(self, key: bytes, *, limit: int = 20) -> Sequence[PeerAddress]:
        """Return peers that announced `key`; empty when none is found."""
        ...

    async def put_value(self, key: str, value: bytes) -> None:
        """Store `value` under `/namespace/name`; the namespace's validator must accept it.

        Raises:
            NetworkError: No peer took it.
            VerificationError: Our own validator refuses it.
        """
        ...

    async def get_value(self, key: str) -> bytes | None:
        """Return the best valid value under `key`, or None."""
        ...

    async def get_values(self, key: str, ours: bytes | None = None) -> Sequence[bytes]:
        """Return all valid values under `key` that anybody gave, each once, the best first.

        Args:
            key: `/namespace/name`.
            ours: A valid value of our own that is held against the others, and stored where a worse one is or none.
        """
        ...
