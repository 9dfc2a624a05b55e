"""Peers of other implementations, each a process that does what it is told, and a Samara host that does the same.

What every one of them serves, and can be told to open with the other:

    echo     sends back what it reads, until the end
    sink     reads to the end, and then tells what came: it answers on a stream that is closed towards it
    source   reads a number to the end, and then sends so many bytes
    reset    resets the stream at the first byte
    watch    sends a byte, reads to the end, and remembers whether that was an end or a reset

What is sent in bulk ends in its own SHA-256, so that each end proves that it came whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import trio
from support.environments import environment, install
from support.scripts import ROOT

from samara.node.network.host import Host, open_host
from samara.node.network.transport import PeerAddress, Stream
from samara.protocol.addresses import parse_address, parse_peer_address
from samara.protocol.errors import NetworkError

__all__ = ["AGENT", "Foreign", "Ours", "js_peer", "open_ours", "python_peer"]

AGENT = "samara/interop"
_FOLDER = ROOT / "tests" / "interop"
_PIECE = 1 << 16
_DIGEST = 32
_PATIENCE = 30.0


# Getting them.


def js_peer() -> list[str]:
    """Return the command of the js-libp2p peer; install what package-lock.json pins, once."""
    folder = _FOLDER / "js"
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("js-libp2p: needs Node.js and npm")
    installed = folder / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < (folder / "package-lock.json").stat().st_mtime:
        install("js-libp2p", ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
    return ["node", str(folder / "peer.js")]


def python_peer() -> list[str]:
    """Return the command of the py-libp2p peer; install what requirements/interop.txt pins, once, for it alone."""
    folder = _FOLDER / "python"
    python = environment("py-libp2p", folder, "interop.txt", builder="setuptools")
    return [str(python), "-I", str(folder / "peer.py")]


# Theirs.


class Foreign:
    """A peer in a process of its own.

    Attributes:
        peer: Its peer id.
        address: Where it listens, with its peer id.
    """

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._held = b""
        self.peer = ""
        self.address = ""

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, command: Sequence[str]) -> AsyncIterator[Foreign]:
        """Start it; it ends with the block."""
        environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
        process = await trio.lowlevel.open_process(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        foreign = cls(process)
        try:
            told = await foreign.hear()
            foreign.peer, address = told["peer"], told["addresses"][0]
            foreign.address = address if "/p2p/" in address else f"{address}/p2p/{foreign.peer}"
            yield foreign
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()

    async def do(self, name: str, **said: Any) -> dict[str, Any]:
        """Tell it to do something; return what it tells."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps({"do": name, **said}).encode() + b"\n")
        told = await self.hear()
        assert "error" not in told, told["error"]
        return told

    async def hear(self) -> dict[str, Any]:
        """Return the next line that it prints."""
        assert self._process.stdout is not None
        with trio.fail_after(_PATIENCE):
            while b"\n" not in self._held:
                part = await self._process.stdout.receive_some()
                assert part, f"the peer ended: {await self._process.wait()}"
                self._held += part
        line, self._held = self._held.split(b"\n", 1)
        told: dict[str, Any] = json.loads(line)
        return told


# Ours.


class Ours:
    """A Samara host that does what the others do.

    Attributes:
        host: The host.
        address: Where it listens, with its peer id.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.address = f"{host.listening()[0]}/p2p/{host.peer}"
        self._other: PeerAddress | None = None
        self._saw = ""
        for name in ("echo", "sink", "source", "reset", "watch"):
            host.serve(f"/interop/{name}/1", getattr(self, f"_serve_{name}"))

    async def do(self, name: str, **said: Any) -> dict[str, Any]:
        """Do something; return what happened."""
        with trio.fail_after(_PATIENCE):
            told: dict[str, Any] = await getattr(self, f"_{name}")(**said)
            return told

    async def _serve_echo(self, stream: Stream) -> None:
        while data := await stream.receive_some(_PIECE):
            await stream.send_all(data)

    async def _serve_sink(self, stream: Stream) -> None:
        await stream.send_all(json.dumps(await _read_sealed(stream)).encode())

    async def _serve_source(self, stream: Stream) -> None:
        await _send_sealed(stream, int(await _read_text(stream)))

    async def _serve_reset(self, stream: Stream) -> None:
        await stream.receive_some(1)
        await stream.reset()

    async def _serve_watch(self, stream: Stream) -> None:
        self._saw = "nothing"
        await stream.send_all(b"!")
        self._saw = await _how_it_ends(stream)

    async def _open(self, name: str) -> Stream:
        if self._other is None:
            (state,) = self.host.peers()
            self._other = PeerAddress(state.peer)
        return await self.host.open_stream(self._other, name, timeout=10.0)

    async def _dial(self, address: str) -> dict[str, Any]:
        peer, where = parse_peer_address(address)
        self._other = PeerAddress(peer, (str(where),))
        return await self._ping()

    async def _meet(self) -> dict[str, Any]:
        # Who dials is done before the other side is: its last word is still under way.
        while not self.host.peers():  # noqa: ASYNC110 - a host tells of its peers when it is asked
            await trio.sleep(0.01)
        return {}

    async def _ping(self) -> dict[str, Any]:
        stream = await self._open("/ipfs/ping/1.0.0")
        said, heard = os.urandom(32), b""
        await stream.send_all(said)
        while len(heard) < len(said):
            part = await stream.receive_some(32)
            assert part, "the peer closed instead of answering a ping"
            heard += part
        assert heard == said
        await stream.aclose()
        return {}

    async def _identified(self) -> dict[str, Any]:
        met = await anext(aiter(self.host.met()))
        return {"peer": met.peer, "agent": met.identify.agent, "protocols": sorted(met.identify.protocols)}

    async def _echo(self, count: int) -> dict[str, Any]:
        stream = await self._open("/interop/echo/1")
        told: dict[str, Any] = {}

        async def read() -> None:
            told.update(await _read_sealed(stream))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await _send_sealed(stream, count)
            await stream.aclose()
        return told

    async def _send(self, count: int) -> dict[str, Any]:
        stream = await self._open("/interop/sink/1")
        await _send_sealed(stream, count)
        await stream.aclose()
        told: dict[str, Any] = json.loads(await _read_text(stream))
        return told

    async def _fetch(self, count: int) -> dict[str, Any]:
        stream = await self._open("/interop/source/1")
        await stream.send_all(str(count).encode())
        await stream.aclose()
        return await _read_sealed(stream)

    async def _provoke(self) -> dict[str, Any]:
        stream = await self._open("/interop/reset/1")
        await stream.send_all(b"?")
        return {"saw": await _how_it_ends(stream)}

    async def _abandon(self) -> dict[str, Any]:
        stream = await self._open("/interop/watch/1")
        assert await stream.receive_some(1) == b"!"
        await stream.reset()
        return {}

    async def _watched(self) -> dict[str, Any]:
        return {"saw": self._saw}


@contextlib.asynccontextmanager
async def open_ours() -> AsyncIterator[Ours]:
    """Open a Samara host on loopback."""
    here = parse_address("/ip4/127.0.0.1/tcp/0")
    async with open_host(seed=os.urandom(32), listen=[here], agent=AGENT) as host:
        yield Ours(host)


async def _send_sealed(stream: Stream, count: int) -> None:
    digest, piece = hashlib.sha256(), bytearray(os.urandom(_PIECE))
    for left in range(count, 0, -_PIECE):
        piece[:4] = left.to_bytes(4, "big")
        part = bytes(piece[: min(left, _PIECE)])
        digest.update(part)
        await stream.send_all(part)
    await stream.send_all(digest.digest())


async def _read_sealed(stream: Stream) -> dict[str, Any]:
    digest, held, count = hashlib.sha256(), b"", 0
    while part := await stream.receive_some(_PIECE):
        held += part
        sure = max(len(held) - _DIGEST, 0)
        digest.update(held[:sure])
        held = held[sure:]
        count += sure
    return {"count": count, "whole": digest.digest() == held}


async def _read_text(stream: Stream) -> str:
    text = b""
    while part := await stream.receive_some(_PIECE):
        text += part
    return text.decode()


async def _how_it_ends(stream: Stream) -> str:
    try:
        while await stream.receive_some(_PIECE):
            pass
    except NetworkError:
        return "reset"
    return "end"
