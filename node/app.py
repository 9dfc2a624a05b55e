"""The node: one home, its store, its network when something needs it, and the operations that all doors share.

The task tree, from the root nursery down:

    run_node
    ├─ door                 answers callers on the local socket; a task a caller
    ├─ places               looks whether published files were edited, or a medium went away
    ├─ digests              checks the whole-file digests of what was fetched
    ├─ fetches              the queue: a task a fetch, below it a task a peer
    ├─ limits               follows the schedule of the caps
    ├─ logs                 asks now and then what publishers have said since
    ├─ news                 hears and tells by gossip what they say now
    └─ network              started by the first operation that needs it
       ├─ host              connections: a task a connection, a task a stream
       ├─ announce          keeps what is shared announced
       └─ nearby            collects the peers that mDNS finds

A peer's failure ends that peer's tasks. A service's failure is logged, and the service starts again (`supervise`).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import trio

from samara.node.digests import check_digests
from samara.node.doors.local import open_door, serve_door
from samara.node.fetch.logs import LogKeeper
from samara.node.fetch.news import News
from samara.node.fetch.queue import FetchQueue
from samara.node.fetch.rounds import LogRounds
from samara.node.network.allowance import Allowance
from samara.node.network.service import NetworkService, run_network
from samara.node.operations.base import AnyOperation, Operation, Report
from samara.node.settings import Settings
from samara.node.store.home import Home, HomeLock
from samara.node.store.store import Store
from samara.node.store.watch import PlaceWatch
from samara.node.supervise import supervise
from samara.protocol.errors import StoreError, UsageError

__all__ = ["Node", "look_at_home", "open_node"]

_log = logging.getLogger(__name__)

_LOOK_EVERY = 30.0
"""Seconds between two looks at the places: an edit is noticed soon, and a read notices it at once anyway."""

Request = TypeVar("Request")
Result = TypeVar("Result")


@dataclass(slots=True)
class _Running:
    """How many operations are under way, and how to wait until none is."""

    count: int = 0
    idle: trio.Event | None = None


class Node:
    """A node that holds its home (`open_node`), or that only looks at one (`look_at_home`)."""

    def __init__(
        self,
        home: Home,
        settings: Settings,
        store: Store,
        operations: Mapping[str, AnyOperation],
        nursery: trio.Nursery,
    ) -> None:
        self.home = home
        self.settings = settings
        self.store = store
        self.allowance = Allowance(settings.network)
        self.logs = LogKeeper(store.ledgers)
        self.fetches = FetchQueue(self)
        self.news = News(self)
        self.network_started = trio.Event()
        self.started = trio.current_time()
        self._operations = operations
        self._nursery = nursery
        self._network: NetworkService | None = None
        self._network_lock = trio.Lock()
        self._running = _Running()

    async def run(self, operation: Operation[Request, Result], request: Request, report: Report) -> Result:
        """Do an operation.

        Raises:
            SamaraError: It could not be done.
        """
        self._running.count += 1
        try:
            return await operation.handler(self, request, report)
        finally:
            self._running.count -= 1
            if not self._running.count and self._running.idle is not None:
                self._running.idle.set()

    def operation(self, name: str) -> AnyOperation:
        """Return an operation by name.

        Raises:
            UsageError: There is none of that name.
        """
        if name not in self._operations:
            raise UsageError(f"this node has no operation {name!r}", hint="Restart it with the same version of Samara.")
        return self._operations[name]

    async def wait_idle(self) -> None:
        """Wait until no operation is under way."""
        while self._running.count:
            self._running.idle = trio.Event()
            await self._running.idle.wait()

    async def network(self) -> NetworkService:
        """Return the network, started now if nothing needed it before.

        Raises:
            NetworkError: It cannot listen.
        """
        async with self._network_lock:
            if self._network is None:
                self._network = await self._nursery.start(run_network, self.home, self.allowance, self.store)
                self.network_started.set()
            return self._network

    @property
    def network_if_started(self) -> NetworkService | None:
        """The network, if something needed it already."""
        return self._network

    def library_changed(self) -> None:
        """Say that releases came, went or changed, so that the announcements follow."""
        if self._network is not None:
            self._network.library_changed()
        self.news.look()

    def start_soon(self, name: str, service: Callable[[], Awaitable[None]]) -> None:
        """Start a supervised service."""
        self._nursery.start_soon(supervise, name, service)

    async def watch_places(self) -> None:
        """Look at the places now and then."""
        watch = PlaceWatch(self.store)
        while True:
            for place in await trio.to_thread.run_sync(watch.look):
                _log.warning("%s changed on disk", place.root)
                self.library_changed()
            await trio.sleep(_LOOK_EVERY)


@contextlib.asynccontextmanager
async def open_node(home: Home, settings: Settings, operations: Mapping[str, AnyOperation]) -> AsyncIterator[Node]:
    """Hold a home, open its store and its door, and stop cleanly when the block ends or is cancelled.

    Raises:
        HomeBusyError: Another process holds the home.
        ReadOnlyError: The home cannot be written.
        StoreError: The store is damaged.
    """
    lock = HomeLock(home)
    try:
        store = Store(home, settings.store, writable=True)
        try:
            async with open_door(home) as (listener, door), trio.open_nursery() as nursery:
                node = Node(home, settings, store, operations, nursery)
                lock.announce(door)
                nursery.start_soon(serve_door, node, listener, door)
                node.start_soon("places", node.watch_places)
                node.start_soon("digests", lambda: check_digests(node.store))
                node.start_soon("fetches", node.fetches.run)
                node.start_soon("limits", node.allowance.run)
                node.start_soon("logs", LogRounds(node).run)
                node.start_soon("news", node.news.run)
                try:
                    yield node
                finally:
                    with contextlib.suppress(StoreError):  # a full disk: the door is found to be gone all the same
                        lock.withdraw()
                    nursery.cancel_scope.cancel()
        finally:
            store.close()
    finally:
        lock.close()


@contextlib.asynccontextmanager
async def look_at_home(home: Home, settings: Settings, operations: Mapping[str, AnyOperation]) -> AsyncIterator[Node]:
    """Open a home that cannot be written, for operations that only look: nothing is held, and nothing runs beside them.

    Raises:
        NotFoundError: There is no home.
        StoreError: The store is damaged.
    """
    with contextlib.closing(Store(home, settings.store, writable=False)) as store:
        async with trio.open_nursery() as nursery:
            yield Node(home, settings, store, operations, nursery)
