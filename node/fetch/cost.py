"""A dry run: what a fetch would bring over the line, file by file, after what is held here already.

It takes the same way as a fetch as far as the chunk lists, and writes nothing. Of a release whose table and lists are
here nobody is asked. Else whoever gave them is asked for a few chunks, to see how small they come.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import trio
import trio.lowlevel

from samara.node.fetch.ahead import Ahead
from samara.node.fetch.bases import accepts_of
from samara.node.fetch.estimate import Gauge, Part, Sample, choose, part_of
from samara.node.fetch.goal import Goal
from samara.node.fetch.lists import SharedTable, add_held, fill
from samara.node.fetch.meeting import Meeting
from samara.node.fetch.swarm import WrongChunkError
from samara.node.network.exchange.client import ExchangeClient
from samara.node.operations.base import Report
from samara.node.store.elsewhere import Elsewhere
from samara.node.threads import is_cancelled
from samara.protocol.chunklist import ChunkList, ListVerifier
from samara.protocol.errors import NetworkError, NotFoundError, RemoteProtocolError
from samara.protocol.exchange.frames import Payload
from samara.protocol.exchange.messages import RAW, Chunk
from samara.protocol.ids import ContentId, digest
from samara.protocol.ports import RAW_ALONE, Accepts
from samara.protocol.records import VerifiedRelease
from samara.protocol.table import FileEntry, FileTable, verify_table

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = ["CostJob", "FileCost"]

_log = logging.getLogger(__name__)

_SAMPLING: Final = 20.0
"""Seconds that samples may take: somebody waits, and on a line on which they take longer a few say enough."""


@dataclass(frozen=True, slots=True)
class FileCost:
    """What one file would cost.

    Attributes:
        path: Its path.
        bytes: Its size.
        needed: Bytes of chunks that are not held here.
        estimated: About how many bytes they would take on the line, encoded; None when that is not known.
    """

    path: str
    bytes: int
    needed: int
    estimated: int | None = None


class CostJob:
    """Finds out what a fetch would cost.

    Args:
        node: Ours.
        goal: What would be fetched.
        report: Is told whom it leaves out.
        patience: Seconds with nobody who has it until it is given up; None never gives up.
    """

    def __init__(self, node: Node, goal: Goal, report: Report, *, patience: float | None) -> None:
        self.costs: tuple[FileCost, ...] = ()
        self._node = node
        self._goal = goal
        self._store = node.store
        self._ahead = Ahead.of(goal)
        self._node_held = self._ahead.before(self._store.contents.any_node)
        self._meeting = Meeting(node, goal, self, report, patience=patience, hears=False, ahead=self._ahead)
        self._table: SharedTable | None = None
        self._elsewhere: Elsewhere | None = None

    async def measure(self) -> VerifiedRelease:
        """Fill `costs` and return the release.

        Raises:
            SamaraError: As `FetchJob.run`.
        """
        learning = self._meeting.learning
        await trio.to_thread.run_sync(learning.look_at_home)
        try:
            if learning.verified is None or not await self._measure_at_home(learning.verified):
                await self._meeting.run()
        finally:
            if self._elsewhere is not None:
                self._elsewhere.close()
        if learning.verified is None:
            raise NotFoundError("nobody has this release")
        return learning.verified

    async def share_in(self, client: ExchangeClient) -> None:
        """Learn the table and the lists from one peer."""
        verified = self._meeting.learning.verified
        if verified is None:
            return
        content = verified.release.content
        if self._table is None:
            self._table = SharedTable(content, self._node_held, self._ahead.find)
        await self._table.fetch_from(client)
        self._meeting.gain()
        costs, parts = [], []
        for stream, entry in await self._entries(verified, self._table.data()):
            verifier = ListVerifier.for_file(entry.root, entry.size, entry.blake3)
            await fill(client, content, verifier, self._node_held)
            self._meeting.gain()
            part = await self._part(content, stream, entry, verifier.chunks())
            costs.append(FileCost(entry.path, entry.size, part.needed))
            parts.append(part)
        gauge = await self._sample(client, verified, parts)
        self.costs = tuple(
            replace(cost, estimated=gauge.estimate(part)) for cost, part in zip(costs, parts, strict=True)
        )
        self._meeting.end()

    def given(self, peer: str) -> int:
        """Bytes of chunks that came from a peer: none."""
        return 0

    def is_hopeful(self) -> bool:
        """Whether those who are connected may bring what is missing."""
        return True

    async def _measure_at_home(self, verified: VerifiedRelease) -> bool:
        """Fill `costs` if all that is needed for it is here; return whether it is."""
        contents, content = self._store.contents, verified.release.content
        if not contents.has(content):
            return False
        costs = []
        for stream, entry in await self._entries(verified, contents.table_bytes(content)):
            verifier = ListVerifier.for_file(entry.root, entry.size, entry.blake3)
            if add_held(verifier, contents.any_node):
                return False
            part = await self._part(content, stream, entry, verifier.chunks())
            costs.append(FileCost(entry.path, entry.size, part.needed))
        self.costs = tuple(costs)
        return True

    async def _entries(self, verified: VerifiedRelease, table_bytes: bytes) -> list[tuple[int, FileEntry]]:
        """Return the entries that are wanted, each with its stream."""
        verified.check_table(table_bytes)
        table: FileTable = await trio.to_thread.run_sync(verify_table, table_bytes, verified.release.content)
        return [(stream, table[stream - 1]) for stream in self._goal.wanted(table)]

    async def _part(self, content: ContentId, stream: int, entry: FileEntry, chunks: ChunkList) -> Part:
        return await trio.to_thread.run_sync(
            lambda: part_of(entry.path, stream, chunks, self._missing(content, stream, chunks))
        )

    def _missing(self, content: ContentId, stream: int, chunks: ChunkList) -> list[int]:
        missing = set(range(len(chunks))).difference(self._store.deltas.makes(content, stream))
        for index, places in self._store.contents.find_chunks(chunks, range(len(chunks))):
            is_cancelled()
            if any(self._store.reader.holds(*where) for where in places):
                missing.discard(index)
        for found in self._look_elsewhere().find(chunks, sorted(missing)):
            missing.difference_update(range(found.first, found.first + found.count))
        return sorted(missing)

    def _look_elsewhere(self) -> Elsewhere:
        if self._elsewhere is None:
            self._elsewhere = Elsewhere(self._goal.reuse)
            for _ in self._elsewhere.look((), cancelled=is_cancelled):
                pass
        return self._elsewhere

    # How small it comes

    async def _sample(self, client: ExchangeClient, verified: VerifiedRelease, parts: Sequence[Part]) -> Gauge:
        """Ask one peer for a few of the missing chunks, as a fetch would; who has none, or is gone, tells nothing."""
        gauge = Gauge()
        accepts = accepts_of(self._store, verified, self._goal.encode or self._node.allowance.settings.encode)
        if accepts == RAW_ALONE or self._node.allowance.why_no_fetch(asked=True):
            return gauge
        faults: list[RemoteProtocolError] = []

        async def ask_for(sample: Sample) -> None:
            try:
                await _ask_for(client, verified.release.content, sample, accepts, gauge)
            except (NotFoundError, NetworkError) as error:
                _log.info("%s gave no sample: %s", client.peer, error.message)
            except RemoteProtocolError as fault:
                faults.append(fault)

        with trio.move_on_after(_SAMPLING):
            # All at once, as a fetch asks: between single ones a line rests, and looks faster than it is.
            async with trio.open_nursery() as nursery:
                for sample in choose(parts):
                    nursery.start_soon(ask_for, sample)
                    await trio.lowlevel.checkpoint()  # in this order
        if faults:
            raise faults[0]
        return gauge


async def _ask_for(client: ExchangeClient, content: ContentId, sample: Sample, accepts: Accepts, gauge: Gauge) -> None:
    def deliver(said: Chunk, payload: Payload) -> None:
        encoded = said.encoding != RAW
        if digest(payload) != (said.payload_hash if encoded else sample.hash):
            raise WrongChunkError(f"{client.peer} sent a wrong chunk: chunk {sample.index} of stream {sample.stream}")
        gauge.add(sample, len(payload), encoded=encoded)

    await client.chunks(content, sample.stream, sample.index, 1, deliver, accepts)
