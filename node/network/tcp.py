"""TCP sockets: dialled, and read and written without a copy. One task reads, one writes.

A socket that takes no byte for `STALLED_WRITE` seconds is closed.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any, Final, final

import trio

from samara.protocol.addresses import Address, from_ip
from samara.protocol.errors import NetworkError
from samara.protocol.limits import STALLED_WRITE

__all__ = ["TcpStream", "dial_tcp", "end_of", "family_of"]

_DEAD_AFTER_MS: Final = 30_000


@final
class TcpStream:
    """One TCP connection.

    Args:
        stream: A connected socket.

    Attributes:
        sent: Bytes that went out so far.
        received: Bytes that came in so far.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._socket = stream.socket
        self.sent = 0
        self.received = 0
        self.remote = end_of(self._socket.getpeername())
        self.local = end_of(self._socket.getsockname())
        _notice_dead_peers(self._socket)

    async def receive_some(self, most: int) -> bytes:
        """Return 1 to `most` bytes, or b"" at the end.

        Raises:
            NetworkError: The connection broke.
        """
        with self._breaking():
            data = await self._socket.recv(most)
        self.received += len(data)
        return data

    async def wait_readable(self) -> None:
        """Wait until there is something to receive, or nothing any more.

        Raises:
            NetworkError: The connection broke.
        """
        with self._breaking():
            await trio.lowlevel.wait_readable(self._socket)

    async def receive_into(self, buffer: memoryview) -> int:
        """Fill the beginning of `buffer`; return how many bytes, 0 at the end.

        Raises:
            NetworkError: The connection broke.
        """
        with self._breaking():
            count = await self._socket.recv_into(buffer)
        self.received += count
        return count

    def set_unsent(self, count: int) -> None:
        """Let about `count` bytes lie in the system unsent before `send_all` waits; not every system can.

        Trio's own 16 KiB starve a fast line; and what lies there is in the way of a small frame.
        """
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, count)

    async def send_all(self, data: bytes | memoryview) -> None:
        """Send all of `data`; when cancelled, some of it may have gone.

        Raises:
            NetworkError: The connection broke, or stalled and is closed now.
        """
        rest = memoryview(data)
        with self._breaking():
            while rest:
                with trio.move_on_after(STALLED_WRITE) as waiting:
                    count = await self._socket.send(rest)
                    self.sent += count
                    rest = rest[count:]
                if waiting.cancelled_caught:
                    self._socket.close()
                    raise NetworkError(f"{self.remote} took no byte for {STALLED_WRITE:.0f} s")

    @contextlib.contextmanager
    def _breaking(self) -> Iterator[None]:
        try:
            yield
        except (trio.ClosedResourceError, OSError) as error:
            raise NetworkError(f"the connection to {self.remote} broke: {error}") from error

    async def close(self) -> None:
        """Close the socket at once; never raises."""
        self._socket.close()
        await trio.lowlevel.cancel_shielded_checkpoint()


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


async def _connect(address: Address) -> trio.SocketStream:
    if address.is_name:
        return await trio.open_tcp_stream(address.host, address.port)
    sock = trio.socket.socket(family_of(address), trio.socket.SOCK_STREAM)
    try:
        await sock.connect((address.host, address.port))
        return trio.SocketStream(sock)
    except BaseException:
        sock.close()
        raise


def family_of(address: Address) -> int:
    """Return the family of sockets for an IP address."""
    return socket.AF_INET if address.kind == "ip4" else socket.AF_INET6


def end_of(name: tuple[Any, ...] | None) -> Address:
    """Return the address in a socket's name; some systems have none for a peer that hung up already.

    Raises:
        NetworkError: It has none.
    """
    if not name or len(name) < 2:
        raise NetworkError("a socket without an IP address")
    return from_ip(str(name[0]), int(name[1]))


def _notice_dead_peers(sock: trio.socket.SocketType) -> None:
    """Let the system end a connection whose peer vanished without a word; not every system can."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_AFTER_MS)
