"""Frames of the exchange: a length, a header, a raw payload. Bytes in pieces of any size in, whole frames out.

Invariants:
1. Nothing is buffered that was not judged: a length when its last byte is here, a payload's length when its header is.
2. A payload is copied once, into one buffer of its final size; a driver that can receive in place copies it never.
3. A header is opaque here: `judge` says what it is and how long the payload after it will be.

Source: specs/exchange.md, "Frames".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeAlias, TypeVar, final

from samara.protocol.errors import LocalProtocolError, RemoteProtocolError
from samara.protocol.limits import MAX_HEADER, MAX_PAYLOAD

__all__ = ["Allocate", "FrameReader", "Payload", "frame"]

T = TypeVar("T")

Payload: TypeAlias = bytearray | memoryview
"""The bytes of a payload, in the buffer that was made for it."""

Allocate: TypeAlias = Callable[[int], Payload]
"""Makes a buffer of exactly so many bytes; what is in it does not matter."""

_MAX_VARINT: Final = 3
"""Bytes of a length: 65,536 needs 17 bits, and a varint carries 7 a byte."""


def frame(header: bytes) -> bytes:
    """Return what goes on the wire before the payload: the header's length as a varint, and the header.

    Raises:
        LocalProtocolError: The header is longer than a peer would take.
    """
    length = len(header)
    if length > MAX_HEADER:
        raise LocalProtocolError(f"a header of {length} bytes: at most {MAX_HEADER}")
    if length < 0x80:
        return bytes((length,)) + header
    varint = bytearray()
    while length >= 0x80:
        varint.append(length & 0x7F | 0x80)
        length >>= 7
    varint.append(length)
    return bytes(varint) + header


@final
class FrameReader(Generic[T]):
    """Cuts the bytes of one direction into frames.

    Args:
        judge: Takes the bytes of a header as soon as it is complete, and returns what it says and the length in bytes
            of its payload. It raises `RemoteProtocolError` for a header that should not be there.
        allocate: Makes the buffers of payloads.
    """

    def __init__(self, judge: Callable[[bytes], tuple[T, int]], allocate: Allocate = bytearray) -> None:
        self._judge = judge
        self._allocate = allocate
        self._varint = bytearray()
        self._header = bytearray()
        self._header_length: int | None = None
        self._said: T | None = None
        self._payload: Payload = bytearray()
        self._room: memoryview | None = None  # what is still to be filled of the payload; None outside of one

    @property
    def inside(self) -> bool:
        """A frame has begun and is not complete: an end of the bytes here cuts it short."""
        return bool(self._varint) or self._header_length is not None or self._room is not None

    def receive(self, data: bytes | bytearray | memoryview) -> list[tuple[T, Payload]]:
        """Take bytes as they arrived, and return the frames that they completed.

        Raises:
            RemoteProtocolError: A length is out of bounds, or `judge` refused a header. The reader is then of no use.
        """
        done: list[tuple[T, Payload]] = []
        rest = memoryview(data)
        while rest:
            if self._room is not None:
                count = min(len(rest), len(self._room))
                self._room[:count] = rest[:count]
                rest = rest[count:]
                self._filled(count, done)
            elif self._header_length is not None:
                count = min(len(rest), self._header_length - len(self._header))
                self._header += rest[:count]
                rest = rest[count:]
                self._begin_payload(done)
            else:
                self._take_length(rest[0], done)
                rest = rest[1:]
        return done

    def writable(self) -> memoryview | None:
        """Return the part of the current payload that is still missing, to be filled in place; None outside of one."""
        return self._room

    def wrote(self, count: int) -> list[tuple[T, Payload]]:
        """Take note that the first `count` bytes of `writable()` were filled; return the frame if that completed it.

        Raises:
            LocalProtocolError: There was no room for that many.
        """
        if self._room is None or not 0 < count <= len(self._room):
            raise LocalProtocolError(f"{count} bytes were written where there was no room for them")
        done: list[tuple[T, Payload]] = []
        self._filled(count, done)
        return done

    def _take_length(self, byte: int, done: list[tuple[T, Payload]]) -> None:
        self._varint.append(byte)
        if byte & 0x80:
            if len(self._varint) == _MAX_VARINT:
                raise RemoteProtocolError(f"the length of a header goes on after {_MAX_VARINT} bytes")
            return
        if byte == 0 and len(self._varint) > 1:
            raise RemoteProtocolError("the length of a header is not in its shortest form")
        length = sum((b & 0x7F) << (7 * i) for i, b in enumerate(self._varint))
        if length > MAX_HEADER:
            raise RemoteProtocolError(f"a header of {length} bytes: at most {MAX_HEADER}")
        self._varint.clear()
        self._header_length = length
        self._begin_payload(done)

    def _begin_payload(self, done: list[tuple[T, Payload]]) -> None:
        if len(self._header) != self._header_length:
            return
        header = bytes(self._header)
        self._header.clear()
        self._header_length = None
        self._said, length = self._judge(header)
        if length > MAX_PAYLOAD:
            raise RemoteProtocolError(f"a payload of {length} bytes: at most {MAX_PAYLOAD}")
        if length:
            self._payload = self._allocate(length)
            self._room = memoryview(self._payload)
        else:
            done.append((self._said, bytearray()))

    def _filled(self, count: int, done: list[tuple[T, Payload]]) -> None:
        assert self._room is not None  # noqa: S101 - for the type checker
        assert self._said is not None  # noqa: S101
        room, self._room = self._room, self._room[count:]
        room.release()
        if not self._room:
            # Released, so that whoever gets the payload may resize it.
            self._room.release()
            self._room = None
            done.append((self._said, self._payload))
            self._payload = bytearray()
