"""The wire format of protobuf for the few small messages that other libp2p implementations define.

Each message is held against its limit of bytes before it comes here, so a walk over its fields is bounded too. Fields
that a reader does not know are skipped, as protobuf asks. Groups, which nobody uses, are refused.

Source: the protobuf encoding guide; specs/network.md, "Messages".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from samara.protocol.errors import RemoteProtocolError

__all__ = ["MAX_VARINT", "bytes_field", "fields", "number_field", "read_varint", "varint"]

MAX_VARINT: Final = 10
"""Bytes of a varint: 64 bits at 7 a byte."""

_FIXED: Final = {1: 8, 5: 4}


def varint(number: int) -> bytes:
    """Return an unsigned number as a varint."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def number_field(field: int, number: int) -> bytes:
    """Return a varint field; nothing for 0, which is what an absent field means."""
    return varint(field << 3) + varint(number) if number else b""


def bytes_field(field: int, value: bytes) -> bytes:
    """Return a length-delimited field."""
    return varint(field << 3 | 2) + varint(len(value)) + value


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Iterate over the fields of a message: numbers of varint fields, bytes of length-delimited ones.

    Raises:
        RemoteProtocolError: The bytes are no protobuf message.
    """
    place = 0
    while place < len(data):
        tag, place = read_varint(data, place)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise RemoteProtocolError("a protobuf field of no valid number")
        if kind == 0:
            value, place = read_varint(data, place)
            yield number, value
            continue
        length = _FIXED.get(kind)
        if kind == 2:
            length, place = read_varint(data, place)
        if length is None or length > len(data) - place:
            raise RemoteProtocolError("a protobuf field is cut short, or of a type that is not in use")
        if kind == 2:
            yield number, data[place : place + length]
        place += length


def read_varint(data: bytes, place: int = 0) -> tuple[int, int]:
    """Return a varint and the place after it.

    Raises:
        RemoteProtocolError: It is cut short, or has more than 64 bits.
    """
    number = 0
    for index, byte in enumerate(data[place : place + MAX_VARINT]):
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if number >> 64:
                break
            return number, place + index + 1
    raise RemoteProtocolError("a varint is cut short or too long")
