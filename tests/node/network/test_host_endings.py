"""How connections end: what is free at once, and what handlers and readers see of it. Real sockets, on loopback."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import trio
import trio.testing
from support.hosts import ECHO, at, pair, receive_all, until

from samara.node.network import host
from samara.node.network.transport import Stream
from samara.protocol.errors import NetworkError


@dataclass
class Stubborn:
    """A handler that does not look at its stream until it is let go, and notes how it ended."""

    begun: int = 0
    let_go: trio.Event = field(default_factory=trio.Event)
    ends: list[str] = field(default_factory=list)

    async def __call__(self, stream: Stream) -> None:
        self.begun += 1
        try:
            await self.let_go.wait()
        except trio.Cancelled:
            self.ends.append("cancelled")
            raise
        try:
            await stream.receive_some(1)
        except NetworkError:
            self.ends.append("broken")
            raise


@pytest.mark.parametrize("who", ["the other", "we", "a ban", "nobody: it is idle"])
async def test_place_and_socket_are_free_at_once_while_handlers_have_their_moment(
    who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_LINGER", 600.0)
    async with pair() as (a, b):
        stubborn = Stubborn()
        b.serve("/stubborn/1", stubborn)
        await a.open_stream(at(b), "/stubborn/1", timeout=5)
        await until(lambda: stubborn.begun == 1)
        tcp = b._links[a.peer][0].muxed.tcp
        if who == "the other":
            await a.disconnect(b.peer)
        elif who == "we":
            await b.disconnect(a.peer)
        elif who == "a ban":
            b.set_banned(frozenset({a.peer}))
        else:
            b._links[a.peer][0].streams.clear()
            monkeypatch.setattr(host, "IDLE_CONNECTION", 0.0)
            monkeypatch.setattr(host, "IDLE_CONNECTION_FULL", 0.0)
            b._links[a.peer][0].nursery.start_soon(b._end_idle, b._links[a.peer][0])
        await until(lambda: b._admission.used == 0 and a._admission.used == 0)
        assert tcp._socket.fileno() == -1
        assert not b._links
        assert stubborn.ends == []
        stubborn.let_go.set()
        await until(lambda: stubborn.ends == ["broken"] and not b._served)


async def test_handlers_that_do_not_use_their_moment_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_LINGER", 0.2)
    async with pair() as (a, b):
        stubborn = Stubborn()
        b.serve("/stubborn/1", stubborn)
        await a.open_stream(at(b), "/stubborn/1", timeout=5)
        await until(lambda: stubborn.begun == 1)
        await a.disconnect(b.peer)
        await until(lambda: stubborn.ends == ["cancelled"] and not b._served)


async def test_so_many_connections_leave_handlers_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_LINGER", 600.0)
    monkeypatch.setattr(host, "_LINGERING", 2)
    async with pair() as (a, b):
        stubborn = Stubborn()
        b.serve("/stubborn/1", stubborn)
        for number in range(1, 6):
            await a.open_stream(at(b), "/stubborn/1", timeout=5)
            await until(lambda: stubborn.begun == number)  # noqa: B023 - it is called in this round
            await a.disconnect(b.peer)
            await until(lambda: not a._admission.used and not b._admission.used)
        await until(lambda: stubborn.ends == ["cancelled"] * 3)


async def test_what_was_served_does_not_outlive_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_LINGER", 600.0)

    async def greet(stream: Stream) -> None:
        await stream.send_all(b"hi")

    async with pair() as (a, b):
        b.serve("/greet/1", greet)
        stream = await a.open_stream(at(b), "/greet/1", timeout=5)
        assert await receive_all(stream) == b"hi"  # and it does not close its own end
        await until(lambda: bool(b.peers()[0].agent))
        await until(lambda: b._served == {a.peer: 1})
        await a.disconnect(b.peer)
        await until(lambda: not b._served)


async def test_who_waits_for_a_stream_is_told_of_an_end_that_cannot_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(data: memoryview) -> None:  # as when the other takes no byte any more
        await trio.sleep_forever()

    async with pair() as (a, b):
        stream = await a.open_stream(at(b), ECHO, timeout=5)
        monkeypatch.setattr(a._links[b.peer][0].muxed.tcp, "send_all", never, raising=False)
        broken = trio.Event()

        async def read() -> None:
            with pytest.raises(NetworkError):
                await stream.receive_some(1)
            broken.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            await a.disconnect(b.peer)
            with trio.fail_after(5):
                await broken.wait()
