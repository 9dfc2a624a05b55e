"""An authenticated connection that carries streams: three tasks own its socket, and nobody else touches it.

    reader   socket ► records, opened where their bytes belong ► Yamux session ► streams
    writer   control frames first, then the streams with something to send in turn ► sealed into one buffer ► socket
    keeper   asks a silent peer for a sign of life

Invariants:
1. What is sealed is sent: nobody who waits for a write can tear a record by leaving.
2. Bulk is copied by the cipher alone: sealed from the sender's buffer, opened into the receiver's (`Sink.room`).
3. Memory is bounded: one buffer each way, and `MAX_UNREAD` bytes that nobody has taken; then the socket is left alone.
   Little of the buffer is used for what is not bulk that somebody waits for.
4. Time is bounded: who makes us do much for few bytes is read only as fast as there is time for it (`effort`).
5. A stream's failure ends that stream. What breaks the rules of records or frames ends the connection.

Source: specs/transport.md.
"""

from __future__ import annotations

import logging
import math
import mmap
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, final

import trio

from samara.node.network.caps import Pauses, PeerCaps
from samara.node.network.effort import Effort
from samara.node.network.muxed_stream import MuxedStream
from samara.node.network.tcp import TcpStream
from samara.protocol import limits
from samara.protocol.errors import NetworkError, RemoteProtocolError
from samara.protocol.noise import Secured
from samara.protocol.yamux import Body, Ended, Event, GoneAway, Ponged, Reset, Session, StreamOpened, Windowed

__all__ = ["MuxedConnection"]

_log = logging.getLogger(__name__)

_RECEIVE: Final = 1 * limits.MIB
_BATCH: Final = 1 * limits.MIB
_LEAST_BATCH: Final = 32 * limits.KIB
_SLOW: Final = 0.05
"""Seconds in which the socket is to take a batch: longer, and a small frame would wait behind a smaller one."""
_SMALL: Final = 8 * limits.KIB
"""Pieces up to this size are copied together into one record: a record costs as much as copying 8 KiB."""
_RECEIVE_SMALL: Final = 32 * limits.KIB
"""What is read at a time when it is not bulk for a sink: many small frames, or bytes that nobody waits for. Others want
their turn in between, and 128 connections are not to fill their buffers for nothing."""
_BULK_LASTS: Final = 16
"""Records since the last that was put in its place until it is no bulk: the headers between, and a little more."""
_GOODBYE: Final = 1.0


@final
class MuxedConnection:
    """An authenticated connection.

    Args:
        tcp: The socket.
        secured: What the handshake has made.
        caps: What may pass to and from this peer.
        effort: What it made us do so far.
        initiator: Whether we dialled.

    Attributes:
        peer: The authenticated peer id.
        tcp: The connection below.
        session: Its Yamux session.
    """

    def __init__(self, tcp: TcpStream, secured: Secured, caps: PeerCaps, effort: Effort, *, initiator: bool) -> None:
        self.peer = secured.peer
        self.tcp = tcp
        self.session = Session(initiator=initiator)
        self._sealer = secured.sealer
        self._opener = secured.opener
        self._early = secured
        self._caps = caps
        self._effort = effort
        self._reading = Pauses()
        self._writing = Pauses()
        self._streams: dict[int, MuxedStream] = {}
        self._ready: deque[MuxedStream] = deque()  # those with something to send, in turn
        self._finish_next: list[int] = []
        self._has_work = trio.Event()
        self._flushed = trio.Event()
        self._opened, self._openings = trio.open_memory_channel[MuxedStream](math.inf)  # bounded by frames' credit
        self._unread = 0
        self._was_read = trio.Event()
        self._batch = _LEAST_BATCH
        self._bulk = 0  # records for which the last that was put in its place still counts
        self._heard = trio.current_time()
        self._scope = trio.CancelScope()
        self.closed = False
        """It can carry no more streams."""
        self.broke_rules = False
        """It ended because the peer broke the rules."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Move its bytes until it ends; never raises."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._guarded, self._write)
                    nursery.start_soon(self._guarded, self._keep_alive)
                    task_status.started()
                    await self._guarded(self._read)
                    nursery.cancel_scope.cancel()
        except Exception:  # the border of one connection: a bug in it ends it, and no other
            _log.exception("the connection to %s failed", self.peer)
        finally:
            self._close(NetworkError("the connection is gone"))
            await self.tcp.close()

    async def accept(self) -> MuxedStream | None:
        """Return the next stream that the peer opens, or None when the connection has ended."""
        async for stream in self._openings:
            if not stream.ended:
                self._effort.stream()
                return stream
        return None

    async def open(self) -> MuxedStream:
        """Open a stream.

        Raises:
            NetworkError: The connection has ended, or the peer takes no more streams.
        """
        await trio.lowlevel.checkpoint()
        if self.closed or not self.session.can_open:
            raise NetworkError("the connection is gone")
        number = self.session.open()
        stream = self._streams[number] = MuxedStream(self, number, limits.STREAM_WINDOW)
        self._wake_writer()
        return stream

    async def close(self) -> None:
        """Say goodbye, in a second at most, and close the connection; never raises."""
        if not self.closed:
            self.closed = True
            self.session.go_away()
            self._flushed = trio.Event()
            self._wake_writer()
            with trio.move_on_after(_GOODBYE, shield=True):
                await self._flushed.wait()
        self._scope.cancel()
        self._close(NetworkError("the connection was closed"))
        await self.tcp.close()

    @property
    def silence(self) -> float:
        """Seconds since something came."""
        return trio.current_time() - self._heard

    # What its streams ask.

    @property
    def held_back(self) -> float:
        """Seconds so far in which nothing moved for our own sake."""
        return self._reading.seconds + self._writing.seconds

    def carries(self, stream: MuxedStream) -> bool:
        """Whether a stream has not ended. By itself, not by its number: a peer may use that again for another."""
        return self._streams.get(stream.number) is stream

    def has_to_send(self, stream: MuxedStream) -> None:
        """Give a stream its turn."""
        if stream not in self._ready and self.session.sendable(stream.number):
            self._ready.append(stream)
            self._wake_writer()

    def grant(self, number: int, count: int) -> None:
        """Let the peer send so many bytes more."""
        self.session.grant(number, count)
        self._wake_writer()

    def widen(self, stream: MuxedStream) -> None:
        """Give a stream the window of bulk."""
        if more := stream.widen(limits.BULK_WINDOW):
            self.grant(stream.number, more)

    def finish(self, number: int) -> None:
        """Close our end of a stream."""
        self.session.finish(number)
        self._forget_if_over(number)
        self._wake_writer()

    def finish_soon(self, number: int) -> None:
        """Close our end of a stream after the frame that is being made."""
        self._finish_next.append(number)

    def drop(self, number: int) -> None:
        """Reset a stream."""
        self.session.reset(number)
        self._forget_if_over(number)
        self._wake_writer()

    def unread(self, count: int) -> None:
        """Take note of bytes that lie here."""
        self._unread += count

    def read(self, count: int) -> None:
        """Take note of bytes that somebody took."""
        self._unread -= count
        if self._unread < limits.MAX_UNREAD:
            self._was_read.set()

    # Reader.

    async def _guarded(self, task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except (NetworkError, RemoteProtocolError) as error:
            _log.debug("the connection to %s ends: %s", self.peer, error.message)
            self.broke_rules |= isinstance(error, RemoteProtocolError)
            self._close(error)
            self._scope.cancel()

    async def _read(self) -> None:
        opener = self._opener
        record_most = opener.head + opener.suite.most + 16
        buffer = memoryview(mmap.mmap(-1, _RECEIVE + record_most))  # its pages cost nothing before they are used
        scratch = memoryview(mmap.mmap(-1, opener.suite.most))
        self._heed_all(memoryview(self._early.opened))
        start, end = 0, len(self._early.rest)
        buffer[:end] = self._early.rest
        while True:
            while (size := opener.size(buffer[start:end])) is not None and size <= end - start:
                await self._rest()
                self._open(buffer[start : start + size], scratch)
                start += size
            if start == end:
                start = end = 0
            elif start and (not self._bulk or len(buffer) - start < record_most):
                buffer[: end - start] = bytes(buffer[start:end])
                start, end = 0, end - start
            while self._unread >= limits.MAX_UNREAD:
                self._was_read = trio.Event()
                with self._reading.pause():
                    await self._was_read.wait()
            await self._rest()
            count = await self._receive(buffer[end : end + (_RECEIVE if self._bulk else _RECEIVE_SMALL)])
            if not count:
                return
            end += count
            self._effort.moved(count, bulk=bool(self._bulk))
            now = trio.current_time()
            self.session.passed(now - self._heard)
            self._heard = now

    async def _rest(self) -> None:
        """Let others have their turns, if this peer has had more than its own."""
        if self._effort.in_debt:
            with self._reading.pause():
                await self._effort.rest()

    async def _receive(self, buffer: memoryview) -> int:
        """Read what there is, as far as the caps let it pass; return how many bytes, 0 at the end.

        It is let through before it is read: a hundred connections that each read a piece and wait afterwards would be
        a hundred pieces ahead of the cap.
        """
        download = self._caps.download
        if (piece := download.piece) is None:
            count = await self.tcp.receive_into(buffer)
            download.charge(count)
            return count
        await self.tcp.wait_readable()
        with self._reading.pause():
            await download.acquire(piece)
        count = 0
        try:
            count = await self.tcp.receive_into(buffer[:piece])
        finally:
            download.give_back(piece - count)
        return count

    def _open(self, record: memoryview, scratch: memoryview) -> None:
        """Open a record where its bytes belong, or else into `scratch`, and hand on what they mean."""
        session = self.session
        if (body := session.body) is not None:
            stream = self._streams.get(body[0])
            count = len(record) - self._opener.head - 16
            if stream is not None and 0 < count <= body[1] and (room := stream.room(count)) is not None:
                self._opener.open_into(record, room)
                session.took(count)
                self._effort.frames(1)
                self._bulk = _BULK_LASTS
                self._with_stream(stream, stream.filled, count)
                return
        self._bulk = max(self._bulk - 1, 0)
        self._heed_all(scratch[: self._opener.open_into(record, scratch)])

    def _heed_all(self, data: memoryview) -> None:
        frames = self.session.frames
        for event in self.session.receive(data):
            self._heed(event)
        self._effort.frames(max(self.session.frames - frames, 1))  # a record costs as much as a frame
        if self.session.has_out:
            self._wake_writer()

    def _heed(self, event: Event) -> None:
        match event:
            case Body(number, data):
                if (stream := self._streams.get(number)) is not None:
                    self._with_stream(stream, stream.feed, data)
            case Windowed(number):
                if (stream := self._streams.get(number)) is not None and stream.waiting:
                    self.has_to_send(stream)
            case StreamOpened() if self._scope.cancel_called:
                pass  # the writer has failed, and the reader has not heard of it yet
            case StreamOpened(number):
                stream = self._streams[number] = MuxedStream(self, number, limits.STREAM_WINDOW)
                self._effort.frames(limits.EFFORT_OF_AN_OPENING)
                self._opened.send_nowait(stream)
            case Ended(number):
                if (stream := self._streams.get(number)) is not None:
                    self._with_stream(stream, stream.end)
                self._forget_if_over(number)
            case Reset(number):
                if (stream := self._streams.pop(number, None)) is not None:
                    stream.break_off(NetworkError("the stream was reset"))
            case GoneAway():
                self.closed = True
            case Ponged():
                pass

    def _with_stream(self, stream: MuxedStream, call: Callable[..., None], *arguments: object) -> None:
        """Let a stream have something; what it raises resets it, and nothing else."""
        try:
            call(*arguments)
        except RemoteProtocolError as error:
            self.drop(stream.number)
            stream.break_off(error)
        except Exception:  # the border of one stream: a bug in who reads it must not end the others
            _log.exception("a stream with %s failed", self.peer)
            self.drop(stream.number)
            stream.break_off(NetworkError("the stream failed here"))

    # Writer.

    async def _write(self) -> None:
        out = memoryview(mmap.mmap(-1, _BATCH + _BATCH // 4 + 2 * limits.MAX_CONTROL_BACKLOG))
        small = bytearray()
        upload = self._caps.upload
        self.tcp.set_unsent(2 * self._batch)
        while True:
            piece = upload.piece
            batch = min(self._batch, piece or _BATCH)
            filled = self._fill(out, small, batch)
            if not filled:
                self._flushed.set()
                self._has_work = trio.Event()
                await self._has_work.wait()
                continue
            if piece is None:
                upload.charge(filled)
            else:
                with self._writing.pause():
                    await upload.acquire(filled)
            began = trio.current_time()
            await self.tcp.send_all(out[:filled])
            took = trio.current_time() - began
            self._effort.moved(filled)
            if filled >= self._batch:  # a full one shows how fast the line is
                self._set_batch(max(_LEAST_BATCH, batch // 2) if took > _SLOW else min(_BATCH, batch * 2))

    def _set_batch(self, batch: int) -> None:
        if batch != self._batch:
            self._batch = batch
            self.tcp.set_unsent(2 * batch)

    def _fill(self, out: memoryview, small: bytearray, batch: int) -> int:
        """Seal control frames, and about `batch` bytes of the streams in turn; return how much that made."""
        place = carried = 0
        small += self.session.take_out()
        if self.session.has_out:  # no data may overtake what opens its stream
            return self._seal_small(out, place, small)
        while self._ready and carried < batch:
            stream = self._ready.popleft()
            count = min(batch - carried, self.session.sendable(stream.number)) if self.carries(stream) else 0
            parts = stream.next_parts(count) if count else []
            if parts:
                size = sum(map(len, parts))
                small += self.session.send(stream.number, size)
                carried += size
                for part in parts:
                    place = self._seal(out, place, small, part)
            for number in self._finish_next:
                self.session.finish(number)
                self._forget_if_over(number)
            self._finish_next.clear()
            if stream.waiting:
                self.has_to_send(stream)
        small += self.session.take_out()
        return self._seal_small(out, place, small)

    def _seal(self, out: memoryview, place: int, small: bytearray, part: memoryview) -> int:
        if len(part) <= _SMALL and len(small) <= _SMALL:
            small += part
            return place
        place = self._seal_small(out, place, small)
        most = self._sealer.suite.most
        for start in range(0, len(part), most):
            place += self._sealer.seal_into(part[start : start + most], out[place:])
        return place

    def _seal_small(self, out: memoryview, place: int, small: bytearray) -> int:
        if small:
            most = self._sealer.suite.most
            data = memoryview(bytes(small))
            for start in range(0, len(data), most):
                place += self._sealer.seal_into(data[start : start + most], out[place:])
            small.clear()
        return place

    def _wake_writer(self) -> None:
        self._has_work.set()

    # Keeper.

    async def _keep_alive(self) -> None:
        """Ask a silent peer for a sign of life, and end the connection when none comes."""
        while True:
            silent = self.silence
            if silent < limits.KEEP_ALIVE:
                await trio.sleep(limits.KEEP_ALIVE - silent)
                continue
            asked = self._heard
            self.session.ping(0)
            self._wake_writer()
            await trio.sleep(limits.KEEP_ALIVE)
            if self._heard == asked and self._unread < limits.MAX_UNREAD:
                raise NetworkError(f"{self.peer} gave no sign of life for {2 * limits.KEEP_ALIVE:.0f} s")

    # The end.

    def _forget_if_over(self, number: int) -> None:
        """Forget a stream that both ends have closed; who still reads it has it."""
        if not self.session.is_open(number):
            self._streams.pop(number, None)

    def _close(self, error: NetworkError | RemoteProtocolError) -> None:
        self.closed = True
        self._flushed.set()
        self._opened.close()
        streams, self._streams = list(self._streams.values()), {}
        for stream in streams:
            self.session.reset(stream.number)
            stream.break_off(NetworkError(f"the connection is gone: {error.message}"))
