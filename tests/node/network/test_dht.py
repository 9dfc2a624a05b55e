"""The DHT of real hosts on loopback, and what a hostile peer of it can and cannot do."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import trio

from samara.node.network import dht_server
from samara.node.network.dht import Dht
from samara.node.network.dht_rules import Rules, ValueRule
from samara.node.network.messages import MessageStream
from samara.node.network.opening import NetworkConfig, OpenNetwork, open_network
from samara.node.network.transport import PeerAddress
from samara.protocol.addresses import parse_address
from samara.protocol.contacts import Contact
from samara.protocol.errors import NetworkError, VerificationError
from samara.protocol.kad.messages import KAD, Kind, Message, decode, encode
from samara.protocol.limits import ANNOUNCES_TAKEN, MAX_KAD_MESSAGE, MAX_KAD_STREAMS_PER_PEER
from samara.protocol.peers import peer_id_of
from samara.protocol.routing import routing_key

KEY = routing_key("content", bytes(32))


def validate(key: str, value: bytes) -> None:
    if not value.startswith(key.encode() + b"="):
        raise VerificationError("not a value of this key")


def newest(key: str, values: Sequence[bytes]) -> int:
    return max(range(len(values)), key=values.__getitem__)


RULES = {"head": ValueRule(validate, newest)}


def node(
    number: int, bootstrap: Sequence[OpenNetwork] = (), **options: Any
) -> contextlib.AbstractAsyncContextManager[OpenNetwork]:
    addresses = tuple(f"{n.host.listening()[0]}/p2p/{n.host.peer}" for n in bootstrap)
    settings: dict[str, Any] = {"listen": ("/ip4/127.0.0.1/tcp/0",), "connections_per_ip": 100} | options
    return open_network(NetworkConfig(bytes([number]) * 32, bootstrap=addresses, **settings), rules=RULES)


def routing(network: OpenNetwork) -> Dht:
    assert network.routing is not None
    return network.routing


def here(network: OpenNetwork) -> PeerAddress:
    return PeerAddress(network.host.peer, network.host.listening())


@contextlib.asynccontextmanager
async def nodes(count: int) -> AsyncIterator[list[OpenNetwork]]:
    """Nodes of which all know the first, that have met and can be reached."""
    async with contextlib.AsyncExitStack() as stack:
        made: list[OpenNetwork] = []
        for number in range(count):
            made.append(await stack.enter_async_context(node(number + 1, made[:1])))
        with trio.fail_after(20):
            while any(not n.host.reachability().reachable or not len(routing(n).table) for n in made):  # noqa: ASYNC110
                await trio.sleep(0.05)
        yield made


async def ask(asker: OpenNetwork, asked: OpenNetwork, *messages: Message) -> list[Message]:
    """Send messages on one stream, and return the answers."""
    stream = await asker.host.open_stream(here(asked), KAD, timeout=5)
    channel = MessageStream(stream, MAX_KAD_MESSAGE)
    answers = []
    for message in messages:
        await channel.send(encode(message))
        data = await channel.receive()
        if data is None:
            raise NetworkError("refused")
        answers.append(decode(data))
    await stream.aclose()
    return answers


async def test_eight_nodes_find_what_one_of_them_has_and_agree_on_a_value() -> None:
    async with nodes(8) as all_nodes:
        holder, seeker = all_nodes[3], all_nodes[7]
        assert await routing(seeker).find_providers(KEY) == []
        await routing(holder).provide(KEY)
        expected = [PeerAddress(holder.host.peer, holder.host.reachability().reachable)]
        assert await routing(seeker).find_providers(KEY) == expected
        assert await routing(holder).find_providers(KEY) == [], "oneself is no provider to ask"

        assert await routing(seeker).get_value("/head/a") is None
        await routing(holder).put_value("/head/a", b"/head/a=1")
        assert await routing(seeker).get_value("/head/a") == b"/head/a=1"
        await routing(seeker).put_value("/head/a", b"/head/a=2")
        assert await routing(holder).get_value("/head/a") == b"/head/a=2", "an old value of our own does not win"
        with pytest.raises(NetworkError, match="no peer took"):
            await routing(holder).put_value("/head/a", b"/head/a=1")
        with pytest.raises(VerificationError):
            await routing(holder).put_value("/head/a", b"nonsense")
        with pytest.raises(VerificationError, match="no rule"):
            await routing(holder).put_value("/other/a", b"/other/a=1")

        # A client and latecomer, which is in nobody's table.
        async with node(99, all_nodes[:1], dht="client") as client:
            assert await routing(client).find_providers(KEY) == expected
            assert await routing(client).get_value("/head/a") == b"/head/a=2"
            assert not any(client.host.peer in routing(n).table for n in all_nodes)


async def test_the_announcer_announces_once_somebody_reached_us() -> None:
    async with node(1) as lonely:
        assert lonely.announcer is not None
        with pytest.raises(NetworkError, match="no host has reached"):
            await routing(lonely).provide(KEY)
        lonely.announcer.set_keys([KEY])
        await trio.sleep(0.2)
        assert lonely.announcer.announced == frozenset()
        async with node(2, [lonely]) as other:
            with trio.fail_after(10):
                while KEY not in lonely.announcer.announced:  # noqa: ASYNC110 - it has no event for that
                    await trio.sleep(0.05)
            found = await routing(other).find_providers(KEY)
            assert found == [PeerAddress(lonely.host.peer, lonely.host.listening())]


async def test_nobody_announces_for_another_or_without_a_usable_address() -> None:
    victim = peer_id_of(bytes(32))
    somewhere = (parse_address("/ip4/127.0.0.1/tcp/4001"),)
    wrong = [
        Message(Kind.ADD_PROVIDER, KEY, providers=(Contact(victim, somewhere),)),
        Message(Kind.ADD_PROVIDER, KEY),
        Message(Kind.ADD_PROVIDER, b"", providers=(Contact(victim, somewhere),)),
        Message(Kind.PUT_VALUE, b"/head/a", b"not its value"),
        Message(Kind.PUT_VALUE, b"/head/a"),
        Message(Kind.PUT_VALUE, b"\xff\xfe", b"x"),
        Message(Kind.PUT_VALUE, b"/none/a", b"/none/a=1"),
        Message(Kind.FIND_NODE),
    ]
    async with node(1) as server, node(2) as attacker:
        wrong.append(Message(Kind.ADD_PROVIDER, KEY, providers=(Contact(attacker.host.peer),)))
        for message in wrong:
            with pytest.raises(NetworkError):
                await ask(attacker, server, message)
        assert await ask(attacker, server, Message(Kind.PING)) == [Message(Kind.PING)]
        (told,) = await ask(attacker, server, Message(Kind.GET_PROVIDERS, KEY))
        assert told.providers == ()


async def test_announcements_in_a_hurry_are_refused() -> None:
    async with node(1) as server, node(2) as attacker:
        own = Contact(attacker.host.peer, tuple(map(parse_address, attacker.host.listening())))
        keys = [number.to_bytes(32, "big") for number in range(ANNOUNCES_TAKEN + 1)]
        messages = [Message(Kind.ADD_PROVIDER, key, providers=(own,)) for key in keys]
        await ask(attacker, server, *messages[:-1])
        with pytest.raises(NetworkError):
            await ask(attacker, server, messages[-1])


async def test_silent_streams_do_not_stop_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dht_server, "KAD_IDLE", 0.5)
    async with node(1) as server, node(2) as attacker, node(3) as honest:
        for _ in range(MAX_KAD_STREAMS_PER_PEER):
            await attacker.host.open_stream(here(server), KAD, timeout=5)
        with pytest.raises(NetworkError):
            await ask(attacker, server, Message(Kind.PING))
        assert await ask(honest, server, Message(Kind.PING)) == [Message(Kind.PING)]
        await trio.sleep(0.8)
        assert await ask(attacker, server, Message(Kind.PING)) == [Message(Kind.PING)]


@pytest.mark.parametrize("junk", [b"\x00\xff", b"\x08\x63", b"\x12\x81\x01" + bytes(129)])
async def test_junk_is_refused(junk: bytes) -> None:
    async with node(1) as server, node(2) as attacker:
        stream = await attacker.host.open_stream(here(server), KAD, timeout=5)
        channel = MessageStream(stream, MAX_KAD_MESSAGE)
        await channel.send(junk)
        with pytest.raises(NetworkError):
            await channel.receive()
        assert await ask(attacker, server, Message(Kind.PING)) == [Message(Kind.PING)]


async def test_what_liars_tell_of_others_does_not_get_into_the_table() -> None:
    invented = tuple(
        Contact(peer_id_of(bytes([number]) * 32), (parse_address("/ip4/127.0.0.1/tcp/1"),)) for number in range(20)
    )

    async def lie(stream: Any) -> None:
        channel = MessageStream(stream, MAX_KAD_MESSAGE)
        while (data := await channel.receive()) is not None:
            question = decode(data)
            await channel.send(encode(Message(question.kind, question.key, None, invented, invented)))

    async with node(1, dht="off") as liar:
        liar.host.serve(KAD, lie)
        async with node(2, [liar]) as victim:
            found = await routing(victim).find_providers(KEY, limit=5)
            assert len(found) == 5, "providers are claims, to be dialled and authenticated"
            with trio.fail_after(5):
                while liar.host.peer not in routing(victim).table:  # noqa: ASYNC110 - it has no event for that
                    await trio.sleep(0.05)
            assert not any(contact.peer in routing(victim).table for contact in invented)
            assert await routing(victim).get_value("/head/a") is None


@pytest.mark.parametrize("key", [b"", b"/", b"head/a", b"/head", b"/head/", b"//a", b"/other/a", b"\xff/head/a"])
async def test_a_key_without_a_rule_has_no_valid_value(key: bytes) -> None:
    with pytest.raises(VerificationError, match="no rule"):
        await Rules(RULES).check(key, key + b"=1")
