"""One release asked for in several ways at once: it comes over the line once, and everybody gets it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from support.contents import Source, give_home, take_all
from support.nodes import Heard, address, fetch, published, same_files, seeding, up

from samara.node.app import Node
from samara.node.operations.fetch import Fetched
from samara.node.operations.queries import QUEUE, QueueRequest
from samara.node.operations.refs import find_release, own_publisher
from samara.protocol.errors import NetworkError, OperationError
from samara.protocol.ids import format_record
from samara.protocol.links import Address, Link

MB = 1_000_000
SIZES = {"model.bin": 5 * MB, "card.md": 100}
SIZE = sum(SIZES.values())
SLOW = MB // 2
"""Bytes a second of a seeder until it may hurry, so that a second fetch meets the first one at work."""

ENOUGH = 60.0


@dataclass
class Call:
    """A fetch that somebody waits for."""

    heard: Heard = field(default_factory=Heard)
    fetched: Fetched | None = None
    error: Exception | None = None
    ended: trio.Event = field(default_factory=trio.Event)

    def start(self, nursery: trio.Nursery, node: Node, ref: str, peers: list[Node], **how: object) -> Call:
        nursery.start_soon(self._run, node, ref, peers, how)
        return self

    async def _run(self, node: Node, ref: str, peers: list[Node], how: dict[str, object]) -> None:
        try:
            self.fetched = await fetch(node, ref, peers, heard=self.heard, **how)  # type: ignore[arg-type]
        except (OperationError, NetworkError) as error:
            self.error = error
        self.ended.set()

    async def result(self) -> Fetched:
        await self.ended.wait()
        assert self.fetched is not None, self.error
        return self.fetched


@dataclass(frozen=True, slots=True)
class Meet:
    """A seeder that is slow, and one who fetches."""

    seeder: Node
    fetcher: Node
    made: Source
    nursery: trio.Nursery

    def ref(self, kind: str) -> str:
        """The release, as a link, an id, the beginning of one, or a name."""
        held = find_release(self.seeder.store, format_record(self.made.release))
        links = Link(held.id, held.name, held.publisher, (Address.parse(address(self.seeder)),)).encode()
        return {"link": links, "id": format_record(held.id), "name": f"alice/{held.name}"}[kind]

    def call(self, kind: str, **how: object) -> Call:
        return Call().start(self.nursery, self.fetcher, self.ref(kind), [self.seeder], **how)

    def hurry(self) -> None:
        """Let the seeder send as fast as it can."""
        service = self.seeder.network_if_started
        assert service is not None
        service.upload.set_rate(None)

    async def call_and_work(self, kind: str, **how: object) -> Call:
        """Begin a fetch, and wait until it writes."""
        called = self.call(kind, **how)
        await until(lambda: any(step.phase == "fetching" and step.done for step in called.heard.progress))
        return called

    async def call_and_wait(self, kind: str, **how: object) -> Call:
        """Begin a fetch, and wait until it waits for another one."""
        called = self.call(kind, **how)
        await until(lambda: called.heard.notices)
        assert "waits for that one" in called.heard.notices[0]
        return called


@contextlib.asynccontextmanager
async def meeting(tmp_path: Path) -> AsyncIterator[Meet]:
    with trio.fail_after(ENOUGH):
        async with (
            seeding(tmp_path / "a", tmp_path / "files", SIZES, upload=SLOW) as (seeder, made),
            up(tmp_path / "b") as fetcher,
            trio.open_nursery() as nursery,
        ):
            fetcher.store.catalog.set_petname(own_publisher(seeder.store).publisher, "alice")
            yield Meet(seeder, fetcher, made, nursery)


async def until(true: Callable[[], object]) -> None:
    while not true():  # noqa: ASYNC110 - many things tell nobody
        await trio.sleep(0.01)


def queue_of(node: Node) -> list[tuple[str, str]]:
    """States in the queue, and what is said of them."""
    return [(row.state, row.error) for row in QUEUE.answer(node.store, QueueRequest()).fetches]


@pytest.mark.parametrize(("one", "other"), [("link", "id"), ("id", "name"), ("name", "link")])
async def test_two_refs_of_one_release_are_one_transfer(tmp_path: Path, one: str, other: str) -> None:
    async with meeting(tmp_path) as meet:
        first = await meet.call_and_work(one)
        second = await meet.call_and_wait(other)
        (_, (state, why)) = queue_of(meet.fetcher)
        assert (state, "being written" in why) == ("queued", True)
        meet.hurry()
        done, again = await first.result(), await second.result()
        assert (done.release, done.path) == (again.release, again.path)
        assert (done.received, again.received) == (SIZE, 0)
        same_files(meet.made, done.path)
        assert queue_of(meet.fetcher) == []


async def test_who_waits_hears_how_far_the_other_one_is(tmp_path: Path) -> None:
    async with meeting(tmp_path) as meet:
        await meet.call_and_work("id")
        second = await meet.call_and_wait("link")
        heard = len(second.heard.progress)

        def told() -> list[int]:
            return [step.done for step in second.heard.progress[heard:] if step.phase == "fetching"]

        await until(lambda: len(set(told())) > 2)
        meet.hurry()
        await second.result()
        assert told() == sorted(told())
        assert told()[-1] == SIZE


async def test_two_folders_get_it_both(tmp_path: Path) -> None:
    async with meeting(tmp_path) as meet:
        calls = [meet.call("link", to=tmp_path / "one"), meet.call("id", to=tmp_path / "two"), meet.call("name")]
        await until(lambda: len(meet.fetcher.store.contents.places(meet.made.content)) > 1)
        meet.hurry()
        paths = {(await call.result()).path for call in calls}
        assert len(paths) == 3
        for path in paths:
            same_files(meet.made, path)


async def test_one_folder_by_two_names_gets_it_once(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "also").symlink_to(tmp_path / "real", target_is_directory=True)
    async with meeting(tmp_path) as meet:
        first = await meet.call_and_work("id", to=tmp_path / "real")
        second = await meet.call_and_wait("id", to=tmp_path / "also")
        meet.hurry()
        assert (await first.result()).received == SIZE
        assert (await second.result()).received == 0
        same_files(meet.made, tmp_path / "real")


async def test_a_part_and_the_whole_do_not_come_twice(tmp_path: Path) -> None:
    async with meeting(tmp_path) as meet:
        first = await meet.call_and_work("id", include=["model.bin"])
        second = await meet.call_and_wait("link")
        meet.hurry()
        assert (await first.result()).received == SIZES["model.bin"]
        done = await second.result()
        assert done.received == SIZES["card.md"]
        same_files(meet.made, done.path)


async def test_two_releases_of_the_same_bytes_do_not_come_twice(tmp_path: Path) -> None:
    async with meeting(tmp_path) as meet, seeding(tmp_path / "c", tmp_path / "files", {}) as (other, same):
        assert same.content == meet.made.content
        assert same.release != meet.made.release
        first = await meet.call_and_work("id")
        second = Call().start(meet.nursery, meet.fetcher, format_record(same.release), [other])
        await until(lambda: second.heard.notices)
        meet.hurry()
        done, again = await first.result(), await second.result()
        assert (done.received, again.received) == (SIZE, 0)
        assert done.path == again.path
        assert done.release != again.release


async def test_a_fetch_waits_for_an_import_too(tmp_path: Path) -> None:
    async with meeting(tmp_path) as meet:
        store = meet.fetcher.store
        intake = store.open_intake(*meet.made.opening(meet.seeder.store), None)
        called = await meet.call_and_wait("link")
        (need,) = [need for need in intake.needs() if need.path == "card.md"]
        intake.add_list(need.stream, meet.made.nodes(meet.seeder.store, need.stream))
        intake.put(need.stream, 0, meet.made.chunk(meet.seeder.store, need.stream, 0))
        meet.hurry()
        store.close_intake(intake)
        assert (await called.result()).received == SIZES["model.bin"]


async def test_dropping_one_leaves_the_other(tmp_path: Path) -> None:
    async with meeting(tmp_path) as meet:
        first = await meet.call_and_work("link")
        second = await meet.call_and_wait("id")
        meet.fetcher.fetches.drop(1)
        meet.hurry()
        await first.ended.wait()
        assert isinstance(first.error, OperationError)
        assert "stopped" in str(first.error)
        done = await second.result()
        assert 0 < done.received <= SIZE
        same_files(meet.made, done.path)
        assert queue_of(meet.fetcher) == []


async def test_dropping_who_waits_leaves_who_works(tmp_path: Path) -> None:
    async with meeting(tmp_path) as meet:
        first = await meet.call_and_work("link")
        second = await meet.call_and_wait("id")
        meet.fetcher.fetches.drop(2)
        meet.hurry()
        await second.ended.wait()
        assert isinstance(second.error, OperationError)
        assert (await first.result()).received == SIZE
        assert queue_of(meet.fetcher) == []


async def test_who_waits_goes_on_with_its_own_peers_when_the_other_one_fails(tmp_path: Path) -> None:
    with published(tmp_path / "a", tmp_path / "files", SIZES) as made:
        pass
    with give_home(tmp_path / "a") as store, give_home(tmp_path / "c") as copy:
        take_all(made, store, copy)
    with trio.fail_after(ENOUGH):
        async with up(tmp_path / "b") as fetcher, up(tmp_path / "c") as holder, trio.open_nursery() as nursery:
            async with up(tmp_path / "a", upload=SLOW) as seeder:
                meet = Meet(seeder, fetcher, made, nursery)
                first = await meet.call_and_work("link", patience=1.0)
                second = Call().start(nursery, fetcher, meet.ref("id"), [holder])
                await until(lambda: second.heard.notices)
            await first.ended.wait()
            assert isinstance(first.error, NetworkError)
            done = await second.result()
            assert 0 < done.received < SIZE
            same_files(made, done.path)


async def test_those_who_wait_take_no_place_in_the_queue(tmp_path: Path) -> None:
    async with (
        meeting(tmp_path) as meet,
        seeding(tmp_path / "c", tmp_path / "others", {"other.bin": 1000}) as (other, made),
    ):
        first = await meet.call_and_work("id")
        for kind in ("link", "name"):
            await meet.call_and_wait(kind)
        fourth = await fetch(meet.fetcher, made.release, [other])
        same_files(made, fourth.path)
        assert not first.ended.is_set()
        meet.hurry()


async def test_both_survive_a_restart(tmp_path: Path) -> None:
    with trio.fail_after(ENOUGH):
        async with seeding(tmp_path / "a", tmp_path / "files", SIZES, upload=SLOW) as (seeder, made):
            async with up(tmp_path / "b") as fetcher, trio.open_nursery() as nursery:
                meet = Meet(seeder, fetcher, made, nursery)
                await meet.call_and_work("link")
                await meet.call_and_wait("id")
                nursery.cancel_scope.cancel()
            async with up(tmp_path / "b") as fetcher:
                assert [state for state, _ in queue_of(fetcher)] == ["queued", "queued"]
                await fetcher.fetches.take_up()
                meet.hurry()
                await until(lambda: not queue_of(fetcher))
                place = fetcher.store.complete_place(made.content)
                assert place is not None
                same_files(made, place.root)
                assert len(fetcher.store.contents.places(made.content)) == 1
