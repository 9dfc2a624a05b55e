"""From a TCP connection to authenticated streams: what of libp2p is used, and the one place where it can be replaced.

Used are its Noise handshake, its Yamux and its selection among them; the swarm, host and DHT above are not (specs/adr:
they keep slots of ended connections, dial one address only, and cannot be bounded). `secure_channels` and `muxers` are
the seam: a faster channel or muxer is named there and nowhere else. Only Noise is ever offered: libp2p's own defaults
include plaintext.

This module imports libp2p, which costs a second: it is imported when a network is opened, never before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, final

import trio
from libp2p.abc import ISecureConn
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TMuxerOptions, TProtocol, TSecurityOptions
from libp2p.exceptions import BaseLibp2pError
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable, MuxedStreamEOF
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux, YamuxStream
from libp2p.transport.upgrader import TransportUpgrader

from samara.node.network.tcp import TcpStream
from samara.protocol.errors import NetworkError
from samara.protocol.limits import UPGRADE_TIMEOUT

__all__ = ["MuxedConnection", "MuxedStream", "Upgrader"]

_log = logging.getLogger(__name__)

_GOODBYE: Final = 1.0
_WINDOW_POLL: Final = 0.001


def secure_channels(key_pair: KeyPair) -> TSecurityOptions:
    """Return the secure channels that are offered, the preferred one first."""
    return {NOISE: NoiseTransport(key_pair, noise_privkey=create_noise_key_pair().private_key)}


def muxers() -> TMuxerOptions:
    """Return the muxers that are offered, the preferred one first."""
    return {TProtocol(YAMUX): Yamux}


@final
class _Socket(ReadWriteCloser):
    """A connection, with the one error that libp2p takes for its end."""

    def __init__(self, tcp: TcpStream) -> None:
        self._tcp = tcp

    async def read(self, n: int | None = None) -> bytes:
        try:
            return await self._tcp.read(n)
        except NetworkError as error:
            raise ConnectionClosedError(error.message, transport="tcp") from error

    async def write(self, data: bytes) -> None:
        try:
            await self._tcp.write(data)
        except NetworkError as error:
            raise ConnectionClosedError(error.message, transport="tcp") from error

    async def close(self) -> None:
        await self._tcp.close()

    def get_remote_address(self) -> tuple[str, int]:
        return self._tcp.remote.host, self._tcp.remote.port


@final
class MuxedStream:
    """One stream of bytes; the errors of libp2p are `NetworkError` above it."""

    def __init__(self, stream: YamuxStream) -> None:
        self._stream = stream

    @property
    def ended(self) -> bool:
        """Both ends have closed it, or one has reset it."""
        return bool(self._stream.closed)

    async def receive_some(self, max_bytes: int) -> bytes:
        """Return 1 to `max_bytes` bytes, or b"" when the peer closed its end.

        Raises:
            NetworkError: The stream was reset, or the connection is gone.
        """
        stream = self._stream
        try:
            # `YamuxStream.read` is these two steps, but loses what it read when it is cancelled between them.
            data = await stream.conn.read_stream(stream.stream_id, max(1, max_bytes))
            with trio.CancelScope(shield=True):
                await stream._auto_tune_and_send_window_update(bytes_read=len(data))
        except MuxedStreamEOF as error:
            if stream.recv_closed and not stream.reset_received and not stream.conn.event_shutting_down.is_set():
                return b""
            gone = stream.conn.event_shutting_down.is_set()
            raise NetworkError("the connection is gone" if gone else "the stream was reset") from error
        except _FAILURES as error:
            raise NetworkError(f"the stream broke: {error or type(error).__name__}") from error
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`, however long the peer takes to make room for it.

        Raises:
            NetworkError: The stream was reset or closed, or the connection is gone.
        """
        stream = self._stream
        rest = memoryview(data).cast("B")
        try:
            while rest:
                # Yamux itself gives up a stream whose window stays shut for 5 s; how long to wait is not its business.
                # It has no event for that, so this polls.
                while stream.send_window <= 0 and not stream.closed and not stream.send_closed:  # noqa: ASYNC110
                    await trio.sleep(_WINDOW_POLL)
                part = rest[: max(1, stream.send_window)]
                await stream.write(part)  # type: ignore[arg-type]
                rest = rest[len(part) :]
        except _FAILURES as error:
            raise NetworkError(f"the stream broke: {error or type(error).__name__}") from error

    async def close(self) -> None:
        """Say that no more will be sent; never raises."""
        try:
            await self._stream.close()
        except _FAILURES as error:
            _log.debug("closing a stream: %s", error)

    async def reset(self) -> None:
        """End it at once; never raises."""
        try:
            await self._stream.reset()
        except _FAILURES as error:
            _log.debug("resetting a stream: %s", error)


@final
class MuxedConnection:
    """An authenticated connection that carries streams.

    Attributes:
        peer: The authenticated peer id.
        tcp: The connection below.
    """

    def __init__(self, peer: str, tcp: TcpStream, muxed: Yamux) -> None:
        self.peer = peer
        self.tcp = tcp
        self._muxed = muxed

    @property
    def closed(self) -> bool:
        """It can carry no more streams."""
        return self._muxed.is_closed or self._muxed.event_shutting_down.is_set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Move its bytes until it ends; never raises."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run)
            await self._muxed.event_started.wait()
            task_status.started()

    async def accept(self) -> MuxedStream | None:
        """Return the next stream that the peer opens, or None when the connection has ended."""
        try:
            return _wrap(await self._muxed.accept_stream())
        except (MuxedConnUnavailable, *_FAILURES):
            return None

    async def open(self) -> MuxedStream:
        """Open a stream.

        Raises:
            NetworkError: The connection has ended.
        """
        try:
            return _wrap(await self._muxed.open_stream())
        except _FAILURES as error:
            raise NetworkError("the connection is gone") from error

    async def close(self) -> None:
        """Say goodbye, in a second at most, and close the connection; never raises."""
        if not self._muxed.is_closed:
            with trio.move_on_after(_GOODBYE, shield=True):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._say_goodbye)
                    # What libp2p does after that is sleeping.
                    await self._muxed.event_closed.wait()
                    nursery.cancel_scope.cancel()
        await self.tcp.close()

    async def _say_goodbye(self) -> None:
        try:
            await self._muxed.close()
        except _FAILURES as error:
            _log.debug("closing the connection to %s: %s", self.peer, error)
        self._muxed.event_closed.set()

    async def _run(self) -> None:
        try:
            await self._muxed.start()
        except Exception:  # the border of libp2p's reader: what fails in it ends this connection and no other
            _log.exception("the connection to %s failed", self.peer)
        finally:
            self._muxed.event_started.set()


@final
class Upgrader:
    """Makes connections of sockets, in our name.

    Args:
        seed: The Ed25519 seed of the node's key, 32 bytes.
    """

    def __init__(self, seed: bytes) -> None:
        _keep_quiet()
        key_pair = create_new_key_pair(seed)
        self.peer = str(ID.from_pubkey(key_pair.public_key))
        self.public_key: bytes = key_pair.public_key.serialize()
        self._upgrader = TransportUpgrader(secure_channels(key_pair), muxers(), int(UPGRADE_TIMEOUT))

    async def authenticate(self, tcp: TcpStream, expected: str | None) -> tuple[str, ISecureConn]:
        """Do the handshake, and return the peer's id and the secured connection.

        Args:
            tcp: A fresh connection.
            expected: Whom we dialled; None when we were dialled.

        Raises:
            NetworkError: It failed, or the peer is not the expected one.
        """
        raw = RawConnection(_Socket(tcp), expected is not None)
        try:
            wanted = None if expected is None else ID.from_base58(expected)
            secure = await self._upgrader.upgrade_security(raw, wanted is not None, wanted)
        except Exception as error:  # the border of libp2p's handshake: hostile bytes end in any exception there
            raise NetworkError(f"{tcp.remote} {_why(error)}") from error
        return str(secure.get_remote_peer()), secure

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
        try:
            peer, secure = await self.authenticate(tcp, expected)
            admit(peer)
            try:
                muxed = await self._upgrader.upgrade_connection(secure, ID.from_base58(peer))
            except Exception as error:  # as above
                raise NetworkError(f"{tcp.remote} {_why(error)}") from error
            if not isinstance(muxed, Yamux):
                raise NetworkError(f"a muxer that is not in use: {type(muxed).__name__}")
            return MuxedConnection(peer, tcp, muxed)
        except BaseException:
            await tcp.close()
            raise


_FAILURES: Final = (BaseLibp2pError, NetworkError, trio.BrokenResourceError, trio.ClosedResourceError, OSError)
"""What libp2p's streams raise when they end, and what our sockets raise through them."""


def _wrap(stream: object) -> MuxedStream:
    if not isinstance(stream, YamuxStream):
        raise NetworkError(f"a stream of a muxer that is not in use: {type(stream).__name__}")
    return MuxedStream(stream)


def _why(error: BaseException) -> str:
    """Say in a few words why a handshake failed; libp2p's own reasons are at the end of a chain of causes."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = f"{type(error).__name__} {error}"
    if "mismatch" in text.lower() or "PeerIDMismatches" in text:
        return "is another peer than the one that was dialled"
    return f"did not complete the handshake ({text[:120].strip()})"


def _keep_quiet() -> None:
    """Keep libp2p off standard error: it logs each failed dial as an error, and in part to the root logger.

    A root logger without handlers gets one from Python itself at libp2p's first word; a null handler prevents that.
    """
    for logger in (logging.getLogger("libp2p"), logging.getLogger()):
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
