"""A peer by hand, for tests: the project's own handshake over a bare socket, and after it whatever its holder likes.

It keeps none of the rules of frames and streams, and reads only when it is told to.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Final

import trio

from samara.protocol.addresses import parse_address
from samara.protocol.multistream import Opener, line
from samara.protocol.noise import AES, CHACHA, SUITES, Handshake, Identity, Secured, Suite
from samara.protocol.yamux.frames import HEADER, SYN, Kind, header

__all__ = ["HEADER_LINE", "RawPeer", "bare", "data", "negotiation", "opening"]

HEADER_LINE: Final = line("/multistream/1.0.0")
_SOME: Final = 1 << 16


def opening(stream: int, window: int = 0) -> bytes:
    """Return the frame that opens a stream."""
    return header(Kind.WINDOW, SYN, stream, window)


def data(stream: int, body: bytes, flags: int = 0) -> bytes:
    """Return a data frame."""
    return header(Kind.DATA, flags, stream, len(body)) + body


def negotiation(stream: int, protocol: str) -> bytes:
    """Return the frames that open a stream and propose a protocol on it."""
    return opening(stream) + data(stream, HEADER_LINE + line(protocol))


async def bare(address: str, source: str = "127.0.0.1") -> trio.SocketStream:
    """Connect to a multiaddr from a loopback address, and say nothing."""
    to = parse_address(address)
    sock = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_STREAM)
    try:
        await sock.bind((source, 0))
        await sock.connect((to.host, to.port))
        return trio.SocketStream(sock)
    except BaseException:
        sock.close()
        raise


class CutStream:
    """A socket that hangs up after so many bytes that were sent."""

    def __init__(self, stream: trio.SocketStream, left: int) -> None:
        self._stream = stream
        self._left = left

    async def send_all(self, data: bytes) -> None:
        await self._stream.send_all(data[: self._left])
        if len(data) > self._left:
            raise EOFError("this end hangs up")
        self._left -= len(data)

    async def receive_some(self, most: int) -> bytes:
        return bytes(await self._stream.receive_some(most))


class DrippingStream:
    """A socket that sends a byte at a time."""

    def __init__(self, stream: trio.SocketStream, seconds: float) -> None:
        self._stream = stream
        self._seconds = seconds

    async def send_all(self, data: bytes) -> None:
        for byte in data:
            await self._stream.send_all(bytes([byte]))
            await trio.sleep(self._seconds)

    async def receive_some(self, most: int) -> bytes:
        return bytes(await self._stream.receive_some(most))


class RawPeer:
    """An authenticated connection whose records are made by hand.

    Args:
        stream: The socket.
        secured: What the handshake has made.
    """

    def __init__(self, stream: trio.SocketStream | CutStream | DrippingStream, secured: Secured) -> None:
        self.stream = stream
        self.secured = secured
        self._held = bytearray(secured.rest)
        self._plain = bytearray()

    @classmethod
    @contextlib.asynccontextmanager
    async def dial(
        cls,
        address: str,
        *,
        source: str = "127.0.0.1",
        suite: Suite = AES,
        cut: int | None = None,
        drip: float | None = None,
    ) -> AsyncIterator[RawPeer]:
        """Connect, and do the handshake under a new identity; the socket is closed at the end.

        Args:
            address: Of whom.
            source: The loopback address that it has.
            suite: Of which channel, where the other end speaks it.
            cut: Bytes after which it hangs up, wherever that is; None for never.
            drip: Seconds after each byte that it sends, which is a write of its own; None for whole writes.

        Raises:
            EOFError: The other end hung up, or this one did.
        """
        async with await bare(address, source) as sock:
            stream: trio.SocketStream | CutStream | DrippingStream = sock
            if cut is not None:
                stream = CutStream(sock, cut)
            elif drip is not None:
                stream = DrippingStream(sock, drip)
            negotiated = Opener(suite.protocol, CHACHA.protocol)  # which is spoken where AES is slow
            await stream.send_all(negotiated.begin())
            while negotiated.protocol is None:
                await stream.send_all(negotiated.receive(await some(stream)))
            identity = Identity(secrets.token_bytes(32), ("/yamux/1.0.0",))
            handshake = Handshake(
                SUITES[negotiated.protocol], identity, secrets.token_bytes(32), secrets.token_bytes(32), initiator=True
            )
            await stream.send_all(handshake.begin())
            held = negotiated.rest
            while handshake.secured is None:
                await stream.send_all(handshake.receive(held or await some(stream)))
                held = b""
            yield cls(stream, handshake.secured)

    def seal(self, plain: bytes) -> bytes:
        """Return one record."""
        sealer = self.secured.sealer
        out = bytearray(sealer.head + len(plain) + 16)
        sealer.seal_into(memoryview(plain), memoryview(out))
        return bytes(out)

    async def send(self, plain: bytes, record: int = 0) -> None:
        """Send bytes in records of so many bytes, by default as long as may be."""
        most = record or self.secured.sealer.suite.most
        out = b"".join(self.seal(plain[start : start + most]) for start in range(0, len(plain), most))
        await self.stream.send_all(out)

    async def frame(self) -> tuple[int, int, int, int, bytes]:
        """Return the next frame that comes: type, flags, stream, length and body.

        Raises:
            EOFError: The other end hung up, or broke the connection.
        """
        while True:
            if len(self._plain) >= HEADER.size:
                _, kind, flags, stream, length = HEADER.unpack_from(self._plain)
                end = HEADER.size + (length if kind == Kind.DATA else 0)
                if len(self._plain) >= end:
                    body = bytes(self._plain[HEADER.size : end])
                    del self._plain[:end]
                    return kind, flags, stream, length, body
            await self._more()

    async def _more(self) -> None:
        opener = self.secured.opener
        while (size := opener.size(memoryview(bytes(self._held[:4])))) is None or len(self._held) < size:
            self._held += await some(self.stream)
        out = bytearray(size)
        plain = opener.open_into(memoryview(bytes(self._held[:size])), memoryview(out))
        del self._held[:size]
        self._plain += out[:plain]

    async def until_refused(self) -> list[tuple[int, int, int, int, bytes]]:
        """Read until the other end ends the connection; return what it said until then."""
        heard = []
        with contextlib.suppress(EOFError):
            while True:
                heard.append(await self.frame())
        return heard


async def some(stream: trio.SocketStream | CutStream | DrippingStream) -> bytes:
    """Return some bytes of a socket.

    Raises:
        EOFError: It has ended, in whatever way.
    """
    try:
        got = await stream.receive_some(_SOME)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        got = b""
    if not got:
        raise EOFError("the other end hung up")
    return bytes(got)
