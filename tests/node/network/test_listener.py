"""The door, over real sockets: who is let in, who is refused, and how fast."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator

import pytest
import trio
from support.hosts import HERE, until

from samara.node.network import listener as listener_module
from samara.node.network.listener import listen_tcp
from samara.protocol.addresses import Address, parse_address
from samara.protocol.errors import NetworkError


class Door:
    """Lets in so many, and keeps who was let in."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.inside: list[tuple[socket.socket, Address]] = []
        self.refused = 0

    def take(self, sock: socket.socket, remote: Address) -> None:
        if len(self.inside) >= self.places:
            self.refused += 1
            raise NetworkError("no place left")
        self.inside.append((sock, remote))


@contextlib.asynccontextmanager
async def listening(places: int) -> AsyncIterator[tuple[Door, Address]]:
    door, listener = Door(places), listen_tcp(HERE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.serve, door.take)
        yield door, listener.address
        nursery.cancel_scope.cancel()
    for sock, _ in door.inside:
        sock.close()


async def dial(to: Address) -> trio.SocketStream:
    return await trio.open_tcp_stream(to.host, to.port)


async def test_who_is_let_in_is_told_apart_and_whoever_is_not_is_hung_up_on() -> None:
    async with listening(2) as (door, address), contextlib.AsyncExitStack() as sockets:
        streams = [await sockets.enter_async_context(await dial(address)) for _ in range(5)]
        await until(lambda: len(door.inside) + door.refused == 5)
        assert {remote.port for _, remote in door.inside} < {stream.socket.getsockname()[1] for stream in streams}
        assert [await stream.receive_some() for stream in streams[2:]] == [b""] * 3
        with trio.move_on_after(0.1) as waited:
            await streams[0].receive_some()
        assert waited.cancelled_caught


async def test_for_each_that_is_refused_the_door_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "REFUSALS_A_SECOND", 40.0)
    async with listening(0) as (door, address), contextlib.AsyncExitStack() as sockets:
        began = trio.current_time()
        for _ in range(40):
            await sockets.enter_async_context(await dial(address))
        await until(lambda: door.refused == 40)
        assert trio.current_time() - began >= (40 - listener_module._ROUND) / 40 - 0.05
        door.places = 1
        await sockets.enter_async_context(await dial(address))
        await until(lambda: len(door.inside) == 1)


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit of open files")
async def test_a_system_without_room_for_sockets_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    import resource

    async with listening(1) as (door, address):
        with trio.socket.socket() as sock:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            lowest_free = os.dup(sock.fileno())
            os.close(lowest_free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
            try:
                await sock.connect((address.host, address.port))
                await until(lambda: "no socket can be accepted" in caplog.text)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            await until(lambda: len(door.inside) == 1)


async def test_a_port_that_is_taken_or_an_address_that_is_not_ours_is_an_error() -> None:
    async with listening(1) as (_, address):
        with pytest.raises(NetworkError, match="cannot listen at"):
            listen_tcp(address)
    with pytest.raises(NetworkError, match="cannot listen at"):
        listen_tcp(parse_address("/ip4/192.0.2.1/tcp/0"))
    with pytest.raises(NetworkError, match="cannot listen at"):
        listen_tcp(parse_address("/dns/example.org/tcp/0"))
