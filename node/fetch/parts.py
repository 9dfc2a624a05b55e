"""A fetch of single tensors: the headers of the model files first, and then the chunks that hold what they name.

Only a header says where its tensors lie, and how long it is: so such a fetch is a few in a row, each of which wants the
chunks that are known to be needed by then. What they bring are files in progress: a later fetch completes them.

Source: specs/cli.md, "Tensors".
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from samara.node.fetch.goal import FetchOutcome, Goal
from samara.node.fetch.job import FetchJob
from samara.node.fetch.waits import Waits
from samara.node.operations.base import Report
from samara.node.operations.tensors import check_tensors
from samara.protocol.errors import NotFoundError, StoreError
from samara.protocol.ids import ContentId

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = ["TensorJob"]


class TensorJob:
    """Runs one fetch of tensors, as `FetchJob` does one of files.

    Args:
        node: Ours.
        goal: What to fetch; it names tensors.
        report: Is told how it goes.
        patience: Seconds with nobody who has it until the fetch is given up; None never gives up.
        waits: How long it waits for anything else.
    """

    def __init__(self, node: Node, goal: Goal, report: Report, *, patience: float | None, waits: Waits | None) -> None:
        self._node = node
        self._goal = goal
        self._begin = functools.partial(FetchJob, node, report=report, patience=patience, waits=waits)
        self._job = self._begin(goal)

    async def run(self) -> FetchOutcome:
        """Fetch, and return what was done.

        Raises:
            NotFoundError: No file has such a tensor.
            ModelHeaderError: None of the files is a model.
            SamaraError: As `FetchJob.run`.
        """
        done = await self._fetch_all(replace(self._goal, tensors=()), None)
        await trio.to_thread.run_sync(self._check, done)
        return await self._fetch_all(self._goal, done) if self._goal.tensors else done

    async def _fetch_all(self, goal: Goal, done: FetchOutcome | None) -> FetchOutcome:
        """Fetch until all that is known to be needed by then is here, and return what was done with what was before."""
        while True:
            self._job = self._begin(replace(goal, release=done.release) if done else goal)
            outcome = await self._job.run()
            done = outcome.after(done) if done else outcome
            if not await trio.to_thread.run_sync(self._lacks, done, goal):
                return done
            if not outcome.received + outcome.reused:
                raise StoreError("what was fetched does not stay right on the disk", hint="Check the disk.")

    async def hang_up(self) -> None:
        """Let nothing more come: its caller is about to cancel it."""
        await self._job.hang_up()

    def _lacks(self, done: FetchOutcome, goal: Goal) -> bool:
        """Say whether something that is known to be needed by now is not here."""
        store = self._node.store
        for content, stream in self._files(done):
            chunks = store.contents.chunk_list(content, stream)
            wanted = store.tensors.chunks_of(content, stream, chunks, goal.wants_tensor) if chunks is not None else []
            if not all(store.reader.holds_all(content, stream, run) for run in wanted):
                return True
        return False

    def _files(self, done: FetchOutcome) -> Iterator[tuple[ContentId, int]]:
        store = self._node.store
        held = store.catalog.release(done.release)
        if held is None:
            raise NotFoundError("the release was taken away while it was fetched", hint="Fetch it again.")
        return ((held.content, stream) for stream in self._goal.wanted(store.contents.table(held.content)))

    def _check(self, done: FetchOutcome) -> None:
        """Check that the files are models, and have what is wanted."""
        maps = [found for place in self._files(done) if (found := self._node.store.tensors.get(*place)) is not None]
        check_tensors(maps, self._goal.tensors or ())
