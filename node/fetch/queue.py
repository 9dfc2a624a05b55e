"""The queue of fetches: it survives a restart, and a fetch goes on when whoever asked for it leaves.

A fetch is recorded before it begins and struck off when it is done. What was queued or running when the node stopped is
taken up when a node runs again; what failed stays listed until it is asked for again.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from samara.node.fetch.goal import FetchOutcome, goal_of
from samara.node.fetch.job import FetchJob
from samara.node.fetch.waits import Waits
from samara.node.operations.base import Event, Report
from samara.node.store.catalog import QueuedFetch
from samara.protocol.errors import NetworkError, NotFoundError, OperationError, SamaraError, StoreError

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = ["FetchQueue", "FetchRequest"]

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 2
"""Fetches that run at a time; the others wait their turn."""

_TURN: Final = 30.0
"""Seconds with nobody who has it until a fetch that never gives up makes way for the next one."""

_REST: Final = 2.0
"""Seconds until it queues for its next turn."""


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What to fetch.

    Attributes:
        ref: A REF.
        to: Absolute path of the folder to put it into; empty takes the home's own.
        include: Patterns of paths that are wanted; empty for all.
        peers: Multiaddrs with `/p2p/…` of peers to ask first.
        patience: Seconds with nobody who has it until it is given up; 0 never gives up.
    """

    ref: str
    to: str = ""
    include: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    patience: float = 30.0


@dataclass(slots=True)
class _Job:
    """A fetch under way and those who listen."""

    queued: QueuedFetch
    request: FetchRequest
    patience: float | None
    listeners: list[Report] = field(default_factory=list)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)
    outcome: FetchOutcome | None = None
    error: SamaraError | None = None

    def report(self, event: Event) -> None:
        for listener in list(self.listeners):
            listener(event)


class FetchQueue:
    """Runs fetches of one node.

    Attributes:
        waits: How long they wait for what.
    """

    def __init__(self, node: Node) -> None:
        self.waits = Waits()
        self._node = node
        self._jobs: dict[int, _Job] = {}
        self._slots = trio.CapacityLimiter(_AT_ONCE)
        self._nursery: trio.Nursery | None = None
        self._ready = trio.Event()

    async def run(self) -> None:
        """Run what is asked for, until cancelled."""
        with contextlib.suppress(StoreError):  # a full disk: it is only told wrongly
            self._node.store.catalog.requeue_fetches()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._ready.set()
            await trio.sleep_forever()

    async def take_up(self) -> None:
        """Go on with what was queued or running when the node stopped."""
        for queued in self._node.store.catalog.queue():
            if queued.state != "failed":
                (await self._start(queued)).patience = None  # nobody waits at a keyboard

    async def fetch(self, request: FetchRequest, report: Report) -> FetchOutcome:
        """Queue a fetch, or join the same one, and wait for it; it goes on when the caller is cancelled.

        Raises:
            SamaraError: What the fetch failed of.
        """
        goal_of(self._node.store, request.ref, request.peers, request.include, request.to)  # refuse nonsense at once
        queued = self._node.store.catalog.enqueue(msgspec.json.encode(request))
        job = await self._start(queued)
        job.listeners.append(report)
        try:
            await job.ended.wait()
        finally:
            job.listeners.remove(report)
        if job.error is not None:
            raise copy.copy(job.error)  # each caller its own, since raising adds to it
        if job.outcome is None:
            raise OperationError("the fetch was stopped", hint="The same command goes on where it stopped.")
        return job.outcome

    def drop(self, number: int) -> None:
        """Stop a fetch, if it is under way, and take it out of the queue; what it committed stays.

        Raises:
            NotFoundError: There is no such fetch.
        """
        if number not in {queued.no for queued in self._node.store.catalog.queue()}:
            raise NotFoundError(f"there is no fetch {number}", hint="See samara queue.")
        if (job := self._jobs.get(number)) is not None:
            job.scope.cancel()
        self._node.store.catalog.drop_fetch(number)

    def running(self) -> int:
        """How many fetches are under way."""
        return len(self._jobs)

    async def _start(self, queued: QueuedFetch) -> _Job:
        await self._ready.wait()
        job = self._jobs.get(queued.no)
        if job is None:
            request = msgspec.json.decode(queued.request, type=FetchRequest)
            job = _Job(queued, request, request.patience or None)
            self._jobs[queued.no] = job
            if self._nursery is None:
                raise OperationError("the queue is not running")
            self._nursery.start_soon(self._run_job, job)
        return job

    async def _run_job(self, job: _Job) -> None:
        catalog = self._node.store.catalog
        try:
            with job.scope:
                while job.outcome is None:
                    await self._take_turn(job)
                catalog.update_fetch(job.queued.no, "done", release=job.outcome.release)
                self._node.library_changed()
        except SamaraError as error:
            self._failed(job, error)
        except Exception as error:  # the border where a fetch ends: a bug in one must not end the others
            _log.exception("fetch %d broke", job.queued.no)
            self._failed(job, OperationError(f"the fetch broke, which is a bug in Samara: {error!r}"))
        finally:
            self._jobs.pop(job.queued.no, None)
            job.ended.set()

    async def _take_turn(self, job: _Job) -> None:
        """Let a fetch run; one that never gives up makes way when nobody has it, and waits for its next turn."""
        request = job.request
        async with self._slots:
            self._node.store.catalog.update_fetch(job.queued.no, "running")
            goal = goal_of(self._node.store, request.ref, request.peers, request.include, request.to)
            fetch = FetchJob(self._node, goal, job.report, patience=job.patience or _TURN, waits=self.waits)
            try:
                job.outcome = await fetch.run()
                return
            except (NotFoundError, NetworkError) as error:
                if job.patience is not None:
                    raise
                _log.info("fetch %d makes way: %s", job.queued.no, error.message)
                self._node.store.catalog.update_fetch(job.queued.no, "queued", error=error.message)
        await trio.sleep(_REST)

    def _failed(self, job: _Job, error: SamaraError) -> None:
        _log.info("fetch %d failed: %s", job.queued.no, error.message)
        job.error = error
        try:
            self._node.store.catalog.update_fetch(job.queued.no, "failed", error=error.message)
        except StoreError as full:  # the disk that made the fetch fail; the others go on
            _log.warning("that fetch %d failed could not be noted: %s", job.queued.no, full.message)
