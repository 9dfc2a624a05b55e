"""Measures what honest peers and memory suffer while a node is attacked, each attack by itself, all on loopback.

    python bench/hostile.py [--mib 512] [--attack NAME]… [--peers 32] [--json]

One node in a process of its own sends bulk to an honest peer, which looks at it: alone, then while a decoy (a node
like it) is attacked, then under that attack itself. Another process attacks, from `--peers` connections at a time,
eight to a loopback address. The decoy shows what attackers take by being on the same processors; the ratio is that of
the speed under attack to the speed beside the decoy. Each speed is the best of `ROUNDS`: on a machine that others use,
too, the best wanders least, and by a third still. Printed beside are what of the node's CPU time in these rounds the
transfer needed beside the decoy (share; the longer others hold up a transfer, the smaller), the CPU seconds of the node
for each second under attack when it does nothing else (cost; a node has one thread, and 1 - cost is what the attack
leaves of it), and by how much its memory grew.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests"), str(ROOT / "bench")]

import trio  # noqa: E402
from measuring import machine  # noqa: E402 - its path is added above
from support.attacked_node import BULK, AttackedNode  # noqa: E402
from support.raw_attacks import ATTACKS, Attack, Target  # noqa: E402

from samara.node.network.host import Host, open_host  # noqa: E402
from samara.node.network.transport import PeerAddress  # noqa: E402

MIB = 1 << 20
ALL = "all of them at once"
ROUNDS = 5
"""Transfers of a part of the MiB each, of which the fastest counts."""
ENOUGH = 5.0
"""Seconds after which one has shown how slow it is."""
LEAST = 4.0
"""Seconds for which memory and CPU are watched without a transfer."""
WARM_UP = 1.0
"""Seconds that an attack has before anything is measured."""


@dataclass(frozen=True)
class Suffered:
    """What one attack did.

    Attributes:
        alone: MB/s of the honest peer without it.
        beside: MB/s while another node is attacked so.
        under: MB/s with it.
        share: CPU seconds of the node for the transfer beside a decoy, of those that passed while it ran under attack.
        cost: CPU seconds of the node for each second under attack, when it does nothing else.
        memory: Most MiB of memory that the node had more than at rest.
    """

    attack: str
    alone: float
    beside: float
    under: float
    share: float
    cost: float
    memory: float

    @property
    def ratio(self) -> float:
        return self.under / self.beside


async def storm(name: str, address: str, peers: int) -> None:
    """Attack until killed."""

    async def one(source: str, attack: Attack) -> None:
        for round_ in itertools.count():
            began = trio.current_time()
            await attack(Target(address, source))
            if trio.current_time() - began < 0.01:  # refused at once: there is no point in being the bottleneck oneself
                await trio.sleep(0.001 if round_ % 8 else 0.01)

    attacks = list(ATTACKS.values()) if name == ALL else [ATTACKS[name]]
    async with trio.open_nursery() as nursery:
        for number in range(peers):
            nursery.start_soon(one, f"127.0.0.{2 + number // 8}", attacks[number % len(attacks)])


@contextlib.contextmanager
def stormed(name: str, address: str, peers: int) -> Iterator[None]:
    command = [sys.executable, __file__, "--storm", name, "--address", address, "--peers", str(peers)]
    attacker = subprocess.Popen(command)
    try:
        yield
    finally:
        assert attacker.poll() is None, "the attacker died"
        attacker.kill()
        attacker.wait()


class Sink:
    """Looks at all that comes, in one buffer of a mebibyte, as a chunk has."""

    def __init__(self) -> None:
        self._right = bytes(range(256)) * (MIB // 256)
        self._buffer = memoryview(bytearray(MIB))
        self._filled = 0
        self.received = 0

    def room(self, count: int) -> memoryview | None:
        left = self._buffer[self._filled :]
        return left[:count] if len(left) >= count else None

    def filled(self, count: int) -> None:
        self._filled += count
        self.received += count
        if self._filled == MIB:
            assert self._buffer == self._right, "wrong bytes"
            self._filled = 0

    def feed(self, data: memoryview) -> None:
        while data:
            count = min(len(data), MIB - self._filled)
            self._buffer[self._filled : self._filled + count] = data[:count]
            self.filled(count)
            data = data[count:]


async def transfer(host: Host, node: AttackedNode, mib: int) -> float:
    """Fetch so many MiB and see that they are right, for `ENOUGH` seconds at most; return MB/s."""
    stream = await host.open_stream(PeerAddress(node.peer, (node.address,)), BULK, timeout=60)
    sink = Sink()
    began = time.perf_counter()
    await stream.send_all(mib.to_bytes(2, "big"))
    with trio.move_on_after(ENOUGH) as enough:
        await stream.receive_to(sink)
    assert enough.cancelled_caught or sink.received == mib * MIB
    await stream.reset()
    return sink.received / 1e6 / (time.perf_counter() - began)


async def rounds(honest: Host, node: AttackedNode, mib: int) -> tuple[float, float]:
    """Transfer so many MiB in parts; return MB/s of the fastest, and the CPU seconds of the node for all of them."""
    before = node.cpu()
    best = max([await transfer(honest, node, max(1, mib // ROUNDS)) for _ in range(ROUNDS)])
    return best, node.cpu() - before


async def suffer(name: str, said: argparse.Namespace) -> Suffered:
    with AttackedNode() as node:
        async with open_host(seed=b"\1" * 32) as honest:
            await transfer(honest, node, 8)
            alone, _ = await rounds(honest, node, said.mib)
            idle = node.memory()
            with AttackedNode() as decoy, stormed(name, decoy.address, said.peers):
                await trio.sleep(WARM_UP)
                beside, needed = await rounds(honest, node, said.mib)
            with stormed(name, node.address, said.peers):
                await trio.sleep(WARM_UP)
                async with trio.open_nursery() as nursery:
                    watched = Watched(node)
                    nursery.start_soon(watched.run)
                    under, used = await rounds(honest, node, said.mib)
                    began, before = time.perf_counter(), node.cpu()
                    await trio.sleep(LEAST)
                    cost = (node.cpu() - before) / (time.perf_counter() - began)
                    nursery.cancel_scope.cancel()
        return Suffered(name, alone, beside, under, needed / used, cost, watched.most - idle)


class Watched:
    """Looks at the memory of a node ten times a second."""

    def __init__(self, node: AttackedNode) -> None:
        self._node = node
        self.most = 0.0

    async def run(self) -> None:
        while True:
            self.most = max(self.most, self._node.memory())
            await trio.sleep(0.1)


def main() -> int:
    said = _arguments()
    if said.storm:
        trio.run(storm, said.storm, said.address, said.peers)
        return 0
    results = []
    if not said.json:
        print(machine())
        print(
            f"{'attack':40} {'alone':>6} {'beside':>6} {'under':>6} {'ratio':>6} {'share':>6} {'cost':>5} {'MiB':>6}",
            flush=True,
        )
    for name in said.attack or (*ATTACKS, ALL):
        found = trio.run(suffer, name, said)
        results.append(found)
        if not said.json:
            print(
                f"{name:40} {found.alone:6.0f} {found.beside:6.0f} {found.under:6.0f} "
                f"{found.ratio:6.2f} {found.share:6.2f} {found.cost:5.2f} {found.memory:6.1f}",
                flush=True,
            )
    if said.json:
        report: dict[str, Any] = {"machine": machine(), "attacks": [asdict(r) | {"ratio": r.ratio} for r in results]}
        print(json.dumps(report, indent=2))
    return 0 if all(found.ratio >= 0.5 and found.memory <= 256 for found in results) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=512, help="MiB of each transfer")
    parser.add_argument("--attack", action="append", choices=sorted((*ATTACKS, ALL)), help="default: all")
    parser.add_argument("--peers", type=int, default=32, help="connections that attack at a time")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--storm", choices=sorted((*ATTACKS, ALL)), help=argparse.SUPPRESS)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
