"""Unmodified libp2p peers, from npm and from PyPI, and a Samara host: whoever dials, streams work both ways.

They run as processes of their own, over our own Noise and Yamux; what each is told to do is in `support/interop.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
import trio
from support.interop import AGENT, Foreign, Ours, js_peer, open_ours, python_peer

pytestmark = [pytest.mark.slow]

MIB = 1 << 20
IMPLEMENTATIONS = [pytest.param(js_peer, marks=pytest.mark.js, id="js"), pytest.param(python_peer, id="python")]
IDENTIFY, PING = "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0"

implementations = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
who_dials = pytest.mark.parametrize("dialler", ["theirs", "ours"])


@contextlib.asynccontextmanager
async def connected(implementation: Callable[[], list[str]], dialler: str) -> AsyncIterator[tuple[Ours, Foreign]]:
    """Two peers on one connection, which one of them dialled."""
    command = implementation()
    with trio.fail_after(60):
        async with Foreign.started(command) as theirs, open_ours() as ours:
            if dialler == "theirs":
                await theirs.do("dial", address=ours.address)
                await ours.do("meet")
            else:
                await ours.do("dial", address=theirs.address)
            yield ours, theirs
            assert len(ours.host.peers()) == 1, "the connection did not last"
            assert not ours.host.failures


@implementations
@who_dials
async def test_each_learns_who_the_other_is_and_pings_it(implementation: Callable[[], list[str]], dialler: str) -> None:
    async with connected(implementation, dialler) as (ours, theirs):
        told = await theirs.do("identified")
        assert told["peer"] == ours.host.peer
        assert {IDENTIFY, PING, "/interop/echo/1"} <= set(told["protocols"])
        assert told["agent"] == AGENT
        assert [address.removesuffix(f"/p2p/{ours.host.peer}") for address in told["addresses"]] == list(
            ours.host.listening()
        )
        assert told["observed"].startswith("/ip4/127.0.0.1/tcp/")
        assert (told["encryption"], told["multiplexer"]) == ("/noise", "/yamux/1.0.0")

        met = await ours.do("identified")
        assert met["peer"] == theirs.peer
        assert {IDENTIFY, PING, "/interop/echo/1"} <= set(met["protocols"])
        assert "libp2p" in met["agent"]

        await ours.do("ping")
        await theirs.do("ping")


@implementations
@who_dials
async def test_bulk_arrives_whole_both_ways(implementation: Callable[[], list[str]], dialler: str) -> None:
    whole = {"count": 64 * MIB, "whole": True}
    async with connected(implementation, dialler) as (ours, theirs):
        first, second = (ours, theirs) if dialler == "ours" else (theirs, ours)
        assert await first.do("send", count=64 * MIB) == whole
        assert await first.do("fetch", count=64 * MIB) == whole
        assert await second.do("echo", count=8 * MIB) == {"count": 8 * MIB, "whole": True}


@implementations
@who_dials
async def test_who_closed_its_end_still_hears_the_other(implementation: Callable[[], list[str]], dialler: str) -> None:
    async with connected(implementation, dialler) as (ours, theirs):
        for end in (ours, theirs):
            for count in (0, 1, 65_536, 262_144, 262_145, MIB + 1):
                told = {"count": count, "whole": True}
                assert await end.do("send", count=count) == told
                assert await end.do("fetch", count=count) == told
                assert await end.do("echo", count=count) == told


@implementations
@who_dials
async def test_a_reset_is_seen_as_one(implementation: Callable[[], list[str]], dialler: str) -> None:
    async with connected(implementation, dialler) as (ours, theirs):
        for end, other in ((ours, theirs), (theirs, ours)):
            assert await end.do("provoke") == {"saw": "reset"}
            await end.do("abandon")
            while (told := await other.do("watched"))["saw"] == "nothing":  # noqa: ASYNC110 - told on request only
                await trio.sleep(0.01)
            assert told == {"saw": "reset"}
            assert await end.do("echo", count=100) == {"count": 100, "whole": True}
