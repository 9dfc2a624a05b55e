"""One stream of a connection that carries many: what was received and nobody took yet, and what is still to be sent.

It owns no task: the connection's reader and writer ask it for what is to be sent, and give
it what came. Bytes go straight into the place that a sink names for them.

Source: specs/transport.md, "Streams".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

import trio

from samara.node.network.transport import Buffer, Sink
from samara.protocol.addresses import Scope
from samara.protocol.errors import NetworkError, RemoteProtocolError

if TYPE_CHECKING:
    from samara.node.network.connection import MuxedConnection

__all__ = ["MuxedStream"]


@final
@dataclass(slots=True, eq=False)
class _Outgoing:
    """What one call sends, and who waits for it."""

    parts: deque[memoryview]
    left: int
    sealed: trio.Event = field(default_factory=trio.Event)


@final
class MuxedStream:
    """One stream of bytes; made by `MuxedConnection`."""

    def __init__(self, connection: MuxedConnection, number: int, window: int) -> None:
        self._connection = connection
        self._number = number
        self._window = window
        self._outgoing: deque[_Outgoing] = deque()
        self._finishing = False
        self._held: deque[bytes] = deque()
        self._unread = 0
        self._used = 0  # bytes taken that no window was granted for
        self._sink: Sink | None = None
        self._reads = 0
        self._waited_for = False
        self._news = trio.Event()
        self._they_ended = False
        self._broken: NetworkError | RemoteProtocolError | None = None

    @property
    def ended(self) -> bool:
        """Both ends have closed it, or one has reset it."""
        return not self._connection.carries(self)

    async def wait_ended(self) -> None:
        """Wait until both ends have closed it, or one has reset it."""
        while not self.ended:
            await self._news.wait()

    @property
    def reads(self) -> int | None:
        """How often it was read, once we closed our end; None while somebody waits for it, or we still send."""
        if not self._finishing or self._outgoing or self._waited_for or self._sink is not None:
            return None
        return self._reads

    # Receiving.

    async def receive_to(self, sink: Sink) -> None:
        """Give all that comes to a sink, until the peer closes its end.

        Raises:
            NetworkError: The stream was reset, or the connection is gone.
            RemoteProtocolError: The sink raised it.
        """
        self._connection.widen(self)
        while self._held:
            data = self._held.popleft()
            self._taken(len(data))
            sink.feed(memoryview(data))
        self._sink = sink
        try:
            while self._broken is None and not self._they_ended:
                await self._news.wait()
        finally:
            self._sink = None
        if self._broken is not None:
            raise type(self._broken)(self._broken.message)

    async def receive_some(self, max_bytes: int) -> bytes:
        """Return 1 to `max_bytes` bytes, or b"" when the peer closed its end.

        Raises:
            NetworkError: The stream was reset, or the connection is gone.
        """
        await trio.lowlevel.checkpoint()
        self._reads += 1
        while not self._held:
            if self._broken is not None:
                raise type(self._broken)(self._broken.message)
            if self._they_ended:
                return b""
            self._waited_for = True
            try:
                await self._news.wait()
            finally:
                self._waited_for = False
        data = self._held.popleft()
        if len(data) > max_bytes:
            self._held.appendleft(data[max_bytes:])
            data = data[:max_bytes]
        elif self._held:
            data = self._joined(data, max_bytes)
        self._taken(len(data))
        return data

    def _joined(self, data: bytes, most: int) -> bytes:
        """Return what follows, too, as far as it fits whole: many small frames are to wake their reader once."""
        parts, count = [data], len(data)
        while self._held and count + len(self._held[0]) <= most:
            count += len(self._held[0])
            parts.append(self._held.popleft())
        return b"".join(parts)

    def _taken(self, count: int) -> None:
        self._unread -= count
        self._connection.read(count)
        self._use(count)

    def _use(self, count: int) -> None:
        """Let the peer send again what was used up, in steps that are worth a frame."""
        self._used += count
        if self._used >= self._window // 4 and not self._they_ended:
            self._connection.grant(self._number, self._used)
            self._used = 0

    # Sending.

    async def send_all(self, data: Buffer) -> None:
        """Send all of `data`, however long the peer takes to make room for it.

        Raises:
            NetworkError: The stream was reset or closed, or the connection is gone.
        """
        await self.send_parts((data,))

    async def send_parts(self, parts: Sequence[Buffer]) -> None:
        """Send buffers one after another; they may be used again when it returns, and must not change before.

        Raises:
            NetworkError: As `send_all`.
        """
        views = deque(view for part in parts if (view := memoryview(part).cast("B")))
        if self._broken is not None or self._finishing:
            raise NetworkError("the stream was closed" if self._broken is None else self._broken.message)
        if not views:
            await trio.lowlevel.checkpoint()
            return
        outgoing = _Outgoing(views, sum(map(len, views)))
        self._outgoing.append(outgoing)
        self._connection.has_to_send(self)
        try:
            await outgoing.sealed.wait()
        finally:
            if outgoing.left and outgoing in self._outgoing:
                self._outgoing.remove(outgoing)
        if outgoing.left:
            raise NetworkError(self._broken.message if self._broken is not None else "the stream was closed")

    async def close(self) -> None:
        """Say that no more will be sent, after what is being sent; never raises."""
        self._finishing = True
        if not self._outgoing and not self.ended:
            self._connection.finish(self._number)
        await trio.lowlevel.checkpoint()

    async def reset(self, why: str = "the stream was reset") -> None:
        """End it at once; never raises. Who still uses it, or will, is told why."""
        if not self.ended:
            self._connection.drop(self._number)
        self.break_off(NetworkError(why))
        await trio.lowlevel.checkpoint()

    @property
    def near(self) -> bool:
        """Both ends are on one machine."""
        tcp = self._connection.tcp
        return tcp.remote.scope <= Scope.LOOPBACK or tcp.remote.host == tcp.local.host

    @property
    def held_back(self) -> float:
        """Seconds so far in which nothing moved for our own sake."""
        return self._connection.held_back

    # What the connection asks.

    @property
    def number(self) -> int:
        """Its number on the wire."""
        return self._number

    @property
    def waiting(self) -> bool:
        """Whether there is something to send."""
        return bool(self._outgoing)

    def widen(self, window: int) -> int:
        """Take a larger window from now on; return by how much."""
        more, self._window = max(window - self._window, 0), max(window, self._window)
        return more

    def room(self, count: int) -> memoryview | None:
        """Return where the next `count` bytes belong, if somebody has a place for them."""
        return None if self._sink is None else self._sink.room(count)

    def filled(self, count: int) -> None:
        """Take note that `count` bytes were put in their place."""
        if self._sink is not None:
            self._sink.filled(count)
        self._use(count)

    def feed(self, data: memoryview) -> None:
        """Take bytes."""
        if self._sink is not None:
            self._sink.feed(data)
            self._use(len(data))
            return
        self._held.append(bytes(data))
        self._unread += len(data)
        self._connection.unread(len(data))
        self._tell()

    def end(self) -> None:
        """Take note that the peer sends no more."""
        self._they_ended = True
        self._tell()

    def break_off(self, error: NetworkError | RemoteProtocolError) -> None:
        """Take note that the stream is gone; only the first call counts."""
        if self._broken is not None:
            return
        self._broken = error
        self._held.clear()
        self._connection.read(self._unread)
        self._unread = 0
        for outgoing in self._outgoing:
            outgoing.sealed.set()
        self._tell()

    def next_parts(self, most: int) -> list[memoryview]:
        """Take up to `most` bytes of what is to be sent, as they lie."""
        taken: list[memoryview] = []
        while most and self._outgoing:
            outgoing = self._outgoing[0]
            part = outgoing.parts.popleft()
            if len(part) > most:
                outgoing.parts.appendleft(part[most:])
                part = part[:most]
            taken.append(part)
            most -= len(part)
            outgoing.left -= len(part)
            if not outgoing.left:
                self._outgoing.popleft()
                outgoing.sealed.set()  # it wakes after the writer has sealed: nothing is awaited before
        if self._finishing and not self._outgoing:
            self._connection.finish_soon(self._number)
        return taken

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()
