"""A stock py-libp2p peer that does what it is told: a JSON command a line comes in, a JSON answer a line goes out.

`tests/support/interop.py` says which. The first line that it prints says who it is and where it listens. It runs in an
environment of its own, where Samara is not. With the argument `gossip` it speaks gossipsub, as specs/gossip.md says.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import trio
from blake3 import blake3
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.ping import PingService
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.identify import parse_identify_response
from libp2p.network.stream.exceptions import StreamClosed, StreamEOF, StreamReset
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.gossipsub import PROTOCOL_ID, PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as Noise
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

PIECE = 1 << 16
DIGEST = 32


class Peer:
    """The host, and what it can be told."""

    def __init__(self) -> None:
        keys = create_new_key_pair()
        noise = Noise(keys, noise_privkey=create_noise_key_pair().private_key)
        self.host = new_host(keys, sec_opt={NOISE: noise}, muxer_opt={YAMUX: Yamux})
        self.watched = ""
        for name, handler in (
            ("echo", self.serve_echo),
            ("sink", self.serve_sink),
            ("source", self.serve_source),
            ("reset", self.serve_reset),
            ("watch", self.serve_watch),
        ):
            self.host.set_stream_handler(TProtocol(f"/interop/{name}/1"), self.guarded(handler))

    def guarded(self, handler: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        """One exception in a handler would end the whole host."""

        async def serve(stream: Any) -> None:
            try:
                await handler(stream)
            except Exception as error:
                print(f"a handler failed: {error!r}", file=sys.stderr, flush=True)
                await stream.reset()

        return serve

    # What others may open.

    async def serve_echo(self, stream: Any) -> None:
        while data := await receive(stream):
            await stream.write(data)
        await stream.close_write()

    async def serve_sink(self, stream: Any) -> None:
        told = await read_sealed(stream)
        await stream.write(json.dumps(told).encode())
        await stream.close_write()

    async def serve_source(self, stream: Any) -> None:
        await send_sealed(stream, int(await read_text(stream)))
        await stream.close_write()

    async def serve_reset(self, stream: Any) -> None:
        await receive(stream)
        await stream.reset()

    async def serve_watch(self, stream: Any) -> None:
        self.watched = "nothing"
        await stream.write(b"!")
        self.watched = await how_it_ends(stream)

    # What it is told to do.

    async def open(self, name: str) -> Any:
        (peer,) = self.host.get_connected_peers()
        return await self.host.new_stream(peer, [TProtocol(name)])

    async def dial(self, address: str) -> dict[str, Any]:
        await self.host.connect(info_from_p2p_addr(Multiaddr(address)))
        return {}

    async def identified(self) -> dict[str, Any]:
        (peer,) = self.host.get_connected_peers()
        stream = await self.open(IDENTIFY)
        data = b""
        while part := await receive(stream):
            data += part
        told = parse_identify_response(data)
        return {
            "peer": str(peer),
            "agent": told.agent_version,
            "protocols": list(told.protocols),
            "addresses": [str(Multiaddr(address)) for address in told.listen_addrs],
            "observed": str(Multiaddr(told.observed_addr)) if told.observed_addr else None,
            "encryption": NOISE,
            "multiplexer": YAMUX,
        }

    async def ping(self) -> dict[str, Any]:
        (peer,) = self.host.get_connected_peers()
        await PingService(self.host).ping(ID(peer.to_bytes()))
        return {}

    async def echo(self, count: int) -> dict[str, Any]:
        stream = await self.open("/interop/echo/1")
        told: dict[str, Any] = {}

        async def read() -> None:
            told.update(await read_sealed(stream))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await send_sealed(stream, count)
            await stream.close_write()
        return told

    async def send(self, count: int) -> dict[str, Any]:
        stream = await self.open("/interop/sink/1")
        await send_sealed(stream, count)
        await stream.close_write()
        told: dict[str, Any] = json.loads(await read_text(stream))
        return told

    async def fetch(self, count: int) -> dict[str, Any]:
        stream = await self.open("/interop/source/1")
        await stream.write(str(count).encode())
        await stream.close_write()
        return await read_sealed(stream)

    async def provoke(self) -> dict[str, Any]:
        stream = await self.open("/interop/reset/1")
        await stream.write(b"?")
        return {"saw": await how_it_ends(stream)}

    async def abandon(self) -> dict[str, Any]:
        stream = await self.open("/interop/watch/1")
        await receive(stream)
        await stream.reset()
        return {}

    async def ended(self) -> dict[str, Any]:
        return {"saw": self.watched}


def message_id(message: Any) -> bytes:
    """Return the id of a message: of the length of the topic, the topic and the data."""
    topic = message.topicIDs[0].encode()
    digest: bytes = blake3(len(topic).to_bytes(4, "little") + topic + message.data).digest()
    return digest


class Gossip:
    """What the peer can be told of gossipsub."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.router = GossipSub(
            [PROTOCOL_ID_V11, PROTOCOL_ID], degree=6, degree_low=4, degree_high=12, heartbeat_interval=1
        )
        self.pubsub = Pubsub(peer.host, self.router, strict_signing=False, msg_id_constructor=message_id)
        self.told: list[dict[str, str]] = []
        self.nursery: trio.Nursery | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with background_trio_service(self.pubsub), background_trio_service(self.router):
            await self.pubsub.wait_until_ready()
            async with trio.open_nursery() as self.nursery:
                yield
                self.nursery.cancel_scope.cancel()

    async def follow(self, topic: str) -> dict[str, Any]:
        assert self.nursery is not None
        self.nursery.start_soon(self.listen, await self.pubsub.subscribe(topic))
        return {}

    async def listen(self, subscription: Any) -> None:
        while True:
            message = await subscription.get()
            kind = "signed" if message.HasField("from_id") or message.HasField("seqno") else "unsigned"
            self.told.append({"topic": message.topicIDs[0], "data": message.data.hex(), "type": kind})

    async def tell(self, topic: str, data: str) -> dict[str, Any]:
        """Tell something without a name: what its own `publish` never leaves out."""
        message = rpc_pb2.Message(data=bytes.fromhex(data), topicIDs=[topic])
        await self.pubsub.push_msg(self.peer.host.get_id(), message)
        return {}

    async def tell_named(self, topic: str, data: str) -> dict[str, Any]:
        await self.pubsub.publish(topic, bytes.fromhex(data))
        return {}

    async def heard(self) -> dict[str, Any]:
        return {"heard": self.told}

    async def mesh(self, topic: str) -> dict[str, Any]:
        return {"mesh": [str(peer) for peer in self.router.mesh.get(topic, ())]}


async def receive(stream: Any) -> bytes:
    """Return some bytes, or none at the end, which py-libp2p tells as an error."""
    try:
        data: bytes = await stream.read(PIECE)
    except StreamEOF:
        return b""
    return data


async def send_sealed(stream: Any, count: int) -> None:
    """Send bytes, and at the end their SHA-256."""
    digest = hashlib.sha256()
    piece = bytearray(secrets.token_bytes(PIECE))
    for left in range(count, 0, -PIECE):
        piece[:4] = left.to_bytes(4, "big")
        part = bytes(piece[: min(left, PIECE)])
        digest.update(part)
        await stream.write(part)
    await stream.write(digest.digest())


async def read_sealed(stream: Any) -> dict[str, Any]:
    digest, held, count = hashlib.sha256(), b"", 0
    while part := await receive(stream):
        held += part
        sure = max(len(held) - DIGEST, 0)
        digest.update(held[:sure])
        held = held[sure:]
        count += sure
    return {"count": count, "whole": digest.digest() == held}


async def read_text(stream: Any) -> str:
    text = b""
    while part := await receive(stream):
        text += part
    return text.decode()


async def how_it_ends(stream: Any) -> str:
    try:
        while await receive(stream):
            pass
    except (StreamReset, StreamClosed):
        return "reset"
    # A reader that waits while the reset comes is told of an end; the stream below knows better.
    return "reset" if stream.muxed_stream.reset_received else "end"


def say(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)


async def main() -> None:
    peer = Peer()
    commands = {
        name: getattr(peer, "ended" if name == "watched" else name)
        for name in ("dial", "identified", "ping", "echo", "send", "fetch", "provoke", "abandon", "watched")
    }
    async with contextlib.AsyncExitStack() as running:
        await running.enter_async_context(peer.host.run(listen_addrs=[Multiaddr("/ip4/127.0.0.1/tcp/0")]))
        if "gossip" in sys.argv:
            gossip = Gossip(peer)
            await running.enter_async_context(gossip.running())
            commands |= {name: getattr(gossip, name) for name in ("follow", "tell", "tell_named", "heard", "mesh")}
        say({"peer": str(peer.host.get_id()), "addresses": [str(address) for address in peer.host.get_addrs()]})
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            said = json.loads(line)
            try:
                say(await commands[said.pop("do")](**said))
            except Exception as error:
                say({"error": repr(error)})


if __name__ == "__main__":
    trio.run(main)
