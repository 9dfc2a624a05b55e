"""zstd frames whose length is known beforehand: each begins with the one header that such a frame may have.

A frame states how long it is, and libraries believe it: python-zstandard ignores `max_output_size` when a frame states
a size, and 8 KB became 256 MiB. So the first bytes are held against those that follow from the length that is already
known. That leaves no choice of window, dictionary, checksum or size; and the window is the output itself.

Source: specs/encodings.md §3; RFC 8878, §3.1.1.
"""

from __future__ import annotations

import threading
from typing import Final, TypeAlias

import zstandard

from samara.protocol.errors import EncodingError
from samara.protocol.limits import MAX_CHUNK

__all__ = ["Buffer", "head", "pack_plane", "pack_text", "unpack"]

Buffer: TypeAlias = bytes | bytearray | memoryview

_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_WINDOW_LOG: Final = MAX_CHUNK.bit_length() - 1

# A plane has no repetitions worth the search. A hash table of 64 entries finds runs of one byte and little else, which
# leaves zstd its entropy coder: three times as fast as level 1, and on exponents 3 % smaller.
_PLANE: Final = zstandard.ZstdCompressionParameters.from_level(1, window_log=_WINDOW_LOG, min_match=7, hash_log=6)
_TEXT: Final = zstandard.ZstdCompressionParameters.from_level(3, window_log=_WINDOW_LOG)


class _Contexts(threading.local):
    """What zstd works with: about a megabyte, made once for each thread, as it lets go of the GIL while it works."""

    def __init__(self) -> None:
        self.plane = zstandard.ZstdCompressor(compression_params=_PLANE)
        self.text = zstandard.ZstdCompressor(compression_params=_TEXT)
        self.reader = zstandard.ZstdDecompressor(max_window_size=MAX_CHUNK)


_contexts: Final = _Contexts()


def head(length: int) -> bytes:
    """Return the bytes with which a frame of `length` bytes begins: magic, descriptor, content size.

    Args:
        length: Bytes that are in the frame, 1 to `MAX_CHUNK`.
    """
    if length < 256:
        return _MAGIC + b"\x20" + length.to_bytes(1, "little")
    if length < 256 + (1 << 16):
        return _MAGIC + b"\x60" + (length - 256).to_bytes(2, "little")
    return _MAGIC + b"\xa0" + length.to_bytes(4, "little")


def pack_plane(data: Buffer) -> bytes:
    """Return a plane in a frame."""
    return _contexts.plane.compress(data)


def pack_text(data: Buffer) -> bytes:
    """Return text in a frame."""
    return _contexts.text.compress(data)


def unpack(frame: memoryview, length: int) -> bytes:
    """Return what is in a frame.

    Args:
        frame: All of it, and nothing else.
        length: Bytes that are in it, 1 to `MAX_CHUNK`: no more is made room for.

    Raises:
        EncodingError: It does not hold just that many bytes, or is not one frame in the form that it must have.
    """
    start = head(length)
    if frame[: len(start)] != start:
        raise EncodingError(
            f"no frame of {length} bytes: it begins with {bytes(frame[: len(start)]).hex() or 'nothing'}"
        )
    try:
        data = _contexts.reader.decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as wrong:
        raise EncodingError(f"a frame of {length} bytes that does not unpack: {wrong}") from None
    if len(data) != length:  # zstd has held it against the size in the header, which is `length`
        raise EncodingError(f"a frame of {length} bytes that holds {len(data)}")
    return data
