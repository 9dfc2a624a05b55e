"""The chunks of one fetch, from several peers at once: drives the scheduler of `samara.protocol.scheduler`.

Each peer has one session and as many requests on it as the scheduler gives out. A chunk is verified and written by
the keeper before the scheduler hears of it. A wrong chunk ends the session of its peer.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import trio

from samara.node.fetch.keeper import Arrival, Keeper, Kept
from samara.node.network.exchange.client import ExchangeClient
from samara.node.network.exchange.pool import BufferPool
from samara.node.store.intake import StoreIntake
from samara.protocol.chunklist import ChunkList
from samara.protocol.errors import (
    NetworkError,
    NotFoundError,
    PeerBusyError,
    PeerRefusedError,
    RemoteProtocolError,
)
from samara.protocol.ids import ContentId
from samara.protocol.ports import RAW_ALONE, Accepts
from samara.protocol.scheduler import Failure, Scheduler, Stalled, Want

__all__ = ["Swarm", "WrongChunkError"]

_LOOK_AGAIN: Final = 5.0
"""Seconds at most between two looks at what a peer that does not hold everything has got by now."""

_LOOK_SOON: Final = 0.2
"""Seconds at least: on a fast line a mate soon has more, and who asks late takes it from the seeder."""


class WrongChunkError(RemoteProtocolError):
    """A peer sent a chunk with the wrong bytes."""


class Swarm:
    """Fetches chunks of one content into an intake.

    Args:
        content: Which content.
        intake: Where to.
        sizes: Bytes of each of its files.
        buffers: Gets the buffers of chunks that are kept.
        on_kept: Is called when more was kept.
        accepts: How chunks may be encoded on their way.
        rotate: A number that differs between nodes, so that several fetchers begin at different places.
    """

    def __init__(
        self,
        content: ContentId,
        intake: StoreIntake,
        sizes: Sequence[int],
        buffers: BufferPool,
        *,
        rotate: int,
        on_kept: Callable[[], None] = lambda: None,
        accepts: Accepts = RAW_ALONE,
    ) -> None:
        self._content = content
        self.sizes = sizes
        """Bytes of each file of the content."""
        self._began = trio.current_time()
        self._next = 0  # the stream in which a run goes on beyond what was added last; 0 when it cannot
        self._scheduler = Scheduler(rotate=rotate)
        self._streams: dict[int, int] = {}
        self._order: list[int] = []  # the streams as they were added
        self._calls: dict[str, trio.Event] = {}  # by peer: there may be something to ask it for
        self._timing = trio.Event()  # the next moment of the scheduler may be another one
        self._new_streams = trio.Event()
        self._requests: dict[tuple[str, Want], trio.CancelScope] = {}
        self._dropped: set[str] = set()
        self._liars: dict[str, str] = {}
        self._on_kept = on_kept
        self._accepts = accepts
        self._baseless: set[str] = set()  # who sent a delta that could not be used, and is not to blame
        self._keeper = Keeper(intake, self._take, buffers)
        self.received = 0
        """Bytes that were kept."""
        self.moved = 0
        """Bytes of the payloads that they came in."""
        self.by_peer: dict[str, int] = {}
        """Bytes that were kept, by peer."""

    @property
    def done(self) -> bool:
        """Everything that was added is here."""
        return self._scheduler.done

    @property
    def stuck(self) -> bool:
        """Something is missing, and no peer that is connected claims it."""
        return self._scheduler.stuck

    def add_stream(self, stream: int, missing: Sequence[int], chunks: ChunkList) -> None:
        """Want these chunks of a stream."""
        self._streams[stream] = len(chunks)
        self._order.append(stream)
        self._scheduler.add_stream(stream, missing, chunks.length, joined=stream == self._next and missing[0] == 0)
        self._next = self._after(stream) if missing[-1] == len(chunks) - 1 else 0
        self._added()

    def add_small(self, streams: Sequence[int], sizes: Sequence[int]) -> None:
        """Want files of one chunk, ascending, whose bytes are given."""
        first, joined = 0, streams[0] == self._next
        for number, stream in enumerate(streams):
            if number > first and stream != self._next:
                self._scheduler.add_files(streams[first:number], sizes[first:number], joined=joined)
                first, joined = number, False
            self._next = self._after(stream)
        self._scheduler.add_files(streams[first:], sizes[first:], joined=joined)
        self._streams.update(zip(streams, itertools.repeat(1)))
        self._order += streams
        self._added()

    def _added(self) -> None:
        self._new_streams.set()
        self._new_streams = trio.Event()
        self._tell()

    async def keep(self) -> None:
        """Verify and write what comes, until cancelled.

        Raises:
            StoreError: The disk.
        """
        await self._keeper.run()

    async def keep_time(self) -> None:
        """Do what is due, until cancelled: once for all peers, since most moments concern one of them."""
        while True:
            timing = self._timing = trio.Event()
            with trio.move_on_at(self._scheduler.timer() or math.inf):
                await timing.wait()
            self._tick()

    async def fetch_from(self, client: ExchangeClient, *, own: str, wrong_before: int) -> None:
        """Fetch from one peer until cancelled.

        Args:
            client: The session with it.
            own: Our peer id, by which it knows us.
            wrong_before: Wrong chunks that it sent in other fetches.

        Raises:
            WrongChunkError: It sent a wrong chunk.
            RemoteProtocolError: It broke the rules.
            PeerRefusedError: It may not be used any more.
            NetworkError: It went away or stalls.
        """
        peer = client.peer
        self._scheduler.know_as(own)
        allowed = (await client.opened()).max_outstanding - 1  # one place is kept for asking what it has
        if not self._scheduler.add_peer(
            peer, trio.current_time(), wrong=wrong_before, has_given=client.has_given, max_requests=max(allowed, 1)
        ):
            raise PeerRefusedError(f"{peer} sent wrong bytes before", code=0)
        client.on_received = lambda size: self._scheduler.progress(peer, size, trio.current_time())
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_asking_what_it_has, client)
                while True:
                    call = self._calls[peer] = trio.Event()
                    for want in self._scheduler.next_requests(peer, trio.current_time()):
                        nursery.start_soon(self._request, client, want)
                    self._timing.set()
                    await call.wait()
                    if peer in self._liars:
                        raise WrongChunkError(f"{peer} {self._liars[peer]}")
                    if peer in self._dropped:
                        raise NetworkError(f"{peer} stalls")
        finally:
            client.on_received = None
            self._calls.pop(peer, None)
            self._scheduler.remove_peer(peer)
            self._dropped.discard(peer)
            self._tell()

    async def _keep_asking_what_it_has(self, client: ExchangeClient) -> None:
        was_partial, files = False, len(self.sizes)
        for number in itertools.count():
            if client.has_all and not number:  # it has said so with the records, and to ask costs a round trip
                bits = b"\xff" * ((files + 7) // 8)
            else:
                bases = self._accepts_of(client.peer).bases
                bits = await client.files_bits(self._content, files=files, bases=bases)
            whole = int.from_bytes(bits, "little").bit_count() >= files
            was_partial = was_partial or not whole
            # Who is seen to get it stays a mate when it has it all: it is asked before those who have had it.
            self._scheduler.set_files(client.peer, bits if was_partial else None)
            self._call(client.peer)
            await self._ask_for_parts(client, bits, trio.current_time() + (_LOOK_AGAIN if whole else self._pause()))

    def _pause(self) -> float:
        """Return the seconds until a mate has something worth a look: a twentieth of what was, or is to come."""
        look = self._scheduler.look()
        rate = sum(peer.rate or 0.0 for peer in look.peers.values())
        to_come = look.bytes_missing / rate if rate else math.inf
        return min(_LOOK_AGAIN, max(_LOOK_SOON, min(trio.current_time() - self._began, to_come) / 20))

    async def _ask_for_parts(self, client: ExchangeClient, whole: bytes, until: float) -> None:
        """Ask once what it has of each file that it does not hold whole, and of those that are added until a moment."""
        for number in itertools.count():
            while number >= len(self._order):
                new_streams = self._new_streams
                with trio.move_on_at(until) as waiting:
                    await new_streams.wait()
                if waiting.cancelled_caught:
                    return
            stream = self._order[number]
            is_whole = whole[(stream - 1) >> 3] >> ((stream - 1) & 7) & 1
            if not is_whole and self._streams[stream] > 1:  # of one chunk nobody holds a part
                with contextlib.suppress(NotFoundError):
                    found = await client.availability(
                        self._content, stream, chunks=self._streams[stream], bases=self._accepts_of(client.peer).bases
                    )
                    self._scheduler.set_availability(client.peer, stream, found.bits)
                    self._call(client.peer)

    async def _request(self, client: ExchangeClient, want: Want) -> None:
        peer = client.peer
        with trio.CancelScope() as scope:
            self._requests[peer, want] = scope
            try:
                await client.chunks(
                    self._content,
                    want.stream,
                    want.first,
                    want.count,
                    lambda said, data: self._keeper.post(
                        Arrival(peer, want, said, self._scheduler.spans(want, said.index, said.count), data)
                    ),
                    self._accepts_of(peer),
                )
            except NotFoundError:
                self._scheduler.failed(peer, want, Failure.NOT_FOUND, trio.current_time())
                self._tell()
            except PeerRefusedError:
                self._scheduler.failed(peer, want, Failure.REFUSED, trio.current_time())
                self._tell()
            except PeerBusyError as busy:
                self._scheduler.busy(peer, want, busy.retry_after, trio.current_time())
                self._tell()
            finally:
                self._requests.pop((peer, want), None)
                self._call(peer)

    def _accepts_of(self, peer: str) -> Accepts:
        return replace(self._accepts, bases=()) if peer in self._baseless else self._accepts

    def _take(self, kept: list[Kept]) -> None:
        """Tell the scheduler what was kept, and let those go who sent something wrong."""
        now = trio.current_time()
        for each in kept:
            arrival, right, peer = each.arrival, each.right, each.arrival.peer
            self._scheduler.excuse(peer, now)
            if each.blameless:  # what this peer owes of the run is asked anew, without bases
                self._baseless.add(peer)
                self._scheduler.failed(peer, arrival.want, Failure.LOST, now)
                self._cancel(peer, arrival.want)
                continue
            if right:
                size = self._scheduler.received_run(peer, arrival.want, arrival.said.index, right, now)
                self.moved += len(arrival.data)
                self.received += size
                self.by_peer[peer] = self.by_peer.get(peer, 0) + size
            if right < sum(span.width for span in arrival.spans):
                stream, index = arrival.chunk(right)
                self._scheduler.wrong(peer, stream, index, now)
                self._liars[peer] = f"sent a wrong chunk: chunk {index} of stream {stream}"
        for other, want in self._scheduler.cancelled():
            self._cancel(other, want)
        self._on_kept()
        self._tell()

    def _tick(self) -> None:
        for peer in self._keeper.pending:  # it is our disk that is slow
            self._scheduler.excuse(peer, trio.current_time())
        for event in self._scheduler.tick(trio.current_time()):
            if isinstance(event, Stalled):
                for want in event.wants:
                    self._cancel(event.peer, want)
                if event.dropped:
                    self._dropped.add(event.peer)
                self._tell()  # what it owed may be asked of anybody
            else:
                self._call(event.peer)

    def _cancel(self, peer: str, want: Want) -> None:
        if (scope := self._requests.get((peer, want))) is not None:
            scope.cancel()

    def _after(self, stream: int) -> int:
        """Return the file after a stream in which a run goes on, or 0 at the end."""
        if stream < len(self.sizes) and self.sizes[stream]:
            return stream + 1
        return next((number for number in range(stream + 1, len(self.sizes) + 1) if self.sizes[number - 1]), 0)

    def _call(self, peer: str) -> None:
        """Look whether there is something to ask one peer for."""
        if (call := self._calls.get(peer)) is not None:
            call.set()

    def _tell(self) -> None:
        """Look whether there is something to ask anybody for: what one owed may be free."""
        for peer in self._calls:
            self._call(peer)
        self._timing.set()
