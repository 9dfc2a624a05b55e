"""Length-prefixed messages on a stream: a varint, then so many bytes. For the DHT, reach and identify."""

from __future__ import annotations

from typing import final

from samara.node.network.transport import Stream
from samara.protocol.errors import RemoteProtocolError
from samara.protocol.wire import MAX_VARINT, read_varint, varint

__all__ = ["MessageStream"]

_SOME = 16 << 10


@final
class MessageStream:
    """Messages over a stream.

    Args:
        stream: It stays the caller's to close.
        limit: Bytes of one message at most.
    """

    def __init__(self, stream: Stream, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._held = bytearray()

    async def send(self, message: bytes) -> None:
        """Send one message.

        Raises:
            NetworkError: The stream broke.
        """
        await self._stream.send_all(varint(len(message)) + message)

    async def receive(self) -> bytes | None:
        """Return the next message, or None when the peer closed its end after a whole one.

        Raises:
            RemoteProtocolError: It is longer than the limit, or cut short.
            NetworkError: The stream broke.
        """
        while (size := self._size()) is None:
            if not await self._more():
                if self._held:
                    raise RemoteProtocolError("a message was cut short")
                return None
        length, place = size
        if length > self._limit:
            raise RemoteProtocolError(f"a message of {length} bytes: at most {self._limit}")
        while len(self._held) < place + length:
            if not await self._more():
                raise RemoteProtocolError("a message was cut short")
        message = bytes(self._held[place : place + length])
        del self._held[: place + length]
        return message

    async def _more(self) -> bool:
        data = await self._stream.receive_some(_SOME)
        self._held += data
        return bool(data)

    def _size(self) -> tuple[int, int] | None:
        head = bytes(self._held[:MAX_VARINT])
        if len(head) < MAX_VARINT and all(byte >= 0x80 for byte in head):
            return None
        return read_varint(head)
