"""Measures the transport: one stream from one process to another on loopback, no disk, no verification.

    python bench/transport.py [--mib 1024]

Prints MB/s, CPU seconds per GiB and peak memory of both ends, and the same for a bare TCP socket in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

import trio  # noqa: E402

from samara.node.network.host import open_host  # noqa: E402
from samara.node.network.transport import PeerAddress, Stream  # noqa: E402
from samara.protocol.addresses import parse_address  # noqa: E402

PROTOCOL = "/samara/bench/1"
MIB = 1 << 20
PIECE = bytes(MIB)
HERE = parse_address("/ip4/127.0.0.1/tcp/0")


def used() -> dict[str, float]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu": usage.ru_utime + usage.ru_stime, "rss_mb": usage.ru_maxrss / 1024}


def tell(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


async def serve_samara(mib: int) -> None:
    done = trio.Event()

    async def send(stream: Stream) -> None:
        before = used()["cpu"]
        for _ in range(mib):
            await stream.send_all(PIECE)
        await stream.aclose()
        tell(**used() | {"cpu": used()["cpu"] - before})
        done.set()

    async with open_host(seed=b"\1" * 32, listen=[HERE]) as host:
        host.serve(PROTOCOL, send)
        tell(peer=host.peer, address=host.listening()[0])
        await done.wait()
        await trio.sleep(1)


async def fetch_samara(said: dict[str, str]) -> tuple[int, float, float]:
    async with open_host(seed=b"\2" * 32) as host:
        stream = await host.open_stream(PeerAddress(said["peer"], (said["address"],)), PROTOCOL, timeout=30)
        sink = Sink()
        began, before = time.perf_counter(), used()["cpu"]
        await stream.receive_to(sink)
        return sink.received, time.perf_counter() - began, used()["cpu"] - before


class Sink:
    """Has one buffer of a mebibyte, as a chunk has, and counts."""

    def __init__(self) -> None:
        self._room = memoryview(bytearray(MIB))
        self.received = 0

    def room(self, count: int) -> memoryview:
        return self._room[:count]

    def filled(self, count: int) -> None:
        self.received += count

    def feed(self, data: memoryview) -> None:
        self.received += len(data)


def serve_tcp(mib: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        tell(port=listening.getsockname()[1])
        connection, _ = listening.accept()
        before = used()["cpu"]
        with connection:
            for _ in range(mib):
                connection.sendall(PIECE)
        tell(**used() | {"cpu": used()["cpu"] - before})


def fetch_tcp(said: dict[str, int]) -> tuple[int, float, float]:
    buffer = bytearray(MIB)
    with socket.create_connection(("127.0.0.1", said["port"])) as connection:
        began, before, received = time.perf_counter(), used()["cpu"], 0
        while count := connection.recv_into(buffer):
            received += count
        return received, time.perf_counter() - began, used()["cpu"] - before


def run(kind: str, mib: int) -> float:
    """Run one measurement, print it, and return MB/s."""
    command = [sys.executable, __file__, "--mib", str(mib), "--serve", kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        said = json.loads(server.stdout.readline())
        received, seconds, cpu = trio.run(fetch_samara, said) if kind == "samara" else fetch_tcp(said)
        theirs = json.loads(server.stdout.readline())
    assert received == mib * MIB, f"{received} bytes of {mib * MIB}"
    gib = mib / 1024
    speed = received / 1e6 / seconds
    print(
        f"{kind:8} {speed:7.0f} MB/s   CPU s/GiB {cpu / gib:5.2f} receive + {theirs['cpu'] / gib:5.2f} send   "
        f"peak RSS MB {used()['rss_mb']:4.0f} / {theirs['rss_mb']:4.0f}"
    )
    return speed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--serve", choices=("samara", "tcp"), help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.serve == "samara":
        trio.run(serve_samara, said.mib)
    elif said.serve == "tcp":
        serve_tcp(said.mib)
    else:
        load = os.getloadavg()[0]
        print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, load {load:.1f}")
        bare = run("tcp", said.mib)
        print(f"ratio to bare TCP: {run('samara', said.mib) / bare:.3f}")


if __name__ == "__main__":
    main()
