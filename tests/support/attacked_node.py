"""A node's network in a process of its own, that echoes and sends bulk, for what is measured of a node under attack.

python attacked_node.py     prints {"peer": …, "address": …}, and runs until its stdin ends
"""

from __future__ import annotations

import json
import sys

import trio
from support.hosts import ECHO, HERE, MIB, echo

from samara.node.network.opening import NetworkConfig, open_network
from samara.node.network.transport import Stream

__all__ = ["BULK", "bulk"]

BULK = "/bulk/1"


async def bulk(stream: Stream) -> None:
    """Send as many MiB as the peer asks for in two bytes, each of the bytes 0 to 255 again and again."""
    asked = await stream.receive_some(2)
    piece = bytes(range(256)) * (MIB // 256)
    for _ in range(int.from_bytes(asked, "big")):
        await stream.send_all(piece)


async def main() -> None:
    config = NetworkConfig(seed=b"\2" * 32, listen=(str(HERE),))
    async with open_network(config) as network:
        network.host.serve(ECHO, echo)
        network.host.serve(BULK, bulk)
        print(json.dumps({"peer": network.host.peer, "address": network.host.listening()[0]}), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)


if __name__ == "__main__":
    trio.run(main)
