"""A network in memory: `transport.Network` between hosts of one process, with lines that can be slow, cut and mended.

Hosts may have a capacity each way that all their streams share, fairly; lines may lose connections, jitter and stand
still. Chance comes from one seeded generator, so a run on trio's autojump clock can be had again.

    world = MemoryNetwork()
    async with world.join("alice") as alice, world.join("bob") as bob:
        alice.serve("/echo/1", echo)
        stream = await bob.open_stream(alice.address, "/echo/1", timeout=5)

What is true of the host is true here: a stream holds a bounded number of bytes, a handler that raises has its
stream reset and is counted, a peer that is gone or banned cannot be reached, and every failure is a `NetworkError`. All
waiting is trio's, so a test with a clock that jumps simulates hours. Nothing is encrypted: the world says who is who.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, final

import trio
from support.streams import StreamParts

from samara.node.network.caps import Caps, Pauses
from samara.node.network.transport import PeerAddress, PeerState, Reachability, StreamHandler
from samara.node.network.watch import Board, MetPeer
from samara.protocol.errors import NetworkError

__all__ = ["Capacity", "Line", "MemoryHost", "MemoryNetwork", "MemoryStream", "Watcher"]

_WINDOW: Final = 4 << 20
"""Bytes of one direction of a stream that may be under way."""

_TURN_SECONDS: Final = 0.05
_SHORTEST_TURN: Final = 2 << 10
_LONGEST_TURN: Final = 64 << 10
"""Bytes that one stream may send before another has its turn: 50 ms of the slower end, within these."""


@final
@dataclass(slots=True)
class Line:
    """What lies between two hosts, the same both ways. May be changed at any time.

    Attributes:
        latency: Seconds from end to end.
        rate: Bytes a second of each stream and direction; None is no limit.
        up: Streams can be opened. `MemoryNetwork.cut` also breaks those that are open.
        jitter: Seconds that a piece may come later than `latency` says, at most.
        loss: How often the connection breaks for each MiB that passes, on average.
        still_until: Nothing arrives before this time, and nobody is told.
    """

    latency: float = 0.0
    rate: float | None = None
    up: bool = True
    jitter: float = 0.0
    loss: float = 0.0
    still_until: float = -math.inf


@final
class Capacity:
    """What a host can send, or receive, in all.

    A stream asks for one turn at a time and waits until it has passed, so streams take turns.

    Args:
        rate: Bytes a second; None is no limit.
    """

    def __init__(self, rate: float | None = None) -> None:
        self.rate = rate
        self._free_at = -math.inf

    def take(self, size: int, now: float) -> float:
        """Return when `size` bytes, asked for now, have passed."""
        if self.rate is None:
            return now
        self._free_at = max(now, self._free_at) + size / self.rate
        return self._free_at


class Watcher(Protocol):
    """Sees all that passes."""

    def opened(self, number: int, dialler: str, acceptor: str, protocol: str) -> None:
        """Take note of a new stream."""
        ...

    def moved(self, number: int, sender: str, receiver: str, data: memoryview) -> None:
        """Take note of bytes that a sender has sent."""
        ...


@final
class _Passage:
    """The way of one direction of a stream: out of its sender, over the line, into its receiver."""

    def __init__(self, world: MemoryNetwork, number: int, sender: MemoryHost, receiver: MemoryHost) -> None:
        self._world = world
        self._number = number
        self._ends = sender.peer, receiver.peer
        self._capacities = sender.up, receiver.down

    def turn(self) -> int:
        """Bytes that may go before another stream has its turn."""
        rates = [capacity.rate for capacity in self._capacities if capacity.rate is not None]
        if not rates:
            return self._world.window
        return max(_SHORTEST_TURN, min(int(min(rates) * _TURN_SECONDS), _LONGEST_TURN))

    async def let_through(self, piece: memoryview) -> None:
        """Wait until both ends have had time for it; it may cost the connection.

        Raises:
            NetworkError: It did.
        """
        now = trio.current_time()
        passed = max(capacity.take(len(piece), now) for capacity in self._capacities)
        if passed > now:
            await trio.sleep_until(passed)
        line = self._world.line(*self._ends)
        if line.loss and self._world.random.random() < -math.expm1(-line.loss * len(piece) / (1 << 20)):
            self._world.disconnect(*self._ends)
            raise NetworkError("the connection was lost")
        if self._world.watcher is not None:
            self._world.watcher.moved(self._number, *self._ends, piece)

    def jitter(self) -> float:
        """Seconds that this piece comes late."""
        jitter = self._world.line(*self._ends).jitter
        return self._world.random.uniform(0.0, jitter) if jitter else 0.0


@final
class _Pipe:
    """One direction of a stream: bytes in order, each piece with the time at which it arrives."""

    def __init__(self, line: Line, window: int, passage: _Passage) -> None:
        self._line = line
        self._window = window
        self._passage = passage
        self._pieces: deque[tuple[float, memoryview]] = deque()
        self._held = 0
        self._free_at = -math.inf  # when the line has sent all that was given to it
        self._last = -math.inf  # when the last piece arrives
        self._ended = False
        self._broken = False
        self._changed = trio.Event()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    @property
    def is_over(self) -> bool:
        """Nothing more can be put in."""
        return self._ended or self._broken

    def end(self) -> None:
        """No more bytes follow."""
        self._ended = True
        self._wake()

    def break_off(self) -> None:
        """Lose what is under way, and fail whoever waits."""
        self._broken = True
        self._pieces.clear()
        self._wake()

    async def put(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        rest = memoryview(data)
        while rest:
            while self._held >= self._window and not self._broken and not self._ended:
                await self._changed.wait()
            self._check()
            size = min(self._window - self._held, self._passage.turn())
            piece, rest = rest[:size], rest[size:]
            # What its sender may use again is copied, as a socket would.
            kept = piece if isinstance(piece.obj, bytes) else memoryview(bytes(piece))
            await self._passage.let_through(kept)
            self._check()
            now = trio.current_time()
            self._free_at = max(now, self._free_at) + (len(piece) / self._line.rate if self._line.rate else 0.0)
            arrives = self._free_at + self._line.latency + self._passage.jitter()
            self._last = max(self._last, arrives)  # jitter does not let pieces overtake each other
            self._pieces.append((self._last, kept))
            self._held += len(piece)
            self._wake()

    def _check(self) -> None:
        if self._broken or self._ended:
            raise NetworkError("the stream is gone")

    async def get(self, max_bytes: int) -> memoryview:
        await trio.lowlevel.checkpoint()
        while not self._broken:
            if not self._pieces and self._ended:
                return memoryview(b"")
            arrives = max(self._pieces[0][0], self._line.still_until) if self._pieces else math.inf
            if arrives <= trio.current_time():
                break
            with trio.move_on_at(arrives):
                await self._changed.wait()
        if self._broken:
            raise NetworkError("the stream was reset")
        at, piece = self._pieces.popleft()
        taken, rest = piece[:max_bytes], piece[max_bytes:]
        if rest:
            self._pieces.appendleft((at, rest))
        self._held -= len(taken)
        self._wake()
        return taken


@final
class MemoryStream(StreamParts):
    """One end of a stream (implements `transport.Stream`)."""

    def __init__(self, peer: str, incoming: _Pipe, outgoing: _Pipe, caps: Caps) -> None:
        self._peer = peer
        self._incoming = incoming
        self._outgoing = outgoing
        self._caps = caps
        self._waits = Pauses(), Pauses()

    @property
    def peer(self) -> str:
        return self._peer

    @property
    def near(self) -> bool:
        return False

    @property
    def held_back(self) -> float:
        return sum(wait.seconds for wait in self._waits)

    async def receive_some(self, max_bytes: int) -> bytes:
        data = bytes(await self._incoming.get(max_bytes))
        if self._caps.download.rate is not None:
            with self._waits[0].pause():
                await self._caps.download.acquire(len(data))
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        size = self._caps.upload.piece or max(len(data), 1)
        rest = memoryview(data)
        await trio.lowlevel.checkpoint()
        while rest:
            piece, rest = rest[:size], rest[size:]
            if self._caps.upload.rate is not None:
                with self._waits[1].pause():
                    await self._caps.upload.acquire(len(piece))
            await self._outgoing.put(piece)

    @property
    def is_open(self) -> bool:
        """Whether either direction may still carry something."""
        return not (self._incoming.is_over and self._outgoing.is_over)

    async def aclose(self) -> None:
        self._outgoing.end()
        self._incoming.break_off()
        await trio.lowlevel.checkpoint()

    async def reset(self) -> None:
        self.break_off()
        await trio.lowlevel.checkpoint()

    def break_off(self) -> None:
        """End it at once, both ways."""
        self._outgoing.break_off()
        self._incoming.break_off()


@final
@dataclass(slots=True)
class _Connection:
    """The streams between two hosts that have met."""

    dialler: str
    streams: list[MemoryStream] = field(default_factory=list)

    def add(self, stream: MemoryStream) -> None:
        self.streams = [stream, *(s for s in self.streams if s.is_open)]

    def break_off(self) -> None:
        for stream in self.streams:
            stream.break_off()
        self.streams.clear()


@final
class MemoryHost:
    """A host (implements `transport.Network`); made by `MemoryNetwork.join`."""

    def __init__(
        self, world: MemoryNetwork, peer: str, nursery: trio.Nursery, up: float | None, down: float | None
    ) -> None:
        self._world = world
        self._peer = peer
        self._nursery = nursery
        self.up = Capacity(up)
        self.down = Capacity(down)
        self.caps = Caps()
        self._handlers: dict[str, StreamHandler] = {}
        self._banned: frozenset[str] = frozenset()
        self.failures: Counter[str] = Counter()
        """Handlers that raised, by the class of what they raised."""

    @property
    def peer(self) -> str:
        return self._peer

    @property
    def address(self) -> PeerAddress:
        """What others need to reach this host."""
        return PeerAddress(self._peer, self.listening())

    def listening(self) -> tuple[str, ...]:
        return (f"/memory/{self._peer}",)

    def reachability(self) -> Reachability:
        return Reachability(self.listening(), self.listening(), 1)

    def peers(self) -> Sequence[PeerState]:
        met = self._world.connections_of(self._peer)
        return [PeerState(p, f"/memory/{p}", inbound=c.dialler == p, agent="memory") for p, c in met.items()]

    def whereabouts(self, peer: str) -> None:
        """Nobody: what is in memory has no address that could be told."""

    def serve(self, protocol: str, handler: StreamHandler) -> None:
        self._handlers[protocol] = handler

    def met(self) -> AsyncIterator[MetPeer]:
        """Nobody, as `whereabouts`; and so nothing is told by gossip."""
        return Board[MetPeer](1).read()

    def let_idle(self, protocol: str) -> None:
        """Nothing: connections of this world are never idle."""

    def keep_for(self, needed: Callable[[str], bool]) -> None:
        """Nothing: as `let_idle`."""

    async def open_stream(self, peer: PeerAddress, protocol: str, *, timeout: float) -> MemoryStream:
        line = self._world.line(self._peer, peer.peer)
        with trio.move_on_after(timeout):
            await trio.sleep(2 * line.latency)
            await trio.sleep_until(max(line.still_until, trio.current_time()))
            return self._world.connect(self, peer.peer, protocol)
        raise NetworkError(f"{peer.peer} did not answer within {timeout} s")

    async def disconnect(self, peer: str) -> None:
        await trio.lowlevel.checkpoint()
        self._world.disconnect(self._peer, peer)

    def set_banned(self, peers: frozenset[str]) -> None:
        self._banned = peers
        for peer in peers:
            self._world.disconnect(self._peer, peer)

    async def found_nearby(self) -> AsyncIterator[PeerAddress]:
        seen: list[MemoryHost] = [self]
        while True:
            newcomers = self._world.newcomers
            for host in self._world.nearby(self._peer):
                if host not in seen:  # who left and came back is found again
                    seen.append(host)
                    yield host.address
            await newcomers.wait()

    def accept(self, dialler: str, protocol: str) -> StreamHandler:
        """Return what serves `protocol` for a peer.

        Raises:
            NetworkError: It is banned here, or nothing does.
        """
        if dialler in self._banned:
            raise NetworkError(f"{self._peer} refuses the connection")
        if protocol not in self._handlers:
            raise NetworkError(f"{self._peer} does not speak {protocol}")
        return self._handlers[protocol]

    def refuses(self, peer: str) -> bool:
        """Whether this host has banned a peer."""
        return peer in self._banned

    def begin(self, handler: StreamHandler, stream: MemoryStream) -> None:
        """Let a handler serve an inbound stream."""
        self._nursery.start_soon(self._serve, handler, stream)

    async def _serve(self, handler: StreamHandler, stream: MemoryStream) -> None:
        try:
            await handler(stream)
        except Exception as error:  # the border where a stream's task ends: the host goes on
            self.failures[type(error).__name__] += 1
            await stream.reset()


@final
class MemoryNetwork:
    """The world that hosts meet in.

    Args:
        lan: Hosts find each other as by mDNS.
        window: Bytes of one direction of a stream that may be under way.
        rng: Decides what chance decides.
        watcher: Sees all that passes.
    """

    def __init__(
        self,
        *,
        lan: bool = False,
        window: int = _WINDOW,
        rng: random.Random | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self._lan = lan
        self.window = window
        self.random = rng or random.Random(0)
        self.watcher = watcher
        self._numbers = itertools.count(1)
        self._known: dict[str, tuple[str, ...]] = {}
        self._hosts: dict[str, MemoryHost] = {}
        self._lines: dict[frozenset[str], Line] = {}
        self._met: dict[frozenset[str], _Connection] = {}
        self.newcomers = trio.Event()
        """Is set, and replaced, when a host joins."""

    @contextlib.asynccontextmanager
    async def join(self, peer: str, *, up: float | None = None, down: float | None = None) -> AsyncIterator[MemoryHost]:
        """Put a host into the world for as long as the block runs.

        Args:
            peer: Its peer id.
            up: Bytes a second that it can send in all; None is no limit.
            down: Bytes a second that it can receive in all; None is no limit.
        """
        if peer in self._hosts:
            raise ValueError(f"{peer} is here already")
        async with trio.open_nursery() as nursery:
            host = self._hosts[peer] = MemoryHost(self, peer, nursery, up, down)
            self._tell_newcomer()
            try:
                yield host
            finally:
                self.vanish(peer)
                nursery.cancel_scope.cancel()

    def _tell_newcomer(self) -> None:
        self.newcomers.set()
        self.newcomers = trio.Event()

    def vanish(self, peer: str) -> None:
        """Let nobody reach a host any more, as when its power fails; it leaves the block of `join` later."""
        self._hosts.pop(peer, None)
        for other in self.connections_of(peer):
            self.disconnect(peer, other)

    def acquaint(self, peer: str, others: Iterable[str]) -> None:
        """Let a host find these, and nobody else, as soon as they are here."""
        self._known[peer] = tuple(others)
        self._tell_newcomer()

    def line(self, one: str, other: str) -> Line:
        """Return what lies between two hosts, to look at or to change."""
        return self._lines.setdefault(frozenset({one, other}), Line())

    def cut(self, one: str, other: str) -> None:
        """Break what is open between two hosts, and let nothing be opened until `mend`."""
        self.line(one, other).up = False
        self.disconnect(one, other)

    def mend(self, one: str, other: str) -> None:
        """Let two hosts meet again."""
        self.line(one, other).up = True

    def nearby(self, peer: str) -> list[MemoryHost]:
        """The hosts that another one finds."""
        if peer in self._known:
            return [self._hosts[other] for other in self._known[peer] if other in self._hosts]
        return list(self._hosts.values()) if self._lan else []

    def open_streams(self) -> list[tuple[str, str]]:
        """Who has a stream to whom that is not closed, once for each stream."""
        return [
            (connection.dialler, stream.peer)
            for connection in self._met.values()
            for stream in connection.streams
            if stream.is_open
        ]

    def connections_of(self, peer: str) -> dict[str, _Connection]:
        """The connections of a host, by the other end."""
        return {other: c for pair, c in self._met.items() if peer in pair for other in pair - {peer}}

    def connect(self, dialler: MemoryHost, peer: str, protocol: str) -> MemoryStream:
        """Open a stream.

        Raises:
            NetworkError: The peer is not here, the line is cut, or one of both refuses.
        """
        acceptor = self._hosts.get(peer)
        line = self.line(dialler.peer, peer)
        if acceptor is None or acceptor is dialler or not line.up or dialler.refuses(peer):
            raise NetworkError(f"{peer} cannot be reached")
        handler = acceptor.accept(dialler.peer, protocol)
        number = next(self._numbers)
        if self.watcher is not None:
            self.watcher.opened(number, dialler.peer, peer, protocol)
        up = _Pipe(line, self.window, _Passage(self, number, dialler, acceptor))
        down = _Pipe(line, self.window, _Passage(self, number, acceptor, dialler))
        ours = MemoryStream(peer, down, up, dialler.caps)
        theirs = MemoryStream(dialler.peer, up, down, acceptor.caps)
        connection = self._met.setdefault(frozenset({dialler.peer, peer}), _Connection(dialler.peer))
        connection.add(ours)
        acceptor.begin(handler, theirs)
        return ours

    def disconnect(self, one: str, other: str) -> None:
        """Break all streams between two hosts; they may meet again."""
        connection = self._met.pop(frozenset({one, other}), None)
        if connection is not None:
            connection.break_off()
