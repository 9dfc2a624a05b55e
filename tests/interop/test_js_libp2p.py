"""A js-libp2p peer, unmodified from npm, dials a Samara node: handshake, identify, ping, and bytes both ways."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio

from samara.node.network.opening import NetworkConfig, open_network
from samara.node.network.transport import Stream
from samara.protocol.kad.messages import KAD
from samara.protocol.reach import REACH

pytestmark = [pytest.mark.js, pytest.mark.slow]

JS = Path(__file__).parent / "js"
EXCHANGE = "/samara/exchange/1"


@pytest.fixture(scope="module")
def packages() -> None:
    """Install what package-lock.json pins, once."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("needs Node.js and npm")
    installed = JS / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < (JS / "package-lock.json").stat().st_mtime:
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=JS, check=True, capture_output=True, timeout=300)


async def test_a_js_peer_identifies_pings_and_echoes(packages: None) -> None:
    async def echo(stream: Stream) -> None:
        while data := await stream.receive_some(65536):
            await stream.send_all(data)

    config = NetworkConfig(seed=bytes(32), listen=("/ip4/127.0.0.1/tcp/0",), agent="samara/test")
    async with open_network(config) as network:
        network.host.serve(EXCHANGE, echo)
        address = f"{network.host.listening()[0]}/p2p/{network.host.peer}"
        command = ["node", str(JS / "dial.js"), address, EXCHANGE]
        with trio.fail_after(60):
            done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        told: dict[str, Any] = json.loads(done.stdout)

    assert told["peer"] == network.host.peer
    assert {EXCHANGE, KAD, REACH, "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0"} <= set(told["protocols"])
    assert told["agent"] == "samara/test"
    assert told["addresses"] == list(network.host.listening())
    assert told["observed"].startswith("/ip4/127.0.0.1/tcp/")
    assert (told["encryption"], told["multiplexer"]) == ("/noise", "/yamux/1.0.0")
    assert 0 <= told["roundTrip"] < 5000
    assert told["echoed"] == 1 << 20
