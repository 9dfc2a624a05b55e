"""Verifies and writes the chunks of one fetch: all that have come, in one call of one worker thread at a time.

One thread, since writers of one file wait for each other in the system, spinning; all that have come, since a call
costs as much as hashing 200 KB. What came is in memory until it is kept: the scheduler bounds it, for to it a chunk has
not come before.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import trio

from samara.node.network.exchange.pool import BufferPool
from samara.node.store.intake import StoreIntake
from samara.protocol import limits
from samara.protocol.exchange.frames import Payload

__all__ = ["Arrival", "Keeper"]

_AT_A_TIME: Final = 8 * limits.MIB
"""Bytes of one call: what is right is believed, and a peer asked again, after each."""


@final
@dataclass(frozen=True, slots=True)
class Arrival:
    """A chunk that came.

    Attributes:
        peer: Who sent it.
        stream: Of which stream it is said to be.
        index: Which one it is said to be.
        data: Its bytes, not verified.
    """

    peer: str
    stream: int
    index: int
    data: Payload


@final
class Keeper:
    """Keeps chunks.

    Args:
        intake: Where to.
        on_kept: Is told of each call what came, and of each whether it was right.
        pool: Gets the buffers of what was kept.
    """

    def __init__(
        self, intake: StoreIntake, on_kept: Callable[[list[tuple[Arrival, bool]]], None], pool: BufferPool
    ) -> None:
        self._intake = intake
        self._pool = pool
        self._on_kept = on_kept
        self._waiting: deque[Arrival] = deque()
        self._has_some = trio.Event()
        self.pending: Counter[str] = Counter()
        """Chunks that came and are not kept yet, by peer."""

    def post(self, arrival: Arrival) -> None:
        """Let a chunk be kept; never waits."""
        self._waiting.append(arrival)
        self.pending[arrival.peer] += 1
        self._has_some.set()

    async def run(self) -> None:
        """Keep what comes, until cancelled.

        Raises:
            StoreError: The disk. What came and is not kept is lost.
        """
        while True:
            await self._has_some.wait()
            batch = self._take()
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

    def _keep(self, batch: list[Arrival]) -> list[tuple[Arrival, bool]]:
        """Verify and write, neighbours together; blocks."""
        kept: list[tuple[Arrival, bool]] = []
        batch.sort(key=lambda arrival: (arrival.stream, arrival.index))
        for stream, group in itertools.groupby(batch, key=lambda arrival: arrival.stream):
            arrivals = list(group)
            right = self._intake.put_all(stream, [(arrival.index, arrival.data) for arrival in arrivals])
            kept += zip(arrivals, right, strict=True)
        return kept
