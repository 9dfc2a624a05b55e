"""The network in memory behaves as `transport.Network` says, and its lines can be slow, cut and mended."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing
from support.memory_network import MemoryHost, MemoryNetwork

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
