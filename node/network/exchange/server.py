"""Serves one inbound stream of the exchange: what a shelf holds, to one peer.

Three tasks in one nursery, and nothing else owns the stream:

    reader   bytes -> `Acceptor` -> requests, in order
    fetcher  requests -> the shelf, in worker threads -> answers, one batch ahead of the line
    writer   answers -> bytes

The machine bounds the requests, the rendezvous between fetcher and writer bounds the memory: one batch is being sent
while the next is read. Never here: a decision about who may have what; that is the shelf's, which is told the peer id
that the transport has proved.

Source: specs/exchange.md.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol, TypeVar, final

import trio

from samara.node.network.caps import TokenBucket
from samara.node.network.exchange.giving import Giving
from samara.node.network.exchange.patience import Patience, StallClock
from samara.node.network.exchange.pool import BufferPool
from samara.node.network.exchange.slots import Credit, UploadSlots
from samara.node.network.exchange.worth import Encode, Worth
from samara.node.network.transport import Stream
from samara.protocol.errors import NetworkError, SamaraError
from samara.protocol.exchange.messages import (
    RAW,
    SPOKEN,
    Ahead,
    Answer,
    Busy,
    Chunk,
    GetLog,
    GetNodes,
    GetRecords,
    Have,
    HaveRequest,
    Hello,
    LogPart,
    Node,
    NotFound,
    RecordsPart,
    Refusal,
    Refused,
    Request,
    Unknown,
    Want,
)
from samara.protocol.exchange.session import Acceptor, Finished, Opened
from samara.protocol.ids import ContentId, digest
from samara.protocol.limits import (
    HANDSHAKE_TIMEOUT,
    IDLE_TIMEOUT,
    MAX_BITS_PAGE,
    MAX_ENVELOPE,
    MAX_PAYLOAD,
    MAX_RECORDS,
    MAX_RETRY_MS,
    MAX_ROOT_CHAIN,
    MAX_RUN_BYTES,
    MAX_STREAM_CHUNKS,
    PROGRESS_RATE,
    PROGRESS_WINDOW,
)
from samara.protocol.ports import Accepts, Beginning, LogPage, Piece, Records, Shelf

__all__ = ["Blocking", "Service", "WorkerThreads", "serve_stream"]

_log = logging.getLogger(__name__)

T = TypeVar("T")

_RECEIVE: Final = 16 << 10
"""Bytes of one read: requests are small."""

_NODE_BATCH: Final = 8

_READ: Final = MAX_RUN_BYTES
"""Bytes that are read at a time: enough for a disk to stream, and many times what a worker thread costs."""

_SEND: Final = 1 << 20
"""Bytes that are given to the stream at a time: within so many a peer that does not read is noticed."""


@final
@dataclass(frozen=True, slots=True)
class _Batch:
    """Answers that are sent together, with their payloads.

    Attributes:
        answers: In the order in which they go.
        room: The buffer in which the payloads lie, if it can be used again.
    """

    answers: Sequence[tuple[Answer, bytes | memoryview]]
    room: memoryview | None = None


class Blocking(Protocol):
    """Runs a call that blocks beside the loop. A simulation runs it at once: threads know no simulated time."""

    async def __call__(self, call: Callable[[], T], /) -> T:
        """Run `call`, and return or raise what it does."""
        ...


@final
class WorkerThreads:
    """Runs blocking calls in worker threads.

    Args:
        most: Threads at a time.
    """

    def __init__(self, most: int = 8) -> None:
        self._limiter = trio.CapacityLimiter(most)

    async def __call__(self, call: Callable[[], T], /) -> T:
        """Run `call`. When cancelled it is left to end by itself: a session need not wait for a slow disk."""
        return await trio.to_thread.run_sync(call, limiter=self._limiter, abandon_on_cancel=True)


def _tell_nobody(content: ContentId, peer: str) -> None:
    pass


@final
@dataclass(frozen=True, slots=True)
class Service:
    """What all sessions of a node share, and how long they wait.

    Attributes:
        blocking: Runs the calls of the shelf, which block.
        slots: Who is served chunks, and who hears BUSY.
        credit: Who gave us how much lately: givers come first.
        upload: The cap on what goes up, which decides how many are served at a time; the transport keeps it.
        giving: Whether chunks are given at all, and how many bytes of them.
        buffers: Where chunks are read to.
        encode: When chunks are encoded.
        agent: What we say that we run.
        busy_retry: Seconds after which a busy peer is to ask again.
        handshake: Seconds until HELLO must be here.
        idle: Seconds without any request until a session is closed.
        window: Seconds that a peer that does not read is waited for.
        rate: Bytes a second that a peer must read in the long run.
        gave: Is told of what content a peer gets chunks, once a request.
    """

    blocking: Blocking = field(default_factory=WorkerThreads)
    slots: UploadSlots = field(default_factory=UploadSlots)
    credit: Credit = field(default_factory=Credit)
    upload: TokenBucket = field(default_factory=TokenBucket)
    giving: Giving = field(default_factory=Giving)
    buffers: BufferPool = field(default_factory=BufferPool)
    encode: Encode = Encode.AUTO
    agent: str = ""
    busy_retry: float = 2.0
    handshake: float = HANDSHAKE_TIMEOUT
    idle: float = IDLE_TIMEOUT
    window: float = PROGRESS_WINDOW
    rate: float = PROGRESS_RATE
    gave: Callable[[ContentId, str], None] = _tell_nobody


async def serve_stream(stream: Stream, shelf: Shelf, service: Service) -> None:
    """Serve one stream until its peer leaves, is idle, stalls or breaks the rules. The stream is closed or reset.

    Args:
        stream: An inbound stream of `/samara/exchange/1`.
        shelf: What is served; its calls run in worker threads.
        service: What the sessions share.

    Raises:
        RemoteProtocolError: The peer broke the rules; it should count against it.
    """
    await _ServerSession(stream, shelf, service).run()


@final
class _ServerSession:
    def __init__(self, stream: Stream, shelf: Shelf, service: Service) -> None:
        self._stream = stream
        self._shelf = shelf
        self._service = service
        self._acceptor = Acceptor(Hello(encodings=SPOKEN, agent=service.agent))
        self._patience = Patience(service.window, service.rate)
        self._nursery_scope = trio.CancelScope()
        self._failure: SamaraError | None = None
        self._receiving: trio.CancelScope | None = None
        self._clock = StallClock(self._patience, lambda: stream.held_back)
        self._idle_since = 0.0
        self._promised = 0
        self._worth = Worth(service.encode, near=stream.near)
        self._to_fetch, self._fetching = trio.open_memory_channel[Request | Unknown](math.inf)  # bounded by the machine
        self._to_write, self._writing = trio.open_memory_channel[_Batch](0)

    async def run(self) -> None:
        try:
            with self._nursery_scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._guarded, self._read)
                    nursery.start_soon(self._guarded, self._fetch)
                    nursery.start_soon(self._guarded, self._write)
                    nursery.start_soon(self._guarded, self._notice_stall)
        except BaseException:
            await self._leave(cleanly=False)
            raise
        finally:
            self._release_slot()
            self._service.giving.let_go(self._promised)
        await self._leave(cleanly=self._failure is None)
        if isinstance(self._failure, NetworkError):
            _log.debug("exchange with %s ended: %s", self._stream.peer, self._failure)
        elif self._failure is not None:
            raise self._failure

    async def _leave(self, *, cleanly: bool) -> None:
        with trio.move_on_after(1.0, shield=True):
            await (self._stream.aclose() if cleanly else self._stream.reset())

    async def _guarded(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run a task of the session; its first failure ends the other tasks, and is what the session failed of."""
        try:
            await task()
        except SamaraError as error:
            self._failure = self._failure or error
            self._nursery_scope.cancel()

    # --- reader ---

    async def _read(self) -> None:
        self._idle_since = trio.current_time()
        with self._to_fetch:  # not `async with`: its checkpoint could be cancelled, and hide what the peer did
            while True:
                with trio.CancelScope() as self._receiving:
                    self._set_deadline()
                    data = await self._stream.receive_some(_RECEIVE)
                if self._receiving.cancelled_caught:
                    return self._out_of_time()
                if self._take(data):
                    return None

    def _take(self, data: bytes) -> bool:
        for event in self._acceptor.receive(data):
            match event:
                case Finished():
                    return True
                case Opened():
                    self._idle_since = trio.current_time()
                case GetRecords() | GetLog() | GetNodes() | HaveRequest() | Want() | Unknown():
                    self._to_fetch.send_nowait(event)
                case _:
                    pass  # CANCEL: the machine knows, and fetcher and writer ask it
        return False

    def _set_deadline(self) -> None:
        if self._receiving is None:
            return
        if self._acceptor.opened is None:
            self._receiving.deadline = self._idle_since + self._service.handshake
        elif self._acceptor.outstanding:
            self._receiving.deadline = math.inf
        else:
            self._receiving.deadline = self._idle_since + self._service.idle

    def _out_of_time(self) -> None:
        if self._acceptor.opened is None:
            raise NetworkError(f"{self._stream.peer} said no HELLO within {self._service.handshake} s")
        # Idle: an orderly end, once the writer has nothing left to say.

    # --- fetcher ---

    async def _fetch(self) -> None:
        with self._to_write:
            async for request in self._fetching:
                await self._answer(request)

    async def _answer(self, request: Request | Unknown) -> None:
        if self._acceptor.is_cancelled(request.id):
            return await self._emit((Refused(request.id, Refusal.CANCELLED), b""))
        try:
            match request:
                case Want():
                    await self._answer_want(request)
                case HaveRequest():
                    await self._answer_have(request)
                case GetNodes():
                    await self._answer_nodes(request)
                case GetRecords():
                    await self._answer_records(request)
                case GetLog():
                    await self._answer_log(request)
                case Unknown():
                    await self._emit((Refused(request.id, Refusal.UNKNOWN), b""))
        except _ShelfFailed:
            # What cannot be read is not here; a word of its own would tell what exists.
            await self._emit((NotFound(request.id), b""))

    async def _emit(self, *answers: tuple[Answer, bytes | memoryview]) -> None:
        await self._to_write.send(_Batch(answers))

    async def _ask_shelf(self, call: Callable[[], T]) -> T:
        def guarded() -> T:
            try:
                return call()
            except SamaraError as error:
                _log.warning("the shelf failed to serve %s: %s", self._stream.peer, error)
                raise _ShelfFailed from error

        return await self._service.blocking(guarded)

    async def _answer_want(self, want: Want) -> None:
        if (retry := self._why_busy()) is not None:
            return await self._emit((Busy(want.id, round(retry * 1000)), b""))
        done, stream, first = 0, want.stream, want.first
        while done < want.count and not self._acceptor.is_cancelled(want.id):
            room = self._service.buffers.take(_READ)
            left = want.count - done
            accepts, least = Accepts(want.encodings, want.bases), self._worth.least
            began = trio.current_time()
            run = await self._ask_shelf(
                partial(
                    self._shelf.read, want.content, stream, first, left, self._stream.peer, room, accepts, least=least
                )
            )
            if run is None:
                self._service.buffers.give(room)
                return await self._emit((NotFound(want.id), b""))
            if least is not None:
                self._worth.encoded(run.bytes, trio.current_time() - began)
            may = self._promise([len(piece.data) for piece in run.pieces])
            if not done and may:
                self._service.gave(want.content, self._stream.peer)
            answers: list[tuple[Answer, bytes | memoryview]] = []
            for piece in run.pieces[:may]:
                answers.append((_chunk(want.id, done, piece), piece.data))
                done += piece.count
            if may < len(run.pieces):
                answers.append((Busy(want.id, MAX_RETRY_MS), b""))
            await self._to_write.send(_Batch(answers, room))
            if may < len(run.pieces):
                return None
            stream, first = run.stream, run.index
        if done < want.count:
            await self._emit((Refused(want.id, Refusal.CANCELLED), b""))
        return None

    async def _answer_nodes(self, asked: GetNodes) -> None:
        def read(start: int) -> list[bytes]:
            found = []
            for value in asked.hashes[start : start + _NODE_BATCH]:
                node = self._shelf.node(asked.content, value, self._stream.peer)
                if node is None:
                    break
                found.append(node)
            return found

        for start in range(0, len(asked.hashes), _NODE_BATCH):
            found = await self._ask_shelf(partial(read, start))
            answers = [(Node(asked.id, start + i), node) for i, node in enumerate(found)]
            missing = len(found) < len(asked.hashes[start : start + _NODE_BATCH])
            await self._emit(*answers, *([(NotFound(asked.id), b"")] if missing else []))
            if missing or self._acceptor.is_cancelled(asked.id):
                return

    async def _answer_have(self, asked: HaveRequest) -> None:
        content, stream, peer = asked.content, asked.stream, self._stream.peer
        bits: bytes | None
        if stream is None:
            bits = await self._ask_shelf(lambda: self._shelf.files(content, peer, asked.bases))
            total = 8 * len(bits or b"")
        else:
            held = await self._ask_shelf(lambda: self._shelf.availability(content, stream, peer, asked.bases))
            bits, total = (None, 0) if held is None else (held.bits, held.chunks)
        if total == 0:
            answer: tuple[Answer, bytes | memoryview] = NotFound(asked.id), b""
        elif total > MAX_STREAM_CHUNKS:
            answer = Refused(asked.id, Refusal.LIMIT), b""
        elif asked.first >= total:
            answer = Refused(asked.id, Refusal.OUT_OF_RANGE), b""
        elif bits is None:
            answer = Have(asked.id, total, asked.first, whole=True), b""
        else:
            page = bits[asked.first // 8 : (min(total, asked.first + MAX_BITS_PAGE) + 7) // 8]
            answer = Have(asked.id, total, asked.first, whole=False), page
        await self._emit(answer)

    async def _answer_records(self, asked: GetRecords) -> None:
        peer = self._stream.peer

        def read() -> Records | None:
            if asked.release is not None:
                return self._shelf.records(asked.release, peer)
            if asked.publisher is not None:
                return self._shelf.latest(asked.publisher, asked.name, peer)
            return None

        records = await self._ask_shelf(read)
        if records is None:
            return await self._emit((NotFound(asked.id), b""))
        return await self._emit(*_records_answers(asked.id, records, await self._read_ahead(asked, records)))

    async def _read_ahead(self, asked: GetRecords, records: Records) -> Beginning | None:
        """Return what goes ahead: nothing when chunks would not be given, since chunks of the table are among it."""
        if not asked.ahead or self._why_busy() is not None:
            return None
        try:
            found = await self._ask_shelf(partial(self._shelf.ahead, records, asked.ahead, self._stream.peer))
        except _ShelfFailed:  # the records are here all the same
            return None
        return found if found and found.objects and self._promise([sum(map(len, found.objects))]) else None

    async def _answer_log(self, asked: GetLog) -> None:
        peer = self._stream.peer
        page = await self._ask_shelf(lambda: self._shelf.log(asked.publisher, asked.root, asked.first, peer))
        if page is None:
            return await self._emit((NotFound(asked.id), b""))
        return await self._emit(*_log_answers(asked, page))

    # --- writer ---

    async def _write(self) -> None:
        await self._send([self._acceptor.hello()])
        async for batch in self._writing:
            await self._send_batch(batch)
            self._idle_since = trio.current_time()
            self._set_deadline()
            if not self._acceptor.outstanding:
                self._release_slot()
        # The fetcher has ended, so the reader has: an orderly end.
        self._nursery_scope.cancel()

    async def _notice_stall(self) -> None:
        await self._clock.run_out()
        raise NetworkError(f"{self._stream.peer} does not read what it asked for")

    async def _send_batch(self, batch: _Batch) -> None:
        parts: list[bytes | memoryview] = []
        joined = chunks = 0
        for answer, payload in batch.answers:
            if isinstance(answer, Chunk | Ahead):
                chunks += len(payload)
            if not self._acceptor.is_outstanding(answer.id):
                continue
            if self._acceptor.is_cancelled(answer.id):
                parts.append(self._acceptor.answer(Refused(answer.id, Refusal.CANCELLED)))
                continue
            parts += (self._acceptor.answer(answer, len(payload)), payload)
            joined += len(payload)
            if joined >= _SEND:
                await self._send(parts)
                parts, joined = [], 0
            if not self._acceptor.is_outstanding(answer.id):
                self._patience.renew()
        await self._send(parts)
        self._promised -= chunks
        self._service.giving.let_go(chunks)
        if batch.room is not None:  # all of it is sealed; who is cancelled before gives nothing back
            self._service.buffers.give(batch.room)

    async def _send(self, parts: list[bytes | memoryview]) -> None:
        if not parts:
            return
        size = sum(map(len, parts))
        self._clock.start(size)
        began = trio.current_time()
        await self._stream.send_parts(parts)
        self._worth.sent(size, trio.current_time() - began)
        self._clock.moved(size)
        self._clock.stop()

    # --- slots ---

    def _why_busy(self) -> float | None:
        """Take a slot, or go on holding it; return the seconds for BUSY when there is none."""
        now = trio.current_time()
        if (retry := self._service.giving.retry_after(now)) is not None:
            return retry
        worth = self._service.credit.of(self._stream.peer, now)
        if not self._service.slots.take(self, self._service.upload.rate, now, worth):
            return self._service.busy_retry
        self._service.giving.begin(self, self._stop_giving)
        return None

    def _release_slot(self) -> None:
        self._service.slots.give_back(self)
        self._service.giving.end(self)

    def _promise(self, sizes: Sequence[int]) -> int:
        """Have chunks promised, as many of the first as may be given; return how many."""
        count = self._service.giving.promise(sizes)
        self._promised += sum(sizes[:count])
        return count

    def _stop_giving(self) -> None:
        """End the session: what lies in its stream would go out all the same, for as long as a trickle takes."""
        self._failure = self._failure or NetworkError("no chunks are given any more, for now")
        self._nursery_scope.cancel()


class _ShelfFailed(Exception):  # noqa: N818 - never leaves this module
    """The shelf raised a `SamaraError`, which was logged."""


def _chunk(id: int, index: int, piece: Piece) -> Chunk:  # noqa: A002 - the protocol's word
    if piece.encoding == RAW:
        return Chunk(id, index, count=piece.count)
    return Chunk(id, index, piece.encoding, piece.base, digest(piece.data), passed_on=piece.passed_on)


def _records_answers(
    id: int,  # noqa: A002 - the protocol's word
    records: Records,
    ahead: Beginning | None,
) -> list[tuple[Answer, bytes]]:
    """Return the envelopes of `records` in as few parts as can be, and what goes ahead."""
    head = () if records.head is None else (records.head,)
    envelopes: Sequence[bytes] = (*records.roots, records.release, *head)
    roots = len(records.roots)
    if not 1 <= roots <= MAX_ROOT_CHAIN or not _fit(envelopes):
        return [(Refused(id, Refusal.LIMIT), b"")]
    answers: list[tuple[Answer, bytes]] = [
        (RecordsPart(id, start, roots, records.head is not None, sizes, ahead is not None), payload)
        for start, sizes, payload in _parts(envelopes)
    ]
    if ahead is not None:
        answers.append((Ahead(id, tuple(map(len, ahead.objects)), ahead.whole), b"".join(ahead.objects)))
    return answers


def _log_answers(asked: GetLog, page: LogPage) -> list[tuple[Answer, bytes]]:
    """Return the envelopes of a page in as few parts as can be."""
    counts = len(page.roots), len(page.forks), len(page.revocations), len(page.entries)
    envelopes = page.envelopes
    if not envelopes:
        return [(LogPart(asked.id, 0, 0, 0, 0, 0, page.newest, ()), b"")]
    if not _fit(envelopes):  # a root chain that alone is nearly as long as an answer
        return [(Refused(asked.id, Refusal.LIMIT), b"")]
    return [
        (LogPart(asked.id, start, *counts, page.newest, sizes), payload) for start, sizes, payload in _parts(envelopes)
    ]


def _fit(envelopes: Sequence[bytes]) -> bool:
    sizes = [len(envelope) for envelope in envelopes]
    return sum(sizes) <= MAX_RECORDS and 0 < min(sizes) <= max(sizes) <= MAX_ENVELOPE


def _parts(envelopes: Sequence[bytes]) -> Iterator[tuple[int, tuple[int, ...], bytes]]:
    """Yield the number of the first envelope of each part, the sizes of those in it, and its payload."""
    start = 0
    while start < len(envelopes):
        end, length = start + 1, len(envelopes[start])
        while end < len(envelopes) and length + len(envelopes[end]) <= MAX_PAYLOAD:
            length += len(envelopes[end])
            end += 1
        part = envelopes[start:end]
        yield start, tuple(map(len, part)), b"".join(part)
        start = end
