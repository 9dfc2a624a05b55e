"""A dry run: what a fetch would bring over the line, file by file, after what is held here already.

It takes the same way as a fetch as far as the chunk lists, and writes nothing. Of a release whose table and lists are
here nobody is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from samara.node.fetch.goal import Goal
from samara.node.fetch.lists import SharedTable, add_held, fill
from samara.node.fetch.meeting import Meeting
from samara.node.network.exchange.client import ExchangeClient
from samara.node.operations.base import Report
from samara.node.store.elsewhere import Elsewhere
from samara.node.threads import is_cancelled
from samara.protocol.chunklist import ChunkList, ListVerifier
from samara.protocol.errors import NotFoundError
from samara.protocol.records import VerifiedRelease
from samara.protocol.table import FileEntry, verify_table

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = ["CostJob", "FileCost"]


@dataclass(frozen=True, slots=True)
class FileCost:
    """What one file would cost.

    Attributes:
        path: Its path.
        bytes: Its size.
        needed: Bytes of chunks that are not held here.
    """

    path: str
    bytes: int
    needed: int


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
        self._goal = goal
        self._store = node.store
        self._meeting = Meeting(node, goal, self, report, patience=patience)
        self._table: SharedTable | None = None
        self._elsewhere: Elsewhere | None = None

    async def measure(self) -> VerifiedRelease:
        """Fill `costs` and return the release.

        Raises:
            SamaraError: As `FetchJob.run`.
        """
        learning = self._meeting.learning
        learning.look_at_home()
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
            self._table = SharedTable(content, self._store.contents.any_node)
        await self._table.fetch_from(client)
        self._meeting.gain()
        costs = []
        for entry in await self._entries(verified, self._table.data()):
            verifier = ListVerifier.for_file(entry.root, entry.size, entry.blake3)
            await fill(client, content, verifier, self._store.contents.any_node)
            self._meeting.gain()
            costs.append(await self._cost(entry, verifier.chunks()))
        self.costs = tuple(costs)
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
        for entry in await self._entries(verified, contents.table_bytes(content)):
            verifier = ListVerifier.for_file(entry.root, entry.size, entry.blake3)
            if add_held(verifier, contents.any_node):
                return False
            costs.append(await self._cost(entry, verifier.chunks()))
        self.costs = tuple(costs)
        return True

    async def _entries(self, verified: VerifiedRelease, table_bytes: bytes) -> list[FileEntry]:
        """Return the entries that are wanted."""
        verified.check_table(table_bytes)
        table = await trio.to_thread.run_sync(verify_table, table_bytes, verified.release.content)
        return [table[stream - 1] for stream in self._goal.wanted(table)]

    async def _cost(self, entry: FileEntry, chunks: ChunkList) -> FileCost:
        return FileCost(entry.path, entry.size, await trio.to_thread.run_sync(self._missing_bytes, chunks))

    def _missing_bytes(self, chunks: ChunkList) -> int:
        missing = set(range(len(chunks)))
        for index, places in self._store.contents.find_chunks(chunks, range(len(chunks))):
            is_cancelled()
            if any(self._store.reader.holds(*where) for where in places):
                missing.discard(index)
        for found in self._look_elsewhere().find(chunks, sorted(missing)):
            missing.difference_update(range(found.first, found.first + found.count))
        return sum(chunks.length(index) for index in missing)

    def _look_elsewhere(self) -> Elsewhere:
        if self._elsewhere is None:
            self._elsewhere = Elsewhere(self._goal.reuse)
            for _ in self._elsewhere.look((), cancelled=is_cancelled):
                pass
        return self._elsewhere
