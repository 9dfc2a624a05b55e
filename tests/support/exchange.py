"""Two ends of an exchange in memory: streams with a window, a network of one peer, a shelf that holds real bytes."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import trio
from blake3 import blake3
from support.streams import StreamParts

from samara.node.network.caps import Pauses
from samara.node.network.transport import PeerAddress
from samara.protocol.errors import NetworkError
from samara.protocol.ids import ContentId, Digest, PublisherId, ReleaseId
from samara.protocol.ports import RAW_ALONE, Accepts, Availability, Beginning, LogPage, Piece, Records, Run
from samara.protocol.trust import Ledger
from samara.protocol.trust.passing import page_of

T = TypeVar("T")


class Pipe:
    """One direction: bytes in order, at most `window` of them under way."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.parts: deque[memoryview] = deque()
        self.held = 0
        self.moved = 0
        self.rate: float | None = None  # bytes a second
        self.slowed = Pauses()
        self.ended = False
        self.broken = False
        self.changed = trio.Event()

    def wake(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    async def put(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        rest = memoryview(data)
        while rest:
            while self.held >= self.window and not self.broken and not self.ended:
                await self.changed.wait()
            if self.broken or self.ended:
                raise NetworkError("the stream is gone")
            part = rest[: self.window - self.held]
            rest = rest[len(part) :]
            # Immutable parts are passed on as they are; what the sender may reuse is copied, as a transport would.
            if self.rate is not None:
                with self.slowed.pause():
                    await trio.sleep(len(part) / self.rate)
            self.parts.append(part if isinstance(part.obj, bytes) else memoryview(bytes(part)))
            self.held += len(part)
            self.wake()

    async def get(self, max_bytes: int) -> memoryview:
        await trio.lowlevel.checkpoint()
        while not self.parts and not self.ended and not self.broken:
            await self.changed.wait()
        if self.broken:
            raise NetworkError("the stream was reset")
        if not self.parts:
            return memoryview(b"")
        part = self.parts[0][:max_bytes]
        if len(part) == len(self.parts[0]):
            self.parts.popleft()
        else:
            self.parts[0] = self.parts[0][len(part) :]
        self.held -= len(part)
        self.moved += len(part)
        self.wake()
        return part


class MemoryStream(StreamParts):
    """A `transport.Stream` in memory."""

    in_place = False

    def __init__(self, peer: str, incoming: Pipe, outgoing: Pipe) -> None:
        self._peer = peer
        self.incoming = incoming
        self.outgoing = outgoing
        self.was_reset = False
        self.was_closed = False

    @property
    def peer(self) -> str:
        return self._peer

    async def receive_some(self, max_bytes: int) -> bytes:
        return bytes(await self.incoming.get(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.outgoing.put(data)

    async def aclose(self) -> None:
        self.was_closed = True
        for pipe in (self.incoming, self.outgoing):
            pipe.ended = True
            pipe.wake()
        await trio.lowlevel.checkpoint()

    async def reset(self) -> None:
        self.was_reset = True
        for pipe in (self.incoming, self.outgoing):
            pipe.broken = True
            pipe.wake()
        await trio.lowlevel.checkpoint()


class CappedStream(MemoryStream):
    """A stream whose transport keeps a cap."""

    @property
    def held_back(self) -> float:
        return self.incoming.slowed.seconds + self.outgoing.slowed.seconds


class InPlaceStream(MemoryStream):
    """A stream that fills the buffers of a sink."""

    in_place = True


def stream_pair(window: int = 1 << 20, kind: type[MemoryStream] = MemoryStream) -> tuple[MemoryStream, MemoryStream]:
    """Return the ends of the opener (its peer is "server") and of the acceptor (its peer is "client")."""
    up, down = Pipe(window), Pipe(window)
    return kind("server", down, up), kind("client", up, down)


async def at_once(call: Callable[[], T], /) -> T:
    """Run a blocking call in the loop itself, so that a clock that jumps does not jump over a thread."""
    await trio.lowlevel.checkpoint()
    return call()


class OneStream:
    """A network that opens one given stream; all that `ExchangeClient.connect` needs of one."""

    def __init__(self, stream: MemoryStream) -> None:
        self.stream = stream
        self.opened: list[tuple[PeerAddress, str]] = []

    async def open_stream(self, peer: PeerAddress, protocol: str, *, timeout: float) -> MemoryStream:
        await trio.lowlevel.checkpoint()
        self.opened.append((peer, protocol))
        return self.stream


@dataclass
class MemoryShelf:
    """A shelf of one content, held in memory, for everyone but `stranger`."""

    content: ContentId
    streams: dict[int, list[bytes]] = field(default_factory=dict)
    missing: set[tuple[int, int]] = field(default_factory=set)
    nodes: dict[Digest, bytes] = field(default_factory=dict)
    release: tuple[ReleaseId, Records] | None = None
    heads: dict[tuple[PublisherId, str], Records] = field(default_factory=dict)
    ledgers: dict[PublisherId, Ledger] = field(default_factory=dict)
    objects: list[bytes] = field(default_factory=list)
    stranger: str = ""
    before_read: Callable[[int], None] = lambda first: None
    reads: list[tuple[int, int, int]] = field(default_factory=list)

    def add_node(self, node: bytes) -> Digest:
        value = Digest(blake3(node).digest())
        self.nodes[value] = node
        return value

    def _shows(self, content: ContentId, peer: str) -> bool:
        return content == self.content and peer != self.stranger

    def records(self, release: ReleaseId, peer: str) -> Records | None:
        if self.release is None or self.release[0] != release or peer == self.stranger:
            return None
        return self.release[1]

    def latest(self, publisher: PublisherId, name: str, peer: str) -> Records | None:
        return None if peer == self.stranger else self.heads.get((publisher, name))

    def log(self, publisher: PublisherId, root: int, first: int, peer: str) -> LogPage | None:
        ledger = self.ledgers.get(publisher)
        return None if ledger is None or peer == self.stranger else page_of(ledger, root, first)

    def ahead(self, records: Records, most: int, peer: str) -> Beginning | None:
        sums = itertools.accumulate(map(len, self.objects))
        fit = sum(size <= most for size in sums)
        return None if peer == self.stranger else Beginning(self.objects[:fit], not self.missing)

    def node(self, content: ContentId, node: Digest, peer: str) -> bytes | None:
        return self.nodes.get(node) if self._shows(content, peer) else None

    def files(self, content: ContentId, peer: str, bases: Sequence[ContentId] = ()) -> bytes | None:
        if not self._shows(content, peer):
            return None
        whole = [
            all((n, i) not in self.missing for i in range(len(self.streams[n]))) for n in sorted(self.streams) if n
        ]
        return pack_bits(whole)

    def availability(
        self, content: ContentId, stream: int, peer: str, bases: Sequence[ContentId] = ()
    ) -> Availability | None:
        if not self._shows(content, peer) or stream not in self.streams:
            return None
        held = [(stream, i) not in self.missing for i in range(len(self.streams[stream]))]
        return Availability(len(held), None if all(held) else pack_bits(held))

    def read(
        self,
        content: ContentId,
        stream: int,
        first: int,
        count: int,
        peer: str,
        room: memoryview | None = None,
        accepts: Accepts = RAW_ALONE,
        *,
        least: int | None = 0,
    ) -> Run | None:
        self.before_read(first)
        self.reads.append((stream, first, count))
        if not self._shows(content, peer):
            return None
        pieces: list[Piece] = []
        while len(pieces) < count and first < len(self.streams.get(stream, ())) and (stream, first) not in self.missing:
            pieces.append(Piece(self.streams[stream][first], 1))
            first += 1
            if first == len(self.streams[stream]) and stream:
                stream, first = next((n for n in sorted(self.streams) if n > stream and self.streams[n]), stream + 1), 0
        return Run(pieces, stream, first, sum(len(piece.data) for piece in pieces)) if pieces else None


def pack_bits(bits: Sequence[bool]) -> bytes:
    """Lowest bit of byte 0 first; the naive way."""
    return sum(1 << i for i, bit in enumerate(bits) if bit).to_bytes((len(bits) + 7) // 8, "little")
