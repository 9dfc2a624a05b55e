"""TCP sockets as libp2p's security layer wants them: reads that are complete, writes that no cancelling can tear.

Invariants:
1. A read of n bytes returns n bytes, or fewer only at the end. (libp2p gives up a message that arrives in more than a
   hundred pieces, as it does on a line with small packets.)
2. A write, once begun, is finished or the socket is closed. What is written is encrypted under a counter: half of it,
   or none of it, would break every stream of the connection. Who is cancelled has a last second to finish it.
3. A socket that takes no byte for `STALLED_WRITE` seconds is closed.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any, Final, final

import trio

from samara.protocol.addresses import Address, from_ip
from samara.protocol.errors import NetworkError
from samara.protocol.limits import STALLED_WRITE

__all__ = ["TcpStream", "dial_tcp", "listen_tcp"]

_RECEIVE: Final = 256 << 10
_BACKLOG: Final = 64
_DEAD_AFTER_MS: Final = 30_000
_LAST_WORDS: Final = 1.0
"""Seconds that a cancelled write has to finish; a living peer takes it in milliseconds."""


@final
class TcpStream:
    """One TCP connection.

    Args:
        stream: A connected socket.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._socket = stream.socket
        self._held = bytearray()
        self.remote = _end(self._socket.getpeername())
        self.local = _end(self._socket.getsockname())
        _notice_dead_peers(self._socket)

    async def read(self, count: int | None = None) -> bytes:
        """Return `count` bytes, fewer only at the end; without a count, what is there.

        Raises:
            NetworkError: The connection broke.
        """
        while not self._held or (count is not None and len(self._held) < count):
            wanted = _RECEIVE if count is None else max(_RECEIVE, count - len(self._held))
            try:
                data = await self._stream.receive_some(wanted)
            except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
                raise NetworkError(f"the connection to {self.remote} broke: {error}") from error
            if not data:
                break
            if not self._held and count is not None and len(data) == count:
                return bytes(data)
            self._held += data
        taken = len(self._held) if count is None else count
        out = bytes(self._held[:taken])
        del self._held[:taken]
        return out

    async def write(self, data: bytes) -> None:
        """Write all of `data`; one task at a time.

        Raises:
            NetworkError: The connection broke, or stalled and is closed now.
        """
        rest = memoryview(data)
        try:
            while rest:
                with trio.move_on_after(STALLED_WRITE) as waiting:
                    rest = rest[await self._socket.send(rest) :]
                if waiting.cancelled_caught:
                    self._socket.close()
                    raise NetworkError(f"{self.remote} took no byte for {STALLED_WRITE:.0f} s")
        except trio.Cancelled:
            await self._finish(rest)
            raise
        except (trio.ClosedResourceError, OSError) as error:
            raise NetworkError(f"the connection to {self.remote} broke: {error}") from error

    async def close(self) -> None:
        """Close the socket at once; never raises."""
        self._socket.close()
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def _finish(self, rest: memoryview) -> None:
        """Write what is left of an interrupted write, or close the socket."""
        with trio.move_on_after(_LAST_WORDS, shield=True), contextlib.suppress(OSError, trio.ClosedResourceError):
            while rest:
                rest = rest[await self._socket.send(rest) :]
        if rest:
            self._socket.close()


async def dial_tcp(address: Address) -> TcpStream:
    """Connect to an address.

    Raises:
        NetworkError: Nobody answers there.
    """
    try:
        stream = await _connect(address)
    except OSError as error:
        raise NetworkError(f"{address}: {os.strerror(error.errno) if error.errno else error}") from error
    try:
        return TcpStream(stream)
    except (OSError, NetworkError) as error:  # it hung up before we could ask who it is
        await trio.aclose_forcefully(stream)
        raise NetworkError(f"{address}: {error}") from error


async def listen_tcp(address: Address) -> tuple[trio.SocketListener, Address]:
    """Listen at an address, and return the listener and the address with the port that it got.

    Raises:
        NetworkError: The address is not ours, or its port is taken.
    """
    if address.is_name:
        raise NetworkError(f"cannot listen at {address}", hint="Give an IP address to listen at.")
    listening = trio.socket.socket(_family(address), trio.socket.SOCK_STREAM)
    try:
        # Not SO_REUSEPORT: a second node on the same port must fail, not share its peers.
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.kind == "ip6":
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        await listening.bind((address.host, address.port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        hint = "Choose another port, or 0 for any." if address.port else ""
        raise NetworkError(f"cannot listen at {address}: {error.strerror or error}", hint=hint) from error
    return trio.SocketListener(listening), Address(address.kind, address.host, listening.getsockname()[1])


async def _connect(address: Address) -> trio.SocketStream:
    if address.is_name:
        return await trio.open_tcp_stream(address.host, address.port)
    sock = trio.socket.socket(_family(address), trio.socket.SOCK_STREAM)
    try:
        await sock.connect((address.host, address.port))
        return trio.SocketStream(sock)
    except BaseException:
        sock.close()
        raise


def _family(address: Address) -> int:
    return trio.socket.AF_INET if address.kind == "ip4" else trio.socket.AF_INET6


def _end(name: tuple[Any, ...]) -> Address:
    if len(name) < 2:
        raise NetworkError("a socket without an IP address")
    return from_ip(str(name[0]), int(name[1]))


def _notice_dead_peers(sock: trio.socket.SocketType) -> None:
    """Let the system end a connection whose peer vanished without a word; not every system can."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_AFTER_MS)
