"""Asks one peer over one stream of the exchange, many requests at a time.

    async with ExchangeClient.connect(network, peer) as client:
        records = await client.records(release)
        await client.chunks(content, 1, 0, 64, keep)  # keep(chunk, payload), as they come

`connect` waits for nothing that the peer says: the first question, if it is one that needs nothing of the peer's HELLO,
goes out with ours. What needs it waits for it.

The client is the sink of its stream: bytes go through `Opener` to whoever asked as they come, payloads straight into
their buffers. Nothing waits for who asked: answers lie in memory until they are taken, so a session holds at most what
was asked of it.

When the session fails, every request under way raises what it failed of, and so does every later one:
`RemoteProtocolError` when the peer broke the rules, `NetworkError` when it went away or stalled. A request that is
cancelled or left early is cancelled at the peer too. Chunks are not verified here, since the caller has their hashes.

Source: specs/exchange.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import final

import trio

from samara.node.network.exchange.patience import Patience, StallClock
from samara.node.network.transport import Network, PeerAddress, Stream
from samara.protocol.errors import (
    NetworkError,
    NotFoundError,
    PeerBusyError,
    PeerRefusedError,
    RemoteProtocolError,
    SamaraError,
)
from samara.protocol.exchange.frames import Allocate
from samara.protocol.exchange.messages import (
    PROTOCOL,
    SPOKEN,
    Ahead,
    Busy,
    Chunk,
    GetLog,
    GetNodes,
    GetRecords,
    Have,
    HaveRequest,
    Hello,
    LogPart,
    NotFound,
    RecordsPart,
    Refused,
    Request,
    Want,
)
from samara.protocol.exchange.session import Answered, Ended, Finished, Opened, Opener, OpenerEvent, Payload
from samara.protocol.ids import ContentId, Digest, PublisherId, ReleaseId, digest
from samara.protocol.limits import HANDSHAKE_TIMEOUT, MAX_BITS_PAGE, MAX_NODE_HASHES, PROGRESS_RATE, PROGRESS_WINDOW
from samara.protocol.ports import RAW_ALONE, Accepts, Availability, LogPage, Records

__all__ = ["Deliver", "ExchangeClient", "Take"]

_BUILD = Callable[[int], Request]

Deliver = Callable[[Chunk, Payload], None]
"""Takes chunks of a run as they come: which they are and how they are encoded, and the payload. How long each is, is in
the chunk list."""

Take = Callable[[memoryview], None]
"""Takes an object that came ahead, unverified: a chunk-list node or a chunk of the table, as its hash will tell."""


def _take_none(data: memoryview) -> None:
    pass


@final
@dataclass(slots=True, eq=False)
class _Asked:
    """A request under way.

    Attributes:
        id: Its number.
        deliver: Takes its chunks as they come; None leaves them in `answers`.
        answers: What came and was not taken.
        over: Nothing more comes.
        lost: It has not ended: the session has.
        news: Is set when something came.
    """

    id: int
    deliver: Deliver | None
    answers: deque[Answered] = field(default_factory=deque)
    over: bool = False
    lost: bool = False
    news: trio.Event = field(default_factory=trio.Event)

    def tell(self) -> None:
        self.news.set()
        self.news = trio.Event()


@final
class ExchangeClient:
    """One session with one peer; made by `connect`."""

    def __init__(self, stream: Stream, *, agent: str, patience: float, allocate: Allocate) -> None:
        self._stream = stream
        self._opener = Opener(Hello(encodings=SPOKEN, agent=agent), allocate)
        self._patience = Patience(patience, PROGRESS_RATE)
        self._clock = StallClock(self._patience, lambda: stream.held_back)
        self._failure: SamaraError | None = None
        self._scope = trio.CancelScope()
        self._pending: dict[int, _Asked] = {}
        self._outbox = bytearray()
        self._has_mail = trio.Event()
        self._moved = trio.Event()  # HELLO was heard, a request ended, or all is over
        self.on_received: Callable[[int], None] | None = None
        """Is told how many bytes came, each time: a slow line shows that it moves before a chunk is whole."""
        self.has_given = False
        """Whether it gave something that was asked for by its hash, and has it."""
        self.has_all = False
        """Whether it said ahead that it holds all files of the release that it was asked for."""

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        network: Network,
        peer: PeerAddress,
        *,
        agent: str = "",
        patience: float = PROGRESS_WINDOW,
        allocate: Allocate = bytearray,
        timeout: float = HANDSHAKE_TIMEOUT,
    ) -> AsyncIterator[ExchangeClient]:
        """Open a stream to `peer`, say HELLO, and close it when the block is left.

        That the peer speaks the exchange at all shows when it answers: whoever asks hears of it, or of its silence.

        Args:
            network: Where to open it.
            peer: Whom to ask.
            agent: What we say that we run.
            patience: Seconds that the peer may move nothing while it owes an answer.
            allocate: Makes the buffer of a payload of so many bytes.
            timeout: Seconds for connecting, and again for HELLO.

        Raises:
            NetworkError: The peer cannot be reached.
        """
        stream = await network.open_stream(peer, PROTOCOL, timeout=timeout)
        client = cls(stream, agent=agent, patience=patience, allocate=allocate)
        client._post(client._opener.hello())
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client._run, timeout)
                try:
                    yield client
                finally:
                    client._end(NetworkError(f"the session with {stream.peer} was closed"))
        except BaseExceptionGroup as group:
            # The tasks report through `_end`: what comes here is what the block itself raised. When all is cancelled in
            # the same moment, it comes with the tasks' `Cancelled`, of which there will be another soon enough.
            _, raised = group.split(trio.Cancelled)
            errors = (raised or group).exceptions
            if len(errors) == 1:
                raise errors[0] from None
            raise

    @property
    def peer(self) -> str:
        """The authenticated peer id of the other end."""
        return self._stream.peer

    @property
    def is_open(self) -> bool:
        """Whether requests can be made."""
        return self._failure is None

    async def opened(self) -> Opened:
        """Wait for the peer's HELLO, if it was not heard yet; return what was agreed.

        Raises:
            NetworkError: It said none in time, or went away before.
            RemoteProtocolError: It broke the rules before.
        """
        while (opened := self._opener.opened) is None:
            if self._failure is not None:
                raise self._failed()
            await self._moved.wait()
        return opened

    async def records(self, release: ReleaseId, ahead: int = 0, take: Take = _take_none) -> Records:
        """Return the envelopes of a release; nothing in them is verified.

        Args:
            release: Which release.
            ahead: Bytes of the table and the lists of its content that may come along.
            take: Takes each object of these before this returns; it must not wait.

        Raises:
            NotFoundError: The peer does not have it for us.
            PeerBusyError: Later.
            PeerRefusedError: No.
            NetworkError: The session is lost, or the peer stalls.
            RemoteProtocolError: The peer broke the rules.
        """
        return await self._records(lambda number: GetRecords(number, release=release, ahead=ahead), take)

    async def latest(self, publisher: PublisherId, name: str, ahead: int = 0, take: Take = _take_none) -> Records:
        """Return the envelopes of the head that the peer knows for a name; nothing in them is verified.

        Args:
            publisher: Whose name it is.
            name: The name.
            ahead: As in `records`.
            take: As in `records`.

        Raises:
            SamaraError: As `records`.
        """
        return await self._records(lambda number: GetRecords(number, publisher=publisher, name=name, ahead=ahead), take)

    async def log(self, publisher: PublisherId, root: int, first: int) -> LogPage:
        """Return a page of what the peer knows of a publisher; nothing in it is verified.

        Args:
            publisher: Whose.
            root: The version of the newest root that is known here; 0 when none is.
            first: The first position of the log that is wanted, ≥ 1.

        Raises:
            PeerRefusedError: No; with code 1 the peer is older than this question.
            SamaraError: As `records`.
        """
        envelopes, part = await self._envelopes(lambda number: GetLog(number, publisher, root, first))
        assert isinstance(part, LogPart)  # noqa: S101 - the machine saw to it
        rest = iter(envelopes)
        roots = tuple(islice(rest, part.roots))
        forks = tuple((next(rest), next(rest)) for _ in range(part.forks))
        revocations = tuple(islice(rest, part.revocations))
        return LogPage(roots, forks, revocations, tuple(rest), part.newest)

    async def nodes(self, content: ContentId, hashes: Sequence[Digest]) -> list[bytes]:
        """Return chunk-list nodes of a content, each with the hash that was asked, in the order of `hashes`.

        Raises:
            NotFoundError: One of them is not there for us.
            SamaraError: As `records`.
        """
        found: list[bytes] = []
        for start in range(0, len(hashes), MAX_NODE_HASHES):
            found += await self._nodes(content, tuple(hashes[start : start + MAX_NODE_HASHES]))
        return found

    async def files_bits(
        self, content: ContentId, *, files: int | None = None, bases: tuple[ContentId, ...] = ()
    ) -> bytes:
        """Return one bit a file of the table (lowest bit of byte 0 first): set when the peer holds it whole.

        Args:
            content: Which content.
            files: How many it has; a peer that says otherwise breaks the rules. Without it the answer may be of any
                length.
            bases: Contents that are held here: what can be given as deltas to them counts as held.

        Raises:
            SamaraError: As `records`.
        """
        held = await self._held(content, None, None if files is None else (files + 7) // 8 * 8, bases)
        return b"\xff" * ((held.chunks + 7) // 8) if held.bits is None else held.bits

    async def availability(
        self, content: ContentId, stream: int, *, chunks: int | None = None, bases: tuple[ContentId, ...] = ()
    ) -> Availability:
        """Return which chunks of a stream the peer holds.

        Args:
            content: Which content.
            stream: 0 is the file table, n the n-th file.
            chunks: How many it has; a peer that says otherwise breaks the rules.
            bases: As in `files_bits`.

        Raises:
            SamaraError: As `records`.
        """
        return await self._held(content, stream, chunks, bases)

    async def chunks(
        self,
        content: ContentId,
        stream: int,
        first: int,
        count: int,
        deliver: Deliver,
        accepts: Accepts = RAW_ALONE,
    ) -> None:
        """Ask for a run of `count` chunks, at most 64. When cancelled, the peer hears of it.

        Args:
            content: Which content.
            stream: The stream in which it begins: 0 is the file table, n the n-th file.
            first: The first chunk.
            count: How many; beyond the end of a file it goes on in the next one that has chunks.
            deliver: Takes them as they come, in order and unverified; it must not wait. A `RemoteProtocolError` that it
                raises ends the session.
            accepts: How they may be encoded, of what the peer speaks too.

        Raises:
            NotFoundError: The chunk after the last one that was delivered is not there.
            SamaraError: As `records`.
        """
        spoken = (await self.opened()).encodings
        encodings = tuple(each for each in accepts.encodings if each in spoken)
        bases = accepts.bases if len(encodings) > 1 else ()
        asked = await self._ask(lambda number: Want(number, content, stream, first, count, encodings, bases), deliver)
        try:
            await self._end_of(asked)
        finally:
            self._drop(asked)

    # --- requests ---

    async def _records(self, build: _BUILD, take: Take) -> Records:
        envelopes, part = await self._envelopes(build, take)
        assert isinstance(part, RecordsPart)  # noqa: S101 - the machine saw to it
        roots = tuple(envelopes[: part.roots])
        return Records(roots, envelopes[part.roots], envelopes[-1] if part.head else None)

    async def _envelopes(self, build: _BUILD, take: Take = _take_none) -> tuple[list[bytes], RecordsPart | LogPart]:
        """Return the envelopes of an answer, and what its parts say that they are; what comes ahead was taken."""
        envelopes: list[bytes] = []
        asked = await self._ask(build)
        try:
            while True:
                answered = await self._next(asked)
                part = answered.answer
                assert isinstance(part, RecordsPart | LogPart)  # noqa: S101 - the machine saw to it
                envelopes += map(bytes, _cut(answered.payload, part.sizes))
                if len(envelopes) == part.total:
                    if not answered.last:
                        self._take_ahead(await self._answer_to(asked), take)
                    return envelopes, part
        finally:
            self._drop(asked)

    def _take_ahead(self, answered: Answered, take: Take) -> None:
        if isinstance(answered.answer, Ahead):  # whatever else it is: the records are here
            self.has_all = answered.answer.whole
            for data in _cut(answered.payload, answered.answer.sizes):
                take(data)

    async def _nodes(self, content: ContentId, hashes: tuple[Digest, ...]) -> list[bytes]:
        found: list[bytes] = []
        asked = await self._ask(lambda number: GetNodes(number, content, hashes))
        try:
            for value in hashes:
                node = bytes((await self._next(asked)).payload)
                if digest(node) != value:
                    raise self._violated("sent a chunk-list node that has not the hash that was asked")
                self.has_given = True
                found.append(node)
        finally:
            self._drop(asked)
        return found

    async def _held(
        self, content: ContentId, stream: int | None, total: int | None, bases: tuple[ContentId, ...]
    ) -> Availability:
        bits = bytearray()
        while total is None or 8 * len(bits) < total:
            have, page = await self._have_page(content, stream, 8 * len(bits), bases)
            if total is not None and have.total != total:
                raise self._violated(f"says that there are {have.total} bits where there are {total}")
            total = have.total
            if have.whole:
                return Availability(total, None)
            bits += page
        return Availability(total, bytes(bits))

    async def _have_page(
        self, content: ContentId, stream: int | None, first: int, bases: tuple[ContentId, ...]
    ) -> tuple[Have, Payload]:
        assert first % MAX_BITS_PAGE == 0  # noqa: S101 - pages are full but for the last
        asked = await self._ask(lambda number: HaveRequest(number, content, stream, first, bases))
        try:
            answered = await self._next(asked)
            assert isinstance(answered.answer, Have)  # noqa: S101 - the machine saw to it
            return answered.answer, answered.payload
        finally:
            self._drop(asked)

    async def _ask(self, build: _BUILD, deliver: Deliver | None = None) -> _Asked:
        """Send a request as soon as the peer serves one more."""
        request = build(self._opener.next_id)
        while self._failure is None and not self._opener.may_ask(request):
            await self._moved.wait()
            request = build(self._opener.next_id)
        if self._failure is not None:
            raise self._failed()
        frame = self._opener.ask(request)
        asked = self._pending[request.id] = _Asked(request.id, deliver)
        self._clock.start()
        self._post(frame)
        return asked

    async def _next(self, asked: _Asked) -> Answered:
        answered = await self._answer_to(asked)
        self._check(answered)
        return answered

    async def _answer_to(self, asked: _Asked) -> Answered:
        while not asked.answers:
            if asked.over:
                raise self._failed()
            await asked.news.wait()
        return asked.answers.popleft()

    async def _end_of(self, asked: _Asked) -> None:
        while not asked.over:
            await asked.news.wait()
        if asked.answers:
            self._check(asked.answers[-1])
        elif asked.lost:
            raise self._failed()

    def _check(self, answered: Answered) -> None:
        match answered.answer:
            case NotFound():
                raise NotFoundError(f"{self.peer} does not have it")
            case Busy(retry_ms=retry_ms):
                raise PeerBusyError(f"{self.peer} is busy", retry_after=retry_ms / 1000)
            case Refused(code=code):
                raise PeerRefusedError(f"{self.peer} refused the request (code {code})", code=code)

    def _drop(self, asked: _Asked) -> None:
        """Let go of a request; if it has not ended, cancel it at the peer. Never waits, so it works when cancelled."""
        if self._pending.pop(asked.id, None) is not None and self._failure is None:
            self._post(self._opener.cancel(asked.id))

    def _post(self, frame: bytes) -> None:
        self._outbox += frame
        self._has_mail.set()

    # --- the end ---

    def _failed(self) -> SamaraError:
        """Return a fresh error of what the session failed of: each waiter raises its own."""
        failure = self._failure or NetworkError(f"{self.peer} went away")
        return type(failure)(failure.message, hint=failure.hint)

    def _violated(self, what: str) -> SamaraError:
        self._end(RemoteProtocolError(f"{self.peer} {what}"))
        return self._failed()

    def _end(self, failure: SamaraError) -> None:
        """End the session: all who wait raise what it failed of first."""
        if self._failure is not None:
            return
        self._failure = failure
        for asked in self._pending.values():
            asked.lost = asked.over = True
            asked.tell()
        self._pending.clear()
        self._scope.cancel()
        self._wake_all()

    def _wake_all(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    # --- tasks ---

    async def _run(self, timeout: float) -> None:
        orderly = False
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._guarded, self._write)
                    nursery.start_soon(self._guarded, self._read)
                    nursery.start_soon(self._guarded, self._notice_stall)
                    nursery.start_soon(self._guarded, partial(self._notice_silence, timeout))
            ended = self._opener.opened is not None and not self._opener.outstanding
            orderly = isinstance(self._failure, NetworkError) and ended
        finally:
            # With answers on their way only a reset tells the peer that nobody takes them.
            with trio.move_on_after(1.0, shield=True):
                await (self._stream.aclose() if orderly else self._stream.reset())

    async def _guarded(self, task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except SamaraError as error:
            self._end(error)

    async def _write(self) -> None:
        while True:
            await self._has_mail.wait()
            self._has_mail = trio.Event()
            mail, self._outbox = self._outbox, bytearray()
            await self._stream.send_all(mail)

    async def _read(self) -> None:
        await self._stream.receive_to(self)
        self._take_all(self._opener.receive(b""))

    async def _notice_stall(self) -> None:
        await self._clock.run_out()
        raise NetworkError(f"{self.peer} stalls: it owes an answer, and hardly moves")

    async def _notice_silence(self, timeout: float) -> None:
        with trio.move_on_after(timeout) as waiting:
            await self.opened()
        if waiting.cancelled_caught:
            raise NetworkError(f"{self.peer} said no HELLO within {timeout} s")

    # --- what comes (transport.Sink) ---

    def room(self, count: int) -> memoryview | None:
        """Return where the next `count` bytes belong, if all of them are of one payload."""
        room = self._opener.writable()
        return room[:count] if room is not None and len(room) >= count else None

    def filled(self, count: int) -> None:
        """Take note that `count` bytes were put where `room` said."""
        self._come(count, lambda: self._opener.wrote(count))

    def feed(self, data: memoryview) -> None:
        """Take bytes."""
        self._come(len(data), lambda: self._opener.receive(data))

    def _come(self, count: int, receive: Callable[[], Sequence[OpenerEvent]]) -> None:
        self._moved_in(count)
        try:
            self._take_all(receive())
        except RemoteProtocolError as error:
            self._end(error)  # at once: whoever is about to ask must hear it
            raise

    def _moved_in(self, count: int) -> None:
        self._clock.moved(count)
        if self.on_received is not None:
            self.on_received(count)

    def _take_all(self, events: Sequence[OpenerEvent]) -> None:
        for event in events:
            self._take(event)

    def _take(self, event: OpenerEvent) -> None:
        match event:
            case Answered(answer=answer, last=last):
                asked = self._pending.get(answer.id)
                if asked is not None:
                    if asked.deliver is not None and isinstance(answer, Chunk):
                        asked.deliver(answer, event.payload)
                    else:
                        asked.answers.append(event)
                        asked.tell()
                if last:
                    self._ended(answer.id)
            case Ended(id=id):
                self._ended(id)
            case Opened():
                self._patience.renew()
                self._wake_all()
            case Finished():
                self._end(NetworkError(f"{self.peer} closed the session"))

    def _ended(self, id: int) -> None:  # noqa: A002 - the protocol's word
        self._patience.renew()
        if not self._opener.outstanding:
            self._clock.stop()
        asked = self._pending.pop(id, None)
        if asked is not None:
            asked.over = True
            asked.tell()
        self._wake_all()


def _cut(payload: Payload, sizes: Sequence[int]) -> Iterator[memoryview]:
    """Yield the parts of a payload, which has as many bytes as they have together."""
    start, whole = 0, memoryview(payload)
    for size in sizes:
        yield whole[start : start + size]
        start += size
