"""Encoding 3: all of a chunk in one frame, for text and whatever else repeats itself.

Source: specs/encodings.md §7.
"""

from __future__ import annotations

from samara.protocol.encodings.frames import Buffer, pack_text, unpack

__all__ = ["decode", "encode"]


def encode(raw: Buffer) -> bytes:
    """Return the payload of a chunk, however long it is."""
    return pack_text(raw)


def decode(payload: memoryview, length: int) -> bytes:
    """Return the chunk.

    Args:
        payload: All of it.
        length: Bytes of the chunk.

    Raises:
        EncodingError: The payload is not that of any chunk of that length.
    """
    return unpack(payload, length)
