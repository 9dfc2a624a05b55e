"""The network in memory behaves as `transport.Network` says, and its lines can be slow, cut and mended."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing
from support.memory_network import MemoryHost, MemoryNetwork

from samara.node.network.caps import Caps, TokenBucket
from samara.node.network.transport import Network, PeerAddress, Stream
from samara.protocol.errors import NetworkError

ECHO = "/echo/1"


async def echo(stream: Stream) -> None:
    while data := await stream.receive_some(1 << 16):
        await stream.send_all(data)
    await stream.aclose()


@pytest.fixture
async def world() -> MemoryNetwork:
    return MemoryNetwork(lan=True, window=1000)


@pytest.fixture
async def alice(world: MemoryNetwork) -> AsyncIterator[MemoryHost]:
    async with world.join("alice") as host:
        host.serve(ECHO, echo)
        yield host


@pytest.fixture
async def bob(world: MemoryNetwork) -> AsyncIterator[MemoryHost]:
    async with world.join("bob") as host:
        yield host


async def test_bytes_come_back_in_order_and_an_end_is_an_end(alice: MemoryHost, bob: MemoryHost) -> None:
    as_network: Network = bob  # the interface holds
    stream = await as_network.open_stream(alice.address, ECHO, timeout=1)
    assert stream.peer == "alice"
    sent = bytes(range(256)) * 40
    received = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, sent)
        while len(received) < len(sent):
            received += await stream.receive_some(300)
    assert bytes(received) == sent
    assert [(p.peer, p.inbound) for p in alice.peers()] == [("bob", True)]
    assert [(p.peer, p.inbound) for p in bob.peers()] == [("alice", False)]
    await stream.aclose()
    with pytest.raises(NetworkError):
        await stream.send_all(b"x")


async def test_a_window_bounds_what_is_under_way(
    autojump_clock: trio.testing.MockClock, alice: MemoryHost, bob: MemoryHost
) -> None:
    async def never_read(stream: Stream) -> None:
        await trio.sleep_forever()

    alice.serve("/silent/1", never_read)
    stream = await bob.open_stream(alice.address, "/silent/1", timeout=1)
    await stream.send_all(bytes(1000))
    with trio.move_on_after(60) as waited:
        await stream.send_all(b"x")
    assert waited.cancelled_caught


async def test_what_the_sender_uses_again_was_copied(alice: MemoryHost, bob: MemoryHost) -> None:
    stream = await bob.open_stream(alice.address, ECHO, timeout=1)
    data = bytearray(b"before")
    await stream.send_all(data)
    data[:] = b"behind"
    assert await stream.receive_some(10) == b"before"


async def test_latency_and_rate_cost_time(
    autojump_clock: trio.testing.MockClock, world: MemoryNetwork, alice: MemoryHost, bob: MemoryHost
) -> None:
    line = world.line("alice", "bob")
    line.latency, line.rate = 0.5, 100.0
    began = trio.current_time()
    stream = await bob.open_stream(alice.address, ECHO, timeout=5)
    assert trio.current_time() - began == pytest.approx(1.0)
    await stream.send_all(bytes(50))
    assert await stream.receive_some(1000) == bytes(50)
    assert trio.current_time() - began == pytest.approx(1.0 + 2 * (0.5 + 0.5))
    with pytest.raises(NetworkError, match="did not answer"):
        await bob.open_stream(alice.address, ECHO, timeout=0.9)


async def test_a_cut_line_breaks_what_is_open_until_it_is_mended(
    world: MemoryNetwork, alice: MemoryHost, bob: MemoryHost
) -> None:
    stream = await bob.open_stream(alice.address, ECHO, timeout=1)
    async with trio.open_nursery() as nursery:

        async def wait_for_the_cut() -> None:
            with pytest.raises(NetworkError):
                await stream.receive_some(1)

        nursery.start_soon(wait_for_the_cut)
        await trio.testing.wait_all_tasks_blocked()
        world.cut("bob", "alice")
    assert alice.peers() == bob.peers() == []
    with pytest.raises(NetworkError):
        await bob.open_stream(alice.address, ECHO, timeout=1)
    world.mend("alice", "bob")
    await bob.open_stream(alice.address, ECHO, timeout=1)


async def test_who_cannot_be_reached(world: MemoryNetwork, alice: MemoryHost, bob: MemoryHost) -> None:
    for peer, protocol in (("nobody", ECHO), ("alice", "/unknown/1"), ("bob", ECHO)):
        with pytest.raises(NetworkError):
            await bob.open_stream(PeerAddress(peer), protocol, timeout=1)
    async with world.join("carol") as carol:
        carol.serve(ECHO, echo)
        stream = await bob.open_stream(carol.address, ECHO, timeout=1)
    with pytest.raises(NetworkError):
        await stream.receive_some(1)
    with pytest.raises(NetworkError):
        await bob.open_stream(carol.address, ECHO, timeout=1)
    with pytest.raises(ValueError, match="already"):
        async with world.join("alice"):
            pass


@pytest.mark.parametrize("who", ["the dialler", "the acceptor"])
async def test_a_ban_breaks_and_refuses(alice: MemoryHost, bob: MemoryHost, who: str) -> None:
    stream = await bob.open_stream(alice.address, ECHO, timeout=1)
    banning, banned = (bob, "alice") if who == "the dialler" else (alice, "bob")
    banning.set_banned(frozenset({banned}))
    with pytest.raises(NetworkError):
        await stream.receive_some(1)
    with pytest.raises(NetworkError):
        await bob.open_stream(alice.address, ECHO, timeout=1)


async def test_a_handler_that_raises_is_counted_and_the_host_goes_on(alice: MemoryHost, bob: MemoryHost) -> None:
    async def fail(stream: Stream) -> None:
        raise ZeroDivisionError

    alice.serve("/fail/1", fail)
    stream = await bob.open_stream(alice.address, "/fail/1", timeout=1)
    with pytest.raises(NetworkError):
        await stream.receive_some(1)
    assert alice.failures == {"ZeroDivisionError": 1}
    await bob.open_stream(alice.address, ECHO, timeout=1)


async def test_disconnecting_ends_all_streams(alice: MemoryHost, bob: MemoryHost) -> None:
    streams = [await bob.open_stream(alice.address, ECHO, timeout=1) for _ in range(3)]
    await alice.disconnect("bob")
    for stream in streams:
        with pytest.raises(NetworkError):
            await stream.send_all(b"x")
    assert alice.peers() == []


async def test_hosts_find_each_other_as_they_come(world: MemoryNetwork, alice: MemoryHost, bob: MemoryHost) -> None:
    found: list[str] = []

    async def look() -> None:
        async for peer in bob.found_nearby():
            found.append(peer.peer)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await trio.testing.wait_all_tasks_blocked()
        assert found == ["alice"]
        async with world.join("carol"):
            await trio.testing.wait_all_tasks_blocked()
            assert found == ["alice", "carol"]
        nursery.cancel_scope.cancel()


async def drain(stream: Stream) -> None:
    while await stream.receive_some(1 << 20):
        pass


async def test_the_streams_of_a_host_share_what_it_can_send(autojump_clock: trio.testing.MockClock) -> None:
    world = MemoryNetwork()
    ended: list[float] = []

    async def send(host: MemoryHost, address: PeerAddress) -> None:
        stream = await host.open_stream(address, ECHO, timeout=1)
        await stream.send_all(bytes(100_000))
        ended.append(trio.current_time())

    async with world.join("seeder", up=100_000) as seeder, world.join("one") as one, world.join("other") as other:
        one.serve(ECHO, drain)
        other.serve(ECHO, drain)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, seeder, one.address)
            nursery.start_soon(send, seeder, other.address)
    assert ended == pytest.approx([2.0, 2.0], abs=0.1)


async def test_a_host_receives_no_faster_than_it_can(autojump_clock: trio.testing.MockClock) -> None:
    world = MemoryNetwork()
    async with world.join("a", up=1e6) as a, world.join("b", up=1e6) as b, world.join("slow", down=100_000) as slow:
        slow.serve(ECHO, drain)
        async with trio.open_nursery() as nursery:
            for host in (a, b):
                stream = await host.open_stream(slow.address, ECHO, timeout=1)
                nursery.start_soon(stream.send_all, bytes(100_000))
    assert trio.current_time() == pytest.approx(2.0, abs=0.1)


async def test_a_line_that_loses_breaks_connections_as_often_as_it_says(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = MemoryNetwork(window=64 << 10, rng=random.Random(1))
    lost = 0
    async with world.join("alice") as alice, world.join("bob") as bob:
        alice.serve(ECHO, drain)
        world.line("alice", "bob").loss = 0.5
        for _ in range(200):
            stream = await bob.open_stream(alice.address, ECHO, timeout=1)
            try:
                await stream.send_all(bytes(1 << 20))
            except NetworkError:
                lost += 1
            await stream.reset()
    assert 60 < lost < 100, "1 - e^-0.5 of 200 is 79"


async def test_a_line_that_stands_still_delivers_later_and_in_order(autojump_clock: trio.testing.MockClock) -> None:
    world = MemoryNetwork(rng=random.Random(1))
    line = world.line("alice", "bob")
    line.jitter = 0.5
    async with world.join("alice") as alice, world.join("bob") as bob:
        alice.serve(ECHO, echo)
        stream = await bob.open_stream(alice.address, ECHO, timeout=1)
        line.still_until = 10.0
        for number in range(20):
            await stream.send_all(bytes([number]))
        line.still_until = 20.0
        got = b""
        while len(got) < 20:
            got += await stream.receive_some(100)
        assert got == bytes(range(20))
        assert trio.current_time() >= 20.0


async def test_who_comes_back_is_found_again_and_only_by_acquaintances(autojump_clock: trio.testing.MockClock) -> None:
    world = MemoryNetwork()
    found: list[str] = []

    async def look(host: MemoryHost) -> None:
        async for address in host.found_nearby():
            found.append(address.peer)

    async with world.join("alice") as alice, trio.open_nursery() as nursery:
        world.acquaint("alice", ["bob"])
        nursery.start_soon(look, alice)
        for _ in range(2):
            async with world.join("bob"), world.join("carol"):
                await trio.sleep(1)
            await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert found == ["bob", "bob"]


async def test_who_vanishes_leaves_broken_streams(autojump_clock: trio.testing.MockClock) -> None:
    world = MemoryNetwork()
    async with world.join("alice") as alice, world.join("bob") as bob:
        alice.serve(ECHO, drain)
        stream = await bob.open_stream(alice.address, ECHO, timeout=1)
        assert world.open_streams() == [("bob", "alice")]
        world.vanish("alice")
        assert world.open_streams() == []
        with pytest.raises(NetworkError):
            await stream.send_all(b"anybody?")
        with pytest.raises(NetworkError):
            await bob.open_stream(alice.address, ECHO, timeout=1)


async def test_a_cap_holds_and_says_that_it_held_back(autojump_clock: trio.testing.MockClock) -> None:
    world = MemoryNetwork()
    async with world.join("alice") as alice, world.join("bob") as bob:
        alice.serve(ECHO, drain)
        bob.caps = Caps(TokenBucket(10_000))
        stream = await bob.open_stream(alice.address, ECHO, timeout=1)
        await stream.send_all(bytes(50_000))
        assert trio.current_time() == pytest.approx(5.0, abs=0.2)
        assert stream.held_back == pytest.approx(5.0, abs=0.2)
