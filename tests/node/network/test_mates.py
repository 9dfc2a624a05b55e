"""Who is told of whom, where they are said to be, and what is believed of it; over real connections."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest
import trio
from support.hosts import HERE, at, host, until

from samara.node.network import mates as mates_module
from samara.node.network.host import Host
from samara.node.network.mates import Mates
from samara.node.network.messages import MessageStream
from samara.node.network.transport import PeerAddress, Reachability, Stream
from samara.protocol.addresses import parse_address
from samara.protocol.contacts import Contact
from samara.protocol.errors import NetworkError, RemoteProtocolError
from samara.protocol.ids import ContentId
from samara.protocol.limits import MAX_MATES_KEPT, MAX_MATES_MESSAGE
from samara.protocol.mates import MATES, encode_mates, encode_mates_request
from samara.protocol.peers import peer_id_of
from samara.protocol.wire import varint

CONTENT, OTHER = ContentId(b"c" * 32), ContentId(b"o" * 32)
PING = "/ipfs/ping/1.0.0"


@dataclass
class Swarm:
    """A seeder, and peers that are connected to it.

    Attributes:
        seeder: Its host.
        told: Its mates.
        asker: One who asks it.
        asking: The asker's mates.
        taker: One who takes part.
        hidden: Whom the seeder shows nothing.
    """

    seeder: Host
    told: Mates
    asker: Host
    asking: Mates
    taker: Host
    hidden: set[str]

    async def ask(self, content: ContentId = CONTENT) -> list[PeerAddress]:
        return await self.asking.ask(self.seeder.peer, content)


async def connect(one: Host, other: Host, *addresses: str) -> None:
    """Connect, and wait until both know of each other."""
    stream = await one.open_stream(PeerAddress(other.peer, addresses or other.listening()), PING, timeout=5)
    await stream.aclose()
    await until(lambda: one.whereabouts(other.peer) is not None and other.whereabouts(one.peer) is not None)


@contextlib.asynccontextmanager
async def swarm(*, taker_listens: Sequence[str] = (str(HERE),)) -> AsyncIterator[Swarm]:
    listen = [parse_address(text) for text in taker_listens]
    async with host(1) as seeder, host(2) as asker, host(3, listen=listen) as taker:
        hidden: set[str] = set()
        told = Mates(seeder, lambda content, peer: content == CONTENT and peer not in hidden)
        await connect(asker, seeder)
        await connect(taker, seeder)
        told.note(CONTENT, taker.peer)
        yield Swarm(seeder, told, asker, Mates(asker, lambda content, peer: True), taker, hidden)


async def test_who_takes_part_is_told() -> None:
    async with swarm() as world:
        assert await world.ask() == [at(world.taker)]


async def test_where_a_peer_was_dialled_is_told_too() -> None:
    async with swarm() as world, host(4) as other:
        other.report_reachability(lambda: Reachability((), (), 0))
        await connect(world.seeder, other)
        world.told.note(CONTENT, other.peer)
        assert {mate.peer: mate for mate in await world.ask()}[other.peer] == at(other)


async def test_a_stranger_that_is_not_shown_the_content_gets_an_empty_answer() -> None:
    async with swarm() as world:
        world.hidden.add(world.asker.peer)
        assert await world.ask() == []


async def test_of_what_is_not_public_nothing_is_told() -> None:
    async with swarm() as world:
        world.told.note(OTHER, world.taker.peer)
        assert await world.ask(OTHER) == []
        assert [mate.peer for mate in world.told.known(OTHER)] == [world.taker.peer]


async def test_the_store_is_not_asked_about_what_nobody_takes_part_in() -> None:
    async with swarm() as world:
        looked = []

        def shown(content: ContentId, peer: str) -> bool:
            looked.append(content)
            return True

        world.told._shown = shown
        for number in range(20):
            assert await world.ask(ContentId(bytes([number]) * 32)) == []
        assert looked == []
        assert not world.told._answered


async def test_nobody_is_told_of_itself() -> None:
    async with swarm() as world:
        world.told.note(CONTENT, world.asker.peer)
        assert await world.ask() == [at(world.taker)]


async def test_an_address_at_another_ip_is_never_told() -> None:
    async with swarm(taker_listens=["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.2/tcp/0"]) as world:
        (elsewhere,) = (text for text in world.taker.listening() if "127.0.0.2" in text)
        claimed = ("/ip4/8.8.8.8/tcp/4001", "/dns4/victim.example/tcp/4001", "/ip4/127.0.0.1/tcp/25")
        world.taker.report_reachability(lambda: Reachability((), claimed, 1))
        await world.taker.disconnect(world.seeder.peer)
        await until(lambda: world.seeder.whereabouts(world.taker.peer) is None)
        await connect(world.taker, world.seeder)
        said = world.seeder.whereabouts(world.taker.peer)
        assert said is not None
        assert {*claimed, elsewhere} <= set(map(str, said.identify.addresses)), "it did claim them"
        (mate,) = await world.ask()
        assert mate == PeerAddress(world.taker.peer, tuple(t for t in world.taker.listening() if "127.0.0.1" in t))


async def test_who_listens_nowhere_is_not_told_but_known_to_whom_it_dialled() -> None:
    async with swarm(taker_listens=[]) as world:
        assert world.told.known(CONTENT) == [PeerAddress(world.taker.peer)]
        assert await world.ask() == []


async def test_who_is_gone_is_not_told() -> None:
    async with swarm() as world:
        await world.taker.disconnect(world.seeder.peer)
        await until(lambda: world.seeder.whereabouts(world.taker.peer) is None)
        assert await world.ask() == []
        assert not world.told._seen


async def test_who_is_banned_is_not_told() -> None:
    async with swarm() as world:
        world.seeder.set_banned(frozenset({world.taker.peer}))
        await until(lambda: world.seeder.whereabouts(world.taker.peer) is None)
        assert await world.ask() == []


async def test_who_took_part_long_ago_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with swarm() as world:
        monkeypatch.setattr(mates_module, "MATES_AGE", 0.0)
        await trio.sleep(0.01)
        assert await world.ask() == []


async def test_one_peer_is_answered_now_and_then_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async with swarm() as world:
        assert await world.ask() != []
        assert await world.ask() == []
        monkeypatch.setattr(mates_module, "MATES_SPACING", 0.0)
        assert await world.ask() != []


async def test_an_answer_is_a_few_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mates_module, "MAX_MATES", 2)
    monkeypatch.setattr(mates_module, "MATES_SPACING", 0.0)
    async with swarm() as world, contextlib.AsyncExitStack() as stack:
        everybody = {world.taker.peer}
        for number in range(10, 14):
            other = await stack.enter_async_context(host(number))
            await connect(world.seeder, other)
            world.told.note(CONTENT, other.peer)
            everybody.add(other.peer)
        heard = set()
        for _ in range(100):
            mates = [mate.peer for mate in await world.ask()]
            assert len(set(mates)) == 2
            heard.update(mates)
        assert heard == everybody


async def test_what_is_remembered_is_bounded() -> None:
    async with swarm() as world:
        for number in range(MAX_MATES_KEPT + 100):
            world.told.note(ContentId(number.to_bytes(32, "big")), "somebody")
        assert sum(map(len, world.told._seen.values())) == world.told._count == MAX_MATES_KEPT
        assert CONTENT not in world.told._seen, "the content that was noted longest ago goes first"
        for number in range(MAX_MATES_KEPT + 100):
            world.told.note(CONTENT, str(number))
        assert list(world.told._seen) == [CONTENT]
        assert world.told._count == len(world.told._seen[CONTENT]) == MAX_MATES_KEPT
        world.told.note(CONTENT, world.taker.peer)
        assert await world.ask() == [at(world.taker)]
        assert world.told._count == 1, "those who are not here are forgotten when somebody asks"
        for number in range(MAX_MATES_KEPT + 100):
            assert world.told._takes_its_turn(CONTENT, str(number))
        assert len(world.told._answered) == MAX_MATES_KEPT


# Asking


async def test_nobody_is_dialled_to_be_asked() -> None:
    async with host(1) as a, host(2) as b:
        with pytest.raises(NetworkError):
            await Mates(a, lambda content, peer: True).ask(b.peer, CONTENT)
        assert a.peers() == []


async def test_who_does_not_speak_it_tells_nothing() -> None:
    async with host(1) as a, host(2) as b:
        await connect(a, b)
        with pytest.raises(NetworkError, match="does not speak"):
            await Mates(a, lambda content, peer: True).ask(b.peer, CONTENT)


async def answered(data: bytes | None) -> list[PeerAddress]:
    """Ask somebody who answers with these bytes, or not at all."""

    async def answer(stream: Stream) -> None:
        await MessageStream(stream, MAX_MATES_MESSAGE).receive()
        if data is None:
            await trio.sleep_forever()
        else:
            await stream.send_all(data)

    async with host(1) as a, host(2) as b:
        b.serve(MATES, answer)
        await connect(a, b)
        return await Mates(a, lambda content, peer: True).ask(b.peer, CONTENT)


@pytest.mark.parametrize(
    "data", [varint(MAX_MATES_MESSAGE + 1), b"\x05abc", b"\x02\x0b\x0c", b"\x03\x0a\x05a"],
    ids=["too long", "cut short", "a group", "a peer cut short"],
)  # fmt: skip
async def test_a_malformed_answer_breaks_the_rules(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        await answered(data)


async def test_no_answer_is_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await answered(b"") == []
    monkeypatch.setattr(mates_module, "UPGRADE_TIMEOUT", 0.5)
    with pytest.raises(NetworkError, match="did not tell"):
        await answered(None)


async def test_of_what_is_told_only_what_can_be_a_mate_is_believed() -> None:
    here, victim = parse_address("/ip4/127.0.0.1/tcp/4001"), parse_address("/dns4/victim.example/tcp/4001")
    mate, named = (peer_id_of(bytes([n]) * 32) for n in (3, 4))
    async with host(1) as a, host(2) as b:
        whom = [(a.peer, here), (b.peer, here), (mate, victim), (mate, here), (named, victim)]
        told = encode_mates(Contact(peer, (address,)) for peer, address in whom)

        async def answer(stream: Stream) -> None:
            await MessageStream(stream, MAX_MATES_MESSAGE).send(told)

        b.serve(MATES, answer)
        await connect(a, b)
        believed = await Mates(a, lambda content, peer: True).ask(b.peer, CONTENT)
    assert believed == [PeerAddress(mate, (str(here),))]


async def test_a_malformed_question_ends_its_stream_and_nothing_else() -> None:
    async with swarm() as world:
        stream = await world.asker.open_stream(PeerAddress(world.seeder.peer), MATES, timeout=5)
        await MessageStream(stream, MAX_MATES_MESSAGE).send(encode_mates_request(CONTENT)[:-1])
        with pytest.raises(NetworkError):
            await MessageStream(stream, MAX_MATES_MESSAGE).receive()
        assert world.seeder.failures[MATES] == 1
        assert await world.ask() == [at(world.taker)]
