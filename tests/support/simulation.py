"""One run of a simulated world that can be had again: the same number gives the same events, to the last bit.

What could differ between two runs is taken away while `simulate` runs:

- the clock: trio's autojump clock, which begins at 0 and knows no other time;
- the order of tasks: trio sorts those that are runnable, and shuffles them with a generator that we seed;
- other chance: `random` itself is seeded;
- threads: a call for a worker thread is made at once, and its result comes back after a simulated while;
- the network: `open_network` gives a host of a `MemoryNetwork`, by the seed of the node's key;
- the local door: nobody calls there, so there is none.

All else is what users run: `open_node`, the store on real files, the queue, the exchange on both ends, the scheduler.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, final
from unittest import mock

import trio
import trio.testing
from support.contents import CrashableStore
from support.memory_network import MemoryHost, MemoryNetwork
from trio._core import _run as trio_run

from samara.node import app
from samara.node.fetch.rounds import LogRounds
from samara.node.network import service
from samara.node.network.dht import ValueRule
from samara.node.network.opening import NetworkConfig, OpenNetwork
from samara.node.settings import NetworkSettings, Settings, StoreSettings
from samara.node.store.home import Home
from samara.node.store.watch import PlaceWatch
from samara.protocol.errors import SamaraError

__all__ = ["LogWatch", "RoundWatch", "SimulatedNode", "count_tasks", "draw_key", "simulate"]

T = TypeVar("T")


def draw_key(seed: int, name: str) -> bytes:
    """Return 32 bytes that belong to a name in the world of a seed."""
    return random.Random(f"{seed}/key/{name}").randbytes(32)


def simulate(seed: int, world: Callable[[], Awaitable[T]], *, slowest_call: float = 0.0) -> T:
    """Run a world to its end.

    Args:
        seed: What decides the order of tasks and how long calls take.
        world: What to run.
        slowest_call: Seconds that a call in a worker thread takes at most.
    """
    with _no_chance(seed), _inline_threads(random.Random(f"{seed}/threads"), slowest_call), _simulated_surroundings():
        return trio.run(world, clock=trio.testing.MockClock(autojump_threshold=0))


@contextlib.contextmanager
def _no_chance(seed: int) -> Iterator[None]:
    inside: Any = trio_run
    before = inside._ALLOW_DETERMINISTIC_SCHEDULING, inside._r.getstate(), random.getstate()
    inside._ALLOW_DETERMINISTIC_SCHEDULING = True
    inside._r.seed(f"{seed}/tasks")
    random.seed(f"{seed}/random")
    try:
        yield
    finally:
        inside._ALLOW_DETERMINISTIC_SCHEDULING = before[0]
        inside._r.setstate(before[1])
        random.setstate(before[2])


@contextlib.contextmanager
def _inline_threads(rng: random.Random, slowest: float) -> Iterator[None]:
    async def run_sync(call: Callable[..., T], *args: Any, abandon_on_cancel: bool = False, **_: Any) -> T:
        """Do what the call does now, and let its caller have the result later, as from a thread."""
        await trio.lowlevel.checkpoint()
        pause = rng.uniform(0.0, slowest) if slowest else 0.0
        try:
            return call(*args)
        finally:
            if pause:
                with trio.CancelScope(shield=not abandon_on_cancel):
                    await trio.sleep(pause)

    with mock.patch.object(trio.to_thread, "run_sync", run_sync):
        yield


@contextlib.contextmanager
def _simulated_surroundings() -> Iterator[None]:
    with (
        mock.patch.object(app, "open_door", _no_door),
        mock.patch.object(app, "Store", CrashableStore),
        mock.patch.object(app, "PlaceWatch", lambda store: PlaceWatch(store, trio.current_time)),
        mock.patch.object(service, "open_network", _open_network),
    ):
        yield


@final
class _NobodyCalls(trio.abc.Listener[trio.SocketStream]):
    """The local door."""

    async def accept(self) -> trio.SocketStream:
        await trio.sleep_forever()
        raise AssertionError

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@contextlib.asynccontextmanager
async def _no_door(home: Home) -> AsyncIterator[tuple[_NobodyCalls, str]]:
    yield _NobodyCalls(), f"none:{home.root.name}"


_HOSTS: Final[dict[bytes, MemoryHost]] = {}
"""The hosts of the running world, by the seed of the key of their node."""


@contextlib.asynccontextmanager
async def _open_network(
    config: NetworkConfig, *, rules: Mapping[str, ValueRule] | None = None
) -> AsyncIterator[OpenNetwork]:
    host: Any = _HOSTS[config.seed]
    host.caps = config.caps
    yield OpenNetwork(host, None, None, config.caps)


@final
@dataclass(slots=True)
class SimulatedNode:
    """A whole node in a world, that may leave, be killed, and come back to its home.

    Attributes:
        world: Where it lives.
        name: Its peer id; short, for traces.
        home: Its home; it holds the key `draw_key` gives.
        up: Bytes a second that it can send; None is no limit.
        down: Bytes a second that it can receive; None is no limit.
        cap: The setting `network.upload`.
        node: While it runs.
        host: While it runs.
    """

    world: MemoryNetwork
    name: str
    home: Path
    key: bytes
    up: float | None = None
    down: float | None = None
    cap: int | None = None
    node: app.Node | None = None
    host: MemoryHost | None = None
    is_dying: bool = False
    _scope: trio.CancelScope | None = None
    _ended: trio.Event | None = None
    _task: trio.lowlevel.Task | None = None

    @property
    def address(self) -> str:
        """What others are told to reach it."""
        return f"/memory/{self.name}/p2p/{self.name}"

    async def start(self, nursery: trio.Nursery) -> app.Node:
        """Open it, with its network."""
        self._write_key()
        await nursery.start(self._live)
        assert self.node is not None
        return self.node

    def tasks(self) -> int:
        """How many tasks it consists of."""
        assert self._task is not None
        return count_tasks(self._task)

    async def leave(self) -> None:
        """Stop it as a person does, and wait until it has."""
        await self._stop()

    async def kill(self) -> None:
        """Take it out of the world at once: what it did not commit is lost, and nobody hears a goodbye."""
        assert self.node is not None
        store: Any = self.node.store
        self.is_dying = True
        self.world.vanish(self.name)
        for intake in store._intakes.values():
            intake._large.close()
        store.crash()
        await self._stop()
        self.is_dying = False

    async def _stop(self) -> None:
        assert self._scope is not None
        assert self._ended is not None
        self._scope.cancel()
        await self._ended.wait()

    def _write_key(self) -> None:
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.home / "node.key"
        if not path.exists():
            path.touch(0o600)
            path.write_bytes(self.key)

    async def _live(self, task_status: trio.TaskStatus[None]) -> None:
        settings = Settings(NetworkSettings(mdns=False, dht="off", upload=self.cap), StoreSettings(floor=0))
        ended = self._ended = trio.Event()
        self._task = trio.lowlevel.current_task()
        try:
            with trio.CancelScope() as self._scope:
                async with self.world.join(self.name, up=self.up, down=self.down) as host:
                    _HOSTS[self.key] = self.host = host
                    async with app.open_node(Home(self.home), settings, {}) as node:
                        await node.network()
                        self.node = node
                        task_status.started()
                        await trio.sleep_forever()
        except* SamaraError:
            if not self.is_dying:  # else it found its store gone; who is killed does not get that far
                raise
        finally:
            _HOSTS.pop(self.key, None)
            self.node = self.host = self._scope = self._task = None
            ended.set()


def count_tasks(task: trio.lowlevel.Task) -> int:
    """Return how many tasks live below one."""
    return sum(1 + count_tasks(child) for nursery in task.child_nurseries for child in nursery.child_tasks)


@final
class LogWatch(logging.Handler):
    """Collects what the program logs as broken: a world in which nothing is wrong has none of it."""

    def __init__(self, is_excused: Callable[[], bool]) -> None:
        super().__init__(logging.WARNING)
        self._is_excused = is_excused
        self.broken: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if (record.exc_info or record.levelno >= logging.ERROR) and not self._is_excused():
            self.broken.append(self.format(record))

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Listen while a block runs."""
        logger = logging.getLogger("samara")
        propagate, logger.propagate = logger.propagate, False
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)
            logger.propagate = propagate


@final
class RoundWatch:
    """Knows when nodes ask each other for logs, as each does now and then: a world in which some do is not at rest."""

    def __init__(self) -> None:
        self._under_way = 0
        self._ended = -math.inf

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while a block runs."""
        ask = LogRounds.ask

        async def watched(*asked: Any, **how: Any) -> Any:
            self._under_way += 1
            try:
                return await ask(*asked, **how)
            finally:
                self._under_way -= 1
                self._ended = trio.current_time()

        with mock.patch.object(LogRounds, "ask", watched):
            yield

    async def wait_for_none(self, seconds: float) -> None:
        """Wait for a moment at which nobody has asked for so long."""
        while self._under_way or trio.current_time() < self._ended + seconds:  # noqa: ASYNC110 - rounds begin again
            await trio.sleep(1.0)
