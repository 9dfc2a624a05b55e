"""The header of a Yamux frame: version, type, flags, stream and length, twelve bytes, big-endian.

Source: the Yamux specification, "Framing"; specs/transport.md, "Frames".
"""

from __future__ import annotations

import enum
import struct
from typing import Final

__all__ = ["ACK", "FIN", "HEADER", "RST", "SYN", "Kind", "header"]

HEADER: Final = struct.Struct(">BBHII")
"""Version, type, flags, stream, length."""

SYN: Final = 1
ACK: Final = 2
FIN: Final = 4
RST: Final = 8


class Kind(enum.IntEnum):
    """The type of a frame; what its length means depends on it."""

    DATA = 0  # bytes of the body that follows
    WINDOW = 1  # bytes more that the receiver of this frame may send
    PING = 2  # an opaque number, to be sent back
    GO_AWAY = 3  # why


def header(kind: Kind, flags: int, stream: int, length: int) -> bytes:
    """Return a header."""
    return HEADER.pack(0, kind, flags, stream, length)
