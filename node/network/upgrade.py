"""From a TCP socket to an authenticated connection that carries streams.

    multistream-select ► Noise XX ► Yamux, agreed on in the handshake or by multistream-select inside it

Offered are Samara's channel with AES where this processor has it in hardware, and libp2p's `/noise`; nothing else.

Source: specs/transport.md, "Upgrade".
"""

from __future__ import annotations

import contextlib
import functools
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from samara.node.network.caps import Caps, TokenBucket
from samara.node.network.connection import MuxedConnection
from samara.node.network.effort import Effort
from samara.node.network.tcp import TcpStream
from samara.protocol.errors import NetworkError, RemoteProtocolError
from samara.protocol.limits import EFFORT_A_SECOND
from samara.protocol.multistream import Acceptor, Opener
from samara.protocol.noise import CHACHA, SUITES, Handshake, Identity, Secured

__all__ = ["YAMUX", "Upgrader", "aes_is_fast"]

YAMUX: Final = "/yamux/1.0.0"
_SOME: Final = 64 << 10
_TRIAL: Final = 64 << 10


@functools.cache
def aes_is_fast() -> bool:
    """Whether this machine seals faster with AES-GCM than with ChaCha20-Poly1305; tried once, in a millisecond."""
    data = bytes(_TRIAL)
    aes, chacha = AESGCM(bytes(32)), ChaCha20Poly1305(bytes(32))

    def fastest(aead: AESGCM | ChaCha20Poly1305) -> float:
        """Return the least seconds of a few trials: on a busy machine any one of them may be interrupted."""
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            aead.encrypt(bytes(12), data, None)
            seconds.append(time.perf_counter() - began)
        return min(seconds)

    return fastest(aes) < fastest(chacha)


@final
@dataclass(slots=True)
class _Channel:
    """Whole messages over a secured socket, before streams there are: for what is agreed on inside."""

    tcp: TcpStream
    secured: Secured
    effort: Effort

    async def send(self, data: bytes) -> None:
        sealer = self.secured.sealer
        out = memoryview(bytearray(len(data) + sealer.head + 16))
        await self.tcp.send_all(out[: sealer.seal_into(memoryview(data), out)])

    async def receive(self, held: bytearray) -> bytes:
        opener = self.secured.opener
        while (size := opener.size(memoryview(bytes(held)))) is None or len(held) < size:
            held += await _some(self.tcp, self.effort)
        record = memoryview(bytes(held[:size]))
        del held[:size]
        out = memoryview(bytearray(len(record)))
        return bytes(out[: opener.open_into(record, out)])


@final
class Upgrader:
    """Makes connections of sockets, in our name.

    Args:
        seed: The Ed25519 seed of the node's key, 32 bytes.
        caps: What may pass on all its connections.
        aes: Whether the channel with AES is offered; None to find out what is faster here.

    Attributes:
        peer: Our own peer id.
        public_key: The protobuf form of our public key.
    """

    def __init__(self, seed: bytes, caps: Caps, *, aes: bool | None = None) -> None:
        self._caps = caps
        self._identity = Identity(seed, (YAMUX,))
        self._static = secrets.token_bytes(32)
        self._efforts = TokenBucket(EFFORT_A_SECOND)
        self._suites = SUITES if (aes_is_fast() if aes is None else aes) else {CHACHA.protocol: CHACHA}
        self.peer = self._identity.peer
        self.public_key = self._identity.public_key

    async def authenticate(self, tcp: TcpStream, expected: str | None) -> Secured:
        """Do the handshake, and return who is at the other end with the keys that it made.

        Args:
            tcp: A fresh connection.
            expected: Whom we dialled; None when we were dialled.

        Raises:
            NetworkError: It failed, or the peer is not the expected one.
        """
        return await self._authenticate(tcp, expected, Effort(self._efforts))

    async def _authenticate(self, tcp: TcpStream, expected: str | None, effort: Effort) -> Secured:
        try:
            with self._charged(tcp):
                return await self._secure(tcp, expected, effort)
        except RemoteProtocolError as error:
            raise NetworkError(f"{tcp.remote} did not complete the handshake: {error.message}") from error

    async def upgrade(
        self, tcp: TcpStream, expected: str | None, admit: Callable[[str], None] = lambda peer: None
    ) -> MuxedConnection:
        """Make a connection that carries streams.

        Args:
            tcp: A fresh connection; it is closed when this fails.
            expected: Whom we dialled; None when we were dialled.
            admit: Is called with the authenticated peer id before anything more is agreed on; raises to refuse it.

        Raises:
            NetworkError: It failed, or the peer is not the expected one.
        """
        effort = Effort(self._efforts)
        try:
            secured = await self._authenticate(tcp, expected, effort)
            admit(secured.peer)
            if secured.muxer is None:
                with self._charged(tcp):
                    secured = await self._agree_on_muxer(tcp, secured, effort, initiator=expected is not None)
            caps = self._caps.of_peer(secured.peer)
            return MuxedConnection(tcp, secured, caps, effort, initiator=expected is not None)
        except BaseException:
            await tcp.close()
            raise

    @contextlib.contextmanager
    def _charged(self, tcp: TcpStream) -> Iterator[None]:
        """Charge what moves in a block to the caps: a handshake is not held back, but bulk makes up for it."""
        sent, received = tcp.sent, tcp.received
        try:
            yield
        finally:
            self._caps.upload.charge(tcp.sent - sent)
            self._caps.download.charge(tcp.received - received)

    async def _secure(self, tcp: TcpStream, expected: str | None, effort: Effort) -> Secured:
        initiator = expected is not None
        negotiation = Opener(*self._suites) if initiator else Acceptor(self._suites.__contains__)
        await tcp.send_all(negotiation.begin())
        while negotiation.protocol is None:
            await tcp.send_all(negotiation.receive(await _some(tcp, effort)))
        suite = self._suites[negotiation.protocol]
        handshake = Handshake(suite, self._identity, self._static, secrets.token_bytes(32), initiator=initiator)
        await tcp.send_all(handshake.begin())
        data = negotiation.rest
        while handshake.secured is None:
            await tcp.send_all(handshake.receive(data or await _some(tcp, effort)))
            data = b""
        if expected is not None and handshake.secured.peer != expected:
            raise NetworkError(f"{tcp.remote} is another peer than the one that was dialled")
        return handshake.secured

    async def _agree_on_muxer(self, tcp: TcpStream, secured: Secured, effort: Effort, *, initiator: bool) -> Secured:
        """Agree on the muxer inside the channel, as those do who said nothing of it in the handshake."""
        channel, held = _Channel(tcp, secured, effort), bytearray(secured.rest)
        negotiation = Opener(YAMUX) if initiator else Acceptor(YAMUX.__eq__)
        try:
            await channel.send(negotiation.begin())
            while negotiation.protocol is None:
                answer = negotiation.receive(await channel.receive(held))
                if answer:
                    await channel.send(answer)
        except RemoteProtocolError as error:
            raise NetworkError(f"{tcp.remote} speaks no muxer that we speak: {error.message}") from error
        return Secured(secured.peer, YAMUX, secured.sealer, secured.opener, bytes(held), negotiation.rest)


async def _some(tcp: TcpStream, effort: Effort) -> bytes:
    await effort.rest()
    data = await tcp.receive_some(_SOME)
    if not data:
        raise NetworkError(f"{tcp.remote} hung up in the handshake")
    effort.moved(len(data))
    return data
