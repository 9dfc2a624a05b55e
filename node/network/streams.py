"""A stream of the host: one that is agreed on, or that its first reader hears the agreement of.

Invariants:
1. What we open speaks at once: the proposal goes out when it is opened, and what is sent follows it.
2. Nothing is given to a reader that came before the agreement, or instead of it; without one the stream is reset.

Source: specs/network.md, "Streams".
"""

from __future__ import annotations

import contextlib
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
        opener: What has proposed the protocol, as long as the peer's answer was not read.
    """

    def __init__(self, peer: str, muxed: MuxedStream, held: bytes = b"", opener: Opener | None = None) -> None:
        self._peer = peer
        self._muxed = muxed
        self._held = held
        self._opener = opener
        self._hearing = trio.Lock()

    @property
    def peer(self) -> str:
        """The authenticated peer id of the other end."""
        return self._peer

    async def agree(self) -> None:
        """Hear the peer's agreement on the protocol, if it was not heard yet; it is reset when there is none.

        When cancelled, it goes on where it stopped with the next call, or read.

        Raises:
            NetworkError: The peer does not speak the protocol, the stream was reset, or the connection is gone.
        """
        if self._opener is not None:
            async with self._hearing:  # who closes it hears the agreement, too, while somebody reads
                await self._hear_agreement(self._opener)

    async def _hear_agreement(self, opener: Opener | None) -> None:
        if opener is None:
            return
        try:
            while opener.protocol is None:
                opener.receive(await _receive(self._muxed))  # of one proposal there is nothing more to say
        except (NetworkError, RemoteProtocolError) as error:
            # Who is sending hears of it, too, and no later than who reads.
            await self._break_off(error.message)
            raise NetworkError(f"{self._peer} did not agree on {opener.proposed}: {error.message}") from error
        self._held, self._opener = opener.rest, None

    async def receive_some(self, max_bytes: int) -> bytes:
        """Return 1 to `max_bytes` bytes, or b"" at the end of the stream.

        Raises:
            NetworkError: The stream was reset, the connection is gone, or the peer does not speak the protocol.
        """
        if self._opener is not None:
            await self.agree()
        if self._held:
            await trio.lowlevel.checkpoint()
            data, self._held = self._held[:max_bytes], self._held[max_bytes:]
            return data
        return await self._muxed.receive_some(max_bytes)

    async def receive_to(self, sink: Sink) -> None:
        """Give all that comes to a sink, until the peer closes its end.

        Raises:
            NetworkError: As `receive_some`.
            RemoteProtocolError: The sink raised it.
        """
        await self.agree()
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
        """Say that no more will be sent; the peer may still send. Never raises `NetworkError`.

        The agreement comes first, as far as it comes soon: js-libp2p 3 loses an end that comes with a proposal.
        """
        with trio.move_on_after(_GOODBYE, shield=True), contextlib.suppress(NetworkError):
            await self.agree()
        with trio.move_on_after(_GOODBYE, shield=True):
            await self._muxed.close()

    async def reset(self) -> None:
        """End it at once, both ways; never raises `NetworkError`."""
        await self._break_off("the stream was reset")

    async def _break_off(self, why: str) -> None:
        with trio.move_on_after(_GOODBYE, shield=True):
            await self._muxed.reset(why)


async def open_protocol(peer: str, muxed: MuxedStream, protocol: str, *, early: bool) -> HostStream:
    """Propose `protocol` on a stream that we opened; it is reset when that fails.

    Args:
        peer: The authenticated peer id of the other end.
        muxed: The stream below.
        protocol: What is to be spoken.
        early: Leave the peer's agreement to who first reads; else it is heard now.

    Raises:
        NetworkError: The stream broke, or, as far as it was heard now, the peer does not speak the protocol.
    """
    opener = Opener(protocol)
    stream = HostStream(peer, muxed, opener=opener)
    try:
        await muxed.send_all(opener.begin())
        if not early:
            await stream.agree()
    except BaseException:
        await stream.reset()
        raise
    return stream


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
