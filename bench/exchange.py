"""Moves chunks through the exchange over streams in memory: what the protocol itself costs, on one core.

Prints MB per second of CPU, both ends together, beside a plain copy of the same bytes through the same streams.
Usage: PYTHONPATH=src:tests taskset -c 0 python bench/exchange.py [MiB] [chunk bytes]
"""

from __future__ import annotations

import platform
import sys
import time

import trio
from support.exchange import InPlaceStream, MemoryShelf, MemoryStream, OneStream, stream_pair

from samara.node.network.exchange.client import ExchangeClient
from samara.node.network.exchange.server import Service, serve_stream
from samara.node.network.transport import PeerAddress
from samara.protocol.ids import ContentId

CONTENT = ContentId(bytes(32))
WINDOW = 8  # runs under way


async def exchange(kind: type[MemoryStream], chunks: int, size: int) -> float:
    ours, theirs = stream_pair(4 << 20, kind)
    shelf = MemoryShelf(CONTENT, {1: [bytes(size)] * chunks})
    run_length = max(1, min(64, (8 << 20) // size))
    began = time.process_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, theirs, shelf, Service())
        async with ExchangeClient.connect(OneStream(ours), PeerAddress("server")) as client:  # type: ignore[arg-type]
            starts = iter(range(0, chunks, run_length))

            async def take() -> None:
                for first in starts:
                    await client.chunks(CONTENT, 1, first, min(run_length, chunks - first), lambda chunk, data: None)

            async with trio.open_nursery() as takers:
                for _ in range(WINDOW):
                    takers.start_soon(take)
    return chunks * size / (time.process_time() - began) / 1e6


async def copy(chunks: int, size: int) -> float:
    ours, theirs = stream_pair(4 << 20)
    data = bytes(size)
    began = time.process_time()

    async def send() -> None:
        for _ in range(chunks):
            await theirs.send_all(data)
        await theirs.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        while await ours.receive_some(256 << 10):
            pass
    return chunks * size / (time.process_time() - began) / 1e6


def main() -> None:
    mib = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 1 << 20
    chunks = (mib << 20) // size
    print(f"{platform.machine()}, Python {platform.python_version()}, {mib} MiB in chunks of {size} bytes")
    plain = trio.run(copy, chunks, size)
    print(f"copy through the streams          {plain:7.0f} MB/CPU s")
    for kind in (MemoryStream, InPlaceStream):
        rate = trio.run(exchange, kind, chunks, size)
        print(f"exchange over {kind.__name__:19s} {rate:7.0f} MB/CPU s   {rate / plain:.2f} of the copy")


if __name__ == "__main__":
    main()
