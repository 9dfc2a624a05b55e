"""Opening and closing a network: what it costs, how it fails, how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trio

from samara.node.network.opening import NetworkConfig, open_network
from samara.protocol.errors import AddressError, NetworkError
from samara.protocol.peers import peer_id_of

ROOT = Path(__file__).resolve().parents[3]


def test_nothing_heavy_is_imported_before_a_network_is_opened() -> None:
    code = (
        "import sys, samara.node.network.opening, samara.node.network.host\n"
        "print([name for name in ('zeroconf', 'asyncio') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_all_services_end_with_the_block_and_when_cancelled() -> None:
    config = NetworkConfig(bytes(32), listen=("/ip4/127.0.0.1/tcp/0",), mdns=True, nearby_on_loopback=True)
    for cancelled in (False, True):
        with trio.fail_after(20), trio.CancelScope() as scope:
            async with open_network(config) as network:
                assert network.routing is not None
                assert network.announcer is not None
                await trio.sleep(0.2)
                if cancelled:
                    scope.cancel()
        assert scope.cancelled_caught is cancelled


async def test_the_peer_id_is_that_of_the_key() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    seed = bytes(range(32))
    public_key = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    async with open_network(NetworkConfig(seed, listen=(), dht="off")) as network:
        assert network.host.peer == peer_id_of(public_key)
        assert network.host.listening() == ()
        assert network.routing is None


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"listen": ("nonsense",)}, AddressError),
        ({"listen": ("/ip4/127.0.0.1/udp/1",)}, AddressError),
        ({"listen": ("/dns4/example.org/tcp/0",)}, NetworkError),
        ({"listen": ("/ip4/192.0.2.1/tcp/0",)}, NetworkError),
        ({"bootstrap": ("/ip4/10.0.0.1/tcp/4001",)}, AddressError),
        ({"bootstrap": ("/ip4/10.0.0.1/tcp/4001/p2p/nobody",)}, AddressError),
    ],
)
async def test_a_wrong_setting_is_told_as_it_is(options: dict[str, tuple[str, ...]], error: type[Exception]) -> None:
    with pytest.raises(error):
        async with open_network(NetworkConfig(bytes(32), **options)):  # type: ignore[arg-type]
            pytest.fail("it opened")
