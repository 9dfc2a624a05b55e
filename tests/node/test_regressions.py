"""Each of these went wrong once: what cannot be stopped, what tells too much, and what fails at a bad moment."""

from __future__ import annotations

import functools
import os
import random
import socket
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
import trio.lowlevel
import trio.testing
from support.contents import Source, give_home, make_source, take_all
from support.memory_network import MemoryNetwork

from samara.node.app import open_node
from samara.node.doors import client, local
from samara.node.fetch import finder
from samara.node.fetch.cost import CostJob
from samara.node.fetch.finder import Finder
from samara.node.fetch.goal import Goal
from samara.node.fetch.job import FetchJob, _rotation
from samara.node.fetch.keeper import Arrival
from samara.node.fetch.lists import ListBoard
from samara.node.fetch.swarm import Swarm
from samara.node.network.exchange.client import ExchangeClient
from samara.node.network.exchange.pool import BufferPool
from samara.node.network.exchange.server import Service, serve_stream
from samara.node.network.transport import PeerAddress
from samara.node.operations import library
from samara.node.operations.library import VERIFY, VerifyRequest, verify_held
from samara.node.operations.publish import PUBLISH, PublishRequest
from samara.node.operations.refs import find_release
from samara.node.operations.run import _model_of
from samara.node.settings import Settings, StoreSettings
from samara.node.store import publish as store_publish
from samara.node.store.home import Home, HomeLock
from samara.node.store.intake import StoreIntake
from samara.node.store.scan import scan_file
from samara.node.store.stamps import Likeness
from samara.protocol.chunklist import ChunkList
from samara.protocol.errors import DiskFullError, NotFoundError, PeerRefusedError, StoreError, UsageError
from samara.protocol.exchange.messages import PROTOCOL, Chunk
from samara.protocol.ids import ContentId, Digest, ReleaseId, format_record
from samara.protocol.limits import MIB
from samara.protocol.ports import Availability, Span, StreamNeed
from samara.protocol.records import Visibility
from samara.protocol.scheduler import Scheduler, Standing, Want

NO_FLOOR = Settings(store=StoreSettings(floor=0))


def never() -> bool:
    return False


def unwatched(count: int, path: str) -> None:
    pass


# What can be stopped


def slow_scan(fd: int, size: int, *, on_progress: Callable[[int], None], cancelled: Callable[[], bool]) -> Any:
    """Hash for half a minute, as of a large file, and ask now and then."""
    for _ in range(3000):
        cancelled()
        on_progress(0)
        time.sleep(0.01)


@pytest.mark.parametrize("what", ["publish", "verify"])
async def test_hashing_stops_when_its_caller_does(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with give_home(tmp_path / "home") as store:
        made = make_source(store, tmp_path / "model", {"w.bin": 1000})
    (tmp_path / "new.bin").write_bytes(bytes(1000))
    monkeypatch.setattr(store_publish if what == "publish" else library, "scan_file", slow_scan)
    async with open_node(Home(tmp_path / "home"), NO_FLOOR, {}) as node:
        began = time.monotonic()
        with trio.move_on_after(0.2) as scope:
            if what == "publish":
                await node.run(PUBLISH, PublishRequest(str(tmp_path / "new.bin"), license="MIT"), lambda event: None)
            else:
                await node.run(VERIFY, VerifyRequest(format_record(made.release)), lambda event: None)
        assert scope.cancelled_caught
        assert time.monotonic() - began < 5


async def test_looking_at_what_lies_in_the_way_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from samara.node.store import adopting

    def scan(fd: int, size: int, *, cancelled: Callable[[], bool] | None = None) -> Any:
        assert cancelled is not None
        return slow_scan(fd, size, on_progress=lambda count: None, cancelled=cancelled)

    with give_home(tmp_path / "a") as source:
        made = make_source(source, tmp_path / "model", {"w.bin": MIB})
        opening = made.opening(source)
    monkeypatch.setattr(adopting, "scan_file", scan)
    async with open_node(Home(tmp_path / "b"), NO_FLOOR, {}) as node:
        (tmp_path / "to").mkdir()
        (tmp_path / "to/w.bin").write_bytes(bytes(MIB))
        job = FetchJob(node, goal(to=tmp_path / "to"), lambda event: None, patience=None)
        job._learning.verified, job._learning.records = node.store._verify(opening[0]), opening[0]
        began = time.monotonic()
        with trio.move_on_after(0.2) as scope:
            await job._open(opening[1], lambda: opening[2])
        assert scope.cancelled_caught
        assert time.monotonic() - began < 5


# Fetching


def goal(*peers: str, release: ReleaseId | None = None, to: Path | None = None) -> Goal:
    return Goal(release, None, None, None, tuple(PeerAddress(peer) for peer in peers), (), to)


class Surroundings:
    """Peers that are nearby, and nobody else."""

    routing = None

    def __init__(self) -> None:
        self.host = self

    async def found_nearby(self) -> AsyncIterator[PeerAddress]:
        yield PeerAddress("nearby")
        await trio.sleep_forever()


@pytest.mark.parametrize(("public_after", "asked_after"), [(0.5, 0.5), (None, finder._HEAD_START)])
async def test_nobody_else_hears_of_a_link_before_the_peers_in_it(
    public_after: float | None, asked_after: float, autojump_clock: trio.testing.MockClock
) -> None:
    looking = Finder(cast(Any, Surroundings()), [PeerAddress("named")], [])
    sending, found = trio.open_memory_channel[PeerAddress](10)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(looking.run, sending)
        assert (await found.receive()).peer == "named"
        if public_after is not None:
            await trio.sleep(public_after)
            looking.look_for(b"key")
        while (await found.receive()).peer != "nearby":
            pass
        assert trio.current_time() - began == pytest.approx(asked_after, abs=0.1)
        nursery.cancel_scope.cancel()


async def test_of_an_unlisted_release_only_the_named_are_asked(tmp_path: Path) -> None:
    async with open_node(Home(tmp_path / "home"), NO_FLOOR, {}) as node:
        meeting = FetchJob(node, goal("named"), lambda event: None, patience=None)._meeting
        for visibility, refused in ((Visibility.PUBLIC, False), (Visibility.UNLISTED, True)):
            meeting.learning.verified = cast(Any, SimpleNamespace(release=SimpleNamespace(visibility=visibility)))
            meeting._check_named("named")
            if refused:
                with pytest.raises(PeerRefusedError):
                    meeting._check_named("nearby")
            else:
                meeting._check_named("nearby")


async def test_what_fails_after_the_end_is_no_failure_of_the_fetch(tmp_path: Path) -> None:
    async with open_node(Home(tmp_path / "home"), NO_FLOOR, {}) as node:
        meeting = FetchJob(node, goal(), lambda event: None, patience=None)._meeting
        meeting.end()
        meeting.end(StoreError("a chunk came twice"))
        assert meeting.failure is None


async def test_a_dry_run_reads_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with give_home(tmp_path / "a") as store:
        made = make_source(store, tmp_path / "model", {"w.bin": MIB})
        chunks = store.contents.chunk_list(made.content, 1)
    assert chunks is not None
    async with open_node(Home(tmp_path / "a"), NO_FLOOR, {}) as node:
        monkeypatch.setattr(node.store.reader, "_read_file", None)
        job = CostJob(node, goal(), lambda event: None, patience=None)
        assert job._missing(made.content, 1, chunks) == []
        node.store.contents.set_place_state(node.store.contents.places()[0], "away")
        assert job._missing(made.content, 1, chunks) == list(range(len(chunks)))


async def test_a_dry_run_of_what_is_held_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with give_home(tmp_path / "a") as store:
        made = make_source(store, tmp_path / "model", {"w.bin": MIB, "empty.txt": 0})
    async with open_node(Home(tmp_path / "a"), NO_FLOOR, {}) as node:
        monkeypatch.setattr(node, "network", None)
        job = CostJob(node, goal(release=made.release), lambda event: None, patience=None)
        assert (await job.measure()).id == made.release
        assert {cost.path: (cost.bytes, cost.needed) for cost in job.costs} == {"w.bin": (MIB, 0), "empty.txt": (0, 0)}


class Whole:
    """A peer that has every file whole; counts how often it is asked."""

    peer = "whole"
    on_received = None
    has_given = False
    has_all = False

    def __init__(self) -> None:
        self.asked = 0

    async def opened(self) -> SimpleNamespace:
        return SimpleNamespace(max_outstanding=32)

    async def files_bits(self, content: ContentId, *, files: int, bases: tuple[ContentId, ...] = ()) -> bytes:
        self.asked += 1
        await trio.lowlevel.checkpoint()
        return b"\xff" * ((files + 7) // 8)

    async def availability(self, content: ContentId, stream: int, *, chunks: int) -> Availability:
        raise AssertionError("it said that it has all of it")


def one_chunk(length: int = 10) -> ChunkList:
    return ChunkList(bytes(32) + length.to_bytes(4, "little"))


async def test_a_peer_is_not_asked_again_for_each_file(autojump_clock: trio.testing.MockClock) -> None:
    swarm = Swarm(ContentId(bytes(32)), cast(Any, None), [10] * 1000, BufferPool(), rotate=0)
    peer = Whole()
    swarm._scheduler.add_peer(peer.peer, 0.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(swarm._keep_asking_what_it_has, cast(Any, peer))
        for stream in range(1, 1001):
            swarm.add_stream(stream, [0], one_chunk())
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    assert peer.asked <= 2
    assert swarm._scheduler.next_requests(peer.peer, trio.current_time())


async def test_a_mate_is_not_asked_which_part_it_has_of_files_of_one_chunk(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Mate(Whole):
        async def files_bits(self, content: ContentId, *, files: int, bases: tuple[ContentId, ...] = ()) -> bytes:
            return b"\x05" + bytes((files - 1) // 8)

    swarm = Swarm(ContentId(bytes(32)), cast(Any, None), [10] * 20, BufferPool(), rotate=0)
    mate = Mate()
    swarm._scheduler.add_peer(mate.peer, 0.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(swarm._keep_asking_what_it_has, cast(Any, mate))
        swarm.add_small(range(1, 21), [10] * 20)
        await trio.sleep(1.0)
        nursery.cancel_scope.cancel()
    wants = swarm._scheduler.next_requests(mate.peer, trio.current_time())
    assert sorted((want.stream, want.count) for want in wants) == [(1, 1), (3, 1)]


@pytest.mark.parametrize("seed", range(20))
async def test_small_files_in_a_row_are_wanted_as_one_by_one(seed: int) -> None:
    rng = random.Random(seed)
    sizes = [rng.choice([0, 1, 2, 3]) * 100 for _ in range(300)]
    wanted = [n for n, size in enumerate(sizes, 1) if size and rng.random() < rng.choice([0.5, 0.99])]
    singly, in_a_row = (
        Swarm(ContentId(bytes(32)), cast(Any, None), sizes, BufferPool(), rotate=seed) for _ in range(2)
    )
    for stream in wanted:
        singly.add_stream(stream, [0], one_chunk(sizes[stream - 1]))
    for start in range(0, len(wanted), 70):
        part = wanted[start : start + 70]
        in_a_row.add_small(part, [sizes[stream - 1] for stream in part])
    schedulers = [swarm._scheduler for swarm in (singly, in_a_row)]
    for scheduler in schedulers:
        scheduler.add_peer("peer", 0.0)
        scheduler.set_files("peer", None)
    while not schedulers[0].done:
        wants, same = (scheduler.next_requests("peer", 0.0) for scheduler in schedulers)
        assert wants == same != []
        for want in wants:
            for scheduler in schedulers:
                scheduler.received_run("peer", want, 0, want.count, 0.0)
    assert in_a_row.done


async def test_what_a_session_is_left_with_comes_alone_also_when_it_is_cancelled() -> None:
    world = MemoryNetwork()
    async with world.join("seeder") as seeder, world.join("fetcher") as fetcher:
        seeder.serve(PROTOCOL, functools.partial(serve_stream, shelf=cast(Any, None), service=Service()))

        async def fail() -> None:
            with trio.CancelScope() as scope:
                async with ExchangeClient.connect(fetcher, seeder.address):
                    scope.cancel()
                    raise StoreError("the place is busy")

        with pytest.raises(StoreError, match="is busy"):
            await fail()


class Silent(Whole):
    """Holds all of it, and answers no want."""

    on_received = None

    def __init__(self, peer: str) -> None:
        super().__init__()
        self.peer = peer

    async def chunks(self, *want: object) -> None:
        await trio.sleep_forever()


async def test_a_peer_that_looks_again_does_not_wake_all_others(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    next_requests = Scheduler.next_requests

    def counting(self: Scheduler, peer: str, now: float) -> list[Want]:
        looks.append(peer)
        return next_requests(self, peer, now)

    monkeypatch.setattr(Scheduler, "next_requests", counting)
    swarm = Swarm(ContentId(bytes(32)), cast(Any, None), [10], BufferPool(), rotate=0)
    swarm.add_stream(1, [0], one_chunk())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(swarm.keep_time)
        for number in range(20):
            client = cast(Any, Silent(f"peer {number}"))
            nursery.start_soon(functools.partial(swarm.fetch_from, client, own="us", wrong_before=0))
            await trio.sleep(0.007)
        await trio.sleep(5.0)
        nursery.cancel_scope.cancel()
    assert 19 * 5 * 3 < len(looks) < 20 * 5 * 8, "four times a second each, and when something comes"


def test_nodes_whose_homes_have_the_same_path_begin_at_different_places(tmp_path: Path) -> None:
    homes = [Home(tmp_path / "home"), Home(tmp_path / "moved")]
    homes[0].create()
    rotation = _rotation(cast(Any, SimpleNamespace(home=homes[0])))
    homes[0].root.rename(homes[1].root)
    homes[0].create()
    assert _rotation(cast(Any, SimpleNamespace(home=homes[0]))) != rotation
    assert _rotation(cast(Any, SimpleNamespace(home=homes[1]))) == rotation


async def test_who_waits_to_help_with_a_list_does_not_spin_when_it_is_time(mock_clock: trio.testing.MockClock) -> None:
    began = 0.3
    assert (began + 2.0) - began < 2.0, "what is due by one sum is not by the other"
    verifier = cast(Any, SimpleNamespace(complete=False))
    board = ListBoard(ContentId(bytes(32)), cast(Any, never), cast(Any, unwatched), 2.0)
    board.add(StreamNeed(1, "a", 1, Digest(bytes(32)), False, 0, []), verifier)
    mock_clock.jump(began - trio.current_time())
    work = await board._take("silent")
    assert work is not None
    work.asking["silent"] = trio.CancelScope()
    helped: list[object] = []

    async def help_with_it() -> None:
        helped.append(await board._take("helper"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(help_with_it)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(began + 2.0 - trio.current_time())
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert helped == [work]


async def test_a_peer_does_not_stall_because_our_disk_is_slow(mock_clock: trio.testing.MockClock) -> None:
    written = threading.Event()
    disk = SimpleNamespace(put_runs=lambda runs: [int(written.wait(20))])
    swarm = Swarm(ContentId(bytes(32)), cast(StoreIntake, disk), [10], BufferPool(), rotate=0)
    swarm.add_stream(1, [0], one_chunk())
    swarm._scheduler.add_peer("peer", trio.current_time())
    swarm._scheduler.set_files("peer", None)
    (want,) = swarm._scheduler.next_requests("peer", trio.current_time())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(swarm.keep)
        swarm._keeper.post(Arrival("peer", want, Chunk(1, 0), [Span(1, 0, 1)], bytearray(10)))
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(100)
        swarm._tick()
        assert swarm._scheduler.look().peers["peer"].standing is Standing.UNPROVEN
        written.set()
        await trio.testing.wait_all_tasks_blocked()
        while not swarm.done:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")
def test_a_node_that_says_nothing_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_HELLO_TIMEOUT", 0.1)
    home = Home(tmp_path)
    lock = HomeLock(home)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(1)
        lock.announce(f"unix:{tmp_path / 's'}")
        with client.connect(home) as connection:
            assert connection is None
    lock.close()


# Verifying and running what is here


def test_verify_looks_where_the_files_are(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        made = make_source(source, tmp_path / "model", {"w.bin": 1000})
        stick = Path(take_all(made, source, target, tmp_path / "stick")).parent
        ref = format_record(made.release)
        stick.rename(tmp_path / "drawer")
        with pytest.raises(StoreError, match="away"):
            verify_held(target, ref, unwatched, never)
        take_all(made, source, target)
        assert verify_held(target, ref, unwatched, never).ok


def part_of(made: Source, source: Any, target: Any, streams: list[int]) -> None:
    taking = target.open_intake(*made.opening(source), streams)
    for need in taking.needs():
        for index in need.missing:
            taking.put(need.stream, index, made.chunk(source, need.stream, index))
    taking.finish()
    target.close_intake(taking)


def test_a_part_that_was_fetched_verifies_and_runs(tmp_path: Path) -> None:
    with give_home(tmp_path / "a") as source, give_home(tmp_path / "b") as target:
        names = {"m-00001-of-00002.gguf": 10, "m-00002-of-00002.gguf": 11, "other.txt": 12}
        made = make_source(source, tmp_path / "model", names)
        ref = format_record(made.release)
        part_of(made, source, target, [1])
        found = verify_held(target, ref, unwatched, never)
        assert (found.ok, found.files, found.bad) == (True, 1, ())
        assert [place.state for place in target.contents.places()] == ["online"]
        with pytest.raises(NotFoundError, match="not here whole"):
            _model_of(target, find_release(target, ref), "")
        part_of(made, source, target, [2])
        assert _model_of(target, find_release(target, ref), "").name == "m-00001-of-00002.gguf"


def test_one_unreadable_file_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = scan_file

    def scan(fd: int, size: int, **more: Any) -> Any:
        if size == 10:
            raise OSError(5, "Input/output error")
        return real(fd, size, **more)

    monkeypatch.setattr(library, "scan_file", scan)
    with give_home(tmp_path / "a") as store:
        made = make_source(store, tmp_path / "model", {"a": 10, "b": 11, "c": 12})
        (made.root / "c").write_bytes(bytes(12))
        assert verify_held(store, format_record(made.release), unwatched, never).bad == ("a", "c")


def test_an_edit_during_verify_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = scan_file

    def scan(fd: int, size: int, **more: Any) -> Any:
        found = real(fd, size, **more)
        (tmp_path / "model/a").write_bytes(b"edited now")
        return found

    monkeypatch.setattr(library, "scan_file", scan)
    with give_home(tmp_path / "a") as store:
        made = make_source(store, tmp_path / "model", {"a": 10})
        verify_held(store, format_record(made.release), unwatched, never)
        held = store.contents.file(store.contents.places()[0], 1)
        now = (tmp_path / "model/a").stat()
        assert held is not None
        assert held.stamp.compare(now) is Likeness.CHANGED
        monkeypatch.undo()
        assert Source.publish(store, tmp_path / "model").content != made.content


# The home


async def test_the_home_is_not_published_by_accident(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    (tmp_path / "all/notes.txt").write_text("mine")
    async with open_node(Home(tmp_path / "all/samara"), NO_FLOOR, {}) as node:
        node.home.key("publisher")
        with pytest.raises(UsageError, match="private keys"):
            await node.run(PUBLISH, PublishRequest(str(tmp_path / "all"), license="MIT"), lambda event: None)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs Unix sockets")
def test_the_door_finds_a_private_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "h")
    home.create()
    monkeypatch.setattr(local, "_LONGEST_FOLDER", 500)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "file/of-another-user"))
    ours = tmp_path / f"tmp/samara-{os.getuid()}"
    assert local._runtime_folder(home) == ours
    ours.rmdir()
    ours.write_text("taken")
    assert local._runtime_folder(home) == home.root / "door"


def test_a_full_disk_is_told_as_such_by_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        """A lock file on a disk without room."""

        def __getattr__(self, name: str) -> Any:
            def fail(*args: object) -> None:
                raise OSError(28, "No space left on device")

            return fail if name in {"flush", "close"} else lambda *args: None

    lock = HomeLock(Home(tmp_path))
    monkeypatch.setattr(lock, "_file", Full())
    with pytest.raises(DiskFullError):
        lock.announce("unix:/door")
    lock.close()
    monkeypatch.undo()
    lock.close()


async def test_a_disk_that_fails_under_a_fetch_is_told_as_what_it_is() -> None:
    def fail(runs: object) -> list[int]:
        raise DiskFullError("no room")

    disk = SimpleNamespace(put_runs=fail)
    swarm = Swarm(ContentId(bytes(32)), cast(StoreIntake, disk), [10], BufferPool(), rotate=0)
    swarm.add_stream(1, [0], one_chunk())
    swarm._scheduler.add_peer("peer", trio.current_time())
    swarm._scheduler.set_files("peer", None)
    (want,) = swarm._scheduler.next_requests("peer", trio.current_time())
    swarm._keeper.post(Arrival("peer", want, Chunk(1, 0), [Span(1, 0, 1)], bytearray(10)))
    with pytest.raises(DiskFullError), trio.fail_after(10):
        await swarm.keep()
