"""The front of the encodings: a chunk to a payload, and a payload to the chunk.

What comes out of `decode` has the chunk's length and nothing is known of its bytes: the caller holds them against the
chunk's hash, whatever the encoding. numpy and zstandard are imported on first use (see the package).

Source: specs/encodings.md.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, final

from samara.protocol.errors import EncodingError
from samara.protocol.limits import MAX_CHUNK

if TYPE_CHECKING:
    from samara.protocol.encodings.frames import Buffer
    from samara.protocol.encodings.layout import WordLayout

__all__ = ["WORTH", "Encoding", "decode", "encode"]

WORTH: Final = 97
"""Per cent of a chunk that a payload may have at most to be sent: below that, decoding costs more than the line."""


@final
class Encoding(enum.IntEnum):
    """The numbers of the encodings, as the exchange names them."""

    RAW = 0
    PLANES = 1
    DELTA = 2
    TEXT = 3


def encode(encoding: int, raw: Buffer, layout: WordLayout | None = None, base: Buffer | None = None) -> bytes | None:
    """Return the payload of a chunk.

    Args:
        encoding: Which.
        raw: The chunk, 1 to `MAX_CHUNK` bytes.
        layout: Where its words are; for planes and deltas.
        base: A chunk that the receiver holds, of the same length, in which the same words lie at the same places; for
            deltas. Any other gives a right payload, and a long one.

    Returns:
        None when it is better sent raw: the encoding saves less than 3 %, or there is not a whole word.

    Raises:
        EncodingError: The encoding is unknown, the base has another length, or no chunk has that length.
        ValueError: The layout or the base is missing, or is none of this encoding's.
    """
    _check(encoding, len(raw))
    if (layout is None) != (encoding not in (Encoding.PLANES, Encoding.DELTA)) or (base is None) != (
        encoding != Encoding.DELTA
    ):
        raise ValueError(f"encoding {encoding} with layout {layout} and {'no' if base is None else 'a'} base")
    if encoding == Encoding.RAW:
        return bytes(raw)
    payload = _encode(encoding, raw, layout, base)
    return payload if payload is not None and len(payload) * 100 <= len(raw) * WORTH else None


def decode(encoding: int, payload: Buffer, length: int, base: Buffer | None = None) -> bytes | bytearray:
    """Return a chunk, which is still to be held against its hash.

    Args:
        encoding: Which.
        payload: What came of the chunk, of any length.
        length: Bytes of the chunk, as its list states them.
        base: The chunk that the payload is a delta to, verified; None for any other encoding.

    Returns:
        `length` bytes.

    Raises:
        EncodingError: The payload is not that of any chunk of that length in that encoding with that base.
    """
    _check(encoding, length)
    if (base is None) != (encoding != Encoding.DELTA):
        raise EncodingError(f"encoding {encoding} with {'no' if base is None else 'a'} base")
    if encoding == Encoding.RAW:
        if len(payload) != length:
            raise EncodingError(f"a raw payload of {len(payload)} bytes for a chunk of {length}")
        return bytes(payload)
    if len(payload) >= length:
        raise EncodingError(f"a payload of {len(payload)} bytes saves nothing of a chunk of {length}")
    return _decode(encoding, memoryview(payload), length, base)


def _check(encoding: int, length: int) -> None:
    if encoding not in tuple(Encoding):
        raise EncodingError(f"encoding {encoding} is unknown here")
    if not 0 < length <= MAX_CHUNK:
        raise EncodingError(f"a chunk of {length} bytes: it has 1 to {MAX_CHUNK}")


def _encode(encoding: int, raw: Buffer, layout: WordLayout | None, base: Buffer | None) -> bytes | None:
    from samara.protocol.encodings import delta, planes, text

    if layout is None:
        return text.encode(raw)
    return planes.encode(raw, layout) if base is None else delta.encode(raw, layout, base)


def _decode(encoding: int, payload: memoryview, length: int, base: Buffer | None) -> bytes | bytearray:
    from samara.protocol.encodings import delta, planes, text

    if base is not None:
        return delta.decode(payload, length, base)
    return planes.decode(payload, length) if encoding == Encoding.PLANES else text.decode(payload, length)
