"""The queue of fetches: it survives a restart, and a fetch goes on when whoever asked for it leaves.

A fetch is recorded before it begins and struck off when it is done. What was queued or running when the node stopped is
taken up when a node runs again; what failed stays listed until it is asked for again.

The same release may be asked for in several ways: by link, id and name. Only peers can say what a name means, and each
way may know other peers. So each is a fetch of its own until it finds that another one writes to its place. Then it
waits, and goes on with what that one left: all of it, or the rest when that one failed or was dropped.

While the node's limits do not let a fetch run it pauses: it ends as if it were stopped, and goes on when they do.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from samara.node.fetch.goal import FetchOutcome, FetchRequest, goal_of
from samara.node.fetch.job import FetchJob
from samara.node.fetch.parts import TensorJob
from samara.node.fetch.waits import Waits
from samara.node.network.background import open_background
from samara.node.operations.base import Event, Notice, Progress, Report
from samara.node.store.catalog import QueuedFetch
from samara.node.store.store import PlaceBusyError
from samara.protocol.errors import NetworkError, NotFoundError, OperationError, SamaraError, StoreError
from samara.protocol.ids import ReleaseId

if TYPE_CHECKING:
    from samara.node.app import Node

__all__ = ["FetchQueue"]

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 2
"""Fetches that run at a time; the others wait their turn."""

_TURN: Final = 30.0
"""Seconds with nobody who has it until a fetch that never gives up makes way for the next one."""

_REST: Final = 2.0
"""Seconds until it queues for its next turn."""

_LOOK: Final = 0.25
"""Seconds between two looks whether a place is free."""


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
    release: ReleaseId | None = None
    running: bool = False

    def report(self, event: Event) -> None:
        for listener in list(self.listeners):
            listener(event)

    @contextlib.contextmanager
    def heard_by(self, listener: Report) -> Iterator[None]:
        """Let somebody listen while a block runs."""
        self.listeners.append(listener)
        try:
            yield
        finally:
            self.listeners.remove(listener)

    def brings_what(self, other: _Job) -> bool:
        """Whether it is at work on what the other one waits for."""
        return self.running and self.release == other.release and self.request.to == other.request.to


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
        goal_of(self._node.store, request)  # refuse nonsense at once
        queued = self._node.store.catalog.enqueue(msgspec.json.encode(request))
        job = await self._start(queued)
        with self._waited_for(), job.heard_by(report):
            self._node.allowance.tell()
            await job.ended.wait()
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
        """Let a fetch run; it makes way when nobody has it and it never gives up, or when its place is taken."""
        await self._wait_for_leave(job)
        async with self._slots:
            try:
                job.outcome = await self._fetch(job)
                return
            except PlaceBusyError as error:
                taken, job.release = error, error.release
            except (NotFoundError, NetworkError) as error:
                if job.patience is not None:
                    raise
                taken = None
                _log.info("fetch %d makes way: %s", job.queued.no, error.message)
                self._node.store.catalog.update_fetch(job.queued.no, "queued", error=error.message)
        if taken is None:
            await trio.sleep(_REST)
        else:
            await self._wait_for_place(job, taken)

    async def _wait_for_leave(self, job: _Job) -> None:
        """Wait until the limits let a fetch run, and let those who listen hear why it does not."""
        said = ""
        while why := self._why_not(job):
            if why != said:
                said = why
                self._node.store.catalog.update_fetch(job.queued.no, "queued", error=f"paused: {why}")
                job.report(Notice(f"The fetch pauses: {why}. See samara limits."))
            job.report(Progress("paused", 0, None, note=why))
            await self._node.allowance.wait_changed()

    def _why_not(self, job: _Job) -> str:
        return self._node.allowance.why_no_fetch(asked=bool(job.listeners))

    @contextlib.contextmanager
    def _waited_for(self) -> Iterator[None]:
        """Let fetches look again whether they may run when somebody who waited for one leaves."""
        try:
            yield
        finally:
            self._node.allowance.tell()

    async def _stop_without_leave(self, job: _Job, fetch: FetchJob | TensorJob, scope: trio.CancelScope) -> None:
        while not self._why_not(job):
            await self._node.allowance.wait_changed()
        await fetch.hang_up()
        scope.cancel()

    async def _fetch(self, job: _Job) -> FetchOutcome | None:
        """Run a fetch; returns None when it was made to pause."""
        request, store = job.request, self._node.store
        goal = goal_of(store, request)
        if job.release is not None:  # what a name means was found out before
            goal = replace(goal, release=job.release)
        job.release = goal.release
        store.catalog.update_fetch(job.queued.no, "running", release=job.release)
        kind = FetchJob if goal.tensors is None else TensorJob
        fetch = kind(self._node, goal, job.report, patience=job.patience or _TURN, waits=self.waits)
        job.running = True
        try:
            async with open_background() as nursery:
                with trio.CancelScope() as scope:
                    nursery.start_soon(self._stop_without_leave, job, fetch, scope)
                    return await fetch.run()
            return None
        finally:
            job.running = False

    async def _wait_for_place(self, job: _Job, taken: PlaceBusyError) -> None:
        """Wait until nobody writes there, and let those who listen hear how far that is."""
        store = self._node.store
        store.catalog.update_fetch(job.queued.no, "queued", release=taken.release, error=taken.message)
        job.report(Notice("The same files are being fetched already: this fetch waits for that one."))
        ahead = next((other for other in self._jobs.values() if other.brings_what(job)), None)
        with ahead.heard_by(job.report) if ahead is not None else contextlib.nullcontext():
            while True:
                await trio.sleep(_LOOK)
                if not store.is_busy(taken.place):
                    return

    def _failed(self, job: _Job, error: SamaraError) -> None:
        _log.info("fetch %d failed: %s", job.queued.no, error.message)
        job.error = error
        try:
            self._node.store.catalog.update_fetch(job.queued.no, "failed", error=error.message)
        except StoreError as full:  # the disk that made the fetch fail; the others go on
            _log.warning("that fetch %d failed could not be noted: %s", job.queued.no, full.message)
