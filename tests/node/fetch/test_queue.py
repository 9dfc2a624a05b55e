"""The queue of fetches: who gets a turn, who hears what, and what ends whom."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import msgspec
import pytest
import trio
import trio.testing
from support.contents import give_home

from samara.node.fetch import queue
from samara.node.fetch.goal import FetchOutcome, FetchRequest, Goal
from samara.node.fetch.queue import FetchQueue
from samara.node.network.allowance import Allowance
from samara.node.operations.queries import QUEUE, QueueRequest
from samara.node.settings import NetworkSettings
from samara.node.store.home import HomeLock
from samara.protocol.errors import DiskFullError, NotFoundError, PeerBusyError
from samara.protocol.ids import ReleaseId, format_record


class Scripted:
    """Stands for `FetchJob`: fetches whose first digit is even have nobody, and give up when their patience ends."""

    runs: ClassVar[list[int]] = []

    def __init__(self, node: Any, goal: Goal, report: Any, *, patience: float | None, waits: Any) -> None:
        assert goal.release is not None
        self._number = goal.release[0]
        self._patience = patience

    async def run(self) -> FetchOutcome:
        self.runs.append(self._number)
        await trio.sleep(self._patience or 1e9)
        if self._number % 2 == 0:
            raise NotFoundError("nobody has it")
        if self._number == 7:
            raise DiskFullError("no room")
        if self._number == 9:
            raise PeerBusyError("it is busy", retry_after=3.0, hint="Later.")
        return FetchOutcome(ReleaseId(bytes([self._number]) * 32), "/there", 1, 1, 0, 0, 1.0)


@contextlib.asynccontextmanager
async def scripted_queue(store: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FetchQueue]:
    monkeypatch.setattr(queue, "FetchJob", Scripted)
    monkeypatch.setattr(Scripted, "runs", [])
    allowance = Allowance(NetworkSettings())
    fetches = FetchQueue(cast(Any, SimpleNamespace(store=store, library_changed=lambda: None, allowance=allowance)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fetches.run)
        yield fetches
        nursery.cancel_scope.cancel()


def request(number: int, patience: float) -> FetchRequest:
    return FetchRequest(format_record(ReleaseId(bytes([number]) * 32)), patience=patience)


async def test_fetches_that_never_give_up_leave_room_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    with give_home(tmp_path / "a") as store:
        async with scripted_queue(store, monkeypatch) as fetches, trio.open_nursery() as nursery:
            for number in (2, 4, 6):
                nursery.start_soon(fetches.fetch, request(number, 0), lambda event: None)
            await trio.sleep(1)
            assert len(Scripted.runs) == 2
            with trio.fail_after(300):
                assert (await fetches.fetch(request(1, 1), lambda event: None)).path == "/there"
            await trio.sleep(500)
            assert {2, 4, 6} <= set(Scripted.runs[-4:])  # they take turns, and go on
            nursery.cancel_scope.cancel()


async def test_a_failure_that_cannot_be_noted_ends_no_other_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    with give_home(tmp_path / "a") as store:
        real = store.catalog.update_fetch

        def update(no: int, state: str, **more: Any) -> None:
            if state == "failed":
                raise DiskFullError("no room for this either")
            real(no, state, **more)

        monkeypatch.setattr(store.catalog, "update_fetch", update)
        async with scripted_queue(store, monkeypatch) as fetches:
            with pytest.raises(DiskFullError, match=r"no room$"):
                await fetches.fetch(request(7, 1), lambda event: None)
            assert (await fetches.fetch(request(1, 1), lambda event: None)).path == "/there"


async def test_each_caller_hears_the_error_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    heard: list[PeerBusyError] = []

    async def call(fetches: FetchQueue) -> None:
        with pytest.raises(PeerBusyError) as raised:
            await fetches.fetch(request(9, 1), lambda event: None)
        heard.append(raised.value)

    with give_home(tmp_path / "a") as store:
        async with scripted_queue(store, monkeypatch) as fetches, trio.open_nursery() as nursery:
            nursery.start_soon(call, fetches)
            nursery.start_soon(call, fetches)
    assert [(error.message, error.hint, error.retry_after) for error in heard] == [("it is busy", "Later.", 3.0)] * 2
    assert heard[0] is not heard[1]
    assert Scripted.runs == [9]


async def test_what_a_killed_node_ran_is_told_as_queued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    with give_home(tmp_path / "a") as store:
        for number in (1, 2, 3):
            store.catalog.enqueue(msgspec.json.encode(request(number, 0)))
        store.catalog.update_fetch(1, "running")
        store.catalog.update_fetch(2, "failed", error="why")

        def told() -> list[tuple[str, str]]:
            return [(row.state, row.error) for row in QUEUE.answer(store, QueueRequest()).fetches]

        assert told() == [("queued", ""), ("failed", "why"), ("queued", "")]
        lock = HomeLock(store.home)
        assert told()[0] == ("running", "")  # somebody holds the home: it may be so
        async with scripted_queue(store, monkeypatch) as fetches:
            await trio.testing.wait_all_tasks_blocked()
            assert told() == [("queued", ""), ("failed", "why"), ("queued", "")]  # it is not: nobody took it up
            await fetches.take_up()
            await trio.sleep(1)
            assert told() == [("running", ""), ("failed", "why"), ("running", "")]
        lock.close()
