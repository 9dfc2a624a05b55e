"""Unmodified gossipsub of others, from npm and from PyPI, between two Samara nodes: records go through it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from support.gossip import World, following, gossip_of, is_revoked, make_world, newest, record
from support.hosts import until
from support.interop import Foreign, js_peer, python_peer
from support.nodes import Heard, address, up
from support.speaking import tell

from samara.node.app import Node
from samara.node.fetch.finder import parse_peer
from samara.node.operations.signing import REVOKE, RevokeRequest
from samara.protocol.gossip.standing import Standing
from samara.protocol.ids import format_record

pytestmark = [pytest.mark.slow]

SOON = 20.0
PING = "/ipfs/ping/1.0.0"

implementations = pytest.mark.parametrize(
    "implementation", [pytest.param(js_peer, marks=pytest.mark.js, id="js"), pytest.param(python_peer, id="python")]
)
who_dials = pytest.mark.parametrize("dialler", ["theirs", "ours"])


@dataclass
class Line:
    """A publisher's node, another implementation, and a node that knows the publisher by it alone."""

    world: World
    seeder: Node
    theirs: Foreign
    node: Node

    async def heard(self) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = (await self.theirs.do("heard"))["heard"]
        return told

    def is_good(self) -> bool:
        now = trio.current_time()
        routers = [gossip_of(node).router for node in (self.seeder, self.node)]
        return all(router.standings.of(self.theirs.peer, now) is Standing.GOOD for router in routers)


@contextlib.asynccontextmanager
async def line(implementation: Callable[[], list[str]], dialler: str, folder: Path) -> AsyncIterator[Line]:
    """Two nodes that are connected with another implementation, and not with each other."""
    command = implementation()
    world = make_world(folder)
    with trio.fail_after(90):
        async with (
            Foreign.started([*command, "gossip"]) as theirs,
            up(world.home) as seeder,
            following(world, folder / "b") as node,
        ):
            await theirs.do("follow", topic=world.topic)
            for ours in (seeder, node):
                if dialler == "theirs":
                    await theirs.do("dial", address=address(ours))
                else:
                    stream = await (await ours.network()).host.open_stream(parse_peer(theirs.address), PING, timeout=10)
                    await stream.aclose()
            for ours in (seeder, node):
                await until(lambda ours=ours: theirs.peer in gossip_of(ours).router.mesh(world.topic), SOON)  # type: ignore[misc]
            yield Line(world, seeder, theirs, node)


@implementations
@who_dials
async def test_a_revocation_goes_through_another_implementation(
    implementation: Callable[[], list[str]], dialler: str, tmp_path: Path
) -> None:
    async with line(implementation, dialler, tmp_path) as world:
        release = world.world.made.release
        await world.seeder.run(REVOKE, RevokeRequest(ref=format_record(release), reason="security"), Heard())
        await until(lambda: is_revoked(world.node, world.world.id, release), SOON)
        with world.seeder.store.ledgers.asking(world.world.id) as ledger:
            assert ledger is not None
            revocation = ledger.revocation(release)
        assert revocation is not None
        (told,) = await world.heard()
        assert bytes.fromhex(told["data"]) == record(revocation.envelope)
        assert (told["topic"], told["type"]) == (world.world.topic, "unsigned")
        assert world.is_good()
        assert not world.node.news._asked


@implementations
async def test_what_another_implementation_tells_is_heard(
    implementation: Callable[[], list[str]], tmp_path: Path
) -> None:
    async with line(implementation, "theirs", tmp_path) as world:
        publisher = world.world.publisher
        head = publisher.publish("2", "news")
        await world.theirs.do("tell", topic=world.world.topic, data=record(head.envelope).hex())
        for node in (world.seeder, world.node):
            await until(lambda node=node: newest(node.store, world.world.id) == head.id, SOON)  # type: ignore[misc]
        assert world.is_good()


@pytest.mark.js
async def test_many_news_go_through_js_libp2p_and_ids_are_its_own(tmp_path: Path) -> None:
    async with line(js_peer, "ours", tmp_path) as world:
        publisher = world.world.publisher
        for version in range(10):
            head = publisher.publish(str(version), "news")
            tell(world.seeder.store, publisher, own=True)
            await until(lambda head=head: newest(world.node.store, world.world.id) == head.id, SOON)  # type: ignore[misc]
        assert [bytes.fromhex(told["data"]) for told in await world.heard()] == [*map(record, publisher.said[-10:])]
        # Its heartbeats tell ids of these: what is known is asked for by nobody.
        await trio.sleep(2.5)
        for node in (world.seeder, world.node):
            assert not gossip_of(node).router.counts["promise"]
            assert not gossip_of(node).router.counts["named"]
        assert world.is_good()


async def test_what_py_libp2p_tells_by_name_is_dropped(tmp_path: Path) -> None:
    """Its own `publish` always writes from and seqno."""
    async with line(python_peer, "ours", tmp_path) as world:
        head = world.world.publisher.publish("2", "news")
        await world.theirs.do("tell_named", topic=world.world.topic, data=record(head.envelope).hex())
        await until(lambda: all(gossip_of(n).router.counts["named"] == 1 for n in (world.seeder, world.node)), SOON)
        assert newest(world.node.store, world.world.id) != head.id
        assert world.is_good()
