"""A host on stock py-libp2p: TCP, Noise, Yamux."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Sequence

import multiaddr
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as new_x25519
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.network.stream.exceptions import StreamClosed, StreamEOF, StreamError, StreamReset
from libp2p.security.noise.transport import Transport as Noise

from samara.node.network.transport import PeerAddress, PeerState, Reachability, StreamHandler
from samara.protocol.errors import NetworkError

_log = logging.getLogger(__name__)


class PlainStream:
    def __init__(self, raw, peer: str) -> None:
        self._raw, self.peer = raw, peer

    async def receive_some(self, max_bytes: int) -> bytes:
        try:
            return await self._raw.read(max_bytes)
        except StreamEOF:
            return b""
        except Exception as error:
            raise NetworkError(f"{self.peer}: {error!r}") from error

    async def send_all(self, data) -> None:
        try:
            await self._raw.write(bytes(data))
        except Exception as error:
            raise NetworkError(f"{self.peer}: {error!r}") from error

    async def aclose(self) -> None:
        with contextlib.suppress(Exception):
            await self._raw.close()

    async def reset(self) -> None:
        with contextlib.suppress(Exception):
            await self._raw.reset()


class PlainHost:
    def __init__(self, host) -> None:
        self._host = host
        self._banned: frozenset[str] = frozenset()
        self.peer = str(host.get_id())

    def listening(self) -> tuple[str, ...]:
        found = []
        for address in self._host.get_addrs():
            text = str(address).rpartition("/p2p/")[0] or str(address)
            found.append(text.replace("/ip4/0.0.0.0/", "/ip4/127.0.0.1/"))
        return tuple(found)

    def reachability(self) -> Reachability:
        return Reachability(self.listening(), (), 0)

    def peers(self) -> Sequence[PeerState]:
        return [PeerState(str(p), "", False, "") for p in self._host.get_connected_peers()]

    def serve(self, protocol: str, handler: StreamHandler) -> None:
        async def wrapped(raw) -> None:
            stream = PlainStream(raw, str(raw.muxed_conn.peer_id))
            try:
                await handler(stream)
            except Exception:
                _log.exception("handler")
                await stream.reset()

        self._host.set_stream_handler(protocol, wrapped)

    async def open_stream(self, peer: PeerAddress, protocol: str, *, timeout: float):
        try:
            with trio.fail_after(timeout):
                pid = ID.from_string(peer.peer)
                await self._host.connect(PeerInfo(pid, [multiaddr.Multiaddr(a) for a in peer.addresses]))
                raw = await self._host.new_stream(pid, [protocol])
        except Exception as error:
            raise NetworkError(f"{peer.peer} cannot be reached: {error!r}") from error
        return PlainStream(raw, peer.peer)

    async def disconnect(self, peer: str) -> None:
        with contextlib.suppress(Exception):
            await self._host.disconnect(ID.from_string(peer))

    def set_banned(self, peers: frozenset[str]) -> None:
        self._banned = peers

    async def found_nearby(self) -> AsyncIterator[PeerAddress]:
        await trio.sleep_forever()
        yield PeerAddress("")


@contextlib.asynccontextmanager
async def open_plain(seed: bytes, listen: Sequence[str]):
    pair = create_new_key_pair(seed)
    host = new_host(
        key_pair=pair,
        sec_opt={"/noise": Noise(pair, noise_privkey=new_x25519().private_key)},
        muxer_preference="YAMUX",
    )
    async with host.run(listen_addrs=[multiaddr.Multiaddr(a) for a in listen]):
        yield PlainHost(host)
