"""Multicast DNS: two nodes on loopback, and records of which nothing can be made."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from samara.node.network import mdns
from samara.node.network.mdns import Nearby, _peers, _text
from samara.node.network.opening import NetworkConfig, open_network
from samara.node.network.transport import Network, PeerAddress
from samara.node.network.watch import Board
from samara.protocol.addresses import Address, Scope, parse_address
from samara.protocol.limits import MAX_PEER_ADDRESSES
from samara.protocol.peers import peer_id_of

PEER = peer_id_of(bytes(32))


class Info:
    """What of a record is read."""

    def __init__(self, text: bytes | None) -> None:
        self.text = text


def parse(text: bytes | None) -> list[PeerAddress]:
    return list(_peers(Info(text), Scope.PRIVATE))  # type: ignore[arg-type]


def entry(content: bytes) -> bytes:
    return bytes((len(content),)) + content


async def test_two_nodes_on_one_machine_find_each_other() -> None:
    async def one(number: int) -> NetworkConfig:
        return NetworkConfig(
            bytes([number]) * 32, listen=("/ip4/127.0.0.1/tcp/0",), dht="off", mdns=True, nearby_on_loopback=True
        )

    async with open_network(await one(71)) as a, open_network(await one(72)) as b:
        for ours, theirs in ((a.host, b.host), (b.host, a.host)):
            with trio.fail_after(15):
                async for found in ours.found_nearby():
                    if found.peer == theirs.peer:  # other tests may be on this machine
                        break
            assert found.addresses == theirs.listening()


async def test_who_is_quiet_hears_and_is_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mdns, "_LOOK", 0.1)
    quiet = [True]

    def config(number: int, **how: Any) -> NetworkConfig:
        listen = ("/ip4/127.0.0.1/tcp/0",)
        return NetworkConfig(bytes([number]) * 32, listen=listen, dht="off", mdns=True, nearby_on_loopback=True, **how)

    async def hear(ours: Network, peer: str) -> None:
        async for found in ours.found_nearby():
            if found.peer == peer:
                return

    async with open_network(config(73)) as a, open_network(config(74, quiet=lambda: quiet[0])) as b:
        with trio.fail_after(15):
            await hear(b.host, a.host.peer)
        with trio.move_on_after(1.5) as waiting:
            await hear(a.host, b.host.peer)
        assert waiting.cancelled_caught
        quiet[0] = False
        with trio.fail_after(15):
            await hear(a.host, b.host.peer)


async def test_loopback_is_not_announced_unless_told_so() -> None:
    loopback, lan = parse_address("/ip4/127.0.0.1/tcp/1"), parse_address("/ip4/10.0.0.1/tcp/1")
    board: Board[PeerAddress] = Board(1)
    assert Nearby(PEER, lambda: (lan, loopback), board)._addresses() == (lan,)
    assert Nearby(PEER, lambda: (lan, loopback), board, loopback=True)._addresses() == (lan, loopback)


def test_what_is_announced_is_understood() -> None:
    addresses = tuple(Address("ip4", f"10.0.0.{n}", 4001) for n in range(1, 12))
    assert parse(_text(PEER, addresses)) == [PeerAddress(PEER, tuple(map(str, addresses))[:MAX_PEER_ADDRESSES])]


@pytest.mark.parametrize(
    "text",
    [
        None,
        b"",
        b"\xff",
        b"\xffdnsaddr=",
        entry(b"dnsaddr="),
        entry(b"dnsaddr=/ip4/10.0.0.1/tcp/4001"),
        entry(b"dnsaddr=/ip4/10.0.0.1/tcp/4001/p2p/nobody"),
        entry(b"dnsaddr=/ip4/10.0.0.1/tcp/0/p2p/" + PEER.encode()),
        entry(b"dnsaddr=/ip4/127.0.0.1/tcp/6379/p2p/" + PEER.encode()),
        entry(b"dnsaddr=/ip4/224.0.0.1/tcp/1/p2p/" + PEER.encode()),
        entry(b"dnsaddr=/ip4/10.0.0.1/udp/1/quic-v1/p2p/" + PEER.encode()),
        entry(b"dnsaddr=\xff\xfe"),
        entry(b"other=/ip4/10.0.0.1/tcp/4001/p2p/" + PEER.encode()),
    ],
)
def test_what_is_not_understood_is_skipped(text: bytes | None) -> None:
    assert parse(text) == []
    good = entry(b"dnsaddr=/ip4/10.0.0.1/tcp/4001/p2p/" + PEER.encode())
    assert parse(good + (text or b"")) == [PeerAddress(PEER, ("/ip4/10.0.0.1/tcp/4001",))]
