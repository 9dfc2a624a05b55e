"""A node's network in a process of its own, that echoes and sends bulk, for what is measured of a node under attack.

python attacked_node.py     prints {"peer": …, "address": …}, and runs until its stdin ends
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import trio
from support.hosts import ECHO, HERE, MIB, echo

from samara.node.network.opening import NetworkConfig, open_network
from samara.node.network.transport import Stream

__all__ = ["BULK", "AttackedNode", "bulk"]

BULK = "/bulk/1"
_ROOT = Path(__file__).resolve().parents[2]


async def bulk(stream: Stream) -> None:
    """Send as many MiB as the peer asks for in two bytes, each of the bytes 0 to 255 again and again."""
    asked = await stream.receive_some(2)
    piece = bytes(range(256)) * (MIB // 256)
    for _ in range(int.from_bytes(asked, "big")):
        await stream.send_all(piece)


class AttackedNode:
    """The process, from outside; within the block it must not end.

    Attributes:
        peer: Its peer id.
        address: Its multiaddr.
    """

    def __init__(self) -> None:
        path = os.pathsep.join(str(_ROOT / folder) for folder in ("src", "tests"))
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
        )  # fmt: skip
        assert self.process.stdout is not None
        said = json.loads(self.process.stdout.readline())
        self.peer: str = said["peer"]
        self.address: str = said["address"]

    def __enter__(self) -> AttackedNode:
        return self

    def __exit__(self, *_: object) -> None:
        died = self.process.poll()
        self.process.communicate(timeout=30)
        assert died is None, f"the node died: {died}"
        assert self.process.returncode == 0

    def memory(self) -> float:
        """Return MiB that no file stands behind: RssAnon, and RssShmem, which shared anonymous mappings count as."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssShmem"))) / 1024

    def cpu(self) -> float:
        """Return the CPU seconds that it has used."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


async def main() -> None:
    config = NetworkConfig(seed=b"\2" * 32, listen=(str(HERE),))
    async with open_network(config) as network:
        network.host.serve(ECHO, echo)
        network.host.serve(BULK, bulk)
        print(json.dumps({"peer": network.host.peer, "address": network.host.listening()[0]}), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)


if __name__ == "__main__":
    trio.run(main)
