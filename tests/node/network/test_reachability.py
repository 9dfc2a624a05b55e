"""Being dialled back: who is asked, who is dialled, and who is believed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from samara.node.network import reachability
from samara.node.network.host import Host, open_host
from samara.node.network.messages import MessageStream
from samara.node.network.reachability import Reach
from samara.node.network.transport import PeerAddress
from samara.protocol.addresses import Address, parse_address
from samara.protocol.errors import NetworkError
from samara.protocol.limits import MAX_REACH_MESSAGE
from samara.protocol.reach import REACH, Answer, Verdict, encode_answer

HERE = parse_address("/ip4/127.0.0.1/tcp/0")


@contextlib.asynccontextmanager
async def pair() -> AsyncIterator[tuple[Host, Reach, Host, Reach]]:
    """Two connected hosts that serve reach."""
    async with (
        open_host(seed=bytes([1]) * 32, listen=[HERE]) as a,
        open_host(seed=bytes([2]) * 32, listen=[HERE]) as b,
    ):
        ours, theirs = Reach(a), Reach(b)
        stream = await a.open_stream(PeerAddress(b.peer, b.listening()), "/ipfs/ping/1.0.0", timeout=5)
        await stream.aclose()
        yield a, ours, b, theirs


def bound(host: Host) -> tuple[Address, ...]:
    return host.bound()


async def test_who_was_dialled_back_is_reachable() -> None:
    async with pair() as (a, ours, b, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(ours.run)
        nursery.start_soon(theirs.run)
        with trio.fail_after(10):
            while not (ours.reachable() and theirs.reachable()):  # noqa: ASYNC110 - a test may poll
                await trio.sleep(0.02)
        assert ours.reachable() == a.bound()
        assert ours.reachability().reachable == a.listening()
        assert ours.reachability().asked == 1
        assert theirs.reachable() == b.bound()
        nursery.cancel_scope.cancel()


async def test_the_first_address_that_works_is_told() -> None:
    async with pair() as (a, ours, b, _):
        closed = Address("ip4", "127.0.0.1", 4)
        dead = Address("ip4", "127.0.0.1", 1025)
        answer = await ours.ask(b.peer, (closed, dead, *a.bound()))
        assert answer == Answer(Verdict.REACHED, a.bound()[0])


async def test_nobody_is_sent_against_another_host() -> None:
    async with pair() as (a, ours, b, _):
        elsewhere = (Address("ip4", "127.0.0.2", a.bound()[0].port), parse_address("/ip4/192.0.2.1/tcp/4001"))
        assert (await ours.ask(b.peer, elsewhere)).verdict is Verdict.REFUSED
        somebody = (Address("ip4", "127.0.0.1", b.bound()[0].port),)
        assert (await ours.ask(b.peer, somebody)).verdict is Verdict.NOT_REACHED, "another peer answered there"


async def test_one_peer_is_served_now_and_then_only() -> None:
    async with pair() as (a, ours, b, _):
        assert (await ours.ask(b.peer, a.bound())).verdict is Verdict.REACHED
        assert (await ours.ask(b.peer, a.bound())).verdict is Verdict.BUSY


async def test_one_request_is_served_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability, "REACH_SPACING", 0.0)
    async with pair() as (a, ours, b, theirs):
        theirs._dialling.acquire_on_behalf_of_nowait("another request")
        assert (await ours.ask(b.peer, a.bound())).verdict is Verdict.BUSY
        theirs._dialling.release_on_behalf_of("another request")
        assert (await ours.ask(b.peer, a.bound())).verdict is Verdict.REACHED


async def test_a_liar_is_not_believed() -> None:
    async with pair() as (a, ours, b, _):

        async def lie(stream: Any) -> None:
            channel = MessageStream(stream, MAX_REACH_MESSAGE)
            await channel.receive()
            await channel.send(encode_answer(Answer(Verdict.REACHED, a.bound()[0])))

        b.serve(REACH, lie)
        with pytest.raises(NetworkError, match="nobody knocked"):
            await ours.ask(b.peer, a.bound())


async def test_who_listens_nowhere_is_reachable_nowhere() -> None:
    async with open_host(seed=bytes([1]) * 32) as a, open_host(seed=bytes([2]) * 32, listen=[HERE]) as b:
        ours, _ = Reach(a), Reach(b)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.run)
            stream = await a.open_stream(PeerAddress(b.peer, b.listening()), "/ipfs/ping/1.0.0", timeout=5)
            await trio.sleep(0.5)
            assert ours.reachability().reachable == ()
            assert ours.reachability().asked == 0
            await stream.aclose()
            nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_what_was_proven_is_proven_anew_before_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("REACH_AGE", 3.0), ("REACH_SPACING", 0.0), ("_ASK_AGAIN", 0.1), ("_LOOK", 0.2)):
        monkeypatch.setattr(reachability, name, value)
    async with pair() as (a, ours, b, _), trio.open_nursery() as nursery:
        nursery.start_soon(ours.run)
        with trio.fail_after(10):
            await ours.changed.wait()
        changed = ours.changed
        for _ in range(40):
            assert ours.reachable() == a.bound()
            await trio.sleep(0.1)
        assert not changed.is_set(), "the same address again is no news"
        await a.disconnect(b.peer)
        await trio.sleep(3.5)
        assert ours.reachable() == (), "nobody is left who could say so"
        nursery.cancel_scope.cancel()
