"""Nodes that know one seeder's address only, with no DHT and no mDNS: whom they hear of, and what that saves it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import trio
from support.contents import Source
from support.nodes import address, fetch, same_files, seeding, up

from samara.node.app import Node
from samara.node.fetch import finder, job, swarm
from samara.node.network import mates
from samara.node.operations.fetch import Fetched
from samara.protocol.contacts import Contact
from samara.protocol.ids import ContentId
from samara.protocol.limits import BAN_AFTER

MB = 1_000_000
ENOUGH = 90.0
"""Seconds: what takes ten on a free machine."""


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what happens every few seconds of a fetch of minutes happen in a fetch of seconds, too."""
    monkeypatch.setattr(swarm, "_LOOK_AGAIN", 0.5)
    monkeypatch.setattr(job, "_COMMIT_EVERY", 0.2)
    monkeypatch.setattr(mates, "MATES_SPACING", 0.1)
    monkeypatch.setattr(finder, "MATES_SPACING", 0.2)
    monkeypatch.setattr(finder, "_FIRST_PAUSE", 0.3)


def peer_of(node: Node) -> str:
    return address(node).rpartition("/")[2]


async def fetch_together(seeder: Node, made: Source, fetchers: Mapping[str, Node]) -> dict[str, Fetched]:
    """Let several fetch the same at once, all from the seeder as far as they know."""
    results = {}

    async def get(name: str) -> None:
        results[name] = await fetch(fetchers[name], made.release, [seeder])

    with trio.fail_after(ENOUGH):
        async with trio.open_nursery() as nursery:
            for name in fetchers:
                nursery.start_soon(get, name)
    return results


def given(results: Mapping[str, Fetched]) -> dict[str, dict[str, int]]:
    """Bytes by fetcher and giver."""
    return {name: {share.peer: share.bytes for share in got.peers} for name, got in results.items()}


@contextlib.asynccontextmanager
async def several(folder: Path, *names: str) -> AsyncIterator[dict[str, Node]]:
    async with contextlib.AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(up(folder / name)) for name in names}


async def test_fetchers_behind_one_seeder_get_much_of_it_from_each_other(tmp_path: Path) -> None:
    size = 12 * MB
    async with (
        seeding(tmp_path / "seeder", tmp_path / "files", {"model.bin": size}, upload=2 * MB) as (seeder, made),
        several(tmp_path, "one", "two", "three") as fetchers,
    ):
        results = await fetch_together(seeder, made, fetchers)
        sent = (await seeder.network()).upload.passed
        origin = peer_of(seeder)
        everybody = {origin, *map(peer_of, fetchers.values())}
    for got in results.values():
        same_files(made, got.path)
    gave = given(results)
    assert {giver for name in gave for giver in gave[name]} == everybody
    for name in gave:
        assert sum(gave[name].values()) == size
        assert size - gave[name][origin] > 0.02 * size, f"{name} took all from the seeder"
    assert sum(gave[name][origin] for name in gave) < 2.0 * size, "how much less is the simulator's matter"
    assert sent < 2.1 * size, "with what came twice, and what is no chunk"


async def test_who_comes_later_hears_of_who_came_before(tmp_path: Path) -> None:
    size = 4 * MB
    async with (
        seeding(tmp_path / "seeder", tmp_path / "files", {"model.bin": size}) as (seeder, made),
        several(tmp_path, "one", "two") as fetchers,
    ):
        await fetch_together(seeder, made, {"one": fetchers["one"]})
        service = await seeder.network()
        service.upload.set_rate(MB)
        gave = given(await fetch_together(seeder, made, {"two": fetchers["two"]}))
        assert gave["two"][peer_of(fetchers["one"])] > 0


async def test_who_is_banned_here_is_not_met_whoever_tells_of_it(tmp_path: Path) -> None:
    async with (
        seeding(tmp_path / "seeder", tmp_path / "files", {"model.bin": 3 * MB}) as (seeder, made),
        several(tmp_path, "one", "two") as fetchers,
    ):
        await fetch_together(seeder, made, {"one": fetchers["one"]})
        two, outcast = fetchers["two"], peer_of(fetchers["one"])
        for _ in range(BAN_AFTER):
            two.store.catalog.count_wrong(outcast, "it lied before")
        service = await seeder.network()
        service.upload.set_rate(MB)
        asked = len(service.mates._answered)
        gave = given(await fetch_together(seeder, made, {"two": two}))
        assert len(service.mates._answered) == asked + 1, "it was told"
        assert gave == {"two": {peer_of(seeder): 3 * MB}}


@pytest.mark.parametrize("visibility", ["unlisted", "private"])
async def test_of_what_is_not_public_nobody_asks_and_nobody_tells(visibility: str, tmp_path: Path) -> None:
    async with several(tmp_path, "one", "two") as fetchers:
        how = {"visibility": visibility, "allow": [peer_of(node) for node in fetchers.values()]}
        if visibility == "unlisted":
            del how["allow"]
        sizes = {"model.bin": 3 * MB}
        async with seeding(tmp_path / "seeder", tmp_path / "files", sizes, how=how, upload=2 * MB) as (seeder, made):
            service = await seeder.network()
            asked = []
            answer = service.mates._answer

            async def noting(content: ContentId, asker: str) -> list[Contact]:
                asked.append(asker)
                return await answer(content, asker)

            service.mates._answer = noting  # type: ignore[method-assign]
            gave = given(await fetch_together(seeder, made, fetchers))
            assert gave == {name: {peer_of(seeder): 3 * MB} for name in fetchers}
            assert asked == []
            takers = {mate.peer for mate in service.mates.known(made.content)}
            assert takers == set(map(peer_of, fetchers.values()))
            for node in fetchers.values():
                mine = (await node.network()).mates
                assert mine.known(made.content) == []
                assert await mine.ask(peer_of(seeder), made.content) == []
            assert len(asked) == 2
