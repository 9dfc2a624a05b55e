"""Decodes, verifies and writes the chunks of one fetch: all that have come, in one call of a worker thread.

Two calls at a time, so that one hashes while the other writes: writers of one file wait for each other. All that have
come, since a call costs as much as hashing 200 KB. What came is in memory until it is kept: the scheduler bounds it,
and to it a chunk has not come before.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, final

import trio

from samara.node.network.exchange.pool import BufferPool
from samara.node.store.intake import StoreIntake
from samara.protocol import limits
from samara.protocol.errors import EncodingError, NotFoundError, StoreError
from samara.protocol.exchange.frames import Payload
from samara.protocol.exchange.messages import RAW, Chunk
from samara.protocol.ids import digest
from samara.protocol.ports import Span
from samara.protocol.scheduler import Want

__all__ = ["Arrival", "Keeper", "Kept"]

_log = logging.getLogger(__name__)

_CALLS: Final = 2

_AT_A_TIME: Final = 8 * limits.MIB
"""Bytes of one call: what is right is believed, and a peer asked again, after each."""


@final
@dataclass(frozen=True, slots=True)
class Arrival:
    """Chunks that came in one payload.

    Attributes:
        peer: Who sent them.
        want: What it was asked for.
        said: Which they are in the run, and how they are encoded.
        spans: Which they are.
        data: Their bytes, one after another, not verified.
    """

    peer: str
    want: Want
    said: Chunk
    spans: Sequence[Span]
    data: Payload

    def chunk(self, number: int) -> tuple[int, int]:
        """Return stream and index of one of them."""
        for stream, first, width in self.spans:
            if number < width:
                return stream, first + number
            number -= width
        raise IndexError(number)


@final
@dataclass(frozen=True, slots=True)
class Kept:
    """What became of chunks that came.

    Attributes:
        arrival: The chunks.
        right: How many of them, from the first on, were right.
        blameless: That they are not right is not the peer's fault: what they are a delta to is not here, or the peer
            said that another made the payload.
    """

    arrival: Arrival
    right: int
    blameless: bool = False


@final
class Keeper:
    """Keeps chunks.

    Args:
        intake: Where to.
        on_kept: Is told of each call what became of what came.
        pool: Gets the buffers of what was kept.
    """

    def __init__(self, intake: StoreIntake, on_kept: Callable[[list[Kept]], None], pool: BufferPool) -> None:
        self._intake = intake
        self._pool = pool
        self._on_kept = on_kept
        self._waiting: deque[Arrival] = deque()
        self._has_some = trio.Event()
        self.pending: Counter[str] = Counter()
        """Payloads that came and are not kept yet, by peer."""

    def post(self, arrival: Arrival) -> None:
        """Let chunks be kept; never waits."""
        self._waiting.append(arrival)
        self.pending[arrival.peer] += 1
        self._has_some.set()

    async def run(self) -> None:
        """Keep what comes, until cancelled.

        Raises:
            StoreError: The disk. What came and is not kept is lost.
        """
        failures: list[StoreError] = []

        async def keep_on() -> None:
            try:
                await self._keep_on()
            except StoreError as error:  # one of two: not a group of errors to the caller
                failures.append(error)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for _ in range(_CALLS):
                nursery.start_soon(keep_on)
        if failures:
            raise failures[0]

    async def _keep_on(self) -> None:
        while True:
            await self._has_some.wait()
            if not (batch := self._take()):
                continue
            kept = await trio.to_thread.run_sync(self._keep, batch)
            self.pending.subtract(arrival.peer for arrival in batch)
            self.pending += Counter()  # forgets who has none
            self._on_kept(kept)
            for arrival in batch:
                self._pool.give(arrival.data)

    def _take(self) -> list[Arrival]:
        batch: list[Arrival] = []
        size = 0
        while self._waiting and size < _AT_A_TIME:
            batch.append(self._waiting.popleft())
            size += len(batch[-1].data)
        if not self._waiting:
            self._has_some = trio.Event()
        return batch

    def _keep(self, batch: list[Arrival]) -> list[Kept]:
        """Decode, verify and write, in the order of the files; blocks."""
        plain = sorted((each for each in batch if each.said.encoding == RAW), key=lambda each: each.spans[0])
        right = self._intake.put_runs([(each.spans, memoryview(each.data)) for each in plain])
        kept = [Kept(each, count) for each, count in zip(plain, right, strict=True)]
        # One after another: what is decoded may be many times as much.
        return kept + [self._keep_encoded(each) for each in batch if each.said.encoding != RAW]

    def _keep_encoded(self, arrival: Arrival) -> Kept:
        said = arrival.said
        if digest(arrival.data) != said.payload_hash:
            return Kept(arrival, 0)
        try:
            raw = self._intake.decode(arrival.spans[0], said.encoding, said.base, arrival.data)
        except EncodingError as error:
            _log.debug("%s sent a payload that cannot be decoded: %s", arrival.peer, error)
            return Kept(arrival, 0, blameless=said.passed_on)
        except NotFoundError:
            return Kept(arrival, 0, blameless=True)
        right = self._intake.put_runs([(arrival.spans, memoryview(raw))])[0]
        return Kept(arrival, right, blameless=said.passed_on and not right)
