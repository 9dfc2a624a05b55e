"""Limits of whole nodes, on real sockets: bytes over time, pauses that end, and a seeder that has given enough."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from support.contents import give_home
from support.gossip import gossip_of
from support.nodes import Heard, fetch, published, same_files, seeding, up
from support.waiting import in_time

from samara.node.app import Node
from samara.node.fetch.waits import Waits
from samara.node.network.timetable import Window
from samara.node.operations.limits import LIMITS, LimitsRequest, LimitsResult
from samara.node.operations.network import STATUS, StatusRequest
from samara.protocol.errors import NetworkError, UsageError
from samara.protocol.ids import Digest, ReleaseId

MB = 1_000_000
SIZES = {"model.bin": 6 * MB}
SIZE = sum(SIZES.values())
BURST = 0.1
"""Seconds of the rate that a bucket holds."""

OF_NOBODY = ReleaseId(Digest(bytes(range(32))))


async def until(true: Callable[[], object]) -> None:
    while not true():  # noqa: ASYNC110 - many things tell nobody
        await trio.sleep(0.01)


async def limit(node: Node, **changes: Any) -> LimitsResult:
    found: LimitsResult = await node.run(LIMITS, LimitsRequest(**changes), Heard())
    return found


async def watch(node: Node, way: str, rate: float, ended: trio.Event) -> None:
    """See again and again that no more bytes than the cap moved since any look before, but for a burst."""
    looks: list[tuple[float, int]] = []
    caps = getattr(node.allowance.caps, way)
    while not ended.is_set():
        now, moved = trio.current_time(), caps.passed
        for before, had in looks:
            assert moved - had <= rate * (now - before + 2 * BURST) * 1.01
        looks.append((now, moved))
        with trio.move_on_after(0.05):
            await ended.wait()


@pytest.mark.parametrize("way", ["upload", "download"])
@in_time
async def test_no_moment_has_more_than_the_cap_with_many_peers(way: str, tmp_path: Path) -> None:
    """Three peers pull at one that seeds, or one pulls at three: it counts what the sockets of the capped one moved."""
    rate, ended = 2 * MB, trio.Event()
    with published(tmp_path / "a", tmp_path / "files", SIZES) as made:
        pass
    async with up(tmp_path / "a") as a, up(tmp_path / "b") as b, up(tmp_path / "c") as c, up(tmp_path / "d") as d:
        if way == "download":
            for seeder in (b, c):
                await fetch(seeder, made.release, [a])
        capped = a if way == "upload" else d
        await limit(capped, **{way: rate})
        began, before = trio.current_time(), getattr(capped.allowance.caps, way).passed
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, capped, way, rate, ended)
            async with trio.open_nursery() as pulling:
                for node in (b, c, d) if way == "upload" else (d,):
                    pulling.start_soon(fetch, node, made.release, [a] if way == "upload" else [a, b, c])
            ended.set()
        moved, took = getattr(capped.allowance.caps, way).passed - before, trio.current_time() - began
    assert moved >= SIZE
    assert moved <= rate * (took + BURST) * 1.05


@in_time
async def test_each_peer_has_a_cap_of_its_own_and_a_change_holds_at_once(tmp_path: Path) -> None:
    rate = 1 * MB
    heard = Heard()
    async with (
        seeding(tmp_path / "a", tmp_path / "files", SIZES, peer_upload=rate) as (a, made),
        up(tmp_path / "b") as b,
        trio.open_nursery() as nursery,
    ):
        began = trio.current_time()
        nursery.start_soon(functools.partial(fetch, b, made.release, [a], heard=heard))
        await until(lambda: any(step.done >= MB for step in heard.progress if step.phase == "fetching"))
        sent = a.allowance.caps.upload.passed
        assert sent <= rate * (trio.current_time() - began + 2 * BURST)
        found = await limit(a, peer_upload="off")
        assert (found.peer_upload, found.in_force.peer_upload) == (None, None)


@in_time
async def test_a_fetch_pauses_says_so_and_goes_on(tmp_path: Path) -> None:
    heard = Heard()
    async with (
        seeding(tmp_path / "a", tmp_path / "files", SIZES, upload=2 * MB) as (a, made),
        up(tmp_path / "b") as b,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(functools.partial(fetch, b, made.release, [a], heard=heard))
        await until(lambda: any(step.done > MB for step in heard.progress if step.phase == "fetching"))
        await limit(b, download=0)
        await until(lambda: any(step.phase == "paused" for step in heard.progress))
        assert heard.notices == ["The fetch pauses: download is 0. See samara limits."]
        assert [queued.state for queued in b.store.catalog.queue()] == ["queued"]
        await trio.sleep(0.2)
        before = b.allowance.caps.download.passed
        await trio.sleep(0.5)
        assert b.allowance.caps.download.passed - before < 64 * 1024  # nothing, or a word that keeps a connection
        paused = [step for step in heard.progress if step.phase == "paused"]
        assert {step.note for step in paused} == {"download is 0"}
        a.allowance.set(replace(a.allowance.settings, upload=None))
        await limit(b, download="off")
    with give_home(tmp_path / "b") as store:
        assert store.catalog.queue() == []
        same_files(made, store.contents.places(store.catalog.releases()[0].content)[0].root / "model.bin")


@in_time
async def test_a_seeder_at_zero_answers_records_and_who_fetches_waits_for_it(tmp_path: Path) -> None:
    heard = Heard()
    async with (
        seeding(tmp_path / "a", tmp_path / "files", SIZES) as (a, made),
        up(tmp_path / "b") as b,
        trio.open_nursery() as nursery,
    ):
        found = await limit(a, schedule=(Window("00:00", "24:00", upload=0),))
        assert not found.in_force.gives
        assert found.in_force.window == "daily 00:00-24:00 upload=0"
        assert found.in_force.until == ""
        b.fetches.waits = Waits(gain=3.0)
        began = trio.current_time()
        with pytest.raises(NetworkError, match="gave nothing"):
            await fetch(b, made.release, [a], heard=heard, patience=1.0)
        assert trio.current_time() - began >= 3.0  # a busy peer is no absent one
        assert a.allowance.caps.upload.passed < 64 * 1024
        assert b.store.catalog.wrong_counts() == {}
        nursery.cancel_scope.cancel()


@in_time
async def test_a_seeder_that_gives_when_its_window_ends(tmp_path: Path) -> None:
    """It stops at once in the middle of a run, and a peer that comes later gets all of it."""
    async with seeding(tmp_path / "a", tmp_path / "files", SIZES, upload=2 * MB) as (a, made), up(tmp_path / "b") as b:
        heard = Heard()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(functools.partial(fetch, b, made.release, [a], heard=heard))
            await until(lambda: any(step.done > MB for step in heard.progress if step.phase == "fetching"))
            await limit(a, upload=0)
            await trio.sleep(0.3)  # what was sealed goes out
            before = a.allowance.caps.upload.passed
            await trio.sleep(1.0)
            assert a.allowance.caps.upload.passed - before < 64 * 1024
            nursery.cancel_scope.cancel()
        await limit(a, upload="off")
        async with up(tmp_path / "c") as c:
            same_files(made, (await fetch(c, made.release, [a])).path)


@in_time
async def test_a_seeder_gives_no_more_than_it_may_and_others_the_rest(tmp_path: Path) -> None:
    most = 2 * MB
    with published(tmp_path / "a", tmp_path / "files", SIZES) as made:
        pass
    async with up(tmp_path / "a") as a, up(tmp_path / "b") as b, up(tmp_path / "c") as c:
        await fetch(b, made.release, [a])
        a.allowance.set(replace(a.allowance.settings, max_upload=a.allowance.caps.upload.passed + most))
        before = a.allowance.caps.upload.passed
        got = await fetch(c, made.release, [a, b])
        same_files(made, got.path)
        given = {share.peer: share.bytes for share in got.peers}
        assert sum(given.values()) == SIZE
        sent = a.allowance.caps.upload.passed - before
        assert sent <= most + 64 * 1024  # chunks up to the cap; then words
        status = await a.run(STATUS, StatusRequest(), Heard())
        assert status.limits.max_upload == a.allowance.settings.max_upload
        assert status.limits.given == status.sent


@in_time
async def test_a_metered_node_gives_nothing_and_fetches_for_who_waits(tmp_path: Path) -> None:
    with published(tmp_path / "a", tmp_path / "files", SIZES) as made:
        pass
    async with up(tmp_path / "a", upload=2 * MB) as a, up(tmp_path / "b", metered=True) as b:
        heard = Heard()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(functools.partial(fetch, b, made.release, [a], heard=heard))
            await until(lambda: any(step.done > MB for step in heard.progress if step.phase == "fetching"))
            nursery.cancel_scope.cancel()  # who waited has left
        await until(lambda: b.store.catalog.queue()[0].state == "queued")
        assert b.store.catalog.queue()[0].error == "paused: the line is metered, and nobody waits for it"
        before = b.allowance.caps.download.passed
        await trio.sleep(0.5)
        assert b.allowance.caps.download.passed - before < 64 * 1024
        same_files(made, (await fetch(b, made.release, [a])).path)  # the same fetch, for somebody again
        assert not b.allowance.giving.open
        async with up(tmp_path / "c") as c:
            got = await fetch(c, made.release, [a, b])
            giver = a.network_if_started
            assert giver is not None
            assert {share.peer for share in got.peers} == {giver.host.peer}
        await limit(b, metered=False)
        assert b.allowance.giving.open


async def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with give_home(tmp_path / "a"):
        pass
    async with up(tmp_path / "a") as a:
        with pytest.raises(UsageError, match="peer_upload must be above 0"):
            await limit(a, peer_upload=0)
        with pytest.raises(UsageError, match="at most 64 windows"):
            await limit(a, schedule=(Window("00:00", "24:00", upload=0),) * 65)
        assert (await limit(a)).in_force.upload is None


@in_time
async def test_a_metered_node_announces_nothing_until_it_is_no_more(tmp_path: Path) -> None:
    with published(tmp_path / "a", tmp_path / "files", {"card.md": 9}):
        pass
    async with up(tmp_path / "a", dht="server", metered=True) as a:
        service = a.network_if_started
        assert service is not None
        announcer = service._network.announcer
        assert announcer is not None
        await trio.sleep(0.3)  # it has looked at what is shared
        assert not announcer._keys
        await limit(a, metered=False)
        await until(lambda: len(announcer._keys) == 3)  # the release, the content, and the publisher's log
        await limit(a, metered=True)
        await until(lambda: not announcer._keys)


class Steps(trio.abc.Instrument):
    """Counts how often any task is run."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1

    async def in_a_second(self) -> int:
        before = self.count
        await trio.sleep(1)
        return self.count - before


@in_time
async def test_a_node_with_nothing_to_do_sleeps(tmp_path: Path) -> None:
    """Wakeups, not time: a timer that runs too often is seen however slow the machine is."""
    with published(tmp_path / "a", tmp_path / "files", {"card.md": 9}) as made:
        pass
    async with up(tmp_path / "a") as a, up(tmp_path / "b") as b:
        await fetch(b, made.release, [a])  # they are connected, and done
        while any(gossip_of(node).router.busy(trio.current_time()) for node in (a, b)):  # noqa: ASYNC110
            await trio.sleep(0.5)  # what they have told each other is kept for some heartbeats
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        assert min([await steps.in_a_second() for _ in range(4)]) <= 10  # two nodes, and this test
        async with trio.open_nursery() as nursery:
            nursery.start_soon(functools.partial(fetch, b, OF_NOBODY, [], patience=0.0))
            assert min([await steps.in_a_second() for _ in range(4)]) <= 20  # it looks now and then
            nursery.cancel_scope.cancel()
        trio.lowlevel.remove_instrument(steps)
