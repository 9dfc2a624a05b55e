"""The process that gets killed: a whole node that fetches from two others, all three in one process, on real files.

    python -m support.kill_child     reads one order a line (JSON), forks a child for each, and says how it ended

Forking makes a child ready in milliseconds, so that a thousand kills take minutes. In the child the calls through which
the store reaches the disk are watched: an order may say "die before the third link". A *lossy* disk also keeps what is
written in memory until the file is synced, so that dying takes with it what a power cut could take.
"""

from __future__ import annotations

import contextlib
import functools
import json
import mmap
import os
import signal
import sqlite3
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import msgspec
import trio
from support.memory_network import MemoryHost, MemoryNetwork

from samara.node import app
from samara.node.fetch import job
from samara.node.fetch.goal import FetchRequest
from samara.node.network.allowance import Allowance
from samara.node.network.exchange.server import Service, serve_stream
from samara.node.network.service import NetworkService
from samara.node.network.transport import Stream
from samara.node.operations.base import Event
from samara.node.settings import NetworkSettings, Settings, StoreSettings
from samara.node.store import files, intake, linux
from samara.node.store.home import Home
from samara.node.store.store import Store
from samara.protocol.exchange.messages import PROTOCOL

__all__ = ["MOMENTS", "Ended", "Kill", "Order"]

MOMENTS: Final = (
    "mkdir", "create", "allocate", "write", "sync", "chmod", "link", "unlink", "folder", "begin", "commit",
)  # fmt: skip
"""The calls at which an order may kill: file system calls, and the borders of the index's transactions."""

_SEEDERS: Final = ("seeder-1", "seeder-2")
_COUNTER: Final = struct.Struct("<Q")


class Kill(msgspec.Struct, frozen=True, tag="kill"):
    """When to die.

    Attributes:
        moment: One of `MOMENTS`, or "time".
        count: At the how many-th call of it.
        when: "before" it, "after" it, or "torn": with half of it done.
        after: Seconds, for "time": SIGKILL comes from the parent.
    """

    moment: str
    count: int = 0
    when: str = "before"
    after: float = 0.0


class Order(msgspec.Struct, frozen=True):
    """What a child is to do.

    Attributes:
        home: The fetcher's home.
        source: The seeders' home; it is only read.
        ref: What to fetch.
        notes: A file for the result, and for what went wrong.
        to: Where to, or empty for the home.
        kill: When to die; None lives.
        rate: Bytes a second from each seeder; None is no limit.
        lossy: Unsynced bytes die with the process.
        commit_every: Seconds between two commits.
        sabotage: Breaks the order of writes on purpose: "" or "no sync".
    """

    home: str
    source: str
    ref: str
    notes: str
    to: str = ""
    kill: Kill | None = None
    rate: float | None = None
    lossy: bool = False
    commit_every: float = 0.02
    sabotage: str = ""


class Ended(msgspec.Struct, frozen=True):
    """How a child ended.

    Attributes:
        status: 0, or minus the signal that killed it, or 1 when the fetch failed.
        seconds: How long it lived.
        put: Bytes of chunks that it had put into files (from peers or copied; what two peers sent counts twice).
        kept: Bytes of them that were kept, each chunk once, when it lived to say so.
        calls: How often it made each of `MOMENTS`, when it lived to say so.
        error: What it failed of.
    """

    status: int
    seconds: float
    put: int
    kept: int = 0
    calls: dict[str, int] = {}
    error: str = ""


class _Watch:
    """Counts the calls that reach the disk, and dies at one of them."""

    def __init__(self, kill: Kill | None, *, lossy: bool) -> None:
        self._kill = kill
        self._lossy = lossy
        self._lock = threading.RLock()
        self._unsynced: dict[int, tuple[int, list[tuple[int, bytes]]]] = {}  # by inode: a descriptor, and what to write
        self._pwrite = os.pwrite
        self.calls: Counter[str] = Counter()

    def install(self) -> None:
        """Stand between the store and the system's calls."""
        patched: Any = os
        patched.mkdir = self._around("mkdir", os.mkdir)
        patched.fchmod = self._around("chmod", os.fchmod)
        patched.link = self._around("link", os.link)
        patched.unlink = self._around("unlink", os.unlink)
        patched.fsync = self._around("folder", os.fsync)
        patched.fdatasync = self._around("sync", functools.partial(self._sync, os.fdatasync))
        patched_linux: Any = linux
        patched_linux.sync_filesystem = self._around("sync", functools.partial(self._sync_all, linux.sync_filesystem))
        patched.pwrite = self._around("write", self._write, torn=self._half_write)
        patched.preadv = functools.partial(self._read, os.preadv)
        patched.open = self._opening(os.open)
        patched_files: Any = files
        patched_files._allocate = self._around("allocate", files._allocate, torn=self._half_allocate)
        connection = type("_Watched", (sqlite3.Connection,), {"execute": self._executing(sqlite3.Connection.execute)})
        patched_sql: Any = sqlite3
        patched_sql.connect = functools.partial(sqlite3.connect, factory=connection)

    def _around(
        self, moment: str, call: Callable[..., Any], torn: Callable[..., None] | None = None
    ) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            when = self._count(moment)
            if when == "torn" and torn is not None:
                torn(*args)
            if when in {"before", "torn"}:
                _die()
            try:
                return call(*args, **kwargs)
            finally:
                if when == "after":
                    _die()

        return watched

    def _count(self, moment: str) -> str:
        with self._lock:
            self.calls[moment] += 1
            kill = self._kill
            hit = kill is not None and kill.moment == moment and kill.count == self.calls[moment]
            return kill.when if kill is not None and hit else ""

    def _opening(self, call: Callable[..., int]) -> Callable[..., int]:
        watched = self._around("create", call)

        def opening(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            return (watched if flags & os.O_CREAT else call)(path, flags, *args, **kwargs)

        return opening

    def _executing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        begin, commit = self._around("begin", call), self._around("commit", call)

        def executing(connection: sqlite3.Connection, statement: str, *args: Any) -> Any:
            watched = {"BEGIN IMMEDIATE": begin, "COMMIT": commit}.get(statement, call)
            return watched(connection, statement, *args)

        return executing

    # A disk that loses what was not synced

    def _write(self, fd: int, data: memoryview, offset: int) -> int:
        if not self._lossy:
            return self._pwrite(fd, data, offset)
        with self._lock:
            inode = os.fstat(fd).st_ino
            if inode not in self._unsynced:
                self._unsynced[inode] = (os.dup(fd), [])  # small files are closed before they are synced
            self._unsynced[inode][1].append((offset, bytes(data)))
        return len(data)

    def _half_write(self, fd: int, data: memoryview, offset: int) -> None:
        self._pwrite(fd, data[: len(data) // 2], offset)

    def _half_allocate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size // 2)

    def _sync(self, call: Callable[[int], None], fd: int) -> None:
        self._let_through(fd)
        call(fd)

    def _read(self, call: Callable[..., int], fd: int, buffers: Any, offset: int) -> int:
        self._let_through(fd)
        return call(fd, buffers, offset)

    def _let_through(self, fd: int) -> None:
        with self._lock:
            if self._unsynced:
                self._flush(os.fstat(fd).st_ino)

    def _flush(self, inode: int) -> None:
        held, pieces = self._unsynced.pop(inode, (-1, []))
        for offset, data in pieces:
            self._pwrite(held, data, offset)
        if pieces:
            os.close(held)

    def _sync_all(self, call: Callable[[int], None], fd: int) -> None:
        with self._lock:
            for inode in list(self._unsynced):
                self._flush(inode)
        call(fd)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def _fetch(order: Order) -> int:
    """Fetch as a node does, and return the bytes that were fetched or copied."""
    world = MemoryNetwork()
    source = Store(Home(Path(order.source)), StoreSettings(), writable=False)
    async with contextlib.AsyncExitStack() as stack:
        for name in _SEEDERS:
            seeder = await stack.enter_async_context(world.join(name))
            world.line(name, "fetcher").rate = order.rate
            seeder.serve(PROTOCOL, functools.partial(_serve, source))
        fetcher = await stack.enter_async_context(world.join("fetcher"))
        patched: Any = app
        patched.run_network = functools.partial(_run_network, fetcher)
        settings = Settings(NetworkSettings(mdns=False, dht="off"), StoreSettings(floor=0))
        node = await stack.enter_async_context(app.open_node(Home(Path(order.home)), settings, {}))
        peers = tuple(f"/memory/{name}/p2p/{name}" for name in _SEEDERS)
        outcome = await node.fetches.fetch(FetchRequest(order.ref, to=order.to, peers=peers), _ignore)
        await stack.aclose()
        return outcome.received + outcome.reused


async def _serve(source: Store, stream: Stream) -> None:
    await serve_stream(stream, source.shelf, Service())


async def _run_network(
    host: MemoryHost,
    home: Home,
    allowance: Allowance,
    store: Store,
    *,
    task_status: trio.TaskStatus[NetworkService],
) -> None:
    opened: Any = SimpleNamespace(host=host, routing=None, announcer=None, caps=allowance.caps)
    home.key("node")
    service = NetworkService(opened, allowance, store)
    host.serve(PROTOCOL, service.serve)
    task_status.started(service)
    await trio.sleep_forever()


def _ignore_streams(self: object, streams: object) -> None:
    pass


def _ignore(event: Event) -> None:
    pass


def _run_child(order: Order) -> None:
    """Do an order in this process, and leave the result in its notes."""
    watch = _Watch(order.kill, lossy=order.lossy)
    patched_job: Any = job
    patched_job._COMMIT_EVERY = order.commit_every
    with open(order.notes + ".put", "r+b") as file:
        _count_puts(mmap.mmap(file.fileno(), _COUNTER.size))
    if order.sabotage == "no sync":
        patched_intake: Any = intake
        patched_intake.sync_data = _ignore
        patched_intake.SmallFiles.sync = _ignore_streams
    watch.install()
    result: dict[str, Any] = {}
    try:
        result["kept"] = trio.run(_fetch, order)
    except BaseException as error:  # told to the parent, whatever it is
        result["error"] = repr(error)
    result["calls"] = dict(watch.calls)
    Path(order.notes).write_text(json.dumps(result))


def _count_puts(counter: mmap.mmap) -> None:
    """Count the bytes that were put where a kill cannot reach them: in a mapped file."""
    verified = intake.StoreIntake._verified
    lock = threading.Lock()

    def counting(self: intake.StoreIntake, places: Any, data: memoryview) -> Any:
        right = verified(self, places, data)
        with lock:
            (before,) = _COUNTER.unpack_from(counter)
            _COUNTER.pack_into(counter, 0, before + sum(len(part) for *_, part in right))
        return right

    patched: Any = intake.StoreIntake
    patched._verified = counting


def _watch_child(pid: int, kill: Kill | None, began: float) -> int:
    """Wait for a child, and kill it when its time has come; return how it ended."""
    deadline = began + kill.after if kill is not None and kill.moment == "time" else None
    while deadline is not None:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline:
            os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.0005)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _do(order: Order) -> Ended:
    put = Path(order.notes + ".put")
    put.write_bytes(bytes(_COUNTER.size))
    Path(order.notes).unlink(missing_ok=True)
    began = time.monotonic()
    pid = os.fork()
    if not pid:
        with contextlib.suppress(BaseException):
            _run_child(order)
        os._exit(0)
    status = _watch_child(pid, order.kill, began)
    seconds = time.monotonic() - began
    (count,) = _COUNTER.unpack(put.read_bytes())
    said = json.loads(Path(order.notes).read_text()) if status == 0 and Path(order.notes).exists() else {}
    error = said.get("error", "")
    return Ended(1 if error else status, seconds, count, said.get("kept", 0), said.get("calls", {}), error)


def _orders() -> Iterator[Order]:
    for line in sys.stdin:
        yield msgspec.json.decode(line, type=Order)


def main() -> None:
    for order in _orders():
        print(msgspec.json.encode(_do(order)).decode(), flush=True)


if __name__ == "__main__":
    main()
