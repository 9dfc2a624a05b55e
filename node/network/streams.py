"""A stream of the host: one that is agreed on, with what came along with the agreement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, final

import trio

from samara.node.network.transport import Buffer, Sink
from samara.protocol.errors import NetworkError, RemoteProtocolError
from samara.protocol.multistream import Acceptor, Opener

if TYPE_CHECKING:
    from samara.node.network.muxed_stream import MuxedStream

__all__ = ["HostStream", "accept_protocol", "open_protocol"]

_SOME: Final = 4 << 10
_GOODBYE: Final = 2.0
"""Seconds that saying goodbye may take; it is said also when a task is cancelled."""


@final
class HostStream:
    """Implements `transport.Stream`.

    Args:
        peer: The authenticated peer id of the other end.
        muxed: The stream below.
        held: Bytes that came already.
    """

    def __init__(self, peer: str, muxed: MuxedStream, held: bytes = b"") -> None:
        self._peer = peer
        self._muxed = muxed
        self._held = held

    @property
    def peer(self) -> str:
        """The authenticated peer id of the other end."""
        return self._peer

    async def receive_some(self, max_bytes: int) -> bytes:
        """Return 1 to `max_bytes` bytes, or b"" at the end of the stream.

        Raises:
            NetworkError: The stream was reset, or the connection is gone.
        """
        if self._held:
            await trio.lowlevel.checkpoint()
            data, self._held = self._held[:max_bytes], self._held[max_bytes:]
            return data
        return await self._muxed.receive_some(max_bytes)

    async def receive_to(self, sink: Sink) -> None:
        """Give all that comes to a sink, until the peer closes its end.

        Raises:
            NetworkError: The stream was reset, or the connection is gone.
            RemoteProtocolError: The sink raised it.
        """
        if self._held:
            sink.feed(memoryview(self._held))
            self._held = b""
        await self._muxed.receive_to(sink)

    async def send_all(self, data: Buffer) -> None:
        """Send all of `data`.

        Raises:
            NetworkError: The stream was reset or closed, or the connection is gone.
        """
        await self._muxed.send_parts((data,))

    async def send_parts(self, parts: Sequence[Buffer]) -> None:
        """Send buffers one after another, uncopied; they must not change before it returns.

        Raises:
            NetworkError: As `send_all`.
        """
        await self._muxed.send_parts(parts)

    @property
    def near(self) -> bool:
        """Both ends are on one machine."""
        return self._muxed.near

    @property
    def held_back(self) -> float:
        """Seconds so far in which nothing moved for our own sake, not the peer's."""
        return self._muxed.held_back

    async def aclose(self) -> None:
        """Say that no more will be sent; the peer may still send. Never raises `NetworkError`."""
        with trio.move_on_after(_GOODBYE, shield=True):
            await self._muxed.close()

    async def reset(self) -> None:
        """End it at once, both ways; never raises `NetworkError`."""
        with trio.move_on_after(_GOODBYE, shield=True):
            await self._muxed.reset()


async def open_protocol(peer: str, muxed: MuxedStream, protocol: str) -> HostStream:
    """Agree with the peer that `protocol` is spoken on a stream that we opened; it is reset when that fails.

    Raises:
        NetworkError: The peer does not speak it, or the stream broke.
    """
    opener = Opener(protocol)
    try:
        await muxed.send_all(opener.begin())
        while opener.protocol is None:
            if answer := opener.receive(await _receive(muxed)):
                await muxed.send_all(answer)
    except RemoteProtocolError as error:
        await HostStream(peer, muxed).reset()
        raise NetworkError(f"{peer}: {error}") from error
    except BaseException:
        await HostStream(peer, muxed).reset()
        raise
    return HostStream(peer, muxed, opener.rest)


async def accept_protocol(peer: str, muxed: MuxedStream, speaks: Callable[[str], bool]) -> tuple[HostStream, str]:
    """Agree with the peer on what is spoken on a stream that it opened.

    Raises:
        RemoteProtocolError: It does not speak the negotiation.
        NetworkError: The stream broke.
    """
    acceptor = Acceptor(speaks)
    await muxed.send_all(acceptor.begin())
    while acceptor.protocol is None:
        answer = acceptor.receive(await _receive(muxed))
        if answer:
            await muxed.send_all(answer)
    return HostStream(peer, muxed, acceptor.rest), acceptor.protocol


async def _receive(muxed: MuxedStream) -> bytes:
    data = await muxed.receive_some(_SOME)
    if not data:
        raise NetworkError("the peer closed the stream before it agreed on a protocol")
    return data
