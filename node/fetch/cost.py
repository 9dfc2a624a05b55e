"""A dry run: what a fetch would bring over the line, file by file, after what is held here already.

It takes the same way as a fetch as far as the chunk lists, and writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import trio

from samara.node.fetch.job import FetchJob
from samara.node.fetch.lists import SharedTable, fill
from samara.node.network.exchange.client import ExchangeClient
from samara.node.threads import is_cancelled
from samara.protocol.chunklist import ChunkList, ListVerifier
from samara.protocol.errors import NotFoundError
from samara.protocol.records import VerifiedRelease
from samara.protocol.table import FileTable, verify_table

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


class CostJob(FetchJob):
    """Finds out what a fetch would cost."""

    costs: tuple[FileCost, ...] = ()

    async def measure(self) -> VerifiedRelease:
        """Fill `costs` and return the release.

        Raises:
            SamaraError: As `FetchJob.run`.
        """
        await self._ask_peers()
        if self._failure is not None:
            raise self._failure
        if self._verified is None:
            raise NotFoundError("nobody has this release")
        return self._verified

    async def _learn_table(self, client: ExchangeClient) -> None:
        verified = self._verified
        if verified is None:
            return
        if self._table is None:
            self._table = SharedTable(verified.release.content, self._held_node)
        await self._table.fetch_from(client)
        table_bytes = self._table.data()
        verified.check_table(table_bytes)
        table = await trio.to_thread.run_sync(verify_table, table_bytes, verified.release.content)
        self.costs = tuple([await self._cost(client, verified, table, n) for n in self._goal.wanted(table)])
        self._end()

    async def _cost(self, client: ExchangeClient, verified: VerifiedRelease, table: FileTable, stream: int) -> FileCost:
        entry = table[stream - 1]
        verifier = ListVerifier.for_file(entry.root, entry.size, entry.blake3)
        await fill(client, verified.release.content, verifier, self._held_node)
        needed = await trio.to_thread.run_sync(self._missing_bytes, verifier.chunks())
        return FileCost(entry.path, entry.size, needed)

    def _missing_bytes(self, chunks: ChunkList) -> int:
        needed = 0
        for index in range(len(chunks)):
            is_cancelled()
            places = self._store.contents.find_chunk(chunks.hash(index))
            if not any(self._store.reader.holds(*where) for where in places):
                needed += chunks.length(index)
        return needed
